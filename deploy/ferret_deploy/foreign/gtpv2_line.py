"""GTPv2-C between a target and its stand-ins, on UDP port 2123: one protocol endpoint for each stand-in's address.

Stand-ins of several targets may share an address, and so a socket: `Gtpv2Sockets` has them all.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import count
from random import Random
from time import monotonic
from typing import Final

from ferret.protocols import gtpv2
from ferret.protocols.gtpv2.endpoint import Gtpv2Endpoint
from ferret.protocols.gtpv2.events import (
    Discarded,
    Event,
    PathFailed,
    PeerRestarted,
    RequestReceived,
    RequestTimedOut,
    ResponseReceived,
)
from ferret.protocols.summary import Kind
from ferret.records.message import Interface, Role, SignallingMessage
from ferret.replay.foreign.neighbours import GTPV2, gtpv2_neighbour
from ferret.replay.foreign.targets import StandIns, Target
from ferret.replay.rewrite import Message
from ferret.transport.endpoint import Address
from ferret.transport.udp import UdpTransport
from ferret_core.driver.links.timer import Timer
from ferret_deploy.foreign.line import Answered, Asked, Hearing, Line, Remarked, Repeated, Unanswered, unheard

_OPEN_LIMIT: Final = 4096  # requests of a target that may wait for their answer


class Gtpv2Sockets:
    """The GTPv2-C ports of all stand-ins. `t3` in seconds and `n3` as in TS 29.274 clause 7.6.

    Sequence numbers begin anywhere: a target may still have the answers to an earlier run's in its cache.
    """

    def __init__(self, *, t3: float = 3.0, n3: int = 3, restart_counter: int = 0, random: Random) -> None:
        self._t3 = t3
        self._n3 = n3
        self._restart_counter = restart_counter
        self._random = random
        self._lines: dict[str, Gtpv2Line] = {}  # by the target's address
        self._ports: dict[Address, _Port] = {}
        self._tokens = count(1)
        self._asked: dict[int, tuple[Gtpv2Line, Role, int]] = {}

    def join(self, line: Gtpv2Line) -> None:
        """A line to one more target."""
        self._lines[line.target.address] = line

    async def open(self, where: Address) -> None:
        """Open the port of a stand-in. Raises TransportError."""
        if where not in self._ports:
            endpoint = Gtpv2Endpoint(
                restart_counter=self._restart_counter,
                first_sequence=self._random.getrandbits(23),
                t3_response=self._t3,
                n3_requests=self._n3,
            )
            port = self._ports[where] = _Port(self, endpoint)
            try:
                port.socket = await UdpTransport.bind(*where, port.received)
            except BaseException:
                del self._ports[where]
                raise

    def close(self) -> None:
        """Close every port."""
        for port in self._ports.values():
            port.close()
        self._ports.clear()

    def echo(self, where: Address, peer: Address) -> None:
        """Ask whether a target is there; its restart counter comes with the answer."""
        port = self._ports[where]
        port.endpoint.send_echo(peer, monotonic())
        port.flush()

    def ask(self, where: Address, peer: Address, message: gtpv2.Message, of: tuple[Gtpv2Line, Role, int]) -> None:
        """Send a request reliably, or an indication."""
        token = next(self._tokens)
        self._asked[token] = of
        port = self._ports[where]
        port.endpoint.send_request(message, peer, monotonic(), token)
        port.flush()

    def pass_on(self, port: _Port, events: list[Event]) -> None:
        """Give the lines what has come."""
        for event in events:
            match event:
                case ResponseReceived(message=message, token=token):
                    line, neighbour, own = self._asked.pop(token)
                    interface = GTPV2[line.target.role][neighbour]
                    line.hearing(Answered(interface, neighbour, message, own))
                case RequestTimedOut(token=token, reason=reason):
                    line, _, own = self._asked.pop(token)
                    line.hearing(Unanswered(own, reason))
                case _:
                    self._from_peer(port, event)

    def _from_peer(self, port: _Port, event: Event) -> None:
        line = self._line_of(event.peer[0])
        if line is None:
            return
        match event:
            case RequestReceived(message=message, transaction=transaction):
                line.asked(port, message, transaction)
            case PeerRestarted(was=was, now=now):
                line.hearing(Remarked(f"restarted: Recovery went from {was} to {now}"))
            case PathFailed():
                line.hearing(Remarked("no answer to Echo Request"))
            case Discarded(reason=reason):
                line.hearing(Remarked(f"discarded: {reason}"))

    def repeated(self, address: str) -> None:
        """A target has sent a request again: it is answered from the cache."""
        line = self._line_of(address)
        if line is not None:
            line.hearing(Repeated())

    def _line_of(self, address: str) -> Gtpv2Line | None:
        """The target of an address. One alone may send from another than it is reached at (S11 and S5 apart)."""
        known = self._lines.get(address)
        return known if known is not None or len(self._lines) > 1 else next(iter(self._lines.values()), None)


class _Port:
    """One stand-in's endpoint with its socket and timer."""

    def __init__(self, sockets: Gtpv2Sockets, endpoint: Gtpv2Endpoint) -> None:
        self.endpoint = endpoint
        self.socket: UdpTransport | None = None
        self._sockets = sockets
        self._timer = Timer(self._wake, monotonic)

    def flush(self) -> None:
        """Send what the endpoint wants sent."""
        if self.socket is not None:
            for octets, peer in self.endpoint.datagrams():
                self.socket.send(octets, peer)
        self._timer.set(self.endpoint.deadline())

    def close(self) -> None:
        """Close the socket."""
        self._timer.set(None)
        if self.socket is not None:
            self.socket.close()

    def received(self, octets: bytes, source: Address) -> None:
        """A datagram has come."""
        events = self.endpoint.receive_datagram(octets, source, monotonic())
        self.flush()
        seen = gtpv2.peek(octets) if not events else None
        if seen is not None and seen.kind is Kind.REQUEST and octets[1] != gtpv2.MessageType.ECHO_REQUEST:
            self._sockets.repeated(source[0])
        self._sockets.pass_on(self, events)

    def _wake(self) -> None:
        events = self.endpoint.wake(monotonic())
        self.flush()
        self._sockets.pass_on(self, events)


