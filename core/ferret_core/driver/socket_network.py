"""A PGW's packet data network without any privilege: the machine's own UDP sockets, one for each port of a UE.

An uplink packet leaves through a socket that is bound to the UE's own address and port: whoever receives it sees the
UE as its sender, and on the wire of the SGi it is the UE's datagram. What comes back to that socket goes down to it.
The machine must have the UEs' addresses: loopback ones it always has; others by `ip route add local NETWORK dev lo`.
UDP passes, and TCP that a UE begins (`socket_streams`). `TunNetwork` is for machines where a TUN device may be used.
"""

from __future__ import annotations

import socket
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic
from typing import Final

import structlog

from ferret.transport.endpoint import Address, TransportError, family_of
from ferret.transport.udp import UdpTransport
from ferret_core.driver.packet_network import PacketNetwork
from ferret_core.driver.socket_streams import SocketStreams
from ferret_core.ip import TCP, protocol_of
from ferret_core.ua.packets import Datagram, PacketMaker, PacketReader

log = structlog.get_logger(__name__)
MAX_SOCKETS: Final = 1024  # ports of UEs; beyond, the one that has been quiet longest is closed


class SocketNetwork(PacketNetwork):
    """SGi over UDP sockets with the UEs' addresses. `start` and `carry` belong to one event loop."""

    def __init__(self, *, clock: Callable[[], float] = monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._sockets: OrderedDict[Address, UdpTransport] = OrderedDict()
        self._reader = PacketReader()
        self._maker = PacketMaker()
        self._streams = SocketStreams(self._down, clock)
        self._started = False

    async def start(self) -> None:
        """Sockets are opened as they are needed."""
        self._started = True
        self._streams.start()

    def stop(self) -> None:
        """Close every socket."""
        self._started = False
        for one in self._sockets.values():
            one.close()
        self._sockets.clear()
        self._streams.stop()

    def expect(self, address: str, port: int) -> None:
        """Let packets through to a port of a UE that has not sent any from there. Raises TransportError."""
        self._socket_of((address, port))

    def carry(self, packet: bytes) -> None:
        """Send a UE's datagram on, fragments wait for each other; or what it sends over a connection."""
        if protocol_of(packet) == TCP and self._started:
            self.sent += 1
            self._streams.carry(packet)
            return
        dropped = self._reader.dropped
        datagram = self._reader.receive(packet, self._clock())
        self.lost += self._reader.dropped - dropped
        if datagram is None:
            return
        try:
            sent = self._started and self._socket_of(datagram.source).send(datagram.payload, datagram.destination)
        except TransportError as error:
            log.warning("sgi_not_sent", reason=str(error))
            sent = False
        if sent:
            self.sent += 1
        else:
            self.lost += 1

    def _socket_of(self, ue: Address) -> UdpTransport:
        known = self._sockets.get(ue)
        if known is not None:
            self._sockets.move_to_end(ue)
            return known
        if len(self._sockets) >= MAX_SOCKETS:
            self._sockets.popitem(last=False)[1].close()

        def arrived(octets: bytes, source: Address) -> None:
            self._arrived(Datagram(source, ue, octets))

        opened = self._sockets[ue] = UdpTransport(_bound(ue), arrived)
        return opened

    def _arrived(self, datagram: Datagram) -> None:
        for packet in self._maker.packets(datagram):
            self._down(packet)

    def _down(self, packet: bytes) -> None:
        if self.received is not None:
            self.received(packet)


def _bound(ue: Address) -> socket.socket:
    sock = socket.socket(family_of(ue[0]), socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.bind(ue)
    except OSError as error:
        sock.close()
        raise TransportError(f"no socket for UE address {ue[0]} port {ue[1]}: {error.strerror}") from error
    return sock
