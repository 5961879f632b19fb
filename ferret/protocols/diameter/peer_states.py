"""States and events of a Diameter connection (RFC 6733 clause 5.6)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from ferret.protocols.diameter.constants import Command
from ferret.protocols.diameter.tree import Message


class Side(StrEnum):
    """Who opened the connection."""

    INITIATOR = "initiator"
    RESPONDER = "responder"


class PeerState(StrEnum):
    """RFC 6733 clause 5.6. `WAIT_CER` is the RFC's Closed, once somebody has connected to us."""

    CLOSED = "Closed"
    WAIT_CONN_ACK = "Wait-Conn-Ack"
    WAIT_CER = "Wait-CER"
    WAIT_CEA = "Wait-I-CEA"
    OPEN = "Open"
    CLOSING = "Closing"


class PeerEvent(StrEnum):
    """RFC 6733 clause 5.6.1, without the prefixes I- and R-."""

    CONN_ACK = "Rcv-Conn-Ack"
    CER = "Rcv-CER"
    CEA = "Rcv-CEA"
    DWR = "Rcv-DWR"
    DWA = "Rcv-DWA"
    DPR = "Rcv-DPR"
    DPA = "Rcv-DPA"
    MESSAGE = "Rcv-Message"
    STOP = "Stop"
    TIMEOUT = "Timeout"
    DISCONNECTED = "Peer-Disc"


_COMMANDS: Final[dict[tuple[int, bool], PeerEvent]] = {
    (Command.CAPABILITIES_EXCHANGE, True): PeerEvent.CER,
    (Command.CAPABILITIES_EXCHANGE, False): PeerEvent.CEA,
    (Command.DEVICE_WATCHDOG, True): PeerEvent.DWR,
    (Command.DEVICE_WATCHDOG, False): PeerEvent.DWA,
    (Command.DISCONNECT_PEER, True): PeerEvent.DPR,
    (Command.DISCONNECT_PEER, False): PeerEvent.DPA,
}


def event_of(message: Message) -> PeerEvent:
    """What kind of event the arrival of this message is."""
    return _COMMANDS.get((message.command, message.is_request), PeerEvent.MESSAGE)
