"""The MME's procedures one by one, with a device, an HSS and an SGW played by the test."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

import pytest

from ferret.errors import ConfigError, PeerViolationError
from ferret.protocols import diameter, gtpv2, nas, s1ap
from ferret.protocols.diameter import avp
from ferret.protocols.gtpv2 import Cause, InterfaceType, MessageType
from ferret.protocols.gtpv2.constants import IeType
from ferret.protocols.nas import Direction, SecurityHeader
from ferret.records.message import Interface, Role
from ferret_core.mme import Mme
from ferret_core.nf import Failed, Note, Output, Peer, PeerLost, Received, Send

IMSI = "001010000000001"
ENB, SGW, HSS = Peer(Role.ENB, "192.0.2.30"), Peer(Role.SGW, "192.0.2.3"), Peer(Role.HSS)
TAI, ECGI = nas.Tai("00101", 1), s1ap.Ecgi("00101", 0x201)
K_ASME, RAND, XRES, AUTN = bytes(range(32)), b"\x11" * 16, b"\x22" * 8, b"\x33" * 16
TFT = bytes.fromhex("213000023011")  # creates one filter: UDP, before release 7 both ways
M = nas.MessageType


class World:
    """An MME and everybody around it."""

    def __init__(self, **configuration: object) -> None:
        self.mme = Mme(address="192.0.2.2", random=Random(1))
        self.mme.import_context({"pgw_address": "192.0.2.4", **configuration}, 0.0)
        self.device = nas.NasSecurityContext(K_ASME, 2, 0)
        self.sent: list[Send] = []
        self.notes: list[Note] = []
        self.now = 0.0

    def take(self, outputs: Any) -> None:
        self.notes += [one for one in outputs if isinstance(one, Note)]
        self.sent += [one for one in outputs if isinstance(one, Send)]

    def give(self, interface: Interface, peer: Peer, message: Any, transaction: int = 0) -> None:
        self.take(self.mme.receive(Received(interface, peer, message, transaction), self.now))

    def enb(self, message: s1ap.Message) -> None:
        self.give(Interface.S1_MME, ENB, s1ap.decode(message.octets))

    def last(self, name: str) -> Send:
        """The last message of this name that the MME has sent."""
        for one in reversed(self.sent):
            if names(one) == name:
                return one
        raise AssertionError(f"no {name} among {[names(one) for one in self.sent]}")

    def noted(self, event: str) -> Mapping[str, object]:
        return next(one.fields for one in reversed(self.notes) if one.event == event)

    @property
    def ids(self) -> dict[str, int]:
        ue = self.mme.by_imsi[IMSI]
        return {"mme_ue_s1ap_id": ue.mme_ue_s1ap_id, "enb_ue_s1ap_id": 5}

    def uplink(self, plain: nas.Plain, header: SecurityHeader | None = None) -> None:
        """A NAS message of the device, protected as it should be."""
        header = SecurityHeader.INTEGRITY_PROTECTED_AND_CIPHERED if header is None else header
        octets = plain.octets
        if header is not SecurityHeader.PLAIN:
            octets = self.device.protect(octets, header, Direction.UPLINK)
        ids = {"mme_ue_s1ap_id": next(iter(self.mme.by_s1ap_id)), "enb_ue_s1ap_id": 5}
        self.enb(s1ap.uplink_nas_transport(**ids, nas_pdu=octets, ecgi=ECGI, tai=TAI))

    def downlink(self, send: Send) -> nas.Plain:
        """The one NAS message in what the MME has sent, verified as a device verifies it."""
        (octets,) = send.message.nas_pdus()  # type: ignore[union-attr]
        plain, verified = nas.verify(octets, self.device, Direction.DOWNLINK)
        assert verified and plain is not None
        return plain

    # steps of an attach

    def set_up(self) -> None:
        self.enb(s1ap.s1_setup_request(plmn="00101", enb_id=1, name="enb", supported_tas=[(1, ["00101"])]))

    def attach_request(self) -> None:
        inner = nas.build_esm(M.PDN_CONNECTIVITY_REQUEST, ebi=0, pti=1, values={"Request type": 1, "PDN type": 1})
        values: dict[str, bytes | int] = {
            "EPS attach type": 1,
            "NAS key set identifier": 7,
            "EPS mobile identity": nas.MobileIdentity(1, IMSI).encode(),
            "UE network capability": b"\xe0\xe0",
            "ESM message container": inner.octets,
        }
        octets = nas.build_emm(M.ATTACH_REQUEST, values).octets
        self.enb(s1ap.initial_ue_message(enb_ue_s1ap_id=5, nas_pdu=octets, tai=TAI, ecgi=ECGI))

    def vector(self) -> None:
        asked = self.last("AIR")
        vector = avp.E_UTRAN_VECTOR(avp.RAND(RAND), avp.XRES(XRES), avp.AUTN(AUTN), avp.KASME(K_ASME))
        answer = diameter.answer(asked.message, avp.AUTHENTICATION_INFO(vector), avp.RESULT_CODE(2001))
        self.give(Interface.S6A, HSS, answer, asked.token)

    def secure(self) -> None:
        self.set_up()
        self.attach_request()
        self.vector()
        response = nas.build_emm(M.AUTHENTICATION_RESPONSE, {"Authentication response parameter": XRES})
        self.uplink(response, SecurityHeader.PLAIN)
        self.downlink(self.last("DownlinkNASTransport (Security mode command)"))
        complete = nas.build_emm(M.SECURITY_MODE_COMPLETE, {})
        self.uplink(complete, SecurityHeader.INTEGRITY_PROTECTED_AND_CIPHERED_NEW_CONTEXT)

    def subscription(self, named: tuple[str, ...] = ("internet", "ims")) -> None:
        asked = self.last("ULR")
        qos = avp.EPS_SUBSCRIBED_QOS_PROFILE(
            avp.QOS_CLASS_IDENTIFIER(9), avp.ALLOCATION_RETENTION_PRIORITY(avp.PRIORITY_LEVEL(8))
        )
        rates = avp.AMBR(avp.MAX_REQUESTED_BANDWIDTH_UL(50_000_000), avp.MAX_REQUESTED_BANDWIDTH_DL(100_000_000))
        apns = [
            avp.APN_CONFIGURATION(
                avp.CONTEXT_IDENTIFIER(number), avp.PDN_TYPE(0), avp.SERVICE_SELECTION(apn), qos, rates
            )
            for number, apn in enumerate(named, 1)
        ]
        profile = avp.APN_CONFIGURATION_PROFILE(avp.CONTEXT_IDENTIFIER(1), *apns)
        data = avp.SUBSCRIPTION_DATA(rates, profile)
        self.give(Interface.S6A, HSS, diameter.answer(asked.message, data, avp.RESULT_CODE(2001)), asked.token)

    def session(self, ebi: int = 5, address: str = "10.0.0.5", cause: Cause = Cause.REQUEST_ACCEPTED) -> None:
        asked = self.last("Create Session Request")
        tunnel = gtpv2.f_teid(InterfaceType.S1_U_SGW_GTP_U, 0x100 + ebi, "192.0.2.6")
        context = gtpv2.bearer_context(tunnel, gtpv2.CauseIe(Cause.REQUEST_ACCEPTED), ebi=ebi)
        parts = (
            gtpv2.CauseIe(cause),
            gtpv2.f_teid(InterfaceType.S11_SGW_GTP_C, 0x77, "192.0.2.3"),
            gtpv2.Paa(1, address),
            context,
        )
        answer = gtpv2.answer(asked.message, self.teid, *(parts if cause == Cause.REQUEST_ACCEPTED else parts[:1]))
        self.give(Interface.S11, SGW, answer, asked.token)

    @property
    def teid(self) -> int:
        return self.mme.by_imsi[IMSI].mme_s11_teid

    def accept(self) -> None:
        self.downlink(self.last("InitialContextSetupRequest (Attach accept)"))
        erab = s1ap.Erab(5, tunnel=s1ap.Tunnel("192.0.2.30", 0x55))
        self.enb(s1ap.initial_context_setup_response(**self.ids, erabs=[erab]))
        inner = nas.build_esm(M.ACTIVATE_DEFAULT_EPS_BEARER_CONTEXT_ACCEPT, ebi=5, pti=0)
        self.uplink(nas.build_emm(M.ATTACH_COMPLETE, {"ESM message container": inner.octets}))
        self.agree("Modify Bearer Request")

    def agree(self, name: str, *parts: gtpv2.Part) -> None:
        asked = self.last(name)
        answer = gtpv2.answer(asked.message, self.teid, gtpv2.CauseIe(Cause.REQUEST_ACCEPTED), *parts)
        self.give(Interface.S11, SGW, answer, asked.token)

    def create_bearer(self, transaction: int = 9) -> None:
        context = gtpv2.bearer_context(
            gtpv2.Ie(IeType.BEARER_TFT, 0, TFT),
            gtpv2.f_teid(InterfaceType.S1_U_SGW_GTP_U, 0x200, "192.0.2.6"),
            gtpv2.BearerQos(1, 2, 1, 0, 64, 64, 64, 64),
            ebi=0,
        )
        request = gtpv2.request(MessageType.CREATE_BEARER_REQUEST, self.teid, gtpv2.Ebi(5), context)
        self.give(Interface.S11, SGW, request, transaction)

    def activated(self) -> None:
        self.enb(s1ap.erab_setup_response(**self.ids, erabs=[s1ap.Erab(6, tunnel=s1ap.Tunnel("192.0.2.30", 0x56))]))
        self.uplink(nas.build_esm(M.ACTIVATE_DEDICATED_EPS_BEARER_CONTEXT_ACCEPT, ebi=6, pti=0))

    def release(self) -> None:
        cause = s1ap.Cause("radioNetwork", "user-inactivity")
        self.enb(s1ap.ue_context_release_request(**self.ids, cause=cause))
        self.agree("Release Access Bearers Request")
        self.enb(s1ap.ue_context_release_complete(**self.ids))


def names(one: Send) -> str:
    doors = s1ap if isinstance(one.message, s1ap.Message) else gtpv2
    if isinstance(one.message, diameter.Message):
        return diameter.summarise(one.message).name
    return str(doors.summarise(one.message).name)  # type: ignore[arg-type]


def attached(**configuration: object) -> World:
    world = World(**configuration)
    world.secure()
    world.subscription()
    world.session()
    world.accept()
    return world


def answer_cause(world: World, name: str) -> int:
    message = world.last(name).message
    assert isinstance(message, gtpv2.Message)
    return gtpv2.cause_of(message)


# S1 setup


def test_a_base_station_of_another_plmn_is_refused() -> None:
    world = World(served_gummeis=[{"plmns": ["00102"], "group_ids": [1], "mme_codes": [1]}])
    world.set_up()
    failure = world.last("S1SetupFailure").message
    assert isinstance(failure, s1ap.Message)
    assert failure.ie("Cause") == ("misc", "unknown-PLMN")
    assert not world.mme.enbs


def test_a_lost_base_station_leaves_its_devices_idle() -> None:
    world = attached()
    world.take(world.mme.receive(PeerLost(Interface.S1_MME, ENB, "association lost"), 1.0))
    assert world.mme.by_imsi[IMSI].ecm == "ECM-IDLE"
    assert world.mme.leftovers()["pdn_connections"] == 1
    world.last("Release Access Bearers Request")  # so that the SGW keeps what comes for it, and has it paged


def test_reset_of_one_connection_is_acknowledged_with_it() -> None:
    world = attached()
    pairs = [(world.ids["mme_ue_s1ap_id"], 5)]
    world.enb(s1ap.reset(cause=s1ap.Cause("misc", "om-intervention"), connections=pairs))
    acknowledge = world.last("ResetAcknowledge").message
    assert acknowledge == s1ap.reset_acknowledge(connections=pairs)
    assert world.mme.by_imsi[IMSI].ecm == "ECM-IDLE"


# attach


def test_attach_authenticates_secures_locates_and_sets_up() -> None:
    world = attached()
    order = [names(one) for one in world.sent]
    assert order == [
        "S1SetupResponse",
        "AIR",
        "DownlinkNASTransport (Authentication request)",
        "DownlinkNASTransport (Security mode command)",
        "ULR",
        "Create Session Request",
        "InitialContextSetupRequest (Attach accept)",
        "Modify Bearer Request",
    ]
    assert world.noted("attached") == {"imsi": IMSI}


def test_the_base_station_gets_the_key_that_the_device_derives() -> None:
    world = attached()
    setup = world.last("InitialContextSetupRequest (Attach accept)").message
    assert isinstance(setup, s1ap.Message)
    key = nas.derive_k_enb(K_ASME, 0)
    assert setup.ie("SecurityKey") == (int.from_bytes(key, "big"), 256)


def test_a_wrong_response_is_refused_and_the_connection_released() -> None:
    world = World()
    world.set_up()
    world.attach_request()
    world.vector()
    wrong = nas.build_emm(M.AUTHENTICATION_RESPONSE, {"Authentication response parameter": b"\x00" * 8})
    world.uplink(wrong, SecurityHeader.PLAIN)
    assert world.last("DownlinkNASTransport (Authentication reject)")
    command = world.last("UEContextReleaseCommand").message
    assert isinstance(command, s1ap.Message)
    assert command.ie("Cause") == ("nas", "authentication-failure")
    world.enb(s1ap.ue_context_release_complete(mme_ue_s1ap_id=1, enb_ue_s1ap_id=5))
    assert not any(world.mme.leftovers().values())


def test_a_device_out_of_step_is_resynchronised_once() -> None:
    world = World()
    world.set_up()
    world.attach_request()
    world.vector()
    failure = nas.build_emm(
        M.AUTHENTICATION_FAILURE, {"EMM cause": 21, "Authentication failure parameter": b"\x44" * 14}
    )
    world.uplink(failure, SecurityHeader.PLAIN)
    again = world.last("AIR").message
    assert isinstance(again, diameter.Message)
    asked = again.find(avp.REQUESTED_EUTRAN_AUTHENTICATION_INFO)
    assert asked is not None and asked.value_of(avp.RE_SYNCHRONIZATION_INFO) == RAND + b"\x44" * 14
    world.vector()
    world.uplink(failure, SecurityHeader.PLAIN)
    assert world.last("DownlinkNASTransport (Authentication reject)")


def test_a_device_that_the_hss_does_not_know_is_rejected() -> None:
    world = World()
    world.set_up()
    world.attach_request()
    asked = world.last("AIR")
    refused = avp.EXPERIMENTAL_RESULT(avp.VENDOR_ID(10415), avp.EXPERIMENTAL_RESULT_CODE(5001))
    world.give(Interface.S6A, HSS, diameter.answer(asked.message, refused), asked.token)
    (octets,) = world.last("DownlinkNASTransport (Attach reject)").message.nas_pdus()  # type: ignore[union-attr]
    plain = nas.decode(octets).plain
    assert plain is not None and plain.number("EMM cause") == 8


def test_an_hss_that_does_not_answer_is_a_network_failure() -> None:
    world = World()
    world.set_up()
    world.attach_request()
    token = world.last("AIR").token
    world.take(world.mme.receive(Failed(Interface.S6A, HSS, token, "Tx expired"), 9.0))
    assert world.noted("attach_rejected")["cause"] == 17


def test_a_session_that_is_refused_rejects_the_attach_with_an_esm_cause() -> None:
    world = World()
    world.secure()
    world.subscription()
    world.session(cause=Cause.MISSING_OR_UNKNOWN_APN)
    plain = world.downlink(world.last("DownlinkNASTransport (Attach reject)"))
    assert plain.number("EMM cause") == 19
    assert plain.esm is not None and plain.esm.number("ESM cause") == 27
    assert world.mme.leftovers()["pdn_connections"] == 0


@pytest.mark.parametrize("apn", ["", "*"])
def test_a_device_that_names_no_apn_is_refused_where_its_default_has_no_name(apn: str) -> None:
    world = World()
    world.secure()
    world.subscription((apn,))
    assert not any("Create Session" in name for name in map(names, world.sent))
    plain = world.downlink(world.last("DownlinkNASTransport (Attach reject)"))
    assert plain.esm is not None and plain.esm.number("ESM cause") == 27
    assert not any(world.mme.leftovers()[kind] for kind in ("pdn_connections", "bearers"))


def test_nas_that_fails_its_integrity_check_is_discarded() -> None:
    world = attached()
    world.device = nas.NasSecurityContext(bytes(32), 2, 0, uplink_count=world.device.uplink_count)
    before = len(world.sent)
    values: dict[str, bytes | int] = {"Request type": 1, "PDN type": 1}
    world.uplink(nas.build_esm(M.PDN_CONNECTIVITY_REQUEST, ebi=0, pti=2, values=values))
    assert len(world.sent) == before
    assert world.noted("nas_integrity_failed")["message"] == "PDN connectivity request"


# PDN connections


def test_a_second_pdn_connection_is_known_to_the_gateway_when_base_station_and_device_agree() -> None:
    world = attached()
    values = {"Request type": 1, "PDN type": 1, "Access point name": nas.encode_apn("ims")}
    world.uplink(nas.build_esm(M.PDN_CONNECTIVITY_REQUEST, ebi=0, pti=2, values=values))
    request = world.last("Create Session Request").message
    assert isinstance(request, gtpv2.Message) and request.teid == 0x77
    world.session(6, "10.1.0.5")
    world.downlink(world.last("E-RABSetupRequest (Activate default EPS bearer context request)"))
    modified = sum(names(one) == "Modify Bearer Request" for one in world.sent)
    world.enb(s1ap.erab_setup_response(**world.ids, erabs=[s1ap.Erab(6, tunnel=s1ap.Tunnel("192.0.2.30", 6))]))
    assert sum(names(one) == "Modify Bearer Request" for one in world.sent) == modified
    world.uplink(nas.build_esm(M.ACTIVATE_DEFAULT_EPS_BEARER_CONTEXT_ACCEPT, ebi=6, pti=0))
    assert sum(names(one) == "Modify Bearer Request" for one in world.sent) == modified + 1


def test_an_apn_without_subscription_is_refused() -> None:
    world = attached()
    values = {"Request type": 1, "PDN type": 1, "Access point name": nas.encode_apn("other")}
    world.uplink(nas.build_esm(M.PDN_CONNECTIVITY_REQUEST, ebi=0, pti=2, values=values))
    assert world.downlink(world.last("DownlinkNASTransport (PDN connectivity reject)")).number("ESM cause") == 27


def test_the_last_pdn_connection_is_not_disconnected() -> None:
    world = attached()
    values: dict[str, bytes | int] = {"Linked EPS bearer identity": 5}
    world.uplink(nas.build_esm(M.PDN_DISCONNECT_REQUEST, ebi=0, pti=3, values=values))
    assert world.downlink(world.last("DownlinkNASTransport (PDN disconnect reject)")).number("ESM cause") == 49


# dedicated bearers


def test_a_dedicated_bearer_is_answered_when_base_station_and_device_agree() -> None:
    world = attached()
    world.create_bearer()
    plain = world.downlink(world.last("E-RABSetupRequest (Activate dedicated EPS bearer context request)"))
    assert (plain.ebi, plain.number("Linked EPS bearer identity"), plain.get("TFT")) == (6, 5, TFT)
    world.activated()
    answer = world.last("Create Bearer Response")
    assert (answer.reply_to, answer_cause(world, "Create Bearer Response")) == (9, Cause.REQUEST_ACCEPTED)


def test_the_devices_answer_may_come_before_the_base_stations() -> None:
    world = attached()
    world.create_bearer()
    world.downlink(world.last("E-RABSetupRequest (Activate dedicated EPS bearer context request)"))
    world.uplink(nas.build_esm(M.ACTIVATE_DEDICATED_EPS_BEARER_CONTEXT_ACCEPT, ebi=6, pti=0))
    world.enb(s1ap.erab_setup_response(**world.ids, erabs=[s1ap.Erab(6, tunnel=s1ap.Tunnel("192.0.2.30", 6))]))
    assert answer_cause(world, "Create Bearer Response") == Cause.REQUEST_ACCEPTED


def test_a_base_station_that_refuses_a_bearer_is_no_silence_towards_the_gateway() -> None:
    world = attached()
    world.create_bearer()
    failed = s1ap.Erab(6, cause=s1ap.Cause("radioNetwork", "radio-resources-not-available"))
    world.enb(s1ap.erab_setup_response(**world.ids, failed=[failed]))
    assert answer_cause(world, "Create Bearer Response") == Cause.NO_RESOURCES_AVAILABLE
    assert 6 not in world.mme.by_imsi[IMSI].bearers


def test_a_device_that_refuses_a_bearer_is_told_to_the_gateway_by_its_reason() -> None:
    world = attached()
    world.create_bearer()
    world.downlink(world.last("E-RABSetupRequest (Activate dedicated EPS bearer context request)"))
    world.enb(s1ap.erab_setup_response(**world.ids, erabs=[s1ap.Erab(6, tunnel=s1ap.Tunnel("192.0.2.30", 6))]))
    refused = nas.build_esm(M.ACTIVATE_DEDICATED_EPS_BEARER_CONTEXT_REJECT, ebi=6, pti=0, values={"ESM cause": 44})
    world.uplink(refused)
    assert answer_cause(world, "Create Bearer Response") == Cause.SEMANTIC_ERRORS_IN_PACKET_FILTERS


def test_an_unknown_bearer_is_context_not_found() -> None:
    world = attached()
    context = gtpv2.bearer_context(gtpv2.BearerQos(1, 2), ebi=9)
    world.give(Interface.S11, SGW, gtpv2.request(MessageType.UPDATE_BEARER_REQUEST, world.teid, context), 4)
    assert answer_cause(world, "Update Bearer Response") == Cause.CONTEXT_NOT_FOUND


def test_an_answer_for_a_bearer_that_nobody_asked_for_is_a_violation() -> None:
    world = attached()
    with pytest.raises(PeerViolationError):
        world.enb(s1ap.erab_setup_response(**world.ids, erabs=[s1ap.Erab(7, tunnel=s1ap.Tunnel("192.0.2.30", 6))]))


def test_deleting_the_default_bearer_deletes_the_connection() -> None:
    world = attached()
    world.give(Interface.S11, SGW, gtpv2.request(MessageType.DELETE_BEARER_REQUEST, world.teid, gtpv2.Ebi(5)), 4)
    world.downlink(world.last("E-RABReleaseCommand (Deactivate EPS bearer context request)"))
    world.enb(s1ap.erab_release_response(**world.ids, ebis=[5]))
    world.uplink(nas.build_esm(M.DEACTIVATE_EPS_BEARER_CONTEXT_ACCEPT, ebi=5, pti=0))
    assert answer_cause(world, "Delete Bearer Response") == Cause.REQUEST_ACCEPTED
    assert world.mme.leftovers()["pdn_connections"] == 0


# idle devices


def test_a_bearer_for_an_idle_device_waits_for_it_to_come() -> None:
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


def test_paging_that_nobody_answers_ends_with_a_cause() -> None:
    world = attached(t3413_s=2.0, paging_attempts=2)
    world.release()
    notification = gtpv2.request(MessageType.DOWNLINK_DATA_NOTIFICATION, world.teid)
    world.give(Interface.S11, SGW, notification, 8)
    while (deadline := world.mme.deadline()) is not None:
        world.take(world.mme.wake(deadline))
    assert sum(names(one) == "Paging" for one in world.sent) == 2
    acknowledgement = "Downlink Data Notification Acknowledgement"
    assert answer_cause(world, acknowledgement) == Cause.UNABLE_TO_PAGE_UE


def test_a_service_request_of_a_stranger_is_rejected() -> None:
    world = World()
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


def test_a_periodic_update_is_accepted_and_the_device_left_idle() -> None:
    world = attached()
    world.release()
    world.enb(update_request(world, 3))
    accept = world.downlink(world.last("DownlinkNASTransport (Tracking area update accept)"))
    assert accept.get("EPS bearer context status") == b"\x20\x00"
    world.agree("Release Access Bearers Request")
    assert world.last("UEContextReleaseCommand").message.ie("Cause") == ("nas", "normal-release")  # type: ignore[union-attr]


def test_an_update_with_the_active_flag_brings_the_bearers_back() -> None:
    world = attached()
    world.release()
    world.enb(update_request(world, 8))
    setup = world.last("InitialContextSetupRequest (Tracking area update accept)")
    assert world.downlink(setup).number("EPS update result") == 0
    erab = s1ap.Erab(5, tunnel=s1ap.Tunnel("192.0.2.30", 0x75))
    world.enb(s1ap.initial_context_setup_response(**world.ids, erabs=[erab]))
    assert world.sent[-1].message.bearer_contexts[0].view(gtpv2.FTeid).teid == 0x75  # type: ignore[union-attr]


def test_an_update_of_a_stranger_is_rejected() -> None:
    world = attached()
    message = update_request(world, 0)
    stranger = World()
    stranger.set_up()
    stranger.enb(message)
    assert stranger.last("DownlinkNASTransport (Tracking area update reject)")


def test_a_switched_off_device_is_gone_without_an_accept() -> None:
    world = attached()
    values: dict[str, bytes | int] = {
        "Detach type": 9, "NAS key set identifier": 0, "EPS mobile identity": nas.MobileIdentity(1, IMSI).encode()
    }  # fmt: skip
    world.uplink(nas.build_emm(M.DETACH_REQUEST, values, by_network=False))
    world.agree("Delete Session Request")
    assert not [one for one in world.sent if "Detach accept" in names(one)]
    world.enb(s1ap.ue_context_release_complete(mme_ue_s1ap_id=1, enb_ue_s1ap_id=5))
    assert not any(world.mme.leftovers().values())


def test_an_sgw_that_has_lost_everything_makes_its_devices_attach_anew() -> None:
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


def test_an_idle_device_whose_sgw_has_lost_everything_is_forgotten() -> None:
    world = attached()
    world.release()
    world.take(world.mme.receive(PeerLost(Interface.S11, SGW, "PeerRestarted"), world.now))
    assert not any(world.mme.leftovers().values())


def test_a_path_switch_gives_the_next_key_of_the_chain() -> None:
    world = attached()
    request = s1ap.path_switch_request(
        enb_ue_s1ap_id=8,
        source_mme_ue_s1ap_id=world.ids["mme_ue_s1ap_id"],
        switched=[(5, s1ap.Tunnel("192.0.2.31", 9))],
        ecgi=ECGI,
        tai=TAI,
        encryption_algorithms=0xC000,
        integrity_algorithms=0xC000,
    )
    world.give(Interface.S1_MME, Peer(Role.ENB, "192.0.2.31"), request)
    world.agree("Modify Bearer Request")
    acknowledge = world.last("PathSwitchRequestAcknowledge")
    assert acknowledge.peer.address == "192.0.2.31"
    first = nas.derive_nh(K_ASME, nas.derive_k_enb(K_ASME, 0))
    context = acknowledge.message.ie("SecurityContext")  # type: ignore[union-attr]
    assert context["nextHopParameter"][0] == int.from_bytes(nas.derive_nh(K_ASME, first), "big")
    assert context["nextHopChainingCount"] == 2


def test_cancelled_location_detaches_the_device() -> None:
    world = attached()
    request = diameter.request(diameter.Command.CANCEL_LOCATION, diameter.Application.S6A, avp.USER_NAME(IMSI))
    world.give(Interface.S6A, HSS, request, 3)
    assert world.downlink(world.last("DownlinkNASTransport (Detach request)")).type == M.DETACH_REQUEST
    assert world.last("CLA").reply_to == 3
    assert world.last("Delete Session Request")


# contexts taken over


def document(**more: object) -> dict[str, Any]:
    return {
        "imsi": IMSI,
        "enb": ENB.address,
        "enb_ue_s1ap_id": 5,
        "tai": {"plmn": "00101", "tac": 1},
        "ecgi": {"plmn": "00101", "cell": 1},
        "k_asme": K_ASME.hex(),
        "nas_counts": {"uplink": 4, "downlink": 6},
        "bearers": [
            {"ebi": 5, "apn": "ims", "qci": 5, "paa": "10.1.0.5", "enb_tunnel": {"address": "192.0.2.30", "teid": 7}},
            {"ebi": 6, "linked_ebi": 5, "qci": 1, "enb_tunnel": {"address": "192.0.2.30", "teid": 8}},
        ],
        **more,
    }


def taken_over(**more: object) -> World:
    world = World()
    world.device = nas.NasSecurityContext(K_ASME, 2, 0, uplink_count=4, downlink_count=6)
    world.take(world.mme.import_context({"ue_contexts": [document(**more)]}, 0.0))
    world.session(5, "10.1.0.5")
    return world


def test_a_context_that_is_taken_over_gets_its_session_with_the_address_it_has() -> None:
    world = taken_over()
    request = world.last("Create Session Request").message
    assert isinstance(request, gtpv2.Message)
    assert request.view(gtpv2.Paa) == gtpv2.Paa(1, "10.1.0.5")
    modify = world.last("Modify Bearer Request").message
    assert isinstance(modify, gtpv2.Message)
    assert modify.bearer_contexts[0].view(gtpv2.FTeid) == gtpv2.f_teid(0, 7, "192.0.2.30")
    assert world.noted("context_ready") == {"imsi": IMSI}


@pytest.mark.parametrize(
    "bad", [{"colour": "blue"}, {"imsi": ""}, {"bearers": [{"ebi": "five"}]}, {"k_asme": "no hex"}]
)
def test_a_context_of_no_use_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        World().mme.import_context({"ue_contexts": [document(**bad)]}, 0.0)


def test_configuration_that_is_not_known_is_refused_with_all_its_faults() -> None:
    with pytest.raises(ConfigError, match=r"unknown key mme\.colour.*mme\.relative_capacity"):
        World().mme.import_context({"colour": 1, "relative_capacity": "much"}, 0.0)


def move(world: World) -> s1ap.Message:
    world.take(world.mme.reconfigure(IMSI, 1.0))
    message = world.sent[-1].message
    assert isinstance(message, s1ap.Message)
    return message


def test_reconfiguration_carries_the_gateways_tunnel_and_a_nas_message_that_the_device_trusts() -> None:
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


def test_reconfiguration_fails_when_the_base_station_refuses() -> None:
    world = taken_over()
    move(world)
    failed = s1ap.Erab(5, cause=s1ap.Cause("radioNetwork", "unspecified"))
    world.enb(s1ap.erab_modify_response(**world.ids, failed=[failed]))
    assert "EPS bearer 5" in str(world.noted("reconfiguration_failed")["reason"])


def test_reconfiguration_of_a_stranger_fails_with_a_reason() -> None:
    world = World()
    world.take(world.mme.reconfigure(IMSI, 0.0))
    assert world.noted("reconfiguration_failed")["reason"] == "the subscriber is not known here"


def test_without_keys_nas_goes_in_the_clear_and_a_note_says_so() -> None:
    world = taken_over(k_asme="")
    message = move(world)
    (octets,) = message.nas_pdus()
    assert nas.decode(octets).header is SecurityHeader.PLAIN
    assert world.noted("nas_unprotected")["message"] == "Modify EPS bearer context request"
    world.enb(s1ap.erab_modify_response(**world.ids, ebis=[5]))
    world.uplink(nas.build_esm(M.MODIFY_EPS_BEARER_CONTEXT_ACCEPT, ebi=5, pti=0), SecurityHeader.PLAIN)
    assert world.noted("reconfigured")["nas_protected"] is False


def test_a_bearer_that_the_device_has_is_moved_rather_than_set_up() -> None:
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


def test_outputs_are_the_same_for_the_same_random_numbers() -> None:
    def run() -> list[Output]:
        world = attached()
        return [*world.sent, *world.notes]

    assert run() == run()
