"""Places in name only, where a machine allows no namespaces: all of them on loopback addresses, in one process.

No wire lies between them, so the delay is put in by those who stand at the far ends: base stations and parties on the
internet hold back what they send and what comes, each datagram and each SCTP message as long as the WAN would. It is as
exact as the event loop, about a millisecond, and NFs of core and edge know nothing of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address, ip_network
from math import inf
from time import monotonic

from ferret.errors import LocalMisuseError
from ferret.transport.endpoint import Address
from ferret.transport.sctp import (
    DEFAULT_OPTIONS,
    PPID_S1AP,
    SctpAssociation,
    SctpListener,
    SctpMessage,
    SctpOptions,
    SctpTransport,
    choose,
)
from ferret_core.driver.user_agent import RemoteParty
from ferret_core.enb.driver import EnbDriver
from ferret_core.enb.enb import Enb
from ferret_core.enb.ue import Ue
from ferret_deploy.lab.delay_line import Impairment, WanPort, WanRouter
from ferret_deploy.lab.voice_figures import percentile
from ferret_deploy.lab.wan import Wan, WanStatistics


def on_loopback(prefix: str) -> str:
    """The prefix of 127.0.0.0/8 that stands in for an IPv4 prefix: 127.10.0.0/24 for 10.10.0.0/24."""
    network = ip_network(prefix)
    return f"127.{str(network.network_address).partition('.')[2]}/{network.prefixlen}"


class LoopbackWan(Wan):
    """The delay between places of one process, on its event loop."""

    priority = "by the event loop of the lab itself"

    def __init__(self, ports: Sequence[WanPort], links: Mapping[tuple[str, str], Impairment], *, seed: int = 0) -> None:
        """Raises ConfigError."""
        self._ports = tuple(ports)
        self._router: WanRouter[Callable[[], object]] = WanRouter(ports, links, seed=seed)
        self._timer: asyncio.TimerHandle | None = None
        self._late: list[float] = []
        self._stopped = False

    def carry(self, source: str, destination: str, deliver: Callable[[], object], *, surely: bool = False) -> None:
        """Call `deliver` when a packet from one address to another would be there; never, where it gets lost.

        `surely`: it is of a protocol that repeats what gets lost.
        """
        if self._stopped:
            deliver()
            return
        own = self._router.port_of("", ip_address(source).packed)
        if own is None:
            self._router.unroutable += 1
            return
        self._router.send(self._ports[own].place, ip_address(destination).packed, deliver, monotonic(), surely=surely)
        self._work()

    def impair(self, source: str, target: str, impairment: Impairment) -> None:
        """For what is sent from now on."""
        self._router.impair(source, target, impairment)

    def route(self, prefix: str, port: WanPort | None, *, seen_from: str = "") -> None:
        """For the delay only: on loopback, everybody reaches everybody."""
        self._router.route(prefix, None if port is None else self._ports.index(port), seen_from=seen_from)

    def statistics(self) -> WanStatistics:
        """As of a relay."""
        late, self._late = sorted(self._late), []
        figures = {"p50": percentile(late, 50), "p99": percentile(late, 99), "max": late[-1]} if late else {}
        counted = self._router.counters()
        return WanStatistics(counted, self._router.unroutable, 0, 0, figures, len(late))

    def stop(self) -> None:
        """What is on its way arrives at once, for it may be what closes a connection."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for _, _, deliver in self._router.take(inf):
            deliver()

    def _work(self) -> None:
        """Deliver what is due, and wake up for the next."""
        now = monotonic()
        for due, _, deliver in self._router.take(now):
            self._late.append(now - due)
            deliver()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due_next = self._router.next_due
        if due_next is not None and not self._stopped:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, due_next - monotonic()), self._work)


