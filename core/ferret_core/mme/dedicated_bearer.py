"""What the SGW asks for bearers: Create, Update and Delete Bearer Request (TS 23.401 clause 5.4)."""

from __future__ import annotations

from ferret.protocols import gtpv2, nas, s1ap
from ferret.protocols.gtpv2 import Cause, InterfaceType, Part
from ferret.protocols.gtpv2.constants import IeType
from ferret.protocols.nas import MessageType
from ferret.records.message import Interface
from ferret_core.mme import bearer_procedures, moving, paging, pdn_connectivity, s11
from ferret_core.mme.bearer_procedures import BearerProcedure, Change
from ferret_core.mme.context import Bearer, PdnConnection, UeContext
from ferret_core.mme.nas_transport import protect, send
from ferret_core.mme.node import MmeNode
from ferret_core.mme.states import BearerEvent, EcmState
from ferret_core.nf import Received


def _answer(node: MmeNode, ue: UeContext | None, event: Received, request: gtpv2.Message, *parts: Part) -> None:
    teid = ue.sgw.teid if ue is not None and ue.sgw is not None else 0
    node.answer(Interface.S11, event.peer, gtpv2.answer(request, teid, *parts), event.transaction)


def _refuse(node: MmeNode, ue: UeContext | None, event: Received, request: gtpv2.Message, cause: Cause) -> None:
    _answer(node, ue, event, request, gtpv2.CauseIe(cause))


def create(node: MmeNode, ue: UeContext | None, event: Received, request: gtpv2.Message) -> None:
    """Create Bearer Request: new dedicated bearers for a PDN connection (TS 23.401 clause 5.4.1)."""
    pdn = ue.pdns.get(gtpv2.ebi_of(request)) if ue else None
    if ue is None or pdn is None:
        _refuse(node, ue, event, request, Cause.CONTEXT_NOT_FOUND)
    elif not request.bearer_contexts:
        _refuse(node, ue, event, request, Cause.MANDATORY_IE_MISSING)
    elif ue.ecm is EcmState.IDLE:
        paging.page_then(node, ue, lambda: _create(node, ue, pdn, event, request))
    else:
        _create(node, ue, pdn, event, request)


def _create(node: MmeNode, ue: UeContext, pdn: PdnConnection, event: Received, request: gtpv2.Message) -> None:
    bearers: list[Bearer] = []
    for context in request.bearer_contexts:
        bearer = _new_bearer(node, ue, pdn, context)
        if bearer is None:
            for one in bearers:
                bearer_procedures.drop(ue, one.ebi)
            _refuse(node, ue, event, request, Cause.NO_RESOURCES_AVAILABLE)
            return
        bearers.append(bearer)
    moved = ue.device_has_bearers
    procedure = BearerProcedure(
        Change.MODIFY if moved else Change.SETUP,
        _created,
        tuple(bearer.ebi for bearer in bearers),
        request=request,
        peer=event.peer,
        transaction=event.transaction,
    )
    pti = request.view(gtpv2.Pti)
    bearer_procedures.begin(ue, procedure)
    if moved:
        erabs = [move_erab(node, ue, bearer, tft=True) for bearer in bearers]
        node.to_ue(ue, s1ap.erab_modify_request(**ue.ids, erabs=erabs))
        return
    erabs = [_setup_erab(node, ue, bearer, pti.value if pti else 0) for bearer in bearers]
    node.to_ue(ue, s1ap.erab_setup_request(**ue.ids, erabs=erabs))


def _new_bearer(node: MmeNode, ue: UeContext, pdn: PdnConnection, context: gtpv2.Ie) -> Bearer | None:
    qos, tft = context.view(gtpv2.BearerQos), context.find(IeType.BEARER_TFT)
    tunnel = s11.sgw_tunnel(context)
    if qos is None or tft is None or tunnel is None:
        return None
    erab_qos = s11.erab_qos(node, qos)
    known = _known_bearer(ue, pdn, erab_qos)
    ebi = known.ebi if known else ue.free_ebi(cyclic=node.profile.cyclic_ebi)
    if ebi is None:
        return None
    bearer = Bearer(ebi, pdn.ebi, erab_qos, tft.octets, tunnel, known.enb if known else None)
    bearer.happen(BearerEvent.ACTIVATE)
    ue.bearers[ebi] = bearer
    return bearer


