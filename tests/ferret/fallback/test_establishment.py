"""When calls begin, stand and end, and NAS COUNTs, in captures of real networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from ferret.fallback.establishment import CallWatch, Moment, Standing, moment, standing
from ferret.fallback.messages import (
    Call,
    CallBegun,
    CallEnded,
    CallEstablished,
    NasCounted,
    NasCounts,
    Place,
    UeContextReleased,
)
from ferret.fallback.nas_counts import NasCounter, NasWatch, count_nas
from ferret.protocols import s1ap
from ferret.protocols.summary import Protocol
from ferret.records.message import CapturedMessage, Endpoint, Role
from ferret.records.recorder import Capture, Recorder
from ferret.records.recording import Recording
from ferret.replay.device import Device
from ferret_agents.capture.reader import read
from ferret_agents.offline import agents
from ferret_agents.pipeline import record_file
from ferret_agents.roles import find_network


@cache
def _capture(path: Path) -> Capture:
    return record_file(path).capture


@pytest.fixture
def calls(capture: Callable[[str], Path]) -> Callable[[str], dict[str, Recording]]:
    """The calls of one of the project's captures, by their names."""
    return lambda name: {r.id: r for r in _capture(capture(name)).recordings if r.service in ("volte", "video")}


def in_real_time(path: Path) -> list[tuple[float, object]]:
    """Every event of a watch that sees a capture as its agents did, with the time (s) since its first message."""
    messages = read(path).messages
    network = find_network(messages)
    recorder = Recorder(lambda endpoint, message: network.resolve(endpoint, message.protocol))
    watch, events = CallWatch(), []
    begun = messages[0].captured_at_ns

    def look() -> None:
        at = watch.deadline()
        events.extend((at or 0.0, event) for event in watch.look(recorder.finish().recordings))

    for message in agents(messages, network):
        now = (message.captured_at_ns - begun) / 1e9
        while (deadline := watch.deadline()) is not None and deadline <= now:
            look()
        recorder.add(message)
        watch.take(message, now)
    look()
    return events


def test_a_recorded_call_begins_stands_and_ends_in_real_time(capture: Callable[[str], Path]) -> None:
    path = capture("open5gs-volte.pcap")
    events = in_real_time(path)
    assert [type(event) for _, event in events] == [CallBegun, CallEstablished, CallEnded]
    assert {event.call for _, event in events} == {Call("999700000000002", "volte", 1)}  # type: ignore[attr-defined]


def test_both_halves_of_a_call_are_told_apart(capture: Callable[[str], Path]) -> None:
    events = [event for _, event in in_real_time(capture("volte-call-full.pcap"))]
    for subscriber in ("999700000000020", "999700000000021"):
        own = [type(event) for event in events if event.call.subscriber == subscriber]  # type: ignore[attr-defined]
        assert own == [CallBegun, CallEstablished, CallEnded]


def test_a_call_is_established_after_its_last_ack_and_before_its_bye(capture: Callable[[str], Path]) -> None:
    path = capture("volte-call-full.pcap")
    (event,) = [e for _, e in in_real_time(path) if isinstance(e, CallEstablished) and e.call.subscriber.endswith("20")]
    names = [message.name for message in event.recording.messages]
    assert event.recording.complete
    assert names.count("ACK") == 3
    assert "BYE" not in names
    assert event.counts is not None
    assert event.counts.exact


def test_a_call_that_ends_at_the_edges_cscf_has_ended_at_the_edge(
    calls: Callable[[str], dict[str, Recording]],
) -> None:
    recordings = list(calls("volte-call-full.pcap").values())
    (cscf,) = {m.to_nf.address for r in recordings for m in r.messages if m.to_nf.role is Role.PCSCF}
    for edge, place in ((frozenset({cscf}), Place.EDGE), (frozenset({"10.0.0.1"}), Place.CORE)):
        ended = [e for e in CallWatch(edge=edge).look(recordings) if isinstance(e, CallEnded)]
        assert {event.at for event in ended} == {place}


@pytest.mark.parametrize("name", ["volte-call-full.pcap", "open5gs-volte.pcap", "kamailio-ims-call.pcap"])
def test_a_whole_call_has_ended(calls: Callable[[str], dict[str, Recording]], name: str) -> None:
    assert {standing(recording) for recording in calls(name).values()} == {Standing.ENDED}


def test_calls_without_a_bearer_for_voice_are_never_established(capture: Callable[[str], Path]) -> None:
    events = [event for _, event in in_real_time(capture("kamailio-ims-call.pcap"))]
    assert {type(event) for event in events} == {CallBegun, CallEnded}


def test_a_call_that_was_refused_has_ended(calls: Callable[[str], dict[str, Recording]]) -> None:
    refused = [r for r in calls("volte-multi-6.pcap").values() if not any(m.name == "BYE" for m in r.messages)]
    for recording in refused:
        assert any(m.accepted is False for m in recording.messages if m.name.endswith("(INVITE)"))
        assert standing(recording) is Standing.ENDED
    assert refused


def test_only_few_messages_are_moments(capture: Callable[[str], Path]) -> None:
    messages = read(capture("volte-call-full.pcap")).messages
    moments = [message for message in messages if moment(message) is not Moment.NONE]
    assert 0 < len(moments) < len(messages) / 5


def test_what_is_no_message_is_no_moment() -> None:
    end = Endpoint("10.0.0.1", 1)
    for protocol in Protocol:
        for octets in (b"", b"\x48\x60", b"INVITE", b"BYE x SIP/2.0\r\n\r\n"[:5]):
            assert moment(CapturedMessage(protocol, 0, end, end, octets)) is Moment.NONE


