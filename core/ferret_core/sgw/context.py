"""What an SGW keeps of a UE: its S11 tunnel, its PDN connections, their bearers (TS 23.401 clause 5.7.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, TypeAlias

from ferret.errors import PeerViolationError
from ferret.protocols.gtpv2 import BearerQos, Message
from ferret_core.gtp_control import Tunnel
from ferret_core.nf import Output, Received

if TYPE_CHECKING:
    from ferret_core.sgw.nf import Sgw


class ConnectionState(Enum):
    """Where a PDN connection stands."""

    CREATING = auto()
    ACTIVE = auto()
    DELETING = auto()
    DELETED = auto()


class ConnectionEvent(Enum):
    """What moves a PDN connection."""

    CREATED = auto()  # the PGW accepted
    DELETE = auto()  # the MME or the PGW asks for deletion
    DELETED = auto()  # the other side agreed, or is silent
    DROPPED = auto()  # refused by the PGW, or replaced by a new one


_TRANSITIONS = {
    (ConnectionState.CREATING, ConnectionEvent.CREATED): ConnectionState.ACTIVE,
    (ConnectionState.CREATING, ConnectionEvent.DROPPED): ConnectionState.DELETED,
    (ConnectionState.ACTIVE, ConnectionEvent.DELETE): ConnectionState.DELETING,
    (ConnectionState.ACTIVE, ConnectionEvent.DROPPED): ConnectionState.DELETED,
    (ConnectionState.DELETING, ConnectionEvent.DELETE): ConnectionState.DELETING,  # both sides ask at once
    (ConnectionState.DELETING, ConnectionEvent.DELETED): ConnectionState.DELETED,
    (ConnectionState.DELETING, ConnectionEvent.DROPPED): ConnectionState.DELETED,
    (ConnectionState.DELETED, ConnectionEvent.DELETED): ConnectionState.DELETED,  # the later of two answers
    (ConnectionState.DELETED, ConnectionEvent.DROPPED): ConnectionState.DELETED,  # replaced, then refused
}


@dataclass(slots=True, eq=False)
class Bearer:
    """One EPS bearer. `ebi` is 0 until the MME has given it one."""

    ebi: int
    qos: BearerQos
    s1u_teid: int  # ours, where the eNB sends
    s5u_teid: int  # ours, where the PGW sends
    pgw: Tunnel | None = None
    enb: Tunnel | None = None


@dataclass(slots=True, eq=False)
class PdnConnection:
    """One PDN connection; `ebi` is its default bearer's."""

    ue: UeContext
    apn: str
    ebi: int
    s5c_teid: int  # ours
    pgw: Tunnel
    bearers: list[Bearer] = field(default_factory=list)
    state: ConnectionState = ConnectionState.CREATING

    def move(self, event: ConnectionEvent) -> None:
        """Go on to the next state. Raises PeerViolationError where the event has no place in this one."""
        following = _TRANSITIONS.get((self.state, event))
        if following is None:
            raise PeerViolationError(f"PDN connection is {self.state.name.lower()}: no {event.name.lower()} now")
        self.state = following

    def bearer(self, ebi: int) -> Bearer | None:
        """The bearer with this identity; with 0, the first one that has none yet."""
        return next((bearer for bearer in self.bearers if bearer.ebi == ebi), None)


@dataclass(slots=True, eq=False)
class UeContext:
    """One UE. `notified`: a Downlink Data Notification is out, and no further one is needed."""

    imsi: str
    s11_teid: int  # ours, for all PDN connections of the UE
    mme: Tunnel
    connections: dict[int, PdnConnection] = field(default_factory=dict)
    notified: bool = False

    @property
    def bearers(self) -> Iterator[Bearer]:
        """Every bearer of every PDN connection."""
        return (bearer for connection in self.connections.values() for bearer in connection.bearers)

    def bearer(self, ebi: int) -> Bearer | None:
        """The bearer with this identity."""
        return next((bearer for bearer in self.bearers if bearer.ebi == ebi), None)


Continuation: TypeAlias = "Callable[[Sgw, Waiting, Message | None, float], list[Output]]"


@dataclass(slots=True)
class Waiting:
    """A request of ours that is out, and how to go on when it is answered (None: it never was)."""

    go_on: Continuation
    connection: PdnConnection
    asked: Received | None = None  # the request that ours was made from, and that is still to be answered
    bearers: tuple[Bearer, ...] = ()
    together: list[Waiting] = field(default_factory=list)  # requests that were made from one and are still out
