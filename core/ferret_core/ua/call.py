"""One call (RFC 3261 clauses 12 to 15, TS 24.229 clauses 5.1.3 and 5.1.4), with 100rel, UPDATE and preconditions.

What counts, in order:

1. `TABLE` says what may happen in which state, and which handler takes it; the handler says the next state.
2. A provisional answer with a description is reliable; its PRACK and our 200 come before anything else is offered.
3. The called party is alerted once both sides have their resources, the caller's told by UPDATE.
4. There is one offer at a time; a re-INVITE that crosses ours is answered with 491.

Outgoing halves are in `outgoing`, incoming ones in `incoming`, what both do inside the dialog in `in_dialog`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from ferret.errors import DecodeError
from ferret.protocols import sip
from ferret.protocols.sip.sdp import Sdp
from ferret_core.ua.configuration import UaConfiguration
from ferret_core.ua.dialog import Dialog, contact_of
from ferret_core.ua.events import Ended, EndReason, MediaSession, UaEvent
from ferret_core.ua.registration import ALLOW, contact
from ferret_core.ua.session_description import Origin, Place, Preconditions, agreed, audio_index
from ferret_core.ua.states import CallEvent, CallState

SUPPORTED: Final = "100rel, precondition"
SERVICE: Final = "urn:urn-7:3gpp-service.ims.icsi.mmtel"  # TS 24.173 clause 5.1
_REASONS: Final = {486: EndReason.BUSY, 600: EndReason.BUSY, 480: EndReason.NO_ANSWER, 487: EndReason.CANCELLED}
_UNREACHED: Final = frozenset({404, 408, 410, 484, 500, 503, 504, 604})


class CallAgent(Protocol):
    """What a call needs of its user agent."""

    configuration: UaConfiguration

    def token(self, bits: int = 64) -> str:
        """Something that nobody guesses, in hexadecimal."""

    def via(self) -> str:
        """A Via with a branch of its own."""

    def send(self, message: sip.Message, destination: str, now: float) -> sip.Message:
        """Send a message; as it is sent."""

    def tell(self, event: UaEvent) -> None:
        """Tell whoever we work for."""

    def initial_routes(self) -> tuple[str, ...]:
        """The Route of an initial request."""

    def own_identity(self) -> str:
        """The public identity that calls are made under."""

    def forget(self, call: Call) -> None:
        """The call is over."""

    def repeat(self, call: Call, message: sip.Message | None, destination: str, now: float) -> None:
        """Send an answer again and again until it is acknowledged; None: it has been."""

    def ring_until(self, call: Call, when: float | None) -> None:
        """When a call has rung too long; None: it does not ring."""


@dataclass(slots=True)
class Asked:
    """A request of the other party that is still to be answered for good."""

    request: sip.Message
    source: str


class Call:
    """One call. `media` is what is agreed on now; `held` and `held_by_peer` who has put it on hold."""

    def __init__(self, agent: CallAgent, name: str, place: Place, peer: str) -> None:
        """`name`: the Call-ID. `peer`: the other party's URI."""
        self.agent = agent
        self.name = name
        self.place = place
        self.place_before = place  # our re-INVITE
        self.peer = peer
        self.state = CallState.CALLING
        self.dialog: Dialog | None = None
        self.origin = Origin(int(agent.token(48), 16))
        self.conditions = Preconditions(ours=agent.configuration.resources_at_once)
        self.media: MediaSession | None = None
        self.held = False
        self.held_by_peer = False
        self.invite: sip.Message | None = None  # ours that is not answered for good, or was answered last
        self.asked: Asked | None = None  # theirs
        self.ack: sip.Message | None = None  # ours for the last 2xx
        self.update: sip.Message | None = None  # ours that is under way
        self.ours: Sdp | None = None  # our last description
        self.before: Sdp | None = None  # the one before our re-INVITE
        self.theirs: Sdp | None = None
        self.offers = (
            True  # the first INVITE carries an offer; otherwise the called party makes it (RFC 6337 clause 2.1)
        )
        self.offer_waits = False  # our offer in an answer waits for its answer in PRACK or ACK
        self.reply = b""  # our answer to an offer in an answer: the next PRACK or ACK carries it
        self.answered = False  # an offer of the first INVITE has its answer
        self.told_ready = self.conditions.ours  # the other side knows that our resources are reserved
        self.rseq = 0  # of the last reliable provisional answer, sent or received
        self.prack_waits = False  # a PRACK is under way, either way
        self.trying = False  # anything at all has come for our INVITE
        self.cancel_sent = False
        self.refusal = (486, "Busy Here")  # what a caller hears when we hang up instead of answering
        self.wanted = "sendrecv"  # the direction that our re-INVITE asks for
        self.hang_up_when_acknowledged = False
        self.end_reason = EndReason.CANCELLED  # of a call that we give up

    # ---- what happens

    def happen(self, event: CallEvent, message: sip.Message | None, source: str, now: float) -> bool:
        """Take an event; False: it does not fit the state, and nothing was done."""
        handler = TABLE.get((self.state, event))
        if handler is None:
            return False
        handler(self, message, source, now)
        return True

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens."""
        return self.state is CallState.ENDED

    def end(self, reason: EndReason, status: int = 0) -> None:
        """The call is over."""
        self.state = CallState.ENDED
        self.agent.repeat(self, None, "", 0.0)
        self.agent.ring_until(self, None)
        self.agent.tell(Ended(self.name, reason, status))
        self.agent.forget(self)

    # ---- messages

    def headers(self, *more: tuple[str, str]) -> list[tuple[str, str]]:
        """What every INVITE, UPDATE and answer to them carries besides."""
        fields = [("Contact", contact(self.agent.configuration)), ("Allow", ALLOW), ("Supported", SUPPORTED)]
        if self.agent.configuration.access_network:
            fields.append(("P-Access-Network-Info", self.agent.configuration.access_network))
        return [*fields, *more]

    def request(
        self, method: str, now: float, headers: list[tuple[str, str]] | None = None, body: bytes = b""
    ) -> sip.Message | None:
        """Send a request inside the dialog."""
        if self.dialog is None:
            return None
        message = self.dialog.request(method, self.agent.via(), headers or [], body)
        return self.agent.send(message, self.dialog.next_hop(), now)

    def respond(
        self,
        asked: Asked,
        status: int,
        reason: str,
        now: float,
        headers: list[tuple[str, str]] | None = None,
        body: bytes = b"",
    ) -> sip.Message:
        """Send an answer to one of the other party's requests."""
        tag = self.dialog.local_tag if self.dialog is not None and status > 100 else ""
        fields = [("Record-Route", value) for value in asked.request.values("Record-Route") if 100 < status < 300]
        fields += headers or []
        if body:
            fields.append(("Content-Type", "application/sdp"))
        message = sip.respond(asked.request, status, reason, to_tag=tag, headers=tuple(fields))
        if body:
            message = message.with_body(body, "application/sdp")
        self.agent.send(message, asked.source, now)
        return message

    def acknowledge(self, now: float, body: bytes = b"") -> None:
        """The ACK for a 2xx (RFC 3261 clause 13.2.2.4), kept in case that the 2xx comes again."""
        if self.dialog is None or self.invite is None:
            return
        number = int(sip.cseq_number(self.invite))
        self.ack = self.dialog.request("ACK", self.agent.via(), body=body, cseq=number)
        self.agent.send(self.ack, self.dialog.next_hop(), now)

    # ---- media

    def describe(self, octets: bytes) -> bytes:
        """Remember our own description."""
        self.ours = sip.sdp.decode(octets)
        return octets

    def learn(self, description: Sdp) -> None:
        """The other side's description completes an offer and its answer."""
        self.theirs = description
        if self.ours is not None:
            self.media = agreed(self.ours, description, self.agent.configuration.codecs) or self.media

    def take_answer(self, message: sip.Message) -> bool:
        """A PRACK or ACK that answers an offer of ours; False: what it says comes to no media."""
        self.offer_waits = False
        description = description_of(message)
        codecs = self.agent.configuration.codecs
        if description is None or self.ours is None or agreed(self.ours, description, codecs) is None:
            return False
        self.learn(description)
        self.answered = True
        index = audio_index(description, codecs)
        if index is not None and self.conditions.used:
            self.conditions.learn(description.media[index])
        return True


