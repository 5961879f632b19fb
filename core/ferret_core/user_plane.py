"""The user plane of SGW and PGW: which tunnel leads where, as plain data, and what becomes of a packet.

The control plane (`ferret_core.sgw`, `ferret_core.pgw`) writes `SgwUserPlane` and `PgwUserPlane`; a forwarder reads
them. Sans-IO: datagrams go in, datagrams and inner packets come out, and who carries them is somebody else's concern.
GTP-U is 3GPP TS 29.281; bearer binding of downlink packets is TS 23.401 clause 4.7.2.2.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple, TypeAlias

from ferret.errors import DecodeError
from ferret.protocols import gtpu
from ferret.protocols.gtpu import GtpuType
from ferret.protocols.gtpv2.tft import ComponentType, Direction, PacketFilter
from ferret_core.gtp_control import Tunnel
from ferret_core.router_advertisement import ICMPV6, advertisement, solicited_by

Address: TypeAlias = tuple[str, int]
"""Address in text form, and UDP port."""

BUFFERED_PACKETS: Final = 32
"""Ours: packets that wait for one idle bearer; the oldest goes first."""


@dataclass(slots=True)
class SgwPath:
    """Where packets that arrive under one local TEID go on to; None while the UE is idle."""

    next_hop: Tunnel | None = None


@dataclass(slots=True)
class SgwUserPlane:
    """Every local TEID of an SGW, S1-U and S5/S8-U alike, and its path."""

    address: str
    paths: dict[int, SgwPath] = field(default_factory=dict)


@dataclass(slots=True)
class PgwBearer:
    """One bearer of a UE. `filters` empty: the default bearer, which takes what no other takes."""

    sgw: Tunnel | None
    filters: tuple[PacketFilter, ...] = ()


@dataclass(slots=True)
class PgwUserPlane:
    """`uplink`: the UE's addresses by local TEID. `downlink`: a UE's bearers by its address, by local TEID.

    Addresses are in the form that `ue_key` gives.
    """

    address: str
    uplink: dict[int, tuple[str, ...]] = field(default_factory=dict)
    downlink: dict[str, dict[int, PgwBearer]] = field(default_factory=dict)


def ue_key(address: str) -> str:
    """What a UE is known by: its IPv4 address, or its IPv6 prefix, which is a /64 of its own (TS 23.401 5.3.1.2.2)."""
    if ":" not in address:
        return address
    return f"{IPv6Address(IPv6Address(address).packed[:8] + bytes(8))}/64"


class Flow(NamedTuple):
    """What packet filters look at. Ports are 0 where the protocol has none or the packet is a later fragment."""

    source: str
    destination: str
    protocol: int
    source_port: int
    destination_port: int
    type_of_service: int


_FRAGMENT = 44
_EXTENSIONS = frozenset({0, 43, _FRAGMENT, 60})  # IPv6: hop-by-hop options, routing, fragment, destination options
_PORTED = frozenset({6, 17, 33, 132, 136})  # TCP, UDP, DCCP, SCTP, UDP-Lite


def flow_of(packet: bytes) -> Flow | None:
    """The flow of an IP packet; None where it is none."""
    if len(packet) >= 20 and packet[0] >> 4 == 4 and packet[0] & 15 >= 5:
        ends = "{}.{}.{}.{}".format(*packet[12:16]), "{}.{}.{}.{}".format(*packet[16:20])
        protocol, start, service = packet[9], (packet[0] & 15) * 4, packet[1]
        first = not (packet[6] & 0x1F or packet[7])
    elif len(packet) >= 40 and packet[0] >> 4 == 6:
        ends = str(IPv6Address(packet[8:24])), str(IPv6Address(packet[24:40]))
        service = (packet[0] & 15) << 4 | packet[1] >> 4
        protocol, start, first = _behind_extensions(packet)
    else:
        return None
    ports = (0, 0)
    if first and protocol in _PORTED and len(packet) >= start + 4:
        ports = packet[start] << 8 | packet[start + 1], packet[start + 2] << 8 | packet[start + 3]
    return Flow(*ends, protocol, *ports, service)


def _behind_extensions(packet: bytes) -> tuple[int, int, bool]:
    """An IPv6 packet's protocol, where its header begins, and whether it does: False in a later fragment (RFC 8200)."""
    header, at, first = packet[6], 40, True
    while first and header in _EXTENSIONS and at + 8 <= len(packet):
        if header == _FRAGMENT:
            first = not int.from_bytes(packet[at + 2 : at + 4], "big") & 0xFFF8
            length = 8
        else:
            length = 8 + packet[at + 1] * 8
        header, at = packet[at], at + length
    return header, at, first


