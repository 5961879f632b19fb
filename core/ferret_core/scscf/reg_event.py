"""Subscriptions to the registration state (RFC 3680, TS 24.229 clause 5.4.2.1)."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from math import ceil
from typing import TYPE_CHECKING

from ferret.protocols import sip
from ferret_core.nf import Output, Send
from ferret_core.sip_proxy import Context

if TYPE_CHECKING:
    from ferret_core.scscf.registrar import Binding, Subscriber
    from ferret_core.scscf.scscf import Scscf

DEFAULT_EXPIRES = 3761  # seconds (RFC 3680 clause 4.4)


@dataclass(slots=True)
class Subscription:
    """One watcher's dialog."""

    call_id: str
    local: str  # our From with tag
    remote: str  # the watcher's From with tag
    target: str  # its contact
    routes: tuple[str, ...]
    impi: str
    cseq: int
    version: int = 0
    expires: int = DEFAULT_EXPIRES


def is_for_us(scscf: Scscf, request: sip.Message) -> bool:
    """Whether a request subscribes to the registration state of a user of ours."""
    event = request.first("Event").partition(";")[0].strip().lower()
    if request.method != "SUBSCRIBE" or event != "reg":
        return False
    known = (request.first("Call-ID"), sip.parse_name_addr(request.first("From")).param("tag") or "")
    return known in scscf.subscriptions or scscf.find(request.request_uri) is not None


def subscribed(scscf: Scscf, context: Context, now: float) -> list[Output]:
    """Accept a SUBSCRIBE and notify at once."""
    request = context.request
    subscriber = scscf.find(request.request_uri) or scscf.find(sip.parse_name_addr(request.first("To")).uri)
    text = request.first("Expires")
    seconds = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else DEFAULT_EXPIRES
    contact = scscf.own_uri(scscf.habits.contact)
    headers = [("Record-Route", value) for value in request.values("Record-Route")]
    headers += [("Expires", str(seconds)), ("Contact", contact)]
    answer = scscf._own_answer(context, 200, scscf.habits.subscribed_reason, headers=headers)
    key = (request.first("Call-ID"), sip.parse_name_addr(request.first("From")).param("tag") or "")
    subscription = scscf.subscriptions.get(key)
    if subscription is None:
        number = int(sip.cseq_number(request)) if sip.cseq_number(request).isdecimal() else 0
        sent = answer.message
        subscription = Subscription(
            call_id=key[0],
            local=sent.first("To") if isinstance(sent, sip.Message) else request.first("To"),
            remote=request.first("From"),
            target=sip.parse_name_addr(request.first("Contact")).uri,
            routes=request.values("Record-Route"),
            impi=subscriber.impi if subscriber else "",
            cseq=number + scscf.habits.notify_offset - 1,
            version=scscf.habits.first_version,
        )
        scscf.subscriptions[key] = subscription
    subscription.expires = seconds
    if not seconds:
        del scscf.subscriptions[key]
    state = f"active;expires={seconds}" if seconds else "terminated;reason=timeout"
    return [answer, _notify(scscf, subscription, subscriber, state, now)]


def gone(scscf: Scscf, subscriber: Subscriber, now: float) -> list[Output]:
    """The user is registered no more: tell every watcher, and end it."""
    watchers = [one for one in scscf.subscriptions.values() if one.impi == subscriber.impi]
    outputs: list[Output] = [
        _notify(scscf, one, subscriber, "terminated;reason=deactivated", now, active=False) for one in watchers
    ]
    drop(scscf, subscriber)
    return outputs


def drop(scscf: Scscf, subscriber: Subscriber) -> None:
    """Forget the subscriptions to a user."""
    for key in [key for key, one in scscf.subscriptions.items() if one.impi == subscriber.impi]:
        del scscf.subscriptions[key]


def _notify(
    scscf: Scscf,
    subscription: Subscription,
    subscriber: Subscriber | None,
    state: str,
    now: float,
    *,
    active: bool = True,
) -> Send:
    subscription.cseq += 1
    body = reginfo(scscf, subscriber, subscription.version, active=active, now=now)
    subscription.version += 1
    headers = [
        ("To", subscription.remote),
        ("From", subscription.local),
        ("CSeq", f"{subscription.cseq} NOTIFY"),
        ("Call-ID", subscription.call_id),
        *[("Route", value) for value in subscription.routes],
        ("Contact", scscf.own_uri(scscf.habits.contact)),
        ("Event", "reg"),
        ("Max-Forwards", "70"),
        ("Subscription-State", state),
        ("Content-Type", "application/reginfo+xml"),
    ]
    if scscf.policy.user_agent:
        headers.append(("User-Agent", scscf.policy.user_agent))
    request = sip.request("NOTIFY", subscription.target, headers, body)
    return scscf._own_request(request)


def reginfo(scscf: Scscf, subscriber: Subscriber | None, version: int, *, active: bool, now: float) -> bytes:
    """The registration state as RFC 3680 clause 5 writes it: every public identity with every contact."""
    lines = [
        '<?xml version="1.0"?>',
        f'<reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="{version}" state="full">',
    ]
    contacts = list(subscriber.bindings.values()) if subscriber else []
    for number, uri in enumerate(subscriber.associated if subscriber else ()):
        state = "active" if active else "terminated"
        lines.append(f'\t<registration aor="{escape(uri)}" id="r{number}" state="{state}">')
        for place, binding in enumerate(contacts):
            lines += _contact(scscf, binding, place, now)
        lines.append("\t</registration>")
    return ("\n".join([*lines, "</reginfo>"]) + "\n").encode()


def _contact(scscf: Scscf, binding: Binding, place: int, now: float) -> list[str]:
    q = next((text for name, text in binding.params if name == "q"), None) or (
        "0.000" if scscf.habits.contact_q else ""
    )
    shown = f' q="{escape(q)}"' if q else ""
    seconds = max(0, ceil(binding.expires - now))
    lines = [f'\t\t<contact id="c{place}" state="active" event="registered" expires="{seconds}"{shown}>']
    lines.append(f"\t\t\t<uri>{escape(binding.uri)}</uri>")
    for name, text in binding.params:
        if name != "q":
            lines.append(
                f'\t\t\t<unknown-param name="{escape(name)}">{escape(text or "", quote=False)}</unknown-param>'
            )
    return [*lines, "\t\t</contact>"]
