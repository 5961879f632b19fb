"""What an agent has to account for."""

from __future__ import annotations

import operator
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

LAG_BOUNDS_NS: Final = tuple(
    round(seconds * 1e9)
    for seconds in (50e-6, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
)
"""Upper bounds of the histogram of lag, in nanoseconds; what is beyond the last has a place of its own."""
_FEW: Final = 16


class Lag:
    """How long messages take from the kernel's timestamp into the queue, as a histogram."""

    def __init__(self) -> None:
        self.counts = [0] * (len(LAG_BOUNDS_NS) + 1)
        self.sum_ns = 0

    def observe(self, nanoseconds: int) -> None:
        """Take one more; a clock that was set back counts as no time."""
        nanoseconds = max(nanoseconds, 0)
        self.counts[bisect_left(LAG_BOUNDS_NS, nanoseconds)] += 1
        self.sum_ns += nanoseconds

    def observe_all(self, times: Sequence[int], now: int) -> None:
        """Take one more for each of these times of capture, all passed on at `now`; ns since the epoch."""
        if len(times) < _FEW:
            for at in times:
                self.observe(now - at)
            return
        ordered = sorted(times, reverse=True)  # nearly sorted already, so this is quick
        self.sum_ns += max(0, now * len(times) - sum(times))
        below = 0
        for place, bound in enumerate(LAG_BOUNDS_NS):
            reached = bisect_right(ordered, bound - now, below, key=operator.neg)
            self.counts[place] += reached - below
            below = reached
        self.counts[-1] += len(ordered) - below

    def quantile(self, share: float) -> int:
        """The bound in nanoseconds below which that share of messages lies; 0 where there is none."""
        wanted = share * sum(self.counts)
        if not wanted:
            return 0
        reached = 0
        for bound, count in zip(LAG_BOUNDS_NS, self.counts, strict=False):
            reached += count
            if reached >= wanted:
                return bound
        return 2 * LAG_BOUNDS_NS[-1]


@dataclass(frozen=True, slots=True)
class AgentCounters:
    """An agent's account at one moment.

    Frames: `kernel_frames == frames + kernel_dropped + unread`, `frames == used + damaged + ignored + pending`.
    Messages: `messages == queued + waiting + sum(dropped.values())`.
    """

    agent: str
    kernel_frames: int  # that passed the filter
    kernel_dropped: int  # of these, dropped because this process was too slow
    frames: int  # that were read
    used: int  # with octets of a message in them
    damaged: int  # that should have had, but cannot be read
    ignored: Mapping[str, int]  # something else, by kind
    pending: int  # whose fate reassembly does not know yet
    damage: int  # things that were wrong
    messages: int  # offered to the queue
    by_protocol: Mapping[str, int]
    foreign: int  # messages of others that the filter could not tell apart; not offered
    queued: int
    waiting: int  # in memory and on disk
    waiting_octets: int  # in memory
    on_disk: int  # messages of these that wait in the spill file
    spilled: int  # messages that had to wait there, ever
    reassembly_octets: int  # octets that wait in reassembly
    dropped: Mapping[str, int]  # by reason
    interrupted: int  # how often an interface went down
    last_number: int  # of the last message, drops and holes included
    epoch: int  # of this run
    by_type: Mapping[tuple[str, str], int]  # messages of the NF, by protocol and type
    exported: Mapping[str, Mapping[str, int]]  # to files and to HOMER: done, failed, dropped, waiting
    unreadable: Mapping[str, int]  # frames that are encrypted, by what with

    @property
    def unread(self) -> int:
        """Frames that still wait in the kernel."""
        return self.kernel_frames - self.kernel_dropped - self.frames

    @property
    def is_exact(self) -> bool:
        """Whether everything is accounted for. Always true; tests and `/healthz` look at it."""
        return (
            self.unread >= 0
            and self.frames == self.used + self.damaged + sum(self.ignored.values()) + self.pending
            and self.messages == self.queued + self.waiting + sum(self.dropped.values())
        )
