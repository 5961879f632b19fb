"""The delay line and the router of the WAN: by seed, without a clock."""

from __future__ import annotations

from ipaddress import ip_address
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferret.errors import ConfigError
from ferret_deploy.lab.delay_line import DelayLine, FrameRouter, Impairment, WanPort

CORE, SITE, CORE_SGI = 0, 1, 2
PORTS = (
    WanPort("core", ("10.10.0.0/24", "fd00:10::/64")),
    WanPort("site", ("10.30.0.0/24",)),
    WanPort("core", ("10.45.0.0/16",)),
)


def _line(seed: int = 1, **conditions: float) -> DelayLine[bytes]:
    return DelayLine(Impairment(**conditions), Random(seed))


def _frame(source: str, destination: str, payload: bytes = b"x") -> bytes:
    ends = ip_address(source).packed + ip_address(destination).packed
    if len(ends) == 8:
        return bytes(12) + b"\x08\x00" + b"\x45" + bytes(11) + ends + payload
    return bytes(12) + b"\x86\xdd" + b"\x60" + bytes(7) + ends + payload


def test_a_packet_comes_out_after_the_delay_and_not_before() -> None:
    line = _line(delay=0.025)
    assert line.put(b"a", 10.0)
    assert line.next_due == pytest.approx(10.025)
    assert list(line.take(10.024)) == []
    assert [packet for _, packet in line.take(10.025)] == [b"a"]
    assert line.next_due is None
    assert line.counters.carried == 1


@given(
    st.integers(0, 2**32),
    st.lists(st.floats(0, 0.02), max_size=60),
    st.floats(0.001, 0.1),
    st.floats(0, 1),
)
def test_packets_keep_their_order_whatever_the_jitter(
    seed: int, gaps: list[float], delay: float, scatter: float
) -> None:
    line = _line(seed, delay=delay, jitter=delay * scatter)
    now, sent = 5.0, []
    for number, gap in enumerate(gaps):
        now += gap
        line.put(number.to_bytes(2, "big"), now)
        sent.append(number.to_bytes(2, "big"))
    out = list(line.take(now + 1))
    assert [packet for _, packet in out] == sent
    assert [due for due, _ in out] == sorted(due for due, _ in out)


def test_every_packet_takes_the_delay_give_or_take_the_jitter() -> None:
    line = _line(delay=0.02, jitter=0.005)
    for number in range(1000):
        line.put(b"", float(number))
    times = [due - number for number, (due, _) in enumerate(line.take(2000.0))]
    assert 0.015 <= min(times) < 0.0155
    assert 0.0245 < max(times) <= 0.025 + 1e-9


def test_jitter_lets_packets_overtake_where_that_is_asked_for() -> None:
    line: DelayLine[bytes] = DelayLine(Impairment(delay=0.02, jitter=0.02, reorder=True), Random(3))
    for number in range(50):
        line.put(bytes((number,)), number * 0.001)
    out = [packet[0] for _, packet in line.take(1.0)]
    assert sorted(out) == list(range(50))
    assert out != sorted(out)


def test_the_same_seed_loses_the_same_packets() -> None:
    def lost(seed: int) -> list[int]:
        line = _line(seed, loss=0.1)
        return [number for number in range(500) if not line.put(b"", 0.0)]

    assert lost(7) == lost(7)
    assert lost(7) != lost(8)
    assert 25 <= len(lost(7)) <= 80


def test_what_is_too_much_is_dropped_and_counted() -> None:
    line: DelayLine[bytes] = DelayLine(Impairment(delay=1.0, limit=3), Random(1))
    assert [line.put(b"", 0.0) for _ in range(5)] == [True, True, True, False, False]
    assert line.counters.dropped == 2
    assert len(line) == 3


def test_a_shorter_delay_lets_nobody_overtake() -> None:
    line = _line(delay=1.0)
    line.put(b"first", 0.0)
    line.impairment = Impairment(delay=0.1)
    line.put(b"second", 0.1)
    assert [packet for _, packet in line.take(1.0)] == [b"first", b"second"]


@pytest.mark.parametrize(
    "conditions", [{"delay": -1.0}, {"delay": 61.0}, {"delay": 0.1, "jitter": 0.2}, {"loss": 1.1}, {"limit": 0}]
)
def test_conditions_that_cannot_be_are_refused(conditions: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Impairment(**conditions)  # type: ignore[arg-type]


def test_a_frame_goes_to_the_place_of_its_destination_after_the_delay_of_that_way() -> None:
    router = FrameRouter(PORTS, {("site", "core"): Impairment(delay=0.025)})
    router.receive(SITE, _frame("10.30.0.30", "10.10.0.3"), 1.0)
    router.receive(SITE, _frame("10.30.0.30", "10.45.0.2"), 1.0)
    router.receive(CORE, _frame("10.10.0.3", "10.30.0.30"), 1.0)
    assert [port for _, port, _ in router.take(1.0)] == [SITE]
    assert router.next_due == pytest.approx(1.025)
    assert {port for _, port, _ in router.take(1.025)} == {CORE, CORE_SGI}


def test_ipv6_has_routes_of_its_own() -> None:
    router = FrameRouter(PORTS, {})
    router.receive(SITE, _frame("fd00:30::1", "fd00:10::7"), 1.0)
    assert [port for _, port, _ in router.take(1.0)] == [CORE]


def test_the_longest_prefix_wins_and_routes_change_while_frames_flow() -> None:
    router = FrameRouter(PORTS, {})
    frame = _frame("10.10.0.1", "10.45.0.2")

    def way(port: int) -> list[int]:
        router.receive(port, frame, 1.0)
        return [target for _, target, _ in router.take(1.0)]

    assert way(CORE) == [CORE_SGI]
    router.route("10.45.0.2/32", SITE)
    assert way(CORE) == [SITE]
    router.route("10.45.0.2/32", CORE, seen_from="site")
    assert (way(SITE), way(CORE)) == ([CORE], [SITE])
    router.route("10.45.0.2/32", None)
    assert way(CORE) == [CORE_SGI]


@pytest.mark.parametrize("frame", [b"", bytes(14), _frame("10.0.0.1", "10.99.0.1"), bytes(12) + b"\x08\x00\x45"])
def test_what_leads_nowhere_is_counted(frame: bytes) -> None:
    router = FrameRouter(PORTS, {})
    router.receive(SITE, frame, 1.0)
    assert router.unroutable == 1
    assert router.next_due is None


def test_an_unknown_place_or_prefix_is_refused() -> None:
    router = FrameRouter(PORTS, {})
    with pytest.raises(ConfigError, match="no places core and moon"):
        router.impair("core", "moon", Impairment())
    with pytest.raises(ConfigError, match="prefix"):
        router.route("10.45.0.2/8", CORE)
    with pytest.raises(ConfigError, match="no port"):
        router.route("10.45.0.2/32", 9)


@given(st.binary(max_size=80))
def test_no_frame_breaks_the_router(frame: bytes) -> None:
    router = FrameRouter(PORTS, {})
    router.receive(CORE, frame, 1.0)
    assert len(list(router.take(1.0))) + router.unroutable == 1
