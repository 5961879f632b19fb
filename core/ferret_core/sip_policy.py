"""An operator's SIP habits as data: which header fields a CSCF adds, changes and takes away, and in what form.

Defaults are those of TS 24.229. A recording shows where an operator does otherwise (`sip_profile`). Values are
templates: what an NF allocates or computes stands in braces and is never part of a profile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

from ferret.errors import ConfigError
from ferret.protocols import sip


class Way(StrEnum):
    """Which way a message goes through a CSCF; header fields are treated by it."""

    REGISTER = "register"
    REGISTER_ANSWER = "register_answer"
    REGISTER_CHALLENGE = "register_challenge"  # a 401 to it
    ORIGINATING = "originating"  # an initial request of a served UE
    ORIGINATING_ANSWER = "originating_answer"  # an answer to it, on its way back to that UE
    TERMINATING = "terminating"  # an initial request for a served UE
    TERMINATING_ANSWER = "terminating_answer"  # its answer, coming from that UE
    IN_DIALOG_FROM_UE = "in_dialog_from_ue"
    IN_DIALOG_TO_UE = "in_dialog_to_ue"
    IN_DIALOG_ANSWER_FROM_UE = "in_dialog_answer_from_ue"
    IN_DIALOG_ANSWER_TO_UE = "in_dialog_answer_to_ue"


ANSWER_TO = {
    Way.REGISTER: Way.REGISTER_ANSWER,
    Way.ORIGINATING: Way.ORIGINATING_ANSWER,
    Way.TERMINATING: Way.TERMINATING_ANSWER,
    Way.IN_DIALOG_FROM_UE: Way.IN_DIALOG_ANSWER_TO_UE,
    Way.IN_DIALOG_TO_UE: Way.IN_DIALOG_ANSWER_FROM_UE,
}


@dataclass(frozen=True, slots=True)
class HeaderRule:
    """What becomes of header fields on one way: `remove`, then `set`, then `change` those that are there.

    `set` and `change` are pairs of name and template.
    """

    remove: tuple[str, ...] = ()
    set: tuple[tuple[str, str], ...] = ()
    change: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RecordRouteForm:
    """The URI that a CSCF writes into Record-Route."""

    user: str = ""
    host: str = ""  # "": the NF's own address
    port: bool = False  # write the port although it is the default
    params: tuple[tuple[str, str | None], ...] = (("lr", None),)


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything about a CSCF's SIP that a standard leaves to the operator."""

    headers: Mapping[str, HeaderRule] = field(default_factory=dict)  # by Way
    record_route: Mapping[str, RecordRouteForm] = field(default_factory=dict)  # by "way" or "way METHOD"
    record_route_methods: tuple[str, ...] = ("INVITE", "SUBSCRIBE", "REFER")
    record_route_in_dialog: bool = False  # again in requests that refresh the target
    via_port: bool = False  # write ":5060" although it is the default
    via_params: tuple[str, ...] = ()  # flags behind the branch, such as "rport"
    via_tcp_params: tuple[str, ...] = ()  # allocated parameters where the request came over TCP, such as "i"
    force_rport: tuple[str, ...] = ()  # ways on which rport is written for a UE that did not ask for it
    one_tag: tuple[str, ...] = ()  # methods whose own answers all have the same To tag
    trying: tuple[str, ...] = ("INVITE",)  # methods that get a 100
    trying_reason: str = "Trying"
    cancelling_reason: str = "OK"
    server: str = ""  # Server in answers of its own
    user_agent: str = ""  # User-Agent in requests of its own
    contact_alias: bool = False  # a UE's Contact gets ";alias=address~port~transport" (1 UDP, 2 TCP)
    contact_params_header: str = ""  # on the way to a UE, what this field holds goes behind the Contact
    transport: str = "UDP"  # to other SIP servers: "UDP" or "TCP"
    stream_above: int = 0  # octets: a longer request goes over TCP (RFC 3261 clause 18.1.1 has 1300); 0: none does
    media_relay: str = ""  # address of a media relay that stands in for a UE's; "": there is none


def policy_from(values: Mapping[str, Any], default: Policy) -> Policy:
    """`default` changed by the "sip" part of a profile. Raises ConfigError."""
    known = {one.name for one in fields(Policy)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(f"unknown keys in a SIP profile: {', '.join(unknown)}")
    try:
        changes = {name: _READERS.get(name, _plain)(value, default) for name, value in values.items()}
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ConfigError(f"a SIP profile that cannot be read: {error}") from error
    return replace(default, **changes)


def _plain(value: Any, _: Policy) -> Any:
    return value


def _names(value: Any, _: Policy) -> tuple[str, ...]:
    return tuple(str(one) for one in value)


def _rules(value: Any, default: Policy) -> dict[str, HeaderRule]:
    rules = dict(default.headers)
    for way, rule in value.items():
        remove = tuple(str(name) for name in rule.get("remove", ()))
        rules[Way(way)] = HeaderRule(remove, _pairs(rule.get("set", {})), _pairs(rule.get("change", {})))
    return rules


def _pairs(value: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((str(name), str(template)) for name, template in value.items())


def _record_routes(value: Any, default: Policy) -> dict[str, RecordRouteForm]:
    forms = dict(default.record_route)
    for key, form in value.items():
        params = tuple((str(name), None if text is None else str(text)) for name, text in form.get("params", ()))
        user, host, port = str(form.get("user", "")), str(form.get("host", "")), bool(form.get("port", False))
        forms[str(key)] = RecordRouteForm(user, host, port, params)
    return forms


def _transport(value: Any, _: Policy) -> str:
    if value not in ("UDP", "TCP"):
        raise ValueError(f"transport {value!r}")
    return str(value)


_READERS: dict[str, Callable[[Any, Policy], Any]] = {
    "headers": _rules,
    "record_route": _record_routes,
    "record_route_methods": _names,
    "via_params": _names,
    "via_tcp_params": _names,
    "force_rport": _names,
    "one_tag": _names,
    "trying": _names,
    "transport": _transport,
    "stream_above": lambda value, _: int(value),
}


class Blanks(dict[str, str]):
    """What fills the braces of a template. A value that is not known leaves the field out."""

    missing = False

    def __missing__(self, key: str) -> str:
        self.missing = True
        return ""


def filled(template: str, values: Mapping[str, str]) -> str | None:
    """The template with its braces filled; None where one of the values is unknown or empty."""
    if "{" not in template:
        return template
    blanks = Blanks({name: value for name, value in values.items() if value})
    try:
        text = template.format_map(blanks)
    except (ValueError, IndexError, AttributeError, KeyError):
        return template
    return None if blanks.missing else text


def apply(rule: HeaderRule | None, message: sip.Message, values: Mapping[str, str]) -> sip.Message:
    """The message with the header fields of this way treated.

    Besides `values`, {contact_params} stands for the header parameters of the message's own Contact.
    """
    if rule is None:
        return message
    own = {"contact_params": contact_params(message)}
    message = message.remove(*rule.remove) if rule.remove else message
    present = [pair for pair in rule.change if message.has(pair[0])]
    for name, template in (*rule.set, *present):
        text = filled(template, {**values, **own})
        if text is not None:
            message = message.with_header(name, text)
    return message


def contact_params(message: sip.Message) -> str:
    """The header parameters of the Contact, as they stand behind its URI."""
    params = sip.parse_name_addr(message.first("Contact")).params
    return sip.format_params(params).removeprefix(";")
