"""Lists: which item of the edge's list is which of the recorded one.

Paths number items from 0. Before a comparison the edge's items are renumbered so that each bears the number of its
recorded counterpart; those without one come after all recorded ones and so show up as added. In a list whose order
means nothing the counterpart is the one that fits best. In a stack, to which each hop adds at the top (Via,
Record-Route), the topmost is the sender's own and the others fit from the bottom, however many hops lie between.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeAlias

from ferret.protocols.summary import Parameter
from ferret.replay.rules.model import MessageRules

MAX_LISTS = 64  # beyond these a message is hostile, not complicated: it is compared by position
MAX_PAIRINGS = 4096

_INDEX = re.compile(r"\[(\d+)\]")
_Items: TypeAlias = dict[int, set[tuple[str, str | int | None]]]


def aligned(recorded: Sequence[Parameter], edge: Sequence[Parameter], rules: MessageRules) -> Sequence[Parameter]:
    """`edge` with the items of its unordered lists and stacks renumbered to match `recorded`."""
    done: set[str] = set()
    for _ in range(MAX_LISTS):
        prefix = _next_list(recorded, edge, rules, done)
        if prefix is None:
            break
        done.add(prefix)
        fit = _stacked if rules.treatment(prefix).stack else _best_fit
        edge = _renumbered(edge, prefix, fit(_items(recorded, prefix), _items(edge, prefix)))
    return edge


def _next_list(
    recorded: Sequence[Parameter], edge: Sequence[Parameter], rules: MessageRules, done: set[str]
) -> str | None:
    """The outermost list to align with more than one item that has not been dealt with."""
    candidates = {
        prefix
        for parameters in (recorded, edge)
        for path, _ in parameters
        if "[" in path
        for prefix in rules.long_lists(path)
        if prefix not in done
    }
    return min(candidates, key=lambda prefix: (prefix.count("["), prefix)) if candidates else None


def _items(parameters: Sequence[Parameter], prefix: str) -> _Items:
    found: _Items = {}
    start = len(prefix)
    for path, value in parameters:
        if path.startswith(prefix) and (match := _INDEX.match(path, start)):
            found.setdefault(int(match.group(1)), set()).add((path[match.end() :], value))
    return found


def _best_fit(recorded: _Items, edge: _Items) -> dict[int, int]:
    """Which recorded number each edge number becomes: greedily, the most alike first, position settling ties."""
    if len(recorded) * len(edge) > MAX_PAIRINGS:
        return {}
    names = {number: {name for name, _ in item} for number, item in recorded.items()}
    ranked = sorted(
        (
            -len(ours & theirs),
            -len(names[mine] & {name for name, _ in theirs}),
            abs(mine - other),
            mine,
            other,
        )
        for mine, ours in recorded.items()
        for other, theirs in edge.items()
    )
    becomes: dict[int, int] = {}
    taken: set[int] = set()
    for *_, mine, other in ranked:
        if mine not in taken and other not in becomes:
            taken.add(mine)
            becomes[other] = mine
    free = max(recorded, default=-1) + 1
    for other in sorted(edge):
        if other not in becomes:
            becomes[other] = free
            free += 1
    return becomes


def _stacked(recorded: _Items, edge: _Items) -> dict[int, int]:
    """Which recorded number each edge number becomes: top to top, the rest from the bottom."""
    shift = len(recorded) - len(edge)
    if not recorded:
        return {}
    if shift >= 0:
        return {number: number + shift for number in edge if number}
    additional = {number: len(recorded) + number - 1 for number in range(1, 1 - shift)}
    return additional | {number: number + shift for number in edge if number > -shift}


def _renumbered(parameters: Sequence[Parameter], prefix: str, becomes: dict[int, int]) -> Sequence[Parameter]:
    if all(old == new for old, new in becomes.items()):
        return parameters
    start = len(prefix)
    made = []
    for parameter in parameters:
        path, value = parameter
        match = _INDEX.match(path, start) if path.startswith(prefix) else None
        if match is not None:
            number = becomes.get(int(match.group(1)), int(match.group(1)))
            parameter = Parameter(f"{prefix}[{number}]{path[match.end() :]}", value)
        made.append(parameter)
    return made
