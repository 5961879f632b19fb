"""GTP-U packets (3GPP TS 29.281 clause 5): header with options and extension headers, and the path messages.

`open_tunnel` and `wrap` are the fast way for user packets; `decode` and `Packet.encode` keep every bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from ipaddress import ip_address
from typing import Final, NamedTuple

from ferret.errors import DecodeError

PORT: Final = 2152
"""The UDP port of GTP-U (clause 4.4.2)."""

_VERSION_1_GTP = 0x30  # version 1, protocol type GTP
_E, _OPTIONS = 0x04, 0x07  # extension header flag; any of E, S, PN
_NO_EXTENSION = 0


class GtpuType(IntEnum):
    """Message types (clause 6.1)."""

    ECHO_REQUEST = 1
    ECHO_RESPONSE = 2
    ERROR_INDICATION = 26
    SUPPORTED_EXTENSION_HEADERS_NOTIFICATION = 31
    TUNNEL_STATUS = 253
    END_MARKER = 254
    T_PDU = 255


class ExtensionType(IntEnum):
    """Extension header types (clause 5.2.1)."""

    SERVICE_CLASS_INDICATOR = 0x20
    UDP_PORT = 0x40
    RAN_CONTAINER = 0x81
    LONG_PDCP_PDU_NUMBER = 0x82
    NR_RAN_CONTAINER = 0x84
    PDU_SESSION_CONTAINER = 0x85
    PDCP_PDU_NUMBER = 0xC0


class ExtensionHeader(NamedTuple):
    """One extension header. `content` is what lies between its length and its next type: 4n - 2 octets."""

    type: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Packet:
    """One GTP-U message. `payload` is the user's packet of a T-PDU, the IEs of anything else.

    `flags` is bits 4 to 1 of octet 1 (spare, E, S, PN). `option` is the sequence number and N-PDU number as they stand
    in the header (3 octets), b"" where the header has no option. `last` is the final "next extension header type"
    octet, `trailing` what follows the message in its datagram.
    """

    type: int
    teid: int
    payload: bytes = b""
    flags: int = 0
    option: bytes = b""
    extensions: tuple[ExtensionHeader, ...] = ()
    last: int = _NO_EXTENSION
    trailing: bytes = b""

    @property
    def sequence(self) -> int | None:
        """The sequence number; None where the S flag says that it means nothing."""
        return self.option[0] << 8 | self.option[1] if self.flags & 2 and self.option else None

    def encode(self) -> bytes:
        """The octets. Raises ValueError or OverflowError where a number does not fit."""
        middle = b""
        if self.option:
            types = [one.type for one in self.extensions] + [self.last]
            middle = self.option + bytes(types[:1])
            for one, following in zip(self.extensions, types[1:], strict=True):
                middle += bytes(((len(one.content) + 2) // 4,)) + one.content + bytes((following,))
        length = len(middle) + len(self.payload)
        head = bytes((_VERSION_1_GTP | self.flags, self.type)) + length.to_bytes(2, "big")
        return head + self.teid.to_bytes(4, "big") + middle + self.payload + self.trailing


def decode(octets: bytes) -> Packet:
    """Read one GTP-U message. Raises DecodeError."""
    if len(octets) < 8:
        raise DecodeError(f"{len(octets)} octets are too few for a GTP-U header", len(octets))
    if octets[0] & 0xF0 != _VERSION_1_GTP:
        raise DecodeError(f"first octet {octets[0]:#04x} is not of GTP version 1", 0)
    end = 8 + (octets[2] << 8 | octets[3])
    flags = octets[0] & 15
    if end > len(octets) or (flags & _OPTIONS and end < 12):
        raise DecodeError(f"length field says {end} octets, {len(octets)} are there", 2)
    start, option, last = 8, b"", _NO_EXTENSION
    extensions: list[ExtensionHeader] = []
    if flags & _OPTIONS:
        start, option, last = 12, bytes(octets[8:11]), octets[11]
        while flags & _E and last != _NO_EXTENSION:
            stop = start + 4 * octets[start] if start < end else end + 1
            if stop > end or stop == start:
                raise DecodeError(f"extension header {last:#04x} is cut short", start)
            extensions.append(ExtensionHeader(last, bytes(octets[start + 1 : stop - 1])))
            start, last = stop, octets[stop - 1]
    teid = int.from_bytes(octets[4:8], "big")
    payload, trailing = bytes(octets[start:end]), bytes(octets[end:])
    return Packet(octets[1], teid, payload, flags, option, tuple(extensions), last, trailing)


def open_tunnel(octets: bytes) -> tuple[int, bytes] | None:
    """TEID and inner packet of a T-PDU; None where the octets are something else, or malformed. Never raises."""
    if len(octets) < 8 or octets[1] != GtpuType.T_PDU or octets[0] & 0xF0 != _VERSION_1_GTP:
        return None
    if octets[0] & _OPTIONS:
        try:
            packet = decode(octets)
        except DecodeError:
            return None
        return packet.teid, packet.payload
    end = 8 + (octets[2] << 8 | octets[3])
    return (int.from_bytes(octets[4:8], "big"), octets[8:end]) if end <= len(octets) else None


def wrap(teid: int, packet: bytes) -> bytes:
    """A T-PDU without options around a user's packet."""
    return b"\x30\xff" + len(packet).to_bytes(2, "big") + teid.to_bytes(4, "big") + packet


