"""IPv4 and IPv6: the header walk and defragmentation.

RFC 791, RFC 8200 (extension headers, section 4), RFC 4302 (AH). Checksums are not looked at: a capture on the sending
host holds the kernel's partial ones.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Hashable
from typing import NamedTuple

from ferret.errors import DecodeError
from ferret_agents.capture.ledger import DAMAGED, Ledger

HOP_BY_HOP, IPV4_IN_IP, TCP, UDP, IPV6_IN_IP, ROUTING, FRAGMENT, GRE = 0, 4, 6, 17, 41, 43, 44, 47
ESP, AH, NO_NEXT, DESTINATION_OPTIONS, SCTP, MOBILITY, HIP, SHIM6 = 50, 51, 59, 60, 132, 135, 139, 140

_EXTENSIONS = frozenset((HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS, MOBILITY, HIP, SHIM6))
_MAX_EXTENSIONS = 16
_MAX_DATAGRAM = 65_535  # octets, RFC 791 section 3.2
_MAX_PARTS = 512  # of one datagram: 65535 octets in fragments of 128


class Packet(NamedTuple):
    """An IP packet's header, as far as reassembly needs it; `octets[start:end]` is its payload."""

    source: bytes
    destination: bytes
    protocol: int
    start: int
    end: int
    missing: int  # octets of the payload that the capture does not hold (snaplen)
    fragment: tuple[int, int, bool] | None  # identification, offset in octets, more fragments


def walk(octets: bytes, start: int) -> Packet:
    """The IPv4 or IPv6 packet at `start`. Raises DecodeError for anything else."""
    version = octets[start] >> 4 if start < len(octets) else 0
    if version == 4:
        return _ipv4(octets, start)
    if version == 6:
        return _ipv6(octets, start)
    raise DecodeError("not an IP packet", start)


def _ipv4(octets: bytes, start: int) -> Packet:
    captured = len(octets)
    if start + 20 > captured:
        raise DecodeError("the IPv4 header is cut", captured)
    header = (octets[start] & 0x0F) << 2
    length = (octets[start + 2] << 8) | octets[start + 3]
    if length == 0:  # segmentation offload: the kernel had not filled it in yet
        length = captured - start
    if header < 20 or length < header or start + header > captured:
        raise DecodeError("an impossible IPv4 header length", start)
    end = start + length
    flags = (octets[start + 6] << 8) | octets[start + 7]
    fragment = None
    if flags & 0x3FFF:  # more fragments, or an offset
        identification = (octets[start + 4] << 8) | octets[start + 5]
        fragment = (identification, (flags & 0x1FFF) << 3, bool(flags & 0x2000))
    return Packet(
        octets[start + 12 : start + 16],
        octets[start + 16 : start + 20],
        octets[start + 9],
        start + header,
        end if end < captured else captured,
        end - captured if end > captured else 0,
        fragment,
    )


def _ipv6(octets: bytes, start: int) -> Packet:
    captured = len(octets)
    if start + 40 > captured:
        raise DecodeError("the IPv6 header is cut", captured)
    length = (octets[start + 4] << 8) | octets[start + 5]
    end = start + 40 + length if length else captured  # 0: jumbogram or segmentation offload
    missing = max(0, end - captured)
    end = min(end, captured)
    protocol, at, fragment = extensions(octets, octets[start + 6], start + 40, end)
    return Packet(octets[start + 8 : start + 24], octets[start + 24 : start + 40], protocol, at, end, missing, fragment)


