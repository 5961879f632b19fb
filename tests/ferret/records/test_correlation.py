"""Whose each message is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from ferret.protocols import gtpv2, nas, s1ap
from ferret.protocols.gtpv2 import InterfaceType, MessageType
from ferret.protocols.summary import IdKind, Protocol
from ferret.records.correlation import correlate
from ferret.records.decoding import Decoder
from ferret.records.joining import join
from ferret.records.matching import match_answers
from ferret.records.message import CapturedMessage, Endpoint, Interface, Node, Role
from ferret.records.recorder import Capture

BETWEEN_NEIGHBOURS = {"CER", "CEA", "DWR", "DWA", "DPR", "DPA", "S1SetupRequest", "S1SetupResponse"}
CAPTURES = [
    "kamailio-ims-call.pcap",
    "open5gs-attach.pcap",
    "open5gs-idle-paging.pcap",
    "open5gs-volte.pcap",
    "volte-call-full.pcap",
    "volte-multi-6.pcap",
]


@pytest.mark.parametrize("name", CAPTURES)
def test_only_what_is_between_neighbours_leads_to_nobody(recorded: Callable[[str], Capture], name: str) -> None:
    assert {message.name for message in recorded(name).unattributed} <= BETWEEN_NEIGHBOURS


@pytest.mark.parametrize("name", CAPTURES)
def test_every_message_that_names_an_imsi_is_that_subscribers(recorded: Callable[[str], Capture], name: str) -> None:
    for message in recorded(name).messages:
        if message.protocol is not Protocol.SIP:  # there, both parties may be named
            named = {value for kind, value in message.identifiers if kind is IdKind.IMSI}
            assert named <= set(message.subscribers)


@pytest.mark.parametrize("name", CAPTURES)
def test_an_answer_belongs_to_whom_its_request_belongs(recorded: Callable[[str], Capture], name: str) -> None:
    messages = recorded(name).messages
    for message in messages:
        if message.answers:
            assert set(message.subscribers) == set(messages[message.answers - 1].subscribers)


def test_the_six_subscribers_of_three_interleaved_calls_are_kept_apart(recorded: Callable[[str], Capture]) -> None:
    capture = recorded("volte-multi-6.pcap")
    ends = {"701", "708", "717", "726", "729", "739"}
    assert {subscriber.key[-3:] for subscriber in capture.subscribers} == ends
    for subscriber in capture.subscribers:
        assert subscriber.msisdns == (f"49170{subscriber.imsi[-7:]}",)
        assert len(subscriber.addresses) == 2  # one for each APN
    pairs = {tuple(s[-3:] for s in sorted(m.subscribers)) for m in capture.messages if len(m.subscribers) == 2}
    assert pairs == {("701", "708"), ("717", "726")}  # the busy one has no in-dialog request
    calls = {tuple(s[-3:] for s in call) for call in invited(capture).values()}
    assert calls == {("701", "708"), ("717", "726"), ("729", "739")}


def invited(capture: Capture) -> dict[str, list[str]]:
    """Whose the messages of each call are."""
    calls: dict[str, set[str]] = {}
    for message in capture.messages:
        for kind, value in message.identifiers:
            if kind is IdKind.CALL_ID and "(INVITE)" in message.name:
                calls.setdefault(value, set()).update(message.subscribers)
    return {call: sorted(subscribers) for call, subscribers in calls.items()}


def test_the_hops_of_a_call_lie_in_one_half_or_between_the_two(recorded: Callable[[str], Capture]) -> None:
    capture = recorded("volte-call-full.pcap")
    caller, callee = (subscriber.key for subscriber in capture.subscribers)
    hops = {
        (str(m.from_nf.role), str(m.to_nf.role), m.subscribers)
        for m in capture.messages
        if m.name == "INVITE" and m.captured.frame < 300
    }
    assert hops == {
        ("UE", "P-CSCF", (caller,)),
        ("P-CSCF", "S-CSCF", (caller,)),
        ("S-CSCF", "I-CSCF", (caller,)),
        ("I-CSCF", "S-CSCF", (callee,)),
        ("S-CSCF", "P-CSCF", (callee,)),
        ("P-CSCF", "UE", (callee,)),
    }


def test_each_rx_session_is_of_the_leg_whose_device_it_names(recorded: Callable[[str], Capture]) -> None:
    capture = recorded("volte-call-full.pcap")
    addresses = {address: s.key for s in capture.subscribers for address in s.addresses}
    sessions = {}
    for message in capture.messages:
        if message.interface is Interface.RX:
            session = next(i.value for i in message.identifiers if i.kind is IdKind.SESSION_ID)
            for kind, value in message.identifiers:
                if kind is IdKind.UE_IP:
                    sessions[session] = addresses[value]
            assert message.subscribers == (sessions[session],)
    assert Counter(sessions.values()) == Counter(addresses[a] for a in ("10.46.0.2", "10.46.0.3"))


MME, SGW = Node(Role.MME, "10.0.0.1"), Node(Role.SGW, "10.0.0.2")
ENB = Node(Role.ENB, "10.0.0.3")


class Network:
    """Messages one after the other, and whose they are found to be."""

    def __init__(self) -> None:
        self.captured: list[CapturedMessage] = []
        self.nodes: list[tuple[Node, Node]] = []

    def send(self, sender: Node, receiver: Node, message: gtpv2.Message | s1ap.Message) -> None:
        number = len(self.captured) + 1
        is_gtp = isinstance(message, gtpv2.Message)
        port = 2123 if is_gtp else 36412
        ends = Endpoint(sender.address, port), Endpoint(receiver.address, port)
        protocol, transport = (Protocol.GTPV2, "udp") if is_gtp else (Protocol.S1AP, "sctp")
        octets = message.encode()
        self.captured.append(CapturedMessage(protocol, number, *ends, octets, "a", number, transport))
        self.nodes.append((sender, receiver))

    def whose(self) -> list[str]:
        decoder = Decoder()
        ordered = [one for message in self.captured for one in join([decoder.decode(message)])]
        found = correlate(ordered, self.nodes, match_answers(ordered))
        return [attributions[0].subscriber.key if attributions else "" for attributions in found]


def create_session(imsi: str, teid: int, sequence: int) -> gtpv2.Message:
    """What makes a TEID of the MME's a subscriber's."""
    tunnel = gtpv2.f_teid(InterfaceType.S11_MME_GTP_C, teid, MME.address)
    made = gtpv2.request(MessageType.CREATE_SESSION_REQUEST, 0, gtpv2.Imsi(imsi), tunnel)
    return replace(made, sequence=sequence)


def create_session_response(mme_teid: int, sgw_teid: int, sequence: int) -> gtpv2.Message:
    """What makes a TEID of the SGW's a subscriber's."""
    tunnel = gtpv2.f_teid(InterfaceType.S11_SGW_GTP_C, sgw_teid, SGW.address)
    return replace(gtpv2.request(MessageType.CREATE_SESSION_RESPONSE, mme_teid, tunnel), sequence=sequence)


def initial(imsi: str, *, enb_id: int) -> s1ap.Message:
    """An Initial UE Message that names an IMSI."""
    identity = nas.MobileIdentity(nas.IdentityType.IMSI, imsi).encode()
    return s1ap.initial_ue_message(
        enb_ue_s1ap_id=enb_id,
        nas_pdu=b"\x07\x56" + bytes([len(identity)]) + identity,
        tai=nas.Tai("00101", 1),
        ecgi=s1ap.Ecgi("00101", 1),
    )


RELEASED = s1ap.Cause("nas", "normal-release")


def release_access_bearers(teid: int, sequence: int) -> gtpv2.Message:
    """Nothing in it but the TEID says whose it is."""
    return gtpv2.Message(MessageType.RELEASE_ACCESS_BEARERS_REQUEST, teid, sequence, ())


def test_a_teid_is_whose_it_was_given_to_last() -> None:
    network = Network()
    for turn, imsi in enumerate(("001010000000001", "001010000000002")):
        network.send(MME, SGW, create_session(imsi, 5, 10 * turn))
        network.send(SGW, MME, create_session_response(5, 7, 10 * turn))
        network.send(MME, SGW, release_access_bearers(7, 10 * turn + 1))
    assert network.whose() == ["001010000000001"] * 3 + ["001010000000002"] * 3


def test_an_error_with_teid_0_belongs_to_its_request() -> None:
    network = Network()
    network.send(MME, SGW, create_session("001010000000001", 5, 1))
    network.send(SGW, MME, gtpv2.Message(MessageType.CREATE_SESSION_RESPONSE, 0, 1, ()))
    assert network.whose() == ["001010000000001"] * 2


def test_one_sequence_number_in_both_directions_is_two_exchanges() -> None:
    network = Network()
    for turn, imsi in enumerate(("001010000000001", "001010000000002"), start=1):
        network.send(MME, SGW, create_session(imsi, turn, turn))
        network.send(SGW, MME, create_session_response(turn, turn, turn))
    network.send(MME, SGW, release_access_bearers(1, 9))
    network.send(SGW, MME, gtpv2.Message(MessageType.DOWNLINK_DATA_NOTIFICATION, 2, 9, ()))
    network.send(SGW, MME, gtpv2.Message(MessageType.RELEASE_ACCESS_BEARERS_RESPONSE, 0, 9, ()))
    acknowledgement = MessageType.DOWNLINK_DATA_NOTIFICATION_ACKNOWLEDGEMENT
    network.send(MME, SGW, gtpv2.Message(acknowledgement, 0, 9, ()))
    assert [name[-1] for name in network.whose()[4:]] == ["1", "2", "1", "2"]


def test_what_nobody_has_introduced_is_one_anonymous_subscriber_per_teid() -> None:
    network = Network()
    network.send(MME, SGW, release_access_bearers(7, 1))
    network.send(MME, SGW, release_access_bearers(8, 2))
    network.send(MME, SGW, release_access_bearers(7, 3))
    assert network.whose() == ["unknown-1", "unknown-2", "unknown-1"]


def test_echo_is_nobodys() -> None:
    network = Network()
    network.send(MME, SGW, gtpv2.Message(MessageType.ECHO_REQUEST, None, 1, ()))
    assert network.whose() == [""]


def test_s1ap_ids_live_until_the_context_is_released_and_then_are_anothers() -> None:
    network = Network()
    for imsi in ("001010000000001", "001010000000002"):
        network.send(ENB, MME, initial(imsi, enb_id=1))
        network.send(MME, ENB, s1ap.downlink_nas_transport(mme_ue_s1ap_id=4, enb_ue_s1ap_id=1, nas_pdu=b"\x07\x55\x01"))
        network.send(MME, ENB, s1ap.ue_context_release_command(mme_ue_s1ap_id=4, enb_ue_s1ap_id=1, cause=RELEASED))
        network.send(ENB, MME, s1ap.ue_context_release_complete(mme_ue_s1ap_id=4, enb_ue_s1ap_id=1))
    assert network.whose() == ["001010000000001"] * 4 + ["001010000000002"] * 4


def test_an_enb_id_that_comes_again_without_a_release_is_anothers_too() -> None:
    network = Network()
    for imsi in ("001010000000001", "001010000000002"):
        network.send(ENB, MME, initial(imsi, enb_id=1))
        network.send(MME, ENB, s1ap.downlink_nas_transport(mme_ue_s1ap_id=4, enb_ue_s1ap_id=1, nas_pdu=b"\x07\x55\x01"))
    assert network.whose() == ["001010000000001"] * 2 + ["001010000000002"] * 2
