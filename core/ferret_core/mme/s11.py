"""S11: the requests that the MME sends to the SGW (TS 29.274 clause 7.2)."""

from __future__ import annotations

from collections.abc import Iterable

from ferret.errors import DecodeError
from ferret.protocols import gtpv2, s1ap
from ferret.protocols.gtpv2 import IndicationFlag, InterfaceType, MessageType, Part
from ferret.protocols.gtpv2.constants import IeType
from ferret_core.mme.context import Bearer, PdnConnection, UeContext
from ferret_core.mme.node import MmeNode

_EUTRAN = 6  # RAT Type (clause 8.17)
_PDN_TYPES = {1: "0.0.0.0", 2: "", 3: "0.0.0.0"}


def uli(ue: UeContext) -> gtpv2.Uli | None:
    """User Location Information: where the UE is (clause 8.21)."""
    if ue.tai is None or ue.ecgi is None:
        return None
    tai = gtpv2.Location("TAI", ue.tai.plmn, ue.tai.tac)
    return gtpv2.Uli((tai, gtpv2.Location("ECGI", ue.ecgi.plmn, ue.ecgi.cell)))


def time_zone(node: MmeNode) -> gtpv2.UeTimeZone | None:
    """UE Time Zone, where the operator has one sent."""
    zone = node.profile.ue_time_zone
    return None if zone is None else gtpv2.UeTimeZone(*zone)


def indication(names: Iterable[str], length: int) -> gtpv2.Indication | None:
    """An Indication of at least `length` octets, and of two (clause 8.12 has had them from the first release on).

    None where there is nothing to say.
    """
    flags = [IndicationFlag[name] for name in names if name in IndicationFlag.__members__]
    return gtpv2.Indication.of(*flags, length=max(length, 2)) if flags or length else None


