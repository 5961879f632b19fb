"""Attach (TS 23.401 clause 5.3.2.1, TS 24.301 clause 5.5.1)."""

from __future__ import annotations

import struct
from datetime import UTC, datetime

from ferret.errors import DecodeError
from ferret.protocols import diameter, nas, s1ap
from ferret.protocols.nas import EmmCause, EsmCause, MessageType
from ferret.protocols.nas.identities import plmn_octets
from ferret_core.mme import authentication, pdn_connectivity, release, s6a
from ferret_core.mme.context import PdnConnection, UeContext
from ferret_core.mme.nas_transport import protect, send
from ferret_core.mme.node import MmeNode
from ferret_core.mme.states import BearerEvent, EmmEvent, EmmState

_COMBINED = 2  # EPS attach type: combined EPS/IMSI attach (TS 24.301 clause 9.9.3.11)
_ONLY_PACKET = 2  # Network-Access-Mode (TS 29.272 clause 7.3.21)


def begin(node: MmeNode, ue: UeContext, plain: nas.Plain) -> None:
    """Attach request: find out who it is, then authenticate, or go on with the security context that is there."""
    ue.request, ue.esm_request = plain, plain.esm
    ue.network_capability = plain.get("UE network capability") or b""
    ue.ms_network_capability = plain.get("MS network capability") or b""
    ue.additional_security_capability = plain.get("UE additional security capability") or b""
    ue.context_set_up, ue.resynchronised = False, False
    if ue.esm_request is None:
        raise DecodeError("Attach request without a PDN connectivity request")
    identity = nas.MobileIdentity.decode(plain.get("EPS mobile identity") or b"")
    if ue.request_verified and ue.imsi:
        if ue.security is not None:
            ue.k_enb = ue.security.k_enb()
        secured(node, ue)
        return
    ue.secured = False
    if identity.type == nas.IdentityType.IMSI and identity.digits.isdecimal():
        node.identify(ue, identity.digits)
    if not ue.imsi:
        authentication.identify(node, ue)
        return
    authentication.fetch_vector(node, ue)


def security_mode_complete(node: MmeNode, ue: UeContext, plain: nas.Plain) -> None:
    """The UE is authenticated and NAS is secure."""
    authentication.security_mode_complete(node, ue, plain)
    secured(node, ue)


def secured(node: MmeNode, ue: UeContext, _: nas.Plain | None = None) -> None:
    """Delete what is left of an earlier attach; then tell the HSS where the UE is, unless it knows."""
    left = [pdn for pdn in ue.pdns.values() if pdn.created]
    if left:
        ue.emm = EmmState.LOCATING
        for pdn in left:
            pdn_connectivity.delete_session(node, ue, pdn, lambda ue: _left_deleted(node, ue))
        return
    ue.radio_capability = ue.radio_capability or node.radio_capabilities.get(ue.imsi, b"")
    if not ue.subscription.apns:
        ue.subscription = node.subscriptions.get(ue.imsi, ue.subscription)
        ue.imeisv = ue.imeisv or ue.subscription.imeisv
        ue.radio_capability = ue.radio_capability or ue.subscription.radio_capability
    if ue.subscription.apns and ue.request_verified:
        node.happened(ue, EmmEvent.LOCATION_UPDATED)
        return
    update_location(node, ue)


def _left_deleted(node: MmeNode, ue: UeContext) -> None:
    if ue.deleting:
        return
    ue.pdns.clear()
    ue.bearers.clear()
    node.close_s11(ue)
    secured(node, ue)


def update_location(node: MmeNode, ue: UeContext) -> None:
    """Update-Location-Request."""
    ue.emm = EmmState.LOCATING

    def answered(ue: UeContext, answer: diameter.Message) -> None:
        cause = s6a.refusal(answer)
        if cause is not None:
            authentication.reject(node, ue, cause)
            return
        ue.subscription = s6a.subscription_of(answer) or ue.subscription
        node.happened(ue, EmmEvent.LOCATION_UPDATED)

    def unanswered(ue: UeContext, reason: str) -> None:
        authentication.reject(node, ue, EmmCause.NETWORK_FAILURE)

    node.to_hss(ue, s6a.update_location_request(node, ue), answered, unanswered)


