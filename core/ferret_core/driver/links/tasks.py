"""Tasks that a link spawns long after it was started, from whatever has just happened."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context, copy_context
from typing import Any


class Tasks:
    """They run in the context in which `begin` was called: whoever starts a link in a place of its own (a network
    namespace, whose sockets are others) finds what the link opens later in that place too.
    """

    def __init__(self) -> None:
        self._context: Context | None = None
        self._running: set[asyncio.Task[None]] = set()

    def begin(self) -> None:
        """The link is being started."""
        self._context = copy_context()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run it; it ends with the link."""
        context = self._context or copy_context()
        task = context.run(asyncio.ensure_future, work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def cancel(self) -> None:
        """The link is being stopped."""
        for task in self._running:
            task.cancel()
