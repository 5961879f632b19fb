"""The TCP connections of one host, or of every host beyond a PGW: IP packets go in, IP packets and events come out."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final, TypeAlias

from ferret.errors import LocalMisuseError
from ferret.transport.endpoint import Address
from ferret_core.sip_timers import earliest
from ferret_core.tcp.connection import Connection, Happened
from ferret_core.tcp.segment import Flag, Segment, segment_of
from ferret_core.tcp.states import TcpState

MAX_CONNECTIONS: Final = 1024
_WRAP: Final = 1 << 32
Key: TypeAlias = tuple[Address, Address]


class TcpStack:
    """All connections. `asked(syn)` gets a SYN that nobody has opened a connection for; whether it will be answered.

    It may `accept` it then or later, or `refuse` it.
    """

    def __init__(self, random: Random, *, mtu: int, asked: Callable[[Segment], bool] | None = None) -> None:
        """`mtu`: the longest IP packet, in octets."""
        self._random = random
        self._mtu = mtu
        self._asked = asked
        self._connections: dict[Key, Connection] = {}
        self._outbox: list[Segment] = []

    def connect(self, local: Address, remote: Address, now: float) -> Connection:
        """Open a connection. Raises LocalMisuseError where there is one between these already."""
        connection = self._new(local, remote)
        connection.open(now)
        return connection

    def accept(self, syn: Segment, now: float) -> Connection:
        """Answer a SYN. Raises LocalMisuseError where there is a connection between its ends already."""
        connection = self._new(syn.destination, syn.source)
        connection.accept(syn, now)
        return connection

    def refuse(self, segment: Segment) -> None:
        """Say that there is no connection (RFC 9293 clause 3.10.7.1)."""
        if segment.flags & Flag.RST:
            return
        if segment.flags & Flag.ACK:
            sequence, acknowledgement, flags = segment.acknowledgement, 0, Flag.RST
        else:
            sequence, flags = 0, Flag.RST | Flag.ACK
            acknowledgement = (segment.sequence + segment.length) % _WRAP
        self._outbox.append(Segment(segment.destination, segment.source, sequence, acknowledgement, flags, 0))

    def receive(self, packet: bytes, now: float) -> list[tuple[Connection, Happened]]:
        """An IP packet has come. What is no TCP is passed over."""
        segment = segment_of(packet)
        if segment is None:
            return []
        connection = self._connections.get((segment.destination, segment.source))
        if connection is not None and connection.state is not TcpState.CLOSED:
            return [(connection, event) for event in connection.receive(segment, now)]
        begins = segment.flags & (Flag.SYN | Flag.ACK | Flag.RST) == Flag.SYN
        if not begins or self._asked is None or not self._asked(segment):
            self.refuse(segment)
        return []

    def packets(self) -> list[bytes]:
        """IP packets that are to be sent now; each is given out once. Connections that are over are forgotten."""
        found, self._outbox = self._outbox, []
        for key, connection in list(self._connections.items()):
            found += connection.segments()
            if connection.state is TcpState.CLOSED:
                del self._connections[key]
        return [segment.encode() for segment in found]

    def deadline(self) -> float | None:
        """When `wake` wants to be called."""
        return earliest(*(one.deadline() for one in self._connections.values()))

    def wake(self, now: float) -> list[tuple[Connection, Happened]]:
        """Run the timers that are due."""
        return [(one, event) for one in list(self._connections.values()) for event in one.wake(now)]

    def __len__(self) -> int:
        return len(self._connections)

    def _new(self, local: Address, remote: Address) -> Connection:
        known = self._connections.get((local, remote))
        if known is not None and known.state not in (TcpState.CLOSED, TcpState.TIME_WAIT):
            raise LocalMisuseError("there is a TCP connection between these already")
        if len(self._connections) >= MAX_CONNECTIONS:
            raise LocalMisuseError(f"more than {MAX_CONNECTIONS} TCP connections")
        mss = self._mtu - (60 if ":" in local[0] else 40)
        connection = Connection(local, remote, self._random.getrandbits(32), mss=mss)
        self._connections[local, remote] = connection
        return connection
