"""NAS to and from a UE: protection, transport over S1AP (TS 24.301 clause 4.4, TS 36.413 clause 8.6)."""

from __future__ import annotations

from typing import Final

from ferret.protocols import nas, s1ap
from ferret_core.mme.context import UeContext
from ferret_core.mme.node import MmeNode

_M = nas.MessageType
# What may be processed although its integrity could not be verified (TS 24.301 clause 4.4.4.3).
_UNVERIFIED_ALLOWED: Final = frozenset(
    (
        _M.ATTACH_REQUEST,
        _M.IDENTITY_RESPONSE,
        _M.AUTHENTICATION_RESPONSE,
        _M.AUTHENTICATION_FAILURE,
        _M.SECURITY_MODE_REJECT,
        _M.DETACH_REQUEST,
        _M.DETACH_ACCEPT,
        _M.TRACKING_AREA_UPDATE_REQUEST,
    )
)
_CIPHERED: Final = nas.SecurityHeader.INTEGRITY_PROTECTED_AND_CIPHERED


def protect(node: MmeNode, ue: UeContext, plain: nas.Plain, header: nas.SecurityHeader | None = None) -> bytes:
    """A NAS-PDU for the UE: protected once security is in use, in the clear before that.

    Without keys it goes in the clear and a note says so.
    """
    if ue.security is None or not (ue.secured or header is not None):
        if ue.keyless:
            node.note("nas_unprotected", imsi=ue.imsi, message=plain.name)
        return plain.octets
    return ue.security.protect(plain.octets, header or _CIPHERED, nas.Direction.DOWNLINK)


def send(node: MmeNode, ue: UeContext, plain: nas.Plain, header: nas.SecurityHeader | None = None) -> None:
    """Send a NAS message in a DOWNLINK NAS TRANSPORT."""
    node.to_ue(ue, s1ap.downlink_nas_transport(**ue.ids, nas_pdu=protect(node, ue, plain, header)))


def receive(node: MmeNode, ue: UeContext, octets: bytes) -> tuple[nas.Plain | None, bool]:
    """The plain message in a NAS-PDU, and whether its integrity is verified; None for one that must be discarded.

    Raises DecodeError.
    """
    message = nas.decode(octets)
    if ue.security is None:
        return message.plain, False
    plain, verified = ue.security.unprotect(message, nas.Direction.UPLINK)
    if plain is None:
        if message.header is not nas.SecurityHeader.SERVICE_REQUEST:
            node.note("nas_unreadable", imsi=ue.imsi)
        return None, verified
    if verified or not ue.secured or plain.type in _UNVERIFIED_ALLOWED:
        return plain, verified
    node.note("nas_integrity_failed", imsi=ue.imsi, message=plain.name)
    return None, False
