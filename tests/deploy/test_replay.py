"""A recorded VoLTE call, replayed at the edge over real sockets: what comes out, and what tampering does to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from ferret.cli import ferret
from ferret.errors import RecordError
from ferret.protocols import diameter, gtpv2
from ferret.protocols.diameter import avp
from ferret.protocols.gtpv2 import Cause
from ferret.protocols.gtpv2.constants import IeType
from ferret.records.message import Role
from ferret.records.recording import Entry, Recording
from ferret.replay.plan import Part
from ferret.replay.rules import load_rules
from ferret.replay.verdict import ReplayResult, Verdict
from ferret_agents.pipeline import RecordedFile, private_queue, record_file
from ferret_deploy.replay_run import ReplayOptions, replay, run

pytestmark = [pytest.mark.sctp, pytest.mark.mqueue]


def replayed(recordings: Sequence[Recording], capture: RecordedFile) -> ReplayResult:
    with private_queue("test") as queue:
        return run(replay(recordings, capture.capture.messages, queue, ReplayOptions(load_rules())))


@pytest.fixture(scope="module")
def call() -> RecordedFile:
    return record_file(Path(__file__).parents[1] / "data" / "volte-call-full.pcap")


def volte_of(file: RecordedFile, subscriber: str = "") -> list[Recording]:
    return [r for r in file.capture.recordings if r.service == "volte" and subscriber in r.subscriber]


def changed(recording: Recording, name: str, change: Callable[[bytes], bytes], interface: str = "") -> Recording:
    """The recording with the octets of its first message of this name changed."""
    done = False

    def one(entry: Entry) -> Entry:
        nonlocal done
        message = entry.message
        if done or message.name != name or interface not in message.interface:
            return entry
        done = True
        captured = replace(message.captured, octets=change(message.octets))
        return Entry(replace(message, captured=captured), entry.boundary)

    entries, context = tuple(map(one, recording.entries)), tuple(map(one, recording.context))
    assert done, f"no {name} in {recording.id}"
    return replace(recording, entries=entries, context=context)


@pytest.mark.parametrize("name", ["volte-call-full.pcap", "open5gs-volte.pcap"])
def test_the_edge_does_as_the_recorded_network_did_and_takes_the_device_over(
    name: str, capture: Callable[[str], Path]
) -> None:
    file = record_file(capture(name))
    result = replayed(volte_of(file), file)
    assert result.verdict is Verdict.SAME
    assert result.reconfigured
    for recording in result.recordings:
        expected = [m for m in recording.messages if m.step.part.expected]
        assert recording.unacknowledged == 0
        assert recording.compared == len(expected) > 30
        assert recording.nas_protected
        assert recording.user_plane
        assert recording.high_risk == 0


def test_six_subscribers_on_two_base_stations_keep_apart(capture: Callable[[str], Path]) -> None:
    file = record_file(capture("volte-multi-6.pcap"))
    result = replayed(volte_of(file), file)
    assert result.verdict is Verdict.SAME
    assert [r.unacknowledged for r in result.recordings] == [0] * 6
    assert sum(r.reconfigured for r in result.recordings) == 4  # one call was refused: busy
    skipped = {m.step.reason for r in result.recordings for m in r.messages if m.step.part is Part.SKIPPED}
    assert "a challenge that the registrar did not go on with" in skipped


def test_an_ims_without_a_packet_core_is_replayed_at_the_cscfs_alone(capture: Callable[[str], Path]) -> None:
    file = record_file(capture("kamailio-ims-call.pcap"))
    result = replayed(volte_of(file), file)
    assert {frozenset(r.plan.members) for r in result.recordings} == {frozenset({Role.PCSCF, Role.SCSCF})}
    assert result.verdict is Verdict.SAME
    assert not result.reconfigured
    assert all("no dedicated bearer" in r.plan.not_reconfigured for r in result.recordings)


def test_a_changed_cause_is_of_high_risk(call: RecordedFile) -> None:
    def refuse(octets: bytes) -> bytes:
        message = gtpv2.decode(octets)
        ies = tuple(
            replace(ie, value=bytes((Cause.NO_RESOURCES_AVAILABLE, *ie.octets[1:]))) if ie.type == IeType.CAUSE else ie
            for ie in message.ies
        )
        return replace(message, ies=ies).encode()

    recording = changed(volte_of(call)[0], "Create Session Response", refuse, "S11")
    result = replayed([recording], call)
    assert result.verdict is Verdict.DIFFERENT
    found = [d for m in result.recordings[0].messages for d in m.differences if d["risk"] == "high"]
    assert [d["parameter"] for d in found] == ["Cause/Cause"]


def test_a_changed_quality_of_service_is_found(call: RecordedFile) -> None:
    def other_qci(octets: bytes) -> bytes:
        at = octets.index(bytes((IeType.BEARER_QOS,)) + b"\x00\x16") + 5
        return octets[:at] + bytes((2,)) + octets[at + 1 :]

    recording = changed(volte_of(call)[0], "Create Bearer Request", other_qci, "S5")
    result = replayed([recording], call)
    found = [d for m in result.recordings[0].messages for d in m.differences if "QCI" in str(d["parameter"])]
    assert [(d["recorded"], d["edge"], d["class"]) for d in found] == [(2, 1, "policy")]


def test_a_changed_result_code_is_of_high_risk(call: RecordedFile) -> None:
    def refuse(octets: bytes) -> bytes:
        def change(one: diameter.Avp) -> diameter.Avp:
            return avp.RESULT_CODE(5012) if one.code == avp.RESULT_CODE.code else one

        return diameter.decode(octets).rewritten(change).encode()

    result = replayed([changed(volte_of(call)[0], "RAA", refuse)], call)
    high = [d for m in result.recordings[0].messages for d in m.differences if d["risk"] == "high"]
    assert [d["parameter"] for d in high] == ["Result-Code"]


def test_a_message_that_the_edge_would_never_make_is_missed(call: RecordedFile) -> None:
    recording = volte_of(call)[0]
    last = max(e.message.index for e in recording.entries)
    invented = next(e for e in recording.entries if e.message.name == "Update Bearer Request")
    extra = Entry(replace(invented.message, index=last + 1), invented.boundary)
    result = replayed([replace(recording, entries=(*recording.entries, extra))], call)
    missed = [m for m in result.recordings[0].messages if m.high_risk]
    assert [m.step.message.name for m in missed] == ["Update Bearer Request"]
    assert missed[0].differences[0]["edge"] is None


def test_without_the_hss_s_answer_nas_goes_unprotected_and_is_said_so(call: RecordedFile) -> None:
    recording = volte_of(call)[0]
    context = tuple(e for e in recording.context if "attach" not in e.message.services)
    result = replayed([replace(recording, context=context)], call)
    one = result.recordings[0]
    assert any("NAS goes unprotected" in line for line in one.assumed)
    assert any("attach of 999700000000020" in line for line in one.assumed)
    assert one.reconfigured
    assert one.nas_protected is False


def test_the_junit_file_the_json_and_the_exit_status_agree(tmp_path: Path, capture: Callable[[str], Path]) -> None:
    junit = tmp_path / "result.xml"
    path = str(capture("open5gs-volte.pcap"))
    result = CliRunner().invoke(ferret, ["replay", path, "--json", "--junit", str(junit)], standalone_mode=False)
    found = json.loads(result.stdout)
    assert result.return_value == 0
    assert found["verdict"] == "same"
    assert found["reconfigured"] is True
    taking_part = [m for m in found["messages"] if m["role"] != Part.SKIPPED]
    assert found["acknowledged"] == len(taking_part) == len(ElementTree.parse(junit).findall(".//testcase"))
    assert found["replayed"] + found["compared"] == found["acknowledged"]


def test_a_recording_with_a_hole_is_refused_and_the_hole_is_named(
    tmp_path: Path, capture: Callable[[str], Path]
) -> None:
    whole = capture("open5gs-volte.pcap").read_bytes()
    cut = tmp_path / "hole.pcap"
    cut.write_bytes(_with_cut_frame(whole, 134))
    result = CliRunner().invoke(ferret, ["replay", str(cut)])
    assert isinstance(result.exception, RecordError)
    assert "has a hole" in str(result.exception)
    assert "gtpv2 message that was captured only in part" in str(result.exception)


def _with_cut_frame(octets: bytes, number: int) -> bytes:
    """A pcap (little-endian) whose frame `number` was captured only in part, as a short snaplen does it."""
    out, at = bytearray(octets[:24]), 24
    for frame in range(1, 1_000_000):
        if at >= len(octets):
            return bytes(out)
        head, length = octets[at : at + 16], int.from_bytes(octets[at + 8 : at + 12], "little")
        data = octets[at + 16 : at + 16 + length]
        if frame == number:
            data = data[: length - 20]
            head = head[:8] + len(data).to_bytes(4, "little") + head[12:]
        out += head + data
        at += 16 + length
    raise AssertionError("no end of the file")


def test_who_asks_for_a_service_that_is_not_there_is_told_what_is(capture: Callable[[str], Path]) -> None:
    result = CliRunner().invoke(ferret, ["replay", str(capture("open5gs-attach.pcap"))])
    assert isinstance(result.exception, RecordError)
    assert "no recording of volte" in str(result.exception) and "attach of 999700000000001" in str(result.exception)
