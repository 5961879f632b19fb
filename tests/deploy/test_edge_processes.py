"""Each edge NF as a process of its own: `ferret edge NF`, and a replay that uses them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner

from ferret.cli import ferret
from ferret.errors import ConfigError

pytestmark = [pytest.mark.sctp, pytest.mark.mqueue, pytest.mark.timeout(180)]

NETWORK = f"127.98.{os.getpid() % 250}.0/24"
NFS = ("pcrf", "sgw", "pgw", "mme", "pcscf", "scscf")  # the PCRF first: PGW and P-CSCF connect to it
ADDRESSES = {"mme": 2, "sgw": 3, "pgw": 4, "pcrf": 9, "scscf": 20, "pcscf": 21}


def _url(nf: str, path: str) -> str:
    return f"http://{NETWORK.rpartition('.')[0]}.{ADDRESSES[nf]}:7700/{path}"


def _get(nf: str, path: str) -> str:
    with urllib.request.urlopen(_url(nf, path), timeout=10) as answer:
        text: str = answer.read().decode()
    return text


@pytest.fixture(scope="module")
def edge() -> Iterator[dict[str, subprocess.Popen[str]]]:
    running = {}
    with ExitStack() as stack:
        for nf in NFS:
            command = [sys.executable, "-m", "ferret.cli", "edge", nf, "--network", NETWORK, "--log-level", "error"]
            environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
            stack.enter_context(process)
            stack.callback(process.terminate)
            assert process.stdout is not None
            assert process.stdout.readline().startswith("edge ")  # it says so when every socket is open
            running[nf] = process
        yield running


def test_each_is_healthy_and_says_who_it_is(edge: dict[str, subprocess.Popen[str]]) -> None:
    for nf in edge:
        health = json.loads(_get(nf, "healthz"))
        assert health["status"] == "ok"
        assert health["nf"].lower().replace("-", "") == nf


def test_a_replay_uses_them_and_comes_out_the_same(edge: dict[str, subprocess.Popen[str]]) -> None:
    path = str(Path(__file__).parents[1] / "data" / "open5gs-volte.pcap")
    arguments = ["replay", path, "--running", "--network", NETWORK, "--json"]
    result = CliRunner().invoke(ferret, arguments, standalone_mode=False)
    found = json.loads(result.stdout)
    assert (result.return_value, found["verdict"], found["reconfigured"]) == (0, "same", True)
    assert found["recordings"][0]["user_plane"] == {"not probed": "the edge NFs run in other processes"}
    metrics = _get("mme", "metrics")
    assert 'ferret_edge_delivered_total{interface="S1-MME",nf="MME"}' in metrics
    assert 'ferret_edge_outputs_total{fate="live",nf="MME"}' in metrics


def test_they_forget_the_subscriber_so_that_he_is_replayed_again(edge: dict[str, subprocess.Popen[str]]) -> None:
    path = str(Path(__file__).parents[1] / "data" / "volte-call-full.pcap")
    for _ in range(2):
        arguments = ["replay", path, "--running", "--network", NETWORK, "--json"]
        result = CliRunner().invoke(ferret, arguments, standalone_mode=False)
        found = json.loads(result.stdout)
        assert (result.return_value, found["verdict"], found["high_risk"]) == (0, "same", 0)
    held = {nf: json.loads(_get(nf, "healthz")) for nf in edge}
    assert {nf: one.get("sessions", 0) + one.get("ue_contexts", 0) for nf, one in held.items()} == dict.fromkeys(
        held, 0
    )


def test_one_ends_cleanly_when_it_is_told_to(edge: dict[str, subprocess.Popen[str]]) -> None:
    edge["scscf"].terminate()
    assert edge["scscf"].wait(30) == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["edge", "hss"], "no edge NF is called 'hss'"),
        (["edge", "mme", "--network", "10.0.0.0/8"], "a /24 is needed"),
        (["edge", "mme", "--network", "nonsense"], "edge network 'nonsense'"),
        (["edge", "mme", "--members", "sgw,pgw"], "mme is not among the members"),
        (["replay", "tests/data/open5gs-volte.pcap", "--running"], "--running needs --network"),
    ],
)
def test_wrong_words_get_one_line(arguments: list[str], says: str) -> None:
    result = CliRunner().invoke(ferret, arguments)
    assert isinstance(result.exception, ConfigError)
    assert says in str(result.exception)


def test_a_replay_without_the_nfs_it_is_told_to_use_says_where_it_looked() -> None:
    path = str(Path(__file__).parents[1] / "data" / "kamailio-ims-call.pcap")
    result = CliRunner().invoke(ferret, ["replay", path, "--running", "--network", "127.97.1.0/24"])
    assert isinstance(result.exception, ConfigError)
    assert "no edge NF answers at http://127.97.1." in str(result.exception)
