"""Quality: a number from 0 to 1 that is made of countable things, and a limit below which nothing is replayed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ferret.cli import ferret
from ferret.errors import RecordError
from ferret.protocols.summary import Kind
from ferret.records.holes import Hole
from ferret.records.message import Flaw, SignallingMessage
from ferret.records.quality import Quality, assess
from ferret.records.recorder import Capture
from ferret.records.recording import Entry, Recording

counts = st.integers(0, 50)


@pytest.fixture
def attach(recorded: Callable[[str], Capture]) -> Recording:
    return next(r for r in recorded("open5gs-attach.pcap").recordings if r.service == "attach")


def changed(recording: Recording, change: Callable[[SignallingMessage], SignallingMessage]) -> Recording:
    return replace(recording, entries=tuple(Entry(change(m), boundary) for m, boundary in recording.entries))


def at(recording: Recording, place: int, **captured: object) -> Recording:
    """With another capture of the message at a place."""
    index = recording.messages[place].index
    return changed(
        recording,
        lambda m: replace(m, captured=replace(m.captured, **captured)) if m.index == index else m,  # type: ignore[arg-type]
    )


def test_a_whole_recording_is_of_quality_one(attach: Recording) -> None:
    found = assess(attach)
    assert found == Quality(len(attach.everything), 0, 0, 0, 0, 0)
    assert (found.value, attach.quality) == (1, 1)
    assert str(found) == f"1.00: nothing wrong, of {found.messages} messages"


def test_each_thing_that_is_wrong_is_counted(attach: Recording) -> None:
    answer = next(m for m in attach.messages if m.answers)
    without = replace(attach, entries=tuple(entry for entry in attach.entries if entry.message is not answer))
    assert assess(without).unanswered == 1
    assert assess(replace(attach, holes=(Hole("a message", 3),))).holes == 1
    assert assess(at(attach, 2, flaws=(Flaw.CUT,))).unreadable == 1
    assert assess(at(attach, 2, flaws=(Flaw.HOLE_BEFORE,))).unreadable == 0
    again = changed(attach, lambda m: replace(m, retransmissions=2 if m.kind is Kind.REQUEST else 0))
    assert assess(again).repeated == 2 * sum(m.kind is Kind.REQUEST for m in attach.messages)
    assert 0 < assess(again).value < 1


def test_a_clock_that_was_set_back_is_seen_in_the_run_of_one_agent(attach: Recording) -> None:
    of_one = [m for m in attach.messages if m.captured.agent == attach.messages[0].captured.agent]
    later = attach.messages.index(of_one[-1])
    back = of_one[-1].captured.captured_at_ns - 5_000_000_000
    assert assess(at(attach, later, captured_at_ns=back)).clock_steps == 1
    assert assess(at(attach, later, captured_at_ns=back, epoch=512)).clock_steps == 0  # another run has no order here
    assert "1 clock set back" in str(assess(at(attach, later, captured_at_ns=back)))


@given(st.builds(Quality, counts, counts, counts, counts, counts, counts))
def test_it_is_a_number_from_0_to_1_and_never_better_for_one_more_fault(quality: Quality) -> None:
    assert 0 <= quality.value <= 1
    for name in ("unanswered", "holes", "unreadable", "clock_steps", "repeated"):
        assert replace(quality, **{name: getattr(quality, name) + 1}).value <= quality.value


@pytest.mark.parametrize(("limit", "refused"), [("1", True), ("0.9", False)])
def test_below_the_limit_the_replay_refuses_and_says_why(
    limit: str, refused: bool, capture: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Sequence[Recording]] = []

    def replayed(chosen: Sequence[Recording], *rest: object) -> None:
        tried.append(chosen)
        raise RecordError("far enough")

    monkeypatch.setattr("ferret_deploy.commands.replay.replay", replayed)
    worse = Quality(100, 3, 0, 0, 0, 10)
    monkeypatch.setattr("ferret.records.recording.assess", lambda recording: worse)
    monkeypatch.setattr("ferret_deploy.commands.replay.assess", lambda recording: worse)
    arguments = ["replay", str(capture("volte-call-full.pcap")), "--min-quality", limit]
    said = str(CliRunner().invoke(ferret, arguments).exception)
    if refused:
        assert "of quality 0.96: 3 requests without an answer, 10 messages seen again, of 100 messages" in said
        assert not tried
    else:
        assert said == "far enough"
