"""X2 handover: the target base station asks for the path to be switched (TS 23.401 clause 5.5.1.1.2)."""

from __future__ import annotations

from ferret.protocols import gtpv2, nas, s1ap
from ferret_core.mme import s11
from ferret_core.mme.context import UeContext
from ferret_core.mme.node import MmeNode
from ferret_core.nf import Peer


def request(node: MmeNode, peer: Peer, message: s1ap.Message) -> None:
    """PATH SWITCH REQUEST: the bearers now end at another base station; tell the SGW first."""
    enb_id = message.enb_ue_s1ap_id or 0
    number = message.ie(s1ap.IeId.SOURCE_MME_UE_S1AP_ID)
    ue = node.by_s1ap_id.get(number)
    if ue is None or not ue.pdns:
        cause = s1ap.Cause("radioNetwork", "unknown-mme-ue-s1ap-id")
        failure = s1ap.path_switch_request_failure(mme_ue_s1ap_id=number, enb_ue_s1ap_id=enb_id, cause=cause)
        node.to_enb(peer, failure)
        return
    ue.enb, ue.enb_ue_s1ap_id = peer, enb_id
    ue.tai, ue.ecgi = _where(ue, message)
    for item in message.items(s1ap.IeId.ERAB_TO_BE_SWITCHED_DL_LIST):
        erab = s1ap.Erab.of(item)
        if erab.ebi in ue.bearers:
            ue.bearers[erab.ebi].enb = erab.tunnel

    def answered(ue: UeContext, answer: gtpv2.Message) -> None:
        _acknowledge(node, ue, answer)

    carried = [bearer for bearer in ue.bearers.values() if bearer.enb is not None]
    node.to_sgw(ue, s11.modify_bearer_request(node, ue, carried), answered)


def _where(ue: UeContext, message: s1ap.Message) -> tuple[nas.Tai | None, s1ap.Ecgi | None]:
    tai, ecgi = message.ie(s1ap.IeId.TAI), message.ie(s1ap.IeId.EUTRAN_CGI)
    return (s1ap.tai_of(tai) if tai else ue.tai, s1ap.Ecgi.of(ecgi) if ecgi else ue.ecgi)


def _acknowledge(node: MmeNode, ue: UeContext, answer: gtpv2.Message) -> None:
    """PATH SWITCH REQUEST ACKNOWLEDGE with the next hop of the key chain (TS 33.401 clause 7.2.8.4.2)."""
    number, enb_id, peer = ue.mme_ue_s1ap_id, ue.enb_ue_s1ap_id or 0, ue.enb
    if peer is None:
        return
    if not gtpv2.accepted(answer):
        cause = s1ap.Cause("transport", "transport-resource-unavailable")
        failure = s1ap.path_switch_request_failure(mme_ue_s1ap_id=number, enb_ue_s1ap_id=enb_id, cause=cause)
        node.to_enb(peer, failure)
        return
    if ue.security is not None:
        first = ue.next_hop or nas.derive_nh(ue.security.k_asme, ue.k_enb)
        ue.next_hop = nas.derive_nh(ue.security.k_asme, first)
    ue.next_hop_chaining_count = (ue.next_hop_chaining_count or 1) + 1 & 7
    acknowledge = s1ap.path_switch_request_acknowledge(
        mme_ue_s1ap_id=number,
        enb_ue_s1ap_id=enb_id,
        next_hop_chaining_count=ue.next_hop_chaining_count,
        next_hop=ue.next_hop or bytes(32),
    )
    node.to_enb(peer, acknowledge)
    node.note("path_switched", imsi=ue.imsi, enb=peer.address)
