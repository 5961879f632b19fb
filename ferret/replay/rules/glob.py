"""Patterns of rule files: on message names and on parameter paths.

`*` stands for any characters within one part of a path, `**` for any number of parts (none included), `?` for one
character. Upper and lower case are the same. A parameter pattern without "[" is matched against the path without its
keys ("Bearer Context[5]/Cause" is "Bearer Context/Cause"), one with "[" against the whole path.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Generic, TypeVar

_KEYS = re.compile(r"\[[^\]]*\]")
_WILD = re.compile(r"[*?\[]")
_SYMBOL = re.compile(r"\*\*|.", re.DOTALL)

T = TypeVar("T")


def strip_keys(path: str) -> str:
    """`path` without the keys of its list items."""
    return _KEYS.sub("", path) if "[" in path else path


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> re.Pattern[str]:
    """The pattern as a regular expression for `fullmatch`."""
    text = re.escape(pattern)
    text = text.replace(r"\*\*/", "(?:.*/)?").replace(r"/\*\*", "(?:/.*)?").replace(r"\*\*", ".*")
    text = text.replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
    return re.compile(text, re.IGNORECASE | re.DOTALL)


def matches(pattern: str, path: str) -> bool:
    """Whether a parameter pattern covers the path of a parameter."""
    subject = path if "[" in pattern else strip_keys(path)
    return compiled(pattern).fullmatch(subject) is not None


class PatternIndex(Generic[T]):
    """Values by pattern, in their order, so that asking what covers a path need not try every pattern.

    Nearly all patterns are a path without wildcards, or `**/` and one name: those are found by dictionary.
    """

    __slots__ = ("_exact", "_globs", "_last", "needs_keys")

    def __init__(self, entries: Iterable[tuple[str, T]]) -> None:
        self._exact: dict[str, list[tuple[int, T]]] = {}
        self._last: dict[str, list[tuple[int, T]]] = {}
        self._globs: list[tuple[int, str, T]] = []
        self.needs_keys = False
        for number, (pattern, value) in enumerate(entries):
            end = pattern.removeprefix("**/").lower()
            self.needs_keys = self.needs_keys or "[" in pattern
            if _WILD.search(end) or (end != pattern.lower() and "/" in end):
                self._globs.append((number, pattern, value))
            else:
                table = self._exact if end == pattern.lower() else self._last
                table.setdefault(end, []).append((number, value))

    def matching(self, path: str) -> list[T]:
        """The values of all patterns that cover the path, in their order."""
        bare = strip_keys(path).lower()
        found = self._exact.get(bare, []) + self._last.get(bare.rpartition("/")[2], [])
        found += [(number, value) for number, pattern, value in self._globs if matches(pattern, path)]
        return [value for _, value in sorted(found, key=_number)]


def _number(entry: tuple[int, object]) -> int:
    return entry[0]


def overlap(first: str, second: str) -> bool:
    """Whether some path exists that both patterns cover."""
    if "[" in first and "[" not in second:
        first = strip_keys(first)
    elif "[" in second and "[" not in first:
        second = strip_keys(second)
    return any(_overlap(a, b) for a in _variants(first) for b in _variants(second))


def _variants(pattern: str) -> set[tuple[str, ...]]:
    """The pattern's symbols, once for each way of letting "**" stand for no part at all."""
    texts = {pattern.lower()}
    for joint in ("**/", "/**"):
        texts |= {text.replace(joint, "") for text in texts}
    return {tuple(_SYMBOL.findall(text)) for text in texts}


def _overlap(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    """Walks both patterns at once over every pair of places that one common path can lead to."""
    seen = set()
    todo = [(0, 0)]
    while todo:
        place = todo.pop()
        if place in seen:
            continue
        seen.add(place)
        i, j = place
        a = first[i] if i < len(first) else ""
        b = second[j] if j < len(second) else ""
        if not a and not b:
            return True
        if a in ("*", "**"):
            todo.append((i + 1, j))
            if b and (a == "**" or b != "/"):
                todo.append((i, j + 1))
        if b in ("*", "**"):
            todo.append((i, j + 1))
            if a and (b == "**" or a != "/"):
                todo.append((i + 1, j))
        if a and b and (a == b or (a == "?" and b != "/") or (b == "?" and a != "/")):
            todo.append((i + 1, j + 1))
    return False
