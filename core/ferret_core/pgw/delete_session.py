"""Delete Session: a PDN connection ends (TS 23.401 clauses 5.3.8.2 and 5.10.3; TS 29.212 clause 4.5.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ferret.protocols import gtpv2
from ferret.protocols.gtpv2 import Cause, CauseIe, Ebi, MessageType
from ferret.records.message import Role
from ferret_core.gtp_control import RefusedError, answer_to, request_of, required
from ferret_core.nf import Note, Output, PeerLost, Received
from ferret_core.pgw import credit_control, protocol_options
from ferret_core.pgw.context import Answer, Session, SessionEvent, SessionState, Waiting

if TYPE_CHECKING:
    from ferret_core.pgw.nf import Pgw


def requested(pgw: Pgw, event: Received, now: float) -> list[Output]:
    """The UE is leaving: tell the PCRF first, the SGW when it has answered."""
    session = pgw.session_of(event)
    if required(request_of(event), Ebi).value != session.default_bearer.ebi:
        raise RefusedError(Cause.CONTEXT_NOT_FOUND)
    session.move(SessionEvent.RELEASE)
    return [pgw.ask_pcrf(credit_control.termination(pgw, session), Waiting(released, session, event))]


def released(pgw: Pgw, waiting: Waiting, answer: Answer, now: float) -> list[Output]:
    """The PDN connection is gone whatever the PCRF says."""
    session, asked = waiting.session, waiting.asked
    if session.state is not SessionState.ENDED:
        pgw.drop_session(session, SessionEvent.RELEASED)
    note = Note("pdn_connection_deleted", {"apn": session.apn})
    if asked is None:
        return [note]
    options = protocol_options.of_session(session, pgw.configuration) if pgw.configuration.delete_session_pco else None
    return [note, answer_to(asked, session.sgw.teid, CauseIe(Cause.REQUEST_ACCEPTED), options)]


def deactivate(pgw: Pgw, session: Session) -> list[Output]:
    """The PCRF wants the PDN connection gone: Delete Bearer Request for its default bearer (clause 7.2.9.2)."""
    session.move(SessionEvent.DEACTIVATE)
    ebi = Ebi(session.default_bearer.ebi)
    request = gtpv2.request(MessageType.DELETE_BEARER_REQUEST, session.sgw.teid, ebi)
    return [pgw.ask_sgw(session, request, Waiting(deactivated, session))]


def deactivated(pgw: Pgw, waiting: Waiting, answer: Answer, now: float) -> list[Output]:
    """The UE has been told, or cannot be: end the Gx session."""
    session = waiting.session
    if session.state is not SessionState.DEACTIVATING:
        return []
    session.move(SessionEvent.RELEASE)
    return [pgw.ask_pcrf(credit_control.termination(pgw, session), Waiting(released, session))]


def drop(pgw: Pgw, session: Session) -> list[Output]:
    """Forget a PDN connection that its SGW no longer knows; the PCRF is told where it knows of it."""
    known = session.state in (SessionState.ACTIVE, SessionState.DEACTIVATING)
    pgw.drop_session(session, SessionEvent.DROPPED)
    return [pgw.ask_pcrf(credit_control.termination(pgw, session), Waiting(released, session))] if known else []


def peer_lost(pgw: Pgw, event: PeerLost, now: float) -> list[Output]:
    """An SGW has restarted: its PDN connections are gone (TS 23.007 clause 14). A PCRF's restart changes nothing."""
    out: list[Output] = [Note("peer_lost", {"nf": "PGW", "peer": str(event.peer.role), "reason": event.reason})]
    if event.peer.role is Role.SGW:
        for session in tuple(pgw.sessions.values()):
            if event.peer.address in ("", session.sgw.address):
                out += drop(pgw, session)
    return out
