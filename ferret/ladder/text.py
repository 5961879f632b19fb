"""A ladder diagram in plain text."""

from __future__ import annotations

from collections.abc import Iterator

from ferret.ladder.layout import Ladder, Row

_MARGIN = 17  # columns before the first lane: index and time
_MIN_LANE = 14
_MAX_LANE = 30


def text_lines(ladder: Ladder, width: int = 0) -> Iterator[str]:
    """The diagram's lines. `width` (columns) narrows the lanes to a terminal; 0: as wide as reads well."""
    lane = _lane_width(ladder, width)
    yield ladder.title
    yield ""
    yield _header(ladder, lane)
    rails = "".join("│".ljust(lane) for _ in ladder.lanes).rstrip()
    yield " " * _MARGIN + rails
    for row in ladder.rows:
        yield f"{row.index:>5} {row.at:>9.4f}  " + _drawn(row, len(ladder.lanes), lane)


def _lane_width(ladder: Ladder, width: int) -> int:
    if not ladder.lanes:
        return _MIN_LANE
    widest = max((len(title) for title in ladder.lanes), default=0) + 2
    lane = max(_MIN_LANE, min(_MAX_LANE, widest))
    if width:
        lane = max(_MIN_LANE, min(lane, (width - _MARGIN) // len(ladder.lanes)))
    return lane


def _header(ladder: Ladder, lane: int) -> str:
    titles = "".join(title[: lane - 1].ljust(lane) for title in ladder.lanes)
    return "    #   seconds  " + titles.rstrip()


def _drawn(row: Row, lanes: int, lane: int) -> str:
    """Rails with the arrow across them; the name stands on the arrow, or behind the last rail where it is longer."""
    canvas = list("".join("│".ljust(lane) for _ in range(lanes)))
    label = row.name + (f" [{row.note}]" if row.note else "")
    if row.source == row.target:
        at = row.source * lane
        canvas[at : at + 3] = "│⟲ "
        return _with_label("".join(canvas), at + 3, lane - 4, label)
    left, right = sorted((row.source, row.target))
    start, end = left * lane, right * lane
    line = "┄" if row.is_answer else "─"
    canvas[start + 1 : end] = line * (end - start - 1)
    if row.target > row.source:
        canvas[end - 1] = "▶"
    else:
        canvas[start + 1] = "◀"
    return _with_label("".join(canvas), start + 3, end - start - 5, label)


def _with_label(drawn: str, at: int, room: int, label: str) -> str:
    if len(label) + 2 <= room:
        placed = f" {label} "
        return (drawn[:at] + placed + drawn[at + len(placed) :]).rstrip()
    return drawn.rstrip().ljust(len(drawn)) + " " + label
