"""How exact the WAN is: datagrams from place to place, timed from just before sending to the far kernel's stamp."""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ferret.transport.endpoint import widen
from ferret_deploy.lab.delay_line import Impairment
from ferret_deploy.lab.places import Place, PlaceConfig, Places
from ferret_deploy.lab.voice_figures import percentile
from ferret_deploy.lab.wan import WanStatistics

_SO_TIMESTAMPNS: Final = 35
_TIMESPEC = struct.Struct("=qq")
_PROBE = struct.Struct("!Qq")  # number, wall-clock ns
_SIZE: Final = 100  # octets, about those of a voice packet
_SETTLE: Final = 0.5  # s beyond the delay after which a datagram is lost
_NEAR, _FAR = ("10.30.0.1", 9000), ("10.10.0.1", 9000)


@dataclass(frozen=True, slots=True)
class Precision:
    """One-way delays of one measurement, in seconds. `configured` is what they should be."""

    configured: float
    jitter: float
    rate: int  # datagrams per second that were asked for
    achieved: float  # and that were sent
    sent: int
    received: int
    reordered: int
    p50: float
    p99: float
    longest: float
    timer_p50: float  # how late this process's own timers were meanwhile: what the machine itself is good for
    timer_p99: float
    timer_longest: float
    stolen: float  # share of processor time that this machine's host gave to others meanwhile

    def as_json(self) -> dict[str, float | int]:
        """Figures with delays in milliseconds."""
        return {
            "configured_ms": round(1000 * self.configured, 3),
            "jitter_ms": round(1000 * self.jitter, 3),
            "rate_pps": self.rate,
            "achieved_pps": round(self.achieved),
            "sent": self.sent,
            "received": self.received,
            "reordered": self.reordered,
            "p50_ms": round(1000 * self.p50, 3),
            "p99_ms": round(1000 * self.p99, 3),
            "max_ms": round(1000 * self.longest, 3),
            "timer_late_p50_ms": round(1000 * self.timer_p50, 3),
            "timer_late_p99_ms": round(1000 * self.timer_p99, 3),
            "timer_late_max_ms": round(1000 * self.timer_longest, 3),
            "stolen_percent": round(100 * self.stolen, 1),
        }


def measure_wan(impairment: Impairment, rate: int, seconds: float, *, seed: int = 0) -> tuple[Precision, WanStatistics]:
    """Build two places so far apart and measure. Raises PlaceError where this machine allows no places."""
    configs = (PlaceConfig("core", ("10.10.0.0/24",)), PlaceConfig("site", ("10.30.0.0/24",)))
    with Places.build(configs, {("site", "core"): impairment}, seed=seed) as places:
        precision = measure(places["site"], places["core"], impairment, rate=rate, count=max(1, round(rate * seconds)))
        return precision, places.wan.statistics()


def measure(near: Place, far: Place, impairment: Impairment, *, rate: int, count: int) -> Precision:
    """Send `count` datagrams at `rate` per second. Blocks; `impairment` is what lies between the places."""
    with near.inside():
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with far.inside():
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender, receiver:
        sender.bind(_NEAR)
        widen(receiver)
        receiver.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        receiver.bind(_FAR)
        receiver.setblocking(False)
        observed = _Observed()
        for number in range(count):
            observed.sleep_until(observed.started + number / rate)
            sender.sendto(_PROBE.pack(number, time.time_ns()).ljust(_SIZE, b"\0"), _FAR)
            _drain(receiver, observed.arrivals)
        achieved = count / max(1e-9, time.monotonic() - observed.started)
        _await_rest(receiver, observed.arrivals, count, impairment)
    return observed.precision(impairment, rate=rate, achieved=achieved, sent=count)


class _Observed:
    """What one measurement saw, and how this machine did meanwhile."""

    def __init__(self) -> None:
        self.arrivals: list[tuple[int, float]] = []
        self.started = time.monotonic()
        self._late: list[float] = []
        self._ticks = _processor_ticks()

    def sleep_until(self, due: float) -> None:
        wait = due - time.monotonic()
        if wait > 0:
            time.sleep(wait)
            self._late.append(time.monotonic() - due)

    def precision(self, impairment: Impairment, *, rate: int, achieved: float, sent: int) -> Precision:
        delays = sorted(delay for _, delay in self.arrivals) or [float("nan")]
        late = sorted(self._late) or [0.0]
        stolen, ticks = (after - before for after, before in zip(_processor_ticks(), self._ticks, strict=True))
        return Precision(
            configured=impairment.delay,
            jitter=impairment.jitter,
            rate=rate,
            achieved=achieved,
            sent=sent,
            received=len(self.arrivals),
            reordered=_reordered(self.arrivals),
            p50=percentile(delays, 50),
            p99=percentile(delays, 99),
            longest=delays[-1],
            timer_p50=percentile(late, 50),
            timer_p99=percentile(late, 99),
            timer_longest=late[-1],
            stolen=stolen / max(1, ticks),
        )


def _processor_ticks() -> tuple[int, int]:
    """Ticks since the machine started: stolen by its host, and all (proc(5))."""
    ticks = [int(one) for one in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return ticks[7], sum(ticks)


def _reordered(arrivals: list[tuple[int, float]]) -> int:
    highest, reordered = -1, 0
    for number, _ in arrivals:
        reordered += number < highest
        highest = max(highest, number)
    return reordered


def _await_rest(receiver: socket.socket, arrivals: list[tuple[int, float]], count: int, impairment: Impairment) -> None:
    until = time.monotonic() + impairment.delay + impairment.jitter + _SETTLE
    while len(arrivals) < count and (left := until - time.monotonic()) > 0:
        time.sleep(min(left, 0.01))
        _drain(receiver, arrivals)


def _drain(receiver: socket.socket, arrivals: list[tuple[int, float]]) -> None:
    """Read what has come: its number and one-way delay."""
    while True:
        try:
            octets, ancillary, _, _ = receiver.recvmsg(_SIZE, 64)
        except OSError:  # nothing more
            return
        number, sent_at_ns = _PROBE.unpack_from(octets)
        for _, kind, data in ancillary:
            if kind == _SO_TIMESTAMPNS:
                seconds, nanoseconds = _TIMESPEC.unpack(data)
                arrivals.append((number, (seconds * 1_000_000_000 + nanoseconds - sent_at_ns) / 1e9))