def _known_bearer(ue: UeContext, pdn: PdnConnection, qos: s1ap.ErabQos) -> Bearer | None:
    """The bearer that the device has already and that this one continues: same PDN connection, same QCI."""
    if not ue.device_has_bearers:
        return None
    for ebi, known in ue.known_bearers.items():
        if known.linked_ebi == pdn.ebi and known.qos.qci == qos.qci and ebi not in ue.bearers:
            return ue.known_bearers.pop(ebi)
    return None


def _setup_erab(node: MmeNode, ue: UeContext, bearer: Bearer, pti: int) -> s1ap.Erab:
    values: dict[str, bytes | int] = {
        "Linked EPS bearer identity": bearer.linked_ebi,
        "EPS QoS": eps_qos(node, bearer.qos).encode(),
        "TFT": bearer.tft,
    }
    kind = MessageType.ACTIVATE_DEDICATED_EPS_BEARER_CONTEXT_REQUEST
    plain = nas.build_esm(kind, ebi=bearer.ebi, pti=pti, values=values)
    return s1ap.Erab(bearer.ebi, bearer.qos, bearer.sgw, protect(node, ue, plain))


def move_erab(node: MmeNode, ue: UeContext, bearer: Bearer, *, tft: bool = False) -> s1ap.Erab:
    """An E-RAB that moves to another S-GW: Transport Information, and Modify EPS bearer context request for the UE."""
    values: dict[str, bytes | int] = {"New EPS QoS": eps_qos(node, bearer.qos).encode()}
    if tft and bearer.tft:
        values["TFT"] = _replacing(bearer.tft)
    plain = nas.build_esm(MessageType.MODIFY_EPS_BEARER_CONTEXT_REQUEST, ebi=bearer.ebi, pti=0, values=values)
    return s1ap.Erab(bearer.ebi, bearer.qos, nas_pdu=protect(node, ue, plain), transport_information=bearer.sgw)


def _replacing(tft: bytes) -> bytes:
    """A TFT that creates, as one that replaces the filters of a bearer that is there (TS 24.008 clause 10.5.6.12)."""
    create_new, replace_filters = 1, 4
    return bytes((replace_filters << 5 | tft[0] & 0x1F,)) + tft[1:] if tft[0] >> 5 == create_new else tft


