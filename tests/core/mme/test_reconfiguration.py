"""Moving a device's bearers to this MME's gateways (E-RAB Modify, TS 36.413 clause 8.2.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ferret.protocols import gtpv2, nas, s1ap
from ferret.protocols.nas import SecurityHeader

if TYPE_CHECKING:
    from tests.core.mme.conftest import NewWorld, World

IMSI = "001010000000001"
TFT = bytes.fromhex("213000023011")  # creates one filter: UDP, before release 7 both ways
M = nas.MessageType


def move(world: World) -> s1ap.Message:
    world.take(world.mme.reconfigure(IMSI, 1.0))
    message = world.sent[-1].message
    assert isinstance(message, s1ap.Message)
    return message


def test_reconfiguration_carries_the_gateways_tunnel_and_a_nas_message_that_the_device_trusts(
    taken_over: NewWorld,
) -> None:
    world = taken_over()
    message = move(world)
    assert message.name == "E-RABModifyRequest"
    (erab,) = [s1ap.Erab.of(item) for item in message.items(s1ap.IeId.ERAB_TO_BE_MODIFIED_LIST_BEARER_MOD_REQ)]
    assert erab.transport_information == s1ap.Tunnel("192.0.2.6", 0x105)
    plain = world.downlink(world.sent[-1])
    assert (plain.name, plain.ebi) == ("Modify EPS bearer context request", 5)
    world.enb(s1ap.erab_modify_response(**world.ids, ebis=[5]))
    world.uplink(nas.build_esm(M.MODIFY_EPS_BEARER_CONTEXT_ACCEPT, ebi=5, pti=0))
    assert world.noted("reconfigured") == {"imsi": IMSI, "ebis": [5], "nas_protected": True}


def test_reconfiguration_fails_when_the_base_station_refuses(taken_over: NewWorld) -> None:
    world = taken_over()
    move(world)
    failed = s1ap.Erab(5, cause=s1ap.Cause("radioNetwork", "unspecified"))
    world.enb(s1ap.erab_modify_response(**world.ids, failed=[failed]))
    assert "EPS bearer 5" in str(world.noted("reconfiguration_failed")["reason"])


def test_reconfiguration_of_a_stranger_fails_with_a_reason(new_world: NewWorld) -> None:
    world = new_world()
    world.take(world.mme.reconfigure(IMSI, 0.0))
    assert world.noted("reconfiguration_failed")["reason"] == "the subscriber is not known here"


def test_without_keys_nas_goes_in_the_clear_and_a_note_says_so(taken_over: NewWorld) -> None:
    world = taken_over(k_asme="")
    message = move(world)
    (octets,) = message.nas_pdus()
    assert nas.decode(octets).header is SecurityHeader.PLAIN
    assert world.noted("nas_unprotected")["message"] == "Modify EPS bearer context request"
    world.enb(s1ap.erab_modify_response(**world.ids, ebis=[5]))
    world.uplink(nas.build_esm(M.MODIFY_EPS_BEARER_CONTEXT_ACCEPT, ebi=5, pti=0), SecurityHeader.PLAIN)
    assert world.noted("reconfigured")["nas_protected"] is False


def test_a_bearer_that_the_device_has_is_moved_rather_than_set_up(taken_over: NewWorld) -> None:
    world = taken_over(device_has_bearers=True)
    world.create_bearer()
    request = world.last("E-RABModifyRequest (Modify EPS bearer context request)")
    plain = world.downlink(request)
    assert (plain.ebi, (plain.get("TFT") or b"")[0] >> 5) == (6, 4)
    world.enb(s1ap.erab_modify_response(**world.ids, ebis=[6]))
    world.uplink(nas.build_esm(M.MODIFY_EPS_BEARER_CONTEXT_ACCEPT, ebi=6, pti=0))
    answer = world.last("Create Bearer Response").message
    assert isinstance(answer, gtpv2.Message) and gtpv2.accepted(answer)
    assert answer.bearer_contexts[0].view(gtpv2.FTeid) == gtpv2.f_teid(0, 8, "192.0.2.30")
