"""What capturing costs: an agent under a steady load of real packets, and tcpdump and dumpcap under the same.

Everything happens on `lo` of a network namespace of its own, with four processes: who sends, the agent, who reads the
queue, and this one.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import multiprocessing
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import time
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from secrets import token_hex
from typing import Final

from ferret.errors import ConfigError
from ferret.queue import PosixQueue
from ferret_agents.live.agent import AgentConfig, Capture, LiveAgent
from ferret_agents.live.counters import AgentCounters, Lag
from ferret_agents.live.loads import LOADS, NF, Load, send
from ferret_agents.live.loop import new_event_loop
from ferret_agents.live.ring import PERIOD_MS

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SIOCSIFFLAGS, _SIOCSIFMTU, _SIOCETHTOOL = 0x8914, 0x8922, 0x8946
_ETHERNET_MTU: Final = 1500
_OFFLOADS: Final = (0x1F, 0x24)  # ETHTOOL_STSO, ETHTOOL_SGSO: who cuts segments, later than TCP itself
_READ_AT_ONCE: Final = 256  # messages
_SETTLE: Final = 0.3  # seconds for the last packets to arrive


FRAMES: Final = "frames by the kernel"
"""Why messages over TCP were dropped; how many, the number of frames does not say."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What came of it."""

    what: str
    offered: int
    offered_per_second: float  # as reached; the sender may be the slower one
    captured: int  # messages found; of yardsticks frames
    queued: int  # messages in the queue; yardsticks have none
    dropped: Mapping[str, int]  # by reason, the kernel's among them
    cpu_us: float  # of the process, per message captured
    lag_p50_us: float = 0.0  # from the kernel's timestamp into the queue
    lag_p99_us: float = 0.0

    @property
    def is_exact(self) -> bool:
        """Whether every message offered is either queued (a yardstick: captured) or counted as dropped.

        Over TCP a frame is not a message: where the kernel has dropped some, their number says only that some lack.
        """
        missing, counted = self.offered - (self.queued or self.captured), sum(self.dropped.values())
        return missing <= counted if FRAMES in self.dropped else missing == counted


class _ExactLag(Lag):
    """Every single value, for quantiles without buckets."""

    def __init__(self) -> None:
        super().__init__()
        self.values = array("q")

    def observe(self, nanoseconds: int) -> None:
        self.values.append(nanoseconds)

    def observe_all(self, times: Sequence[int], now: int) -> None:
        self.values.extend([now - at for at in times])

    def quantile(self, share: float) -> int:
        ranked = sorted(self.values)
        return ranked[min(len(ranked) - 1, int(share * len(ranked)))] if ranked else 0


def enter_own_network() -> None:
    """Put this process into a network namespace of its own. Raises ConfigError where that is refused.

    `lo` is up, and is made like an Ethernet: frames of 1,500 octets, segments cut by TCP and not later.
    """
    library = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.geteuid(), os.getegid()
    if library.unshare(_CLONE_NEWNET if uid == 0 else _CLONE_NEWUSER | _CLONE_NEWNET):
        raise ConfigError(f"no network namespace of its own for the measurement: {os.strerror(ctypes.get_errno())}")
    if uid:
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1", encoding="ascii")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        fcntl.ioctl(asking, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", 0x49))  # up, loopback, running
        fcntl.ioctl(asking, _SIOCSIFMTU, struct.pack("16si20x", b"lo", _ETHERNET_MTU))
        for offload in _OFFLOADS:
            value = array("I", (offload, 0))
            fcntl.ioctl(asking, _SIOCETHTOOL, struct.pack("16sP16x", b"lo", value.buffer_info()[0]))


@dataclass(frozen=True, slots=True)
class Way:
    """How an agent captures."""

    capture: Capture = Capture.IMMEDIATE
    period_ms: int = PERIOD_MS

    def __str__(self) -> str:
        late = f", {self.period_ms} ms" if self.capture is Capture.BUFFERED else ""
        return f"{self.capture}{late}"


# Processes


def _run_agent(queue_name: str, load: Load, way: Way, pipe: Connection) -> None:
    async def capture() -> AgentCounters:
        loop = asyncio.get_running_loop()
        stopping = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stopping.set)
        agent.start(loop)
        pipe.send("ready")
        began.append(time.process_time())
        await stopping.wait()
        return await agent.stop(10.0)

    began: list[float] = []
    with PosixQueue(queue_name) as queue:
        config = AgentConfig(
            ("lo",),
            (NF,),
            (LOADS[load.kind].port,),
            capture=way.capture,
            period_ms=way.period_ms,
            receive_buffer=32 << 20,
        )
        agent = LiveAgent(config, queue)
        lag = agent.lag = _ExactLag()
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            account = runner.run(capture())
    spent = time.process_time() - began[0]
    pipe.send((account, spent, lag.quantile(0.5), lag.quantile(0.99)))


