"""What both parties do inside a call: hold, resume, the other side's changes, hang-up (TS 24.610, RFC 3264)."""

from __future__ import annotations

from typing import Final

from ferret.protocols import sip
from ferret.protocols.sip.sdp import Sdp
from ferret_core.ua.call import Asked, Call, description_of, refreshed, session_timer
from ferret_core.ua.events import EndReason, Held, MediaMoved, MediaSession, ModificationRefused, Resumed
from ferret_core.ua.session_description import answer, offer, renewed
from ferret_core.ua.states import CallState

_GONE: Final = frozenset({408, 481})  # after these there is no dialog any more (RFC 3261 clause 14.1)
_HOLDING: Final = frozenset({"sendonly", "inactive"})  # what the side that holds offers


def hold(call: Call, _: sip.Message | None, source: str, now: float) -> None:
    """Put the other party on hold by a re-INVITE."""
    call.place_before = call.place
    _modify(call, "inactive" if call.held_by_peer else "sendonly", now)


def resume(call: Call, _: sip.Message | None, source: str, now: float) -> None:
    """Let the call go on."""
    _modify(call, "recvonly" if call.held_by_peer else "sendrecv", now)


def _modify(call: Call, direction: str, now: float) -> None:
    if call.ours is None or call.dialog is None:
        return
    call.state, call.wanted, call.before = CallState.MODIFYING, direction, call.ours
    body = call.describe(renewed(call.place, call.origin, call.ours, call.conditions, direction))
    call.invite = call.request("INVITE", now, call.headers(), body)


def modified(call: Call, reply: sip.Message | None, source: str, now: float) -> None:
    """2xx to our re-INVITE."""
    if reply is None:
        return
    refreshed(call, reply)
    call.acknowledge(now)
    call.state = CallState.ESTABLISHED
    description = description_of(reply)
    if description is not None:
        call.learn(description)
    if call.media is None:
        return
    call.held = call.wanted in _HOLDING
    event = Held if call.held else Resumed
    call.agent.tell(event(call.name, by_peer=False, media=call.media))


def not_modified(call: Call, reply: sip.Message | None, source: str, now: float) -> None:
    """Our re-INVITE was refused: the call goes on as it was, unless there is none any more."""
    status = reply.status if reply is not None else 408
    call.ours, call.place = call.before, call.place_before
    call.state = CallState.ESTABLISHED
    if status in _GONE:
        call.request("BYE", now)
        call.end(EndReason.LOST)
        return
    call.agent.tell(ModificationRefused(call.name, status))


def reinvited(call: Call, request: sip.Message | None, source: str, now: float) -> None:
    """The other side's re-INVITE: hold, resume, another place for its media."""
    if request is None:
        return
    asked = Asked(request, source)
    refreshed(call, request)
    body = _answer_to(call, description_of(request)) if request.body else _offer(call)
    if body is None:
        call.respond(asked, 488, "Not Acceptable Here", now)
        return
    headers = call.headers(*session_timer(request))
    message = call.respond(asked, 200, "OK", now, headers, body)
    call.agent.repeat(call, message, source, now)


def _offer(call: Call) -> bytes:
    """Our offer in the 200 to a re-INVITE without one, of everything that we can do (RFC 3261 clause 14.2)."""
    call.offer_waits = True
    direction = "sendonly" if call.held else "sendrecv"
    own = call.agent.configuration
    return call.describe(offer(call.place, call.origin, own.codecs, call.conditions, direction))


def updated(call: Call, request: sip.Message | None, source: str, now: float) -> None:
    """UPDATE: the same without an ACK, or only a refreshed session timer."""
    if request is not None:
        answered_offer(call, Asked(request, source), now)


def answered_offer(call: Call, asked: Asked, now: float) -> None:
    """A 200 to an UPDATE or PRACK, with an answer where there is an offer."""
    request = asked.request
    refreshed(call, request)
    offered = description_of(request)
    body = _answer_to(call, offered) if offered is not None else b""
    if body is None:
        call.respond(asked, 488, "Not Acceptable Here", now)
        return
    headers = [] if request.method == "PRACK" else call.headers(*session_timer(request))
    call.respond(asked, 200, "OK", now, headers, body)


