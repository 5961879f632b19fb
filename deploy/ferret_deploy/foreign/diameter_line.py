"""Diameter between a target and its stand-ins: each stand-in listens and, at once, tries to connect.

Whoever opens the connection, requests go either way. A connection that is lost is opened again; what had been asked on
it is unanswered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from time import monotonic
from typing import Final

from ferret.errors import ConfigError, DecodeError
from ferret.protocols import diameter
from ferret.protocols.diameter import avp
from ferret.protocols.diameter.capabilities import Capabilities, Identity
from ferret.protocols.diameter.peer import DiameterPeer, PeerTable
from ferret.protocols.diameter.peer_events import (
    AnswerReceived,
    MessageDropped,
    PeerClosed,
    PeerOpened,
    PeerOutput,
    PeerSuspect,
    RequestReceived,
    RequestTimedOut,
)
from ferret.protocols.diameter.peer_states import Side
from ferret.records.message import Endpoint, Interface, Role, SignallingMessage
from ferret.replay.foreign.identifiers import DiameterName
from ferret.replay.foreign.neighbours import APPLICATIONS, DIAMETER, diameter_neighbour
from ferret.replay.foreign.targets import StandIns, Target
from ferret.replay.rewrite import Message
from ferret.transport import tcp
from ferret.transport.endpoint import TransportError
from ferret.transport.tcp import TcpConnection, TcpServer
from ferret_core.driver.links.diameter_connection import DiameterConnection
from ferret_deploy.foreign.line import Answered, Asked, Hearing, Line, Remarked, Unanswered, unheard

_OPTIONAL: Final = 8.0  # seconds for connections that the recording does not show: longer than Tc of most (5 s)
_AGAIN: Final = 1.0  # seconds between attempts to connect
_WITHOUT_POLICY: Final = frozenset({Role.PGW, Role.PCSCF})  # PCC is an option (TS 23.203 clause 4.1)
_BY_THEMSELVES: Final = frozenset({Role.PCSCF, Role.SCSCF})
"""Kamailio's cdp cannot send any more once a connection that was opened to it is over; its own it opens again."""
_ATTEMPT: Final = 5.0  # seconds for one


@dataclass(frozen=True, slots=True)
class DiameterTimes:
    """`wait`: seconds until the connections must be up; `tx`: for an answer; `tw`: watchdog (RFC 3539)."""

    wait: float = 35.0  # freeDiameter tries again every 30 s (Tc, RFC 6733 clause 12)
    tx: float = 10.0
    tw: float = 30.0


class DiameterServers:
    """The Diameter ports of all stand-ins; lines to several targets may share one."""

    def __init__(self) -> None:
        self._servers: dict[Endpoint, TcpServer] = {}
        self._lines: dict[Endpoint, dict[str, DiameterLine]] = {}

    async def listen(self, where: Endpoint, line: DiameterLine) -> None:
        """Take connections of the line's target at a stand-in's address. Raises TransportError."""
        self._lines.setdefault(where, {})[line.target.address] = line
        if where not in self._servers:
            self._servers[where] = await TcpServer.listen(*where, lambda socket: self._accept(socket, where))

    def close(self) -> None:
        """Close every port."""
        for server in self._servers.values():
            server.close()
        self._servers.clear()

    def _accept(self, socket: TcpConnection, where: Endpoint) -> None:
        """A target may connect from another address than it is reached at, where it is the only one."""
        lines = self._lines[where]
        line = lines.get(socket.peer[0])
        if line is None and len(lines) == 1:
            line = next(iter(lines.values()))
        if line is None:
            socket.abort()
        else:
            line.accept(socket, where)


