"""The queue across hosts: Redis 7 Streams behind the same interface.

    queue = RedisQueue.attach("redis://192.0.2.5/0?queue=ferret")

A message that was put is on Redis's disk (appendonly yes, appendfsync always: `attach` looks), so it survives Redis.
Putting is idempotent: each message has its writer's number, and Redis stores a number once; after a connection was lost
the same messages are put again. With `keep` a message stays until `acknowledge`: the recorder says so once it has it on
its own disk, and what was taken and not acknowledged comes again to the next reader.

Every call is one round trip, and may wait for it: where nothing may ever wait, use `QueueInBackground`.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Sequence
from secrets import token_hex
from typing import Any, Final
from urllib.parse import parse_qs

from ferret.queue import redis_scripts as scripts
from ferret.queue.interface import (
    FIFO_PRIORITY,
    MessageQueue,
    Queued,
    QueueEmptyError,
    QueueError,
    QueueFullError,
    check_priority,
)

DEFAULT_CAPACITY: Final = 100_000  # messages
DEFAULT_NAME: Final = "ferret"
_PAUSE: Final = 0.005  # seconds between two looks at a full queue
_WITHIN: Final = 5.0  # seconds for an answer of Redis
_LOOK: Final = 1.0  # seconds between two looks for what nobody has rung the bell for
_MOST_AT_ONCE: Final = 512  # messages in one step: Redis does nothing else meanwhile


class RedisQueue(MessageQueue):
    """A queue in Redis. May be used from several threads; after a fork the child needs one of its own."""

    def __init__(self, url: str, *, keep: bool = False, created: bool = False) -> None:
        """Open the queue; raises QueueError where there is none, no Redis, or no package `redis`. See `create`."""
        self.name, self._client = _connect(url)
        self._redis_error: type[Exception] = _redis().exceptions.RedisError
        self._keep = keep
        self._created = created
        self._writer = token_hex(8)
        self._number = 0  # of the last message that is certainly stored
        self._token = ""  # as the reader
        self._taken: list[tuple[bytes, bytes]] = []  # priority and id: not acknowledged
        self._lock = threading.RLock()
        self._signal = -1
        self._bell: _Bell | None = None
        self._url = url
        self._closed = False
        self._capacity = self._read_capacity()

    @classmethod
    def create(cls, url: str, capacity: int = DEFAULT_CAPACITY, *, keep: bool = False) -> RedisQueue:
        """Make a new queue, which is removed at the end. Raises QueueError where it exists already."""
        name, client = _connect(url)
        with client:
            if not _evaluate(client, scripts.CREATE, name, capacity):
                raise QueueError(f"the Redis queue {name} exists already; is another recorder running?")
        return cls(url, keep=keep, created=True)

    @classmethod
    def attach(cls, url: str, capacity: int = DEFAULT_CAPACITY, *, keep: bool = False) -> RedisQueue:
        """Open the queue, made where there is none; it stays. Raises QueueError where Redis would forget messages."""
        name, client = _connect(url)
        with client:
            _check_durable(client, name)
            _evaluate(client, scripts.CREATE, name, capacity)
        return cls(url, keep=keep)

    def put(self, octets: bytes, priority: int = FIFO_PRIORITY, timeout: float | None = 0.0) -> None:
        """See `MessageQueue.put`."""
        check_priority(priority)
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._store([octets], priority):
            if deadline is not None and time.monotonic() >= deadline:
                raise QueueFullError(f"the queue {self.name} is full ({self._capacity} messages)")
            time.sleep(_PAUSE)

    def put_many(self, messages: Sequence[bytes]) -> int:
        """See `MessageQueue.put_many`. After a QueueError put the same again: what had arrived is not stored twice."""
        done = 0
        while done < len(messages):
            some = messages[done : done + _MOST_AT_ONCE]
            try:
                stored = self._store(some, FIFO_PRIORITY)
            except QueueError:
                if done:
                    return done
                raise
            done += stored
            if stored < len(some):
                break
        return done

    def _store(self, messages: Sequence[bytes], priority: int) -> int:
        with self._lock:
            stored = self._evaluate(scripts.PUT, self._writer, self._number + 1, priority, *messages)
            self._number += stored
            if stored and self._signal >= 0:
                self._raise_signal(True)
            return int(stored)

    def get(self, timeout: float | None = 0.0) -> Queued:
        """See `MessageQueue.get`. QueueError when another one reads this queue now."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            found = self._take(1)
            if found:
                return found[0]
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise QueueEmptyError(f"the queue {self.name} is empty")
            select.select([self.fileno()], (), (), _LOOK if left is None else min(left, _LOOK))

    def get_many(self, limit: int) -> list[Queued]:
        """See `MessageQueue.get_many`: in one round trip."""
        return self._take(min(limit, _MOST_AT_ONCE))

    def _take(self, limit: int) -> list[Queued]:
        with self._lock:
            if not self._token:
                self._become_reader()
            try:
                answer = self._evaluate(scripts.TAKE, self._token, limit, int(self._keep))
            except QueueError:
                self._token = ""  # what was on its way is to come again
                if self._signal >= 0:
                    self._raise_signal(False)
                raise
            if answer == -1:
                raise QueueError(f"another one reads the queue {self.name} now; one reader at a time")
            waiting, taken = answer
            if self._keep:
                self._taken += [(priority, identifier) for priority, identifier, _ in taken]
            if self._signal >= 0:
                self._raise_signal(waiting > 0)
            return [Queued(octets, int(priority)) for priority, _, octets in taken]

    def _become_reader(self) -> None:
        token = token_hex(8)
        self._evaluate(scripts.READ, token)
        self._token = token
        self._taken.clear()

    @property
    def keeps(self) -> bool:
        """See `MessageQueue.keeps`."""
        return self._keep

    def acknowledge(self) -> None:
        """See `MessageQueue.acknowledge`."""
        with self._lock:
            for start in range(0, len(self._taken), _MOST_AT_ONCE):
                some = self._taken[start : start + _MOST_AT_ONCE]
                if self._evaluate(scripts.ACKNOWLEDGE, self._token, *(part for one in some for part in one)) == -1:
                    raise QueueError(f"another one reads the queue {self.name} now; one reader at a time")
            self._taken.clear()

    @property
    def depth(self) -> int:
        """See `MessageQueue.depth`: messages that were not taken."""
        return int(self._evaluate(scripts.DEPTH))

    @property
    def capacity(self) -> int:
        """See `MessageQueue.capacity`."""
        return self._capacity

    def fileno(self) -> int:
        """See `MessageQueue.fileno`: a thread listens for Redis's bell."""
        with self._lock:
            self._check_open()
            if self._signal < 0:
                self._signal = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
                self._raise_signal(self.depth > 0)
                self._bell = _Bell(self._url, self._ring)
            return self._signal

    def _ring(self) -> None:
        """By the bell's thread: something may have come."""
        with self._lock:
            if self._signal >= 0 and not self._closed:
                with contextlib.suppress(QueueError):
                    self._raise_signal(self.depth > 0)

    def _raise_signal(self, is_up: bool) -> None:
        if is_up:
            os.eventfd_write(self._signal, 1)
        else:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._signal)

    def close(self) -> None:
        """See `MessageQueue.close`; the one who made it removes it."""
        if self._closed:
            return
        bell, self._bell = self._bell, None
        if bell is not None:
            bell.stop()
        with self._lock:
            if self._created:
                with contextlib.suppress(QueueError):
                    self.unlink()
            self._closed = True
            self._client.close()
            if self._signal >= 0:
                os.close(self._signal)
                self._signal = -1

    def unlink(self) -> None:
        """See `MessageQueue.unlink`: with everything that is in it."""
        if not self._closed:
            self._evaluate(scripts.REMOVE)

    def _read_capacity(self) -> int:
        answer = self._ask(lambda: self._client.hget(f"{{{self.name}}}:about", "capacity"))
        if answer is None:
            raise QueueError(f"there is no Redis queue {self.name}")
        return int(answer)

    def _evaluate(self, script: str, *arguments: object) -> Any:
        self._check_open()
        answer = self._ask(lambda: self._client.eval(script, 1, f"{{{self.name}}}", *arguments))
        if answer == -1 and script is not scripts.TAKE and script is not scripts.ACKNOWLEDGE:
            raise QueueError(f"there is no Redis queue {self.name}")
        return answer

    def _ask(self, question: Any) -> Any:
        try:
            return question()
        except (self._redis_error, OSError) as error:
            raise QueueError(f"Redis does not serve the queue {self.name}: {error}") from error

    def _check_open(self) -> None:
        if self._closed:
            raise QueueError(f"the queue {self.name} is closed")


