"""PDN connections: creating and deleting their sessions, activating default bearers, disconnecting.

TS 23.401 clauses 5.10.2 and 5.10.3, TS 24.301 clauses 6.4.1, 6.5.1 and 6.5.2.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address

from ferret.errors import DecodeError
from ferret.protocols import gtpv2, nas, s1ap
from ferret.protocols.gtpv2 import Cause
from ferret.protocols.nas import EsmCause, MessageType
from ferret_core.mme import bearer_procedures, s11
from ferret_core.mme.bearer_procedures import BearerProcedure, Change
from ferret_core.mme.context import Bearer, PdnConnection, UeContext
from ferret_core.mme.nas_transport import protect, send
from ferret_core.mme.node import MmeNode
from ferret_core.mme.states import BearerEvent

_PCO, _EPCO = "Protocol configuration options", "Extended protocol configuration options"
_BOTH = 3
# PDN-Type AVP (TS 29.272 clause 7.3.62) -> the types that the subscription allows
_ANY_APN = "*"  # a configuration for any APN, and none that the default could be (TS 29.272 clause 7.3.34)
_ALLOWED = {0: 1, 1: 2, 2: 3, 3: 3}
# TS 29.274 annex C: ESM cause for each Cause of a gateway that refuses.
_ESM_CAUSES: dict[int, EsmCause] = {
    Cause.MISSING_OR_UNKNOWN_APN: EsmCause.UNKNOWN_OR_MISSING_APN,
    Cause.APN_ACCESS_DENIED_NO_SUBSCRIPTION: EsmCause.SERVICE_OPTION_NOT_SUPPORTED,
    Cause.PREFERRED_PDN_TYPE_NOT_SUPPORTED: EsmCause.UNKNOWN_PDN_TYPE,
    Cause.ALL_DYNAMIC_ADDRESSES_ARE_OCCUPIED: EsmCause.INSUFFICIENT_RESOURCES,
    Cause.NO_RESOURCES_AVAILABLE: EsmCause.INSUFFICIENT_RESOURCES,
    Cause.USER_AUTHENTICATION_FAILED: EsmCause.USER_AUTHENTICATION_FAILED,
}


class RefusedByMmeError(Exception):
    """The MME itself refuses a PDN connection; never leaves the MME."""

    def __init__(self, cause: EsmCause) -> None:
        super().__init__(cause.name)
        self.cause = cause


def prepare(node: MmeNode, ue: UeContext, request: nas.Plain, information: nas.Plain | None) -> PdnConnection:
    """A PDN connection and its default bearer, of what the UE asks for and is subscribed to. Raises RefusedByMmeError.

    `information`: ESM information response, whose APN and options come before those of the request.
    """
    named = (information.get("Access point name") if information else None) or request.get("Access point name")
    apn = nas.decode_apn(named) if named else ""
    subscription = ue.subscription.find(apn)
    name = apn or (subscription.apn if subscription else "")
    if subscription is None or name in ("", _ANY_APN):
        raise RefusedByMmeError(EsmCause.UNKNOWN_OR_MISSING_APN)
    ebi = ue.free_ebi(cyclic=node.profile.cyclic_ebi)
    if ebi is None:
        raise RefusedByMmeError(EsmCause.INSUFFICIENT_RESOURCES)
    asked = request.number("PDN type") or 1
    pdn_type = asked & _ALLOWED.get(subscription.pdn_type, _BOTH) or _ALLOWED.get(subscription.pdn_type, 1)
    pdn = PdnConnection(ebi, name, pdn_type, asked, request.pti, subscription)
    pdn.ambr = (subscription.ambr_uplink, subscription.ambr_downlink)
    pdn.pco = (information.get(_PCO) if information else None) or request.get(_PCO) or b""
    pdn.asked_addresses = subscription.addresses
    qos = s1ap.ErabQos(
        subscription.qci, subscription.priority_level, subscription.may_preempt, subscription.preemptable
    )
    ue.pdns[ebi] = pdn
    ue.bearers[ebi] = Bearer(ebi, ebi, qos)
    return pdn


def create_session(
    node: MmeNode,
    ue: UeContext,
    pdn: PdnConnection,
    created: Callable[[UeContext, PdnConnection], None],
    refused: Callable[[UeContext, PdnConnection, EsmCause], None],
) -> None:
    """Create Session Request, and what follows its answer."""

    def answered(ue: UeContext, answer: gtpv2.Message) -> None:
        if not gtpv2.accepted(answer):
            fail(ue, _ESM_CAUSES.get(gtpv2.cause_of(answer), EsmCause.REQUEST_REJECTED_BY_GATEWAY))
            return
        s11.take_session(node, ue, pdn, answer)
        created(ue, pdn)

    def fail(ue: UeContext, cause: EsmCause) -> None:
        ue.forget(pdn)
        if not ue.pdns:
            node.close_s11(ue)
        refused(ue, pdn, cause)

    def unanswered(ue: UeContext, reason: str) -> None:
        node.note("session_not_created", imsi=ue.imsi, apn=pdn.apn, reason=reason)
        fail(ue, EsmCause.NETWORK_FAILURE)

    node.to_sgw(ue, s11.create_session_request(node, ue, pdn), answered, unanswered)


def activate_default(node: MmeNode, ue: UeContext, pdn: PdnConnection) -> nas.Plain:
    """Activate default EPS bearer context request (TS 24.301 clause 8.3.6)."""
    paa = pdn.paa
    if paa is None:
        raise DecodeError("PDN connection without a PDN address")
    ipv4_only = node.profile.ipv4_only and bool(paa.ipv4)
    identifier = IPv6Address(paa.ipv6).packed[8:] if paa.ipv6 and not ipv4_only else b""
    pdn_type = 1 if ipv4_only else paa.pdn_type
    address = nas.PdnAddress(pdn_type, paa.ipv4, identifier)
    values: dict[str, bytes | int] = {
        "EPS QoS": nas.EpsQos(ue.bearers[pdn.ebi].qos.qci).encode(),
        "Access point name": nas.encode_apn(pdn.apn),
        "PDN address": address.encode(),
    }
    uplink, downlink = pdn.ambr
    if uplink or downlink:
        values["APN-AMBR"] = apn_ambr(node, pdn)
    if ipv4_only or (pdn.asked_type == _BOTH and pdn_type != _BOTH):
        only = {1: EsmCause.PDN_TYPE_IPV4_ONLY_ALLOWED, 2: EsmCause.PDN_TYPE_IPV6_ONLY_ALLOWED}
        values["ESM cause"] = only[pdn_type]
    if pdn.answered_pco:
        values[_PCO] = pdn.answered_pco
    ue.bearers[pdn.ebi].happen(BearerEvent.ACTIVATE)
    kind = MessageType.ACTIVATE_DEFAULT_EPS_BEARER_CONTEXT_REQUEST
    return nas.build_esm(kind, ebi=pdn.ebi, pti=pdn.pti, values=values)


def apn_ambr(node: MmeNode, pdn: PdnConnection) -> bytes:
    """APN-AMBR of a PDN connection (TS 24.301 clause 9.9.4.2)."""
    uplink, downlink = (rate // node.profile.kilobit for rate in pdn.ambr)
    return nas.ApnAmbr(downlink, uplink).encode(exact=node.profile.apn_ambr_exact)


def connectivity_request(node: MmeNode, ue: UeContext, plain: nas.Plain) -> None:
    """PDN connectivity request of a registered UE: one more PDN connection."""
    try:
        pdn = prepare(node, ue, plain, None)
    except RefusedByMmeError as refused:
        _reject(node, ue, plain.pti, refused.cause)
        return

    def created(ue: UeContext, pdn: PdnConnection) -> None:
        bearer = ue.bearers[pdn.ebi]
        nas_pdu = protect(node, ue, activate_default(node, ue, pdn))
        erab = s1ap.Erab(bearer.ebi, bearer.qos, bearer.sgw, nas_pdu)
        bearer_procedures.begin(ue, BearerProcedure(Change.SETUP, _activated, (bearer.ebi,)))
        node.to_ue(ue, s1ap.erab_setup_request(**ue.ids, erabs=(erab,)))

    def refused_by_gateway(ue: UeContext, pdn: PdnConnection, cause: EsmCause) -> None:
        _reject(node, ue, pdn.pti, cause)

    create_session(node, ue, pdn, created, refused_by_gateway)


def _reject(node: MmeNode, ue: UeContext, pti: int, cause: EsmCause) -> None:
    node.note("pdn_connection_refused", imsi=ue.imsi, esm_cause=int(cause))
    kind = MessageType.PDN_CONNECTIVITY_REJECT
    send(node, ue, nas.build_esm(kind, ebi=0, pti=pti, values={"ESM cause": int(cause)}))


def _activated(node: MmeNode, ue: UeContext, procedure: BearerProcedure) -> None:
    """The default bearer stands, or does not: tell the SGW."""
    (ebi,) = procedure.ebis
    pdn = ue.pdns.get(ebi)
    if pdn is None:
        return
    if procedure.failed:
        delete_session(node, ue, pdn, lambda ue: ue.forget(pdn))
        return
    modify_bearers(node, ue, [ue.bearers[ebi]])
    node.note("pdn_connection_established", imsi=ue.imsi, apn=pdn.apn, ebi=ebi)


def modify_bearers(node: MmeNode, ue: UeContext, bearers: list[Bearer], *, service: bool = False) -> None:
    """Tell the SGW the eNB's ends of these bearers (Modify Bearer Request)."""

    def answered(ue: UeContext, answer: gtpv2.Message) -> None:
        if not gtpv2.accepted(answer):
            node.note("modify_bearer_refused", imsi=ue.imsi, cause=gtpv2.cause_of(answer))

    node.to_sgw(ue, s11.modify_bearer_request(node, ue, bearers, service=service), answered)


