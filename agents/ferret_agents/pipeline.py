"""From a capture file to recordings, the way that live signalling takes: agents, the ordered queue, the recorder.

Agents put what their NFs send and receive into the host's POSIX queue; the recorder takes it out. Here both live in one
process: whenever the queue is full, the recorder gets its turn.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex

from ferret.errors import RecordError
from ferret.queue import (
    MemoryQueue,
    MessageQueue,
    MessageTooLongError,
    PosixQueue,
    QueueEmptyError,
    QueueFullError,
    decode_captured,
    encode_captured,
    posix_queues_work,
)
from ferret.records.message import CapturedMessage
from ferret.records.recorder import Capture, Recorder
from ferret_agents.capture.ledger import Damage
from ferret_agents.capture.reader import CaptureResult, read
from ferret_agents.offline import agents
from ferret_agents.roles import Network, find_network


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """A capture file, as read and as recorded."""

    path: Path
    read: CaptureResult
    network: Network
    capture: Capture


def record_file(path: Path, *, progress: Callable[[int, int], None] = lambda done, total: None) -> RecordedFile:
    """Read a capture and record it through the queue. Raises RecordError where it cannot be used at all.

    `progress` is called with how many messages have gone through the queue, and of how many.
    """
    result = read(path)
    network = find_network(result.messages)
    recorder = Recorder(lambda endpoint, message: network.resolve(endpoint, message.protocol))
    too_long: dict[int, Damage] = {}
    with private_queue("agents") as queue:
        sightings = list(agents(result.messages, network))
        for done, message in enumerate(_through(queue, sightings, too_long), start=1):
            recorder.add(message)
            if done % 256 == 0:
                progress(done, len(sightings))
    if too_long:
        result = replace(result, damage=(*result.damage, *too_long.values()))
    return RecordedFile(path, result, network, recorder.finish())


def private_queue(purpose: str) -> MessageQueue:
    """A POSIX queue for this process alone; where the system has none, one in memory with the same contract.

    Its name is removed at once, so that nothing stays behind however the process ends.
    """
    if not posix_queues_work():
        return MemoryQueue()
    queue = PosixQueue.create(f"/ferret-{purpose}-{os.getpid()}-{token_hex(4)}")
    queue.unlink()
    return queue


def _through(
    queue: MessageQueue, messages: Iterable[CapturedMessage], too_long: dict[int, Damage]
) -> Iterator[CapturedMessage]:
    """Put each message into the queue as its agent would; take out what is there whenever it is full.

    A message that no queue of this size can hold is left out, and its frame goes into `too_long`, once however many
    agents have seen it.
    """
    for message in messages:
        octets = encode_captured(message)
        try:
            queue.put(octets)
        except QueueFullError:
            yield from _taken(queue)
            queue.put(octets)
        except MessageTooLongError:
            what = f"a message of {len(message.octets)} octets is longer than the whole queue: left out"
            too_long[message.frame] = Damage(message.frame, what)
    yield from _taken(queue)


def _taken(queue: MessageQueue) -> Iterator[CapturedMessage]:
    while True:
        try:
            yield decode_captured(queue.get().octets)
        except QueueEmptyError:
            return


def usable(recorded: RecordedFile) -> RecordedFile:
    """The file, if it holds any signalling. Raises RecordError with what there was instead."""
    if recorded.capture.messages:
        return recorded
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(recorded.read.ignored.items())) or "nothing"
    damage = f"; {recorded.read.damage[0].what}" if recorded.read.damage else ""
    raise RecordError(f"{recorded.path}: no GTPv2-C, Diameter, SIP or S1AP in it ({kinds}{damage})")
