"""Requests inside a dialog, either way (TS 24.229 clauses 5.2.6.3.5 and 5.2.6.4.5): hold, resume, hang-up, the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ferret_core.nf import Output
from ferret_core.pcscf import media
from ferret_core.sip_policy import Way
from ferret_core.sip_proxy import Context

if TYPE_CHECKING:
    from ferret_core.pcscf.pcscf import Pcscf


def route(pcscf: Pcscf, context: Context, now: float) -> list[Output]:
    """Follow the Route; a request that answers an offer waits for its authorisation; BYE ends the Rx session."""
    from_ue = context.way is Way.IN_DIALOG_FROM_UE
    request, _ = pcscf._without_own_route(context.request)
    address = pcscf._next_hop(request) if from_ue else pcscf.address_of_ue(request)
    context.ue = context.peer.address if from_ue else address
    leg = media.leg_of(pcscf, context)
    answers = leg is not None and leg.pending is not None and media.sdp_of(request) is not None
    if not answers:
        media.note_offer(pcscf, context, request, from_ue=from_ue)
    if from_ue:
        request = media.relayed(pcscf, context, pcscf._with_alias(request, context.peer))
    else:
        request = pcscf._without_alias(request)

    def forward(_: float) -> list[Output]:
        return pcscf._forward(context, request, address)

    if leg is not None and answers:
        return media.answer_in_request(pcscf, leg, context.request, from_ue, forward, now)
    outputs = forward(now)
    if request.method == "BYE" and leg is not None:
        outputs += media.release(pcscf, leg)
    return outputs