def delete_session(node: MmeNode, ue: UeContext, pdn: PdnConnection, deleted: Callable[[UeContext], None]) -> None:
    """Delete Session Request; `deleted` runs at its answer, or when none comes."""
    ue.deleting.add(pdn.ebi)

    def answered(ue: UeContext, _: gtpv2.Message) -> None:
        ue.deleting.discard(pdn.ebi)
        pdn.created = False
        deleted(ue)

    def unanswered(ue: UeContext, reason: str) -> None:
        node.note("session_not_deleted", imsi=ue.imsi, apn=pdn.apn, reason=reason)
        answered(ue, gtpv2.Message(0, 0, 0))

    node.to_sgw(ue, s11.delete_session_request(node, ue, pdn), answered, unanswered)


def disconnect_request(node: MmeNode, ue: UeContext, plain: nas.Plain) -> None:
    """PDN disconnect request: delete the session, then release the bearers (TS 23.401 clause 5.10.3)."""
    pdn = ue.pdns.get(plain.number("Linked EPS bearer identity") or 0)
    if pdn is None or len(ue.pdns) == 1:
        cause = EsmCause.PDN_CONNECTION_DOES_NOT_EXIST if pdn is None else EsmCause.LAST_PDN_DISCONNECTION_NOT_ALLOWED
        kind = MessageType.PDN_DISCONNECT_REJECT
        send(node, ue, nas.build_esm(kind, ebi=0, pti=plain.pti, values={"ESM cause": int(cause)}))
        return
    pdn.pti = plain.pti
    delete_session(node, ue, pdn, lambda ue: _release_bearers(node, ue, pdn))


