"""Create Session: a PDN connection is authorised and set up (TS 23.401 clause 5.3.2.1 steps 13 to 15)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ferret.errors import DecodeError
from ferret.protocols import diameter, gtpv2
from ferret.protocols.diameter import avp
from ferret.protocols.gtpv2 import (
    Ambr,
    Apn,
    ApnRestriction,
    BearerQos,
    Cause,
    CauseIe,
    ChargingId,
    Ebi,
    FTeid,
    Ie,
    IeType,
    Imsi,
    Indication,
    IndicationFlag,
    InterfaceType,
    Mei,
    Msisdn,
    Paa,
    PcoIe,
    PdnTypeIe,
    RatTypeIe,
    SelectionModeIe,
    ServingNetwork,
    Uli,
    bearer_context,
)
from ferret_core.gtp_control import (
    RefusedError,
    Tunnel,
    answer_to,
    bearer_contexts,
    f_teid_of,
    optional,
    request_of,
    required,
)
from ferret_core.nf import Note, Output, Received
from ferret_core.pgw import credit_control, dedicated_bearer, delete_session, gx, protocol_options, rules
from ferret_core.pgw.context import Answer, Bearer, BearerState, Session, SessionEvent, SessionState, Waiting

if TYPE_CHECKING:
    from ferret_core.pgw.nf import Pgw


def requested(pgw: Pgw, event: Received, now: float) -> list[Output]:
    """The SGW asks for a PDN connection: give it an address and ask the PCRF."""
    message = request_of(event)
    imsi = required(message, Imsi, missing=Cause.CONDITIONAL_IE_MISSING).digits
    sender = required(message, FTeid)
    apn = required(message, Apn)
    context = bearer_contexts(message)[0]
    ebi, qos = required(context, Ebi).value, required(context, BearerQos)
    sgw_u = f_teid_of(context, InterfaceType.S5_S8_SGW_GTP_U)
    if sgw_u is None:
        raise RefusedError(Cause.CONDITIONAL_IE_MISSING, IeType.F_TEID, 2)
    replaced = _replace(pgw, imsi, ebi)
    paa, cause = _address(pgw, message, imsi, apn.network_identifier)
    bearer = Bearer(ebi, qos, pgw.teids.take(), Tunnel.of(sgw_u), state=BearerState.ACTIVE)
    name = apn.name[: len(apn.network_identifier)]  # as the UE writes it, without the operator identifier
    session = _session(pgw, message, imsi, name, Tunnel.of(sender), paa, bearer)
    pgw.add_session(session)

    def go_on(pgw: Pgw, waiting: Waiting, answer: Answer, now: float) -> list[Output]:
        return authorised(pgw, waiting, answer, cause, now)

    return [*replaced, pgw.ask_pcrf(credit_control.initial(pgw, session), Waiting(go_on, session, event))]


def _replace(pgw: Pgw, imsi: str, ebi: int) -> list[Output]:
    """A PDN connection with this IMSI and default bearer is there already: the UE has begun afresh (clause 7.2.1)."""
    old = [session for session in pgw.sessions_of(imsi) if session.default_bearer.ebi == ebi]
    return [output for session in old for output in delete_session.drop(pgw, session)]


def _address(pgw: Pgw, message: gtpv2.Message, imsi: str, apn: str) -> tuple[Paa, Cause]:
    pdn_type = optional(message, PdnTypeIe)
    asked = optional(message, Paa)
    if asked is None:
        if pdn_type is None:
            raise RefusedError(Cause.CONDITIONAL_IE_MISSING, IeType.PAA)
        asked = Paa(pdn_type.value)
    indication = optional(message, Indication) or Indication(b"")
    dual = indication.has(IndicationFlag.DAF)
    return pgw.addresses.take(pgw.configuration, imsi, apn, asked, dual=dual)


def _session(pgw: Pgw, message: gtpv2.Message, imsi: str, apn: str, sgw: Tunnel, paa: Paa, bearer: Bearer) -> Session:
    msisdn, rat = optional(message, Msisdn), optional(message, RatTypeIe)
    network, pco = optional(message, ServingNetwork), optional(message, PcoIe)
    mei, selection = optional(message, Mei), optional(message, SelectionModeIe)
    time_zone = message.find(IeType.UE_TIME_ZONE)
    charging_id = pgw.next_charging_id()
    return Session(
        imsi=imsi,
        msisdn="" if msisdn is None else msisdn.digits,
        apn=apn,
        teid=pgw.teids.take(),
        sgw=sgw,
        paa=paa,
        gx_session_id=pgw.gx_session_id(charging_id),
        charging_id=charging_id,
        bearers=[bearer],
        ambr=optional(message, Ambr),
        mei="" if mei is None else mei.digits,
        selection_mode=0 if selection is None else selection.value,
        rat_type=0 if rat is None else rat.value,
        serving_network="" if network is None else network.plmn,
        uli=optional(message, Uli),
        time_zone=b"" if time_zone is None else time_zone.octets[:2],
        pco=None if pco is None else pco.options,
        next_precedence=pgw.configuration.first_precedence,
    )


def authorised(pgw: Pgw, waiting: Waiting, answer: Answer, cause: Cause, now: float) -> list[Output]:
    """The PCRF has answered, or has not: the SGW hears of it, and the rules that came with a yes get their bearers."""
    session, asked = waiting.session, waiting.asked
    reply = answer if isinstance(answer, diameter.Message) else None
    if asked is None:
        return []
    if session.state is not SessionState.AUTHORISING:  # the UE has begun afresh since
        return [answer_to(asked, session.sgw.teid, CauseIe(Cause.REQUEST_REJECTED_REASON_NOT_SPECIFIED))]
    refused = gx.refusal_of(reply)
    try:
        changes = [] if refused or reply is None else _authorise(pgw, session, reply)
        wanted = [] if refused or reply is None else rules.installed(reply)
    except DecodeError:
        refused = Cause.INVALID_REPLY_FROM_REMOTE_PEER
    if refused is not None:
        pgw.drop_session(session, SessionEvent.REFUSED)
        note = Note("pdn_connection_refused", {"apn": session.apn, "cause": refused.name})
        return [note, answer_to(asked, session.sgw.teid, CauseIe(refused))]
    session.move(SessionEvent.AUTHORISED)
    pgw.route(session, session.default_bearer)
    created = answer_to(asked, session.sgw.teid, *_accepted(pgw, session, cause, changes))
    note = Note("pdn_connection_created", {"apn": session.apn, "ebi": session.default_bearer.ebi})
    return [note, created, *dedicated_bearer.install(pgw, session, wanted)]


def _authorise(pgw: Pgw, session: Session, answer: diameter.Message) -> list[Ie]:
    """Take what the PCRF authorises; return what it has changed of what was asked for, for the SGW to know."""
    session.pcrf_host = answer.value_of(avp.ORIGIN_HOST) or ""
    changes: list[Ie] = []
    ambr = gx.authorised_ambr(answer, pgw.configuration.kilobit)
    if ambr is not None and ambr != session.ambr:
        session.ambr = ambr
        changes.append(ambr.ie())
    qos = gx.authorised_qos(answer)
    if qos is not None and qos != session.default_bearer.qos:
        session.default_bearer.qos = qos
        changes.append(qos.ie())
    return changes


def _accepted(pgw: Pgw, session: Session, cause: Cause, changes: list[Ie]) -> list[gtpv2.Part]:
    """The IEs of a Create Session Response (table 7.2.2-1)."""
    bearer = session.default_bearer
    changed = {ie.type: ie for ie in changes}
    context = bearer_context(
        gtpv2.f_teid(InterfaceType.S5_S8_PGW_GTP_U, bearer.teid, pgw.user_plane.address).ie(2),
        CauseIe(Cause.REQUEST_ACCEPTED),
        changed.get(IeType.BEARER_QOS),
        ChargingId(session.charging_id) if pgw.configuration.charging_id else None,
        ebi=bearer.ebi,
    )
    return [
        CauseIe(cause),
        gtpv2.f_teid(InterfaceType.S5_S8_PGW_GTP_C, session.teid, pgw.address).ie(1),
        session.paa,
        ApnRestriction(0),
        changed.get(IeType.AMBR),
        protocol_options.of_session(session, pgw.configuration),
        context,
    ]
