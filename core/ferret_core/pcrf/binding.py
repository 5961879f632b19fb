"""Session binding: to which IP-CAN session an AF session belongs (TS 29.213 clause 5.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ferret.protocols.diameter import Message, avp
from ferret.protocols.diameter.summary import apn as short_apn
from ferret_core.pcrf.session import GxSession, subscriber_ids

_UE_END = re.compile(r"permit (?:in \S+ from|out \S+ from \S+(?: [\d,-]+)? to) ([0-9a-fA-F.:]+)")


def bind(message: Message, sessions: Iterable[GxSession]) -> GxSession | None:
    """The IP-CAN session of this AAR, or None. Raises DecodeError.

    By the UE's address and, where the AF gives them, its APN and subscriber; without an address, by the UE's end of the
    filters; without that, by subscriber alone if he has one IP-CAN session only. The latest session wins.
    """
    newest_first = list(sessions)[::-1]
    framed = (*message.values_of(avp.FRAMED_IP_ADDRESS), *message.values_of(avp.FRAMED_IPV6_PREFIX))
    addresses = framed or _addresses_in_filters(message)
    found = [one for one in newest_first if any(one.has_address(address) for address in addresses)]
    found = _narrow(found, message)
    if found:
        return found[0]
    if framed:
        return None
    ids = subscriber_ids(message)
    known = [one for one in newest_first if ids & one.subscriber_ids]
    known = _narrow(known, message)
    return known[0] if len(known) == 1 else None


def _narrow(sessions: list[GxSession], message: Message) -> list[GxSession]:
    """Of several sessions, those of the APN that the AF names (overlapping addresses, clause 5.2)."""
    apn = short_apn(message.value_of(avp.CALLED_STATION_ID) or "")
    return [one for one in sessions if one.apn == apn] or sessions if apn else sessions


def _addresses_in_filters(message: Message) -> tuple[str, ...]:
    """The UE's end of every filter: the source of "in", the destination of "out"."""
    return tuple(
        match[1]
        for component in message.all(avp.MEDIA_COMPONENT_DESCRIPTION)
        for sub_component in component.all(avp.MEDIA_SUB_COMPONENT)
        for description in sub_component.values_of(avp.FLOW_DESCRIPTION)
        if (match := _UE_END.match(description))
    )
