"""Paging and Downlink Data Notification (TS 23.401 clause 5.3.4.3, TS 24.301 clause 5.6.2)."""

from __future__ import annotations

from collections.abc import Callable

from ferret.protocols import gtpv2, s1ap
from ferret.protocols.gtpv2 import Cause
from ferret.records.message import Interface
from ferret_core.mme.context import UeContext
from ferret_core.mme.node import MmeNode
from ferret_core.mme.states import EcmState
from ferret_core.nf import Received


def downlink_data_notification(node: MmeNode, ue: UeContext | None, event: Received, request: gtpv2.Message) -> None:
    """Downlink data has arrived for an idle UE: page it, and answer when it has come."""
    if ue is None or ue.sgw is None:
        node.answer(Interface.S11, event.peer, gtpv2.refusal(request, 0, Cause.CONTEXT_NOT_FOUND), event.transaction)
        return
    ue.notified = (event.peer, request, event.transaction)
    if ue.ecm is EcmState.CONNECTED:
        answered(node, ue)
        return
    page(node, ue)


def page_then(node: MmeNode, ue: UeContext, step: Callable[[], None]) -> None:
    """Page a UE, and take a step when it has come."""
    ue.when_connected.append(step)
    page(node, ue)


def page(node: MmeNode, ue: UeContext) -> None:
    """Begin to page a UE, unless that goes on already."""
    if ue.paging_at is None:
        ue.paging_left = node.profile.paging_attempts
        _page_once(node, ue)


def _page_once(node: MmeNode, ue: UeContext) -> None:
    """PAGING to every base station of the UE's tracking area; T3413 runs."""
    ue.paging_left -= 1
    ue.paging_at = node.now + node.profile.t3413_s
    if ue.guti is None or ue.tai is None:
        return
    tai = ue.tai
    message = s1ap.paging(
        ue_identity_index=int(ue.imsi or "0") % 1024, mme_code=ue.guti.mme_code, m_tmsi=ue.guti.m_tmsi, tais=(tai,)
    )
    for enb in node.enbs.values():
        if tai in enb.tais or not enb.tais:
            node.to_enb(enb.peer, message)


def stop(ue: UeContext) -> None:
    """The UE has come, or will not."""
    ue.paging_at, ue.paging_left = None, 0


def answered(node: MmeNode, ue: UeContext, cause: Cause = Cause.REQUEST_ACCEPTED) -> None:
    """Downlink Data Notification Acknowledge (TS 29.274 clause 7.2.11.2), if one is due."""
    if ue.notified is None:
        return
    peer, request, transaction = ue.notified
    ue.notified = None
    teid = ue.sgw.teid if ue.sgw else 0
    delay = node.profile.notification_delay_value
    part = None if delay is None else gtpv2.DelayValue(delay)
    node.answer(Interface.S11, peer, gtpv2.answer(request, teid, gtpv2.CauseIe(cause), part), transaction)


def deadline(node: MmeNode) -> float | None:
    """When the next UE must be paged again."""
    return min((ue.paging_at for ue in node.contexts() if ue.paging_at is not None), default=None)


def wake(node: MmeNode) -> None:
    """T3413 has expired for these UEs: page again, or give up."""
    for ue in list(node.contexts()):
        if ue.paging_at is None or ue.paging_at > node.now:
            continue
        if ue.paging_left > 0:
            _page_once(node, ue)
            continue
        stop(ue)
        ue.when_connected.clear()
        node.note("paging_failed", imsi=ue.imsi)
        answered(node, ue, Cause.UNABLE_TO_PAGE_UE)
