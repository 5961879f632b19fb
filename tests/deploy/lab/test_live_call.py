"""A live call on the lab is recorded whole, leaves nothing behind, and comes out the same at the edge."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from ferret.replay.verdict import Verdict
from ferret_agents.pipeline import record_file
from ferret_deploy.lab.call_report import as_json_of, is_as_it_should_be, print_call
from ferret_deploy.lab.delay_line import Impairment
from ferret_deploy.lab.live_call import CONFIGS, LiveCall, play, replay_call, wan_links
from ferret_deploy.lab.places import Places
from ferret_deploy.lab.wiretap import WireTap

pytestmark = [pytest.mark.root, pytest.mark.sctp]

WAY = 0.01


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[LiveCall, list[str], Path]:
    """The call, what was told of it, and its packets."""
    path, told = tmp_path_factory.mktemp("lab") / "call.pcapng", list[str]()
    with Places.build(CONFIGS, wan_links(Impairment(WAY))) as places:
        tap = WireTap(places, path)
        call = asyncio.run(play(places, talk=0.3, tell=told.append))
        tap.stop()
        asyncio.run(replay_call(places, call))
    return call, told, path


def test_every_message_that_an_agent_saw_is_recorded(played: tuple[LiveCall, list[str], Path]) -> None:
    call, _, path = played
    assert len(call.accounts) == 8
    assert all(one.messages == one.queued > 0 for one in call.accounts)
    assert call.capture is not None
    assert [r.id for r in call.capture.recordings if r.holes or r.quality < 1] == []
    # The agents have seen what a capture of all places has.
    from_file = record_file(path).capture
    names = sorted(m.name for m in call.capture.messages if m.subscribers)
    assert names == sorted(m.name for m in from_file.messages if m.subscribers)


def test_voice_needs_the_time_of_two_crossings_of_the_wan(played: tuple[LiveCall, list[str], Path]) -> None:
    call, _, _ = played
    assert call.voice is not None
    assert call.voice.received == call.voice.sent > 20
    assert min(call.voice.delays("core")) >= 2 * WAY
    assert call.setup > 6 * WAY


def test_nothing_is_left_over_and_the_edge_does_the_same(played: tuple[LiveCall, list[str], Path]) -> None:
    call, told, _ = played
    assert call.leftovers == {}
    assert call.replayed is not None
    assert call.replayed.verdict is Verdict.SAME
    assert call.replayed.reconfigured
    assert is_as_it_should_be(call)
    assert len(told) == 4


def test_what_was_lost_is_no_success(played: tuple[LiveCall, list[str], Path]) -> None:
    call, _, _ = played
    left = LiveCall(call.attach, call.registration, call.setup, call.voice, call.accounts, {"PGW": {"bearers": 1}})
    left.capture, left.replayed = call.capture, call.replayed
    assert not is_as_it_should_be(left)
    left.leftovers, left.replayed = {}, None
    assert not is_as_it_should_be(left)


def test_it_is_said_in_words_and_as_json(
    played: tuple[LiveCall, list[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    call, _, _ = played
    print_call(call)
    said = capsys.readouterr().out
    assert "Nothing is left over in the core." in said
    assert "Replay of the volte recording: same" in said
    found = as_json_of(call)
    assert json.loads(json.dumps(found)) == found
    assert (found["agents"], found["messages_dropped"]) == (8, 0)
    assert found["voice_delay_core_ms"]["p50"] >= 2000 * WAY
    assert found["voice_delay_edge_ms"] == {"p50": None, "p99": None}  # never made up


def test_the_command_plays_it_all() -> None:
    command = [sys.executable, "-m", "ferret", "lab", "call", "--wan-delay", "2", "--talk", "0.2", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["replay"]["verdict"] == "same"
