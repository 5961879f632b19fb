"""A queue by its name, whichever kind that says."""

from __future__ import annotations

from typing import Final

from ferret.queue.background import QueueInBackground
from ferret.queue.interface import MessageQueue
from ferret.queue.posix import PosixQueue
from ferret.queue.redis_streams import RedisQueue

_REDIS: Final = ("redis://", "rediss://", "unix://")


def is_redis(name: str) -> bool:
    """Whether the name is a URL of Redis."""
    return name.startswith(_REDIS)


def open_queue(name: str) -> MessageQueue:
    """For an agent, which only puts and never waits: "/ferret" of this host, or "redis://HOST[?queue=NAME]".

    Raises QueueError where there is no POSIX queue of the name. Redis is looked for in the background.
    """
    if is_redis(name):
        return QueueInBackground(name, lambda: RedisQueue.attach(name))
    return PosixQueue(name)


def open_for_recorder(name: str) -> MessageQueue:
    """For a recorder: a POSIX queue, which is removed again at the end, and one in Redis, which stays.

    What a recorder that was killed has left in it comes to the next one. One in Redis keeps what was taken until it is
    acknowledged. Raises QueueError.
    """
    return RedisQueue.attach(name, keep=True) if is_redis(name) else PosixQueue.take_over(name)


def check_queue(name: str) -> None:
    """Raise QueueError where an agent could not put into it right now."""
    (RedisQueue.attach(name) if is_redis(name) else PosixQueue(name)).close()
