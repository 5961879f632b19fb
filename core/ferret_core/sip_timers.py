"""When things run out: one time for each key, the earliest at hand however many there are."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from itertools import count
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Timers(Generic[K]):
    """Times in seconds, monotonic. Setting a key again replaces its time."""

    def __init__(self) -> None:
        self._times: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._numbers = count()

    def set(self, key: K, when: float) -> None:
        """`key` runs out at `when`."""
        self._times[key] = when
        heapq.heappush(self._heap, (when, next(self._numbers), key))
        if len(self._heap) > 64 + 4 * len(self._times):
            self._heap = [(time, next(self._numbers), one) for one, time in self._times.items()]
            heapq.heapify(self._heap)

    def cancel(self, key: K) -> None:
        """`key` does not run out any more."""
        self._times.pop(key, None)

    def time_of(self, key: K) -> float | None:
        """When `key` runs out; None: it does not."""
        return self._times.get(key)

    def deadline(self) -> float | None:
        """The earliest time; None: there is none."""
        while self._heap:
            when, _, key = self._heap[0]
            if self._times.get(key) == when:
                return when
            heapq.heappop(self._heap)
        return None

    def due(self, now: float) -> list[K]:
        """The keys that have run out, earliest first; each is given out once."""
        found: list[K] = []
        while (when := self.deadline()) is not None and when <= now:
            key = heapq.heappop(self._heap)[2]
            del self._times[key]
            found.append(key)
        return found


def earliest(*times: float | None) -> float | None:
    """The earliest of some times of which any may be missing."""
    return min((time for time in times if time is not None), default=None)
