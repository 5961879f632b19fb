"""Service request: an idle UE comes back (TS 23.401 clause 5.3.4, TS 24.301 clause 5.6.1)."""

from __future__ import annotations

from ferret.protocols import nas, s1ap
from ferret.protocols.nas import EmmCause, MessageType
from ferret_core.mme import attach, paging, release
from ferret_core.mme.context import UeContext
from ferret_core.mme.nas_transport import send
from ferret_core.mme.node import MmeNode


def begin(node: MmeNode, ue: UeContext, _: nas.Plain | None = None) -> None:
    """Set up the UE's context and all its E-RABs at the base station, under a new K_eNB."""
    if not (ue.request_verified or ue.keyless) or not ue.pdns:
        reject(node, ue, EmmCause.UE_IDENTITY_CANNOT_BE_DERIVED if not ue.pdns else EmmCause.IMPLICITLY_DETACHED)
        return
    if ue.security is not None:
        ue.k_enb = ue.security.k_enb()
        ue.next_hop, ue.next_hop_chaining_count = b"", 0
    paging.stop(ue)
    erabs = [s1ap.Erab(one.ebi, one.qos, one.sgw) for one in sorted(ue.bearers.values(), key=lambda one: one.ebi)]
    attach.set_up_context(node, ue, erabs)


def extended(node: MmeNode, ue: UeContext, plain: nas.Plain) -> None:
    """Extended service request, which asks for circuit-switched fallback: there is none here."""
    reject(node, ue, EmmCause.CS_DOMAIN_NOT_AVAILABLE, keep=True)


def established(node: MmeNode, ue: UeContext) -> None:
    """The base station carries the bearers again: tell the SGW, then do what the UE was paged for."""
    attach.report_bearers(node, ue, service=True)
    paging.answered(node, ue)
    waiting, ue.when_connected = ue.when_connected, []
    for step in waiting:
        step()


def reject(node: MmeNode, ue: UeContext, cause: EmmCause, *, keep: bool = False) -> None:
    """Service reject; the connection is released unless `keep`."""
    node.note("service_rejected", imsi=ue.imsi, cause=int(cause))
    send(node, ue, nas.build_emm(MessageType.SERVICE_REJECT, {"EMM cause": int(cause)}))
    if not keep:
        release.release_connection(node, ue, s1ap.Cause("nas", "normal-release"))
