"""What this machine lacks for FERRET, and what to do about it, in words.

Each check looks at one thing and gives a finding; none changes anything. What only a part of FERRET needs is a warning.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from ferret.errors import ConfigError, FerretError
from ferret.queue import choose_limits, posix_queues_work
from ferret.transport.sctp import choose
from ferret_agents.live.expression import compile_expression
from ferret_agents.live.filter import ETHERNET

_CAP_NET_ADMIN, _CAP_NET_RAW, _CAP_SYS_ADMIN = 12, 13, 21
_CLONE_NEWNET, _CLONE_NEWUSER = 0x40000000, 0x10000000
_FEW_SLOTS: Final = 64
_STA_UNSYNC: Final = 0x0040  # adjtimex(2)
_LARGE_OFFSET_US: Final = 100_000
_SMALL_BUFFER: Final = 8 << 20


class Level(StrEnum):
    """How bad it is."""

    GOOD = "ok"
    WARNING = "warning"  # something works worse, or not everything works
    BAD = "fault"  # an agent or a recorder cannot work here


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has found. `advice` "": nothing to do."""

    what: str
    level: Level
    found: str
    advice: str = ""


def examine() -> list[Finding]:
    """Every check, in the order in which one would go about it."""
    return [check() for check in CHECKS]


def _capabilities() -> Finding:
    """CAP_NET_RAW, by what the kernel says (capabilities(7)), and by trying."""
    what = "capturing (AF_PACKET)"
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except PermissionError:
        if effective_capabilities() >> _CAP_NET_RAW & 1:
            return Finding(
                what, Level.BAD, "refused in spite of CAP_NET_RAW",
                "this user namespace owns no network namespace: 'unshare --user --map-root-user --net', or a container "
                "with its own network and --cap-add NET_RAW",
            )  # fmt: skip
        return Finding(
            what, Level.BAD, "CAP_NET_RAW is missing",
            "run the agent as root with --user, as the systemd unit does (AmbientCapabilities=CAP_NET_RAW), or "
            "in a container with --cap-add NET_RAW",
        )  # fmt: skip
    except OSError as error:
        return Finding(what, Level.BAD, f"not possible: {error.strerror}", "use a kernel with CONFIG_PACKET")
    return Finding(what, Level.GOOD, "permitted")


def effective_capabilities(status: Path = Path("/proc/self/status")) -> int:
    """As bits; 0 where the system does not say."""
    try:
        lines = status.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1], 16) for line in lines if line.startswith("CapEff:")), 0)


def _ring() -> Finding:
    """The ring of the buffered way, as large as usual."""
    what = "capturing, buffered (TPACKET_V3)"
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
            sock.setsockopt(263, 10, 2)  # SOL_PACKET, PACKET_VERSION, TPACKET_V3
    except OSError as error:
        return Finding(what, Level.WARNING, f"not possible: {error.strerror}", 'use capture = "immediate"')
    return Finding(what, Level.GOOD, "permitted")


