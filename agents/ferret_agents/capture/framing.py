"""Where a Diameter or SIP message begins and ends in an octet stream, mid-stream and on any port.

Diameter: RFC 6733 clause 3. SIP: RFC 3261 clause 18.3 (Content-Length), clause 7 (start lines).
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

from ferret.protocols.summary import Protocol

DIAMETER_HEADER = 20
MAX_MESSAGE = 1 << 20  # octets of one message in a stream; a Diameter length could say 16 MB, no real one does
MAX_SIP_HEADER = 1 << 18

# Application identifiers (RFC 6733, TS 29.230, RFC 4006 and others): what a header must show to be found mid-stream.
_APPLICATIONS = frozenset((0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0xFFFFFFFF))
_VENDOR_APPLICATIONS = range(16_777_216, 16_777_420)
_COMMANDS = range(257, 329)
_VENDOR_COMMANDS = range(8_388_608, 8_388_760)

# version, length (at most MAX_MESSAGE, a multiple of four), flags with the reserved bits zero
_DIAMETER_START = re.compile(
    rb"\x01[\x00-\x0f].[\x00\x04\x08\x0c\x10\x14\x18\x1c\x20\x24\x28\x2c\x30\x34\x38\x3c\x40\x44\x48\x4c\x50\x54\x58"
    rb"\x5c\x60\x64\x68\x6c\x70\x74\x78\x7c\x80\x84\x88\x8c\x90\x94\x98\x9c\xa0\xa4\xa8\xac\xb0\xb4\xb8\xbc\xc0\xc4"
    rb"\xc8\xcc\xd0\xd4\xd8\xdc\xe0\xe4\xe8\xec\xf0\xf4\xf8\xfc][\x00\x10\x20\x30\x40\x50\x60\x70\x80\x90\xa0\xb0\xc0"
    rb"\xd0\xe0\xf0][\x00\x80]",
    re.DOTALL,
)
_SIP_LINE = re.compile(  # possessive: a line of spaces must not cost the square of its length
    rb"(?:SIP/\d\.\d[ \t]+\d{3}[ \t\r\n]|[A-Za-z0-9\-.!%*_+`'~]{1,80}[ \t]++[^\r\n]{1,8192}?[ \t]SIP/\d\.\d[ \t]*\r?\n)"
)
_SIP_START = re.compile(rb"(?:\A|\n)(SIP/\d\.\d[ \t]+\d{3}[ \t]|[A-Z]{2,32} [^\r\n]{1,8192}? SIP/2\.0\r?\n)")
_SIP_PART = re.compile(rb"(?:S(?:I(?:P(?:/2?)?)?)?\Z|SIP/2|[A-Z]{1,32}(?: [^\r\n]*)?\r?\Z)")
_HEADER_END = re.compile(rb"\n\r?\n")
_CONTENT_LENGTH = re.compile(rb"\n(?:content-length|l)[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)
_HEAD = struct.Struct(">I")  # of Diameter: version and length


class Extent(NamedTuple):
    """What stands at the beginning of a buffer."""

    length: int  # octets of the message, all of which may not be here yet; 0: more octets are needed to say
    fault: str = ""  # not empty: it is no message, and why


def diameter_length(octets: bytes | bytearray, at: int = 0) -> int:
    """The length that the 20 octets at `at` say, as a Diameter header; 0: they are none that could be followed."""
    (head,) = _HEAD.unpack_from(octets, at)
    length: int = head & 0xFFFFFF
    return length if head >> 24 == 1 and DIAMETER_HEADER <= length <= MAX_MESSAGE and not length & 3 else 0


def diameter_fault(octets: bytes | bytearray, at: int = 0) -> str:
    """Why the 20 octets at `at` are no Diameter header that could be followed; "" if they are one."""
    if diameter_length(octets, at):
        return ""
    if octets[at] != 1:
        return f"Diameter version {octets[at]}"
    length = int.from_bytes(octets[at + 1 : at + 4], "big")
    is_in_bounds = DIAMETER_HEADER <= length <= MAX_MESSAGE
    return f"a Diameter length of {length}{', which is no multiple of four' if is_in_bounds else ''}"


def is_diameter(octets: bytes | bytearray, at: int = 0) -> bool:
    """Whether a Diameter header stands at `at` beyond reasonable doubt, on whatever port. Needs 20 octets."""
    length = diameter_length(octets, at) if at + DIAMETER_HEADER <= len(octets) else 0
    if not length or octets[at + 4] & 0x0F:
        return False
    command = int.from_bytes(octets[at + 5 : at + 8], "big")
    application = int.from_bytes(octets[at + 8 : at + 12], "big")
    if application not in _APPLICATIONS and application not in _VENDOR_APPLICATIONS:
        return False
    if command not in _COMMANDS and command not in _VENDOR_COMMANDS:
        return False
    if length == DIAMETER_HEADER or at + 28 > len(octets):
        return True
    avp = int.from_bytes(octets[at + 25 : at + 28], "big")
    return not octets[at + 24] & 0x1F and 8 <= avp <= length - DIAMETER_HEADER


def diameter_extent(octets: bytes | bytearray) -> Extent:
    """The extent of the Diameter message at the beginning of a stream that is known to carry Diameter."""
    if len(octets) < DIAMETER_HEADER:
        return Extent(0, "" if not octets or octets[0] == 1 else f"Diameter version {octets[0]}")
    length = diameter_length(octets)
    return Extent(length, "" if length else diameter_fault(octets))


def is_sip(octets: bytes | bytearray) -> bool:
    """Whether a SIP start line stands at the beginning."""
    return _SIP_LINE.match(octets) is not None


def may_be_sip(octets: bytes | bytearray) -> bool:
    """Whether a SIP start line, or the first octets of one, stand at the beginning."""
    return is_sip(octets) or (b"\n" not in octets and _SIP_PART.match(octets) is not None)


def sip_extent(octets: bytes | bytearray, searched: int = 0, at: int = 0) -> Extent:
    """The extent of the SIP message at `at` in a stream.

    `searched`: octets from there that an earlier call has already searched for the header's end in vain. Without
    Content-Length, which a stream must have, the body is taken as empty.
    """
    if _SIP_LINE.match(octets, at) is None:
        if b"\n" in octets[at : at + 8192] or len(octets) - at >= 8192 or not _SIP_PART.match(octets, at):
            return Extent(0, "no SIP start line")
        return Extent(0)
    end = _HEADER_END.search(octets, at + max(0, searched - 3))
    if end is None:
        is_long = len(octets) - at > MAX_SIP_HEADER
        return Extent(0, f"a SIP header longer than {MAX_SIP_HEADER} octets" if is_long else "")
    field = _CONTENT_LENGTH.search(octets, at, end.end())
    text = field[1].strip() if field else b"0"
    if not text.isdigit() or len(text) > 8 or int(text) > MAX_MESSAGE:
        return Extent(0, f"a SIP Content-Length of {text[:20].decode('latin-1')!r}")
    return Extent(end.end() - at + int(text))


def find_start(octets: bytes | bytearray) -> tuple[Protocol, int] | None:
    """The first place where a Diameter or SIP message begins beyond reasonable doubt."""
    sip_at = -1
    if octets.find(b"SIP/2.0") >= 0:
        match = _SIP_START.search(octets)
        if match is not None:
            sip_at = match.start(1)
    for match in _DIAMETER_START.finditer(octets):
        at = match.start()
        if 0 <= sip_at < at:
            break
        if is_diameter(octets, at):
            return Protocol.DIAMETER, at
    return (Protocol.SIP, sip_at) if sip_at >= 0 else None


def tail_to_keep(octets: bytes | bytearray) -> int:
    """How many octets at the end, where nothing was found, could be the beginning of a message."""
    line = octets.rfind(b"\n", -8192) + 1
    if line or len(octets) <= 8192:
        candidate = octets[line:]
        if len(candidate) <= 8192 and candidate and _SIP_PART.match(candidate):
            return len(candidate)
    one = octets.find(1, max(0, len(octets) - DIAMETER_HEADER + 1))
    return len(octets) - one if one >= 0 else 0


def kind_of_stream(octets: bytes | bytearray) -> str:
    """What a stream that is neither Diameter nor SIP seems to be, for the account of ignored frames."""
    if octets[:1] in (b"\x14", b"\x15", b"\x16", b"\x17") and octets[1:2] == b"\x03":
        return "tls"
    if octets[:5] == b"HTTP/" or b" HTTP/1." in octets[:2048]:
        return "http"
    if octets[:4] == b"SSH-":
        return "ssh"
    return "tcp"
