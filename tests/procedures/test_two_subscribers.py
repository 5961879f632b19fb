"""Two subscribers of one core at once: in a call with each other, and against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ferret.records.message import Role
from ferret_core.driver.device import Device
from ferret_core.driver.user_agent import UserAgentDriver
from ferret_core.ua import EndReason, Established, Held, Resumed, Ringing
from ferret_core.ua.packets import Datagram

if TYPE_CHECKING:
    from tests.procedures.conftest import Play, Scene

pytestmark = pytest.mark.sctp
BOB = "sip:bob@remote.example"


async def two(scene: Scene) -> tuple[Device, Device, UserAgentDriver, UserAgentDriver]:
    """Two registered devices and their user agents."""
    one, other = await scene.registered(0), await scene.registered(1)
    assert one.sip is not None
    assert other.sip is not None
    return one, other, one.sip, other.sip


async def nothing_left(scene: Scene, *devices: Device) -> None:
    """No call, no dedicated bearer, no session of a call anywhere."""
    await scene.core.until(lambda: not any(one.sip.agent.calls for one in devices if one.sip is not None))
    for one in devices:
        await scene.without_bearers(one)
    await scene.core.until(lambda: scene.core.leftovers()["P-CSCF"] == {"registrations": len(devices)})
    await scene.core.until(lambda: scene.core.leftovers()["PCRF"] == {"gx_sessions": 2 * len(devices)})


def test_voice_goes_between_two_devices_over_the_dedicated_bearers_of_both(play: Play) -> None:
    async def act(scene: Scene) -> None:
        one, other, caller, called = await two(scene)
        heard: dict[str, list[tuple[Datagram, int]]] = {one.address: [], other.address: []}
        for device in (one, other):
            device.media = lambda datagram, ebi, at, own=device.address: heard[own].append((datagram, ebi))
        name = await scene.call(caller, called, scene.uri(1))
        for sender, receiver in ((one, other), (other, one)):
            packet = Datagram((sender.address, 49000), (receiver.address, 49000), b"\x80" + bytes(50))
            sender.send(packet)
            await scene.station.until(lambda at=receiver.address: bool(heard[at]))  # type: ignore[misc]
            (bearer,) = receiver.dedicated_bearers()
            assert heard[receiver.address] == [(packet, bearer.ebi)]
        called.hang_up(name)
        await scene.ended(caller, called)
        await nothing_left(scene, one, other)

    play(act)


def test_each_has_an_rx_session_and_a_bearer_that_follow_a_hold(play: Play) -> None:
    async def act(scene: Scene) -> None:
        one, other, caller, called = await two(scene)
        name = await scene.call(caller, called, scene.uri(1))
        assert scene.core.leftovers()["P-CSCF"] == {"registrations": 2, "dialogs": 2, "rx_sessions": 2}
        called.hold(name)
        await called.wait_for(Held)
        assert (await caller.wait_for(Held)).by_peer
        await scene.core.until(lambda: scene.spoken[Role.MME].count("E-RABModifyRequest") == 2)
        called.resume(name)
        await called.wait_for(Resumed)
        assert (await caller.wait_for(Resumed)).by_peer
        await scene.core.until(lambda: scene.spoken[Role.MME].count("E-RABModifyRequest") == 4)
        caller.hang_up(name)
        await scene.ended(caller, called)
        await nothing_left(scene, one, other)

    play(act)


def test_two_who_call_each_other_at_the_same_time_are_both_busy(play: Play) -> None:
    async def act(scene: Scene) -> None:
        one, other, first, second = await two(scene)
        first.call(scene.uri(1))
        second.call(scene.uri(0))
        for ended in await scene.ended(first, second):
            assert (ended.reason, ended.status) == (EndReason.BUSY, 486)
        await nothing_left(scene, one, other)
        await scene.call(first, second, scene.uri(1))  # and then it works

    play(act)


@pytest.mark.parametrize("who", ["called", "caller"])
def test_a_third_party_that_calls_either_of_them_hears_that_it_is_busy(play: Play, who: str) -> None:
    async def act(scene: Scene) -> None:
        one, other, caller, called = await two(scene)
        name = await scene.call(caller, called, scene.uri(1))
        scene.remote.call(scene.uri(0 if who == "caller" else 1))
        (ended,) = await scene.ended(scene.remote)
        assert (ended.reason, ended.status) == (EndReason.BUSY, 486)
        assert [len(device.dedicated_bearers()) for device in (one, other)] == [1, 1]
        assert list(caller.agent.calls) == list(called.agent.calls) == [name]
        caller.hang_up(name)
        await scene.ended(caller, called)
        await nothing_left(scene, one, other)

    play(act)


def test_a_party_that_is_called_while_it_rings_is_busy_and_may_still_answer(play: Play) -> None:
    async def act(scene: Scene) -> None:
        one, other, caller, called = await two(scene)
        name = caller.call(scene.uri(1))
        await called.wait_for(Ringing)
        scene.remote.call(scene.uri(1))
        (ended,) = await scene.ended(scene.remote)
        assert ended.reason is EndReason.BUSY
        called.answer(name)
        await caller.wait_for(Established)
        assert [len(device.dedicated_bearers()) for device in (one, other)] == [1, 1]

    play(act)