def extensions(octets: bytes, protocol: int, at: int, end: int) -> tuple[int, int, tuple[int, int, bool] | None]:
    """Walk extension headers: (upper protocol, its start, fragment). Stops at a fragment that is not a whole packet.

    Raises DecodeError where a header is cut or there are too many.
    """
    for _ in range(_MAX_EXTENSIONS):
        if protocol in _EXTENSIONS or protocol == AH:
            if at + 8 > end:
                raise DecodeError("an IPv6 extension header is cut", at)
            units = octets[at + 1]
            length = (units + 2) << 2 if protocol == AH else (units + 1) << 3
            protocol, at = octets[at], at + length
            if at > end:
                raise DecodeError("an IPv6 extension header is cut", end)
        elif protocol == FRAGMENT:
            if at + 8 > end:
                raise DecodeError("an IPv6 fragment header is cut", at)
            place = (octets[at + 2] << 8) | octets[at + 3]
            protocol = octets[at]
            identification = int.from_bytes(octets[at + 4 : at + 8], "big")
            at += 8
            if place & 0xFFF9:  # not an atomic fragment, RFC 6946
                return protocol, at, (identification, place & 0xFFF8, bool(place & 1))
        else:
            return protocol, at, None
    raise DecodeError("too many IPv6 extension headers", at)


@functools.lru_cache(maxsize=65_536)
def address_text(address: bytes) -> str:
    """An address of 4 or 16 octets in compressed text form (RFC 5952)."""
    if len(address) == 4:
        return f"{address[0]}.{address[1]}.{address[2]}.{address[3]}"
    return str(ipaddress.IPv6Address(address))


class Whole(NamedTuple):
    """A datagram put together from its fragments."""

    protocol: int
    payload: bytes
    missing: int  # octets of it that a snaplen cut; `payload` ends before the first of them
    frames: tuple[int, ...]  # of the fragments that waited


class _Datagram:
    """Fragments of one datagram, in order of offset, without overlap."""

    __slots__ = ("deadline", "frames", "octets", "parts", "protocol", "total")

    def __init__(self, deadline: int) -> None:
        self.deadline = deadline
        self.parts: dict[int, tuple[int, bytes]] = {}  # offset -> (octets on the wire, octets captured)
        self.frames: list[int] = []
        self.protocol = -1
        self.total = -1
        self.octets = 0  # octets on the wire in `parts`

    def missing_in(self, start: int, end: int) -> list[tuple[int, int]]:
        """The parts of start..end that are not here yet."""
        gaps = []
        for offset in sorted(self.parts):
            stop = offset + self.parts[offset][0]
            if stop <= start:
                continue
            if offset >= end:
                break
            if offset > start:
                gaps.append((start, offset))
            start = max(start, stop)
        if start < end:
            gaps.append((start, end))
        return gaps

    def matches(self, start: int, octets: bytes) -> bool:
        """Whether what is here of `octets` at `start` is the same."""
        for offset, (_, part) in self.parts.items():
            low, high = max(start, offset), min(start + len(octets), offset + len(part))
            if low < high and part[low - offset : high - offset] != octets[low - start : high - start]:
                return False
        return True

    def assembled(self) -> tuple[bytes, int]:
        """(payload up to the first octet that was cut off, octets missing)."""
        pieces = []
        for offset in sorted(self.parts):
            wire, part = self.parts[offset]
            pieces.append(part)
            if len(part) < wire:
                payload = b"".join(pieces)
                return payload, self.total - len(payload)
        return b"".join(pieces), 0


