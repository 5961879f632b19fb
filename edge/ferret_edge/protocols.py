"""Of which protocol a decoded message is."""

from __future__ import annotations

from ferret.protocols import diameter, gtpv2, sip
from ferret.protocols.summary import Protocol
from ferret_core.nf import Message


def protocol_of(message: Message) -> Protocol:
    """The protocol of a decoded message."""
    if isinstance(message, gtpv2.Message):
        return Protocol.GTPV2
    if isinstance(message, diameter.Message):
        return Protocol.DIAMETER
    if isinstance(message, sip.Message):
        return Protocol.SIP
    return Protocol.S1AP
