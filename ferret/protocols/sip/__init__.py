"""SIP (RFC 3261) with its IMS headers (RFC 7315, TS 24.229) and session descriptions.

`Message` keeps every octet; `syntax` cuts header values up quickly and forgivingly, `views` strictly by sipmessage.
"""

from ferret.protocols.sip import digest, sdp, views
from ferret.protocols.sip.message import HeaderLine, Message, decode, header_line, request, response
from ferret.protocols.sip.names import canonical
from ferret.protocols.sip.parameters import parameters
from ferret.protocols.sip.peek import peek
from ferret.protocols.sip.stream import frame, split
from ferret.protocols.sip.summary import charging_id, imsi_of, summarise
from ferret.protocols.sip.syntax import (
    NameAddr,
    Param,
    Uri,
    ViaValue,
    format_params,
    parse_name_addr,
    parse_uri,
    parse_via,
)

__all__ = [
    "HeaderLine",
    "Message",
    "NameAddr",
    "Param",
    "Uri",
    "ViaValue",
    "canonical",
    "charging_id",
    "decode",
    "digest",
    "format_params",
    "frame",
    "header_line",
    "imsi_of",
    "parameters",
    "parse_name_addr",
    "parse_uri",
    "parse_via",
    "peek",
    "request",
    "response",
    "sdp",
    "split",
    "summarise",
    "views",
]
