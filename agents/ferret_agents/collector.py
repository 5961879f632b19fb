"""The other end of the queue: captured messages to whoever records them, in an event loop, never blocking it.

collector = Collector(queue, recorder.add)
collector.start(loop)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from ferret.errors import RecordError
from ferret.queue import MessageQueue, decode_captured
from ferret.records.message import CapturedMessage

_BATCH: Final = 64  # messages taken before the event loop gets its turn

_log = structlog.get_logger("ferret.collector")


class Collector:
    """Takes messages out of a queue as they come and hands each one on, decoded from the queue's format.

    `taken == received + damaged`. The queue is not closed in the end: it belongs to whoever made it.
    """

    def __init__(self, queue: MessageQueue, received: Callable[[CapturedMessage], None]) -> None:
        self.received = 0
        self.damaged = 0  # what some stranger put into the queue, or a newer version of FERRET
        self._queue = queue
        self._receive = received
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def taken(self) -> int:
        """How many messages were taken out of the queue."""
        return self.received + self.damaged

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Read whenever there is something. Raises QueueError where the queue is closed, or somebody else reads it."""
        self._readable()
        self._loop = loop
        loop.add_reader(self._queue.fileno(), self._readable)

    def stop(self) -> None:
        """Take what is still in the queue, and read no more. Stopping twice does no harm."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        loop.remove_reader(self._queue.fileno())
        for _ in range(self._queue.depth):
            if not self._take(1):
                return

    def _readable(self) -> None:
        self._take(_BATCH)

    def _take(self, limit: int) -> bool:
        """Take some messages; whether there was something in the queue."""
        found = self._queue.get_many(limit)
        for queued in found:
            try:
                message = decode_captured(queued.octets)
            except RecordError as error:
                self.damaged += 1
                _log.warning("queued_message_unreadable", reason=str(error))
                continue
            self.received += 1
            self._receive(message)
        return bool(found)