def test_a_watch_looks_once_messages_have_paused(capture: Callable[[str], Path]) -> None:
    first = next(m for m in read(capture("volte-call-full.pcap")).messages if moment(m) is not Moment.NONE)
    watch = CallWatch(settle=0.02, latest=0.05)
    assert watch.deadline() is None
    watch.take(first, 1.0)
    watch.take(first, 1.01)
    assert watch.deadline() == pytest.approx(1.03)
    for hundredth in range(2, 10):
        watch.take(first, 1.0 + hundredth / 100)
    assert watch.deadline() == pytest.approx(1.05)
    assert watch.look([]) == []
    assert watch.deadline() is None


def test_who_has_no_time_is_only_called_for_ends(capture: Callable[[str], Path]) -> None:
    messages = read(capture("volte-call-full.pcap")).messages
    watch = CallWatch(settle=0.02, latest=0.05)
    watch.take(next(m for m in messages if moment(m) is Moment.ADVANCE), 1.0)
    assert watch.deadline() == pytest.approx(1.02)
    assert watch.deadline(ends=True) is None
    watch.take(next(m for m in messages if moment(m) is Moment.END), 2.0)
    assert watch.deadline(ends=True) == pytest.approx(2.02)


def test_a_call_keeps_its_name_when_recordings_before_it_are_dropped(
    calls: Callable[[str], dict[str, Recording]],
) -> None:
    watch = CallWatch()
    first = next(iter(calls("volte-call-full.pcap").values()))
    earlier = replace(first, entries=first.entries[1:])  # another one: it begins with another message
    assert watch.call_of(earlier).number == 1
    assert watch.call_of(first).number == 2
    assert watch.call_of(replace(first, number=1)).number == 2
    watch.forget(watch.call_of(first))
    assert watch.call_of(first).number == 3


def test_what_is_late_of_a_call_that_is_over_is_no_call(calls: Callable[[str], dict[str, Recording]]) -> None:
    watch = CallWatch()
    first = next(iter(calls("volte-call-full.pcap").values()))
    late = tuple(entry for entry in first.entries if entry.message.name in ("BYE", "Delete Bearer Response", "STA"))
    assert late
    assert watch.look([replace(first, entries=late)]) == []


def test_a_call_whose_recording_is_dropped_has_ended(calls: Callable[[str], dict[str, Recording]]) -> None:
    watch = CallWatch()
    first = next(iter(calls("volte-call-full.pcap").values()))
    begun = replace(first, entries=first.entries[:3])
    assert [type(event) for event in watch.look([begun])] == [CallBegun]
    assert [type(event) for event in watch.look([])] == [CallEnded]
    assert watch.look([]) == []


def test_what_has_been_told_is_not_told_again(calls: Callable[[str], dict[str, Recording]]) -> None:
    watch = CallWatch()
    recordings = list(calls("volte-call-full.pcap").values())
    assert len(watch.look(recordings)) == 4  # begun and ended, of two
    assert watch.look(recordings) == []


@pytest.mark.parametrize(
    "name", ["volte-call-full.pcap", "open5gs-volte.pcap", "volte-multi-6.pcap", "open5gs-idle-paging.pcap"]
)
def test_counts_without_keys_are_those_with_keys(capture: Callable[[str], Path], name: str) -> None:
    found = _capture(capture(name))
    compared = 0
    for subscriber in found.subscribers:
        device, counter = Device(), NasCounter()
        for message in found.messages:
            if subscriber.key in message.subscribers:
                device.take(message)
                counter.take(message)
                if device.security is not None and device.security.downlink_count and counter.counts:
                    keyed = NasCounts(device.security.uplink_count, device.security.downlink_count)
                    assert counter.counts == keyed, message.index
                    compared += 1
    assert compared > 10


def test_counts_of_a_device_without_keys_in_the_recording_are_read_from_its_numbers(
    capture: Callable[[str], Path],
) -> None:
    found = _capture(capture("open5gs-idle-paging.pcap"))
    key = found.subscribers[0].key
    own = [message for message in found.messages if key in message.subscribers]
    assert count_nas(own) == count_nas([message for message in own if message.name != "AIA"])


def test_a_device_that_was_never_seen_has_no_counts() -> None:
    assert count_nas([]) is None


def test_live_signalling_moves_the_counts_of_the_device_that_is_watched(capture: Callable[[str], Path]) -> None:
    path = capture("volte-call-full.pcap")
    found = _capture(path)
    key = found.subscribers[0].key
    own = [m for m in found.messages if key in m.subscribers]
    device = Device()
    for message in own:
        device.take(message)
    mme = next(m.from_nf.address for m in own if m.from_nf.role is Role.MME)
    watch = NasWatch()
    assert [watch.take(m.captured) for m in own] == [None] * len(own)
    watch.watch(key, None, [(mme, device.mme_ue_s1ap_id or 0)])
    told = [event for m in own if (event := watch.take(m.captured)) is not None]
    counted = [event for event in told if isinstance(event, NasCounted)]
    assert counted[-1].counts == watch.counts(key) == count_nas(own)
    watch.end(key)
    assert all(watch.take(m.captured) is None for m in own)


def test_a_device_that_its_base_station_has_let_go_is_told(capture: Callable[[str], Path]) -> None:
    messages = _capture(capture("open5gs-idle-paging.pcap")).messages
    released = next(m for m in messages if m.name == "UEContextReleaseComplete")
    decoded = s1ap.decode(released.octets)
    watch = NasWatch()
    watch.watch("001", NasCounts(1, 1), [(released.to_nf.address, decoded.mme_ue_s1ap_id or 0)])
    assert watch.take(released.captured) == UeContextReleased("001")
