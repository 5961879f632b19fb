"""An EPC of our own NFs with their protocol engines, in one process and under a clock that the test turns.

Octets travel between the engines as they would between sockets; `spoil` decides what becomes of them on the way.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Any, Final

from ferret.errors import PeerViolationError
from ferret.protocols import diameter, gtpv2, s1ap
from ferret.protocols.diameter import Application
from ferret.protocols.diameter.capabilities import Identity
from ferret.protocols.diameter.peer import DiameterPeer
from ferret.protocols.diameter.peer_events import AnswerReceived, MessageDropped, PeerClosed
from ferret.protocols.diameter.peer_events import RequestReceived as DiameterRequest
from ferret.protocols.diameter.peer_events import RequestTimedOut as DiameterTimeOut
from ferret.protocols.diameter.peer_states import Side
from ferret.protocols.gtpv2.endpoint import Gtpv2Endpoint
from ferret.protocols.gtpv2.events import (
    Discarded,
    PathFailed,
    PeerRestarted,
    RequestReceived,
    RequestTimedOut,
    ResponseReceived,
)
from ferret.records.message import Interface, Role
from ferret_core.driver.configuration import LabNetwork
from ferret_core.driver.places import Places
from ferret_core.enb import Enb
from ferret_core.enb.ue import EmmState, Ue
from ferret_core.enb.usim import Usim
from ferret_core.hss import Hss
from ferret_core.mme import Mme
from ferret_core.nf import Failed, Input, NetworkFunction, Output, Peer, PeerLost, Received, Send
from ferret_core.pcrf import Pcrf
from ferret_core.pgw import Pgw
from ferret_core.sgw import Sgw

TRAVEL: Final = 0.001  # seconds that octets take
GTPC: Final = 2123
_MAKERS: Final[dict[Role, Callable[..., NetworkFunction]]] = {
    Role.HSS: Hss,
    Role.PCRF: Pcrf,
    Role.MME: Mme,
    Role.SGW: Sgw,
    Role.PGW: Pgw,
}
_GTPV2: Final = {
    Role.MME: {Role.SGW: Interface.S11},
    Role.SGW: {Role.MME: Interface.S11, Role.PGW: Interface.S5},
    Role.PGW: {Role.SGW: Interface.S5},
}
_DIAMETER: Final = {(Role.MME, Role.HSS): Interface.S6A, (Role.PGW, Role.PCRF): Interface.GX}
_APPLICATIONS: Final = {Interface.S6A: Application.S6A, Interface.GX: Application.GX}


@dataclass(frozen=True)
class Packet:
    """Octets on their way. `protocol` is "GTPv2-C" (a message), "Diameter" (a message) or "S1AP" (a message)."""

    protocol: str
    source: Role
    destination: Role
    octets: bytes


Spoiler = Callable[[Packet], Iterable[tuple[float, bytes]]]
"""What arrives of a packet, and how many seconds late: nothing, itself, something else, several."""


def untouched(packet: Packet) -> list[tuple[float, bytes]]:
    """As it was sent."""
    return [(0.0, packet.octets)]


class SimulatedCore:
    """MME, SGW, PGW, PCRF and HSS, and a base station with devices."""

    def __init__(self) -> None:
        self.now = 0.0
        self.spoil: Spoiler = untouched
        self.lab = LabNetwork(Places.loopback("127.0.20.0/24"))
        self.seen: list[str] = []  # "SGW Create Session Request": who sent what, as it left
        self.notes: list[tuple[Role, str]] = []
        self.refused: list[str] = []  # violations that an NF found, and what engines threw away
        self.restarts: dict[Role, int] = {}
        self.nfs: dict[Role, NetworkFunction] = {}
        self.endpoints: dict[Role, Gtpv2Endpoint] = {}
        self.peers: dict[tuple[Role, Role], DiameterPeer] = {}  # whose, towards whom
        self._transactions: dict[int, tuple[tuple[Role, Role], int]] = {}
        self._handles = count(1)
        self._numbers = count()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self.enb = Enb(address=self._at(Role.ENB), random=Random(1), mme=self._at(Role.MME), plmn=self.lab.plmn)
        for role in _MAKERS:
            self.start(role)
        for client, server in _DIAMETER:
            self.connect(client, server)
        self._from_enb(self.enb.set_up())
        self.run(1.0)

    # ---- what a test does

    def start(self, role: Role) -> None:
        """An NF begins anew: it has forgotten everything, and counts that it has restarted."""
        restarts = self.restarts[role] = self.restarts.get(role, 0) + 1
        nf = self.nfs[role] = _MAKERS[role](address=self._at(role), random=Random(f"{role} {restarts}"))
        nf.import_context(self.lab.context_of(role), self.now)
        if role in _GTPV2:
            self.endpoints[role] = Gtpv2Endpoint(restart_counter=restarts)

    def connect(self, client: Role, server: Role) -> None:
        """A Diameter connection, from nothing."""
        for own, other, side in ((client, server, Side.INITIATOR), (server, client, Side.RESPONDER)):
            interface = _DIAMETER[client, server]
            applications = (_APPLICATIONS[interface],)
            identity = Identity(self.lab.host(own), self.lab.realm, (self._at(own),), applications)
            self.peers[own, other] = DiameterPeer(identity, side=side, random=Random(f"{own}{other}{self.now}"))
        self.peers[client, server].connected(self.now)
        self.peers[server, client].connected(self.now)
        self._flush()

    def cut(self, one: Role, other: Role) -> None:
        """The connection between two is lost."""
        for pair in ((one, other), (other, one)):
            self._take_diameter(pair, self.peers[pair].connection_lost(self.now))

    def echo(self, asker: Role, asked: Role) -> None:
        """An NF asks another whether it is there."""
        self.endpoints[asker].send_echo((self._at(asked), GTPC), self.now)
        self._flush()

    def device(self, number: int = 0) -> Ue:
        """A device with its USIM."""
        own = self.lab.subscribers[number]
        return Ue(own.imsi, usim=Usim(own.imsi, own.milenage), plmn=self.lab.plmn)

    def attach(self, ue: Ue, *, seconds: float = 1.0) -> bool:
        """Let a device attach; whether it has."""
        self._from_enb(self.enb.attach(ue, "internet"))
        self.run(seconds)
        return ue.state is EmmState.REGISTERED and bool(ue.esm.bearers)

    def detach(self, ue: Ue, *, seconds: float = 1.0) -> None:
        """Let a device leave."""
        self._from_enb(self.enb.detach(ue))
        self.run(seconds)

    def leftovers(self) -> dict[str, dict[str, int]]:
        """What NFs and base station hold, without zeros; an HSS may know where a subscriber was."""
        held: dict[str, Any] = {str(role): nf.leftovers() for role, nf in self.nfs.items()}
        held["eNB"] = self.enb.leftovers()
        found = {who: {kind: number for kind, number in kinds.items() if number} for who, kinds in held.items()}
        found["HSS"].pop("attached", None)
        return {who: kinds for who, kinds in found.items() if kinds}

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while True:
            self._flush()
            due = self._next()
            if due is None or due > end:
                break
            self.now = max(self.now, due)
            while self._heap and self._heap[0][0] <= self.now:
                heapq.heappop(self._heap)[2]()
            self._wake()
        self.now = end

    # ---- time

    def _next(self) -> float | None:
        times = [self._heap[0][0]] if self._heap else []
        engines: tuple[Any, ...] = (*self.nfs.values(), *self.endpoints.values(), *self.peers.values())
        times += [due for engine in engines if (due := engine.deadline()) is not None]
        return min(times, default=None)

    def _wake(self) -> None:
        for role, nf in self.nfs.items():
            if (due := nf.deadline()) is not None and due <= self.now:
                self._emit(role, nf.wake(self.now))
        for role, endpoint in self.endpoints.items():
            if (due := endpoint.deadline()) is not None and due <= self.now:
                self._take_gtpv2(role, endpoint.wake(self.now))
        for pair, peer in self.peers.items():
            if (due := peer.deadline()) is not None and due <= self.now:
                self._take_diameter(pair, peer.wake(self.now))

    def _later(self, delay: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self.now + TRAVEL + delay, next(self._numbers), act))

    # ---- octets

    def _flush(self) -> None:
        for role, endpoint in self.endpoints.items():
            for octets, peer in endpoint.datagrams():
                self._carry(Packet("GTPv2-C", role, self._who(peer[0]), octets), self._datagram)
        for (own, other), connection in self.peers.items():
            for octets in _messages(connection.bytes_to_send()):
                self._carry(Packet("Diameter", own, other, octets), self._stream)

    def _carry(self, packet: Packet, arrive: Callable[[Role, Role, bytes], None]) -> None:
        self.seen.append(f"{packet.source} {_name(packet)}")
        for delay, octets in self.spoil(packet):

            def act(octets: bytes = octets) -> None:
                arrive(packet.source, packet.destination, octets)

            self._later(delay, act)

    def _datagram(self, source: Role, destination: Role, octets: bytes) -> None:
        endpoint = self.endpoints[destination]
        self._take_gtpv2(destination, endpoint.receive_datagram(octets, (self._at(source), GTPC), self.now))

    def _stream(self, source: Role, destination: Role, octets: bytes) -> None:
        pair = (destination, source)
        self._take_diameter(pair, self.peers[pair].receive_bytes(octets, self.now))

    # ---- engines to NFs

    def _take_gtpv2(self, role: Role, events: Iterable[Any]) -> None:
        for event in events:
            who = self._who(event.peer[0])
            interface, peer = _GTPV2[role][who], Peer(who, event.peer[0])
            match event:
                case RequestReceived(message=message, transaction=transaction):
                    self._give(role, Received(interface, peer, message, transaction))
                case ResponseReceived(message=message, token=token):
                    self._give(role, Received(interface, peer, message, token))
                case RequestTimedOut(token=token, reason=reason):
                    self._give(role, Failed(interface, peer, token, reason))
                case PeerRestarted() | PathFailed():
                    self._give(role, PeerLost(interface, peer, type(event).__name__))
                case Discarded(reason=reason):
                    self.refused.append(f"{role}: {reason}")

    def _take_diameter(self, pair: tuple[Role, Role], events: Iterable[Any]) -> None:
        own, other = pair
        interface = _DIAMETER.get(pair) or _DIAMETER[other, own]
        peer = Peer(other, self._at(other))
        for event in events:
            match event:
                case DiameterRequest(transaction=transaction, message=message):
                    handle = next(self._handles)
                    self._transactions[handle] = (pair, transaction)
                    self._give(own, Received(interface, peer, message, handle))
                case AnswerReceived(token=token, message=message):
                    self._give(own, Received(interface, peer, message, token))
                case DiameterTimeOut(token=token, reason=reason):
                    self._give(own, Failed(interface, peer, token, reason))
                case PeerClosed(reason=reason):
                    self._give(own, PeerLost(interface, peer, reason))
                case MessageDropped(reason=reason):
                    self.refused.append(f"{own}: {reason}")

    def _give(self, role: Role, event: Input) -> None:
        try:
            self._emit(role, self.nfs[role].receive(event, self.now))
        except PeerViolationError as error:
            self.refused.append(f"{role}: {error}")

    def _emit(self, role: Role, outputs: Iterable[Output]) -> None:
        for output in outputs:
            if not isinstance(output, Send):
                self.notes.append((role, output.event))
            elif isinstance(output.message, gtpv2.Message):
                self._send_gtpv2(role, output)
            elif isinstance(output.message, diameter.Message):
                self._send_diameter(role, output)
            elif isinstance(output.message, s1ap.Message):
                octets = output.message.encode()
                self._later(0.0, lambda octets=octets: self._at_enb(octets))  # type: ignore[misc]

    def _send_gtpv2(self, role: Role, output: Send) -> None:
        endpoint, message = self.endpoints[role], output.message
        assert isinstance(message, gtpv2.Message)
        if output.reply_to:
            endpoint.send_response(output.reply_to, message, self.now)
        else:
            endpoint.send_request(message, (self._at(output.peer.role), GTPC), self.now, output.token)

    def _send_diameter(self, role: Role, output: Send) -> None:
        assert isinstance(output.message, diameter.Message)
        if output.reply_to:
            pair, transaction = self._transactions.pop(output.reply_to)
            self.peers[pair].send_answer(transaction, output.message)
            return
        connection = self.peers[role, output.peer.role]
        if connection.is_open:
            connection.send_request(output.message, output.token, self.now)
        else:
            self._give(role, Failed(output.interface, output.peer, output.token, "no connection to the peer"))

    # ---- the base station

    def _from_enb(self, outputs: Iterable[Output]) -> None:
        for output in outputs:
            if isinstance(output, Send) and isinstance(output.message, s1ap.Message):
                octets = output.message.encode()
                self._later(0.0, lambda octets=octets: self._at_mme(octets))  # type: ignore[misc]
            elif not isinstance(output, Send):
                self.notes.append((Role.ENB, output.event))

    def _at_mme(self, octets: bytes) -> None:
        peer = Peer(Role.ENB, self._at(Role.ENB))
        self._give(Role.MME, Received(Interface.S1_MME, peer, s1ap.decode(octets)))

    def _at_enb(self, octets: bytes) -> None:
        peer = Peer(Role.MME, self._at(Role.MME))
        try:
            self._from_enb(self.enb.receive(Received(Interface.S1_MME, peer, s1ap.decode(octets)), self.now))
        except PeerViolationError as error:
            self.refused.append(f"eNB: {error}")

    # ---- addresses

    def _at(self, role: Role) -> str:
        return self.lab.places.address(role)

    def _who(self, address: str) -> Role:
        return next(role for role, one in self.lab.places.addresses.items() if one == address)


def _messages(octets: bytes) -> list[bytes]:
    """The Diameter messages of a stream."""
    found = []
    while octets:
        length = int.from_bytes(octets[1:4], "big")
        found.append(octets[:length])
        octets = octets[length:]
    return found


def _name(packet: Packet) -> str:
    if packet.protocol == "GTPv2-C":
        return gtpv2.decode(packet.octets).name
    return diameter.summarise(diameter.decode(packet.octets)).name
