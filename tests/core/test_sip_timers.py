"""Times that run out, of many keys."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ferret_core.sip_timers import Timers, earliest


def test_the_earliest_is_given_out_first_and_once() -> None:
    timers: Timers[str] = Timers()
    timers.set("late", 5.0)
    timers.set("early", 1.0)
    timers.set("gone", 2.0)
    timers.cancel("gone")
    timers.set("moved", 1.5)
    timers.set("moved", 9.0)
    assert timers.deadline() == 1.0
    assert timers.due(6.0) == ["early", "late"]
    assert timers.due(6.0) == []
    assert timers.deadline() == 9.0


def test_the_earliest_of_none_is_none() -> None:
    assert earliest(None, None) is None
    assert earliest(None, 2.0, 1.0) == 1.0


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 50), st.booleans()), max_size=400))
def test_it_is_a_dictionary_that_knows_its_minimum(steps: list[tuple[int, int, bool]]) -> None:
    timers: Timers[int] = Timers()
    model: dict[int, float] = {}
    for key, when, gone in steps:
        if gone:
            timers.cancel(key)
            model.pop(key, None)
        else:
            timers.set(key, float(when))
            model[key] = float(when)
        assert timers.deadline() == min(model.values(), default=None)
    assert sorted(timers.due(100.0)) == sorted(model)
