"""Whose half of a SIP exchange each hop is."""

from __future__ import annotations

import itertools

from ferret.protocols.summary import Protocol
from ferret.records.decoding import Decoder
from ferret.records.joining import Joined, join
from ferret.records.message import CapturedMessage, Endpoint, Node, Role
from ferret.records.sip_legs import Boundary, SipLegs

UE_A, UE_B = Node(Role.UE, "10.46.0.2"), Node(Role.UE, "10.46.0.3")
PCSCF, SCSCF = Node(Role.PCSCF, "172.22.0.21"), Node(Role.SCSCF, "172.22.0.20")
ICSCF, REMOTE = Node(Role.ICSCF, "172.22.0.19"), Node(Role.REMOTE, "203.0.113.9")
INSIDE, ENTERS, LEAVES, BEYOND = Boundary.INSIDE, Boundary.ENTERS, Boundary.LEAVES, Boundary.BEYOND


class Exchange:
    """Messages of one Call-ID on their way through the network."""

    def __init__(self) -> None:
        self.messages: list[CapturedMessage] = []
        self.nodes: list[tuple[Node, Node]] = []

    def request(self, *path: Node, method: str = "INVITE", branch: str = "x", vias: int = 0) -> Exchange:
        """One request along a path; `vias` hops that were not captured came before."""
        stack = [f"SIP/2.0/UDP 10.46.0.2:5060;branch={branch}-u{number}" for number in range(vias)]
        for number, (sender, receiver) in enumerate(itertools.pairwise(path)):
            stack.insert(0, f"SIP/2.0/UDP {sender.address};branch={branch}{number}")
            self._add(f"{method} sip:bob@ims.example SIP/2.0", stack, method, sender, receiver)
        return self

    def answer(self, *path: Node, status: str = "200 OK", method: str = "INVITE", branch: str = "x") -> Exchange:
        """An answer to the request along the same path, on its way back."""
        hops = list(itertools.pairwise(path))
        for number in reversed(range(len(hops))):
            sender, receiver = hops[number]
            stack = [
                f"SIP/2.0/UDP {hops[n][0].address};branch={branch}{n};received=1.2.3.4" for n in range(number, -1, -1)
            ]
            self._add(f"SIP/2.0 {status}", stack, method, receiver, sender)
        return self

    def _add(self, start: str, stack: list[str], method: str, sender: Node, receiver: Node) -> None:
        vias = "".join(f"Via: {via}\r\n" for via in stack)
        ends = "From: <sip:alice@ims.example>;tag=1\r\nTo: <sip:bob@ims.example>\r\n"
        octets = f"{start}\r\n{vias}{ends}Call-ID: c\r\nCSeq: 1 {method}\r\n\r\n".encode()
        number = len(self.messages) + 1
        source, destination = Endpoint(sender.address, 5060), Endpoint(receiver.address, 5060)
        message = CapturedMessage(Protocol.SIP, number, source, destination, octets, "a", number)
        self.messages.append(message)
        self.nodes.append((sender, receiver))

    def claims(self) -> list[dict[str, Boundary]]:
        """For each message, in order, who claims it: by device address, or identity where no device was reached."""
        decoder = Decoder()
        joined: list[Joined] = []
        for message in self.messages:
            joined += join([decoder.decode(message)])
        legs = SipLegs(joined, self.nodes)
        return [
            {
                member.party.address or member.party.identities[0]: member.boundary
                for member in legs.memberships(position)
            }
            for position in range(len(joined))
        ]


A, B = UE_A.address, UE_B.address


def test_a_call_through_the_i_cscf_is_cut_between_the_hop_out_of_and_the_hop_into_the_s_cscf() -> None:
    path = (UE_A, PCSCF, SCSCF, ICSCF, SCSCF, PCSCF, UE_B)
    assert Exchange().request(*path).claims() == [
        {A: INSIDE},
        {A: INSIDE},
        {A: LEAVES},
        {B: ENTERS},
        {B: INSIDE},
        {B: INSIDE},
    ]


def test_answers_lie_where_their_requests_do_the_other_way_round() -> None:
    path = (UE_A, PCSCF, SCSCF, ICSCF, SCSCF, PCSCF, UE_B)
    claims = Exchange().request(*path).answer(*path).claims()
    assert claims[6:] == [{B: INSIDE}, {B: INSIDE}, {B: LEAVES}, {A: ENTERS}, {A: INSIDE}, {A: INSIDE}]


def test_a_hop_from_the_s_cscf_to_itself_belongs_to_both_halves() -> None:
    assert Exchange().request(UE_A, PCSCF, SCSCF, SCSCF, PCSCF, UE_B).claims()[2] == {A: LEAVES, B: ENTERS}


def test_without_a_hop_to_itself_the_s_cscf_is_left_and_entered_by_the_hops_around_it() -> None:
    assert Exchange().request(UE_A, PCSCF, SCSCF, PCSCF, UE_B).claims() == [
        {A: INSIDE},
        {A: INSIDE, B: ENTERS},
        {A: LEAVES, B: INSIDE},
        {B: INSIDE},
    ]