class _Bell:
    """A thread with a connection of its own that waits for messages to be put, whoever puts them."""

    def __init__(self, url: str, ring: Any) -> None:
        self._url = url
        self._ring = ring
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="redis-bell", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        error = (_redis().exceptions.RedisError, OSError, QueueError)
        while not self._stopping.is_set():
            try:
                name, client = _connect(self._url)
                with client, client.pubsub() as bell:
                    bell.subscribe(f"{{{name}}}:bell")
                    while not self._stopping.is_set():
                        bell.get_message(timeout=_LOOK / 4)
                        self._ring()
            except error:
                self._stopping.wait(_LOOK)

    def stop(self) -> None:
        """Wait until it has gone."""
        self._stopping.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()


def _redis() -> Any:
    try:
        import redis
    except ImportError:
        raise QueueError("a queue in Redis needs the package redis: pip install 'ferret-lte[redis]'") from None
    return redis


def _connect(url: str) -> tuple[str, Any]:
    """The queue's name and a client. Nothing is sent yet."""
    base, _, text = url.partition("?")
    query = parse_qs(text)
    name = query.pop("queue", [DEFAULT_NAME])[0]
    rest = "&".join(f"{key}={value}" for key, values in query.items() for value in values)
    try:
        client = _redis().Redis.from_url(
            f"{base}?{rest}" if rest else base,
            socket_timeout=_WITHIN,
            socket_connect_timeout=_WITHIN,
            retry_on_timeout=False,
        )
    except ValueError as error:
        raise QueueError(f"{url}: {error}") from None
    return name, client


def _evaluate(client: Any, script: str, name: str, *arguments: object) -> Any:
    try:
        return client.eval(script, 1, f"{{{name}}}", *arguments)
    except (_redis().exceptions.RedisError, OSError) as error:
        raise QueueError(f"Redis does not serve the queue {name}: {error}") from error


def _check_durable(client: Any, name: str) -> None:
    """Redis must have on its disk what it says that it has. Where it does not tell (ACL), the operator knows."""
    try:
        settings = client.config_get("append*")
    except _redis().exceptions.ResponseError:
        return
    except (_redis().exceptions.RedisError, OSError) as error:
        raise QueueError(f"Redis does not serve the queue {name}: {error}") from error
    if settings.get("appendonly") != "yes" or settings.get("appendfsync") != "always":
        raise QueueError(
            f"this Redis would forget messages of the queue {name} when it is killed: set 'appendonly yes' and "
            "'appendfsync always' in its configuration"
        )
