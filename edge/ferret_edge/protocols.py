"""Of which protocol a decoded message is, and what it is called."""

from __future__ import annotations

from ferret.protocols import diameter, gtpv2, sip
from ferret.protocols.summary import Protocol
from ferret.records.decoding import doors
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


def name_of(message: Message) -> str:
    """The message's name as `summarise` gives it, without looking for identifiers."""
    if isinstance(message, sip.Message):
        return message.method if message.is_request else f"{message.status} ({message.first('CSeq').split()[-1]})"
    return doors(protocol_of(message)).summarise(message).name
