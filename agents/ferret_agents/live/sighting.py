"""The hot path: from a frame with one whole UDP datagram to the octets for the queue, without any object in between.

Most signalling that an agent sees is GTPv2-C or SIP in an unfragmented datagram on Ethernet. For that `Sighting` does
what the dissector and `encode_captured` do together, in a fraction of the time; whatever is the least bit different
(VLAN tags, IPv6, options, fragments, tunnels, several messages, anything that cannot be read) it leaves to them.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from ferret.errors import ConfigError
from ferret.protocols.gtpv2.names import MESSAGE_NAMES
from ferret.protocols.summary import Protocol
from ferret.queue.codec import PROTOCOLS, TRANSPORTS, VERSION, encode_captured
from ferret.records.message import CapturedMessage
from ferret_agents.capture import esp, overlay, tunnel
from ferret_agents.capture.classify import GTPC_PORT, Found, datagram
from ferret_agents.capture.dissect import SCTP_IN_UDP_PORT
from ferret_agents.capture.files import Record
from ferret_agents.capture.ip import address_text
from ferret_agents.live.filter import ETHERNET

# Ethernet (its type), IPv4 (version and length, total length, fragment, protocol, addresses), UDP (ports, length)
_FRAME = struct.Struct(">12xHBxH2xHxB2x4s4sHHH2x")
_HEAD = struct.Struct(">BBBBqHHQiqqIBBBB")  # of ferret.queue.codec, version 1
_NUMBER_AT: Final = 16  # where in it the number is, the frame, the lengths of the addresses and of the agent's name
_FRAME_AT: Final = 44
_SOURCE_LENGTH_AT: Final = 48
_AGENT_LENGTH_AT: Final = 50
_LONGEST_NAME: Final = 255
_UDP: Final = TRANSPORTS.index("udp")
_PROTOCOL_NUMBERS: Final = {protocol: number for number, protocol in enumerate(PROTOCOLS)}
_SPECIAL_PORTS: Final = frozenset((tunnel.PORT, esp.UDP_PORT, SCTP_IN_UDP_PORT, overlay.VXLAN_PORT))
_NUMBER = struct.Struct(">Q")


class Sighting(NamedTuple):
    """One message in a frame, and where it is from."""

    protocol: Protocol
    source: bytes  # addresses as in the packet
    destination: bytes
    source_port: int
    destination_port: int
    octets: bytes


def see(record: Record) -> Sighting | None:
    """The message in a frame, if it is exactly one in one whole UDP datagram over IPv4; None: ask the dissector."""
    frame = record.octets
    if record.link_type != ETHERNET or len(frame) < _FRAME.size or record.wire_length != len(frame):
        return None
    kind, version, total, fragment, protocol, source, destination, source_port, destination_port, length = (
        _FRAME.unpack_from(frame)
    )
    if (
        kind != 0x0800
        or version != 0x45
        or protocol != 17
        or fragment & 0x3FFF
        or length != total - 20
        or length < 9
        or total + 14 > len(frame)
        or source_port in _SPECIAL_PORTS
        or destination_port in _SPECIAL_PORTS
    ):
        return None
    octets = frame[_FRAME.size : 14 + total]
    if (source_port == GTPC_PORT or destination_port == GTPC_PORT) and _is_one_gtpv2(octets):
        return Sighting(Protocol.GTPV2, source, destination, source_port, destination_port, octets)
    found = datagram(source_port, destination_port, octets, 0)
    if not isinstance(found, Found) or found.fault or found.ends != (len(octets),):
        return None
    return Sighting(found.protocol, source, destination, source_port, destination_port, octets)


def _is_one_gtpv2(octets: bytes) -> bool:
    """Whether it is exactly one GTPv2-C message whose IEs can be walked to its end (TS 29.274 clauses 5.1, 8.2.1)."""
    end = len(octets)
    first = octets[0]
    if end < 12 or first >> 5 != 2 or octets[1] not in MESSAGE_NAMES or (octets[2] << 8 | octets[3]) + 4 != end:
        return False
    at = 12 if first & 0x08 else 8
    try:
        while at < end:
            if not octets[at]:
                return False
            at += 4 + (octets[at + 1] << 8 | octets[at + 2])
    except IndexError:
        return False
    return at == end


class Encoder:
    """Makes what goes into the queue, for one agent."""

    def __init__(self, agent: str) -> None:
        """Raises ConfigError for a name that the queue's format has no room for."""
        self._agent = agent.encode()
        if len(self._agent) > _LONGEST_NAME:
            raise ConfigError(f"an agent's name of {len(self._agent)} octets; {_LONGEST_NAME} are the limit")

    def encode(self, sighting: Sighting, captured_at_ns: int, number: int) -> bytes:
        """The same octets that `encode_captured` makes of the same message."""
        source = address_text(sighting.source).encode()
        destination = address_text(sighting.destination).encode()
        head = _HEAD.pack(
            VERSION,
            _PROTOCOL_NUMBERS[sighting.protocol],
            _UDP,
            0,
            captured_at_ns,
            sighting.source_port,
            sighting.destination_port,
            number,
            -1,
            -1,
            -1,
            0,
            len(source),
            len(destination),
            len(self._agent),
            0,
        )
        return b"".join((head, source, destination, self._agent, sighting.octets))

    def sign(self, message: CapturedMessage, number: int) -> bytes:
        """A dissected message as the agent's own: with its name and number, and without a frame.

        Raises RecordError where a field does not fit. Quicker than making another message of it first.
        """
        octets = encode_captured(message)
        names_end = _HEAD.size + octets[_SOURCE_LENGTH_AT] + octets[_SOURCE_LENGTH_AT + 1]
        return b"".join(
            (
                octets[:_NUMBER_AT],
                _NUMBER.pack(number),
                octets[_NUMBER_AT + _NUMBER.size : _FRAME_AT],
                b"\0\0\0\0",
                octets[_SOURCE_LENGTH_AT:_AGENT_LENGTH_AT],
                bytes((len(self._agent),)),
                octets[_AGENT_LENGTH_AT + 1 : names_end],
                self._agent,
                octets[names_end + octets[_AGENT_LENGTH_AT] :],
            )
        )
