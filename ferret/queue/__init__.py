"""Queues between agents, recorder and replayer."""

from ferret.queue.codec import decode_captured, encode_captured
from ferret.queue.interface import (
    FIFO_PRIORITY,
    MAX_PRIORITY,
    MessageQueue,
    MessageTooLongError,
    Queued,
    QueueEmptyError,
    QueueError,
    QueueFullError,
)
from ferret.queue.limits import QueueLimits, choose_limits
from ferret.queue.memory import MemoryQueue
from ferret.queue.opening import check_queue, is_redis, open_for_recorder, open_queue
from ferret.queue.posix import PosixQueue, posix_queues_work
from ferret.queue.redis_streams import RedisQueue

__all__ = [
    "FIFO_PRIORITY",
    "MAX_PRIORITY",
    "MemoryQueue",
    "MessageQueue",
    "MessageTooLongError",
    "PosixQueue",
    "QueueEmptyError",
    "QueueError",
    "QueueFullError",
    "QueueLimits",
    "Queued",
    "RedisQueue",
    "check_queue",
    "choose_limits",
    "decode_captured",
    "encode_captured",
    "is_redis",
    "open_for_recorder",
    "open_queue",
    "posix_queues_work",
]
