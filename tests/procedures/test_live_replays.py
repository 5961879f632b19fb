"""Calls of many kinds, recorded live beside the lab's core and replayed at the edge: all come out the same."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from ferret.protocols.gtpv2 import PdnType
from ferret.queue import MemoryQueue
from ferret.replay.rules import load_rules
from ferret.replay.verdict import ReplayResult, Verdict
from ferret_core.driver.places import Places
from ferret_core.ua import Established, Held, Resumed
from ferret_deploy.replay_run import ReplayOptions, replay

if TYPE_CHECKING:
    from tests.procedures.conftest import Play, RecordLive, Scene

pytestmark = [pytest.mark.sctp, pytest.mark.root, pytest.mark.mqueue]
BOB = "sip:bob@remote.example"


async def whole_life(scene: Scene) -> None:
    await scene.whole_life()


async def without_an_offer(scene: Scene) -> None:
    """A call either way whose INVITE has no offer."""
    device = await scene.registered()
    assert device.sip is not None
    for caller, called, uri in ((device.sip, scene.remote, BOB), (scene.remote, device.sip, scene.uri())):
        name = caller.call(uri, offers=False)
        await scene.ringing(called)
        called.answer(name)
        await caller.wait_for(Established)
        await called.wait_for(Established)
        called.hang_up(name)
        await scene.ended(caller, called)
        await scene.without_bearers(device)


async def between_two(scene: Scene) -> None:
    """Two subscribers of the core call each other, hold, resume and hang up."""
    one, other = await scene.registered(0), await scene.registered(1)
    assert one.sip is not None
    assert other.sip is not None
    name = await scene.call(one.sip, other.sip, scene.uri(1))
    one.sip.hold(name)
    await other.sip.wait_for(Held)
    await one.sip.wait_for(Held)
    one.sip.resume(name)
    await other.sip.wait_for(Resumed)
    await one.sip.wait_for(Resumed)
    other.sip.hang_up(name)
    await scene.ended(one.sip, other.sip)
    await scene.without_bearers(one)
    await scene.without_bearers(other)


IPV6: dict[str, Any] = {"ims_pdn_type": PdnType.IPV6}
DUAL: dict[str, Any] = {"ims_pdn_type": PdnType.IPV4V6}
TCP: dict[str, Any] = {"sip_transport": "TCP"}


@pytest.mark.parametrize(
    ("act", "changes"),
    [
        (without_an_offer, {}),
        (between_two, {}),
        (between_two, TCP),
        (between_two, IPV6),
        (whole_life, DUAL | TCP),
    ],
    ids=["without an offer", "between two", "between two over TCP", "between two over IPv6", "with both and TCP"],
)
def test_calls_recorded_live_come_out_the_same(
    play: Play, record_live: RecordLive, with_ipv6: Places, act: Callable[[Scene], Awaitable[None]], changes: Any
) -> None:
    places = {"places": with_ipv6} if "ims_pdn_type" in changes else {}
    recorded: list[Any] = []

    async def recording(scene: Scene) -> None:
        async with record_live(scene) as one:
            await act(scene)
        recorded.append(one)

    play(recording, **places, **changes)
    capture = recorded[0].capture
    calls = [one for one in capture.recordings if one.service == "volte"]
    assert len(calls) == 2
    result = replayed(calls, capture.messages)
    assert result.verdict is Verdict.SAME, high_risk(result)
    for one in result.recordings:
        assert one.reconfigured
        assert one.not_reconfigured == ""
        assert one.nas_protected


def replayed(calls: Sequence[Any], messages: Sequence[Any]) -> ReplayResult:
    """Replay recordings at an edge."""

    async def run() -> ReplayResult:
        return await replay(list(calls), list(messages), MemoryQueue(), ReplayOptions(load_rules(None)))

    return asyncio.run(run())


def high_risk(result: ReplayResult) -> list[tuple[str, str, object]]:
    """What differs, for whoever reads of a test that failed."""
    return [
        (m.step.message.name, str(m.step.message.interface), d)
        for one in result.recordings
        for m in one.messages
        for d in m.differences
        if d["risk"] == "high"
    ]