def echo_request(sequence: int) -> bytes:
    """Echo Request (clause 7.2.1): TEID 0, sequence number as clause 5.1 asks."""
    return Packet(GtpuType.ECHO_REQUEST, 0, b"", 2, sequence.to_bytes(2, "big") + b"\0").encode()


def echo_response(request: Packet) -> bytes:
    """Echo Response (clause 7.2.2) with the request's sequence number; Recovery is 0, as the clause says."""
    option = (request.option or b"\0\0\0")[:2] + b"\0"
    return Packet(GtpuType.ECHO_RESPONSE, 0, b"\x0e\x00", 2, option).encode()


def end_marker(teid: int) -> bytes:
    """End Marker (clause 7.3.2): the last packet of a tunnel whose path has switched."""
    return Packet(GtpuType.END_MARKER, teid).encode()


class ErrorIndication(NamedTuple):
    """Error Indication (clause 7.3.1): the sender at `address` has no context for `teid`."""

    teid: int
    address: str

    def encode(self) -> bytes:
        """The whole message. Raises ValueError where the address is not one."""
        packed = ip_address(self.address).packed
        payload = b"\x10" + self.teid.to_bytes(4, "big") + b"\x85" + len(packed).to_bytes(2, "big") + packed
        return Packet(GtpuType.ERROR_INDICATION, 0, payload, 2, b"\0\0\0").encode()


_FIXED_LENGTHS = {14: 1, 16: 4}  # Recovery, TEID Data I: type and value without length (clause 8.1)


def error_indication(packet: Packet) -> ErrorIndication:
    """What an Error Indication says. Raises DecodeError where TEID Data I or the peer's address is missing."""
    found: dict[int, bytes] = {}
    at = 0
    payload = packet.payload
    while at < len(payload):
        kind = payload[at]
        if kind in _FIXED_LENGTHS:
            start, size = at + 1, _FIXED_LENGTHS[kind]
        else:
            start, size = at + 3, int.from_bytes(payload[at + 1 : at + 3], "big")
        at = start + size
        if at > len(payload) or (kind < 128 and kind not in _FIXED_LENGTHS):
            raise DecodeError(f"information element {kind} is unknown or cut short", start)
        found.setdefault(kind, payload[start:at])
    address = found.get(133, b"")
    if 16 not in found or len(address) not in (4, 16):
        raise DecodeError("Error Indication without TEID Data I or GTP-U Peer Address")
    return ErrorIndication(int.from_bytes(found[16], "big"), str(ip_address(address)))