def _run_reader(queue_name: str, pipe: Connection) -> None:
    """Take everything out of the queue until told to stop, and say how much that was."""
    taken = 0
    with PosixQueue(queue_name) as queue:
        while True:
            found = queue.get_many(_READ_AT_ONCE)
            taken += len(found)
            if not found and not select.select([queue.fileno()], (), (), 0.1)[0] and pipe.poll():
                break
    pipe.send(taken)


@contextlib.contextmanager
def _processes() -> Iterator[tuple[str, multiprocessing.context.ForkContext]]:
    name = f"/ferret-measure-{os.getpid()}-{token_hex(4)}"
    with PosixQueue.create(name):
        yield name, multiprocessing.get_context("fork")


@dataclass(slots=True)
class Outcome:
    """What an agent says at its end, and the reader of its queue."""

    account: AgentCounters | None = None
    taken: int = 0
    cpu_s: float = 0.0
    lag_p50_ns: int = 0
    lag_p99_ns: int = 0


@contextlib.contextmanager
def running_agent(load: Load, way: Way, *, processors: set[int] | None = None) -> Iterator[Outcome]:
    """An agent and a reader of its queue, each a process, on these processors. What came of it is there afterwards."""
    outcome = Outcome()
    with _processes() as (name, context):
        here, there = context.Pipe()
        read_here, read_there = context.Pipe()
        agent = context.Process(target=_run_agent, args=(name, load, way, there))
        reader = context.Process(target=_run_reader, args=(name, read_there))
        for process in (agent, reader):
            process.start()
            if processors is not None and process.pid is not None:
                os.sched_setaffinity(process.pid, processors)
        here.recv()
        try:
            yield outcome
        finally:
            time.sleep(_SETTLE)
            if agent.pid is not None:
                os.kill(agent.pid, signal.SIGTERM)
            outcome.account, outcome.cpu_s, outcome.lag_p50_ns, outcome.lag_p99_ns = here.recv()
            read_here.send("stop")
            outcome.taken = read_here.recv()
            agent.join()
            reader.join()


def measure_agent(load: Load, way: Way) -> Figures:
    """An agent under load. Call it inside a network of its own."""
    with running_agent(load, way) as outcome:
        offered, seconds = send(load)
    account = outcome.account
    if account is None:
        raise ConfigError("the agent has not told what became of it")
    by_kernel = FRAMES if LOADS[load.kind].transport == "tcp" else "kernel"
    dropped = {**account.dropped, by_kernel: account.kernel_dropped}
    if outcome.taken != account.queued:
        dropped["lost in the queue"] = account.queued - outcome.taken
    return Figures(
        what=f"ferret agent, {way}",
        offered=offered,
        offered_per_second=offered / seconds,
        captured=account.messages,
        queued=outcome.taken,
        dropped={reason: number for reason, number in dropped.items() if number},
        cpu_us=1e6 * outcome.cpu_s / max(1, account.messages),
        lag_p50_us=outcome.lag_p50_ns / 1000,
        lag_p99_us=outcome.lag_p99_ns / 1000,
    )


YARDSTICKS: Final = {
    "tcpdump": (("tcpdump", "-i", "lo", "-n", "-w", "/dev/null"), b"listening on", rb"(\d+) packets? captured",
                rb"(\d+) packets? dropped by kernel"),
    "dumpcap": (("dumpcap", "-i", "lo", "-w", "/dev/null", "-f"), b"Capturing on", rb"dropped on interface .*: (\d+)/",
                rb"dropped on interface .*: \d+/(\d+)"),
}  # fmt: skip


def measure_yardstick(name: str, load: Load) -> Figures | None:
    """Another capturer under the same load, writing to /dev/null; None where it is not installed or not permitted."""
    command, ready, captured, dropped = YARDSTICKS[name]
    if not shutil.which(name):
        return None
    with subprocess.Popen([*command, LOADS[load.kind].expression], stderr=subprocess.PIPE) as process:
        said = b""
        while ready not in said:
            octets = os.read(process.stderr.fileno(), 4096) if process.stderr else b""
            if not octets:
                return None
            said += octets
        before = _cpu_seconds(process.pid)
        offered, seconds = send(load)
        time.sleep(2 * _SETTLE)
        spent = _cpu_seconds(process.pid) - before
        process.send_signal(signal.SIGINT)
        said += process.stderr.read() if process.stderr else b""
    counts = [re.search(pattern, said) for pattern in (captured, dropped)]
    number, lost = (int(found[1]) if found else 0 for found in counts)
    return Figures(
        name, offered, offered / seconds, number, 0, {"kernel": lost} if lost else {}, 1e6 * spent / max(1, number)
    )


def _cpu_seconds(pid: int) -> float:
    """What all threads of a process have used, by the scheduler's own account (proc(5))."""
    times = (path.read_text(encoding="ascii").split()[0] for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))
    return sum(int(spent) for spent in times) / 1e9
