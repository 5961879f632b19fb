"""IP packets with UDP in them, as a device sends and receives them on a bearer (RFC 768, RFC 791, RFC 8200).

What is longer than the bearer's MTU is cut into fragments and put together again on the other side (RFC 791 clause
3.2, RFC 8200 clause 4.5).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final, NamedTuple

from ferret_core.ip import (
    DONT_FRAGMENT,
    FRAGMENT_HEADER,
    MORE_FRAGMENTS,
    UDP,
    Piece,
    address_text,
    checksum,
    ipv4_packet,
    ipv6_packet,
    piece_v4,
    piece_v6,
)

MTU: Final = 1400  # octets: room for GTP-U, UDP and IP around it on an Ethernet (TS 29.060 annex C has 1358 at least)
REASSEMBLY_SECONDS: Final = 30.0
MAX_REASSEMBLIES: Final = 256
MAX_PACKET: Final = 65535


class Datagram(NamedTuple):
    """A UDP datagram with where it came from and goes to: address and port of each."""

    source: tuple[str, int]
    destination: tuple[str, int]
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
            return [ipv4_packet(ends, payload, service, 0, DONT_FRAGMENT)]
        step = (self._mtu - 20) & ~7
        found = []
        for at in range(0, len(payload), step):
            more = MORE_FRAGMENTS if at + step < len(payload) else 0
            found.append(ipv4_packet(ends, payload[at : at + step], service, self._identification, more | at >> 3))
        return found

    def _ipv6(self, ends: bytes, payload: bytes, service: int) -> list[bytes]:
        if 40 + len(payload) <= self._mtu:
            return [ipv6_packet(ends, payload, service, UDP)]
        step = (self._mtu - 48) & ~7
        found = []
        for at in range(0, len(payload), step):
            more = at + step < len(payload)
            head = bytes((UDP, 0)) + (at | more).to_bytes(2, "big") + self._identification.to_bytes(4, "big")
            found.append(ipv6_packet(ends, head + payload[at : at + step], service, FRAGMENT_HEADER))
        return found


class PacketReader:
    """Takes IP packets, gives UDP datagrams. What is no UDP, is damaged or never becomes whole is dropped, counted."""

    def __init__(self) -> None:
        self.dropped = 0
        self._gathering: dict[tuple[bytes, bytes, int, int], _Gathering] = {}

    def receive(self, packet: bytes, now: float) -> Datagram | None:
        """The datagram that this packet is, or completes; None: there is none, or none yet."""
        piece = piece_v4(packet) if packet[:1] and packet[0] >> 4 == 4 else piece_v6(packet)
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

    def _gathered(self, piece: Piece, now: float) -> bytes | None:
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

    def _contradicts(self, gathering: _Gathering, piece: Piece) -> bool:
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


def _udp(ends: bytes, datagram: Datagram) -> bytes:
    length = 8 + len(datagram.payload)
    head = b"".join(number.to_bytes(2, "big") for number in (datagram.source[1], datagram.destination[1], length))
    pseudo = ends + length.to_bytes(4, "big") + UDP.to_bytes(4, "big")
    total = checksum(pseudo + head + b"\0\0" + datagram.payload) or 0xFFFF
    return head + total.to_bytes(2, "big") + datagram.payload


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
    return Datagram((address_text(source), ports[0]), (address_text(destination), ports[1]), payload[8:])
