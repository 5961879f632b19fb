"""Streams over real sockets."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from ferret.transport.endpoint import TransportError
from ferret.transport.tcp import TcpConnection, TcpServer, connect


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - what is waited for is not an event
            await asyncio.sleep(0)


class Echo:
    """Accepts, keeps and echoes."""

    def __init__(self) -> None:
        self.connections: list[TcpConnection] = []
        self.lost: list[str] = []

    def accepted(self, connection: TcpConnection) -> None:
        self.connections.append(connection)
        connection.received = connection.write
        connection.lost = self.lost.append


def test_a_client_connects_from_its_own_address_and_octets_come_back() -> None:
    async def scenario() -> None:
        echo, got = Echo(), bytearray()
        server = await TcpServer.listen("127.0.8.1", 0, echo.accepted)
        client = await connect(server.address, local=("127.0.8.2", 0), received=got.extend)
        assert client.local[0] == "127.0.8.2"
        assert client.write(b"a" * 300_000)
        assert client.write(b"end")
        await until(lambda: got.endswith(b"end"))
        assert len(got) == 300_003
        assert echo.connections[0].peer == client.local
        client.close()
        await until(lambda: echo.lost)
        assert echo.lost == ["closed by peer"]
        server.close()

    asyncio.run(scenario())


def test_the_loss_of_a_peer_is_told_once_and_an_own_close_is_not() -> None:
    async def scenario() -> None:
        echo, lost = Echo(), []
        server = await TcpServer.listen("127.0.8.1", 0, echo.accepted)
        client = await connect(server.address, lost=lost.append)
        await until(lambda: echo.connections)
        echo.connections[0].abort()
        await until(lambda: lost)
        assert len(lost) == 1
        assert not client.write(b"late")
        assert client.counters.refused == 1
        assert echo.lost == []
        client.close()
        server.close()

    asyncio.run(scenario())


def test_a_peer_that_does_not_read_is_refused_beyond_the_limit() -> None:
    async def scenario() -> None:
        taken: list[TcpConnection] = []

        def accepted(connection: TcpConnection) -> None:
            taken.append(connection)
            connection._transport.pause_reading()  # type: ignore[union-attr]

        server = await TcpServer.listen("127.0.8.1", 0, accepted)
        client = await connect(server.address, write_limit=100_000)
        written = 0
        while client.write(b"x" * 50_000):
            written += 1
            assert written < 1000
            await asyncio.sleep(0)
        assert client.counters.refused == 1
        client.abort()
        for connection in taken:
            connection.abort()
        await asyncio.sleep(0)
        server.close()

    asyncio.run(scenario())


def test_connections_beyond_the_limit_are_aborted() -> None:
    async def scenario() -> None:
        echo, lost = Echo(), []
        server = await TcpServer.listen("127.0.8.1", 0, echo.accepted, connection_limit=1)
        first = await connect(server.address)
        await until(lambda: echo.connections)
        second = await connect(server.address, lost=lost.append)
        await until(lambda: lost)
        assert len(echo.connections) == 1
        first.close()
        second.close()
        await until(lambda: echo.lost)
        server.close()

    asyncio.run(scenario())


def test_nobody_there_and_a_taken_port_are_said_in_one_line() -> None:
    async def scenario() -> None:
        server = await TcpServer.listen("127.0.8.1", 0, lambda connection: None)
        with pytest.raises(TransportError, match=r"cannot listen on TCP 127\.0\.8\.1:\d+"):
            await TcpServer.listen("127.0.8.1", server.address[1], lambda connection: None)
        where = server.address
        server.close()
        with pytest.raises(TransportError, match=r"cannot connect TCP 127\.0\.8\.1:\d+"):
            await connect(where)

    asyncio.run(scenario())
