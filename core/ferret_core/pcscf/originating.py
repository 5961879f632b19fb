"""Initial requests of a served UE (TS 24.229 clause 5.2.6.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ferret.protocols import sip
from ferret_core.nf import Output
from ferret_core.pcscf import media
from ferret_core.sip_proxy import Context

if TYPE_CHECKING:
    from ferret_core.pcscf.pcscf import Pcscf


def route(pcscf: Pcscf, context: Context, now: float) -> list[Output]:
    """Assert the identity, follow the Service-Route."""
    del now
    request, _ = pcscf._without_own_route(context.request)
    registration = pcscf.registration_of(context.peer.address, context.request)
    if not request.first("Route") and registration is not None:
        for value in reversed(registration.service_route):
            request = request.prepend("Route", value)
    if sip.parse_name_addr(request.first("P-Preferred-Identity")).uri == pcscf._values(context)["identity"]:
        request = request.remove("P-Preferred-Identity")
    media.note_offer(pcscf, context, request, from_ue=True)
    request = media.relayed(pcscf, context, pcscf._with_alias(request, context.peer))
    return pcscf._forward(context, request, pcscf._next_hop(request))


def asserted_identity(pcscf: Pcscf, request: sip.Message, ue: str) -> str:
    """Who sends this: the preferred identity if it is registered, or else the default one (clause 5.2.6.3.1).

    Without a registration (a recording that begins in the middle) the UE is believed.
    """
    preferred = sip.parse_name_addr(request.first("P-Preferred-Identity")).uri
    identity = sip.parse_uri(preferred).identity if preferred else ""
    registration = pcscf.registration_of(ue, request)
    if registration is not None and identity not in registration.impus:
        return registration.impus[0]
    return preferred or sip.parse_uri(sip.parse_name_addr(request.first("From")).uri).identity
