"""Byte streams: connections opened from a chosen local address, and a server that accepts them; over TLS if need be."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import cast

from ferret.transport.endpoint import Address, Counters, TransportError, family_of, open_failed, plain, text

_WRITE_LIMIT = 4 * 1024 * 1024  # octets that may wait for a slow peer


def _ignore_octets(octets: bytes) -> None:
    """Nobody listens yet."""


def _ignore_lost(reason: str) -> None:
    """Nobody listens yet."""


class TcpConnection(asyncio.Protocol):
    """One connection. Set `received` and `lost` before the event loop gets its turn again.

    `lost(reason)` is called once when the peer or the network ends the connection, never after `close` or `abort`.
    """

    def __init__(
        self,
        received: Callable[[bytes], None] = _ignore_octets,
        lost: Callable[[str], None] = _ignore_lost,
        *,
        accepted: Callable[[TcpConnection], None] | None = None,
        write_limit: int = _WRITE_LIMIT,
    ) -> None:
        self.received = received
        self.lost = lost
        self.counters = Counters()
        self.local: Address = ("", 0)
        self.peer: Address = ("", 0)
        self._accepted = accepted
        self._write_limit = write_limit
        self._transport: asyncio.Transport | None = None
        self._by_us = False

    @property
    def is_open(self) -> bool:
        """Whether octets can still be written."""
        return self._transport is not None and not self._by_us

    def write(self, octets: bytes) -> bool:
        """Queue octets. False, and counted, where the connection is gone or too much waits already."""
        transport = self._transport
        if transport is None or self._by_us or transport.get_write_buffer_size() > self._write_limit:
            self.counters.refused += 1
            return False
        transport.write(octets)
        self.counters.sent += 1
        return True

    def close(self) -> None:
        """Send what waits, then close."""
        self._by_us = True
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once; what waits is thrown away."""
        self._by_us = True
        if self._transport is not None:
            self._transport.abort()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over a connection that is up (asyncio)."""
        self._transport = cast(asyncio.Transport, transport)
        self.local = plain(transport.get_extra_info("sockname"))
        self.peer = plain(transport.get_extra_info("peername"))
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._accepted is not None:
            self._accepted(self)

    def data_received(self, data: bytes) -> None:
        """Octets have come (asyncio)."""
        self.counters.received += 1
        if not self._by_us:
            self.received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended (asyncio)."""
        self._transport = None
        if not self._by_us:
            self._by_us = True
            self.lost("closed by peer" if exc is None else str(exc))


class TcpServer:
    """A listening socket. `accepted(connection)` gets each connection before its first octet."""

    def __init__(self, server: asyncio.Server, connections: set[TcpConnection]) -> None:
        self._server = server
        self._connections = connections
        self.address = plain(server.sockets[0].getsockname())

    @classmethod
    async def listen(
        cls,
        address: str,
        port: int,
        accepted: Callable[[TcpConnection], None],
        *,
        connection_limit: int = 1024,
        write_limit: int = _WRITE_LIMIT,
        tls: ssl.SSLContext | None = None,
    ) -> TcpServer:
        """Listen at `address`; `port` 0 lets the system choose. Beyond the limit, connections are aborted.

        With `tls`, a connection is one whose handshake has succeeded. Raises TransportError where the address cannot be
        bound.
        """
        connections: set[TcpConnection] = set()

        def take(connection: TcpConnection) -> None:
            closed = {one for one in connections if not one.is_open}
            connections.difference_update(closed)
            if len(connections) >= connection_limit:
                connection.abort()
                return
            connections.add(connection)
            accepted(connection)

        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(
                lambda: TcpConnection(accepted=take, write_limit=write_limit),
                address,
                port,
                family=family_of(address),
                reuse_address=True,
                ssl=tls,
            )
        except OSError as error:
            raise open_failed("cannot listen on TCP", (address, port), error) from error
        return cls(server, connections)

    def close(self) -> None:
        """Stop listening and close every connection that was accepted."""
        self._server.close()
        for connection in self._connections:
            connection.close()
        self._connections.clear()


async def connect(
    peer: Address,
    *,
    local: Address | None = None,
    received: Callable[[bytes], None] = _ignore_octets,
    lost: Callable[[str], None] = _ignore_lost,
    within: float = 5.0,
    write_limit: int = _WRITE_LIMIT,
    tls: ssl.SSLContext | None = None,
) -> TcpConnection:
    """Open a connection to `peer` from `local` (port 0: any), `within` seconds, over TLS where there is a context.

    Raises TransportError, also where the handshake fails.
    """
    loop = asyncio.get_running_loop()
    family = family_of(peer[0])
    try:
        async with asyncio.timeout(within):
            _, connection = await loop.create_connection(
                lambda: TcpConnection(received, lost, write_limit=write_limit),
                peer[0],
                peer[1],
                family=family,
                local_addr=local,
                ssl=tls,
                server_hostname=None if tls is None else "",
            )
    except TimeoutError:
        raise TransportError(f"cannot connect TCP {text(peer)}: no answer in {within:g} s") from None
    except OSError as error:
        raise open_failed("cannot connect TCP", peer, error) from error
    return connection
