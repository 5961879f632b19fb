"""An S-CSCF's habits and context, read from a recording."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ferret.errors import DecodeError
from ferret.protocols import diameter, sip
from ferret.protocols.diameter import Command, avp
from ferret.protocols.summary import Protocol
from ferret.records.message import Interface, Role, SignallingMessage
from ferret_core.sip_policy import Way
from ferret_core.sip_profile import History, Seen, most_common, sip_habits, with_blank


def profile_from_recording(messages: Iterable[SignallingMessage]) -> Mapping[str, Any]:
    """What the S-CSCF of a recording does its own way; for `import_context` as "profile"."""
    everything = tuple(messages)
    history = History(everything, Role.SCSCF)
    return {
        "sip": sip_habits(history),
        "registrar": _registrar_habits(history) | _subscription_habits(history),
        "cx": _cx_habits(everything, history),
    }


def _answers(history: History, method: str) -> list[Seen]:
    return [one for one in history.own if not one.sip.is_request and one.sip.method == method]


def _registrar_habits(history: History) -> dict[str, Any]:
    habits: dict[str, Any] = {}
    answers = _answers(history, "REGISTER")
    challenges = [one for one in answers if one.sip.status == 401]
    registered = [one for one in answers if one.sip.status == 200]
    if challenges:
        habits["challenge_reason"] = most_common(one.sip.reason for one in challenges)
        habits["path_in_challenge"] = any(one.sip.has("Path") for one in challenges)
        habits["qop"] = most_common(_qop(one.sip) for one in challenges)
    refused = [one.sip.reason for one in answers if one.sip.status == 403]
    if refused:
        habits["refused_reason"] = most_common(refused)
    if registered:
        habits["service_route"] = _own_form(most_common(one.sip.first("Service-Route") for one in registered), history)
        habits |= _expiry(registered, history)
        gone = [one.sip for one in registered if _granted(one.sip) == 0]
        if gone:
            habits["path_when_deregistered"] = any(one.has("Path") for one in gone)
            habits["associated_when_deregistered"] = any(one.has("P-Associated-URI") for one in gone)
    return habits


def _qop(challenge: sip.Message) -> str:
    try:
        return sip.digest.parse(challenge.first("WWW-Authenticate"))[1].get("qop", "")
    except DecodeError:
        return ""


def _granted(answer: sip.Message) -> int | None:
    text = sip.parse_name_addr(answer.first("Contact")).param("expires") or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 11 else None


def _expiry(registered: Sequence[Seen], history: History) -> dict[str, Any]:
    """Whether the registrar tells a part of the lifetime, or cuts longer wishes to the same."""
    asked: dict[tuple[str, str], int] = {}
    for one in history.received:
        if one.sip.is_request and one.sip.method == "REGISTER":
            text = sip.parse_name_addr(one.sip.first("Contact")).param("expires") or one.sip.first("Expires")
            asked[one.exchange] = int(text) if text.isascii() and text.isdigit() and len(text) < 11 else 0
    pairs = {(asked.get(one.exchange, 0), _granted(one.sip) or 0) for one in registered}
    cut = {(wish, granted) for wish, granted in pairs if 0 < granted < wish}
    percents = {100 * granted // wish for wish, granted in cut if 100 * granted % wish == 0}
    if cut and len(percents) == 1 and all(granted * 100 == wish * min(percents) for wish, granted in cut):
        return {"told_percent": percents.pop()}
    values = {granted for _, granted in cut}
    return {"max_expires": values.pop()} if len(values) == 1 else {}


def _own_form(value: str, history: History) -> str:
    value = value.replace("{", "").replace("}", "")
    for host in history.hosts:
        value = with_blank(value, host, "{address}")
    return value


def _subscription_habits(history: History) -> dict[str, Any]:
    habits: dict[str, Any] = {}
    accepted = [one for one in _answers(history, "SUBSCRIBE") if one.sip.status == 200]
    if not accepted:
        return habits
    habits["subscribed_reason"] = most_common(one.sip.reason for one in accepted)
    habits["contact"] = _own_form(most_common(one.sip.first("Contact") for one in accepted), history)
    notifies = [one for one in history.own if one.sip.is_request and one.sip.method == "NOTIFY"]
    offsets = []
    for one in accepted:
        call_id, cseq = one.exchange
        first = next((n for n in notifies if n.exchange[0] == call_id), None)
        if first is not None and cseq.split()[0].isdecimal() and sip.cseq_number(first.sip).isdecimal():
            offsets.append(int(sip.cseq_number(first.sip)) - int(cseq.split()[0]))
    if offsets and len(set(offsets)) == 1:
        habits["notify_offset"] = offsets[0]
    documents = [body for one in notifies if (body := one.sip.body.decode("utf-8", "replace")).count("<reginfo")]
    versions = [found[1] for body in documents if (found := re.search(r'<reginfo[^>]*\bversion="(\d{1,9})"', body))]
    if versions:
        habits["first_version"] = min(int(version) for version in versions)
        habits["contact_q"] = any(re.search(r"<contact\b[^>]*\bq=", body) for body in documents)
        expires = [found[1] for body in documents if (found := re.search(r'name="expires">("?)\d', body))]
        habits["contact_expires"] = f"{expires[0]}{{}}{expires[0]}" if expires else ""
    left = [one for one in _answers(history, "REGISTER") if one.sip.status == 200 and _granted(one.sip) == 0]
    if left:
        ended = [one for one in notifies if one.sip.first("Subscription-State").startswith("terminated")]
        habits["notify_deregistration"] = bool(ended)
    return habits


def _cx_habits(messages: Sequence[SignallingMessage], history: History) -> dict[str, Any]:
    habits: dict[str, Any] = {}
    registers = {one.sip.first("Call-ID"): one for one in history.received if one.sip.method == "REGISTER"}
    for one in registers.values():
        if one.sip.is_request and one.sip.request_uri:
            habits["server_name"] = one.sip.request_uri
    for message in _requests_on_cx(messages):
        try:
            habits |= _own_part(message)
        except DecodeError:
            continue
        for own in message.avps:
            text = own.octets.decode("utf-8", "replace")
            if message.command == Command.SERVER_ASSIGNMENT and text in registers:
                habits["call_id_avp"] = [own.code, own.vendor]
    return habits


def _own_part(message: diameter.Message) -> dict[str, Any]:
    """What a MAR or SAR says of its sender. Raises DecodeError."""
    fields = (
        ("origin_host", avp.ORIGIN_HOST),
        ("origin_realm", avp.ORIGIN_REALM),
        ("destination_realm", avp.DESTINATION_REALM),
        ("destination_host", avp.DESTINATION_HOST),
        ("server_name", avp.SERVER_NAME),
    )
    habits: dict[str, Any] = {key: value for key, field in fields if (value := message.value_of(field))}
    item = message.find(avp.SIP_AUTH_DATA_ITEM)
    scheme = item.value_of(avp.SIP_AUTHENTICATION_SCHEME) if item is not None else None
    return habits | ({"scheme": scheme} if scheme else {})


def _requests_on_cx(messages: Sequence[SignallingMessage]) -> list[diameter.Message]:
    found = []
    for one in messages:
        sent = one.from_nf.role is Role.SCSCF and one.interface is Interface.CX and not one.captured.flaws
        if sent and one.protocol is Protocol.DIAMETER:
            try:
                message = diameter.decode(one.octets)
            except DecodeError:
                continue
            if message.is_request and message.command in (Command.MULTIMEDIA_AUTH, Command.SERVER_ASSIGNMENT):
                found.append(message)
    return found


def context_from_recording(messages: Iterable[SignallingMessage]) -> Mapping[str, Any]:
    """Registrations that later messages imply, for users whose own REGISTER the recording does not hold."""
    history = History(messages, Role.SCSCF)
    known = {
        sip.parse_uri(sip.parse_name_addr(one.sip.first("Contact")).uri).host
        for one in history.received
        if one.sip.is_request and one.sip.method == "REGISTER"
    }
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for hop in history.hops:
        called, contact = hop.received.sip.request_uri, hop.sent.sip.request_uri
        if hop.way is not Way.TERMINATING or not hop.sent.sip.is_request or called == contact:
            continue
        if sip.parse_uri(contact).host not in known:
            path = list(hop.sent.sip.values("Route"))
            found[called, contact] = {"impus": [called], "contact": contact, "path": path}
    return {"registrations": list(found.values())}
