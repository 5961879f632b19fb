"""Redis: whoever is killed, and whenever, a message that was put comes out once."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ferret.queue import MemoryQueue, QueueError, QueueFullError, RedisQueue
from ferret.queue.background import QueueInBackground
from ferret.queue.opening import check_queue, is_redis, open_for_recorder, open_queue
from ferret_agents.live.delivery import Delivery
from ferret_agents.live.outbox import BufferLimits

pytestmark = pytest.mark.redis


def numbers(queue: RedisQueue, limit: int = 1000) -> list[int]:
    return [int(one.octets) for one in queue.get_many(limit)]


def test_what_was_not_acknowledged_comes_again_to_the_next_reader(redis_server: Any) -> None:
    url = redis_server.url()
    writer = RedisQueue.attach(url)
    writer.put_many([b"%d" % number for number in range(10)])
    first = RedisQueue.attach(url, keep=True)
    assert numbers(first, 4) == [0, 1, 2, 3]
    first.acknowledge()
    assert numbers(first, 3) == [4, 5, 6]
    second = RedisQueue.attach(url, keep=True)  # the first one was killed
    assert numbers(second) == [4, 5, 6, 7, 8, 9]
    with pytest.raises(QueueError, match="another one reads"):
        first.acknowledge()
    with pytest.raises(QueueError, match="another one reads"):
        first.get_many(1)
    second.acknowledge()
    assert numbers(RedisQueue.attach(url, keep=True)) == []
    writer.unlink()
    for queue in (writer, first, second):
        queue.close()


steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(1, 6)),
        st.tuples(st.just("put, answer lost"), st.integers(1, 6)),
        st.tuples(st.just("take"), st.integers(1, 6)),
        st.tuples(st.just("acknowledge"), st.just(0)),
        st.tuples(st.just("reader killed"), st.just(0)),
    ),
    max_size=25,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_whatever_happens_to_writer_and_reader_each_message_is_recorded_once(redis_server: Any, steps: Any) -> None:
    url = redis_server.url()
    writer, reader = RedisQueue.create(url, 12), RedisQueue(url, keep=True)
    put, on_disk, taken = 0, [], []
    for step, number in steps:
        messages = [b"%d" % one for one in range(put, put + number)]
        if step == "put":
            put += writer.put_many(messages)
        elif step == "put, answer lost":
            before = writer._number
            stored = writer.put_many(messages)
            writer._number = before  # what it would still believe
            assert writer.put_many(messages) >= stored
            put = max(put, put + stored)
            writer._number = before + stored
        elif step == "take":
            taken += numbers(reader, number)
        elif step == "acknowledge":
            on_disk += taken
            taken = []
            reader.acknowledge()
        else:
            reader.close()
            reader, taken = RedisQueue(url, keep=True), []
    taken += numbers(reader)
    assert on_disk + taken == list(range(put))
    reader.acknowledge()
    assert reader.depth == 0
    reader.close()
    writer.close()


def test_redis_is_killed_again_and_again_and_nothing_is_lost_or_comes_twice(mortal_redis: Any) -> None:
    """A writer that never waits, a reader that keeps what it has on its own disk, and SIGKILL between them."""
    url, total = mortal_redis.url("chaos"), 3000
    out = QueueInBackground("chaos", lambda: RedisQueue.attach(url, 500))
    recorded: list[int] = []
    stopping = threading.Event()
    slowest = 0.0

    def read() -> None:
        reader, seen = None, set()
        while not stopping.is_set():
            try:
                reader = reader or RedisQueue.attach(url, 500, keep=True)
                for number in numbers(reader, 50):
                    if number not in seen:  # the recorder knows agent, epoch and number
                        seen.add(number)
                        recorded.append(number)
                reader.acknowledge()
            except QueueError:
                time.sleep(0.01)
        if reader is not None:
            reader.close()

    reading = threading.Thread(target=read)
    reading.start()
    waiting = [b"%d" % number for number in range(total)]
    queued, killed = 0, 0
    deadline = time.monotonic() + 60
    while waiting and time.monotonic() < deadline:
        began = time.monotonic()
        stored = out.put_many(waiting[:256])
        slowest = max(slowest, time.monotonic() - began)
        queued += stored
        del waiting[:stored]
        if killed < 3 and queued > (killed + 1) * total / 4:
            killed += 1
            mortal_redis.kill()
            mortal_redis.start()
        time.sleep(0.001)
    while len(recorded) < total and time.monotonic() < deadline:
        time.sleep(0.01)
    stopping.set()
    reading.join()
    out.close()
    assert (killed, queued) == (3, total)
    assert recorded == list(range(total))
    assert slowest < 1  # it never waited for Redis, which was away for longer


def test_a_writer_is_told_of_a_redis_that_is_not_there_and_does_not_wait(tmp_path: Any) -> None:
    queue = open_queue(f"unix://{tmp_path}/nothing.sock")
    assert queue.put_many([b"x"]) == 0
    with pytest.raises(QueueFullError):
        queue.put(b"x")
    assert queue.put_many([b"x"]) == 0
    assert isinstance(queue, QueueInBackground)
    deadline = time.monotonic() + 10
    while not queue.fault and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "Redis does not serve the queue" in queue.fault
    queue.close()
    with pytest.raises(QueueError, match="is closed"):
        queue.put_many([b"x"])
    with pytest.raises(QueueError, match="Redis does not serve"):
        check_queue(f"unix://{tmp_path}/nothing.sock")


@settings(max_examples=40)
@given(sizes=st.lists(st.integers(1, 9), max_size=10), room=st.integers(1, 5))
def test_in_the_background_every_message_is_stored_once_in_order(sizes: list[int], room: int) -> None:
    inner = MemoryQueue(room)
    queue = QueueInBackground("test", lambda: inner)
    wanted = [b"%d" % number for number in range(sum(sizes))]
    waiting, out = list(wanted), []
    deadline = time.monotonic() + 20
    while (waiting or len(out) < len(wanted)) and time.monotonic() < deadline:
        done = queue.put_many(waiting[:4])
        del waiting[:done]
        out += [one.octets for one in inner.get_many(3)]
        time.sleep(0.0002)
    assert out == wanted
    queue.close()


def test_a_redis_that_would_forget_is_refused(mortal_redis: Any) -> None:
    url = mortal_redis.url()
    RedisQueue.attach(url).close()
    plain = RedisQueue.attach(url)
    plain._client.config_set("appendfsync", "everysec")
    with pytest.raises(QueueError, match="set 'appendonly yes' and 'appendfsync always'"):
        RedisQueue.attach(url)
    plain.close()


def test_a_queue_that_is_there_or_not_is_said(redis_server: Any) -> None:
    url = redis_server.url()
    with pytest.raises(QueueError, match="there is no Redis queue"):
        RedisQueue(url)
    with RedisQueue.create(url):
        with pytest.raises(QueueError, match="exists already"):
            RedisQueue.create(url)
        check_queue(url)
    with pytest.raises(QueueError, match="there is no Redis queue"):
        RedisQueue(url)
    with pytest.raises(QueueError, match="port"):
        RedisQueue("redis://host:port")
    with open_for_recorder(url) as kept:
        kept.put(b"x")
    with open_for_recorder(url) as kept:
        assert kept.get().octets == b"x"
        kept.unlink()
    assert is_redis(url)
    assert not is_redis("/ferret")


def test_an_agent_delivers_through_redis_and_goes_on_while_it_is_away(mortal_redis: Any) -> None:
    url = mortal_redis.url("agents")

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        passed: list[int] = []
        delivery = Delivery(
            "10.0.0.1", None, limits=BufferLimits(), passed=passed.extend, reopen=lambda: open_queue(url)
        )
        delivery.start(loop)
        offered = 0
        async with asyncio.timeout(60):
            for away in (False, True, False):
                if away:
                    mortal_redis.kill()
                for _ in range(20):
                    delivery.offer([b"%d" % (offered + n) for n in range(50)], [0] * 50)
                    offered += 50
                    delivery.flush()
                    await asyncio.sleep(0)
                if away:
                    mortal_redis.start()
                while delivery.outbox.waiting:
                    delivery.look_for_queue()
                    await asyncio.sleep(0.005)
        assert (delivery.outbox.queued, delivery.outbox.dropped, len(passed)) == (offered, {}, offered)
        delivery.close()
        with RedisQueue.attach(url) as reader:
            out: list[int] = []
            while reader.depth:
                out += numbers(reader)
            assert out == list(range(offered))

    asyncio.run(scenario())
