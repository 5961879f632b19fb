"""Of what type a message is, in one word, for counting: by the octets at its beginning, never decoding it."""

from __future__ import annotations

import re
from typing import Final

from ferret.protocols.gtpv2.names import MESSAGE_NAMES
from ferret.protocols.s1ap.procedures import PduKind, message_name
from ferret.protocols.summary import Protocol

METHODS: Final = frozenset(
    (
        "ACK", "BYE", "CANCEL", "INFO", "INVITE", "MESSAGE", "NOTIFY", "OPTIONS", "PRACK", "PUBLISH", "REFER",
        "REGISTER", "SUBSCRIBE", "UPDATE",
    )
)  # fmt: skip
_SIP = re.compile(rb"[\r\n\0]*(?:SIP/\d\.\d[ \t]+([1-6])\d\d|([A-Z]{3,10})[ \t])")
_SIP_TYPES: Final = {
    **{method.encode(): method for method in METHODS},
    **{b"SIP/2.0 %d" % first: f"{first}xx" for first in range(1, 7)},
}
_COMMANDS: Final = {
    257: "Capabilities-Exchange", 258: "Re-Auth", 265: "AA", 272: "Credit-Control", 274: "Abort-Session",
    275: "Session-Termination", 280: "Device-Watchdog", 282: "Disconnect-Peer", 300: "User-Authorization",
    301: "Server-Assignment", 302: "Location-Info", 303: "Multimedia-Auth", 304: "Registration-Termination",
    305: "Push-Profile", 316: "Update-Location", 317: "Cancel-Location", 318: "Authentication-Information",
    319: "Insert-Subscriber-Data", 320: "Delete-Subscriber-Data", 321: "Purge-UE", 322: "Reset", 323: "Notify",
}  # fmt: skip
S1AP_TYPES: Final = {
    bytes((kind << 5, code)): name
    for kind in PduKind
    for code in range(256)
    if not (name := message_name(kind, code)).startswith("procedure ")
}
"""Names of S1AP messages by their first two octets (TS 36.413 clause 9.3.3)."""
OTHER: Final = "other"


def type_of(protocol: Protocol, octets: bytes) -> str:
    """The type's name, of a bounded number of names; "other" for what has none."""
    match protocol:
        case Protocol.GTPV2:
            return MESSAGE_NAMES.get(octets[1], OTHER) if len(octets) > 1 else OTHER
        case Protocol.DIAMETER:
            if len(octets) < 8:
                return OTHER
            name = _COMMANDS.get(int.from_bytes(octets[5:8], "big"), OTHER)
            return f"{name} {'request' if octets[4] & 0x80 else 'answer'}"
        case Protocol.SIP:
            begin = octets[: octets.find(b" ", 0, 12)]
            known = _SIP_TYPES.get(octets[:9] if begin == b"SIP/2.0" else begin)
            if known is not None:
                return known
            found = _SIP.match(octets)
            if found is None:
                return OTHER
            method = found[2].decode("ascii") if found[2] else ""
            return (method if method in METHODS else OTHER) if method else f"{found[1].decode('ascii')}xx"
        case _:
            return S1AP_TYPES.get(octets[:2], OTHER)
