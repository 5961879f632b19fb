"""What the core does when its own links are lost: S1 in a call, Diameter before one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from ferret.records.message import Role
from ferret_core.driver.links.diameter_link import DiameterLink
from ferret_core.ua import Ended, Registered
from ferret_core.ua.packets import Datagram

if TYPE_CHECKING:
    from tests.procedures.conftest import Play, Scene

pytestmark = pytest.mark.sctp
BOB = "sip:bob@remote.example"
TC = 0.05  # seconds


def test_a_call_outlives_a_lost_s1_association(play: Play) -> None:
    async def act(scene: Scene) -> None:
        device = await scene.registered()
        assert device.sip is not None
        name = await scene.call(device.sip, scene.remote, BOB)
        (bearer,) = device.dedicated_bearers()
        await scene.lose_s1()
        assert not any(map(device.has_radio, device.ue.esm.bearers))  # it is idle (TS 36.413 clause 8.7.3)
        assert scene.spoken[Role.SGW][-1] == "Release Access Bearers Response"
        device.send(Datagram((device.address, 49000), ("127.0.140.90", 49000), b"\x80" + bytes(50)))
        await scene.heard.wait()  # it asked for service, with all its bearers
        assert device.has_radio(bearer.ebi)
        assert [one.ebi for one in device.dedicated_bearers()] == [bearer.ebi]
        scene.remote.hang_up(name)
        await scene.ended(device.sip, scene.remote)
        await scene.without_bearers(device)

    play(act)


def test_a_call_to_a_device_whose_s1_was_lost_is_paged_once_s1_is_back(play: Play) -> None:
    async def act(scene: Scene) -> None:
        device = await scene.registered()
        assert device.sip is not None
        await scene.core.until(lambda: "200 (NOTIFY)" in scene.spoken[Role.PCSCF])  # it has nothing more to send
        await scene.lose_s1()
        await scene.call(scene.remote, device.sip, scene.uri())
        assert "Paging" in scene.spoken[Role.MME]
        assert len(device.dedicated_bearers()) == 1

    play(act)


@pytest.mark.parametrize("who", ["device", "remote"])
def test_either_may_hang_up_while_s1_is_lost(play: Play, who: str) -> None:
    async def act(scene: Scene) -> None:
        device = await scene.registered()
        assert device.sip is not None
        name = await scene.call(device.sip, scene.remote, BOB)
        scene.end_s1()
        (device.sip if who == "device" else scene.remote).hang_up(name)
        await scene.until_s1()
        for one in (device.sip, scene.remote):
            await one.wait_for(Ended, within=10.0)
        await scene.without_bearers(device)
        assert scene.core.leftovers()["P-CSCF"] == {"registrations": 1}

    play(act)


def test_without_s1_nobody_attaches_and_afterwards_everybody_does(play: Play) -> None:
    async def act(scene: Scene) -> None:
        await scene.lose_s1()
        device = await scene.registered()
        await device.detach()
        await scene.core.until(lambda: not any(kinds.get("ues") for kinds in scene.core.leftovers().values()))

    play(act)


@pytest.mark.parametrize("role", [Role.MME, Role.ICSCF, Role.SCSCF, Role.PGW, Role.PCSCF])
def test_a_lost_diameter_connection_is_opened_again_and_the_next_call_works(play: Play, role: Role) -> None:
    async def act(scene: Scene) -> None:
        link = next(one for one in scene.core.nfs[role].node.links.values() if isinstance(one, DiameterLink))
        back: asyncio.Future[Role] = asyncio.get_running_loop().create_future()
        link.connected = back.set_result
        scene.lose_diameter(role)
        assert await asyncio.wait_for(back, 5) in (Role.HSS, Role.PCRF)
        device = await scene.registered()
        assert device.sip is not None
        name = await scene.call(device.sip, scene.remote, BOB)
        assert len(device.dedicated_bearers()) == 1
        device.sip.hang_up(name)
        await scene.ended(device.sip, scene.remote)
        await scene.without_bearers(device)

    play(act, diameter_tc=TC)


def test_a_call_whose_rx_is_lost_goes_on_and_the_next_one_has_its_bearer_again(play: Play) -> None:
    async def act(scene: Scene) -> None:
        device = await scene.registered()
        assert device.sip is not None
        name = await scene.call(device.sip, scene.remote, BOB)
        link = next(one for one in scene.core.nfs[Role.PCSCF].node.links.values() if isinstance(one, DiameterLink))
        back: asyncio.Future[Role] = asyncio.get_running_loop().create_future()
        link.connected = back.set_result
        scene.lose_diameter(Role.PCSCF)
        await asyncio.wait_for(back, 5)
        device.sip.hang_up(name)
        await scene.ended(device.sip, scene.remote)
        await scene.without_bearers(device)
        device.sip.register()
        await device.sip.wait_for(Registered)
        await scene.call(scene.remote, device.sip, scene.uri())
        assert len(device.dedicated_bearers()) == 1

    play(act, diameter_tc=TC)