def eps_qos(node: MmeNode, qos: s1ap.ErabQos) -> nas.EpsQos:
    """NAS's QoS of S1AP's: kbit/s."""
    if qos.gbr is None:
        return nas.EpsQos(qos.qci)
    gbr = qos.gbr
    rates = (gbr.mbr_uplink, gbr.mbr_downlink, gbr.gbr_uplink, gbr.gbr_downlink)
    return nas.EpsQos(qos.qci, *(rate // node.profile.kilobit for rate in rates))


def _created(node: MmeNode, ue: UeContext, procedure: BearerProcedure) -> None:
    """Create Bearer Response (TS 29.274 clause 7.2.4), with each bearer's own Cause."""
    contexts = []
    for ebi in procedure.ebis:
        cause, bearer = procedure.failed.get(ebi), ue.bearers.get(ebi)
        if cause is not None or bearer is None:
            contexts.append(gtpv2.bearer_context(gtpv2.CauseIe(cause or Cause.CONTEXT_NOT_FOUND), ebi=ebi))
            bearer_procedures.drop(ue, ebi)
            continue
        enb, sgw = s11.enb_f_teid(bearer), bearer.sgw
        ends: list[Part] = [enb]
        if sgw is not None and node.profile.answer_sgw_f_teid:
            ends.append(gtpv2.f_teid(InterfaceType.S1_U_SGW_GTP_U, sgw.teid, sgw.address).ie(1))
        contexts.append(gtpv2.bearer_context(*ends, gtpv2.CauseIe(Cause.REQUEST_ACCEPTED), ebi=ebi))
        node.note("dedicated_bearer_activated", imsi=ue.imsi, ebi=ebi, qci=bearer.qos.qci)
    _finish(node, ue, procedure, contexts)


def _finish(node: MmeNode, ue: UeContext, procedure: BearerProcedure, contexts: list[gtpv2.Ie]) -> None:
    """The answer to the SGW: accepted, accepted in part, or refused with the first Cause."""
    if procedure.request is None or procedure.peer is None:
        return
    failed = procedure.failed
    cause = Cause.REQUEST_ACCEPTED
    if failed:
        whole = len(failed) == len(procedure.ebis)
        cause = next(iter(failed.values())) if whole else Cause.REQUEST_ACCEPTED_PARTIALLY
    event = Received(Interface.S11, procedure.peer, procedure.request, procedure.transaction)
    parts = (gtpv2.CauseIe(cause), *contexts, *s11.answer_parts(node, ue))
    _answer(node, ue, event, procedure.request, *parts)


def update(node: MmeNode, ue: UeContext | None, event: Received, request: gtpv2.Message) -> None:
    """Update Bearer Request: other QoS or filters for bearers that stand (TS 23.401 clauses 5.4.2 and 5.4.3)."""
    contexts = request.bearer_contexts
    if ue is None or any(gtpv2.ebi_of(context) not in ue.bearers for context in contexts):
        _refuse(node, ue, event, request, Cause.CONTEXT_NOT_FOUND)
    elif not contexts:
        _refuse(node, ue, event, request, Cause.MANDATORY_IE_MISSING)
    elif ue.ecm is EcmState.IDLE:
        paging.page_then(node, ue, lambda: _update(node, ue, event, request))
    else:
        _update(node, ue, event, request)


def _update(node: MmeNode, ue: UeContext, event: Received, request: gtpv2.Message) -> None:
    ebis = tuple(gtpv2.ebi_of(context) for context in request.bearer_contexts)
    procedure = BearerProcedure(
        Change.MODIFY, _updated, ebis, request=request, peer=event.peer, transaction=event.transaction
    )
    bearer_procedures.begin(ue, procedure)
    erabs = []
    ambr = request.view(gtpv2.Ambr)
    for context in request.bearer_contexts:
        bearer = ue.bearers[gtpv2.ebi_of(context)]
        if ue.moving is not None and bearer.ebi in ue.moving:
            bearer.happen(BearerEvent.MODIFY)
            erabs.append(move_erab(node, ue, bearer))
            continue
        plain = _modification(node, ue, bearer, context, ambr, request)
        if plain is None:
            procedure.awaits_enb.discard(bearer.ebi)
            procedure.awaits_ue.discard(bearer.ebi)
        elif context.view(gtpv2.BearerQos) is None:
            procedure.awaits_enb.discard(bearer.ebi)
            send(node, ue, plain)
        else:
            erabs.append(s1ap.Erab(bearer.ebi, bearer.qos, nas_pdu=protect(node, ue, plain)))
    if erabs:
        node.to_ue(ue, s1ap.erab_modify_request(**ue.ids, erabs=erabs))
    procedure.check(node, ue)


def _modification(
    node: MmeNode,
    ue: UeContext,
    bearer: Bearer,
    context: gtpv2.Ie,
    ambr: gtpv2.Ambr | None,
    request: gtpv2.Message,
) -> nas.Plain | None:
    """Modify EPS bearer context request (TS 24.301 clause 8.3.18); None if nothing changes for the UE."""
    qos, tft = context.view(gtpv2.BearerQos), context.find(IeType.BEARER_TFT)
    values: dict[str, bytes | int] = {}
    if qos is not None:
        bearer.qos = s11.erab_qos(node, qos)
        values["New EPS QoS"] = eps_qos(node, bearer.qos).encode()
    if tft is not None:
        bearer.tft = tft.octets
        values["TFT"] = tft.octets
    pdn = ue.pdns[bearer.linked_ebi]
    if ambr is not None and bearer.is_default and s11.ambr_rates(node, ambr) != pdn.ambr:
        pdn.ambr = s11.ambr_rates(node, ambr)
        values["APN-AMBR"] = pdn_connectivity.apn_ambr(node, pdn)
    if not values:
        return None
    bearer.happen(BearerEvent.MODIFY)
    pti = request.view(gtpv2.Pti)
    kind = MessageType.MODIFY_EPS_BEARER_CONTEXT_REQUEST
    return nas.build_esm(kind, ebi=bearer.ebi, pti=pti.value if pti else 0, values=values)


def _updated(node: MmeNode, ue: UeContext, procedure: BearerProcedure) -> None:
    """Update Bearer Response (TS 29.274 clause 7.2.16)."""
    contexts = [
        gtpv2.bearer_context(gtpv2.CauseIe(procedure.failed.get(ebi, Cause.REQUEST_ACCEPTED)), ebi=ebi)
        for ebi in procedure.ebis
    ]
    _finish(node, ue, procedure, contexts)
    moving.moved(node, ue, procedure)


def delete(node: MmeNode, ue: UeContext | None, event: Received, request: gtpv2.Message) -> None:
    """Delete Bearer Request: dedicated bearers, or by Linked EBI a whole PDN connection (TS 23.401 clause 5.4.4)."""
    linked = gtpv2.ebi_of(request)
    ebis = [gtpv2.Ebi.decode(ie.octets).value for ie in request.all(IeType.EBI, 1)]
    wanted = [linked] if linked else ebis
    if ue is None or not wanted or any(ebi not in ue.bearers for ebi in wanted):
        _refuse(node, ue, event, request, Cause.CONTEXT_NOT_FOUND if wanted else Cause.MANDATORY_IE_MISSING)
    elif ue.ecm is EcmState.IDLE:
        # nothing to tell an idle UE: bearer contexts are compared at its next service request (TS 24.301 6.4.4.6)
        idle = BearerProcedure(
            Change.RELEASE, _deleted, tuple(wanted), request=request, peer=event.peer, transaction=event.transaction
        )
        _deleted(node, ue, idle)
    else:
        _delete(node, ue, wanted, event, request)


def _delete(node: MmeNode, ue: UeContext, ebis: list[int], event: Received, request: gtpv2.Message) -> None:
    """One E-RAB RELEASE COMMAND per bearer, as each carries one NAS message; one answer for all."""
    collected = BearerProcedure(
        Change.RELEASE, _deleted, tuple(ebis), request=request, peer=event.peer, transaction=event.transaction
    )
    left = set(ebis)

    def one_gone(node: MmeNode, ue: UeContext, procedure: BearerProcedure) -> None:
        left.difference_update(procedure.ebis)
        collected.failed.update(procedure.failed)
        if not left:
            _deleted(node, ue, collected)

    for ebi in ebis:
        gone = [one.ebi for one in ue.bearers_of(ue.pdns[ebi])] if ebi in ue.pdns else [ebi]
        procedure = BearerProcedure(Change.RELEASE, one_gone, (ebi,))
        pdn_connectivity.release_erabs(node, ue, procedure, gone, pdn_connectivity.deactivate(ue, ebi))


def _deleted(node: MmeNode, ue: UeContext, procedure: BearerProcedure) -> None:
    """Delete Bearer Response (TS 29.274 clause 7.2.10.2). What could not be told to the UE is gone all the same."""
    procedure.failed.clear()
    first = procedure.ebis[0]
    if first in ue.pdns:
        pdn = ue.pdns[first]
        ue.forget(pdn)
        if not ue.pdns:
            _finish_last(node, ue, procedure, first)
            return
        _finish(node, ue, procedure, [gtpv2.Ebi(first).ie()])
        return
    contexts = []
    for ebi in procedure.ebis:
        bearer_procedures.drop(ue, ebi)
        contexts.append(gtpv2.bearer_context(gtpv2.CauseIe(Cause.REQUEST_ACCEPTED), ebi=ebi))
        node.note("dedicated_bearer_deactivated", imsi=ue.imsi, ebi=ebi)
    _finish(node, ue, procedure, contexts)


def _finish_last(node: MmeNode, ue: UeContext, procedure: BearerProcedure, ebi: int) -> None:
    """The UE has no PDN connection any more: S11 has no tunnel for it."""
    _finish(node, ue, procedure, [gtpv2.Ebi(ebi).ie()])
    node.close_s11(ue)
