"""Wireshark's exported PDUs (LINKTYPE_WIRESHARK_UPPER_PDU, 252): a message with tags instead of lower layers.

The tags are those of Wireshark's epan/exported_pdu.h: a number and a length of two octets each, and the value, padded
to four octets; tag 0 ends them.
"""

from __future__ import annotations

from typing import NamedTuple

from ferret.errors import DecodeError
from ferret.protocols.summary import Protocol
from ferret.records.message import Endpoint
from ferret_agents.capture.ip import address_text

LINK_TYPE = 252
_END, _DISSECTOR, _HEURISTIC = 0, 12, 13
_SOURCES, _DESTINATIONS = (20, 22), (21, 23)  # IPv4, IPv6
_PORT_TYPE, _SOURCE_PORT, _DESTINATION_PORT = 24, 25, 26
_TRANSPORTS = {1: "sctp", 2: "tcp", 3: "udp"}
_PROTOCOLS = {"s1ap": Protocol.S1AP, "diameter": Protocol.DIAMETER, "sip": Protocol.SIP, "gtpv2": Protocol.GTPV2}
_MAX_TAGS = 64


class Exported(NamedTuple):
    """What the tags say; the PDU begins at `start`. `protocol` is None for one that FERRET does not read."""

    name: str
    protocol: Protocol | None
    source: Endpoint
    destination: Endpoint
    transport: str
    start: int


def open_exported(octets: bytes) -> Exported:
    """Read the tags. Raises DecodeError where they are cut or do not end."""
    name, transport, at = "", "none", 0
    addresses, ports = ["", ""], [0, 0]
    for _ in range(_MAX_TAGS):
        if at + 4 > len(octets):
            raise DecodeError("the tags of an exported PDU are cut", at)
        tag, length = octets[at] << 8 | octets[at + 1], octets[at + 2] << 8 | octets[at + 3]
        value = octets[at + 4 : at + 4 + length]
        at += 4 + length
        if tag == _END:
            protocol = _PROTOCOLS.get(name.partition(".")[0].partition("_")[0])
            source, destination = (Endpoint(*end) for end in zip(addresses, ports, strict=True))
            return Exported(name, protocol, source, destination, transport, at)
        if tag in (_DISSECTOR, _HEURISTIC):
            name = value.rstrip(b"\0").decode("latin-1").lower()
        elif tag in (*_SOURCES, *_DESTINATIONS) and len(value) in (4, 16):
            addresses[tag in _DESTINATIONS] = address_text(value)
        elif tag == _PORT_TYPE:
            transport = _TRANSPORTS.get(int.from_bytes(value, "big"), "none")
        elif tag in (_SOURCE_PORT, _DESTINATION_PORT):
            ports[tag == _DESTINATION_PORT] = int.from_bytes(value[-2:], "big")
    raise DecodeError("an exported PDU with too many tags", at)
