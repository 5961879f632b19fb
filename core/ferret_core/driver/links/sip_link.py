"""SIP between CSCFs (Mw), and with UEs (Gm): one transaction layer on UDP and TCP port 5060.

The CSCFs make their own 100 and ACK (every output is compared), so the layer only repeats what was sent
and absorbs what was repeated. A message goes over the transport that its topmost Via names (RFC 3261 clause 18.1.1,
18.2.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import Final

import structlog

from ferret.errors import DecodeError
from ferret.protocols import sip
from ferret.protocols.sip.transactions import Happened, TransactionLayer, Unacknowledged, Unanswered
from ferret.records.message import Interface, Role
from ferret.transport.endpoint import Address, text
from ferret.transport.udp import UdpTransport
from ferret_core.driver.links.link import Arrived, Link
from ferret_core.driver.links.sip_streams import SipStreams
from ferret_core.driver.links.timer import Timer
from ferret_core.driver.ports import SIP_PORT
from ferret_core.nf import Peer, Received, Send

log = structlog.get_logger(__name__)
FLOW_FAILED: Final = (430, "Flow Failed")  # RFC 5626 clause 11.5
UNREACHED: Final = (503, "Service Unavailable")  # RFC 3261 clause 16.9


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
        self._streams = SipStreams(self._take_reliably, self._not_sent)
        self._timer = Timer(self._wake, monotonic)

    async def start(self) -> None:
        """Open the port. Raises TransportError."""
        self._socket = await UdpTransport.bind(self._address, SIP_PORT, self._received)
        try:
            await self._streams.start(self._address, SIP_PORT)
        except BaseException:
            self._socket.close()
            raise

    async def stop(self) -> None:
        """Close the port."""
        self._timer.set(None)
        self._streams.stop()
        if self._socket is not None:
            self._socket.close()

    def drop_connections(self, host: str) -> None:
        """End the TCP connections with a host; whoever is there may open others."""
        self._streams.drop(host)

    def send(self, output: Send) -> None:
        """Send a request or response to the member at the peer's address."""
        if isinstance(output.message, sip.Message):
            reliable = is_stream(output.message)
            self._layer.send(output.message, output.peer.address, monotonic(), reliable=reliable)
            self._flush()

    def _received(self, octets: bytes, source: Address) -> None:
        try:
            message = sip.decode(octets)
        except DecodeError as error:
            log.warning("sip_undecodable", peer=source[0], reason=str(error))
            return
        self._take(message, source, reliable=False)

    def _take_reliably(self, message: sip.Message, source: Address) -> None:
        self._take(message, source, reliable=True)

    def _take(self, message: sip.Message, source: Address, *, reliable: bool) -> None:
        happened = self._layer.receive(message, text(source), monotonic(), reliable=reliable)
        self._flush()
        self._pass_on(happened)

    def _wake(self) -> None:
        happened = self._layer.wake(monotonic())
        self._flush()
        self._pass_on(happened)

    def _flush(self) -> None:
        for message, destination in self._layer.to_send():
            address = address_of(destination)
            if is_stream(message):
                self._send_in_stream(message, address)
            elif self._socket is not None:
                self._socket.send(message.encode(), address)
        self._timer.set(self._layer.deadline())

    def _send_in_stream(self, message: sip.Message, peer: Address) -> None:
        """A device behind a connection that is gone cannot be reached; an NF can be connected to anew."""
        if not self._streams.has(peer) and self._is_device(peer):
            self._not_sent([message], peer, "the device's connection is gone")
            return
        if not message.is_request and not self._streams.has(peer):
            peer = response_address(message, peer)
        self._streams.send(message, peer)

    def _is_device(self, peer: Address) -> bool:
        """Whether this is a device, which listens on no port of its own."""
        return peer[0] not in self._peers and self._others is not None and self._others[0] is Role.UE

    def _not_sent(self, messages: list[sip.Message], peer: Address, reason: str) -> None:
        """To an NF, datagrams are tried instead (RFC 3261 clause 18.1.1); a device's flow has failed."""
        log.warning("sip_stream_failed", peer=peer[0], reason=reason)
        happened: list[Happened] = []
        now = monotonic()
        for message in messages:
            if not message.is_request:
                continue
            if not self._is_device(peer):
                self._layer.retry(in_datagrams(message), text(peer), now)
            elif message.method != "ACK":
                failed = sip.respond(message, *FLOW_FAILED, to_tag="flow")
                happened += self._layer.receive(failed, text(peer), now, reliable=True)
        self._flush()
        self._pass_on(tuple(happened))

    def _pass_on(self, happened: tuple[Happened, ...]) -> None:
        for event in happened:
            if isinstance(event, Unacknowledged):
                log.warning("sip_unacknowledged", peer=event.destination)
                continue
            if isinstance(event, Unanswered):
                message, source = event.answer, event.destination
            else:
                message, source = event.message, event.source
            role = self._peers.get(address_of(source)[0])
            known = self._others if role is None else (role, Interface.MW)
            if known is None:
                log.warning("sip_from_stranger", peer=source)
                continue
            self._arrived(Received(known[1], Peer(known[0], source), message))


def address_of(destination: str) -> Address:
    """The transport address of "host" or "host:port", IPv6 in brackets; without a port, SIP's own."""
    host, colon, port = destination.rpartition(":")
    if not colon or not port.isdigit() or (":" in host and not host.endswith("]")):
        return destination.strip("[]"), SIP_PORT
    return host.strip("[]"), int(port)


def is_stream(message: sip.Message) -> bool:
    """Whether a message goes over TCP: its topmost Via says so."""
    return sip.parse_via(message.first("Via")).transport == "TCP"


def in_datagrams(message: sip.Message) -> sip.Message:
    """A request with UDP in its topmost Via."""
    return message.replace_first_value("Via", message.first("Via").replace("/TCP", "/UDP", 1))


def response_address(response: sip.Message, peer: Address) -> Address:
    """Where a response goes whose connection is gone (RFC 3261 clause 18.2.2): `received`, and sent-by's port."""
    via = sip.parse_via(response.first("Via"))
    host = via.param("received") or peer[0]
    return host.strip("[]"), via.port or SIP_PORT
