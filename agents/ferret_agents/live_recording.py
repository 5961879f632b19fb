"""From the host's queue, while agents fill it, to recordings.

    with PosixQueue.create("/ferret") as queue:
        messages = await collect(queue, stopping)
    capture = record_messages(messages)

Who is which NF is found from what they say, as with a capture file, so nothing has to be configured; it is found at the
end, when the most is known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from ferret.queue import MessageQueue
from ferret.records.message import CapturedMessage
from ferret.records.recorder import Capture, Recorder
from ferret_agents.collector import Collector
from ferret_agents.roles import find_network
from ferret_agents.spool import Spool

MOST_MESSAGES: Final = 1_000_000
"""About 2 GB of memory, and a working day of a small network."""

_log = structlog.get_logger("ferret.recorder")


async def collect(
    queue: MessageQueue,
    stopping: asyncio.Event,
    *,
    most: int = MOST_MESSAGES,
    spool: Spool | None = None,
    progress: Callable[[int], None] = lambda taken: None,
) -> list[CapturedMessage]:
    """Take messages out of the queue until `stopping` is set or there are `most` of them; then what is still in it.

    `spool`: where they are safe until they are recordings. `progress` is called with how many there are. Raises
    QueueError where somebody else reads the queue.
    """
    messages: list[CapturedMessage] = []

    def received(message: CapturedMessage) -> None:
        messages.append(message)
        progress(len(messages))
        if len(messages) >= most and not stopping.is_set():
            _log.warning("recorder_full", messages=most)
            stopping.set()

    collector = Collector(queue, received, spool=spool)
    collector.start(asyncio.get_running_loop())
    _log.info("recorder_started", slots=queue.capacity)
    try:
        await stopping.wait()
    finally:
        collector.stop()
    _log.info("recorder_stopped", messages=collector.received, damaged=collector.damaged)
    return messages


def record_messages(messages: Sequence[CapturedMessage]) -> Capture:
    """What agents have captured, in whatever order it came, as recordings."""
    in_time = sorted(messages, key=lambda message: message.captured_at_ns)
    network = find_network(in_time)
    recorder = Recorder(lambda endpoint, message: network.resolve(endpoint, message.protocol))
    for message in in_time:
        recorder.add(message)
    return recorder.finish()
