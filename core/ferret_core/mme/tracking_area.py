"""Tracking area update without a change of MME (TS 23.401 clause 5.3.3.2, TS 24.301 clause 5.5.3)."""

from __future__ import annotations

from ferret.protocols import nas, s1ap
from ferret.protocols.nas import EmmCause, MessageType
from ferret_core.mme import attach, authentication, release
from ferret_core.mme.context import UeContext
from ferret_core.mme.nas_transport import protect, send
from ferret_core.mme.node import MmeNode

_COMBINED = (1, 2)  # EPS update type: combined TA/LA updating, with or without IMSI attach
_COMBINED_UPDATED = 1  # EPS update result
_ACTIVE = 8  # bit 4 of EPS update type: the UE wants its bearers (TS 24.301 clause 9.9.3.14)


def begin(node: MmeNode, ue: UeContext, plain: nas.Plain) -> None:
    """Tracking area update request: accept a UE that is known and verified; others must attach."""
    ue.request = plain
    if not ue.imsi or not ue.pdns or not (ue.request_verified or ue.keyless):
        authentication.reject(node, ue, EmmCause.UE_IDENTITY_CANNOT_BE_DERIVED)
        return
    ue.network_capability = plain.get("UE network capability") or ue.network_capability
    accept = _accept(node, ue, plain)
    if (plain.number("EPS update type") or 0) & _ACTIVE and not ue.context_set_up:
        if ue.security is not None:
            ue.k_enb = ue.security.k_enb()
        # the answer goes with the first of the bearers that the UE wants back
        octets: bytes | None = protect(node, ue, accept)
        erabs = []
        for _, bearer in sorted(ue.bearers.items()):
            erabs.append(s1ap.Erab(bearer.ebi, bearer.qos, bearer.sgw, octets))
            octets = None
        attach.set_up_context(node, ue, erabs)
        return
    send(node, ue, accept)
    if not ue.context_set_up:
        release.begin(node, ue, s1ap.Cause("nas", "normal-release"))


def _accept(node: MmeNode, ue: UeContext, plain: nas.Plain) -> nas.Plain:
    """Tracking area update accept (clause 8.2.26)."""
    combined = (plain.number("EPS update type") or 0) & 7 in _COMBINED
    status = sum(1 << ebi for ebi in ue.bearers)
    values: dict[str, bytes | int] = {
        "EPS update result": _COMBINED_UPDATED if combined and node.profile.attach_result_as_asked else 0,
        "T3412 value": bytes.fromhex(node.profile.t3412),
        "TAI list": attach.tai_list(node, ue),
        "EPS bearer context status": status.to_bytes(2, "little"),
    }
    allowed = {"T3402 value", "T3423 value", "EPS network feature support"}
    values |= {name: bytes.fromhex(octets) for name, octets in node.profile.attach_accept if name in allowed}
    return nas.build_emm(MessageType.TRACKING_AREA_UPDATE_ACCEPT, values)


def complete(node: MmeNode, ue: UeContext, _: nas.Plain) -> None:
    """Tracking area update complete: the UE has taken its new GUTI."""
    node.confirm_guti(ue)
