"""The event loop that agents run on."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util


def new_event_loop() -> asyncio.AbstractEventLoop:
    """uvloop's where it is installed (the extra `fast`): half the time per wake-up; asyncio's own elsewhere."""
    if importlib.util.find_spec("uvloop") is None:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = importlib.import_module("uvloop").new_event_loop()
    return loop
