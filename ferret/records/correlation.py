"""From identifiers to subscribers: whose each message of an ordered capture is.

The capture is gone through once, in causal order, because identifiers have lifetimes: what a TEID or an S1AP ID means
depends on when. Subscribers are resolved at the end, when everything that will be learned has been.

A message may belong to two: every SIP hop of a call between two subscribers of this network belongs to the half of the
one or the other (`sip_legs`), and the hop between the halves to both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ferret.protocols import sip
from ferret.protocols.summary import Identifier, IdKind, Kind, Protocol
from ferret.records.bearer_subjects import FlowTrail, Gtpv2Subjects, S1apSubjects
from ferret.records.diameter_subjects import DiameterSubjects
from ferret.records.identities import Registry, Subscriber, permanent, public
from ferret.records.joining import Joined
from ferret.records.message import Node, Role
from ferret.records.sip_legs import Boundary, Membership, Party, SipLegs

_BEGINS_DIALOG = ("INVITE", "MESSAGE", "SUBSCRIBE", "PUBLISH", "REFER")


@dataclass(frozen=True, slots=True)
class Attribution:
    """A message belongs to this subscriber; seen from whose half of a call it lies at `boundary`."""

    subscriber: Subscriber
    boundary: Boundary = Boundary.INSIDE


def correlate(
    ordered: Sequence[Joined], nodes: Sequence[tuple[Node, Node]], answers: Mapping[int, int]
) -> list[tuple[Attribution, ...]]:
    """For each message whose it is. `nodes` are its sender and receiver, `answers` leads from answer to request."""
    correlator = _Correlator(SipLegs(ordered, nodes))
    result: list[tuple[Attribution, ...]] = []
    for position, one in enumerate(ordered):
        request = answers.get(position)
        asked = result[request] if request is not None else ()
        result.append(correlator.attribute(position, one, nodes[position], asked))
    return [_resolved(attributions) for attributions in result]


def _resolved(attributions: tuple[Attribution, ...]) -> tuple[Attribution, ...]:
    """Each subscriber once: what was two may have turned out to be one; inside counts more than a border."""
    kept: dict[Subscriber, Boundary] = {}
    for attribution in attributions:
        subscriber = attribution.subscriber.root
        if subscriber not in kept or attribution.boundary is Boundary.INSIDE:
            kept[subscriber] = attribution.boundary
    return tuple(Attribution(subscriber, boundary) for subscriber, boundary in kept.items())


class _Correlator:
    def __init__(self, legs: SipLegs) -> None:
        self._registry = Registry()
        trail = FlowTrail()
        self._gtpv2 = Gtpv2Subjects(self._registry, trail)
        self._s1ap = S1apSubjects(self._registry, trail)
        self._diameter = DiameterSubjects(self._registry, trail)
        self._legs = legs
        self._dialogs: dict[str, list[Subscriber]] = {}

    def attribute(
        self, position: int, one: Joined, ends: tuple[Node, Node], asked: tuple[Attribution, ...]
    ) -> tuple[Attribution, ...]:
        """Whose the message at `position` is; `asked` is whose its request was."""
        if one.decoded.message is None:
            return ()
        if one.captured.protocol is Protocol.SIP:
            return self._sip(position, one, ends, asked)
        requester = asked[0].subscriber.root if asked else None
        match one.captured.protocol:
            case Protocol.GTPV2:
                subscriber = self._gtpv2.subject(one, requester)
            case Protocol.S1AP:
                subscriber = self._s1ap.subject(one, *ends)
            case _:
                subscriber = self._diameter.subject(one, requester)
        return () if subscriber is None else (Attribution(subscriber),)

    # ---- SIP

    def _sip(
        self, position: int, one: Joined, ends: tuple[Node, Node], asked: tuple[Attribution, ...]
    ) -> tuple[Attribution, ...]:
        message: sip.Message = one.decoded.message
        if message.method == "REGISTER":
            return self._registration(message, one, ends, asked)
        call_id = message.first("Call-ID")
        members = self._legs.memberships(position)
        attributions = tuple(self._attributed(member) for member in members if _leads_anywhere(member.party))
        if not attributions:
            attributions = asked or tuple(Attribution(s.root) for s in self._dialogs.get(call_id, ()))
        if not attributions:
            attributions = self._by_identity(message)
        known = self._dialogs.setdefault(call_id, [])
        known.extend(a.subscriber for a in attributions if a.subscriber not in known)
        return attributions

    def _attributed(self, member: Membership) -> Attribution:
        return Attribution(self._subscriber_of(member.party), member.boundary)

    def _subscriber_of(self, party: Party) -> Subscriber:
        """The device's address says who it is; an identity does where no device was reached, or nobody has it yet."""
        known = self._registry.reach(party.address) if party.address else None
        for identity in party.identities:
            if known is not None and known.imsi:
                break
            named = public(identity)
            if known is None or any(self._registry.owner(key) for key in named) or not known.msisdns:
                known = self._registry.identified(named, known) or known
        return known or self._registry.new()

    def _by_identity(self, message: sip.Message) -> tuple[Attribution, ...]:
        """A message of which no device is to be seen: From and To, where they are subscribers that are known."""
        found: list[Subscriber] = []
        for name in ("P-Asserted-Identity", "From", "To"):
            for value in message.values(name):
                for key in public(sip.parse_name_addr(value).uri):
                    owner = self._registry.owner(key)
                    if owner is not None and owner not in found:
                        found.append(owner)
        if not found and message.is_request and message.method in _BEGINS_DIALOG:
            origin = message.first("P-Asserted-Identity") or message.first("From")
            subscriber = self._registry.identified(public(sip.parse_name_addr(origin).uri))
            found = [subscriber] if subscriber is not None else []
        return tuple(Attribution(subscriber) for subscriber in found)

    def _registration(
        self,
        message: sip.Message,
        one: Joined,
        ends: tuple[Node, Node],
        asked: tuple[Attribution, ...],
    ) -> tuple[Attribution, ...]:
        """REGISTER names one subscriber in To and Authorization; its device in Contact, or sends it from there."""
        known = asked[0].subscriber.root if asked else None
        identifiers = one.decoded.summary.identifiers
        addresses = [ends[0].address] if ends[0].role is Role.UE else []
        addresses += [i.value for i in identifiers if i.kind is IdKind.UE_IP]
        if known is None:
            owners = (self._registry.owner(("ue_ip", address)) for address in addresses)
            known = next((owner for owner in owners if owner is not None), None)
        named = permanent(i for i in identifiers if i.kind is not IdKind.UE_IP)
        if known is not None and known.imsi and any(k == "imsi" and v != known.imsi for k, v in named):
            known = None  # the address was another's before
        if message.status == 200:
            for value in message.values("P-Associated-URI"):
                named += permanent([Identifier(IdKind.IMPU, sip.parse_name_addr(value).uri)])
        subscriber = self._registry.identified(named, known) or known or self._registry.new()
        if one.decoded.summary.kind is Kind.REQUEST:
            for address in addresses:
                self._registry.lend_address(address, subscriber)
        self._dialogs.setdefault(message.first("Call-ID"), [subscriber])
        return (Attribution(subscriber),)


def _leads_anywhere(party: Party) -> bool:
    return bool(party.address or party.identities)
