"""The state machine of one fallback, as one table: state × event → next state and what is done on the way.

    recording → eligible → holding → replaying → reconfiguring → at_edge → returning → done
        └──────────┴──────────┴──────────┴──────────────┴────────────┴─────────┴────→ on_core

What has to be undone leads through `returning`; what has not leads straight to its end. An event that has no entry in a
state is an error. Nothing else in FERRET decides what follows what.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from ferret.errors import LocalMisuseError, PeerViolationError


class State(StrEnum):
    """Where a fallback stands."""

    RECORDING = "recording"  # the core sets the call up, agents record it
    ELIGIBLE = "eligible"  # the call stands; the edge is still busy with another one
    HOLDING = "holding"  # the core's IMS puts the call on hold
    REPLAYING = "replaying"  # edge NFs execute the recording
    RECONFIGURING = "reconfiguring"  # base station and device move, then the edge's IMS resumes the call
    AT_EDGE = "at_edge"  # the call runs over the edge
    RETURNING = "returning"  # what was done is undone, one thing after the other
    DONE = "done"  # the call is over, everything is as it was
    ON_CORE = "on_core"  # the call runs over the core, as if nothing had been tried

    @property
    def final(self) -> bool:
        """Whether nothing follows."""
        return self in (State.DONE, State.ON_CORE)


TO_THE_EDGE: Final = (State.HOLDING, State.REPLAYING, State.RECONFIGURING)
"""Those of a call that is on its way there: it is silent, and no other one is."""


class Event(StrEnum):
    """What can happen to a fallback."""

    # in the network
    ESTABLISHED = "established"  # 200/ACK, and the bearer is up
    HUNG_UP = "hung up"  # at either side, or the setup failed
    SECOND_CALL = "second call"  # of the same subscriber
    UE_RELEASED = "UE context released"  # the device has no signalling connection any more
    EDGE_LOST = "edge lost"  # an edge NF, or the edge MME's S1 association
    S1_LOST = "S1 lost"  # the core MME's S1 association
    # in answer to our own commands
    HELD = "held"
    HOLD_REFUSED = "hold refused"
    REPLAYED = "replayed"
    REPLAY_FAILED = "replay failed"
    RECONFIGURED = "reconfigured"
    RECONFIGURATION_FAILED = "reconfiguration failed"
    RESUMED = "resumed"
    RESUME_REFUSED = "resume refused"
    UNDONE = "undone"
    UNDO_FAILED = "undo failed"
    # from the controller and its operator
    UNFIT = "unfit"  # the recording has a hole, the edge is lost, too many wait
    TURN_CAME = "turn came"  # the edge is free
    OVERDUE = "overdue"
    RECALLED = "recalled"  # the operator wants it back on the core
    RESTORED = "restored"  # nothing is left to undo and the call goes on
    CLEARED = "cleared"  # nothing is left to undo and the call is over


OWN_EVENTS: Final = frozenset(Event) - {
    Event.ESTABLISHED,
    Event.HUNG_UP,
    Event.SECOND_CALL,
    Event.UE_RELEASED,
    Event.EDGE_LOST,
    Event.S1_LOST,
}
"""Those that only our own code can cause."""

FAILURES: Final = frozenset(
    {
        Event.EDGE_LOST,
        Event.S1_LOST,
        Event.HOLD_REFUSED,
        Event.REPLAY_FAILED,
        Event.RECONFIGURATION_FAILED,
        Event.RESUME_REFUSED,
        Event.UNFIT,
        Event.OVERDUE,
    }
)
"""Those that an operator has to hear of when they end a fallback; hanging up is none."""


class Action(StrEnum):
    """What is done on the way into the next state; `ferret.fallback.procedure` has one method for each."""

    NOTHING = "nothing"
    WAIT = "wait for the edge"
    HOLD = "hold the call through the core's IMS"
    REPLAY = "replay the recording at the edge"
    MOVE = "move base station and device to the edge"
    RESUME = "resume the call through the edge's IMS"
    ARRIVE = "tell that the call runs over the edge"
    GIVE_UP = "undo what was done"
    CLEAR = "the call is over: undo what outlives it"
    UNDO_NEXT = "this is undone: undo the next thing"
    PAUSE = "wait a little before it is tried again"
    UNDO_AGAIN = "try again; after too many times leave it to the operator"
    END = "tell how it ended"


class Step(NamedTuple):
    """What an event leads to."""

    state: State
    action: Action


_NEVER_BEGUN: Final = {
    Event.HUNG_UP: Step(State.DONE, Action.END),
    Event.SECOND_CALL: Step(State.ON_CORE, Action.END),  # two calls of one device cannot be moved apart
    Event.UE_RELEASED: Step(State.ON_CORE, Action.END),
    Event.S1_LOST: Step(State.ON_CORE, Action.END),
    Event.OVERDUE: Step(State.ON_CORE, Action.END),
    Event.RECALLED: Step(State.ON_CORE, Action.END),
}
_UNDER_WAY: Final = {
    Event.HUNG_UP: Step(State.RETURNING, Action.CLEAR),
    Event.SECOND_CALL: Step(State.RETURNING, Action.GIVE_UP),
    Event.UE_RELEASED: Step(State.RETURNING, Action.GIVE_UP),
    Event.EDGE_LOST: Step(State.RETURNING, Action.GIVE_UP),
    Event.S1_LOST: Step(State.RETURNING, Action.GIVE_UP),
    Event.OVERDUE: Step(State.RETURNING, Action.GIVE_UP),
    Event.RECALLED: Step(State.RETURNING, Action.GIVE_UP),
}

_ROWS: Final[dict[State, dict[Event, Step]]] = {
    State.RECORDING: {
        Event.ESTABLISHED: Step(State.ELIGIBLE, Action.WAIT),
        Event.UNFIT: Step(State.ON_CORE, Action.END),
        Event.EDGE_LOST: Step(State.RECORDING, Action.NOTHING),  # it may be back by then
        **_NEVER_BEGUN,
    },
    State.ELIGIBLE: {
        Event.TURN_CAME: Step(State.HOLDING, Action.HOLD),
        Event.EDGE_LOST: Step(State.ON_CORE, Action.END),
        **_NEVER_BEGUN,
    },
    State.HOLDING: {
        Event.HELD: Step(State.REPLAYING, Action.REPLAY),
        Event.HOLD_REFUSED: Step(State.RETURNING, Action.GIVE_UP),
        **_UNDER_WAY,
    },
    State.REPLAYING: {
        Event.REPLAYED: Step(State.RECONFIGURING, Action.MOVE),
        Event.REPLAY_FAILED: Step(State.RETURNING, Action.GIVE_UP),
        **_UNDER_WAY,
    },
    State.RECONFIGURING: {
        Event.RECONFIGURED: Step(State.RECONFIGURING, Action.RESUME),
        Event.RECONFIGURATION_FAILED: Step(State.RETURNING, Action.GIVE_UP),
        Event.RESUMED: Step(State.AT_EDGE, Action.ARRIVE),
        Event.RESUME_REFUSED: Step(State.RETURNING, Action.GIVE_UP),
        **_UNDER_WAY,
    },
    State.AT_EDGE: {
        Event.HUNG_UP: Step(State.RETURNING, Action.CLEAR),
        Event.SECOND_CALL: Step(State.AT_EDGE, Action.NOTHING),  # the edge's IMS serves it; the last one leads back
        Event.UE_RELEASED: Step(State.RETURNING, Action.GIVE_UP),
        Event.EDGE_LOST: Step(State.RETURNING, Action.GIVE_UP),
        Event.S1_LOST: Step(State.AT_EDGE, Action.NOTHING),  # the core's association: the edge has its own
        Event.RECALLED: Step(State.RETURNING, Action.GIVE_UP),
    },
    State.RETURNING: {
        Event.UNDONE: Step(State.RETURNING, Action.UNDO_NEXT),
        Event.UNDO_FAILED: Step(State.RETURNING, Action.PAUSE),
        Event.OVERDUE: Step(State.RETURNING, Action.UNDO_AGAIN),
        Event.HUNG_UP: Step(State.RETURNING, Action.CLEAR),
        Event.SECOND_CALL: Step(State.RETURNING, Action.NOTHING),
        Event.UE_RELEASED: Step(State.RETURNING, Action.NOTHING),
        Event.EDGE_LOST: Step(State.RETURNING, Action.NOTHING),
        Event.S1_LOST: Step(State.RETURNING, Action.NOTHING),
        Event.RECALLED: Step(State.RETURNING, Action.NOTHING),
        Event.RESTORED: Step(State.ON_CORE, Action.END),
        Event.CLEARED: Step(State.DONE, Action.END),
    },
}

TABLE: Final[Mapping[tuple[State, Event], Step]] = MappingProxyType(
    {(state, event): step for state, row in _ROWS.items() for event, step in row.items()}
)


def step(state: State, event: Event) -> Step:
    """What `event` leads to in `state`.

    Raises LocalMisuseError for an event of our own that has no entry, PeerViolationError for one of the network's.
    """
    found = TABLE.get((state, event))
    if found is None:
        fault = LocalMisuseError if event in OWN_EVENTS else PeerViolationError
        raise fault(f"a fallback that is {state} cannot take the event '{event}'")
    return found
