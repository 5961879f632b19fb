"""Dedicated bearers (TS 23.401 clause 5.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ferret.errors import PeerViolationError
from ferret.protocols import gtpv2, nas, s1ap
from ferret.protocols.gtpv2 import Cause, MessageType
from ferret.records.message import Interface, Role
from ferret_core.nf import Peer

if TYPE_CHECKING:
    from tests.core.mme.conftest import NewWorld, World

IMSI = "001010000000001"
SGW = Peer(Role.SGW, "192.0.2.3")
TFT = bytes.fromhex("213000023011")  # creates one filter: UDP, before release 7 both ways
M = nas.MessageType


def test_a_dedicated_bearer_is_answered_when_base_station_and_device_agree(attached: NewWorld) -> None:
    world = attached()
    world.create_bearer()
    plain = world.downlink(world.last("E-RABSetupRequest (Activate dedicated EPS bearer context request)"))
    assert (plain.ebi, plain.number("Linked EPS bearer identity"), plain.get("TFT")) == (6, 5, TFT)
    world.activated()
    answer = world.last("Create Bearer Response")
    assert (answer.reply_to, world.answer_cause("Create Bearer Response")) == (9, Cause.REQUEST_ACCEPTED)


def test_the_devices_answer_may_come_before_the_base_stations(attached: NewWorld) -> None:
    world = attached()
    world.create_bearer()
    world.downlink(world.last("E-RABSetupRequest (Activate dedicated EPS bearer context request)"))
    world.uplink(nas.build_esm(M.ACTIVATE_DEDICATED_EPS_BEARER_CONTEXT_ACCEPT, ebi=6, pti=0))
    world.enb(s1ap.erab_setup_response(**world.ids, erabs=[s1ap.Erab(6, tunnel=s1ap.Tunnel("192.0.2.30", 6))]))
    assert world.answer_cause("Create Bearer Response") == Cause.REQUEST_ACCEPTED


def test_a_base_station_that_refuses_a_bearer_is_no_silence_towards_the_gateway(attached: NewWorld) -> None:
    world = attached()
    world.create_bearer()
    failed = s1ap.Erab(6, cause=s1ap.Cause("radioNetwork", "radio-resources-not-available"))
    world.enb(s1ap.erab_setup_response(**world.ids, failed=[failed]))
    assert world.answer_cause("Create Bearer Response") == Cause.NO_RESOURCES_AVAILABLE
    assert 6 not in world.mme.by_imsi[IMSI].bearers


def test_a_device_that_refuses_a_bearer_is_told_to_the_gateway_by_its_reason(attached: NewWorld) -> None:
    world = attached()
    world.create_bearer()
    world.downlink(world.last("E-RABSetupRequest (Activate dedicated EPS bearer context request)"))
    world.enb(s1ap.erab_setup_response(**world.ids, erabs=[s1ap.Erab(6, tunnel=s1ap.Tunnel("192.0.2.30", 6))]))
    refused = nas.build_esm(M.ACTIVATE_DEDICATED_EPS_BEARER_CONTEXT_REJECT, ebi=6, pti=0, values={"ESM cause": 44})
    world.uplink(refused)
    assert world.answer_cause("Create Bearer Response") == Cause.SEMANTIC_ERRORS_IN_PACKET_FILTERS


def test_an_unknown_bearer_is_context_not_found(attached: NewWorld) -> None:
    world = attached()
    context = gtpv2.bearer_context(gtpv2.BearerQos(1, 2), ebi=9)
    world.give(Interface.S11, SGW, gtpv2.request(MessageType.UPDATE_BEARER_REQUEST, world.teid, context), 4)
    assert world.answer_cause("Update Bearer Response") == Cause.CONTEXT_NOT_FOUND


def test_an_answer_for_a_bearer_that_nobody_asked_for_is_a_violation(attached: NewWorld) -> None:
    world = attached()
    with pytest.raises(PeerViolationError):
        world.enb(s1ap.erab_setup_response(**world.ids, erabs=[s1ap.Erab(7, tunnel=s1ap.Tunnel("192.0.2.30", 6))]))


def test_deleting_the_default_bearer_deletes_the_connection(attached: NewWorld) -> None:
    world = attached()
    world.give(Interface.S11, SGW, gtpv2.request(MessageType.DELETE_BEARER_REQUEST, world.teid, gtpv2.Ebi(5)), 4)
    world.downlink(world.last("E-RABReleaseCommand (Deactivate EPS bearer context request)"))
    world.enb(s1ap.erab_release_response(**world.ids, ebis=[5]))
    world.uplink(nas.build_esm(M.DEACTIVATE_EPS_BEARER_CONTEXT_ACCEPT, ebi=5, pti=0))
    assert world.answer_cause("Delete Bearer Response") == Cause.REQUEST_ACCEPTED
    assert world.mme.leftovers()["pdn_connections"] == 0


def _deleted(world: World) -> World:
    """With a bearer that the gateway has deleted; neither base station nor device has answered."""
    world.create_bearer()
    world.downlink(world.last("E-RABSetupRequest (Activate dedicated EPS bearer context request)"))
    world.activated()
    request = gtpv2.request(MessageType.DELETE_BEARER_REQUEST, world.teid, gtpv2.Ebi(6).ie(1))
    world.give(Interface.S11, SGW, request, 4)
    world.downlink(world.last("E-RABReleaseCommand (Deactivate EPS bearer context request)"))
    return world


def _deleting(attached: NewWorld) -> World:
    """A bearer that the gateway has deleted, and the base station released; the device does not answer."""
    world = _deleted(attached(esm_timer_s=8.0))
    world.enb(s1ap.erab_release_response(**world.ids, ebis=[6]))
    return world


def test_a_device_that_does_not_answer_is_told_again_that_its_bearer_goes(attached: NewWorld) -> None:
    world = _deleting(attached)
    assert world.mme.deadline() == pytest.approx(world.mme.now + 8.0)
    world.take(world.mme.wake(world.mme.now + 8.0))
    plain = world.downlink(world.last("DownlinkNASTransport (Deactivate EPS bearer context request)"))
    assert plain.ebi == 6
    world.uplink(nas.build_esm(M.DEACTIVATE_EPS_BEARER_CONTEXT_ACCEPT, ebi=6, pti=0))
    assert world.answer_cause("Delete Bearer Response") == Cause.REQUEST_ACCEPTED
    assert world.mme.deadline() is None


def test_after_the_fifth_time_a_bearer_goes_without_the_device(attached: NewWorld) -> None:
    world = _deleting(attached)
    while (deadline := world.mme.deadline()) is not None:
        world.take(world.mme.wake(deadline))
    told = sum(world.name_of(one).startswith("DownlinkNASTransport (Deactivate") for one in world.sent)
    assert told == 4
    assert world.answer_cause("Delete Bearer Response") == Cause.REQUEST_ACCEPTED
    assert 6 not in world.mme.by_imsi[IMSI].bearers


def test_what_the_base_station_does_not_have_is_gone_at_the_device_too(attached: NewWorld) -> None:
    world = _deleted(attached())
    unknown = s1ap.Erab(6, cause=s1ap.Cause("radioNetwork", "unknown-E-RAB-ID"))
    world.enb(s1ap.erab_release_response(**world.ids, failed=[unknown]))
    assert world.answer_cause("Delete Bearer Response") == Cause.REQUEST_ACCEPTED
    world.uplink(nas.build_esm(M.DEACTIVATE_EPS_BEARER_CONTEXT_ACCEPT, ebi=6, pti=0))  # late, and no violation
