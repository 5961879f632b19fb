"""Which protocol a datagram or SCTP user message is of.

Ports and payload protocol identifiers are hints, not truths: real networks have Rx on port 3871, several CSCFs on one
address, and anything at all on the ports of signalling. So octets decide, through each protocol's `peek`; a port only
makes the difference between "ignored" and "should have been a message".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ferret.errors import DecodeError
from ferret.protocols import diameter, gtpv2, s1ap, sip
from ferret.protocols.summary import Peek, Protocol
from ferret_agents.capture import framing

GTPC_PORT = 2123
SIP_PORTS = frozenset((5060,))
S1AP_PPID, DIAMETER_PPID, DIAMETER_DTLS_PPID = 18, 46, 47

_NOISE_PORTS = {
    53: "dns", 67: "dhcp", 68: "dhcp", 123: "ntp", 137: "nbns", 138: "netbios", 161: "snmp", 500: "isakmp",
    514: "syslog", 546: "dhcpv6", 547: "dhcpv6", 1900: "ssdp", 3386: "gtp'",
    4500: "esp in udp (encrypted, not readable)", 4789: "vxlan", 5353: "mdns", 5355: "llmnr",
    8805: "pfcp", 47808: "bacnet",
}  # fmt: skip
_PPIDS = {
    3: "m3ua", 5: "m2pa", 19: "rua", 20: "hnbap", 24: "sbc-ap", 25: "nbap", 27: "x2ap", 29: "lcs-ap", 41: "m2ap",
    42: "m3ap", 43: "m2ap", 44: "m3ap", 58: "e1ap", 60: "ngap", 61: "xnap", 62: "f1ap", 66: "ngap over dtls",
    64: "e1ap",
}  # fmt: skip
_MAX_PIGGYBACKED = 8

PEEKS: dict[Protocol, Callable[[bytes], Peek | None]] = {
    Protocol.GTPV2: gtpv2.peek,
    Protocol.DIAMETER: diameter.peek,
    Protocol.SIP: sip.peek,
    Protocol.S1AP: s1ap.peek,
}


class Found(NamedTuple):
    """Messages in a datagram: where each one ends. `fault`: what is wrong with one of them."""

    protocol: Protocol
    ends: tuple[int, ...]
    fault: str = ""
    faulty: int = 0  # which of them, if there is a fault


class Noise(NamedTuple):
    """No message. `fault`: not empty where there should have been one."""

    kind: str
    fault: str = ""


def datagram(source_port: int, destination_port: int, octets: bytes, missing: int) -> Found | Noise:
    """What a UDP datagram is. `missing`: octets at its end that the capture does not hold."""
    if not octets:
        return Noise("udp without payload")
    if source_port == GTPC_PORT or destination_port == GTPC_PORT:
        return _gtpc(octets, missing)
    first = octets[0]
    if first & 0xC0 == 0x80 and len(octets) >= 8 and source_port >= 1024 and destination_port >= 1024:
        return Noise("rtcp" if 200 <= octets[1] <= 207 else "rtp")
    if (first >= 0x21 and first < 0x7F) or first in b"\r\n":
        found = _sip(octets)
        if found is not None:
            return found
        if first >> 5 == 2 and not missing:
            ends = _gtpv2_ends(octets, 0)
            if ends is not None and gtpv2_fault(octets) == "":
                return Found(Protocol.GTPV2, ends)
    noise = _NOISE_PORTS.get(destination_port) or _NOISE_PORTS.get(source_port)
    if noise is not None:
        return Noise(noise)
    if source_port in SIP_PORTS or destination_port in SIP_PORTS:
        return _no_sip(octets)
    if first < 4 and octets[4:8] == b"\x21\x12\xa4\x42":
        return Noise("stun")
    return Noise("udp")


def _sip(octets: bytes) -> Found | None:
    body = octets.lstrip(b"\r\n\0") if octets[0] in b"\r\n" else octets
    if not framing.is_sip(body):
        return None
    seen = sip.peek(body)
    if seen is None:
        return None
    if seen.length >= len(body):
        return Found(Protocol.SIP, (len(octets),))
    return Found(Protocol.SIP, _ends(sip.peek, octets) or (len(octets),))


def _no_sip(octets: bytes) -> Noise:
    if not octets.strip(b"\r\n\0 ") or octets in (b"jaK", b"\x01"):
        return Noise("sip keep-alive")
    if framing.kind_of_stream(octets) == "http":
        return Noise("http")
    return Noise("udp", "no SIP start line on port 5060")


def _ends(peek: Callable[[bytes], Peek | None], octets: bytes) -> tuple[int, ...]:
    """Where each of several messages ends that one datagram holds, by the length that `peek` gives."""
    ends: list[int] = []
    at = 0
    while at < len(octets) and len(ends) < _MAX_PIGGYBACKED:
        seen = peek(octets[at:] if at else octets)
        if seen is None or seen.length <= 0:
            break
        at = min(at + seen.length, len(octets))
        ends.append(at)
    if ends and len(ends) < _MAX_PIGGYBACKED and at < len(octets):
        ends[-1] = len(octets)
    return tuple(ends)


def _gtpc(octets: bytes, missing: int) -> Found | Noise:
    version = octets[0] >> 5
    if version != 2:
        older = _older_gtp(octets, missing)
        return Noise(older) if older else Noise("udp", f"no GTPv2-C on port 2123: version {version}")
    ends = _gtpv2_ends(octets, missing)
    if ends is None:
        return Noise("udp", "no GTPv2-C on port 2123: type or length cannot be")
    if not missing:
        for index, start in enumerate((0, *ends[:-1])):
            fault = gtpv2_fault(octets[start:] if start else octets)
            if fault:
                return Found(Protocol.GTPV2, ends, fault, index)
    return Found(Protocol.GTPV2, ends)


def _older_gtp(octets: bytes, missing: int) -> str:
    """The name of an older GTP, if the length in its header fits: GTPv1-C, GTPv0, GTP' (TS 29.060, TS 32.295)."""
    if len(octets) < 6:
        return ""
    left = len(octets) + missing - (octets[2] << 8 | octets[3])
    version, is_gtp = octets[0] >> 5, octets[0] & 0x10
    if version == 1 and is_gtp:
        return "gtpv1-c" if left == 8 else ""
    if version == 0 and is_gtp:
        return "gtpv0" if left == 20 else ""
    return "gtp'" if version < 3 and not is_gtp and left in (6, 20) else ""


