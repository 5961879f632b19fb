"""Paging, service requests and tracking area updates (TS 23.401 clauses 5.3.3 and 5.3.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ferret.protocols import gtpv2, nas, s1ap
from ferret.protocols.gtpv2 import Cause, MessageType
from ferret.protocols.nas import Direction, SecurityHeader
from ferret.records.message import Interface, Role
from ferret_core.nf import Peer

if TYPE_CHECKING:
    from tests.core.mme.conftest import NewWorld, World

IMSI = "001010000000001"
SGW = Peer(Role.SGW, "192.0.2.3")
TAI, ECGI = nas.Tai("00101", 1), s1ap.Ecgi("00101", 0x201)
M = nas.MessageType


def test_a_bearer_for_an_idle_device_waits_for_it_to_come(attached: NewWorld) -> None:
    world = attached()
    world.release()
    world.create_bearer()
    world.now = 1.0
    paging = world.last("Paging").message
    assert isinstance(paging, s1ap.Message)
    tmsi = paging.ie("UEPagingID")[1]["m-TMSI"]
    message = s1ap.initial_ue_message(
        enb_ue_s1ap_id=5,
        nas_pdu=world.device.protect_service_request(),
        tai=TAI,
        ecgi=ECGI,
        s_tmsi=(1, int.from_bytes(tmsi, "big")),
    )
    world.enb(message)
    assert world.last("InitialContextSetupRequest")
    erab = s1ap.Erab(5, tunnel=s1ap.Tunnel("192.0.2.30", 0x65))
    world.enb(s1ap.initial_context_setup_response(**world.ids, erabs=[erab]))
    world.downlink(world.last("E-RABSetupRequest (Activate dedicated EPS bearer context request)"))
    assert world.mme.deadline() is None


def test_paging_that_nobody_answers_ends_with_a_cause(attached: NewWorld) -> None:
    world = attached(t3413_s=2.0, paging_attempts=2)
    world.release()
    notification = gtpv2.request(MessageType.DOWNLINK_DATA_NOTIFICATION, world.teid)
    world.give(Interface.S11, SGW, notification, 8)
    while (deadline := world.mme.deadline()) is not None:
        world.take(world.mme.wake(deadline))
    assert sum(world.name_of(one) == "Paging" for one in world.sent) == 2
    acknowledgement = "Downlink Data Notification Acknowledgement"
    assert world.answer_cause(acknowledgement) == Cause.UNABLE_TO_PAGE_UE


def test_a_service_request_of_a_stranger_is_rejected(new_world: NewWorld) -> None:
    world = new_world()
    world.set_up()
    message = s1ap.initial_ue_message(
        enb_ue_s1ap_id=5, nas_pdu=bytes.fromhex("c7050102"), tai=TAI, ecgi=ECGI, s_tmsi=(1, 5)
    )
    world.enb(message)
    (octets,) = world.last("DownlinkNASTransport (Service reject)").message.nas_pdus()  # type: ignore[union-attr]
    plain = nas.decode(octets).plain
    assert plain is not None and plain.number("EMM cause") == 9


def update_request(world: World, update_type: int) -> s1ap.Message:
    guti = world.mme.by_imsi[IMSI].guti
    assert guti is not None
    values: dict[str, bytes | int] = {
        "EPS update type": update_type,
        "NAS key set identifier": 0,
        "Old GUTI": guti.encode(),
    }
    plain = nas.build_emm(M.TRACKING_AREA_UPDATE_REQUEST, values)
    octets = world.device.protect(plain.octets, SecurityHeader.INTEGRITY_PROTECTED, Direction.UPLINK)
    return s1ap.initial_ue_message(
        enb_ue_s1ap_id=5, nas_pdu=octets, tai=TAI, ecgi=ECGI, s_tmsi=(guti.mme_code, guti.m_tmsi)
    )


def test_a_periodic_update_is_accepted_and_the_device_left_idle(attached: NewWorld) -> None:
    world = attached()
    world.release()
    world.enb(update_request(world, 3))
    accept = world.downlink(world.last("DownlinkNASTransport (Tracking area update accept)"))
    assert accept.get("EPS bearer context status") == b"\x20\x00"
    world.agree("Release Access Bearers Request")
    assert world.last("UEContextReleaseCommand").message.ie("Cause") == ("nas", "normal-release")  # type: ignore[union-attr]


def test_an_update_with_the_active_flag_brings_the_bearers_back(attached: NewWorld) -> None:
    world = attached()
    world.release()
    world.enb(update_request(world, 8))
    setup = world.last("InitialContextSetupRequest (Tracking area update accept)")
    assert world.downlink(setup).number("EPS update result") == 0
    erab = s1ap.Erab(5, tunnel=s1ap.Tunnel("192.0.2.30", 0x75))
    world.enb(s1ap.initial_context_setup_response(**world.ids, erabs=[erab]))
    assert world.sent[-1].message.bearer_contexts[0].view(gtpv2.FTeid).teid == 0x75  # type: ignore[union-attr]


def test_an_update_of_a_stranger_is_rejected(attached: NewWorld, new_world: NewWorld) -> None:
    world = attached()
    message = update_request(world, 0)
    stranger = new_world()
    stranger.set_up()
    stranger.enb(message)
    assert stranger.last("DownlinkNASTransport (Tracking area update reject)")
