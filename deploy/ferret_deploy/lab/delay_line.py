"""What a wide-area network does to packets: it delays, scatters and loses them. Sans-IO: time and chance are arguments.

A `DelayLine` is one direction between two places; `WanRouter` has one for each ordered pair of places, and knows behind
which port each address is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from heapq import heappop, heappush
from ipaddress import ip_network
from random import Random
from typing import Final, Generic, TypeVar

from ferret.errors import ConfigError
from ferret_deploy.lab.wire import IPV4, IPV6

T = TypeVar("T")
_LONGEST_DELAY: Final = 60.0  # s
_REMEMBERED: Final = 4096  # routes that are looked up but once


@dataclass(frozen=True, slots=True)
class Impairment:
    """One direction between two places. `delay` and `jitter` are in seconds, `loss` is a probability.

    Every packet takes `delay`, give or take up to `jitter` (evenly spread). Packets keep their order unless `reorder`
    lets jitter change it. At most `limit` packets are on their way at once; what comes on top is dropped.
    Raises ConfigError.
    """

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    reorder: bool = False
    limit: int = 10_000

    def __post_init__(self) -> None:
        faults = []
        if not 0 <= self.delay <= _LONGEST_DELAY:
            faults.append(f"delay {self.delay:g} s is not within 0 to {_LONGEST_DELAY:g} s")
        if not 0 <= self.jitter <= self.delay:
            faults.append(f"jitter {self.jitter:g} s is not within 0 and the delay, {self.delay:g} s")
        if not 0 <= self.loss <= 1:
            faults.append(f"loss {self.loss:g} is not a probability")
        if self.limit < 1:
            faults.append(f"limit of {self.limit} packets lets none through")
        if faults:
            raise ConfigError("WAN: " + "; ".join(faults))


@dataclass(slots=True)
class LineCounters:
    """What became of the packets of one direction."""

    carried: int = 0
    lost: int = 0  # as the impairment says
    dropped: int = 0  # because too many were on their way


class DelayLine(Generic[T]):
    """Packets on their way in one direction. Without `reorder`, they come out as they went in."""

    def __init__(self, impairment: Impairment, random: Random) -> None:
        self.impairment = impairment
        self.counters = LineCounters()
        self._random = random
        self._waiting: list[tuple[float, int, T]] = []  # due, serial number, packet
        self._serial = 0
        self._latest = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def next_due(self) -> float | None:
        """When the next packet comes out."""
        return self._waiting[0][0] if self._waiting else None

    def put(self, packet: T, now: float, *, surely: bool = False) -> bool:
        """Send a packet. False where it is lost or dropped, which never happens `surely`."""
        conditions = self.impairment
        if not surely and conditions.loss and self._random.random() < conditions.loss:
            self.counters.lost += 1
            return False
        if not surely and len(self._waiting) >= conditions.limit:
            self.counters.dropped += 1
            return False
        due = now + conditions.delay
        if conditions.jitter:
            due += conditions.jitter * (2 * self._random.random() - 1)
        if not conditions.reorder:
            self._latest = due = max(due, self._latest)
        self._serial += 1
        heappush(self._waiting, (due, self._serial, packet))
        return True

    def take(self, now: float) -> Iterator[tuple[float, T]]:
        """The packets that are due: when they were, and they."""
        waiting = self._waiting
        while waiting and waiting[0][0] <= now:
            due, _, packet = heappop(waiting)
            self.counters.carried += 1
            yield due, packet


@dataclass(frozen=True, slots=True)
class WanPort:
    """Where packets enter and leave the WAN: a place, and the prefixes behind this port of it."""

    place: str
    prefixes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Route:
    mask: int
    network: int
    port: int


@dataclass(slots=True)
class _Routes:
    """Longest prefix first, by IP version."""

    by_version: dict[int, list[_Route]] = field(default_factory=lambda: {4: [], 6: []})

    def put(self, prefix: str, port: int) -> None:
        network = ip_network(prefix)
        routes = self.by_version[network.version]
        route = _Route(int(network.netmask), int(network.network_address), port)
        routes[:] = [one for one in routes if (one.mask, one.network) != (route.mask, route.network)]
        routes.append(route)
        routes.sort(key=lambda one: -one.mask)

    def remove(self, prefix: str) -> None:
        network = ip_network(prefix)
        key = int(network.netmask), int(network.network_address)
        routes = self.by_version[network.version]
        routes[:] = [one for one in routes if (one.mask, one.network) != key]

    def find(self, version: int, address: int) -> int | None:
        return next((one.port for one in self.by_version[version] if address & one.mask == one.network), None)


class WanRouter(Generic[T]):
    """Where every packet goes, and when.

    A route may hold for packets from one place only: while a UE is at the edge, the edge finds it there.
    """

    def __init__(self, ports: Sequence[WanPort], links: Mapping[tuple[str, str], Impairment], *, seed: int = 0) -> None:
        """`links`: by the places from and to; a pair that is not named has no delay. Raises ConfigError."""
        self._ports = tuple(ports)
        self._places = tuple(dict.fromkeys(port.place for port in ports))
        self._lines: dict[tuple[str, str], DelayLine[tuple[int, T]]] = {
            (a, b): DelayLine(Impairment(), Random(f"{seed}/{a}/{b}")) for a in self._places for b in self._places
        }
        self._routes: dict[str, _Routes] = {"": _Routes()} | {place: _Routes() for place in self._places}
        self._remembered: dict[tuple[str, bytes], int | None] = {}
        self.unroutable = 0
        for pair, impairment in links.items():
            self.impair(*pair, impairment)
        for number, port in enumerate(ports):
            for prefix in port.prefixes:
                self.route(prefix, number)

    def impair(self, source: str, target: str, impairment: Impairment) -> None:
        """Change one direction between two places, for packets from now on. Raises ConfigError."""
        line = self._lines.get((source, target))
        if line is None:
            raise ConfigError(f"WAN: no places {source} and {target}; there are {', '.join(self._places)}")
        line.impairment = impairment

    def route(self, prefix: str, port: int | None, *, seen_from: str = "") -> None:
        """Send what is for `prefix` to a port from now on (None: forget it); `seen_from`: only packets of that place.

        Raises ConfigError.
        """
        table = self._routes.get(seen_from)
        if table is None or (port is not None and not 0 <= port < len(self._ports)):
            raise ConfigError(f"WAN: no place {seen_from!r} or no port {port}")
        try:
            if port is None:
                table.remove(prefix)
            else:
                table.put(prefix, port)
        except ValueError as error:
            raise ConfigError(f"WAN: prefix {prefix!r}: {error}") from error
        self._remembered.clear()

    def send(self, place: str, address: bytes, packet: T, now: float, *, surely: bool = False) -> None:
        """Send a packet from a place to wherever that address is; `surely`: without loss."""
        target = self.port_of(place, address)
        if target is None:
            self.unroutable += 1
        else:
            self._lines[place, self._ports[target].place].put((target, packet), now, surely=surely)

    def port_of(self, place: str, address: bytes) -> int | None:
        """The port behind which packets of a place find an address; None where it is nowhere."""
        key = place, address
        if key not in self._remembered:
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            self._remembered[key] = self._look_up(place, address)
        return self._remembered[key]

    @property
    def next_due(self) -> float | None:
        """When the next packet is due."""
        return min((line.next_due for line in self._lines.values() if line.next_due is not None), default=None)

    def take(self, now: float) -> Iterator[tuple[float, int, T]]:
        """The packets that are due: when they were, their port, and they."""
        for line in self._lines.values():
            for due, (port, packet) in line.take(now):
                yield due, port, packet

    def counters(self) -> dict[str, dict[str, int]]:
        """Counters of every direction that anything went: "site>core" and so on."""
        return {
            f"{a}>{b}": asdict(line.counters) | {"waiting": len(line)}
            for (a, b), line in self._lines.items()
            if line.counters.carried or line.counters.lost or line.counters.dropped or len(line)
        }

    def _look_up(self, place: str, address: bytes) -> int | None:
        version, number = (4 if len(address) == 4 else 6), int.from_bytes(address, "big")
        own = self._routes[place].find(version, number)
        return own if own is not None else self._routes[""].find(version, number)


class FrameRouter(WanRouter[bytes]):
    """Takes Ethernet frames, whose own addresses are of no interest here, and looks at the IP packets in them."""

    def receive(self, port: int, frame: bytes, now: float) -> None:
        """A frame that came in at a port at that time."""
        kind = frame[12:14]
        address = frame[30:34] if kind == IPV4 else frame[38:54] if kind == IPV6 else b""
        if len(address) in (4, 16):
            self.send(self._ports[port].place, address, frame, now)
        else:
            self.unroutable += 1
