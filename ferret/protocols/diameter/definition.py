"""What an AVP's code means: its name, its type, how its value is read and written (RFC 6733 clauses 4.2 to 4.4).

An `AvpDefinition` builds AVPs that read like the specification,

    avp.SUBSCRIPTION_ID(avp.SUBSCRIPTION_ID_TYPE(1), avp.SUBSCRIPTION_ID_DATA("001010000000001"))

and reads them: `message.value_of(avp.RESULT_CODE)` is an int or None.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Generic, TypeVar

from ferret.errors import DecodeError, LocalMisuseError
from ferret.protocols.diameter.constants import AvpFlag
from ferret.protocols.diameter.tree import Avp

T = TypeVar("T")


class AvpType(StrEnum):
    """The basic and derived AVP formats (RFC 6733 clauses 4.2 and 4.3), and three that 3GPP took from RADIUS."""

    OCTETS = "OctetString"
    LABEL = "OctetString holding text"  # by convention: Charging-Rule-Name, Codec-Data
    INTEGER32 = "Integer32"
    INTEGER64 = "Integer64"
    UNSIGNED32 = "Unsigned32"
    UNSIGNED64 = "Unsigned64"
    FLOAT32 = "Float32"
    ENUMERATED = "Enumerated"
    GROUPED = "Grouped"
    ADDRESS = "Address"
    TIME = "Time"
    TEXT = "UTF8String"
    IDENTITY = "DiameterIdentity"
    URI = "DiameterURI"
    FILTER_RULE = "IPFilterRule"
    IP_OCTETS = "OctetString holding an IP address"  # RFC 7155 clause 4.4.10.5: 4 or 16 octets
    IPV6_PREFIX = "OctetString holding an IPv6 prefix"  # RFC 3162 clause 2.3


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Turn what the standard library raises for a bad value into DecodeError."""
    try:
        yield
    except (ValueError, OverflowError, struct.error) as error:
        raise DecodeError(f"{name}: {error}") from error


@dataclass(frozen=True, slots=True)
class AvpDefinition(Generic[T]):
    """One AVP of a specification. `secret`: its value is a key or a vector and is never shown."""

    name: str
    code: int
    vendor: int
    type: AvpType
    clause: str
    mandatory: bool = True
    secret: bool = False

    @property
    def flags(self) -> int:
        """The AVP flags that the specification asks for."""
        return (AvpFlag.VENDOR if self.vendor else 0) | (AvpFlag.MANDATORY if self.mandatory else 0)

    def read(self, avp: Avp) -> T:
        """What `avp` says. Raises DecodeError when its content is not of this type."""
        with _decoding(self.name):
            return self._unpack(avp.octets)

    def __call__(self, value: T) -> Avp:
        """An AVP that says `value`. Raises LocalMisuseError when the type cannot hold it."""
        try:
            octets = self._pack(value)
        except (ValueError, OverflowError, struct.error, TypeError) as error:
            raise LocalMisuseError(f"{self.name} cannot be {value!r}: {error}") from error
        return Avp(self.code, self.vendor, self.flags, octets)

    def _unpack(self, octets: bytes) -> T:
        raise LocalMisuseError(f"{self.name} has no type")

    def _pack(self, value: T) -> bytes:
        raise LocalMisuseError(f"{self.name} has no type")


class OctetsDefinition(AvpDefinition[bytes]):
    """OctetString."""

    __slots__ = ()

    def _unpack(self, octets: bytes) -> bytes:
        return octets

    def _pack(self, value: bytes) -> bytes:
        return bytes(value)


class TextDefinition(AvpDefinition[str]):
    """UTF8String, DiameterIdentity, DiameterURI, IPFilterRule and octets that hold text.

    Octets that are not UTF-8 become surrogates and are written back as they were.
    """

    __slots__ = ()

    def _unpack(self, octets: bytes) -> str:
        return octets.decode("utf-8", "surrogateescape")

    def _pack(self, value: str) -> bytes:
        return value.encode("utf-8", "surrogateescape")


_NUMBERS = {
    AvpType.INTEGER32: struct.Struct(">i"),
    AvpType.INTEGER64: struct.Struct(">q"),
    AvpType.UNSIGNED32: struct.Struct(">I"),
    AvpType.UNSIGNED64: struct.Struct(">Q"),
    AvpType.ENUMERATED: struct.Struct(">I"),  # an Integer32, but 3GPP counts up to 4294967295 (Media-Type OTHER)
}


class NumberDefinition(AvpDefinition[int]):
    """Integer32, Integer64, Unsigned32, Unsigned64 and Enumerated."""

    __slots__ = ()

    def _unpack(self, octets: bytes) -> int:
        number: int = _NUMBERS[self.type].unpack(octets)[0]
        return number

    def _pack(self, value: int) -> bytes:
        return _NUMBERS[self.type].pack(value)


