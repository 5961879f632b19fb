"""Diameter between NFs: S6a, Cx, Gx and Rx, one connection per neighbour, on TCP port 3868.

A neighbour is an NF, or an agent through which several are reached (RFC 6733 clause 2.8): then a message's application
says whose it is.

A connection that was lost is opened again by the side that opened it, every Tc (RFC 6733 clause 2.1).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random
from time import monotonic

import structlog

from ferret.protocols.diameter.capabilities import Capabilities, Identity
from ferret.protocols.diameter.constants import Application, DisconnectCause
from ferret.protocols.diameter.peer import DiameterPeer
from ferret.protocols.diameter.peer_events import (
    AnswerReceived,
    MessageDropped,
    PeerClosed,
    PeerOpened,
    PeerOutput,
    RequestReceived,
    RequestTimedOut,
)
from ferret.protocols.diameter.peer_states import Side
from ferret.records.message import Interface, Role
from ferret.transport import tcp
from ferret.transport.endpoint import TransportError
from ferret.transport.tcp import TcpConnection, TcpServer
from ferret_core.driver.links.diameter_connection import DiameterConnection
from ferret_core.driver.links.diameter_tls import DiameterTls
from ferret_core.driver.links.link import Arrived, Link
from ferret_core.driver.links.tasks import Tasks
from ferret_core.driver.ports import DIAMETER_PORT, DIAMETER_TLS_PORT
from ferret_core.nf import Failed, Peer, PeerLost, Received, Send

log = structlog.get_logger(__name__)

REALM = "edge.ferret.invalid"
"""The realm of the edge's NFs (RFC 2606: never a name that somebody else has)."""

_APPLICATIONS: Mapping[Interface, int] = {
    Interface.S6A: Application.S6A,
    Interface.CX: Application.CX,
    Interface.GX: Application.GX,
    Interface.RX: Application.RX,
}
_OPENING = 5.0  # seconds for connection and capabilities exchange
TC_SECONDS = 30.0  # between attempts to reach a peer that is gone (RFC 6733 clause 12)
_STAYS_AWAY = frozenset({DisconnectCause.BUSY, DisconnectCause.DO_NOT_WANT_TO_TALK_TO_YOU})  # clause 5.4.3


def host_of(role: Role, realm: str = REALM) -> str:
    """The Diameter identity of an NF on its links: "pcrf.edge.ferret.invalid"."""
    return f"{str(role).lower().replace('-', '')}.{realm}"


