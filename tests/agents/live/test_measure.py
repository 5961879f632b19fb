"""`ferret bench capture`: everything that was offered is accounted for. How long it took is never asked."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

COMMAND = "from ferret_agents.commands.bench_capture import bench_capture; bench_capture()"


@pytest.mark.mqueue
@pytest.mark.parametrize("kind", ["gtpv2", "sip", "sip-tcp", "diameter", "diameter-large", "s1ap"])
def test_what_the_measurement_offers_is_queued_or_counted(namespaces: None, kind: str) -> None:
    yardsticks = ("--yardsticks",) if kind == "gtpv2" else ("--no-yardsticks",)
    arguments = (
        *yardsticks,
        "--way",
        "immediate",
        "--way",
        "buffered",
        "--kind",
        kind,
        "--rate",
        "400",
        "--rate",
        "4000",
        "--seconds",
        "0.25",
        "--json",
    )
    done = subprocess.run([sys.executable, "-c", COMMAND, *arguments], capture_output=True, text=True, check=True)
    figures = json.loads(done.stdout)["capture"]
    agents = [one for one in figures if one["what"].startswith("ferret agent")]
    assert [one["offered"] for one in agents] == [100, 100, 1000, 1000]
    for one in agents:
        assert one["exact"], one
        if "frames by the kernel" not in one["dropped"]:
            assert one["queued"] == one["offered"] - sum(one["dropped"].values())
        assert 0 < one["lag_p50_us"] <= one["lag_p99_us"]
        assert one["cpu_us"] > 0
    assert {one["what"].partition(",")[0] for one in figures} <= {"ferret agent", "tcpdump", "dumpcap"}


@pytest.mark.mqueue
def test_several_turns_are_told_in_one_line_with_their_range(namespaces: None) -> None:
    arguments = ("--no-yardsticks", "--way", "buffered", "--rate", "400", "--seconds", "0.1", "--turns", "2")
    done = subprocess.run([sys.executable, "-c", COMMAND, *arguments], capture_output=True, text=True, check=True)
    (line,) = [one for one in done.stdout.splitlines() if one.startswith("ferret agent")]
    assert re.search(r" 40 +40 +0 +[\d.]+ \([\d.]+ – [\d.]+\) ", line)


BESIDE = """
import json
from ferret.logs import configure
from ferret_agents.live.agent import Capture
from ferret_agents.live.measure import Way, enter_own_network
from ferret_agents.live.measure_beside import measure_file, measure_nf
configure(level="error")
enter_own_network()
ways = [Way(Capture.BUFFERED)]
found = [one for rate in (500, 0) for one in measure_nf("gtpv2", ways, rate=rate, turns=1, seconds=0.2)]
file = measure_file("sip", 50)
print(json.dumps([[[one.what, one.asked, one.share] for one in found], file.messages]))
"""


@pytest.mark.mqueue
def test_an_nf_is_measured_alone_and_with_an_agent(namespaces: None) -> None:
    done = subprocess.run([sys.executable, "-c", BESIDE], capture_output=True, text=True, check=True)
    found, messages = json.loads(done.stdout)
    assert messages == 50
    assert {(asked, what.partition(",")[0]) for what, asked, _ in found} >= {(500, "ferret agent"), (0, "ferret agent")}
    assert all(share > 0 for _, _, share in found)
