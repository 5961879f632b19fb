"""GTP-U: the packet inside a tunnel (TS 29.281 clauses 5.1 and 5.2)."""

from __future__ import annotations

from typing import NamedTuple

PORT = 2152
_T_PDU = 255
_KINDS = {
    1: "gtp-u echo", 2: "gtp-u echo", 26: "gtp-u error indication", 31: "gtp-u extension notification",
    253: "gtp-u tunnel status", 254: "gtp-u end marker",
}  # fmt: skip
_MAX_EXTENSIONS = 16


class TunnelPdu(NamedTuple):
    """A T-PDU: whose tunnel it is in, and where in the octets the packet inside begins."""

    teid: int
    start: int


def is_gtpu(octets: bytes, start: int, end: int) -> bool:
    """Whether a GTP-U header stands there: version 1, protocol type GTP, a length that fits."""
    return end - start >= 8 and octets[start] & 0xF0 == 0x30 and not octets[start] & 0x08


def open_tunnel(octets: bytes, start: int, end: int) -> TunnelPdu | str:
    """What a GTP-U message carries; a string names the kind of one that carries no packet, or what is wrong."""
    flags, kind = octets[start], octets[start + 1]
    if kind != _T_PDU:
        return _KINDS.get(kind, "gtp-u other")
    teid = int.from_bytes(octets[start + 4 : start + 8], "big")
    at = start + 8
    if flags & 0x07:
        at += 4
        extension = octets[at - 1] if flags & 0x04 and at <= end else 0
        for _ in range(_MAX_EXTENSIONS):
            if not extension:
                break
            length = octets[at] << 2 if at < end else 0
            if not length or at + length > end:
                return "gtp-u malformed"
            at += length
            extension = octets[at - 1]
        else:
            return "gtp-u malformed"
    if at >= end:
        return "gtp-u malformed"
    return TunnelPdu(teid, at)