class DiameterLine(Line):
    """Diameter between one target and its stand-ins `around` it. `names`: what they call themselves."""

    def __init__(
        self,
        target: Target,
        stand_ins: StandIns,
        around: frozenset[Role],
        names: Mapping[Role, DiameterName],
        servers: DiameterServers,
        *,
        required: frozenset[Role],
        times: DiameterTimes,
        random: Random,
        origin_state_id: int = 0,
    ) -> None:
        """`required`: the stand-ins without whose connection there is no replay; others listen in case."""
        self.target = target
        self.hearing: Hearing = unheard
        self.times = times
        self.random = random
        self.peers: dict[Role, Capabilities] = {}  # what the target said of itself
        self._stand_ins = stand_ins
        self._names = names
        self._state_id = origin_state_id
        self._around = frozenset(DIAMETER[target.role]) & around
        self._required = self._around & required
        # The port of a target that is reached by another protocol is Diameter's own.
        self._port = target.port if target.role is Role.PCRF else diameter.PORT
        self._connections: dict[Role, _Connection] = {}
        self._tables = {role: PeerTable() for role in self._around}
        self._servers = servers
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: dict[tuple[Interface, int], tuple[_Connection, int]] = {}
        self._changed = asyncio.Event()
        self._stopping = False
        self._state_seen = 0
        self._why = "nothing came of it"

    async def start(self) -> None:
        """Listen and connect; wait until every stand-in has a connection.

        Raises ConfigError where one has none that the target cannot be without.
        """
        for role in sorted(self._around):
            await self._listen(role)
            self._spawn(role)
        with suppress(TimeoutError):
            await self._opened(self._around, min(_OPTIONAL, self.times.wait))
        try:
            await self._opened(self._required, self.times.wait)
        except TimeoutError:
            missing = ", ".join(sorted(role for role in self._required if not self._is_open(role)))
            where = Endpoint(self.target.address, self._port)
            fault = f"no Diameter connection between {self.target.role} {where} and FERRET's {missing}: {self._why}"
            if self.target.role not in _WITHOUT_POLICY:
                raise ConfigError(fault) from None
            self.hearing(Remarked(fault))

    async def stop(self) -> None:
        """Leave and close everything."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in list(self._connections.values()):
            connection.leave()

    def ask(self, recorded: SignallingMessage, message: Message, token: int, destination: str) -> None:
        """Send a request from the stand-in of the recorded sender."""
        connection = self._connections.get(recorded.from_nf.role)
        if connection is None or not connection.peer.is_open:
            self.hearing(Unanswered(token, "no Diameter connection", unsent=True))
            return
        connection.peer.send_request(message, token, monotonic())  # type: ignore[arg-type]
        connection.flush()

    def answer(self, interface: Interface, neighbour: Role, message: Message, number: int) -> bool:
        """Answer on the connection that the request came on."""
        connection, transaction = self._open.pop((interface, number), (None, 0))
        if connection is None or not connection.peer.is_open:
            return False
        connection.peer.send_answer(transaction, message)  # type: ignore[arg-type]
        connection.flush()
        return True

    def describe(self) -> str:
        """The target's Origin-Host."""
        return next((found.host for found in self.peers.values()), "")

    # Connections.

    def identity(self, role: Role) -> Identity:
        """What the stand-in for `role` says of itself."""
        name = self._names[role]
        application = APPLICATIONS[DIAMETER[self.target.role][role]]
        return Identity(
            name.host,
            name.realm,
            (self._stand_ins.address(role),),
            (application,),
            origin_state_id=self._state_id,
        )

    async def _listen(self, role: Role) -> None:
        where = Endpoint(self._stand_ins.address(role), self._stand_ins.port(role, diameter.PORT))
        try:
            await self._servers.listen(where, self)
        except TransportError as error:
            self._why = str(error)  # connecting may do without

    def accept(self, socket: TcpConnection, where: Endpoint) -> None:
        """The target has connected."""
        roles = [r for r in sorted(self._around) if self._stand_ins.address(r) == where.address]
        role = next((r for r in roles if not self._is_open(r)), roles[0])
        self._attach(socket, role, Side.RESPONDER)

    def _spawn(self, role: Role) -> None:
        task = asyncio.get_running_loop().create_task(self._connect(role))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, role: Role) -> None:
        """Connect until there is a connection, whoever opened it."""
        if self.target.role in _BY_THEMSELVES:
            await asyncio.sleep(self.times.wait / 2)
        while not self._is_open(role) and not self._stopping:
            local = (self._stand_ins.address(role), 0)
            try:
                socket = await tcp.connect((self.target.address, self._port), local=local, within=_ATTEMPT)
            except TransportError as error:
                self._why = str(error)
            else:
                if self._is_open(role):
                    socket.close()
                    return
                connection = self._attach(socket, role, Side.INITIATOR)
                await connection.decided.wait()
            if not self._is_open(role):
                await asyncio.sleep(_AGAIN)

    def _attach(self, socket: TcpConnection, role: Role, side: Side) -> _Connection:
        peer = DiameterPeer(
            self.identity(role),
            side=side,
            random=self.random,
            table=self._tables[role],
            tw=self.times.tw,
            tx=self.times.tx,
        )
        connection = _Connection(self, socket, role, peer)
        connection.start()
        return connection

    def _is_open(self, role: Role) -> bool:
        known = self._connections.get(role)
        return known is not None and known.peer.is_open

    async def _opened(self, roles: Collection[Role], within: float) -> None:
        """Wait until these stand-ins have their connections. Raises TimeoutError."""
        async with asyncio.timeout(within):
            while not all(self._is_open(role) for role in roles):
                self._changed.clear()
                await self._changed.wait()

    # What comes on them.

    def pass_on(self, connection: _Connection, events: Sequence[PeerOutput]) -> None:
        """Say what a connection brought."""
        for event in events:
            match event:
                case PeerOpened(capabilities=capabilities):
                    self._connections[connection.role] = connection
                    self.peers[connection.role] = capabilities
                    connection.decided.set()
                    self._watch_state(capabilities.origin_state_id)
                case RequestReceived(transaction=transaction, message=message):
                    self._asked(connection, message, transaction)
                case AnswerReceived(token=token, message=message):
                    self._watch_state(_state_of(message))
                    interface = DIAMETER[self.target.role][connection.role]
                    self.hearing(Answered(interface, connection.role, message, token))
                case RequestTimedOut(token=token, reason=reason):
                    self.hearing(Unanswered(token, reason))
                case PeerClosed(reason=reason):
                    self._closed(connection, reason)
                case MessageDropped(reason=reason):
                    self.hearing(Remarked(f"discarded: {reason}"))
                case PeerSuspect():
                    self.hearing(Remarked("no answer to the watchdog"))
        self._changed.set()

    def _asked(self, connection: _Connection, message: diameter.Message, transaction: int) -> None:
        self._watch_state(_state_of(message))
        there = frozenset({connection.role}) if not self._stand_ins.alone else self._around
        neighbour = diameter_neighbour(self.target.role, message.application, there) or connection.role
        interface = DIAMETER[self.target.role][neighbour]
        self._open[interface, message.hop_by_hop] = (connection, transaction)
        self.hearing(Asked(interface, neighbour, message, message.hop_by_hop))

    def _closed(self, connection: _Connection, reason: str) -> None:
        was_open = self._connections.get(connection.role) is connection
        connection.decided.set()
        if not was_open:
            self._why = reason
            return
        del self._connections[connection.role]
        self._open = {key: entry for key, entry in self._open.items() if entry[0] is not connection}
        if not self._stopping:
            cut = " in mid-message" if connection.peer.cut else ""
            self.hearing(Remarked(f"connection closed{cut}: {reason}"))
            self._spawn(connection.role)

    def _watch_state(self, state: int | None) -> None:
        """RFC 6733 clause 8.16: another Origin-State-Id says that the peer has lost its sessions."""
        if state and self._state_seen and state != self._state_seen:
            self.hearing(Remarked(f"restarted: Origin-State-Id went from {self._state_seen} to {state}"))
        self._state_seen = state or self._state_seen


def _state_of(message: diameter.Message) -> int | None:
    try:
        return message.value_of(avp.ORIGIN_STATE_ID)
    except DecodeError:
        return None


class _Connection(DiameterConnection):
    """A connection of a line's, and the role of the stand-in that has it."""

    def __init__(self, line: DiameterLine, socket: TcpConnection, role: Role, peer: DiameterPeer) -> None:
        super().__init__(socket, peer)
        self.line = line
        self.role = role
        self.decided = asyncio.Event()

    def passed_on(self, events: Sequence[PeerOutput]) -> None:
        """See `DiameterConnection.passed_on`."""
        self.line.pass_on(self, events)
