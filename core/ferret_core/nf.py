"""What a network function is, to everything around it: messages and time go in, messages and notes come out.

An NF never opens a socket, reads a clock, sleeps, logs or draws a random number: a driver does all that
(`ferret_edge.node`, the lab, a test). Sequence numbers, hop-by-hop identifiers, retransmission and SCTP streams belong
to the driver's endpoints; an NF says whom a message is for and, for a request, under which token it wants the answer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeAlias

from ferret.protocols import diameter, gtpv2, s1ap, sip
from ferret.records.message import Interface, Role

Message: TypeAlias = "gtpv2.Message | diameter.Message | sip.Message | s1ap.Message"


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of an interface. `address` is "host" or "host:port"; "" where the role alone says it."""

    role: Role
    address: str = ""


@dataclass(frozen=True, slots=True)
class Received:
    """A message has arrived.

    `transaction`: of a GTPv2-C or Diameter request, the driver's handle that an answer must give back as
    `Send.reply_to`; of an answer, the `token` that the NF gave with its request. 0 for SIP and S1AP, which carry their
    own.
    """

    interface: Interface
    peer: Peer
    message: Message
    transaction: int = 0


@dataclass(frozen=True, slots=True)
class Failed:
    """A request that this NF sent was never answered: N3 retransmissions, Tx expiry, or the peer is gone."""

    interface: Interface
    peer: Peer
    token: int
    reason: str


@dataclass(frozen=True, slots=True)
class PeerLost:
    """A peer is gone (SCTP association lost, Diameter peer closed, GTP-C restart counter changed)."""

    interface: Interface
    peer: Peer
    reason: str


@dataclass(frozen=True, slots=True)
class Send:
    """Send this message. GTPv2-C sequence and Diameter hop-by-hop/end-to-end are filled in by the driver."""

    interface: Interface
    peer: Peer
    message: Message
    token: int = 0  # a GTPv2-C or Diameter request: comes back as `Received.transaction` of its answer
    reply_to: int = 0  # a GTPv2-C or Diameter answer: `Received.transaction` of its request


@dataclass(frozen=True, slots=True)
class Note:
    """Something happened that an operator or a test may want to know; `event` is a constant snake_case name."""

    event: str
    fields: Mapping[str, object] = field(default_factory=dict)


Input: TypeAlias = Received | Failed | PeerLost
Output: TypeAlias = Send | Note


class NetworkFunction(ABC):
    """An NF's logic. One instance serves every subscriber; it is deterministic given `random`."""

    role: Role

    def __init__(self, *, address: str, random: Random) -> None:
        self.address = address
        self.random = random

    @abstractmethod
    def receive(self, event: Input, now: float) -> Sequence[Output]:
        """Take one event at time `now` (seconds, monotonic); return what follows from it, in order."""

    @abstractmethod
    def import_context(self, context: Mapping[str, object], now: float) -> Sequence[Output]:
        """Take over what cannot be redone (each NF's docstring gives the keys). Raises ConfigError on unknown keys."""

    def forget(self, subscriber: str, calls: Collection[str], now: float) -> Sequence[Output]:
        """Let go everything held of a subscriber (IMSI), without a word to the device; neighbours are told.

        `calls`: the Call-IDs of all SIP that he has sent or got.
        """
        return ()

    def deadline(self) -> float | None:
        """When `wake` wants to be called at the latest; None: no timer runs."""
        return None

    def wake(self, now: float) -> Sequence[Output]:
        """Timers that are due at `now`."""
        return ()

    @abstractmethod
    def leftovers(self) -> Mapping[str, int]:
        """How much state of subscribers is held, by kind ({"sessions": 0, "bearers": 0}): all zero after a return."""
