"""The lossless tree that a Diameter message is: a header and AVPs, some of which hold AVPs (RFC 6733 clauses 3 and 4).

Nothing here knows a dictionary: an `Avp` is a code, a vendor and content. Padding is kept only where it is not what
the RFC says (zeros up to a multiple of four), so that encoding gives back the very octets that were decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from ferret.errors import LocalMisuseError
from ferret.protocols.diameter.constants import AvpFlag, MessageFlag

if TYPE_CHECKING:
    from ferret.protocols.diameter.definition import AvpDefinition

T = TypeVar("T")
_ZEROS = (b"", b"\0\0\0", b"\0\0", b"\0")  # by length modulo 4


@dataclass(frozen=True, slots=True)
class Avp:
    """One AVP. `value` is a tuple for a grouped AVP whose content could be read, octets for everything else.

    `padding` is None where it is the usual zeros. The V bit of `flags` decides whether the vendor is written.
    """

    code: int
    vendor: int = 0
    flags: int = AvpFlag.MANDATORY
    value: bytes | tuple[Avp, ...] = b""
    padding: bytes | None = None

    @property
    def octets(self) -> bytes:
        """The content as octets, whether it is grouped or not."""
        return self.value if isinstance(self.value, bytes) else b"".join([avp.encode() for avp in self.value])

    @property
    def avps(self) -> tuple[Avp, ...]:
        """The AVPs of a grouped AVP; none of any other."""
        return self.value if isinstance(self.value, tuple) else ()

    def encode(self) -> bytes:
        """This AVP with header and padding. Raises LocalMisuseError when it is longer than 24 bits can say."""
        value = self.octets
        header = self.code.to_bytes(4, "big")
        vendor = self.vendor.to_bytes(4, "big") if self.flags & AvpFlag.VENDOR else b""
        length = 8 + len(vendor) + len(value)
        if length > 0xFFFFFF:
            raise LocalMisuseError(f"AVP {self.code} of {length} octets is too long")
        padding = _ZEROS[length % 4] if self.padding is None else self.padding
        return header + (self.flags << 24 | length).to_bytes(4, "big") + vendor + value + padding

    def find(self, definition: AvpDefinition[Any]) -> Avp | None:
        """The first AVP of this kind in this group, or None."""
        return find(self.avps, definition)

    def all(self, definition: AvpDefinition[Any]) -> tuple[Avp, ...]:
        """Every AVP of this kind in this group."""
        return find_all(self.avps, definition)

    def value_of(self, definition: AvpDefinition[T]) -> T | None:
        """What the first AVP of this kind in this group says, or None without one. Raises DecodeError."""
        found = find(self.avps, definition)
        return None if found is None else definition.read(found)

    def values_of(self, definition: AvpDefinition[T]) -> tuple[T, ...]:
        """What every AVP of this kind in this group says. Raises DecodeError."""
        return tuple([definition.read(avp) for avp in find_all(self.avps, definition)])


Change: TypeAlias = Callable[[Avp], "Avp | None"]


@dataclass(frozen=True, slots=True)
class Message:
    """One Diameter message (RFC 6733 clause 3)."""

    command: int
    application: int
    flags: int = MessageFlag.REQUEST | MessageFlag.PROXIABLE
    hop_by_hop: int = 0
    end_to_end: int = 0
    avps: tuple[Avp, ...] = ()
    version: int = 1

    @property
    def is_request(self) -> bool:
        """Whether the R bit is set."""
        return bool(self.flags & MessageFlag.REQUEST)

    @property
    def is_error(self) -> bool:
        """Whether the E bit is set: a protocol error (RFC 6733 clause 7.2)."""
        return bool(self.flags & MessageFlag.ERROR)

    def encode(self) -> bytes:
        """The octets of this message; of a decoded one, exactly those it was decoded from."""
        body = b"".join([avp.encode() for avp in self.avps])
        length = 20 + len(body)
        if length > 0xFFFFFF:
            raise LocalMisuseError(f"Diameter message of {length} octets is too long")
        return b"".join(
            (
                (self.version << 24 | length).to_bytes(4, "big"),
                (self.flags << 24 | self.command).to_bytes(4, "big"),
                self.application.to_bytes(4, "big"),
                self.hop_by_hop.to_bytes(4, "big"),
                self.end_to_end.to_bytes(4, "big"),
                body,
            )
        )

    def find(self, definition: AvpDefinition[Any]) -> Avp | None:
        """The first AVP of this kind at the top of the message, or None."""
        return find(self.avps, definition)

    def all(self, definition: AvpDefinition[Any]) -> tuple[Avp, ...]:
        """Every AVP of this kind at the top of the message."""
        return find_all(self.avps, definition)

    def value_of(self, definition: AvpDefinition[T]) -> T | None:
        """What the first AVP of this kind says, or None without one. Raises DecodeError."""
        found = find(self.avps, definition)
        return None if found is None else definition.read(found)

    def values_of(self, definition: AvpDefinition[T]) -> tuple[T, ...]:
        """What every AVP of this kind says. Raises DecodeError."""
        return tuple([definition.read(avp) for avp in find_all(self.avps, definition)])

    def with_identifiers(self, hop_by_hop: int, end_to_end: int) -> Message:
        """The same message under other hop-by-hop and end-to-end identifiers."""
        return replace(self, hop_by_hop=hop_by_hop, end_to_end=end_to_end)

    def with_avp(self, avp: Avp) -> Message:
        """The same message with `avp` in place of the first of its kind, or added at the end."""
        avps = list(self.avps)
        for place, old in enumerate(avps):
            if old.code == avp.code and old.vendor == avp.vendor:
                avps[place] = avp
                return replace(self, avps=tuple(avps))
        return replace(self, avps=(*avps, avp))

    def without(self, definition: AvpDefinition[Any]) -> Message:
        """The same message without any AVP of this kind at its top."""
        kept = tuple([a for a in self.avps if a.code != definition.code or a.vendor != definition.vendor])
        return replace(self, avps=kept)

    def rewritten(self, change: Change) -> Message:
        """The same message with every AVP, inner ones first, replaced by what `change` makes of it (None drops it)."""
        return replace(self, avps=_rewrite(self.avps, change))


def _rewrite(avps: tuple[Avp, ...], change: Change) -> tuple[Avp, ...]:
    changed = []
    for old in avps:
        avp = replace(old, value=_rewrite(old.value, change)) if isinstance(old.value, tuple) else old
        new = change(avp)
        if new is not None:
            changed.append(new)
    return tuple(changed)


def find(avps: Iterable[Avp], definition: AvpDefinition[Any]) -> Avp | None:
    """The first of `avps` that is of this kind, or None."""
    for avp in avps:
        if avp.code == definition.code and avp.vendor == definition.vendor:
            return avp
    return None


def find_all(avps: Iterable[Avp], definition: AvpDefinition[Any]) -> tuple[Avp, ...]:
    """Those of `avps` that are of this kind."""
    return tuple([a for a in avps if a.code == definition.code and a.vendor == definition.vendor])
