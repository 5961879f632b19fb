"""A subscriber's UDP datagrams as IP packets, for devices that have no kernel (RFC 768, RFC 791, RFC 8200)."""

from __future__ import annotations

import struct
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Final, NamedTuple

from ferret.errors import DecodeError
from ferret.transport.endpoint import Address

_UDP: Final = 17
_HOPS: Final = 64
EXPEDITED_FORWARDING: Final = 46 << 2
"""Type of service of voice (RFC 3246)."""


class Datagram(NamedTuple):
    """What one UDP datagram says, and between whom."""

    source: Address
    destination: Address
    payload: bytes


def write(datagram: Datagram, *, service: int = EXPEDITED_FORWARDING) -> bytes:
    """The IP packet, checksums right. `service`: type of service or traffic class."""
    (source, source_port), (destination, destination_port), payload = datagram
    family = AF_INET6 if ":" in source else AF_INET
    ends = inet_pton(family, source) + inet_pton(family, destination)
    length = 8 + len(payload)
    ports = struct.pack("!HHH", source_port, destination_port, length)
    checksum = _checksum(ends + struct.pack("!HH", length, _UDP) + ports + payload) or 0xFFFF
    udp = ports + checksum.to_bytes(2, "big") + payload
    if family == AF_INET6:
        return struct.pack("!IHBB", 6 << 28 | service << 20, length, _UDP, _HOPS) + ends + udp
    start = struct.pack("!BBHHHBB", 0x45, service, 20 + length, 0, 0x4000, _HOPS, _UDP)
    return start + _checksum(start + ends).to_bytes(2, "big") + ends + udp


def read(packet: bytes) -> Datagram:
    """The datagram in an IP packet. Raises DecodeError where there is none: another protocol, a fragment, damage."""
    version = packet[0] >> 4 if packet else 0
    if version == 4:
        family, size, start = AF_INET, 4, (packet[0] & 15) * 4
        whole = len(packet) >= 20 and start >= 20 and packet[9] == _UDP and not (packet[6] & 0x3F or packet[7])
        at, end = 12, int.from_bytes(packet[2:4], "big")
    elif version == 6:
        family, size, start = AF_INET6, 16, 40
        whole = len(packet) >= 40 and packet[6] == _UDP
        at, end = 8, 40 + int.from_bytes(packet[4:6], "big")
    else:
        raise DecodeError("no IP packet")
    if not whole or end > len(packet) or end < start + 8:
        raise DecodeError("no whole UDP datagram", start)
    source_port, destination_port, length = struct.unpack_from("!HHH", packet, start)
    if not 8 <= length <= end - start:
        raise DecodeError("UDP length does not fit", start + 4)
    source, destination = packet[at : at + size], packet[at + size : at + 2 * size]
    return Datagram(
        (inet_ntop(family, source), source_port),
        (inet_ntop(family, destination), destination_port),
        packet[start + 8 : start + length],
    )


def _checksum(octets: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    padded = octets + b"\0" if len(octets) & 1 else octets
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF
