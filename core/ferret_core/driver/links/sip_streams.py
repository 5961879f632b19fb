"""SIP over TCP (RFC 3261 clause 18): connections by peer, opened when needed, used again, cut into messages.

A message for a peer to which a connection is open goes over that; else one is opened, and what is sent meanwhile waits
for it. Responses go back over the connection that their request came on (clause 18.2.2), and so do requests to a device
that registered over one (RFC 5626: it is the device's flow).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from ferret.errors import DecodeError
from ferret.protocols import sip
from ferret.transport import tcp
from ferret.transport.endpoint import Address, TransportError
from ferret.transport.tcp import TcpConnection, TcpServer
from ferret_core.driver.links.tasks import Tasks

log = structlog.get_logger(__name__)

_WAITING: Final = 256  # messages for one connection that is being opened
_CONNECTIONS: Final = 1024
_OPENING: Final = 5.0  # seconds


class SipStreams:
    """The TCP connections of one SIP element.

    `took(message, peer)` gets each message; `failed(messages, peer, reason)` what could not be sent;
    `lost(peer)` is told of a connection that the other side, or the network, has ended.
    """

    def __init__(
        self,
        took: Callable[[sip.Message, Address], None],
        failed: Callable[[list[sip.Message], Address, str], None],
        lost: Callable[[Address], None] | None = None,
    ) -> None:
        self._took = took
        self._failed = failed
        self._lost = lost
        self._open: dict[Address, TcpConnection] = {}
        self._waiting: dict[Address, list[sip.Message]] = {}
        self._tasks = Tasks()
        self._server: TcpServer | None = None
        self._local = ""

    async def start(self, address: str, port: int) -> None:
        """Listen. Raises TransportError."""
        self._local = address
        self._tasks.begin()
        self._server = await TcpServer.listen(address, port, self._accepted, connection_limit=_CONNECTIONS)

    def stop(self) -> None:
        """Close every connection."""
        self._tasks.cancel()
        for connection in self._open.values():
            connection.close()
        self._open.clear()
        if self._server is not None:
            self._server.close()
            self._server = None

    def drop(self, host: str) -> None:
        """End the connections with a host."""
        for peer in [peer for peer in self._open if peer[0] == host]:
            self._open.pop(peer).close()

    def has(self, peer: Address) -> bool:
        """Whether a connection to `peer` is open or being opened."""
        return peer in self._open or peer in self._waiting

    def send(self, message: sip.Message, peer: Address) -> None:
        """Send over the connection to `peer`, opening one if there is none."""
        connection = self._open.get(peer)
        if connection is not None:
            if not connection.write(message.encode()):
                self._failed([message], peer, "the peer takes nothing any more")
            return
        waiting = self._waiting.setdefault(peer, [])
        if len(waiting) >= _WAITING:
            self._failed([message], peer, "too much waits for the connection")
            return
        waiting.append(message)
        if len(waiting) == 1:
            self._tasks.spawn(self._connect(peer))

    async def _connect(self, peer: Address) -> None:
        try:
            connection = await tcp.connect(peer, local=(self._local, 0), within=_OPENING)
        except TransportError as error:
            self._failed(self._waiting.pop(peer), peer, str(error))
            return
        self._attach(connection)
        for message in self._waiting.pop(peer):
            connection.write(message.encode())

    def _accepted(self, connection: TcpConnection) -> None:
        self._attach(connection)

    def _attach(self, connection: TcpConnection) -> None:
        peer = connection.peer
        self._open[peer] = connection
        stream = sip.MessageStream()

        def received(octets: bytes) -> None:
            try:
                for message in stream.receive(octets):
                    self._took(message, peer)
            except DecodeError as error:  # where the next message begins is lost with it
                log.warning("sip_stream_undecodable", peer=peer[0], reason=str(error))
                connection.abort()
                self._gone(peer, connection)
                return
            if pings := stream.take_pings():
                connection.write(b"\r\n" * min(pings, 8))  # RFC 5626 clause 4.4.1

        connection.received = received
        connection.lost = lambda reason: self._gone(peer, connection)

    def _gone(self, peer: Address, connection: TcpConnection) -> None:
        if self._open.get(peer) is connection:
            del self._open[peer]
            if self._lost is not None:
                self._lost(peer)
