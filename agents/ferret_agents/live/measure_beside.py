"""What an agent costs the NF beside it, and what reading a file costs beside tshark.

The NF is a server that answers each UDP datagram, asked by a client at a rate, or as fast as it can: then some
questions are always open. It runs in turns without and with an agent; where there are two processors, NF and client
have one and the agent has the other.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import select
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from ferret_agents.capture.reader import read
from ferret_agents.live.loads import LOADS, NF, PEER, Load
from ferret_agents.live.measure import Way, running_agent

_OPEN: Final = 16  # questions of the client
_TICK: Final = 0.0005  # seconds
_LOST_AFTER: Final = 0.2  # seconds without an answer
_PCAP_HEAD: Final = b"\xd4\xc3\xb2\xa1\x02\0\x04\0" + bytes(8) + (262144).to_bytes(4, "little") + b"\x01\0\0\0"


@dataclass(frozen=True, slots=True)
class Beside:
    """Answers a second, in turns."""

    what: str
    asked: int  # questions a second; 0: as many as are answered
    without: tuple[float, ...]
    beside: tuple[float, ...]

    @property
    def share(self) -> float:
        """Of the throughput without an agent: the median of the turns' shares, each with the turn before it."""
        return statistics.median(two / one for one, two in zip(self.without, self.beside, strict=True))


def measure_nf(kind: str, ways: Sequence[Way], *, rate: int, turns: int = 3, seconds: float = 1.0) -> list[Beside]:
    """How fast the NF is, alone and with an agent; as a yardstick, with tcpdump. Call it inside a network of its own.

    `rate`: questions a second; 0: as many as are answered.
    """
    processors = sorted(os.sched_getaffinity(0))
    mine, other = {processors[0]}, {processors[-1]}
    besides: dict[str, Callable[[], AbstractContextManager[object]]] = {
        f"ferret agent, {way}": partial(running_agent, Load(kind), way, processors=other) for way in ways
    }
    if shutil.which("tcpdump"):
        besides["tcpdump"] = partial(_tcpdump, kind, other)
    with _echo(kind, mine) as port:
        os.sched_setaffinity(0, mine)
        try:
            _ask(kind, port, rate, seconds / 4)  # warm
            return in_turns(besides, partial(_ask, kind, port, rate, seconds), rate, turns)
        finally:
            os.sched_setaffinity(0, processors)


def in_turns(
    besides: Mapping[str, Callable[[], AbstractContextManager[object]]],
    measure: Callable[[], float],
    rate: int,
    turns: int,
) -> list[Beside]:
    """Measure alone and with each of those beside, in turns: a machine's speed changes with time."""
    found = []
    for what, beside in besides.items():
        alone, together = [], []
        for _ in range(turns):
            alone.append(measure())
            with beside():
                together.append(measure())
        found.append(Beside(what, rate, tuple(alone), tuple(together)))
    return found


@contextlib.contextmanager
def _tcpdump(kind: str, processors: set[int]) -> Iterator[None]:
    command = ["tcpdump", "-i", "lo", "-n", "-w", "/dev/null", f"udp port {LOADS[kind].port}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        os.sched_setaffinity(process.pid, processors)
        said = b""
        while b"listening on" not in said and process.stderr is not None:
            said += os.read(process.stderr.fileno(), 4096)
        yield
        process.send_signal(signal.SIGINT)


@contextlib.contextmanager
def _echo(kind: str, processors: set[int]) -> Iterator[int]:
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    server = context.Process(target=_answer, args=(kind, there, processors), daemon=True)
    server.start()
    yield int(here.recv())
    server.terminate()
    server.join()


def _answer(kind: str, pipe: Connection, processors: set[int]) -> None:
    os.sched_setaffinity(0, processors)
    port = LOADS[kind].port
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((NF, port))
        pipe.send(port)
        buffer = bytearray(65536)
        view = memoryview(buffer)
        while True:
            length, whom = sock.recvfrom_into(buffer)
            sock.sendto(view[:length], whom)


def _ask(kind: str, port: int, rate: int, seconds: float) -> float:
    """Answers a second."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((PEER, 0))
        sock.connect((NF, port))
        ask = _at_a_rate if rate else _as_fast_as_it_can
        return ask(sock, LOADS[kind].message, rate, seconds)


def _as_fast_as_it_can(sock: socket.socket, message: bytes, _rate: int, seconds: float) -> float:
    sock.settimeout(_LOST_AFTER)
    answers, began = 0, time.monotonic()
    for _ in range(_OPEN):
        sock.send(message)
    while (now := time.monotonic()) - began < seconds:
        with contextlib.suppress(TimeoutError):
            sock.recv(65536)
            answers += 1
        sock.send(message)
    return answers / (now - began)


def _at_a_rate(sock: socket.socket, message: bytes, rate: int, seconds: float) -> float:
    sock.setblocking(False)
    answers = sent = 0
    began = time.monotonic()
    total = round(rate * seconds)
    while sent < total or (answers < sent and time.monotonic() - began < seconds + _LOST_AFTER):
        due = min(total, int((time.monotonic() - began) * rate) + 1)
        for _ in range(due - sent):
            sock.send(message)
        sent = max(sent, due)
        with contextlib.suppress(BlockingIOError):
            while True:
                sock.recv(65536)
                answers += 1
        select.select([sock], (), (), _TICK)
    return answers / seconds


@dataclass(frozen=True, slots=True)
class FileFigures:
    """Time for each message of a file, in microseconds; tshark's is None where there is none."""

    messages: int
    ferret_us: float
    tshark_us: float | None


def measure_file(kind: str, messages: int = 20_000) -> FileFigures:
    """Reading the same file: FERRET's dissector, and `tshark -T fields`."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "load.pcap"
        path.write_bytes(_pcap(kind, messages))
        began = time.monotonic()
        found = len(read(path).messages)
        ferret = time.monotonic() - began
        tshark = None
        if shutil.which("tshark"):
            command = ["tshark", "-n", "-r", str(path), "-T", "fields", "-e", "frame.number", "-e", "udp.length"]
            began = time.monotonic()
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
            tshark = 1e6 * (time.monotonic() - began) / messages
    return FileFigures(found, 1e6 * ferret / messages, tshark)


def _pcap(kind: str, messages: int) -> bytes:
    """UDP datagrams over Ethernet, a millisecond apart."""
    load = LOADS[kind]
    udp = load.port.to_bytes(2, "big") * 2 + (8 + len(load.message)).to_bytes(2, "big") + b"\0\0" + load.message
    head = b"\x45\0" + (20 + len(udp)).to_bytes(2, "big") + b"\0\1\x40\0\x40\x11\0\0"
    frame = bytes(12) + b"\x08\0" + head + socket.inet_aton(NF) + socket.inet_aton(PEER) + udp
    size = len(frame).to_bytes(4, "little") * 2
    out = [_PCAP_HEAD]
    for number in range(messages):
        seconds, millis = divmod(number, 1000)
        out.append(seconds.to_bytes(4, "little") + (1000 * millis).to_bytes(4, "little") + size + frame)
    return b"".join(out)