def _release_bearers(node: MmeNode, ue: UeContext, pdn: PdnConnection) -> None:
    deactivation = deactivate(ue, pdn.ebi, pti=pdn.pti)
    procedure = BearerProcedure(Change.RELEASE, _disconnected, (pdn.ebi,))
    release_erabs(node, ue, procedure, [one.ebi for one in ue.bearers_of(pdn)], deactivation)


def _disconnected(node: MmeNode, ue: UeContext, procedure: BearerProcedure) -> None:
    pdn = ue.pdns.get(procedure.ebis[0])
    if pdn is not None:
        ue.forget(pdn)
        node.note("pdn_connection_released", imsi=ue.imsi, apn=pdn.apn, ebi=pdn.ebi)


def deactivate(ue: UeContext, ebi: int, *, pti: int = 0) -> nas.Plain:
    """Deactivate EPS bearer context request, for no special reason (TS 24.301 clause 6.4.4.2)."""
    ue.bearers[ebi].happen(BearerEvent.DEACTIVATE)
    kind = MessageType.DEACTIVATE_EPS_BEARER_CONTEXT_REQUEST
    return nas.build_esm(kind, ebi=ebi, pti=pti, values={"ESM cause": int(EsmCause.REGULAR_DEACTIVATION)})


def release_erabs(
    node: MmeNode, ue: UeContext, procedure: BearerProcedure, ebis: list[int], deactivation: nas.Plain
) -> None:
    """E-RAB RELEASE COMMAND with the UE's NAS message; the first bearer's answers end the procedure."""
    bearer_procedures.begin(ue, procedure)
    bearer_procedures.repeat(node, ue, procedure, deactivation)
    procedure.awaits_enb |= set(ebis)
    cause = s1ap.Cause("nas", "normal-release")
    command = s1ap.erab_release_command(
        **ue.ids,
        erabs=[s1ap.Erab(ebi, cause=cause) for ebi in ebis],
        nas_pdu=protect(node, ue, deactivation),
    )
    node.to_ue(ue, command)
