"""Peers that do legal and illegal things at chosen moments: an SGW on UDP, a PCRF on TCP, a P-CSCF on UDP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from time import monotonic

from ferret.protocols import diameter, gtpv2
from ferret.protocols.diameter import Application, avp
from ferret.protocols.diameter.capabilities import Identity
from ferret.protocols.diameter.peer import DiameterPeer
from ferret.protocols.diameter.peer_events import RequestReceived
from ferret.protocols.diameter.peer_states import Side
from ferret.protocols.gtpv2 import Cause, CauseIe, Ie, InterfaceType, Recovery, f_teid
from ferret.records.message import Role
from ferret.transport import tcp
from ferret.transport.endpoint import Address
from ferret.transport.tcp import TcpConnection, TcpServer
from ferret.transport.udp import UdpTransport
from tests.deploy.foreign.running import theirs

Answering = Callable[[gtpv2.Message, int], list[tuple[float, bytes]]]
"""A request and how often it has come -> what to send, each after so many seconds."""


def accepting(asked: gtpv2.Message, *more: Ie) -> gtpv2.Message:
    """An SGW's plain yes."""
    ours = f_teid(InterfaceType.S11_SGW_GTP_C, 0x77, theirs(Role.SGW)).ie()
    return gtpv2.answer(asked, 0x2A, CauseIe(int(Cause.REQUEST_ACCEPTED)), ours, *more)


@asynccontextmanager
async def an_sgw(address: str, answering: Answering, recovery: list[int]) -> AsyncIterator[None]:
    """An SGW that answers as it is told. `recovery`: its restart counters, the next one for each Echo Response."""
    seen: dict[int, int] = {}
    sending: set[asyncio.TimerHandle] = set()

    def received(octets: bytes, source: Address) -> None:
        message = gtpv2.decode(octets)
        if message.name == "Echo Request":
            counter = recovery.pop(0) if len(recovery) > 1 else recovery[0]
            answers = [(0.0, gtpv2.Message(2, None, message.sequence, (Recovery(counter).ie(),)).encode())]
        else:
            seen[message.sequence] = seen.get(message.sequence, 0) + 1
            answers = answering(message, seen[message.sequence])
        for after, answer in answers:
            sending.add(asyncio.get_running_loop().call_later(after, socket.send, answer, source))

    socket = await UdpTransport.bind(address, gtpv2.PORT, received)
    try:
        yield
    finally:
        for one in sending:
            one.cancel()
        socket.close()


class Pcrf:
    """A PCRF. `answer(number, request, peer, socket)` does what it likes with the request of this number, from 1."""

    def __init__(
        self,
        address: str,
        answer: Callable[[int, RequestReceived, DiameterPeer, TcpConnection], None],
        *,
        state_id: int = 0,
        applications: tuple[int, ...] = (Application.GX, Application.RX),
    ) -> None:
        self.identity = Identity("pcrf.example", "example", (address,), applications, origin_state_id=state_id)
        self.requests = 0
        self._address = address
        self._answer = answer
        self._server: TcpServer | None = None
        self._sockets: list[TcpConnection] = []

    async def listen(self) -> None:
        """Take connections."""
        self._server = await TcpServer.listen(self._address, diameter.PORT, lambda s: self._attach(s, Side.RESPONDER))

    async def connect(self, to: str) -> None:
        """Connect to a stand-in, as soon as it is there."""
        while True:
            try:
                socket = await tcp.connect((to, diameter.PORT), local=(self._address, 0))
            except Exception:
                await asyncio.sleep(0.05)
            else:
                self._attach(socket, Side.INITIATOR)
                return

    def close(self) -> None:
        """Go away."""
        if self._server is not None:
            self._server.close()
        for socket in self._sockets:
            socket.abort()

    def _attach(self, socket: TcpConnection, side: Side) -> None:
        peer = DiameterPeer(self.identity, side=side, random=Random(1))
        self._sockets.append(socket)

        def received(octets: bytes) -> None:
            for event in peer.receive_bytes(octets, monotonic()):
                if isinstance(event, RequestReceived):
                    self.requests += 1
                    self._answer(self.requests, event, peer, socket)
            socket.write(peer.bytes_to_send())
            if peer.closed:
                socket.close()

        socket.received = received
        peer.connected(monotonic())
        socket.write(peer.bytes_to_send())


def yes(request: diameter.Message, *more: diameter.Avp) -> diameter.Message:
    """A PCRF's plain 2001."""
    parts = [avp.RESULT_CODE(2001), avp.ORIGIN_HOST("pcrf.example"), avp.ORIGIN_REALM("example")]
    repeated = [request.find(d) for d in (avp.AUTH_APPLICATION_ID, avp.CC_REQUEST_TYPE, avp.CC_REQUEST_NUMBER)]
    return diameter.answer(request, *parts, *(one for one in repeated if one is not None), *more)
