"""What every queue keeps, whichever it is."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ferret.queue import (
    MessageQueue,
    MessageTooLongError,
    Queued,
    QueueEmptyError,
    QueueError,
    QueueFullError,
)

MakeQueue = Callable[..., MessageQueue]
KINDS = [
    "memory",
    pytest.param("posix", marks=pytest.mark.mqueue),
    pytest.param("redis", marks=pytest.mark.redis),
]


@pytest.fixture(params=KINDS)
def queue(request: pytest.FixtureRequest, make_queue: MakeQueue) -> Iterator[MessageQueue]:
    with make_queue(request.param) as made:
        yield made


def test_what_is_put_comes_out_unchanged(queue: MessageQueue) -> None:
    queue.put(b"M1", 0, 0)
    assert queue.get(0) == Queued(b"M1", 0)


def test_an_empty_message_is_a_message(queue: MessageQueue) -> None:
    queue.put(b"")
    assert queue.get() == Queued(b"", 0)


def test_equal_priorities_come_out_first_in_first_out(queue: MessageQueue) -> None:
    for octets in (b"M1", b"M2", b"M3"):
        queue.put(octets)
    assert [queue.get().octets for _ in range(3)] == [b"M1", b"M2", b"M3"]


def test_many_are_put_in_order_as_far_as_there_is_room(queue: MessageQueue) -> None:
    messages = [b"M%03d" % number + bytes(150) for number in range(queue.capacity + 5)]  # one in a slot
    assert queue.put_many(messages) == queue.capacity
    assert [queue.get().octets for _ in range(queue.capacity)] == messages[: queue.capacity]
    assert queue.put_many(messages[queue.capacity :]) == 5
    assert queue.put_many([]) == 0
    assert [queue.get().octets for _ in range(5)] == messages[queue.capacity :]


def test_what_is_put_at_once_is_taken_at_once(queue: MessageQueue) -> None:
    messages = [b"M%d" % number for number in range(queue.capacity)]
    assert queue.put_many(messages) == len(messages)
    assert [one.octets for one in queue.get_many(100)] == messages
    assert queue.get_many(100) == []
    assert queue.depth == 0


def test_of_many_those_before_one_that_never_fits_are_put(make_queue: MakeQueue) -> None:
    with make_queue("posix", slots=3, slot_size=64) as queue:
        messages = [b"M1" + bytes(50), bytes(100), bytes(1000), b"M4"]
        assert queue.put_many(messages) == 2
        assert [queue.get().octets for _ in range(2)] == messages[:2]
        with pytest.raises(MessageTooLongError):
            queue.put(messages[2])


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(st.binary(max_size=600), max_size=8), max_size=6), at_once=st.booleans())
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_put_at_once_comes_out_once_and_in_order(
    make_queue: MakeQueue, kind: str, batches: list[list[bytes]], at_once: bool
) -> None:
    with make_queue(kind) as queue:
        for batch in batches:
            out, rest = [], list(batch)
            while rest:
                done = queue.put_many(rest)
                rest = rest[done:]
                if at_once:
                    out += [one.octets for one in queue.get_many(1000)]
                else:
                    out += [queue.get().octets for _ in range(done)]
            assert out == batch
        assert queue.depth == queue.discarded == 0


def test_a_higher_priority_comes_out_first(queue: MessageQueue) -> None:
    queue.put(b"M4")
    queue.put(b"M3", 1)
    assert [queue.get(), queue.get()] == [Queued(b"M3", 1), Queued(b"M4", 0)]


def test_an_empty_queue_says_so_at_once_or_after_the_timeout(queue: MessageQueue) -> None:
    with pytest.raises(QueueEmptyError):
        queue.get(0)
    with pytest.raises(QueueEmptyError):
        queue.get(0.01)


def test_a_full_queue_refuses_and_keeps_what_it_has(queue: MessageQueue) -> None:
    for number in range(queue.capacity):
        queue.put(bytes([number]))
    with pytest.raises(QueueFullError):
        queue.put(b"one too many", 0, 0)
    with pytest.raises(QueueFullError):
        queue.put(b"one too many", 5, 0.01)
    assert [queue.get().octets for _ in range(queue.capacity)] == [bytes([n]) for n in range(queue.capacity)]
    assert queue.depth == 0


def test_a_long_message_goes_through_whole(queue: MessageQueue) -> None:
    octets = os.urandom(2000)
    queue.put(octets)
    assert queue.depth == queue.slots(len(octets))
    assert queue.get() == Queued(octets, 0)


def test_a_long_message_that_finds_too_little_room_leaves_nothing_behind(queue: MessageQueue) -> None:
    for _ in range(queue.capacity - queue.slots(2000) + 1):
        queue.put(b"short")
    depth = queue.depth
    if queue.slots(2000) > 1:
        with pytest.raises(QueueFullError):
            queue.put(bytes(2000))
    assert queue.depth == depth


def test_a_waiting_writer_goes_on_when_there_is_room(queue: MessageQueue) -> None:
    for _ in range(queue.capacity):
        queue.put(b"old")
    writer = threading.Thread(target=queue.put, args=(b"new", 0, 10))
    writer.start()
    taken = [queue.get(10).octets for _ in range(queue.capacity + 1)]
    writer.join()
    assert taken == [b"old"] * queue.capacity + [b"new"]


def test_a_waiting_reader_wakes_when_something_comes(queue: MessageQueue) -> None:
    writer = threading.Thread(target=queue.put, args=(b"news",))
    writer.start()
    assert queue.get(10).octets == b"news"
    writer.join()


def test_the_descriptor_is_readable_exactly_while_something_waits(queue: MessageQueue) -> None:
    poll = select.poll()
    poll.register(queue.fileno(), select.POLLIN)
    assert poll.poll(0) == []
    queue.put(b"x")
    queue.put(b"y")
    assert poll.poll(0)
    queue.get()
    assert poll.poll(0)
    queue.get()
    assert poll.poll(0) == []


@pytest.mark.parametrize("priority", [-1, 32768])
def test_a_priority_that_no_queue_has_is_refused(queue: MessageQueue, priority: int) -> None:
    with pytest.raises(QueueError):
        queue.put(b"x", priority)


def test_a_closed_queue_says_that_it_is_closed(queue: MessageQueue) -> None:
    queue.close()
    queue.close()
    for use in (lambda: queue.put(b"x"), lambda: queue.get(0), lambda: queue.depth, queue.fileno):
        with pytest.raises(QueueError):
            use()
    queue.unlink()
    queue.unlink()


operations = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.binary(max_size=200), st.integers(0, 3)),
        st.tuples(st.just("get"), st.just(b""), st.just(0)),
    ),
    max_size=40,
)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=operations)
def test_it_behaves_like_a_sorted_list(
    make_queue: MakeQueue, kind: str, operations: list[tuple[str, bytes, int]]
) -> None:
    model: list[Queued] = []
    with make_queue(kind, slots=8, slot_size=64) as queue:
        for operation, octets, priority in operations:
            if operation == "put":
                taken = sum(queue.slots(len(held.octets)) for held in model)
                if taken + queue.slots(len(octets)) > queue.capacity:
                    with pytest.raises(QueueFullError):
                        queue.put(octets, priority)
                else:
                    queue.put(octets, priority)
                    model.append(Queued(octets, priority))
                    model.sort(key=lambda held: -held.priority)
            elif model:
                assert queue.get() == model.pop(0)
            else:
                with pytest.raises(QueueEmptyError):
                    queue.get()
        assert queue.depth == sum(queue.slots(len(held.octets)) for held in model)
        assert queue.discarded == 0
