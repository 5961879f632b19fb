"""A recorded Diameter message from outside, as the edge NFs must see it (RFC 6733).

An answer gets the hop-by-hop and end-to-end identifiers and the Session-Id of the request that the edge made. In
requests and answers alike, identifiers that the edge allocated (Session-Id, Charging-Rule-Name in a report), names of
NFs that it stands in for (Destination-Host and -Realm, Server-Name) and UE addresses are translated. Origin stays: the
peer is the one of the recording. Everything else stays octet for octet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from ferret.errors import DecodeError
from ferret.protocols import diameter
from ferret.protocols.diameter import avp
from ferret.protocols.diameter.definition import AvpDefinition
from ferret.replay.rewrite.context import Place, ReplayContext
from ferret.replay.translation import Domain, Translation

_Change: TypeAlias = Callable[[str], "str | None"]
_Changes: TypeAlias = dict[tuple[int, int], tuple[AvpDefinition[str], _Change]]


def rewrite(
    message: diameter.Message, translation: Translation, context: ReplayContext, place: Place
) -> diameter.Message:
    """`message` with the edge's identifiers; the same object where nothing is to change."""
    sent = None if message.is_request else context.diameter_request(place, message)
    recorded_session = message.value_of(avp.SESSION_ID) or ""
    session = translation.edge(Domain.SESSION_ID, recorded_session)
    if sent is not None:
        message_session = sent.edge.value_of(avp.SESSION_ID)
        session = session if message_session is None else message_session
    avps = _rewritten(message.avps, _changes(translation, recorded_session, session))
    made = message if avps is message.avps else replace(message, avps=avps)
    if sent is not None and (made.hop_by_hop, made.end_to_end) != (sent.edge.hop_by_hop, sent.edge.end_to_end):
        made = made.with_identifiers(sent.edge.hop_by_hop, sent.edge.end_to_end)
    return made


def _rewritten(avps: tuple[diameter.Avp, ...], changes: _Changes) -> tuple[diameter.Avp, ...]:
    """The AVPs with those changed that are to be, in groups too; the same tuple where none is."""
    made = []
    same = True
    for old in avps:
        new = old
        if isinstance(old.value, tuple):
            inner = _rewritten(old.value, changes)
            if inner is not old.value:
                new = replace(old, value=inner)
        elif (found := changes.get((old.code, old.vendor))) is not None:
            new = _changed(old, *found)
        same = same and new is old
        made.append(new)
    return avps if same else tuple(made)


def _changes(translation: Translation, recorded_session: str, session: str | int | None) -> _Changes:
    """By code and vendor: how the AVP reads, and what becomes of its value (None: it stays)."""

    def mapped(domain: Domain, scope: str = "") -> _Change:
        def change(value: str) -> str | None:
            found = translation.edge(domain, value, scope)
            return None if found is None else str(found)

        return change

    def prefix(value: str) -> str | None:
        address, slash, bits = value.partition("/")
        found = translation.edge(Domain.UE_IP, value) or translation.edge(Domain.UE_IP, address)
        return None if found is None else str(found) if "/" in str(found) else f"{found}{slash}{bits}"

    table: list[tuple[AvpDefinition[str], _Change]] = [
        (avp.SESSION_ID, lambda _: None if session is None else str(session)),
        (avp.DESTINATION_HOST, mapped(Domain.ORIGIN_HOST)),
        (avp.DESTINATION_REALM, mapped(Domain.ORIGIN_REALM)),
        (avp.FRAMED_IP_ADDRESS, mapped(Domain.UE_IP)),
        (avp.FRAMED_IPV6_PREFIX, prefix),
        (avp.CHARGING_RULE_NAME, mapped(Domain.RULE_NAME, recorded_session)),
        (avp.SERVER_NAME, translation.text),
        (avp.FLOW_DESCRIPTION, translation.text),
        (avp.CODEC_DATA, translation.text),
    ]
    return {(definition.code, definition.vendor): (definition, change) for definition, change in table}


def _changed(old: diameter.Avp, definition: AvpDefinition[str], change: _Change) -> diameter.Avp:
    try:
        before = definition.read(old)
    except DecodeError:
        return old
    after = change(before)
    if after is None or after == before:
        return old
    return replace(old, value=definition(after).value, padding=None)
