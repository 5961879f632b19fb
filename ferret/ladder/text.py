"""A ladder diagram in plain text: what each message is, and then the rails with its arrow across them."""

from __future__ import annotations

from collections.abc import Iterator

from ferret.ladder.layout import Ladder, Row

_MIN_LANE = 5
_MAX_LANE = 24
_MAX_NAME = 64


def text_lines(ladder: Ladder, width: int = 0) -> Iterator[str]:
    """The diagram's lines. `width` (columns) narrows the lanes to a terminal; 0: as wide as reads well."""
    name = min(_MAX_NAME, max((len(_label(row)) for row in ladder.rows), default=0))
    margin = len(_prefix("", "", "", name))
    lane = _lane_width(ladder, width - margin if width else 0)
    yield ladder.title
    yield ""
    titles = "".join(title[: lane - 1].ljust(lane) for title in ladder.lanes)
    yield (_prefix("#", "seconds", "message", name) + titles).rstrip()
    for row in ladder.rows:
        drawn = _drawn(row, len(ladder.lanes), lane)
        yield _prefix(str(row.index), f"{row.at:.4f}", _label(row), name) + drawn


def _prefix(index: str, seconds: str, label: str, name: int) -> str:
    return f"{index:>5} {seconds:>9}  {label:<{name}}  "


def _label(row: Row) -> str:
    return row.name + (f" [{row.note}]" if row.note else "")


def _lane_width(ladder: Ladder, room: int) -> int:
    widest = max((len(title) for title in ladder.lanes), default=_MIN_LANE) + 2
    if room > 0 and ladder.lanes:
        widest = min(widest, room // len(ladder.lanes))
    return max(_MIN_LANE, min(_MAX_LANE, widest))


def _drawn(row: Row, lanes: int, lane: int) -> str:
    """The rails with the arrow across them."""
    canvas = list("".join("│".ljust(lane) for _ in range(lanes)))
    if row.source == row.target:
        canvas[row.source * lane + 1] = "⟲"
        return "".join(canvas).rstrip()
    start, end = sorted((row.source * lane, row.target * lane))
    canvas[start + 1 : end] = ("┄" if row.is_answer else "─") * (end - start - 1)
    if row.target > row.source:
        canvas[end - 1] = "▶"
    else:
        canvas[start + 1] = "◀"
    return "".join(canvas).rstrip()
