"""One Diameter connection: a TCP connection with its peer state machine and timer, whoever has it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from time import monotonic

from ferret.protocols.diameter.peer import DiameterPeer
from ferret.protocols.diameter.peer_events import PeerOutput
from ferret.transport.tcp import TcpConnection
from ferret_core.driver.links.timer import Timer


class DiameterConnection(ABC):
    """Gives the peer state machine what comes, sends what it wants sent, and wakes it."""

    def __init__(self, socket: TcpConnection, peer: DiameterPeer) -> None:
        self.socket = socket
        self.peer = peer
        self._timer = Timer(self._wake, monotonic)
        socket.received = self._received
        socket.lost = self._lost

    @abstractmethod
    def passed_on(self, events: Sequence[PeerOutput]) -> None:
        """What the peer has to say, once what it wanted to send is on its way."""

    def start(self) -> None:
        """The TCP connection is up."""
        self.peer.connected(monotonic())
        self.flush()

    def flush(self) -> None:
        """Send what the state machine wants sent."""
        octets = self.peer.bytes_to_send()
        if octets:
            self.socket.write(octets)
        if self.peer.closed:
            self.close()
        else:
            self._timer.set(self.peer.deadline())

    def close(self) -> None:
        """End the connection; the peer sees it as ours."""
        self._timer.set(None)
        self.socket.close()

    def leave(self) -> None:
        """Disconnect in order as far as one can without waiting."""
        self.peer.stop(monotonic())
        self.flush()
        self.close()

    def _received(self, octets: bytes) -> None:
        events = self.peer.receive_bytes(octets, monotonic())
        self.flush()
        self.passed_on(events)

    def _lost(self, reason: str) -> None:
        self._timer.set(None)
        self.passed_on(self.peer.connection_lost(monotonic()))

    def _wake(self) -> None:
        events = self.peer.wake(monotonic())
        self.flush()
        self.passed_on(events)
