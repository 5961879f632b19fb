"""The hot path: from a frame over Ethernet and IP to the flow that it belongs to, with one look.

Flows (`ferret_agents.live.flows`) find in it what nearly every frame holds, and put what the queue needs in front: what
is the same for all messages between two sockets is made once and remembered. The dissector would find the same
messages, and `encode_captured` would make the same octets of them; tests compare them. Every other frame (VLAN tags,
options, fragments, tunnels, anything that cannot be read) is left to them.
"""

from __future__ import annotations

import struct
from typing import Final

from ferret.records.message import Endpoint
from ferret_agents.capture import esp, overlay, tunnel
from ferret_agents.capture.dissect import SCTP_IN_UDP_PORT, Dissector
from ferret_agents.capture.ip import SCTP, TCP, UDP, address_text
from ferret_agents.capture.link import IPV4, IPV6
from ferret_agents.live.catch import Catch
from ferret_agents.live.envelope import Envelope, Sender
from ferret_agents.live.flows import DatagramFlow, Flow, PacketFlow, SegmentFlow

# From octet 12 of an Ethernet frame: its type, the IP header (version and length, total length, fragment, protocol),
# then addresses and ports together, which say whose packet it is, and the UDP length.
_IPV4 = struct.Struct(">HBxH2xHxB2x12sH")
_IPV6 = struct.Struct(">HB3xHBx36sH")
_IP_AT: Final = 12
_IPV4_START, _IPV4_END, _IPV6_END = 14, 34, 54
_SHORTEST: Final = _IPV4_END + 8
_SHORTEST_IPV6: Final = _IPV6_END + 8
_ENDS: Final = {12: struct.Struct(">4s4sHH"), 36: struct.Struct(">16s16sHH")}
_TRANSPORTS: Final = {TCP: "tcp", UDP: "udp", SCTP: "sctp"}
_OF_TUNNELS: Final = frozenset((tunnel.PORT, esp.UDP_PORT, SCTP_IN_UDP_PORT, overlay.VXLAN_PORT))
_MOST_FLOWS: Final = 65_536


class HotPath:
    """Takes the frames that it can; what is in them is in the catch then."""

    def __init__(self, catch: Catch, dissector: Dissector, sender: Sender) -> None:
        """`dissector`: for the frames that are left; both know the same streams."""
        self._catch = catch
        self._dissector = dissector
        self._sender = sender
        self._ours: frozenset[bytes] = frozenset()
        self._flows: dict[int, dict[bytes, Flow | None]] = {protocol: {} for protocol in _TRANSPORTS}

    def use(self, ours: frozenset[bytes]) -> None:
        """The NF's addresses from now on, in octets; none: everybody's."""
        self._ours = ours
        for flows in self._flows.values():
            flows.clear()

    def take(self, at_ns: int, frame: bytes) -> bool:
        """Take a whole Ethernet frame; False: it is for the dissector."""
        if len(frame) < _SHORTEST:
            return False
        kind, version, total, fragment, protocol, ends, length = _IPV4.unpack_from(frame, _IP_AT)
        if kind != IPV4:
            return kind == IPV6 and self._take_ipv6(at_ns, frame)
        end = _IPV4_START + total
        if version != 0x45 or fragment & 0x3FFF or end > len(frame):
            return False
        if protocol == UDP and (length != end - _IPV4_END or length < 9):
            return False
        flows = self._flows.get(protocol)
        if flows is None:
            return False
        flow = flows[ends] if ends in flows else self._learn(protocol, ends)
        return flow is not None and flow.take(at_ns, frame, _IPV4_END, end)

    def _take_ipv6(self, at_ns: int, frame: bytes) -> bool:
        if len(frame) < _SHORTEST_IPV6:
            return False
        _, version, total, protocol, ends, length = _IPV6.unpack_from(frame, _IP_AT)
        flows, end = self._flows.get(protocol), _IPV6_END + total
        if flows is None or version >> 4 != 6 or end > len(frame):
            return False
        if protocol == UDP and (length != total or length < 9):
            return False
        flow = flows[ends] if ends in flows else self._learn(protocol, ends)
        return flow is not None and flow.take(at_ns, frame, _IPV6_END, end)

    def _learn(self, protocol: int, ends: bytes) -> Flow | None:
        """The flow between two sockets, or None where it is a tunnel, remembered."""
        flows = self._flows[protocol]
        if len(flows) >= _MOST_FLOWS:
            flows.clear()
        flow = flows[ends] = self._flow(protocol, ends)
        return flow

    def _flow(self, protocol: int, ends: bytes) -> Flow | None:
        source, destination, source_port, destination_port = _ENDS[len(ends)].unpack(ends)
        ports = (source_port, destination_port)
        if protocol == UDP and not _OF_TUNNELS.isdisjoint(ports):
            return None
        sockets = (Endpoint(address_text(source), source_port), Endpoint(address_text(destination), destination_port))
        envelope = Envelope(self._sender, _TRANSPORTS[protocol], *sockets)
        is_ours = not self._ours or source in self._ours or destination in self._ours
        if protocol == UDP:
            return DatagramFlow(self._catch, self._dissector.ledger, envelope, is_ours, ports)
        if protocol == TCP:
            return SegmentFlow(self._catch, self._dissector.ledger, envelope, is_ours, self._dissector.tcp, sockets)
        return PacketFlow(self._catch, self._dissector.ledger, envelope, is_ours, self._dissector.sctp, sockets)
