"""Modify Bearer: the MME says where a UE's bearers end at the eNB (TS 23.401 clauses 5.3.2.1 step 23 and 5.3.4.1).

The PGW hears of it only where it has to: a change of RAT, time zone, serving network or of what is reported to it
(TS 29.274 clause 7.2.7). A changed location alone goes no further, as nobody has asked for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ferret.protocols import gtpv2
from ferret.protocols.gtpv2 import (
    Cause,
    CauseIe,
    Ebi,
    FTeid,
    Ie,
    IeType,
    InterfaceType,
    Message,
    MessageType,
    bearer_context,
)
from ferret.records.message import Interface
from ferret_core.gtp_control import RefusedError, Tunnel, answer_to, cause_of, f_teid_of, optional, request_of, required
from ferret_core.nf import Note, Output, Received
from ferret_core.sgw.context import PdnConnection, UeContext, Waiting

if TYPE_CHECKING:
    from ferret_core.sgw.nf import Sgw

_FOR_THE_PGW = (IeType.RAT_TYPE, IeType.UE_TIME_ZONE, IeType.UCI)
_PASSED_ON = frozenset(
    {
        IeType.MEI,
        IeType.ULI,
        IeType.SERVING_NETWORK,
        IeType.RAT_TYPE,
        IeType.UE_TIME_ZONE,
        IeType.UCI,
        IeType.INDICATION,
    }
)


def requested(sgw: Sgw, event: Received, now: float) -> list[Output]:
    """The MME has connected bearers, or reports a change of the UE."""
    message = request_of(event)
    ue = sgw.ue_of(event)
    sender = optional(message, FTeid)
    modified = [_check(ue, context) for context in message.bearer_contexts]
    if modified and not any(tunnel for _, tunnel in modified):
        raise RefusedError(Cause.CONTEXT_NOT_FOUND)
    if sender is not None:
        ue.mme = Tunnel.of(sender)
    for ebi, tunnel in modified:
        bearer = ue.bearer(ebi)
        if bearer is not None and tunnel is not None:
            bearer.enb = Tunnel.of(tunnel)
            sgw.route(bearer)
    for context in message.all(IeType.BEARER_CONTEXT, 1):
        _disconnect(sgw, ue, context)
    ue.notified = False
    connections = _connections(ue, modified)
    if any(message.find(kind) for kind in _FOR_THE_PGW) and connections:
        return _ask_pgws(sgw, event, message, connections)
    return [answer_to(event, ue.mme.teid, *_parts(sgw, ue, message))]


def _check(ue: UeContext, context: Ie) -> tuple[int, FTeid | None]:
    """EBI and eNB tunnel of a Bearer Context; no tunnel where the bearer is unknown."""
    ebi = required(context, Ebi).value
    tunnel = f_teid_of(context, InterfaceType.S1_U_ENB_GTP_U)
    if tunnel is None:
        raise RefusedError(Cause.CONDITIONAL_IE_MISSING, IeType.F_TEID)
    return ebi, tunnel if ue.bearer(ebi) is not None else None


def _disconnect(sgw: Sgw, ue: UeContext, context: Ie) -> None:
    """A bearer for which the eNB had no room (Bearer Contexts to be removed): it leads nowhere until it is deleted."""
    ebi = optional(context, Ebi)
    bearer = None if ebi is None else ue.bearer(ebi.value)
    if bearer is not None:
        bearer.enb = None
        sgw.route(bearer)


def _connections(ue: UeContext, modified: list[tuple[int, FTeid | None]]) -> list[PdnConnection]:
    wanted = {ebi for ebi, _ in modified}
    return [c for c in ue.connections.values() if any(b.ebi in wanted for b in c.bearers)]


def _parts(sgw: Sgw, ue: UeContext, message: Message) -> tuple[CauseIe | Ie, ...]:
    """The IEs of a Modify Bearer Response (table 7.2.8-1)."""
    contexts = [_context(sgw, ue, context) for context in message.bearer_contexts]
    partly = any(gtpv2.cause_of(context) != Cause.REQUEST_ACCEPTED for context in contexts)
    cause = Cause.REQUEST_ACCEPTED_PARTIALLY if partly else Cause.REQUEST_ACCEPTED
    removed = [
        bearer_context(CauseIe(Cause.REQUEST_ACCEPTED), ebi=ebi.value, instance=1)
        for context in message.all(IeType.BEARER_CONTEXT, 1)
        if (ebi := optional(context, Ebi)) is not None
    ]
    return CauseIe(cause), *contexts, *removed


def _context(sgw: Sgw, ue: UeContext, context: Ie) -> Ie:
    ebi = gtpv2.ebi_of(context)
    bearer = ue.bearer(ebi)
    if bearer is None:
        return bearer_context(CauseIe(Cause.CONTEXT_NOT_FOUND), ebi=ebi)
    tunnel = context.find(IeType.F_TEID)
    if tunnel is None or not sgw.echo_enb_f_teid:
        tunnel = gtpv2.f_teid(InterfaceType.S1_U_SGW_GTP_U, bearer.s1u_teid, sgw.user_plane.address).ie()
    return bearer_context(tunnel, CauseIe(Cause.REQUEST_ACCEPTED), ebi=ebi)


def _ask_pgws(sgw: Sgw, event: Received, message: Message, connections: list[PdnConnection]) -> list[Output]:
    """Tell the PGW of each PDN connection; the MME is answered when the last of them has answered."""
    together: list[Waiting] = []
    sent: list[Output] = []
    ies = tuple(ie for ie in message.ies if ie.type in _PASSED_ON)
    for connection in connections:
        waiting = Waiting(answered, connection, event, together=together)
        together.append(waiting)
        request = Message(MessageType.MODIFY_BEARER_REQUEST, connection.pgw.teid, 0, ies)
        sent.append(sgw.ask(Interface.S5, sgw.to_pgw(connection), request, waiting))
    return sent


def answered(sgw: Sgw, waiting: Waiting, message: Message | None, now: float) -> list[Output]:
    """A PGW has answered, or has not. Its refusal changes nothing about the bearers at the eNB."""
    waiting.together.remove(waiting)
    notes: list[Output] = []
    cause = None if message is None else cause_of(message)
    if cause is None or not cause.accepted:
        value = Cause.REMOTE_PEER_NOT_RESPONDING if cause is None else cause.value
        notes.append(Note("modify_bearer_refused", {"apn": waiting.connection.apn, "cause": int(value)}))
    if waiting.together or waiting.asked is None:
        return notes
    ue = waiting.connection.ue
    return [*notes, answer_to(waiting.asked, ue.mme.teid, *_parts(sgw, ue, request_of(waiting.asked)))]
