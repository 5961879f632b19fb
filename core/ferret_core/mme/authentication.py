"""Identification, authentication and security mode: the common procedures of EMM (TS 24.301 clause 5.4)."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from ferret.errors import DecodeError
from ferret.protocols import diameter, nas, s1ap
from ferret.protocols.nas import EmmCause, MessageType
from ferret.protocols.nas.values import gea_of
from ferret_core.mme import release, s6a
from ferret_core.mme.context import UeContext
from ferret_core.mme.nas_transport import send
from ferret_core.mme.node import MmeNode
from ferret_core.mme.states import EmmEvent, EmmState

_NO_KEY: Final = 7  # NAS key set identifier: no key is available (TS 24.301 clause 9.9.3.21)


def identify(node: MmeNode, ue: UeContext) -> None:
    """Ask the UE for its IMSI (clause 5.4.4.2)."""
    ue.emm = EmmState.IDENTIFYING
    send(node, ue, nas.build_emm(MessageType.IDENTITY_REQUEST, {"Identity type": nas.IdentityType.IMSI}))


def identity_response(node: MmeNode, ue: UeContext, plain: nas.Plain) -> None:
    """The UE has told its IMSI: authenticate it."""
    identity = nas.MobileIdentity.decode(plain.get("Mobile identity") or b"")
    if identity.type != nas.IdentityType.IMSI or not identity.digits.isdecimal():
        raise DecodeError("Identity response without an IMSI")
    node.identify(ue, identity.digits)
    fetch_vector(node, ue)


def fetch_vector(node: MmeNode, ue: UeContext, resynchronisation: bytes = b"") -> None:
    """Ask the HSS for an authentication vector."""
    ue.emm = EmmState.FETCHING_VECTOR
    request = s6a.authentication_information_request(node, ue, resynchronisation)

    def answered(ue: UeContext, answer: diameter.Message) -> None:
        cause = s6a.refusal(answer)
        if cause is not None:
            reject(node, ue, cause)
            return
        ue.vector = s6a.vector_of(answer)
        node.happened(ue, EmmEvent.VECTOR_RECEIVED)

    node.to_hss(ue, request, answered, lambda ue, reason: reject(node, ue, EmmCause.NETWORK_FAILURE))


def challenge(node: MmeNode, ue: UeContext, _: nas.Plain | None = None) -> None:
    """Authentication request (clause 5.4.2.2), under the next key set identifier."""
    if ue.vector is None:
        raise DecodeError("there is no authentication vector")
    rand, _xres, autn, _k_asme = ue.vector
    ue.ksi = 0 if ue.ksi >= _NO_KEY - 1 else ue.ksi + 1
    ue.security, ue.secured, ue.keyless = None, False, False
    ue.emm = EmmState.AUTHENTICATING
    values: dict[str, bytes | int] = {"NAS key set identifier": ue.ksi, "RAND": rand, "AUTN": autn}
    send(node, ue, nas.build_emm(MessageType.AUTHENTICATION_REQUEST, values))


def authentication_response(node: MmeNode, ue: UeContext, plain: nas.Plain) -> None:
    """Compare RES with XRES: secure the connection, or refuse the UE (clause 5.4.2.4, 5.4.2.5)."""
    _rand, xres, _autn, _k_asme = ue.vector or (b"", b"", b"", b"")
    if not xres or not hmac.compare_digest(plain.get("Authentication response parameter") or b"", xres):
        node.note("authentication_failed", imsi=ue.imsi)
        send(node, ue, nas.build_emm(MessageType.AUTHENTICATION_REJECT, {}))
        ue.emm = EmmState.DEREGISTERED
        release.release_connection(node, ue, s1ap.Cause("nas", "authentication-failure"))
        return
    command_security_mode(node, ue)


def authentication_failure(node: MmeNode, ue: UeContext, plain: nas.Plain) -> None:
    """The UE refuses the challenge: resynchronise the sequence number once, else give up (clause 5.4.2.7)."""
    auts = plain.get("Authentication failure parameter") or b""
    rand = ue.vector[0] if ue.vector else b""
    if plain.number("EMM cause") == EmmCause.SYNCH_FAILURE and len(auts) == 14 and not ue.resynchronised:
        ue.resynchronised = True
        fetch_vector(node, ue, rand + auts)
        return
    node.note("authentication_failed", imsi=ue.imsi)
    send(node, ue, nas.build_emm(MessageType.AUTHENTICATION_REJECT, {}))
    ue.emm = EmmState.DEREGISTERED
    release.release_connection(node, ue, s1ap.Cause("nas", "authentication-failure"))


def choose_algorithms(node: MmeNode, ue: UeContext) -> tuple[int, int]:
    """EIA and EEA numbers: the first that the operator prefers, the UE has and this MME has."""
    capability = nas.UeNetworkCapability.decode(ue.network_capability)
    supported = nas.SUPPORTED
    integrity = [one for one in node.profile.integrity_preference if capability.supports(eia=one)]
    ciphering = [one for one in node.profile.ciphering_preference if capability.supports(eea=one)]
    for wanted in (*integrity[:1], *ciphering[:1]):
        if wanted not in supported:
            node.note("algorithm_unsupported", imsi=ue.imsi, algorithm=wanted)
    eia = next((one for one in (*integrity, 2) if one in supported and one), 0)
    eea = next((one for one in ciphering if one in supported), 0)
    return eia, eea


def command_security_mode(node: MmeNode, ue: UeContext) -> None:
    """Security mode command under the new keys (clause 5.4.3.2)."""
    eia, eea = choose_algorithms(node, ue)
    k_asme = ue.vector[3] if ue.vector else b""
    ue.security = nas.NasSecurityContext(k_asme, eia, eea, ue.ksi)
    ue.emm = EmmState.SECURING
    values: dict[str, bytes | int] = {
        "Selected NAS security algorithms": eea << 4 | eia,
        "NAS key set identifier": ue.ksi,
        "Replayed UE security capabilities": security_capability(ue),
    }
    if node.profile.imeisv_request:
        values["IMEISV request"] = 1
    habit = node.profile.hash_mme
    if ue.request is not None and (habit == "always" or (habit == "unprotected" and not ue.request_verified)):
        values["HashMME"] = hash_mme(ue.request.octets)
    if ue.additional_security_capability:
        values["Replayed UE additional security capability"] = ue.additional_security_capability
    command = nas.build_emm(MessageType.SECURITY_MODE_COMMAND, values)
    send(node, ue, command, nas.SecurityHeader.INTEGRITY_PROTECTED_NEW_CONTEXT)


def security_capability(ue: UeContext) -> bytes:
    """UE security capability: the algorithms of UE network capability and MS network capability (clause 9.9.3.36)."""
    capability = nas.UeNetworkCapability.decode(ue.network_capability)
    return capability.security_capability(gea_of(ue.ms_network_capability))


def hash_mme(message: bytes) -> bytes:
    """HASH_MME of a plain message: 8 octets (TS 33.401 clause 8.1.1 and annex I.2)."""
    return hmac.new(bytes(32), message, hashlib.sha256).digest()[24:]


def security_mode_complete(node: MmeNode, ue: UeContext, plain: nas.Plain) -> None:
    """The UE has taken the keys: they are in use from now on (clause 5.4.3.4)."""
    ue.secured = True
    if ue.security is not None:
        ue.k_enb = ue.security.k_enb()
        ue.next_hop, ue.next_hop_chaining_count = b"", 0
    imeisv = plain.get("IMEISV")
    if imeisv:
        ue.imeisv = nas.MobileIdentity.decode(imeisv).digits
    container = plain.get("Replayed NAS message container")
    if container and ue.request is not None:
        ue.request = nas.decode_plain(container)


def security_mode_reject(node: MmeNode, ue: UeContext, plain: nas.Plain) -> None:
    """The UE refuses the algorithms: the procedure ends (clause 5.4.3.5)."""
    node.note("security_mode_rejected", imsi=ue.imsi, cause=plain.number("EMM cause"))
    ue.security, ue.emm = None, EmmState.DEREGISTERED
    release.release_connection(node, ue, s1ap.Cause("nas", "unspecified"))


def reject(node: MmeNode, ue: UeContext, cause: EmmCause, esm: nas.Plain | None = None) -> None:
    """Refuse an attach or tracking area update and release the connection (clauses 5.5.1.2.5 and 5.5.3.2.5)."""
    update = ue.request is not None and ue.request.type == MessageType.TRACKING_AREA_UPDATE_REQUEST
    kind = MessageType.TRACKING_AREA_UPDATE_REJECT if update else MessageType.ATTACH_REJECT
    values: dict[str, bytes | int] = {"EMM cause": int(cause)}
    if esm is not None and not update:
        values["ESM message container"] = esm.octets
    node.note("attach_rejected", imsi=ue.imsi, cause=int(cause))
    ue.emm = EmmState.DEREGISTERED
    send(node, ue, nas.build_emm(kind, values))
    release.release_connection(node, ue, s1ap.Cause("nas", "normal-release"))
