"""Typed readings of IE values that have several fields. Clauses are those of TS 29.274.

`SomeView.decode(octets)` reads, `view.encode()` writes the value, `view.ie(instance)` the whole IE. Octets that a later
release appends are accepted and, where a view has a field `rest`, kept.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import ClassVar, Self

from ferret.errors import DecodeError
from ferret.protocols.gtpv2 import pco as pco_module
from ferret.protocols.gtpv2.codec import View
from ferret.protocols.gtpv2.constants import IeType, IndicationFlag
from ferret.protocols.gtpv2.plmn import decode_plmn, encode_plmn
from ferret.protocols.gtpv2.single_values import need
from ferret.protocols.gtpv2.tft import Tft


@dataclass(frozen=True, slots=True)
class CauseIe(View):
    """Cause (clause 8.4). `remote` is CS: a node behind the sender is the cause. `offending`: an IE type, 0 if none."""

    ie_type: ClassVar[int] = IeType.CAUSE
    value: int
    pdn_connection_ie_error: bool = False
    bearer_context_ie_error: bool = False
    remote: bool = False
    offending: int = 0
    offending_instance: int = 0

    @property
    def accepted(self) -> bool:
        """Whether the value is one of acceptance (16 to 63)."""
        return 16 <= self.value <= 63

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read a value. Raises DecodeError."""
        flags = need(value, 2, "Cause")[1]
        offending = value[2:6] if len(value) >= 6 and value[2] else bytes(4)
        return cls(value[0], bool(flags & 4), bool(flags & 2), bool(flags & 1), offending[0], offending[3] & 15)

    def encode(self) -> bytes:
        """The octets."""
        flags = self.pdn_connection_ie_error << 2 | self.bearer_context_ie_error << 1 | self.remote
        end = bytes((self.offending, 0, 0, self.offending_instance)) if self.offending else b""
        return bytes((self.value, flags)) + end


def _ipv4_text(octets: bytes) -> str:
    """Four octets as an address, several times faster than by `ipaddress`."""
    return "{}.{}.{}.{}".format(*octets)


def decode_labels(value: bytes) -> str:
    """Domain name labels as text with dots (RFC 1035 clause 3.1, without compression). Raises DecodeError."""
    labels = []
    position = 0
    while position < len(value):
        end = position + 1 + value[position]
        if end > len(value):
            raise DecodeError("label is cut short", position)
        labels.append(value[position + 1 : end].decode("latin-1"))
        position = end
    return ".".join(labels)


def encode_labels(name: str) -> bytes:
    """The octets. Raises ValueError where a label is empty or longer than 63 octets."""
    labels = [label.encode("latin-1") for label in name.split(".")] if name else []
    if any(not 0 < len(label) < 64 for label in labels):
        raise ValueError(f"{name!r} is not a name of labels")
    return b"".join(bytes((len(label),)) + label for label in labels)


@dataclass(frozen=True, slots=True)
class Apn(View):
    """Access Point Name (clause 8.6; TS 23.003 clause 9.1)."""

    ie_type: ClassVar[int] = IeType.APN
    name: str

    @property
    def network_identifier(self) -> str:
        """The APN in lower case without its operator identifier "mnc….mcc….gprs"."""
        head, mark, end = self.name.lower().partition(".mnc")
        return head if mark and end.endswith(".gprs") else self.name.lower()

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read a value. Raises DecodeError."""
        return cls(decode_labels(value))

    def encode(self) -> bytes:
        """The octets."""
        return encode_labels(self.name)


@dataclass(frozen=True, slots=True)
class Fqdn(View):
    """Fully Qualified Domain Name (clause 8.66)."""

    ie_type: ClassVar[int] = IeType.FQDN
    name: str

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read a value. Raises DecodeError."""
        return cls(decode_labels(value))

    def encode(self) -> bytes:
        """The octets."""
        return encode_labels(self.name)


@dataclass(frozen=True, slots=True)
class Ambr(View):
    """Aggregate Maximum Bit Rate in kbit/s (clause 8.7)."""

    ie_type: ClassVar[int] = IeType.AMBR
    uplink: int
    downlink: int

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read a value. Raises DecodeError."""
        return cls(*struct.unpack_from("!II", need(value, 8, "AMBR")))

    def encode(self) -> bytes:
        """The octets."""
        return struct.pack("!II", self.uplink, self.downlink)


@dataclass(frozen=True, slots=True)
class IpAddress(View):
    """IP Address (clause 8.9)."""

    ie_type: ClassVar[int] = IeType.IP_ADDRESS
    address: str

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read a value. Raises DecodeError."""
        if len(value) not in (4, 16):
            raise DecodeError(f"an IP address has 4 or 16 octets, not {len(value)}")
        return cls(str(ip_address(value)))

    def encode(self) -> bytes:
        """The octets."""
        return ip_address(self.address).packed


