"""Detach by the UE, and by the HSS (TS 23.401 clause 5.3.8, TS 24.301 clause 5.5.2)."""

from __future__ import annotations

from ferret.protocols import diameter, nas, s1ap
from ferret.protocols.diameter import avp
from ferret.protocols.nas import MessageType
from ferret.records.message import Interface
from ferret_core.mme import pdn_connectivity, release, s6a
from ferret_core.mme.context import UeContext
from ferret_core.mme.nas_transport import send
from ferret_core.mme.node import MmeNode
from ferret_core.mme.states import EcmState, EmmState
from ferret_core.nf import Peer, Received

_SWITCH_OFF = 8  # bit 4 of the detach type (TS 24.301 clause 9.9.3.7)
_REATTACH_REQUIRED, _REATTACH_NOT_REQUIRED = 1, 2  # types of detach towards the UE
_SUCCESS, _USER_UNKNOWN = 2001, 5001
_VENDOR_3GPP = 10415


def begin(node: MmeNode, ue: UeContext, plain: nas.Plain) -> None:
    """Detach request by the UE: delete its sessions, then let it go."""
    switch_off = bool((plain.number("Detach type") or 0) & _SWITCH_OFF)
    ue.emm = EmmState.DETACHING
    _delete_sessions(node, ue, accept=not switch_off)


def _delete_sessions(node: MmeNode, ue: UeContext, *, accept: bool) -> None:
    created = [pdn for pdn in ue.pdns.values() if pdn.created]

    def deleted(ue: UeContext) -> None:
        if not ue.deleting:
            _finish(node, ue, accept=accept)

    for pdn in created:
        pdn_connectivity.delete_session(node, ue, pdn, deleted)
    if not created:
        _finish(node, ue, accept=accept)


def _finish(node: MmeNode, ue: UeContext, *, accept: bool) -> None:
    ue.pdns.clear()
    ue.bearers.clear()
    ue.procedures.clear()
    node.close_s11(ue)
    if accept and ue.ecm is EcmState.CONNECTED:
        send(node, ue, nas.build_emm(MessageType.DETACH_ACCEPT, {}))
    ue.emm = EmmState.DEREGISTERED
    node.note("detached", imsi=ue.imsi)
    if node.profile.purge:
        node.to_hss(ue, s6a.purge_ue_request(node, ue), _purged)
    if ue.ecm is EcmState.CONNECTED:
        release.release_connection(node, ue, s1ap.Cause("nas", "detach"))
    else:
        node.remove(ue)


def _purged(ue: UeContext, answer: diameter.Message) -> None:
    """Purge-UE-Answer: nothing follows from it."""


def implicitly(node: MmeNode, imsi: str) -> None:
    """The subscriber is gone: delete its sessions and forget it, without any signalling towards it."""
    ue = node.by_imsi.get(imsi)
    if ue is None:
        return
    waiting, ue.procedures = ue.procedures, []
    for procedure in waiting:  # what the gateways wait for is answered
        procedure.abandon(node, ue)
    ue.ecm, ue.enb, ue.enb_ue_s1ap_id = EcmState.IDLE, None, None
    ue.emm = EmmState.DETACHING
    _delete_sessions(node, ue, accept=False)


def without_sgw(node: MmeNode, peer: Peer) -> None:
    """An SGW has lost what it had (TS 23.007 clause 14A): its devices have no bearers any more, and attach anew.

    Those that are idle are forgotten: their next message is a stranger's, and refused.
    """
    for ue in list(node.by_imsi.values()):
        known = {node.profile.sgw_address, ue.sgw.address if ue.sgw is not None else ""} - {""}
        if ue.mme_s11_teid == 0 or (peer.address and known and peer.address not in known):
            continue
        node.note("sgw_lost", imsi=ue.imsi)
        is_reachable = ue.ecm is EcmState.CONNECTED and ue.emm is EmmState.REGISTERED
        ue.pdns.clear()
        ue.bearers.clear()
        ue.procedures.clear()
        node.close_s11(ue)
        if is_reachable:
            send(node, ue, nas.build_emm(MessageType.DETACH_REQUEST, {"Detach type": _REATTACH_REQUIRED}))
            ue.emm = EmmState.DETACHING
        elif ue.ecm is EcmState.CONNECTED:
            ue.emm = EmmState.DEREGISTERED
            release.release_connection(node, ue, s1ap.Cause("nas", "detach"))
        else:
            node.remove(ue)


def detach_accept(node: MmeNode, ue: UeContext, _: nas.Plain) -> None:
    """The UE has been detached by the network and agrees."""
    ue.emm = EmmState.DEREGISTERED
    release.release_connection(node, ue, s1ap.Cause("nas", "detach"))


def cancel_location(node: MmeNode, event: Received, request: diameter.Message) -> None:
    """Cancel-Location-Request: the subscriber is elsewhere, or withdrawn (TS 29.272 clause 5.2.1.2)."""
    ue = node.by_imsi.get(request.value_of(avp.USER_NAME) or "")
    answer = diameter.answer(
        request,
        avp.RESULT_CODE(_SUCCESS),
        avp.AUTH_SESSION_STATE(1),
        avp.ORIGIN_HOST(node.profile.origin_host),
        avp.ORIGIN_REALM(node.profile.origin_realm),
    )
    node.answer(Interface.S6A, event.peer, answer, event.transaction)
    if ue is None:
        return
    if ue.ecm is EcmState.CONNECTED and ue.emm is EmmState.REGISTERED:
        request_plain = nas.build_emm(MessageType.DETACH_REQUEST, {"Detach type": _REATTACH_NOT_REQUIRED})
        send(node, ue, request_plain)
    ue.emm = EmmState.DETACHING
    _delete_sessions(node, ue, accept=False)
