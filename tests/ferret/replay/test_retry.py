"""Figure 6 of the paper, step by step on the real queue, and what lies around it."""

from __future__ import annotations

import os
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferret.errors import LocalMisuseError, PeerViolationError
from ferret.queue import MemoryQueue, MessageQueue, PosixQueue, QueueEmptyError, QueueLimits
from ferret.replay.retry import (
    LIFO_PRIORITY,
    TRANSITIONS,
    Abandon,
    Command,
    Deliver,
    Drain,
    Event,
    Finish,
    Put,
    RetryEngine,
    RetryPolicy,
    State,
    Take,
)

POLICY = RetryPolicy(ack_timeout=0.5, max_attempts=3)


class Driver:
    """Executes an engine's commands on a queue; the test plays the edge NF and the clock."""

    def __init__(self, engine: RetryEngine, queue: MessageQueue) -> None:
        self.engine = engine
        self.queue = queue
        self.now = 0.0
        self.delivered: list[tuple[bytes, int]] = []
        self.ends: list[Command] = []
        self.run(engine.start())

    def run(self, commands: list[Command]) -> None:
        pending = deque(commands)
        while pending:
            match pending.popleft():
                case Put(octets, priority):
                    self.queue.put(octets, priority)
                case Take():
                    pending.extend(self.engine.taken(self.queue.get().octets, self.now))
                case Deliver(_, octets, attempt):
                    self.delivered.append((octets, attempt))
                case Drain():
                    while self.queue.depth:
                        self.queue.get()
                case end:
                    self.ends.append(end)

    def acknowledge(self, number: int) -> None:
        self.run(self.engine.acknowledged(number))

    def let_the_timer_run_out(self) -> None:
        deadline = self.engine.deadline()
        assert deadline is not None
        self.now = deadline
        self.run(self.engine.wake(self.now))


def engine_for(*messages: bytes, queue: MessageQueue, policy: RetryPolicy = POLICY) -> RetryEngine:
    return RetryEngine(messages, capacity=queue.capacity, slots=queue.slots, policy=policy)


@pytest.mark.mqueue
def test_figure_6_step_by_step_on_the_posix_queue() -> None:
    with PosixQueue.create(f"/ferret-figure-6-{os.getpid()}", QueueLimits(10, 128)) as queue:
        messages = (b"M1", b"M2", b"M3" + bytes(300), b"M4")  # M3 takes three slots
        engine = engine_for(*messages, queue=queue)

        # All messages are in the queue; M1 is dequeued first-in first-out and sent.
        driver = Driver(engine, queue)
        assert (engine.state, driver.delivered) == (State.FIFO_SENT, [(b"M1", 1)])
        # M1 and M2 are acknowledged.
        driver.acknowledge(0)
        assert driver.delivered[-1] == (b"M2", 1)
        driver.acknowledge(1)
        assert (engine.state, driver.delivered[-1]) == (State.FIFO_SENT, (messages[2], 1))
        assert queue.depth == 1  # M4
        # M3's timer runs out: it is enqueued ...
        driver.now = 0.4
        assert engine.wake(driver.now) == []
        driver.now = 0.5
        commands = engine.wake(driver.now)
        assert [type(command) for command in commands] == [Put, Take]
        assert isinstance(commands[0], Put) and commands[0].priority == LIFO_PRIORITY
        # ... the order is last-in first-out ...
        assert engine.state is State.LIFO
        # ... so M3, and not M4, comes out and is sent again.
        driver.run(commands)
        assert (engine.state, driver.delivered[-1]) == (State.LIFO_SENT, (messages[2], 2))
        assert queue.depth == 1
        # M3 is acknowledged: first-in first-out again, and M4 follows.
        driver.acknowledge(2)
        assert (engine.state, driver.delivered[-1]) == (State.FIFO_SENT, (b"M4", 1))
        driver.acknowledge(3)
        assert engine.state is State.DONE
        assert driver.ends == [Finish()]
        assert [octets[:2] for octets, _ in driver.delivered] == [b"M1", b"M2", b"M3", b"M3", b"M4"]


