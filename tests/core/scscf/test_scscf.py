"""What an S-CSCF does apart from what recordings show: failed authentication, forks, subscriptions, the HSS."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferret.errors import ConfigError, ProtocolError
from ferret.protocols import diameter, sip
from ferret.protocols.diameter import Application, Command, avp
from ferret.records.message import Interface, Role
from ferret_core.nf import Failed, Note, Output, Peer, PeerLost, Received, Send
from ferret_core.scscf import Scscf

PCSCF = Peer(Role.PCSCF, "172.22.0.21:5060")
ICSCF = Peer(Role.ICSCF, "172.22.0.19:5060")
HSS = Peer(Role.HSS)
IMPI = "a@ims.example"
CONTACT = "<sip:a@10.0.0.1:5060>;+g.3gpp.smsip"
RAND, AUTN, XRES = b"r" * 16, b"a" * 16, b"x" * 8
PROFILE = (
    "<IMSSubscription><ServiceProfile>"
    "<PublicIdentity><BarringIndication>1</BarringIndication><Identity>sip:imsi@ims.example</Identity></PublicIdentity>"
    "<PublicIdentity><Identity>sip:a@ims.example</Identity></PublicIdentity>"
    "<PublicIdentity><Identity>tel:+491700</Identity></PublicIdentity>"
    "</ServiceProfile></IMSSubscription>"
)


@pytest.fixture
def scscf() -> Scscf:
    nf = Scscf(address="172.22.0.20", random=Random(7))
    nf.import_context(
        {
            "names": {"pcscf.ims.example": "172.22.0.21:5060", "ims.example": "172.22.0.19"},
            "peers": {PCSCF.address: "P-CSCF", ICSCF.address: "I-CSCF"},
            "registrations": [
                {
                    "impi": "b@ims.example",
                    "impus": ["sip:b@ims.example", "tel:+492700"],
                    "contact": "sip:b@10.0.0.2:5060",
                    "path": ["<sip:term@pcscf.ims.example;lr>"],
                }
            ],
        },
        0.0,
    )
    return nf


def _request(method: str, *headers: tuple[str, str], uri: str, **more: object) -> sip.Message:
    number = more.get("number", 1)
    fields = [
        ("Via", f"SIP/2.0/UDP 172.22.0.19;branch=z9hG4bK{method}{number}"),
        ("Max-Forwards", "68"),
        ("From", "<sip:a@ims.example>;tag=a"),
        ("To", str(more.get("to", "<sip:a@ims.example>"))),
        ("Call-ID", "call"),
        ("CSeq", f"{number} {method}"),
        ("Contact", str(more.get("contact", CONTACT))),
        *headers,
    ]
    return sip.request(method, uri, fields)


def _register(number: int = 1, expires: int = 600, credentials: str = "", contact: str = CONTACT) -> Received:
    text = credentials or f'Digest username="{IMPI}",realm="ims.example",uri="sip:ims.example",nonce="",response=""'
    headers = (
        ("Authorization", text),
        ("Expires", str(expires)),
        ("Path", "<sip:term@pcscf.ims.example;lr>"),
        ("Require", "path"),
    )
    message = _request("REGISTER", *headers, uri="sip:scscf.ims.example", number=number, contact=contact)
    return Received(Interface.MW, ICSCF, message)


def _cx(outputs: Sequence[Output]) -> Send:
    return next(one for one in outputs if isinstance(one, Send) and one.interface is Interface.CX)


def _asked(send: Send) -> diameter.Message:
    assert isinstance(send.message, diameter.Message)
    return send.message


def _sip(outputs: Sequence[Output]) -> list[sip.Message]:
    return [one.message for one in outputs if isinstance(one, Send) and isinstance(one.message, sip.Message)]


def _names(outputs: Sequence[Output]) -> list[str]:
    return [sip.summarise(message).name for message in _sip(outputs)]


def _from_hss(asked: Send, *avps: diameter.Avp) -> Received:
    return Received(Interface.CX, HSS, diameter.answer(_asked(asked), *avps), asked.token)


def _vector(asked: Send) -> Received:
    item = avp.SIP_AUTH_DATA_ITEM(
        avp.SIP_AUTHENTICATION_SCHEME("Digest-AKAv1-MD5"),
        avp.SIP_AUTHENTICATE(RAND + AUTN),
        avp.SIP_AUTHORIZATION(XRES),
        avp.CONFIDENTIALITY_KEY(b"c" * 16),
        avp.INTEGRITY_KEY(b"i" * 16),
    )
    return _from_hss(asked, avp.RESULT_CODE(2001), item)


def _challenge(scscf: Scscf, number: int = 1) -> dict[str, str]:
    asked = _cx(scscf.receive(_register(number), 0.0))
    assert _asked(asked).command == Command.MULTIMEDIA_AUTH
    (answer,) = _sip(scscf.receive(_vector(asked), 0.1))
    assert answer.status == 401
    return sip.digest.parse(answer.first("WWW-Authenticate"))[1]


def _credentials(challenge: dict[str, str], password: bytes = XRES) -> str:
    params = {"username": IMPI, "realm": challenge["realm"], "uri": "sip:ims.example", "nonce": challenge["nonce"]}
    params |= {"qop": "auth", "nc": "00000001", "cnonce": "c", "algorithm": "AKAv1-MD5"}
    params["response"] = sip.digest.response(params, method="REGISTER", password=password)
    return sip.digest.format_challenge(params)


def _registered(scscf: Scscf, number: int = 1, expires: int = 600, contact: str = CONTACT) -> sip.Message:
    credentials = _credentials(_challenge(scscf, number))
    asked = _cx(scscf.receive(_register(number + 1, expires, credentials, contact), 1.0))
    assert _asked(asked).command == Command.SERVER_ASSIGNMENT
    user_data = avp.USER_DATA(PROFILE)
    return _sip(scscf.receive(_from_hss(asked, avp.RESULT_CODE(2001), user_data), 1.1))[0]


def test_the_vector_of_the_hss_becomes_the_challenge(scscf: Scscf) -> None:
    assert _challenge(scscf) == {
        "realm": "ims.example",
        "nonce": b64encode(RAND + AUTN).decode(),
        "algorithm": "AKAv1-MD5",
        "ck": (b"c" * 16).hex(),
        "ik": (b"i" * 16).hex(),
        "qop": "auth",
    }


def test_the_right_response_registers_with_the_identities_that_are_not_barred(scscf: Scscf) -> None:
    answer = _registered(scscf)
    assert answer.status == 200
    assert answer.values("P-Associated-URI") == ("<sip:a@ims.example>", "<tel:+491700>")
    assert answer.first("Contact") == "<sip:a@10.0.0.1:5060>;expires=600;+g.3gpp.smsip"
    assert answer.first("Path") == "<sip:term@pcscf.ims.example;lr>"
    assert answer.first("Service-Route") == "<sip:orig@172.22.0.20;lr>"
    assert scscf.leftovers()["registrations"] == 2


def test_a_wrong_response_is_refused_and_the_vector_spent(scscf: Scscf) -> None:
    challenge = _challenge(scscf)
    outputs = scscf.receive(_register(2, credentials=_credentials(challenge, b"wrong")), 1.0)
    assert _names(outputs) == ["403 (REGISTER)"]
    again = scscf.receive(_register(3, credentials=_credentials(challenge)), 2.0)
    assert _asked(_cx(again)).command == Command.MULTIMEDIA_AUTH


def test_a_resynchronisation_is_handed_to_the_hss(scscf: Scscf) -> None:
    challenge = _challenge(scscf)
    auts = b64encode(b"s" * 14).decode()
    outputs = scscf.receive(_register(2, credentials=_credentials(challenge) + f', auts="{auts}"'), 1.0)
    item = _asked(_cx(outputs)).find(avp.SIP_AUTH_DATA_ITEM)
    assert item is not None
    assert item.value_of(avp.SIP_AUTHORIZATION) == RAND + b"s" * 14


@pytest.mark.parametrize("stage", ["MAR", "SAR"])
@pytest.mark.parametrize("silent", [False, True])
def test_an_hss_that_refuses_or_is_silent_fails_the_registration(scscf: Scscf, stage: str, silent: bool) -> None:
    if stage == "MAR":
        asked = _cx(scscf.receive(_register(), 0.0))
    else:
        asked = _cx(scscf.receive(_register(2, credentials=_credentials(_challenge(scscf))), 0.0))
    if silent:
        outputs = scscf.receive(Failed(Interface.CX, HSS, asked.token, "Tx expired"), 10.0)
        assert _names(outputs) == ["504 (REGISTER)"]
    else:
        outputs = scscf.receive(_from_hss(asked, avp.RESULT_CODE(5012)), 1.0)
        assert _names(outputs) == ["403 (REGISTER)"]
    assert scscf.leftovers() == {"registrations": 1, "subscriptions": 0, "waiting": 0}


def test_an_answer_without_a_usable_vector_is_a_server_error(scscf: Scscf) -> None:
    asked = _cx(scscf.receive(_register(), 0.0))
    assert _names(scscf.receive(_from_hss(asked, avp.RESULT_CODE(2001)), 1.0)) == ["500 (REGISTER)"]


def test_registering_again_and_leaving_say_so_to_the_hss(scscf: Scscf) -> None:
    _registered(scscf)
    kinds = []
    for number, expires in ((3, 600), (5, 0)):
        credentials = _credentials(_challenge(scscf, number))
        asked = _cx(scscf.receive(_register(number + 1, expires, credentials), 5.0))
        kinds.append(_asked(asked).value_of(avp.SERVER_ASSIGNMENT_TYPE))
        scscf.receive(_from_hss(asked, avp.RESULT_CODE(2001)), 5.1)
    assert kinds == [2, 5]
    assert scscf.leftovers()["registrations"] == 1


def test_a_registration_that_runs_out_is_told_to_the_hss(scscf: Scscf) -> None:
    _registered(scscf, expires=600)
    assert scscf.wake(500.0) == []
    asked = _cx(scscf.wake(700.0))
    assert _asked(asked).value_of(avp.SERVER_ASSIGNMENT_TYPE) == 4
    assert scscf.leftovers()["registrations"] == 1


@pytest.mark.parametrize(
    "uri",
    [
        "sip:b@ims.example",
        "sip:b@ims.example;user=phone",
        "tel:+492700",
        "sip:+492700@ims.example;user=phone",
        "sip:492700;phone-context=ims.example@ims.example;user=phone",
    ],
)
def test_a_registered_user_is_found_by_each_of_its_identities(scscf: Scscf, uri: str) -> None:
    invite = _request("INVITE", ("Route", "<sip:172.22.0.20>"), uri=uri, to="<sip:b@ims.example>")
    outputs = scscf.receive(Received(Interface.MW, ICSCF, invite), 0.0)
    assert _names(outputs) == ["100 (INVITE)", "INVITE"]
    out = _sip(outputs)[1]
    assert out.request_uri == "sip:b@10.0.0.2:5060"
    assert out.values("Route") == ("<sip:term@pcscf.ims.example;lr>",)
    assert out.first("P-Called-Party-ID") == f"<{uri}>"
    assert isinstance(outputs[1], Send)
    assert outputs[1].peer == PCSCF


def test_nobody_gets_480(scscf: Scscf) -> None:
    invite = _request("INVITE", uri="sip:nobody@ims.example", to="<sip:nobody@ims.example>")
    outputs = scscf.receive(Received(Interface.MW, ICSCF, invite), 0.0)
    assert _names(outputs) == ["100 (INVITE)", "480 (INVITE)"]


def _forked(scscf: Scscf) -> list[sip.Message]:
    second = {"impi": "b@ims.example", "impus": ["sip:b@ims.example"], "contact": "sip:b@10.0.0.9:5060", "path": []}
    scscf.import_context({"registrations": [second]}, 0.0)
    invite = _request("INVITE", uri="sip:b@ims.example", to="<sip:b@ims.example>")
    return _sip(scscf.receive(Received(Interface.MW, ICSCF, invite), 0.0))[1:]


def _from_pcscf(request: sip.Message, status: int) -> Received:
    return Received(Interface.MW, PCSCF, sip.respond(request, status, "x", to_tag=f"t{status}"))


def test_a_call_forks_to_every_contact_and_the_first_answer_cancels_the_others(scscf: Scscf) -> None:
    one, other = _forked(scscf)
    assert {one.request_uri, other.request_uri} == {"sip:b@10.0.0.2:5060", "sip:b@10.0.0.9:5060"}
    assert _names(scscf.receive(_from_pcscf(other, 180), 1.0)) == ["180 (INVITE)"]
    outputs = scscf.receive(_from_pcscf(one, 200), 2.0)
    assert _names(outputs) == ["200 (INVITE)", "CANCEL"]
    cancel = _sip(outputs)[1]
    assert cancel.values("Via") == other.values("Via")[:1]
    assert cancel.first("Reason") == 'SIP;cause=200;text="Call completed elsewhere"'
    assert scscf.receive(_from_pcscf(cancel, 200), 2.1) == []
    assert _names(scscf.receive(_from_pcscf(other, 487), 2.2)) == ["ACK"]


def test_of_several_refusals_the_best_goes_back_when_all_are_in(scscf: Scscf) -> None:
    one, other = _forked(scscf)
    assert _names(scscf.receive(_from_pcscf(one, 503), 1.0)) == ["ACK"]
    assert _names(scscf.receive(_from_pcscf(other, 486), 2.0)) == ["ACK", "486 (INVITE)"]


def test_an_originating_request_leaves_for_the_domain_s_entry(scscf: Scscf) -> None:
    invite = _request("INVITE", ("Route", "<sip:orig@172.22.0.20;lr>"), uri="sip:c@ims.example")
    outputs = scscf.receive(Received(Interface.MW, PCSCF, invite), 0.0)
    assert isinstance(outputs[1], Send)
    assert outputs[1].peer == ICSCF
    out = _sip(outputs)[1]
    assert not out.has("Route")
    assert out.first("Record-Route") == "<sip:mo@172.22.0.20;lr>"


def _subscribe(number: int = 1, expires: str = "3600") -> Received:
    headers = (("Event", "reg"), ("Expires", expires), ("Record-Route", "<sip:mo@172.22.0.21;lr>"))
    request = _request("SUBSCRIBE", *headers, uri="sip:b@ims.example", to="<sip:b@ims.example>", number=number)
    return Received(Interface.MW, PCSCF, request)


@pytest.mark.parametrize(("form", "shown"), [("", None), ('"{}"', '"600"'), ("{}", "600")])
def test_what_a_ue_asked_for_is_among_its_parameters_where_the_recorded_s_cscf_has_it(
    scscf: Scscf, form: str, shown: str | None
) -> None:
    scscf.import_context({"profile": {"registrar": {"contact_expires": form}}}, 0.0)
    _registered(scscf, contact=f"{CONTACT};expires=600")
    request = _request("SUBSCRIBE", ("Event", "reg"), uri="sip:a@ims.example", number=5)
    _, notify = _sip(scscf.receive(Received(Interface.MW, PCSCF, request), 2.0))
    fields = dict(sip.parameters(notify))
    assert fields.get("reginfo/registration[sip:a@ims.example]/contact[0]/unknown-param[expires]") == shown
    assert "reginfo/registration[sip:a@ims.example]/contact[0]/unknown-param[+g.3gpp.smsip]" in fields


def test_a_subscription_to_the_registration_state_is_notified_at_once_and_at_the_end(scscf: Scscf) -> None:
    outputs = scscf.receive(_subscribe(), 0.0)
    assert _names(outputs) == ["200 (SUBSCRIBE)", "NOTIFY"]
    accepted, notify = _sip(outputs)
    assert notify.first("From") == accepted.first("To")
    assert notify.first("Subscription-State") == "active;expires=3600"
    assert notify.values("Route") == ("<sip:mo@172.22.0.21;lr>",)
    fields = dict(sip.parameters(notify))
    assert fields["reginfo/registration[sip:b@ims.example]/contact[0]/uri"] == "sip:b@10.0.0.2:5060"
    answer = sip.respond(notify, 200, "OK")
    assert scscf.receive(Received(Interface.MW, PCSCF, answer), 0.1) == []
    assert _names(scscf.receive(_subscribe(2, "0"), 1.0)) == ["200 (SUBSCRIBE)", "NOTIFY"]
    assert scscf.leftovers()["subscriptions"] == 0


def test_the_hss_takes_a_user_away_and_changes_its_identities(scscf: Scscf) -> None:
    user = avp.USER_NAME("b@ims.example")
    push = diameter.request(Command.PUSH_PROFILE, Application.CX, user, avp.USER_DATA(PROFILE))
    outputs = scscf.receive(Received(Interface.CX, HSS, push, 5), 0.0)
    assert isinstance(outputs[0], Send)
    assert outputs[0].reply_to == 5
    assert scscf.find("tel:+491700") is not None
    leave = diameter.request(Command.REGISTRATION_TERMINATION, Application.CX, user)
    scscf.receive(Received(Interface.CX, HSS, leave, 6), 0.0)
    assert scscf.leftovers()["registrations"] == 0


def test_context_with_unknown_or_wrong_keys_is_refused(scscf: Scscf) -> None:
    for context in (
        {"nonsense": 1},
        {"profile": {"nonsense": 1}},
        {"profile": {"registrar": {"nonsense": 1}}},
        {"profile": {"cx": {"nonsense": 1}}},
        {"registrations": [{"impus": []}]},
        {"names": 7},
    ):
        with pytest.raises(ConfigError):
            scscf.import_context(context, 0.0)


def test_what_comes_late_or_from_nowhere_is_noted(scscf: Scscf) -> None:
    stray = diameter.answer(diameter.request(Command.MULTIMEDIA_AUTH, Application.CX), avp.RESULT_CODE(2001))
    for event in (Received(Interface.CX, HSS, stray, 77), PeerLost(Interface.CX, HSS, "closed")):
        (note,) = scscf.receive(event, 0.0)
        assert isinstance(note, Note)


SEEDS = [_register().message, _subscribe().message, _request("INVITE", uri="sip:b@ims.example")]


@settings(max_examples=150)
@given(st.sampled_from(SEEDS), st.integers(0, 700), st.binary(max_size=5), st.integers(0, 5), st.booleans())
def test_damaged_messages_never_break_the_nf(seed: sip.Message, at: int, new: bytes, gone: int, inner: bool) -> None:
    nf = Scscf(address="172.22.0.20", random=Random(7))
    octets = seed.encode()
    try:
        message = sip.decode(octets[:at] + new + octets[at + gone :])
        nf.receive(Received(Interface.MW, PCSCF if inner else ICSCF, message), 0.0)
    except ProtocolError:
        return
