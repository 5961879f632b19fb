"""Initial requests of a served user, on their way out (TS 24.229 clause 5.4.3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ferret_core.nf import Output
from ferret_core.scscf import reg_event
from ferret_core.sip_proxy import Context

if TYPE_CHECKING:
    from ferret_core.scscf.scscf import Scscf


def route(scscf: Scscf, context: Context, now: float) -> list[Output]:
    """Take our entry off the Route; go where the rest of it or the Request-URI's domain says."""
    request, _ = scscf._without_own_route(context.request)
    if reg_event.is_for_us(scscf, request):
        return reg_event.subscribed(scscf, context, now)
    return scscf._forward(context, request, scscf._next_hop(request))
