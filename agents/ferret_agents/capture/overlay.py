"""Packets that a data centre or a mirror port has packed into others: VXLAN, GRE, ERSPAN.

VXLAN: RFC 7348 clause 5. GRE: RFC 2784, with the fields of RFC 2890. ERSPAN types I, II and III:
draft-foschiano-erspan. What comes out is an EtherType and where in the octets its packet begins.
"""

from __future__ import annotations

from ferret.errors import DecodeError
from ferret_agents.capture import link

VXLAN_PORT = 4789
_TRANSPARENT_ETHERNET = 0x6558
_ERSPAN_II, _ERSPAN_III = 0x88BE, 0x22EB
_CHECKSUM, _KEY, _SEQUENCE = 0x80, 0x20, 0x10


def is_vxlan(octets: bytes, start: int, end: int) -> bool:
    """Whether a VXLAN header with a valid network identifier stands there."""
    return end - start >= 8 + 14 and octets[start] == 0x08 and not any(octets[start + 1 : start + 4])


def vxlan(octets: bytes, start: int) -> tuple[int, int]:
    """What a VXLAN packet carries. Raises DecodeError."""
    return _ethernet(octets, start + 8)


def gre(octets: bytes, start: int, end: int) -> tuple[int, int]:
    """What a GRE packet carries: (EtherType, start). Raises DecodeError where it is cut."""
    if end - start < 4:
        raise DecodeError("the GRE header is cut", end)
    flags = octets[start]
    protocol = octets[start + 2] << 8 | octets[start + 3]
    at = start + 4 + sum(4 for flag in (_CHECKSUM, _KEY, _SEQUENCE) if flags & flag)
    if octets[start + 1] & 0x07:
        return protocol, at  # version 1 is PPTP's
    if protocol == _TRANSPARENT_ETHERNET:
        return _ethernet(octets, at)
    if protocol == _ERSPAN_II:
        return _ethernet(octets, at + (8 if flags & _SEQUENCE else 0))  # type I has neither
    if protocol == _ERSPAN_III:
        optional = 8 if at + 12 <= end and octets[at + 11] & 1 else 0
        return _ethernet(octets, at + 12 + optional)
    return protocol, at


def _ethernet(octets: bytes, at: int) -> tuple[int, int]:
    protocol, start = link.ethernet(octets[at:])
    return protocol, at + start
