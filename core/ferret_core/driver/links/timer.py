"""One timer for one protocol engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Timer:
    """Calls `due` at the engine's deadline; `set` moves it, None stops it."""

    def __init__(self, due: Callable[[], None], clock: Callable[[], float]) -> None:
        self._due = due
        self._clock = clock
        self._handle: asyncio.TimerHandle | None = None
        self._deadline: float | None = None

    def set(self, deadline: float | None) -> None:
        """Run at `deadline` (the engine's clock), or not at all."""
        if deadline == self._deadline:
            return
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._deadline = deadline
        if deadline is not None:
            delay = max(0.0, deadline - self._clock())
            self._handle = asyncio.get_running_loop().call_later(delay, self._fire)

    def _fire(self) -> None:
        self._handle = None
        self._deadline = None
        self._due()
