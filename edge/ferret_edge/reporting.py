"""What is compared of a message, and how an output is reported to the replayer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from ferret.protocols.summary import Parameter
from ferret.replay.port import MadeOutput
from ferret_edge.matching import Made, Match

NOT_EXPECTED: Final = -1
_ENGINE_FILLED: Final = frozenset(
    {"header/Sequence Number", "header/Hop-by-Hop Identifier", "header/End-to-End Identifier"},
)
"""Filled in by a protocol engine when a message leaves: not the NF's own output."""


def compared(found: Sequence[Parameter]) -> tuple[Parameter, ...]:
    """The parameters that an NF decides."""
    return tuple(one for one in found if one.path not in _ENGINE_FILLED)


def matched(match: Match) -> MadeOutput:
    """An output that answers an expectation."""
    result = match.result
    return _output(
        match.made,
        match.expected.id,
        tuple(one.as_json() for one in result.differences),
        tuple(tuple(pair) for pair in result.pairs),
    )


def unasked(made: Made) -> MadeOutput:
    """An output that nothing asked for."""
    return _output(made, NOT_EXPECTED, (), ())


def _output(
    made: Made,
    expected: int,
    differences: tuple[Mapping[str, object], ...],
    pairs: tuple[tuple[str | int, ...], ...],
) -> MadeOutput:
    shape = made.shape
    return MadeOutput(
        expected,
        str(shape.protocol),
        shape.interface,
        made.peer_role,
        shape.name,
        made.octets,
        differences,
        pairs,
    )
