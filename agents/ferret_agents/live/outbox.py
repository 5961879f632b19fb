"""Between an agent and the host's queue: what the queue has no room for waits here, bounded, and never blocks anybody.

Every message offered ends as exactly one of: queued, dropped (counted by reason), or still waiting, so that
`offered == queued + waiting + sum(dropped.values())` at any time.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Final

from ferret.queue import MessageQueue, MessageTooLongError, QueueError

_BATCH: Final = 64  # messages given to the queue at once


class Drop(StrEnum):
    """Why a message did not get into the queue."""

    BUFFER_FULL = "buffer full"  # the queue had no room for so long that the memory set aside was used up
    TOO_LONG = "longer than the queue"  # the whole queue cannot hold it
    UNFIT = "does not fit the format"  # a field of it has no place in the queue's format
    STOPPED = "stopped"  # the queue had no room for it before the agent had to end


@dataclass(frozen=True, slots=True)
class BufferLimits:
    """How much may wait in memory."""

    messages: int = 100_000
    octets: int = 64 << 20


class Outbox:
    """Puts messages into a queue in the order in which they were offered.

    `passed(captured_at_ns)` is called for each message as it gets into the queue.
    """

    def __init__(
        self,
        queue: MessageQueue | None,
        limits: BufferLimits | None = None,
        passed: Callable[[int], None] = lambda captured_at_ns: None,
    ) -> None:
        """`queue` None: there is none yet, everything waits until `use` brings one."""
        self.queue = queue
        self.offered = 0
        self.queued = 0
        self.dropped: Counter[Drop] = Counter()
        self.waiting_octets = 0
        self._limits = limits or BufferLimits()
        self._passed = passed
        self._waiting: deque[tuple[bytes, int]] = deque()

    @property
    def waiting(self) -> int:
        """How many messages wait in memory."""
        return len(self._waiting)

    def use(self, queue: MessageQueue | None) -> None:
        """From now on put into this queue."""
        self.queue = queue

    def offer(self, octets: bytes, captured_at_ns: int) -> None:
        """Take a message; `flush` puts it into the queue. Never waits, never raises for the queue's sake."""
        self.offered += 1
        limits = self._limits
        if len(self._waiting) >= limits.messages or self.waiting_octets + len(octets) > limits.octets:
            self.flush()
            if len(self._waiting) >= limits.messages or self.waiting_octets + len(octets) > limits.octets:
                self.dropped[Drop.BUFFER_FULL] += 1
                return
        self._waiting.append((octets, captured_at_ns))
        self.waiting_octets += len(octets)

    def refuse(self, reason: Drop) -> None:
        """Count a message that could not even be offered."""
        self.offered += 1
        self.dropped[reason] += 1

    def flush(self) -> int:
        """Put into the queue what waits, as far as there is room; how many messages are done with."""
        done = 0
        while self._waiting and self.queue is not None:
            batch = [octets for octets, _ in islice(self._waiting, _BATCH)]
            try:
                put = self.queue.put_many(batch)
                for _ in range(put):
                    self._passed(self._taken())
                self.queued += put
                done += put
                if put < len(batch):
                    self.queue.put(batch[put])
                    self._passed(self._taken())
                    self.queued += 1
                    done += 1
            except MessageTooLongError:
                self.dropped[Drop.TOO_LONG] += 1
                self._taken()
                done += 1
            except QueueError:  # full, or closed: until there is room, or another queue
                break
        return done

    def _taken(self) -> int:
        """Strike the first message that waits off; when it was captured."""
        octets, captured_at_ns = self._waiting.popleft()
        self.waiting_octets -= len(octets)
        return captured_at_ns

    def give_up(self) -> None:
        """The end: what still waits is dropped."""
        if self._waiting:
            self.dropped[Drop.STOPPED] += len(self._waiting)
        self._waiting.clear()
        self.waiting_octets = 0
