"""The table: every state has its way to the core, and says no to what cannot happen."""

from __future__ import annotations

import pytest

from ferret.errors import LocalMisuseError, PeerViolationError
from ferret.fallback.procedure import _ACTIONS
from ferret.fallback.states import FAILURES, OWN_EVENTS, TABLE, Action, Event, State, step

LIVE = [state for state in State if not state.final]
FROM_THE_NETWORK = [Event.HUNG_UP, Event.SECOND_CALL, Event.UE_RELEASED, Event.EDGE_LOST, Event.S1_LOST]


def reachable(state: State, events: frozenset[Event]) -> set[State]:
    """Every state that these events alone can lead to from here."""
    found, waiting = {state}, [state]
    while waiting:
        here = waiting.pop()
        following = {s.state for (at, event), s in TABLE.items() if at is here and event in events}
        waiting += following - found
        found |= following
    return found


@pytest.mark.parametrize("state", LIVE)
def test_every_state_has_a_way_to_on_core(state: State) -> None:
    assert State.ON_CORE in reachable(state, frozenset(Event))


@pytest.mark.parametrize("state", LIVE)
@pytest.mark.parametrize("event", sorted(FAILURES | {Event.RECALLED, Event.UE_RELEASED}))
def test_after_any_failure_the_core_is_reached_without_the_edge(state: State, event: Event) -> None:
    if (state, event) in TABLE and state is not State.RETURNING:
        after = TABLE[state, event].state
        stays = after is state
        assert stays or State.ON_CORE in reachable(after, frozenset({Event.UNDONE, Event.RESTORED}))
        assert stays or State.AT_EDGE not in reachable(after, frozenset(Event))


@pytest.mark.parametrize("state", LIVE)
@pytest.mark.parametrize("event", [*FROM_THE_NETWORK, Event.RECALLED])
def test_what_the_network_and_the_operator_do_has_an_entry_in_every_state(state: State, event: Event) -> None:
    assert (state, event) in TABLE


@pytest.mark.parametrize("state", LIVE)
def test_hanging_up_leads_to_done_from_every_state(state: State) -> None:
    after = TABLE[state, Event.HUNG_UP].state
    assert State.DONE in reachable(after, frozenset({Event.UNDONE, Event.CLEARED}))


@pytest.mark.parametrize("state", [s for s in LIVE if s is not State.AT_EDGE])
def test_every_state_but_at_edge_can_be_overdue(state: State) -> None:
    assert (state, Event.OVERDUE) in TABLE


def test_done_and_on_core_are_the_only_ends() -> None:
    ends = set(State) - {state for state, _ in TABLE}
    assert ends == {State.DONE, State.ON_CORE} == {state for state in State if state.final}


def test_every_state_and_every_event_and_every_action_is_used() -> None:
    assert {s.state for s in TABLE.values()} | {State.RECORDING} == set(State)
    assert {event for _, event in TABLE} == set(Event)
    assert {s.action for s in TABLE.values()} == set(Action) == set(_ACTIONS)


def test_only_the_replay_of_a_held_call_leads_to_the_edge() -> None:
    into = {state: {at for (at, _), s in TABLE.items() if s.state is state and at is not state} for state in State}
    assert into[State.AT_EDGE] == {State.RECONFIGURING}
    assert into[State.RECONFIGURING] == {State.REPLAYING}
    assert into[State.REPLAYING] == {State.HOLDING}
    assert into[State.HOLDING] == {State.ELIGIBLE}


def test_an_event_of_our_own_without_an_entry_is_misuse() -> None:
    with pytest.raises(LocalMisuseError, match="a fallback that is recording cannot take the event 'replayed'"):
        step(State.RECORDING, Event.REPLAYED)


def test_an_event_of_the_network_without_an_entry_is_a_violation() -> None:
    with pytest.raises(PeerViolationError):
        step(State.AT_EDGE, Event.ESTABLISHED)


def test_nothing_follows_an_end() -> None:
    for state in (State.DONE, State.ON_CORE):
        for event in Event:
            with pytest.raises(LocalMisuseError if event in OWN_EVENTS else PeerViolationError):
                step(state, event)
