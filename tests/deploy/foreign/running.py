"""Lone NFs as processes, and replays at them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from ferret.records.message import Role
from ferret.records.recording import Recording
from ferret.replay.foreign.targets import LAST_OCTETS, ForeignSetting, read_setting
from ferret.replay.rules import load_rules
from ferret_agents.pipeline import RecordedFile, private_queue
from ferret_deploy.foreign.diameter_line import DiameterTimes
from ferret_deploy.foreign.run import ForeignOptions, ForeignResult, replay_at_foreign
from ferret_deploy.replay_run import run

_SCRIPT = Path(__file__).with_name("lone_nf.py")
THEIRS = f"127.99.{os.getpid() % 250}.0/24"
OURS = f"127.96.{os.getpid() % 250}.0/24"
_SERVERS = frozenset({Role.SGW, Role.PCRF, Role.MME, Role.SCSCF})


def theirs(role: Role) -> str:
    """The address of a lone NF."""
    return f"{THEIRS.rpartition('.')[0]}.{LAST_OCTETS[role]}"


def ours(role: Role) -> str:
    """The address of a stand-in."""
    return f"{OURS.rpartition('.')[0]}.{LAST_OCTETS[role]}"


@contextmanager
def lone(role: Role, *, waits_for_us: bool) -> Iterator[None]:
    """A lone NF. `waits_for_us`: it is ready only once it has its PCRF or HSS, which the replay stands in for."""
    command = [sys.executable, str(_SCRIPT), str(role), THEIRS, OURS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            for wanted in ("started",) if waits_for_us else ("started", "ready"):
                assert any(line.strip() == wanted for line in iter(process.stdout.readline, ""))
            yield
        finally:
            process.kill()


def setting(*targets: str, local: Sequence[str] = ()) -> ForeignSetting:
    """Targets with stand-ins in this test run's own network."""
    return read_setting(targets, [OURS, *local])


def replayed(file: RecordedFile, recordings: Sequence[Recording], at: ForeignSetting, **changes: Any) -> ForeignResult:
    """Replay at targets, quickly."""
    values: dict[str, Any] = {
        "t3": 1.0,
        "patience": 0.5,
        "diameter": DiameterTimes(wait=20),
        "random": Random(os.getpid()),
        **changes,
    }
    options = ForeignOptions(load_rules(), at, **values)
    with private_queue("test") as queue:
        return run(replay_at_foreign(recordings, file.capture.messages, queue, options))
