"""What happens on a Diameter connection, for the node that holds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ferret.protocols.diameter.capabilities import Capabilities
from ferret.protocols.diameter.tree import Message

if TYPE_CHECKING:
    from ferret.protocols.diameter.peer import DiameterPeer


@dataclass(frozen=True, slots=True)
class PeerOpened:
    """Capabilities have been exchanged; requests may be sent."""

    capabilities: Capabilities


@dataclass(frozen=True, slots=True)
class PeerClosed:
    """The connection is over. Every request that waited comes as RequestTimedOut before this."""

    reason: str


@dataclass(frozen=True, slots=True)
class PeerSuspect:
    """The peer has not answered a watchdog in time; it may still come back."""


@dataclass(frozen=True, slots=True)
class RequestReceived:
    """The peer asks. Answer with `send_answer(transaction, …)`."""

    transaction: int
    message: Message


@dataclass(frozen=True, slots=True)
class AnswerReceived:
    """The peer has answered the request that was sent under `token`."""

    token: int
    message: Message


@dataclass(frozen=True, slots=True)
class RequestTimedOut:
    """The request that was sent under `token` will not be answered."""

    token: int
    reason: str


@dataclass(frozen=True, slots=True)
class MessageDropped:
    """The peer sent something that cannot be used: undecodable, or an answer that nobody waits for."""

    reason: str


@dataclass(frozen=True, slots=True)
class ElectionLost:
    """The other connection to the same peer, `loser`, has to be closed by the driver (clause 5.6.4)."""

    loser: DiameterPeer


PeerOutput: TypeAlias = (
    PeerOpened
    | PeerClosed
    | PeerSuspect
    | RequestReceived
    | AnswerReceived
    | RequestTimedOut
    | MessageDropped
    | ElectionLost
)
