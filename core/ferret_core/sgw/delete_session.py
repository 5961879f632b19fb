"""Delete Session: the MME gives a PDN connection up (TS 23.401 clauses 5.3.8 and 5.10.3, TS 29.274 clause 7.2.9.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ferret.protocols import gtpv2
from ferret.protocols.gtpv2 import (
    Cause,
    CauseIe,
    Ebi,
    IeType,
    Indication,
    IndicationFlag,
    Message,
    MessageType,
)
from ferret.records.message import Interface, Role
from ferret_core.gtp_control import RefusedError, answer_to, cause_of, optional, reply, request_of, required
from ferret_core.nf import Note, Output, PeerLost, Received
from ferret_core.sgw.context import ConnectionEvent, PdnConnection, Waiting

if TYPE_CHECKING:
    from ferret_core.sgw.nf import Sgw


def requested(sgw: Sgw, event: Received, now: float) -> list[Output]:
    """The MME wants a PDN connection gone. OI sends the wish on to the PGW; SI keeps it here (clause 8.12)."""
    message = request_of(event)
    ue = sgw.ue_of(event)
    connection = ue.connections.get(required(message, Ebi).value)
    if connection is None:
        raise RefusedError(Cause.CONTEXT_NOT_FOUND)
    indication = optional(message, Indication) or Indication(b"")
    operation, scope = indication.has(IndicationFlag.OI), indication.has(IndicationFlag.SI)
    if operation and scope:
        raise RefusedError(Cause.INVALID_MESSAGE_FORMAT)
    connection.move(ConnectionEvent.DELETE)
    if scope:
        sgw.drop_connection(connection, ConnectionEvent.DELETED)
        return [answer_to(event, ue.mme.teid, CauseIe(Cause.REQUEST_ACCEPTED))]
    ies = tuple(ie for ie in message.ies if ie.type not in (IeType.F_TEID, IeType.RECOVERY, IeType.NODE_TYPE))
    request = Message(MessageType.DELETE_SESSION_REQUEST, connection.pgw.teid, 0, ies)
    return [sgw.ask(Interface.S5, sgw.to_pgw(connection), request, Waiting(answered, connection, event))]


def answered(sgw: Sgw, waiting: Waiting, message: Message | None, now: float) -> list[Output]:
    """The PDN connection is gone here whatever the PGW says; the MME hears what it said."""
    connection, asked = waiting.connection, waiting.asked
    sgw.drop_connection(connection, ConnectionEvent.DELETED)
    note = Note("pdn_connection_deleted", {"apn": connection.apn, "ebi": connection.ebi})
    if asked is None:
        return [note]
    teid = connection.ue.mme.teid
    if message is None:
        return [note, answer_to(asked, teid, CauseIe(Cause.REMOTE_PEER_NOT_RESPONDING))]
    if cause_of(message) is None:
        return [note, answer_to(asked, teid, CauseIe(Cause.INVALID_REPLY_FROM_REMOTE_PEER))]
    ies = tuple(ie for ie in message.ies if ie.type != IeType.RECOVERY)
    return [note, reply(asked, Message(MessageType.DELETE_SESSION_RESPONSE, teid, 0, ies))]


def peer_lost(sgw: Sgw, event: PeerLost, now: float) -> list[Output]:
    """A peer has restarted (TS 23.007 clause 14): its PDN connections are forgotten, and PGWs told of an MME's end."""
    out: list[Output] = []
    for connection in tuple(sgw.connections.values()):
        if event.peer.role is Role.PGW and _is_at(event, connection.pgw.address):
            sgw.drop_connection(connection, ConnectionEvent.DROPPED)
        elif event.peer.role is Role.MME and _is_at(event, connection.ue.mme.address):
            out += _give_up(sgw, connection)
    return [Note("peer_lost", {"nf": "SGW", "peer": str(event.peer.role), "reason": event.reason}), *out]


def _is_at(event: PeerLost, address: str) -> bool:
    return event.peer.address in ("", address)


def _give_up(sgw: Sgw, connection: PdnConnection) -> list[Output]:
    if not connection.pgw.teid:
        sgw.drop_connection(connection, ConnectionEvent.DROPPED)
        return []
    connection.move(ConnectionEvent.DELETE)
    request = gtpv2.request(MessageType.DELETE_SESSION_REQUEST, connection.pgw.teid, Ebi(connection.ebi))
    return [sgw.ask(Interface.S5, sgw.to_pgw(connection), request, Waiting(answered, connection))]
