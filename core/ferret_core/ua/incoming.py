"""A called party's half of a call until it is established (TS 24.229 clause 5.1.4)."""

from __future__ import annotations

from ferret.protocols import sip
from ferret_core.ua.call import Asked, Call, description_of, lists, session_timer
from ferret_core.ua.dialog import Dialog, number_of
from ferret_core.ua.events import EndReason, Established, ResourcesWanted, Ringing
from ferret_core.ua.in_dialog import answered_offer
from ferret_core.ua.session_description import agreed, answer, offer
from ferret_core.ua.states import CallState


def begin(call: Call, request: sip.Message, source: str, now: float) -> None:
    """An INVITE: answer its offer, reserve what is needed, then ring."""
    call.state = CallState.OFFERED
    call.asked = asked = Asked(request, source)
    call.respond(asked, 100, "Trying", now)
    call.dialog = Dialog.of_request(request, call.agent.token(32))
    if not request.body:
        _offer(call, asked, now)
        return
    offered = description_of(request)
    own = call.agent.configuration
    body = answer(offered, call.place, call.origin, own.codecs, call.conditions) if offered is not None else None
    if offered is None or body is None:
        call.respond(asked, 488, "Not Acceptable Here", now)
        call.end(EndReason.REFUSED, 488)
        return
    call.describe(body)
    call.learn(offered)
    if _ready(call) or not _knows(request, "100rel") or call.ours is None:
        _alert(call, now)
        return
    call.answered = True
    _describe_reliably(call, asked, body, now)
    if not call.conditions.ours and (media := agreed(call.ours, offered, own.codecs)) is not None:
        call.agent.tell(ResourcesWanted(call.name, media))


def _offer(call: Call, asked: Asked, now: float) -> None:
    """An INVITE without an offer: ours goes in the first reliable answer (RFC 3261 clause 13.2.1, RFC 3262 clause 5).

    Where that is the 200, nothing can be reserved before it rings.
    """
    reliable = _knows(asked.request, "100rel")
    conditions = call.conditions
    conditions.used = reliable and _knows(asked.request, "precondition")
    conditions.theirs = not conditions.used
    conditions.ours = conditions.ours or not reliable
    call.offer_waits = True
    body = call.describe(offer(call.place, call.origin, call.agent.configuration.codecs, conditions))
    if reliable:
        _describe_reliably(call, asked, body, now)
    else:
        _alert(call, now)


def _describe_reliably(call: Call, asked: Asked, body: bytes, now: float) -> None:
    """183 with our description, again and again until its PRACK comes."""
    call.rseq = 1
    call.prack_waits = True
    options = "100rel, precondition" if call.conditions.used else "100rel"
    headers = call.headers(("Require", options), ("RSeq", str(call.rseq)))
    message = call.respond(asked, 183, "Session Progress", now, headers, body)
    call.agent.repeat(call, message, asked.source, now)


def _knows(request: sip.Message, option: str) -> bool:
    return lists(request, "Supported", option) or lists(request, "Require", option)


def _ready(call: Call) -> bool:
    return call.conditions.ours and call.conditions.theirs and not call.prack_waits


def _alert(call: Call, now: float) -> None:
    if call.asked is None:
        return
    call.state = CallState.ALERTING
    call.respond(call.asked, 180, "Ringing", now, call.headers())
    seconds = call.agent.configuration.ringing_seconds
    call.agent.ring_until(call, None if seconds is None else now + seconds)
    call.agent.tell(Ringing(call.name, incoming=True, peer=call.peer))


def _alert_if_ready(call: Call, now: float) -> None:
    if call.state is CallState.OFFERED and _ready(call):
        _alert(call, now)


def resources_ready(call: Call, _: sip.Message | None, source: str, now: float) -> None:
    """Our bearer is there."""
    call.conditions.ours = True
    _alert_if_ready(call, now)