class DistantEnbDriver(EnbDriver):
    """A base station that is as far from core and edge as the WAN says."""

    def __init__(
        self,
        enb: Enb,
        *,
        mme: Address,
        wan: LoopbackWan,
        sctp: SctpTransport | None = None,
        options: SctpOptions | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        distant = DistantSctp(sctp or choose().transport, wan)
        super().__init__(enb, mme=mme, sctp=distant, options=options, clock=clock)
        self._wan = wan

    def send_uplink(self, ue: Ue, ebi: int, packet: bytes) -> float:
        """As any base station; the packet leaves later."""
        if self._udp is None:
            raise LocalMisuseError("the base station is not started")
        octets, destination = self.enb.uplink(ue, ebi, packet)
        now = self._clock()
        self._wan.carry(self.enb.address, destination[0], lambda: self._transmit(octets, destination))
        return now

    def _transmit(self, octets: bytes, destination: Address) -> None:
        if self._udp is not None:
            self._udp.send(octets, destination)

    def _datagram(self, octets: bytes, source: Address) -> None:
        arrive = super()._datagram
        self._wan.carry(source[0], self.enb.address, lambda: arrive(octets, source))


class DistantRemoteParty(RemoteParty):
    """A party on the internet that is as far away as the WAN says."""

    wan: LoopbackWan | None = None

    def received(self, octets: bytes, source: Address) -> None:
        """Later than it came."""
        arrive = super().received
        if self.wan is None:
            arrive(octets, source)
        else:
            self.wan.carry(source[0], self._own(), lambda: arrive(octets, source))

    def _send(self, octets: bytes, destination: Address) -> None:
        transmit = super()._send
        if self.wan is None:
            transmit(octets, destination)
        else:
            self.wan.carry(self._own(), destination[0], lambda: transmit(octets, destination))

    def _own(self) -> str:
        return self.agent.configuration.address.rpartition(":")[0].strip("[]")


class DistantSctp(SctpTransport):
    """SCTP whose user messages take as long as the WAN says; the handshake below takes no time."""

    def __init__(self, inner: SctpTransport, wan: LoopbackWan) -> None:
        self.name = f"{inner.name}, messages delayed"
        self._inner = inner
        self._wan = wan

    async def listen(
        self,
        address: str,
        port: int,
        accepted: Callable[[SctpAssociation], None],
        *,
        options: SctpOptions = DEFAULT_OPTIONS,
    ) -> SctpListener:
        """As the transport beneath: the delay is put in by those who connect."""
        return await self._inner.listen(address, port, accepted, options=options)

    async def connect(
        self,
        peer: Address,
        *,
        local: Address | None = None,
        received: Callable[[SctpMessage], None] = lambda message: None,
        lost: Callable[[str], None] = lambda reason: None,
        options: SctpOptions = DEFAULT_OPTIONS,
    ) -> SctpAssociation:
        """Set up an association. Raises TransportError."""
        inner = await self._inner.connect(peer, local=local, options=options)
        association = _DistantAssociation(inner, self._wan)
        association.received, association.lost = received, lost
        return association


class _DistantAssociation(SctpAssociation):
    def __init__(self, inner: SctpAssociation, wan: LoopbackWan) -> None:
        super().__init__(inner.local, inner.peer)
        self.counters = inner.counters
        self.streams = inner.streams
        self._inner = inner
        self._wan = wan
        self._is_over = False
        inner.received = self._arrived
        inner.lost = self._lost

    def send(self, octets: bytes, *, stream: int = 0, ppid: int = PPID_S1AP) -> bool:
        """Whether it is on its way."""
        if self._is_over:
            self.counters.refused += 1
            return False
        self._leave(lambda: self._inner.send(octets, stream=stream, ppid=ppid))
        return True

    def close(self) -> None:
        """After what is on its way."""
        self._is_over = True
        self._leave(self._inner.close)

    def abort(self) -> None:
        """At once."""
        self._is_over = True
        self._inner.abort()

    def _leave(self, act: Callable[[], object]) -> None:
        self._wan.carry(self.local[0], self.peer[0], act, surely=True)

    def _arrived(self, message: SctpMessage) -> None:
        def arrive() -> None:
            if not self._is_over:
                self.received(message)

        self._wan.carry(self.peer[0], self.local[0], arrive, surely=True)

    def _lost(self, reason: str) -> None:
        def tell() -> None:
            if not self._is_over:
                self._is_over = True
                self.lost(reason)

        self._wan.carry(self.peer[0], self.local[0], tell, surely=True)
