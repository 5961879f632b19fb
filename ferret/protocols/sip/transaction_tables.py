"""The transaction state machines of RFC 3261 clause 17 with the corrections of RFC 6026, as tables.

Each entry is (state, event) -> (next state, what to do). Timers start when a state is entered; `STARTS` says which.
Timer names are the RFC's: A, B, D, M (INVITE client), E, F, K (non-INVITE client), G, H, I, L (INVITE server),
J (non-INVITE server).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Machine(StrEnum):
    """Which of the four state machines a transaction follows."""

    INVITE_CLIENT = "INVITE client"
    CLIENT = "non-INVITE client"
    INVITE_SERVER = "INVITE server"
    SERVER = "non-INVITE server"


class State(StrEnum):
    """The states of figures 5 to 8, and Accepted of RFC 6026 clause 7."""

    CALLING = "Calling"
    TRYING = "Trying"
    PROCEEDING = "Proceeding"
    COMPLETED = "Completed"
    ACCEPTED = "Accepted"
    CONFIRMED = "Confirmed"
    TERMINATED = "Terminated"


class Event(StrEnum):
    """What happens to a transaction. Timers carry their letter as value."""

    REQUEST = "request received again"
    ACK = "ACK received"
    PROVISIONAL = "1xx"
    SUCCESS = "2xx"
    FAILURE = "300 to 699"
    TIMER_A = "A"
    TIMER_B = "B"
    TIMER_D = "D"
    TIMER_E = "E"
    TIMER_F = "F"
    TIMER_G = "G"
    TIMER_H = "H"
    TIMER_I = "I"
    TIMER_J = "J"
    TIMER_K = "K"
    TIMER_L = "L"
    TIMER_M = "M"


class Do(StrEnum):
    """What a transition makes the layer do."""

    PASS = "pass the message to the user"
    PASS_AGAIN = "pass the message to the user as a repetition"
    ACKNOWLEDGE = "send the ACK, or send it again"
    SEND = "send the message"
    REPEAT = "send the last message again"
    GIVE_UP = "tell the user that nobody answered"
    UNACKNOWLEDGED = "tell the user that no ACK came"


class Step(NamedTuple):
    """One transition."""

    state: State
    do: tuple[Do, ...] = ()


@dataclass(frozen=True, slots=True)
class Timings:
    """The timer values of RFC 3261 table 4 in seconds; 3GPP has longer ones towards a UE (TS 24.229 table 7.7.1)."""

    t1: float = 0.5
    t2: float = 4.0
    t4: float = 5.0
    d: float = 32.0

    @property
    def long(self) -> float:
        """64*T1: timers B, F, H, J, L and M."""
        return 64 * self.t1


UE_TIMINGS = Timings(t1=2.0, t2=16.0, t4=17.0, d=128.0)
"""TS 24.229 table 7.7.1: between P-CSCF and UE."""

_S = State
_E = Event

INVITE_CLIENT = {
    (_S.CALLING, _E.TIMER_A): Step(_S.CALLING, (Do.REPEAT,)),
    (_S.CALLING, _E.TIMER_B): Step(_S.TERMINATED, (Do.GIVE_UP,)),
    (_S.CALLING, _E.PROVISIONAL): Step(_S.PROCEEDING, (Do.PASS,)),
    (_S.CALLING, _E.SUCCESS): Step(_S.ACCEPTED, (Do.PASS,)),
    (_S.CALLING, _E.FAILURE): Step(_S.COMPLETED, (Do.ACKNOWLEDGE, Do.PASS)),
    (_S.PROCEEDING, _E.PROVISIONAL): Step(_S.PROCEEDING, (Do.PASS,)),
    (_S.PROCEEDING, _E.SUCCESS): Step(_S.ACCEPTED, (Do.PASS,)),
    (_S.PROCEEDING, _E.FAILURE): Step(_S.COMPLETED, (Do.ACKNOWLEDGE, Do.PASS)),
    (_S.COMPLETED, _E.PROVISIONAL): Step(_S.COMPLETED),
    (_S.COMPLETED, _E.SUCCESS): Step(_S.COMPLETED),
    (_S.COMPLETED, _E.FAILURE): Step(_S.COMPLETED, (Do.ACKNOWLEDGE,)),
    (_S.COMPLETED, _E.TIMER_D): Step(_S.TERMINATED),
    (_S.ACCEPTED, _E.PROVISIONAL): Step(_S.ACCEPTED),
    (_S.ACCEPTED, _E.SUCCESS): Step(_S.ACCEPTED, (Do.PASS_AGAIN,)),
    (_S.ACCEPTED, _E.FAILURE): Step(_S.ACCEPTED),
    (_S.ACCEPTED, _E.TIMER_M): Step(_S.TERMINATED),
}

CLIENT = {
    (_S.TRYING, _E.TIMER_E): Step(_S.TRYING, (Do.REPEAT,)),
    (_S.TRYING, _E.TIMER_F): Step(_S.TERMINATED, (Do.GIVE_UP,)),
    (_S.TRYING, _E.PROVISIONAL): Step(_S.PROCEEDING, (Do.PASS,)),
    (_S.TRYING, _E.SUCCESS): Step(_S.COMPLETED, (Do.PASS,)),
    (_S.TRYING, _E.FAILURE): Step(_S.COMPLETED, (Do.PASS,)),
    (_S.PROCEEDING, _E.TIMER_E): Step(_S.PROCEEDING, (Do.REPEAT,)),
    (_S.PROCEEDING, _E.TIMER_F): Step(_S.TERMINATED, (Do.GIVE_UP,)),
    (_S.PROCEEDING, _E.PROVISIONAL): Step(_S.PROCEEDING, (Do.PASS,)),
    (_S.PROCEEDING, _E.SUCCESS): Step(_S.COMPLETED, (Do.PASS,)),
    (_S.PROCEEDING, _E.FAILURE): Step(_S.COMPLETED, (Do.PASS,)),
    (_S.COMPLETED, _E.PROVISIONAL): Step(_S.COMPLETED),
    (_S.COMPLETED, _E.SUCCESS): Step(_S.COMPLETED),
    (_S.COMPLETED, _E.FAILURE): Step(_S.COMPLETED),
    (_S.COMPLETED, _E.TIMER_K): Step(_S.TERMINATED),
}

INVITE_SERVER = {
    (_S.PROCEEDING, _E.REQUEST): Step(_S.PROCEEDING, (Do.REPEAT,)),
    (_S.PROCEEDING, _E.ACK): Step(_S.PROCEEDING),
    (_S.PROCEEDING, _E.PROVISIONAL): Step(_S.PROCEEDING, (Do.SEND,)),
    (_S.PROCEEDING, _E.SUCCESS): Step(_S.ACCEPTED, (Do.SEND,)),
    (_S.PROCEEDING, _E.FAILURE): Step(_S.COMPLETED, (Do.SEND,)),
    (_S.COMPLETED, _E.REQUEST): Step(_S.COMPLETED, (Do.REPEAT,)),
    (_S.COMPLETED, _E.TIMER_G): Step(_S.COMPLETED, (Do.REPEAT,)),
    (_S.COMPLETED, _E.TIMER_H): Step(_S.TERMINATED, (Do.UNACKNOWLEDGED,)),
    (_S.COMPLETED, _E.ACK): Step(_S.CONFIRMED, (Do.PASS,)),
    (_S.CONFIRMED, _E.REQUEST): Step(_S.CONFIRMED),
    (_S.CONFIRMED, _E.ACK): Step(_S.CONFIRMED),
    (_S.CONFIRMED, _E.TIMER_I): Step(_S.TERMINATED),
    (_S.ACCEPTED, _E.REQUEST): Step(_S.ACCEPTED),
    (_S.ACCEPTED, _E.ACK): Step(_S.ACCEPTED, (Do.PASS,)),
    (_S.ACCEPTED, _E.SUCCESS): Step(_S.ACCEPTED, (Do.SEND,)),
    (_S.ACCEPTED, _E.TIMER_L): Step(_S.TERMINATED),
}

SERVER = {
    (_S.TRYING, _E.REQUEST): Step(_S.TRYING),
    (_S.TRYING, _E.PROVISIONAL): Step(_S.PROCEEDING, (Do.SEND,)),
    (_S.TRYING, _E.SUCCESS): Step(_S.COMPLETED, (Do.SEND,)),
    (_S.TRYING, _E.FAILURE): Step(_S.COMPLETED, (Do.SEND,)),
    (_S.PROCEEDING, _E.REQUEST): Step(_S.PROCEEDING, (Do.REPEAT,)),
    (_S.PROCEEDING, _E.PROVISIONAL): Step(_S.PROCEEDING, (Do.SEND,)),
    (_S.PROCEEDING, _E.SUCCESS): Step(_S.COMPLETED, (Do.SEND,)),
    (_S.PROCEEDING, _E.FAILURE): Step(_S.COMPLETED, (Do.SEND,)),
    (_S.COMPLETED, _E.REQUEST): Step(_S.COMPLETED, (Do.REPEAT,)),
    (_S.COMPLETED, _E.TIMER_J): Step(_S.TERMINATED),
}

TABLES: dict[Machine, dict[tuple[State, Event], Step]] = {
    Machine.INVITE_CLIENT: INVITE_CLIENT,
    Machine.CLIENT: CLIENT,
    Machine.INVITE_SERVER: INVITE_SERVER,
    Machine.SERVER: SERVER,
}

FIRST: dict[Machine, State] = {
    Machine.INVITE_CLIENT: State.CALLING,
    Machine.CLIENT: State.TRYING,
    Machine.INVITE_SERVER: State.PROCEEDING,
    Machine.SERVER: State.TRYING,
}

# Timers that start on entering a state. A, E and G repeat a message and run only over unreliable transports.
STARTS: dict[tuple[Machine, State], tuple[Event, ...]] = {
    (Machine.INVITE_CLIENT, State.CALLING): (Event.TIMER_A, Event.TIMER_B),
    (Machine.INVITE_CLIENT, State.COMPLETED): (Event.TIMER_D,),
    (Machine.INVITE_CLIENT, State.ACCEPTED): (Event.TIMER_M,),
    (Machine.CLIENT, State.TRYING): (Event.TIMER_E, Event.TIMER_F),
    (Machine.CLIENT, State.COMPLETED): (Event.TIMER_K,),
    (Machine.INVITE_SERVER, State.COMPLETED): (Event.TIMER_G, Event.TIMER_H),
    (Machine.INVITE_SERVER, State.CONFIRMED): (Event.TIMER_I,),
    (Machine.INVITE_SERVER, State.ACCEPTED): (Event.TIMER_L,),
    (Machine.SERVER, State.COMPLETED): (Event.TIMER_J,),
}
REPEATING = frozenset({Event.TIMER_A, Event.TIMER_E, Event.TIMER_G})
LINGERING = frozenset({Event.TIMER_D, Event.TIMER_I, Event.TIMER_J, Event.TIMER_K})  # 0 s over reliable transports


def duration(timer: Event, timings: Timings, reliable: bool) -> float | None:
    """How long a timer runs when it starts, in seconds (RFC 3261 table 4); None: it does not run."""
    if reliable and timer in REPEATING:
        return None
    if reliable and timer in LINGERING:
        return 0.0
    if timer in REPEATING:
        return timings.t1
    if timer is Event.TIMER_D:
        return timings.d
    if timer in (Event.TIMER_I, Event.TIMER_K):
        return timings.t4
    return timings.long


def next_interval(timer: Event, state: State, last: float, timings: Timings) -> float:
    """The interval after one of `last` seconds: A doubles, E and G double up to T2 (E is T2 once Proceeding)."""
    if timer is Event.TIMER_A:
        return 2 * last
    if timer is Event.TIMER_E and state is State.PROCEEDING:
        return timings.t2
    return min(2 * last, timings.t2)
