"""Two user agents that hear each other, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from ferret.protocols import sip
from ferret_core.ua import ResourcesWanted, UaConfiguration, UaEvent, UserAgent

A, B = "10.0.0.1:5060", "10.0.0.2:5060"
URI_A, URI_B = "sip:a@ims.example", "sip:b@ims.example"


@dataclass
class Pair:
    """`reserves`: resources are there as soon as they are wanted. `lose`: whether a datagram is lost."""

    a: UserAgent
    b: UserAgent
    now: float = 0.0
    reserves: bool = True
    lose: Callable[[sip.Message, int], bool] = lambda message, number: False
    seen: list[tuple[str, sip.Message]] = field(default_factory=list)
    events: dict[str, list[UaEvent]] = field(default_factory=lambda: {A: [], B: []})

    def run(self) -> None:
        """Deliver until nobody has anything more to say."""
        moved = True
        while moved:
            moved = False
            for agent, other in ((self.a, self.b), (self.b, self.a)):
                for octets, destination in agent.datagrams():
                    moved = True
                    assert destination == other.configuration.address
                    message = sip.decode(octets)
                    self.seen.append((agent.configuration.address, message))
                    if not self.lose(message, len(self.seen)):
                        source = agent.configuration.address
                        self.tell(other, other.receive_datagram(octets, source, self.now))

    def tell(self, agent: UserAgent, events: list[UaEvent]) -> None:
        """Note what an agent said, and reserve what it wants."""
        self.events[agent.configuration.address] += events
        for one in events:
            if isinstance(one, ResourcesWanted) and self.reserves:
                self.tell(agent, agent.resources_ready(one.call, self.now))

    def order(self, agent: UserAgent, name: str, *arguments: Any) -> Any:
        """Give an order, deliver what follows."""
        result = getattr(agent, name)(*arguments, self.now)
        if isinstance(result, list):
            self.tell(agent, result)
        self.run()
        return result

    def advance(self, seconds: float) -> None:
        """Let time pass, timer by timer."""
        end = self.now + seconds
        while True:
            due = [one for agent in (self.a, self.b) if (one := agent.deadline()) is not None]
            if not due or min(due) > end:
                break
            self.now = max(self.now, min(due))
            for agent in (self.a, self.b):
                self.tell(agent, agent.wake(self.now))
            self.run()
        self.now = end

    def kinds(self, address: str) -> list[str]:
        """The names of the events that an agent told."""
        return [type(one).__name__ for one in self.events[address]]

    def last(self, address: str) -> Any:
        """The last event of an agent."""
        return self.events[address][-1]

    def flow(self) -> list[str]:
        """What was said: "a INVITE", "b 183 (INVITE)"."""
        return [
            f"{'a' if source == A else 'b'} {m.method if m.is_request else f'{m.status} ({m.method})'}"
            for source, m in self.seen
        ]


def configuration(address: str, proxy: str, identity: str, **more: Any) -> UaConfiguration:
    return UaConfiguration(address=address, proxy=proxy, identity=identity, **more)


@pytest.fixture
def pair() -> Pair:
    """Two devices, both with resources to reserve."""
    return make_pair()


def make_pair(of_a: dict[str, Any] | None = None, of_b: dict[str, Any] | None = None) -> Pair:
    a = UserAgent(configuration(A, B, URI_A, **(of_a or {})), Random(1))
    b = UserAgent(configuration(B, A, URI_B, **(of_b or {})), Random(2))
    return Pair(a, b)


@pytest.fixture
def pairs() -> Callable[..., Pair]:
    """Makes pairs with other configurations."""
    return make_pair
