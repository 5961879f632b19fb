"""S1 Setup, Reset and Error Indication: the interface to a base station itself (TS 36.413 clause 8.7)."""

from __future__ import annotations

from ferret.protocols import s1ap
from ferret.protocols.nas import Tai
from ferret.protocols.nas.identities import plmn_digits
from ferret_core.mme import release
from ferret_core.mme.context import EnbContext
from ferret_core.mme.node import MmeNode
from ferret_core.mme.states import EcmState
from ferret_core.nf import Peer


def s1_setup_request(node: MmeNode, peer: Peer, message: s1ap.Message) -> None:
    """S1 SETUP REQUEST: accept a base station that broadcasts a PLMN which this MME serves."""
    broadcast = {
        Tai(plmn_digits(plmn), int.from_bytes(area["tAC"], "big"))
        for area in message.ie(s1ap.IeId.SUPPORTED_TAS) or ()
        for plmn in area["broadcastPLMNs"]
    }
    gummeis = node.profile.served_gummeis or tuple(
        s1ap.ServedGummeis((plmn,), (1,), (1,)) for plmn in sorted({tai.plmn for tai in broadcast})
    )
    served = {plmn for gummei in gummeis for plmn in gummei.plmns}
    if not any(tai.plmn in served for tai in broadcast):
        node.to_enb(peer, s1ap.s1_setup_failure(cause=s1ap.Cause("misc", "unknown-PLMN")))
        node.note("enb_refused", enb=peer.address)
        return
    release.forget_connections(node, peer)
    node.enbs[peer] = EnbContext(peer, str(message.ie(s1ap.IeId.ENB_NAME) or ""), frozenset(broadcast))
    answer = s1ap.s1_setup_response(
        name=node.profile.mme_name, gummeis=gummeis, relative_capacity=node.profile.relative_capacity
    )
    node.to_enb(peer, answer)
    node.note("enb_connected", enb=peer.address)


def reset(node: MmeNode, peer: Peer, message: s1ap.Message) -> None:
    """RESET by a base station: forget its connections, or those that it names."""
    alternative, content = message.ie(s1ap.IeId.RESET_TYPE) or ("s1-Interface", None)
    if alternative == "s1-Interface":
        release.forget_connections(node, peer)
        node.to_enb(peer, s1ap.reset_acknowledge())
        return
    pairs = []
    for item in content or ():
        named = item["value"][1]
        mme, enb = named.get("mME-UE-S1AP-ID"), named.get("eNB-UE-S1AP-ID")
        pairs.append((mme, enb))
        for ue in list(node.contexts()):
            same = ue.mme_ue_s1ap_id == mme if mme is not None else ue.enb_ue_s1ap_id == enb
            if same and ue.enb == peer and ue.ecm is EcmState.CONNECTED:
                release.go_idle(node, ue)
    node.to_enb(peer, s1ap.reset_acknowledge(connections=pairs))


def error_indication(node: MmeNode, peer: Peer, message: s1ap.Message) -> None:
    """ERROR INDICATION: nothing to be done but to say so."""
    cause = message.ie(s1ap.IeId.CAUSE)
    node.note("error_indication", enb=peer.address, cause=":".join(cause) if cause else "")


def enb_configuration_update(node: MmeNode, peer: Peer, message: s1ap.Message) -> None:
    """ENB CONFIGURATION UPDATE (clause 8.7.4): take what it changes and acknowledge."""
    enb = node.enbs.setdefault(peer, EnbContext(peer))
    areas = message.ie(s1ap.IeId.SUPPORTED_TAS)
    if areas:
        enb.tais = frozenset(
            Tai(plmn_digits(plmn), int.from_bytes(area["tAC"], "big"))
            for area in areas
            for plmn in area["broadcastPLMNs"]
        )
    kind = s1ap.PduKind.SUCCESSFUL_OUTCOME
    node.to_enb(peer, s1ap.build(kind, s1ap.ProcedureCode.ENB_CONFIGURATION_UPDATE, ()))
