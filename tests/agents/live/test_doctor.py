"""`ferret doctor` says what is missing and what to change, and its exit status says whether it matters."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from ferret.queue import PosixQueue
from ferret_agents.commands.doctor import doctor
from ferret_agents.live import doctor as checks
from ferret_agents.live.doctor import CHECKS, Level, examine

UNITS = sorted((Path(__file__).parents[3] / "deploy" / "systemd").glob("*.service"))


def test_every_check_comes_to_a_finding_and_every_fault_has_advice() -> None:
    findings = examine()
    assert len(findings) == len(CHECKS)
    for one in findings:
        assert one.what
        assert one.found
        assert one.advice or one.level is not Level.BAD


def test_without_the_capability_it_says_what_to_do_and_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(socket.socket, "__init__", refuse)
    finding = checks.CHECKS[0]()
    assert finding.level is Level.BAD
    assert "--user" in finding.advice or "unshare" in finding.advice


def test_the_exit_status_tells_a_fault_from_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    fine = checks.Finding("a", Level.WARNING, "so so", "do this")
    monkeypatch.setattr("ferret_agents.commands.doctor.examine", lambda: [fine])
    result = CliRunner().invoke(doctor, [], standalone_mode=False)
    assert result.return_value == 0
    assert "→ do this" in result.output
    bad = checks.Finding("b", Level.BAD, "missing", "get it")
    monkeypatch.setattr("ferret_agents.commands.doctor.examine", lambda: [fine, bad])
    result = CliRunner().invoke(doctor, ["--json"], standalone_mode=False)
    assert result.return_value == 1
    told = json.loads(result.output)
    assert (told["healthy"], [one["level"] for one in told["findings"]]) == (False, ["warning", "fault"])


@pytest.mark.mqueue
def test_it_looks_at_a_configuration_too(tmp_path: Path, queue: PosixQueue) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(f'queue = "{queue.name}"\n[interface.lo]\n[interface.nowhere0]\n')
    result = CliRunner().invoke(doctor, ["-c", str(path)], standalone_mode=False)
    assert result.return_value == 1
    assert f"queue {queue.name}: there" in result.output
    assert "interface lo: there" in result.output
    assert "no interface 'nowhere0'" in result.output
    path.write_text("[interface.lo]\nspeed = 1\n")
    result = CliRunner().invoke(doctor, ["-c", str(path)], standalone_mode=False)
    assert "interface.lo.speed is not known" in result.output


def test_capabilities_are_read_as_the_kernel_writes_them(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("Name:\tx\nCapEff:\t0000000000002000\n")
    assert checks.effective_capabilities(tmp_path / "status") == 1 << 13
    assert checks.effective_capabilities(tmp_path / "nothing") == 0


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_takes_the_units_and_finds_them_well_hardened(unit: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("SKIPPED LOUDLY: systemd-analyze is not installed (apt-get install systemd)")
    verified = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    said = [line for line in verified.stderr.splitlines() if unit.name in line and "is not executable" not in line]
    assert not said
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=25", str(unit)]
    secure = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unrecognized option" in secure.stderr:
        pytest.skip("SKIPPED LOUDLY: this systemd-analyze is too old")
    assert secure.returncode == 0, secure.stdout[-300:]
