"""Sending each message of a replay until it is acknowledged, in order: the paper's figure 6, without any I/O.

Rules:

1. Messages lie in a queue that sorts by priority and is first-in first-out inside one. All are put at FIFO_PRIORITY.
2. One message is outstanding at a time, so the edge NFs get them in recorded order whatever fails.
3. No acknowledgement within `ack_timeout`: the message goes back at LIFO_PRIORITY, which makes it the next one out
   (LIFO), and is delivered again. Acknowledged, the order is FIFO again.
4. After `max_attempts` deliveries, or when the edge refuses a message for good, the replay is abandoned: nothing more
   is delivered, the queue is emptied.
5. An acknowledgement that comes too late, when its message lies in the queue again, counts: the message is taken out
   and not delivered once more. One of a message already acknowledged changes nothing.

States and events are the table TRANSITIONS; an event without an entry is a PeerViolationError (an acknowledgement of
something never sent) or a LocalMisuseError. The driver executes the commands in order and reports what comes of them:

    Put(octets, priority)       put it into the queue (there is room: the engine counts slots)
    Take()                      take the next one out, and report it by `taken`
    Deliver(number, octets, …)  give it to its edge NF, and report `acknowledged` or `refused`; `deadline` says when to
                                call `wake` at the latest
    Drain()                     throw away what is left in the queue
    Finish() / Abandon(…)       it is over
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from struct import Struct
from typing import TypeAlias

from ferret.errors import LocalMisuseError, PeerViolationError

FIFO_PRIORITY = 0
LIFO_PRIORITY = 1
_NUMBER = Struct(">I")


class State(StrEnum):
    """Where the replay of one recording stands."""

    FIFO = "fifo"  # the next message out is the oldest
    FIFO_SENT = "fifo, sent"  # it is delivered and not yet acknowledged
    LIFO = "lifo"  # the next message out is the one that was not acknowledged
    LIFO_SENT = "lifo, sent"
    DONE = "done"
    ABANDONED = "abandoned"


class Event(StrEnum):
    """What can happen to it."""

    SEND = "send"  # a message came out of the queue
    SKIP = "skip"  # it came out, but was acknowledged meanwhile
    ACKNOWLEDGED = "acknowledged"
    LATE = "late"  # an acknowledgement of a message that is not outstanding
    TIMEOUT = "timeout"
    EXHAUSTED = "exhausted"  # a timeout, and no attempt is left
    REFUSED = "refused"
    COMPLETED = "completed"  # nothing is queued, outstanding or still to come
    CANCELLED = "cancelled"  # the fallback is over for another reason


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.FIFO, Event.SEND): State.FIFO_SENT,
    (State.FIFO, Event.LATE): State.FIFO,
    (State.FIFO, Event.COMPLETED): State.DONE,
    (State.FIFO, Event.CANCELLED): State.ABANDONED,
    (State.FIFO_SENT, Event.ACKNOWLEDGED): State.FIFO,
    (State.FIFO_SENT, Event.LATE): State.FIFO_SENT,
    (State.FIFO_SENT, Event.TIMEOUT): State.LIFO,
    (State.FIFO_SENT, Event.EXHAUSTED): State.ABANDONED,
    (State.FIFO_SENT, Event.REFUSED): State.ABANDONED,
    (State.FIFO_SENT, Event.CANCELLED): State.ABANDONED,
    (State.LIFO, Event.SEND): State.LIFO_SENT,
    (State.LIFO, Event.SKIP): State.FIFO,
    (State.LIFO, Event.LATE): State.LIFO,
    (State.LIFO, Event.CANCELLED): State.ABANDONED,
    (State.LIFO_SENT, Event.ACKNOWLEDGED): State.FIFO,
    (State.LIFO_SENT, Event.LATE): State.LIFO_SENT,
    (State.LIFO_SENT, Event.TIMEOUT): State.LIFO,
    (State.LIFO_SENT, Event.EXHAUSTED): State.ABANDONED,
    (State.LIFO_SENT, Event.REFUSED): State.ABANDONED,
    (State.LIFO_SENT, Event.CANCELLED): State.ABANDONED,
    (State.DONE, Event.LATE): State.DONE,
    (State.DONE, Event.CANCELLED): State.DONE,
    (State.ABANDONED, Event.LATE): State.ABANDONED,
    (State.ABANDONED, Event.CANCELLED): State.ABANDONED,
}

_OUTSTANDING = {State.FIFO_SENT, State.LIFO_SENT}
_OVER = {State.DONE, State.ABANDONED}


@dataclass(frozen=True, slots=True)
class Put:
    """Put `octets` into the queue at `priority`."""

    octets: bytes
    priority: int


@dataclass(frozen=True, slots=True)
class Take:
    """Take the next message out of the queue and report it by `RetryEngine.taken`."""


@dataclass(frozen=True, slots=True)
class Deliver:
    """Deliver message `number` (from 0) to its edge NF. `attempt` counts from 1."""

    number: int
    octets: bytes
    attempt: int


@dataclass(frozen=True, slots=True)
class Drain:
    """Throw away everything that is still in the queue."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Every message was acknowledged."""


@dataclass(frozen=True, slots=True)
class Abandon:
    """The replay has failed at message `number` (-1: at none of them); the service stays on the core."""

    number: int
    reason: str


