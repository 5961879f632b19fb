"""GTPv2-C between members: one `Gtpv2Endpoint` on UDP port 2123 (S11 and S5/S8)."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic

import structlog

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
from ferret.records.message import Interface, Role
from ferret.transport.endpoint import Address
from ferret.transport.udp import UdpTransport
from ferret_core.driver.links.link import Arrived, Link
from ferret_core.driver.links.timer import Timer
from ferret_core.driver.ports import GTPC_PORT
from ferret_core.nf import Failed, Peer, PeerLost, Received, Send

log = structlog.get_logger(__name__)


class Gtpv2Link(Link):
    """An NF's GTPv2-C port. `peers` are the other members' addresses and the interface towards each.

    With `echo_every` seconds, peers that have been heard are asked from time to time whether they are there
    (TS 23.007 clause 20): so a restart is noticed. `restart_counter` is the NF's own, which counts its restarts.
    """

    def __init__(
        self,
        address: str,
        peers: Mapping[str, tuple[Role, Interface]],
        arrived: Arrived,
        *,
        echo_every: float = 0.0,
        restart_counter: int = 0,
    ) -> None:
        self._address = address
        self._peers = peers
        self._by_role = {role: peer for peer, (role, _) in peers.items()}
        self._arrived = arrived
        self._endpoint = Gtpv2Endpoint(restart_counter=restart_counter % 256)
        self._echo_every = echo_every
        self._heard: set[Address] = set()
        self._socket: UdpTransport | None = None
        self._timer = Timer(self._wake, monotonic)
        self._echoes = Timer(self._echo, monotonic)

    async def start(self) -> None:
        """Open the port."""
        self._socket = await UdpTransport.bind(self._address, GTPC_PORT, self._received)
        self._echo_later()

    async def stop(self) -> None:
        """Close the port."""
        self._timer.set(None)
        self._echoes.set(None)
        if self._socket is not None:
            self._socket.close()

    def send(self, output: Send) -> None:
        """Send a request (reliably) or the answer to one."""
        message = output.message
        now = monotonic()
        if output.reply_to:
            self._endpoint.send_response(output.reply_to, message, now)  # type: ignore[arg-type]
        else:
            peer = (self._by_role[output.peer.role], GTPC_PORT)
            self._endpoint.send_request(message, peer, now, output.token)  # type: ignore[arg-type]
        self._flush()

    def _echo_later(self) -> None:
        if self._echo_every:
            self._echoes.set(monotonic() + self._echo_every)

    def _echo(self) -> None:
        for peer in self._heard:
            self._endpoint.send_echo(peer, monotonic())
        self._flush()
        self._echo_later()

    def _received(self, octets: bytes, source: Address) -> None:
        if source[0] in self._peers:
            self._heard.add((source[0], GTPC_PORT))
        events = self._endpoint.receive_datagram(octets, source, monotonic())
        self._flush()
        self._pass_on(events)

    def _wake(self) -> None:
        events = self._endpoint.wake(monotonic())
        self._flush()
        self._pass_on(events)

    def _flush(self) -> None:
        if self._socket is not None:
            for octets, peer in self._endpoint.datagrams():
                self._socket.send(octets, peer)
        self._timer.set(self._endpoint.deadline())

    def _pass_on(self, events: list[Event]) -> None:
        for event in events:
            known = self._peers.get(event.peer[0])
            if known is None:
                log.warning("gtpv2_from_stranger", peer=event.peer[0])
                continue
            role, interface = known
            peer = Peer(role, event.peer[0])
            match event:
                case RequestReceived(message=message, transaction=transaction):
                    self._arrived(Received(interface, peer, message, transaction))
                case ResponseReceived(message=message, token=token):
                    self._arrived(Received(interface, peer, message, token))
                case RequestTimedOut(token=token, reason=reason):
                    self._arrived(Failed(interface, peer, token, reason))
                case PeerRestarted() | PathFailed():
                    self._arrived(PeerLost(interface, peer, type(event).__name__))
                case Discarded(reason=reason):
                    log.warning("gtpv2_discarded", peer=event.peer[0], reason=reason)
