"""Create Session: a PDN connection is set up (TS 23.401 clause 5.3.2.1 steps 12 to 16, TS 29.274 clause 7.2.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ferret.protocols import gtpv2
from ferret.protocols.gtpv2 import (
    Apn,
    BearerQos,
    Cause,
    CauseIe,
    Ebi,
    FTeid,
    Ie,
    IeType,
    Imsi,
    InterfaceType,
    Message,
    MessageType,
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
    rewritten,
)
from ferret_core.nf import Note, Output, Received
from ferret_core.sgw.context import Bearer, ConnectionEvent, ConnectionState, PdnConnection, UeContext, Waiting

if TYPE_CHECKING:
    from ferret_core.sgw.nf import Sgw

_ENB = InterfaceType.S1_U_ENB_GTP_U
_PGW_U = InterfaceType.S5_S8_PGW_GTP_U


def requested(sgw: Sgw, event: Received, now: float) -> list[Output]:
    """The MME asks for a PDN connection: make room for it and ask the PGW."""
    message = request_of(event)
    imsi = required(message, Imsi, missing=Cause.CONDITIONAL_IE_MISSING).digits
    sender = required(message, FTeid)
    apn = required(message, Apn).name
    pgw = required(message, FTeid, 1, missing=Cause.CONDITIONAL_IE_MISSING)
    contexts = bearer_contexts(message)
    wanted = [(required(context, Ebi).value, required(context, BearerQos), context) for context in contexts]
    ue = _ue(sgw, message, imsi, Tunnel.of(sender))
    old = ue.connections.get(wanted[0][0])
    connection = _replace(sgw, old, ue, apn, wanted[0][0], Tunnel.of(pgw))
    for ebi, qos, context in wanted:
        _add_bearer(sgw, connection, ebi, qos, context)
    request = Message(MessageType.CREATE_SESSION_REQUEST, connection.pgw.teid, 0, _to_pgw(sgw, message, connection))
    waiting = Waiting(answered, connection, event, tuple(connection.bearers))
    return [sgw.ask(Interface.S5, sgw.to_pgw(connection), request, waiting)]


def _ue(sgw: Sgw, message: Message, imsi: str, mme: Tunnel) -> UeContext:
    """TEID 0 begins afresh (clause 7.2.1): what was left of the UE is forgotten. Any other TEID has to be known."""
    if message.teid:
        ue = sgw.ues.get(message.teid)
        if ue is None or ue.imsi != imsi:
            raise RefusedError(Cause.CONTEXT_NOT_FOUND)
        ue.mme = mme
        return ue
    left = sgw.ue_by_imsi(imsi)
    for connection in tuple(left.connections.values()) if left is not None else ():
        sgw.drop_connection(connection, ConnectionEvent.DROPPED)
    return sgw.new_ue(imsi, mme)


def _replace(sgw: Sgw, old: PdnConnection | None, ue: UeContext, apn: str, ebi: int, pgw: Tunnel) -> PdnConnection:
    """A new connection under a default bearer's identity; one that is there already is replaced (clause 7.2.1)."""
    if old is not None:
        del ue.connections[ebi]
    new = sgw.new_connection(ue, apn, ebi, pgw)
    if old is not None:
        sgw.drop_connection(old, ConnectionEvent.DROPPED)
    return new


def _add_bearer(sgw: Sgw, connection: PdnConnection, ebi: int, qos: BearerQos, context: Ie) -> None:
    bearer = sgw.new_bearer(connection, ebi, qos)
    enb, pgw = f_teid_of(context, _ENB), f_teid_of(context, _PGW_U)
    bearer.enb = Tunnel.of(enb) if enb is not None else None  # given where a UE moves to this SGW
    bearer.pgw = Tunnel.of(pgw) if pgw is not None else None
    sgw.route(bearer)


def _to_pgw(sgw: Sgw, message: Message, connection: PdnConnection) -> tuple[Ie, ...]:
    """The MME's IEs with our tunnels for the MME's; what concerns S11 alone is left out."""
    sender = gtpv2.f_teid(InterfaceType.S5_S8_SGW_GTP_C, connection.s5c_teid, sgw.address).ie(0)
    ies = rewritten(
        message.ies,
        {
            (IeType.F_TEID, 0): (sender,),
            (IeType.F_TEID, 1): (),
            (IeType.RECOVERY, 0): (),
            (IeType.BEARER_CONTEXT, 0): (),
            (IeType.BEARER_CONTEXT, 1): (),
        },
    )
    contexts = tuple(
        _context_to_pgw(sgw, context, bearer)
        for context, bearer in zip(message.bearer_contexts, connection.bearers, strict=True)
    )
    place = _place_of_contexts(message)
    return ies[:place] + contexts + ies[place:]


