"""What a P-CSCF does apart from what recordings show: forks, refusals, timers, Rx that says no, bad input."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferret.errors import ConfigError, ProtocolError
from ferret.protocols import diameter, sip
from ferret.protocols.diameter import Command, avp
from ferret.records.message import Interface, Role
from ferret_core.nf import Failed, Note, Output, Peer, PeerLost, Received, Send
from ferret_core.pcscf import Pcscf

UE = Peer(Role.UE, "10.0.0.1:5060")
CALLEE = Peer(Role.UE, "10.0.0.2:5060")
SCSCF = Peer(Role.SCSCF, "172.22.0.20:5060")
ICSCF = Peer(Role.ICSCF, "172.22.0.19:5060")
SDP = (
    b"v=0\r\no=- 1 1 IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio 4000 RTP/AVP 96\r\nb=AS:41\r\n"
    b"a=rtpmap:96 AMR-WB/16000\r\n"
)


@pytest.fixture
def pcscf() -> Pcscf:
    nf = Pcscf(address="172.22.0.21", random=Random(7))
    nf.import_context(
        {
            "names": {"scscf.ims.example": "172.22.0.20:5060", "ims.example": "172.22.0.19"},
            "peers": {SCSCF.address: "S-CSCF", ICSCF.address: "I-CSCF"},
            "registrations": [
                {
                    "impi": "a@ims.example",
                    "impus": ["sip:a@ims.example", "tel:+491"],
                    "contact": "sip:a@10.0.0.1:5060",
                    "ue_address": UE.address,
                    "service_route": ["<sip:orig@scscf.ims.example;lr>"],
                }
            ],
        },
        0.0,
    )
    return nf


def _request(method: str, *headers: tuple[str, str], uri: str = "sip:b@ims.example", **more: object) -> sip.Message:
    branch, number, body = more.get("branch", "z9hG4bKue"), more.get("number", 1), more.get("body", b"")
    fields = [
        ("Via", f"SIP/2.0/UDP 10.0.0.1:5060;branch={branch};rport"),
        ("Max-Forwards", "70"),
        ("From", "<sip:a@ims.example>;tag=a"),
        ("To", "<sip:b@ims.example>" + str(more.get("to", ""))),
        ("Call-ID", "call"),
        ("CSeq", f"{number} {method}"),
        ("Contact", "<sip:a@10.0.0.1:5060>"),
        *headers,
    ]
    if body:
        fields.append(("Content-Type", "application/sdp"))
    return sip.request(method, uri, fields, body if isinstance(body, bytes) else b"")


def _gm(message: sip.Message, peer: Peer = UE) -> Received:
    return Received(Interface.GM, peer, message)


def _mw(message: sip.Message, peer: Peer = SCSCF) -> Received:
    return Received(Interface.MW, peer, message)


def _sent(outputs: Sequence[Output]) -> list[tuple[str, Role]]:
    found = []
    for one in outputs:
        if isinstance(one, Send):
            name = (sip if isinstance(one.message, sip.Message) else diameter).summarise(one.message).name  # type: ignore[arg-type]
            found.append((name, one.peer.role))
    return found


def _message(outputs: Sequence[Output], name: str) -> sip.Message:
    for one in outputs:
        if isinstance(one, Send) and isinstance(one.message, sip.Message) and sip.summarise(one.message).name == name:
            return one.message
    raise AssertionError(name)


def _aar(outputs: Sequence[Output]) -> Send:
    return next(one for one in outputs if isinstance(one, Send) and one.interface is Interface.RX)


def _sdp(host: str) -> bytes:
    return SDP % (host.encode(), host.encode())


def _called(pcscf: Pcscf, now: float = 0.0) -> sip.Message:
    """An INVITE of the UE has gone to the S-CSCF; the message as it went."""
    outputs = pcscf.receive(_gm(_request("INVITE", body=_sdp("10.0.0.1"))), now)
    assert _sent(outputs) == [("100 (INVITE)", Role.UE), ("INVITE", Role.SCSCF)]
    return _message(outputs, "INVITE")


def _answer(request: sip.Message, status: int, body: bytes = b"") -> sip.Message:
    answer = sip.respond(request, status, "x", to_tag="b")
    return answer.with_body(body, "application/sdp") if body else answer


def test_the_identity_of_the_registration_is_asserted_and_the_service_route_followed(pcscf: Pcscf) -> None:
    invite = _called(pcscf)
    assert invite.first("P-Asserted-Identity") == "<sip:a@ims.example>"
    assert invite.values("Route") == ("<sip:orig@scscf.ims.example;lr>",)
    assert invite.first("Max-Forwards") == "69"
    assert invite.has("P-Charging-Vector")
    assert sip.parse_via(invite.values("Via")[1]).param("received") == "10.0.0.1"


def test_a_preferred_identity_is_asserted_only_if_it_is_registered(pcscf: Pcscf) -> None:
    for preferred, asserted in (("tel:+491", "tel:+491"), ("sip:mallory@evil", "sip:a@ims.example")):
        message = _request("MESSAGE", ("P-Preferred-Identity", f"<{preferred}>"), branch="z9hG4bK" + asserted[:3])
        out = _message(pcscf.receive(_gm(message), 0.0), "MESSAGE")
        assert out.first("P-Asserted-Identity") == f"<{asserted}>"
        assert not out.has("P-Preferred-Identity")


def test_an_identity_that_the_ue_asserts_itself_is_not_believed(pcscf: Pcscf) -> None:
    out = _message(
        pcscf.receive(_gm(_request("MESSAGE", ("P-Asserted-Identity", "<sip:boss@ims.example>"))), 0.0), "MESSAGE"
    )
    assert out.values("P-Asserted-Identity") == ("<sip:a@ims.example>",)


def test_an_answer_with_sdp_waits_for_the_pcrf(pcscf: Pcscf) -> None:
    invite = _called(pcscf)
    outputs = pcscf.receive(_mw(_answer(invite, 183, _sdp("10.9.9.9"))), 1.0)
    assert _sent(outputs) == [("AAR", Role.PCRF)]
    asked = _aar(outputs)
    assert isinstance(asked.message, diameter.Message)
    assert asked.message.value_of(avp.FRAMED_IP_ADDRESS) == "10.0.0.1"
    later = pcscf.receive(_mw(_answer(invite, 180)), 1.1)
    assert _sent(later) == [("180 (INVITE)", Role.UE)]
    granted = diameter.answer(asked.message, avp.RESULT_CODE(2001))
    outputs = pcscf.receive(Received(Interface.RX, Peer(Role.PCRF), granted, asked.token), 1.2)
    assert _sent(outputs) == [("183 (INVITE)", Role.UE)]
    assert pcscf.leftovers()["rx_sessions"] == 1


def test_an_answer_that_comes_again_is_not_authorised_again(pcscf: Pcscf) -> None:
    invite = _called(pcscf)
    answer = _mw(_answer(invite, 183, _sdp("10.9.9.9")))
    asked = _aar(pcscf.receive(answer, 1.0))
    assert isinstance(asked.message, diameter.Message)
    assert pcscf.receive(answer, 1.5) == []
    granted = diameter.answer(asked.message, avp.RESULT_CODE(2001))
    outputs = pcscf.receive(Received(Interface.RX, Peer(Role.PCRF), granted, asked.token), 1.6)
    assert _sent(outputs) == [("183 (INVITE)", Role.UE)]
    assert _sent(pcscf.receive(answer, 2.5)) == [("183 (INVITE)", Role.UE)]


@pytest.mark.parametrize("lost", [False, True])
def test_a_pcrf_that_refuses_or_is_silent_is_told_and_the_call_goes_on(pcscf: Pcscf, lost: bool) -> None:
    invite = _called(pcscf)
    asked = _aar(pcscf.receive(_mw(_answer(invite, 183, _sdp("10.9.9.9"))), 1.0))
    assert isinstance(asked.message, diameter.Message)
    if lost:
        event: Failed | Received = Failed(Interface.RX, Peer(Role.PCRF), asked.token, "Tx expired")
    else:
        refused = diameter.answer(asked.message, avp.RESULT_CODE(5012))
        event = Received(Interface.RX, Peer(Role.PCRF), refused, asked.token)
    outputs = pcscf.receive(event, 2.0)
    assert isinstance(outputs[0], Note)
    assert outputs[0].event == "media_not_authorised"
    assert _sent(outputs) == [("183 (INVITE)", Role.UE)]
    assert pcscf.leftovers()["rx_sessions"] == 0


def _with_bearer(pcscf: Pcscf) -> tuple[sip.Message, str]:
    invite = _called(pcscf)
    asked = _aar(pcscf.receive(_mw(_answer(invite, 200, _sdp("10.9.9.9"))), 1.0))
    assert isinstance(asked.message, diameter.Message)
    granted = diameter.answer(asked.message, avp.RESULT_CODE(2001))
    pcscf.receive(Received(Interface.RX, Peer(Role.PCRF), granted, asked.token), 1.2)
    return invite, str(asked.message.value_of(avp.SESSION_ID))


@pytest.mark.parametrize("from_ue", [True, False])
def test_bye_from_either_side_ends_the_rx_session(pcscf: Pcscf, from_ue: bool) -> None:
    invite, session = _with_bearer(pcscf)
    route = ("Route", invite.first("Record-Route"))
    if from_ue:
        bye = _request("BYE", route, uri="sip:b@10.9.9.9", to=";tag=b", number=2, branch="z9hG4bKbye")
        outputs = pcscf.receive(_gm(bye), 5.0)
    else:
        bye = _request("BYE", route, uri="sip:a@10.0.0.1:5060", to=";tag=a", number=9, branch="z9hG4bKbye")
        outputs = pcscf.receive(_mw(bye), 5.0)
    names = [name for name, _ in _sent(outputs)]
    assert names == ["BYE", "STR"]
    ended = _aar(outputs).message
    assert isinstance(ended, diameter.Message)
    assert ended.value_of(avp.SESSION_ID) == session
    answer = diameter.answer(ended, avp.RESULT_CODE(2001))
    pcscf.receive(Received(Interface.RX, Peer(Role.PCRF), answer, _aar(outputs).token), 5.1)
    assert pcscf.leftovers() == {"registrations": 1, "dialogs": 0, "rx_sessions": 0, "held": 0}


def test_a_call_that_fails_ends_its_rx_session(pcscf: Pcscf) -> None:
    invite = _called(pcscf)
    asked = _aar(pcscf.receive(_mw(_answer(invite, 183, _sdp("10.9.9.9"))), 1.0))
    assert isinstance(asked.message, diameter.Message)
    granted = diameter.answer(asked.message, avp.RESULT_CODE(2001))
    pcscf.receive(Received(Interface.RX, Peer(Role.PCRF), granted, asked.token), 1.2)
    outputs = pcscf.receive(_mw(_answer(invite, 486)), 2.0)
    assert _sent(outputs) == [("ACK", Role.SCSCF), ("486 (INVITE)", Role.UE), ("STR", Role.PCRF)]
    assert pcscf.leftovers()["dialogs"] == 0


def test_an_abort_of_the_pcrf_is_answered_and_the_session_terminated(pcscf: Pcscf) -> None:
    _, session = _with_bearer(pcscf)
    abort = diameter.request(Command.ABORT_SESSION, diameter.Application.RX, avp.SESSION_ID(session))
    outputs = pcscf.receive(Received(Interface.RX, Peer(Role.PCRF), abort, 99), 3.0)
    assert _sent(outputs) == [("ASA", Role.PCRF), ("STR", Role.PCRF)]
    assert isinstance(outputs[0], Send)
    assert outputs[0].reply_to == 99
    assert pcscf.leftovers()["rx_sessions"] == 0
    unknown = diameter.request(Command.RE_AUTH, diameter.Application.RX, avp.SESSION_ID("nobody's"))
    outputs = pcscf.receive(Received(Interface.RX, Peer(Role.PCRF), unknown, 100), 3.0)
    assert isinstance(outputs[0], Send)
    assert isinstance(outputs[0].message, diameter.Message)
    assert outputs[0].message.value_of(avp.RESULT_CODE) == 5002


def test_an_offer_in_the_answer_is_authorised_when_ack_answers_it(pcscf: Pcscf) -> None:
    invite = _message(pcscf.receive(_gm(_request("INVITE")), 0.0), "INVITE")
    assert _sent(pcscf.receive(_mw(_answer(invite, 200, _sdp("10.9.9.9"))), 1.0)) == [("200 (INVITE)", Role.UE)]
    route = ("Route", invite.first("Record-Route"))
    ack = _request("ACK", route, uri="sip:b@10.9.9.9", to=";tag=b", branch="z9hG4bKack", body=_sdp("10.0.0.1"))
    outputs = pcscf.receive(_gm(ack), 2.0)
    assert _sent(outputs) == [("AAR", Role.PCRF)]
    outputs = pcscf.receive(Failed(Interface.RX, Peer(Role.PCRF), _aar(outputs).token, "gone"), 3.0)
    assert [name for name, _ in _sent(outputs)] == ["ACK"]


def test_without_rx_nothing_waits(pcscf: Pcscf) -> None:
    pcscf.import_context({"profile": {"rx": None}}, 0.0)
    invite = _called(pcscf)
    assert _sent(pcscf.receive(_mw(_answer(invite, 183, _sdp("10.9.9.9"))), 1.0)) == [("183 (INVITE)", Role.UE)]


def test_cancel_is_answered_at_once_and_sent_on_when_the_branch_has_answered(pcscf: Pcscf) -> None:
    invite = _called(pcscf)
    cancel = sip.cancel_for(_request("INVITE")).append("Reason", "SIP;cause=487")
    assert _sent(pcscf.receive(_gm(cancel), 1.0)) == [("200 (CANCEL)", Role.UE)]
    outputs = pcscf.receive(_mw(_answer(invite, 180)), 2.0)
    assert _sent(outputs) == [("CANCEL", Role.SCSCF)]
    assert _message(outputs, "CANCEL").values("Reason") == ("SIP;cause=487",)
    assert _sent(pcscf.receive(_mw(_answer(invite, 487)), 3.0)) == [("ACK", Role.SCSCF), ("487 (INVITE)", Role.UE)]
    ack = sip.ack_for(_request("INVITE"), _answer(_request("INVITE"), 487))
    assert pcscf.receive(_gm(ack), 4.0) == []


def test_a_cancelled_branch_that_never_answers_is_given_up(pcscf: Pcscf) -> None:
    _called(pcscf)
    pcscf.receive(_gm(sip.cancel_for(_request("INVITE"))), 1.0)
    assert _sent(pcscf.wake(40.0)) == [("487 (INVITE)", Role.UE)]


def test_a_cancel_of_nothing_gets_481(pcscf: Pcscf) -> None:
    assert _sent(pcscf.receive(_gm(sip.cancel_for(_request("INVITE"))), 1.0)) == [("481 (CANCEL)", Role.UE)]


def test_an_invite_that_rings_too_long_is_cancelled(pcscf: Pcscf) -> None:
    invite = _called(pcscf)
    pcscf.receive(_mw(_answer(invite, 180)), 1.0)
    due = pcscf.deadline()
    assert due == 180.0
    assert _sent(pcscf.wake(180.0)) == [("CANCEL", Role.SCSCF)]
    pcscf.receive(_mw(_answer(invite, 487)), 181.0)
    pcscf.wake(1000.0)
    assert pcscf.deadline() == 600000.0


def test_a_request_again_is_absorbed(pcscf: Pcscf) -> None:
    _called(pcscf)
    assert _sent(pcscf.receive(_gm(_request("INVITE", body=_sdp("10.0.0.1"))), 0.5)) == []


def test_a_request_that_is_wrong_is_refused(pcscf: Pcscf) -> None:
    spent = _request("MESSAGE").with_header("Max-Forwards", "0")
    assert _sent(pcscf.receive(_gm(spent), 0.0)) == [("483 (MESSAGE)", Role.UE)]
    assert _sent(pcscf.receive(_gm(_request("MESSAGE").remove("From")), 0.0)) == [("400 (MESSAGE)", Role.UE)]
    other = _request("MESSAGE").with_header("CSeq", "1 INVITE")
    assert [name for name, _ in _sent(pcscf.receive(_gm(other), 0.0))] == ["400 (INVITE)"]


def test_what_a_proxy_must_do_and_cannot_is_refused(pcscf: Pcscf) -> None:
    """RFC 3261 clause 16.3 step 5. A CANCEL is not asked what it wants."""
    wishes = ("Proxy-Require", "sec-agree, nobody-knows, privacy, nor-this")
    answer = next(one.message for one in pcscf.receive(_gm(_request("INVITE", wishes)), 0.0) if isinstance(one, Send))
    assert isinstance(answer, sip.Message)
    assert (answer.status, answer.values("Unsupported")) == (420, ("nobody-knows", "nor-this"))
    assert _sent(pcscf.receive(_gm(_request("CANCEL", wishes)), 0.1)) == [("481 (CANCEL)", Role.UE)]


def test_an_answer_from_before_our_time_follows_its_via(pcscf: Pcscf) -> None:
    answer = _answer(_request("BYE").prepend("Via", "SIP/2.0/UDP 172.22.0.21;branch=z9hG4bKold"), 200)
    assert _sent(pcscf.receive(_mw(answer), 0.0)) == [("200 (BYE)", Role.UE)]


def test_a_terminating_request_goes_to_the_contact(pcscf: Pcscf) -> None:
    invite = _request(
        "INVITE",
        ("Route", "<sip:term@172.22.0.21:5060;lr>"),
        ("P-Charging-Vector", "icid-value=1"),
        uri="sip:b@10.0.0.2:5060",
        body=_sdp("10.9.9.9"),
    )
    outputs = pcscf.receive(_mw(invite), 0.0)
    assert _sent(outputs) == [("100 (INVITE)", Role.SCSCF), ("INVITE", Role.UE)]
    out = _message(outputs, "INVITE")
    assert not out.has("Route")
    assert not out.has("P-Charging-Vector")
    asked = _aar(pcscf.receive(_gm(_answer(out, 183, _sdp("10.0.0.2")), CALLEE), 1.0))
    assert isinstance(asked.message, diameter.Message)
    assert asked.message.value_of(avp.FRAMED_IP_ADDRESS) == "10.0.0.2"


def _register(number: int, expires: int = 600, **headers: str) -> sip.Message:
    more = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return _request(
        "REGISTER",
        ("Expires", str(expires)),
        ("Authorization", 'Digest username="c@ims.example",realm="ims.example",nonce="",response=""'),
        *more,
        uri="sip:ims.example",
        number=number,
        branch=f"z9hG4bKreg{number}",
    )


def test_register_is_furnished_for_the_home_network_and_keys_are_kept(pcscf: Pcscf) -> None:
    pcscf.import_context({"profile": {"visited_network_id": "visited.example"}}, 0.0)
    peer = Peer(Role.UE, "10.0.0.3:5060")
    out = _message(pcscf.receive(_gm(_register(1, Security_Client="ipsec-3gpp"), peer), 0.0), "REGISTER")
    assert out.first("Path") == "<sip:term@172.22.0.21;lr>"
    assert out.first("P-Visited-Network-ID") == "visited.example"
    assert 'integrity-protected="no"' in out.first("Authorization")
    assert not out.has("Security-Client")
    challenge = sip.respond(out, 401, "Unauthorized", to_tag="r").append(
        "WWW-Authenticate", 'Digest realm="ims.example", nonce="n", algorithm=AKAv1-MD5, ck="aa", ik="bb"'
    )
    shown = _message(pcscf.receive(_mw(challenge, ICSCF), 0.1), "401 (REGISTER)").first("WWW-Authenticate")
    assert sip.digest.parse(shown)[1] == {"realm": "ims.example", "nonce": "n", "algorithm": "AKAv1-MD5"}


def test_where_an_operator_does_so_signalling_has_an_rx_session_while_the_ue_is_registered(pcscf: Pcscf) -> None:
    pcscf.import_context({"profile": {"rx_registration": {"specific_actions": [2, 4]}}}, 0.0)
    peer = Peer(Role.UE, "10.0.0.3:5062")
    outputs = pcscf.receive(_gm(_register(1), peer), 0.0)
    assert _sent(outputs) == [("AAR", Role.PCRF)]
    asked = _aar(outputs)
    assert isinstance(asked.message, diameter.Message)
    flows = [value for path, value in diameter.parameters(asked.message) if "Flow-Description" in path]
    assert flows == [
        "permit out ip from 172.22.0.21 5060 to 10.0.0.3 5062",
        "permit in ip from 10.0.0.3 5062 to 172.22.0.21 5060",
    ]
    granted = diameter.answer(asked.message, avp.RESULT_CODE(2001))
    outputs = pcscf.receive(Received(Interface.RX, Peer(Role.PCRF), granted, asked.token), 0.1)
    assert _sent(outputs) == [("REGISTER", Role.ICSCF)]
    assert pcscf.leftovers()["rx_sessions"] == 1
    out = _message(pcscf.receive(_gm(_register(2, 0), peer), 1.0), "REGISTER")
    outputs = pcscf.receive(_mw(sip.respond(out, 200, "OK", to_tag="r"), ICSCF), 1.1)
    assert _sent(outputs) == [("200 (REGISTER)", Role.UE), ("STR", Role.PCRF)]
    assert pcscf.leftovers()["rx_sessions"] == 0


def test_a_registration_lasts_as_long_as_the_registrar_says(pcscf: Pcscf) -> None:
    peer = Peer(Role.UE, "10.0.0.3:5060")
    for number, expires, held in ((1, 600, 2), (2, 0, 1), (3, 600, 2)):
        out = _message(pcscf.receive(_gm(_register(number, expires), peer), 0.0), "REGISTER")
        answer = sip.respond(out, 200, "OK", to_tag="r").append("Contact", f"<sip:a@10.0.0.1:5060>;expires={expires}")
        pcscf.receive(_mw(answer, ICSCF), 0.1)
        assert pcscf.leftovers()["registrations"] == held
    pcscf.wake(700.0)
    assert pcscf.leftovers()["registrations"] == 1


def _habits(pcscf: Pcscf, **habits: object) -> None:
    pcscf.import_context({"profile": {"sip": habits}}, 0.0)


def test_where_an_operator_does_so_the_contact_says_where_the_ue_really_is(pcscf: Pcscf) -> None:
    _habits(pcscf, contact_alias=True)
    assert _called(pcscf).first("Contact") == "<sip:a@10.0.0.1:5060;alias=10.0.0.1~5060~1>"
    back = _request("BYE", uri="sip:a@10.0.0.1:5060;alias=10.0.0.9~5099~1", to=";tag=x", branch="z9hG4bKback")
    outputs = pcscf.receive(_mw(back), 1.0)
    assert _message(outputs, "BYE").request_uri == "sip:a@10.0.0.1:5060"
    assert isinstance(outputs[0], Send)
    assert outputs[0].peer == Peer(Role.UE, "10.0.0.9:5099")


def test_where_an_operator_has_a_media_relay_its_address_replaces_the_ue_s(pcscf: Pcscf) -> None:
    _habits(pcscf, media_relay="192.0.2.77")
    description = sip.sdp.decode(_called(pcscf).body)
    assert description.connection == "192.0.2.77"
    assert description.origin[5] == "192.0.2.77"
    port = description.media[0].port
    assert port >= 49152
    assert description.media[0].attributes("rtcp") == (str(port + 1),)


def test_a_relay_s_address_is_not_what_the_pcrf_is_told(pcscf: Pcscf) -> None:
    _habits(pcscf, media_relay="192.0.2.77")
    invite = _called(pcscf)
    asked = _aar(pcscf.receive(_mw(_answer(invite, 183, _sdp("192.0.2.78"))), 1.0))
    flows = [value for path, value in diameter.parameters(asked.message) if "Flow-Description" in path]  # type: ignore[arg-type]
    assert flows[0] == "permit out 17 from 192.0.2.78 4000 to 10.0.0.1 4000"


def test_a_request_that_changes_transport_is_record_routed_for_both(pcscf: Pcscf) -> None:
    invite = _request("INVITE").with_header("Via", "SIP/2.0/TCP 10.0.0.1:5060;branch=z9hG4bKtcp")
    out = _message(pcscf.receive(_gm(invite), 0.0), "INVITE")
    assert out.values("Record-Route") == (
        "<sip:mo@172.22.0.21;r2=on;lr>",
        "<sip:mo@172.22.0.21;transport=tcp;r2=on;lr>",
    )
    routes = ("Route", ", ".join(reversed(out.values("Record-Route"))) + ", <sip:172.22.0.20;lr>")
    bye = _request("BYE", routes, uri="sip:b@x", to=";tag=b", branch="z9hG4bKbye", number=2)
    assert _message(pcscf.receive(_gm(bye), 1.0), "BYE").values("Route") == ("<sip:172.22.0.20;lr>",)


def test_what_an_operator_carries_beside_a_contact_is_put_back(pcscf: Pcscf) -> None:
    _habits(pcscf, contact_params_header="C-Params")
    answer = _answer(_called(pcscf), 180).append("Contact", "<sip:b@x>;video").append("C-Params", "video;audio")
    shown = _message(pcscf.receive(_mw(answer), 1.0), "180 (INVITE)")
    assert shown.first("Contact") == "<sip:b@x>;video;video;audio"
    assert not shown.has("C-Params")


def test_a_challenge_may_offer_a_security_association_with_indices_of_its_own(pcscf: Pcscf) -> None:
    offer = "ipsec-3gpp;q=0.1;spi-c={spi_c};spi-s={spi_s};port-c=5100"
    _habits(pcscf, headers={"register_challenge": {"set": {"Security-Server": offer}}})
    out = _message(pcscf.receive(_gm(_register(1)), 0.0), "REGISTER")
    shown = _message(pcscf.receive(_mw(sip.respond(out, 401, "x", to_tag="r"), ICSCF), 0.1), "401 (REGISTER)")
    fields = dict(sip.parameters(shown))
    assert fields["Security-Server[0]/spi-c"] != fields["Security-Server[0]/spi-s"]
    again = _message(pcscf.receive(_gm(_register(2)), 1.0), "REGISTER")
    done = _message(pcscf.receive(_mw(sip.respond(again, 200, "OK", to_tag="r"), ICSCF), 1.1), "200 (REGISTER)")
    assert not done.has("Security-Server")


def test_a_method_that_an_operator_answers_at_once_gets_its_100(pcscf: Pcscf) -> None:
    _habits(pcscf, trying=["REGISTER"], trying_reason="Wait", server="P-CSCF")
    trying = _message(pcscf.receive(_gm(_register(1)), 0.0), "100 (REGISTER)")
    assert (trying.reason, trying.first("Server")) == ("Wait", "P-CSCF")
    assert ";tag=" not in trying.first("To")


def test_context_with_unknown_or_wrong_keys_is_refused(pcscf: Pcscf) -> None:
    for context in (
        {"nonsense": 1},
        {"profile": {"nonsense": 1}},
        {"profile": {"sip": {"nonsense": 1}}},
        {"profile": {"sip": {"headers": {"sideways": {}}}}},
        {"profile": {"rx": {"nonsense": 1}}},
        {"peers": {"1.2.3.4": "butler"}},
        {"registrations": [{}]},
        {"registrations": 5},
    ):
        with pytest.raises(ConfigError):
            pcscf.import_context(context, 0.0)


def test_a_call_that_was_set_up_before_is_taken_over(pcscf: Pcscf) -> None:
    pcscf.import_context({"dialogs": [{"call_id": "call", "ue_address": UE.address, "originating": True}]}, 0.0)
    assert pcscf.leftovers()["dialogs"] == 1
    invite = _request(
        "INVITE", ("Route", "<sip:mo@172.22.0.21;lr>,<sip:172.22.0.20;lr>"), to=";tag=b", body=_sdp("10.0.0.1")
    )
    outputs = pcscf.receive(_gm(invite), 0.0)
    assert _sent(outputs) == [("100 (INVITE)", Role.UE), ("INVITE", Role.SCSCF)]
    assert _sent(pcscf.receive(_mw(_answer(_message(outputs, "INVITE"), 200, _sdp("10.9.9.9"))), 1.0)) == [
        ("AAR", Role.PCRF)
    ]


def test_a_lost_peer_is_noted(pcscf: Pcscf) -> None:
    (note,) = pcscf.receive(PeerLost(Interface.RX, Peer(Role.PCRF), "closed"), 0.0)
    assert isinstance(note, Note)


SEEDS = [_request("INVITE", body=_sdp("10.0.0.1")), _register(1), _answer(_request("INVITE"), 200, _sdp("10.0.0.9"))]


@settings(max_examples=150)
@given(st.sampled_from(SEEDS), st.integers(0, 900), st.binary(max_size=5), st.integers(0, 5), st.booleans())
def test_damaged_messages_never_break_the_nf(seed: sip.Message, at: int, new: bytes, gone: int, ue: bool) -> None:
    nf = Pcscf(address="172.22.0.21", random=Random(7))
    octets = seed.encode()
    try:
        message = sip.decode(octets[:at] + new + octets[at + gone :])
        nf.receive(_gm(message) if ue else _mw(message), 0.0)
    except ProtocolError:
        return
