"""The project's own captures, recorded: two agents per message, as if one stood beside each NF."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from ferret.records.message import CapturedMessage, Endpoint, Node, Role
from ferret.records.recorder import Capture, Recorder
from ferret_agents.capture.reader import read

# tests/data: the addresses of the network that the captures were recorded from.
ROLES = {
    "172.22.0.2": Role.MME,
    "172.22.0.3": Role.SGW,
    "172.22.0.4": Role.PGW,
    "172.22.0.6": Role.SGW,
    "172.22.0.7": Role.PGW,
    "172.22.0.8": Role.HSS,
    "172.22.0.9": Role.PCRF,
    "172.22.0.19": Role.ICSCF,
    "172.22.0.20": Role.SCSCF,
    "172.22.0.21": Role.PCSCF,
    "172.22.0.30": Role.ENB,
    "172.22.0.31": Role.ENB,
}


def resolve(endpoint: Endpoint, message: CapturedMessage) -> Node:
    """Who an endpoint of these captures is; what has no fixed address is a device."""
    return Node(ROLES.get(endpoint.address, Role.UE), endpoint.address)


def seen_by_both(messages: tuple[CapturedMessage, ...]) -> Iterator[CapturedMessage]:
    """Every message twice: as the agent at its sender and the one at its receiver see it."""
    numbers: Counter[str] = Counter()
    for message in messages:
        for agent in dict.fromkeys((message.source.address, message.destination.address)):
            numbers[agent] += 1
            yield replace(message, agent=agent, number=numbers[agent])


@cache
def _captured(path: Path) -> tuple[CapturedMessage, ...]:
    return tuple(seen_by_both(read(path).messages))


@cache
def _recorded(path: Path) -> Capture:
    recorder = Recorder(resolve)
    for message in _captured(path):
        recorder.add(message)
    return recorder.finish()


@pytest.fixture
def captured(capture: Callable[[str], Path]) -> Callable[[str], tuple[CapturedMessage, ...]]:
    """What the agents put into the queue, for one of the project's captures."""
    return lambda name: _captured(capture(name))


@pytest.fixture
def recorded(capture: Callable[[str], Path]) -> Callable[[str], Capture]:
    """One of the project's captures, recorded."""
    return lambda name: _recorded(capture(name))


@pytest.fixture
def record() -> Callable[[list[CapturedMessage]], Capture]:
    """Record captured messages of the project's network."""

    def run(messages: list[CapturedMessage]) -> Capture:
        recorder = Recorder(resolve)
        for message in messages:
            recorder.add(message)
        return recorder.finish()

    return run
