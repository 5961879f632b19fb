"""A PGW's configuration, read from what the PGW of a recording sent; and the addresses that devices had."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address
from typing import Any

from ferret.errors import DecodeError
from ferret.protocols import diameter, gtpv2
from ferret.protocols.diameter import avp
from ferret.protocols.gtpv2 import (
    Ambr,
    Apn,
    BearerQos,
    FTeid,
    IeType,
    Imsi,
    InterfaceType,
    Ipcp,
    MessageType,
    Paa,
    Pco,
    PcoId,
)
from ferret.protocols.gtpv2.pco import IPCP_PRIMARY_DNS, IPCP_SECONDARY_DNS
from ferret.protocols.gtpv2.tft import ComponentType, Tft
from ferret.protocols.summary import Protocol
from ferret.records.message import Interface, Role, SignallingMessage
from ferret_core.pgw.configuration import CCR_NAMES, GX_NUMBERS

_DNS = (PcoId.DNS_SERVER_IPV4_ADDRESS, PcoId.DNS_SERVER_IPV6_ADDRESS)
_P_CSCF = (PcoId.P_CSCF_IPV4_ADDRESS, PcoId.P_CSCF_IPV6_ADDRESS)
_LOCAL = (ComponentType.IPV4_LOCAL_ADDRESS, ComponentType.IPV6_LOCAL_ADDRESS_PREFIX)
_BITS_PER_KBIT = 1000
_UNITS = (1000, 1024, 1)
_IPCP_DNS = (IPCP_PRIMARY_DNS, IPCP_SECONDARY_DNS)
_CCR_KEYS = {"CCR-Initial": "ccr_initial", "CCR-Termination": "ccr_termination"}
_FRAMED = ("Framed-IP-Address", "Framed-IPv6-Prefix")
_COMPUTED_NUMBERS = frozenset({"IP-CAN-Type", "Online", "Offline"})


def profile_from_recording(messages: Iterable[SignallingMessage]) -> Mapping[str, Any]:
    """For `Pgw.import_context`. `paa` is what each subscriber was given: at the edge the device keeps its address."""
    listed = list(messages)
    sessions = list(_sessions(listed))
    profile: dict[str, Any] = {"paa": _addresses(sessions)}
    for _, answer in sessions:
        profile |= _options(answer)
    for message in listed:
        if message.from_nf.role is Role.PGW:
            profile |= _habits(message)
    profile |= _gx_requests(listed)
    profile |= _unit(listed) | _first_precedence(listed)
    rates = [rate for message in listed if message.name == "RAR" for rate in _rule_rates(message)]
    return {key: value for key, value in (profile | _rounding(rates, listed)).items() if value not in ({}, ())}


def _sessions(messages: Iterable[SignallingMessage]) -> Iterator[tuple[gtpv2.Message, gtpv2.Message]]:
    """Create Session Requests with their answers, on S5/S8 where it is to be seen, else on S11."""
    requests: dict[int, gtpv2.Message] = {}
    for message in messages:
        if message.name not in ("Create Session Request", "Create Session Response"):
            continue
        try:
            decoded = gtpv2.decode(message.octets)
        except DecodeError:
            continue
        if decoded.type == MessageType.CREATE_SESSION_REQUEST:
            requests[message.index] = decoded
        elif message.answers in requests:
            yield requests[message.answers], decoded


def _addresses(sessions: Iterable[tuple[gtpv2.Message, gtpv2.Message]]) -> dict[str, dict[str, str | list[str]]]:
    """The address that each subscriber had in each APN; a list where it had one of each family."""
    found: dict[str, dict[str, str | list[str]]] = {}
    for request, answer in sessions:
        try:
            imsi, apn, paa = request.view(Imsi), request.view(Apn), answer.view(Paa)
        except DecodeError:
            continue
        if imsi is not None and apn is not None and paa is not None and (paa.ipv4 or paa.ipv6):
            given = [address for address in (paa.ipv4, paa.ipv6) if address]
            found.setdefault(imsi.digits, {})[apn.network_identifier] = given if len(given) > 1 else given[0]
    return found


def _options(answer: gtpv2.Message) -> dict[str, Any]:
    """What the PGW tells devices in Protocol Configuration Options. DNS servers may stand in IPCP alone."""
    ie = answer.find(IeType.PCO)
    if ie is None:
        return {}
    try:
        options = Pco.decode(ie.octets)
        ipcp = options.find(PcoId.IPCP)
        negotiated = () if ipcp is None else Ipcp.decode(ipcp.content).options
    except DecodeError:
        return {}
    named = tuple(str(ip_address(value)) for kind, value in negotiated if kind in _IPCP_DNS and len(value) == 4)
    told: dict[str, Any] = {"dns": options.addresses(_DNS) or named, "pcscf": options.addresses(_P_CSCF)}
    mtu = options.find(PcoId.IPV4_LINK_MTU)
    if mtu is not None and len(mtu.content) == 2:
        told["mtu"] = int.from_bytes(mtu.content, "big")
    return {key: list(value) if isinstance(value, tuple) else value for key, value in told.items() if value}


def _habits(message: SignallingMessage) -> dict[str, Any]:
    """What one message of the PGW shows of how it was set up."""
    try:
        if message.name == "CCR-Initial" and message.interface is Interface.GX:
            return _gx_habits(diameter.decode(message.octets))
        if message.protocol is not Protocol.GTPV2:
            return {}
        decoded = gtpv2.decode(message.octets)
        if decoded.type == MessageType.CREATE_BEARER_REQUEST:
            return _filter_habits(decoded) | _tunnel_habits(decoded)
        if decoded.type == MessageType.CREATE_SESSION_RESPONSE and gtpv2.accepted(decoded):
            return {"charging_id": any(c.find(IeType.CHARGING_ID) for c in decoded.bearer_contexts)}
        if decoded.type == MessageType.DELETE_SESSION_RESPONSE:
            return {"delete_session_pco": decoded.find(IeType.PCO) is not None}
    except DecodeError:
        pass
    return {}


def _tunnel_habits(request: gtpv2.Message) -> dict[str, Any]:
    """Under which instance the PGW names its end of the tunnel."""
    for context in request.bearer_contexts:
        for ie in context.all(IeType.F_TEID):
            if FTeid.decode(ie.octets).interface_type == InterfaceType.S5_S8_PGW_GTP_U:
                return {"create_bearer_instance": ie.instance}
    return {}


def _gx_requests(messages: Iterable[SignallingMessage]) -> dict[str, Any]:
    """Which AVPs the PGW puts into a CCR, in its order, and the numbers that it fixes."""
    profile: dict[str, Any] = {}
    numbers: dict[str, set[int]] = {}
    for message in messages:
        key = _CCR_KEYS.get(message.name)
        if key is None or message.interface is not Interface.GX:
            continue
        try:
            request = diameter.decode(message.octets)
        except DecodeError:
            continue
        names = dict.fromkeys([*profile.get(key, ()), *map(diameter.name_of, request.avps)])
        profile[key] = [name for name in names if name in CCR_NAMES | GX_NUMBERS]
        for name, number in _numbers(request):
            numbers.setdefault(name, set()).add(number)
    if "ccr_initial" in profile:  # which of them there is depends on the device's address
        missing = [name for name in _FRAMED if name not in profile["ccr_initial"]]
        profile["ccr_initial"] += missing
    fixed = {name: seen.pop() for name, seen in numbers.items() if len(seen) == 1}
    return profile | ({"gx_numbers": fixed} if fixed else {})


def _numbers(request: diameter.Message) -> Iterator[tuple[str, int]]:
    for one in request.avps:
        name = diameter.name_of(one)
        if name in GX_NUMBERS - _COMPUTED_NUMBERS and len(one.octets) == 4:
            yield name, int.from_bytes(one.octets, "big")


def _unit(messages: Iterable[SignallingMessage]) -> dict[str, Any]:
    """How many bit/s of Gx this PGW takes for a unit of GTP: told by the AMBR that it was asked for and asked with."""
    asked: set[int] = set()
    asking: set[int] = set()
    for message in messages:
        try:
            if message.name == "Create Session Request":
                ambr = gtpv2.decode(message.octets).view(Ambr)
                asked |= set() if ambr is None else {ambr.uplink, ambr.downlink}
            elif message.name == "CCR-Initial" and message.interface is Interface.GX:
                quality = diameter.decode(message.octets).find(avp.QOS_INFORMATION)
                rates = () if quality is None else quality.values_of(avp.APN_AGGREGATE_MAX_BITRATE_UL)
                asking |= set(rates)
        except DecodeError:
            continue
    units = [unit for unit in _UNITS if asking and asking <= {rate * unit for rate in asked}]
    return {"kilobit": units[0]} if units else {}


def _gx_habits(request: diameter.Message) -> dict[str, Any]:
    habits: dict[str, Any] = {}
    features = request.find(avp.SUPPORTED_FEATURES)
    if features is not None and (number := features.value_of(avp.FEATURE_LIST)) is not None:
        habits["feature_list"] = number
    for name, kind in (("online_charging", avp.ONLINE), ("offline_charging", avp.OFFLINE)):
        if (value := request.value_of(kind)) is not None:
            habits[name] = bool(value)
    return habits


def _filter_habits(request: gtpv2.Message) -> dict[str, Any]:
    filters = [
        packet_filter
        for context in request.bearer_contexts
        if (ie := context.find(IeType.BEARER_TFT)) is not None
        for packet_filter in Tft.decode(ie.octets).packet_filters
    ]
    kinds = [part.type for packet_filter in filters for part in packet_filter.components]
    return {"tft_local_address": any(kind in _LOCAL for kind in kinds)} if kinds else {}


def _first_precedence(messages: Iterable[SignallingMessage]) -> dict[str, Any]:
    """From what number on packet filters are evaluated; told where a PGW begins with 0 or 1."""
    lowest = None
    for message in messages:
        if message.name != "Create Bearer Request":
            continue
        try:
            for context in gtpv2.decode(message.octets).bearer_contexts:
                ie = context.find(IeType.BEARER_TFT)
                numbers = [] if ie is None else [one.precedence for one in Tft.decode(ie.octets).packet_filters]
                lowest = min([*numbers, 255 if lowest is None else lowest])
        except DecodeError:
            continue
    return {"first_precedence": lowest} if lowest in (0, 1) else {}


def _rule_rates(message: SignallingMessage) -> Iterator[int]:
    """Bit rates of rules that no whole number of kbit/s is."""
    try:
        request = diameter.decode(message.octets)
        for install in request.all(avp.CHARGING_RULE_INSTALL):
            for definition in install.all(avp.CHARGING_RULE_DEFINITION):
                quality = definition.find(avp.QOS_INFORMATION)
                rate = quality.value_of(avp.MAX_REQUESTED_BANDWIDTH_UL) if quality is not None else None
                if rate and rate % _BITS_PER_KBIT:
                    yield rate
    except DecodeError:
        return


def _rounding(rates: Iterable[int], messages: Iterable[SignallingMessage]) -> dict[str, Any]:
    """Whether bearers got the next higher kbit/s of such a rule."""
    wanted = {rate // _BITS_PER_KBIT for rate in rates}
    for message in messages:
        if message.name not in ("Create Bearer Request", "Update Bearer Request") or not wanted:
            continue
        try:
            contexts = gtpv2.decode(message.octets).bearer_contexts
            given = {q.mbr_uplink for c in contexts if (q := c.view(BearerQos)) is not None}
        except DecodeError:
            continue
        if given & wanted:
            return {"round_bit_rates_up": False}
        if given & {rate + 1 for rate in wanted}:
            return {"round_bit_rates_up": True}
    return {}
