"""TCP: however a stream was cut, repeated, disordered or damaged, the same messages come out once each."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferret.protocols.summary import Protocol
from ferret.records.message import CapturedMessage, Endpoint, Flaw
from ferret_agents.capture.ledger import Ledger
from ferret_agents.capture.tcp import ACK, FIN, PSH, RST, SYN, Flow, Segment, TcpStreams

UP = Flow(Endpoint("192.0.2.1", 40000), Endpoint("192.0.2.2", 3868), (), -1)
DOWN = Flow(Endpoint("192.0.2.2", 3868), Endpoint("192.0.2.1", 40000), (), -1)
SECOND = 1_000_000_000


class Streams:
    """Feeds segments and keeps what comes out."""

    def __init__(self, **limits: int) -> None:
        self.ledger = Ledger()
        self.messages: list[CapturedMessage] = []
        self.tcp = TcpStreams(self.ledger, self.messages.append, **limits)
        self.frame = 0

    def add(
        self,
        sequence: int,
        payload: bytes = b"",
        flags: int = ACK | PSH,
        *,
        flow: Flow = UP,
        ack: int = 0,
        missing: int = 0,
        at: float = 0.0,
    ) -> None:
        self.frame += 1
        self.ledger.begin(self.frame)
        segment = Segment(
            sequence & 0xFFFFFFFF, ack & 0xFFFFFFFF, flags, payload, missing, self.frame, round(at * SECOND)
        )
        clock = round(at * SECOND)
        self.tcp.expire(clock)
        self.ledger.end(self.frame, self.tcp.add(flow, segment, clock))

    def end(self) -> list[bytes]:
        self.tcp.flush()
        ledger = self.ledger
        assert not ledger.pending
        assert ledger.frames == ledger.used + ledger.damaged + sum(ledger.ignored.values())
        return [message.octets for message in self.messages]


@pytest.fixture
def diameter(sample: Any) -> list[bytes]:
    return [sample.diameter(272, 16777238, number, number % 2 == 0, size=200 * number) for number in range(6)]


def test_several_messages_in_a_segment_and_one_over_several(diameter: list[bytes]) -> None:
    streams = Streams()
    octets = b"".join(diameter)
    streams.add(999, flags=SYN)
    for start in range(0, len(octets), 700):
        streams.add(1000 + start, octets[start : start + 700])
    assert streams.end() == diameter
    assert [message.transport for message in streams.messages] == ["tcp"] * 6
    assert not streams.ledger.damage


def test_retransmissions_and_overlaps_give_nothing_twice(diameter: list[bytes]) -> None:
    streams = Streams()
    octets = b"".join(diameter)
    streams.add(0xFFFFFF00 - 1, flags=SYN)
    for start in range(0, len(octets), 500):  # the sequence number wraps on the way
        streams.add(0xFFFFFF00 + max(0, start - 300), octets[max(0, start - 300) : start + 500])
        streams.add(0xFFFFFF00 + start, octets[start : start + 400])
    assert streams.end() == diameter
    assert streams.ledger.ignored["tcp retransmission"] > 0


def test_segments_out_of_order_wait_for_each_other(diameter: list[bytes]) -> None:
    streams = Streams()
    octets = b"".join(diameter)
    streams.add(99, flags=SYN)
    starts = list(range(0, len(octets), 300))
    for start in (*starts[1:], starts[0]):
        streams.add(100 + start, octets[start : start + 300])
    assert streams.end() == diameter
    assert all(message.frame == streams.frame for message in streams.messages)
    assert not any(message.flaws for message in streams.messages)


def test_a_capture_that_begins_in_mid_stream_finds_the_next_message(diameter: list[bytes]) -> None:
    for protocol_port in (3868, 3871):
        flow = UP._replace(destination=Endpoint("192.0.2.2", protocol_port))
        streams = Streams()
        octets = b"".join(diameter)[77:]
        for start in range(0, len(octets), 640):
            streams.add(5000 + start, octets[start : start + 640], flow=flow)
        assert streams.end() == diameter[2:]
        assert streams.messages[0].flaws == (Flaw.HOLE_BEFORE,)
        assert not any(message.flaws for message in streams.messages[1:])
        assert streams.ledger.damage


def test_a_lost_segment_is_a_hole_that_marks_what_follows(diameter: list[bytes]) -> None:
    streams = Streams()
    octets = b"".join(diameter)
    lost = len(diameter[0]) + len(diameter[1]) + len(diameter[2]) + 50
    streams.add(9, flags=SYN)
    streams.add(10, octets[:lost])
    streams.add(10 + lost + 600, octets[lost + 600 :], at=0.1)
    assert len(streams.messages) == 3
    streams.add(1, flags=ACK, flow=DOWN, ack=10 + len(octets), at=0.2)
    streams.add(1, flags=ACK, flow=DOWN, ack=10 + len(octets), at=0.5)
    assert streams.end()[:3] == diameter[:3]
    assert streams.messages[3].flaws == (Flaw.CUT,)
    assert streams.messages[3].octets == diameter[3][:50]
    assert streams.messages[4].octets in diameter
    assert any("octets of a TCP stream are missing" in entry.what for entry in streams.ledger.damage)


def test_a_hole_inside_one_message_spoils_only_that_one(diameter: list[bytes]) -> None:
    streams = Streams()
    octets = b"".join(diameter)
    begin = sum(map(len, diameter[:4]))
    streams.add(9, flags=SYN)
    streams.add(10, octets[: begin + 100])
    streams.add(10 + begin + 300, octets[begin + 300 :], at=1)
    streams.add(10 + len(octets), flags=FIN | ACK, at=9)
    assert streams.end() == [*diameter[:4], diameter[4][:100], diameter[5]]
    assert streams.messages[4].flaws == (Flaw.CUT,)
    assert streams.messages[5].flaws == ()


def test_a_hole_at_a_message_boundary_marks_the_next_message(diameter: list[bytes]) -> None:
    streams = Streams()
    streams.add(9, flags=SYN)
    streams.add(10, diameter[0])
    streams.add(10 + len(diameter[0]) + len(diameter[1]), diameter[2])
    assert streams.end() == [diameter[0], diameter[2]]
    assert streams.messages[1].flaws == (Flaw.HOLE_BEFORE,)


def test_a_segment_cut_by_the_snaplen_cuts_its_message(diameter: list[bytes]) -> None:
    streams = Streams()
    streams.add(9, flags=SYN)
    streams.add(10, diameter[3][:96], missing=len(diameter[3]) - 96)
    streams.add(10 + len(diameter[3]), diameter[4])
    assert streams.end() == [diameter[3][:96], diameter[4]]
    assert [message.flaws for message in streams.messages] == [(Flaw.CUT,), ()]


def test_used_again_ports_begin_a_new_stream(diameter: list[bytes]) -> None:
    streams = Streams()
    streams.add(9, flags=SYN)
    streams.add(10, diameter[0])
    streams.add(70_000_000, flags=SYN)
    streams.add(70_000_001, diameter[1])
    streams.add(70_000_001 + len(diameter[1]), flags=RST)
    streams.add(1_500_000_000, diameter[2])  # without its SYN
    assert streams.end() == diameter[:3]
    assert [message.flaws for message in streams.messages] == [(), (), (Flaw.HOLE_BEFORE,)]


def test_sip_over_tcp_is_cut_by_content_length(sample: Any) -> None:
    messages = [sample.sip("INVITE", 1, b"v=0\r\n" * 50), sample.sip("ACK", 1), sample.sip("MESSAGE", 2, b"x" * 33)]
    octets = b"\r\n\r\n".join(messages)
    flow = UP._replace(destination=Endpoint("192.0.2.2", 5070))
    for size in (1, 7, 100, 5000):
        streams = Streams()
        for start in range(0, len(octets), size):
            streams.add(start, octets[start : start + size], ACK, flow=flow)
        assert streams.end() == messages
        assert {message.protocol for message in streams.messages} == {Protocol.SIP}


def test_a_content_length_that_is_too_large_is_not_believed_over_the_stream(sample: Any) -> None:
    wrong = sample.sip("INVITE", 1, b"v=0\r\n" * 9).replace(b"Content-Length: 45", b"Content-Length: 99")
    follow = sample.sip("ACK", 1)
    streams = Streams()
    streams.add(0, wrong)
    streams.add(len(wrong), follow, at=0.1)
    streams.add(len(wrong) + len(follow), wrong, at=0.2)
    streams.add(0, b"", ACK, flow=DOWN, at=5)
    assert len(streams.messages) == 3  # the last one after a while of silence
    assert streams.end() == [wrong, follow, wrong]
    assert not any(message.flaws for message in streams.messages)
    assert all("octets too many" in entry.what for entry in streams.ledger.damage)


def test_a_content_length_that_is_too_small_is_not_believed_over_the_stream(sample: Any) -> None:
    wrong = sample.sip("INVITE", 1, b"v=0\r\n" * 9).replace(b"Content-Length: 45", b"Content-Length: 20")
    follow = sample.sip("ACK", 1)
    streams = Streams()
    streams.add(0, wrong + follow)
    streams.add(len(wrong + follow), wrong)
    assert streams.end() == [wrong, follow, wrong]
    assert not any(message.flaws for message in streams.messages)


@pytest.mark.parametrize("length", [0, 19, 0xFFFFFF, 0x200000])
def test_an_impossible_diameter_length_is_damage_and_the_next_message_is_found(
    diameter: list[bytes], length: int
) -> None:
    bad = b"\x01" + length.to_bytes(3, "big") + diameter[1][4:]
    streams = Streams()
    streams.add(9, flags=SYN)
    streams.add(10, diameter[0] + bad + diameter[2])
    assert streams.end() == [diameter[0], diameter[2]]
    assert streams.messages[1].flaws == (Flaw.HOLE_BEFORE,)
    assert any(f"a Diameter length of {length}" in entry.what for entry in streams.ledger.damage)


def test_garbage_on_a_signalling_port_is_damage_and_other_protocols_are_not() -> None:
    for payload, port, damaged, kind in (
        (b"\xde\xad\xbe\xef" * 30, 3868, 1, ""),
        (b"complete nonsense\r\n" * 4, 5060, 1, ""),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 5060, 0, "http"),
        (b"\x16\x03\x01\x00\x05hello" * 3, 3868, 0, "tls"),
        (b"\xde\xad\xbe\xef" * 30, 4000, 0, "tcp"),
    ):
        streams = Streams()
        streams.add(1, payload, flow=UP._replace(destination=Endpoint("192.0.2.2", port)))
        assert streams.end() == []
        assert streams.ledger.damaged == damaged
        assert bool(streams.ledger.damage) == bool(damaged)
        if kind:
            assert streams.ledger.ignored == {kind: 1}


def test_memory_is_bounded_in_connections_segments_and_octets() -> None:
    streams = Streams(connections=20, segments=16, octets=10_000)
    for number in range(300):
        flow = UP._replace(source=Endpoint("192.0.2.1", 1000 + number))
        streams.add(1, b"INVITE sip:", flow=flow)
    assert streams.ledger.pending <= 20
    streams.add(1, flags=SYN)
    for number in range(200):
        streams.add(10 + 2000 * number, b"x" * 900)
    assert streams.ledger.pending <= 60
    streams.end()


def test_the_same_connection_in_two_tunnels_is_two_streams(diameter: list[bytes]) -> None:
    streams = Streams()
    outer = (Endpoint("198.51.100.1", 2152), Endpoint("198.51.100.2", 2152))
    for teid in (1, 2):
        streams.add(0, diameter[0], flow=UP._replace(tunnel=outer, tunnel_teid=teid))
    assert streams.end() == [diameter[0]] * 2
    assert [message.tunnel_teid for message in streams.messages] == [1, 2]


def _segments(octets: bytes, cuts: list[int]) -> list[tuple[int, bytes]]:
    places = sorted({0, len(octets), *(cut % len(octets) for cut in cuts)})
    return [(start, octets[start:end]) for start, end in pairwise(places)]


@given(
    numbers=st.lists(st.tuples(st.booleans(), st.integers(0, 40)), min_size=1, max_size=6),
    cuts=st.lists(st.integers(0, 4000), max_size=20),
    copies=st.lists(st.integers(0, 30), max_size=5),
    seed=st.integers(0, 2**32),
    origin=st.integers(0, 2**32 - 1),
    is_sip=st.booleans(),
)
def test_any_segmentation_and_order_gives_the_same_messages(
    sample: Any,
    numbers: list[tuple[bool, int]],
    cuts: list[int],
    copies: list[int],
    seed: int,
    origin: int,
    is_sip: bool,
) -> None:
    messages = [
        sample.sip("MESSAGE" if flag else "INVITE", number, b"b\r\n" * number)
        if is_sip
        else sample.diameter(272, 4, number, flag, size=4 * number)
        for flag, number in numbers
    ]
    segments = _segments(b"".join(messages), cuts)
    segments += [segments[index % len(segments)] for index in copies]
    random.Random(seed).shuffle(segments)
    streams = Streams()
    streams.add(origin - 1, flags=SYN)
    for start, payload in segments:
        streams.add(origin + start, payload)
    assert streams.end() == messages
    assert not any(message.flaws for message in streams.messages)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3000),
            st.binary(max_size=80)
            | st.sampled_from([b"INVITE sip:a SIP/2.0\r\n", b"\x01\0\0\x14\x80\0\x01\x01" + b"\0" * 12]),
            st.integers(0, 31),
            st.integers(0, 90),
        ),
        max_size=25,
    )
)
def test_hostile_segments_are_survived_and_accounted_for(pieces: list[tuple[int, bytes, int, int]]) -> None:
    streams = Streams(segments=6)
    for at, (sequence, payload, flags, missing) in enumerate(pieces):
        streams.add(sequence, payload, flags, missing=missing, at=at / 3)
    streams.end()


def test_octets_that_wait_are_bounded_over_all_connections() -> None:
    """A segment is missing in each of many connections: what waits behind the holes stays below the limit."""
    ledger, streams, frame = Ledger(), None, 0
    streams = TcpStreams(ledger, lambda message: None, all_octets=50_000)
    for port in range(1000, 1200):
        flow = Flow(Endpoint("10.0.0.1", port), Endpoint("10.0.0.2", 3868), (), -1)
        for sequence, octets in ((1, b"\x01"), (500, bytes(1000))):
            frame += 1
            ledger.begin(frame)
            ledger.end(frame, streams.add(flow, Segment(sequence, 0, 0x10, octets, 0, frame, frame), frame))
        assert streams.waiting_octets <= 52_000
    streams.flush()
    assert streams.waiting_octets == ledger.pending == 0
    assert ledger.frames == frame


@pytest.mark.parametrize("was_lost", (True, False))
def test_what_capturing_has_lost_is_not_waited_for_once_it_is_acknowledged(
    diameter: list[bytes], was_lost: bool
) -> None:
    streams = Streams()
    starts = [1000 + sum(map(len, diameter[:number])) for number in range(4)]
    streams.add(1, flags=ACK, flow=DOWN, payload=diameter[0], ack=1000, at=0.9)
    streams.add(starts[0], diameter[0], at=1.0)
    if was_lost:
        streams.tcp.lost(SECOND)
    streams.add(starts[2], diameter[2], at=1.01)
    assert len(streams.messages) == 2
    streams.add(1 + len(diameter[0]), flags=ACK, flow=DOWN, ack=starts[3], at=1.02)
    streams.add(starts[3], diameter[3], at=1.03)
    found = [message for message in streams.messages if message.source == UP.source]
    if not was_lost:
        assert len(found) == 1
        return
    assert [message.octets for message in found] == [diameter[0], diameter[2], diameter[3]]
    assert [message.flaws for message in found] == [(), (Flaw.HOLE_BEFORE,), ()]
