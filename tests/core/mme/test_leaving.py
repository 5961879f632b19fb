"""Detach, from either side, and an SGW that has lost everything (TS 23.401 clause 5.3.8, TS 23.007)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ferret.protocols import diameter, nas, s1ap
from ferret.protocols.diameter import avp
from ferret.records.message import Interface, Role
from ferret_core.nf import Peer, PeerLost

if TYPE_CHECKING:
    from tests.core.mme.conftest import NewWorld

IMSI = "001010000000001"
SGW, HSS = Peer(Role.SGW, "192.0.2.3"), Peer(Role.HSS)
M = nas.MessageType


def test_a_switched_off_device_is_gone_without_an_accept(attached: NewWorld) -> None:
    world = attached()
    values: dict[str, bytes | int] = {
        "Detach type": 9, "NAS key set identifier": 0, "EPS mobile identity": nas.MobileIdentity(1, IMSI).encode()
    }  # fmt: skip
    world.uplink(nas.build_emm(M.DETACH_REQUEST, values, by_network=False))
    world.agree("Delete Session Request")
    assert not [one for one in world.sent if "Detach accept" in world.name_of(one)]
    world.enb(s1ap.ue_context_release_complete(mme_ue_s1ap_id=1, enb_ue_s1ap_id=5))
    assert not any(world.mme.leftovers().values())


def test_an_sgw_that_has_lost_everything_makes_its_devices_attach_anew(attached: NewWorld) -> None:
    world = attached()
    for event in (PeerLost(Interface.S6A, HSS, "gone"), PeerLost(Interface.S11, Peer(Role.SGW, "192.0.2.77"), "gone")):
        world.take(world.mme.receive(event, world.now))
    assert world.mme.leftovers()["pdn_connections"] == 1
    world.take(world.mme.receive(PeerLost(Interface.S11, SGW, "PeerRestarted"), world.now))
    detach = world.downlink(world.last("DownlinkNASTransport (Detach request)"))
    assert detach.number("Detach type") == 1  # re-attach required
    assert world.mme.leftovers()["pdn_connections"] == 0
    world.uplink(nas.build_emm(M.DETACH_ACCEPT, {}, by_network=False))
    world.enb(s1ap.ue_context_release_complete(**world.ids))
    assert not any(world.mme.leftovers().values())


def test_an_idle_device_whose_sgw_has_lost_everything_is_forgotten(attached: NewWorld) -> None:
    world = attached()
    world.release()
    world.take(world.mme.receive(PeerLost(Interface.S11, SGW, "PeerRestarted"), world.now))
    assert not any(world.mme.leftovers().values())


def test_cancelled_location_detaches_the_device(attached: NewWorld) -> None:
    world = attached()
    request = diameter.request(diameter.Command.CANCEL_LOCATION, diameter.Application.S6A, avp.USER_NAME(IMSI))
    world.give(Interface.S6A, HSS, request, 3)
    assert world.downlink(world.last("DownlinkNASTransport (Detach request)")).type == M.DETACH_REQUEST
    assert world.last("CLA").reply_to == 3
    assert world.last("Delete Session Request")
