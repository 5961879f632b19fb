"""TCP between UEs and a PGW's packet data network without any privilege: ended here, and begun again by the machine.

A UE's connection ends in a TCP of our own that has its peer's address; a connection of the machine's from the UE's own
address and port leads on to that peer. On the wire of the SGi it is the UE's connection. Connections to UEs are not
taken: a device opens its own (RFC 5626).
"""

from __future__ import annotations

from collections.abc import Callable
from random import SystemRandom
from typing import Final

import structlog

from ferret.errors import LocalMisuseError
from ferret.transport import tcp
from ferret.transport.endpoint import Address, TransportError
from ferret.transport.tcp import TcpConnection
from ferret_core.driver.links.tasks import Tasks
from ferret_core.driver.links.timer import Timer
from ferret_core.tcp import Closed, Connection, Delivered, Happened, Lost, Segment, TcpStack
from ferret_core.ua.packets import MTU

log = structlog.get_logger(__name__)
_OPENING: Final = 5.0  # seconds


class SocketStreams:
    """UEs' TCP connections. `send_packet` gets IP packets for UEs."""

    def __init__(self, send_packet: Callable[[bytes], None], clock: Callable[[], float]) -> None:
        self._send_packet = send_packet
        self._clock = clock
        self._stack = TcpStack(SystemRandom(), mtu=MTU, asked=self._asked)
        self._timer = Timer(self._wake, clock)
        self._sockets: dict[Connection, TcpConnection] = {}
        self._opening: set[tuple[Address, Address]] = set()
        self._tasks = Tasks()

    def start(self) -> None:
        """Sockets are opened as they are needed, where this is called."""
        self._tasks.begin()

    def carry(self, packet: bytes) -> None:
        """A UE's packet with TCP in it."""
        self._happened(self._stack.receive(packet, self._clock()))
        self._pump()

    def stop(self) -> None:
        """Close every connection."""
        self._timer.set(None)
        self._tasks.cancel()
        for sock in self._sockets.values():
            sock.close()
        self._sockets.clear()

    def _asked(self, syn: Segment) -> bool:
        """A UE wants to connect: first see whether its peer does."""
        key = (syn.source, syn.destination)
        if key not in self._opening:
            self._opening.add(key)
            self._tasks.spawn(self._open(syn))
        return True

    async def _open(self, syn: Segment) -> None:
        try:
            sock = await tcp.connect(syn.destination, local=syn.source, within=_OPENING)
        except TransportError as error:
            log.info("sgi_not_connected", reason=str(error))
            self._stack.refuse(syn)
        else:
            self._join(syn, sock)
        finally:
            self._opening.discard((syn.source, syn.destination))
        self._pump()

    def _join(self, syn: Segment, sock: TcpConnection) -> None:
        try:
            connection = self._stack.accept(syn, self._clock())
        except LocalMisuseError as error:
            log.warning("sgi_not_connected", reason=str(error))
            sock.abort()
            self._stack.refuse(syn)
            return
        self._sockets[connection] = sock
        sock.received = lambda octets: self._down(connection, octets)
        sock.lost = lambda reason: self._ended(connection)

    def _down(self, connection: Connection, octets: bytes) -> None:
        try:
            connection.send(octets, self._clock())
        except LocalMisuseError as error:  # the UE takes nothing any more
            log.warning("sgi_connection_given_up", reason=str(error))
            connection.abort()
            self._end(connection)
        self._pump()

    def _ended(self, connection: Connection) -> None:
        """The peer has closed the machine's connection."""
        self._sockets.pop(connection, None)
        connection.close(self._clock())
        self._pump()

    def _happened(self, events: list[tuple[Connection, Happened]]) -> None:
        for connection, event in events:
            sock = self._sockets.get(connection)
            if sock is None:
                continue
            if isinstance(event, Delivered):
                sock.write(event.octets)
            elif isinstance(event, (Closed, Lost)):
                if isinstance(event, Closed):
                    connection.close(self._clock())
                self._end(connection)

    def _end(self, connection: Connection) -> None:
        sock = self._sockets.pop(connection, None)
        if sock is not None:
            sock.close()

    def _wake(self) -> None:
        self._happened(self._stack.wake(self._clock()))
        self._pump()

    def _pump(self) -> None:
        for packet in self._stack.packets():
            self._send_packet(packet)
        self._timer.set(self._stack.deadline())
