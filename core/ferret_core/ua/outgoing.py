"""A caller's half of a call until it is established (TS 24.229 clause 5.1.3)."""

from __future__ import annotations

from ferret.errors import LocalMisuseError
from ferret.protocols import sip
from ferret.protocols.sip.sdp import Sdp
from ferret_core.ua.call import SERVICE, Call, description_of, lists, reason_of
from ferret_core.ua.dialog import Dialog, number_of, tag_of
from ferret_core.ua.events import EndReason, Established, ResourcesWanted, Ringing
from ferret_core.ua.session_description import answer as answer_to
from ferret_core.ua.session_description import offer, renewed
from ferret_core.ua.states import CallState


def begin(call: Call, now: float) -> None:
    """Send the INVITE with our offer, unless the called party is to make it."""
    agent, own = call.agent, call.agent.configuration
    body = call.describe(offer(call.place, call.origin, own.codecs, call.conditions)) if call.offers else b""
    identity = agent.own_identity()
    fields = [
        ("Via", agent.via()),
        ("Max-Forwards", "70"),
        *[("Route", value) for value in agent.initial_routes()],
        ("From", f"<{identity}>;tag={agent.token(32)}"),
        ("To", f"<{call.peer}>"),
        ("Call-ID", call.name),
        ("CSeq", "1 INVITE"),
        *call.headers(
            ("P-Preferred-Identity", f"<{identity}>"),
            ("P-Preferred-Service", SERVICE),
            ("Accept-Contact", '*;+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel"'),
            ("Accept", "application/sdp"),
            ("User-Agent", own.user_agent),
        ),
    ]
    if body:
        fields.append(("Content-Type", "application/sdp"))
    call.invite = agent.send(sip.request("INVITE", call.peer, fields, body), own.proxy, now)
    _watch(call, now)


def _watch(call: Call, now: float) -> None:
    seconds = call.agent.configuration.ringing_seconds
    call.agent.ring_until(call, None if seconds is None else now + seconds)


def provisional(call: Call, answer: sip.Message | None, source: str, now: float) -> None:
    """101 to 199: an early dialog, perhaps with the answer to our offer; a reliable one is acknowledged."""
    if answer is None or not _early(call, answer):
        return
    if call.state is CallState.CALLING:
        call.state = CallState.PROGRESSING
    reliable = lists(answer, "Require", "100rel") and answer.has("RSeq")
    if call.offers or reliable:
        _take_description(call, answer)
    if reliable:
        _acknowledge(call, answer, now)
    if _came_to_nothing(call):
        call.end_reason = EndReason.REFUSED
        give_up(call, None, source, now)
        return
    tell_ready(call, now)


def ringing(call: Call, answer: sip.Message | None, source: str, now: float) -> None:
    """180: the called party is being alerted."""
    provisional(call, answer, source, now)
    if call.state in (CallState.CALLING, CallState.PROGRESSING):
        call.state = CallState.RINGING
        call.agent.tell(Ringing(call.name, incoming=False, peer=call.peer))


def _early(call: Call, answer: sip.Message) -> bool:
    """Whether an answer is of the dialog that we follow: the last one that began (RFC 3261 clause 12.1)."""
    tag = tag_of(answer.first("To"))
    if not tag or call.invite is None:
        return False
    if call.dialog is None or call.dialog.remote_tag != tag:
        cseq = call.dialog.local_cseq if call.dialog is not None else 0
        call.dialog = Dialog.of_answer(call.invite, answer)
        call.dialog.local_cseq = max(cseq, call.dialog.local_cseq)
        call.answered, call.rseq = False, 0
    return True


def _came_to_nothing(call: Call) -> bool:
    """Whether the called party has offered what we cannot accept."""
    return not call.offers and call.theirs is not None and not call.answered


def _take_description(call: Call, message: sip.Message) -> None:
    """The answer to our offer; or the called party's offer, where our INVITE had none."""
    description = description_of(message)
    if description is None or call.answered:
        return
    if call.offers:
        _take_answer(call, description)
    else:
        _take_offer(call, description)


def _take_offer(call: Call, offered: Sdp) -> None:
    call.theirs = offered
    body = answer_to(offered, call.place, call.origin, call.agent.configuration.codecs, call.conditions)
    if body is None:
        return
    call.reply = call.describe(body)
    call.learn(offered)
    call.answered = True
    if not call.conditions.ours and call.media is not None:
        call.agent.tell(ResourcesWanted(call.name, call.media))


