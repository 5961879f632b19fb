"""SIP between a target and its stand-ins, each with a transaction layer, over UDP; over TCP where the target connects.

Requests go out over UDP. An answer goes the way that its request came.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Final

from ferret.errors import DecodeError, ProtocolError
from ferret.protocols import sip
from ferret.protocols.sip.transactions import (
    Arrived,
    Happened,
    TransactionLayer,
    Unacknowledged,
    Unanswered,
    client_key,
    respond,
    server_key,
)
from ferret.protocols.sip.transactions import Repeated as RepeatedAnswer
from ferret.records.message import Endpoint, Interface, Role, SignallingMessage
from ferret.replay.foreign.targets import Target
from ferret.replay.rewrite import Message
from ferret.transport.endpoint import Address, TransportError
from ferret.transport.tcp import TcpConnection, TcpServer
from ferret.transport.udp import UdpTransport
from ferret_core.driver.links.sip_link import address_of
from ferret_core.driver.links.timer import Timer
from ferret_deploy.foreign.line import Answered, Asked, Heard, Hearing, Line, Remarked, Repeated, unheard
from ferret_deploy.foreign.line import Unanswered as NotAnswered

_REMEMBERED: Final = 4096


class SipSockets:
    """The SIP ports of all stand-ins, which are at `places`; lines to several targets share them."""

    def __init__(self, places: Mapping[Role, Endpoint]) -> None:
        self.stand_ins = {role: _StandIn(self, role, place) for role, place in places.items()}
        self._lines: dict[str, SipLine] = {}  # by the target's address and port
        self._tokens: OrderedDict[tuple[str, ...], tuple[SipLine, int]] = OrderedDict()
        self._acknowledgements: OrderedDict[tuple[str, ...], tuple[sip.Message, str]] = OrderedDict()
        self._started = False

    def join(self, line: SipLine) -> None:
        """A line to one more target."""
        self._lines[line.where] = line

    async def start(self) -> None:
        """Open the stand-ins' ports. Raises TransportError."""
        if not self._started:
            self._started = True
            for stand_in in self.stand_ins.values():
                await stand_in.start()

    def close(self) -> None:
        """Close them."""
        for stand_in in self.stand_ins.values():
            stand_in.stop()

    def ask(self, line: SipLine, stand_in: _StandIn, message: sip.Message, token: int) -> None:
        """Send a request to a line's target, and remember whose it is."""
        if message.method == "ACK":
            _remember(self._acknowledgements, _of_call(message), (message, line.where))
        else:
            _remember(self._tokens, client_key(message), (line, token))
        stand_in.send(message, line.where)

    # What comes.

    def remark(self, source: str, heard: Heard) -> None:
        """Tell the line to a source, or all of them where it is of none."""
        known = self._line_of(source)
        for line in self._lines.values() if known is None else (known,):
            line.hearing(heard)

    def happened(self, stand_in: _StandIn, event: Happened) -> None:
        """Say what a stand-in's transaction layer has for its user."""
        match event:
            case Arrived(message=message, source=source):
                self._arrived(stand_in, message, source)
            case RepeatedAnswer(message=message, source=source):
                self._acknowledge_again(stand_in, message, source)
            case Unanswered(request=request):
                line, token = self._tokens.get(client_key(request), (None, 0))
                if line is not None:
                    line.hearing(NotAnswered(token, "no answer (timer B or F)"))
            case Unacknowledged(destination=destination):
                self.remark(destination, Remarked("a final answer was not acknowledged (timer H)"))

    def _arrived(self, stand_in: _StandIn, message: sip.Message, source: str) -> None:
        interface = Interface.GM if stand_in.role is Role.UE else Interface.MW
        if message.is_request:
            self.remark(source, Asked(interface, stand_in.role, message))
            return
        line, token = self._tokens.get(client_key(message), (None, 0))
        if line is None:
            self.remark(source, Remarked(f"discarded: {message.status} answers nothing that was asked"))
        else:
            line.hearing(Answered(interface, stand_in.role, message, token))

    def _acknowledge_again(self, stand_in: _StandIn, answer: sip.Message, source: str) -> None:
        """A 2xx that comes again asks for its ACK (RFC 3261 clause 13.2.2.4)."""
        self.remark(source, Repeated())
        known = self._acknowledgements.get(_of_call(answer))
        if known is not None:
            stand_in.send(*known)

    def _line_of(self, source: str) -> SipLine | None:
        """The target of a transport address. One alone may send from another than it is reached at."""
        if len(self._lines) == 1:
            return next(iter(self._lines.values()))
        host = source.rpartition(":")[0].strip("[]")
        known = self._lines.get(source)
        return known or next((line for line in self._lines.values() if line.target.address == host), None)


