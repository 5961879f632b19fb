"""Getting an agent's messages into the host's queue: when there is room, and into whichever queue there is.

The queue may be full, may not be there yet, and may be removed and made anew by another recorder. Nothing here waits.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from ferret.queue import MessageQueue, QueueError
from ferret_agents.live.outbox import BufferLimits, Outbox
from ferret_agents.live.spill import Spill

_RETRY: Final = 0.001  # seconds, where a queue has room but not enough
_REOPEN: Final = 1.0  # seconds between two looks for the queue

_log = structlog.get_logger("ferret.agent")


class Delivery:
    """Empties an outbox into a queue whenever it can."""

    def __init__(
        self,
        agent: str,
        queue: MessageQueue | None,
        *,
        limits: BufferLimits,
        passed: Callable[[Sequence[int]], None],
        reopen: Callable[[], MessageQueue] | None = None,
        spill: Spill | None = None,
    ) -> None:
        """`reopen` opens the queue where there is none yet, or anew; what it opens is closed at the end."""
        self.outbox = Outbox(queue, limits, passed, spill)
        self._agent = agent
        self._reopen = reopen
        self._reopened: MessageQueue | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watched = -1  # a descriptor of the queue that is watched for room
        self._retry: asyncio.TimerHandle | None = None
        self._looked_at = float("-inf")
        self._no_queue = ""  # why there is none, as last logged

    @property
    def has_queue(self) -> bool:
        """Whether there is a queue to put messages into."""
        return self.outbox.queue is not None

    @property
    def queue_depth(self) -> int | None:
        """How many slots of the queue are taken; None where there is no queue."""
        try:
            return self.outbox.queue.depth if self.outbox.queue is not None else None
        except QueueError:
            return None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Work in this event loop."""
        self._loop = loop
        self.look_for_queue()

    def offer(self, messages: Sequence[bytes], times: Sequence[int]) -> None:
        """Take messages and when each was captured (ns): into the queue where that has room, else they wait."""
        queue = self.outbox.queue
        if self._reopen is not None and queue is not None and queue.removed:
            self._leave_queue()
        self.outbox.offer_many(messages, times)

    def flush(self) -> int:
        """Put into the queue what waits; if some stays, come back when there is room. How many messages went in."""
        outbox = self.outbox
        if not outbox.waiting:
            return 0
        if self._reopen is not None and outbox.queue is not None and outbox.queue.removed:
            self._leave_queue()
        moved = outbox.flush()
        if not outbox.waiting:
            self._stop_watching()
        elif moved or self._watched < 0:
            self._watch()
        return moved

    async def drain(self, within: float) -> None:
        """Wait up to `within` seconds for the queue to take everything, and drop the rest."""
        if self._loop is not None:
            deadline = self._loop.time() + within
            while self.outbox.waiting and self._loop.time() < deadline:
                if not self.flush():
                    await asyncio.sleep(_RETRY)
        self.outbox.give_up()

    def close(self) -> None:
        """Drop what waits, let go of the queue. Closing twice does no harm."""
        self.outbox.close()
        self._stop_watching()
        if self._retry is not None:
            self._retry.cancel()
        self._loop = None
        if self._reopened is not None:
            self._reopened.close()

    def _watch(self) -> None:
        """Be called when the queue has room. A descriptor of our own: others in this process may watch theirs."""
        queue = self.outbox.queue
        if self._watched >= 0 or queue is None or self._loop is None:
            return
        try:
            self._watched = os.dup(queue.fileno())
        except (OSError, QueueError):  # it cannot be watched
            self._look_again()
            return
        self._loop.add_writer(self._watched, self._has_room)

    def _look_again(self) -> None:
        """In a moment."""
        if self._retry is None and self._loop is not None:
            self._retry = self._loop.call_later(_RETRY, self._again)

    def _again(self) -> None:
        self._retry = None
        self.flush()

    def _has_room(self) -> None:
        if self.flush() or not self.outbox.waiting or self._loop is None:
            return
        # There is room, but less than the next message takes, or another agent is just writing.
        self._stop_watching()
        self._look_again()

    def _stop_watching(self) -> None:
        if self._watched < 0:
            return
        if self._loop is not None:
            self._loop.remove_writer(self._watched)
        os.close(self._watched)
        self._watched = -1

    def look_for_queue(self) -> None:
        """Open the queue where there is none, or where it was removed and nobody will ever read it. Call it often."""
        if self._reopen is None or self._loop is None or self._loop.time() - self._looked_at < _REOPEN:
            return
        self._looked_at = self._loop.time()
        if self.outbox.queue is not None and not self.outbox.queue.removed:
            return
        self._leave_queue()
        try:
            self._reopened = self._reopen()
        except QueueError as error:
            if self._no_queue != str(error):
                self._no_queue = str(error)
                _log.warning("no_queue", agent=self._agent, reason=self._no_queue)
            return
        self._no_queue = ""
        self.outbox.use(self._reopened)
        _log.info("queue_opened", agent=self._agent, waiting=self.outbox.waiting)

    def _leave_queue(self) -> None:
        """The queue was removed: until there is another, everything waits here."""
        self._stop_watching()
        self.outbox.use(None)
        if self._reopened is not None:
            self._reopened.close()
            self._reopened = None
