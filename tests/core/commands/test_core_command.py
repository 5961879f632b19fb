"""`ferret core` and `ferret device`: the lab's core as a process of its own, and a call that is played at it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from ferret.cli import ferret
from ferret.errors import ConfigError
from ferret.transport.endpoint import TransportError

NETWORK = f"127.{100 + os.getpid() % 100}.160.0/24"
ENVIRONMENT = {**os.environ, "PYTHONUNBUFFERED": "1"}


def _started(*words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ferret.cli", "core", *words, "--network", NETWORK, "--log-level", "error"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)


@pytest.fixture(scope="module")
def core() -> Iterator[list[subprocess.Popen[str]]]:
    """The IMS first: it waits for the HSS and the PCRF, which are in the other process."""
    running = [_started("pcscf", "scscf", "i-cscf"), _started("hss", "pcrf", "mme", "sgw", "pgw", "remote")]
    try:
        for process, number in zip(running, (3, 6), strict=True):
            assert process.stdout is not None
            for _ in range(number):
                assert process.stdout.readline().startswith("core ")
        yield running
    finally:
        for process in running:
            process.terminate()
            process.wait(10)
            assert process.stdout is not None
            process.stdout.close()


@pytest.mark.sctp
def test_a_device_plays_a_whole_call_at_a_core_in_two_processes(core: list[subprocess.Popen[str]]) -> None:
    result = CliRunner().invoke(ferret, ["device", "--network", NETWORK, "--pause", "0", "--calls", "2"])
    assert result.exception is None, result.output
    assert result.output.splitlines() == [
        "call 1: established, held, resumed, ended",
        "call 2: established, held, resumed, ended",
        "device detached",
    ]


@pytest.mark.sctp
def test_it_ends_cleanly_when_it_is_told_to(core: list[subprocess.Popen[str]]) -> None:
    for process in core:
        process.terminate()
        assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["core", "sgsn"], "no NF of the core is called 'sgsn'"),
        (["core", "--network", "10.0.0.0/8"], "a /24 is needed"),
        (["core", "--network", "nonsense"], "core network 'nonsense'"),
        (["device", "--network", "10.0.0.0/8"], "a /24 is needed"),
    ],
)
def test_wrong_words_get_one_line(arguments: list[str], says: str) -> None:
    result = CliRunner().invoke(ferret, arguments)
    assert isinstance(result.exception, ConfigError)
    assert says in str(result.exception)


def test_a_core_whose_pcrf_is_missing_says_so() -> None:
    result = CliRunner().invoke(ferret, ["core", "pgw", "--network", "127.99.160.0/24", "--wait", "0"])
    assert isinstance(result.exception, TransportError)
    assert "could be reached" in str(result.exception)


@pytest.mark.sctp
def test_a_device_whose_mme_is_missing_says_so() -> None:
    result = CliRunner().invoke(ferret, ["device", "--network", "127.99.160.0/24", "--wait", "0"])
    assert result.exception is not None
    assert "127.99.160.2" in str(result.exception)
