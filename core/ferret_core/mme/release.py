"""S1 release and what follows from a lost connection (TS 23.401 clause 5.3.5, TS 36.413 clause 8.3.2 and 8.3.3)."""

from __future__ import annotations

from ferret.errors import PeerViolationError
from ferret.protocols import gtpv2, s1ap
from ferret_core.mme import s11
from ferret_core.mme.context import UeContext
from ferret_core.mme.node import MmeNode
from ferret_core.mme.states import EcmState, EmmState
from ferret_core.nf import Peer


def release_request(node: MmeNode, peer: Peer, message: s1ap.Message) -> None:
    """UE CONTEXT RELEASE REQUEST by the base station."""
    cause = message.ie(s1ap.IeId.CAUSE)
    begin(node, node.ue_of(message), s1ap.Cause(*cause) if cause else s1ap.Cause("radioNetwork", "unspecified"))


def begin(node: MmeNode, ue: UeContext, cause: s1ap.Cause) -> None:
    """Release the SGW's side first, then the base station's."""
    ue.release_cause = cause
    if ue.sgw is None or not any(pdn.created for pdn in ue.pdns.values()):
        release_connection(node, ue, ue.release_cause)
        return

    def released(ue: UeContext, _: gtpv2.Message) -> None:
        for bearer in ue.bearers.values():
            bearer.enb = None
        release_connection(node, ue, ue.release_cause or s1ap.Cause("nas", "normal-release"))

    def unanswered(ue: UeContext, reason: str) -> None:
        release_connection(node, ue, ue.release_cause or s1ap.Cause("nas", "normal-release"))

    node.to_sgw(ue, s11.release_access_bearers_request(node, ue), released, unanswered)


def release_connection(node: MmeNode, ue: UeContext, cause: s1ap.Cause) -> None:
    """UE CONTEXT RELEASE COMMAND. Nothing to do for a UE that is idle already."""
    if ue.ecm is not EcmState.CONNECTED:
        return
    command = s1ap.ue_context_release_command(
        mme_ue_s1ap_id=ue.mme_ue_s1ap_id, enb_ue_s1ap_id=ue.enb_ue_s1ap_id, cause=cause
    )
    node.to_ue(ue, command)


def release_complete(node: MmeNode, peer: Peer, message: s1ap.Message) -> None:
    """UE CONTEXT RELEASE COMPLETE: the UE is idle, and forgotten if it is not registered."""
    ue = node.ue_of(message)
    go_idle(node, ue)


def go_idle(node: MmeNode, ue: UeContext) -> None:
    """The signalling connection is gone."""
    ue.ecm, ue.enb_ue_s1ap_id, ue.enb = EcmState.IDLE, None, None
    ue.release_cause, ue.context_set_up = None, False
    for bearer in ue.bearers.values():
        bearer.enb = None
    waiting, ue.procedures = ue.procedures, []
    for procedure in waiting:
        procedure.abandon(node, ue)
    if ue.emm is not EmmState.REGISTERED and not ue.deleting:
        node.remove(ue)
    node.note("ue_idle", imsi=ue.imsi)


def forget_connections(node: MmeNode, peer: Peer) -> None:
    """A base station has restarted, or is lost: all its UEs are idle, and the SGW is told (TS 23.401 clause 5.3.5)."""
    for ue in list(node.contexts()):
        if ue.enb == peer and ue.ecm is EcmState.CONNECTED:
            go_idle(node, ue)
            if ue.emm is EmmState.REGISTERED and ue.sgw is not None and any(p.created for p in ue.pdns.values()):
                request = s11.release_access_bearers_request(node, ue)
                node.to_sgw(ue, request, _nothing_more, _no_answer)


def _nothing_more(ue: UeContext, _: gtpv2.Message) -> None:
    """The UE is idle already."""


def _no_answer(ue: UeContext, reason: str) -> None:
    """The UE is idle all the same; what comes for it finds no base station."""


def bearers_released(node: MmeNode, peer: Peer, message: s1ap.Message) -> None:
    """E-RAB RELEASE INDICATION: the eNB has dropped bearers; the SGW is told by Delete Bearer Command."""
    ue = node.ue_of(message)
    for item in message.items(s1ap.IeId.ERAB_RELEASED_LIST):
        bearer = ue.bearers.get(item["e-RAB-ID"])
        if bearer is None:
            raise PeerViolationError(f"UE has no EPS bearer {item['e-RAB-ID']}")
        bearer.enb = None
        node.note("bearer_dropped_by_enb", imsi=ue.imsi, ebi=bearer.ebi)
