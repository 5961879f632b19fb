"""Diameter (RFC 6733) and the 3GPP applications on it: lossless tree, dictionary, summary, peer.

`decode` and `Message.encode` are exact inverses. AVPs are named in `avp`:

    message.value_of(avp.SESSION_ID)
    request(Command.AA, Application.RX, avp.SESSION_ID("af;1;2"), avp.FRAMED_IP_ADDRESS("10.0.0.1"))
"""

from __future__ import annotations

from ferret.protocols.diameter import avp
from ferret.protocols.diameter.build import answer, request
from ferret.protocols.diameter.codec import decode, decode_avps, peek, split
from ferret.protocols.diameter.constants import PORT, Application, Command, ResultCode
from ferret.protocols.diameter.definition import AvpDefinition, AvpType
from ferret.protocols.diameter.dictionary import by_name, definition_of, name_of
from ferret.protocols.diameter.parameters import parameters
from ferret.protocols.diameter.summary import result_of, summarise
from ferret.protocols.diameter.tree import Avp, Message

__all__ = [
    "PORT",
    "Application",
    "Avp",
    "AvpDefinition",
    "AvpType",
    "Command",
    "Message",
    "ResultCode",
    "answer",
    "avp",
    "by_name",
    "decode",
    "decode_avps",
    "definition_of",
    "name_of",
    "parameters",
    "peek",
    "request",
    "result_of",
    "split",
    "summarise",
]
