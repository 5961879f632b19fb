"""A small IMS in memory: UEs, P-CSCF, S-CSCF, and stand-ins for I-CSCF, HSS and PCRF. Nothing here is recorded."""

from __future__ import annotations

from collections import deque
from random import Random

import pytest

from ferret.protocols import diameter, sip
from ferret.protocols.diameter import Command, avp
from ferret.records.message import Interface, Role
from ferret_core.nf import NetworkFunction, Peer, Received, Send
from ferret_core.pcscf import Pcscf
from ferret_core.scscf import Scscf

PCSCF, SCSCF, ICSCF = "172.22.0.21:5060", "172.22.0.20:5060", "172.22.0.19:5060"
NAMES = {"ims.example": ICSCF, "pcscf.ims.example": PCSCF, "scscf.ims.example": SCSCF}
PEERS = {PCSCF: "P-CSCF", SCSCF: "S-CSCF", ICSCF: "I-CSCF"}
XRES = b"12345678"
SDP = "v=0\r\no=- 1 1 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\nm=audio 4000 RTP/AVP 96\r\nb=AS:41\r\na={1}\r\n"


class Ims:
    """The NFs and what carries messages between them."""

    def __init__(self) -> None:
        self.pcscf = Pcscf(address=PCSCF, random=Random(1))
        self.scscf = Scscf(address=SCSCF, random=Random(2))
        profile = {"sip": {"headers": {"register": {"set": {"Path": "<sip:term@pcscf.ims.example;lr>"}}}}}
        self.pcscf.import_context({"names": NAMES, "peers": PEERS, "profile": profile}, 0.0)
        service_route = {"registrar": {"service_route": "<sip:orig@scscf.ims.example;lr>"}}
        self.scscf.import_context({"names": NAMES, "peers": PEERS, "profile": service_route}, 0.0)
        self.nfs: dict[str, NetworkFunction] = {PCSCF: self.pcscf, SCSCF: self.scscf}
        self.inboxes: dict[str, deque[sip.Message]] = {}
        self.rx: list[str] = []
        self.now = 0.0
        self.branches = 0

    def send(self, source: str, message: sip.Message) -> None:
        """A UE sends something; everything that follows from it happens."""
        self._deliver(PCSCF, Received(Interface.GM, Peer(Role.UE, source), message))

    def _deliver(self, target: str, event: Received) -> None:
        self.now += 0.001
        for one in self.nfs[target].receive(event, self.now):
            if isinstance(one, Send):
                self._carry(target, one)

    def _carry(self, sender: str, one: Send) -> None:
        if isinstance(one.message, diameter.Message):
            answer = self._answer(one.message)
            self._deliver(sender, Received(one.interface, one.peer, answer, one.token))
            return
        assert isinstance(one.message, sip.Message)
        message = sip.decode(one.message.encode())
        if one.peer.role is Role.UE:
            self.inboxes.setdefault(one.peer.address, deque()).append(message)
        elif one.peer.address == ICSCF:
            self._interrogate(message)
        else:
            peer = Peer(Role(PEERS[sender]), sender)
            self._deliver(one.peer.address, Received(Interface.MW, peer, message))

    def _interrogate(self, message: sip.Message) -> None:
        """The I-CSCF: requests to the S-CSCF, answers back where they came from."""
        if message.is_request:
            self.branches += 1
            via = f"SIP/2.0/UDP 172.22.0.19;branch=z9hG4bKicscf{self.branches}"
            if message.method in ("ACK", "CANCEL"):
                via = f"SIP/2.0/UDP 172.22.0.19;branch=z9hG4bKicscf{self.invite}"
            elif message.method == "INVITE":
                self.invite = self.branches
            target, message = SCSCF, message.prepend("Via", via)
        else:
            message = message.remove_first_value("Via")
            host = sip.parse_via(message.first("Via")).host
            target = PCSCF if host == "172.22.0.21" else SCSCF
            if message.status >= 300 and message.method == "INVITE":
                ack = sip.ack_for(sip.request("INVITE", "sip:x", [("Via", self._icscf_via())]), message)
                self._deliver(SCSCF, Received(Interface.MW, Peer(Role.ICSCF, ICSCF), ack))
        self._deliver(target, Received(Interface.MW, Peer(Role.ICSCF, ICSCF), message))

    def _icscf_via(self) -> str:
        return f"SIP/2.0/UDP 172.22.0.19;branch=z9hG4bKicscf{self.invite}"

    def _answer(self, asked: diameter.Message) -> diameter.Message:
        """HSS and PCRF."""
        self.rx += (
            [diameter.summarise(asked).name] if asked.command in (Command.AA, Command.SESSION_TERMINATION) else []
        )
        more: list[diameter.Avp] = []
        if asked.command == Command.MULTIMEDIA_AUTH:
            nonce = avp.SIP_AUTHENTICATE(b"r" * 16 + b"a" * 16)
            more.append(avp.SIP_AUTH_DATA_ITEM(nonce, avp.SIP_AUTHORIZATION(XRES)))
        if asked.command == Command.SERVER_ASSIGNMENT:
            user = (asked.value_of(avp.USER_NAME) or "").partition("@")[0]
            identity = f"<PublicIdentity><Identity>sip:{user}@ims.example</Identity></PublicIdentity>"
            more.append(avp.USER_DATA(identity))
        return diameter.answer(asked, avp.RESULT_CODE(2001), *more)