def matches(packet_filter: PacketFilter, flow: Flow, *, uplink: bool) -> bool:
    """Whether a packet passes a filter: its direction fits and every component holds (TS 24.008 clause 10.5.6.12)."""
    if packet_filter.direction == (Direction.DOWNLINK if uplink else Direction.UPLINK):
        return False
    local, remote = (flow.source, flow.destination) if uplink else (flow.destination, flow.source)
    ports = (flow.source_port, flow.destination_port) if uplink else (flow.destination_port, flow.source_port)
    return all(
        _holds(part.type, part.value, local, remote, *ports, flow.protocol, flow.type_of_service)
        for part in packet_filter.components
    )


def _holds(
    kind: int,
    value: bytes,
    local: str,
    remote: str,
    local_port: int,
    remote_port: int,
    protocol: int,
    service: int,
) -> bool:
    match kind:
        case ComponentType.PROTOCOL:
            return value[0] == protocol
        case ComponentType.LOCAL_PORT | ComponentType.LOCAL_PORT_RANGE:
            return _within(value, local_port)
        case ComponentType.REMOTE_PORT | ComponentType.REMOTE_PORT_RANGE:
            return _within(value, remote_port)
        case ComponentType.IPV4_LOCAL_ADDRESS | ComponentType.IPV6_LOCAL_ADDRESS_PREFIX:
            return _inside(value, local)
        case (
            ComponentType.IPV4_REMOTE_ADDRESS
            | ComponentType.IPV6_REMOTE_ADDRESS
            | ComponentType.IPV6_REMOTE_ADDRESS_PREFIX
        ):
            return _inside(value, remote)
        case ComponentType.TYPE_OF_SERVICE:
            return not (value[0] ^ service) & value[1]
        case _:
            return False


def _within(value: bytes, port: int) -> bool:
    return int.from_bytes(value[:2], "big") <= port <= int.from_bytes(value[-2:], "big")


def _inside(value: bytes, address: str) -> bool:
    """`value` is an address followed by a mask, or by a prefix length."""
    size = 4 if len(value) == 8 else 16
    packed = IPv6Address(address).packed if ":" in address else IPv4Address(address).packed
    if len(packed) != size:
        return False
    if len(value) == 17:
        shift = 128 - min(value[16], 128)
        return int.from_bytes(packed, "big") >> shift == int.from_bytes(value[:16], "big") >> shift
    return all(not (a ^ b) & mask for a, b, mask in zip(packed, value[:size], value[size:], strict=True))


class GtpuForwarder:
    """What every GTP-U entity does: answers Echo, reports an unknown TEID, hands T-PDUs to its kind of forwarding."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._lost: list[tuple[str, int]] = []

    def receive(self, octets: bytes, source: Address) -> list[tuple[bytes, Address]]:
        """A datagram has arrived at port 2152; what is to be sent on. Octets that are no GTP-U are dropped."""
        opened = gtpu.open_tunnel(octets)
        if opened is not None:
            forwarded = self._forward(*opened)
            if forwarded is not None:
                return forwarded
            indication = gtpu.ErrorIndication(opened[0], self._address)
            return [(indication.encode(), (source[0], gtpu.PORT))]
        try:
            packet = gtpu.decode(octets)
        except DecodeError:
            return []
        match packet.type:
            case GtpuType.ECHO_REQUEST:
                return [(gtpu.echo_response(packet), source)]
            case GtpuType.ERROR_INDICATION:
                self._note_lost(packet)
            case GtpuType.END_MARKER:
                return self._end_marker(packet.teid)
        return []

    def take_lost(self) -> list[tuple[str, int]]:
        """Peers' tunnels (address, TEID) that Error Indications have reported gone since the last call."""
        lost, self._lost = self._lost, []
        return lost

    def _note_lost(self, packet: gtpu.Packet) -> None:
        try:
            indication = gtpu.error_indication(packet)
        except DecodeError:
            return
        self._lost.append((indication.address, indication.teid))

    def _forward(self, teid: int, packet: bytes) -> list[tuple[bytes, Address]] | None:
        """What becomes of a user's packet; None where there is no such tunnel."""
        return None

    def _end_marker(self, teid: int) -> list[tuple[bytes, Address]]:
        return []