Command: TypeAlias = Put | Take | Deliver | Drain | Finish | Abandon


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to wait and how often to try."""

    ack_timeout: float = 1.0  # seconds from delivery to acknowledgement
    max_attempts: int = 4  # deliveries of one message, the first included


class RetryEngine:
    """Delivers `messages` one after the other through a queue of `capacity` slots.

    `slots` says how many of them a message of so many octets takes (`MessageQueue.slots`); none may take more than
    there are. `attempts[n]` is how often message n was delivered, `state` where it all stands.
    """

    def __init__(
        self,
        messages: Sequence[bytes],
        *,
        capacity: int,
        slots: Callable[[int], int] = lambda length: 1,
        policy: RetryPolicy | None = None,
    ) -> None:
        self.policy = policy or RetryPolicy()
        self.state = State.FIFO
        self.attempts = [0] * len(messages)
        self.acknowledged_count = 0
        self._slots = slots
        self._free = capacity
        self._backlog = deque((number, octets) for number, octets in enumerate(messages))
        self._acknowledged: set[int] = set()
        self._outstanding = -1
        self._outstanding_octets = b""
        self._deadline: float | None = None
        for number, octets in self._backlog:
            if slots(_NUMBER.size + len(octets)) > capacity:
                raise LocalMisuseError(f"message {number} ({len(octets)} octets) does not fit into the queue")

    @property
    def outstanding(self) -> int | None:
        """The number of the message that is delivered and not acknowledged."""
        return self._outstanding if self.state in _OUTSTANDING else None

    def deadline(self) -> float | None:
        """When `wake` wants to be called at the latest (same clock as `now`); None while no timer runs."""
        return self._deadline

    def start(self) -> list[Command]:
        """What to do first."""
        return self._feed_and_take()

    def taken(self, octets: bytes, now: float) -> list[Command]:
        """What `Take` found: octets as they were in `Put`."""
        (number,) = _NUMBER.unpack_from(octets)
        if number in self._acknowledged:
            self._move(Event.SKIP)
            return self._release(octets)
        self._move(Event.SEND)
        self._outstanding, self._outstanding_octets = number, octets
        self._deadline = now + self.policy.ack_timeout
        self.attempts[number] += 1
        return [Deliver(number, octets[_NUMBER.size :], self.attempts[number])]

    def acknowledged(self, number: int) -> list[Command]:
        """The edge NF has taken message `number`. Raises PeerViolationError for one that was never delivered."""
        if not (0 <= number < len(self.attempts) and self.attempts[number]):
            raise PeerViolationError(f"message {number} is acknowledged but was never delivered")
        self._note_acknowledged(number)
        if number != self.outstanding:
            self._move(Event.LATE)
            return []
        self._move(Event.ACKNOWLEDGED)
        self._deadline = None
        return self._release(self._outstanding_octets)

    def refused(self, number: int, reason: str) -> list[Command]:
        """The edge NF has said that it will never take message `number`; a refusal too late changes nothing."""
        if number != self.outstanding:
            self._move(Event.LATE)
            return []
        self._move(Event.REFUSED)
        return self._abandon(number, f"refused: {reason}")

    def cancel(self, reason: str) -> list[Command]:
        """Give up for a reason that lies elsewhere (an edge NF died, the call was hung up)."""
        if self.state in _OVER:
            self._move(Event.CANCELLED)
            return []
        number = self.outstanding
        self._move(Event.CANCELLED)
        return self._abandon(-1 if number is None else number, reason)

    def wake(self, now: float) -> list[Command]:
        """The acknowledgement timer, if it is due at `now`."""
        if self._deadline is None or now < self._deadline:
            return []
        self._deadline = None
        number = self._outstanding
        if self.attempts[number] >= self.policy.max_attempts:
            self._move(Event.EXHAUSTED)
            return self._abandon(number, f"not acknowledged after {self.attempts[number]} attempts")
        self._move(Event.TIMEOUT)
        return [Put(self._outstanding_octets, LIFO_PRIORITY), Take()]

    def _move(self, event: Event) -> None:
        state = TRANSITIONS.get((self.state, event))
        if state is None:
            raise LocalMisuseError(f"a replay that is {self.state} cannot meet the event {event}")
        self.state = state

    def _note_acknowledged(self, number: int) -> None:
        if number not in self._acknowledged:
            self._acknowledged.add(number)
            self.acknowledged_count += 1

    def _release(self, octets: bytes) -> list[Command]:
        # Until here its slots stayed reserved, so that there was always room to put it back.
        self._free += self._slots(len(octets))
        return self._feed_and_take()

    def _feed_and_take(self) -> list[Command]:
        commands: list[Command] = []
        while self._backlog:
            number, octets = self._backlog[0]
            needed = self._slots(_NUMBER.size + len(octets))
            if needed > self._free:
                break
            self._free -= needed
            self._backlog.popleft()
            commands.append(Put(_NUMBER.pack(number) + octets, FIFO_PRIORITY))
        if self.acknowledged_count == len(self.attempts):
            self._move(Event.COMPLETED)
            return [Finish()]
        return [*commands, Take()]

    def _abandon(self, number: int, reason: str) -> list[Command]:
        self._deadline = None
        self._backlog.clear()
        return [Drain(), Abandon(number, reason)]
