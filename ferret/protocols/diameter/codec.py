"""Octets to messages (RFC 6733 clauses 3 and 4): peek, split a stream, decode.

Every function here either returns or raises DecodeError, whatever octets it is given; work and memory are bounded by
the length of the input (groups are read at most MAX_GROUP_DEPTH deep).
"""

from __future__ import annotations

import struct

from ferret.errors import DecodeError
from ferret.protocols.diameter import dictionary
from ferret.protocols.diameter.constants import (
    HEADER_OCTETS,
    MAX_GROUP_DEPTH,
    MAX_MESSAGE_OCTETS,
    VERSION,
    AvpFlag,
    MessageFlag,
)
from ferret.protocols.diameter.definition import GROUPED
from ferret.protocols.diameter.tree import Avp, Message
from ferret.protocols.summary import Kind, Peek

_VENDOR = int(AvpFlag.VENDOR)
_FRONT = struct.Struct(">II")  # version and length, command flags and command code
_REQUEST = int(MessageFlag.REQUEST) << 24
_RESERVED_FLAGS = 0x0F << 24
_ZEROS = (b"", b"\0", b"\0\0", b"\0\0\0")
_DEFINITIONS = dictionary.MODULE  # without the definitions no AVP would be known as grouped


def _header_fault(octets: bytes) -> str:
    """Why the first 20 octets cannot be a Diameter header; "" if they can."""
    length = int.from_bytes(octets[1:4], "big")
    if octets[0] != VERSION:
        return f"version {octets[0]}, not {VERSION}"
    if length < HEADER_OCTETS:
        return f"message length {length} is less than a header"
    if length % 4:
        return f"message length {length} is no multiple of four"
    if length > MAX_MESSAGE_OCTETS:
        return f"message length {length} is more than {MAX_MESSAGE_OCTETS}"
    return ""


def peek(octets: bytes) -> Peek | None:
    """What the hot path sees: needs the header only, so `length` may be more than there is. None: not Diameter.

    `type` is the command code, `correlation` the hop-by-hop identifier as "0x0000002a".
    """
    if len(octets) < HEADER_OCTETS:
        return None
    first, second = _FRONT.unpack_from(octets)
    length = first & 0xFFFFFF
    if first >> 24 != VERSION or length < HEADER_OCTETS or length & 3 or length > MAX_MESSAGE_OCTETS:
        return None
    if second & _RESERVED_FLAGS:
        return None
    if length > HEADER_OCTETS and len(octets) >= 28:
        avp_length = int.from_bytes(octets[25:28], "big")
        if avp_length < 8 or HEADER_OCTETS + avp_length > length:
            return None
    kind = Kind.REQUEST if second & _REQUEST else Kind.RESPONSE
    return Peek(kind, str(second & 0xFFFFFF), "0x" + octets[12:16].hex(), length)


def split(buffer: bytes) -> tuple[list[bytes], int]:
    """The complete messages at the front of a stream, and how many octets they take.

    What is not yet complete stays for the next call. Raises DecodeError where the stream has no header at its front
    (wrong version, a length of 0 or beyond MAX_MESSAGE_OCTETS); complete messages before that place are returned first.
    """
    messages: list[bytes] = []
    place = 0
    while len(buffer) - place >= HEADER_OCTETS:
        fault = _header_fault(buffer[place : place + HEADER_OCTETS])
        if fault:
            if messages:
                break
            raise DecodeError(f"Diameter stream: {fault}", place)
        length = int.from_bytes(buffer[place + 1 : place + 4], "big")
        if len(buffer) - place < length:
            break
        messages.append(bytes(buffer[place : place + length]))
        place += length
    return messages, place


def decode(octets: bytes) -> Message:
    """The one message that `octets` are. Raises DecodeError.

    A grouped AVP whose content is not a sequence of AVPs keeps its content as octets.
    """
    if len(octets) < HEADER_OCTETS:
        raise DecodeError(f"Diameter: {len(octets)} octets are less than a header", len(octets))
    length = int.from_bytes(octets[1:4], "big")
    if octets[0] != VERSION:
        raise DecodeError(f"Diameter: version {octets[0]}, not {VERSION}")
    if length != len(octets):
        raise DecodeError(f"Diameter: message length {length}, but {len(octets)} octets", 1)
    if length > MAX_MESSAGE_OCTETS:
        raise DecodeError(f"Diameter: message length {length} is more than {MAX_MESSAGE_OCTETS}", 1)
    octets = bytes(octets)
    return Message(
        command=int.from_bytes(octets[5:8], "big"),
        application=int.from_bytes(octets[8:12], "big"),
        flags=octets[4],
        hop_by_hop=int.from_bytes(octets[12:16], "big"),
        end_to_end=int.from_bytes(octets[16:20], "big"),
        avps=_decode_avps(octets, HEADER_OCTETS, length, MAX_GROUP_DEPTH),
    )


def decode_avps(octets: bytes) -> tuple[Avp, ...]:
    """A sequence of AVPs without a message around it. Raises DecodeError."""
    return _decode_avps(octets, 0, len(octets), MAX_GROUP_DEPTH)


def _decode_avps(octets: bytes, start: int, end: int, depth: int) -> tuple[Avp, ...]:
    avps: list[Avp] = []
    place = start
    while place < end:
        if end - place < 8:
            raise DecodeError(f"Diameter: {end - place} octets are less than an AVP header", place)
        code = int.from_bytes(octets[place : place + 4], "big")
        flags = octets[place + 4]
        length = int.from_bytes(octets[place + 5 : place + 8], "big")
        content = place + (12 if flags & _VENDOR else 8)
        finish = place + length
        if finish < content or finish > end:
            raise DecodeError(f"Diameter: AVP {code} has a length of {length}", place + 5)
        vendor = int.from_bytes(octets[place + 8 : place + 12], "big") if flags & _VENDOR else 0
        after = min(place + (length + 3 & ~3), end)
        padding = octets[finish:after]
        value = _decode_value(octets, content, finish, (code, vendor), depth)
        avps.append(Avp(code, vendor, flags, value, None if padding == _ZEROS[-length % 4] else padding))
        place = after
    return tuple(avps)


def _decode_value(octets: bytes, start: int, end: int, key: tuple[int, int], depth: int) -> bytes | tuple[Avp, ...]:
    if key in GROUPED and depth > 0:
        try:
            return _decode_avps(octets, start, end, depth - 1)
        except DecodeError:
            pass
    return octets[start:end]