class FloatDefinition(AvpDefinition[float]):
    """Float32."""

    __slots__ = ()

    def _unpack(self, octets: bytes) -> float:
        number: float = struct.unpack(">f", octets)[0]
        return number

    def _pack(self, value: float) -> bytes:
        return struct.pack(">f", value)


_FAMILY_IPV4, _FAMILY_IPV6, _FAMILY_E164 = 1, 2, 8  # IANA address family numbers


class AddressDefinition(AvpDefinition[str]):
    """Address (RFC 6733 clause 4.3.1): two octets of address family, then the address. In compressed text form."""

    __slots__ = ()

    def _unpack(self, octets: bytes) -> str:
        family, address = int.from_bytes(octets[:2], "big"), octets[2:]
        if family == _FAMILY_IPV4 and len(address) == 4:
            return str(IPv4Address(address))
        if family == _FAMILY_IPV6 and len(address) == 16:
            return str(IPv6Address(address))
        if family == _FAMILY_E164:
            return address.decode("ascii")
        raise ValueError(f"{len(address)} octets of address family {family}")

    def _pack(self, value: str) -> bytes:
        address = ip_address(value)
        return (_FAMILY_IPV4 if address.version == 4 else _FAMILY_IPV6).to_bytes(2, "big") + address.packed


class IpOctetsDefinition(AvpDefinition[str]):
    """An IP address as 4 or 16 octets, as RADIUS has it (Framed-IP-Address, 3GPP-SGSN-Address)."""

    __slots__ = ()

    def _unpack(self, octets: bytes) -> str:
        return str(ip_address(octets))

    def _pack(self, value: str) -> bytes:
        return ip_address(value).packed


