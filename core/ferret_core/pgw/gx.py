"""What a PGW says to the PCRF: credit control of Gx (TS 29.212 clauses 4.5.1, 4.5.7 and 5.6), and answers to RAR."""

from __future__ import annotations

from ipaddress import IPv6Network
from typing import TYPE_CHECKING

from ferret.errors import DecodeError
from ferret.protocols import diameter, gtpv2
from ferret.protocols.diameter import Application, Avp, Command, avp
from ferret.protocols.diameter.constants import VENDOR_3GPP
from ferret.protocols.gtpv2 import Ambr, BearerQos, Cause, RatType, Uli
from ferret.protocols.gtpv2.plmn import encode_plmn
from ferret_core.pgw.context import Session
from ferret_core.pgw.rules import arp_of

if TYPE_CHECKING:
    from ferret_core.pgw.nf import Pgw

INITIAL, UPDATE, TERMINATION = 1, 2, 3  # CC-Request-Type (RFC 8506 clause 8.3)
_IMSI, _E164 = 1, 0  # Subscription-Id-Type (RFC 8506 clause 8.47)
_IP_CAN_3GPP_EPS = 5  # TS 29.212 clause 5.3.27
_NETWORK_REQUEST_SUPPORTED = 1  # clause 5.3.24
_INACTIVE = 1  # PCC-Rule-Status, clause 5.3.19
RESOURCE_ALLOCATION_FAILURE = 10  # Rule-Failure-Code, clause 5.3.38
_FIRST_FEATURE_LIST = 1

# RAT-Type (clause 5.3.31) by RAT Type of TS 29.274 clause 8.17.
_RAT_TYPES = {
    RatType.UTRAN: 1000,
    RatType.GERAN: 1001,
    RatType.WLAN: 0,
    RatType.GAN: 1002,
    RatType.HSPA_EVOLUTION: 1003,
    RatType.EUTRAN: 1004,
    RatType.VIRTUAL: 1,
    RatType.EUTRAN_NB_IOT: 1005,
    RatType.LTE_M: 1006,
}

# Geographic Location Type of 3GPP-User-Location-Info (TS 29.061 clause 16.4.7.2) by the identities that it holds.
_LOCATION_TYPES = {
    ("TAI", "ECGI"): 130,
    ("TAI",): 128,
    ("ECGI",): 129,
    ("CGI",): 0,
    ("SAI",): 1,
    ("RAI",): 2,
}
_NUMBER_OCTETS = {"TAI": 2, "ECGI": 4, "CGI": 4, "SAI": 4, "RAI": 4}


def initial(pgw: Pgw, session: Session) -> diameter.Message:
    """CCR-Initial: may this PDN connection be, and with which rules?"""
    return diameter.request(
        Command.CREDIT_CONTROL,
        Application.GX,
        *_head(pgw, session, INITIAL),
        *_subscription_ids(session),
        avp.SUPPORTED_FEATURES(
            avp.VENDOR_ID(VENDOR_3GPP),
            avp.FEATURE_LIST_ID(_FIRST_FEATURE_LIST),
            avp.FEATURE_LIST(pgw.configuration.feature_list),
        ),
        avp.NETWORK_REQUEST_SUPPORT(_NETWORK_REQUEST_SUPPORTED),
        avp.FRAMED_IP_ADDRESS(session.paa.ipv4) if session.paa.ipv4 else None,
        avp.FRAMED_IPV6_PREFIX(_prefix(session)) if session.paa.ipv6 else None,
        avp.IP_CAN_TYPE(_IP_CAN_3GPP_EPS),
        _rat_type(session),
        _apn_ambr(session.ambr),
        _default_qos(session.default_bearer.qos),
        _location(session.uli),
        avp.TGPP_MS_TIMEZONE(session.time_zone) if session.time_zone else None,
        avp.TGPP_SGSN_MCC_MNC(session.serving_network) if session.serving_network else None,
        avp.AN_GW_ADDRESS(session.sgw.address),
        avp.CALLED_STATION_ID(session.apn),
        avp.ONLINE(int(pgw.configuration.online_charging)),
        avp.OFFLINE(int(pgw.configuration.offline_charging)),
        avp.ACCESS_NETWORK_CHARGING_ADDRESS(pgw.address),
        avp.ACCESS_NETWORK_CHARGING_IDENTIFIER_GX(
            avp.ACCESS_NETWORK_CHARGING_IDENTIFIER_VALUE(session.charging_id.to_bytes(4, "big"))
        ),
    )


