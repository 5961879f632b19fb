"""What is missing of a recording is noticed and named; what never happened is no hole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ferret.protocols.summary import Protocol
from ferret.records.message import CapturedMessage, Flaw
from ferret.records.recorder import Capture
from ferret.records.recording import Recording

Captured = Callable[[str], list[CapturedMessage]]
Recorded = Callable[[str], Capture]
Record = Callable[[list[CapturedMessage]], Capture]
VOLTE = "999700000000002-volte-1"


def _of(capture: Capture, name: str) -> Recording:
    return next(recording for recording in capture.recordings if recording.id == name)


def _without(messages: list[CapturedMessage], octets: bytes) -> list[CapturedMessage]:
    """As if nobody had captured it: agents do not know that it was there."""
    kept: dict[str, int] = {}
    result = []
    for message in messages:
        if message.octets != octets:
            kept[message.agent] = kept.get(message.agent, 0) + 1
            result.append(replace(message, number=kept[message.agent]))
    return result


@pytest.mark.parametrize("name", ["open5gs-volte.pcap", "volte-call-full.pcap", "kamailio-ims-call.pcap"])
def test_a_whole_capture_has_no_holes(name: str, recorded: Recorded) -> None:
    assert [recording.holes for recording in recorded(name).recordings if recording.holes] == []


@pytest.mark.parametrize(
    ("interface", "name", "says"),
    [
        ("S5/S8", "Create Bearer Request", "the request of Create Bearer Response"),
        ("S11", "Create Bearer Request", "the request of Create Bearer Response"),
        ("S11", "Create Bearer Response", "the answer to Create Bearer Request"),
        ("S5/S8", "Create Bearer Response", "the answer to Create Bearer Request"),
        ("S11", "Update Bearer Response", "the answer to Update Bearer Request"),
        ("S11", "Delete Bearer Response", "the answer to Delete Bearer Request"),
        ("S11", "Create Session Request", "the request of Create Session Response"),
        ("S11", "Modify Bearer Response", "the answer to Modify Bearer Request"),
        ("Gx", "CCA-Initial", "the answer to CCR-Initial"),
        ("Rx", "AAR", "the request of AAA"),
    ],
)
def test_a_message_that_was_not_captured_is_named(
    interface: str, name: str, says: str, captured: Captured, recorded: Recorded, record: Record
) -> None:
    whole = recorded("open5gs-volte.pcap")
    victim = next(m for m in whole.messages if m.interface == interface and m.name == name)
    capture = record(_without(captured("open5gs-volte.pcap"), victim.octets))
    holes = [hole.what for recording in capture.recordings for hole in recording.holes]
    assert says in holes
    assert says in [hole.what for hole in _of(capture, VOLTE).holes]


@pytest.mark.parametrize("name", ["200 (PRACK)", "200 (UPDATE)", "200 (INVITE)"])
def test_a_sip_answer_that_a_proxy_passed_on_must_have_come_to_it(
    name: str, captured: Captured, recorded: Recorded, record: Record
) -> None:
    whole = recorded("kamailio-ims-call.pcap")
    victim = next(m for m in whole.messages if m.interface == "Mw" and m.name == name)
    capture = record(_without(captured("kamailio-ims-call.pcap"), victim.octets))
    holes = {hole.what for recording in capture.recordings for hole in recording.holes}
    assert f"the answer to {name[5:-1]}" in holes


def test_what_cannot_be_read_is_a_hole_of_every_recording_that_it_may_have_been_of(
    captured: Captured, recorded: Recorded, record: Record
) -> None:
    victim = next(m for m in recorded("open5gs-volte.pcap").messages if m.name == "Create Bearer Request")
    spoilt = victim.octets[:12] + b"\xff" * (len(victim.octets) - 12)
    messages = [
        replace(m, octets=spoilt, flaws=(Flaw.UNDECODABLE,)) if m.octets == victim.octets else m
        for m in captured("open5gs-volte.pcap")
    ]
    capture = record(messages)
    assert any("cannot be decoded: undecodable" in hole.what for hole in _of(capture, VOLTE).holes)
    assert _of(capture, "999700000000002-attach-1").holes == ()  # that was over by then


def test_what_a_stranger_sends_is_nobodys_hole(captured: Captured, recorded: Recorded, record: Record) -> None:
    messages = captured("open5gs-volte.pcap")
    middle = messages[len(messages) // 2]
    garbage = replace(
        middle,
        protocol=Protocol.GTPV2,
        source=middle.source._replace(address="192.0.2.1"),
        octets=b"\x48\x20\x00\x08" + bytes(8),
        flaws=(Flaw.UNDECODABLE,),
        agent="192.0.2.1",
        number=1,
    )
    capture = record([*messages, garbage])
    assert capture.damage
    known = [recording for recording in capture.recordings if recording.subscriber == "999700000000002"]
    assert [recording.holes for recording in known if recording.holes] == []


def test_octets_missing_from_a_stream_are_a_hole_of_those_that_ran(
    captured: Captured, recorded: Recorded, record: Record
) -> None:
    """The CCA of the attach is lost: it is the next message of that stream that shows it, in another service."""
    whole = recorded("open5gs-volte.pcap")
    lost = next(m for m in whole.messages if m.name == "CCA-Initial")
    after = next(m for m in whole.messages if m.index > lost.index and m.captured.source == lost.captured.source)
    messages = [
        replace(m, flaws=(Flaw.HOLE_BEFORE,)) if m.octets == after.octets else m
        for m in _without(captured("open5gs-volte.pcap"), lost.octets)
    ]
    attach = _of(record(messages), "999700000000002-attach-1")
    assert f"something before {after.name}" in [hole.what for hole in attach.holes]
