"""A live recording is looked at when it pauses: what is new is told once, and what is over is dropped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferret.fallback.messages import CallBegun, CallEnded, CallEstablished
from ferret.protocols.summary import Kind, Protocol
from ferret.records.message import CapturedMessage, Endpoint, Interface, Node, Role, SignallingMessage
from ferret.records.recording import Entry
from ferret.records.sip_legs import Boundary
from ferret_agents.capture.reader import read
from ferret_agents.offline import agents
from ferret_agents.roles import find_network
from ferret_deploy.host.followed_replay import before_pause
from ferret_deploy.host.observation import Look, Observation

NAME = "open5gs-volte.pcap"


@pytest.fixture
def seen(capture: Callable[[str], Path]) -> list[CapturedMessage]:
    """What agents beside the NFs of a capture have seen, in time."""
    messages = read(capture(NAME)).messages
    return sorted(agents(messages, find_network(messages)), key=lambda one: one.captured_at_ns)


def _look(observation: Observation, now: float) -> Look:
    return asyncio.run(observation.look(lambda: now))


def test_a_call_is_told_when_it_begins_stands_and_ends(seen: list[CapturedMessage]) -> None:
    observation, told = Observation(), []
    for one in seen:
        at = one.captured_at_ns / 1e9
        if (due := observation.due(following=False, busy=False)) is not None and due <= at:
            told += _look(observation, due).news
        observation.take(one, at)
    told += _look(observation, seen[-1].captured_at_ns / 1e9 + 1).news
    kinds = [type(event) for event in told]
    assert kinds.count(CallBegun) == kinds.count(CallEstablished) == kinds.count(CallEnded) > 0


def test_every_pause_is_looked_at_while_a_call_is_followed_and_only_ends_while_there_is_a_hurry(
    seen: list[CapturedMessage],
) -> None:
    observation = Observation()
    assert observation.due(following=True, busy=False) is None
    register = next(one for one in seen if one.protocol is Protocol.S1AP)
    observation.take(register, 1.0)
    assert observation.due(following=False, busy=False) is None  # nothing that could change a call
    assert observation.due(following=True, busy=False) is not None
    assert observation.due(following=True, busy=True) is None


def test_a_call_that_is_over_is_dropped_and_what_calls_build_upon_stays(seen: list[CapturedMessage]) -> None:
    observation = Observation()
    for one in seen:
        observation.take(one, one.captured_at_ns / 1e9)
    end = seen[-1].captured_at_ns
    found = _look(observation, end / 1e9)
    for call in found.calls:
        observation.over(call, end / 1e9, end)
    before = len(observation.recorder)
    assert observation.due(following=False, busy=False) is not None
    after = _look(observation, end / 1e9 + 10)
    assert after.news == ()
    assert len(observation.recorder) < before
    left = _look(observation, end / 1e9 + 20)
    assert left.calls == {}
    assert "attach" in {one.service for one in left.capture.recordings}


def _entry(index: int, at_ns: int) -> Entry:
    end = Endpoint("10.0.0.1", 1)
    captured = CapturedMessage(Protocol.SIP, at_ns, end, end, b"")
    ends = Node(Role.UE, "10.0.0.1"), Node(Role.PCSCF, "10.0.0.2")
    message = SignallingMessage(index, captured, "INVITE", Kind.REQUEST, Interface.GM, *ends)
    return Entry(message, Boundary.INSIDE)


@given(st.lists(st.integers(0, 200), max_size=30), st.integers(0, 100))
def test_only_what_lies_before_a_pause_is_replayed_while_a_call_is_set_up(times: list[int], later: int) -> None:
    """Times in milliseconds; a pause is 20 of them."""
    entries = [_entry(number, at * 1_000_000) for number, at in enumerate(sorted(times))]
    now = (max(times, default=0) + later) * 1_000_000
    chosen = before_pause(entries, now)
    assert chosen == entries[: len(chosen)]
    rest = entries[len(chosen) :]
    following = rest[0].message.captured.captured_at_ns if rest else now
    if chosen:
        assert following - chosen[-1].message.captured.captured_at_ns >= 20_000_000
    moments = [one.message.captured.captured_at_ns for one in rest] + [now]
    assert all(after - before < 20_000_000 for before, after in pairwise(moments))
