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
from ferret.queue import MessageQueue, QueueError, decode_captured
from ferret.records.message import CapturedMessage
from ferret_agents.spool import Spool

_BATCH: Final = 64  # messages taken before the event loop gets its turn

_log = structlog.get_logger("ferret.collector")


class Collector:
    """Takes messages out of a queue as they come and hands each one on, decoded from the queue's format.

    `taken == received + damaged + repeated`. With a spool each message is on disk before the queue may forget it, and
    those that a recorder before this one left there are handed on first; what comes a second time, after a crash of
    anybody, is left out. The queue is not closed in the end: it belongs to whoever made it.
    """

    def __init__(
        self, queue: MessageQueue, received: Callable[[CapturedMessage], None], *, spool: Spool | None = None
    ) -> None:
        self.received = 0
        self.damaged = 0  # what some stranger put into the queue, or a newer version of FERRET
        self.repeated = 0
        self.recovered = 0  # from the spool; not of the taken
        self._queue = queue
        self._receive = received
        self._spool = spool
        self._known: set[tuple[str, int, int]] = set()  # agent, epoch, number
        self._fault = ""
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def taken(self) -> int:
        """How many messages were taken out of the queue."""
        return self.received + self.damaged + self.repeated

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Read whenever there is something. Raises QueueError where the queue is closed, or somebody else reads it."""
        for octets in self._spool.left_behind if self._spool is not None else ():
            if self._hand_on(octets):
                self.recovered += 1
        self._take(_BATCH)
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
        try:
            self._take(_BATCH)
        except QueueError as error:
            if self._fault != str(error):
                self._fault = str(error)
                _log.error("queue_unreadable", reason=self._fault)
            return
        self._fault = ""

    def _take(self, limit: int) -> bool:
        """Take some messages; whether there was something in the queue."""
        found = self._queue.get_many(limit)
        for queued in found:
            if not self._hand_on(queued.octets):
                continue
            self.received += 1
            if self._spool is not None:
                self._spool.append(queued.octets)
        if found and self._spool is not None:
            self._spool.sync(durable=self._queue.keeps)
        if found:
            self._queue.acknowledge()
        return bool(found)

    def _hand_on(self, octets: bytes) -> bool:
        """Whether it is a message, and not one that was here before."""
        try:
            message = decode_captured(octets)
        except RecordError as error:
            self.damaged += 1
            _log.warning("queued_message_unreadable", reason=str(error))
            return False
        if self._spool is not None:
            key = (message.agent, message.epoch, message.number)
            if message.epoch and key in self._known:
                self.repeated += 1
                return False
            self._known.add(key)
        self._receive(message)
        return True
