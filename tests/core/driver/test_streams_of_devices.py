"""TCP of a device through a PGW's sockets: a device's end without a kernel, the machine's own at the server's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ferret.protocols import sip
from ferret.transport.endpoint import Address
from ferret.transport.tcp import TcpConnection, TcpServer
from ferret_core.driver.bearer_streams import BearerStreams
from ferret_core.driver.socket_network import SocketNetwork

UE, SERVER = "127.0.146.2", ("127.0.147.1", 5060)


def request(number: int, body: bytes = b"") -> sip.Message:
    fields = [
        ("Via", f"SIP/2.0/TCP {UE}:5060;branch=z9hG4bK{number}"),
        ("From", "<sip:a@b>;tag=1"),
        ("To", "<sip:c@d>"),
        ("Call-ID", f"c{number}"),
        ("CSeq", f"{number} MESSAGE"),
    ]
    return sip.request("MESSAGE", "sip:c@d", fields, body)


class Ends:
    """A device's streams, the network behind its PGW, and a server."""

    def __init__(self) -> None:
        self.took: list[sip.Message] = []
        self.failed: list[tuple[int, str]] = []
        self.lost: list[Address] = []
        self.connections: list[TcpConnection] = []
        self.heard = b""
        self._changed = asyncio.Event()
        self.network = SocketNetwork()
        self.device = BearerStreams(UE, send_packet=self._up, took=self._took, failed=self._failed, lost=self._lost)
        self.network.received = self._down

    async def __aenter__(self) -> Ends:
        await self.network.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.device.stop()
        self.network.stop()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    async def serve(self) -> TcpServer:
        def accepted(connection: TcpConnection) -> None:
            self.connections.append(connection)
            connection.received = self._heard

        return await TcpServer.listen(*SERVER, accepted)

    def _up(self, packet: bytes) -> None:
        asyncio.get_running_loop().call_soon(self.network.carry, packet)

    def _down(self, packet: bytes) -> None:
        asyncio.get_running_loop().call_soon(self.device.receive, packet)

    def _heard(self, octets: bytes) -> None:
        self.heard += octets
        self._changed.set()

    def _took(self, message: sip.Message, peer: Address) -> None:
        self.took.append(message)
        self._changed.set()

    def _failed(self, messages: list[sip.Message], peer: Address, reason: str) -> None:
        self.failed.append((len(messages), reason))
        self._changed.set()

    def _lost(self, peer: Address) -> None:
        self.lost.append(peer)
        self._changed.set()


def run(scenario: Callable[[Ends], object]) -> None:
    async def whole() -> None:
        async with Ends() as ends:
            await scenario(ends)  # type: ignore[misc]

    asyncio.run(whole())


def test_messages_go_up_and_down_one_connection_from_the_device_s_own_address() -> None:
    async def scenario(ends: Ends) -> None:
        server = await ends.serve()
        long = request(1, b"x" * 5000)
        ends.device.send(long, SERVER)
        ends.device.send(request(2), SERVER)
        await ends.until(lambda: len(ends.heard) >= len(long.encode()) + 100)
        (connection,) = ends.connections
        assert connection.peer[0] == UE
        assert ends.heard.startswith(long.encode())
        connection.write(sip.respond(long, 200, "OK").encode())
        await ends.until(lambda: bool(ends.took))
        assert ends.took[0].status == 200
        server.close()

    run(scenario)


def test_where_nobody_listens_the_device_is_refused() -> None:
    async def scenario(ends: Ends) -> None:
        ends.device.send(request(1), SERVER)
        ends.device.send(request(2), SERVER)
        await ends.until(lambda: bool(ends.failed))
        assert ends.failed == [(2, "connection refused")]
        assert not ends.device.has(SERVER)

    run(scenario)


def test_a_connection_that_the_server_ends_is_lost_and_another_is_opened() -> None:
    async def scenario(ends: Ends) -> None:
        server = await ends.serve()
        ends.device.send(request(1), SERVER)
        await ends.until(lambda: bool(ends.heard))
        ends.connections[0].write(sip.respond(request(1), 200, "OK").encode())
        ends.connections[0].close()
        await ends.until(lambda: bool(ends.lost))
        ends.device.send(request(2), SERVER)
        await ends.until(lambda: len(ends.connections) == 2)
        server.close()

    run(scenario)


def test_a_connection_that_ends_before_anything_came_back_has_failed() -> None:
    async def scenario(ends: Ends) -> None:
        server = await ends.serve()
        ends.device.send(request(1), SERVER)
        await ends.until(lambda: bool(ends.heard))
        ends.connections[0].close()
        await ends.until(lambda: bool(ends.failed))
        assert ends.failed == [(1, "closed by peer")]
        server.close()

    run(scenario)


def test_what_is_no_sip_ends_the_connection() -> None:
    async def scenario(ends: Ends) -> None:
        server = await ends.serve()
        ends.device.send(request(1), SERVER)
        await ends.until(lambda: bool(ends.heard))
        ends.connections[0].write(b"SIP/2.0 200 OK\r\nContent-Length: x\r\n\r\n")
        await ends.until(lambda: bool(ends.lost))
        server.close()

    run(scenario)


def test_a_device_that_closes_takes_its_connection_with_it() -> None:
    async def scenario(ends: Ends) -> None:
        server = await ends.serve()
        ends.device.send(request(1), SERVER)
        await ends.until(lambda: bool(ends.heard))
        gone = asyncio.Event()
        ends.connections[0].lost = lambda reason: gone.set()
        ends.device.close()
        await asyncio.wait_for(gone.wait(), 5)
        server.close()

    run(scenario)
