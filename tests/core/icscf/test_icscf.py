"""The I-CSCF: which S-CSCF a request goes to, and what is told of a user whom the HSS does not let in."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferret.errors import ConfigError, ProtocolError
from ferret.protocols import diameter, sip
from ferret.protocols.diameter import Application, Command, avp
from ferret.protocols.diameter.constants import VENDOR_3GPP, CxResult, ResultCode
from ferret.records.message import Interface, Role
from ferret_core.hss import Hss
from ferret_core.icscf import Icscf
from ferret_core.nf import Failed, Note, Output, Peer, PeerLost, Received, Send

PCSCF = Peer(Role.PCSCF, "172.22.0.21:5060")
REMOTE = Peer(Role.REMOTE, "192.0.2.9:5060")
HSS = Peer(Role.HSS)
DOMAIN = "ims.mnc001.mcc001.3gppnetwork.org"
IMPU = f"sip:491700@{DOMAIN}"
IMPI = f"001010000000001@{DOMAIN}"


@pytest.fixture
def icscf() -> Icscf:
    nf = Icscf(address="172.22.0.19", random=Random(3))
    nf.import_context(
        {
            "names": {f"scscf.{DOMAIN}": "172.22.0.20:5060", DOMAIN: "172.22.0.19"},
            "peers": {"172.22.0.20:5060": "S-CSCF", PCSCF.address: "P-CSCF", REMOTE.address: "remote"},
            "profile": {"cx": {"origin_host": "icscf.ims.example", "origin_realm": "ims.example"}},
        },
        0.0,
    )
    return nf


def _request(method: str, uri: str, *headers: tuple[str, str], to: str = f"<{IMPU}>", hops: str = "68") -> sip.Message:
    fields = [
        ("Via", f"SIP/2.0/UDP 172.22.0.21;branch=z9hG4bK{method}"),
        ("Max-Forwards", hops),
        ("From", "<sip:someone@elsewhere.example>;tag=a"),
        ("To", to),
        ("Call-ID", "call"),
        ("CSeq", f"1 {method}"),
        *headers,
    ]
    return sip.request(method, uri, fields)


def _register(expires: str = "600") -> Received:
    headers = (
        ("Authorization", f'Digest username="{IMPI}",realm="{DOMAIN}",uri="sip:{DOMAIN}",nonce="",response=""'),
        ("Contact", f"<sip:491700@10.0.0.1>;expires={expires}"),
        ("P-Visited-Network-ID", '"visited.example"'),
    )
    return Received(Interface.MW, PCSCF, _request("REGISTER", f"sip:{DOMAIN}", *headers))


def _invite(uri: str = IMPU) -> Received:
    return Received(Interface.MW, REMOTE, _request("INVITE", uri))


def _cx(outputs: Sequence[Output]) -> tuple[Send, diameter.Message]:
    send = next(one for one in outputs if isinstance(one, Send) and one.interface is Interface.CX)
    assert isinstance(send.message, diameter.Message)
    return send, send.message


def _sip(outputs: Sequence[Output]) -> list[tuple[Peer, sip.Message]]:
    return [
        (one.peer, one.message) for one in outputs if isinstance(one, Send) and isinstance(one.message, sip.Message)
    ]


def _answer(asked: diameter.Message, result: int, *avps: diameter.Avp, experimental: bool = False) -> diameter.Message:
    said = (
        avp.EXPERIMENTAL_RESULT(avp.VENDOR_ID(VENDOR_3GPP), avp.EXPERIMENTAL_RESULT_CODE(result))
        if experimental
        else avp.RESULT_CODE(result)
    )
    return diameter.answer(asked, said, *avps)


def test_a_register_goes_to_the_s_cscf_that_the_hss_names(icscf: Icscf) -> None:
    send, asked = _cx(icscf.receive(_register(), 0.0))
    assert (asked.command, asked.application) == (Command.USER_AUTHORIZATION, Application.CX)
    assert asked.value_of(avp.USER_NAME) == IMPI
    assert asked.value_of(avp.PUBLIC_IDENTITY) == IMPU
    assert asked.value_of(avp.VISITED_NETWORK_IDENTIFIER) == "visited.example"
    assert asked.value_of(avp.USER_AUTHORIZATION_TYPE) == 0
    name = avp.SERVER_CAPABILITIES(avp.SERVER_NAME(f"sip:scscf.{DOMAIN}:5060"))
    answer = _answer(asked, CxResult.FIRST_REGISTRATION, name, experimental=True)
    ((peer, request),) = _sip(icscf.receive(Received(Interface.CX, HSS, answer, send.token), 0.1))
    assert peer == Peer(Role.SCSCF, "172.22.0.20:5060")
    assert request.request_uri == f"sip:scscf.{DOMAIN}:5060"
    assert request.first("Max-Forwards") == "67"
    assert not request.has("Record-Route")
    assert len(request.values("Via")) == 2
    back = sip.respond(request, 401, "Unauthorized", to_tag="s")
    ((peer, passed),) = _sip(icscf.receive(Received(Interface.MW, peer, back), 0.2))
    assert (peer, passed.status, len(passed.values("Via"))) == (PCSCF, 401, 1)
    assert icscf.leftovers() == {"waiting": 0}


def test_a_register_that_leaves_is_a_deregistration(icscf: Icscf) -> None:
    _, asked = _cx(icscf.receive(_register("0"), 0.0))
    assert asked.value_of(avp.USER_AUTHORIZATION_TYPE) == 1


def test_a_call_goes_to_the_s_cscf_of_the_called_party_and_the_i_cscf_leaves_its_path(icscf: Icscf) -> None:
    outputs = icscf.receive(_invite(f"{IMPU};user=phone"), 0.0)
    assert [(peer.role, message.status) for peer, message in _sip(outputs)] == [(Role.REMOTE, 100)]
    send, asked = _cx(outputs)
    assert asked.command == Command.LOCATION_INFO
    assert asked.value_of(avp.PUBLIC_IDENTITY) == IMPU
    answer = _answer(asked, ResultCode.SUCCESS, avp.SERVER_NAME(f"sip:scscf.{DOMAIN}:5060"))
    ((peer, request),) = _sip(icscf.receive(Received(Interface.CX, HSS, answer, send.token), 0.1))
    assert peer == Peer(Role.SCSCF, "172.22.0.20:5060")
    assert request.request_uri == f"{IMPU};user=phone"
    assert request.values("Route") == (f"<sip:scscf.{DOMAIN}:5060;lr>",)
    assert not request.has("Record-Route")


@pytest.mark.parametrize(
    ("result", "experimental", "status"),
    [
        (CxResult.ERROR_USER_UNKNOWN, True, 404),
        (CxResult.ERROR_IDENTITY_NOT_REGISTERED, True, 480),
        (ResultCode.UNABLE_TO_COMPLY, False, 500),
        (ResultCode.UNABLE_TO_DELIVER, False, 504),
    ],
)
def test_a_caller_is_told_why_nobody_is_reached(icscf: Icscf, result: int, experimental: bool, status: int) -> None:
    send, asked = _cx(icscf.receive(_invite(), 0.0))
    answer = _answer(asked, result, experimental=experimental)
    outputs = icscf.receive(Received(Interface.CX, HSS, answer, send.token), 0.1)
    assert [(peer, message.status) for peer, message in _sip(outputs)] == [(REMOTE, status)]


def test_a_stranger_may_not_register(icscf: Icscf) -> None:
    send, asked = _cx(icscf.receive(_register(), 0.0))
    answer = _answer(asked, CxResult.ERROR_USER_UNKNOWN, experimental=True)
    outputs = icscf.receive(Received(Interface.CX, HSS, answer, send.token), 0.1)
    assert [(peer, message.status) for peer, message in _sip(outputs)] == [(PCSCF, 403)]


def test_without_a_name_from_the_hss_the_configured_s_cscf_is_taken_and_without_one_it_is_a_time_out(
    icscf: Icscf,
) -> None:
    send, asked = _cx(icscf.receive(_register(), 0.0))
    answer = _answer(asked, CxResult.FIRST_REGISTRATION, experimental=True)
    outputs = icscf.receive(Received(Interface.CX, HSS, answer, send.token), 0.1)
    assert [message.status for _, message in _sip(outputs)] == [504]
    other = Icscf(address="172.22.0.19", random=Random(3))
    other.import_context({"scscfs": ["sip:172.22.0.20"]}, 0.0)
    send, asked = _cx(other.receive(_register(), 0.0))
    answer = _answer(asked, CxResult.FIRST_REGISTRATION, experimental=True)
    ((peer, request),) = _sip(other.receive(Received(Interface.CX, HSS, answer, send.token), 0.1))
    assert (peer.address, request.request_uri) == ("172.22.0.20:5060", "sip:172.22.0.20")


def test_an_hss_that_is_silent_or_gone_is_a_time_out(icscf: Icscf) -> None:
    send, _ = _cx(icscf.receive(_invite(), 0.0))
    outputs = icscf.receive(Failed(Interface.CX, HSS, send.token, "no answer"), 10.0)
    assert [message.status for _, message in _sip(outputs)] == [504]
    outputs = icscf.receive(Failed(Interface.CX, HSS, send.token, "no answer"), 10.0)
    assert outputs == [Note("cx_answer_to_nothing", {})]
    assert icscf.receive(PeerLost(Interface.CX, HSS, "gone"), 11.0)[0] == Note(
        "peer_lost", {"interface": "Cx", "reason": "gone"}
    )


def test_a_call_that_is_cancelled_while_the_hss_thinks_goes_nowhere(icscf: Icscf) -> None:
    event = _invite()
    send, asked = _cx(icscf.receive(event, 0.0))
    assert isinstance(event.message, sip.Message)
    outputs = icscf.receive(Received(Interface.MW, REMOTE, sip.cancel_for(event.message)), 0.1)
    assert [message.status for _, message in _sip(outputs)] == [200]
    answer = _answer(asked, ResultCode.SUCCESS, avp.SERVER_NAME("sip:172.22.0.20"))
    outputs = icscf.receive(Received(Interface.CX, HSS, answer, send.token), 0.2)
    assert [message.status for _, message in _sip(outputs)] == [487]


def test_a_request_inside_a_dialog_follows_its_route_without_asking(icscf: Icscf) -> None:
    bye = _request("BYE", IMPU, ("Route", "<sip:172.22.0.19;lr>, <sip:172.22.0.20;lr>"), to=f"<{IMPU}>;tag=b")
    ((peer, request),) = _sip(icscf.receive(Received(Interface.MW, REMOTE, bye), 0.0))
    assert peer.address == "172.22.0.20:5060"
    assert request.values("Route") == ("<sip:172.22.0.20;lr>",)


def test_a_request_inside_a_dialog_that_nobody_has_goes_round_in_no_circle(icscf: Icscf) -> None:
    bye, ack = (_request(method, IMPU, to=f"<{IMPU}>;tag=b") for method in ("BYE", "ACK"))
    ((peer, answer),) = _sip(icscf.receive(Received(Interface.MW, PCSCF, bye), 0.0))
    assert (peer, answer.status) == (PCSCF, 481)
    assert _sip(icscf.receive(Received(Interface.MW, PCSCF, ack), 0.1)) == []


def test_it_and_the_hss_of_the_lab_understand_each_other(icscf: Icscf) -> None:
    hss = Hss(address="172.22.0.10", random=Random(1))
    subscriber = {"imsi": "001010000000001", "k": "00" * 16, "opc": "11" * 16, "msisdn": "491700", "apns": []}
    hss.import_context({"subscribers": [subscriber], "scscf": f"sip:scscf.{DOMAIN}:5060"}, 0.0)
    send, asked = _cx(icscf.receive(_register(), 0.0))
    (reply,) = hss.receive(Received(Interface.CX, Peer(Role.ICSCF), asked, 1), 0.0)
    assert isinstance(reply, Send)
    ((peer, _),) = _sip(icscf.receive(Received(Interface.CX, HSS, reply.message, send.token), 0.1))
    assert peer == Peer(Role.SCSCF, "172.22.0.20:5060")
    send, asked = _cx(icscf.receive(_invite(), 0.2))
    (reply,) = hss.receive(Received(Interface.CX, Peer(Role.ICSCF), asked, 2), 0.2)
    assert isinstance(reply, Send)
    outputs = icscf.receive(Received(Interface.CX, HSS, reply.message, send.token), 0.3)
    assert [message.status for _, message in _sip(outputs)] == [480]  # he is not registered


def test_configuration_that_nobody_knows_is_refused(icscf: Icscf) -> None:
    for context in ({"x": 1}, {"profile": {"x": 1}}, {"profile": {"cx": {"x": "y"}}}, {"peers": {"a": "nobody"}}):
        with pytest.raises(ConfigError):
            icscf.import_context(context, 0.0)


@given(
    method=st.sampled_from(["REGISTER", "INVITE", "MESSAGE", "ACK", "CANCEL", "BYE"]),
    uri=st.text(st.characters(blacklist_characters=" \t\r\n", blacklist_categories=["Cs", "Zs", "Cc"]), min_size=1),
    to=st.text(st.characters(blacklist_characters="\r\n", blacklist_categories=["Cs", "Cc"])),
    hops=st.text(st.characters(blacklist_characters="\r\n", blacklist_categories=["Cs", "Cc"]), max_size=5),
)
@settings(max_examples=100)
def test_nothing_that_a_request_holds_breaks_it(method: str, uri: str, to: str, hops: str) -> None:
    nf = Icscf(address="172.22.0.19", random=Random(3))
    nf.import_context({"scscfs": ["sip:172.22.0.20"]}, 0.0)
    try:
        outputs = nf.receive(Received(Interface.MW, REMOTE, _request(method, uri, to=to, hops=hops)), 0.0)
        for one in outputs:
            if isinstance(one, Send) and isinstance(one.message, diameter.Message):
                answer = _answer(one.message, ResultCode.SUCCESS)
                nf.receive(Received(Interface.CX, HSS, answer, one.token), 0.1)
    except ProtocolError:
        pass