class Ipv6PrefixDefinition(AvpDefinition[str]):
    """A prefix as RFC 3162 clause 2.3 writes it: reserved octet, length in bits, as many octets as needed."""

    __slots__ = ()

    def _unpack(self, octets: bytes) -> str:
        if not 2 <= len(octets) <= 18 or octets[1] > 128:
            raise ValueError(f"{len(octets)} octets are no IPv6 prefix")
        return f"{IPv6Address(octets[2:].ljust(16, bytes(1)))}/{octets[1]}"

    def _pack(self, value: str) -> bytes:
        address, _, bits = value.partition("/")
        length = int(bits or 128)
        if not 0 <= length <= 128:
            raise ValueError(f"a prefix of {length} bits")
        return bytes((0, length)) + IPv6Address(address).packed[: (length + 7) // 8]


_EPOCH = datetime(1900, 1, 1, tzinfo=UTC)
_ERA_SECONDS = 1 << 32


class TimeDefinition(AvpDefinition[datetime]):
    """Time (RFC 6733 clause 4.3.1): seconds since 1900, and since 2036-02-07 where the top bit is clear."""

    __slots__ = ()

    def _unpack(self, octets: bytes) -> datetime:
        seconds: int = struct.unpack(">I", octets)[0]
        return _EPOCH + timedelta(seconds=seconds if seconds >> 31 else seconds + _ERA_SECONDS)

    def _pack(self, value: datetime) -> bytes:
        return struct.pack(">I", int((value - _EPOCH).total_seconds()) % _ERA_SECONDS)


class GroupedDefinition(AvpDefinition[tuple[Avp, ...]]):
    """Grouped."""

    __slots__ = ()

    def read(self, avp: Avp) -> tuple[Avp, ...]:
        """The AVPs in `avp`. Raises DecodeError when its content was not readable as AVPs."""
        if isinstance(avp.value, bytes):
            raise DecodeError(f"{self.name}: the content is not a sequence of AVPs")
        return avp.value

    def of(self, *avps: Avp | None) -> Avp:
        """A group of `avps`, in order; None is left out, so that optional parts can be written in place."""
        return Avp(self.code, self.vendor, self.flags, tuple([avp for avp in avps if avp is not None]))

    def __call__(self, *avps: Avp | None) -> Avp:  # type: ignore[override]  # one argument per AVP reads better
        """A group of `avps`, in order; None is left out, so that optional parts can be written in place."""
        return self.of(*avps)


REGISTRY: dict[tuple[int, int], AvpDefinition[object]] = {}  # by code and vendor; filled by the modules of `avp`
BY_NAME: dict[str, AvpDefinition[object]] = {}
GROUPED: set[tuple[int, int]] = set()

D = TypeVar("D")


class Section:
    """One clause of a specification, of one vendor: defines its AVPs and registers them."""

    def __init__(self, clause: str, vendor: int = 0) -> None:
        self.clause = clause
        self.vendor = vendor

    def _add(self, definition: D) -> D:
        if not isinstance(definition, AvpDefinition):
            raise LocalMisuseError("only an AVP definition can be registered")
        key = (definition.code, definition.vendor)
        if key in REGISTRY:
            raise LocalMisuseError(f"{definition.name} has the code of {REGISTRY[key].name}")
        REGISTRY[key] = definition
        BY_NAME.setdefault(definition.name, definition)
        if definition.type is AvpType.GROUPED:
            GROUPED.add(key)
        return definition

    def _number(self, name: str, code: int, kind: AvpType, mandatory: bool) -> NumberDefinition:
        return self._add(NumberDefinition(name, code, self.vendor, kind, self.clause, mandatory))

    def _text(self, name: str, code: int, kind: AvpType, mandatory: bool, secret: bool = False) -> TextDefinition:
        return self._add(TextDefinition(name, code, self.vendor, kind, self.clause, mandatory, secret))

    def octets(self, name: str, code: int, *, mandatory: bool = True, secret: bool = False) -> OctetsDefinition:
        """OctetString."""
        kind = AvpType.OCTETS
        return self._add(OctetsDefinition(name, code, self.vendor, kind, self.clause, mandatory, secret))

    def text(self, name: str, code: int, *, mandatory: bool = True, secret: bool = False) -> TextDefinition:
        """UTF8String."""
        return self._text(name, code, AvpType.TEXT, mandatory, secret)

    def label(self, name: str, code: int, *, mandatory: bool = True, secret: bool = False) -> TextDefinition:
        """OctetString that holds text by convention."""
        return self._text(name, code, AvpType.LABEL, mandatory, secret)

    def identity(self, name: str, code: int, *, mandatory: bool = True) -> TextDefinition:
        """DiameterIdentity."""
        return self._text(name, code, AvpType.IDENTITY, mandatory)

    def uri(self, name: str, code: int, *, mandatory: bool = True) -> TextDefinition:
        """DiameterURI."""
        return self._text(name, code, AvpType.URI, mandatory)

    def filter_rule(self, name: str, code: int, *, mandatory: bool = True) -> TextDefinition:
        """IPFilterRule or QoSFilterRule."""
        return self._text(name, code, AvpType.FILTER_RULE, mandatory)

    def integer32(self, name: str, code: int, *, mandatory: bool = True) -> NumberDefinition:
        """Integer32."""
        return self._number(name, code, AvpType.INTEGER32, mandatory)

    def integer64(self, name: str, code: int, *, mandatory: bool = True) -> NumberDefinition:
        """Integer64."""
        return self._number(name, code, AvpType.INTEGER64, mandatory)

    def unsigned32(self, name: str, code: int, *, mandatory: bool = True) -> NumberDefinition:
        """Unsigned32."""
        return self._number(name, code, AvpType.UNSIGNED32, mandatory)

    def unsigned64(self, name: str, code: int, *, mandatory: bool = True) -> NumberDefinition:
        """Unsigned64."""
        return self._number(name, code, AvpType.UNSIGNED64, mandatory)

    def enumerated(self, name: str, code: int, *, mandatory: bool = True) -> NumberDefinition:
        """Enumerated."""
        return self._number(name, code, AvpType.ENUMERATED, mandatory)

    def float32(self, name: str, code: int, *, mandatory: bool = True) -> FloatDefinition:
        """Float32."""
        return self._add(FloatDefinition(name, code, self.vendor, AvpType.FLOAT32, self.clause, mandatory))

    def time(self, name: str, code: int, *, mandatory: bool = True) -> TimeDefinition:
        """Time."""
        return self._add(TimeDefinition(name, code, self.vendor, AvpType.TIME, self.clause, mandatory))

    def address(self, name: str, code: int, *, mandatory: bool = True) -> AddressDefinition:
        """Address."""
        return self._add(AddressDefinition(name, code, self.vendor, AvpType.ADDRESS, self.clause, mandatory))

    def ip_octets(self, name: str, code: int, *, mandatory: bool = True) -> IpOctetsDefinition:
        """An IP address as bare octets."""
        kind = AvpType.IP_OCTETS
        return self._add(IpOctetsDefinition(name, code, self.vendor, kind, self.clause, mandatory))

    def ipv6_prefix(self, name: str, code: int, *, mandatory: bool = True) -> Ipv6PrefixDefinition:
        """An IPv6 prefix as RADIUS has it."""
        kind = AvpType.IPV6_PREFIX
        return self._add(Ipv6PrefixDefinition(name, code, self.vendor, kind, self.clause, mandatory))

    def grouped(self, name: str, code: int, *, mandatory: bool = True) -> GroupedDefinition:
        """Grouped."""
        return self._add(GroupedDefinition(name, code, self.vendor, AvpType.GROUPED, self.clause, mandatory))
