"""Network namespaces without names: each lives as long as somebody holds it open, so a crash leaves nothing behind.

A thread can be in one namespace at a time, and a socket belongs to the namespace in which it was opened, for ever. So
one process with one event loop can have sockets in many of them, if it steps into each while it opens sockets there.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final, TypeVar

from ferret_deploy.lab import netlink
from ferret_deploy.lab.netlink import PlaceError

_T = TypeVar("_T")
_CLONE_NEWNET: Final = 0x40000000
_CLONE_NEWUSER: Final = 0x10000000
_OF_THREAD: Final = "/proc/thread-self/ns/net"
_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """A network namespace, held open."""

    def __init__(self, file: int) -> None:
        self._file = file

    @classmethod
    def create(cls) -> Namespace:
        """A new, empty one. Raises PlaceError where that is not permitted."""
        made: list[int | OSError] = []

        def work() -> None:
            try:
                _call("unshare", _CLONE_NEWNET)
                made.append(os.open(_OF_THREAD, os.O_RDONLY | os.O_CLOEXEC))
            except OSError as error:
                made.append(error)

        thread = threading.Thread(target=work)  # only this thread leaves its namespace, and then ends
        thread.start()
        thread.join()
        if isinstance(made[0], OSError):
            raise PlaceError(f"cannot make a network namespace: {made[0].strerror}")
        return cls(made[0])

    @property
    def file(self) -> int:
        """The open file descriptor."""
        return self._file

    @property
    def path(self) -> str:
        """For other programs, while this process lives: `nsenter --net=PATH tshark -i wan0`."""
        return f"/proc/{os.getpid()}/fd/{self._file}"

    def close(self) -> None:
        """Let go of it. It is gone with its last socket. Closing it again does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    @contextmanager
    def inside(self) -> Iterator[None]:
        """The calling thread is in this namespace until the block ends; never await in it (see `run`)."""
        before = os.open(_OF_THREAD, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(self._file)
            try:
                yield
            finally:
                _enter(before)
        finally:
            os.close(before)

    async def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Await a coroutine in this namespace: whatever sockets it opens are here, before and after it waits.

        So are those of the tasks that it spawns, where the event loop has `follow_tasks`.
        """
        token = _place_of_task.set(self)
        try:
            return await _Stepped(coroutine, self)
        finally:
            _place_of_task.reset(token)


_place_of_task: ContextVar[Namespace | None] = ContextVar("_place_of_task", default=None)


class _Stepped(Awaitable[_T]):
    """A coroutine each step of which happens in a namespace."""

    def __init__(self, coroutine: Coroutine[Any, Any, _T], namespace: Namespace) -> None:
        self._coroutine = coroutine
        self._namespace = namespace

    def __await__(self) -> Generator[Any, Any, _T]:
        step: Callable[[Any], Any] = self._coroutine.send
        value: Any = None
        while True:
            try:
                with self._namespace.inside():
                    waits_for = step(value)
            except StopIteration as end:
                result: _T = end.value
                return result
            try:
                step, value = self._coroutine.send, (yield waits_for)
            except GeneratorExit:
                with self._namespace.inside():
                    self._coroutine.close()
                raise
            except BaseException as error:
                step, value = self._coroutine.throw, error


def follow_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Let tasks that are spawned in a namespace (`Namespace.run`) stay in it."""

    def factory(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
        namespace = _place_of_task.get()
        return asyncio.Task(coro if namespace is None else _step(coro, namespace), loop=loop, **options)

    loop.set_task_factory(factory)


async def _step(coro: Coroutine[Any, Any, _T], namespace: Namespace) -> _T:
    return await _Stepped(coro, namespace)


def _enter(file: int) -> None:
    try:
        _call("setns", file, _CLONE_NEWNET)
    except OSError as error:
        raise PlaceError(f"cannot enter a network namespace: {error.strerror}") from error


def _call(name: str, *arguments: int) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def become_root_of_own_network() -> str:
    """Let an ordinary user make namespaces, in a user namespace of his own; returns why not, "" where he can now.

    To be called before the first thread is started. Where namespaces are permitted anyway, nothing changes; otherwise
    this process leaves the machine's network for one of its own: sockets that others are to reach are opened before.
    """
    if not _why_not(_make_network):
        return ""
    if why_not := _why_not(_make_user):
        return f"this machine allows no user namespaces ({why_not})"
    _make_user()
    netlink.set_up("lo")
    return ""


def _make_network() -> None:
    _call("unshare", _CLONE_NEWNET)


def _make_user() -> None:
    """Become root of a new user namespace, and of a network in it."""
    user, group = os.geteuid(), os.getegid()
    _call("unshare", _CLONE_NEWUSER | _CLONE_NEWNET)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _make_network()


def _why_not(act: Callable[[], None]) -> str:
    """Try it in a process of its own, which is gone afterwards: what fails half-way has changed nothing here."""
    process = os.fork()
    if not process:
        status = 255
        try:
            act()
            status = 0
        except OSError as error:
            status = min(error.errno or 255, 255)
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return os.strerror(status) if status else ""
