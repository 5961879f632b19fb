"""Cumulative distributions as SVG that stands by itself: no script, no font or style from elsewhere, light and dark.

`call_setup_cdf` and `voice_delay_cdf` are the paper's figure 7 (a) and (b) from what was measured here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import chain
from math import ceil, floor, isfinite, log10
from typing import Final

from ferret_deploy.lab.voice_figures import percentile

_WIDTH, _HEIGHT = 640, 400
_LEFT, _RIGHT, _BOTTOM = 64, 20, 52
_LEGEND_TOP, _LEGEND_LINE = 46, 20
_POINTS: Final = 400  # of a curve; more are not to be seen
_SMALLEST: Final = 1e-3  # ms: less has no place on a logarithmic axis
_SHORTEST: Final = 1.0  # ms: of a linear axis
_STEPS: Final = (1.0, 2.0, 5.0, 10.0)
_TICKS: Final = 7

_STYLE: Final = """
.cdf { color-scheme: light dark; --ink: #1b1f24; --dim: #59636e; --rail: #d5dbe1; --paper: #fff;
  --s0: #0b57a4; --s1: #b84a00; --s2: #2e7d4f; --s3: #7b3fa0; font: 13px system-ui, sans-serif; max-width: 100%;
  height: auto; }
@media (prefers-color-scheme: dark) { .cdf { --ink: #e6e9ed; --dim: #a3adb8; --rail: #333b44; --paper: #14181d;
  --s0: #7cb8ff; --s1: #ffab70; --s2: #7bd3a1; --s3: #d3a6f0; } }
.cdf text { fill: var(--ink); } .cdf .dim { fill: var(--dim); } .cdf .title { font-size: 15px; font-weight: 600; }
.cdf .paper { fill: var(--paper); } .cdf .grid { stroke: var(--rail); } .cdf .axis { stroke: var(--dim); }
.cdf .curve { fill: none; stroke-width: 2.2; stroke-linejoin: round; }
.cdf .s0 { stroke: var(--s0); } .cdf .s1 { stroke: var(--s1); stroke-dasharray: 8 3; }
.cdf .s2 { stroke: var(--s2); stroke-dasharray: 2 3; } .cdf .s3 { stroke: var(--s3); stroke-dasharray: 10 3 2 3; }
"""


@dataclass(frozen=True, slots=True)
class Series:
    """One curve: its name, and what was measured, in seconds."""

    name: str
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class _Axis:
    """Milliseconds to pixels."""

    low: float
    high: float
    logarithmic: bool
    ticks: tuple[float, ...]

    def x(self, value: float) -> float:
        if self.logarithmic:
            share = (log10(max(value, self.low)) - log10(self.low)) / (log10(self.high) - log10(self.low))
        else:
            share = (value - self.low) / (self.high - self.low)
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * min(1.0, max(0.0, share))


def call_setup_cdf(core: Sequence[float], ferret: Sequence[float]) -> str:
    """The paper's figure 7 (a): what fallback adds to the set-up of a call. Values in seconds."""
    series = (Series("core only", core), Series("with fallback to the edge", ferret))
    return cdf("Call set-up", series, x_label="from INVITE until the call is up, ms", of_what="calls")


def voice_delay_cdf(core: Sequence[float], edge: Sequence[float]) -> str:
    """The paper's figure 7 (b): what fallback takes from the delay of voice. Values in seconds."""
    series = (Series("over the core", core), Series("over the edge", edge))
    label = "one-way delay of voice packets, ms (logarithmic)"
    return cdf("Voice packet delay", series, x_label=label, of_what="packets", logarithmic=True)


def cdf(title: str, series: Sequence[Series], *, x_label: str, of_what: str, logarithmic: bool = False) -> str:
    """Cumulative distributions of times in seconds, drawn in milliseconds. At most four curves differ in colour.

    `of_what`: what is counted, in the plural.
    """
    curves = [(one.name, sorted(1000 * value for value in one.values if isfinite(value))) for one in series]
    top = _LEGEND_TOP + _LEGEND_LINE * len(curves)
    axis = _axis([value for _, values in curves for value in values], logarithmic)
    parts = chain(
        _frame(title, x_label, of_what),
        _grid(axis, top),
        *(_curve(number, name, values, axis, top, of_what) for number, (name, values) in enumerate(curves)),
    )
    description = "; ".join(_summary(name, values, of_what) for name, values in curves)
    return (
        f'<svg class="cdf" role="img" aria-label="{escape(title)}: {escape(description)}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" xmlns="http://www.w3.org/2000/svg">'
        f"<style>{_STYLE}</style>{''.join(parts)}</svg>"
    )


def _frame(title: str, x_label: str, of_what: str) -> Iterator[str]:
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    yield f'<rect class="paper" width="{_WIDTH}" height="{_HEIGHT}"/>'
    yield f'<text class="title" x="{_LEFT}" y="24">{escape(title)}</text>'
    yield f'<text x="{middle}" y="{_HEIGHT - 12}" text-anchor="middle">{escape(x_label)}</text>'
    yield f'<text transform="translate(16 {(_HEIGHT + 20) / 2}) rotate(-90)" text-anchor="middle">'
    yield f"share of {escape(of_what)}, %</text>"


def _grid(axis: _Axis, top: float) -> Iterator[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    for percent in range(0, 101, 25):
        y = _y(percent / 100, top)
        kind = "grid" if percent else "axis"
        yield f'<line class="{kind}" x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>'
        yield f'<text class="dim" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{percent}</text>'
    for tick in axis.ticks:
        x = axis.x(tick)
        yield f'<line class="grid" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}"/>'
        yield f'<text class="dim" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{tick:g}</text>'


def _curve(number: int, name: str, values: Sequence[float], axis: _Axis, top: float, of_what: str) -> Iterator[str]:
    kind, y = f"curve s{number % 4}", _LEGEND_TOP + _LEGEND_LINE * number
    yield f'<line class="{kind}" x1="{_LEFT}" y1="{y - 4}" x2="{_LEFT + 34}" y2="{y - 4}"/>'
    yield f'<text x="{_LEFT + 42}" y="{y}">{escape(_summary(name, values, of_what))}</text>'
    if values:
        steps = "".join(f"H{axis.x(value):.1f}V{_y(share, top):.1f}" for value, share in _points(values))
        path = f"M{axis.x(values[0]):.1f} {_y(0, top):.1f}{steps}"
        yield f'<path class="{kind}" d="{path}"><title>{escape(name)}</title></path>'


def _points(values: Sequence[float]) -> Iterator[tuple[float, float]]:
    """Value and share of all that are not larger; every value of a few, evenly chosen ones of many."""
    count = len(values)
    for step in range(1, min(count, _POINTS) + 1):
        rank = ceil(count * step / min(count, _POINTS))
        yield values[rank - 1], rank / count


def _summary(name: str, values: Sequence[float], of_what: str) -> str:
    if not values:
        return f"{name}: nothing measured"
    p50, p99 = percentile(values, 50), percentile(values, 99)
    counted = of_what if len(values) > 1 else of_what.removesuffix("s")
    return f"{name}: p50 {_short(p50)} ms, p99 {_short(p99)} ms ({len(values)} {counted})"


def _short(value: float) -> str:
    """Three significant digits, and no exponent."""
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.{max(0, 2 - floor(log10(abs(value))))}f}"


def _y(share: float, top: float) -> float:
    bottom = _HEIGHT - _BOTTOM
    return bottom - (bottom - top) * share


def _axis(values: Sequence[float], logarithmic: bool) -> _Axis:
    highest = max(values, default=1.0)
    if logarithmic:
        return _logarithmic(max(min(values, default=1.0), _SMALLEST), max(highest, _SMALLEST))
    step = _step(max(highest, _SHORTEST))
    count = ceil(max(highest, _SHORTEST) / step - 1e-9)
    return _Axis(0.0, count * step, False, tuple(round(number * step, 6) for number in range(count + 1)))


def _step(highest: float) -> float:
    """1, 2 or 5 times a power of ten, so that few ticks reach `highest`."""
    magnitude = 10.0 ** floor(log10(highest / _TICKS))
    return next(factor * magnitude for factor in _STEPS if factor * magnitude * _TICKS >= highest * (1 - 1e-9))


def _logarithmic(lowest: float, highest: float) -> _Axis:
    marks = [
        round(factor * 10.0**power, 9)
        for power in range(floor(log10(lowest)) - 1, ceil(log10(highest)) + 3)
        for factor in (1, 2, 5)
    ]
    low = max(mark for mark in marks if mark <= lowest)
    high = min(mark for mark in marks if mark >= max(highest, 10 * low))
    ticks = [mark for mark in marks if low <= mark <= high]
    if len(ticks) > 2 * _TICKS:
        ticks = [mark for mark in ticks if abs(log10(mark) - round(log10(mark))) < 1e-9]
    return _Axis(low, high, True, tuple(ticks))
