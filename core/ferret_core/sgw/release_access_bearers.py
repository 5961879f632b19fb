"""Release Access Bearers: the UE goes idle (TS 23.401 clause 5.3.5, TS 29.274 clause 7.2.21)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ferret.protocols.gtpv2 import Cause, CauseIe
from ferret_core.gtp_control import answer_to
from ferret_core.nf import Output, Received

if TYPE_CHECKING:
    from ferret_core.sgw.nf import Sgw


def requested(sgw: Sgw, event: Received, now: float) -> list[Output]:
    """Forget every tunnel to the eNB: what comes for the UE from now on is kept, and announced."""
    ue = sgw.ue_of(event)
    for bearer in ue.bearers:
        bearer.enb = None
        sgw.route(bearer)
    ue.notified = False
    return [answer_to(event, ue.mme.teid, CauseIe(Cause.REQUEST_ACCEPTED))]
