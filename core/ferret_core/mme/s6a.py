"""S6a: what the MME asks the HSS, and what it reads from the answers (TS 29.272 clauses 5.2 and 7.2)."""

from __future__ import annotations

from typing import Final

from ferret.errors import DecodeError
from ferret.protocols import diameter
from ferret.protocols.diameter import Application, Avp, Command, avp
from ferret.protocols.gtpv2.plmn import decode_tbcd
from ferret.protocols.nas import EmmCause
from ferret.protocols.nas.identities import plmn_octets
from ferret_core.mme.context import ApnSubscription, Subscription, UeContext
from ferret_core.mme.node import MmeNode

_VENDOR_3GPP: Final = 10415
_EUTRAN: Final = 1004  # RAT-Type (TS 29.212 clause 5.3.31)
_NO_STATE_MAINTAINED: Final = 1  # Auth-Session-State (RFC 6733 clause 8.11)
# TS 29.272 annex A.1: what the UE is told for each result of the HSS.
_CAUSES: Final = {
    5001: EmmCause.EPS_AND_NON_EPS_SERVICES_NOT_ALLOWED,  # DIAMETER_ERROR_USER_UNKNOWN
    5420: EmmCause.NO_SUITABLE_CELLS_IN_TRACKING_AREA,  # DIAMETER_ERROR_UNKNOWN_EPS_SUBSCRIPTION
    5421: EmmCause.NO_SUITABLE_CELLS_IN_TRACKING_AREA,  # DIAMETER_ERROR_RAT_NOT_ALLOWED
    5004: EmmCause.PLMN_NOT_ALLOWED,  # DIAMETER_ERROR_ROAMING_NOT_ALLOWED
}


def _common(node: MmeNode, ue: UeContext) -> list[Avp | None]:
    profile = node.profile
    application = avp.VENDOR_SPECIFIC_APPLICATION_ID(
        avp.VENDOR_ID(_VENDOR_3GPP), avp.AUTH_APPLICATION_ID(Application.S6A)
    )
    return [
        avp.SESSION_ID(node.new_session_id()),
        application if profile.vendor_specific_application_id else None,
        avp.AUTH_SESSION_STATE(_NO_STATE_MAINTAINED),
        avp.ORIGIN_HOST(profile.origin_host),
        avp.ORIGIN_REALM(profile.origin_realm),
        avp.DESTINATION_HOST(profile.destination_host) if profile.destination_host else None,
        avp.DESTINATION_REALM(profile.destination_realm),
        avp.USER_NAME(ue.imsi),
    ]


def _visited_plmn(ue: UeContext) -> Avp:
    return avp.VISITED_PLMN_ID(plmn_octets(ue.tai.plmn if ue.tai else "00101"))


def authentication_information_request(
    node: MmeNode, ue: UeContext, resynchronisation: bytes = b""
) -> diameter.Message:
    """AIR (clause 7.2.5). `resynchronisation`: RAND and AUTS of a failed attempt, 30 octets."""
    profile = node.profile
    asked = [
        avp.NUMBER_OF_REQUESTED_VECTORS(profile.requested_vectors),
        None if profile.immediate_response is None else avp.IMMEDIATE_RESPONSE_PREFERRED(profile.immediate_response),
        avp.RE_SYNCHRONIZATION_INFO(resynchronisation) if resynchronisation else None,
    ]
    return diameter.request(
        Command.AUTHENTICATION_INFORMATION,
        Application.S6A,
        *_common(node, ue),
        avp.REQUESTED_EUTRAN_AUTHENTICATION_INFO(*asked),
        _visited_plmn(ue),
    )


def update_location_request(node: MmeNode, ue: UeContext) -> diameter.Message:
    """ULR (clause 7.2.3)."""
    profile = node.profile
    terminal = None
    if ue.imeisv and profile.ulr_terminal_information:
        terminal = avp.TERMINAL_INFORMATION(avp.IMEI(ue.imeisv[:14]), avp.SOFTWARE_VERSION(ue.imeisv[14:16]))
    srvcc, sms = profile.ulr_ue_srvcc_capability, profile.ulr_sms_register_request
    return diameter.request(
        Command.UPDATE_LOCATION,
        Application.S6A,
        *_common(node, ue),
        terminal,
        avp.RAT_TYPE(_EUTRAN),
        avp.ULR_FLAGS(profile.ulr_flags),
        _visited_plmn(ue),
        None if srvcc is None else avp.UE_SRVCC_CAPABILITY(srvcc),
        None if sms is None else avp.SMS_REGISTER_REQUEST(sms),
    )


