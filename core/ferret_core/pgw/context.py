"""What a PGW keeps of a PDN connection: its S5/S8 tunnel, address, Gx session, bearers and the rules bound to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, TypeAlias

from ferret.errors import PeerViolationError
from ferret.protocols import diameter, gtpv2
from ferret.protocols.gtpv2 import Ambr, BearerQos, Paa, Pco, Uli
from ferret.protocols.gtpv2.tft import PacketFilter
from ferret_core.gtp_control import Tunnel
from ferret_core.nf import Output, Received
from ferret_core.pgw.rules import Flow, Rule

if TYPE_CHECKING:
    from ferret_core.pgw.nf import Pgw


class SessionState(Enum):
    """Where a PDN connection stands."""

    AUTHORISING = auto()  # CCR-I is out
    ACTIVE = auto()
    DEACTIVATING = auto()  # our Delete Bearer Request for the default bearer is out
    RELEASING = auto()  # CCR-T is out
    ENDED = auto()


class SessionEvent(Enum):
    """What moves a PDN connection."""

    AUTHORISED = auto()
    REFUSED = auto()
    DEACTIVATE = auto()  # the PCRF wants it gone
    RELEASE = auto()  # the UE, or our own deactivation, ends it
    RELEASED = auto()
    DROPPED = auto()  # replaced, or its SGW has restarted


_TRANSITIONS = {
    (SessionState.AUTHORISING, SessionEvent.AUTHORISED): SessionState.ACTIVE,
    (SessionState.AUTHORISING, SessionEvent.REFUSED): SessionState.ENDED,
    (SessionState.AUTHORISING, SessionEvent.DROPPED): SessionState.ENDED,
    (SessionState.ACTIVE, SessionEvent.DEACTIVATE): SessionState.DEACTIVATING,
    (SessionState.ACTIVE, SessionEvent.RELEASE): SessionState.RELEASING,
    (SessionState.ACTIVE, SessionEvent.DROPPED): SessionState.ENDED,
    (SessionState.DEACTIVATING, SessionEvent.RELEASE): SessionState.RELEASING,
    (SessionState.DEACTIVATING, SessionEvent.DROPPED): SessionState.ENDED,
    (SessionState.RELEASING, SessionEvent.RELEASED): SessionState.ENDED,
    (SessionState.RELEASING, SessionEvent.DROPPED): SessionState.ENDED,
}


class BearerState(Enum):
    """Where a bearer stands."""

    CREATING = auto()
    ACTIVE = auto()
    DELETING = auto()


@dataclass(frozen=True, slots=True)
class BoundFilter:
    """A packet filter of a bearer, and the rule and flow that it was made from."""

    rule: str
    flow: Flow
    packet_filter: PacketFilter


@dataclass(slots=True, eq=False)
class Bearer:
    """One EPS bearer. `ebi` is 0 until the MME has given it one; `teid` is ours, where the SGW sends."""

    ebi: int
    qos: BearerQos
    teid: int
    sgw: Tunnel | None = None
    rules: dict[str, Rule] = field(default_factory=dict)
    filters: list[BoundFilter] = field(default_factory=list)
    state: BearerState = BearerState.CREATING
    next_filter: int = 0


@dataclass(slots=True, eq=False)
class Session:
    """One PDN connection; `bearers[0]` is the default bearer."""

    imsi: str
    msisdn: str
    apn: str
    teid: int  # ours, S5/S8-C
    sgw: Tunnel
    paa: Paa
    gx_session_id: str
    charging_id: int
    bearers: list[Bearer]
    ambr: Ambr | None = None
    mei: str = ""
    selection_mode: int = 0
    rat_type: int = 0
    serving_network: str = ""
    uli: Uli | None = None
    time_zone: bytes = b""
    pco: Pco | None = None
    pcrf_host: str = ""
    cc_request_number: int = 0
    next_precedence: int = 0
    state: SessionState = SessionState.AUTHORISING

    @property
    def default_bearer(self) -> Bearer:
        """The bearer that the PDN connection was created with."""
        return self.bearers[0]

    def move(self, event: SessionEvent) -> None:
        """Go on to the next state. Raises PeerViolationError where the event has no place in this one."""
        following = _TRANSITIONS.get((self.state, event))
        if following is None:
            raise PeerViolationError(f"PDN connection is {self.state.name.lower()}: no {event.name.lower()} now")
        self.state = following

    def bearer(self, ebi: int) -> Bearer | None:
        """The bearer with this identity."""
        return next((bearer for bearer in self.bearers if bearer.ebi == ebi), None)

    def bearer_of_rule(self, name: str) -> Bearer | None:
        """The bearer that a rule is bound to."""
        bound = (bearer for bearer in self.bearers if bearer.state is not BearerState.DELETING)
        return next((bearer for bearer in bound if name in bearer.rules), None)


Answer: TypeAlias = "gtpv2.Message | diameter.Message | None"
Continuation: TypeAlias = "Callable[[Pgw, Waiting, Answer, float], list[Output]]"


@dataclass(slots=True)
class Waiting:
    """A request of ours that is out, and how to go on when it is answered (None: it never was)."""

    go_on: Continuation
    session: Session
    asked: Received | None = None  # the request that ours was made from, and that is still to be answered
    bearer: Bearer | None = None
    undo: Callable[[], None] | None = None  # takes back what a refusal makes void
