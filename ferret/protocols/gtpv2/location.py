"""User Location Information (TS 29.274 clause 8.21)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Self

from ferret.errors import DecodeError
from ferret.protocols.gtpv2.codec import View
from ferret.protocols.gtpv2.constants import IeType
from ferret.protocols.gtpv2.plmn import decode_plmn, encode_plmn

# In the order of the octets: name, flag in octet 5, octets of the identity after its PLMN.
_PARTS = (
    ("CGI", 0x01, 4),
    ("SAI", 0x02, 4),
    ("RAI", 0x04, 4),
    ("TAI", 0x08, 2),
    ("ECGI", 0x10, 4),
    ("LAI", 0x20, 2),
    ("Macro eNodeB ID", 0x40, 3),
    ("Extended Macro eNodeB ID", 0x80, 3),
)


@dataclass(frozen=True, slots=True)
class Location:
    """One identity of a ULI: `kind` as the clause names it, the PLMN's digits, and the rest as a number.

    TAI: the tracking area code. ECGI: the E-UTRAN cell identity, spare bits included. CGI, SAI, RAI: two numbers of two
    octets in one.
    """

    kind: str
    plmn: str
    number: int


@dataclass(frozen=True, slots=True)
class Uli(View):
    """User Location Information."""

    ie_type: ClassVar[int] = IeType.ULI
    parts: tuple[Location, ...] = ()
    rest: bytes = field(default=b"")

    @property
    def tai(self) -> Location | None:
        """The tracking area identity."""
        return self.part("TAI")

    @property
    def ecgi(self) -> Location | None:
        """The E-UTRAN cell global identifier."""
        return self.part("ECGI")

    def part(self, kind: str) -> Location | None:
        """The identity of this kind."""
        return next((part for part in self.parts if part.kind == kind), None)

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read a value. Raises DecodeError."""
        if not value:
            raise DecodeError("ULI has at least one octet")
        parts = []
        position = 1
        for kind, flag, size in _PARTS:
            if not value[0] & flag:
                continue
            end = position + 3 + size
            if end > len(value):
                raise DecodeError(f"{kind} is cut short", position)
            plmn = decode_plmn(value[position : position + 3])
            parts.append(Location(kind, plmn, int.from_bytes(value[position + 3 : end], "big")))
            position = end
        return cls(tuple(parts), value[position:])

    def encode(self) -> bytes:
        """The octets, in the order of the clause. Raises ValueError where a PLMN is not one."""
        flags = 0
        body = b""
        for kind, flag, size in _PARTS:
            part = self.part(kind)
            if part is not None:
                flags |= flag
                body += encode_plmn(part.plmn) + part.number.to_bytes(size, "big")
        return bytes((flags,)) + body + self.rest
