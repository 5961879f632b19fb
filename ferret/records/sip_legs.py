"""Whose half of a SIP exchange each hop is.

A request travels UE A → P-CSCF → S-CSCF (→ I-CSCF → S-CSCF) → P-CSCF → UE B; each hop adds a Via (RFC 3261 clause
16.6), so a hop's parent is the one whose Via stack this one has below its topmost, and an answer carries the stack of
the hop that it answers. A non-2xx ACK and a CANCEL carry the topmost Via of the INVITE on that hop.

For the originating subscriber belong the hops from the device up to and including the first that leaves an S-CSCF; for
the terminating one those from the last that enters an S-CSCF up to the device. Where one S-CSCF serves both without
sending to itself, the hop that enters it is the originating one's and enters the terminating one's half, and the hop
that leaves it leaves the originating one's half and is inside the other's. In-dialog requests of B are the same with
the parts swapped, because the tree then begins at B's device. A detour to an application server and back to the same
S-CSCF leaves and enters the half that it is made from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from itertools import pairwise
from typing import NamedTuple

from ferret.protocols import sip
from ferret.protocols.summary import Protocol
from ferret.records.joining import Joined
from ferret.records.message import Node, Role


class Boundary(StrEnum):
    """Where a message lies, seen from one subscriber's half."""

    INSIDE = "inside"
    ENTERS = "enters"  # comes from the other half, or from another network
    LEAVES = "leaves"
    BEYOND = "beyond"  # neither: between the other party's NFs, or on the way from another network


_CALL_CONTROL = (Role.UE, Role.PCSCF, Role.ICSCF, Role.SCSCF)


class Via(NamedTuple):
    """What identifies a Via: who added it, for which transaction."""

    host: str
    port: int
    branch: str


@dataclass(frozen=True, slots=True)
class Party:
    """Who is at one end of an exchange, as far as SIP says it."""

    address: str = ""  # of the device; "" where the exchange does not reach one
    identities: tuple[str, ...] = ()  # public user identities, the most trustworthy first


@dataclass(frozen=True, slots=True)
class Membership:
    """One party's claim on one message."""

    party: Party
    boundary: Boundary


@dataclass(slots=True)
class _Hop:
    stack: tuple[Via, ...]
    request: int  # position of its first request
    from_nf: Node
    to_nf: Node
    parent: _Hop | None = None
    children: list[_Hop] = field(default_factory=list)
    messages: list[int] = field(default_factory=list)
    claims: dict[Party, Boundary] = field(default_factory=dict)  # of its requests


class SipLegs:
    """Hops of every SIP message of an ordered capture. `nodes` are the (sender, receiver) of each message."""

    def __init__(self, ordered: Sequence[Joined], nodes: Sequence[tuple[Node, Node]]) -> None:
        self._ordered = ordered
        self._nodes = nodes
        self._hops: dict[tuple[str, tuple[Via, ...]], _Hop] = {}
        self._tops: dict[tuple[str, Via], _Hop] = {}
        self._hop_of: dict[int, _Hop] = {}
        answers: list[int] = []
        for position, one in enumerate(ordered):
            if one.captured.protocol is Protocol.SIP and one.decoded.message is not None:
                if one.decoded.message.is_request:
                    self._add_request(position, one.decoded.message)
                else:
                    answers.append(position)
        for position in answers:
            self._add_answer(position, ordered[position].decoded.message)
        self._link()
        for hop in self._hops.values():
            if hop.parent is None:
                self._claim(hop)

    def memberships(self, position: int) -> tuple[Membership, ...]:
        """Whose a message is, by its position in the capture; () where its hop shows no device at either end."""
        hop = self._hop_of.get(position)
        if hop is None:
            return ()
        answer = not self._ordered[position].decoded.message.is_request
        return tuple(
            Membership(party, _turned(boundary) if answer else boundary) for party, boundary in hop.claims.items()
        )

    def _add_request(self, position: int, message: sip.Message) -> None:
        call_id, stack = message.first("Call-ID"), via_stack(message)
        hop = self._hops.get((call_id, stack))
        if hop is None and stack and message.method in ("ACK", "CANCEL"):
            hop = self._tops.get((call_id, stack[0]))
        if hop is None:
            hop = self._hops[call_id, stack] = _Hop(stack, position, *self._nodes[position])
            if stack:
                self._tops.setdefault((call_id, stack[0]), hop)
        hop.messages.append(position)
        self._hop_of[position] = hop

    def _add_answer(self, position: int, message: sip.Message) -> None:
        call_id, stack = message.first("Call-ID"), via_stack(message)
        hop = self._hops.get((call_id, stack)) or (self._tops.get((call_id, stack[0])) if stack else None)
        if hop is None:  # its request was not captured; the hop is the same
            answering, asking = self._nodes[position]
            hop = self._hops[call_id, stack] = _Hop(stack, position, asking, answering)
        hop.messages.append(position)
        self._hop_of[position] = hop

    def _link(self) -> None:
        for (call_id, stack), hop in self._hops.items():
            parent = self._hops.get((call_id, stack[1:])) if len(stack) > 1 else None
            if parent is not None:
                hop.parent = parent
                parent.children.append(hop)

    def _claim(self, root: _Hop) -> None:
        """Distribute a tree: for each way from its root to a leaf, to the party at either end."""
        message = self._ordered[root.request].decoded.message
        origin = self._origin(root, message)
        for path in _paths(root):
            detours = _detours(path)
            out_of = (n for n, hop in enumerate(path) if hop.from_nf.role is Role.SCSCF and n not in detours)
            leaving = -1 if origin is None else next(out_of, len(path))
            if origin is not None:
                _claim_origin(path, leaving, origin, detours)
            self._claim_target(path, leaving, origin, detours)

    def _origin(self, root: _Hop, message: sip.Message) -> Party | None:
        if root.from_nf.role is Role.UE:
            return Party(root.from_nf.address, self._asserted(root, message))
        if root.from_nf.role is Role.PCSCF and root.to_nf.role is not Role.UE and len(root.stack) > 1:
            address = _literal(root.stack[-1].host)  # the hop from the device was not captured, its Via was
            return Party(address, self._asserted(root, message)) if address else None
        return None

    def _asserted(self, root: _Hop, message: sip.Message) -> tuple[str, ...]:
        """What the network asserts of the originator (RFC 3325) on any hop, then what the device says."""
        asserted = [
            value
            for hop in _subtree(root)
            if self._ordered[hop.request].decoded.message.is_request
            for value in self._ordered[hop.request].decoded.message.values("P-Asserted-Identity")
        ]
        claimed = [message.first("From")] if message.is_request else []
        return tuple(dict.fromkeys(filter(None, map(_identity, asserted + claimed))))

    def _claim_target(
        self, path: Sequence[_Hop], leaving: int, origin: Party | None, detours: Mapping[int, Boundary]
    ) -> None:
        into = (n for n, hop in enumerate(path) if hop.to_nf.role is Role.SCSCF and n not in detours)
        entering = max(into, default=-1)
        last = path[-1]
        reached = last.to_nf.role is Role.UE
        if not reached and (entering <= leaving or entering < 0):
            if origin is not None:
                for hop in path[leaving + 1 :]:
                    hop.claims.setdefault(origin, Boundary.BEYOND)
            return
        start = entering if entering >= 0 else _own_of_scscf(path)
        target = Party(last.to_nf.address if reached else "", self._targeted(path[start], path[0]))
        for number, hop in enumerate(path):
            if number == entering and (origin is not None or hop.from_nf.role is not Role.PCSCF):
                hop.claims.setdefault(target, Boundary.ENTERS)
            elif number >= start:
                hop.claims.setdefault(target, detours.get(number, Boundary.INSIDE))
            elif number > leaving:
                hop.claims.setdefault(target, Boundary.BEYOND)

    def _targeted(self, *hops: _Hop) -> tuple[str, ...]:
        """Whom a request is for: the Request-URI where it enters the terminating half, then To."""
        found: list[str] = []
        for hop in hops:
            message = self._ordered[hop.request].decoded.message
            if message.is_request:
                found += [message.request_uri, message.first("To")]
        return tuple(dict.fromkeys(filter(None, map(_identity, found))))


