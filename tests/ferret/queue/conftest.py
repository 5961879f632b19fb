"""Queues of every kind; a Redis of the tests' own, which may be killed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ferret.queue import MemoryQueue, MessageQueue, PosixQueue, QueueLimits, RedisQueue


class RedisServer:
    """Durable, at a socket in a directory, without a port."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._socket = directory / "redis.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def url(self, queue: str = "") -> str:
        return f"unix://{self._socket}?queue={queue or os.urandom(6).hex()}"

    def start(self) -> None:
        settings = {
            "port": "0", "unixsocket": str(self._socket), "dir": str(self._directory), "appendonly": "yes",
            "appendfsync": "always", "save": "", "daemonize": "no", "logfile": str(self._directory / "log"),
        }  # fmt: skip
        arguments = [part for key, value in settings.items() for part in (f"--{key}", value)]
        self._process = subprocess.Popen(["redis-server", *arguments], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with socket.socket(socket.AF_UNIX) as asking:
                try:
                    asking.connect(str(self._socket))
                    asking.sendall(b"PING\r\n")
                    if asking.recv(100).startswith(b"+PONG"):
                        return
                except OSError:
                    pass
            time.sleep(0.01)
        raise TimeoutError("redis-server does not start")

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait()


def _without_redis() -> str:
    return "" if shutil.which("redis-server") else "SKIPPED LOUDLY: no redis-server (apt-get install redis-server)"


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One for all that do not kill it."""
    if _without_redis():
        pytest.skip(_without_redis())
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def mortal_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """One for a test that kills it."""
    if _without_redis():
        pytest.skip(_without_redis())
    server = RedisServer(tmp_path)
    yield server
    server.stop()


MakeQueue = Callable[..., MessageQueue]


@pytest.fixture(scope="session")
def make_queue(request: pytest.FixtureRequest) -> MakeQueue:
    """Makes a fresh queue of a kind: `make_queue("posix", slots=3, slot_size=64)`."""

    def make(kind: str, slots: int = 10, slot_size: int = 256) -> MessageQueue:
        if kind == "memory":
            return MemoryQueue(slots)
        if kind == "redis":
            return RedisQueue.create(request.getfixturevalue("redis_server").url(), slots)
        return PosixQueue.create(f"/ferret-test-{os.getpid()}-{os.urandom(4).hex()}", QueueLimits(slots, slot_size))

    return make
