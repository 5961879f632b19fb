"""Registration at the S-CSCF (TS 24.229 clause 5.4.1): challenge, verify, assign, and what is kept of it.

REGISTER without a valid response -> MAR; MAA -> 401
REGISTER that answers the challenge -> SAR; SAA -> 200
"""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ferret.errors import DecodeError
from ferret.protocols import diameter, sip
from ferret.records.message import Interface, Role
from ferret_core.nf import Note, Output, Peer, Send
from ferret_core.scscf import cx, reg_event
from ferret_core.scscf.cx import Assignment, Vector
from ferret_core.sip_proxy import Context

if TYPE_CHECKING:
    from ferret_core.scscf.scscf import Scscf

MAX_CONTACTS = 16


@dataclass(slots=True)
class Binding:
    """A registered contact."""

    uri: str
    params: tuple[sip.Param, ...]
    path: tuple[str, ...]
    expires: float  # seconds, monotonic
    call_id: str = ""


@dataclass(slots=True)
class Subscriber:
    """What the S-CSCF keeps of a user."""

    impi: str
    identities: tuple[cx.Identity, ...]
    bindings: dict[str, Binding] = field(default_factory=dict)  # by contact address

    @property
    def associated(self) -> tuple[str, ...]:
        """The identities for P-Associated-URI: those that are not barred."""
        return tuple(one.uri for one in self.identities if not one.barred)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A REGISTER that waits for the HSS."""

    context: Context
    impi: str
    impu: str
    assignment: Assignment | None  # None: it waits for a vector


def route(scscf: Scscf, context: Context, now: float) -> list[Output]:
    """A REGISTER: ask for a vector, or check the answer to the one that was sent."""
    del now
    request = context.request
    impu = identity_of(request.first("To"))
    params = _credentials(request)
    impi = params.get("username") or impu.partition(":")[2]
    vector = scscf.challenges.get(impi)
    auts = params.get("auts", "")
    if auts and vector is not None:
        return _challenge(scscf, context, impi, impu, _resynchronisation(vector, auts))
    protected = params.get("integrity-protected") == "yes" and impi in scscf.subscribers
    if not protected and (not params.get("response") or vector is None or params.get("nonce") != vector.nonce):
        return _challenge(scscf, context, impi, impu)
    if not protected and vector is not None:
        del scscf.challenges[impi]
        if not sip.digest.verify(params, method="REGISTER", password=vector.xres, body=request.body):
            return [Note("authentication_failed", {}), *scscf._refuse(context, 403, scscf.habits.refused_reason)]
    return _assign(scscf, context, impi, impu)


def _challenge(scscf: Scscf, context: Context, impi: str, impu: str, authorization: bytes = b"") -> list[Output]:
    message = cx.mar(scscf.cx, scscf._cx_session_id(), impi, impu, authorization)
    return _ask(scscf, message, Waiting(context, impi, impu, None))


def _assign(scscf: Scscf, context: Context, impi: str, impu: str) -> list[Output]:
    subscriber = scscf.subscribers.get(impi)
    leaving = _leaving(scscf, context, subscriber)
    known = subscriber is not None and bool(subscriber.identities)
    assignment = (
        Assignment.USER_DEREGISTRATION
        if leaving
        else Assignment.RE_REGISTRATION
        if subscriber is not None and subscriber.bindings
        else Assignment.REGISTRATION
    )
    call_id = context.request.first("Call-ID")
    session = scscf._cx_session_id()
    # User-Data-Already-Available is said of a user who is registered (TS 29.228 clause 6.1.2.1).
    message = cx.sar(scscf.cx, session, impi, impu, assignment, known=known or leaving, call_id=call_id)
    return _ask(scscf, message, Waiting(context, impi, impu, assignment))


def _ask(scscf: Scscf, message: diameter.Message, waiting: Waiting) -> list[Output]:
    scscf.token += 1
    scscf.waiting[scscf.token] = waiting
    return [Send(Interface.CX, Peer(Role.HSS), message, token=scscf.token)]


def answer_arrived(scscf: Scscf, token: int, answer: diameter.Message | None, now: float) -> list[Output]:
    """MAA or SAA; None: the HSS never answered."""
    waiting = scscf.waiting.pop(token, None)
    if waiting is None:
        return [Note("cx_answer_to_nothing", {})]
    context = waiting.context
    if answer is None:
        return scscf._refuse(context, 504, "Server Time-out")
    if diameter.summarise(answer).accepted is False:
        note = Note("hss_refused", {"result": diameter.result_of(answer)})
        return [note, *scscf._refuse(context, 403, scscf.habits.refused_reason)]
    if waiting.assignment is None:
        return _send_challenge(scscf, waiting, answer)
    return _registered(scscf, waiting, waiting.assignment, answer, now)


def _send_challenge(scscf: Scscf, waiting: Waiting, answer: diameter.Message) -> list[Output]:
    vector = cx.vector_of(answer)
    if vector is None:
        return [Note("vector_missing", {}), *scscf._refuse(waiting.context, 500, "Server Internal Error")]
    scscf.challenges[waiting.impi] = vector
    request, habits = waiting.context.request, scscf.habits
    realm = _credentials(request).get("realm") or waiting.impu.rpartition("@")[2]
    params = {"realm": realm, "nonce": vector.nonce, "algorithm": vector.algorithm}
    params |= {"ck": vector.ck.hex(), "ik": vector.ik.hex()}
    if habits.qop:
        params["qop"] = habits.qop
    headers = [("WWW-Authenticate", sip.digest.format_challenge(params))]
    if habits.path_in_challenge:
        headers += [("Path", value) for value in request.values("Path")]
    return _answer(scscf, waiting.context, 401, habits.challenge_reason, headers)


def _registered(
    scscf: Scscf, waiting: Waiting, assignment: Assignment, answer: diameter.Message, now: float
) -> list[Output]:
    context, request, habits = waiting.context, waiting.context.request, scscf.habits
    subscriber = scscf.subscribers.setdefault(waiting.impi, Subscriber(waiting.impi, ()))
    identities = cx.identities_of(answer)
    if identities:
        subscriber.identities = identities
    elif not subscriber.identities:
        subscriber.identities = (cx.Identity(waiting.impu, False),)
    leaving = assignment is Assignment.USER_DEREGISTRATION
    contacts = _bind(scscf, subscriber, request, now)
    headers = [("Contact", value) for value in contacts]
    if not leaving or habits.path_when_deregistered:
        headers += [("Path", value) for value in request.values("Path")]
    if subscriber.associated and (not leaving or habits.associated_when_deregistered):
        headers.append(("P-Associated-URI", ", ".join(f"<{uri}>" for uri in subscriber.associated)))
    headers.append(("Service-Route", scscf.own_uri(habits.service_route)))
    outputs = _answer(scscf, context, 200, "OK", headers)
    if not subscriber.bindings:
        scscf.deregistered(subscriber)
        if habits.notify_deregistration:
            outputs += reg_event.gone(scscf, subscriber, now)
        else:
            reg_event.drop(scscf, subscriber)
    else:
        scscf.remember(subscriber)
    return outputs


def _answer(scscf: Scscf, context: Context, status: int, reason: str, headers: list[tuple[str, str]]) -> list[Output]:
    return [scscf._own_answer(context, status, reason, headers=headers)]


def _bind(scscf: Scscf, subscriber: Subscriber, request: sip.Message, now: float) -> list[str]:
    """Take over the contacts of a REGISTER; what the answer says of them."""
    said = []
    for value in request.values("Contact")[:MAX_CONTACTS]:
        contact = sip.parse_name_addr(value)
        if contact.uri == "*" or value.strip() == "*":
            subscriber.bindings.clear()
            continue
        if not contact.uri or any(letter.isspace() for letter in contact.uri):
            continue
        seconds = min(_asked(contact, request), scscf.habits.max_expires)
        params = tuple(one for one in contact.params if one.name.lower() != "expires")
        key = contact_key(contact.uri)
        if seconds:
            path, call_id = request.values("Path"), request.first("Call-ID")
            asked, form = contact.param("expires"), scscf.habits.contact_expires
            kept = (*params, sip.Param("expires", form.format(asked))) if asked and form else params
            subscriber.bindings[key] = Binding(contact.uri, kept, path, now + seconds, call_id)
            told = seconds * scscf.habits.told_percent // 100
            said.append(f"<{contact.uri}>;expires={told}{sip.format_params(params)}")
        else:
            subscriber.bindings.pop(key, None)
            said.append(f"<{contact.uri}>;expires=0")
    return said


def _leaving(scscf: Scscf, context: Context, subscriber: Subscriber | None) -> bool:
    """Whether no contact is left after this REGISTER."""
    request = context.request
    contacts = [sip.parse_name_addr(value) for value in request.values("Contact")]
    if not contacts:
        return False
    if any(_asked(contact, request) for contact in contacts if contact.uri != "*"):
        return False
    gone = {contact_key(contact.uri) for contact in contacts}
    every = any(contact.uri == "*" for contact in contacts)
    return every or subscriber is None or not set(subscriber.bindings) - gone


def _asked(contact: sip.NameAddr, request: sip.Message) -> int:
    text = contact.param("expires") or request.first("Expires") or "3600"
    return int(text) if text.isascii() and text.isdigit() and len(text) < 11 else 3600


def contact_key(uri: str) -> str:
    """What tells contacts apart: user, host and port."""
    parts = sip.parse_uri(uri)
    return f"{parts.user}@{parts.host}:{parts.port or 5060}"


def identity_of(value: str) -> str:
    """The public identity in a To, From or P-Asserted-Identity value."""
    return sip.parse_uri(sip.parse_name_addr(value).uri).identity


def _credentials(request: sip.Message) -> dict[str, str]:
    try:
        return sip.digest.parse(request.first("Authorization"))[1] if request.has("Authorization") else {}
    except DecodeError:
        return {}


def _resynchronisation(vector: Vector, auts: str) -> bytes:
    """RAND and AUTS for the HSS (TS 29.228 clause 6.3.1)."""
    try:
        rand, _ = sip.digest.split_aka_nonce(vector.nonce)
        return rand + b64decode(auts, validate=True)
    except (DecodeError, ValueError):
        return b""
