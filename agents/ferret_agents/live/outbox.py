"""Between an agent and the host's queue: what the queue has no room for waits here, bounded, and never blocks anybody.

It waits in memory first; when that is used up, in a file, if there is one (`Spill`); only then it is dropped. Order is
kept: while something waits in the file, what comes goes behind it. Every message offered ends as exactly one of:
queued, dropped (counted by reason), or still waiting, so that `offered == queued + waiting + sum(dropped.values())` at
any time.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Final

from ferret.queue import MessageQueue, MessageTooLongError, QueueError
from ferret_agents.live.spill import Spill

_BATCH: Final = 256  # messages given to the queue at once


class Drop(StrEnum):
    """Why a message did not get into the queue."""

    BUFFER_FULL = "buffer full"  # the queue had no room for so long that memory, and the file, were used up
    TOO_LONG = "longer than the queue"  # the whole queue cannot hold it
    UNFIT = "does not fit the format"  # a field of it has no place in the queue's format
    STOPPED = "stopped"  # the queue had no room for it before the agent had to end
    DISK = "spilled and unreadable"  # the disk has not given it back


@dataclass(frozen=True, slots=True)
class BufferLimits:
    """How much may wait in memory."""

    messages: int = 100_000
    octets: int = 64 << 20


class Outbox:
    """Puts messages into a queue in the order in which they were offered.

    `passed(times)` is called with the capture times of messages as they get into the queue.
    """

    def __init__(
        self,
        queue: MessageQueue | None,
        limits: BufferLimits | None = None,
        passed: Callable[[Sequence[int]], None] = lambda times: None,
        spill: Spill | None = None,
    ) -> None:
        """`queue` None: there is none yet, everything waits until `use` brings one."""
        self.queue = queue
        self.offered = 0
        self.queued = 0
        self.spilled = 0  # messages that had to wait in the file, ever
        self.dropped: Counter[Drop] = Counter()
        self._memory_octets = 0
        self._limits = limits or BufferLimits()
        self._passed = passed
        self._spill = spill
        self._waiting: deque[tuple[bytes, int]] = deque()

    @property
    def waiting(self) -> int:
        """How many messages wait, in memory or in the file."""
        return len(self._waiting) + self.on_disk

    @property
    def on_disk(self) -> int:
        """How many messages wait in the file."""
        return len(self._spill) if self._spill is not None else 0

    @property
    def waiting_octets(self) -> int:
        """How many octets of messages wait in memory."""
        return self._memory_octets

    def use(self, queue: MessageQueue | None) -> None:
        """From now on put into this queue."""
        self.queue = queue

    def offer(self, octets: bytes, captured_at_ns: int) -> None:
        """Take a message; `flush` puts it into the queue. Never waits, never raises for the queue's sake."""
        self.offer_many((octets,), (captured_at_ns,))

    def offer_many(self, messages: Sequence[bytes], times: Sequence[int]) -> None:
        """Take messages, each with its time. While nothing waits, they go straight into the queue."""
        self.offered += len(messages)
        done = 0
        if not self.waiting and self.queue is not None:
            done = self._straight(self.queue, messages, times)
        if done < len(messages):
            self._keep_all(messages[done:], times[done:])

    def _straight(self, queue: MessageQueue, messages: Sequence[bytes], times: Sequence[int]) -> int:
        try:
            done = queue.put_many(messages)
        except QueueError:
            return 0
        self.queued += done
        if done:
            self._passed(times[:done] if done < len(times) else times)
        return done

    def _keep_all(self, messages: Sequence[bytes], times: Sequence[int]) -> None:
        octets = sum(map(len, messages))
        if self._fits(octets, len(messages)):
            self._waiting.extend(zip(messages, times, strict=True))
            self._memory_octets += octets
            return
        for message, captured_at_ns in zip(messages, times, strict=True):
            self._keep(message, captured_at_ns)

    def _keep(self, octets: bytes, captured_at_ns: int) -> None:
        if not self._fits(len(octets)):
            self.flush()
        if self._fits(len(octets)):
            self._waiting.append((octets, captured_at_ns))
            self._memory_octets += len(octets)
        elif self._spill is not None and self._spill.put(octets, captured_at_ns):
            self.spilled += 1
        else:
            self.dropped[Drop.BUFFER_FULL] += 1

    def _fits(self, octets: int, messages: int = 1) -> bool:
        """Whether messages of so many octets together may wait in memory: not past others that wait in the file."""
        limits = self._limits
        return (
            not self.on_disk
            and len(self._waiting) + messages <= limits.messages
            and self._memory_octets + octets <= limits.octets
        )

    def refuse(self, reason: Drop, number: int = 1) -> None:
        """Count messages that could not even be offered."""
        self.offered += number
        self.dropped[reason] += number

    def flush(self) -> int:
        """Put into the queue what waits, as far as there is room; how many messages are done with."""
        done = 0
        while self.queue is not None and (self._waiting or self._fetch()):
            batch = list(islice(self._waiting, _BATCH))
            try:
                put = self.queue.put_many([octets for octets, _ in batch])
                self._pass(put)
                done += put
                if put < len(batch):
                    self.queue.put(batch[put][0])
                    self._pass(1)
                    done += 1
            except MessageTooLongError:
                self.dropped[Drop.TOO_LONG] += 1
                self._strike_off(1)
                done += 1
            except QueueError:  # full, or closed: until there is room, or another queue
                break
        return done

    def _fetch(self) -> bool:
        """Take the oldest messages out of the file into memory, which is empty; whether there are any."""
        if self._spill is None:
            return False
        before = self._spill.unreadable
        while len(self._waiting) < _BATCH and (found := self._spill.get()) is not None:
            self._waiting.append(found)
            self._memory_octets += len(found[0])
        if self._spill.unreadable > before:
            self.dropped[Drop.DISK] += self._spill.unreadable - before
        return bool(self._waiting)

    def _pass(self, number: int) -> None:
        if number:
            self.queued += number
            self._passed(self._strike_off(number))

    def _strike_off(self, number: int) -> list[int]:
        """The first messages that wait wait no more; when they were captured."""
        times = []
        for _ in range(number):
            octets, captured_at_ns = self._waiting.popleft()
            self._memory_octets -= len(octets)
            times.append(captured_at_ns)
        return times

    def give_up(self) -> None:
        """The end: what still waits is dropped."""
        gone = len(self._waiting) + (self._spill.clear() if self._spill is not None else 0)
        if gone:
            self.dropped[Drop.STOPPED] += gone
        self._waiting.clear()
        self._memory_octets = 0

    def close(self) -> None:
        """Give up, and give the file back."""
        self.give_up()
        if self._spill is not None:
            self._spill.close()
