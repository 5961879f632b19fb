"""A queue by its name, whichever kind that says."""

from __future__ import annotations

from ferret.queue.interface import MessageQueue
from ferret.queue.posix import PosixQueue


def open_queue(name: str) -> MessageQueue:
    """Open the queue "/ferret" of this host. Raises QueueError where there is none."""
    return PosixQueue(name)
