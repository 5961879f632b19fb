"""An MME with a device, an HSS and an SGW played by the test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

import pytest

from ferret.protocols import diameter, gtpv2, nas, s1ap
from ferret.protocols.diameter import avp
from ferret.protocols.gtpv2 import Cause, InterfaceType, MessageType
from ferret.protocols.gtpv2.constants import IeType
from ferret.protocols.nas import Direction, SecurityHeader
from ferret.records.message import Interface, Role
from ferret_core.mme import Mme
from ferret_core.nf import Note, Peer, Received, Send

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
            if self.name_of(one) == name:
                return one
        raise AssertionError(f"no {name} among {[self.name_of(one) for one in self.sent]}")

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

    def answer_cause(self, name: str) -> int:
        """The Cause of the last message of this name."""
        message = self.last(name).message
        assert isinstance(message, gtpv2.Message)
        return gtpv2.cause_of(message)

    @staticmethod
    def name_of(one: Send) -> str:
        """The name of what the MME has sent."""
        doors = s1ap if isinstance(one.message, s1ap.Message) else gtpv2
        if isinstance(one.message, diameter.Message):
            return diameter.summarise(one.message).name
        return str(doors.summarise(one.message).name)  # type: ignore[arg-type]


NewWorld = Callable[..., World]
Document = Callable[..., dict[str, Any]]


@pytest.fixture
def new_world() -> NewWorld:
    """Makes an MME that knows nobody, of some configuration."""
    return World


@pytest.fixture
def attached() -> NewWorld:
    """Makes an MME to which a device has attached."""

    def make(**configuration: object) -> World:
        world = World(**configuration)
        world.secure()
        world.subscription()
        world.session()
        world.accept()
        return world

    return make


@pytest.fixture
def document() -> Document:
    """Makes the context of a device that attached elsewhere."""
    return _document


@pytest.fixture
def taken_over() -> NewWorld:
    """Makes an MME that has taken over the context of a device."""

    def make(**more: object) -> World:
        world = World()
        world.device = nas.NasSecurityContext(K_ASME, 2, 0, uplink_count=4, downlink_count=6)
        world.take(world.mme.import_context({"ue_contexts": [_document(**more)]}, 0.0))
        world.session(5, "10.1.0.5")
        return world

    return make


def _document(**more: object) -> dict[str, Any]:
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
