"""The queue in the kernel: its limits, many processes, and their deaths."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import posix_ipc
import pytest

from ferret.queue import (
    MessageTooLongError,
    PosixQueue,
    Queued,
    QueueEmptyError,
    QueueError,
    QueueLimits,
    choose_limits,
    limits,
)
from ferret.queue.chunks import split

pytestmark = pytest.mark.mqueue

WRITER = """
import sys
from ferret.queue import PosixQueue
name, letter, count = sys.argv[1], sys.argv[2].encode(), int(sys.argv[3])
queue = PosixQueue(name)
for number in range(count):
    length = 30 if number % 2 else 700
    queue.put(letter + number.to_bytes(2, "big") + letter * length, 0, None)
"""


@pytest.fixture
def name() -> Iterator[str]:
    made = f"/ferret-test-{os.getpid()}-{os.urandom(4).hex()}"
    yield made
    with contextlib.suppress(posix_ipc.ExistentialError):
        posix_ipc.unlink_message_queue(made)


def test_the_default_limits_are_enough_for_a_sip_message_of_60_kilobytes(name: str) -> None:
    with PosixQueue.create(name, QueueLimits(10, 8192)) as queue:
        octets = os.urandom(60_000)
        queue.put(octets)
        assert queue.get() == Queued(octets, 0)


def test_the_chosen_limits_leave_room_for_other_queues(name: str) -> None:
    chosen = choose_limits()
    queues = [PosixQueue.create(f"{name}-{number}", chosen) for number in range(3)]
    for queue in queues:
        with queue:
            queue.put(b"x")
            assert queue.capacity == chosen.slots


def test_limits_follow_what_the_kernel_allows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "msg_max").write_text("400\n")
    (tmp_path / "msgsize_max").write_text("4096\n")
    monkeypatch.setattr(limits, "SYSCTL", tmp_path)
    monkeypatch.setattr(limits, "_budget", lambda: None)
    assert choose_limits() == QueueLimits(400, 4096)
    assert choose_limits(slots=20, slot_size=1024) == QueueLimits(20, 1024)
    monkeypatch.setattr(limits, "_budget", lambda: 100_000)
    assert choose_limits().cost <= 100_000


def test_unreadable_limits_are_taken_to_be_the_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(limits, "SYSCTL", tmp_path)
    monkeypatch.setattr(limits, "_budget", lambda: 819_200 // 4)
    assert choose_limits() == QueueLimits(10, 8192)


def test_a_message_of_more_slots_than_the_queue_has_is_refused_at_once(name: str) -> None:
    with PosixQueue.create(name, QueueLimits(4, 64)) as queue:
        with pytest.raises(MessageTooLongError, match="needs"):
            queue.put(bytes(1000), 0, None)
        assert queue.depth == 0


def test_opening_what_is_not_there_and_making_what_is_there_are_errors(name: str) -> None:
    with pytest.raises(QueueError, match="no POSIX queue"):
        PosixQueue(name)
    with PosixQueue.create(name), pytest.raises(QueueError, match="exists"):
        PosixQueue.create(name)


def test_a_queue_whose_maker_was_killed_is_made_anew(name: str) -> None:
    code = (
        "import os, signal, sys; from ferret.queue import PosixQueue; q = PosixQueue.create(sys.argv[1]); "
        "q.put(b'left behind'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, name], check=False).returncode == -signal.SIGKILL
    PosixQueue(name).close()  # it is still there
    with PosixQueue.create(name) as queue:
        assert queue.depth == 0


def test_what_a_maker_that_was_killed_has_left_comes_to_the_next_one(name: str) -> None:
    code = (
        "import os, signal, sys; from ferret.queue import PosixQueue; q = PosixQueue.create(sys.argv[1]); "
        "q.put_many([b'one', b'two', b'three']); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, name], check=False).returncode == -signal.SIGKILL
    with PosixQueue.take_over(name) as queue:
        assert [one.octets for one in queue.get_many(10)] == [b"one", b"two", b"three"]
        with pytest.raises(QueueError, match="exists already"):
            PosixQueue.take_over(name)
    with PosixQueue.take_over(name) as queue:  # the one before has removed it
        assert queue.depth == 0


def test_leaving_removes_the_queue_that_one_has_made(name: str) -> None:
    with PosixQueue.create(name):
        with PosixQueue(name):
            pass
        PosixQueue(name).close()
    with pytest.raises(QueueError):
        PosixQueue(name)


def test_a_second_reader_is_turned_away(name: str) -> None:
    with PosixQueue.create(name) as queue, PosixQueue(name) as other:
        queue.put(b"x")
        queue.get()
        with pytest.raises(QueueError, match="one reader"):
            other.get()


def test_many_processes_write_long_and_short_messages_and_each_comes_out_whole(name: str) -> None:
    letters, count = "abc", 40
    with PosixQueue.create(name, QueueLimits(8, 128)) as queue:
        writers = [subprocess.Popen([sys.executable, "-c", WRITER, name, letter, str(count)]) for letter in letters]
        seen: dict[str, list[int]] = {letter: [] for letter in letters}
        for _ in range(len(letters) * count):
            octets = queue.get(30).octets
            letter, number = chr(octets[0]), int.from_bytes(octets[1:3], "big")
            assert octets[3:] == letter.encode() * (30 if number % 2 else 700)
            seen[letter].append(number)
        assert [writer.wait(30) for writer in writers] == [0] * len(letters)
        assert all(numbers == list(range(count)) for numbers in seen.values())
        assert (queue.depth, queue.discarded) == (0, 0)


def test_a_message_of_higher_priority_overtakes_a_long_one_that_is_half_read(name: str) -> None:
    with PosixQueue.create(name, QueueLimits(10, 64)) as queue:
        long = os.urandom(200)
        queue.put(long)
        kernel_queue = posix_ipc.MessageQueue(name)
        slot, priority = kernel_queue.receive(0)
        assert queue._assembler.add(slot, priority) is None
        kernel_queue.close()
        queue.put(os.urandom(30), 1)
        assert queue.get().priority == 1
        assert queue.get() == Queued(long, 0)


def test_the_beginning_of_a_message_whose_writer_died_is_dropped(name: str) -> None:
    with PosixQueue.create(name, QueueLimits(10, 64)) as queue:
        kernel_queue = posix_ipc.MessageQueue(name)
        for slot in list(split(bytes(200), 7, 64))[:2]:
            kernel_queue.send(slot, 0, 0)
        kernel_queue.send(b"not ours", 0, 0)
        kernel_queue.close()
        queue.put(b"next")
        queue.put(bytes(100))
        assert queue.get() == Queued(b"next", 0)
        assert queue.get() == Queued(bytes(100), 0)
        assert queue.discarded == 2


def test_a_writer_that_is_killed_while_it_waits_gives_its_turn_away(name: str) -> None:
    with PosixQueue.create(name, QueueLimits(4, 64)) as queue:
        for _ in range(4):
            queue.put(b"full")
        code = (
            "import sys; from ferret.queue import PosixQueue; q = PosixQueue(sys.argv[1]); "
            "print('up', flush=True); q.put(b'mine', 0, None)"
        )
        writer = subprocess.Popen([sys.executable, "-c", code, name], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        writer.stdout.close()
        writer.send_signal(signal.SIGKILL)
        writer.wait(10)
        assert queue.get().octets == b"full"
        queue.put(b"ours", 0, 5)


def test_a_forked_child_writes_beside_its_parent(name: str) -> None:
    with PosixQueue.create(name) as queue:
        queue.put(b"parent")
        assert queue.get().octets == b"parent"
        child = os.fork()
        if child == 0:
            status = 1
            try:
                queue.put(b"child")
                queue.get(0)
            except QueueError:
                status = 0  # the parent is the reader
            os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert queue.get(5).octets == b"child"


def test_an_event_loop_can_watch_the_queue(name: str) -> None:
    async def read(queue: PosixQueue) -> list[bytes]:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        seen: list[bytes] = []

        def readable() -> None:
            try:
                seen.append(queue.get(0).octets)
            except QueueEmptyError:
                return
            if len(seen) == 3:
                done.set_result(None)

        loop.add_reader(queue.fileno(), readable)
        for octets in (b"1", bytes(9000), b"3"):
            loop.call_soon(queue.put, octets)
        await asyncio.wait_for(done, 10)
        loop.remove_reader(queue.fileno())
        return seen

    with PosixQueue.create(name) as queue:
        assert asyncio.run(read(queue)) == [b"1", bytes(9000), b"3"]
