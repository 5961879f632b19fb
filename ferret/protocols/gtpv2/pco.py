"""Protocol configuration options (TS 24.008 clause 10.5.6.3), as GTPv2-C and NAS carry them, from octet 3 on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import ip_address

from ferret.errors import DecodeError


class PcoId(IntEnum):
    """Protocol or container identifiers. In the uplink a container without content asks, the downlink answers."""

    P_CSCF_IPV6_ADDRESS = 0x0001
    IM_CN_SUBSYSTEM_SIGNALLING_FLAG = 0x0002
    DNS_SERVER_IPV6_ADDRESS = 0x0003
    POLICY_CONTROL_REJECTION_CODE = 0x0004
    SELECTED_BEARER_CONTROL_MODE = 0x0005
    IP_ADDRESS_ALLOCATION_VIA_NAS = 0x000A
    IPV4_ADDRESS_ALLOCATION_VIA_DHCP = 0x000B
    P_CSCF_IPV4_ADDRESS = 0x000C
    DNS_SERVER_IPV4_ADDRESS = 0x000D
    MSISDN = 0x000E
    IFOM_SUPPORT = 0x000F
    IPV4_LINK_MTU = 0x0010
    LOCAL_ADDRESS_IN_TFT = 0x0011
    P_CSCF_RE_SELECTION_SUPPORT = 0x0012
    NBIFOM_REQUEST = 0x0013
    NBIFOM_MODE = 0x0014
    NON_IP_LINK_MTU = 0x0015
    APN_RATE_CONTROL_SUPPORT = 0x0016
    PS_DATA_OFF_UE_STATUS = 0x0017
    ADDITIONAL_APN_RATE_CONTROL = 0x0019
    PDU_SESSION_ID = 0x001A
    LCP = 0xC021
    PAP = 0xC023
    CHAP = 0xC223
    IPCP = 0x8021


PCO_NAMES: dict[int, str] = {
    0x0001: "P-CSCF IPv6 Address",
    0x0002: "IM CN Subsystem Signaling Flag",
    0x0003: "DNS Server IPv6 Address",
    0x0004: "Policy Control rejection code",
    0x0005: "Selected Bearer Control Mode",
    0x000A: "IP address allocation via NAS signalling",
    0x000B: "IPv4 address allocation via DHCPv4",
    0x000C: "P-CSCF IPv4 Address",
    0x000D: "DNS Server IPv4 Address",
    0x000E: "MSISDN",
    0x000F: "IFOM-Support",
    0x0010: "IPv4 Link MTU",
    0x0011: "Local address in TFT",
    0x0012: "P-CSCF Re-selection support",
    0x0013: "NBIFOM request indicator",
    0x0014: "NBIFOM mode",
    0x0015: "Non-IP Link MTU",
    0x0016: "APN rate control support",
    0x0017: "3GPP PS data off UE status",
    0x0019: "Additional APN rate control",
    0x001A: "PDU session ID",
    0xC021: "LCP",
    0xC023: "PAP",
    0xC223: "CHAP",
    0x8021: "IPCP",
}

_ADDRESSES = {0x0001: 16, 0x0003: 16, 0x000C: 4, 0x000D: 4}


@dataclass(frozen=True, slots=True)
class PcoContainer:
    """One protocol or container unit."""

    identifier: int
    content: bytes = b""

    @property
    def name(self) -> str:
        """What the specification calls it."""
        return PCO_NAMES.get(self.identifier) or f"Container 0x{self.identifier:04x}"

    @property
    def text(self) -> str | int:
        """The content to read: an address, a number (MTU), or hex; empty where the container only asks."""
        if len(self.content) == _ADDRESSES.get(self.identifier):
            return str(ip_address(self.content))
        if self.identifier == PcoId.IPV4_LINK_MTU and len(self.content) == 2:
            return int.from_bytes(self.content, "big")
        return self.content.hex()


@dataclass(frozen=True, slots=True)
class Pco:
    """Protocol configuration options. `head` is octet 3: extension bit, spare bits and configuration protocol."""

    containers: tuple[PcoContainer, ...] = ()
    head: int = 0x80  # extension bit set, PPP for use with IP

    @classmethod
    def decode(cls, octets: bytes) -> Pco:
        """Read the options. Raises DecodeError."""
        if not octets:
            raise DecodeError("PCO has at least one octet")
        containers = []
        position = 1
        while position < len(octets):
            end = position + 3 + (octets[position + 2] if position + 2 < len(octets) else len(octets))
            if end > len(octets):
                raise DecodeError("PCO container is cut short", position)
            identifier = octets[position] << 8 | octets[position + 1]
            containers.append(PcoContainer(identifier, octets[position + 3 : end]))
            position = end
        return cls(tuple(containers), octets[0])

    def encode(self) -> bytes:
        """The octets. Raises ValueError where a content is longer than 255 octets."""
        return bytes((self.head,)) + b"".join(
            one.identifier.to_bytes(2, "big") + bytes((len(one.content),)) + one.content for one in self.containers
        )

    def find(self, identifier: int) -> PcoContainer | None:
        """The first container with this identifier."""
        return next((one for one in self.containers if one.identifier == identifier), None)

    def addresses(self, identifiers: Iterable[int]) -> tuple[str, ...]:
        """Every address under these identifiers, in order; what is no address is left out."""
        wanted = frozenset(identifiers)
        return tuple(
            str(ip_address(one.content))
            for one in self.containers
            if one.identifier in wanted and len(one.content) in (4, 16)
        )


IPCP_REQUEST, IPCP_ACK, IPCP_NAK, IPCP_REJECT = 1, 2, 3, 4
IPCP_PRIMARY_DNS, IPCP_SECONDARY_DNS = 129, 131


@dataclass(frozen=True, slots=True)
class Ipcp:
    """The PPP packet in an IPCP container (RFC 1332 clause 2, RFC 1877 for the DNS options 129 and 131)."""

    code: int
    identifier: int
    options: tuple[tuple[int, bytes], ...] = ()

    @classmethod
    def decode(cls, octets: bytes) -> Ipcp:
        """Read the packet. Raises DecodeError."""
        if len(octets) < 4 or not 4 <= (length := octets[2] << 8 | octets[3]) <= len(octets):
            raise DecodeError("IPCP packet is cut short")
        options = []
        position = 4
        while position < length:
            size = octets[position + 1] if position + 1 < length else 0
            if size < 2 or position + size > length:
                raise DecodeError("IPCP option is cut short", position)
            options.append((octets[position], octets[position + 2 : position + size]))
            position += size
        return cls(octets[0], octets[1], tuple(options))

    def encode(self) -> bytes:
        """The octets."""
        body = b"".join(bytes((kind, len(value) + 2)) + value for kind, value in self.options)
        return bytes((self.code, self.identifier)) + (len(body) + 4).to_bytes(2, "big") + body
