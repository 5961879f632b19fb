"""Registration with AKA, against an HSS's vectors and a registrar's checks."""

from __future__ import annotations

from random import Random

import pytest

from ferret.errors import LocalMisuseError
from ferret.protocols import sip
from ferret.protocols.nas import Milenage
from ferret_core.enb.usim import Usim
from ferret_core.ua import NotRegistered, Registered, UaConfiguration, UserAgent
from ferret_core.ua.registration_watch import deregistered

P, UE = "192.0.2.1:5060", "10.0.0.1:5060"
DOMAIN = "ims.mnc001.mcc001.3gppnetwork.org"
IMSI = "001010000000001"
FUNCTIONS = Milenage(bytes(range(16)), bytes(range(16, 32)))


@pytest.fixture
def agent() -> UserAgent:
    own = UaConfiguration(
        address=UE, proxy=P, identity=f"sip:{IMSI}@{DOMAIN}", private_identity=f"{IMSI}@{DOMAIN}", expires=3600
    )
    return UserAgent(own, Random(1), usim=Usim(IMSI, FUNCTIONS))


def _sent(agent: UserAgent) -> sip.Message:
    ((octets, destination),) = agent.datagrams()
    assert destination == P
    return sip.decode(octets)


def _challenge(register: sip.Message, sqn: int = 1, *, spoilt: bool = False) -> tuple[sip.Message, bytes]:
    rand = bytes([sqn]) * 16
    autn = FUNCTIONS.autn(rand, sqn.to_bytes(6, "big"), b"\x80\0")
    nonce = sip.digest.aka_nonce(rand, autn[:8] + bytes(8) if spoilt else autn)
    params = {"realm": DOMAIN, "nonce": nonce, "algorithm": "AKAv1-MD5", "qop": "auth"}
    value = sip.digest.format_challenge(params)
    return sip.respond(register, 401, "Unauthorized", to_tag="r", headers=(("WWW-Authenticate", value),)), rand


def _accept(register: sip.Message, seconds: int) -> sip.Message:
    headers = (
        ("Contact", f"{sip.parse_name_addr(register.first('Contact')).uri.join('<>')};expires={seconds}"),
        ("Service-Route", f"<sip:orig@scscf.{DOMAIN};lr>"),
        ("P-Associated-URI", f"<sip:491700@{DOMAIN}>, <tel:491700>"),
    )
    return sip.respond(register, 200, "OK", to_tag="r", headers=headers)


def _receive(agent: UserAgent, message: sip.Message, now: float = 0.0) -> list[object]:
    return list(agent.receive_datagram(message.encode(), P, now))


def _registered(agent: UserAgent, seconds: int = 3600) -> sip.Message:
    agent.register(0.0)
    first = _sent(agent)
    _receive(agent, _challenge(first)[0])
    second = _sent(agent)
    _receive(agent, _accept(second, seconds))
    return second


def test_the_challenge_is_answered_with_what_the_usim_computes(agent: UserAgent) -> None:
    agent.register(0.0)
    first = _sent(agent)
    assert first.request_uri == f"sip:{DOMAIN}"
    assert sip.digest.parse(first.first("Authorization"))[1]["username"] == f"{IMSI}@{DOMAIN}"
    challenge, rand = _challenge(first)
    assert _receive(agent, challenge) == []
    second = _sent(agent)
    assert second.first("Call-ID") == first.first("Call-ID")
    assert sip.cseq_number(second) == "2"
    credentials = sip.digest.parse(second.first("Authorization"))[1]
    assert sip.digest.verify(credentials, method="REGISTER", password=FUNCTIONS.f2(rand))
    identities = (f"sip:491700@{DOMAIN}", "tel:491700")
    assert _receive(agent, _accept(second, 3600)) == [Registered(identities, 3600)]
    assert agent.leftovers() == {"calls": 0, "registrations": 1}


def test_a_registered_device_calls_under_its_default_identity_along_the_service_route(agent: UserAgent) -> None:
    _registered(agent)
    agent.call("tel:4989", 1.0)
    invite = _sent(agent)
    assert invite.values("Route") == (f"<sip:{P};lr>", f"<sip:orig@scscf.{DOMAIN};lr>")
    assert invite.first("P-Preferred-Identity") == f"<sip:491700@{DOMAIN}>"


@pytest.mark.parametrize(("seconds", "due"), [(3600, 3000.0), (600, 300.0)])
def test_a_registration_is_refreshed_in_time(agent: UserAgent, seconds: int, due: float) -> None:
    _registered(agent, seconds)
    while (deadline := agent.deadline()) is not None and deadline < due:
        agent.wake(deadline)
    assert agent.datagrams() == []
    agent.wake(due)
    again = _sent(agent)
    _receive(agent, _challenge(again, 2)[0], due)
    assert agent.leftovers()["registrations"] == 1
    assert isinstance(_receive(agent, _accept(_sent(agent), seconds), due)[0], Registered)


def test_a_device_leaves(agent: UserAgent) -> None:
    _registered(agent)
    agent.deregister(1.0)
    first = _sent(agent)
    assert sip.parse_name_addr(first.first("Contact")).param("expires") == "0"
    _receive(agent, _challenge(first, 2)[0])
    assert _receive(agent, _accept(_sent(agent), 0)) == [NotRegistered(200, "left")]
    assert agent.leftovers() == {"calls": 0, "registrations": 0}
    with pytest.raises(LocalMisuseError):
        agent.deregister(2.0)


