"""Initial requests for a served user (TS 24.229 clause 5.4.3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ferret_core.nf import Output
from ferret_core.scscf import reg_event
from ferret_core.sip_proxy import Context

if TYPE_CHECKING:
    from ferret_core.scscf.scscf import Scscf


def route(scscf: Scscf, context: Context, now: float) -> list[Output]:
    """Replace the identity by the registered contact and follow its Path; fork where there are several."""
    request, _ = scscf._without_own_route(context.request)
    if reg_event.is_for_us(scscf, request):
        return reg_event.subscribed(scscf, context, now)
    subscriber = scscf.find(request.request_uri)
    bindings = list(subscriber.bindings.values()) if subscriber is not None else []
    if not bindings:
        return [] if request.method == "ACK" else scscf._refuse(context, 480, "Temporarily Unavailable")
    outputs: list[Output] = []
    for binding in bindings:
        one = request.with_request_uri(binding.uri).remove("Route")
        for value in reversed(binding.path):
            one = one.prepend("Route", value)
        outputs += scscf._forward(context, one, scscf._next_hop(one))
    return outputs