def purge_ue_request(node: MmeNode, ue: UeContext) -> diameter.Message:
    """PUR (clause 7.2.13)."""
    return diameter.request(Command.PURGE_UE, Application.S6A, *_common(node, ue))


def refusal(answer: diameter.Message) -> EmmCause | None:
    """The EMM cause that an answer means for the UE; None if the HSS has agreed."""
    result = diameter.result_of(answer)
    if result is not None and 2000 <= result < 3000:
        return None
    return _CAUSES.get(result or 0, EmmCause.NETWORK_FAILURE)


def vector_of(answer: diameter.Message) -> tuple[bytes, bytes, bytes, bytes]:
    """RAND, XRES, AUTN and K_ASME of the first E-UTRAN vector. Raises DecodeError."""
    information = answer.find(avp.AUTHENTICATION_INFO)
    vectors = information.all(avp.E_UTRAN_VECTOR) if information else ()
    if not vectors:
        raise DecodeError("Authentication-Information-Answer without an E-UTRAN vector")
    first = min(vectors, key=lambda one: one.value_of(avp.ITEM_NUMBER) or 0)
    parts = [first.value_of(kind) for kind in (avp.RAND, avp.XRES, avp.AUTN, avp.KASME)]
    rand, xres, autn, k_asme = parts
    if rand is None or xres is None or autn is None or k_asme is None or len(k_asme) != 32:
        raise DecodeError("E-UTRAN vector is not complete")
    return rand, xres, autn, k_asme


def subscription_of(answer: diameter.Message) -> Subscription | None:
    """The subscription in an Update-Location-Answer; None if it has none. Raises DecodeError."""
    data = answer.find(avp.SUBSCRIPTION_DATA)
    if data is None:
        return None
    ambr, profile = data.find(avp.AMBR), data.find(avp.APN_CONFIGURATION_PROFILE)
    msisdn = data.value_of(avp.MSISDN)
    apns = profile.all(avp.APN_CONFIGURATION) if profile else ()
    return Subscription(
        msisdn=decode_tbcd(msisdn) if msisdn else "",
        ambr_uplink=_rate(ambr, uplink=True),
        ambr_downlink=_rate(ambr, uplink=False),
        default_context_id=(profile.value_of(avp.CONTEXT_IDENTIFIER) or 0) if profile else 0,
        apns=tuple(_apn(one) for one in apns),
        network_access_mode=data.value_of(avp.NETWORK_ACCESS_MODE),
        charging_characteristics=_charging(data),
    )


def _rate(ambr: Avp | None, *, uplink: bool) -> int:
    kind = avp.MAX_REQUESTED_BANDWIDTH_UL if uplink else avp.MAX_REQUESTED_BANDWIDTH_DL
    return (ambr.value_of(kind) or 0) if ambr else 0


def _charging(group: Avp) -> bytes:
    text = group.value_of(avp.TGPP_CHARGING_CHARACTERISTICS) or ""
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


def _apn(group: Avp) -> ApnSubscription:
    qos, ambr = group.find(avp.EPS_SUBSCRIBED_QOS_PROFILE), group.find(avp.AMBR)
    arp = qos.find(avp.ALLOCATION_RETENTION_PRIORITY) if qos else None
    return ApnSubscription(
        apn=group.value_of(avp.SERVICE_SELECTION) or "",
        context_id=group.value_of(avp.CONTEXT_IDENTIFIER) or 0,
        pdn_type=group.value_of(avp.PDN_TYPE) or 0,
        qci=(qos.value_of(avp.QOS_CLASS_IDENTIFIER) or 9) if qos else 9,
        priority_level=(arp.value_of(avp.PRIORITY_LEVEL) or 15) if arp else 15,
        # 0 is ENABLED; capability is disabled and vulnerability enabled where absent (TS 29.212 clauses 5.3.46, 5.3.47)
        may_preempt=arp is not None and arp.value_of(avp.PRE_EMPTION_CAPABILITY) == 0,
        preemptable=arp is None or arp.value_of(avp.PRE_EMPTION_VULNERABILITY) in (None, 0),
        ambr_uplink=_rate(ambr, uplink=True),
        ambr_downlink=_rate(ambr, uplink=False),
        addresses=tuple(str(one) for one in group.values_of(avp.SERVED_PARTY_IP_ADDRESS)),
        charging_characteristics=_charging(group),
    )