def description_of(message: sip.Message) -> Sdp | None:
    """The session description that a message carries; None where there is none that can be read."""
    kind = message.first("Content-Type").partition(";")[0].strip().lower()
    if not message.body or kind != "application/sdp":
        return None
    try:
        return sip.sdp.decode(message.body)
    except DecodeError:
        return None


def reason_of(status: int) -> EndReason:
    """Why a call is over that was refused with this status."""
    return _REASONS.get(status, EndReason.NOT_REACHED if status in _UNREACHED else EndReason.REFUSED)


def lists(message: sip.Message, field: str, option: str) -> bool:
    """Whether an option tag stands in Supported, Require, …"""
    return any(value.strip().lower() == option for value in message.values(field))


def session_timer(request: sip.Message) -> list[tuple[str, str]]:
    """A session timer is echoed, and the other party keeps it (RFC 4028 clause 9); we keep none ourselves."""
    value = request.first("Session-Expires")
    if not value:
        return []
    seconds = value.partition(";")[0].strip()
    if not (seconds.isascii() and seconds.isdigit()):
        return []
    required = [("Require", "timer")] if lists(request, "Supported", "timer") else []
    return [("Session-Expires", f"{seconds};refresher=uac"), *required]


def refreshed(call: Call, message: sip.Message) -> None:
    """A target refresh (RFC 3261 clause 12.2)."""
    if call.dialog is not None and contact_of(message):
        call.dialog.refresh(message)


CallHandler: TypeAlias = Callable[[Call, "sip.Message | None", str, float], None]
TABLE: Final[dict[tuple[CallState, CallEvent], CallHandler]] = {}
"""State and event to handler: `ferret_core.ua.call_table` fills it in, from the modules of both halves."""