def test_requests_of_the_called_party_have_the_halves_swapped() -> None:
    claims = Exchange().request(UE_B, PCSCF, SCSCF, SCSCF, PCSCF, UE_A, method="BYE").claims()
    assert claims == [{B: INSIDE}, {B: INSIDE}, {B: LEAVES, A: ENTERS}, {A: INSIDE}, {A: INSIDE}]


def test_a_call_to_another_network_ends_with_the_hop_that_leaves() -> None:
    assert Exchange().request(UE_A, PCSCF, SCSCF, REMOTE).claims() == [{A: INSIDE}, {A: INSIDE}, {A: LEAVES}]


def test_a_call_from_another_network_begins_with_the_hop_into_the_s_cscf() -> None:
    claims = Exchange().request(REMOTE, ICSCF, SCSCF, PCSCF, UE_B).claims()
    assert claims == [{B: BEYOND}, {B: ENTERS}, {B: INSIDE}, {B: INSIDE}]


def test_a_detour_to_an_application_server_stays_in_the_half_that_it_is_made_from() -> None:
    server = Node(Role.AF, "172.22.0.50")
    path = (UE_A, PCSCF, SCSCF, server, SCSCF, ICSCF, SCSCF, server, SCSCF, PCSCF, UE_B)
    assert Exchange().request(*path).claims() == [
        {A: INSIDE},
        {A: INSIDE},
        {A: LEAVES},
        {A: ENTERS},
        {A: LEAVES},
        {B: ENTERS},
        {B: LEAVES},
        {B: ENTERS},
        {B: INSIDE},
        {B: INSIDE},
    ]


def test_a_registration_is_all_the_devices() -> None:
    assert Exchange().request(UE_A, PCSCF, ICSCF, SCSCF, method="REGISTER").claims() == [{A: INSIDE}] * 3


def test_a_callee_that_is_not_reached_is_known_by_identity() -> None:
    claims = Exchange().request(UE_A, PCSCF, SCSCF, ICSCF, SCSCF).claims()
    assert claims[2:] == [{A: LEAVES}, {"sip:bob@ims.example": ENTERS}]


def test_an_ack_and_a_cancel_of_one_hop_belong_where_its_invite_does() -> None:
    exchange = Exchange().request(UE_A, PCSCF, SCSCF, SCSCF, PCSCF, UE_B)
    exchange._add("ACK sip:bob@ims.example SIP/2.0", ["SIP/2.0/UDP 172.22.0.20;branch=x2"], "ACK", SCSCF, SCSCF)
    exchange._add("CANCEL sip:bob@ims.example SIP/2.0", ["SIP/2.0/UDP 172.22.0.21;branch=x4"], "CANCEL", PCSCF, UE_B)
    assert exchange.claims()[5:] == [{A: LEAVES, B: ENTERS}, {B: INSIDE}]


def test_a_keep_alive_of_the_p_cscf_is_the_devices() -> None:
    assert Exchange().request(PCSCF, UE_B, method="OPTIONS").claims() == [{B: INSIDE}]


def test_what_an_s_cscf_makes_itself_is_the_devices_on_every_hop() -> None:
    exchange = Exchange().request(SCSCF, PCSCF, UE_A, method="NOTIFY").answer(SCSCF, PCSCF, UE_A, method="NOTIFY")
    assert exchange.claims() == [{UE_A.address: INSIDE}] * 4


def test_a_call_whose_first_hop_was_not_captured_is_still_the_callers() -> None:
    claims = Exchange().request(PCSCF, SCSCF, SCSCF, PCSCF, UE_B, vias=1).claims()
    assert claims == [{A: INSIDE}, {A: LEAVES, B: ENTERS}, {B: INSIDE}, {B: INSIDE}]


def test_a_forked_call_reaches_every_device_of_the_callee() -> None:
    exchange = Exchange().request(UE_A, PCSCF, SCSCF, SCSCF, PCSCF, UE_B)
    third = Node(Role.UE, "10.46.0.9")
    stack = [f"SIP/2.0/UDP {node.address};branch=x{n}" for n, node in enumerate((UE_A, PCSCF, SCSCF, SCSCF))]
    exchange._add(
        "INVITE sip:c SIP/2.0", ["SIP/2.0/UDP 172.22.0.21;branch=y", *reversed(stack)], "INVITE", PCSCF, third
    )
    claims = exchange.claims()
    assert claims[5] == {"10.46.0.9": INSIDE}
    assert claims[3] == {B: INSIDE, "10.46.0.9": INSIDE}


def test_what_shows_no_device_and_no_s_cscf_is_nobodys() -> None:
    assert Exchange().request(REMOTE, ICSCF).claims() == [{}]
    assert Exchange().answer(REMOTE, ICSCF).claims() == [{}]
