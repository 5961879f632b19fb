"""A device's SIP over TCP inside its bearers: connections by peer, opened when needed, used again, cut into messages.

The device opens every connection itself; its P-CSCF sends back over it (RFC 5626).
"""

from __future__ import annotations

from collections.abc import Callable
from random import SystemRandom
from time import monotonic
from typing import Final

import structlog

from ferret.errors import DecodeError, LocalMisuseError
from ferret.protocols import sip
from ferret.transport.endpoint import Address
from ferret_core.driver.links.timer import Timer
from ferret_core.tcp import Closed, Connection, Delivered, Happened, Lost, TcpStack
from ferret_core.ua.packets import MTU

log = structlog.get_logger(__name__)
_FIRST_PORT: Final = 49152  # of those that nobody has of his own (RFC 6335 clause 6)
_PORTS: Final = 16384


class BearerStreams:
    """The TCP connections of one device.

    `send_packet` gets IP packets for a bearer; `took(message, peer)` each message; `failed(messages, peer, reason)`
    what could not be sent; `lost(peer)` is told of a connection that the other side has ended.
    """

    def __init__(
        self,
        address: str,
        *,
        send_packet: Callable[[bytes], None],
        took: Callable[[sip.Message, Address], None],
        failed: Callable[[list[sip.Message], Address, str], None],
        lost: Callable[[Address], None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._address = address
        self._random = SystemRandom()  # ports and sequence numbers that nobody guesses (RFC 6056, RFC 6528)
        self._send_packet = send_packet
        self._took = took
        self._failed = failed
        self._lost = lost
        self._clock = clock
        self._stack = TcpStack(self._random, mtu=MTU)
        self._timer = Timer(self._wake, clock)
        self._connections: dict[Address, tuple[Connection, sip.MessageStream]] = {}
        self._unheard: dict[Address, list[sip.Message]] = {}  # sent, and nothing has come back yet

    def has(self, peer: Address) -> bool:
        """Whether there is a connection to `peer`."""
        return peer in self._connections

    def send(self, message: sip.Message, peer: Address) -> None:
        """Send over the connection to `peer`, opening one if there is none."""
        now = self._clock()
        try:
            connection, _ = self._connections.get(peer) or self._connect(peer, now)
            connection.send(message.encode(), now)
        except LocalMisuseError as error:
            self._failed([message], peer, str(error))
            return
        if peer in self._unheard:
            self._unheard[peer].append(message)
        self._pump()

    def receive(self, packet: bytes) -> None:
        """An IP packet with TCP in it has come on a bearer."""
        self._happened(self._stack.receive(packet, self._clock()))
        self._pump()

    def close(self) -> None:
        """Say on every connection that there is nothing more."""
        for connection, _ in self._connections.values():
            connection.close(self._clock())
        self._connections.clear()
        self._unheard.clear()
        self._pump()

    def stop(self) -> None:
        """Nothing is sent any more: the bearer is gone."""
        self._timer.set(None)
        self._connections.clear()
        self._stack = TcpStack(self._random, mtu=MTU)

    def _connect(self, peer: Address, now: float) -> tuple[Connection, sip.MessageStream]:
        local = (self._address, _FIRST_PORT + self._random.randrange(_PORTS))
        made = self._connections[peer] = (self._stack.connect(local, peer, now), sip.MessageStream())
        self._unheard[peer] = []
        return made

    def _happened(self, events: list[tuple[Connection, Happened]]) -> None:
        for connection, event in events:
            peer = connection.remote
            known = self._connections.get(peer)
            if known is None or known[0] is not connection:
                continue
            if isinstance(event, Delivered):
                self._deliver(peer, known[1], event.octets)
            elif isinstance(event, (Closed, Lost)):
                if isinstance(event, Closed):
                    connection.close(self._clock())
                self._gone(peer, event.reason if isinstance(event, Lost) else "closed by peer")

    def _deliver(self, peer: Address, stream: sip.MessageStream, octets: bytes) -> None:
        self._unheard.pop(peer, None)
        try:
            for message in stream.receive(octets):
                self._took(message, peer)
        except DecodeError as error:
            log.warning("sip_stream_undecodable", peer=peer[0], reason=str(error))
            self._connections[peer][0].abort()
            self._gone(peer, str(error))

    def _gone(self, peer: Address, reason: str) -> None:
        del self._connections[peer]
        unheard = self._unheard.pop(peer, None)
        if unheard is None:
            self._lost(peer)
        elif unheard:
            self._failed(unheard, peer, reason)

    def _wake(self) -> None:
        self._happened(self._stack.wake(self._clock()))
        self._pump()

    def _pump(self) -> None:
        for packet in self._stack.packets():
            self._send_packet(packet)
        self._timer.set(self._stack.deadline())