def _place_of_contexts(message: Message) -> int:
    """How many of the IEs that go on to the PGW stand before the Bearer Contexts."""
    left_out = {(IeType.F_TEID, 1), (IeType.RECOVERY, 0)}
    before = 0
    for ie in message.ies:
        if ie.type == IeType.BEARER_CONTEXT:
            break
        before += (ie.type, ie.instance) not in left_out
    return before


def _context_to_pgw(sgw: Sgw, context: Ie, bearer: Bearer) -> Ie:
    ours = gtpv2.f_teid(InterfaceType.S5_S8_SGW_GTP_U, bearer.s5u_teid, sgw.user_plane.address).ie(2)
    members = tuple(ie for ie in context if ie.type != IeType.F_TEID)
    return Ie(context.type, context.instance, inserted_after(members, IeType.EBI, ours))


def answered(sgw: Sgw, waiting: Waiting, message: Message | None, now: float) -> list[Output]:
    """The PGW has answered, or has not: the MME hears of it."""
    connection, asked = waiting.connection, waiting.asked
    if asked is None:
        return []
    mme = connection.ue.mme.teid
    verdict, cause = _verdict(connection, message)
    if verdict is None:
        sgw.drop_connection(connection, ConnectionEvent.DROPPED)
        note = Note("pdn_connection_refused", {"apn": connection.apn, "cause": cause.value})
        return [note, answer_to(asked, mme, cause)]
    connection.move(ConnectionEvent.CREATED)
    for bearer in connection.bearers:
        sgw.route(bearer)
    note = Note("pdn_connection_created", {"apn": connection.apn, "ebi": connection.ebi})
    answer = Message(MessageType.CREATE_SESSION_RESPONSE, mme, 0, _to_mme(sgw, verdict, connection))
    return [note, reply(asked, answer)]


def _verdict(connection: PdnConnection, message: Message | None) -> tuple[Message | None, CauseIe]:
    """The PGW's answer where it accepts and says all that is needed; else None and the Cause for the MME."""
    if message is None:
        return None, CauseIe(Cause.REMOTE_PEER_NOT_RESPONDING)
    cause = cause_of(message)
    if cause is None:
        return None, CauseIe(Cause.MANDATORY_IE_MISSING, offending=IeType.CAUSE)
    if not cause.accepted:
        return None, cause
    if connection.state is not ConnectionState.CREATING:
        return None, CauseIe(Cause.REQUEST_REJECTED_REASON_NOT_SPECIFIED)  # the UE has begun afresh since
    try:
        control = f_teid_of(message, InterfaceType.S5_S8_PGW_GTP_C)
        if control is None:
            raise RefusedError(Cause.CONDITIONAL_IE_MISSING, IeType.F_TEID, 1)
        for context in bearer_contexts(message):
            _learn(connection, context)
        pgw = Tunnel.of(control)
        if all(bearer.pgw is None for bearer in connection.bearers):
            raise RefusedError(Cause.CONDITIONAL_IE_MISSING, IeType.F_TEID, 2)
    except RefusedError as refused:
        return None, CauseIe(refused.cause, offending=refused.offending, offending_instance=refused.instance)
    connection.pgw = pgw
    return message, cause


def _learn(connection: PdnConnection, context: Ie) -> None:
    """Take a bearer's tunnel at the PGW, and its QoS where the PCRF has changed it."""
    bearer = connection.bearer(required(context, Ebi).value)
    tunnel = f_teid_of(context, _PGW_U)
    if bearer is not None and tunnel is not None:
        bearer.pgw = Tunnel.of(tunnel)
        bearer.qos = optional(context, BearerQos) or bearer.qos


def _to_mme(sgw: Sgw, message: Message, connection: PdnConnection) -> tuple[Ie, ...]:
    """The PGW's IEs with our S11 tunnel, and with each bearer's S1-U tunnel here."""
    ours = gtpv2.f_teid(InterfaceType.S11_SGW_GTP_C, connection.ue.s11_teid, sgw.address).ie(0)
    ies = tuple(_context_to_mme(sgw, ie, connection) for ie in message.ies if ie.type != IeType.RECOVERY)
    return inserted_after(ies, IeType.CAUSE, ours)


def _context_to_mme(sgw: Sgw, ie: Ie, connection: PdnConnection) -> Ie:
    bearer = connection.bearer(gtpv2.ebi_of(ie)) if ie.type == IeType.BEARER_CONTEXT and ie.instance == 0 else None
    if bearer is None:
        return ie
    ours = gtpv2.f_teid(InterfaceType.S1_U_SGW_GTP_U, bearer.s1u_teid, sgw.user_plane.address).ie(0)
    return Ie(ie.type, ie.instance, inserted_after(tuple(ie), IeType.EBI, ours))
