"""Queue, memory, disk, and only then a drop: in order, each message once, all accounted for, whatever fails."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ferret.errors import ConfigError
from ferret.queue import MemoryQueue, QueueEmptyError
from ferret_agents.live.outbox import BufferLimits, Drop, Outbox
from ferret_agents.live.spill import Spill

actions = st.lists(
    st.one_of(
        st.tuples(st.just("offer"), st.lists(st.integers(0, 90), max_size=12)),
        st.tuples(st.just("take"), st.integers(1, 8)),
        st.tuples(st.just("flush"), st.just(0)),
        st.tuples(st.just("disk"), st.sampled_from(["fails", "works", "loses"])),
    ),
    max_size=60,
)


class FailingSpill(Spill):
    """A disk that refuses, or forgets, when told to."""

    state = "works"

    def put(self, octets: bytes, captured_at_ns: int) -> bool:
        return self.state != "fails" and super().put(octets, captured_at_ns)

    def get(self) -> tuple[bytes, int] | None:
        if self.state == "loses" and self._places:
            _, length = self._places.popleft()
            self.octets -= length - 12
            self.unreadable += 1
        return super().get()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=actions, memory=st.integers(1, 6), disk=st.integers(0, 700))
def test_what_was_offered_is_queued_in_order_or_counted_as_dropped(
    tmp_path: Path, actions: list[tuple[str, object]], memory: int, disk: int
) -> None:
    passed: list[int] = []
    out: list[bytes] = []
    queue, spill, number = MemoryQueue(5), FailingSpill(tmp_path, disk), 0
    outbox = Outbox(queue, BufferLimits(messages=memory, octets=400), passed.extend, spill)
    for action, what in actions:
        if action == "offer" and isinstance(what, list):
            messages = [(number + place).to_bytes(4, "big") + bytes(size) for place, size in enumerate(what)]
            outbox.offer_many(messages, list(range(number, number + len(messages))))
            number += len(messages)
        elif action == "take" and isinstance(what, int):
            out += [queue.get().octets for _ in range(min(what, queue.depth))]
        elif action == "flush":
            outbox.flush()
        else:
            spill.state = str(what)
        assert outbox.offered == number == outbox.queued + outbox.waiting + sum(outbox.dropped.values())
        assert outbox.waiting_octets <= 400 or outbox.spilled
    while outbox.waiting or queue.depth:
        outbox.flush()
        out += [queue.get().octets for _ in range(queue.depth)]
    numbers = [int.from_bytes(octets[:4], "big") for octets in out]
    assert numbers == sorted(set(numbers)) == passed
    assert len(numbers) == outbox.queued
    assert outbox.offered == outbox.queued + sum(outbox.dropped.values())
    with pytest.raises(QueueEmptyError):
        queue.get()
    outbox.close()
    queue.close()


def test_when_memory_is_used_up_messages_wait_on_disk_and_leave_it_empty(tmp_path: Path) -> None:
    queue = MemoryQueue(2)
    outbox = Outbox(queue, BufferLimits(messages=3), spill=Spill(tmp_path, 1 << 20))
    outbox.offer_many([b"%d" % number for number in range(1000)], list(range(1000)))
    assert (outbox.queued, outbox.waiting, outbox.on_disk, outbox.spilled) == (2, 998, 995, 995)
    assert not list(tmp_path.iterdir())  # the file has no name: nothing stays behind, however the agent ends
    out = []
    while queue.depth:
        out.append(int(queue.get().octets))
        outbox.flush()
    assert out == list(range(1000))
    assert not outbox.dropped
    outbox.close()
    queue.close()


def test_at_the_end_what_still_waits_is_dropped_and_counted(tmp_path: Path) -> None:
    outbox = Outbox(None, BufferLimits(messages=3), spill=Spill(tmp_path, 1 << 20))
    outbox.offer_many([b"x"] * 10, [0] * 10)
    outbox.close()
    outbox.close()
    assert outbox.dropped == {Drop.STOPPED: 10}


def test_a_full_file_refuses_and_room_is_used_again(tmp_path: Path) -> None:
    spill = Spill(tmp_path, 100)
    for start in range(0, 60, 3):
        for number in range(start, start + 3):
            assert spill.put(b"%020d" % number, number)
        assert not spill.put(bytes(30), 0)
        assert [spill.get() for _ in range(2)] == [(b"%020d" % n, n) for n in (start, start + 1)]
        assert spill.get() == (b"%020d" % (start + 2), start + 2)
    assert spill.get() is None
    spill.close()


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.one_of(st.binary(max_size=60), st.none()), max_size=60),
    size=st.integers(0, 300),
)
def test_a_file_gives_back_what_was_put_in_order(tmp_path: Path, steps: list[bytes | None], size: int) -> None:
    spill, model = Spill(tmp_path, size), []
    for at, octets in enumerate(steps):
        if octets is None:
            assert spill.get() == (model.pop(0) if model else None)
        elif spill.put(octets, at):
            model.append((octets, at))
        assert len(spill) == len(model)
        assert spill.octets == sum(len(octets) for octets, _ in model) <= size
    assert [spill.get() for _ in model] == model
    spill.close()


def test_a_directory_where_nothing_can_be_spilled_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing can be spilled there"):
        Spill(tmp_path / "not there", 100)


def test_a_disk_that_fails_is_no_error_but_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spill = Spill(tmp_path, 1000)
    assert spill.put(b"one", 1)

    def fails(*arguments: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", fails)
    assert not spill.put(b"two", 2)
    monkeypatch.setattr(os, "pread", fails)
    assert spill.get() is None
    assert spill.unreadable == 1
    spill.close()
