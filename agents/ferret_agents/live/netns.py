"""Opening sockets inside another network namespace: a container's, or one of ip-netns(8)."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ferret.errors import ConfigError

_CLONE_NEWNET: Final = 0x40000000
_NAMED: Final = Path("/run/netns")


def inside(namespace: str, work: Callable[[], None]) -> None:
    """Do something inside a namespace, by its path or name; "": where we are. Raises ConfigError, and what `work` does.

    A socket belongs to the namespace that it was opened in, wherever it is used. A thread enters and ends there: the
    process stays where it is.
    """
    if not namespace:
        work()
        return
    path = Path(namespace) if "/" in namespace else _NAMED / namespace
    faults: list[BaseException] = []

    def enter() -> None:
        try:
            _enter(path)
            work()
        except BaseException as fault:  # it is raised again where it is waited for
            faults.append(fault)

    thread = threading.Thread(target=enter, name="netns")
    thread.start()
    thread.join()
    if faults:
        raise faults[0]


def _enter(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"no network namespace {path}: {error.strerror}") from None
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
            reason = os.strerror(ctypes.get_errno())
            raise ConfigError(f"the network namespace {path} cannot be entered: {reason} (it needs CAP_SYS_ADMIN)")
    finally:
        os.close(descriptor)
