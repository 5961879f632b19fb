"""IP packets with UDP in them, as a device sends and receives them on a bearer (RFC 768, RFC 791, RFC 8200).

What is longer than the bearer's MTU is cut into fragments and put together again on the other side (RFC 791 clause
3.2, RFC 8200 clause 4.5).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, NamedTuple

MTU: Final = 1400  # octets: room for GTP-U, UDP and IP around it on an Ethernet (TS 29.060 annex C has 1358 at least)
TCP: Final = 6
UDP: Final = 17
REASSEMBLY_SECONDS: Final = 30.0
MAX_REASSEMBLIES: Final = 256
MAX_PACKET: Final = 65535
_FRAGMENT_HEADER: Final = 44  # IPv6 Next Header
_EXTENSIONS: Final = frozenset({0, 43, 60})  # IPv6 headers that may stand before what we look for
_MORE: Final = 0x2000
_DONT_FRAGMENT: Final = 0x4000
_HOP_LIMIT: Final = 64


class Datagram(NamedTuple):
    """A UDP datagram with where it came from and goes to: address and port of each."""

    source: tuple[str, int]
    destination: tuple[str, int]
    payload: bytes


class _Piece(NamedTuple):
    """What an IP packet is to reassembly. A packet that is whole is one piece without more to come."""

    key: tuple[bytes, bytes, int, int]  # source, destination, identification, protocol
    offset: int  # octets
    more: bool
    payload: bytes


@dataclass(slots=True)
class _Gathering:
    """The pieces of one packet so far, by offset."""

    until: float  # seconds, monotonic
    pieces: dict[int, bytes] = field(default_factory=dict)
    length: int | None = None  # known once the last piece is here


class PacketMaker:
    """Makes IP packets of UDP datagrams. Identifications are counted, so that fragments find together."""

    def __init__(self, mtu: int = MTU) -> None:
        self._mtu = mtu
        self._identification = 0

    def packets(self, datagram: Datagram, *, service: int = 0) -> list[bytes]:
        """The datagram in one IP packet, or in fragments. `service`: DSCP and ECN."""
        source, destination = ip_address(datagram.source[0]), ip_address(datagram.destination[0])
        udp = _udp(source.packed + destination.packed, datagram)
        self._identification = (self._identification + 1) & 0xFFFF
        if source.version == 6:
            return self._ipv6(source.packed + destination.packed, udp, service)
        return self._ipv4(source.packed + destination.packed, udp, service)

    def _ipv4(self, ends: bytes, payload: bytes, service: int) -> list[bytes]:
        if 20 + len(payload) <= self._mtu:
            return [_ipv4(ends, payload, service, 0, _DONT_FRAGMENT)]
        step = (self._mtu - 20) & ~7
        found = []
        for at in range(0, len(payload), step):
            more = _MORE if at + step < len(payload) else 0
            found.append(_ipv4(ends, payload[at : at + step], service, self._identification, more | at >> 3))
        return found

    def _ipv6(self, ends: bytes, payload: bytes, service: int) -> list[bytes]:
        if 40 + len(payload) <= self._mtu:
            return [_ipv6(ends, payload, service, UDP)]
        step = (self._mtu - 48) & ~7
        found = []
        for at in range(0, len(payload), step):
            more = at + step < len(payload)
            head = bytes((UDP, 0)) + (at | more).to_bytes(2, "big") + self._identification.to_bytes(4, "big")
            found.append(_ipv6(ends, head + payload[at : at + step], service, _FRAGMENT_HEADER))
        return found


class PacketReader:
    """Takes IP packets, gives UDP datagrams. What is no UDP, is damaged or never becomes whole is dropped, counted."""

    def __init__(self) -> None:
        self.dropped = 0
        self._gathering: dict[tuple[bytes, bytes, int, int], _Gathering] = {}

    def receive(self, packet: bytes, now: float) -> Datagram | None:
        """The datagram that this packet is, or completes; None: there is none, or none yet."""
        piece = _piece_v4(packet) if packet[:1] and packet[0] >> 4 == 4 else _piece_v6(packet)
        if piece is None or piece.key[3] != UDP:
            self.dropped += 1
            return None
        payload: bytes | None = piece.payload
        if piece.offset or piece.more:
            payload = self._gathered(piece, now)
            if payload is None:
                return None
        datagram = _datagram(piece.key[0], piece.key[1], payload or b"")
        if datagram is None:
            self.dropped += 1
        return datagram

    def _gathered(self, piece: _Piece, now: float) -> bytes | None:
        self._expire(now)
        gathering = self._gathering.setdefault(piece.key, _Gathering(now + REASSEMBLY_SECONDS))
        end = piece.offset + len(piece.payload)
        damaged = end > MAX_PACKET or (piece.more and len(piece.payload) & 7)
        if damaged or not piece.payload or self._contradicts(gathering, piece):
            self._gathering.pop(piece.key, None)
            self.dropped += 1
            return None
        gathering.pieces[piece.offset] = piece.payload
        if not piece.more:
            gathering.length = end
        if gathering.length is None or sum(map(len, gathering.pieces.values())) < gathering.length:
            return None
        del self._gathering[piece.key]
        return b"".join(gathering.pieces[at] for at in sorted(gathering.pieces))[: gathering.length]

    def _contradicts(self, gathering: _Gathering, piece: _Piece) -> bool:
        """Whether a piece overlaps others: then the packet is dropped (RFC 5722, RFC 8200 clause 4.5)."""
        end = piece.offset + len(piece.payload)
        if gathering.length is not None and end > gathering.length:
            return True
        return any(
            at < end and piece.offset < at + len(octets) and (at, octets) != (piece.offset, piece.payload)
            for at, octets in gathering.pieces.items()
        )

    def _expire(self, now: float) -> None:
        for key in [key for key, one in self._gathering.items() if one.until <= now]:
            del self._gathering[key]
            self.dropped += 1
        while len(self._gathering) >= MAX_REASSEMBLIES:
            del self._gathering[next(iter(self._gathering))]
            self.dropped += 1


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
        return _ipv6(start.packed + end.packed, payload, 0, protocol)
    return _ipv4(start.packed + end.packed, payload, 0, 0, _DONT_FRAGMENT, protocol)


def ip_payload(packet: bytes) -> IpPayload | None:
    """What an IP packet carries; None where it is none, or a fragment."""
    piece = _piece_v4(packet) if packet[:1] and packet[0] >> 4 == 4 else _piece_v6(packet)
    if piece is None or piece.offset or piece.more:
        return None
    return IpPayload(_text(piece.key[0]), _text(piece.key[1]), piece.key[3], piece.payload)


def protocol_of(packet: bytes) -> int:
    """The protocol (IPv6: the first header) that an IP packet carries; -1 where it is none."""
    if len(packet) >= 20 and packet[0] >> 4 == 4:
        return packet[9]
    return packet[6] if len(packet) >= 40 and packet[0] >> 4 == 6 else -1


def checksum(octets: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total = int.from_bytes(octets + b"\0" * (len(octets) & 1), "big") % 0xFFFF
    return 0xFFFF - total if total or not any(octets) else 0


def _udp(ends: bytes, datagram: Datagram) -> bytes:
    length = 8 + len(datagram.payload)
    head = b"".join(number.to_bytes(2, "big") for number in (datagram.source[1], datagram.destination[1], length))
    pseudo = ends + length.to_bytes(4, "big") + UDP.to_bytes(4, "big")
    total = checksum(pseudo + head + b"\0\0" + datagram.payload) or 0xFFFF
    return head + total.to_bytes(2, "big") + datagram.payload


def _ipv4(ends: bytes, payload: bytes, service: int, identification: int, fragment: int, protocol: int = UDP) -> bytes:
    numbers = (20 + len(payload), identification, fragment)
    start = bytes((0x45, service)) + b"".join(number.to_bytes(2, "big") for number in numbers)
    start += bytes((_HOP_LIMIT, protocol))
    return start + checksum(start + b"\0\0" + ends).to_bytes(2, "big") + ends + payload


def _ipv6(ends: bytes, payload: bytes, service: int, next_header: int) -> bytes:
    head = (6 << 28 | service << 20).to_bytes(4, "big") + len(payload).to_bytes(2, "big")
    return head + bytes((next_header, _HOP_LIMIT)) + ends + payload


def _piece_v4(packet: bytes) -> _Piece | None:
    start = (packet[0] & 15) * 4
    total = int.from_bytes(packet[2:4], "big")
    if len(packet) < 20 or start < 20 or not start <= total <= len(packet):
        return None
    fragment = int.from_bytes(packet[6:8], "big")
    key = (packet[12:16], packet[16:20], int.from_bytes(packet[4:6], "big"), packet[9])
    return _Piece(key, (fragment & 0x1FFF) * 8, bool(fragment & _MORE), packet[start:total])


def _piece_v6(packet: bytes) -> _Piece | None:
    total = 40 + int.from_bytes(packet[4:6], "big")
    if len(packet) < 40 or packet[0] >> 4 != 6 or total > len(packet):
        return None
    header, at = packet[6], 40
    while header in _EXTENSIONS and at + 8 <= total:
        header, at = packet[at], at + 8 + packet[at + 1] * 8
    if header != _FRAGMENT_HEADER:
        return _Piece((packet[8:24], packet[24:40], 0, header), 0, False, packet[at:total])
    if at + 8 > total:
        return None
    fragment = int.from_bytes(packet[at + 2 : at + 4], "big")
    identification = int.from_bytes(packet[at + 4 : at + 8], "big")
    key = (packet[8:24], packet[24:40], identification, packet[at])
    return _Piece(key, fragment & 0xFFF8, bool(fragment & 1), packet[at + 8 : total])


def _datagram(source: bytes, destination: bytes, payload: bytes) -> Datagram | None:
    length = int.from_bytes(payload[4:6], "big")
    if not 8 <= length <= len(payload):
        return None
    payload = payload[:length]
    pseudo = source + destination + length.to_bytes(4, "big") + UDP.to_bytes(4, "big")
    unchecked = payload[6:8] == b"\0\0" and len(source) == 4  # RFC 768: IPv4 may do without
    if not unchecked and checksum(pseudo + payload):
        return None
    ports = int.from_bytes(payload[:2], "big"), int.from_bytes(payload[2:4], "big")
    return Datagram((_text(source), ports[0]), (_text(destination), ports[1]), payload[8:])


def _text(address: bytes) -> str:
    return str(IPv4Address(address) if len(address) == 4 else IPv6Address(address))
