"""Further PDN connections (TS 23.401 clause 5.10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ferret.protocols import gtpv2, nas, s1ap

if TYPE_CHECKING:
    from tests.core.mme.conftest import NewWorld

M = nas.MessageType


def test_a_second_pdn_connection_is_known_to_the_gateway_when_base_station_and_device_agree(attached: NewWorld) -> None:
    world = attached()
    values = {"Request type": 1, "PDN type": 1, "Access point name": nas.encode_apn("ims")}
    world.uplink(nas.build_esm(M.PDN_CONNECTIVITY_REQUEST, ebi=0, pti=2, values=values))
    request = world.last("Create Session Request").message
    assert isinstance(request, gtpv2.Message) and request.teid == 0x77
    world.session(6, "10.1.0.5")
    world.downlink(world.last("E-RABSetupRequest (Activate default EPS bearer context request)"))
    modified = sum(world.name_of(one) == "Modify Bearer Request" for one in world.sent)
    world.enb(s1ap.erab_setup_response(**world.ids, erabs=[s1ap.Erab(6, tunnel=s1ap.Tunnel("192.0.2.30", 6))]))
    assert sum(world.name_of(one) == "Modify Bearer Request" for one in world.sent) == modified
    world.uplink(nas.build_esm(M.ACTIVATE_DEFAULT_EPS_BEARER_CONTEXT_ACCEPT, ebi=6, pti=0))
    assert sum(world.name_of(one) == "Modify Bearer Request" for one in world.sent) == modified + 1


def test_an_apn_without_subscription_is_refused(attached: NewWorld) -> None:
    world = attached()
    values = {"Request type": 1, "PDN type": 1, "Access point name": nas.encode_apn("other")}
    world.uplink(nas.build_esm(M.PDN_CONNECTIVITY_REQUEST, ebi=0, pti=2, values=values))
    assert world.downlink(world.last("DownlinkNASTransport (PDN connectivity reject)")).number("ESM cause") == 27


def test_the_last_pdn_connection_is_not_disconnected(attached: NewWorld) -> None:
    world = attached()
    values: dict[str, bytes | int] = {"Linked EPS bearer identity": 5}
    world.uplink(nas.build_esm(M.PDN_DISCONNECT_REQUEST, ebi=0, pti=3, values=values))
    assert world.downlink(world.last("DownlinkNASTransport (PDN disconnect reject)")).number("ESM cause") == 49