def update(pgw: Pgw, session: Session, failed_rules: list[str]) -> diameter.Message:
    """CCR-Update: these rules have no bearer (clause 4.5.12)."""
    session.cc_request_number += 1
    report = avp.CHARGING_RULE_REPORT(
        *[avp.CHARGING_RULE_NAME(name) for name in failed_rules],
        avp.PCC_RULE_STATUS(_INACTIVE),
        avp.RULE_FAILURE_CODE(RESOURCE_ALLOCATION_FAILURE),
    )
    head = _head(pgw, session, UPDATE)
    return diameter.request(Command.CREDIT_CONTROL, Application.GX, *head, _pcrf(session), report)


def termination(pgw: Pgw, session: Session) -> diameter.Message:
    """CCR-Termination: the PDN connection is gone."""
    session.cc_request_number += 1
    return diameter.request(
        Command.CREDIT_CONTROL,
        Application.GX,
        *_head(pgw, session, TERMINATION),
        _pcrf(session),
        *_subscription_ids(session),
        avp.CALLED_STATION_ID(session.apn),
    )


def re_auth_answer(pgw: Pgw, asked: diameter.Message, result: int) -> diameter.Message:
    """RAA (clause 5.6.5)."""
    return diameter.answer(
        asked,
        avp.AUTH_APPLICATION_ID(Application.GX),
        avp.ORIGIN_HOST(pgw.configuration.origin_host),
        avp.ORIGIN_REALM(pgw.configuration.origin_realm),
        avp.RESULT_CODE(result),
    )


def _head(pgw: Pgw, session: Session, request_type: int) -> tuple[Avp, ...]:
    return (
        avp.SESSION_ID(session.gx_session_id),
        avp.ORIGIN_HOST(pgw.configuration.origin_host),
        avp.ORIGIN_REALM(pgw.configuration.origin_realm),
        avp.DESTINATION_REALM(pgw.configuration.destination_realm),
        avp.AUTH_APPLICATION_ID(Application.GX),
        avp.CC_REQUEST_TYPE(request_type),
        avp.CC_REQUEST_NUMBER(session.cc_request_number),
    )


def _pcrf(session: Session) -> Avp | None:
    return avp.DESTINATION_HOST(session.pcrf_host) if session.pcrf_host else None


def _subscription_ids(session: Session) -> list[Avp]:
    identities = ((_IMSI, session.imsi), (_E164, session.msisdn))
    return [
        avp.SUBSCRIPTION_ID(avp.SUBSCRIPTION_ID_TYPE(kind), avp.SUBSCRIPTION_ID_DATA(digits))
        for kind, digits in identities
        if digits
    ]


def _prefix(session: Session) -> str:
    return str(IPv6Network((session.paa.ipv6, session.paa.prefix_length), strict=False))


def _rat_type(session: Session) -> Avp | None:
    number = _RAT_TYPES.get(RatType(session.rat_type)) if session.rat_type in set(RatType) else None
    return None if number is None else avp.RAT_TYPE(number)


def _apn_ambr(ambr: Ambr | None) -> Avp | None:
    """AMBR is in kbit/s on S5/S8 and in bit/s on Gx; what 32 bits cannot hold is said as their maximum."""
    if ambr is None:
        return None
    return avp.QOS_INFORMATION(
        avp.APN_AGGREGATE_MAX_BITRATE_UL(min(ambr.uplink * 1000, 0xFFFFFFFF)),
        avp.APN_AGGREGATE_MAX_BITRATE_DL(min(ambr.downlink * 1000, 0xFFFFFFFF)),
    )


