"""Moving a base station and a device to this MME's SGW, for a fallback or back from one.

One S1AP E-RAB MODIFY REQUEST per UE (TS 36.413 clause 8.2.2): for each E-RAB the S-GW's new uplink end as Transport
Information (id 185), and for the device a NAS Modify EPS bearer context request (TS 24.301 clause 6.4.3) under the
device's own security context.
"""

from __future__ import annotations

from ferret.protocols import s1ap
from ferret_core.mme import bearer_procedures
from ferret_core.mme.bearer_procedures import BearerProcedure, Change
from ferret_core.mme.context import UeContext
from ferret_core.mme.dedicated_bearer import move_erab
from ferret_core.mme.moving import tell
from ferret_core.mme.node import MmeNode
from ferret_core.mme.states import BearerEvent, BearerState, EcmState


def begin(node: MmeNode, imsi: str) -> None:
    """Ask base station and device of this subscriber to move; the notes `reconfigured` or
    `reconfiguration_failed` tell how it went.
    """
    ue = node.by_imsi.get(imsi)
    reason = _why_not(ue)
    if ue is None or reason:
        node.note("reconfiguration_failed", imsi=imsi, reason=reason)
        return
    bearers = [one for _, one in sorted(ue.bearers.items()) if one.state is BearerState.ACTIVE and one.sgw is not None]
    if not bearers:
        node.note("reconfiguration_failed", imsi=imsi, reason="the UE has no active bearer")
        return
    erabs = []
    for bearer in bearers:
        erabs.append(move_erab(node, ue, bearer))
        bearer.happen(BearerEvent.MODIFY)
    procedure = BearerProcedure(Change.MODIFY, _moved, tuple(bearer.ebi for bearer in bearers))
    bearer_procedures.begin(ue, procedure)
    node.to_ue(ue, s1ap.erab_modify_request(**ue.ids, erabs=erabs))


def _why_not(ue: UeContext | None) -> str:
    if ue is None:
        return "the subscriber is not known here"
    return "" if ue.ecm is EcmState.CONNECTED else "the UE has no signalling connection"


def _moved(node: MmeNode, ue: UeContext, procedure: BearerProcedure) -> None:
    tell(node, ue, procedure.ebis, procedure.failed)


def expect(node: MmeNode, imsi: str, downlink_count: int) -> None:
    """The PGW is about to have every bearer of this subscriber updated: those updates move base station and device.

    `downlink_count`: the NAS COUNT that the device expects next (0: whatever this MME has). In place of Create Bearer
    Requests, which the device has long answered, Update Bearer Requests reach it.
    """
    ue = node.by_imsi.get(imsi)
    reason = _why_not(ue)
    if ue is None or reason:
        node.note("reconfiguration_failed", imsi=imsi, reason=reason)
        return
    ue.moving = {ebi for ebi, one in ue.bearers.items() if one.state is BearerState.ACTIVE and one.sgw is not None}
    ue.not_moved = {}
    if not ue.moving:
        ue.moving = None
        node.note("reconfiguration_failed", imsi=imsi, reason="the UE has no active bearer")
    elif ue.security is not None:
        ue.security.downlink_count = max(ue.security.downlink_count, downlink_count)
