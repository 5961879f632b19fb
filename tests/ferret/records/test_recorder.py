"""From captured messages in any order to recordings; and what is missing is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from ferret.protocols.summary import Kind, Protocol
from ferret.records.message import CapturedMessage, Flaw
from ferret.records.recorder import Capture
from ferret.records.recording import Recording
from ferret.records.sip_legs import Boundary

Captured = Callable[[str], tuple[CapturedMessage, ...]]
Recorded = Callable[[str], Capture]
Record = Callable[[list[CapturedMessage]], Capture]
CALL = "volte-call-full.pcap"


def call_of(capture: Capture) -> Recording:
    """The caller's call."""
    return next(r for r in capture.recordings if r.id == "999700000000020-volte-1")


def test_every_message_is_recorded_once_with_both_agents(captured: Captured, recorded: Recorded) -> None:
    copies, capture = captured(CALL), recorded(CALL)
    distinct = {(m.source, m.destination, m.stream, m.stream_sequence, m.octets) for m in copies}
    assert len(distinct) == len(capture.messages)
    assert all(len(m.agents) == len({m.from_nf.address, m.to_nf.address}) for m in capture.messages)
    assert [m.index for m in capture.messages] == list(range(1, len(capture.messages) + 1))


def test_the_order_in_which_agents_messages_arrive_changes_nothing(captured: Captured, record: Record) -> None:
    messages = list(captured("open5gs-idle-paging.pcap"))
    expected = record(messages)
    Random(1).shuffle(messages)
    assert record(messages) == expected


@pytest.mark.parametrize("seed", range(3))
def test_agents_clocks_that_are_seconds_apart_change_no_recording(
    captured: Captured, recorded: Recorded, record: Record, seed: int
) -> None:
    random = Random(seed)
    offsets = {agent: random.randrange(-5, 6) * 1_000_000_000 for agent in {m.agent for m in captured(CALL)}}
    skewed = [replace(m, captured_at_ns=m.captured_at_ns + offsets[m.agent]) for m in captured(CALL)]
    expected, capture = recorded(CALL), record(skewed)
    assert [(m.captured.frame, m.subscribers, m.services) for m in capture.messages] == [
        (m.captured.frame, m.subscribers, m.services) for m in expected.messages
    ]
    assert [r.id for r in capture.recordings] == [r.id for r in expected.recordings]


def test_every_request_that_was_answered_knows_its_answer(recorded: Recorded) -> None:
    messages = recorded(CALL).messages
    answered = {m.answers for m in messages}
    assert {m.name for m in messages if m.kind is Kind.REQUEST and m.index not in answered} <= set()


def test_one_agent_alone_still_gives_recordings(captured: Captured, record: Record) -> None:
    capture = record([m for m in captured(CALL) if m.agent == "172.22.0.2"])
    assert {m.protocol for m in capture.messages} == {Protocol.S1AP, Protocol.GTPV2, Protocol.DIAMETER}
    assert call_of(capture).complete


def test_messages_that_an_agent_lost_are_a_hole_in_every_recording_they_lie_in(
    captured: Captured, recorded: Recorded, record: Record
) -> None:
    middle = call_of(recorded(CALL)).messages[10].captured
    lost = [m for m in captured(CALL) if (m.agent, m.number) != (middle.agent, middle.number)]
    capture = record(lost)
    holes = call_of(capture).holes
    assert [hole.what for hole in holes] == [f"1 message(s) of the agent at {middle.agent}"]
    assert any(middle.agent in line for line in capture.damage)
    before = next(r for r in capture.recordings if r.service == "attach")
    assert before.complete


def test_a_flawed_message_is_a_hole(captured: Captured, recorded: Recorded, record: Record) -> None:
    frame = call_of(recorded(CALL)).messages[5].captured.frame
    flawed = [
        replace(m, flaws=(Flaw.HOLE_BEFORE,)) if m.captured_at_ns and m.frame == frame else m for m in captured(CALL)
    ]
    call = call_of(record(flawed))
    assert "hole before" in call.holes[0].what
    assert call.quality < 1


def test_an_answer_that_must_have_been_there_is_a_hole(captured: Captured, recorded: Recorded, record: Record) -> None:
    answers = [m for m in recorded("open5gs-attach.pcap").messages if m.name == "Create Session Response"]
    missing = {m.octets for m in answers}
    capture = record(renumbered([m for m in captured("open5gs-attach.pcap") if m.octets not in missing]))
    attach = next(r for r in capture.recordings if r.service == "pdn:internet")
    assert {hole.what for hole in attach.holes} == {"the answer to Create Session Request"}


def test_a_request_that_nobody_answered_is_no_hole(captured: Captured, recorded: Recorded, record: Record) -> None:
    last = [m for m in recorded("open5gs-attach.pcap").messages if m.name == "Delete Session Response"]
    missing = {m.octets for m in last}
    capture = record(renumbered([m for m in captured("open5gs-attach.pcap") if m.octets not in missing]))
    detach = next(r for r in capture.recordings if r.service == "detach")
    assert detach.complete
    assert detach.quality < 1


def renumbered(messages: list[CapturedMessage]) -> list[CapturedMessage]:
    """As if the missing ones had never been there."""
    counts: dict[str, int] = {}
    result = []
    for message in messages:
        counts[message.agent] = counts.get(message.agent, 0) + 1
        result.append(replace(message, number=counts[message.agent]))
    return result


def test_one_message_that_cannot_be_decoded_stops_nothing_else(captured: Captured, record: Record) -> None:
    messages = list(captured("open5gs-attach.pcap"))
    last = messages[-1]
    garbage = replace(last, protocol=Protocol.SIP, octets=b"\xff\xfe garbage", number=last.number + 1)
    capture = record([*messages, garbage])
    assert capture.messages[-1].name == "SIP that cannot be decoded"
    assert "undecodable" in capture.damage[0]
    assert len(capture.recordings) == 3


def test_nothing_recorded_is_an_empty_capture(record: Record) -> None:
    capture = record([])
    assert (capture.messages, capture.subscribers, capture.recordings, capture.damage) == ((), (), (), ())


def test_the_half_of_a_call_is_closed_but_for_the_hops_between_the_halves(recorded: Recorded) -> None:
    capture = recorded(CALL)
    borders = [
        e for r in capture.recordings if r.service == "volte" for e in r.entries if e.boundary != Boundary.INSIDE
    ]
    assert borders
    assert all("S-CSCF" in (str(e.message.from_nf.role), str(e.message.to_nf.role)) for e in borders)
    for message, boundary in borders:
        leaves = message.from_nf.role == "S-CSCF" and boundary == Boundary.LEAVES
        enters = message.to_nf.role == "S-CSCF" and boundary == Boundary.ENTERS
        assert leaves or enters


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_wrong_with_messages_everything_is_recorded(captured: Captured, record: Record, seed: int) -> None:
    random = Random(seed)
    messages = list(captured(random.choice(["kamailio-ims-call.pcap", "open5gs-volte.pcap", CALL])))
    hostile = []
    for message in messages:
        octets = bytearray(message.octets)
        for _ in range(random.choice([0, 0, 1, 5])):
            octets[random.randrange(len(octets))] = random.randrange(256)
        cut = random.randrange(len(octets)) if random.random() < 0.05 else len(octets)
        hostile.append(replace(message, octets=bytes(octets[:cut])))
    capture = record(hostile)
    assert capture.messages
    assert all(0 <= recording.quality <= 1 for recording in capture.recordings)