class SipLine(Line):
    """SIP between one target and its stand-ins."""

    def __init__(self, target: Target, sockets: SipSockets) -> None:
        self.target = target
        self.where = str(Endpoint(target.address, target.port))
        self.hearing: Hearing = unheard
        self._sockets = sockets
        sockets.join(self)

    async def start(self) -> None:
        """Open the stand-ins' ports. Raises TransportError."""
        await self._sockets.start()

    async def stop(self) -> None:
        """The ports are closed by whom they belong to."""

    def ask(self, recorded: SignallingMessage, message: Message, token: int, destination: str) -> None:
        """Send a request from the stand-in of the recorded sender."""
        stand_in = self._sockets.stand_ins.get(recorded.from_nf.role)
        if stand_in is None or not isinstance(message, sip.Message):
            self.hearing(NotAnswered(token, f"no stand-in is a {recorded.from_nf.role}", unsent=True))
            return
        self._sockets.ask(self, stand_in, message, token)

    def answer(self, interface: Interface, neighbour: Role, message: Message, number: int) -> bool:
        """Answer from the stand-in that was asked; False where it was not."""
        stand_in = self._sockets.stand_ins.get(neighbour)
        return stand_in is not None and isinstance(message, sip.Message) and stand_in.answer(message)


class _StandIn:
    """One stand-in's sockets and transactions."""

    def __init__(self, sockets: SipSockets, role: Role, place: Endpoint) -> None:
        self.role = role
        self.place = place
        self._sockets = sockets
        self._layer = TransactionLayer(acknowledges=False)
        self._udp: UdpTransport | None = None
        self._server: TcpServer | None = None
        self._timer = Timer(self._wake, monotonic)
        self._sources: OrderedDict[tuple[str, ...], Callable[[bytes], object]] = OrderedDict()

    async def start(self) -> None:
        """Open the ports; TCP may be taken by another."""
        self._udp = await UdpTransport.bind(*self.place, self._datagram)
        try:
            self._server = await TcpServer.listen(*self.place, self._accept)
        except TransportError as error:
            self._sockets.remark("", Remarked(str(error)))

    def stop(self) -> None:
        """Close them."""
        self._timer.set(None)
        if self._udp is not None:
            self._udp.close()
        if self._server is not None:
            self._server.close()

    def send(self, message: sip.Message, destination: str) -> None:
        """Send a request, again and again as its transaction has it."""
        self._layer.send(message, destination, monotonic())
        self._flush()

    def answer(self, message: sip.Message) -> bool:
        """Send an answer where its request came from; False where there is no such request."""
        key = server_key(message)
        if key not in self._sources:
            return False
        self._layer.send(message, "", monotonic())
        self._flush()
        return True

    def _datagram(self, octets: bytes, source: Address) -> None:
        def reply(answer: bytes) -> object:
            return self._udp is not None and self._udp.send(answer, source)

        where = str(Endpoint(*source))
        if not octets.strip(b"\r\n\0"):
            return  # a keep-alive (RFC 5626 clause 3.5.1)
        try:
            message = sip.decode(octets)
        except DecodeError as error:
            self._sockets.remark(where, Remarked(f"discarded: {error}"))
            return
        self._received(message, where, reply)

    def _accept(self, connection: TcpConnection) -> None:
        stream = sip.MessageStream()
        source = str(Endpoint(*connection.peer))

        def received(octets: bytes) -> None:
            try:
                for one in stream.receive(octets):
                    self._received(one, source, connection.write)
            except DecodeError as error:
                self._sockets.remark(source, Remarked(f"discarded: {error}"))
                connection.abort()

        def lost(reason: str) -> None:
            if stream.is_amid_message:
                self._sockets.remark(source, Remarked(f"connection closed in mid-message: {reason}"))

        connection.received = received
        connection.lost = lost

    def _received(self, message: sip.Message, source: str, reply: Callable[[bytes], object]) -> None:
        try:
            if message.is_request:
                _remember(self._sources, server_key(message), reply)
            happened = self._layer.receive(message, source, monotonic())
        except ProtocolError as error:
            self._sockets.remark(source, Remarked(f"discarded: {error}"))
            return
        new = any(isinstance(event, Arrived) for event in happened)
        if message.is_request and message.method == "INVITE" and new:
            self._layer.send(respond(message, 100, "Trying"), source, monotonic())
        if not happened:
            self._sockets.remark(source, Repeated())
        self._flush()
        self._tell(happened)

    def _wake(self) -> None:
        happened = self._layer.wake(monotonic())
        self._flush()
        self._tell(happened)

    def _tell(self, happened: tuple[Happened, ...]) -> None:
        for event in happened:
            try:
                self._sockets.happened(self, event)
            except ProtocolError as error:
                self._sockets.remark("", Remarked(f"discarded: {error}"))

    def _flush(self) -> None:
        for message, destination in self._layer.to_send():
            reply = None if message.is_request else self._sources.get(server_key(message))
            if reply is not None:
                reply(message.encode())
            elif self._udp is not None and destination:
                self._udp.send(message.encode(), address_of(destination))
        self._timer.set(self._layer.deadline())


def _of_call(message: sip.Message) -> tuple[str, str]:
    """Dialog and CSeq number: what an ACK for a 2xx has in common with it."""
    return message.first("Call-ID"), message.first("CSeq").split()[0] if message.first("CSeq") else ""


def _remember(table: OrderedDict, key: tuple[str, ...], value: object) -> None:  # type: ignore[type-arg]
    table[key] = value
    if len(table) > _REMEMBERED:
        table.popitem(last=False)
