"""Whether octets are exactly one message, as nearly all messages are written, and of which type.

Each function here says "no" (empty) where it is not certain, and what it says "yes" to, the dissector takes for a
message as well; tests hold it. They look at as little as that needs.
"""

from __future__ import annotations

from typing import Final

from ferret.protocols.gtpv2.names import MESSAGE_NAMES
from ferret_agents.live.message_types import METHODS, S1AP_TYPES

_LONGEST_METHOD: Final = 12  # octets, and more than one
_LONGEST_LINE: Final = 8000  # octets
_METHODS: Final = frozenset(method.encode() for method in METHODS)
_CONTENT_LENGTH: Final = b"\r\nContent-Length: "
_S1AP_IDS: Final = (0, 8)  # MME-UE-S1AP-ID, eNB-UE-S1AP-ID (TS 36.413 clause 9.3.6)
_CRITICALITIES: Final = (0x00, 0x40, 0x80)


def one_gtpv2(octets: bytes) -> int:
    """The message type of a GTPv2-C message whose IEs can be walked to its end (TS 29.274 clauses 5.1, 8.2.1); or 0."""
    end = len(octets)
    if end < 12 or octets[0] >> 5 != 2 or (octets[2] << 8 | octets[3]) + 4 != end:
        return 0
    kind = octets[1]
    if kind not in MESSAGE_NAMES:
        return 0
    at = 12 if octets[0] & 0x08 else 8
    try:
        while at < end:
            if not octets[at]:
                return 0
            at += 4 + (octets[at + 1] << 8 | octets[at + 2])
    except IndexError:
        return 0
    return kind if at == end else 0


def one_sip(octets: bytes) -> bytes:
    """The method, or "SIP/2.0 " and a digit of the status, of a SIP message as long as it says; or b""."""
    end = octets.find(b"\r")
    if end < 12 or octets.find(b"\n") != end + 1:
        return b""
    kind = octets[: octets.find(b" ", 0, _LONGEST_METHOD)]
    if kind == b"SIP/2.0":
        if not octets[8:11].isdigit() or octets[11] != 32:
            return b""
        kind = octets[:9]
    elif kind not in _METHODS or not 9 <= end - len(kind) - 1 <= _LONGEST_LINE or octets[end - 8 : end] != b" SIP/2.0":
        return b""
    head = octets.find(b"\r\n\r\n", end)
    at = octets.find(_CONTENT_LENGTH, end, head + 2)
    if head < 0 or at < 0:
        return b""
    length = b"%d\r\n" % (len(octets) - head - 4)
    return kind if octets.startswith(length, at + len(_CONTENT_LENGTH)) else b""


def one_s1ap(octets: bytes) -> bytes:
    """The first two octets of an S1AP PDU that `message_types` has a name for, its length in one piece; or b"".

    X.691 clause 11.9; TS 36.413 clause 9.3.3. The S1AP IDs, which nearly every message begins with, have the octets
    that they say they have.
    """
    size, kind = len(octets), octets[:2]
    if size < 5 or kind not in S1AP_TYPES or octets[2] not in _CRITICALITIES:
        return b""
    length = octets[3]
    at = 7  # of the first IE
    if length & 0x80:
        length, at = (length & 0x3F) << 8 | octets[4], 8 if length < 0xC0 else size
    if at + length - 3 != size:
        return b""
    seen = 0
    while seen < 2 and at + 6 <= size and octets[at + 3] <= 6:
        length = octets[at + 3]
        if not octets[at] and octets[at + 1] in _S1AP_IDS and length <= (octets[at + 4] >> 6) + 1:
            return b""
        at += 4 + length
        seen += 1
    return kind
