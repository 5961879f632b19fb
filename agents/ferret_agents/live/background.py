"""Work that capturing must never wait for: done by a thread, from a bounded buffer; what does not fit is counted.

The thread shares the processor with the capture, never its time on the way: handing over is an append.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

import structlog

Item = TypeVar("Item")
_BATCH: Final = 256

_log = structlog.get_logger("ferret.agent")


class Background(Generic[Item]):
    """`offered == done + failed + dropped + waiting` at any time."""

    def __init__(self, name: str, work: Callable[[Sequence[Item]], int], *, most: int) -> None:
        """`work` gets items in order, in the thread, and says how many of them it has done; the others have failed.

        It may raise OSError: then all have failed. `most`: items that may wait.
        """
        self.name = name
        self.offered = 0
        self.dropped = 0
        self.done = 0
        self.failed = 0
        self._work = work
        self._most = most
        self._waiting: deque[Item] = deque()
        self._there = threading.Condition()
        self._closing = False
        self._told = ""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Items that are not done yet."""
        return self.offered - self.done - self.failed - self.dropped

    def offer(self, items: Sequence[Item]) -> None:
        """Hand items over; those that there is no room for are dropped and counted."""
        if not items:
            return
        with self._there:
            self.offered += len(items)
            room = 0 if self._closing else max(0, self._most - len(self._waiting))
            self._waiting.extend(items[:room])
            self.dropped += max(0, len(items) - room)
            self._there.notify()

    def _run(self) -> None:
        while True:
            with self._there:
                self._there.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            done = 0
            try:
                done = self._work(batch)
            except OSError as error:
                self._tell(error.strerror or str(error))
            with self._there:
                self.done += done
                self.failed += len(batch) - done

    def _tell(self, why: str) -> None:
        if why != self._told:
            self._told = why
            _log.warning("export_fails", what=self.name, reason=why)

    def close(self, within: float = 5.0) -> None:
        """Take nothing more, and wait up to `within` seconds for what is there; the rest is dropped and counted."""
        with self._there:
            self._closing = True
            self._there.notify()
        self._thread.join(within)
        with self._there:
            self.dropped += len(self._waiting)
            self._waiting.clear()
