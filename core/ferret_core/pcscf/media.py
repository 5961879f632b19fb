"""Offer and answer of a UE's half of a call, and the Rx session that authorises them (TS 29.214 clause 4.4).

The P-CSCF asks the PCRF when an SDP answer passes, and holds the SIP message until the PCRF has spoken. There is one
Rx session per call leg.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from ferret.errors import DecodeError
from ferret.protocols import diameter, sip
from ferret.protocols.sip.sdp import Sdp
from ferret.records.message import Interface, Role
from ferret_core import rx
from ferret_core.nf import Note, Output, Peer, Received, Send
from ferret_core.sip_policy import Way
from ferret_core.sip_proxy import Branch, Context

if TYPE_CHECKING:
    from ferret_core.pcscf.pcscf import Pcscf

Resume: TypeAlias = Callable[[float], list[Output]]
FIRST_RELAY_PORT = 49152
_NEGOTIATING = frozenset({"INVITE", "UPDATE", "PRACK", "ACK"})
_FROM_UE = frozenset({Way.TERMINATING, Way.IN_DIALOG_TO_UE})  # ways whose answers come from the UE


@dataclass(slots=True)
class Leg:
    """A UE's half of a call."""

    call_id: str
    ue: str  # host
    originating: bool
    identities: Mapping[str, str] = field(default_factory=dict)  # what an operator may name the subscriber by
    pending: tuple[Sdp, bool] | None = None  # an offer made in an answer, and whether the UE made it
    session_id: str = ""  # of the Rx session; "": none yet
    granted_at: float | None = None  # when the PCRF last said yes; seconds, monotonic
    ports: dict[int, int] = field(default_factory=dict)  # a relay's port by place of the media line


@dataclass(frozen=True, slots=True)
class Held:
    """What waits for an answer on Rx."""

    leg: Leg
    resume: Resume


def leg_of(pcscf: Pcscf, context: Context, *, create: bool = False) -> Leg | None:
    """The half of the call that a context belongs to."""
    host = context.ue.rpartition(":")[0]
    key = (context.request.first("Call-ID"), host)
    leg = pcscf.legs.get(key)
    if leg is None and create:
        request = context.request
        originating = context.way in (Way.ORIGINATING, Way.IN_DIALOG_FROM_UE)
        leg = pcscf.legs[key] = Leg(key[0], host, originating, _identities(pcscf, context, request))
    return leg


def _identities(pcscf: Pcscf, context: Context, request: sip.Message) -> dict[str, str]:
    values = pcscf._values(context)
    return {
        "from": sip.parse_name_addr(request.first("From")).uri,
        "to": sip.parse_name_addr(request.first("To")).uri,
        "request_uri": pcscf._without_alias(request).request_uri,
        "asserted": values["identity"],
    }


def sdp_of(message: sip.Message) -> Sdp | None:
    """The session description that a message carries."""
    if not message.body or message.first("Content-Type").partition(";")[0].strip().lower() != "application/sdp":
        return None
    try:
        return sip.sdp.decode(message.body)
    except DecodeError:
        return None


def note_offer(pcscf: Pcscf, context: Context, request: sip.Message, *, from_ue: bool) -> None:
    """Remember an offer; an INVITE makes a leg."""
    offer = sdp_of(request)
    if request.method == "INVITE" or (offer is not None and request.method in _NEGOTIATING):
        leg_of(pcscf, context, create=True)
    if offer is not None and request.method in _NEGOTIATING:
        context.notes["offer"] = (offer, from_ue)


def answered(pcscf: Pcscf, context: Context, branch: Branch, answer: sip.Message, now: float) -> list[Output]:
    """Pass an answer on; one that answers an offer waits for the PCRF."""
    del branch
    from_ue = context.way in _FROM_UE
    description = sdp_of(answer) if context.method in _NEGOTIATING and answer.status < 300 else None
    shown = relayed(pcscf, context, answer) if from_ue else answer

    if not from_ue:
        shown = _with_contact_params(pcscf, answer)

    def forward(_: float) -> list[Output]:
        return [pcscf._send_upstream(context, shown)]

    leg = leg_of(pcscf, context)
    if description is None or leg is None:
        return forward(now)
    if _is_repeated(context, answer):  # the PCRF has been asked, or is being asked
        return [] if any(held.leg is leg for held in pcscf.held.values()) else forward(now)
    offered = context.notes.get("offer")
    if not isinstance(offered, tuple):
        leg.pending = (description, from_ue)
        return forward(now)
    offer, ue_offered = offered
    return _authorise(pcscf, leg, offer, description, ue_offered, forward, now)


def _is_repeated(context: Context, answer: sip.Message) -> bool:
    """Whether this answer has come before: a provisional one is sent until its PRACK comes (RFC 3262 clause 3)."""
    came = context.notes.setdefault("came", set())
    key = answer.encode()
    if not isinstance(came, set) or key in came:
        return True
    came.add(key)
    return False


def _with_contact_params(pcscf: Pcscf, answer: sip.Message) -> sip.Message:
    """Where a P-CSCF carries a Contact's parameters in a field of its own besides: put behind the Contact again."""
    name = pcscf.policy.contact_params_header
    params = answer.first(name) if name else ""
    if not params or not answer.has("Contact"):
        return answer
    return answer.replace_first_value("Contact", f"{answer.first('Contact')};{params}").remove(name)


