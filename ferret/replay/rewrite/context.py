"""What a rewriter knows besides the translation: where a message went, and what the edge sent instead.

An answer from outside carries back what its request carried: a Via stack, a hop-by-hop identifier, a sequence number.
The recorded answer carries the recorded request's; the edge's request carried others. So the runner remembers each
request that the edge made together with the recorded one, and the rewriter of the answer finds it again by what each
protocol matches answers with.
"""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeAlias, TypeVar

from ferret.protocols import diameter, gtpv2, s1ap, sip
from ferret.records.message import Interface, Node
from ferret.replay.rewrite.sip_memory import SipMemory

Message: TypeAlias = "gtpv2.Message | diameter.Message | sip.Message | s1ap.Message"
MessageT = TypeVar("MessageT", "gtpv2.Message", "diameter.Message", "sip.Message")

_Key: TypeAlias = tuple[str, ...]


class Place(NamedTuple):
    """Between whom a recorded message went."""

    interface: Interface
    sender: Node
    receiver: Node

    @property
    def reverse(self) -> Place:
        """Where the answer goes."""
        return Place(self.interface, self.receiver, self.sender)


class Sent(NamedTuple, Generic[MessageT]):
    """A request as it was recorded, and as the edge sent it in its place."""

    recorded: MessageT
    edge: MessageT


class ReplayContext:
    """What one replay remembers. Not safe for use by several threads."""

    __slots__ = ("_diameter", "_gtpv2", "_sip", "sip")

    def __init__(self) -> None:
        self._gtpv2: dict[_Key, Sent[gtpv2.Message]] = {}
        self._diameter: dict[_Key, Sent[diameter.Message]] = {}
        self._sip: dict[_Key, Sent[sip.Message]] = {}
        self.sip = SipMemory()

    def remember(self, place: Place, recorded: Message, edge: Message) -> None:
        """Note that at `place` the edge made `edge` in place of `recorded`: of every message compared or caught."""
        if isinstance(recorded, gtpv2.Message) and isinstance(edge, gtpv2.Message):
            if recorded.type not in gtpv2.ANSWERS:
                self._gtpv2[_gtpv2_key(place, recorded)] = Sent(recorded, edge)
        elif isinstance(recorded, diameter.Message) and isinstance(edge, diameter.Message):
            if recorded.is_request:
                self._diameter[_diameter_key(place, recorded)] = Sent(recorded, edge)
        elif isinstance(recorded, sip.Message) and isinstance(edge, sip.Message):
            self.sip.learn(recorded, edge)
            if recorded.is_request:
                self._sip[_sip_key(recorded)] = Sent(recorded, edge)

    def gtpv2_request(self, place: Place, answer: gtpv2.Message) -> Sent[gtpv2.Message] | None:
        """The request that a recorded answer at `place` belongs to."""
        return self._gtpv2.get(_gtpv2_key(place.reverse, answer))

    def diameter_request(self, place: Place, answer: diameter.Message) -> Sent[diameter.Message] | None:
        """The request that a recorded answer at `place` belongs to."""
        return self._diameter.get(_diameter_key(place.reverse, answer))

    def sip_request(self, answer: sip.Message) -> Sent[sip.Message] | None:
        """The request that a recorded response belongs to: the one with its topmost branch (RFC 3261 clause 17.1.3)."""
        return self._sip.get(_sip_key(answer))


def _gtpv2_key(place: Place, message: gtpv2.Message) -> _Key:
    """Initiator, responder and sequence number (TS 29.274 clause 7.6): both sides count from 1."""
    return str(place.sender), str(place.receiver), str(message.sequence)


def _diameter_key(place: Place, message: diameter.Message) -> _Key:
    """Hop-by-hop identifiers are unique on a connection (RFC 6733 clause 3); by command, as restarts reuse them."""
    return str(place.sender), str(place.receiver), str(message.command), str(message.hop_by_hop)


def _sip_key(message: sip.Message) -> _Key:
    branch = sip.parse_via(message.first("Via")).branch
    return message.first("Call-ID"), " ".join(message.first("CSeq").split()), branch
