"""What a Gtpv2Endpoint tells its driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ferret.protocols.gtpv2.codec import Message

Peer: TypeAlias = tuple[str, int]
"""Address in text form, and UDP port."""


@dataclass(frozen=True, slots=True)
class RequestReceived:
    """A peer asks. Answer with `send_response(transaction, …)`, once.

    `triggered_by` is the token of our own command (Modify Bearer, Delete Bearer, Bearer Resource Command) that this
    request obeys; None for any other request. An indication, which nothing answers, has transaction 0.
    """

    message: Message
    peer: Peer
    transaction: int
    triggered_by: int | None = None


@dataclass(frozen=True, slots=True)
class ResponseReceived:
    """A peer answers the request that was sent under this token."""

    message: Message
    peer: Peer
    token: int


@dataclass(frozen=True, slots=True)
class RequestTimedOut:
    """The request that was sent under this token was never answered, or the peer speaks no GTPv2."""

    token: int
    peer: Peer
    reason: str


@dataclass(frozen=True, slots=True)
class PeerRestarted:
    """The peer's restart counter went up: it has forgotten every session (TS 23.007 clause 18)."""

    peer: Peer
    was: int
    now: int


@dataclass(frozen=True, slots=True)
class PathFailed:
    """An Echo Request was not answered (clause 7.1.1; TS 23.007 clause 20)."""

    peer: Peer


@dataclass(frozen=True, slots=True)
class Discarded:
    """A datagram that came to nothing, and why: for counting."""

    peer: Peer
    reason: str


Event: TypeAlias = RequestReceived | ResponseReceived | RequestTimedOut | PeerRestarted | PathFailed | Discarded