class DiameterLink(Link):
    """An NF's Diameter port. PCRF and HSS listen; the others connect to them from their own address."""

    def __init__(
        self,
        role: Role,
        address: str,
        peers: Mapping[str, tuple[Role, Interface]],
        arrived: Arrived,
        *,
        listens: bool,
        realm: str = REALM,
        tc: float = TC_SECONDS,
        behind: Sequence[tuple[str, Role, Interface]] = (),
        tls: DiameterTls | None = None,
    ) -> None:
        """`tc`: seconds between attempts to reach a peer again. `behind`: further NFs at the address of one of `peers`,
        which then is an agent's. `tls`: every connection is one of TLS, at the port for it. Raises ConfigError.
        """
        self._address = address
        self._peers: dict[str, tuple[tuple[Role, Interface], ...]] = {one: (known,) for one, known in peers.items()}
        for agent, other, interface in behind:
            self._peers[agent] = (*self._peers.get(agent, ()), (other, interface))
        self._arrived = arrived
        self._listens = listens
        self._tls = None if tls is None else tls.context(listens=listens)
        self._port = DIAMETER_PORT if tls is None else DIAMETER_TLS_PORT
        served = [known for all_known in self._peers.values() for known in all_known]
        applications = tuple(dict.fromkeys(_APPLICATIONS[interface] for _, interface in served))
        self._identity = Identity(host_of(role, realm), realm, (address,), applications)
        self._connections: dict[Role, _Connection] = {}
        self._server: TcpServer | None = None
        self._transactions: dict[int, tuple[_Connection, int]] = {}
        self._handles = 0
        self.connected: Callable[[Role], None] | None = None  # is told of each connection that is open
        self._tc = tc
        self._stopped = False
        self._waits: dict[Role, asyncio.TimerHandle] = {}  # for Tc
        self._tasks = Tasks()

    async def start(self) -> None:
        """Listen, or connect and exchange capabilities."""
        self._tasks.begin()
        if self._listens:
            self._server = await TcpServer.listen(self._address, self._port, self._accept, tls=self._tls)
            return
        for address in self._peers:
            connection = await self._open(address)
            await asyncio.wait_for(connection.opened.wait(), _OPENING)

    async def _open(self, address: str) -> _Connection:
        socket = await tcp.connect((address, self._port), local=(self._address, 0), within=_OPENING, tls=self._tls)
        return self._attach(socket, self._peers[address], Side.INITIATOR)

    async def stop(self) -> None:
        """Close every connection."""
        self._stopped = True
        for wait in self._waits.values():
            wait.cancel()
        self._tasks.cancel()
        for connection in dict.fromkeys(self._connections.values()):
            connection.close()
        self._connections.clear()
        if self._server is not None:
            self._server.close()

    def call_itself(self, host: str, realm: str) -> None:
        """Another Diameter identity than that of the role; before `start`."""
        self._identity = replace(self._identity, host=host, realm=realm)

    def said_by(self, role: Role) -> Capabilities | None:
        """What the peer of this role has said of itself; None where none is connected."""
        connection = self._connections.get(role)
        return None if connection is None else connection.peer.capabilities

    def is_open_to(self, role: Role) -> bool:
        """Whether the peer of this role is connected and has exchanged capabilities with us."""
        connection = self._connections.get(role)
        return connection is not None and connection.peer.is_open

    def drop(self) -> None:
        """End every connection as if the network had lost it: it is opened again as after any loss."""
        for connection in dict.fromkeys(self._connections.values()):
            connection.close()
            self.pass_on(connection, connection.peer.connection_lost(monotonic()))

    def send(self, output: Send) -> None:
        """Send a request to the member of the peer's role, or the answer to one of its requests."""
        now = monotonic()
        if output.reply_to:
            entry = self._transactions.pop(output.reply_to, None)
            if entry is None:
                log.warning("diameter_answer_too_late", peer=str(output.peer.role))
                return
            connection, transaction = entry
            connection.peer.send_answer(transaction, output.message)  # type: ignore[arg-type]
            connection.flush()
            return
        known = self._connections.get(output.peer.role)
        if known is None or not known.peer.is_open:
            reason = "no connection to the peer"
            self._arrived(Failed(output.interface, output.peer, output.token, reason))
            return
        known.asked[output.token] = output.interface
        known.peer.send_request(output.message, output.token, now)  # type: ignore[arg-type]
        known.flush()

    def _accept(self, socket: TcpConnection) -> None:
        known = self._peers.get(socket.peer[0])
        if known is None:
            log.warning("diameter_from_stranger", peer=socket.peer[0])
            socket.abort()
            return
        self._attach(socket, known, Side.RESPONDER)

    def _attach(self, socket: TcpConnection, served: tuple[tuple[Role, Interface], ...], side: Side) -> _Connection:
        peer = DiameterPeer(self._identity, side=side, random=Random(str(served[0][0])))
        connection = _Connection(self, socket, served, peer)
        self._connections.update((role, connection) for role, _ in served)
        connection.start()
        return connection

    def pass_on(self, connection: _Connection, events: Sequence[PeerOutput]) -> None:
        """Give the NF what a connection brought."""
        for event in events:
            match event:
                case RequestReceived(transaction=transaction, message=message):
                    self._handles += 1
                    self._transactions[self._handles] = (connection, transaction)
                    interface, peer = connection.sender(message.application)
                    self._arrived(Received(interface, peer, message, self._handles))
                case AnswerReceived(token=token, message=message):
                    interface, peer = connection.asked_for(token)
                    self._arrived(Received(interface, peer, message, token))
                case RequestTimedOut(token=token, reason=reason):
                    interface, peer = connection.asked_for(token)
                    self._arrived(Failed(interface, peer, token, reason))
                case PeerOpened():
                    connection.opened.set()
                    for role, _ in connection.served:
                        if self.connected is not None:
                            self.connected(role)
                case PeerClosed(reason=reason):
                    self._lost(connection)
                    for role, interface in connection.served:
                        self._arrived(PeerLost(interface, Peer(role, connection.socket.peer[0]), reason))
                case MessageDropped(reason=reason):
                    log.warning("diameter_dropped", peer=str(connection.role), reason=reason)

    def _lost(self, connection: _Connection) -> None:
        """A connection has ended. Whoever opened it opens another, unless the peer asked not to."""
        if self._connections.get(connection.role) is not connection:
            return
        for role, _ in connection.served:
            self._connections.pop(role, None)
        cause = connection.peer.disconnect_cause
        if cause in _STAYS_AWAY:
            log.warning("diameter_peer_stays_away", peer=str(connection.role), cause=cause)
        elif connection.peer.side is Side.INITIATOR:
            self._try_later(connection.role)

    def _try_later(self, role: Role) -> None:
        if not self._stopped:
            self._waits[role] = asyncio.get_running_loop().call_later(self._tc, self._try, role)

    def _try(self, role: Role) -> None:
        del self._waits[role]
        self._tasks.spawn(self._open_again(role))

    async def _open_again(self, role: Role) -> None:
        address = next(address for address, served in self._peers.items() if served[0][0] is role)
        try:
            await self._open(address)
        except TransportError as error:
            log.warning("diameter_peer_away", peer=str(role), reason=str(error))
            self._try_later(role)
        else:
            log.info("diameter_connected_again", peer=str(role))


class _Connection(DiameterConnection):
    """A connection of a link's, and the NFs that are reached through it."""

    def __init__(
        self, link: DiameterLink, socket: TcpConnection, served: tuple[tuple[Role, Interface], ...], peer: DiameterPeer
    ) -> None:
        super().__init__(socket, peer)
        self.link = link
        self.served = served
        self.role = served[0][0]
        self.asked: dict[int, Interface] = {}  # where requests of ours go, by token
        self.opened = asyncio.Event()

    def passed_on(self, events: Sequence[PeerOutput]) -> None:
        """See `DiameterConnection.passed_on`."""
        self.link.pass_on(self, events)

    def sender(self, application: int) -> tuple[Interface, Peer]:
        """Whose a request of this application is; the first one's where nobody speaks it."""
        matching = (one for one in self.served if _APPLICATIONS[one[1]] == application)
        role, interface = next(matching, self.served[0])
        return interface, Peer(role, self.socket.peer[0])

    def asked_for(self, token: int) -> tuple[Interface, Peer]:
        """Whom a request of ours was for, which is answered now or never will be."""
        wanted = self.asked.pop(token, self.served[0][1])
        role, interface = next((one for one in self.served if one[1] is wanted), self.served[0])
        return interface, Peer(role, self.socket.peer[0])