def _gtpv2_ends(octets: bytes, missing: int) -> tuple[int, ...] | None:
    """Where each GTPv2-C message of a datagram ends (TS 29.274 clause 5.5.1, piggybacking); None if it holds none."""
    ends: list[int] = []
    at = 0
    while at < len(octets) and len(ends) < _MAX_PIGGYBACKED:
        seen = gtpv2.peek(octets[at:] if at else octets)
        if seen is None or at + seen.length > len(octets) + missing:
            return tuple(ends) if ends else None
        at = min(at + seen.length, len(octets))
        ends.append(at)
    return tuple(ends) or None


def gtpv2_fault(octets: bytes) -> str:
    """Why the IEs of the first message cannot be walked; "" if they can."""
    end = min(4 + (octets[2] << 8 | octets[3]), len(octets))
    at = 12 if octets[0] & 0x08 else 8
    while at < end:
        if at + 4 > end:
            return f"an IE header is cut (at octet {at})"
        length = octets[at + 1] << 8 | octets[at + 2]
        if not octets[at]:
            return f"an IE of type 0 (at octet {at})"
        at += 4 + length
    return "" if at == end else f"an IE is longer than the message (at octet {at})"


def user_message(ppid: int, ports: tuple[int, int], octets: bytes, missing: int) -> Found | Noise:
    """What an SCTP user message is. Some stacks write the identifier in the wrong byte order, some none."""
    if ppid & 0xFF == 0 and ppid > 0xFF:
        ppid = int.from_bytes(ppid.to_bytes(4, "little"), "big")
    if ppid == S1AP_PPID:
        return Found(Protocol.S1AP, (len(octets),), "" if missing or s1ap.peek(octets) else "no S1AP PDU")
    if framing.is_diameter(octets) or (ppid in (DIAMETER_PPID, DIAMETER_DTLS_PPID) and diameter.peek(octets)):
        return Found(Protocol.DIAMETER, _ends(diameter.peek, octets) or (len(octets),))
    if ppid == DIAMETER_PPID:
        return Noise("sctp", f"undecodable Diameter: {_diameter_reason(octets)}")
    kind = _PPIDS.get(ppid)
    if kind is not None:
        return Noise(kind)
    if s1ap.peek(octets) is not None and (36412 in ports or _s1ap_decodes(octets)):
        return Found(Protocol.S1AP, (len(octets),))
    if framing.is_sip(octets) and sip.peek(octets) is not None:
        return Found(Protocol.SIP, _ends(sip.peek, octets))
    if 36412 in ports or 3868 in ports:
        return Noise("sctp", f"neither S1AP nor Diameter on port {36412 if 36412 in ports else 3868}")
    return Noise(f"sctp ppid {ppid}")


def _diameter_reason(octets: bytes) -> str:
    if len(octets) < framing.DIAMETER_HEADER:
        return f"{len(octets)} octets"
    return framing.diameter_fault(octets) or "no Diameter header"


def _s1ap_decodes(octets: bytes) -> bool:
    """Whether it is S1AP for certain: without a port or an identifier that say so, the header alone is too little."""
    try:
        s1ap.decode(octets)
    except DecodeError:
        return False
    return True


# Procedures that the MME initiates (TS 36.413 clause 8). Reset, Error Indication and Private Message: either side.
_MME_INITIATES = frozenset(
    (1, 5, 6, 7, 9, 10, 11, 19, 21, 23, 25, 26, 27, 30, 31, 34, 35, 36, 38, 41, 43, 44, 46, 48, 52, 54, 59, 61)
)
_EITHER_INITIATES = frozenset((14, 15, 39))


def sent_by_mme(octets: bytes) -> bool | None:
    """Whether the MME sent an S1AP PDU; None where either side may have.

    The procedure code says who begins, the choice of PDU whether this is the beginning (TS 36.413 clause 9.3.3).
    """
    if len(octets) < 2 or octets[1] in _EITHER_INITIATES:
        return None
    begins = octets[1] in _MME_INITIATES
    return begins if octets[0] >> 5 == 0 else not begins
