"""A recorded GTPv2-C message from outside, as the edge NFs must see it (TS 29.274).

Changed are the header's TEID, which the receiver allocated; the sequence number of an answer to a request that the edge
made; and F-TEIDs of NFs that the edge stands in for. Everything else stays octet for octet.
"""

from __future__ import annotations

from dataclasses import replace

from ferret.errors import DecodeError
from ferret.protocols import gtpv2
from ferret.records.message import Interface, Node, Role
from ferret.replay.rewrite.context import Place, ReplayContext
from ferret.replay.translation import Domain, Translation, teid_scope

_CONTROL_PLANE = {
    (Interface.S11, Role.MME): 10,
    (Interface.S11, Role.SGW): 11,
    (Interface.S5, Role.SGW): 6,
    (Interface.S5, Role.PGW): 7,
}
"""Interface type (clause 8.22) of the F-TEID that the header's TEID came from, by the receiver."""


def header_scope(interface: Interface, receiver: Node) -> str | None:
    """The scope of the TEID in the header of a message to `receiver`; None where its F-TEID's type is not known."""
    interface_type = _CONTROL_PLANE.get((interface, receiver.role))
    return None if interface_type is None else teid_scope(interface_type, receiver.address)


def rewrite(message: gtpv2.Message, translation: Translation, context: ReplayContext, place: Place) -> gtpv2.Message:
    """`message` with the edge's identifiers; the same object where nothing is to change."""
    ies = tuple(_rewritten(ie, translation, grouped=False) for ie in message.ies)
    changed = any(new is not old for new, old in zip(ies, message.ies, strict=True))
    teid = _teid(message, translation, place)
    sequence = _sequence(message, context, place)
    if not changed and teid == message.teid and sequence == message.sequence:
        return message
    return replace(message, teid=teid, sequence=sequence, ies=ies if changed else message.ies)


def _teid(message: gtpv2.Message, translation: Translation, place: Place) -> int | None:
    scope = header_scope(place.interface, place.receiver)
    if message.teid is None or scope is None:
        return message.teid
    found = translation.edge(Domain.TEID, message.teid, scope)
    return found if isinstance(found, int) else message.teid


def _sequence(message: gtpv2.Message, context: ReplayContext, place: Place) -> int:
    if message.type not in gtpv2.ANSWERS:
        return message.sequence
    sent = context.gtpv2_request(place, message)
    return message.sequence if sent is None else sent.edge.sequence


def _rewritten(ie: gtpv2.Ie, translation: Translation, *, grouped: bool) -> gtpv2.Ie:
    if isinstance(ie.value, tuple):
        inner = tuple(_rewritten(member, translation, grouped=True) for member in ie.value)
        unchanged = all(new is old for new, old in zip(inner, ie.value, strict=True))
        return ie if unchanged else replace(ie, value=inner)
    if ie.type == gtpv2.IeType.F_TEID:
        return _f_teid(ie, translation, Domain.TEID_U if grouped else Domain.TEID)
    if ie.type == gtpv2.IeType.PAA:
        return _paa(ie, translation)
    return ie


def _f_teid(ie: gtpv2.Ie, translation: Translation, domain: Domain) -> gtpv2.Ie:
    try:
        old = gtpv2.FTeid.decode(ie.octets)
    except DecodeError:
        return ie
    kind = old.interface_type
    teid = translation.edge(domain, old.teid, teid_scope(kind, old.address)) if old.teid else 0
    if not isinstance(teid, int):
        return ie  # not one that the edge allocated: its owner stays where it is
    address = str(translation.edge(Domain.ADDRESS, old.address, str(kind)) or old.address)
    if (teid, address) == (old.teid, old.address):
        return ie
    return replace(ie, value=gtpv2.f_teid(kind, teid, address).encode())


def _paa(ie: gtpv2.Ie, translation: Translation) -> gtpv2.Ie:
    try:
        old = gtpv2.Paa.decode(ie.octets)
    except DecodeError:
        return ie
    ipv4, ipv6 = (str(translation.edge(Domain.UE_IP, a) or a) if a else a for a in (old.ipv4, old.ipv6))
    if (ipv4, ipv6) == (old.ipv4, old.ipv6):
        return ie
    return replace(ie, value=replace(old, ipv4=ipv4, ipv6=ipv6).encode())