@dataclass(frozen=True, slots=True)
class Indication(View):
    """Indication (clause 8.12). The length says which release the sender speaks, so the octets are kept."""

    ie_type: ClassVar[int] = IeType.INDICATION
    octets: bytes

    @classmethod
    def of(cls, *flags: IndicationFlag, length: int = 2) -> Self:
        """An Indication of at least `length` octets with these flags set."""
        octets = bytearray(max([length, *(flag // 8 + 1 for flag in flags)]))
        for flag in flags:
            octets[flag // 8] |= 0x80 >> flag % 8
        return cls(bytes(octets))

    def has(self, flag: IndicationFlag) -> bool:
        """Whether the flag is set; one beyond the end is not."""
        return flag // 8 < len(self.octets) and bool(self.octets[flag // 8] & 0x80 >> flag % 8)

    @property
    def flags(self) -> tuple[IndicationFlag, ...]:
        """Every flag that is set and has a name."""
        return tuple(flag for flag in IndicationFlag if self.has(flag))

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read a value; any octets will do."""
        return cls(value)

    def encode(self) -> bytes:
        """The octets."""
        return self.octets


@dataclass(frozen=True, slots=True)
class PcoIe(View):
    """Protocol Configuration Options (clause 8.13)."""

    ie_type: ClassVar[int] = IeType.PCO
    options: pco_module.Pco

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read a value. Raises DecodeError."""
        return cls(pco_module.Pco.decode(value))

    def encode(self) -> bytes:
        """The octets."""
        return self.options.encode()


@dataclass(frozen=True, slots=True)
class Paa(View):
    """PDN Address Allocation (clause 8.14). Addresses are text, "" where the PDN type has none."""

    ie_type: ClassVar[int] = IeType.PAA
    pdn_type: int
    ipv4: str = ""
    ipv6: str = ""
    prefix_length: int = 0

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read a value. Raises DecodeError."""
        kind = need(value, 1, "PAA")[0] & 7
        match kind:
            case 1:
                return cls(kind, ipv4=_ipv4_text(need(value, 5, "PAA")[1:5]))
            case 2:
                return cls(kind, "", str(IPv6Address(need(value, 18, "PAA")[2:18])), value[1])
            case 3:
                need(value, 22, "PAA")
                return cls(kind, _ipv4_text(value[18:22]), str(IPv6Address(value[2:18])), value[1])
            case _:
                return cls(kind)

    def encode(self) -> bytes:
        """The octets. Raises ValueError where an address is missing."""
        octets = bytes((self.pdn_type,))
        if self.pdn_type in (2, 3):
            octets += bytes((self.prefix_length,)) + IPv6Address(self.ipv6).packed
        if self.pdn_type in (1, 3):
            octets += IPv4Address(self.ipv4).packed
        return octets


@dataclass(frozen=True, slots=True)
class FlowQos(View):
    """Flow QoS (clause 8.16). Bit rates in kbit/s."""

    ie_type: ClassVar[int] = IeType.FLOW_QOS
    qci: int
    mbr_uplink: int = 0
    mbr_downlink: int = 0
    gbr_uplink: int = 0
    gbr_downlink: int = 0

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read a value. Raises DecodeError."""
        need(value, 21, "Flow QoS")
        return cls(value[0], *(int.from_bytes(value[at : at + 5], "big") for at in (1, 6, 11, 16)))

    def encode(self) -> bytes:
        """The octets."""
        rates = (self.mbr_uplink, self.mbr_downlink, self.gbr_uplink, self.gbr_downlink)
        return bytes((self.qci,)) + b"".join(rate.to_bytes(5, "big") for rate in rates)


@dataclass(frozen=True, slots=True)
class BearerQos(View):
    """Bearer Level QoS (clause 8.15). Bit rates in kbit/s. PCI and PVI are the bits themselves: 1 is disabled."""

    ie_type: ClassVar[int] = IeType.BEARER_QOS
    qci: int
    priority_level: int
    pci: int = 1
    pvi: int = 1
    mbr_uplink: int = 0
    mbr_downlink: int = 0
    gbr_uplink: int = 0
    gbr_downlink: int = 0

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read a value. Raises DecodeError."""
        arp = need(value, 22, "Bearer QoS")[0]
        rates = (int.from_bytes(value[at : at + 5], "big") for at in (2, 7, 12, 17))
        return cls(value[1], arp >> 2 & 15, arp >> 6 & 1, arp & 1, *rates)

    def encode(self) -> bytes:
        """The octets."""
        arp = self.pci << 6 | self.priority_level << 2 | self.pvi
        rates = (self.mbr_uplink, self.mbr_downlink, self.gbr_uplink, self.gbr_downlink)
        return bytes((arp, self.qci)) + b"".join(rate.to_bytes(5, "big") for rate in rates)


@dataclass(frozen=True, slots=True)
class Arp(View):
    """Allocation/Retention Priority (clause 8.86). PCI and PVI are the bits themselves: 1 is disabled."""

    ie_type: ClassVar[int] = IeType.ARP
    priority_level: int
    pci: int = 1
    pvi: int = 1

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read a value. Raises DecodeError."""
        arp = need(value, 1, "ARP")[0]
        return cls(arp >> 2 & 15, arp >> 6 & 1, arp & 1)

    def encode(self) -> bytes:
        """The octets."""
        return bytes((self.pci << 6 | self.priority_level << 2 | self.pvi,))


@dataclass(frozen=True, slots=True)
class ServingNetwork(View):
    """Serving Network (clause 8.18): MCC and MNC as five or six digits."""

    ie_type: ClassVar[int] = IeType.SERVING_NETWORK
    plmn: str

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read a value. Raises DecodeError."""
        return cls(decode_plmn(need(value, 3, "Serving Network")[:3]))

    def encode(self) -> bytes:
        """The octets."""
        return encode_plmn(self.plmn)


@dataclass(frozen=True, slots=True)
class FTeid(View):
    """Fully Qualified TEID (clause 8.22). Addresses are text, "" where absent."""

    ie_type: ClassVar[int] = IeType.F_TEID
    interface_type: int
    teid: int
    ipv4: str = ""
    ipv6: str = ""

    @property
    def address(self) -> str:
        """The IPv4 address, else the IPv6 address."""
        return self.ipv4 or self.ipv6

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read a value. Raises DecodeError."""
        flags = need(value, 5, "F-TEID")[0]
        end = 5 + (4 if flags & 0x80 else 0) + (16 if flags & 0x40 else 0)
        need(value, end, "F-TEID")
        ipv4 = _ipv4_text(value[5:9]) if flags & 0x80 else ""
        ipv6 = str(IPv6Address(value[end - 16 : end])) if flags & 0x40 else ""
        return cls(flags & 0x3F, int.from_bytes(value[1:5], "big"), ipv4, ipv6)

    def encode(self) -> bytes:
        """The octets. Raises ValueError where an address is not one."""
        flags = (0x80 if self.ipv4 else 0) | (0x40 if self.ipv6 else 0) | self.interface_type
        octets = bytes((flags,)) + self.teid.to_bytes(4, "big")
        if self.ipv4:
            octets += IPv4Address(self.ipv4).packed
        if self.ipv6:
            octets += IPv6Address(self.ipv6).packed
        return octets


def f_teid(interface_type: int, teid: int, address: str) -> FTeid:
    """An F-TEID with one address of either family. Raises ValueError where it is no address."""
    if ":" in address:
        return FTeid(interface_type, teid, ipv6=address)
    return FTeid(interface_type, teid, ipv4=address)


@dataclass(frozen=True, slots=True)
class BearerTft(View):
    """Bearer TFT (clause 8.19)."""

    ie_type: ClassVar[int] = IeType.BEARER_TFT
    tft: Tft

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read a value. Raises DecodeError."""
        return cls(Tft.decode(value))

    def encode(self) -> bytes:
        """The octets."""
        return self.tft.encode()


@dataclass(frozen=True, slots=True)
class Tad(View):
    """Traffic Aggregate Description (clause 8.20), coded as a TFT."""

    ie_type: ClassVar[int] = IeType.TAD
    tft: Tft

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read a value. Raises DecodeError."""
        return cls(Tft.decode(value))

    def encode(self) -> bytes:
        """The octets."""
        return self.tft.encode()


@dataclass(frozen=True, slots=True)
class UeTimeZone(View):
    """UE Time Zone (clause 8.44). `quarters` is the offset from UTC in quarters of an hour."""

    ie_type: ClassVar[int] = IeType.UE_TIME_ZONE
    quarters: int = 0
    daylight_saving: int = 0

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read a value. Raises DecodeError."""
        need(value, 2, "UE Time Zone")
        if value[0] >> 4 > 9:
            raise DecodeError(f"{value[0]:#04x} is no time zone")
        size = (value[0] & 7) * 10 + (value[0] >> 4)
        return cls(-size if value[0] & 8 else size, value[1] & 3)

    def encode(self) -> bytes:
        """The octets (TS 23.040 clause 9.2.3.11: digits swapped, bit 4 is the sign)."""
        tens, units = divmod(abs(self.quarters), 10)
        return bytes((units << 4 | (8 if self.quarters < 0 else 0) | tens, self.daylight_saving))
