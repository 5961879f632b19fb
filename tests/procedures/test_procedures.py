"""Every procedure of the lab's core over real sockets: what the parties are told, and what is left in the NFs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from ferret.records.message import Role
from ferret_core.driver.device import IMS, INTERNET
from ferret_core.ua import EndReason, Established, Held, NotRegistered, Resumed, Ringing
from ferret_core.ua.packets import Datagram

if TYPE_CHECKING:
    from tests.procedures.conftest import Scene

    Play = Callable[[Callable[[Scene], Awaitable[None]]], None]

pytestmark = pytest.mark.sctp
BOB = "sip:bob@remote.example"


def test_a_device_attaches_with_a_default_bearer_and_ciphered_nas(play: Play) -> None:
    async def act(scene: Scene) -> None:
        device = scene.device()
        await device.attach()
        default = device.default_bearer(INTERNET)
        assert default is not None
        assert (default.ebi, default.qci, default.address) == (5, 9, "127.0.141.2")
        assert device.ue.security is not None
        assert (device.ue.security.integrity, device.ue.security.ciphering) == (2, 2)
        await scene.core.until(lambda: scene.bearers() == dict.fromkeys((Role.MME, Role.SGW, Role.PGW), 1))
        assert scene.spoken[Role.HSS] == ["AIA", "ULA"]

    play(act)


def test_a_device_gets_an_ims_pdn_connection(play: Play) -> None:
    async def act(scene: Scene) -> None:
        device = scene.device()
        await device.attach()
        await device.connect_ims()
        default = device.default_bearer(IMS)
        assert default is not None
        assert (default.ebi, default.qci, default.address) == (6, 5, "127.0.142.2")
        assert device.sip is not None
        assert device.sip.agent.configuration.proxy == "127.0.140.21:5060"  # from protocol configuration options

    play(act)


def test_a_device_registers_with_aka_and_leaves(play: Play) -> None:
    async def act(scene: Scene) -> None:
        device = await scene.registered()
        assert device.sip is not None
        assert device.sip.agent.registration.identities[0] == scene.uri()
        await scene.core.until(lambda: "NOTIFY" in scene.spoken[Role.SCSCF])
        assert scene.spoken[Role.SCSCF] == [
            *("MAR", "401 (REGISTER)", "SAR", "200 (REGISTER)", "200 (SUBSCRIBE)", "NOTIFY"),
        ]
        assert scene.core.leftovers()["P-CSCF"] == {"registrations": 1}
        device.sip.deregister()
        assert await device.sip.wait_for(NotRegistered) == NotRegistered(200, "left")
        assert "P-CSCF" not in scene.core.leftovers()
        assert "S-CSCF" not in scene.core.leftovers()

    play(act)


def test_a_call_to_the_remote_party_has_a_dedicated_bearer_before_it_rings(play: Play) -> None:
    async def act(scene: Scene) -> None:
        device = await scene.registered()
        assert device.sip is not None
        name = device.sip.call(BOB)
        await scene.remote.wait_for(Ringing)
        (bearer,) = device.dedicated_bearers()
        assert (bearer.qci, bearer.linked_ebi) == (1, 6)
        assert "AAR" in scene.spoken[Role.PCSCF]
        assert "RAR" in scene.spoken[Role.PCRF]
        assert "Create Bearer Request" in scene.spoken[Role.PGW]
        scene.remote.answer(name)
        media = (await device.sip.wait_for(Established)).media
        assert (media.remote_address, media.codec) == ("127.0.140.90", "AMR-WB/16000")
        assert (await scene.remote.wait_for(Established)).media.remote_address == device.address

    play(act)


def test_voice_goes_over_the_dedicated_bearer_both_ways(play: Play) -> None:
    async def act(scene: Scene) -> None:
        device = await scene.registered()
        assert device.sip is not None
        heard: list[tuple[Datagram, int]] = []
        device.media = lambda datagram, ebi, at: heard.append((datagram, ebi))
        await scene.call(device.sip, scene.remote, BOB)
        (bearer,) = device.dedicated_bearers()
        assert scene.media_socket is not None
        scene.media_socket.send(b"\x80 first", (device.address, 49000))  # before the device has sent any
        await scene.station.until(lambda: bool(heard))
        assert heard.pop() == (Datagram(("127.0.140.90", 49000), (device.address, 49000), b"\x80 first"), bearer.ebi)
        sent = Datagram((device.address, 49000), ("127.0.140.90", 49000), b"\x80" + bytes(50))
        device.send(sent)
        await scene.heard.wait()
        assert scene.media == [(sent.payload, sent.source)]
        scene.media_socket.send(b"\x80 answer", sent.source)
        await scene.station.until(lambda: bool(heard))
        assert heard == [(Datagram(sent.destination, sent.source, b"\x80 answer"), bearer.ebi)]

    play(act)


def test_a_call_from_the_remote_party_rings_once_the_bearer_is_there(play: Play) -> None:
    async def act(scene: Scene) -> None:
        device = await scene.registered()
        assert device.sip is not None
        name = scene.remote.call(scene.uri())
        ringing = await device.sip.wait_for(Ringing)
        assert (ringing.incoming, ringing.peer) == (True, BOB)
        assert [one.qci for one in device.dedicated_bearers()] == [1]
        assert "LIR" in scene.spoken[Role.ICSCF]
        device.sip.answer(name)
        await scene.remote.wait_for(Established)
        await device.sip.wait_for(Established)

    play(act)


@pytest.mark.parametrize("who", ["device", "remote"])
def test_either_party_holds_and_resumes_and_the_bearer_follows(play: Play, who: str) -> None:
    async def act(scene: Scene) -> None:
        device = await scene.registered()
        assert device.sip is not None
        name = await scene.call(device.sip, scene.remote, BOB)
        first, other = (device.sip, scene.remote) if who == "device" else (scene.remote, device.sip)
        first.hold(name)
        await first.wait_for(Held)
        assert (await other.wait_for(Held)).by_peer
        await scene.core.until(lambda: scene.spoken[Role.MME].count("E-RABModifyRequest") == 1)
        first.resume(name)
        await first.wait_for(Resumed)
        assert (await other.wait_for(Resumed)).by_peer
        await scene.core.until(lambda: scene.spoken[Role.MME].count("E-RABModifyRequest") == 2)
        assert scene.spoken[Role.PGW].count("Update Bearer Request") == 2
        assert len(device.dedicated_bearers()) == 1

    play(act)


@pytest.mark.parametrize("who", ["device", "remote"])
def test_either_party_hangs_up_and_the_bearer_is_gone(play: Play, who: str) -> None:
    async def act(scene: Scene) -> None:
        device = await scene.registered()
        assert device.sip is not None
        name = await scene.call(device.sip, scene.remote, BOB)
        (device.sip if who == "device" else scene.remote).hang_up(name)
        reasons = [one.reason for one in await scene.ended(device.sip, scene.remote)]
        expected = [EndReason.HUNG_UP, EndReason.HUNG_UP_BY_PEER]
        assert reasons == (expected if who == "device" else expected[::-1])
        await scene.without_bearers(device)
        assert scene.core.leftovers()["P-CSCF"] == {"registrations": 1}
        assert scene.core.leftovers()["PCRF"] == {"gx_sessions": 2}

    play(act)


def test_a_busy_remote_party_leaves_no_bearer(play: Play) -> None:
    async def act(scene: Scene) -> None:
        device = await scene.registered()
        assert device.sip is not None
        name = device.sip.call(BOB)
        await scene.remote.wait_for(Ringing)
        scene.remote.reject(name)
        (ended,) = await scene.ended(device.sip)
        assert (ended.reason, ended.status) == (EndReason.BUSY, 486)
        await scene.without_bearers(device)

    play(act)


def test_a_device_in_a_call_is_busy_for_others(play: Play) -> None:
    async def act(scene: Scene) -> None:
        one, two = await scene.registered(0), await scene.registered(1)
        assert one.sip is not None
        assert two.sip is not None
        name = await scene.call(one.sip, scene.remote, BOB)
        two.sip.call(scene.uri(0))
        (ended,) = await scene.ended(two.sip)
        assert (ended.reason, ended.status) == (EndReason.BUSY, 486)
        assert list(one.sip.agent.calls) == [name]
        assert len(one.dedicated_bearers()) == 1

    play(act)


@pytest.mark.parametrize("who", ["caller", "called"])
def test_nobody_answers_and_the_bearer_is_gone(play: Play, who: str) -> None:
    async def act(scene: Scene) -> None:
        device = await scene.registered(ringing_seconds=0.2)
        assert device.sip is not None
        if who == "caller":
            device.sip.call(BOB)
        else:
            scene.remote.call(scene.uri())
        for ended in await scene.ended(device.sip, scene.remote):
            assert ended.reason in (EndReason.NO_ANSWER, EndReason.CANCELLED)
            assert ended.status == (487 if who == "caller" else 480)
        await scene.without_bearers(device)

    play(act)


def test_a_caller_gives_up_and_the_bearer_is_gone(play: Play) -> None:
    async def act(scene: Scene) -> None:
        device = await scene.registered()
        assert device.sip is not None
        name = scene.remote.call(scene.uri())
        await device.sip.wait_for(Ringing)
        scene.remote.hang_up(name)
        for ended in await scene.ended(device.sip, scene.remote):
            assert (ended.reason, ended.status) == (EndReason.CANCELLED, 487)
        await scene.without_bearers(device)

    play(act)


def test_two_subscribers_call_each_other(play: Play) -> None:
    async def act(scene: Scene) -> None:
        one, two = await scene.registered(0), await scene.registered(1)
        assert one.sip is not None
        assert two.sip is not None
        name = await scene.call(one.sip, two.sip, scene.uri(1))
        assert [len(device.dedicated_bearers()) for device in (one, two)] == [1, 1]
        two.sip.hang_up(name)
        await scene.ended(one.sip, two.sip)
        await scene.without_bearers(one)
        await scene.without_bearers(two)

    play(act)


def test_an_idle_device_asks_for_service_to_call(play: Play) -> None:
    async def act(scene: Scene) -> None:
        device = await scene.registered()
        assert device.sip is not None
        await device.go_idle()
        assert scene.spoken[Role.SGW][-1] == "Release Access Bearers Response"
        await scene.call(device.sip, scene.remote, BOB)
        assert "Paging" not in scene.spoken[Role.MME]
        assert len(device.dedicated_bearers()) == 1

    play(act)


def test_an_idle_device_is_paged_for_a_call(play: Play) -> None:
    async def act(scene: Scene) -> None:
        device = await scene.registered()
        assert device.sip is not None
        await device.go_idle()
        await scene.call(scene.remote, device.sip, scene.uri())
        assert "Downlink Data Notification" in scene.spoken[Role.SGW]
        assert "Paging" in scene.spoken[Role.MME]
        assert len(device.dedicated_bearers()) == 1

    play(act)


def test_an_idle_device_leaves(play: Play) -> None:
    async def act(scene: Scene) -> None:
        device = scene.device()
        await device.attach()
        await device.go_idle()
        await device.detach()
        await scene.core.until(lambda: not scene.core.leftovers())

    play(act)


def test_calls_to_nobody_are_told(play: Play) -> None:
    async def act(scene: Scene) -> None:
        device = await scene.registered()
        assert device.sip is not None
        for uri, status in (
            (scene.uri(1), 480),
            (f"sip:nobody@{scene.lab.ims_domain}", 404),
        ):
            device.sip.call(uri)
            (ended,) = await scene.ended(device.sip)
            assert (ended.reason in (EndReason.NOT_REACHED, EndReason.NO_ANSWER), ended.status) == (True, status)

    play(act)


def test_after_a_whole_life_nothing_is_left(play: Play) -> None:
    async def act(scene: Scene) -> None:
        await scene.whole_life()

    play(act)
