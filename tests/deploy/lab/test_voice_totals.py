"""Figures of many streams."""

from __future__ import annotations

from random import Random

import pytest

from ferret_deploy.lab.voice import FRAME, VoiceSink, VoiceSource
from ferret_deploy.lab.voice_figures import longest_gap
from ferret_deploy.lab.voice_totals import VoiceTotals


def _moved(seed: int, lost: range) -> tuple[VoiceSource, VoiceSink]:
    """Ten packets over the core, then over the edge."""
    source, sink = VoiceSource(Random(seed)), VoiceSink()
    for number in range(30):
        at, edge = 100.0 + number * FRAME, number >= 10
        octets = source.packet(at)
        if number not in lost:
            sink.receive(octets, at + (0.005 if edge else 0.05), path="edge" if edge else "core")
    return source, sink


def test_calls_add_up() -> None:
    totals = VoiceTotals()
    move = (100.19, 100.3)
    totals.add(*_moved(1, range(10, 14)), [move])
    totals.add(*_moved(2, range(20, 21)), [move])
    assert totals.as_json() == {
        "voice_delay_core_ms": {"p50": 50.0, "p99": 50.0},
        "voice_delay_edge_ms": {"p50": 5.0, "p99": 5.0},
        "voice_gap_ms": pytest.approx(1000 * (5 * FRAME - 0.045), abs=0.01),
        "voice_sent": 60,
        "voice_lost": 5,
        "voice_lost_outside_gaps": 1,
    }
    assert (len(totals.delays("core")), len(totals.delays("edge")), totals.delays("moon")) == (20, 35, [])


def test_what_was_not_measured_is_null() -> None:
    assert VoiceTotals().as_json() == {
        "voice_delay_core_ms": {"p50": None, "p99": None},
        "voice_delay_edge_ms": {"p50": None, "p99": None},
        "voice_gap_ms": None,
        "voice_sent": 0,
        "voice_lost": 0,
        "voice_lost_outside_gaps": 0,
    }


def test_only_gaps_that_overlap_the_time_count() -> None:
    _, sink = _moved(1, range(20, 25))
    assert longest_gap(sink.heard) == pytest.approx(6 * FRAME)
    assert longest_gap(sink.heard, within=(100.0, 100.3)) == pytest.approx(FRAME)
    assert longest_gap(sink.heard, within=(100.45, 100.46)) == pytest.approx(6 * FRAME)
    assert longest_gap(sink.heard, within=(200.0, 201.0)) == 0.0
