"""Voice streams and what is said of them, without a clock."""

from __future__ import annotations

import itertools
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferret_deploy.lab import rtp
from ferret_deploy.lab.rtp import RtcpReport, RtpPacket
from ferret_deploy.lab.voice import CLOCK_RATE, FRAME, VoiceSink, VoiceSource, report
from ferret_deploy.lab.voice_figures import figures, percentile


def _speak(source: VoiceSource, count: int, start: float = 100.0) -> list[tuple[float, bytes]]:
    times = [start + number * FRAME for number in range(count)]
    return [(at, source.packet(at)) for at in times]


def test_packets_are_numbered_and_timed_as_rtp_wants_it() -> None:
    source = VoiceSource(Random(1))
    packets = [rtp.decode(octets) for _, octets in _speak(source, 3)]
    assert [one.sequence for one in packets] == [source.first, source.first + 1, source.first + 2]
    steps = {(b.timestamp - a.timestamp) & 0xFFFFFFFF for a, b in itertools.pairwise(packets)}
    assert steps == {320}
    assert [one.marker for one in packets] == [True, False, False]
    assert {(one.ssrc, one.payload_type, len(one.payload)) for one in packets} == {(source.ssrc, 104, 33)}


def test_speech_after_a_pause_is_marked_and_its_timestamp_has_gone_on() -> None:
    source = VoiceSource(Random(1))
    before = rtp.decode(source.packet(1.0))
    source.pause(2.0)
    after = rtp.decode(source.packet(3.02))
    assert after.marker
    assert after.sequence == before.sequence + 1
    assert (after.timestamp - before.timestamp) & 0xFFFFFFFF == 320 + 2 * CLOCK_RATE


def test_each_packet_tells_its_one_way_delay() -> None:
    source, sink = VoiceSource(Random(1)), VoiceSink()
    for at, octets in _speak(source, 100):
        heard = sink.receive(octets, at + 0.05, path="core")
        assert heard is not None
        assert heard.delay == pytest.approx(0.05, abs=1e-6)
    found = figures(source, sink)
    assert found.delays is not None
    assert found.delays.p99 == pytest.approx(0.05, abs=1e-6)
    assert (found.sent, found.received, found.lost, found.duplicates, found.reordered) == (100, 100, (), 0, 0)
    assert found.longest_gap == pytest.approx(FRAME)
    assert sink.jitter == pytest.approx(0, abs=0.01)


def test_numbers_go_on_where_sequence_numbers_wrap() -> None:
    source, sink = VoiceSource(Random(1)), VoiceSink()
    source.first = 65500
    for at, octets in _speak(source, 100):
        sink.receive(octets, at)
    assert [one.number for one in sink.heard] == list(range(65500, 65600))
    assert figures(source, sink).lost == ()


def test_loss_before_the_first_packet_heard_is_loss_even_where_numbers_wrap() -> None:
    source, sink = VoiceSource(Random(1)), VoiceSink()
    source.first = 65530
    for at, octets in _speak(source, 20)[10:]:
        sink.receive(octets, at)
    assert [one.number for one in figures(source, sink).lost] == list(range(65530, 65540))


def test_lost_doubled_and_overtaken_packets_are_told_apart() -> None:
    source, sink = VoiceSource(Random(2)), VoiceSink()
    spoken = _speak(source, 10)
    del spoken[4]
    spoken[6], spoken[7] = spoken[7], spoken[6]
    for number, (_, octets) in enumerate([*spoken, spoken[0]]):
        sink.receive(octets, 100.0 + number * FRAME)
    found = figures(source, sink)
    assert [one.number - source.first for one in found.lost] == [4]
    assert found.lost[0].sent_at == pytest.approx(100.08)
    assert (found.duplicates, found.reordered) == (1, 1)
    assert found.lost_outside([(100.07, 100.09)]) == []
    assert len(found.lost_outside([(100.1, 100.2)])) == 1


def test_packets_on_their_way_are_not_lost() -> None:
    source, sink = VoiceSource(Random(2)), VoiceSink()
    for at, octets in _speak(source, 10)[:8]:
        sink.receive(octets, at)
    assert len(figures(source, sink).lost) == 2
    assert figures(source, sink, arriving_until=100.15).lost == ()


