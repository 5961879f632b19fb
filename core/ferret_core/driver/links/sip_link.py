"""SIP between CSCFs (Mw), and with UEs (Gm): one transaction layer on UDP port 5060.

The CSCFs make their own 100 and ACK (every output is compared), so the layer only repeats what was sent
and absorbs what was repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic

import structlog

from ferret.errors import DecodeError
from ferret.protocols import sip
from ferret.protocols.sip.transactions import Happened, TransactionLayer, Unacknowledged, Unanswered
from ferret.records.message import Interface, Role
from ferret.transport.endpoint import Address
from ferret.transport.udp import UdpTransport
from ferret_core.driver.links.link import Arrived, Link
from ferret_core.driver.links.timer import Timer
from ferret_core.driver.ports import SIP_PORT
from ferret_core.nf import Peer, Received, Send

log = structlog.get_logger(__name__)


class SipLink(Link):
    """A CSCF's SIP port. `peers` are the other CSCFs' hosts; `others` is what anybody else is, None: a stranger."""

    def __init__(
        self,
        address: str,
        peers: Mapping[str, Role],
        arrived: Arrived,
        *,
        others: tuple[Role, Interface] | None = None,
    ) -> None:
        self._address = address
        self._peers = peers
        self._others = others
        self._arrived = arrived
        self._layer = TransactionLayer(acknowledges=False)
        self._socket: UdpTransport | None = None
        self._timer = Timer(self._wake, monotonic)

    async def start(self) -> None:
        """Open the port."""
        self._socket = await UdpTransport.bind(self._address, SIP_PORT, self._received)

    async def stop(self) -> None:
        """Close the port."""
        self._timer.set(None)
        if self._socket is not None:
            self._socket.close()

    def send(self, output: Send) -> None:
        """Send a request or response to the member at the peer's address."""
        if isinstance(output.message, sip.Message):
            self._layer.send(output.message, output.peer.address, monotonic())
            self._flush()

    def _received(self, octets: bytes, source: Address) -> None:
        try:
            message = sip.decode(octets)
        except DecodeError as error:
            log.warning("sip_undecodable", peer=source[0], reason=str(error))
            return
        happened = self._layer.receive(message, f"{source[0]}:{source[1]}", monotonic())
        self._flush()
        self._pass_on(happened)

    def _wake(self) -> None:
        happened = self._layer.wake(monotonic())
        self._flush()
        self._pass_on(happened)

    def _flush(self) -> None:
        if self._socket is not None:
            for message, destination in self._layer.to_send():
                self._socket.send(message.encode(), address_of(destination))
        self._timer.set(self._layer.deadline())

    def _pass_on(self, happened: tuple[Happened, ...]) -> None:
        for event in happened:
            if isinstance(event, Unacknowledged):
                log.warning("sip_unacknowledged", peer=event.destination)
                continue
            if isinstance(event, Unanswered):
                message, source = event.answer, event.destination
            else:
                message, source = event.message, event.source
            role = self._peers.get(source.rpartition(":")[0] or source)
            known = self._others if role is None else (role, Interface.MW)
            if known is None:
                log.warning("sip_from_stranger", peer=source)
                continue
            self._arrived(Received(known[1], Peer(known[0], source), message))


def address_of(destination: str) -> Address:
    """The transport address of "host" or "host:port"; without a port, SIP's own."""
    host, colon, port = destination.rpartition(":")
    if not colon or not port.isdigit():
        return destination, SIP_PORT
    return host, int(port)
