"""A CSCF's SIP port over TCP: framing, connections used again, what becomes of what cannot be sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from ferret.protocols import sip
from ferret.records.message import Interface, Role
from ferret.transport import tcp
from ferret.transport.endpoint import text
from ferret.transport.tcp import TcpConnection, TcpServer
from ferret.transport.udp import UdpTransport
from ferret_core.driver.links.sip_link import SipLink, address_of
from ferret_core.nf import Input, Peer, Received, Send

OWN, SCSCF, UE = "127.0.157.21", "127.0.157.20", "127.0.157.90"


class Heard:
    """What a link brings, or a socket."""

    def __init__(self) -> None:
        self.events: list[Input] = []
        self.octets: list[bytes] = []
        self._changed = asyncio.Event()

    def __call__(self, event: Input) -> None:
        self.events.append(event)
        self._changed.set()

    def took(self, octets: bytes) -> None:
        self.octets.append(octets)
        self._changed.set()

    def messages(self) -> list[sip.Message]:
        return [
            one.message for one in self.events if isinstance(one, Received) and isinstance(one.message, sip.Message)
        ]

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not holds():
                self._changed.clear()
                await self._changed.wait()


def request(number: int, transport: str = "TCP") -> sip.Message:
    fields = [
        ("Via", f"SIP/2.0/{transport} {UE}:5060;branch=z9hG4bK{number}"),
        ("From", "<sip:a@b>;tag=1"),
        ("To", "<sip:c@d>"),
        ("Call-ID", f"c{number}"),
        ("CSeq", f"{number} OPTIONS"),
        ("Max-Forwards", "70"),
    ]
    return sip.request("OPTIONS", "sip:c@d", fields)


def link(heard: Heard) -> SipLink:
    return SipLink(OWN, {SCSCF: Role.SCSCF}, heard, others=(Role.UE, Interface.GM))


def run(scenario: Callable[[], object]) -> None:
    asyncio.run(scenario())  # type: ignore[arg-type]


def test_messages_come_out_of_a_stream_and_answers_go_back_over_it() -> None:
    async def scenario() -> None:
        heard, ue = Heard(), Heard()
        gm = link(heard)
        await gm.start()
        connection = await tcp.connect((OWN, 5060), local=(UE, 0), received=ue.took)
        stream = request(1).encode() + b"\r\n\r\n" + request(2).encode()
        for at in range(0, len(stream), 100):
            connection.write(stream[at : at + 100])
        await heard.until(lambda: len(heard.events) == 2)
        event = heard.events[1]
        assert isinstance(event, Received)
        assert (event.interface, event.peer) == (Interface.GM, Peer(Role.UE, text(connection.local)))
        gm.send(Send(Interface.GM, event.peer, sip.respond(heard.messages()[1], 200, "OK")))
        await ue.until(lambda: b"SIP/2.0 200 OK" in b"".join(ue.octets))
        assert b"".join(ue.octets).startswith(b"\r\nSIP/2.0 200 OK")  # the keep-alive has its answer too
        await gm.stop()

    run(scenario)


def test_requests_to_one_peer_share_a_connection() -> None:
    async def scenario() -> None:
        heard, scscf, connections = Heard(), Heard(), list[TcpConnection]()

        def accepted(connection: TcpConnection) -> None:
            connection.received = scscf.took
            connections.append(connection)

        server = await TcpServer.listen(SCSCF, 5060, accepted)
        mw = link(heard)
        await mw.start()
        for number in (1, 2):
            mw.send(Send(Interface.MW, Peer(Role.SCSCF, f"{SCSCF}:5060"), request(number)))
        await scscf.until(lambda: b"".join(scscf.octets).count(b"CSeq") == 2)
        mw.send(Send(Interface.MW, Peer(Role.SCSCF, f"{SCSCF}:5060"), request(3)))
        await scscf.until(lambda: b"".join(scscf.octets).count(b"CSeq") == 3)
        assert len(connections) == 1
        await mw.stop()
        server.close()

    run(scenario)


def test_where_nobody_listens_a_request_to_an_nf_goes_in_a_datagram() -> None:
    async def scenario() -> None:
        scscf = Heard()
        socket = await UdpTransport.bind(SCSCF, 5060, lambda octets, source: scscf.took(octets))
        mw = link(Heard())
        await mw.start()
        mw.send(Send(Interface.MW, Peer(Role.SCSCF, f"{SCSCF}:5060"), request(1)))
        await scscf.until(lambda: bool(scscf.octets))
        assert sip.decode(scscf.octets[0]).first("Via") == f"SIP/2.0/UDP {UE}:5060;branch=z9hG4bK1"
        await mw.stop()
        socket.close()

    run(scenario)


def test_a_device_whose_connection_is_gone_has_a_flow_that_failed() -> None:
    async def scenario() -> None:
        heard = Heard()
        gm = link(heard)
        await gm.start()
        gm.send(Send(Interface.GM, Peer(Role.UE, f"{UE}:40000"), request(1)))
        assert [one.status for one in heard.messages()] == [430]
        await gm.stop()

    run(scenario)


def test_a_stream_that_cannot_be_followed_ends_its_connection_only() -> None:
    async def scenario() -> None:
        heard, lost = Heard(), asyncio.Event()
        gm = link(heard)
        await gm.start()
        bad = await tcp.connect((OWN, 5060), local=(UE, 0), lost=lambda reason: lost.set())
        good = await tcp.connect((OWN, 5060), local=(UE, 0))
        bad.write(b"OPTIONS sip:a SIP/2.0\r\nContent-Length: many\r\n\r\n")
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                await lost.wait()
        assert lost.is_set()
        good.write(request(1).encode())
        await heard.until(lambda: len(heard.events) == 1)
        good.close()
        await gm.stop()

    run(scenario)


def test_transport_addresses_are_read_and_written_in_either_family() -> None:
    for written, address in (("10.0.0.1:5", ("10.0.0.1", 5)), ("[fd00::1]:5", ("fd00::1", 5))):
        assert address_of(written) == address
        assert text(address) == written
    assert address_of("10.0.0.1") == ("10.0.0.1", 5060)
    assert address_of("[fd00::1]") == ("fd00::1", 5060)


def test_a_remote_party_may_be_connected_to() -> None:
    async def scenario() -> None:
        remote = Heard()

        def accepted(connection: TcpConnection) -> None:
            connection.received = remote.took

        server = await TcpServer.listen(UE, 5060, accepted)
        mw = SipLink(OWN, {SCSCF: Role.SCSCF}, Heard(), others=(Role.REMOTE, Interface.MW))
        await mw.start()
        mw.send(Send(Interface.MW, Peer(Role.REMOTE, f"{UE}:5060"), request(1)))
        await remote.until(lambda: bool(remote.octets))
        await mw.stop()
        server.close()

    run(scenario)