def _take_answer(call: Call, description: Sdp) -> None:
    call.learn(description)
    if call.media is None:
        return
    call.answered = True
    audio = next((one for one in description.media if one.type == "audio" and one.port), None)
    if audio is not None:
        call.conditions.used = call.conditions.used and bool(audio.preconditions)
        call.conditions.learn(audio)
    if not call.conditions.ours:
        call.agent.tell(ResourcesWanted(call.name, call.media))


def _acknowledge(call: Call, answer: sip.Message, now: float) -> None:
    """PRACK (RFC 3262 clause 4); one that has been acknowledged is so once, and none is skipped."""
    text = answer.first("RSeq")
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 11 else 0
    if not number or number <= call.rseq:
        return
    call.rseq = number
    call.prack_waits = True
    body, call.reply = call.reply, b""
    call.request("PRACK", now, [("RAck", f"{number} {number_of(answer)} INVITE")], body)


def pracked(call: Call, answer: sip.Message | None, source: str, now: float) -> None:
    """The answer to our PRACK: now we may offer again."""
    call.prack_waits = False
    tell_ready(call, now)


def resources_ready(call: Call, _: sip.Message | None, source: str, now: float) -> None:
    """Our bearer is there."""
    call.conditions.ours = True
    tell_ready(call, now)


def tell_ready(call: Call, now: float) -> None:
    """UPDATE with our resources reserved, once (RFC 3312 clause 6), if the other side wants to know."""
    conditions = call.conditions
    if not (conditions.used and conditions.ours and call.answered) or call.told_ready or call.prack_waits:
        return
    if call.update is not None or call.ours is None or call.dialog is None:
        return
    call.told_ready = True
    body = call.describe(renewed(call.place, call.origin, call.ours, conditions, "sendrecv"))
    call.update = call.request("UPDATE", now, [*call.headers(), ("Require", "precondition")], body)


def accepted(call: Call, answer: sip.Message | None, source: str, now: float) -> None:
    """2xx: acknowledge; the call is established."""
    if answer is None or not _early(call, answer) or call.dialog is None:
        return
    call.dialog = _confirmed(call, answer)
    _take_description(call, answer)
    call.acknowledge(now, call.reply)
    call.reply = b""
    call.agent.ring_until(call, None)
    if call.media is None:
        call.state = CallState.ENDING  # what was answered is no use to us
        call.end_reason = EndReason.REFUSED
        call.request("BYE", now)
        return
    call.state = CallState.ESTABLISHED
    call.agent.tell(Established(call.name, call.media))


def _confirmed(call: Call, answer: sip.Message) -> Dialog:
    """The route set is that of the 2xx (RFC 3261 clause 13.2.2.4)."""
    if call.invite is None or call.dialog is None:
        raise LocalMisuseError("a 2xx without INVITE")
    dialog = Dialog.of_answer(call.invite, answer)
    dialog.local_cseq, dialog.remote_cseq = call.dialog.local_cseq, call.dialog.remote_cseq
    return dialog


def accepted_too_late(call: Call, answer: sip.Message | None, source: str, now: float) -> None:
    """2xx although we cancelled: acknowledge, and hang up (RFC 3261 clause 9.1)."""
    if answer is None or not _early(call, answer):
        return
    call.dialog = _confirmed(call, answer)
    call.acknowledge(now)
    call.state = CallState.ENDING
    call.request("BYE", now)


def refused(call: Call, answer: sip.Message | None, source: str, now: float) -> None:
    """300 to 699, or nothing: the call is over."""
    status = answer.status if answer is not None else 408
    call.end(reason_of(status), status)


def refused_after_cancel(call: Call, answer: sip.Message | None, source: str, now: float) -> None:
    """487, or whatever crossed our CANCEL."""
    call.end(call.end_reason, answer.status if answer is not None else 408)


def give_up(call: Call, _: sip.Message | None, source: str, now: float) -> None:
    """Hang up before there is an answer."""
    call.state = CallState.CANCELLING
    call.agent.ring_until(call, None)
    if call.trying:
        _cancel(call, now)


def rang_too_long(call: Call, message: sip.Message | None, source: str, now: float) -> None:
    """Nobody has answered in time."""
    call.end_reason = EndReason.NO_ANSWER
    give_up(call, message, source, now)


def may_be_cancelled(call: Call, answer: sip.Message | None, source: str, now: float) -> None:
    """A CANCEL waits for the first provisional answer (RFC 3261 clause 9.1)."""
    _cancel(call, now)


def _cancel(call: Call, now: float) -> None:
    if call.cancel_sent or call.invite is None:
        return
    call.cancel_sent = True
    call.agent.send(sip.cancel_for(call.invite), call.agent.configuration.proxy, now)
