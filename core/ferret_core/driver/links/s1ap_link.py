"""S1-MME towards base stations: an SCTP endpoint on port 36412 (TS 36.412)."""

from __future__ import annotations

import structlog

from ferret.errors import DecodeError
from ferret.protocols import s1ap
from ferret.records.message import Interface, Role
from ferret.transport.sctp import PPID_S1AP, SctpAssociation, SctpListener, SctpMessage, SctpTransport
from ferret_core.driver.links.link import Arrived, Link
from ferret_core.driver.ports import S1AP_PORT
from ferret_core.nf import Peer, PeerLost, Received, Send

log = structlog.get_logger(__name__)

UE_STREAM = 1
"""TS 36.412 clause 7: one pair of streams for common procedures (0), others for UE-associated signalling."""


class S1apLink(Link):
    """The MME's end of its base stations' associations, by the base station's address."""

    def __init__(self, transport: SctpTransport, address: str, arrived: Arrived) -> None:
        self._transport = transport
        self._address = address
        self._arrived = arrived
        self._associations: dict[str, SctpAssociation] = {}
        self._listener: SctpListener | None = None

    async def start(self) -> None:
        """Listen for base stations."""
        self._listener = await self._transport.listen(self._address, S1AP_PORT, self._accept)

    async def stop(self) -> None:
        """End every association and stop listening."""
        for association in self._associations.values():
            association.close()
        self._associations.clear()
        if self._listener is not None:
            self._listener.close()

    def end(self, enb: str) -> None:
        """End the association with a base station."""
        association = self._associations.pop(enb, None)
        if association is not None:
            association.close()
            self._arrived(PeerLost(Interface.S1_MME, Peer(Role.ENB, enb), "ended"))

    def send(self, output: Send) -> None:
        """Send to the base station at the peer's address; one that is not connected is reported, not fatal."""
        association = self._associations.get(output.peer.address)
        if association is None:
            log.warning("enb_not_connected", enb=output.peer.address)
            return
        association.send(output.message.encode(), stream=min(UE_STREAM, association.streams - 1), ppid=PPID_S1AP)

    def _accept(self, association: SctpAssociation) -> None:
        address = association.peer[0]
        peer = Peer(Role.ENB, address)
        self._associations[address] = association

        def received(message: SctpMessage) -> None:
            try:
                decoded = s1ap.decode(message.octets)
            except DecodeError as error:
                log.warning("s1ap_undecodable", enb=address, reason=str(error))
                return
            self._arrived(Received(Interface.S1_MME, peer, decoded))

        def lost(reason: str) -> None:
            if self._associations.get(address) is association:
                del self._associations[address]
            self._arrived(PeerLost(Interface.S1_MME, peer, reason))

        association.received = received
        association.lost = lost