def bearer_qos(node: MmeNode, qos: s1ap.ErabQos) -> gtpv2.BearerQos:
    """Bearer Level QoS of S1AP's QoS: kbit/s, rounded up so that nothing is lost."""
    unit = node.profile.gtp_kilobit
    rates: tuple[int, ...] = ()
    if qos.gbr is not None:
        gbr = qos.gbr
        in_order = (gbr.mbr_uplink, gbr.mbr_downlink, gbr.gbr_uplink, gbr.gbr_downlink)
        rates = tuple(-(-rate // unit) for rate in in_order)
    # PCI and PVI are inverse: 1 is disabled (TS 29.212 clauses 5.3.46 and 5.3.47)
    return gtpv2.BearerQos(qos.qci, qos.priority_level, int(not qos.may_preempt), int(not qos.preemptable), *rates)


def erab_qos(node: MmeNode, qos: gtpv2.BearerQos) -> s1ap.ErabQos:
    """S1AP's QoS of Bearer Level QoS: bit/s. A bearer is a GBR bearer by its guaranteed rates or its QCI."""
    gbr = None
    if qos.gbr_downlink or qos.gbr_uplink or qos.qci in (1, 2, 3, 4, 65, 66, 67, 75):
        rates = (qos.mbr_downlink, qos.mbr_uplink, qos.gbr_downlink, qos.gbr_uplink)
        gbr = s1ap.Gbr(*(rate * node.profile.gtp_kilobit for rate in rates))
    return s1ap.ErabQos(qos.qci, qos.priority_level, not qos.pci, not qos.pvi, gbr)


def _paa(pdn: PdnConnection) -> gtpv2.Paa:
    """PDN Address Allocation: unspecified, so that the PGW chooses, unless the UE has an address already."""
    ipv4 = _PDN_TYPES[pdn.pdn_type]
    ipv6, prefix = ("::", 0) if pdn.pdn_type & 2 else ("", 0)
    for asked in pdn.asked_addresses:
        if ":" in asked and pdn.pdn_type & 2:
            ipv6, prefix = asked, 64
        elif ":" not in asked and pdn.pdn_type & 1:
            ipv4 = asked
    return gtpv2.Paa(pdn.pdn_type, ipv4, ipv6, prefix)


def create_session_request(node: MmeNode, ue: UeContext, pdn: PdnConnection) -> gtpv2.Message:
    """Create Session Request (clause 7.2.1) for a PDN connection and its default bearer."""
    profile, subscription = node.profile, ue.subscription
    node.open_s11(ue)
    uplink, downlink = (rate // profile.gtp_kilobit for rate in pdn.ambr)
    charging = pdn.subscription.charging_characteristics if pdn.subscription else b""
    charging = charging or subscription.charging_characteristics or bytes.fromhex(profile.charging_characteristics)
    pgw = gtpv2.f_teid(InterfaceType.S5_S8_PGW_GTP_C, 0, profile.pgw_address) if profile.pgw_address else None
    parts: tuple[Part, ...] = (
        gtpv2.Imsi(ue.imsi),
        gtpv2.Msisdn(subscription.msisdn) if subscription.msisdn and profile.send_msisdn else None,
        gtpv2.Mei(ue.imeisv) if ue.imeisv else None,
        uli(ue),
        gtpv2.ServingNetwork(ue.tai.plmn) if ue.tai else None,
        gtpv2.RatTypeIe(_EUTRAN),
        indication(profile.create_session_indication, profile.create_session_indication_length),
        gtpv2.f_teid(InterfaceType.S11_MME_GTP_C, ue.mme_s11_teid, node.address),
        pgw.ie(1) if pgw else None,
        gtpv2.Apn(pdn.apn),
        gtpv2.SelectionModeIe(profile.selection_mode),
        gtpv2.PdnTypeIe(pdn.pdn_type),
        _paa(pdn),
        None if profile.apn_restriction is None else gtpv2.ApnRestriction(profile.apn_restriction),
        gtpv2.Ambr(uplink, downlink) if uplink or downlink else None,
        gtpv2.Ie(IeType.PCO, 0, pdn.pco) if pdn.pco else None,
        gtpv2.bearer_context(bearer_qos(node, ue.bearers[pdn.ebi].qos), ebi=pdn.ebi),
        time_zone(node),
        gtpv2.Ie(IeType.CHARGING_CHARACTERISTICS, 0, charging) if charging else None,
    )
    return gtpv2.request(MessageType.CREATE_SESSION_REQUEST, ue.sgw.teid if ue.sgw else 0, *parts)


def take_session(node: MmeNode, ue: UeContext, pdn: PdnConnection, answer: gtpv2.Message) -> None:
    """Keep what a Create Session Response gives. Raises DecodeError where it lacks what the MME needs."""
    for ie in answer.all(IeType.F_TEID):
        f_teid = gtpv2.FTeid.decode(ie.octets)
        if f_teid.interface_type == InterfaceType.S11_SGW_GTP_C:
            ue.sgw = f_teid
        elif f_teid.interface_type == InterfaceType.S5_S8_PGW_GTP_C:
            pdn.pgw = f_teid
    pco, ambr = answer.find(IeType.PCO), answer.view(gtpv2.Ambr)
    pdn.paa = answer.view(gtpv2.Paa) or pdn.paa
    pdn.answered_pco = pco.octets if pco else b""
    if ambr is not None:
        pdn.ambr = ambr_rates(node, ambr)
    for context in answer.bearer_contexts:
        bearer = ue.bearers.get(gtpv2.ebi_of(context))
        if bearer is not None:
            bearer.sgw = sgw_tunnel(context) or bearer.sgw
            qos = context.view(gtpv2.BearerQos)
            bearer.qos = erab_qos(node, qos) if qos else bearer.qos
    if ue.sgw is None or ue.bearers[pdn.ebi].sgw is None:
        raise DecodeError("Create Session Response without the SGW's F-TEIDs")
    pdn.created = True


def ambr_rates(node: MmeNode, ambr: gtpv2.Ambr) -> tuple[int, int]:
    """Uplink and downlink of an AMBR in bit/s."""
    return ambr.uplink * node.profile.gtp_kilobit, ambr.downlink * node.profile.gtp_kilobit


def sgw_tunnel(context: gtpv2.Ie) -> s1ap.Tunnel | None:
    """The SGW's S1-U end in a Bearer Context. Raises DecodeError."""
    for ie in context.all(IeType.F_TEID):
        f_teid = gtpv2.FTeid.decode(ie.octets)
        if f_teid.interface_type == InterfaceType.S1_U_SGW_GTP_U:
            return s1ap.Tunnel(f_teid.address, f_teid.teid)
    return None


def enb_f_teid(bearer: Bearer) -> gtpv2.FTeid | None:
    """The eNB's S1-U end of a bearer."""
    if bearer.enb is None:
        return None
    return gtpv2.f_teid(InterfaceType.S1_U_ENB_GTP_U, bearer.enb.teid, bearer.enb.address)


def modify_bearer_request(
    node: MmeNode, ue: UeContext, bearers: Iterable[Bearer], *, service: bool = False
) -> gtpv2.Message:
    """Modify Bearer Request (clause 7.2.7): the eNB's ends of these bearers. `service`: after a service request."""
    profile = node.profile
    delay = profile.service_delay_value if service else None
    return gtpv2.request(
        MessageType.MODIFY_BEARER_REQUEST,
        ue.sgw.teid if ue.sgw else 0,
        uli(ue) if (profile.service_uli if service else profile.activation_uli) else None,
        None if delay is None else gtpv2.DelayValue(delay),
        *[gtpv2.bearer_context(enb_f_teid(bearer), ebi=bearer.ebi) for bearer in bearers],
    )


def delete_session_request(node: MmeNode, ue: UeContext, pdn: PdnConnection) -> gtpv2.Message:
    """Delete Session Request (clause 7.2.9.1)."""
    profile = node.profile
    return gtpv2.request(
        MessageType.DELETE_SESSION_REQUEST,
        ue.sgw.teid if ue.sgw else 0,
        gtpv2.Ebi(pdn.ebi),
        uli(ue) if profile.delete_session_uli else None,
        indication(profile.delete_session_indication, 0),
    )


def release_access_bearers_request(node: MmeNode, ue: UeContext) -> gtpv2.Message:
    """Release Access Bearers Request (clause 7.2.21.1)."""
    kind = node.profile.release_node_type
    part = None if kind is None else gtpv2.NodeType(kind)
    return gtpv2.request(MessageType.RELEASE_ACCESS_BEARERS_REQUEST, ue.sgw.teid if ue.sgw else 0, part)


def answer_parts(node: MmeNode, ue: UeContext) -> tuple[Part, ...]:
    """UE Time Zone and ULI for answers to the SGW's bearer requests, where the operator has them sent."""
    profile = node.profile
    return (time_zone(node) if profile.answer_time_zone else None, uli(ue) if profile.answer_uli else None)
