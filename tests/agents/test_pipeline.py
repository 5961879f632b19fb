"""From a file through the queue: what the queue cannot hold is said, and the rest goes on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ferret.queue import MessageQueue, PosixQueue, QueueLimits, encode_captured
from ferret_agents import pipeline
from ferret_agents.commands.overview import damage_lines
from ferret_agents.offline import agents
from ferret_agents.pipeline import record_file

SLOTS, SLOT_SIZE = 3, 512


def _small_queue(purpose: str) -> MessageQueue:
    queue = PosixQueue.create(f"/ferret-{purpose}-{os.getpid()}-small", QueueLimits(SLOTS, SLOT_SIZE))
    queue.unlink()
    return queue


@pytest.mark.mqueue
def test_a_message_longer_than_the_queue_is_damage_and_does_not_end_the_file(
    capture: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = capture("volte-call-full.pcap")
    whole = record_file(path)
    monkeypatch.setattr(pipeline, "private_queue", _small_queue)
    recorded = record_file(path)
    with _small_queue("probe") as probe:
        sightings = agents(whole.read.messages, whole.network)
        too_long = {m.frame for m in sightings if probe.slots(len(encode_captured(m))) > SLOTS}
    assert too_long
    assert {damage.frame for damage in recorded.read.damage} == too_long
    assert not too_long & {message.captured.frame for message in recorded.capture.messages}
    assert len(recorded.capture.messages) >= len(whole.capture.messages) - len(too_long) > 0
    assert sum("longer than the whole queue" in line for line in damage_lines(recorded)) == len(too_long)
