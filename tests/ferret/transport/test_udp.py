"""Datagrams over real sockets."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from ferret.errors import ConfigError
from ferret.transport.endpoint import TransportError
from ferret.transport.udp import UdpTransport


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - what is waited for is not an event
            await asyncio.sleep(0)


def test_a_datagram_arrives_with_the_address_it_came_from() -> None:
    async def scenario() -> None:
        got: list[tuple[bytes, tuple[str, int]]] = []
        server = await UdpTransport.bind("127.0.8.1", 0, lambda octets, source: got.append((octets, source)))
        client = await UdpTransport.bind("127.0.8.2", 0, lambda octets, source: None)
        assert client.send(b"hello", server.address)
        await until(lambda: got)
        assert got == [(b"hello", client.address)]
        assert client.address[0] == "127.0.8.2"
        assert (client.counters.sent, server.counters.received) == (1, 1)
        client.close()
        server.close()

    asyncio.run(scenario())


def test_datagrams_arrive_in_order_and_each_one_is_sent_or_counted() -> None:
    async def scenario() -> None:
        got: list[int] = []
        server = await UdpTransport.bind("127.0.8.1", 0, lambda octets, _: got.append(int(octets)))
        client = await UdpTransport.bind("127.0.8.2", 0, lambda octets, source: None)
        for number in range(2000):
            client.send(b"%d" % number, server.address)
            await asyncio.sleep(0)
        await until(lambda: len(got) == 2000)
        assert got == list(range(2000))
        client.close()
        server.close()

    asyncio.run(scenario())


def test_a_full_queue_refuses_and_counts() -> None:
    class Stuck:
        """A socket whose buffer is full."""

        def __init__(self, real: Any) -> None:
            self.real = real

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

        def sendto(self, octets: bytes, destination: tuple[str, int]) -> int:
            raise BlockingIOError

    async def scenario() -> None:
        client = await UdpTransport.bind("127.0.8.2", 0, lambda octets, source: None, queue_limit=2)
        client._socket = Stuck(client._socket)  # type: ignore[assignment]
        assert [client.send(b"x", ("127.0.8.1", 9)) for _ in range(4)] == [True, True, False, False]
        assert client.counters.refused == 2
        client.close()
        assert client.counters.lost == 2

    asyncio.run(scenario())


def test_after_close_nothing_is_sent_and_closing_again_is_harmless() -> None:
    async def scenario() -> None:
        client = await UdpTransport.bind("127.0.8.2", 0, lambda octets, source: None)
        client.close()
        client.close()
        assert not client.send(b"x", ("127.0.8.1", 9))
        assert client.counters.refused == 1

    asyncio.run(scenario())


def test_a_callback_may_close_the_transport() -> None:
    async def scenario() -> None:
        got: list[bytes] = []

        def take(octets: bytes, _: object) -> None:
            got.append(octets)
            server.close()

        server = await UdpTransport.bind("127.0.8.1", 0, take)
        client = await UdpTransport.bind("127.0.8.2", 0, lambda octets, source: None)
        client.send(b"1", server.address)
        client.send(b"2", server.address)
        await until(lambda: got)
        await asyncio.sleep(0)
        assert got == [b"1"]
        client.close()

    asyncio.run(scenario())


def test_a_taken_port_and_a_name_are_said_in_one_line() -> None:
    async def scenario() -> None:
        first = await UdpTransport.bind("127.0.8.1", 0, lambda octets, source: None)
        with pytest.raises(TransportError, match=r"cannot bind UDP 127\.0\.8\.1:\d+: Address already in use"):
            await UdpTransport.bind("127.0.8.1", first.address[1], lambda octets, source: None)
        with pytest.raises(ConfigError, match="'localhost' is not an IP address"):
            await UdpTransport.bind("localhost", 0, lambda octets, source: None)
        first.close()

    asyncio.run(scenario())
