"""TCP without a kernel: what is sent arrives, in order and once, whatever the network does to it."""

from __future__ import annotations

import heapq
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferret.errors import LocalMisuseError
from ferret_core.tcp import Closed, Connection, Delivered, Flag, Lost, Opened, Segment, TcpStack, TcpState, segment_of
from ferret_core.tcp.states import TABLE, TcpEvent

OFFSETS = st.integers(-70000, 70000)
HERE, THERE = ("10.0.0.1", 40000), ("10.0.0.2", 5060)


class Network:
    """Two stacks and what is between them. `fate(packet number)`: delay in seconds, None where it is lost."""

    def __init__(self, fate: Any = lambda number: 0.01, *, v6: bool = False, answers: bool = True) -> None:
        self.now = 0.0
        self.fate = fate
        self.here, self.there = (("fd00::1", 40000), ("fd00::2", 5060)) if v6 else (HERE, THERE)
        self.sent = 0
        self.heard: list[tuple[str, Any]] = []
        self.data = {"a": b"", "b": b""}
        self.far: Connection | None = None
        self.answers = answers
        self.a = TcpStack(Random(1), mtu=600)
        self.b = TcpStack(Random(2), mtu=600, asked=self._asked)
        self.near = self.a.connect(self.here, self.there, 0.0)
        self._way: list[tuple[float, int, str, bytes]] = []

    def _asked(self, syn: Segment) -> bool:
        if self.answers:
            self.far = self.b.accept(syn, self.now)
        return self.answers

    def run(self, until: float = 300.0) -> None:
        while True:
            self._collect()
            times = [one for one in (self.a.deadline(), self.b.deadline()) if one is not None]
            due = min([*times, *(one[0] for one in self._way[:1])], default=until + 1)
            if due > until:
                return
            self.now = max(self.now, due)
            if self._way and self._way[0][0] <= self.now:
                _, _, to, packet = heapq.heappop(self._way)
                self._told(to, (self.a if to == "a" else self.b).receive(packet, self.now))
            self._told("a", self.a.wake(self.now))
            self._told("b", self.b.wake(self.now))

    def _told(self, who: str, events: list[tuple[Connection, Any]]) -> None:
        for _, event in events:
            if isinstance(event, Delivered):
                self.data[who] += event.octets
            else:
                self.heard.append((who, event))

    def _collect(self) -> None:
        for to, stack in (("b", self.a), ("a", self.b)):
            for packet in stack.packets():
                self.sent += 1
                delay = self.fate(self.sent)
                if delay is not None:
                    heapq.heappush(self._way, (self.now + delay, self.sent, to, packet))


@pytest.mark.parametrize("v6", [False, True])
def test_octets_go_both_ways_and_both_sides_end(v6: bool) -> None:
    net = Network(v6=v6)
    net.near.send(b"x" * 5000, 0.0)
    net.run(1.0)
    assert net.far is not None
    assert net.data["b"] == b"x" * 5000
    net.far.send(b"answer", net.now)
    net.near.close(net.now)
    net.run(2.0)
    assert net.data["a"] == b"answer"
    net.far.close(net.now)
    net.run()
    assert net.heard == [("a", Opened()), ("b", Opened()), ("b", Closed()), ("a", Closed())]
    assert len(net.a) == len(net.b) == 0


@settings(max_examples=60)
@given(st.randoms(use_true_random=False), st.integers(0, 30), st.integers(0, 20000), st.booleans())
def test_whatever_is_lost_delayed_or_doubled_everything_arrives_once(
    random: Random, loss: int, length: int, closes: bool
) -> None:
    def fate(number: int) -> float | None:
        return None if random.randrange(100) < loss else random.uniform(0.005, 0.06)

    net = Network(fate)
    octets = bytes(random.randrange(256) for _ in range(length))
    net.near.send(octets, 0.0)
    if closes:
        net.near.close(0.0)
    net.run(2000.0)
    lost = any(isinstance(event, Lost) for _, event in net.heard)
    assert octets.startswith(net.data["b"])
    assert lost or net.data["b"] == octets
    assert lost or loss == 0 or [event for who, event in net.heard if who == "b"].count(Closed()) == closes


