"""An SGW's habits, read from what the SGW of a recording sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ferret.errors import DecodeError
from ferret.protocols import gtpv2
from ferret.protocols.gtpv2 import FTeid, InterfaceType
from ferret.protocols.summary import Protocol
from ferret.records.message import Role, SignallingMessage


def profile_from_recording(messages: Iterable[SignallingMessage]) -> Mapping[str, Any]:
    """For `Sgw.import_context`."""
    profile: dict[str, Any] = {}
    for message in messages:
        if message.from_nf.role is not Role.SGW or message.protocol is not Protocol.GTPV2:
            continue
        try:
            if message.name == "Modify Bearer Response":
                profile |= _tunnel_in_answer(gtpv2.decode(message.octets))
            elif message.name == "Create Bearer Request":
                profile |= _tunnel_of_pgw(gtpv2.decode(message.octets))
        except DecodeError:
            continue
    return profile


def _tunnel_in_answer(answer: gtpv2.Message) -> dict[str, Any]:
    """Whose end of S1-U a Modify Bearer Response names."""
    for context in answer.bearer_contexts:
        tunnel = context.view(FTeid)
        if tunnel is not None:
            return {"echo_enb_f_teid": tunnel.interface_type == InterfaceType.S1_U_ENB_GTP_U}
    return {}


def _tunnel_of_pgw(request: gtpv2.Message) -> dict[str, Any]:
    """Whether the MME hears of the PGW's end of a dedicated bearer."""
    ends = [
        FTeid.decode(ie.octets).interface_type
        for context in request.bearer_contexts
        for ie in context.all(gtpv2.IeType.F_TEID)
    ]
    return {"tell_pgw_f_teid": InterfaceType.S5_S8_PGW_GTP_U in ends} if ends else {}