def test_a_network_that_does_not_know_the_key_is_not_believed(agent: UserAgent) -> None:
    agent.register(0.0)
    assert _receive(agent, _challenge(_sent(agent), spoilt=True)[0]) == [
        NotRegistered(403, "the network's MAC is wrong")
    ]


def test_a_sequence_number_out_of_range_is_told_with_auts(agent: UserAgent) -> None:
    _registered(agent)
    agent.register(1.0)
    _receive(agent, _challenge(_sent(agent), 1)[0])
    assert "auts" in sip.digest.parse(_sent(agent).first("Authorization"))[1]


@pytest.mark.parametrize("value", ["", "Basic x", 'Digest nonce="!"', 'Digest nonce="AAAA"', "Digest ,,"])
def test_challenges_that_are_none_end_it(agent: UserAgent, value: str) -> None:
    agent.register(0.0)
    challenge = sip.respond(_sent(agent), 401, "Unauthorized", to_tag="r", headers=(("WWW-Authenticate", value),))
    (event,) = _receive(agent, challenge)
    assert isinstance(event, NotRegistered)
    assert event.status == 401


def test_a_refusal_and_silence_are_told(agent: UserAgent) -> None:
    agent.register(0.0)
    assert _receive(agent, sip.respond(_sent(agent), 403, "Forbidden", to_tag="r")) == [NotRegistered(403, "Forbidden")]
    agent.register(0.0)
    events: list[object] = []
    while not events and (deadline := agent.deadline()) is not None:
        events += agent.wake(deadline)
    assert events == [NotRegistered(408, "Request Timeout")]


REGINFO = (
    '<?xml version="1.0"?>\n<reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="0" state="full">'
    '<registration aor="sip:491700@x" id="r0" state="{0}">{1}</registration></reginfo>'
)
OURS = f'<contact id="c0" state="{{0}}" event="x"><uri>sip:{IMSI}@{UE}</uri></contact>'
THEIRS = '<contact id="c1" state="{0}" event="x"><uri>sip:other@10.9.9.9</uri></contact>'


def _document(registration: str, *contacts: str) -> bytes:
    return REGINFO.format(registration, "".join(contacts)).encode()


@pytest.mark.parametrize(
    ("document", "gone"),
    [
        (_document("active", OURS.format("active")), False),
        (_document("active", THEIRS.format("active"), OURS.format("terminated")), True),
        (_document("active", THEIRS.format("terminated"), OURS.format("active")), False),
        (_document("terminated"), True),
        (_document("active"), False),
        (_document("active", THEIRS.format("terminated")), False),
        (b"", False),
        (b"<contact " * 1000, False),
        (b"\xff<registration state='terminated'>", True),
        (b"<registration state='terminated'>" * 10000, False),
    ],
)
def test_a_registration_state_document_says_whether_we_are_gone(document: bytes, gone: bool) -> None:
    assert deregistered(document, f"<sip:{IMSI}@{UE}>") is gone


@pytest.fixture
def watching() -> UserAgent:
    own = UaConfiguration(
        address=UE,
        proxy=P,
        identity=f"sip:{IMSI}@{DOMAIN}",
        private_identity=f"{IMSI}@{DOMAIN}",
        watches_registration=True,
    )
    return UserAgent(own, Random(1), usim=Usim(IMSI, FUNCTIONS))


def _notify(subscribe: sip.Message, number: int, state: str, body: bytes) -> sip.Message:
    fields = [
        ("Via", f"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKn{number}"),
        ("From", f"{subscribe.first('To')};tag=s"),
        ("To", subscribe.first("From")),
        ("Call-ID", subscribe.first("Call-ID")),
        ("CSeq", f"{number} NOTIFY"),
        ("Event", "reg"),
        ("Subscription-State", state),
        ("Content-Type", "application/reginfo+xml"),
    ]
    return sip.request("NOTIFY", f"sip:{IMSI}@{UE}", fields, body)


def test_a_device_watches_its_registration_and_learns_that_it_is_gone(watching: UserAgent) -> None:
    _registered(watching, 600000)
    subscribe = _sent(watching)
    assert (subscribe.method, subscribe.first("Event")) == ("SUBSCRIBE", "reg")
    assert subscribe.values("Route") == (f"<sip:{P};lr>", f"<sip:orig@scscf.{DOMAIN};lr>")
    accepted = sip.respond(subscribe, 200, "OK", to_tag="s", headers=(("Expires", "600000"), ("Contact", "<sip:s>")))
    _receive(watching, accepted)
    assert _receive(watching, _notify(subscribe, 1, "active", _document("active", OURS.format("active")))) == []
    assert _sent(watching).status == 200
    (event,) = _receive(watching, _notify(subscribe, 2, "terminated;reason=deactivated", _document("terminated")))
    assert event == NotRegistered(480, "deregistered by the network")
    assert _sent(watching).status == 200
    assert watching.leftovers()["registrations"] == 0


def test_a_subscription_is_refreshed_and_a_refused_one_given_up(watching: UserAgent) -> None:
    _registered(watching, 600000)
    subscribe = _sent(watching)
    accepted = sip.respond(subscribe, 200, "OK", to_tag="s", headers=(("Expires", "3600"), ("Contact", f"<sip:{P}>")))
    _receive(watching, accepted)
    while (deadline := watching.deadline()) is not None and deadline <= 3000.0:
        watching.wake(deadline)
    again = _sent(watching)
    assert (again.method, sip.cseq_number(again)) == ("SUBSCRIBE", "2")
    assert "tag=s" in again.first("To")
    _receive(watching, sip.respond(again, 481, "Gone", to_tag="s"), 3000.0)
    assert watching.watch.state == "none"
    assert watching.leftovers()["registrations"] == 1
