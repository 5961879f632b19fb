"""Calls whose INVITE has no offer: the bearer is authorised by the offer in 183 and the answer in PRACK."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ferret.records.message import Role
from ferret_core.ua import Established, Ringing

if TYPE_CHECKING:
    from tests.procedures.conftest import Play, Scene

pytestmark = pytest.mark.sctp
BOB = "sip:bob@remote.example"


@pytest.mark.parametrize("who", ["device", "remote"])
def test_the_called_party_offers_and_has_its_bearer_before_it_rings(play: Play, who: str) -> None:
    async def act(scene: Scene) -> None:
        device = await scene.registered()
        assert device.sip is not None
        calls = who == "device"
        caller, called = (device.sip, scene.remote) if calls else (scene.remote, device.sip)
        name = caller.call(BOB if calls else scene.uri(), offers=False)
        await called.wait_for(Ringing)
        assert [one.qci for one in device.dedicated_bearers()] == [1]
        assert "AAR" in scene.spoken[Role.PCSCF]
        called.answer(name)
        media = [(await one.wait_for(Established)).media for one in (device.sip, scene.remote)]
        assert [one.remote_address for one in media] == ["127.0.140.90", device.address]
        caller.hang_up(name)
        await scene.ended(device.sip, scene.remote)
        await scene.without_bearers(device)
        assert scene.core.leftovers()["P-CSCF"] == {"registrations": 1}

    play(act)


def test_two_subscribers_reserve_both_their_bearers(play: Play) -> None:
    async def act(scene: Scene) -> None:
        one, two = await scene.registered(0), await scene.registered(1)
        assert one.sip is not None
        assert two.sip is not None
        name = one.sip.call(scene.uri(1), offers=False)
        await two.sip.wait_for(Ringing)
        assert [len(device.dedicated_bearers()) for device in (one, two)] == [1, 1]
        two.sip.answer(name)
        await one.sip.wait_for(Established)
        two.sip.hang_up(name)
        await scene.ended(one.sip, two.sip)
        await scene.without_bearers(one)

    play(act)
