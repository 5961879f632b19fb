"""Create, Update and Delete Bearer: from the PGW to the MME and back (TS 23.401 clauses 5.4.1, 5.4.2.1, 5.4.4.1).

TS 29.274 clauses 7.2.3, 7.2.4, 7.2.9.2, 7.2.10.2, 7.2.15 and 7.2.16.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ferret.errors import DecodeError
from ferret.protocols import gtpv2
from ferret.protocols.gtpv2 import (
    BearerQos,
    Cause,
    CauseIe,
    Ebi,
    Ie,
    IeType,
    InterfaceType,
    Message,
    MessageType,
    bearer_context,
)
from ferret.records.message import Interface
from ferret_core.gtp_control import (
    RefusedError,
    Tunnel,
    answer_to,
    bearer_contexts,
    cause_of,
    f_teid_of,
    inserted_after,
    optional,
    reply,
    request_of,
    required,
)
from ferret_core.nf import Note, Output, Received
from ferret_core.sgw.context import Bearer, ConnectionEvent, PdnConnection, Waiting

if TYPE_CHECKING:
    from ferret_core.sgw.nf import Sgw

_PGW_U = InterfaceType.S5_S8_PGW_GTP_U


def create_requested(sgw: Sgw, event: Received, now: float) -> list[Output]:
    """The PGW wants dedicated bearers: give each its tunnels here, and ask the MME."""
    message = request_of(event)
    connection = sgw.connection_of(event)
    required(message, Ebi)
    wanted = []
    for context in bearer_contexts(message):
        tunnel = f_teid_of(context, _PGW_U)
        if tunnel is None:
            raise RefusedError(Cause.MANDATORY_IE_MISSING, IeType.F_TEID, 1)
        wanted.append((required(context, BearerQos), Tunnel.of(tunnel)))
    bearers = []
    for qos, pgw in wanted:
        bearer = sgw.new_bearer(connection, 0, qos)
        bearer.pgw = pgw
        sgw.route(bearer)
        bearers.append(bearer)
    fresh = iter(bearers)
    ies = tuple(
        _create_context(sgw, ie, next(fresh)) if ie.type == IeType.BEARER_CONTEXT and ie.instance == 0 else ie
        for ie in message.ies
    )
    request = Message(MessageType.CREATE_BEARER_REQUEST, connection.ue.mme.teid, 0, ies)
    waiting = Waiting(created, connection, event, tuple(bearers))
    return [sgw.ask(Interface.S11, sgw.to_mme(connection.ue), request, waiting)]


def _create_context(sgw: Sgw, context: Ie, bearer: Bearer) -> Ie:
    """The PGW's Bearer Context with our S1-U tunnel before its own (table 7.2.3-2), or in its place."""
    ours = gtpv2.f_teid(InterfaceType.S1_U_SGW_GTP_U, bearer.s1u_teid, sgw.user_plane.address).ie(0)
    members = tuple(ie for ie in context if sgw.tell_pgw_f_teid or ie.type != IeType.F_TEID)
    return Ie(context.type, 0, inserted_after(members, IeType.BEARER_TFT, ours))


def created(sgw: Sgw, waiting: Waiting, message: Message | None, now: float) -> list[Output]:
    """The MME has answered for the new bearers, or has not: keep what it accepts, and tell the PGW."""
    connection, asked = waiting.connection, waiting.asked
    if asked is None:
        return []
    outcome = _created_contexts(sgw, waiting, message)
    for bearer in waiting.bearers:
        if bearer.enb is None:
            sgw.drop_bearer(connection, bearer)
    if isinstance(outcome, CauseIe):
        note = Note("dedicated_bearer_refused", {"apn": connection.apn, "cause": int(outcome.value)})
        return [note, answer_to(asked, connection.pgw.teid, outcome)]
    cause, contexts = outcome
    rest = tuple(ie for ie in message.ies if ie.type not in _OUR_OWN) if message is not None else ()
    return [answer_to(asked, connection.pgw.teid, cause, *contexts, *rest)]


_OUR_OWN = frozenset({IeType.CAUSE, IeType.BEARER_CONTEXT, IeType.RECOVERY})


def _created_contexts(sgw: Sgw, waiting: Waiting, message: Message | None) -> CauseIe | tuple[CauseIe, tuple[Ie, ...]]:
    """Cause and Bearer Contexts for the PGW; the Cause alone where the MME has said nothing of any bearer."""
    cause, contexts = _answer_of(message)
    if not contexts:
        return cause
    try:
        return cause, tuple(_created_context(sgw, waiting, place, context) for place, context in enumerate(contexts))
    except RefusedError as refused:
        return CauseIe(refused.cause, offending=refused.offending, offending_instance=refused.instance)


def _answer_of(message: Message | None) -> tuple[CauseIe, tuple[Ie, ...]]:
    """The MME's Cause and Bearer Contexts. An answer without contexts lacks a mandatory IE, whatever its Cause."""
    if message is None:
        return CauseIe(Cause.REMOTE_PEER_NOT_RESPONDING), ()
    cause = cause_of(message)
    if cause is None or not message.bearer_contexts:
        return CauseIe(Cause.MANDATORY_IE_MISSING), ()
    return cause, message.bearer_contexts


