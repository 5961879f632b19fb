"""What became of a voice stream: delays, losses, order, gaps; in all, by path, and at each change of path."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from typing import NamedTuple

from ferret_deploy.lab.voice import Heard, VoiceSink, VoiceSource


@dataclass(frozen=True, slots=True)
class Delays:
    """One-way delays of packets, in seconds."""

    count: int
    p50: float
    p95: float
    p99: float
    longest: float


class Change(NamedTuple):
    """A change of path. `gap`: s between the last packet before the first one over the new path, and that one."""

    at: float  # arrival of the first packet over the new path, seconds, monotonic
    path: str
    gap: float


class Lost(NamedTuple):
    """A packet that never arrived: its number, and when it was sent (seconds, monotonic)."""

    number: int
    sent_at: float


@dataclass(frozen=True, slots=True)
class VoiceFigures:
    """One stream, from its source to its sink."""

    sent: int
    received: int
    lost: tuple[Lost, ...]
    duplicates: int
    reordered: int  # packets that arrived after a later one
    longest_gap: float  # seconds between two arrivals; 0.02 where nothing is wrong
    longest_gap_at: float  # when it ended, seconds, monotonic
    delays: Delays | None
    by_path: dict[str, Delays]
    changes: tuple[Change, ...]

    def lost_outside(self, gaps: Iterable[tuple[float, float]]) -> list[Lost]:
        """Lost packets that were not sent within any of these times (from, to)."""
        spans = list(gaps)
        return [one for one in self.lost if not any(start <= one.sent_at <= end for start, end in spans)]


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of them do not exceed (nearest rank). `values` are sorted, at least one."""
    rank = -(-len(values) * percent // 100)  # rounded up
    return values[min(len(values), max(1, int(rank))) - 1]


def delays_of(heard: Iterable[Heard]) -> Delays | None:
    """One-way delays; None where nothing arrived."""
    delays = sorted(one.delay for one in heard)
    if not delays:
        return None
    return Delays(len(delays), percentile(delays, 50), percentile(delays, 95), percentile(delays, 99), delays[-1])


def figures(source: VoiceSource, sink: VoiceSink, *, arriving_until: float | None = None) -> VoiceFigures:
    """What became of what `source` said. What was sent after `arriving_until` may be on its way and is not lost."""
    heard = sorted(sink.heard, key=lambda one: one.arrived_at)
    gap, gap_at = _longest_gap(heard)
    paths = dict.fromkeys(one.path for one in heard)
    by_path = {path: delays_of(one for one in heard if one.path == path) for path in paths}
    return VoiceFigures(
        sent=len(source.sent_at),
        received=len(heard),
        lost=tuple(_lost(source, heard, arriving_until)),
        duplicates=sink.duplicates,
        reordered=_reordered(heard),
        longest_gap=gap,
        longest_gap_at=gap_at,
        delays=delays_of(heard),
        by_path={path: delays for path, delays in by_path.items() if delays is not None},
        changes=tuple(_changes(heard)),
    )


def longest_gap(heard: Iterable[Heard], *, within: tuple[float, float] | None = None) -> float:
    """The longest time between two arrivals, in seconds; `within`: only those that overlap this time (from, to)."""
    start, end = within or (-inf, inf)
    spans = pairwise(sorted(one.arrived_at for one in heard))
    return max((after - before for before, after in spans if after >= start and before <= end), default=0.0)


def _lost(source: VoiceSource, heard: Sequence[Heard], until: float | None) -> Iterable[Lost]:
    # Sequence numbers have 16 bits: the sink may have extended them from another multiple of 65536 than the source.
    offset = round((heard[0].number - source.first) / 65536) * 65536 if heard else 0
    arrived = {one.number - offset for one in heard}
    for number, sent_at in enumerate(source.sent_at, source.first):
        if number not in arrived and (until is None or sent_at <= until):
            yield Lost(number, sent_at)


def _longest_gap(heard: Sequence[Heard]) -> tuple[float, float]:
    gaps = ((after.arrived_at - before.arrived_at, after.arrived_at) for before, after in pairwise(heard))
    return max(gaps, default=(0.0, 0.0))


def _reordered(heard: Sequence[Heard]) -> int:
    """Packets that came after one with a higher number (RFC 4737 clause 3)."""
    count, highest = 0, None
    for one in heard:
        if highest is not None and one.number < highest:
            count += 1
        else:
            highest = one.number
    return count


def _changes(heard: Sequence[Heard]) -> Iterable[Change]:
    """Where a path is first heard after another; stragglers of the old path are no change back."""
    left: dict[str, int] = {}  # path -> highest number heard when the stream left it
    current, before = None, None
    for one in heard:
        if current is not None and before is not None and one.path != current and one.number > left.get(one.path, -1):
            yield Change(one.arrived_at, one.path, one.arrived_at - before.arrived_at)
            left[current] = one.number
            current = one.path
        current = one.path if current is None else current
        before = one