def _answer_to(call: Call, offered: Sdp | None) -> bytes | None:
    """The answer to an offer inside the call, and what changes by it; None: it cannot be accepted."""
    if offered is None:
        return None
    wanted = "sendonly" if call.held else "sendrecv"
    body = answer(offered, call.place, call.origin, call.agent.configuration.codecs, call.conditions, wanted)
    if body is None:
        return None
    call.describe(body)
    before = call.media
    call.learn(offered)
    if call.state in (CallState.ESTABLISHED, CallState.ANSWERED) and before is not None and call.media is not None:
        _tell_changes(call, before, call.media, offered)
    return body


def _tell_changes(call: Call, before: MediaSession, media: MediaSession, offered: Sdp) -> None:
    index = next((at for at, one in enumerate(offered.media) if one.port == media.remote_port), 0)
    holds = offered.direction_of(index) in _HOLDING
    if holds != call.held_by_peer:
        call.held_by_peer = holds
        event = Held if holds else Resumed
        call.agent.tell(event(call.name, by_peer=True, media=media))
    if (before.remote_address, before.remote_port) != (media.remote_address, media.remote_port):
        call.agent.tell(MediaMoved(call.name, media))


def crossed(call: Call, request: sip.Message | None, source: str, now: float) -> None:
    """The other side's re-INVITE or UPDATE while ours is under way (RFC 3261 clause 14.2, RFC 3311 clause 5.2)."""
    if request is not None:
        call.respond(Asked(request, source), 491, "Request Pending", now)


def update_answered(call: Call, reply: sip.Message | None, source: str, now: float) -> None:
    """The answer to our UPDATE."""
    call.update = None
    description = description_of(reply) if reply is not None and 200 <= reply.status < 300 else None
    if reply is None or description is None:
        return
    refreshed(call, reply)
    call.learn(description)
    audio = next((one for one in description.media if one.type == "audio" and one.port), None)
    if audio is not None:
        call.conditions.learn(audio)


def acknowledged(call: Call, ack: sip.Message | None, source: str, now: float) -> None:
    """ACK for our 200 to a re-INVITE; it may answer our offer. One that does not leaves the media as they are."""
    call.agent.repeat(call, None, "", now)
    before = call.media
    if not call.offer_waits or ack is None or not call.take_answer(ack):
        return
    if before is not None and call.media is not None and call.theirs is not None:
        _tell_changes(call, before, call.media, call.theirs)


def hang_up(call: Call, _: sip.Message | None, source: str, now: float) -> None:
    """BYE."""
    call.state = CallState.ENDING
    call.agent.repeat(call, None, "", now)
    call.request("BYE", now)


def hung_up(call: Call, request: sip.Message | None, source: str, now: float) -> None:
    """The other party's BYE."""
    if request is not None:
        call.respond(Asked(request, source), 200, "OK", now)
    call.end(EndReason.HUNG_UP_BY_PEER)


def bye_answered(call: Call, reply: sip.Message | None, source: str, now: float) -> None:
    """Whatever the answer to our BYE is, the call is over (RFC 3261 clause 15.1.1)."""
    call.end(EndReason.HUNG_UP)


def answered_while_ending(call: Call, reply: sip.Message | None, source: str, now: float) -> None:
    """A 2xx to a re-INVITE that our BYE overtook is acknowledged all the same."""
    call.acknowledge(now)


def not_acknowledged(call: Call, _: sip.Message | None, source: str, now: float) -> None:
    """No ACK came for our 200: hang up (RFC 3261 clause 13.3.1.4)."""
    call.request("BYE", now)
    call.end(EndReason.LOST)


def nothing(call: Call, message: sip.Message | None, source: str, now: float) -> None:
    """Nothing follows from it."""


def declined(call: Call, request: sip.Message | None, source: str, now: float) -> None:
    """A request that comes too late."""
    if request is not None:
        call.respond(Asked(request, source), 481, "Call/Transaction Does Not Exist", now)
