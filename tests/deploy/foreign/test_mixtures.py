"""FERRET's edge NFs around one foreign NF: they speak with it over the wire, and all of them are replayed at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ferret.records.message import Role
from ferret.records.recording import Recording
from ferret.replay.verdict import Verdict
from ferret_agents.pipeline import RecordedFile, record_file
from ferret_deploy.foreign.port import LATE
from ferret_deploy.foreign.run import ForeignResult
from tests.deploy.foreign.running import lone, ours, replayed, setting, theirs

pytestmark = [pytest.mark.mqueue, pytest.mark.timeout(120)]
DATA = Path(__file__).parents[2] / "data"


@pytest.fixture(scope="module")
def call() -> RecordedFile:
    return record_file(DATA / "open5gs-volte.pcap")


@pytest.fixture(scope="module")
def ims_call() -> RecordedFile:
    return record_file(DATA / "kamailio-ims-call.pcap")


def volte(file: RecordedFile) -> list[Recording]:
    return [r for r in file.capture.recordings if r.service == "volte"]


def assert_whole(result: ForeignResult, *, never_made: int = 0) -> None:
    """Every message took place, on both sides of the wire."""
    assert result.acceptance == 1.0
    for recording in result.replay.recordings:
        assert not recording.abandoned
        assert recording.unacknowledged == 0
        assert recording.compared + never_made == sum(m.step.part.expected for m in recording.messages)


def test_a_foreign_sgw_between_our_mme_and_our_pgw(call: RecordedFile) -> None:
    with lone(Role.SGW, waits_for_us=False):
        result = replayed(call, volte(call), setting(f"sgw={theirs(Role.SGW)}"), edge=None)
    assert result.replay.verdict is Verdict.SAME
    assert_whole(result)
    assert result.replay.recordings[0].compared == 55
    assert result.targets[0].sent == 8  # of our edge NFs: there is nobody that would have to be stood in for


def test_a_recording_that_begins_too_late_gets_its_sessions_from_our_mme(call: RecordedFile) -> None:
    """Without edge NFs the target is asked about a session that it does not have, and says so."""
    late = [replace(recording, context=()) for recording in volte(call)]
    with lone(Role.SGW, waits_for_us=False):
        at = setting(f"sgw={theirs(Role.SGW)}")
        alone = replayed(call, late, at)
        together = replayed(call, late, at, edge=None)
    assert alone.acceptance == 0.0
    assert alone.targets[0].events == [LATE]
    assert_whole(together)
    assert any(line.startswith("attach of") for line in together.replay.recordings[0].assumed)
    assert together.targets[0].events == []


@pytest.mark.parametrize(("name", "role"), [("pgw", Role.PGW), ("pcrf", Role.PCRF)])
def test_a_foreign_pgw_or_pcrf_at_the_end_of_our_chain(call: RecordedFile, name: str, role: Role) -> None:
    with lone(role, waits_for_us=role is Role.PGW):
        result = replayed(call, volte(call), setting(f"{name}={theirs(role)}"), edge=None)
    assert_whole(result)


def test_only_some_of_the_others_are_edge_nfs(call: RecordedFile) -> None:
    with lone(Role.SGW, waits_for_us=False):
        result = replayed(call, volte(call), setting(f"sgw={theirs(Role.SGW)}"), edge=frozenset({Role.PGW}))
    assert_whole(result)
    assert result.replay.recordings[0].plan.members == {Role.SGW, Role.PGW}


@pytest.mark.sctp
def test_a_foreign_mme_before_our_sgw(call: RecordedFile) -> None:
    with lone(Role.MME, waits_for_us=True):
        result = replayed(call, volte(call), setting(f"mme={theirs(Role.MME)}"), edge=None)
    assert_whole(result, never_made=1)  # EMM INFORMATION is optional


def test_a_foreign_p_cscf_before_our_s_cscf_for_both_parties(ims_call: RecordedFile) -> None:
    with lone(Role.PCSCF, waits_for_us=True):
        result = replayed(ims_call, volte(ims_call), setting(f"pcscf={theirs(Role.PCSCF)}"), edge=None)
    assert_whole(result)


def test_a_foreign_s_cscf_behind_our_p_cscf_for_the_caller(ims_call: RecordedFile) -> None:
    beside = f"scscf={ours(Role.ICSCF)}:5061"  # see test_foreign_replay
    with lone(Role.SCSCF, waits_for_us=True):
        at = setting(f"scscf={theirs(Role.SCSCF)}", local=[beside])
        result = replayed(ims_call, volte(ims_call)[:1], at, edge=None)
    # the NOTIFY is there, on either side of our P-CSCF, but an S-CSCF numbers its own requests (CSeq)
    assert_whole(result, never_made=2)
    assert {made.name for made in result.replay.recordings[0].added} == {"NOTIFY"}