def _default_qos(qos: BearerQos) -> Avp:
    return avp.DEFAULT_EPS_BEARER_QOS(
        avp.QOS_CLASS_IDENTIFIER(qos.qci),
        avp.ALLOCATION_RETENTION_PRIORITY(
            avp.PRIORITY_LEVEL(qos.priority_level),
            avp.PRE_EMPTION_CAPABILITY(qos.pci),
            avp.PRE_EMPTION_VULNERABILITY(qos.pvi),
        ),
    )


def _location(uli: Uli | None) -> Avp | None:
    """3GPP-User-Location-Info from ULI: the type of location, then the identities as they are coded in ULI."""
    for kinds, number in _LOCATION_TYPES.items():
        parts = [uli.part(kind) for kind in kinds] if uli is not None else []
        present = [part for part in parts if part is not None]
        if present and len(present) == len(kinds):
            octets = b"".join(encode_plmn(p.plmn) + p.number.to_bytes(_NUMBER_OCTETS[p.kind], "big") for p in present)
            return avp.TGPP_USER_LOCATION_INFO(bytes((number,)) + octets)
    return None


# The Cause that a Result-Code becomes. Any other refusal is "reason not specified".
_CAUSES = {
    3002: Cause.REMOTE_PEER_NOT_RESPONDING,  # DIAMETER_UNABLE_TO_DELIVER
    3004: Cause.NO_RESOURCES_AVAILABLE,  # DIAMETER_TOO_BUSY
    4001: Cause.USER_AUTHENTICATION_FAILED,
    5003: Cause.APN_ACCESS_DENIED_NO_SUBSCRIPTION,  # DIAMETER_AUTHORIZATION_REJECTED
    5012: Cause.SYSTEM_FAILURE,  # DIAMETER_UNABLE_TO_COMPLY
    5030: Cause.APN_ACCESS_DENIED_NO_SUBSCRIPTION,  # DIAMETER_USER_UNKNOWN (RFC 8506 clause 9.2)
}


def refusal_of(answer: diameter.Message | None) -> Cause | None:
    """None where a CCA accepts (2xxx); else the Cause for the SGW. No answer: the remote peer is silent."""
    if answer is None:
        return Cause.REMOTE_PEER_NOT_RESPONDING
    try:
        result = answer.value_of(avp.RESULT_CODE)
        experimental = answer.find(avp.EXPERIMENTAL_RESULT)
        if result is None and experimental is not None:
            result = experimental.value_of(avp.EXPERIMENTAL_RESULT_CODE)
    except DecodeError:
        result = None
    if result is None:
        return Cause.INVALID_REPLY_FROM_REMOTE_PEER
    return None if result // 1000 == 2 else _CAUSES.get(result, Cause.REQUEST_REJECTED_REASON_NOT_SPECIFIED)


def authorised_ambr(answer: diameter.Message) -> Ambr | None:
    """The APN-AMBR that a CCA or RAR authorises, in kbit/s. Raises DecodeError."""
    for information in answer.all(avp.QOS_INFORMATION):
        uplink = information.value_of(avp.APN_AGGREGATE_MAX_BITRATE_UL)
        downlink = information.value_of(avp.APN_AGGREGATE_MAX_BITRATE_DL)
        if uplink is not None and downlink is not None:
            return Ambr(uplink // 1000, downlink // 1000)
    return None


def authorised_qos(answer: diameter.Message) -> gtpv2.BearerQos | None:
    """The default bearer's QoS that a CCA or RAR authorises. Raises DecodeError."""
    found = answer.find(avp.DEFAULT_EPS_BEARER_QOS)
    if found is None:
        return None
    qci = found.value_of(avp.QOS_CLASS_IDENTIFIER)
    level, capability, vulnerability = arp_of(found.find(avp.ALLOCATION_RETENTION_PRIORITY))
    if qci is None or level is None:
        return None
    if qci > 255:
        raise DecodeError(f"QoS-Class-Identifier {qci} is above 255")
    return BearerQos(qci, level, capability, vulnerability)
