"""Whose a Diameter message is: an answer is its request's; else the session's, else whom the request names.

Rx (TS 29.214) is opened per leg of a call by the P-CSCF, and belongs to the subscriber whose device's address it names
in Framed-IP-Address; Subscription-Id may be a URI at that address, or the identity.
"""

from __future__ import annotations

from ferret.protocols.summary import IdKind
from ferret.records.bearer_subjects import FlowTrail
from ferret.records.identities import Registry, Subscriber, device_address, permanent
from ferret.records.joining import Joined


class DiameterSubjects:
    """Diameter messages, one after the other in causal order."""

    def __init__(self, registry: Registry, trail: FlowTrail) -> None:
        self._registry = registry
        self._trail = trail

    def subject(self, one: Joined, requester: Subscriber | None) -> Subscriber | None:
        """Whose it is; `requester` is whose the request was, of an answer. None between neighbours (CER, DWR, DPR)."""
        summary = one.decoded.summary
        if not summary.application:
            return None
        session = next((i.value for i in summary.identifiers if i.kind is IdKind.SESSION_ID), "")
        known = requester or (self._registry.owner(("session", session)) if session else None)
        if summary.application == "Rx":
            known = known or self._by_address(one)
        known = self._registry.identified(permanent(summary.identifiers), known) or known
        if summary.application == "Gx" and (known is None or not known.imsi):
            known = self._by_flows(one, known)
        if known is None:
            addressed = self._by_address(one)
            known = addressed or (self._registry.new() if session else None)
        if known is None:
            return None
        self._bind(one, known, session)
        return known

    def _by_address(self, one: Joined) -> Subscriber | None:
        for kind, value in one.decoded.summary.identifiers:
            if kind is IdKind.UE_IP:
                return self._registry.reach(value)
        for kind, value in one.decoded.summary.identifiers:
            address = device_address(value) if kind is IdKind.IMPU else ""
            if address:
                return self._registry.reach(address)
        return None

    def _by_flows(self, one: Joined, known: Subscriber | None) -> Subscriber | None:
        """A RAR on a session that began before the capture did: its flows are those of the AAR that caused it."""
        if not one.decoded.message.is_request:
            return known
        cause = self._trail.follow(("Rx",), one)
        if cause is None:
            return known
        return cause if known is None else self._registry.merge(cause, known)

    def _bind(self, one: Joined, subscriber: Subscriber, session: str) -> None:
        summary = one.decoded.summary
        if session:
            self._registry.lend(("session", session), subscriber)
        if summary.application == "Gx":
            for kind, value in summary.identifiers:
                if kind is IdKind.UE_IP:
                    self._registry.lend_address(value, subscriber)
        if summary.application in ("Rx", "Gx") and one.decoded.message.is_request:
            self._trail.note(summary.application, one, subscriber)
