"""A recorded SIP message from outside, as the edge NFs must see it (RFC 3261, TS 24.229).

A response carries back what the edge's own request carried: the whole Via stack and Record-Route set, From, CSeq, and
To but for the tag that the answering party gave. A request carries what its sender would have learnt from the edge: the
routes, tags, contacts and nonce that the edge gave out in place of the recorded ones. Everything else stays octet for
octet; RAck and the CSeq number of requests need no change, as they count what the two UEs send each other.
"""

from __future__ import annotations

import re

from ferret.protocols import sip
from ferret.replay.rewrite.context import Place, ReplayContext, Sent
from ferret.replay.rewrite.fields import tag_of, with_each_value, with_tag, with_values
from ferret.replay.rewrite.sip_memory import SipMemory
from ferret.replay.translation import Domain, Translation

_ICID = re.compile(r'(icid-value\s*=\s*"?)([^";,\s]+)', re.IGNORECASE)
_NONCE = re.compile(r'(\bnonce\s*=\s*")([^"]*)', re.IGNORECASE)
_SDP_ADDRESS = re.compile(rb"^([co]=[^\r\n]*IN IP[46] )([0-9A-Fa-f:.]+)", re.MULTILINE)
_COPIED = ("From", "CSeq", "Call-ID")  # from the request into the response (RFC 3261 clause 8.2.6.2)


def rewrite(message: sip.Message, translation: Translation, context: ReplayContext, place: Place) -> sip.Message:
    """`message` with the edge's identifiers; the same object where nothing is to change."""
    sent = None if message.is_request else context.sip_request(message)
    made = _dialog(message, translation)
    if sent is not None:
        made = _as_answer(made, sent, translation, context.sip)
    else:
        made = with_each_value(made, "Via", lambda value: _via(value, translation, context.sip))
        made = with_each_value(made, "Record-Route", lambda value: _known_route(value, translation, context.sip))
    if message.is_request:
        made = _as_request(made, translation, context.sip)
    return _body(made, translation)


def _dialog(message: sip.Message, translation: Translation) -> sip.Message:
    """What identifies the dialog and its charging."""

    def tag(value: str) -> str:
        old = tag_of(value)
        found = translation.edge(Domain.TAG, old) if old else None
        return value if found in (None, old) else with_tag(value, str(found))

    def icid(match: re.Match[str]) -> str:
        return match[1] + str(translation.edge(Domain.ICID, match[2]) or match[2])

    message = with_each_value(message, "From", tag)
    message = with_each_value(message, "To", tag)
    message = with_each_value(message, "Call-ID", lambda v: str(translation.edge(Domain.CALL_ID, v) or v))
    return with_each_value(message, "P-Charging-Vector", lambda value: _ICID.sub(icid, value))


def _as_answer(
    message: sip.Message, sent: Sent[sip.Message], translation: Translation, memory: SipMemory
) -> sip.Message:
    """A response to `sent.edge` in place of one to `sent.recorded`."""
    recorded, edge = sent
    if recorded.values("Via") != edge.values("Via"):
        message = with_values(message, "Via", edge.values("Via"))
    message = with_values(message, "Record-Route", _answered_routes(message, sent, translation, memory))
    for name in _COPIED:
        if recorded.first(name) != edge.first(name):
            message = with_values(message, name, edge.values(name))
    if recorded.first("To") != edge.first("To"):
        tag = tag_of(edge.first("To")) or tag_of(message.first("To"))
        message = with_values(message, "To", (with_tag(edge.first("To"), tag),))
    return message


def _answered_routes(
    message: sip.Message, sent: Sent[sip.Message], translation: Translation, memory: SipMemory
) -> tuple[str, ...]:
    """Record-Route of the response: the request's, below what NFs farther on have added to it."""
    found, asked = message.values("Record-Route"), sent.recorded.values("Record-Route")
    added = len(found) - len(asked)
    if added < 0 or found[added:] != asked:
        return tuple(_known_route(value, translation, memory) for value in found)
    return (*(_known_route(value, translation, memory) for value in found[:added]), *sent.edge.values("Record-Route"))


def _as_request(message: sip.Message, translation: Translation, memory: SipMemory) -> sip.Message:
    """What the sender of a request has learnt from the edge."""
    uri = memory.uri(message.request_uri) or translation.text(message.request_uri)
    if uri != message.request_uri:
        message = message.with_request_uri(uri)
    message = _routed(message, translation, memory)
    message = with_each_value(message, "Path", lambda value: _route(value, translation, memory))
    message = with_each_value(message, "Security-Verify", lambda value: memory.echoed("Security-Verify", value))

    def nonce(match: re.Match[str]) -> str:
        return match[1] + str(translation.edge(Domain.NONCE, match[2]) or match[2])

    for name in ("Authorization", "Proxy-Authorization"):
        message = with_each_value(message, name, lambda value: _NONCE.sub(nonce, value))
    return message


def _routed(message: sip.Message, translation: Translation, memory: SipMemory) -> sip.Message:
    values = message.values("Route")
    known = memory.route_set(values)
    start, learnt = known if known is not None else (len(values), ())
    # Within a dialog a route beyond the receiver's own that the edge never gave out is another half's NF.
    own = 1 if tag_of(message.first("To")) else start
    before = [
        (_route if place < own else _known_route)(value, translation, memory)
        for place, value in enumerate(values[:start])
    ]
    if known is not None and [_uri_of(v) for v in learnt] == [_uri_of(v) for v in values[start:]]:
        learnt = tuple(values[start:])
    return with_values(message, "Route", (*before, *learnt))


def _route(value: str, translation: Translation, memory: SipMemory) -> str:
    """A Route or Path value with the edge's URI in place of a recorded one."""
    known = _known_route(value, translation, memory)
    return translation.text(value) if known == value else known


def _known_route(value: str, translation: Translation, memory: SipMemory) -> str:
    """A route with the edge's URI in place of one that the edge gave out another for.

    Any other may well name an NF that the edge stands in for, but in the other party's half of the dialog, where the
    recorded one still serves.
    """
    old = _uri_of(value)
    new = memory.uri(old)
    if new is None:
        bare, semicolon, rest = old.partition(";")
        found = translation.edge(Domain.SIP_URI, bare)
        new = old if found is None else f"{found}{semicolon}{rest}"
    return value if new == old else value.replace(old, new, 1)


def _uri_of(value: str) -> str:
    return sip.parse_name_addr(value).uri


def _via(value: str, translation: Translation, memory: SipMemory) -> str:
    """The edge's Via in place of a recorded one: as remembered, else by branch and host."""
    known = memory.via(value)
    if known != value:
        return known
    branch = sip.parse_via(value).branch
    found = translation.edge(Domain.BRANCH, branch) if branch else None
    if found in (None, branch):
        return value
    return translation.text(value.replace(branch, str(found), 1))


def _body(message: sip.Message, translation: Translation) -> sip.Message:
    """The session description with mapped addresses in its connection and origin lines (RFC 4566 clause 5.7)."""
    if not message.body or b"IN IP" not in message.body:
        return message

    def address(match: re.Match[bytes]) -> bytes:
        old = match[2].decode("ascii")
        # A media relay may have the address of an NF that the edge stands in for; the media stay where they are.
        new = translation.learnt(Domain.UE_IP, old) or translation.learnt(Domain.SDP_ADDRESS, old) or old
        return match[0] if new == old else match[1] + str(new).encode("ascii")

    body = _SDP_ADDRESS.sub(address, message.body)
    return message if body == message.body else message.with_body(body)
