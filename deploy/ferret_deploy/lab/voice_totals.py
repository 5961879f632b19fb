"""The voice of many calls together: what a demonstration reports and plots."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ferret_deploy.lab.voice import VoiceSink, VoiceSource
from ferret_deploy.lab.voice_figures import figures, longest_gap, percentile


class VoiceTotals:
    """Streams are added one by one. Times are in seconds."""

    def __init__(self) -> None:
        self.sent = 0
        self.received = 0
        self.lost = 0
        self.lost_outside_gaps = 0
        self.reordered = 0
        self.duplicates = 0
        self.gaps: list[float] = []  # one for each move of each stream: the longest time without voice
        self._delays: dict[str, list[float]] = defaultdict(list)

    def add(
        self,
        source: VoiceSource,
        sink: VoiceSink,
        moves: Sequence[tuple[float, float]] = (),
        *,
        excused: Sequence[tuple[float, float]] = (),
        arriving_until: float | None = None,
    ) -> None:
        """Add a stream that was moved at these times (from, to; monotonic).

        `excused`: when else packets may be lost, since an edge NF died. `arriving_until`: what
        was sent later may be on its way and is not lost.
        """
        found = figures(source, sink, arriving_until=arriving_until)
        self.sent += found.sent
        self.received += found.received
        self.lost += len(found.lost)
        self.lost_outside_gaps += len(found.lost_outside((*moves, *excused)))
        self.reordered += found.reordered
        self.duplicates += found.duplicates
        self.gaps += [longest_gap(sink.heard, within=move) for move in moves]
        for one in sink.heard:
            self._delays[one.path].append(one.delay)

    def delays(self, path: str) -> list[float]:
        """One-way delays of the packets that came over a path, in the order in which they were added."""
        return list(self._delays.get(path, ()))

    def as_json(self) -> dict[str, object]:
        """Figures in milliseconds; what was not measured is null."""
        return {
            "voice_delay_core_ms": self._percentiles("core"),
            "voice_delay_edge_ms": self._percentiles("edge"),
            "voice_gap_ms": _milliseconds(max(self.gaps)) if self.gaps else None,
            "voice_sent": self.sent,
            "voice_lost": self.lost,
            "voice_lost_outside_gaps": self.lost_outside_gaps,
        }

    def _percentiles(self, path: str) -> dict[str, float | None]:
        delays = sorted(self._delays.get(path, ()))
        return {f"p{p}": _milliseconds(percentile(delays, p)) if delays else None for p in (50, 99)}


def _milliseconds(seconds: float) -> float:
    return round(1000 * seconds, 3)
