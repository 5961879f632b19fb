"""The same queue inside one process: for tests, and for systems without POSIX message queues."""

from __future__ import annotations

import heapq
import os
import threading
from itertools import count

from ferret.queue.interface import (
    FIFO_PRIORITY,
    MessageQueue,
    Queued,
    QueueEmptyError,
    QueueError,
    QueueFullError,
    check_priority,
)

DEFAULT_CAPACITY = 10


class MemoryQueue(MessageQueue):
    """A queue that threads and tasks of one process share. Every message takes one slot."""

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        self._capacity = capacity
        self._heap: list[tuple[int, int, bytes]] = []
        self._numbers = count()
        self._changed = threading.Condition()
        self._signal = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_SEMAPHORE | os.EFD_CLOEXEC)

    def put(self, octets: bytes, priority: int = FIFO_PRIORITY, timeout: float | None = 0.0) -> None:
        """See `MessageQueue.put`."""
        check_priority(priority)
        with self._changed:
            if not self._changed.wait_for(lambda: self._closed or len(self._heap) < self._capacity, timeout):
                raise QueueFullError(f"the queue is full ({self._capacity} messages)")
            self._check_open()
            heapq.heappush(self._heap, (-priority, next(self._numbers), bytes(octets)))
            os.eventfd_write(self._signal, 1)
            self._changed.notify_all()

    def get(self, timeout: float | None = 0.0) -> Queued:
        """See `MessageQueue.get`."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._closed or bool(self._heap), timeout):
                raise QueueEmptyError("the queue is empty")
            self._check_open()
            negated, _, octets = heapq.heappop(self._heap)
            os.eventfd_read(self._signal)
            self._changed.notify_all()
            return Queued(octets, -negated)

    @property
    def depth(self) -> int:
        """See `MessageQueue.depth`."""
        with self._changed:
            self._check_open()
            return len(self._heap)

    @property
    def capacity(self) -> int:
        """See `MessageQueue.capacity`."""
        return self._capacity

    def fileno(self) -> int:
        """See `MessageQueue.fileno`."""
        with self._changed:
            self._check_open()
            return self._signal

    def close(self) -> None:
        """See `MessageQueue.close`; who waits gets a QueueError. The messages go with it."""
        with self._changed:
            if not self._closed:
                os.close(self._signal)
                self._signal = -1
                self._heap.clear()
                self._changed.notify_all()

    def unlink(self) -> None:
        """See `MessageQueue.unlink`: there is no name to remove."""

    @property
    def _closed(self) -> bool:
        return self._signal < 0

    def _check_open(self) -> None:
        if self._closed:
            raise QueueError("the queue is closed")
