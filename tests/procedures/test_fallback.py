"""Fallback of live calls, whatever happens meanwhile: the call goes on, and afterwards nothing is left anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from ferret.fallback.messages import (
    Answer,
    Answered,
    HoldCall,
    Recalled,
    Reconfigure,
    ReplayRecording,
    ResumeCall,
)
from ferret.fallback.report import FallbackReport
from ferret.fallback.states import State
from ferret.protocols import gtpv2
from ferret.records.message import Interface, Role
from ferret.replay.verdict import RecordingResult, Verdict
from ferret_core.ua import Ended, Established, Held, Resumed, Ringing, UaEvent
from ferret_core.ua.states import CallState
from ferret_deploy.host.followed_replay import FollowedReplay
from ferret_deploy.lab.delay_line import Impairment
from ferret_deploy.lab.live_network import LiveDevice
from ferret_deploy.lab.live_scene import CONFIGS, OTHER_PARTY, PARTY, Account, Scene, live_scene, switched_on, wan_links
from ferret_deploy.lab.places import Places

pytestmark = [pytest.mark.root, pytest.mark.sctp, pytest.mark.mqueue]

WAY = 0.005


class Watched:
    """A live scene, and what FERRET has told in it."""

    def __init__(self) -> None:
        self.scene: Scene
        self.account = Account()
        self.reports: list[FallbackReport] = []
        self.results: list[list[RecordingResult]] = []
        self.when: dict[tuple[type[Answered], bool], Callable[[], object]] = {}
        self.party_events: list[UaEvent] = []
        self._changed = asyncio.Event()

    def told(self, report: FallbackReport, results: list[RecordingResult]) -> None:
        self.reports.append(report)
        self.results.append(list(results))
        self._changed.set()

    def happened(self, command: Answered, answer: Answer | None) -> None:
        """Run what a test wants to happen when a command begins (False) or has been answered (True); once."""
        action = self.when.pop((type(command), answer is not None), None)
        if action is not None:
            action()

    async def report(self, *states: State, subscriber: str = "") -> FallbackReport:
        """The report of a call that has come to one of these states."""
        async with asyncio.timeout(8):
            while True:
                for one in self.reports:
                    if one.state in states and subscriber in ("", one.subscriber):
                        return one
                self._changed.clear()
                await self._changed.wait()

    async def call(self, live: LiveDevice, identity: str = PARTY) -> None:
        """A call that stands: the party answers at once."""
        party = self.scene.party if identity == PARTY else self.scene.other_party

        def told(event: UaEvent) -> None:
            self.party_events.append(event)
            if isinstance(event, Ringing):
                party.answer(event.call)

        party.told = told
        live.call = live.agent().call(identity)
        await live.agent().wait_for(Established)

    async def hang_up(self, live: LiveDevice) -> None:
        live.agent().hang_up(live.call)
        await live.agent().wait_for(Ended)

    async def over(self, live: LiveDevice, *, edge: bool = True) -> None:
        """The call goes on over the core; then it ends, and nothing is left of it: in the `edge` only if it works."""
        assert self.scene.network.uplink(live.imsi) == "core"
        assert live.downlink == "core"
        for agent in (live.agent(), self.scene.party):
            call = agent.agent.calls[live.call]
            assert call.state is CallState.ESTABLISHED
            assert not (call.held or call.held_by_peer)
        await self.hang_up(live)
        await self.cleared(live, edge=edge)

    async def cleared(self, *devices: LiveDevice, edge: bool = True) -> None:
        """Nobody has a call, and only what devices have without one is held."""
        await self.scene.idle()
        await self.scene.core.until(lambda: self._calls_held(*devices) == 0)
        assert not edge or self.scene.edge.leftovers() == {}
        for live in devices:
            assert live.device.dedicated_bearers() == []

    def _calls_held(self, *devices: LiveDevice) -> int:
        held = self.scene.core.leftovers()
        bearers = sum(len(self.scene.network.dedicated_bearers(live.imsi)) for live in devices)
        return bearers + held.get("P-CSCF", {}).get("dialogs", 0) + held.get("PCRF", {}).get("rx_sessions", 0)


@asynccontextmanager
async def watched(places: Places, **options: Any) -> AsyncIterator[Watched]:
    found = Watched()
    scene = live_scene(places, found.account, told=found.told, happened=found.happened, **options)
    async with scene as running:
        found.scene = running
        yield found


def play(scenario: Callable[[Watched], Awaitable[None]], **options: Any) -> Watched:
    """Play a scenario; afterwards every message that an agent has seen is accounted for."""

    async def run(places: Places) -> Watched:
        async with watched(places, **options) as scene:
            await scenario(scene)
        return scene

    with Places.build(CONFIGS, wan_links(Impairment(WAY))) as places:
        found = asyncio.run(run(places))
    assert all(one.messages == one.queued for one in found.account.counters)
    return found


def test_a_call_is_held_replayed_moved_resumed_and_ends_at_the_edge() -> None:

    async def scenario(watch: Watched) -> None:
        live = await watch.scene.device()
        await watch.call(live)
        report = await watch.report(State.AT_EDGE)
        assert watch.results[-1][-1].verdict is Verdict.SAME or watch.results[-1][-1].high_risk == 0
        assert report.compared > 50
        assert watch.scene.network.uplink(live.imsi) == "edge"
        assert live.downlink == "edge"
        call = watch.scene.party.agent.calls[live.call]
        assert not call.held_by_peer
        await watch.hang_up(live)
        await watch.cleared(live)

    watch = play(scenario)
    changes = [event for event in watch.party_events if isinstance(event, (Held, Resumed))]
    assert [type(event) for event in changes] == [Held, Resumed]
    assert [one.state for one in watch.reports] == [State.AT_EDGE, State.DONE]
    assert not watch.reports[-1].failed
    assert watch.reports[-1].left_behind == ()


def test_the_other_party_may_hang_up_through_the_cores_ims() -> None:
    async def scenario(watch: Watched) -> None:
        live = await watch.scene.device()
        await watch.call(live)
        await watch.report(State.AT_EDGE)
        watch.scene.party.hang_up(live.call)
        await live.agent().wait_for(Ended)
        await watch.cleared(live)

    assert [one.state for one in play(scenario).reports] == [State.AT_EDGE, State.DONE]


def test_a_second_call_after_the_return_is_moved_like_the_first() -> None:
    async def scenario(watch: Watched) -> None:
        live = await watch.scene.device()
        for _ in range(3):
            watch.reports.clear()
            await watch.call(live)
            await watch.report(State.AT_EDGE)
            await watch.hang_up(live)
            await watch.report(State.DONE)
            await watch.cleared(live)
            assert not watch.reports[-1].failed

    play(scenario)


def test_an_operator_calls_a_call_back_and_it_goes_on_over_the_core() -> None:
    async def scenario(watch: Watched) -> None:
        live = await watch.scene.device()
        await watch.call(live)
        await watch.report(State.AT_EDGE)
        watch.scene.host.receive(Recalled(live.imsi))
        report = await watch.report(State.ON_CORE)
        assert not report.failed
        await watch.over(live)

    play(scenario)


def test_two_subscribers_are_moved_one_after_the_other_and_both_talk_at_the_edge() -> None:
    async def scenario(watch: Watched) -> None:
        first, second = await watch.scene.device(0), await watch.scene.device(1)
        await asyncio.gather(watch.call(first), watch.call(second, OTHER_PARTY))
        for live in (first, second):
            await watch.report(State.AT_EDGE, subscriber=live.imsi)
        assert all(watch.scene.network.uplink(live.imsi) == "edge" for live in (first, second))
        await watch.hang_up(first)
        await watch.report(State.DONE, subscriber=first.imsi)
        assert watch.scene.network.uplink(second.imsi) == "edge"
        await watch.hang_up(second)
        await watch.cleared(first, second)

    watch = play(scenario)
    assert not any(one.failed for one in watch.reports)


def test_a_call_to_a_busy_party_leaves_nothing_at_the_edge() -> None:
    async def scenario(watch: Watched) -> None:
        live = await watch.scene.device()
        live.call = live.agent().call(PARTY)
        await watch.scene.party.wait_for(Ringing)
        watch.scene.party.reject(live.call)
        await live.agent().wait_for(Ended)
        await watch.cleared(live)

    assert [one.reached_edge for one in play(scenario).reports] in ([], [False])


@pytest.mark.parametrize("who", ["the device", "the party"])
@pytest.mark.parametrize("moment", [HoldCall, ReplayRecording, Reconfigure, ResumeCall])
def test_either_party_may_hang_up_at_any_moment_of_a_fallback(moment: type[Answered], who: str) -> None:
    async def scenario(watch: Watched) -> None:
        live = await watch.scene.device()
        ends = (live.agent(), watch.scene.party) if who == "the device" else (watch.scene.party, live.agent())
        watch.when[moment, False] = lambda: ends[0].hang_up(live.call)
        await watch.call(live)
        await ends[1].wait_for(Ended)
        await watch.cleared(live)
        watch.reports.clear()
        await watch.call(live)
        await watch.report(State.AT_EDGE)
        await watch.hang_up(live)
        await watch.cleared(live)

    assert play(scenario).reports[-1].left_behind == ()


def _refusing(watch: Watched, role: Role, change: Callable[[gtpv2.Message], gtpv2.Message]) -> None:
    """From now on an edge NF makes other GTPv2-C messages than it should."""
    node = watch.scene.edge.nfs[role].node
    make = node.nf.receive

    def receive(event: Any, now: float) -> list[Any]:
        return [
            replace(one, message=change(one.message))
            if isinstance(getattr(one, "message", None), gtpv2.Message)
            else one
            for one in make(event, now)
        ]

    node.nf.receive = receive  # type: ignore[method-assign]


def test_an_edge_nf_that_answers_with_another_cause_keeps_the_call_on_the_core() -> None:
    def refused(message: gtpv2.Message) -> gtpv2.Message:
        if message.type != gtpv2.MessageType.CREATE_SESSION_RESPONSE:
            return message
        octets = message.encode()
        accepted, no_resources = bytes.fromhex("0200020010"), bytes.fromhex("0200020049")
        return gtpv2.decode(octets.replace(accepted, no_resources, 1))

    async def scenario(watch: Watched) -> None:
        _refusing(watch, Role.PGW, refused)
        live = await watch.scene.device()
        await watch.call(live)
        report = await watch.report(State.ON_CORE)
        assert report.failed
        assert not report.reached_edge
        assert "Create Session Response" in report.reason
        await watch.over(live, edge=False)

    play(scenario)


def test_an_edge_nf_that_is_too_slow_keeps_the_call_on_the_core() -> None:
    async def scenario(watch: Watched) -> None:
        node = watch.scene.edge.nfs[Role.SGW].node
        arrived = node.arrived
        loop = asyncio.get_running_loop()
        links: set[Any] = set(node.links.values())
        for link in links:
            link._arrived = lambda event: loop.call_later(0.6, arrived, event)
        live = await watch.scene.device()
        await watch.call(live)
        report = await watch.report(State.ON_CORE)
        assert not report.reached_edge
        for link in links:
            link._arrived = arrived
        await watch.over(live, edge=False)

    play(scenario, services=switched_on(max_fallback_ms=400))


@pytest.mark.parametrize("role", [Role.MME, Role.SGW, Role.PGW, Role.PCRF, Role.PCSCF, Role.SCSCF])
def test_a_call_at_the_edge_goes_on_over_the_core_when_an_edge_nf_dies(role: Role) -> None:
    async def scenario(watch: Watched) -> None:
        live = await watch.scene.device()
        await watch.call(live)
        await watch.report(State.AT_EDGE)
        await watch.scene.edge.nfs[role].stop()
        report = await watch.report(State.ON_CORE)
        assert report.failed
        assert str(role) in report.reason
        assert watch.scene.network.uplink(live.imsi) == "core"
        await watch.scene.restarted(role)
        await watch.hang_up(live)
        await watch.scene.idle()

    play(scenario)


def test_a_dead_edge_leaves_calls_on_the_core_and_takes_them_again_when_it_is_back() -> None:
    async def scenario(watch: Watched) -> None:
        live = await watch.scene.device()
        await watch.scene.edge.nfs[Role.PGW].stop()
        await watch.call(live)
        report = await watch.report(State.ON_CORE)
        assert "PGW" in report.reason
        await watch.over(live)
        await watch.scene.restarted(Role.PGW)
        await watch.scene.host.until_edge_is_there()
        watch.reports.clear()
        await watch.call(live)
        await watch.report(State.AT_EDGE)
        await watch.hang_up(live)
        await watch.scene.idle()

    play(scenario)


def test_a_call_at_the_edge_comes_back_when_the_s1_association_with_the_edge_is_lost() -> None:
    async def scenario(watch: Watched) -> None:
        live = await watch.scene.device()
        await watch.call(live)
        await watch.report(State.AT_EDGE)
        link = watch.scene.edge.nfs[Role.MME].node.links[Interface.S1_MME]
        link.end(watch.scene.core.lab.places.address(Role.ENB))  # type: ignore[attr-defined]
        report = await watch.report(State.ON_CORE)
        assert "S1" in report.reason
        await watch.over(live)

    play(scenario)


def test_a_device_that_refuses_the_edges_nas_count_is_brought_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The base station has moved already when the device finds that the NAS COUNT is not its own."""
    counts = []

    async def prepare(self: FollowedReplay, subscriber: str) -> int:
        counts.append(await unharmed(self, subscriber))
        return counts[0] + 1000 if len(counts) == 1 else counts[-1]

    unharmed = FollowedReplay.prepare
    monkeypatch.setattr(FollowedReplay, "prepare", prepare)

    async def scenario(watch: Watched) -> None:
        live = await watch.scene.device()
        await watch.call(live)
        report = await watch.report(State.ON_CORE)
        assert report.failed
        await watch.over(live)
        watch.reports.clear()
        await watch.call(live)
        await watch.report(State.AT_EDGE)
        await watch.hang_up(live)
        await watch.cleared(live)

    play(scenario)
