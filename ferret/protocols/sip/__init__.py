"""SIP (RFC 3261) with its IMS headers (RFC 7315, TS 24.229) and session descriptions.

`Message` keeps every octet; `syntax` cuts header values up quickly and forgivingly, `views` strictly by sipmessage.
"""

from ferret.protocols.sip import digest, sdp, views
from ferret.protocols.sip.message import HeaderLine, Message, decode, header_line, request, response
from ferret.protocols.sip.names import canonical
from ferret.protocols.sip.parameters import parameters
from ferret.protocols.sip.peek import peek
from ferret.protocols.sip.stream import MessageStream, frame
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
from ferret.protocols.sip.transaction_tables import UE_TIMINGS, Timings
from ferret.protocols.sip.transactions import (
    Arrived,
    Happened,
    Repeated,
    TransactionLayer,
    Unacknowledged,
    Unanswered,
    ack_for,
    cancel_for,
    cseq_number,
    respond,
)

__all__ = [
    "UE_TIMINGS",
    "Arrived",
    "Happened",
    "HeaderLine",
    "Message",
    "MessageStream",
    "NameAddr",
    "Param",
    "Repeated",
    "Timings",
    "TransactionLayer",
    "Unacknowledged",
    "Unanswered",
    "Uri",
    "ViaValue",
    "ack_for",
    "cancel_for",
    "canonical",
    "charging_id",
    "cseq_number",
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
    "respond",
    "response",
    "sdp",
    "summarise",
    "views",
]