class Ue:
    """A UE that says what a test tells it to."""

    def __init__(self, ims: Ims, name: str, address: str) -> None:
        self.ims, self.name, self.host = ims, name, address
        self.address = f"{address}:5060"
        self.number = 0

    def request(
        self, method: str, uri: str, *headers: tuple[str, str], to: str = "", body: str = "", call: str = "call"
    ) -> sip.Message:
        if method not in ("ACK", "CANCEL"):
            self.number += 1
        fields = [
            ("Via", f"SIP/2.0/UDP {self.address};branch=z9hG4bK{self.name}{self.number}{method};rport"),
            ("Max-Forwards", "70"),
            ("From", f"<sip:{self.name}@ims.example>;tag={self.name}"),
            ("To", to or f"<{uri}>"),
            ("Call-ID", call),
            ("CSeq", f"{self.number} {method}"),
            ("Contact", f"<sip:{self.name}@{self.address}>"),
            *headers,
        ]
        if body:
            fields.append(("Content-Type", "application/sdp"))
        message = sip.request(method, uri, fields, body.encode())
        self.ims.send(self.address, message)
        return message

    def answer(self, request: sip.Message, status: int, body: str = "") -> None:
        headers = [("Record-Route", value) for value in request.values("Record-Route")]
        contact = ("Contact", f"<sip:{self.name}@{self.address}>")
        answer = sip.respond(request, status, "x", to_tag=self.name, headers=(*headers, contact))
        self.ims.send(self.address, answer.with_body(body.encode(), "application/sdp") if body else answer)

    def take(self) -> list[sip.Message]:
        inbox = self.ims.inboxes.setdefault(self.address, deque())
        messages = list(inbox)
        inbox.clear()
        return messages

    def heard(self) -> list[str]:
        return [sip.summarise(message).name for message in self.take()]

    def sdp(self, direction: str = "sendrecv") -> str:
        return SDP.format(self.host, direction)

    def register(self, expires: int = 600) -> list[str]:
        params = {"username": f"{self.name}@ims.example", "realm": "ims.example", "uri": "sip:ims.example"}
        first = sip.digest.format_challenge({**params, "nonce": "", "response": ""})
        headers = (("Expires", str(expires)), ("Supported", "path"))
        me = f"<sip:{self.name}@ims.example>"
        self.request("REGISTER", "sip:ims.example", ("Authorization", first), *headers, to=me, call=self.name)
        (challenge,) = self.take()
        params |= {"nonce": sip.digest.parse(challenge.first("WWW-Authenticate"))[1]["nonce"], "algorithm": "AKAv1-MD5"}
        params["response"] = sip.digest.response(params, method="REGISTER", password=XRES)
        second = ("Authorization", sip.digest.format_challenge(params))
        self.request("REGISTER", "sip:ims.example", second, *headers, to=me, call=self.name)
        return [sip.summarise(challenge).name, *self.heard()]


@pytest.fixture
def ims() -> Ims:
    return Ims()


@pytest.fixture
def pair(ims: Ims) -> tuple[Ue, Ue]:
    alice, bob = Ue(ims, "alice", "10.0.0.1"), Ue(ims, "bob", "10.0.0.2")
    for ue in (alice, bob):
        assert ue.register() == ["401 (REGISTER)", "200 (REGISTER)"]
    return alice, bob


def _ringing(alice: Ue, bob: Ue) -> tuple[sip.Message, sip.Message]:
    sent = alice.request("INVITE", "sip:bob@ims.example", body=alice.sdp())
    (invite,) = bob.take()
    bob.answer(invite, 183, bob.sdp())
    assert alice.heard() == ["100 (INVITE)", "183 (INVITE)"]
    return sent, invite


def _talking(alice: Ue, bob: Ue) -> tuple[sip.Message, sip.Message]:
    _, invite = _ringing(alice, bob)
    bob.answer(invite, 200)
    (ok,) = alice.take()
    _in_dialog(alice, "ACK", ok, reverse=True)
    assert bob.heard() == ["ACK"]
    return invite, ok


