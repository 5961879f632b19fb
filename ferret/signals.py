"""The end of a process that serves: SIGINT and SIGTERM."""

from __future__ import annotations

import asyncio
import signal


def until_told_to_stop() -> asyncio.Event:
    """An event that SIGINT and SIGTERM set, in the running event loop."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    return stopping
