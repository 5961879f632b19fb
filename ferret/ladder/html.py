"""A ladder diagram as one self-contained page: no script or style from elsewhere, readable in light and dark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from ferret.ladder.layout import Ladder, Row

_LANE = 128  # pixels between lanes
_LEFT = 120
_ROW = 26
_TOP = 44

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --dim: #6b7480; --rail: #c9d0d8; --paper: #fff;
  --request: #0b57a4; --answer: #2e7d4f; --refused: #b3261e; --stripe: #f5f7f9; --edge: #fdf3dc; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --dim: #97a1ad; --rail: #3a424c; --paper: #14181d;
  --request: #7cb8ff; --answer: #7bd3a1; --refused: #ff8a80; --stripe: #1b2026;
  --edge: #332a14; } }
body { font: 14px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 1.5rem; }
h1 { font-size: 1.35rem; } h2 { font-size: 1.1rem; margin-top: 2.2rem; } p, li { max-width: 60rem; }
.ladder { overflow-x: auto; } svg { display: block; } svg text { fill: var(--ink); font-size: 12px; }
svg .dim { fill: var(--dim); } .rail { stroke: var(--rail); } .stripe { fill: var(--stripe); }
.edge { fill: var(--edge); }
.request { stroke: var(--request); fill: var(--request); } .answer { stroke: var(--answer); fill: var(--answer);
  stroke-dasharray: 5 3; } .refused { stroke: var(--refused); fill: var(--refused); }
svg text.request, svg text.answer, svg text.refused { stroke: var(--paper); stroke-width: 4px;
  stroke-dasharray: none; paint-order: stroke; }
table { border-collapse: collapse; } th, td { text-align: left; padding: .2rem .9rem .2rem 0; vertical-align: top; }
th { border-bottom: 1px solid var(--rail); } td.number { text-align: right; }
details { margin: .15rem 0; } summary { cursor: pointer; } pre { margin: .3rem 0 .6rem 1rem; font-size: 12px;
  overflow-x: auto; } .note { color: var(--dim); }
"""


def html_page(title: str, introduction: str, ladders: Sequence[Ladder]) -> str:
    """The page: an introduction (HTML that the caller has escaped) and one section per ladder."""
    sections = "\n".join(_section(ladder) for ladder in ladders)
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n<h1>{escape(title)}</h1>\n{introduction}\n{sections}\n</body>\n</html>\n"
    )


def _section(ladder: Ladder) -> str:
    details = "\n".join(_details(row) for row in ladder.rows if row.detail)
    opened = f"<h3>Messages</h3>\n{details}" if details else ""
    return f'<section><h2>{escape(ladder.title)}</h2>\n<div class="ladder">{_svg(ladder)}</div>\n{opened}</section>'


def _details(row: Row) -> str:
    heading = f"{row.index}. {escape(row.name)} <span class=note>{escape(row.interface)}</span>"
    return f"<details><summary>{heading}</summary><pre>{escape(row.detail)}</pre></details>"


def _svg(ladder: Ladder) -> str:
    width = _LEFT + _LANE * max(1, len(ladder.lanes)) + 160
    height = _TOP + _ROW * len(ladder.rows) + 20
    parts = [
        f'<svg role="img" aria-label="{escape(ladder.title)}" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">'
    ]
    parts.extend(_stripes(ladder, width))
    parts.extend(_rails(ladder, height))
    for place, row in enumerate(ladder.rows):
        parts.extend(_arrow(row, _TOP + place * _ROW + _ROW / 2))
    parts.append("</svg>")
    return "".join(parts)


def _stripes(ladder: Ladder, width: int) -> Iterator[str]:
    for place, row in enumerate(ladder.rows):
        if row.at_edge or place % 2 == 0:
            kind = "edge" if row.at_edge else "stripe"
            yield f'<rect class="{kind}" x="0" y="{_TOP + place * _ROW}" width="{width}" height="{_ROW}"/>'


def _rails(ladder: Ladder, height: int) -> Iterator[str]:
    for place, title in enumerate(ladder.lanes):
        x = _x(place)
        yield f'<text x="{x}" y="20" text-anchor="middle" font-weight="600">{escape(title)}</text>'
        yield f'<line class="rail" x1="{x}" y1="{_TOP - 14}" x2="{x}" y2="{height - 8}"/>'


def _x(lane: int) -> int:
    return _LEFT + 40 + lane * _LANE


def _arrow(row: Row, y: float) -> Iterator[str]:
    kind = "refused" if row.refused else "answer" if row.is_answer else "request"
    yield f'<text class="dim" x="8" y="{y + 4}">{row.index}</text>'
    yield f'<text class="dim" x="52" y="{y + 4}">{row.at:.4f} s</text>'
    name = escape(row.name + (f" [{row.note}]" if row.note else ""))
    title = f"<title>{escape(row.interface)}: {name}</title>"
    if row.source == row.target:
        x = _x(row.source)
        yield f'<path class="{kind}" fill="none" d="M{x} {y - 6} h26 v12 h-22" style="fill:none">{title}</path>'
        yield f'<text class="{kind}" x="{x + 32}" y="{y + 4}">{name}</text>'
        return
    start, end = _x(row.source), _x(row.target)
    way = 1 if end > start else -1
    yield f'<line class="{kind}" x1="{start}" y1="{y + 5}" x2="{end}" y2="{y + 5}">{title}</line>'
    head = f"M{end} {y + 5} l{-8 * way} -4 v8 z"
    yield f'<path class="{kind}" style="stroke-dasharray:none" d="{head}"/>'
    yield f'<text class="{kind}" x="{(start + end) / 2}" y="{y - 1}" text-anchor="middle">{name}</text>'
