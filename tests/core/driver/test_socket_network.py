"""SGi over sockets with the UEs' own addresses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from ferret.transport.endpoint import Address, TransportError
from ferret.transport.udp import UdpTransport
from ferret_core.driver import socket_network
from ferret_core.driver.socket_network import SocketNetwork
from ferret_core.ua.packets import Datagram, PacketMaker, PacketReader

UE, SERVER = ("127.0.145.2", 5060), ("127.0.144.1", 5060)


class Ends:
    """The network, and a server on the machine; `down` is what comes back for UEs."""

    def __init__(self) -> None:
        self.network = SocketNetwork()
        self.network.received = self._down
        self.down: list[Datagram] = []
        self.heard: list[tuple[bytes, Address]] = []
        self.packets: list[bytes] = []
        self.server: UdpTransport
        self._reader = PacketReader()
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Ends:
        await self.network.start()
        self.server = await UdpTransport.bind(*SERVER, self._heard)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.network.stop()
        self.server.close()

    def up(self, datagram: Datagram) -> None:
        for packet in PacketMaker().packets(datagram):
            self.network.carry(packet)

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    def _heard(self, octets: bytes, source: Address) -> None:
        self.heard.append((octets, source))
        self._changed.set()

    def _down(self, packet: bytes) -> None:
        self.packets.append(packet)
        datagram = self._reader.receive(packet, 0.0)
        if datagram is not None:
            self.down.append(datagram)
            self._changed.set()


@pytest.mark.parametrize("size", [1, 1400, 5000])
def test_a_datagram_goes_out_under_the_ues_address_and_its_answer_comes_back(size: int) -> None:
    async def scenario() -> None:
        async with Ends() as ends:
            ends.up(Datagram(UE, SERVER, b"u" * size))
            await ends.until(lambda: bool(ends.heard))
            assert ends.heard == [(b"u" * size, UE)]
            ends.server.send(b"d" * size, UE)
            await ends.until(lambda: bool(ends.down))
            assert ends.down == [Datagram(SERVER, UE, b"d" * size)]
            assert all(len(packet) <= 1400 for packet in ends.packets)
            assert (ends.network.sent, ends.network.lost) == (1, 0)

    asyncio.run(scenario())


def test_a_port_that_is_expected_hears_before_it_has_spoken() -> None:
    async def scenario() -> None:
        async with Ends() as ends:
            ends.network.expect(*UE)
            ends.server.send(b"first", UE)
            await ends.until(lambda: bool(ends.down))
            assert ends.down == [Datagram(SERVER, UE, b"first")]

    asyncio.run(scenario())


def test_what_cannot_go_out_is_counted_as_lost() -> None:
    async def scenario() -> None:
        async with Ends() as ends:
            ends.network.carry(b"rubbish")
            assert ends.network.lost == 1
            ends.up(Datagram(("192.0.2.1", 5060), SERVER, b"not an address of this machine"))
            assert ends.network.lost == 2
            with pytest.raises(TransportError, match=r"UE address 192\.0\.2\.1"):
                ends.network.expect("192.0.2.1", 1)
            ends.network.stop()
            ends.up(Datagram(UE, SERVER, b"too late"))
            ends.network.carry(b"more rubbish")
            assert (ends.network.sent, ends.network.lost) == (0, 4)

    asyncio.run(scenario())


def test_the_quietest_port_gives_way_to_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_network, "MAX_SOCKETS", 2)

    async def scenario() -> None:
        async with Ends() as ends:
            for port in (5060, 5062, 5060, 5064):
                ends.up(Datagram((UE[0], port), SERVER, b"x"))
            await ends.until(lambda: len(ends.heard) == 4)
            ends.server.send(b"lost", (UE[0], 5062))
            ends.server.send(b"kept", (UE[0], 5060))
            await ends.until(lambda: bool(ends.down))
            assert [one.payload for one in ends.down] == [b"kept"]

    asyncio.run(scenario())
