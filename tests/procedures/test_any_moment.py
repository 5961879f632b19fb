"""A call may end at any moment: after every so many messages of its NFs somebody hangs up, and nothing may be left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from ferret.errors import LocalMisuseError
from ferret_core.driver.device import Device
from ferret_core.driver.user_agent import UserAgentDriver
from ferret_core.nf import Received, Send
from ferret_core.ua import Ended, Ringing
from ferret_core.ua.states import CallState

if TYPE_CHECKING:
    from tests.procedures.conftest import Play, Scene

pytestmark = pytest.mark.sctp
BOB = "sip:bob@remote.example"
MOMENTS = range(1, 76)  # a call is established after some 65 messages
MOMENTS_OF_TWO = range(1, 131, 3)  # between two devices, after some 120
ATTACH_MOMENTS = range(1, 32)  # with the ims PDN connection, an attach takes some 30
S1_MOMENTS = range(3, 66, 9)
HOLD_MOMENTS = range(1, 16)  # a hold takes 17


class Moment:
    """Does something after so many messages that the core's NFs have sent."""

    def __init__(self, scene: Scene) -> None:
        self.left = 0
        self._act: Callable[[], None] = lambda: None
        for nf in scene.core.nfs.values():
            nf.node.tap = self._counting(nf.node.tap)

    def after(self, messages: int, act: Callable[[], None]) -> None:
        self.left, self._act = messages, act

    def _counting(self, told: Callable[[Received | Send], None] | None) -> Callable[[Received | Send], None]:
        def tapped(event: Received | Send) -> None:
            if told is not None:
                told(event)
            if isinstance(event, Send) and self.left:
                self.left -= 1
                if not self.left:
                    asyncio.get_running_loop().call_soon(self._act)

        return tapped


def _is_established(agent: UserAgentDriver) -> bool:
    return any(call.state is CallState.ESTABLISHED for call in agent.agent.calls.values())


def _hang_up(agent: UserAgentDriver, call: str) -> None:
    try:
        agent.hang_up(call)
    except LocalMisuseError:  # it does not know the call yet, or not any more
        return


@pytest.mark.parametrize("who", ["caller", "called"])
@pytest.mark.parametrize("way", ["from the device", "to the device"])
def test_a_call_may_end_at_any_moment(play: Play, way: str, who: str) -> None:
    async def act(scene: Scene) -> None:
        device = await scene.registered()
        assert device.sip is not None
        sip, moment = device.sip, Moment(scene)
        outgoing = way == "from the device"
        caller, called = (sip, scene.remote) if outgoing else (scene.remote, sip)
        called.told = lambda event: called.answer(event.call) if isinstance(event, Ringing) else None
        for messages in MOMENTS:
            call = caller.call(BOB if outgoing else scene.uri())
            moment.after(messages, lambda c=call: _hang_up(caller if who == "caller" else called, c))  # type: ignore[misc]
            await scene.core.until(lambda: not moment.left or _is_established(caller))
            moment.left = 0
            _hang_up(caller, call)
            await caller.wait_for(Ended)
            await _nothing_left(scene, device)
        assert sip.agent.ignored == scene.remote.agent.ignored == 0

    play(act)


@pytest.mark.parametrize("who", ["caller", "called"])
def test_a_call_between_two_devices_may_end_at_any_moment(play: Play, who: str) -> None:
    async def act(scene: Scene) -> None:
        one, other = await scene.registered(0), await scene.registered(1)
        assert one.sip is not None
        assert other.sip is not None
        caller, called, moment = one.sip, other.sip, Moment(scene)
        called.told = lambda event: called.answer(event.call) if isinstance(event, Ringing) else None
        for messages in MOMENTS_OF_TWO:
            call = caller.call(scene.uri(1))
            moment.after(messages, lambda c=call: _hang_up(caller if who == "caller" else called, c))  # type: ignore[misc]
            await scene.core.until(lambda: not moment.left or _is_established(caller))
            moment.left = 0
            _hang_up(caller, call)
            await caller.wait_for(Ended)
            await _nothing_left(scene, one, other)

    play(act)


@pytest.mark.parametrize("way", ["from the device", "to the device"])
def test_s1_may_be_lost_at_any_moment_of_a_call(play: Play, way: str) -> None:
    async def act(scene: Scene) -> None:
        device = await scene.registered()
        assert device.sip is not None
        sip, moment = device.sip, Moment(scene)
        outgoing = way == "from the device"
        caller, called = (sip, scene.remote) if outgoing else (scene.remote, sip)
        called.told = lambda event: called.answer(event.call) if isinstance(event, Ringing) else None
        for messages in S1_MOMENTS:
            call = caller.call(BOB if outgoing else scene.uri())
            moment.after(messages, scene.end_s1)
            await scene.core.until(lambda: not moment.left or _is_established(caller))
            if not moment.left:
                await scene.until_s1()
            moment.left = 0
            _hang_up(caller, call)
            await caller.wait_for(Ended, within=10.0)
            await _nothing_left(scene, device)

    play(act)


def test_s1_may_be_lost_at_any_moment_of_an_attach(play: Play) -> None:
    async def act(scene: Scene) -> None:
        moment = Moment(scene)
        for messages in ATTACH_MOMENTS:
            lost = scene.device()
            moment.after(messages, scene.end_s1)
            attaching = asyncio.ensure_future(_connected(lost))
            await scene.core.until(lambda: not moment.left or attaching.done())  # noqa: B023
            if not moment.left:
                await scene.until_s1()
            moment.left = 0
            attaching.cancel()
            lost.stop()
            device = scene.device()  # the same subscriber, who tries again
            await _connected(device)
            await device.detach()
            await scene.core.until(lambda: not scene.core.leftovers())

    play(act)


async def _connected(device: Device) -> None:
    await device.attach()
    await device.connect_ims()


async def _nothing_left(scene: Scene, *devices: Device) -> None:
    """No call, no bearer, no session of a call anywhere."""
    agents = [scene.remote.agent, *(one.sip.agent for one in devices if one.sip is not None)]
    await scene.core.until(lambda: not any(one.calls for one in agents))
    for device in devices:
        await scene.without_bearers(device)
    await scene.core.until(lambda: scene.core.leftovers()["P-CSCF"] == {"registrations": len(devices)})
    await scene.core.until(lambda: scene.core.leftovers()["PCRF"] == {"gx_sessions": 2 * len(devices)})


@pytest.mark.parametrize("who", ["who holds", "who is held"])
def test_a_call_may_end_at_any_moment_of_a_hold(play: Play, who: str) -> None:
    async def act(scene: Scene) -> None:
        device = await scene.registered()
        assert device.sip is not None
        sip, moment = device.sip, Moment(scene)
        for messages in HOLD_MOMENTS:
            call = await scene.call(sip, scene.remote, BOB)
            ends = sip if who == "who holds" else scene.remote
            moment.after(messages, lambda c=call, e=ends: _hang_up(e, c))  # type: ignore[misc]
            sip.hold(call)
            await sip.wait_for(Ended)
            await _nothing_left(scene, device)

    play(act)
