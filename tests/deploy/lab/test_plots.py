"""Plots: well-formed by themselves, with units, and honest about what was not measured."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferret_deploy.lab.plots import Series, call_setup_cdf, cdf, voice_delay_cdf

SVG = "{http://www.w3.org/2000/svg}"


def _points(svg: str, curve: int) -> list[tuple[float, float]]:
    """Where a curve goes: x and y of each corner."""
    path = ElementTree.fromstring(svg).findall(f"{SVG}path")[curve].attrib["d"]
    start = re.match(r"M([\d.]+) ([\d.]+)", path)
    assert start is not None
    steps = [(float(x), float(y)) for x, y in re.findall(r"H([\d.]+)V([\d.]+)", path)]
    return [(float(start[1]), float(start[2])), *steps]


def _texts(svg: str) -> str:
    return " | ".join(one for one in ElementTree.fromstring(svg).itertext() if "{" not in one)


def test_both_figures_name_their_units_and_percentiles() -> None:
    setup = _texts(call_setup_cdf([1.0, 1.1], [1.2, 1.3]))
    assert "ms" in setup
    assert "share of calls, %" in setup
    assert "core only: p50 1000 ms, p99 1100 ms (2 calls)" in setup
    voice = _texts(voice_delay_cdf([0.05] * 3, [0.004]))
    assert "ms (logarithmic)" in voice
    assert "over the edge: p50 4.00 ms, p99 4.00 ms (1 packet)" in voice


def test_nothing_is_fetched_or_run() -> None:
    svg = voice_delay_cdf([0.05], [0.004]).replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"script|https?:|url\(|@import|href", svg)
    assert "prefers-color-scheme: dark" in svg


@pytest.mark.parametrize("logarithmic", [False, True])
@given(st.lists(st.floats(0, 60), max_size=60))
def test_a_curve_rises_from_none_to_all_within_the_picture(logarithmic: bool, values: list[float]) -> None:
    svg = cdf("Any", [Series("one", values)], x_label="ms", of_what="calls", logarithmic=logarithmic)
    if not values:
        assert "nothing measured" in svg
        return
    points = _points(svg, 0)
    assert points == sorted(points, key=lambda point: (point[0], -point[1]))
    assert all(0 <= x <= 640 and 0 <= y <= 400 for x, y in points)
    heights = {y for _, y in points}
    assert (max(heights), min(heights)) == (348.0, 66.0)


def test_of_many_values_few_points_are_drawn_and_the_last_one_is_there() -> None:
    values = [0.05] * 9999 + [5.0]
    assert len(_points(voice_delay_cdf(values, []), 0)) <= 401
    assert _points(voice_delay_cdf(values, []), 0)[-1] == (620.0, 86.0)


def test_half_of_what_was_measured_lies_left_of_the_middle() -> None:
    values = [0.01 * number for number in range(1, 101)]
    points = _points(cdf("Any", [Series("one", values)], x_label="ms", of_what="calls"), 0)
    half = next(x for x, y in points if y <= (348 + 66) / 2)
    assert half == pytest.approx(64 + (620 - 64) / 2, abs=1)


def test_names_are_text_and_not_markup() -> None:
    svg = cdf("<b>", [Series('"&<i>', [1.0])], x_label="<ms>", of_what="calls")
    assert '"&<i>' in _texts(svg)


def test_what_is_no_number_is_not_drawn() -> None:
    svg = cdf("Any", [Series("one", [math.nan, math.inf, 1.0])], x_label="ms", of_what="calls")
    assert "(1 call)" in svg
