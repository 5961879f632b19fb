"""SIP over TCP: of a device inside its bearers, between CSCFs, and to the remote party."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from ferret.protocols import sip
from ferret.records.message import Role
from ferret_core.nf import Received, Send
from ferret_core.ua import EndReason, Registered

if TYPE_CHECKING:
    from tests.procedures.conftest import Play, Scene

pytestmark = pytest.mark.sctp
BOB = "sip:bob@remote.example"
RFC_3261 = 1300  # octets (clause 18.1.1)


class Carried:
    """Which transports the requests of the CSCFs took: by method and transport; and how long they were."""

    def __init__(self, scene: Scene) -> None:
        self.requests: Counter[tuple[str, str]] = Counter()
        self.lengths: dict[str, list[int]] = {"UDP": [], "TCP": []}
        for role in (Role.PCSCF, Role.ICSCF, Role.SCSCF):
            scene.core.nfs[role].node.tap = self._tapped

    def _tapped(self, event: Received | Send) -> None:
        message = event.message
        if isinstance(event, Send) and isinstance(message, sip.Message) and message.is_request:
            transport = sip.parse_via(message.first("Via")).transport
            self.requests[message.method, transport] += 1
            if message.method not in ("ACK", "CANCEL"):
                self.lengths[transport].append(len(message.encode()))


def test_a_whole_life_goes_over_tcp(play: Play) -> None:
    async def act(scene: Scene) -> None:
        carried = Carried(scene)
        await scene.whole_life()
        assert {transport for _, transport in carried.requests} == {"TCP"}
        assert {method for method, _ in carried.requests} >= {"REGISTER", "INVITE", "ACK", "PRACK", "UPDATE", "BYE"}

    play(act, sip_transport="TCP")


def test_requests_of_more_than_1300_octets_go_over_tcp_and_others_do_not(play: Play) -> None:
    async def act(scene: Scene) -> None:
        carried = Carried(scene)
        await scene.whole_life()
        assert carried.requests["INVITE", "TCP"] >= 4
        assert carried.requests["BYE", "UDP"]
        assert min(carried.lengths["TCP"]) > RFC_3261

    play(act, sip_stream_above=RFC_3261)


@pytest.mark.parametrize("who", ["caller", "called"])
def test_a_call_that_is_given_up_or_refused_leaves_nothing(play: Play, who: str) -> None:
    async def act(scene: Scene) -> None:
        device = await scene.registered()
        assert device.sip is not None
        name = scene.remote.call(scene.uri())
        await scene.ringing(device.sip)
        if who == "caller":
            scene.remote.hang_up(name)
        else:
            device.sip.reject(name)
        ended = await scene.ended(device.sip, scene.remote)
        assert {one.reason for one in ended} == {EndReason.CANCELLED if who == "caller" else EndReason.BUSY}
        await scene.without_bearers(device)

    play(act, sip_transport="TCP")


def test_a_device_whose_connection_was_lost_registers_over_a_new_one_and_is_reached(play: Play) -> None:
    async def act(scene: Scene) -> None:
        device = await scene.registered()
        assert device.sip is not None
        pcscf = scene.core.nfs[Role.PCSCF].node
        (before,) = pcscf.nf.registrations  # type: ignore[attr-defined]
        scene.drop_connections(device)
        await device.sip.wait_for(Registered)
        (after,) = pcscf.nf.registrations  # type: ignore[attr-defined]
        assert before != after
        name = await scene.call(scene.remote, device.sip, scene.uri())
        device.sip.hang_up(name)
        await scene.ended(device.sip, scene.remote)
        await scene.without_bearers(device)

    play(act, sip_transport="TCP")


def test_a_device_whose_connection_is_gone_for_good_is_not_reached(play: Play) -> None:
    async def act(scene: Scene) -> None:
        device = await scene.registered()
        assert device.sip is not None
        device.stop()  # it is switched off without a word
        scene.drop_connections(device)
        scene.remote.call(scene.uri())
        (ended,) = await scene.ended(scene.remote)
        assert (ended.reason, ended.status) == (EndReason.NO_ANSWER, 480)
        assert "430 (INVITE)" in scene.spoken[Role.PCSCF]
        assert scene.core.leftovers()["P-CSCF"] == {"registrations": 1}

    play(act, sip_transport="TCP")


def test_two_subscribers_call_each_other_over_tcp(play: Play) -> None:
    async def act(scene: Scene) -> None:
        one, two = await scene.registered(0), await scene.registered(1)
        assert one.sip is not None
        assert two.sip is not None
        name = await scene.call(one.sip, two.sip, scene.uri(1))
        two.sip.hang_up(name)
        await scene.ended(one.sip, two.sip)
        await scene.without_bearers(one)

    play(act, sip_transport="TCP")
