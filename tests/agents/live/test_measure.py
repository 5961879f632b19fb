"""`ferret bench capture`: everything that was offered is accounted for. How long it took is never asked."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

COMMAND = "from ferret_agents.commands.bench_capture import bench_capture; bench_capture()"


@pytest.mark.mqueue
@pytest.mark.parametrize("kind", ["gtpv2", "sip", "diameter", "s1ap"])
def test_what_the_measurement_offers_is_queued_or_counted(namespaces: None, kind: str) -> None:
    arguments = ("--kind", kind, "--rate", "400", "--rate", "4000", "--seconds", "0.25", "--json")
    done = subprocess.run([sys.executable, "-c", COMMAND, *arguments], capture_output=True, text=True, check=True)
    figures = json.loads(done.stdout)["capture"]
    agents = [one for one in figures if one["what"].startswith("ferret agent")]
    assert [one["offered"] for one in agents] == [100, 100, 1000, 1000]
    for one in agents:
        assert one["exact"], one
        assert one["queued"] == one["offered"] - sum(one["dropped"].values())
        assert 0 < one["lag_p50_us"] <= one["lag_p99_us"]
        assert one["cpu_us"] > 0
    assert {one["what"].partition(",")[0] for one in figures} <= {"ferret agent", "tcpdump", "dumpcap"}
