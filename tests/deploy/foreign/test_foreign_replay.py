"""A recording replayed at NFs that run in processes of their own, FERRET standing in for everybody around them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from ferret.cli import ferret
from ferret.errors import ConfigError, RecordError
from ferret.protocols import s1ap
from ferret.protocols.nas import Guti
from ferret.protocols.s1ap import IeId
from ferret.records.message import Role
from ferret.records.recording import Entry, Recording
from ferret.replay.foreign.targets import read_setting
from ferret.replay.verdict import Verdict
from ferret_agents.pipeline import RecordedFile, record_file
from ferret_deploy.foreign.run import ForeignResult
from tests.deploy.foreign.running import OURS, lone, ours, replayed, setting, theirs

pytestmark = [pytest.mark.mqueue, pytest.mark.timeout(120)]
DATA = Path(__file__).parents[2] / "data"
CALL = DATA / "open5gs-volte.pcap"


@pytest.fixture(scope="module")
def call() -> RecordedFile:
    return record_file(CALL)


@pytest.fixture(scope="module")
def ims_call() -> RecordedFile:
    return record_file(DATA / "kamailio-ims-call.pcap")


def volte(file: RecordedFile) -> list[Recording]:
    return [r for r in file.capture.recordings if r.service == "volte"][:1]


def causes_and_results(result: ForeignResult) -> list[str]:
    """Differences in what an answer comes to."""
    return [
        f"{m.step.message.name}: {d['parameter']}"
        for r in result.replay.recordings
        for m in r.messages
        for d in m.differences
        if "Cause" in str(d["parameter"]) or "Result-Code" in str(d["parameter"])
    ]


def assert_everything_was_accepted(result: ForeignResult, sent: int) -> None:
    assert [(t.sent, t.accepted) for t in result.targets] == [(sent, sent)]
    assert result.acceptance == 1.0
    assert all(r.unacknowledged == 0 and not r.abandoned for r in result.replay.recordings)
    assert causes_and_results(result) == []


def test_a_foreign_sgw_is_taken_through_a_whole_call(call: RecordedFile) -> None:
    with lone(Role.SGW, waits_for_us=False):
        result = replayed(call, volte(call), setting(f"sgw={theirs(Role.SGW)}"))
    assert result.replay.verdict is Verdict.SAME
    assert_everything_was_accepted(result, sent=14)
    assert result.replay.recordings[0].compared == 14
    assert not result.replay.reconfigured


def test_a_foreign_pgw_has_its_pcrf_and_its_sgw_from_us(call: RecordedFile) -> None:
    with lone(Role.PGW, waits_for_us=True):
        result = replayed(call, volte(call), setting(f"smf={theirs(Role.PGW)}"))
    assert_everything_was_accepted(result, sent=12)
    assert result.replay.recordings[0].compared == 12
    assert result.targets[0].identity == "pgw.epc.mnc070.mcc999.3gppnetwork.org"


def test_a_foreign_pcrf_has_its_pgw_and_its_p_cscf_from_us_and_may_be_asked_again(call: RecordedFile) -> None:
    with lone(Role.PCRF, waits_for_us=False):
        for _ in range(2):  # sessions of the first run are still there: the second one's are new all the same
            result = replayed(call, volte(call), setting(f"pcrf={theirs(Role.PCRF)}"))
            assert_everything_was_accepted(result, sent=10)
            assert result.replay.recordings[0].compared == 10


def test_targets_beside_each_other_are_replayed_at_together(call: RecordedFile) -> None:
    with lone(Role.SGW, waits_for_us=False), lone(Role.PCRF, waits_for_us=False):
        both = setting(f"sgw={theirs(Role.SGW)}", f"pcrf={theirs(Role.PCRF)}")
        result = replayed(call, volte(call), both)
    assert [(str(t.target.role), t.sent, t.accepted) for t in result.targets] == [("SGW", 14, 14), ("PCRF", 10, 10)]


@pytest.mark.sctp
def test_a_foreign_mme_has_the_device_s_nas_under_the_algorithms_that_it_chooses(call: RecordedFile) -> None:
    with lone(Role.MME, waits_for_us=True):
        result = replayed(call, volte(call), setting(f"mme={theirs(Role.MME)}"))
    assert_everything_was_accepted(result, sent=27)
    recording = result.replay.recordings[0]
    algorithms = [d for m in recording.messages for d in m.differences if "algorithm" in str(d["parameter"]).lower()]
    assert algorithms  # EEA0 was recorded, EEA2 is chosen now: and still all of it is understood
    names = [m.step.message.name for m in recording.messages if m.step.part.expected and not m.made]
    assert names == ["DownlinkNASTransport (EMM information)"]  # optional (TS 24.301 clause 5.4.5)


def with_unknown_guti(recording: Recording) -> Recording:
    """The recording with a GUTI that nobody has given out in place of the IMSI in its ATTACH REQUEST."""

    def changed(entry: Entry) -> Entry:
        message = entry.message
        if "Attach request" not in message.name:
            return entry
        pdu = s1ap.decode(message.octets)
        attach = pdu.nas_pdu or b""
        assert attach[:2] == b"\x07\x41"  # plain, ATTACH REQUEST; the identity follows the type of attach
        guti = Guti("99970", 77, 7, 0x01020304).encode()
        octets = attach[:3] + bytes((len(guti),)) + guti + attach[4 + attach[3] :]
        captured = replace(message.captured, octets=pdu.replacing({int(IeId.NAS_PDU): octets}).encode())
        return Entry(replace(message, captured=captured), entry.boundary)

    return replace(
        recording, entries=tuple(map(changed, recording.entries)), context=tuple(map(changed, recording.context))
    )


@pytest.mark.sctp
def test_a_device_whose_guti_the_foreign_mme_does_not_know_says_its_imsi(call: RecordedFile) -> None:
    with lone(Role.MME, waits_for_us=True):
        result = replayed(call, [with_unknown_guti(volte(call)[0])], setting(f"mme={theirs(Role.MME)}"))
    assert_everything_was_accepted(result, sent=27)
    assert result.targets[0].stood_in == ["DownlinkNASTransport (Identity request): not in the recording"]


def test_a_foreign_p_cscf_has_device_i_cscf_and_s_cscf_from_us(ims_call: RecordedFile) -> None:
    with lone(Role.PCSCF, waits_for_us=True):
        result = replayed(ims_call, volte(ims_call), setting(f"pcscf={theirs(Role.PCSCF)}"))
    assert_everything_was_accepted(result, sent=26)
    (target,) = result.targets
    # a PCRF, which the recording does not have; and a NOTIFY that is numbered otherwise than the recorded one
    assert {line.split()[0] for line in target.stood_in} == {"AAR", "STR", "NOTIFY"}


def test_a_foreign_s_cscf_has_its_hss_from_us_and_the_other_party_s_s_cscf_too(ims_call: RecordedFile) -> None:
    # The core's S-CSCF listens to nobody but the CSCFs that it was told: the other party's is put beside the I-CSCF.
    beside = f"scscf={ours(Role.ICSCF)}:5061"
    with lone(Role.SCSCF, waits_for_us=True):
        result = replayed(ims_call, volte(ims_call), setting(f"scscf={theirs(Role.SCSCF)}", local=[beside]))
    (target,) = result.targets
    assert (target.sent, target.accepted) == (24, 24)
    assert result.replay.recordings[0].compared == 24


def test_the_command_prints_targets_and_their_acceptance(tmp_path: Path) -> None:
    config = tmp_path / "targets.toml"
    config.write_text(f'[targets]\nsgw = "{theirs(Role.SGW)}"\n[local]\nnetwork = "{OURS}"\n')
    with lone(Role.SGW, waits_for_us=False):
        printed = CliRunner().invoke(ferret, ["replay", str(CALL), "--config", str(config), "--json"])
        again = CliRunner().invoke(ferret, ["replay", str(CALL), "--config", str(config)])
    assert printed.exit_code == 0, printed.output
    found = json.loads(printed.stdout)
    assert found["verdict"] == "same"
    assert found["acceptance"] == 1.0
    assert [(t["role"], t["sent"], t["accepted"]) for t in found["targets"]] == [("SGW", 14, 14)]
    assert "100.0 %" in again.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--edge", "all"],
        ["--local", "127.0.5.0/24"],
        ["--target", "sgw=127.0.0.3", "--running", "--network", "127.0.5.0/24"],
        ["--target", "sgw=127.0.0.3", "--edge", "ocs"],
        ["--target", "sgw=nowhere"],
        ["--config", "/nonexistent/targets.toml"],
    ],
)
def test_what_cannot_be_meant_is_refused(arguments: list[str]) -> None:
    result = CliRunner().invoke(ferret, ["replay", str(CALL), *arguments])
    assert isinstance(result.exception, ConfigError)


@pytest.mark.root
def test_a_packet_replay_of_the_same_messages_is_hardly_accepted() -> None:
    arguments = ["--target", f"sgw={theirs(Role.SGW)}", "--local", OURS, "--gap", "0.01", "--t3", "1", "--json"]
    with lone(Role.SGW, waits_for_us=False):
        printed = CliRunner().invoke(ferret, ["bench", "acceptance", str(CALL), *arguments])
    assert printed.exit_code == 0, printed.output
    found = json.loads(printed.stdout)
    assert found["ferret"]["acceptance"] == 1.0
    assert found["packet_replay"]["sent"] == found["ferret"]["sent"] == 14
    assert found["packet_replay"]["acceptance"] < 0.25


def test_where_nobody_is_the_replay_is_given_up_with_the_reason(call: RecordedFile) -> None:
    result = replayed(call, volte(call), setting(f"sgw={theirs(Role.SGW)}"), t3=0.1, n3=2, patience=0.2)
    assert result.replay.verdict is Verdict.FAILED
    assert "no answer to 2 attempts" in result.replay.recordings[0].abandoned


def test_a_target_that_takes_no_part_in_the_recording_is_refused(
    ims_call: RecordedFile, capture: Callable[[str], Path]
) -> None:
    with pytest.raises(RecordError, match="nothing in the recording is for the SGW"):
        replayed(ims_call, volte(ims_call), read_setting([f"sgw={theirs(Role.SGW)}"], [OURS]))
