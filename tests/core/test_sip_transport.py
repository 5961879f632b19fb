"""Which transport the CSCFs take, what their Via and Record-Route say of it, and how it is read from a recording."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from ferret.errors import ConfigError
from ferret.protocols import sip
from ferret.records.message import Interface, Role
from ferret_core.nf import Peer, Received, Send
from ferret_core.pcscf import Pcscf
from ferret_core.scscf import Scscf

SCSCF = Peer(Role.SCSCF, "172.22.0.20:5060")
FLOW = Peer(Role.UE, "10.0.0.1:40001")
PEERS = {SCSCF.address: "S-CSCF", "172.22.0.19:5060": "I-CSCF", "172.22.0.21:5060": "P-CSCF"}


def pcscf(**habits: Any) -> Pcscf:
    nf = Pcscf(address="172.22.0.21", random=Random(7))
    names = {"scscf.ims.example": SCSCF.address, "ims.example": "172.22.0.19"}
    nf.import_context({"names": names, "peers": PEERS, "profile": {"sip": habits, "rx": None}}, 0.0)
    return nf


def request(method: str, transport: str, *, uri: str = "sip:b@ims.example", more: int = 0, to: str = "") -> sip.Message:
    fields = [
        ("Via", f"SIP/2.0/{transport} 10.0.0.1:5060;branch=z9hG4bK{method}{transport}{more}"),
        ("Max-Forwards", "70"),
        ("From", "<sip:a@ims.example>;tag=a"),
        ("To", f"<sip:b@ims.example>{to}"),
        ("Call-ID", f"{method}{more}"),
        ("CSeq", f"1 {method}"),
        ("Contact", "<sip:a@10.0.0.1:5060;transport=tcp>"),
        ("X-Padding", "x" * more),
    ]
    return sip.request(method, uri, fields)


def forwarded(outputs: Any) -> tuple[sip.Message, Peer]:
    """The request that is not an answer to whoever asked."""
    found = [one for one in outputs if isinstance(one, Send) and isinstance(one.message, sip.Message)]
    message = next(one for one in found if one.message.is_request)  # type: ignore[union-attr]
    assert isinstance(message.message, sip.Message)
    return message.message, message.peer


def registered(nf: Pcscf, peer: Peer = FLOW, transport: str = "TCP") -> None:
    """`nf` with a UE that registered over a connection."""
    asked = request("REGISTER", transport, uri="sip:ims.example", more=int(peer.address.rpartition(":")[2]))
    sent, to = forwarded(nf.receive(Received(Interface.GM, peer, asked), 0.0))
    answer = sip.respond(sent, 200, "OK", to_tag="r").append("Service-Route", "<sip:orig@scscf.ims.example;lr>")
    answer = answer.append("Contact", "<sip:a@10.0.0.1:5060;transport=tcp>;expires=600")
    nf.receive(Received(Interface.MW, to, answer), 0.1)


def test_a_request_for_a_ue_goes_over_the_connection_that_it_registered_on() -> None:
    nf = pcscf()
    registered(nf)
    asked = request("INVITE", "UDP", uri="sip:a@10.0.0.1:5060;transport=tcp")
    sent, peer = forwarded(nf.receive(Received(Interface.MW, SCSCF, asked), 1.0))
    assert peer == FLOW
    assert sent.first("Via").startswith("SIP/2.0/TCP 172.22.0.21")
    outer, inner = sent.values("Record-Route")
    assert outer == "<sip:mt@172.22.0.21;transport=tcp;r2=on;lr>"
    assert inner == "<sip:mt@172.22.0.21;r2=on;lr>"


def test_a_new_connection_takes_the_place_of_the_one_before() -> None:
    nf, other = pcscf(), Peer(Role.UE, "10.0.0.1:40002")
    registered(nf)
    registered(nf, other)
    assert nf.leftovers()["registrations"] == 1
    asked = request("INVITE", "UDP", uri="sip:a@10.0.0.1:5060;transport=tcp")
    assert forwarded(nf.receive(Received(Interface.MW, SCSCF, asked), 1.0))[1] == other


@pytest.mark.parametrize("method", ["INVITE", "BYE"])
def test_a_ue_that_sends_over_another_connection_is_reached_over_that(method: str) -> None:
    nf, other = pcscf(), Peer(Role.UE, "10.0.0.1:40002")
    registered(nf)
    asked = request(method, "TCP", to=";tag=b" if method == "BYE" else "", uri="sip:b@172.22.0.90")
    nf.receive(Received(Interface.GM, other, asked.remove("Contact")), 1.0)
    assert nf.leftovers()["registrations"] == 1
    back = request("MESSAGE", "UDP", uri="sip:a@10.0.0.1:5060;transport=tcp")
    assert forwarded(nf.receive(Received(Interface.MW, SCSCF, back), 2.0))[1] == other
    assert nf.deadline() is not None  # the registration ends when it would have
    nf.wake(700.0)
    assert nf.leftovers()["registrations"] == 0


def test_a_ue_is_known_on_whichever_connection_it_sends_a_long_request() -> None:
    nf = pcscf()
    registered(nf, Peer(Role.UE, "10.0.0.1:5060"), "UDP")
    asked = request("INVITE", "TCP")
    sent, _ = forwarded(nf.receive(Received(Interface.GM, FLOW, asked), 1.0))
    assert sent.values("Route") == ("<sip:orig@scscf.ims.example;lr>",)
    stranger = Peer(Role.UE, "10.0.0.9:40001")
    sent, _ = forwarded(nf.receive(Received(Interface.GM, stranger, request("INVITE", "TCP", more=1)), 1.0))
    assert not sent.has("Route")


@pytest.mark.parametrize(("more", "transport"), [(10, "UDP"), (1200, "TCP")])
def test_a_request_of_more_than_1300_octets_goes_over_tcp(more: int, transport: str) -> None:
    nf = Scscf(address="172.22.0.20", random=Random(1))
    nf.import_context({"peers": PEERS, "profile": {"sip": {"stream_above": 1300}}}, 0.0)
    asked = request("INVITE", "UDP", uri="sip:b@172.22.0.90", more=more).prepend("Route", "<sip:orig@172.22.0.20;lr>")
    sent, _ = forwarded(nf.receive(Received(Interface.MW, Peer(Role.PCSCF, "172.22.0.21:5060"), asked), 0.0))
    assert (len(sent.encode()) > 1300) == (transport == "TCP")
    assert sip.parse_via(sent.first("Via")).transport == transport
    assert sent.values("Record-Route") == ("<sip:mo@172.22.0.20;lr>",)  # reached either way


def test_between_servers_that_speak_tcp_one_record_route_says_so() -> None:
    nf = pcscf(transport="TCP")
    registered(nf)
    sent, _ = forwarded(nf.receive(Received(Interface.GM, FLOW, request("INVITE", "TCP")), 1.0))
    assert sent.first("Via").startswith("SIP/2.0/TCP")
    assert sent.values("Record-Route") == ("<sip:mo@172.22.0.21;transport=tcp;lr>",)


def test_a_transport_that_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigError, match="SCTP"):
        pcscf(transport="SCTP")