def pracked(call: Call, request: sip.Message | None, source: str, now: float) -> None:
    """PRACK (RFC 3262 clause 3); it may bring an offer, or the answer to ours."""
    if request is None or call.asked is None:
        return
    asked = Asked(request, source)
    expected = [str(call.rseq), str(number_of(call.asked.request)), "INVITE"]
    if not call.prack_waits or request.first("RAck").split() != expected:
        call.respond(asked, 481, "Call/Transaction Does Not Exist", now)
        return
    call.prack_waits = False
    call.agent.repeat(call, None, "", now)
    if call.offer_waits:
        _answered_in(call, asked, now)
    else:
        answered_offer(call, asked, now)
    _alert_if_ready(call, now)


def _answered_in(call: Call, asked: Asked, now: float) -> None:
    """A PRACK with the answer to our offer; a call for which it has none comes to nothing."""
    fits = call.take_answer(asked.request)
    call.respond(asked, 200, "OK", now)
    if not fits or call.media is None:
        _refuse(call, 488, "Not Acceptable Here", EndReason.REFUSED, now)
    elif not call.conditions.ours:
        call.agent.tell(ResourcesWanted(call.name, call.media))


def updated(call: Call, request: sip.Message | None, source: str, now: float) -> None:
    """UPDATE before the answer: the caller's resources are reserved (RFC 3312 clause 6)."""
    if request is None:
        return
    answered_offer(call, Asked(request, source), now)
    _alert_if_ready(call, now)


def pick_up(call: Call, _: sip.Message | None, source: str, now: float) -> None:
    """Answer the call. A description that has gone reliably before is not sent again."""
    if call.asked is None or call.ours is None:
        return
    call.state = CallState.ANSWERED
    call.agent.ring_until(call, None)
    body = b"" if call.answered else call.ours.encode()
    headers = call.headers(*session_timer(call.asked.request))
    message = call.respond(call.asked, 200, "OK", now, headers, body)
    call.agent.repeat(call, message, call.asked.source, now)


def acknowledged(call: Call, ack: sip.Message | None, source: str, now: float) -> None:
    """ACK: the call is established. It may answer our offer in the 200; without any media there is no call."""
    call.agent.repeat(call, None, "", now)
    if call.offer_waits and ack is not None:
        call.take_answer(ack)
    call.state = CallState.ESTABLISHED
    if call.media is not None:
        call.agent.tell(Established(call.name, call.media))
    if call.hang_up_when_acknowledged or call.media is None:
        call.state = CallState.ENDING
        call.request("BYE", now)


def decline(call: Call, _: sip.Message | None, source: str, now: float) -> None:
    """Do not answer the call: "busy", or what the order says."""
    _refuse(call, *call.refusal, EndReason.BUSY if call.refusal[0] == 486 else EndReason.REFUSED, now)


def hang_up_later(call: Call, _: sip.Message | None, source: str, now: float) -> None:
    """A BYE has to wait for the ACK (RFC 3261 clause 15)."""
    call.hang_up_when_acknowledged = True


def cancelled(call: Call, request: sip.Message | None, source: str, now: float) -> None:
    """CANCEL: the caller has given up."""
    if request is not None:
        call.respond(Asked(request, source), 200, "OK", now)
    _refuse(call, 487, "Request Terminated", EndReason.CANCELLED, now)


def cancelled_too_late(call: Call, request: sip.Message | None, source: str, now: float) -> None:
    """CANCEL of a call that has been answered: it has no effect (RFC 3261 clause 9.2); a BYE will follow."""
    if request is not None:
        call.respond(Asked(request, source), 200, "OK", now)


def bye(call: Call, request: sip.Message | None, source: str, now: float) -> None:
    """BYE in an early dialog ends it just the same (RFC 3261 clause 15)."""
    cancelled(call, request, source, now)


def rang_too_long(call: Call, _: sip.Message | None, source: str, now: float) -> None:
    """We have not answered in time."""
    _refuse(call, 480, "Temporarily Unavailable", EndReason.NO_ANSWER, now)


def not_pracked(call: Call, _: sip.Message | None, source: str, now: float) -> None:
    """No PRACK came for our provisional answer (RFC 3262 clause 3)."""
    _refuse(call, 504, "Server Time-out", EndReason.LOST, now)


def _refuse(call: Call, status: int, reason: str, why: EndReason, now: float) -> None:
    if call.asked is not None:
        call.respond(call.asked, status, reason, now)
    call.end(why, status)
