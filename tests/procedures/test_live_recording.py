"""Live agents beside the lab's core: what they capture on the wire becomes recordings, and calls replay at the edge."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from ferret.protocols import sip
from ferret.protocols.gtpv2 import PdnType
from ferret.queue import MemoryQueue
from ferret.records.message import Role
from ferret.records.recorder import Capture
from ferret.records.recording import Recording
from ferret.replay.rules import load_rules
from ferret.replay.verdict import RecordingResult, ReplayResult, Verdict
from ferret_core.driver.places import CORE_ROLES, Places
from ferret_deploy.replay_run import ReplayOptions, replay

if TYPE_CHECKING:
    from tests.procedures.conftest import Play, Recorded, RecordLive, Scene

pytestmark = [pytest.mark.sctp, pytest.mark.root, pytest.mark.mqueue]

CARRIAGES: dict[str, dict[str, Any]] = {
    "in datagrams": {},
    "over TCP": {"sip_transport": "TCP"},
    "over TCP where it is long": {"sip_stream_above": 1300},
}
TRANSPORTS = {"in datagrams": {"UDP"}, "over TCP": {"TCP"}, "over TCP where it is long": {"UDP", "TCP"}}


def live_life(play: Play, record_live: RecordLive, **changes: Any) -> Recorded:
    """A device's whole life at the core, with a call either way, as agents recorded it. `changes`: of the lab."""
    results: list[Recorded] = []

    async def act(scene: Scene) -> None:
        async with record_live(scene) as recorded:
            await scene.whole_life()
        results.append(recorded)

    play(act, **changes)
    return results[0]


def replayed(calls: Sequence[Recording], capture: Capture, *, ipv6: str = "") -> ReplayResult:
    """Replay recordings at an edge. `ipv6`: where its CSCFs are."""

    async def run() -> ReplayResult:
        return await replay(list(calls), capture.messages, MemoryQueue(), ReplayOptions(load_rules(None), ipv6=ipv6))

    return asyncio.run(run())


def test_agents_record_a_life_on_the_wire_without_a_hole(play: Play, record_live: RecordLive) -> None:
    recorded = live_life(play, record_live)
    assert all(account.messages == account.queued and not account.dropped for account in recorded.accounts)
    assert {n.role for n in recorded.capture.nodes} == {*CORE_ROLES, Role.UE, Role.ENB, Role.REMOTE}
    services = {recording.service for recording in recorded.capture.recordings}
    assert services >= {"attach", "pdn:internet", "pdn:ims", "registration", "volte"}
    assert [r.id for r in recorded.capture.recordings if r.holes or r.quality < 1] == []


@pytest.mark.parametrize("carriage", ["in datagrams", "over TCP", "over TCP where it is long"])
def test_calls_recorded_live_come_out_the_same_at_the_edge_and_are_moved(
    play: Play, record_live: RecordLive, carriage: str
) -> None:
    """The NAS messages are ciphered: the recorder cannot read them, and the edge's MME can, by the keys of the AIA."""
    capture = live_life(play, record_live, **CARRIAGES[carriage]).capture
    calls = [recording for recording in capture.recordings if recording.service == "volte"]
    assert len(calls) == 2  # from the device, and to it

    result = replayed(calls, capture)
    assert result.verdict is Verdict.SAME, high_risk(result)
    for one in result.recordings:
        assert one.reconfigured
        assert one.nas_protected
        assert _transports_between_members(one) == TRANSPORTS[carriage]
        assert [d for m in one.messages for d in m.differences if "Via" in str(d["parameter"])] == []


def _transports_between_members(result: RecordingResult) -> set[str]:
    """What the edge's P-CSCF and S-CSCF sent each other over, which is what their requests' topmost Via says."""
    found = set()
    for one in result.messages:
        recorded = one.step.message
        between = {recorded.from_nf.role, recorded.to_nf.role} == {Role.PCSCF, Role.SCSCF}
        if between and one.octets and (message := sip.decode(one.octets)).is_request:
            found.add(sip.parse_via(message.first("Via")).transport)
    return found


@pytest.mark.parametrize("edge", ["with IPv4", "with IPv6"])
def test_calls_over_ipv6_recorded_live_come_out_the_same_at_the_edge(
    play: Play, record_live: RecordLive, with_ipv6: Places, edge_prefix: str, edge: str
) -> None:
    recorded = live_life(play, record_live, places=with_ipv6, ims_pdn_type=PdnType.IPV6)
    calls = [recording for recording in recorded.capture.recordings if recording.service == "volte"]
    assert len(calls) == 2
    result = replayed(calls, recorded.capture, ipv6=edge_prefix if edge == "with IPv6" else "")
    assert result.verdict is Verdict.SAME, high_risk(result)
    for one in result.recordings:
        host = "[fd7f:fe77:e7:ed::15]" if edge == "with IPv6" else "127."
        assert any(f"SIP/2.0/UDP {host}".encode() in m.octets for m in one.messages)
        assert one.reconfigured
        assert not any("not probed" in figure for figure in one.user_plane), one.user_plane
        assert any("downlink" in figure for figure in one.user_plane)


def high_risk(result: ReplayResult) -> list[tuple[str, str, object]]:
    """What differs, for whoever reads of a test that failed."""
    return [
        (m.step.message.name, str(m.step.message.interface), d)
        for one in result.recordings
        for m in one.messages
        for d in m.differences
        if d["risk"] == "high"
    ]
