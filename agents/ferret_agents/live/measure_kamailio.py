"""What an agent costs Kamailio beside it: a proxy between two SIPp, calls as fast as they get through, or at a rate."""

from __future__ import annotations

import contextlib
import csv
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from ferret.errors import ConfigError
from ferret_agents.live.loads import NF, PEER, Load
from ferret_agents.live.measure import Way, running_agent
from ferret_agents.live.measure_beside import Beside, in_turns

_CALLER: Final = "127.0.1.3"
_CALLS_AT_ONCE: Final = 32  # as fast as they get through
_STARTS_WITHIN: Final = 10.0  # seconds
_CONFIGURATION: Final = """#!KAMAILIO
debug=0
log_stderror=yes
children=1
disable_tcp=yes
auto_aliases=no
listen=udp:{nf}:5060
loadmodule "sl.so"
loadmodule "tm.so"
loadmodule "pv.so"
request_route {{
    $du = "sip:{peer}:5060";
    t_relay();
}}
"""


def why_not() -> str:
    """What is missing; "" if it can be measured."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    missing = [name for name in ("kamailio", "sipp") if not shutil.which(name, path=path)]
    return f"not installed: {', '.join(missing)}" if missing else ""


def measure_kamailio(ways: list[Way], *, rate: int, calls: int = 2000, turns: int = 3) -> list[Beside]:
    """Calls a second, alone and with an agent. `rate`: 0: as many as get through. Raises ConfigError."""
    processors = sorted(os.sched_getaffinity(0))
    mine, other = {processors[0]}, {processors[-1]}
    load = Load("sip")
    besides = {f"ferret agent, {way}": partial(running_agent, load, way, processors=other) for way in ways}
    with tempfile.TemporaryDirectory() as directory, _proxy(Path(directory)), _callee():
        os.sched_setaffinity(0, mine)
        try:
            _call(Path(directory), rate, calls // 4)  # warm
            return in_turns(besides, partial(_call, Path(directory), rate, calls), rate, turns)
        finally:
            os.sched_setaffinity(0, processors)


@contextlib.contextmanager
def _proxy(directory: Path) -> Iterator[None]:
    configuration = directory / "kamailio.cfg"
    configuration.write_text(_CONFIGURATION.format(nf=NF, peer=PEER), encoding="ascii")
    program = shutil.which("kamailio", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or "kamailio"
    command = [program, "-DD", "-f", str(configuration), "-Y", str(directory), "-m", "64", "-M", "8"]
    with _running(command):
        _wait_for(NF)
        yield


@contextlib.contextmanager
def _callee() -> Iterator[None]:
    with _running(["sipp", "-sn", "uas", "-i", PEER, "-p", "5060", "-nostdin"]):
        _wait_for(PEER)
        yield


@contextlib.contextmanager
def _running(command: list[str]) -> Iterator[None]:
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True) as process:
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(2)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def _wait_for(address: str) -> None:
    """Until somebody has the address's port 5060."""
    deadline = time.monotonic() + _STARTS_WITHIN
    while time.monotonic() < deadline:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trying:
            try:
                trying.bind((address, 5060))
            except OSError:
                return
        time.sleep(0.02)
    raise ConfigError(f"nobody answers at {address}:5060")


def _call(directory: Path, rate: int, calls: int) -> float:
    """Calls a second that were set up and released."""
    statistics = directory / "sipp.csv"
    statistics.unlink(missing_ok=True)
    limits = ["-r", str(rate)] if rate else ["-r", "100000", "-l", str(_CALLS_AT_ONCE)]
    command = ["sipp", f"{NF}:5060", "-sn", "uac", "-i", _CALLER, "-p", "5060", "-d", "0", "-m", str(calls), *limits]
    command += ["-nostdin", "-trace_stat", "-stf", str(statistics), "-timeout", "60", "-recv_timeout", "5000"]
    began = time.monotonic()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    took = time.monotonic() - began
    with statistics.open(newline="", encoding="ascii") as file:
        *_, last = csv.DictReader(file, delimiter=";")
    return int(last["SuccessfulCall(C)"]) / took
