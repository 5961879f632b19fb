"""ESP without encryption: IMS devices often protect Gm for integrity only (TS 33.203 clause 7.1, RFC 2410).

Whether ESP is encrypted is nowhere said in the packet. It is taken for plain where its trailer reads as one
(RFC 4303 clause 2.4, as RFC 5879 suggests) and the packet inside has a header that fits; chance does that about once
in ten million encrypted packets.
"""

from __future__ import annotations

from typing import NamedTuple

UDP_PORT = 4500  # RFC 3948
_HEADER = 8  # SPI and sequence number
_CHECK_VALUES = (12, 16, 0)  # octets: HMAC-MD5-96 and HMAC-SHA-1-96 (those of TS 33.203), HMAC-SHA-256-128, none
_TCP, _UDP, _IPV4, _IPV6 = 6, 17, 4, 41


class Plain(NamedTuple):
    """What an unencrypted ESP packet carries."""

    protocol: int
    start: int
    end: int


def open_plain(octets: bytes, start: int, end: int) -> Plain | None:
    """The packet in `octets[start:end]`, an ESP header and all behind it; None where it seems to be encrypted."""
    for check in _CHECK_VALUES:
        trailer = end - check - 2
        inside = start + _HEADER
        if trailer <= inside or (trailer + 2 - inside) & 3:
            continue
        padding, protocol = octets[trailer], octets[trailer + 1]
        stop = trailer - padding
        if stop < inside + 8 or octets[stop:trailer] != bytes(range(1, padding + 1)):
            continue
        if _fits(protocol, octets, inside, stop):
            return Plain(protocol, inside, stop)
    return None


def _fits(protocol: int, octets: bytes, start: int, end: int) -> bool:
    if protocol == _UDP:
        return octets[start + 4] << 8 | octets[start + 5] == end - start
    if protocol == _TCP:
        header = octets[start + 12] >> 4 << 2 if end - start >= 20 else 0
        return 20 <= header <= end - start and not octets[start + 12] & 0x0E
    if protocol == _IPV4:
        return octets[start] >> 4 == 4 and octets[start + 2] << 8 | octets[start + 3] == end - start
    if protocol == _IPV6 and end - start >= 40:
        return octets[start] >> 4 == 6 and 40 + (octets[start + 4] << 8 | octets[start + 5]) == end - start
    return False