def _created_context(sgw: Sgw, waiting: Waiting, place: int, context: Ie) -> Ie:
    ebi = required(context, Ebi).value
    cause = required(context, CauseIe)
    bearer = _bearer_of(waiting, place, context)
    if not cause.accepted or bearer is None:
        return bearer_context(cause if bearer is not None else CauseIe(Cause.CONTEXT_NOT_FOUND), ebi=ebi)
    enb = f_teid_of(context, InterfaceType.S1_U_ENB_GTP_U)
    if enb is None:
        raise RefusedError(Cause.CONDITIONAL_IE_MISSING, IeType.F_TEID)
    bearer.ebi, bearer.enb = ebi, Tunnel.of(enb)
    sgw.route(bearer)
    pgw = bearer.pgw or Tunnel("", 0)
    return bearer_context(
        gtpv2.f_teid(InterfaceType.S5_S8_SGW_GTP_U, bearer.s5u_teid, sgw.user_plane.address).ie(2),
        gtpv2.f_teid(_PGW_U, pgw.teid, pgw.address).ie(3),
        cause,
        ebi=ebi,
    )


def _bearer_of(waiting: Waiting, place: int, context: Ie) -> Bearer | None:
    """The bearer that the MME speaks of: it gives our S1-U TEID back (table 7.2.4-2); by position where it does not."""
    ours = f_teid_of(context, InterfaceType.S1_U_SGW_GTP_U)
    known = [bearer for bearer in waiting.bearers if bearer in waiting.connection.bearers]
    if ours is not None:
        return next((bearer for bearer in known if bearer.s1u_teid == ours.teid), None)
    return known[place] if place < len(known) else None


def update_requested(sgw: Sgw, event: Received, now: float) -> list[Output]:
    """The PGW wants bearers changed: the MME is asked in the same words."""
    message = request_of(event)
    connection = sgw.connection_of(event)
    bearers = []
    for context in bearer_contexts(message):
        bearer = connection.bearer(required(context, Ebi).value)
        if bearer is None:
            raise RefusedError(Cause.CONTEXT_NOT_FOUND)
        optional(context, BearerQos)
        bearers.append(bearer)
    request = Message(MessageType.UPDATE_BEARER_REQUEST, connection.ue.mme.teid, 0, message.ies)
    waiting = Waiting(updated, connection, event, tuple(bearers))
    return [sgw.ask(Interface.S11, sgw.to_mme(connection.ue), request, waiting)]


def updated(sgw: Sgw, waiting: Waiting, message: Message | None, now: float) -> list[Output]:
    """The MME has answered, or has not; bearers that it accepts have their new QoS."""
    connection, asked = waiting.connection, waiting.asked
    if asked is None:
        return []
    cause, contexts = _answer_of(message)
    if not contexts or message is None:
        note = Note("bearer_update_refused", {"apn": connection.apn, "cause": int(cause.value)})
        return [note, answer_to(asked, connection.pgw.teid, cause)]
    accepted = {_ebi(context) for context in contexts if (said := cause_of(context)) is not None and said.accepted}
    for context in request_of(asked).bearer_contexts:
        bearer = connection.bearer(_ebi(context))
        if bearer is not None and bearer.ebi in accepted:
            bearer.qos = optional(context, BearerQos) or bearer.qos
    return [_passed_on(asked, message, connection)]


def _ebi(context: Ie) -> int:
    try:
        return gtpv2.ebi_of(context)
    except DecodeError:
        return 0


def _passed_on(asked: Received, message: Message, connection: PdnConnection) -> Output:
    """The MME's answer to the PGW as it is, but for what concerns S11 alone."""
    ies = tuple(ie for ie in message.ies if ie.type not in (IeType.RECOVERY, IeType.F_TEID))
    return reply(asked, Message(message.type, connection.pgw.teid, 0, ies))


def delete_requested(sgw: Sgw, event: Received, now: float) -> list[Output]:
    """The PGW wants bearers gone: with Linked EBI the PDN connection (clause 7.2.9.2), else those that it names."""
    message = request_of(event)
    connection = sgw.connection_of(event)
    if message.find(IeType.EBI, 0) is not None:
        required(message, Ebi)
        connection.move(ConnectionEvent.DELETE)
        bearers = tuple(connection.bearers)
    else:
        bearers = _named(message, connection)
    request = Message(MessageType.DELETE_BEARER_REQUEST, connection.ue.mme.teid, 0, message.ies)
    waiting = Waiting(deleted, connection, event, bearers)
    return [sgw.ask(Interface.S11, sgw.to_mme(connection.ue), request, waiting)]


def _named(message: Message, connection: PdnConnection) -> tuple[Bearer, ...]:
    named = message.all(IeType.EBI, 1)
    if not named:
        raise RefusedError(Cause.CONDITIONAL_IE_MISSING, IeType.EBI, 1)
    try:
        found = [connection.bearer(Ebi.decode(ie.octets).value) for ie in named]
    except DecodeError as error:
        raise RefusedError(Cause.MANDATORY_IE_INCORRECT, IeType.EBI, 1) from error
    bearers = tuple(bearer for bearer in found if bearer is not None)
    if not bearers:
        raise RefusedError(Cause.CONTEXT_NOT_FOUND)
    return bearers


def deleted(sgw: Sgw, waiting: Waiting, message: Message | None, now: float) -> list[Output]:
    """The bearers are gone whatever the MME says: it knows nothing of them, or the UE is out of reach.

    Not so one that was named by EBI 0, as the MME had not yet made it: the answer about its making settles it.
    """
    connection, asked = waiting.connection, waiting.asked
    if asked is None:
        return []
    whole = request_of(asked).find(IeType.EBI, 0) is not None
    named = {Ebi.decode(ie.octets).value for ie in request_of(asked).all(IeType.EBI, 1)}
    for bearer in waiting.bearers:
        if whole or (bearer.ebi and bearer.ebi in named):
            sgw.drop_bearer(connection, bearer)
    if whole:
        sgw.drop_connection(connection, ConnectionEvent.DELETED)
    if message is None:
        return [answer_to(asked, connection.pgw.teid, CauseIe(Cause.REMOTE_PEER_NOT_RESPONDING))]
    return [_passed_on(asked, message, connection)]