class Defragmenter:
    """IP reassembly (RFC 791 section 3.2, RFC 8200 section 4.5), bounded in datagrams, octets and age.

    The key must hold everything that tells two datagrams apart, the tunnel among it: in a GTP-U tunnel the same inner
    fragments pass on S1-U and on S5-U, interleaved. Where fragments overlap, the octets that came first stay.
    """

    def __init__(
        self, ledger: Ledger, *, datagrams: int = 4096, octets: int = 1 << 24, age_ns: int = 30_000_000_000
    ) -> None:
        self._ledger = ledger
        self._max_datagrams = datagrams
        self._max_octets = octets
        self._age_ns = age_ns
        self._waiting: dict[Hashable, _Datagram] = {}
        self._octets = 0
        self._done: dict[Hashable, bytes] = {}  # what was put together lately: its fragments may be seen again

    @property
    def waiting_octets(self) -> int:
        """How many octets wait for others."""
        return self._octets

    def add(self, key: Hashable, packet: Packet, payload: bytes, frame: int, clock: int) -> Whole | str | None:
        """Take a fragment. A datagram when that completes it, None while it waits, a string when it is of no use.

        `frame` is held in the ledger for as long as the fragment waits; the frames of a `Whole` are the caller's to
        settle. `clock` is the capture time so far, in nanoseconds; it must not run backwards.
        """
        if packet.fragment is None:
            return Whole(packet.protocol, payload, packet.missing, ())
        _, offset, more = packet.fragment
        wire = len(payload) + packet.missing
        if offset + wire > _MAX_DATAGRAM or (more and wire == 0):
            self._ledger.report(frame, "an IP fragment beyond 65535 octets, or empty")
            return DAMAGED
        done = self._done.get(key)
        if done is not None:
            if done[offset : offset + len(payload)] == payload:
                return "repeated ip fragment"
            del self._done[key]
        datagram = self._waiting.get(key)
        if datagram is None:
            self._make_room(clock)
            datagram = self._waiting[key] = _Datagram(clock + self._age_ns)
        if not datagram.matches(offset, payload):
            self._ledger.report(frame, "IP fragments overlap with different octets: the first ones count")
        gaps = datagram.missing_in(offset, offset + wire)
        for start, end in gaps:
            datagram.parts[start] = (end - start, payload[start - offset : end - offset])
            datagram.octets += end - start
            self._octets += end - start
        if offset == 0 or datagram.protocol < 0:
            datagram.protocol = packet.protocol
        if not more and (datagram.total < 0 or offset + wire > datagram.total):
            datagram.total = offset + wire
        if 0 <= datagram.total <= datagram.octets and not datagram.missing_in(0, datagram.total):
            return self._complete(key, datagram)
        if not gaps:
            return "repeated ip fragment"
        if len(datagram.parts) > _MAX_PARTS:
            self._ledger.report(frame, f"more than {_MAX_PARTS} fragments of one IP datagram")
            self._drop(key, "too many fragments")
            return DAMAGED
        self._ledger.hold(frame)
        datagram.frames.append(frame)
        if self._octets > self._max_octets:
            self._drop_oldest("too many octets wait")
        return None

    def expire(self, clock: int) -> None:
        """Give up datagrams that have waited too long."""
        while self._waiting:
            if next(iter(self._waiting.values())).deadline > clock:
                return
            self._drop_oldest("the others are not in the capture")

    def flush(self) -> None:
        """Give up everything that waits: the capture has ended."""
        while self._waiting:
            self._drop_oldest("the others are not in the capture")

    def _make_room(self, clock: int) -> None:
        self.expire(clock)
        if len(self._waiting) >= self._max_datagrams:
            self._drop_oldest("too many datagrams wait")

    def _complete(self, key: Hashable, datagram: _Datagram) -> Whole:
        del self._waiting[key]
        self._octets -= datagram.octets
        payload, missing = datagram.assembled()
        payload = payload[: datagram.total]
        if len(self._done) >= 256:
            del self._done[next(iter(self._done))]
        self._done[key] = payload
        return Whole(datagram.protocol, payload, missing, tuple(datagram.frames))

    def _drop_oldest(self, why: str) -> None:
        self._drop(next(iter(self._waiting)), why)

    def _drop(self, key: Hashable, why: str) -> None:
        datagram = self._waiting.pop(key)
        self._octets -= datagram.octets
        count = len(datagram.frames)
        if count:
            self._ledger.report(datagram.frames[-1], f"{count} IP fragment(s) without the rest of the datagram: {why}")
        for frame in datagram.frames:
            self._ledger.settle(frame, DAMAGED)