def answer_in_request(
    pcscf: Pcscf, leg: Leg, request: sip.Message, from_ue: bool, forward: Resume, now: float
) -> list[Output]:
    """A PRACK or ACK that answers an offer made in an answer."""
    answer, pending = sdp_of(request), leg.pending
    leg.pending = None
    if answer is None or pending is None:
        return forward(now)
    return _authorise(pcscf, leg, pending[0], answer, not from_ue, forward, now)


def relayed(pcscf: Pcscf, context: Context, message: sip.Message) -> sip.Message:
    """Where the operator has a media relay: a UE's description with the relay's address and ports."""
    description = sdp_of(message) if pcscf.policy.media_relay else None
    leg = leg_of(pcscf, context) if description is not None else None
    if description is None or leg is None:
        return message
    address = pcscf.policy.media_relay
    description = description.with_connection(address).with_origin_address(address)
    for index, part in enumerate(description.media):
        if part.port:
            port = leg.ports.setdefault(index, _relay_port(pcscf))
            description = description.with_port(index, port).with_attribute(index, "rtcp", str(port + 1))
    return message.with_body(description.encode(), message.first("Content-Type"))


def _relay_port(pcscf: Pcscf) -> int:
    pcscf.relay_port += 2
    return FIRST_RELAY_PORT + pcscf.relay_port % (65536 - FIRST_RELAY_PORT)


# ---- Rx


def _authorise(
    pcscf: Pcscf, leg: Leg, offer: Sdp, answer: Sdp, ue_offered: bool, resume: Resume, now: float
) -> list[Output]:
    """Ask the PCRF; `resume` follows its answer. Without Rx it follows at once."""
    profile = pcscf.rx
    if profile is None:
        return resume(now)
    if not leg.session_id:
        leg.session_id = pcscf._rx_session_id()
    source = pcscf.rx_identity.get("originating" if leg.originating else "terminating", "asserted")
    message = rx.aar(
        profile,
        session_id=leg.session_id,
        ue_address=leg.ue.strip("[]"),
        subscription=leg.identities.get(source, "").partition(";")[0],
        offer=offer,
        answer=answer,
        ue_offered=ue_offered,
        first=leg.granted_at is None,
        elapsed=0.0 if leg.granted_at is None else now - leg.granted_at,
    )
    return [ask(pcscf, leg, message, resume)]


def ask(pcscf: Pcscf, leg: Leg, message: diameter.Message, resume: Resume) -> Send:
    """Send a request on Rx; `resume` follows its answer."""
    pcscf.token += 1
    pcscf.held[pcscf.token] = Held(leg, resume)
    return Send(Interface.RX, Peer(Role.PCRF), message, token=pcscf.token)


def release(pcscf: Pcscf, leg: Leg) -> list[Output]:
    """The half of a call is over: end its Rx session (TS 29.214 clause 4.4.4)."""
    pcscf.legs.pop((leg.call_id, leg.ue), None)
    if pcscf.rx is None or not leg.session_id:
        return []
    message = rx.str_(pcscf.rx, session_id=leg.session_id)
    leg.session_id = ""
    return [ask(pcscf, leg, message, lambda _: [])]


def answer_arrived(pcscf: Pcscf, token: int, answer: diameter.Message | None, reason: str, now: float) -> list[Output]:
    """AAA or STA; None: there is none. Without authorisation the call goes on: the PCRF decides about bearers."""
    held = pcscf.held.pop(token, None)
    if held is None:
        return [Note("rx_answer_to_nothing", {})] if answer is not None else []
    if answer is None:
        return _decided(held, False, reason, now)
    accepted = diameter.summarise(answer).accepted is not False
    return _decided(held, accepted, diameter.result_of(answer), now)


def _decided(held: Held, accepted: bool, result: object, now: float) -> list[Output]:
    outputs: list[Output] = []
    if accepted:
        held.leg.granted_at = now
    else:
        outputs.append(Note("media_not_authorised", {"result": result, "call_id": held.leg.call_id}))
        if held.leg.granted_at is None:
            held.leg.session_id = ""
    return outputs + held.resume(now)


def asked(pcscf: Pcscf, event: Received, request: diameter.Message) -> list[Output]:
    """RAR (an event on the bearer) and ASR (it is gone) from the PCRF (TS 29.214 clauses 4.4.5 and 4.4.6)."""
    if pcscf.rx is None:
        return []
    session = request.value_of(diameter.avp.SESSION_ID) or ""
    legs = (*pcscf.legs.values(), *pcscf.signalling.values())
    leg = next((one for one in legs if one.session_id == session), None)
    reply = rx.answer_to(pcscf.rx, request, known=leg is not None)
    outputs: list[Output] = [Send(event.interface, event.peer, reply, reply_to=event.transaction)]
    if leg is not None and request.command == diameter.Command.ABORT_SESSION:
        message = rx.str_(pcscf.rx, session_id=session)
        leg.session_id, leg.granted_at = "", None
        outputs.append(ask(pcscf, leg, message, lambda _: []))
    return outputs