def _receive_buffer() -> Finding:
    what = "receive buffers (net.core.rmem_max)"
    try:
        most = int(Path("/proc/sys/net/core/rmem_max").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return Finding(what, Level.WARNING, "not known")
    if most >= _SMALL_BUFFER or effective_capabilities() >> _CAP_NET_ADMIN & 1:
        return Finding(what, Level.GOOD, f"{most} octets")
    return Finding(
        what, Level.WARNING, f"{most} octets",
        f"an agent without CAP_NET_ADMIN gets no more: sysctl -w net.core.rmem_max={_SMALL_BUFFER}, or "
        'capture = "buffered", which has a ring of its own',
    )  # fmt: skip


def _queues() -> Finding:
    what = "POSIX message queues"
    if not posix_queues_work():
        return Finding(
            what, Level.BAD, "none can be made",
            "use a kernel with CONFIG_POSIX_MQUEUE, raise RLIMIT_MSGQUEUE (ulimit -q 819200; LimitMSGQUEUE= in a "
            "unit), or use Redis: queue = \"redis://127.0.0.1\"",
        )  # fmt: skip
    limits = choose_limits()
    found = f"{limits.slots} slots of {limits.slot_size} octets"
    if limits.slots < _FEW_SLOTS:
        return Finding(
            what, Level.WARNING, found,
            f"enough for a quiet network; for bursts: sysctl -w fs.mqueue.msg_max={4 * _FEW_SLOTS} and "
            f"LimitMSGQUEUE={4 * 4 * _FEW_SLOTS * (limits.slot_size + 128)} in the units (ulimit -q)",
        )  # fmt: skip
    return Finding(what, Level.GOOD, found)


def _sctp() -> Finding:
    what = "SCTP (for S1AP; an agent needs none)"
    try:
        choice = choose()
    except (FerretError, OSError) as error:
        return Finding(
            what, Level.WARNING, str(error).splitlines()[0] if str(error) else "none",
            "modprobe sctp, or apt-get install libusrsctp2",
        )  # fmt: skip
    return Finding(what, Level.GOOD, type(choice.transport).__name__)


def _namespaces() -> Finding:
    """As the lab makes them: as root, or in a user namespace of its own."""
    what = "network namespaces (for the lab)"
    refused: list[int] = []

    def probe() -> None:
        library = ctypes.CDLL(None, use_errno=True)
        if library.unshare(_CLONE_NEWNET):
            refused.append(ctypes.get_errno())

    thread = threading.Thread(target=probe)  # it alone is in the new one, and it goes with it
    thread.start()
    thread.join()
    if not refused:
        return Finding(what, Level.GOOD, "can be made")
    return Finding(
        what, Level.WARNING, f"refused: {os.strerror(refused[0])}",
        "run 'ferret demo' and 'ferret lab' as root, or inside 'unshare --user --map-root-user --net' "
        "(sysctl -w kernel.unprivileged_userns_clone=1 where that is refused)",
    )  # fmt: skip


class _Timex(ctypes.Structure):
    """The beginning of struct timex (adjtimex(2)); the kernel writes 208 octets."""

    _fields_ = (
        ("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long), ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long), ("status", ctypes.c_int), ("rest", ctypes.c_char * 256),
    )  # fmt: skip


def _clock() -> Finding:
    """Whether something keeps the clock right: agents' clocks may differ, and break ties only, but people read them."""
    what = "clock"
    timex = _Timex()
    if ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex)) < 0:
        return Finding(what, Level.WARNING, "the kernel does not say how right it is")
    error_us = int(timex.maxerror)
    if int(timex.status) & _STA_UNSYNC:
        return Finding(
            what, Level.WARNING, "not synchronised",
            "run chrony or systemd-timesyncd on every host with an agent: order across hosts leans on the clock where "
            "messages do not settle it",
        )  # fmt: skip
    if error_us > _LARGE_OFFSET_US:
        return Finding(
            what, Level.WARNING, f"synchronised, but up to {error_us / 1000:.0f} ms off", "see chronyc tracking"
        )
    return Finding(what, Level.GOOD, f"synchronised, {error_us / 1000:.1f} ms off at most")


def _libpcap() -> Finding:
    what = "filters of one's own (libpcap)"
    try:
        compile_expression("udp", ETHERNET)
    except ConfigError as error:
        return Finding(what, Level.WARNING, str(error), "apt-get install libpcap0.8")
    return Finding(what, Level.GOOD, "can be compiled")


def _processors() -> Finding:
    number = len(os.sched_getaffinity(0))
    if number == 1:
        advice = 'an agent and its NF share it: capture = "buffered", and Nice= in the unit'
        return Finding("processors", Level.WARNING, "1", advice)
    return Finding("processors", Level.GOOD, str(number))


def _spool(path: Path = Path("/var/spool")) -> Finding:
    what = f"room for messages that wait on disk ({path})"
    try:
        free = shutil.disk_usage(path).free
    except OSError as error:
        return Finding(what, Level.WARNING, f"not known: {error.strerror}")
    if free < 1 << 30:
        return Finding(what, Level.WARNING, f"{free >> 20} MB", "name another place: spill_directory")
    return Finding(what, Level.GOOD, f"{free >> 30} GB")


CHECKS: Final[Sequence[Callable[[], Finding]]] = (
    _capabilities, _ring, _receive_buffer, _libpcap, _queues, _spool, _sctp, _namespaces, _clock, _processors,
)  # fmt: skip
