"""Whose a GTPv2-C or S1AP message is.

GTPv2-C: an answer is its request's; else IMSI; else the TEID in the header, which is the receiver's. What nobody has
introduced (a capture that begins in mid-session) is anonymous until a user-plane TEID or the flows of its packet
filters lead to somebody.
S1AP: the pair of IDs, MME's and eNB's, which live from Initial UE Message to UE Context Release Complete; else IMSI,
M-TMSI; and the SGW's user-plane TEID, which S11 has introduced.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from ferret.protocols import s1ap
from ferret.protocols.gtpv2 import MessageType
from ferret.protocols.s1ap import ProcedureCode
from ferret.protocols.summary import IdKind, Kind
from ferret.records.decoding import doors
from ferret.records.flows import FlowEnd, flow_ends, same_flows
from ferret.records.identities import Registry, Subscriber, permanent
from ferret.records.joining import Joined
from ferret.records.message import Node, Role

_NEW_SESSION = (MessageType.CREATE_SESSION_REQUEST, MessageType.CREATE_SESSION_RESPONSE)
_REMEMBERED_FLOWS = 64


class _Flow(NamedTuple):
    stage: str  # "Rx", "Gx", "S5"
    ends: frozenset[FlowEnd]
    subscriber: Subscriber


class FlowTrail:
    """Flows that were named a moment ago, and by whose message: each leads to the next stage once."""

    def __init__(self) -> None:
        self._recent: deque[_Flow] = deque(maxlen=_REMEMBERED_FLOWS)

    def note(self, stage: str, one: Joined, subscriber: Subscriber) -> None:
        """A message of this stage names flows."""
        ends = _ends(one)
        if ends:
            self._recent.append(_Flow(stage, ends, subscriber))

    def follow(self, stages: tuple[str, ...], one: Joined) -> Subscriber | None:
        """Whose message of one of these stages, the latest first, caused this one."""
        ends = _ends(one)
        for stage in stages:
            for flow in reversed(self._recent):
                if flow.stage == stage and same_flows(flow.ends, ends):
                    self._recent.remove(flow)
                    return flow.subscriber.root
        return None


def _ends(one: Joined) -> frozenset[FlowEnd]:
    return flow_ends(doors(one.captured.protocol).parameters(one.decoded.message))


class Gtpv2Subjects:
    """GTPv2-C messages, one after the other in causal order."""

    def __init__(self, registry: Registry, trail: FlowTrail) -> None:
        self._registry = registry
        self._trail = trail

    def subject(self, one: Joined, requester: Subscriber | None) -> Subscriber | None:
        """Whose it is; `requester` is whose the request was, of an answer. None for Echo and its like."""
        message, identifiers = one.decoded.message, one.decoded.summary.identifiers
        header = next((i.value for i in identifiers if i.kind is IdKind.HEADER_TEID), "")
        owner = self._registry.owner(("teid", one.captured.destination.address, header)) if header else None
        named = permanent(identifiers)
        subscriber = requester
        if subscriber is None and named:
            anonymous = owner if owner is not None and not owner.imsi else None
            subscriber = self._registry.identified(named, anonymous)
        subscriber = subscriber or owner
        if subscriber is None and (header or message.type in _NEW_SESSION):
            subscriber = self._registry.new()
        if subscriber is None:
            return None
        if header:
            self._registry.lend(("teid", one.captured.destination.address, header), subscriber)
        if not subscriber.imsi:
            subscriber = self._recognised(one, subscriber)
        self._bind(one, subscriber)
        return subscriber

    def _recognised(self, one: Joined, subscriber: Subscriber) -> Subscriber:
        """Who an anonymous subscriber turns out to be."""
        if one.decoded.message.type not in _NEW_SESSION:
            for kind, value in one.decoded.summary.identifiers:
                owner = self._registry.owner(("teid_u", value)) if kind is IdKind.TEID_U else None
                if owner is not None:
                    subscriber = self._registry.merge(subscriber, owner)
        if one.decoded.summary.kind is Kind.REQUEST and _has_bearers(one):
            cause = self._trail.follow(("S5", "Gx", "Rx"), one)
            if cause is not None:
                subscriber = self._registry.merge(subscriber, cause)
        return subscriber

    def _bind(self, one: Joined, subscriber: Subscriber) -> None:
        for kind, value in one.decoded.summary.identifiers:
            if kind is IdKind.TEID:
                address, _, teid = value.rpartition("/")
                self._registry.lend(("teid", address, teid), subscriber)
            elif kind is IdKind.TEID_U:
                self._registry.lend(("teid_u", value), subscriber)
            elif kind is IdKind.UE_IP:
                self._registry.lend_address(value, subscriber)
        if one.decoded.summary.kind is Kind.REQUEST and _has_bearers(one):
            self._trail.note("S5", one, subscriber)


def _has_bearers(one: Joined) -> bool:
    return one.decoded.message.type in (MessageType.CREATE_BEARER_REQUEST, MessageType.UPDATE_BEARER_REQUEST)


class S1apSubjects:
    """S1AP messages, one after the other in causal order."""

    def __init__(self, registry: Registry, trail: FlowTrail) -> None:
        self._registry = registry
        self._trail = trail

    def subject(self, one: Joined, from_nf: Node, to_nf: Node) -> Subscriber | None:
        """Whose it is; None for S1 Setup and what else is between eNB and MME only."""
        message, identifiers = one.decoded.message, one.decoded.summary.identifiers
        mme, enb = _ends_of(one, from_nf, to_nf)
        mme_key = next((("mme_ue", mme, i.value) for i in identifiers if i.kind is IdKind.MME_UE_S1AP_ID), None)
        enb_key = next((("enb_ue", enb, mme, i.value) for i in identifiers if i.kind is IdKind.ENB_UE_S1AP_ID), None)
        named = permanent(identifiers)
        begins = message.procedure_code == ProcedureCode.INITIAL_UE_MESSAGE
        known = None
        if not begins:
            # The eNB's ID is the younger: the MME gives its own in answer to it.
            known = (self._registry.owner(enb_key) if enb_key else None) or (
                self._registry.owner(mme_key) if mme_key else None
            )
        if known is None or (named and not known.imsi):
            known = self._registry.identified(named, known) or known
        if known is None:
            known = self._by_tmsi(one, mme)
        if known is None and (mme_key or enb_key):
            known = self._registry.new()
        if known is None:
            return None
        known = self._bind(one, known, mme, [key for key in (mme_key, enb_key) if key is not None])
        if message.procedure_code == ProcedureCode.UE_CONTEXT_RELEASE and one.decoded.summary.kind is Kind.RESPONSE:
            for key in (mme_key, enb_key):
                self._registry.release(key)
        return known

    def _by_tmsi(self, one: Joined, mme: str) -> Subscriber | None:
        for kind, value in one.decoded.summary.identifiers:
            if kind is IdKind.M_TMSI:
                return self._registry.owner(("m_tmsi", mme, value))
        return None

    def _bind(self, one: Joined, subscriber: Subscriber, mme: str, keys: list[tuple[str, ...]]) -> Subscriber:
        for kind, value in one.decoded.summary.identifiers:
            if kind is IdKind.TEID_U:
                owner = self._registry.owner(("teid_u", value))
                if owner is not None and not subscriber.imsi:
                    subscriber = self._registry.merge(subscriber, owner)
        if not subscriber.imsi and one.decoded.message.procedure_code == ProcedureCode.ERAB_SETUP:
            cause = self._trail.follow(("S5", "Gx", "Rx"), one)
            subscriber = subscriber if cause is None else self._registry.merge(subscriber, cause)
        for kind, value in one.decoded.summary.identifiers:
            if kind is IdKind.TEID_U:
                self._registry.lend(("teid_u", value), subscriber)
            elif kind is IdKind.M_TMSI:
                self._registry.lend(("m_tmsi", mme, value), subscriber)
            elif kind is IdKind.UE_IP:
                self._registry.lend_address(value, subscriber)
        for key in keys:
            self._registry.lend(key, subscriber)
        return subscriber


def _ends_of(one: Joined, from_nf: Node, to_nf: Node) -> tuple[str, str]:
    """The MME's address, and the eNB's with its port: several emulated ones may share an address.

    Where the roles are not known, the MME's port says which is which (TS 36.412 clause 7).
    """
    source, destination = one.captured.source, one.captured.destination
    if from_nf.role is Role.MME or to_nf.role is Role.ENB:
        return source.address, str(destination)
    if to_nf.role is Role.MME or from_nf.role is Role.ENB:
        return destination.address, str(source)
    mme, enb = sorted((source, destination), key=lambda end: (end.port != s1ap.PORT, end))
    return mme.address, str(enb)
