"""What was taken out of a queue is on disk before the queue forgets it, and comes again after a crash, once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ferret.errors import RecordError
from ferret.protocols.summary import Protocol
from ferret.queue import MemoryQueue, encode_captured
from ferret.records.message import CapturedMessage, Endpoint
from ferret_agents.collector import Collector
from ferret_agents.spool import Spool


def message(number: int, agent: str = "10.0.0.1", epoch: int = 512) -> CapturedMessage:
    ends = (Endpoint("10.0.0.1", 5060), Endpoint("10.0.0.2", 5060))
    return CapturedMessage(Protocol.SIP, number, *ends, b"OPTIONS", agent=agent, number=number, epoch=epoch)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=st.lists(st.binary(max_size=50), max_size=20), cut=st.integers(0, 2000), junk=st.binary(max_size=12))
def test_a_spool_gives_back_what_was_synced_and_never_half_a_message(
    tmp_path: Path, messages: list[bytes], cut: int, junk: bytes
) -> None:
    path = tmp_path / "spool"
    path.unlink(missing_ok=True)
    spool = Spool(path)
    for octets in messages:
        spool.append(octets)
    spool.sync()
    spool.close()
    if messages:
        content = path.read_bytes()
        path.write_bytes(content[: max(0, len(content) - cut)] + (junk if cut else b""))
    again = Spool(path)
    assert again.left_behind == messages[: len(again.left_behind)]
    if not cut:
        assert again.left_behind == messages
    again.append(b"one more")
    again.sync()
    kept = [*again.left_behind, b"one more"]
    again.close()
    assert Spool(path).left_behind == kept
    path.unlink()


def test_a_spool_is_one_recorder_s_and_gone_when_it_is_done(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    assert not (tmp_path / "spool").exists()
    spool.append(b"x")
    spool.sync()
    with pytest.raises(RecordError, match="another recorder's"):
        Spool(tmp_path / "spool")
    spool.remove()
    assert not (tmp_path / "spool").exists()


def test_a_recorder_that_starts_again_has_what_the_one_before_had_taken_and_nothing_twice(tmp_path: Path) -> None:
    async def scenario() -> None:
        queue = MemoryQueue(10)
        loop = asyncio.get_running_loop()
        for number in (1, 2, 3):
            queue.put(encode_captured(message(number)))
        first: list[CapturedMessage] = []
        spool = Spool(tmp_path / "spool")
        Collector(queue, first.append, spool=spool).start(loop)
        loop.remove_reader(queue.fileno())
        spool.close()  # and the process is gone
        for number in (3, 4):  # 3 comes again: the queue had not heard that it was safe
            queue.put(encode_captured(message(number)))
        second: list[CapturedMessage] = []
        collector = Collector(queue, second.append, spool=Spool(tmp_path / "spool"))
        collector.start(loop)
        collector.stop()
        assert [one.number for one in first] == [1, 2, 3]
        assert [one.number for one in second] == [1, 2, 3, 4]
        assert (collector.recovered, collector.received, collector.repeated) == (3, 1, 1)
        queue.close()

    asyncio.run(scenario())
