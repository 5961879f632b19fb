"""TCP segments in IP packets (RFC 9293 clause 3.1)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntFlag
from ipaddress import ip_address
from typing import Final

from ferret.transport.endpoint import Address
from ferret_core.ip import TCP, checksum, ip_packet, ip_payload

_HEAD: Final = struct.Struct("!HHIIBBHHH")
_END, _NOTHING, _MSS = 0, 1, 2  # kinds of options


class Flag(IntFlag):
    """Control bits."""

    FIN = 1
    SYN = 2
    RST = 4
    PSH = 8
    ACK = 16


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment. `mss`: the option of a SYN in octets, 0: absent. Other options are neither sent nor kept."""

    source: Address
    destination: Address
    sequence: int
    acknowledgement: int
    flags: Flag
    window: int
    payload: bytes = b""
    mss: int = 0

    @property
    def length(self) -> int:
        """How many sequence numbers it takes."""
        return len(self.payload) + bool(self.flags & Flag.SYN) + bool(self.flags & Flag.FIN)

    def encode(self) -> bytes:
        """The IP packet that carries it."""
        options = struct.pack("!BBH", _MSS, 4, self.mss) if self.mss else b""
        numbers = (self.source[1], self.destination[1], self.sequence, self.acknowledgement)
        offset = (_HEAD.size + len(options)) // 4 << 4
        head = _HEAD.pack(*numbers, offset, self.flags, self.window, 0, 0) + options
        ends = ip_address(self.source[0]).packed + ip_address(self.destination[0]).packed
        total = _checksum(ends, head + self.payload)
        head = head[:16] + total.to_bytes(2, "big") + head[18:]
        return ip_packet(self.source[0], self.destination[0], TCP, head + self.payload)


def segment_of(packet: bytes) -> Segment | None:
    """The segment in an IP packet; None where there is none, a fragment of one, or a damaged one."""
    found = ip_payload(packet)
    if found is None or found.protocol != TCP or len(found.payload) < _HEAD.size:
        return None
    octets = found.payload
    source, destination, sequence, acknowledgement, offset, flags, window, _, _ = _HEAD.unpack_from(octets)
    start = (offset >> 4) * 4
    ends = ip_address(found.source).packed + ip_address(found.destination).packed
    if not _HEAD.size <= start <= len(octets) or _checksum(ends, octets) not in (0, 0xFFFF):
        return None
    return Segment(
        (found.source, source),
        (found.destination, destination),
        sequence,
        acknowledgement,
        Flag(flags & 31),
        window,
        octets[start:],
        _mss(octets[_HEAD.size : start]),
    )


def _checksum(ends: bytes, octets: bytes) -> int:
    return checksum(ends + len(octets).to_bytes(4, "big") + TCP.to_bytes(4, "big") + octets)


def _mss(options: bytes) -> int:
    """The maximum segment size in a SYN's options; 0: none is there, or what is cannot be read."""
    at = 0
    while at + 1 < len(options) and options[at] != _END:
        if options[at] == _NOTHING:
            at += 1
            continue
        length = options[at + 1]
        if length < 2 or at + length > len(options):
            return 0
        if options[at] == _MSS and length == 4:
            return int.from_bytes(options[at + 2 : at + 4], "big")
        at += length
    return 0