def test_attempts_are_bounded_and_then_the_replay_is_abandoned_with_an_empty_queue() -> None:
    with MemoryQueue() as queue:
        driver = Driver(engine_for(b"M1", b"M2", queue=queue), queue)
        for _ in range(3):
            driver.let_the_timer_run_out()
        assert driver.engine.state is State.ABANDONED
        assert driver.ends == [Abandon(0, "not acknowledged after 3 attempts")]
        assert [attempt for _, attempt in driver.delivered] == [1, 2, 3]
        assert (queue.depth, driver.engine.deadline()) == (0, None)


def test_a_refusal_abandons_at_once() -> None:
    with MemoryQueue() as queue:
        driver = Driver(engine_for(b"M1", b"M2", queue=queue), queue)
        driver.run(driver.engine.refused(0, "unknown session"))
        assert driver.ends == [Abandon(0, "refused: unknown session")]
        assert queue.depth == 0


def test_a_late_acknowledgement_counts_and_the_message_is_not_sent_again() -> None:
    with MemoryQueue() as queue:
        driver = Driver(engine_for(b"M1", b"M2", queue=queue), queue)
        driver.now = 0.5
        commands = driver.engine.wake(driver.now)
        assert driver.engine.acknowledged(0) == []
        driver.run(commands)
        assert driver.delivered == [(b"M1", 1), (b"M2", 1)]
        assert driver.engine.state is State.FIFO_SENT


def test_a_second_acknowledgement_of_a_message_changes_nothing() -> None:
    with MemoryQueue() as queue:
        driver = Driver(engine_for(b"M1", b"M2", queue=queue), queue)
        driver.acknowledge(0)
        driver.acknowledge(0)
        assert driver.engine.outstanding == 1
        driver.acknowledge(1)
        driver.acknowledge(1)
        assert driver.ends == [Finish()]


@pytest.mark.parametrize("number", [-1, 1, 7])
def test_acknowledging_what_was_never_sent_is_a_violation(number: int) -> None:
    with MemoryQueue() as queue:
        driver = Driver(engine_for(b"M1", b"M2", queue=queue), queue)
        with pytest.raises(PeerViolationError):
            driver.engine.acknowledged(number)


def test_cancelling_drains_the_queue_once() -> None:
    with MemoryQueue() as queue:
        driver = Driver(engine_for(b"M1", b"M2", queue=queue), queue)
        driver.run(driver.engine.cancel("the call was hung up"))
        driver.run(driver.engine.cancel("again"))
        assert driver.ends == [Abandon(0, "the call was hung up")]
        assert queue.depth == 0


def test_nothing_to_send_is_done_at_once() -> None:
    with MemoryQueue() as queue:
        assert Driver(engine_for(queue=queue), queue).ends == [Finish()]


def test_a_message_that_never_fits_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(LocalMisuseError):
        RetryEngine([b"x" * 100], capacity=2, slots=lambda length: length // 10)


def test_an_event_without_an_entry_is_an_error() -> None:
    with MemoryQueue() as queue:
        driver = Driver(engine_for(b"M1", b"M2", queue=queue), queue)
        with pytest.raises(LocalMisuseError):
            driver.engine.taken(b"\0\0\0\1M2", 0.0)


def test_every_state_that_is_not_over_has_a_way_to_be_abandoned() -> None:
    for state in State:
        assert (state, Event.CANCELLED) in TRANSITIONS


@settings(max_examples=80)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=25), st.lists(st.booleans(), max_size=40))
def test_whatever_fails_the_edge_gets_the_messages_in_order_through_a_small_queue(
    lengths: list[int], timeouts: list[bool]
) -> None:
    with MemoryQueue(5) as queue:
        messages = [bytes([number]) * (length + 1) for number, length in enumerate(lengths)]
        engine = RetryEngine(messages, capacity=5, slots=lambda length: 1 + length // 20, policy=RetryPolicy(1.0, 100))
        driver = Driver(engine, queue)
        while engine.state not in {State.DONE, State.ABANDONED}:
            outstanding = engine.outstanding
            assert outstanding is not None
            if timeouts and timeouts.pop():
                driver.let_the_timer_run_out()
            else:
                driver.acknowledge(outstanding)
        assert driver.ends == [Finish()]
        first_times = [octets for octets, attempt in driver.delivered if attempt == 1]
        assert first_times == messages
        assert [octets[0] for octets, _ in driver.delivered] == sorted(o[0] for o, _ in driver.delivered)
        with pytest.raises(QueueEmptyError):
            queue.get()