def _own_of_scscf(path: Sequence[_Hop]) -> int:
    """Where the way to a device begins that enters no S-CSCF: with what one makes itself (NOTIFY), or the last hop."""
    return 0 if path[0].from_nf.role is Role.SCSCF and len(path[0].stack) == 1 else len(path) - 1


def _claim_origin(path: Sequence[_Hop], leaving: int, origin: Party, detours: Mapping[int, Boundary]) -> None:
    for number, hop in enumerate(path[: leaving + 1]):
        boundary = Boundary.LEAVES if number == leaving else detours.get(number, Boundary.INSIDE)
        hop.claims.setdefault(origin, boundary)


def _detours(path: Sequence[_Hop]) -> dict[int, Boundary]:
    """Hops to an application server and back to the same S-CSCF (TS 24.229 clause 5.4.3): no change of halves."""
    found: dict[int, Boundary] = {}
    for number, (out, back) in enumerate(pairwise(path)):
        if out.from_nf.role is Role.SCSCF and out.from_nf == back.to_nf and out.to_nf.role not in _CALL_CONTROL:
            found[number] = Boundary.LEAVES
            found[number + 1] = Boundary.ENTERS
    return found


def _paths(root: _Hop) -> Iterator[list[_Hop]]:
    """Every way from the root to a leaf; a hop is never its own ancestor, as stacks grow."""
    waiting = [[root]]
    while waiting:
        path = waiting.pop()
        if path[-1].children:
            waiting.extend([*path, child] for child in reversed(path[-1].children))
        else:
            yield path


def _subtree(root: _Hop) -> Iterator[_Hop]:
    waiting = [root]
    for hop in waiting:
        yield hop
        waiting.extend(hop.children)


def _turned(boundary: Boundary) -> Boundary:
    return {Boundary.ENTERS: Boundary.LEAVES, Boundary.LEAVES: Boundary.ENTERS}.get(boundary, boundary)


def via_stack(message: sip.Message) -> tuple[Via, ...]:
    """A message's Vias, topmost first, without what receivers add (received, rport)."""
    values = (sip.parse_via(value) for value in message.values("Via"))
    return tuple(Via(value.host, value.port, value.branch) for value in values)


def _identity(value: str) -> str:
    """A public user identity; "" for a URI without a user: an NF's."""
    uri = sip.parse_uri(sip.parse_name_addr(value).uri)
    return uri.identity if uri.user else ""


def _literal(host: str) -> str:
    try:
        return ip_address(host.strip("[]")).compressed
    except ValueError:
        return ""