def location_updated(node: MmeNode, ue: UeContext, _: nas.Plain | None = None) -> None:
    """The subscription is known: ask for protected ESM information if the UE has some (TS 24.301 clause 6.6.1.2)."""
    request = ue.esm_request
    if request is None:
        raise DecodeError("no PDN connectivity request")
    flagged = bool(request.number("ESM information transfer flag"))
    habit = node.profile.esm_information
    if habit == "always" or (habit == "flag" and flagged):
        ue.emm = EmmState.ASKING_ESM
        send(node, ue, nas.build_esm(MessageType.ESM_INFORMATION_REQUEST, ebi=0, pti=request.pti))
        return
    create_session(node, ue, None)


def create_session(node: MmeNode, ue: UeContext, information: nas.Plain | None) -> None:
    """Create the default PDN connection's session; `information` is the ESM information response."""
    request = ue.esm_request
    if request is None:
        raise DecodeError("no PDN connectivity request")
    ue.emm = EmmState.CREATING_SESSION
    try:
        pdn = pdn_connectivity.prepare(node, ue, request, information)
    except pdn_connectivity.RefusedByMmeError as refused:
        _refuse(node, ue, request.pti, refused.cause)
        return

    def created(ue: UeContext, pdn: PdnConnection) -> None:
        node.happened(ue, EmmEvent.SESSION_CREATED)

    def refused_by_gateway(ue: UeContext, pdn: PdnConnection, cause: EsmCause) -> None:
        _refuse(node, ue, pdn.pti, cause)

    pdn_connectivity.create_session(node, ue, pdn, created, refused_by_gateway)


def _refuse(node: MmeNode, ue: UeContext, pti: int, cause: EsmCause) -> None:
    kind = MessageType.PDN_CONNECTIVITY_REJECT
    inner = nas.build_esm(kind, ebi=0, pti=pti, values={"ESM cause": int(cause)})
    authentication.reject(node, ue, EmmCause.ESM_FAILURE, inner)


def accept(node: MmeNode, ue: UeContext, _: nas.Plain | None = None) -> None:
    """Attach accept in an INITIAL CONTEXT SETUP REQUEST."""
    pdn = next(iter(ue.pdns.values()))
    ue.emm = EmmState.ATTACHING
    nas_pdu = protect(node, ue, attach_accept(node, ue, pdn))
    bearer = ue.bearers[pdn.ebi]
    set_up_context(node, ue, [s1ap.Erab(bearer.ebi, bearer.qos, bearer.sgw, nas_pdu)])


def attach_accept(node: MmeNode, ue: UeContext, pdn: PdnConnection) -> nas.Plain:
    """Attach accept (TS 24.301 clause 8.2.1)."""
    profile = node.profile
    asked = (ue.request.number("EPS attach type") if ue.request else None) or 1
    only_eps = asked == _COMBINED and ue.subscription.network_access_mode == _ONLY_PACKET
    only_eps = only_eps and not profile.attach_result_as_asked
    values: dict[str, bytes | int] = {
        "EPS attach result": 1 if only_eps else asked,
        "T3412 value": bytes.fromhex(profile.t3412),
        "TAI list": tai_list(node, ue),
        "ESM message container": pdn_connectivity.activate_default(node, ue, pdn).octets,
    }
    if profile.allocate_guti:
        ue.next_guti = ue.next_guti or node.allocate_guti(ue)
        values["GUTI"] = ue.next_guti.encode()
    if only_eps:
        values["EMM cause"] = int(EmmCause.CS_DOMAIN_NOT_AVAILABLE)
    values |= {name: bytes.fromhex(octets) for name, octets in profile.attach_accept}
    return nas.build_emm(MessageType.ATTACH_ACCEPT, values)


def tai_list(node: MmeNode, ue: UeContext) -> bytes:
    """The operator's TAI list that holds the UE's TAI; a list of that TAI alone where there is none."""
    for text in node.profile.tai_lists:
        octets = bytes.fromhex(text)
        if ue.tai in nas.decode_tai_list(octets):
            return octets
    tai = ue.tai or nas.Tai("00101", 1)
    return b"\x00" + plmn_octets(tai.plmn) + tai.tac.to_bytes(2, "big")


