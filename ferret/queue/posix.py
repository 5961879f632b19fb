"""The queue in the kernel: POSIX message queues (mq_overview(7)) through posix_ipc.

It works with the default limits: a message longer than a slot goes through in chunks (`ferret.queue.chunks`).
Writers of any process take turns by flock(2) on the queue's own descriptor, so that chunks of one message lie together;
the kernel opens the lock when a writer dies. The one reader, and the one who made the queue, hold locks of the other
family (fcntl(2), open file description locks, which do not meet flock's) for as long as their queue is open. So a queue
whose maker was killed is recognised, and made anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from itertools import accumulate
from types import TracebackType
from typing import Any

import posix_ipc

from ferret.queue.chunks import HEADER, LENGTH, MAX_CHUNKS, VERSION, Assembler, bundle, chunks_needed, split
from ferret.queue.interface import (
    FIFO_PRIORITY,
    MessageQueue,
    MessageTooLongError,
    Queued,
    QueueEmptyError,
    QueueError,
    QueueFullError,
    check_priority,
)
from ferret.queue.limits import QueueLimits, choose_limits

_READER_LOCK = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0)  # octet 0
_OWNER_LOCK = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 1, 1, 0)  # octet 1
_PAUSE = 0.0005  # seconds between two looks at a lock or a full queue
_TURN = 0.02  # seconds that even a writer in a hurry waits for the one before it, who is merely sending
_MODE = 0o600


class PosixQueue(MessageQueue):
    """A POSIX message queue of this host, open for putting and getting.

    May be used from several threads, and after a fork the child opens the queue anew by itself.
    """

    def __init__(self, name: str, *, created: bool = False, kernel_queue: Any = None) -> None:
        """Open the queue `name` ("/ferret"); raises QueueError when there is none. See `create`."""
        self.name = name
        self._created = created
        self._queue: Any = kernel_queue if kernel_queue is not None else _open(name)
        self._pid = os.getpid()
        self._turn = threading.Lock()
        self._reading = False
        self._assembler = Assembler()
        self._held: deque[Queued] = deque()  # of a slot with several messages: those not asked for yet
        self._number = int.from_bytes(os.urandom(4), "big")
        self._slot_size = int(self._queue.max_message_size)
        self._capacity = int(self._queue.max_messages)

    @classmethod
    def create(cls, name: str, limits: QueueLimits | None = None) -> PosixQueue:
        """Make a new queue, `choose_limits()` wide, readable by this user only.

        Raises QueueError when it exists already and whoever made it is alive. Where other queues of the user leave too
        little of RLIMIT_MSGQUEUE, it gets fewer slots.
        """
        wanted = limits or choose_limits()
        slots = wanted.slots
        while True:
            try:
                kernel_queue = posix_ipc.MessageQueue(
                    name,
                    posix_ipc.O_CREX,
                    mode=_MODE,
                    max_messages=slots,
                    max_message_size=wanted.slot_size,
                )
                _try_lock(kernel_queue.mqd, _OWNER_LOCK)
                return cls(name, created=True, kernel_queue=kernel_queue)
            except posix_ipc.ExistentialError as error:
                if not _remove_orphan(name):
                    raise QueueError(f"the POSIX queue {name} exists already; is another recorder running?") from error
            except (OSError, ValueError, MemoryError, posix_ipc.Error) as error:
                if slots == 1 or isinstance(error, (ValueError, posix_ipc.Error)):
                    raise QueueError(f"the kernel refuses a POSIX queue {name} of {wanted}: {error}") from error
                slots //= 2

    @classmethod
    def take_over(cls, name: str, limits: QueueLimits | None = None) -> PosixQueue:
        """The queue that a recorder which was killed has left, with what is in it; where there is none, a new one.

        Raises QueueError where its maker is alive.
        """
        try:
            left_behind = posix_ipc.MessageQueue(name)
        except posix_ipc.ExistentialError:
            return cls.create(name, limits)
        except (OSError, ValueError, posix_ipc.Error) as error:
            raise QueueError(f"the POSIX queue {name} cannot be opened: {error}") from error
        if _try_lock(left_behind.mqd, _OWNER_LOCK) and _try_lock(left_behind.mqd, _READER_LOCK):
            return cls(name, created=True, kernel_queue=left_behind)
        left_behind.close()
        raise QueueError(f"the POSIX queue {name} exists already; is another recorder running?")

    def put(self, octets: bytes, priority: int = FIFO_PRIORITY, timeout: float | None = 0.0) -> None:
        """See `MessageQueue.put`. A message of more slots than the queue has is a QueueError at once."""
        check_priority(priority)
        queue = self._opened()
        needed = chunks_needed(len(octets), self._slot_size)
        if needed > min(self._capacity, MAX_CHUNKS):
            raise MessageTooLongError(
                f"a message of {len(octets)} octets needs {needed} slots, {self.name} has {self._capacity}"
            )
        deadline = None if timeout is None else time.monotonic() + timeout
        if not self._turn.acquire(timeout=-1 if timeout is None else max(timeout, _TURN)):
            raise QueueFullError(f"other writers held the queue {self.name} for {timeout} s")
        try:
            self._put_in_turn(queue, octets, needed, priority, deadline)
        finally:
            self._turn.release()

    def _put_in_turn(self, queue: Any, octets: bytes, needed: int, priority: int, deadline: float | None) -> None:
        turn = None if deadline is None else max(deadline, time.monotonic() + _TURN)
        self._wait(lambda: _try_flock(queue.mqd), turn)
        try:
            # While the lock is ours only readers move, so room once seen stays, and the message goes in whole.
            self._wait(lambda: self._capacity - queue.current_messages >= needed, deadline)
            self._number = (self._number + 1) & 0xFFFFFFFF
            for slot in split(octets, self._number, self._slot_size):
                queue.send(slot, 0, priority)
        except posix_ipc.BusyError as error:
            raise QueueFullError(f"a stranger writes to the queue {self.name}") from error
        finally:
            fcntl.flock(queue.mqd, fcntl.LOCK_UN)

    def put_many(self, messages: Sequence[bytes]) -> int:
        """See `MessageQueue.put_many`: one lock and one look at the room there is, for all of them."""
        queue = self._opened()
        if not self._turn.acquire(timeout=_TURN):
            return 0
        try:
            self._wait(lambda: _try_flock(queue.mqd), time.monotonic() + _TURN)
            try:
                return self._put_some(queue, messages)
            finally:
                fcntl.flock(queue.mqd, fcntl.LOCK_UN)
        except QueueFullError:
            return 0
        finally:
            self._turn.release()

    def _put_some(self, queue: Any, messages: Sequence[bytes]) -> int:
        """With the lock held. Room that is seen stays; where it runs out, readers may have made more meanwhile."""
        room = done = 0
        ends = list(accumulate(map(LENGTH.__add__, map(len, messages)), initial=0))  # of each, were all in one bundle
        while done < len(messages):
            last = bisect_right(ends, ends[done] + self._slot_size - HEADER.size, done) - 1  # that goes into one slot
            together = max(1, min(last - done, MAX_CHUNKS))
            needed = 1 if together > 1 else chunks_needed(len(messages[done]), self._slot_size)
            if needed > room:
                room = self._capacity - queue.current_messages
                if needed > min(room, MAX_CHUNKS):
                    return done
            room -= needed
            try:
                self._send(queue, messages[done : done + together])
            except posix_ipc.BusyError:  # a stranger writes to the queue as well
                return done
            done += together
        return done

    def _send(self, queue: Any, messages: Sequence[bytes]) -> None:
        """One message, in however many slots it takes; or several in one."""
        self._number = (self._number + 1) & 0xFFFFFFFF
        if len(messages) > 1:
            queue.send(bundle(messages, self._number), 0, FIFO_PRIORITY)
        elif len(messages[0]) <= self._slot_size - HEADER.size:
            queue.send(HEADER.pack(VERSION, self._number, 0, 1) + messages[0], 0, FIFO_PRIORITY)
        else:
            for slot in split(messages[0], self._number, self._slot_size):
                queue.send(slot, 0, FIFO_PRIORITY)

    def _wait(self, ready: Callable[[], bool], deadline: float | None) -> None:
        while not ready():
            if deadline is not None and time.monotonic() >= deadline:
                raise QueueFullError(f"the queue {self.name} is full ({self._capacity} slots)")
            time.sleep(_PAUSE)

    def get(self, timeout: float | None = 0.0) -> Queued:
        """See `MessageQueue.get`. QueueError when another process reads this queue already."""
        queue = self._opened()
        if not self._reading:
            self._become_reader(queue)
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._held:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            self._take_slot(queue, left)
        return self._held.popleft()

    def get_many(self, limit: int) -> list[Queued]:
        """See `MessageQueue.get_many`: whole slots."""
        queue = self._opened()
        if not self._reading:
            self._become_reader(queue)
        with contextlib.suppress(QueueEmptyError):
            while len(self._held) < limit:
                self._take_slot(queue, 0)
        taken = list(self._held)
        self._held.clear()
        return taken

    def _take_slot(self, queue: Any, timeout: float | None) -> None:
        try:
            slot, priority = queue.receive(timeout)
        except posix_ipc.BusyError as error:
            raise QueueEmptyError(f"the queue {self.name} is empty") from error
        self._held.extend(self._assembler.take(slot, priority))

    def _become_reader(self, queue: Any) -> None:
        if not _try_lock(queue.mqd, _READER_LOCK):
            raise QueueError(f"another process reads the queue {self.name}; one reader at a time")
        self._reading = True

    @property
    def removed(self) -> bool:
        """See `MessageQueue.removed`."""
        try:
            return os.fstat(self.fileno()).st_nlink == 0
        except (OSError, QueueError):
            return True

    @property
    def depth(self) -> int:
        """See `MessageQueue.depth`."""
        return int(self._opened().current_messages)

    @property
    def capacity(self) -> int:
        """See `MessageQueue.capacity`."""
        return self._capacity

    def slots(self, length: int) -> int:
        """See `MessageQueue.slots`."""
        return chunks_needed(length, self._slot_size)

    @property
    def discarded(self) -> int:
        """See `MessageQueue.discarded`."""
        return self._assembler.discarded

    def fileno(self) -> int:
        """See `MessageQueue.fileno`: Linux's message queue descriptors can be polled."""
        return int(self._opened().mqd)

    def close(self) -> None:
        """See `MessageQueue.close`."""
        queue, self._queue = self._queue, None
        if queue is not None:
            queue.close()

    def unlink(self) -> None:
        """See `MessageQueue.unlink`."""
        with contextlib.suppress(posix_ipc.ExistentialError):
            posix_ipc.unlink_message_queue(self.name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if self._created and self._pid == os.getpid():
            self.unlink()

    def _opened(self) -> Any:
        if self._queue is None:
            raise QueueError(f"the queue {self.name} is closed")
        if self._pid != os.getpid():
            # A forked child shares its parent's open file, and with it the parent's locks: it needs one of its own.
            self._queue = _open(self.name)
            self._pid = os.getpid()
            self._turn = threading.Lock()
            self._reading = self._created = False
            self._assembler = Assembler()
            self._held.clear()
        return self._queue


def _open(name: str) -> Any:
    try:
        return posix_ipc.MessageQueue(name)
    except posix_ipc.ExistentialError as error:
        raise QueueError(f"there is no POSIX queue {name}") from error
    except (OSError, ValueError, posix_ipc.Error) as error:
        raise QueueError(f"the POSIX queue {name} cannot be opened: {error}") from error


def _try_lock(descriptor: int, lock: bytes) -> bool:
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, lock)
    except OSError:
        return False
    return True


def _remove_orphan(name: str) -> bool:
    """Remove a queue whose maker is gone, with all that is in it; whether there is none in the way any more."""
    try:
        left_behind = posix_ipc.MessageQueue(name)
    except posix_ipc.ExistentialError:
        return True
    except (OSError, ValueError, posix_ipc.Error):
        return False
    try:
        if not (_try_lock(left_behind.mqd, _OWNER_LOCK) and _try_lock(left_behind.mqd, _READER_LOCK)):
            return False
        with contextlib.suppress(posix_ipc.ExistentialError):
            posix_ipc.unlink_message_queue(name)
        return True
    finally:
        left_behind.close()


def _try_flock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def posix_queues_work() -> bool:
    """Whether this system has POSIX message queues and lets us use them."""
    name = f"/ferret-probe-{os.getpid()}"
    try:
        with PosixQueue.create(name, QueueLimits(1, 64)) as queue:
            queue.put(b"probe")
            return queue.get() == Queued(b"probe", FIFO_PRIORITY)
    except (QueueError, OSError):
        return False
