"""The command that measures the WAN."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from ferret_deploy.lab.commands import lab

pytestmark = pytest.mark.root


def test_the_delay_of_every_packet_is_measured() -> None:
    ran = CliRunner().invoke(lab, ["wan", "--delay", "5", "--rate", "500", "--seconds", "0.4", "--json"])
    assert ran.exit_code == 0, ran.output
    (figures,) = json.loads(ran.output)["wan"]
    assert (figures["sent"], figures["received"], figures["dropped"], figures["reordered"]) == (200, 200, 0, 0)
    assert 5.0 <= figures["p50_ms"] < 50
    assert figures["p50_ms"] <= figures["p99_ms"] <= figures["max_ms"]


def test_lost_packets_are_as_many_as_the_seed_says() -> None:
    def lost() -> int:
        arguments = ["wan", "--delay", "1", "--loss", "20", "--rate", "1000", "--seconds", "0.2", "--json"]
        (figures,) = json.loads(CliRunner().invoke(lab, arguments).output)["wan"]
        assert figures["received"] == figures["sent"] - figures["lost"]
        return int(figures["lost"])

    assert lost() == lost() > 0


def test_the_outcome_is_said_in_words() -> None:
    ran = CliRunner().invoke(lab, ["wan", "--delay", "1", "--rate", "100", "--seconds", "0.1"])
    assert "10 of 10 arrived" in ran.output
    assert "configured: 1.000 ms one way" in ran.output
