"""The user plane of an SGW or PGW on a real socket: GTP-U on UDP port 2152, and behind a PGW its packet network.

Where packets go is decided by the NF's forwarder (`ferret_core.user_plane`), from what its control plane has set up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Final, NamedTuple

import structlog

from ferret.errors import ConfigError
from ferret.protocols import gtpu
from ferret.protocols.gtpv2.tft import PacketFilter
from ferret.transport.endpoint import Address
from ferret.transport.udp import UdpTransport
from ferret_core.driver.packet_network import PacketNetwork, SinkNetwork
from ferret_core.nf import NetworkFunction, Output
from ferret_core.user_plane import PgwForwarder, PgwUserPlane, SgwForwarder, SgwUserPlane

log = structlog.get_logger(__name__)

_KEPT: Final = 256
_FLUSH_INTERVAL: Final = 0.005  # s between looks whether an idle device's packets can go on


class Passage(NamedTuple):
    """A user's packet that passed through, as it left."""

    at: float  # seconds, monotonic
    packet: bytes  # the user's own, without any tunnel


class UserPlane:
    """GTP-U of one NF. `emit` gets what the NF makes when a packet has come for an idle device (SGW)."""

    def __init__(
        self,
        nf: NetworkFunction,
        address: str,
        *,
        network: PacketNetwork | None = None,
        emit: Callable[[Sequence[Output]], None] | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`network`: behind a PGW; by default a sink that counts. Raises ConfigError for an NF without user plane."""
        plane = getattr(nf, "user_plane", None)
        self.forwarder: SgwForwarder | PgwForwarder
        if isinstance(plane, SgwUserPlane):
            self.forwarder = SgwForwarder(plane)
        elif isinstance(plane, PgwUserPlane):
            self.forwarder = PgwForwarder(plane)
        else:
            raise ConfigError(f"{nf.role} has no user plane")
        self.address = address
        self.network = network or SinkNetwork()
        self.network.received = self._from_network
        self.passages: deque[Passage] = deque(maxlen=_KEPT)
        self.passed: Callable[[Passage], None] | None = None
        self._plane = plane
        self._nf = nf
        self._emit = emit
        self._clock = clock
        self._socket: UdpTransport | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Open the socket and, of a PGW, the packet network. Raises TransportError."""
        self._socket = await UdpTransport.bind(self.address, gtpu.PORT, self._datagram)
        if isinstance(self.forwarder, PgwForwarder):
            await self.network.start()

    async def stop(self) -> None:
        """Close what was opened."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self.network.stop()

    def flush(self) -> None:
        """Send on what has waited for devices that are connected again. It also happens by itself."""
        forwarder = self.forwarder
        if isinstance(forwarder, SgwForwarder):
            self._send(forwarder.flush())
            self._look_again(forwarder)

    def now(self) -> float:
        """The clock that `Passage.at` is of."""
        return self._clock()

    def downlink_bearers(self, device: str) -> list[tuple[PacketFilter, ...]]:
        """The packet filters of each bearer of a device (PGW), by the key of its address; () of a default bearer."""
        if not isinstance(self._plane, PgwUserPlane):
            return []
        return [bearer.filters for bearer in self._plane.downlink.get(device, {}).values()]

    @property
    def counters(self) -> dict[str, int]:
        """Datagrams and packets, for metrics."""
        figures = {"packets_to_network": self.network.sent, "packets_lost": self.network.lost}
        if self._socket is not None:
            figures |= {"received": self._socket.counters.received, "sent": self._socket.counters.sent}
        return figures

    def _datagram(self, octets: bytes, source: Address) -> None:
        forwarder = self.forwarder
        self._send(forwarder.receive(octets, source))
        if isinstance(forwarder, PgwForwarder):
            for packet in forwarder.take_packets():
                self._pass(packet)
                self.network.carry(packet)
        elif arrived := forwarder.take_arrived():
            self._wake_devices(arrived)
        for address, teid in forwarder.take_lost():
            log.warning("gtpu_tunnel_lost", nf=str(self._nf.role), peer=address, teid=teid)

    def _wake_devices(self, teids: Iterable[int]) -> None:
        """Packets for idle devices: the control plane has the MME page them (TS 23.401 clause 5.3.4.3)."""
        arrived = getattr(self._nf, "downlink_arrived", None)
        for teid in teids:
            if arrived is not None and self._emit is not None:
                self._emit(arrived(teid, self._clock()))
        if isinstance(self.forwarder, SgwForwarder):
            self._look_again(self.forwarder)

    def _look_again(self, forwarder: SgwForwarder) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if forwarder.buffered and self._socket is not None:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_INTERVAL, self.flush)

    def _from_network(self, packet: bytes) -> None:
        if isinstance(self.forwarder, PgwForwarder):
            self._send(self.forwarder.send(packet))

    def inject(self, packet: bytes) -> bool:
        """Take a downlink packet as if the packet network had sent it (PGW); whether a bearer took it."""
        if not isinstance(self.forwarder, PgwForwarder):
            raise ConfigError(f"{self._nf.role} has no packet network")
        datagrams = self.forwarder.send(packet)
        self._send(datagrams)
        return bool(datagrams)

    def _send(self, datagrams: Iterable[tuple[bytes, Address]]) -> None:
        for octets, destination in datagrams:
            if isinstance(self.forwarder, SgwForwarder) and (opened := gtpu.open_tunnel(octets)):
                self._pass(opened[1])
            if self._socket is not None:
                self._socket.send(octets, destination)

    def _pass(self, packet: bytes) -> None:
        passage = Passage(self._clock(), packet)
        self.passages.append(passage)
        if self.passed is not None:
            self.passed(passage)
