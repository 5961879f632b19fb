"""Modify Bearer: the SGW reports a change of the UE, or another SGW takes the PDN connection over (clause 7.2.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ferret.protocols.gtpv2 import (
    Cause,
    CauseIe,
    Ebi,
    FTeid,
    Ie,
    IeType,
    InterfaceType,
    RatTypeIe,
    ServingNetwork,
    Uli,
    bearer_context,
)
from ferret_core.gtp_control import Tunnel, answer_to, f_teid_of, optional, request_of, required
from ferret_core.nf import Output, Received
from ferret_core.pgw.context import Session

if TYPE_CHECKING:
    from ferret_core.pgw.nf import Pgw


def requested(pgw: Pgw, event: Received, now: float) -> list[Output]:
    """Take what has changed: location, RAT, time zone, and the SGW's tunnels."""
    message = request_of(event)
    session = pgw.session_of(event)
    sender = optional(message, FTeid)
    rat, network = optional(message, RatTypeIe), optional(message, ServingNetwork)
    time_zone = message.find(IeType.UE_TIME_ZONE)
    uli = optional(message, Uli)
    contexts = [_modify(pgw, session, context) for context in message.bearer_contexts]
    session.sgw = session.sgw if sender is None else Tunnel.of(sender)
    session.rat_type = session.rat_type if rat is None else rat.value
    session.serving_network = session.serving_network if network is None else network.plmn
    session.time_zone = session.time_zone if time_zone is None else time_zone.octets[:2]
    session.uli = uli or session.uli
    return [answer_to(event, session.sgw.teid, CauseIe(Cause.REQUEST_ACCEPTED), *contexts)]


def _modify(pgw: Pgw, session: Session, context: Ie) -> Ie:
    ebi = required(context, Ebi).value
    bearer = session.bearer(ebi)
    if bearer is None:
        return bearer_context(CauseIe(Cause.CONTEXT_NOT_FOUND), ebi=ebi)
    tunnel = f_teid_of(context, InterfaceType.S5_S8_SGW_GTP_U)
    if tunnel is not None:
        bearer.sgw = Tunnel.of(tunnel)
        pgw.route(session, bearer)
    return bearer_context(CauseIe(Cause.REQUEST_ACCEPTED), ebi=ebi)
