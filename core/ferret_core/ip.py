"""IP packets (RFC 791, RFC 8200): what the network layer is to everything above it here."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, NamedTuple

TCP: Final = 6
UDP: Final = 17
FRAGMENT_HEADER: Final = 44  # IPv6 Next Header
DONT_FRAGMENT: Final = 0x4000
MORE_FRAGMENTS: Final = 0x2000
_EXTENSIONS: Final = frozenset({0, 43, 60})  # IPv6 headers that may stand before what we look for
_HOP_LIMIT: Final = 64


class Piece(NamedTuple):
    """What an IP packet is to reassembly. A packet that is whole is one piece without more to come."""

    key: tuple[bytes, bytes, int, int]  # source, destination, identification, protocol
    offset: int  # octets
    more: bool
    payload: bytes


class IpPayload(NamedTuple):
    """What an IP packet carries, whole."""

    source: str
    destination: str
    protocol: int
    payload: bytes


def ip_packet(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    """An IP packet that is not to be fragmented."""
    start, end = ip_address(source), ip_address(destination)
    if start.version == 6:
        return ipv6_packet(start.packed + end.packed, payload, 0, protocol)
    return ipv4_packet(start.packed + end.packed, payload, 0, 0, DONT_FRAGMENT, protocol)


def ip_payload(packet: bytes) -> IpPayload | None:
    """What an IP packet carries; None where it is none, or a fragment."""
    piece = piece_v4(packet) if packet[:1] and packet[0] >> 4 == 4 else piece_v6(packet)
    if piece is None or piece.offset or piece.more:
        return None
    return IpPayload(address_text(piece.key[0]), address_text(piece.key[1]), piece.key[3], piece.payload)


def protocol_of(packet: bytes) -> int:
    """The protocol (IPv6: the first header) that an IP packet carries; -1 where it is none."""
    if len(packet) >= 20 and packet[0] >> 4 == 4:
        return packet[9]
    return packet[6] if len(packet) >= 40 and packet[0] >> 4 == 6 else -1


def checksum(octets: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total = int.from_bytes(octets + b"\0" * (len(octets) & 1), "big") % 0xFFFF
    return 0xFFFF - total if total or not any(octets) else 0


def ipv4_packet(
    ends: bytes, payload: bytes, service: int, identification: int, fragment: int, protocol: int = UDP
) -> bytes:
    """An IPv4 packet. `ends`: source and destination. `fragment`: flags and offset (RFC 791 clause 3.1)."""
    numbers = (20 + len(payload), identification, fragment)
    start = bytes((0x45, service)) + b"".join(number.to_bytes(2, "big") for number in numbers)
    start += bytes((_HOP_LIMIT, protocol))
    return start + checksum(start + b"\0\0" + ends).to_bytes(2, "big") + ends + payload


def ipv6_packet(ends: bytes, payload: bytes, service: int, next_header: int) -> bytes:
    """An IPv6 packet. `ends`: source and destination. `service`: the traffic class."""
    head = (6 << 28 | service << 20).to_bytes(4, "big") + len(payload).to_bytes(2, "big")
    return head + bytes((next_header, _HOP_LIMIT)) + ends + payload


def piece_v4(packet: bytes) -> Piece | None:
    """What an IPv4 packet carries; None where it is none."""
    start = (packet[0] & 15) * 4
    total = int.from_bytes(packet[2:4], "big")
    if len(packet) < 20 or start < 20 or not start <= total <= len(packet):
        return None
    fragment = int.from_bytes(packet[6:8], "big")
    key = (packet[12:16], packet[16:20], int.from_bytes(packet[4:6], "big"), packet[9])
    return Piece(key, (fragment & 0x1FFF) * 8, bool(fragment & MORE_FRAGMENTS), packet[start:total])


def piece_v6(packet: bytes) -> Piece | None:
    """What an IPv6 packet carries behind its extension headers; None where it is none."""
    total = 40 + int.from_bytes(packet[4:6], "big")
    if len(packet) < 40 or packet[0] >> 4 != 6 or total > len(packet):
        return None
    header, at = packet[6], 40
    while header in _EXTENSIONS and at + 8 <= total:
        header, at = packet[at], at + 8 + packet[at + 1] * 8
    if header != FRAGMENT_HEADER:
        return Piece((packet[8:24], packet[24:40], 0, header), 0, False, packet[at:total])
    if at + 8 > total:
        return None
    fragment = int.from_bytes(packet[at + 2 : at + 4], "big")
    identification = int.from_bytes(packet[at + 4 : at + 8], "big")
    key = (packet[8:24], packet[24:40], identification, packet[at])
    return Piece(key, fragment & 0xFFF8, bool(fragment & 1), packet[at + 8 : total])


def address_text(address: bytes) -> str:
    """An address of 4 or 16 octets as text."""
    return str(IPv4Address(address) if len(address) == 4 else IPv6Address(address))
