"""Initial requests for a served UE (TS 24.229 clause 5.2.6.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ferret_core.nf import Output
from ferret_core.pcscf import media
from ferret_core.sip_proxy import Context

if TYPE_CHECKING:
    from ferret_core.pcscf.pcscf import Pcscf


def route(pcscf: Pcscf, context: Context, now: float) -> list[Output]:
    """Deliver to the contact in the Request-URI."""
    del now
    request, _ = pcscf._without_own_route(context.request)
    address = pcscf.address_of_ue(request)
    context.ue = address
    media.note_offer(pcscf, context, request, from_ue=False)
    return pcscf._forward(context, pcscf._without_alias(request), address)
