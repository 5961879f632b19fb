"""A network namespace for each test: real packets on an interface that nobody else uses."""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from ferret.queue import PosixQueue, QueueLimits

CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCSIFMTU = 0x8913, 0x8914, 0x8922
IFF_UP = 1
DEADLINE = 60.0  # seconds for a whole scenario


def _enter_namespace() -> None:
    """Give this thread a network namespace of its own, with `lo` up. It goes when the thread and its sockets do."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        error = ctypes.get_errno()
        raise PermissionError(error, os.strerror(error))
    _set_up(True)


def _set_up(is_up: bool) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x8x", b"lo", 0)
        flags = struct.unpack_from("16sH", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request))[1]
        flags = flags | IFF_UP if is_up else flags & ~IFF_UP
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x8x", b"lo", flags))


def _set_mtu(octets: int) -> None:
    """The largest packet on `lo`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFMTU, struct.pack("16si20x", b"lo", octets))


Scenario = Callable[[], Coroutine[Any, Any, None]]


def _run_in_namespace(scenario: Scenario, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> None:
    failures: list[BaseException] = []

    async def in_time() -> None:
        async with asyncio.timeout(DEADLINE):
            await scenario()

    def run() -> None:
        try:
            _enter_namespace()
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                runner.run(in_time())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="namespace")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def why_no_namespace() -> str:
    """Why this user cannot have a network namespace; "" if he can."""
    refused: list[OSError] = []

    def probe() -> None:
        try:
            _enter_namespace()
        except OSError as error:
            refused.append(error)

    thread = threading.Thread(target=probe)
    thread.start()
    thread.join()
    return f"no network namespace ({refused[0].strerror})" if refused else ""


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Skips, loudly, where there are none."""
    reason = why_no_namespace()
    if reason:
        pytest.skip(
            f"SKIPPED LOUDLY: {reason}; run as root or inside 'unshare --user --map-root-user --net --ipc pytest ...'"
        )


@pytest.fixture
def in_namespace(namespaces: None) -> Callable[..., None]:
    """Runs a coroutine function in an event loop of its own, inside a network namespace of its own.

    `in_namespace(scenario, loop_factory)` where it has to be another event loop than asyncio's.
    """
    return _run_in_namespace


async def _until(holds: Callable[[], Any], within: float = 20) -> None:
    async with asyncio.timeout(within):
        while not holds():  # noqa: ASYNC110 - what is waited for is not an event
            await asyncio.sleep(0.001)


@pytest.fixture(scope="session")
def until() -> Callable[..., Coroutine[Any, Any, None]]:
    """Waits until something holds: `await until(lambda: ..., within=20)`. It raises TimeoutError."""
    return _until


@pytest.fixture(scope="session")
def set_mtu() -> Callable[[int], None]:
    """Sets the largest packet on `lo`, in octets."""
    return _set_mtu


@pytest.fixture(scope="session")
def set_up() -> Callable[[bool], None]:
    """Sets `lo` up or down."""
    return _set_up


def _make_veth() -> None:
    cable = "link add veth0 mtu 65000 type veth peer name veth1 mtu 65000"
    for command in (cable, "link set veth0 up", "link set veth1 up"):
        subprocess.run(["ip", *command.split()], check=True, capture_output=True)


@pytest.fixture(scope="session")
def make_veth() -> Callable[[], None]:
    """Makes two Ethernet interfaces with a cable between them, `veth0` and `veth1`, for frames of any size."""
    if not shutil.which("ip"):
        pytest.skip("SKIPPED LOUDLY: ip is not installed (apt-get install iproute2)")
    return _make_veth


@pytest.fixture
def queue() -> Iterator[PosixQueue]:
    """A POSIX queue of the test's own, as small as every system allows it."""
    name = f"/ferret-test-{os.getpid()}-{os.urandom(4).hex()}"
    with PosixQueue.create(name, QueueLimits(10, 8192)) as made:
        yield made


@pytest.fixture
def narrow() -> Iterator[PosixQueue]:
    """A POSIX queue of ten slots, each of which holds one short message and no second one."""
    name = f"/ferret-test-{os.getpid()}-{os.urandom(4).hex()}"
    with PosixQueue.create(name, QueueLimits(10, 128)) as made:
        yield made