def set_up_context(node: MmeNode, ue: UeContext, erabs: list[s1ap.Erab]) -> None:
    """INITIAL CONTEXT SETUP REQUEST with the UE's keys, capabilities and rates."""
    capability = nas.UeNetworkCapability.decode(ue.network_capability or b"\0\0")
    ambr = (ue.subscription.ambr_downlink, ue.subscription.ambr_uplink)
    masked = _masked(ue.imeisv) if node.profile.masked_imeisv and len(ue.imeisv) == 16 else None
    message = s1ap.initial_context_setup_request(
        **ue.ids,
        ambr=ambr,
        erabs=erabs,
        # the null algorithms have no bit in S1AP (TS 36.413 clause 9.2.1.40)
        encryption_algorithms=capability.eea << 9 & 0xFFFF,
        integrity_algorithms=capability.eia << 9 & 0xFFFF,
        security_key=ue.k_enb or bytes(32),
        masked_imeisv=masked,
        ue_radio_capability=ue.radio_capability or None,
    )
    node.to_ue(ue, message)


def _masked(imeisv: str) -> bytes:
    """Masked IMEISV: the last four digits of the serial number are ones (TS 36.413 clause 9.2.3.38)."""
    return bytes.fromhex(imeisv[:10] + "ffff" + imeisv[14:])


def context_set_up(node: MmeNode, ue: UeContext, message: s1ap.Message) -> None:
    """INITIAL CONTEXT SETUP RESPONSE: keep the eNB's tunnel ends."""
    for item in message.items(s1ap.IeId.ERAB_SETUP_LIST_CTXT_SU_RES):
        erab = s1ap.Erab.of(item)
        bearer = ue.bearers.get(erab.ebi)
        if bearer is not None:
            bearer.enb = erab.tunnel
    ue.context_set_up = True


def context_not_set_up(node: MmeNode, ue: UeContext, message: s1ap.Message) -> None:
    """INITIAL CONTEXT SETUP FAILURE: the procedure that wanted it ends, the connection is released."""
    cause = message.ie(s1ap.IeId.CAUSE)
    node.note("context_not_set_up", imsi=ue.imsi, cause=":".join(cause) if cause else "")
    release.release_connection(node, ue, s1ap.Cause(*cause) if cause else s1ap.Cause("nas", "unspecified"))


def complete(node: MmeNode, ue: UeContext, plain: nas.Plain) -> None:
    """Attach complete: the UE is registered. The SGW gets the eNB's tunnel end (TS 23.401 clause 5.3.2.1 step 23)."""
    answer = plain.esm
    if answer is None or answer.ebi not in ue.bearers:
        raise DecodeError("Attach complete without an answer for the default bearer")
    ue.bearers[answer.ebi].happen(BearerEvent.ACTIVATE_ACCEPT)
    ue.emm = EmmState.REGISTERED
    node.confirm_guti(ue)
    send_emm_information(node, ue)
    if ue.context_set_up:
        report_bearers(node, ue)
    node.note("attached", imsi=ue.imsi)


def report_bearers(node: MmeNode, ue: UeContext, *, service: bool = False) -> None:
    """Modify Bearer Request for every bearer that the eNB carries. `service`: after a service request."""
    carried = [bearer for bearer in ue.bearers.values() if bearer.enb is not None]
    if carried:
        pdn_connectivity.modify_bearers(node, ue, carried, service=service)


def send_emm_information(node: MmeNode, ue: UeContext) -> None:
    """EMM information (TS 24.301 clause 5.4.5), where the operator has it sent."""
    fields = node.profile.emm_information
    if fields is None:
        return
    values: dict[str, bytes | int] = {}
    for name, octets in fields:
        value = bytes.fromhex(octets)
        if name == "Universal time and local time zone" and len(value) == 7:
            value = _time(node.profile.time_origin_s + node.now, value[-1])
        values[name] = value
    send(node, ue, nas.build_emm(MessageType.EMM_INFORMATION, values))


def _time(seconds: float, zone: int) -> bytes:
    """Universal time and local time zone: six pairs of swapped digits and the zone (TS 24.008 clause 10.5.3.9)."""
    at = datetime.fromtimestamp(seconds, UTC)
    numbers = (at.year % 100, at.month, at.day, at.hour, at.minute, at.second)
    return struct.pack("7B", *(number % 10 << 4 | number // 10 for number in numbers), zone)