def _in_dialog(ue: Ue, method: str, seen: sip.Message, *, reverse: bool, body: str = "") -> sip.Message:
    """A request along the route set that `seen` (a request at the callee, an answer at the caller) tells."""
    routes = list(seen.values("Record-Route"))
    headers = [("Route", value) for value in (reversed(routes) if reverse else routes)]
    target = sip.parse_name_addr(seen.first("Contact")).uri
    remote = seen.first("To") if reverse else seen.first("From")
    return ue.request(method, target, *headers, to=remote, body=body)


def test_a_message_reaches_the_other_ue_and_its_answer_comes_back(pair: tuple[Ue, Ue]) -> None:
    alice, bob = pair
    alice.request("MESSAGE", "sip:bob@ims.example")
    (message,) = bob.take()
    assert message.first("P-Asserted-Identity") == "<sip:alice@ims.example>"
    assert len(message.values("Via")) == 6
    bob.answer(message, 200)
    assert alice.heard() == ["200 (MESSAGE)"]


def test_a_call_is_set_up_held_by_the_callee_and_ended_by_it(ims: Ims, pair: tuple[Ue, Ue]) -> None:
    alice, bob = pair
    invite, _ = _talking(alice, bob)
    assert ims.rx == ["AAR", "AAR"]
    _in_dialog(bob, "INVITE", invite, reverse=False, body=bob.sdp("sendonly"))
    (held,) = alice.take()
    alice.answer(held, 200, alice.sdp("recvonly"))
    assert bob.heard() == ["100 (INVITE)", "200 (INVITE)"]
    assert ims.rx == ["AAR"] * 4
    _in_dialog(bob, "BYE", invite, reverse=False)
    (bye,) = alice.take()
    alice.answer(bye, 200)
    assert bob.heard() == ["200 (BYE)"]
    assert sorted(ims.rx) == ["AAR"] * 4 + ["STR"] * 2
    assert ims.pcscf.leftovers() == {"registrations": 2, "dialogs": 0, "rx_sessions": 0, "held": 0}


def test_a_call_that_is_cancelled_ends_everywhere(ims: Ims, pair: tuple[Ue, Ue]) -> None:
    alice, bob = pair
    sent, invite = _ringing(alice, bob)
    ims.send(alice.address, sip.cancel_for(sent))
    (cancel,) = bob.take()
    assert cancel.first("Via") == invite.first("Via")
    bob.answer(cancel, 200)
    bob.answer(invite, 487)
    assert alice.heard() == ["200 (CANCEL)", "487 (INVITE)"]
    assert bob.heard() == ["ACK"]
    assert ims.pcscf.leftovers()["dialogs"] == 0
    assert ims.rx == ["AAR", "AAR", "STR", "STR"]


@pytest.mark.parametrize("status", [486, 488, 603])
def test_a_refusal_reaches_the_caller_and_is_acknowledged_hop_by_hop(
    ims: Ims, pair: tuple[Ue, Ue], status: int
) -> None:
    alice, bob = pair
    sent = alice.request("INVITE", "sip:bob@ims.example", body=alice.sdp())
    (invite,) = bob.take()
    bob.answer(invite, status)
    assert bob.heard() == ["ACK"]
    answers = alice.take()
    assert [message.status for message in answers] == [100, status]
    ims.send(alice.address, sip.ack_for(sent, answers[1]))
    assert bob.heard() == []
    assert ims.pcscf.leftovers()["dialogs"] == 0


def test_nobody_is_found_once_the_callee_has_left(ims: Ims, pair: tuple[Ue, Ue]) -> None:
    alice, bob = pair
    assert bob.register(expires=0) == ["401 (REGISTER)", "200 (REGISTER)"]
    alice.request("INVITE", "sip:bob@ims.example", body=alice.sdp())
    assert alice.heard() == ["100 (INVITE)", "480 (INVITE)"]
    assert alice.register(expires=0) == ["401 (REGISTER)", "200 (REGISTER)"]
    for nf in (ims.pcscf, ims.scscf):
        assert set(nf.leftovers().values()) == {0}
        nf.wake(ims.now + 1000.0)
        assert nf.deadline() is None


def test_two_calls_at_once_keep_apart(ims: Ims, pair: tuple[Ue, Ue]) -> None:
    alice, bob = pair
    carol = Ue(ims, "carol", "10.0.0.3")
    assert carol.register() == ["401 (REGISTER)", "200 (REGISTER)"]
    alice.request("INVITE", "sip:bob@ims.example", body=alice.sdp(), call="one")
    carol.request("INVITE", "sip:bob@ims.example", body=carol.sdp(), call="two")
    first, second = bob.take()
    bob.answer(second, 486)
    bob.answer(first, 200, bob.sdp())
    assert alice.heard() == ["100 (INVITE)", "200 (INVITE)"]
    assert carol.heard() == ["100 (INVITE)", "486 (INVITE)"]
    assert ims.pcscf.leftovers()["dialogs"] == 2
