"""Traffic Flow Templates: which packets a bearer carries (TS 24.008 clause 10.5.6.12).

The octets begin with the TFT operation code: GTPv2-C Bearer TFT and TAD (TS 29.274 clauses 8.19, 8.20) and the value
part of the NAS information elements (TS 24.301 clauses 9.9.4.16, 9.9.4.15) alike.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network

from ferret.errors import DecodeError


class TftOperation(IntEnum):
    """TFT operation code (bits 8 to 6 of octet 3)."""

    IGNORE = 0
    CREATE_NEW = 1
    DELETE_EXISTING = 2
    ADD_PACKET_FILTERS = 3
    REPLACE_PACKET_FILTERS = 4
    DELETE_PACKET_FILTERS = 5
    NO_OPERATION = 6
    RESERVED = 7


class Direction(IntEnum):
    """Packet filter direction (bits 6 and 5)."""

    PRE_REL_7 = 0
    DOWNLINK = 1
    UPLINK = 2
    BIDIRECTIONAL = 3


class ComponentType(IntEnum):
    """Packet filter component type identifier."""

    IPV4_REMOTE_ADDRESS = 0x10
    IPV4_LOCAL_ADDRESS = 0x11
    IPV6_REMOTE_ADDRESS = 0x20
    IPV6_REMOTE_ADDRESS_PREFIX = 0x21
    IPV6_LOCAL_ADDRESS_PREFIX = 0x23
    PROTOCOL = 0x30
    LOCAL_PORT = 0x40
    LOCAL_PORT_RANGE = 0x41
    REMOTE_PORT = 0x50
    REMOTE_PORT_RANGE = 0x51
    SECURITY_PARAMETER_INDEX = 0x60
    TYPE_OF_SERVICE = 0x70
    FLOW_LABEL = 0x80
    DESTINATION_MAC_ADDRESS = 0x81
    SOURCE_MAC_ADDRESS = 0x82
    CTAG_VID = 0x83
    STAG_VID = 0x84
    CTAG_PCP_DEI = 0x85
    STAG_PCP_DEI = 0x86
    ETHERTYPE = 0x87


# The specification's names, without the slashes that separate the parts of a parameter's path.
COMPONENT_NAMES: dict[int, str] = {
    0x10: "IPv4 remote address",
    0x11: "IPv4 local address",
    0x20: "IPv6 remote address",
    0x21: "IPv6 remote prefix",
    0x23: "IPv6 local prefix",
    0x30: "Protocol identifier",
    0x40: "Single local port",
    0x41: "Local port range",
    0x50: "Single remote port",
    0x51: "Remote port range",
    0x60: "Security parameter index",
    0x70: "Type of service",
    0x80: "Flow label",
    0x81: "Destination MAC address",
    0x82: "Source MAC address",
    0x83: "802.1Q C-TAG VID",
    0x84: "802.1Q S-TAG VID",
    0x85: "802.1Q C-TAG PCP and DEI",
    0x86: "802.1Q S-TAG PCP and DEI",
    0x87: "Ethertype",
}
_LENGTHS = {
    0x10: 8, 0x11: 8, 0x20: 32, 0x21: 17, 0x23: 17, 0x30: 1, 0x40: 2, 0x41: 4, 0x50: 2, 0x51: 4, 0x60: 4,
    0x70: 2, 0x80: 3, 0x81: 6, 0x82: 6, 0x83: 2, 0x84: 2, 0x85: 1, 0x86: 1, 0x87: 2,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Component:
    """One condition of a packet filter. A type that is not known takes the rest of its filter as its value."""

    type: int
    value: bytes

    @property
    def name(self) -> str:
        """What the specification calls it."""
        return COMPONENT_NAMES.get(self.type) or f"Component 0x{self.type:02x}"

    @property
    def text(self) -> str | int:
        """The value to read: address/mask, a number, a range "from-to"; hex where nothing better is known."""
        value = self.value
        if len(value) != _LENGTHS.get(self.type):
            return value.hex()
        match self.type:
            case ComponentType.IPV4_REMOTE_ADDRESS | ComponentType.IPV4_LOCAL_ADDRESS:
                return f"{IPv4Address(value[:4])}/{IPv4Address(value[4:])}"
            case ComponentType.IPV6_REMOTE_ADDRESS:
                return f"{IPv6Address(value[:16])}/{IPv6Address(value[16:])}"
            case ComponentType.IPV6_REMOTE_ADDRESS_PREFIX | ComponentType.IPV6_LOCAL_ADDRESS_PREFIX:
                return f"{IPv6Address(value[:16])}/{value[16]}"
            case ComponentType.PROTOCOL | ComponentType.LOCAL_PORT | ComponentType.REMOTE_PORT:
                return int.from_bytes(value, "big")
            case ComponentType.LOCAL_PORT_RANGE | ComponentType.REMOTE_PORT_RANGE:
                return "{}-{}".format(*struct.unpack("!HH", value))
            case _:
                return value.hex()


def protocol(number: int) -> Component:
    """Only packets of this IP protocol."""
    return Component(ComponentType.PROTOCOL, bytes((number,)))


def address(network: str, *, remote: bool) -> Component:
    """Only packets from or to this network ("10.0.0.1", "10.0.0.0/8", "2001:db8::/32"). Raises ValueError."""
    block = ip_network(network, strict=False)
    if isinstance(block, IPv6Network):
        kind = ComponentType.IPV6_REMOTE_ADDRESS_PREFIX if remote else ComponentType.IPV6_LOCAL_ADDRESS_PREFIX
        return Component(kind, block.network_address.packed + bytes((block.prefixlen,)))
    kind = ComponentType.IPV4_REMOTE_ADDRESS if remote else ComponentType.IPV4_LOCAL_ADDRESS
    return Component(kind, block.network_address.packed + block.netmask.packed)


def port(first: int, last: int | None = None, *, remote: bool) -> Component:
    """Only packets with this port, or one from `first` to `last`."""
    if last is None or last == first:
        kind = ComponentType.REMOTE_PORT if remote else ComponentType.LOCAL_PORT
        return Component(kind, struct.pack("!H", first))
    kind = ComponentType.REMOTE_PORT_RANGE if remote else ComponentType.LOCAL_PORT_RANGE
    return Component(kind, struct.pack("!HH", first, last))


@dataclass(frozen=True, slots=True)
class PacketFilter:
    """One packet filter. `identifier` counts from 0 (0 is what texts call packet filter 1); `spare` is bits 8 and 7."""

    identifier: int
    direction: int
    precedence: int
    components: tuple[Component, ...] = ()
    spare: int = 0

    def encode(self) -> bytes:
        """The octets of this filter in a list for create, add or replace."""
        content = b"".join(bytes((part.type,)) + part.value for part in self.components)
        head = self.spare << 6 | self.direction << 4 | self.identifier
        return bytes((head, self.precedence, len(content))) + content


@dataclass(frozen=True, slots=True)
class TftParameter:
    """One entry of the parameters list: 1 authorization token, 2 flow identifier, 3 packet filter identifier."""

    identifier: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Tft:
    """A traffic flow template. With DELETE_PACKET_FILTERS the filters are `deleted`: identifiers with spare bits.

    `parameters` is None where the E bit says that there is no list.
    """

    operation: int
    packet_filters: tuple[PacketFilter, ...] = ()
    deleted: bytes = b""
    parameters: tuple[TftParameter, ...] | None = None

    @classmethod
    def decode(cls, octets: bytes) -> Tft:
        """Read a TFT. Raises DecodeError."""
        if not octets:
            raise DecodeError("a TFT has at least one octet")
        operation, count = octets[0] >> 5, octets[0] & 15
        position = 1
        filters = []
        deleted = b""
        if operation == TftOperation.DELETE_PACKET_FILTERS:
            position += count
            deleted = octets[1:position]
            if len(deleted) != count:
                raise DecodeError("list of packet filter identifiers is cut short", len(octets))
        else:
            for _ in range(count):
                one, position = _decode_filter(octets, position)
                filters.append(one)
        parameters = None
        if octets[0] & 0x10:
            parameters, position = _decode_parameters(octets, position)
        if position != len(octets):
            raise DecodeError("octets follow the TFT", position)
        return cls(operation, tuple(filters), deleted, parameters)

    def encode(self) -> bytes:
        """The octets. Raises ValueError where there are more filters or longer values than the coding allows."""
        count = len(self.deleted) + len(self.packet_filters)
        if count > 15:
            raise ValueError(f"a TFT holds 15 packet filters at most, not {count}")
        head = self.operation << 5 | (0 if self.parameters is None else 0x10) | count
        end = b"".join(bytes((one.identifier, len(one.value))) + one.value for one in self.parameters or ())
        return bytes((head,)) + self.deleted + b"".join(one.encode() for one in self.packet_filters) + end


def _decode_filter(octets: bytes, position: int) -> tuple[PacketFilter, int]:
    if position + 3 > len(octets):
        raise DecodeError("packet filter is cut short", position)
    head, precedence, length = octets[position : position + 3]
    end = position + 3 + length
    if end > len(octets):
        raise DecodeError("packet filter contents are cut short", position)
    components = _decode_components(octets[position + 3 : end], position + 3)
    return PacketFilter(head & 15, head >> 4 & 3, precedence, components, head >> 6), end


def _decode_components(octets: bytes, start: int) -> tuple[Component, ...]:
    components = []
    position = 0
    while position < len(octets):
        kind = octets[position]
        end = position + 1 + _LENGTHS.get(kind, len(octets) - position - 1)
        if end > len(octets):
            raise DecodeError(f"packet filter component 0x{kind:02x} is cut short", start + position)
        components.append(Component(kind, octets[position + 1 : end]))
        position = end
    return tuple(components)


def _decode_parameters(octets: bytes, position: int) -> tuple[tuple[TftParameter, ...], int]:
    parameters = []
    while position < len(octets):
        end = position + 2 + (octets[position + 1] if position + 1 < len(octets) else len(octets))
        if end > len(octets):
            raise DecodeError("TFT parameter is cut short", position)
        parameters.append(TftParameter(octets[position], octets[position + 2 : end]))
        position = end
    return tuple(parameters), position
