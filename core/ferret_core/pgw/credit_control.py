"""Credit-Control-Requests of Gx: what a PGW tells the PCRF of a PDN connection (TS 29.212 clauses 4.5 and 5.6.2)."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Network
from typing import TYPE_CHECKING, TypeAlias

from ferret.protocols import diameter
from ferret.protocols.diameter import Application, Avp, Command, avp
from ferret.protocols.diameter.constants import VENDOR_3GPP
from ferret.protocols.gtpv2 import Ambr, BearerQos, PcoId, RatType, Uli
from ferret.protocols.gtpv2.plmn import encode_plmn
from ferret_core.pgw.context import Session

if TYPE_CHECKING:
    from ferret_core.pgw.nf import Pgw

INITIAL, UPDATE, TERMINATION = 1, 2, 3  # CC-Request-Type (RFC 8506 clause 8.3)
_IMSI, _E164 = 1, 0  # Subscription-Id-Type (RFC 8506 clause 8.47)
_IP_CAN_3GPP_EPS = 5  # TS 29.212 clause 5.3.27
_NETWORK_REQUEST_SUPPORTED = 1  # clause 5.3.24
_INACTIVE = 1  # PCC-Rule-Status, clause 5.3.19
RESOURCE_ALLOCATION_FAILURE = 10  # Rule-Failure-Code, clause 5.3.38
_FIRST_FEATURE_LIST = 1
_IMEISV = 0  # User-Equipment-Info-Type, RFC 8506 clause 8.50

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
    return _credit_control(pgw, session, INITIAL, pgw.configuration.ccr_initial)


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
    return _credit_control(pgw, session, TERMINATION, pgw.configuration.ccr_termination)


def _credit_control(pgw: Pgw, session: Session, request_type: int, names: tuple[str, ...]) -> diameter.Message:
    told = [one for name in names for one in _told(pgw, session, name)]
    return diameter.request(Command.CREDIT_CONTROL, Application.GX, *_head(pgw, session, request_type), *told)


def _told(pgw: Pgw, session: Session, name: str) -> list[Avp]:
    """What a CCR says under this name: a number that the operator has fixed, or what the session is."""
    number = pgw.configuration.gx_numbers.get(name)
    definition = diameter.by_name(name)
    if number is not None and definition is not None:
        return [definition(number)]
    teller = _TELLERS.get(name)
    return [] if teller is None else [one for one in teller(pgw, session) if one is not None]


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


def _apn_ambr(ambr: Ambr | None, kilobit: int) -> Avp | None:
    """AMBR is in kbit/s on S5/S8 and in bit/s on Gx; what 32 bits cannot hold is said as their maximum."""
    if ambr is None:
        return None
    return avp.QOS_INFORMATION(
        avp.APN_AGGREGATE_MAX_BITRATE_UL(min(ambr.uplink * kilobit, 0xFFFFFFFF)),
        avp.APN_AGGREGATE_MAX_BITRATE_DL(min(ambr.downlink * kilobit, 0xFFFFFFFF)),
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


def _supported_features(pgw: Pgw, session: Session) -> list[Avp | None]:
    return [
        avp.SUPPORTED_FEATURES(
            avp.VENDOR_ID(VENDOR_3GPP),
            avp.FEATURE_LIST_ID(_FIRST_FEATURE_LIST),
            avp.FEATURE_LIST(pgw.configuration.feature_list),
        )
    ]


def _charging_identifier(pgw: Pgw, session: Session) -> list[Avp | None]:
    value = avp.ACCESS_NETWORK_CHARGING_IDENTIFIER_VALUE(session.charging_id.to_bytes(4, "big"))
    return [avp.ACCESS_NETWORK_CHARGING_IDENTIFIER_GX(value)]


def _equipment(pgw: Pgw, session: Session) -> list[Avp | None]:
    if not session.mei:
        return []
    info = avp.USER_EQUIPMENT_INFO_TYPE(_IMEISV), avp.USER_EQUIPMENT_INFO_VALUE(session.mei.encode())
    return [avp.USER_EQUIPMENT_INFO(*info)]


def _bearer_usage(pgw: Pgw, session: Session) -> list[Avp | None]:
    asked = session.pco is not None and session.pco.find(PcoId.IM_CN_SUBSYSTEM_SIGNALLING_FLAG) is not None
    return [avp.BEARER_USAGE(int(asked))]  # TS 29.212 clause 5.3.1: 1 is IMS signalling


def _ipv4_only(build: Callable[[str], Avp], address: str) -> list[Avp | None]:
    return [] if ":" in address else [build(address)]


Teller: TypeAlias = "Callable[[Pgw, Session], list[Avp | None]]"

_TELLERS: dict[str, Teller] = {
    "Destination-Host": lambda pgw, session: [_pcrf(session)],
    "Subscription-Id": lambda pgw, session: list(_subscription_ids(session)),
    "Supported-Features": _supported_features,
    "Network-Request-Support": lambda pgw, session: [avp.NETWORK_REQUEST_SUPPORT(_NETWORK_REQUEST_SUPPORTED)],
    "Framed-IP-Address": lambda pgw, session: [avp.FRAMED_IP_ADDRESS(session.paa.ipv4) if session.paa.ipv4 else None],
    "Framed-IPv6-Prefix": lambda pgw, session: [avp.FRAMED_IPV6_PREFIX(_prefix(session)) if session.paa.ipv6 else None],
    "IP-CAN-Type": lambda pgw, session: [avp.IP_CAN_TYPE(_IP_CAN_3GPP_EPS)],
    "RAT-Type": lambda pgw, session: [_rat_type(session)],
    "QoS-Information": lambda pgw, session: [_apn_ambr(session.ambr, pgw.configuration.kilobit)],
    "Default-EPS-Bearer-QoS": lambda pgw, session: [_default_qos(session.default_bearer.qos)],
    "3GPP-User-Location-Info": lambda pgw, session: [_location(session.uli)],
    "3GPP-MS-TimeZone": lambda pgw, session: [avp.TGPP_MS_TIMEZONE(session.time_zone) if session.time_zone else None],
    "3GPP-SGSN-MCC-MNC": lambda pgw, session: [
        avp.TGPP_SGSN_MCC_MNC(session.serving_network) if session.serving_network else None
    ],
    "3GPP-SGSN-Address": lambda pgw, session: _ipv4_only(avp.TGPP_SGSN_ADDRESS, session.sgw.address),
    "3GPP-GGSN-Address": lambda pgw, session: _ipv4_only(avp.TGPP_GGSN_ADDRESS, pgw.address),
    "3GPP-Selection-Mode": lambda pgw, session: [avp.TGPP_SELECTION_MODE(str(session.selection_mode))],
    "AN-GW-Address": lambda pgw, session: [avp.AN_GW_ADDRESS(session.sgw.address)],
    "Called-Station-Id": lambda pgw, session: [avp.CALLED_STATION_ID(session.apn)],
    "Bearer-Usage": _bearer_usage,
    "User-Equipment-Info": _equipment,
    "Online": lambda pgw, session: [avp.ONLINE(int(pgw.configuration.online_charging))],
    "Offline": lambda pgw, session: [avp.OFFLINE(int(pgw.configuration.offline_charging))],
    "Access-Network-Charging-Address": lambda pgw, session: [avp.ACCESS_NETWORK_CHARGING_ADDRESS(pgw.address)],
    "Access-Network-Charging-Identifier-Gx": _charging_identifier,
}
"""What a CCR may say of a session, by the AVP's name (TS 29.212 clause 5.6.2)."""
