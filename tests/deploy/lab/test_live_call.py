"""Live calls are recorded on the wire, moved to the edge in mid-call and back, and nothing is lost or left over."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ferret.fallback.messages import Call
from ferret.fallback.states import State
from ferret.records.message import Role
from ferret.replay.verdict import Verdict
from ferret_core.driver.user_agent import RemoteParty
from ferret_deploy.lab.call_report import as_json, is_as_it_should_be, page, rows
from ferret_deploy.lab.delay_line import Impairment
from ferret_deploy.lab.live_call import Demonstration, play
from ferret_deploy.lab.live_network import LiveDevice, LiveNetwork
from ferret_deploy.lab.live_scene import CONFIGS, Scene, wan_links
from ferret_deploy.lab.places import Places

pytestmark = [pytest.mark.root, pytest.mark.sctp]

WAY = 0.01


def _played(calls: int = 1, kill: Role | None = None) -> tuple[Demonstration, list[str]]:
    told: list[str] = []
    with Places.build(CONFIGS, wan_links(Impairment(WAY))) as places:
        return asyncio.run(play(places, calls=calls, talk=0.4, kill=kill, tell=told.append)), told


@pytest.fixture(scope="module")
def played() -> tuple[Demonstration, list[str]]:
    """Two calls, and what was told of them."""
    return _played(calls=2)


def test_a_live_call_is_moved_to_the_edge_and_back_and_so_is_the_next(played: tuple[Demonstration, list[str]]) -> None:
    shown, _ = played
    assert len(shown.calls) == 2
    for call in shown.calls:
        assert call.why_failed == ""
        assert call.replayed is not None
        assert call.replayed.verdict is Verdict.SAME
        assert call.replayed.reconfigured
        assert call.replayed.nas_protected
        assert call.returned
        assert (call.setup or 0.0) > 6 * WAY
        assert (call.phase(State.HOLDING) or 0.0) > 4 * WAY  # device, core, internet and back
    assert shown.failed == 0
    assert is_as_it_should_be(shown)


def test_voice_takes_the_short_way_while_the_call_is_at_the_edge(played: tuple[Demonstration, list[str]]) -> None:
    voice = played[0].voice
    core, edge = voice.delays("core"), voice.delays("edge")
    assert min(len(core), len(edge)) > 40
    assert min(core) >= 2 * WAY  # device to core, core to internet
    assert sorted(edge)[len(edge) // 2] < 2 * WAY
    assert voice.lost_outside_gaps == 0
    assert len(voice.gaps) == 4  # two calls, two streams


def test_every_message_that_an_agent_saw_is_recorded_and_nothing_is_left_over(
    played: tuple[Demonstration, list[str]],
) -> None:
    shown, _ = played
    assert len(shown.accounts) == 9
    assert all(one.messages == one.queued > 0 for one in shown.accounts)
    assert shown.leftovers == {}
    assert shown.capture is not None
    assert [one.service for one in shown.capture.recordings].count("volte") == 2


def test_the_call_goes_on_over_the_core_when_an_edge_nf_is_killed() -> None:
    shown, told = _played(kill=Role.SGW)
    (call,) = shown.calls
    assert call.why_failed == ""
    assert call.report is not None
    assert call.report.state is State.ON_CORE
    assert any("over the core again" in line for line in told)
    assert max(shown.gaps_at_failure) < 1.0
    assert shown.voice.lost_outside_gaps == 0


def test_an_edge_that_is_dead_costs_nothing_but_the_try(monkeypatch: pytest.MonkeyPatch) -> None:
    hold = LiveNetwork.hold

    async def without_gateway(self: LiveNetwork, call: Call) -> None:
        await hold(self, call)
        await scenes[0].edge.nfs[Role.SGW].stop()

    scenes: list[Scene] = []
    made = Scene.device

    async def device(self: Scene, place: int = 0) -> LiveDevice:
        scenes.append(self)
        return await made(self, place)

    monkeypatch.setattr(LiveNetwork, "hold", without_gateway)
    monkeypatch.setattr(Scene, "device", device)
    shown, told = _played()
    (call,) = shown.calls
    assert "SGW" in call.why_failed
    assert not call.reached_edge
    assert any("It stays on the core" in line for line in told)
    assert shown.voice.delays("edge") == []
    assert shown.voice.lost == 0
    assert shown.failed == 1
    assert not is_as_it_should_be(shown)


def test_a_call_that_nobody_answers_counts_as_failed_and_the_next_one_works(monkeypatch: pytest.MonkeyPatch) -> None:
    answer, asked = RemoteParty.answer, []

    def once(self: RemoteParty, call: str) -> None:
        asked.append(call)
        if len(asked) > 1:
            answer(self, call)

    monkeypatch.setattr(RemoteParty, "answer", once)
    shown, _ = _played(calls=2)
    assert [one.why_failed for one in shown.calls] == ["the call was not set up", ""]
    assert shown.failed == 1


def test_it_is_said_as_a_table_as_json_and_as_a_page(played: tuple[Demonstration, list[str]]) -> None:
    shown, told = played
    assert told[-1] == "The device has left."
    assert dict(rows(shown))["calls"] == "2: 2 moved to the edge, 2 back on the core"
    found: dict[str, Any] = as_json(shown)
    assert json.loads(json.dumps(found)) == found
    assert (found["calls"], found["fallbacks"], found["returned"], found["failed"]) == (2, 2, 2, 0)
    assert (found["agents"], found["messages_dropped"]) == (9, 0)
    assert found["voice_delay_core_ms"]["p50"] > found["voice_delay_edge_ms"]["p50"]
    html = page(shown, "Two calls & more.")
    assert "Two calls &amp; more." in html
    assert html.count("<svg") >= 3  # both plots and the ladder


def test_what_was_not_measured_is_not_made_up() -> None:
    found = as_json(Demonstration())
    assert found["fallback_ms"] == {"p50": None, "p95": None, "p99": None}
    assert found["voice_gap_ms"] is None


def test_the_command_plays_it_all(tmp_path: Path) -> None:
    report = tmp_path / "demo.html"
    done = _command("--report", str(report))
    assert json.loads(done.stdout)["failed"] == 0
    assert "</html>" in report.read_text()


@pytest.mark.tshark
def test_tshark_finds_no_fault_in_any_packet_of_a_whole_run(tmp_path: Path) -> None:
    """NAS is ciphered (EEA2), so tshark must not take it for plain."""
    packets = tmp_path / "demo.pcapng"
    _command("--pcap", str(packets))
    command = ["tshark", "-r", str(packets), "-o", "nas-eps.null_decipher:FALSE"]
    expert = subprocess.run([*command, "-q", "-z", "expert"], capture_output=True, text=True, timeout=60, check=True)
    assert "Malformed" not in expert.stdout
    assert "Errors (" not in expert.stdout
    flow = ["-Y", "sip && ip.src == 10.45.2.2 && !gtp", "-T", "fields", "-e", "sip.Method", "-e", "ip.dst"]
    seen = subprocess.run([*command, *flow], capture_output=True, text=True, timeout=60, check=True)
    invited = [line.split("\t")[1] for line in seen.stdout.splitlines() if line.startswith("INVITE")]
    assert set(invited) == {"10.10.0.21", "10.20.0.21"}  # set up and held by the core's P-CSCF, resumed by the edge's


def _command(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ferret", "demo", "--wan-delay", "5", "--talk", "0.2", "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    return done
