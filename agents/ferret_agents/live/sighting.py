"""The hot path: most frames hold exactly one GTPv2-C or SIP message in one UDP datagram, over Ethernet and IP.

`HotPath` finds that message with two looks at the frame and puts what the queue needs in front of it: what is the same
for all messages between two sockets is made once and remembered. The dissector would find the same message, and
`encode_captured` would make the same octets of it; tests compare them. Every other frame (VLAN tags, options,
fragments, tunnels, several messages, anything that cannot be read) it leaves to them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from ferret.errors import ConfigError
from ferret.protocols.gtpv2.names import MESSAGE_NAMES
from ferret.protocols.summary import Protocol
from ferret.queue.codec import PROTOCOLS, TRANSPORTS, VERSION, WITHOUT_EPOCH, encode_captured
from ferret.records.message import CapturedMessage, Endpoint
from ferret_agents.capture import esp, overlay, tcp, tunnel
from ferret_agents.capture.classify import GTPC_PORT, Found, datagram
from ferret_agents.capture.dissect import SCTP_IN_UDP_PORT
from ferret_agents.capture.ip import address_text
from ferret_agents.live.message_types import METHODS, S1AP_TYPES

# From octet 12 of an Ethernet frame: its type, the IP header (version and length, total length, fragment, protocol),
# then addresses and ports together, which say whose datagram it is, and the UDP length.
_IPV4 = struct.Struct(">HBxH2xHxB2x12sH")
_IPV6 = struct.Struct(">HB3xHBx36sH")
_IP_AT: Final = 12
_IPV4_END, _IPV6_END = 34, 54
_SHORTEST: Final = _IPV4_END + 8 + 1
_SHORTEST_IPV6: Final = _IPV6_END + 8 + 1
_ENDS: Final = {12: struct.Struct(">4s4sHH"), 36: struct.Struct(">16s16sHH")}
_FIXED = struct.Struct(">BBBB")  # of ferret.queue.codec: up to the flaws
_PLACED = struct.Struct(">4sq4sQ")  # these, time, ports, number
_STREAM = struct.Struct(">iqq")  # stream, its sequence, TEID
_LENGTHS = struct.Struct(">IBBBB")  # frame, lengths, number of tunnel ends
_EPOCH = struct.Struct(">Q")
_HEAD_SIZE: Final = _PLACED.size + _STREAM.size + _LENGTHS.size
_NUMBER_AT: Final = 16  # where in the format the number is, the frame, the lengths of the addresses and of the agent
_FRAME_NUMBER_AT: Final = 44
_SOURCE_LENGTH_AT: Final = 48
_AGENT_LENGTH_AT: Final = 50
_LONGEST_NAME: Final = 255
_TCP_NUMBER, _UDP_NUMBER, _SCTP_NUMBER = 6, 17, 132
_TRANSPORTS: Final = {
    _TCP_NUMBER: TRANSPORTS.index("tcp"),
    _UDP_NUMBER: TRANSPORTS.index("udp"),
    _SCTP_NUMBER: TRANSPORTS.index("sctp"),
}
_SHORTEST_STREAM: Final = 54  # Ethernet, IPv4, and a TCP header
_PROTOCOL_NUMBERS: Final = {protocol: number for number, protocol in enumerate(PROTOCOLS)}
_SPECIAL_PORTS: Final = frozenset((tunnel.PORT, esp.UDP_PORT, SCTP_IN_UDP_PORT, overlay.VXLAN_PORT))
_NUMBER = struct.Struct(">Q")
_LONGEST_METHOD: Final = 12  # octets, and more than one
_METHODS: Final = frozenset(method.encode() for method in METHODS)
_S1AP_IDS: Final = (0, 8)  # MME-UE-S1AP-ID, eNB-UE-S1AP-ID (TS 36.413 clause 9.3.6)
_CRITICALITIES: Final = (0x00, 0x40, 0x80)
_MOST_FLOWS: Final = 65_536


@dataclass(slots=True)
class Flow:
    """Datagrams between two sockets, one way."""

    is_plain: bool  # no port of a tunnel
    is_gtpc: bool
    is_ours: bool  # from or to the agent's NF
    ports: bytes
    source_port: int
    destination_port: int
    fixed: dict[Protocol, bytes]  # the first octets of the queue's format
    rest: bytes  # what is between the number and the message
    names: bytes  # of this, what comes behind the tunnel's TEID
    key: tcp.Flow  # what reassembly knows it by


class HotPath:
    """Sees one agent's messages and makes what goes into the queue."""

    def __init__(self, agent: str, *, epoch: int = 0, ours: frozenset[bytes] = frozenset()) -> None:
        """`ours`: the NF's addresses, in octets; none: everybody's. Raises ConfigError for a name that is too long."""
        self._agent = agent.encode()
        if len(self._agent) > _LONGEST_NAME:
            raise ConfigError(f"an agent's name of {len(self._agent)} octets; {_LONGEST_NAME} are the limit")
        self._epoch = _EPOCH.pack(epoch) if epoch else b""
        self._version = VERSION if epoch else WITHOUT_EPOCH
        self._ours = ours
        self._datagrams: dict[bytes, Flow] = {}  # UDP, by addresses and ports
        self._streams: dict[int, dict[bytes, Flow]] = {_TCP_NUMBER: {}, _SCTP_NUMBER: {}}

    def use(self, ours: frozenset[bytes]) -> None:
        """The NF has other addresses from now on."""
        self._ours = ours
        for known in (self._datagrams, *self._streams.values()):
            known.clear()

    def see(self, frame: bytes) -> tuple[Flow, Protocol, bytes] | None:
        """The message in a whole Ethernet frame, if it is exactly one in a datagram; None: ask the dissector."""
        if len(frame) < _SHORTEST:
            return None
        kind, version, total, fragment, protocol, ends, length = _IPV4.unpack_from(frame, _IP_AT)
        if kind == 0x86DD:
            return self._see_ipv6(frame)
        if (
            protocol != _UDP_NUMBER
            or kind != 0x0800
            or version != 0x45
            or fragment & 0x3FFF
            or length != total - 20
            or length < 9
            or total + 14 > len(frame)
        ):
            return None
        flow = self._datagrams.get(ends) or self._learn(ends, _UDP_NUMBER)
        return self._message(flow, frame[_IPV4_END + 8 : 14 + total])

    def _see_ipv6(self, frame: bytes) -> tuple[Flow, Protocol, bytes] | None:
        if len(frame) < _SHORTEST_IPV6:
            return None
        _, version, total, protocol, ends, length = _IPV6.unpack_from(frame, _IP_AT)
        end = _IPV6_END + total
        if protocol != _UDP_NUMBER or version >> 4 != 6 or length != total or length < 9 or end > len(frame):
            return None
        flow = self._datagrams.get(ends) or self._learn(ends, _UDP_NUMBER)
        return self._message(flow, frame[_IPV6_END + 8 : end])

    def _message(self, flow: Flow, octets: bytes) -> tuple[Flow, Protocol, bytes] | None:
        if not flow.is_plain:
            return None
        if flow.is_gtpc and _is_one_gtpv2(octets):
            return flow, Protocol.GTPV2, octets
        if not flow.is_gtpc and is_one_sip(octets):
            return flow, Protocol.SIP, octets
        found = datagram(flow.source_port, flow.destination_port, octets, 0)
        if not isinstance(found, Found) or found.fault or found.ends != (len(octets),):
            return None
        return flow, found.protocol, octets

    def encode(self, flow: Flow, protocol: Protocol, octets: bytes, captured_at_ns: int, number: int) -> bytes:
        """The same octets that `encode_captured` makes of the same message."""
        return _PLACED.pack(flow.fixed[protocol], captured_at_ns, flow.ports, number) + flow.rest + octets

    def encode_data(
        self,
        flow: Flow,
        protocol: Protocol,
        octets: bytes,
        captured_at_ns: int,
        number: int,
        stream: int,
        sequence: int,
    ) -> bytes:
        """The same for a user message of SCTP."""
        placed = _PLACED.pack(flow.fixed[protocol], captured_at_ns, flow.ports, number)
        return b"".join((placed, _STREAM.pack(stream, sequence, -1), flow.names, octets))

    def stream(self, frame: bytes) -> tuple[Flow, int, int, int] | None:
        """Of a whole Ethernet frame with TCP or SCTP over plain IP: whose it is, the protocol, and where that lies."""
        if len(frame) < _SHORTEST_STREAM:
            return None
        kind, version, total, fragment, protocol, ends, _ = _IPV4.unpack_from(frame, _IP_AT)
        start, end, is_plain = _IPV4_END, 14 + total, kind == 0x0800 and version == 0x45 and not fragment & 0x3FFF
        if kind == 0x86DD and len(frame) >= _SHORTEST_STREAM + 20:
            _, version, total, protocol, ends, _ = _IPV6.unpack_from(frame, _IP_AT)
            start, end, is_plain = _IPV6_END, _IPV6_END + total, version >> 4 == 6 and total > 0
        known = self._streams.get(protocol)
        if not is_plain or known is None or end > len(frame):
            return None
        return known.get(ends) or self._learn(ends, protocol), protocol, start, end

    def _learn(self, ends: bytes, protocol: int) -> Flow:
        known = self._datagrams if protocol == _UDP_NUMBER else self._streams[protocol]
        if len(known) >= _MOST_FLOWS:
            known.clear()
        source, destination, source_port, destination_port = _ENDS[len(ends)].unpack(ends)
        transport = _TRANSPORTS[protocol]
        texts = (address_text(source), address_text(destination))
        encoded = [text.encode() for text in texts]
        lengths = (*map(len, encoded), len(self._agent), 0)
        names = b"".join((_LENGTHS.pack(0, *lengths), self._epoch, *encoded, self._agent))
        flow = known[ends] = Flow(
            is_plain=_SPECIAL_PORTS.isdisjoint((source_port, destination_port)),
            is_gtpc=GTPC_PORT in (source_port, destination_port),
            is_ours=not self._ours or source in self._ours or destination in self._ours,
            ports=ends[-4:],
            source_port=source_port,
            destination_port=destination_port,
            fixed={one: _FIXED.pack(self._version, number, transport, 0) for one, number in _PROTOCOL_NUMBERS.items()},
            rest=_STREAM.pack(-1, -1, -1) + names,
            names=names,
            key=tcp.Flow(Endpoint(texts[0], source_port), Endpoint(texts[1], destination_port), (), -1),
        )
        return flow

    def sign(self, message: CapturedMessage, number: int) -> bytes:
        """A dissected message, which has no epoch, as the agent's own: with its name and number, without a frame.

        Raises RecordError where a field does not fit. Quicker than making another message of it first.
        """
        octets = encode_captured(message)
        names_end = _HEAD_SIZE + octets[_SOURCE_LENGTH_AT] + octets[_SOURCE_LENGTH_AT + 1]
        return b"".join(
            (
                bytes((self._version,)),
                octets[1:_NUMBER_AT],
                _NUMBER.pack(number),
                octets[_NUMBER_AT + _NUMBER.size : _FRAME_NUMBER_AT],
                b"\0\0\0\0",
                octets[_SOURCE_LENGTH_AT:_AGENT_LENGTH_AT],
                bytes((len(self._agent),)),
                octets[_AGENT_LENGTH_AT + 1 : _HEAD_SIZE],
                self._epoch,
                octets[_HEAD_SIZE:names_end],
                self._agent,
                octets[names_end + octets[_AGENT_LENGTH_AT] :],
            )
        )


