"""What a message queue is, to agents, the recorder and the replayer.

A queue is bounded, ordered by priority and first-in first-out inside one priority, as POSIX queues are
(mq_overview(7)). That gives both orders of the replay (the paper's figure 6): *FIFO* is everything at one priority;
*LIFO* is putting an unacknowledged message back at a higher priority, which makes it the next one out.

Rules that every implementation keeps (tests/ferret/queue/test_contract.py):

1. A message comes out whole and unchanged, exactly once, whatever its length and however many writers there are.
2. Higher priority first; of equal priority, the one first put. (Messages put at once may leave the queue at once: one
   of a higher priority that comes while they are taken out is behind them.)
3. `put` on a full queue raises QueueFullError and leaves nothing of the message behind; it never drops another message.
4. Many writers, in any number of processes; one reader at a time.
5. `fileno()` is readable while a message waits, so that an event loop can watch the queue (see `get_many`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple, Self

from ferret.errors import FerretError

FIFO_PRIORITY = 0
"""What every message is put at, first."""

MAX_PRIORITY = 32767
"""Linux's MQ_PRIO_MAX - 1; POSIX guarantees only 31, which is plenty too."""


class QueueError(FerretError):
    """A queue that cannot be used: it does not exist, a limit forbids it, somebody else reads it."""


class QueueFullError(QueueError):
    """No room for the message within the time given. Nothing of it was kept."""


class MessageTooLongError(QueueError):
    """A message longer than the whole queue. It will never fit; the next one may."""


class QueueEmptyError(QueueError):
    """No message within the time given."""


class Queued(NamedTuple):
    """A message as it leaves the queue."""

    octets: bytes
    priority: int


class MessageQueue(ABC):
    """A bounded queue of octet strings, sorted by priority.

    A timeout is in seconds; 0 does not wait, None waits for as long as it takes. As a context manager it closes itself
    at the end, and the one who created a queue removes it as well.
    """

    @abstractmethod
    def put(self, octets: bytes, priority: int = FIFO_PRIORITY, timeout: float | None = 0.0) -> None:
        """Append a message behind those of equal priority.

        Raises QueueFullError when there is no room in time, MessageTooLongError when there never will be, QueueError
        when the queue is closed.
        """

    def put_many(self, messages: Sequence[bytes]) -> int:
        """Append as many of the messages, in their order, as there is room for now; how many that were.

        The message at that place, if there is one, does not fit now: put it by itself to learn whether it ever will.
        For a writer that has several at hand: where writers take turns, they take one, and several may share a slot.
        """
        for done, octets in enumerate(messages):
            try:
                self.put(octets)
            except (QueueFullError, MessageTooLongError):
                return done
        return len(messages)

    def get_many(self, limit: int) -> list[Queued]:
        """Take what is there now, oldest first: about `limit` messages, more where some were put at once.

        A reader that watches `fileno` takes them so, or by `get` until the queue is empty: of messages that were put
        at once the rest may have left the queue with the first.
        """
        taken: list[Queued] = []
        while len(taken) < limit:
            try:
                taken.append(self.get())
            except QueueEmptyError:
                break
        return taken

    @abstractmethod
    def get(self, timeout: float | None = 0.0) -> Queued:
        """Take the oldest message of the highest priority. Raises QueueEmptyError when none comes in time."""

    def acknowledge(self) -> None:  # noqa: B027 - most queues have nothing to do
        """All that was taken so far is safe with the reader: a queue that keeps what was taken may forget it."""

    @property
    def keeps(self) -> bool:
        """Whether what was taken stays until it is acknowledged."""
        return False

    @property
    def removed(self) -> bool:
        """Whether its name is gone: no reader will ever find it again."""
        return False

    @property
    @abstractmethod
    def depth(self) -> int:
        """How many slots are taken: one per message, more for one that is longer; messages put at once share some."""

    @property
    @abstractmethod
    def capacity(self) -> int:
        """How many slots there are."""

    def slots(self, length: int) -> int:
        """How many slots a message of `length` octets takes: one, unless slots have a size."""
        return 1

    @property
    def discarded(self) -> int:
        """How many incomplete or foreign messages the reader has met and left out; none where none can be."""
        return 0

    @abstractmethod
    def fileno(self) -> int:
        """A descriptor that polls readable while something waits; never read from it."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the queue; its messages stay for others. Closing twice does no harm."""

    @abstractmethod
    def unlink(self) -> None:
        """Remove the queue's name: it vanishes when the last one closes it. Removing twice does no harm."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_priority(priority: int) -> None:
    """Raise QueueError for a priority that no queue can keep."""
    if not 0 <= priority <= MAX_PRIORITY:
        raise QueueError(f"a queue's priority lies between 0 and {MAX_PRIORITY}, not at {priority}")
