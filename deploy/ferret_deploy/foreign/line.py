"""What a line to a target is: one protocol's connections between a foreign NF and the stand-ins around it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from ferret.records.message import Interface, Role, SignallingMessage
from ferret.replay.rewrite import Message


@dataclass(frozen=True, slots=True)
class Asked:
    """The target has sent a request, or something that nothing answers.

    `number`: what an answer is matched by (GTPv2-C sequence, hop-by-hop identifier); 0 where the message carries it.
    """

    interface: Interface
    neighbour: Role
    message: Message
    number: int = 0


@dataclass(frozen=True, slots=True)
class Answered:
    """The target has answered what was sent under `token`."""

    interface: Interface
    neighbour: Role
    message: Message
    token: int


@dataclass(frozen=True, slots=True)
class Unanswered:
    """What was sent under `token` will not be answered; `unsent`: it did not even go out."""

    token: int
    reason: str
    unsent: bool = False


@dataclass(frozen=True, slots=True)
class Remarked:
    """Something that an engineer wants to know: a restart, a lost connection, a message that could not be read."""

    what: str


@dataclass(frozen=True, slots=True)
class Repeated:
    """The target has sent something again."""


Heard: TypeAlias = Asked | Answered | Unanswered | Remarked | Repeated
Hearing: TypeAlias = Callable[[Heard], None]


class Line(ABC):
    """One protocol between one target and its stand-ins. `hearing` is set before `start` and may be changed."""

    hearing: Hearing

    @abstractmethod
    async def start(self) -> None:
        """Open the sockets, and connect where the protocol has connections. Raises TransportError, ConfigError."""

    @abstractmethod
    async def stop(self) -> None:
        """Close the sockets."""

    @abstractmethod
    def ask(self, recorded: SignallingMessage, message: Message, token: int, destination: str) -> None:
        """Send a request, or what nothing answers, in the name of the recorded message's sender."""

    @abstractmethod
    def answer(self, interface: Interface, neighbour: Role, message: Message, number: int) -> bool:
        """Answer a request of the target; False where it has not asked that."""

    def describe(self) -> str:
        """How the line is connected, in a few words; "" where there is nothing to say."""
        return ""


def unheard(_: Heard) -> None:
    """Nobody listens."""