def test_the_gap_at_a_change_of_path_is_seen_in_both_directions() -> None:
    source, sink = VoiceSource(Random(3)), VoiceSink()
    for number, (at, octets) in enumerate(_speak(source, 60)):
        if 20 <= number < 25:  # lost in the move
            continue
        over_edge = 20 <= number < 40
        sink.receive(octets, at + (0.005 if over_edge else 0.05), path="edge" if over_edge else "core")
    found = figures(source, sink)
    assert [one.path for one in found.changes] == ["edge", "core"]
    assert found.changes[0].gap == pytest.approx(6 * FRAME - 0.045)
    assert found.changes[1].gap == pytest.approx(FRAME + 0.045)
    assert found.longest_gap == pytest.approx(6 * FRAME - 0.045)
    assert found.longest_gap_at == pytest.approx(100.0 + 25 * FRAME + 0.005)
    assert {path: round(delays.p50, 4) for path, delays in found.by_path.items()} == {"core": 0.05, "edge": 0.005}
    assert {path: delays.count for path, delays in found.by_path.items()} == {"core": 40, "edge": 15}


def test_stragglers_of_the_old_path_are_no_change_back() -> None:
    source, sink = VoiceSource(Random(3)), VoiceSink()
    for number, (at, octets) in enumerate(_speak(source, 40)):
        edge = number >= 20
        sink.receive(octets, at + (0.005 if edge else 0.07), path="edge" if edge else "core")
    found = figures(source, sink)
    assert [one.path for one in found.changes] == ["edge"]
    assert found.reordered == 3


def test_other_sources_and_other_octets_are_foreign() -> None:
    source, sink = VoiceSource(Random(4)), VoiceSink()
    sink.receive(source.packet(1.0), 1.0)
    assert sink.receive(VoiceSource(Random(5)).packet(1.0), 1.0) is None
    assert sink.receive(b"no RTP", 1.0) is None
    assert sink.receive(RtpPacket(104, 1, 1, source.ssrc, bytes(33)).encode(), 1.0) is None
    assert (sink.foreign, len(sink.heard)) == (3, 1)


def test_a_stream_that_nobody_heard_has_no_delays() -> None:
    source = VoiceSource(Random(4))
    source.packet(1.0)
    found = figures(source, VoiceSink())
    assert (found.delays, found.by_path, found.longest_gap, len(found.lost)) == (None, {}, 0.0, 1)


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=50), st.floats(0, 100))
def test_percentiles_are_values_that_were_measured(values: list[float], percent: float) -> None:
    ordered = sorted(values)
    found = percentile(ordered, percent)
    assert found in ordered
    assert sum(value <= found for value in ordered) >= len(ordered) * percent / 100 - 1e-9


def test_reports_count_what_was_sent_and_what_was_lost() -> None:
    ours, theirs, sink = VoiceSource(Random(6)), VoiceSource(Random(7)), VoiceSink()
    spoken = _speak(theirs, 100)
    for at, octets in spoken[:50] + spoken[75:]:
        sink.receive(octets, at)
    ours.packet(102.0)
    sink.receive_report(RtcpReport(theirs.ssrc, sender=theirs.sender_info(0.5)), 101.5)
    told = rtp.decode_report(report(ours, sink, cname="ue@lab", now=102.0, wall=1.75, bye=True))
    assert told.sender is not None
    assert (told.ssrc, told.cname, told.bye) == (ours.ssrc, "ue@lab", True)
    assert (told.sender.ntp >> 32, told.sender.ntp & 0xFFFFFFFF) == (rtp.NTP_EPOCH + 1, 3 << 30)
    assert (told.sender.packets, told.sender.octets) == (1, 33)
    (block,) = told.blocks
    assert (block.ssrc, block.lost, block.fraction_lost) == (theirs.ssrc, 25, 64)
    assert block.highest == theirs.first + 99
    assert (block.last_sr, block.since_last_sr) == ((rtp.NTP_EPOCH & 0xFFFF) << 16 | 0x8000, 32768)
    again = sink.report_block(102.0)
    assert again is not None
    assert again.fraction_lost == 0


def test_whoever_heard_nothing_reports_nothing() -> None:
    source = VoiceSource(Random(8))
    assert rtp.decode_report(report(source, VoiceSink(), cname="ue@lab", now=1.0, wall=1.0)).blocks == ()
