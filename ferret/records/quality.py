"""How good a recording is, as a number from 0 to 1, and what it is made of.

Counted are requests of the service itself without an answer, and of all that the recording consists of, its context
included: holes, messages that are cut or cannot be read, clocks that were set back while it was recorded, and messages
that were seen again (retransmissions, which a network under stress has; copies of mirror ports are none). Each of the
first four costs as much as one message, one that was seen again a tenth of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Protocol

from ferret.protocols.summary import Kind
from ferret.records.holes import Hole
from ferret.records.message import Flaw, SignallingMessage

REPETITION_COST: Final = 0.1
CLOCK_STEP_NS: Final = 500_000_000
"""How far back a clock goes that was set: capturing alone never disorders times by so much."""
_UNREADABLE: Final = frozenset((Flaw.CUT, Flaw.UNDECODABLE))


class _Recorded(Protocol):
    """What is asked of a recording."""

    @property
    def everything(self) -> Sequence[tuple[SignallingMessage, object]]: ...

    @property
    def messages(self) -> tuple[SignallingMessage, ...]: ...

    @property
    def holes(self) -> tuple[Hole, ...]: ...


@dataclass(frozen=True, slots=True)
class Quality:
    """What is wrong with a recording, by kind."""

    messages: int
    unanswered: int  # requests without an answer
    holes: int
    unreadable: int  # cut by a snaplen, or not to be decoded
    clock_steps: int
    repeated: int  # messages seen again

    @property
    def value(self) -> float:
        """From 0 to 1; 1: nothing is wrong."""
        if not self.messages:
            return 1.0
        lost = self.unanswered + self.holes + self.unreadable + self.clock_steps + REPETITION_COST * self.repeated
        return max(0.0, 1.0 - lost / self.messages)

    def __str__(self) -> str:
        """In words: "0.93: 2 requests without an answer, 1 hole, of 43 messages"."""
        parts = [
            _number(self.unanswered, "request without an answer", "requests without an answer"),
            _number(self.holes, "hole", "holes"),
            _number(self.unreadable, "message cut or undecodable", "messages cut or undecodable"),
            _number(self.clock_steps, "clock set back", "clocks set back"),
            _number(self.repeated, "message seen again", "messages seen again"),
        ]
        wrong = ", ".join(part for part in parts if part)
        return f"{self.value:.2f}: {wrong or 'nothing wrong'}, of {self.messages} messages"


def assess(recording: _Recorded) -> Quality:
    """Count what is wrong with a recording."""
    messages = [entry[0] for entry in recording.everything]
    answered = {message.answers for message in messages}
    return Quality(
        messages=len(messages),
        unanswered=sum(m.kind is Kind.REQUEST and m.index not in answered for m in recording.messages),
        holes=len(recording.holes),
        unreadable=sum(not _UNREADABLE.isdisjoint(m.captured.flaws) for m in messages),
        clock_steps=_clock_steps(messages),
        repeated=sum(m.retransmissions for m in messages),
    )


def _clock_steps(messages: Iterable[SignallingMessage]) -> int:
    """How often an agent's clock went back between two messages that it saw one after the other."""
    by_run: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    for message in messages:
        captured = message.captured
        by_run[captured.agent, captured.epoch].append((captured.number, captured.captured_at_ns))
    return sum(
        before[1] - after[1] > CLOCK_STEP_NS for run in by_run.values() for before, after in pairwise(sorted(run))
    )


def _number(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}" if number else ""