class SgwForwarder(GtpuForwarder):
    """Passes packets from tunnel to tunnel; keeps those for an idle UE until `flush`."""

    def __init__(self, plane: SgwUserPlane) -> None:
        super().__init__(plane.address)
        self._plane = plane
        self._waiting: dict[int, deque[bytes]] = {}
        self._arrived: list[int] = []

    def take_arrived(self) -> list[int]:
        """Local TEIDs at which packets for idle UEs have arrived: each is for `Sgw.downlink_arrived`."""
        arrived, self._arrived = self._arrived, []
        return arrived

    def flush(self) -> list[tuple[bytes, Address]]:
        """What has waited for tunnels that lead somewhere again; what waited for tunnels now gone is dropped."""
        out: list[tuple[bytes, Address]] = []
        for teid in list(self._waiting):
            path = self._plane.paths.get(teid)
            if path is None:
                del self._waiting[teid]
            elif path.next_hop is not None:
                hop = path.next_hop
                packets = self._waiting.pop(teid)
                out += [(gtpu.wrap(hop.teid, packet), (hop.address, gtpu.PORT)) for packet in packets]
        return out

    @property
    def buffered(self) -> int:
        """How many packets wait."""
        return sum(map(len, self._waiting.values()))

    def _forward(self, teid: int, packet: bytes) -> list[tuple[bytes, Address]] | None:
        path = self._plane.paths.get(teid)
        if path is None:
            return None
        if path.next_hop is None:
            self._waiting.setdefault(teid, deque(maxlen=BUFFERED_PACKETS)).append(packet)
            if teid not in self._arrived:
                self._arrived.append(teid)
            return []
        return [(gtpu.wrap(path.next_hop.teid, packet), (path.next_hop.address, gtpu.PORT))]

    def _end_marker(self, teid: int) -> list[tuple[bytes, Address]]:
        path = self._plane.paths.get(teid)
        if path is None or path.next_hop is None:
            return []
        return [(gtpu.end_marker(path.next_hop.teid), (path.next_hop.address, gtpu.PORT))]


class PgwForwarder(GtpuForwarder):
    """Takes uplink packets out of their tunnels, and puts downlink packets into the bearer that they are bound to."""

    def __init__(self, plane: PgwUserPlane) -> None:
        super().__init__(plane.address)
        self._plane = plane
        self._inner: list[bytes] = []

    def take_packets(self) -> list[bytes]:
        """Users' packets that have come out of tunnels, for the packet data network."""
        inner, self._inner = self._inner, []
        return inner

    def send(self, packet: bytes) -> list[tuple[bytes, Address]]:
        """A packet from the packet data network: encapsulated for its UE; nothing where no bearer takes it."""
        flow = flow_of(packet)
        bearers = self._plane.downlink.get(ue_key(flow.destination)) if flow is not None else None
        if flow is None or bearers is None:
            return []
        tunnel = _bound(bearers.values(), flow)
        return [] if tunnel is None else [(gtpu.wrap(tunnel.teid, packet), (tunnel.address, gtpu.PORT))]

    def _forward(self, teid: int, packet: bytes) -> list[tuple[bytes, Address]] | None:
        addresses = self._plane.uplink.get(teid)
        if addresses is None:
            return None
        flow = flow_of(packet)
        if flow is not None and ue_key(flow.source) in addresses:  # a UE uses no address but its own
            self._inner.append(packet)
        elif flow is not None and flow.protocol == ICMPV6 and (asks := solicited_by(packet)) is not None:
            return self._advertise(addresses, asks)
        return []

    def _advertise(self, addresses: tuple[str, ...], to: str) -> list[tuple[bytes, Address]]:
        """A UE asks for its prefix: tell it on its default bearer (TS 23.401 clause 5.3.1.2.2)."""
        for prefix in addresses:
            bearers = self._plane.downlink.get(prefix, {}) if prefix.endswith("/64") else {}
            tunnel = next((one.sgw for one in bearers.values() if not one.filters), None)
            if tunnel is not None:
                return [(gtpu.wrap(tunnel.teid, advertisement(prefix, to)), (tunnel.address, gtpu.PORT))]
        return []


def _bound(bearers: Iterable[PgwBearer], flow: Flow) -> Tunnel | None:
    """The tunnel of the filter that matches with the lowest evaluation precedence, else of the default bearer."""
    best: tuple[int, Tunnel | None] = (256, None)
    for bearer in bearers:
        if not bearer.filters and best[0] == 256:
            best = (256, bearer.sgw)
        for one in bearer.filters:
            if one.precedence < best[0] and matches(one, flow, uplink=False):
                best = (one.precedence, bearer.sgw)
    return best[1]
