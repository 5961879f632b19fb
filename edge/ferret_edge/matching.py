"""Which of an edge NF's outputs answers which recorded message, and how the two differ.

Expectations and outputs may come in either order: the replayer's next frame and the NF's next message travel on
different connections. Both wait here for their counterpart. An output belongs to the expectation of the same
interface and name (SIP: and the same CSeq number); where several wait, to the one that it differs from least, the
oldest first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ferret.protocols.summary import Parameter, Protocol
from ferret.replay.check import CheckResult, compare
from ferret.replay.rules import Rules
from ferret.replay.translation import Translation

CANDIDATES = 8
"""How many waiting counterparts are compared to find the best; the oldest, since order is kept nearly always."""

HELD_OUTPUTS = 4096
"""Outputs that nothing asked for are kept up to this number; older ones are counted and let go."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What an output must have in common with an expectation to be its counterpart."""

    protocol: Protocol
    interface: str
    name: str
    discriminator: str = ""


@dataclass(frozen=True, slots=True)
class Expected:
    """A recorded message that the NF has to make."""

    id: int
    shape: Shape
    parameters: tuple[Parameter, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """A message that the NF has made."""

    number: int
    shape: Shape
    peer_role: str
    octets: bytes
    parameters: tuple[Parameter, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """An output and the expectation that it answers."""

    expected: Expected
    made: Made
    result: CheckResult


def shape_of(protocol: Protocol, interface: str, name: str, parameters: Sequence[Parameter]) -> Shape:
    """The shape of a message: for SIP the CSeq number tells a re-INVITE from the INVITE."""
    discriminator = ""
    if protocol is Protocol.SIP:
        discriminator = next((str(p.value) for p in parameters if p.path == "CSeq/number"), "")
    return Shape(protocol, interface, name, discriminator)


class OutputMatcher:
    """Pairs outputs with expectations for one recording."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._translation: Translation | None = None
        self._expected: dict[Shape, list[Expected]] = defaultdict(list)
        self._made: dict[Shape, list[Made]] = defaultdict(list)
        self._held = 0
        self.let_go = 0

    def begin(self, translation: Translation | None = None) -> None:
        """Forget everything that waits: a new recording starts. `translation` knows where only NF names differ."""
        self._translation = translation
        self._expected.clear()
        self._made.clear()
        self._held = 0

    def expect(self, expected: Expected) -> Match | None:
        """The NF has to make this; returns the match if it already has."""
        waiting = self._made.get(expected.shape)
        if not waiting:
            self._expected[expected.shape].append(expected)
            return None
        results = [self._check(expected, made) for made in waiting[:CANDIDATES]]
        best = _least_different(results)
        made = waiting.pop(best)
        self._held -= 1
        return Match(expected, made, results[best])

    def produced(self, made: Made) -> Match | None:
        """The NF has made this; returns the match if it was expected."""
        waiting = self._expected.get(made.shape)
        if not waiting:
            self._hold(made)
            return None
        results = [self._check(expected, made) for expected in waiting[:CANDIDATES]]
        best = _least_different(results)
        return Match(waiting.pop(best), made, results[best])

    def unasked(self) -> list[Made]:
        """Outputs that no expectation asked for, oldest first."""
        return sorted((made for waiting in self._made.values() for made in waiting), key=lambda made: made.number)

    def missing(self) -> list[Expected]:
        """Expectations that no output answered, oldest first."""
        return sorted((e for waiting in self._expected.values() for e in waiting), key=lambda e: e.id)

    def _check(self, expected: Expected, made: Made) -> CheckResult:
        shape = expected.shape
        return compare(
            shape.protocol,
            shape.name,
            expected.parameters,
            made.parameters,
            self._rules,
            translation=self._translation,
        )

    def _hold(self, made: Made) -> None:
        if self._held >= HELD_OUTPUTS:
            self.let_go += 1
            return
        self._made[made.shape].append(made)
        self._held += 1


def _least_different(results: Sequence[CheckResult]) -> int:
    """Index of the result with the fewest differences, weighed by risk; the first among equals."""
    return min(range(len(results)), key=lambda place: (results[place].weight, place))