def test_sequence_numbers_wrap_around() -> None:
    near, far = Connection(HERE, THERE, (1 << 32) - 3, mss=100), Connection(THERE, HERE, (1 << 32) - 1, mss=100)
    near.open(0.0)
    (syn,) = near.segments()
    far.accept(syn, 0.0)
    got = b""
    for step in range(40):
        if step == 2:
            near.send(bytes(range(250)), 0.1)
        for one, other in ((far, near), (near, far)):
            for segment in one.segments():
                for event in other.receive(segment, 0.1):
                    got += event.octets if isinstance(event, Delivered) else b""
    assert got == bytes(range(250))


def test_where_nobody_answers_the_connection_is_refused_or_given_up() -> None:
    refused = Network(answers=False)
    refused.run()
    assert refused.heard == [("a", Lost("connection refused"))]
    silent = Network(lambda number: None)
    silent.run()
    assert silent.heard == [("a", Lost("no acknowledgement"))]
    assert silent.sent == 8


def test_a_reset_ends_it_and_a_forged_one_does_not() -> None:
    net = Network()
    net.run(1.0)
    assert net.far is not None
    forged = Segment(net.there, net.here, 12345, 0, Flag.RST, 0)
    assert net.a.receive(forged.encode(), 1.0) == []
    net.far.abort()
    net.run(2.0)
    assert net.heard[-1] == ("a", Lost("reset by peer"))
    assert len(net.a) == len(net.b) == 0


def test_nothing_is_sent_after_the_end_and_not_too_much_before() -> None:
    net = Network()
    with pytest.raises(LocalMisuseError):
        net.near.send(bytes(2 << 20), 0.0)
    net.run(1.0)
    net.near.close(1.0)
    with pytest.raises(LocalMisuseError):
        net.near.send(b"late", 1.0)
    with pytest.raises(LocalMisuseError):
        net.a.connect(net.here, net.there, 1.0)


def test_every_state_has_a_way_out() -> None:
    assert {state for state, _ in TABLE} == set(TcpState)
    assert {event for _, event in TABLE} == set(TcpEvent)


@given(st.binary(max_size=120))
def test_octets_from_anywhere_are_a_segment_or_nothing(octets: bytes) -> None:
    for packet in (octets, b"\x45" + octets, b"\x60" + octets):
        found = segment_of(packet)
        assert found is None or isinstance(found, Segment)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.sampled_from([Flag.SYN, Flag.ACK, Flag.ACK | Flag.PSH, Flag.RST, Flag.FIN | Flag.ACK]),
    st.integers(0, 65535),
    st.binary(max_size=200),
    st.integers(0, 65535),
    st.booleans(),
)
def test_a_segment_is_read_as_it_was_written(
    sequence: int, acknowledgement: int, flags: Flag, window: int, payload: bytes, mss: int, v6: bool
) -> None:
    ends = (("fd00::1", 1), ("fd00::2", 2)) if v6 else (HERE, THERE)
    segment = Segment(*ends, sequence, acknowledgement, flags, window, payload, mss)
    assert segment_of(segment.encode()) == segment
    damaged = bytearray(segment.encode())
    damaged[-1] ^= 0x55
    assert segment_of(bytes(damaged)) is None


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.integers(-70000, 70000), st.integers(-70000, 70000), st.integers(0, 31), st.binary(max_size=40)),
        max_size=25,
    )
)
def test_a_connection_takes_any_segment(segments: list[tuple[int, int, int, bytes]]) -> None:
    net = Network()
    net.run(0.5)
    near = net.near
    net.near.send(b"abc", 0.5)
    net.a.packets()
    for sequence, acknowledgement, flags, payload in segments:
        base, acked = near._expected, near._acknowledged
        forged = Segment(
            net.there, net.here, (base + sequence) % 2**32, (acked + acknowledgement) % 2**32, Flag(flags), 100, payload
        )
        net.a.receive(forged.encode(), 0.6)
        net.a.packets()
    net.a.wake(200.0)