class Gtpv2Line(Line):
    """GTPv2-C between one target and its stand-ins. `around`: the neighbours that FERRET stands in for."""

    def __init__(self, target: Target, stand_ins: StandIns, around: frozenset[Role], sockets: Gtpv2Sockets) -> None:
        self.target = target
        self.hearing: Hearing = unheard
        self._around = frozenset(GTPV2[target.role]) & around
        self._stand_ins = stand_ins
        self._sockets = sockets
        # What an S1AP target's GTPv2-C port is, its S1AP port does not say.
        self._port = gtpv2.PORT if target.role is Role.MME else target.port
        self._open: OrderedDict[tuple[Interface, int], tuple[_Port, int]] = OrderedDict()
        sockets.join(self)

    async def start(self) -> None:
        """Open the stand-ins' ports and say hello."""
        for role in sorted(self._around):
            await self._sockets.open(self._where(role))
        for role in sorted(self._around)[:1]:
            self._sockets.echo(self._where(role), (self.target.address, self._port))

    async def stop(self) -> None:
        """The ports are closed by whom they belong to."""

    def ask(self, recorded: SignallingMessage, message: Message, token: int, destination: str) -> None:
        """Send a request from the stand-in of the recorded sender."""
        neighbour = recorded.from_nf.role
        peer = (destination, self._port)
        self._sockets.ask(self._where(neighbour), peer, message, (self, neighbour, token))  # type: ignore[arg-type]

    def answer(self, interface: Interface, neighbour: Role, message: Message, number: int) -> bool:
        """Answer under the request's sequence number; repetitions of the request are answered from the cache."""
        port, transaction = self._open.pop((interface, number), (None, 0))
        if port is None:
            return False
        port.endpoint.send_response(transaction, message, monotonic())  # type: ignore[arg-type]
        port.flush()
        return True

    def asked(self, port: _Port, message: gtpv2.Message, transaction: int) -> None:
        """The target has sent a request."""
        neighbour = gtpv2_neighbour(self.target.role, message.type)
        interface = GTPV2[self.target.role][neighbour]
        if transaction:
            self._open[interface, message.sequence] = (port, transaction)
            if len(self._open) > _OPEN_LIMIT:
                self._open.popitem(last=False)
        self.hearing(Asked(interface, neighbour, message, message.sequence))

    def _where(self, role: Role) -> Address:
        return self._stand_ins.address(role), self._stand_ins.port(role, gtpv2.PORT)