def is_one_sip(octets: bytes) -> bool:
    """Whether it is exactly one SIP message as nearly all are written: a known method, the length that it says."""
    end = octets.find(b"\r\n")
    word = octets[: octets.find(b" ", 0, _LONGEST_METHOD)]
    if word == b"SIP/2.0":
        if end < 12 or not octets[8:11].isdigit() or octets[11] != 32:
            return False
    elif (
        word not in _METHODS
        or not 9 <= end - len(word) - 1 <= 8000
        or octets[end - 8 : end] != b" SIP/2.0"
        or octets.find(b"\n", 0, end) >= 0
        or octets.find(b"\r", 0, end) >= 0
    ):
        return False
    head = octets.find(b"\r\n\r\n", end)
    at = octets.find(b"\r\nContent-Length: ", end, head + 2)
    if head < 0 or at < 0:
        return False
    at += 18
    length = octets[at : octets.find(b"\r\n", at)]
    return length.isdigit() and len(length) < 9 and int(length) == len(octets) - head - 4


def is_one_s1ap(octets: bytes) -> bool:
    """Whether it is exactly one S1AP PDU of a procedure that is known, its length in one piece (X.691 clause 11.9)."""
    if len(octets) < 5 or octets[2] not in _CRITICALITIES or octets[:2] not in S1AP_TYPES:
        return False
    if octets[3] < 0x80:
        return octets[3] + 4 == len(octets) and _ids_are_whole(octets, 4)
    is_whole = octets[3] < 0xC0 and ((octets[3] & 0x3F) << 8 | octets[4]) + 5 == len(octets)
    return is_whole and _ids_are_whole(octets, 5)


def _ids_are_whole(octets: bytes, body: int) -> bool:
    """Whether the S1AP IDs, which nearly every message begins with, have the octets that they say they have."""
    at = body + 3
    for _ in range(min(2, octets[body + 1] << 8 | octets[body + 2]) if len(octets) > at else 0):
        if len(octets) < at + 6 or octets[at + 3] > 6:
            break
        length = octets[at + 3]
        if not octets[at] and octets[at + 1] in _S1AP_IDS and length <= (octets[at + 4] >> 6) + 1:
            return False
        at += 4 + length
    return True


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
