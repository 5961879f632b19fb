"""A queue that may take its time, for a writer that must never wait: a thread puts, the writer asks what came of it.

`put_many` is given the messages that are next, in order, and says how many of them are stored since: it hands them to
the thread and answers later, when it is asked again with the same messages first. So a message stays with its writer
until it is in the queue for certain, and what is counted as queued is queued, even if the queue's host is away for an
hour.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final

from ferret.queue.interface import FIFO_PRIORITY, MessageQueue, Queued, QueueError, QueueFullError

_AGAIN: Final = 0.5  # seconds between two attempts while the queue cannot be reached
_FULL: Final = 0.01  # seconds between two while it is full
_MOST: Final = 256  # messages handed over at once


class QueueInBackground(MessageQueue):
    """Puts into a queue that `open_queue` opens, in a thread. For one writer, who only puts."""

    def __init__(self, name: str, open_queue: Callable[[], MessageQueue]) -> None:
        self.name = name
        self.fault = ""  # why the queue cannot be reached right now
        self._open = open_queue
        self._queue: MessageQueue | None = None
        self._there = threading.Condition()
        self._batch: list[bytes] = []  # handed over, not stored yet
        self._stored = 0  # messages stored that the writer was not told of yet
        self._depth = 0
        self._capacity = 0
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="queue", daemon=True)
        self._thread.start()

    def put(self, octets: bytes, priority: int = FIFO_PRIORITY, timeout: float | None = 0.0) -> None:
        """Always QueueFullError: a single message cannot be promised without waiting."""
        raise QueueFullError(f"the queue {self.name} takes messages in the background: put them by put_many")

    def put_many(self, messages: Sequence[bytes]) -> int:
        """See `MessageQueue.put_many`, and above: how many of the messages given before are stored."""
        with self._there:
            self._check_open()
            stored, self._stored = self._stored, 0
            if not stored and not self._batch and messages:
                self._batch = list(messages[:_MOST])
                self._there.notify()
            elif stored and not self._batch and len(messages) > stored:
                self._batch = list(messages[stored : stored + _MOST])
                self._there.notify()
            return stored

    def _run(self) -> None:
        while True:
            with self._there:
                self._there.wait_for(lambda: self._batch or self._closing)
                if self._closing:
                    break
                batch = self._batch
            stored = self._put(batch)
            with self._there:
                self._stored += stored
                self._batch = batch[stored:]
                if stored < len(batch):
                    self._there.wait_for(lambda: self._closing, _AGAIN if self.fault else _FULL)
        if self._queue is not None:
            self._queue.close()

    def _put(self, batch: Sequence[bytes]) -> int:
        try:
            if self._queue is None:
                self._queue = self._open()
                self._capacity = self._queue.capacity
            stored = self._queue.put_many(batch)
            self.fault = ""
        except QueueError as error:
            self.fault = str(error)
            return 0
        return stored

    def get(self, timeout: float | None = 0.0) -> Queued:
        """Nobody reads here."""
        raise QueueError(f"the queue {self.name} is open for putting only")

    @property
    def depth(self) -> int:
        """Messages on their way into the queue; what is in it only a round trip could tell."""
        with self._there:
            return len(self._batch)

    @property
    def capacity(self) -> int:
        """See `MessageQueue.capacity`; 0 while the queue was never reached."""
        return self._capacity

    def fileno(self) -> int:
        """There is none: ask again after a while."""
        raise QueueError(f"the queue {self.name} cannot be watched")

    def close(self) -> None:
        """See `MessageQueue.close`. What was handed over and not stored stays with the writer."""
        with self._there:
            self._closing = True
            self._there.notify()
        self._thread.join(_AGAIN)

    def unlink(self) -> None:
        """See `MessageQueue.unlink`: left to the one who made it."""

    def _check_open(self) -> None:
        if self._closing:
            raise QueueError(f"the queue {self.name} is closed")
