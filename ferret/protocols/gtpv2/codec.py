"""GTPv2-C messages as a tree of type, length and value: fast, and lossless for whatever a peer sends.

TS 29.274 clause 5 (header), clause 8.2 (IE format). Nothing is interpreted here: values stay octets, only grouped IEs
are opened. What a value means is read by a view, on demand, so that one malformed value never costs the message.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Self, TypeAlias, TypeVar

from ferret.errors import DecodeError
from ferret.protocols.gtpv2.constants import GROUPED, IeType
from ferret.protocols.gtpv2.names import ANSWERED_BY, ANSWERS, MESSAGE_NAMES, message_name
from ferret.protocols.summary import Kind, Peek

MAX_DEPTH = 4
"""How deep grouped IEs are opened; what lies deeper stays octets. The specification nests two deep."""

_VERSION = 2 << 5
_FLAG_P = 0x10
_FLAG_T = 0x08
_KINDS = tuple(
    Kind.REQUEST if number in ANSWERED_BY else Kind.RESPONSE if number in ANSWERS else Kind.INDICATION
    for number in range(256)
)
_NUMBERS = tuple(str(number) for number in range(256))


class View:
    """A typed reading of one IE's value. Subclasses are frozen dataclasses that name their IE type."""

    __slots__ = ()
    ie_type: ClassVar[int]

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read a value. Raises DecodeError where the octets are not what the specification says."""
        raise DecodeError(f"IE type {cls.ie_type} has no typed view")

    def encode(self) -> bytes:
        """The value's octets."""
        return b""

    def ie(self, instance: int = 0) -> Ie:
        """The whole IE."""
        return Ie(int(self.ie_type), instance, self.encode())


ViewT = TypeVar("ViewT", bound=View)
ViewKind: TypeAlias = type[ViewT]  # within classes that have a field `type`


@dataclass(frozen=True, slots=True)
class Ie:
    """One information element (clause 8.2.1). `spare` is what bits 8 to 5 of octet 4 hold."""

    type: int
    instance: int
    value: bytes | tuple[Ie, ...]
    spare: int = 0

    def __iter__(self) -> Iterator[Ie]:
        """The members of a grouped IE; nothing for any other."""
        return iter(self.value if isinstance(self.value, tuple) else ())

    @property
    def octets(self) -> bytes:
        """The value as octets."""
        return self.value if isinstance(self.value, bytes) else b"".join(encode_ie(ie) for ie in self.value)

    def find(self, ie_type: int, instance: int = 0) -> Ie | None:
        """The first member of a grouped IE with this type and instance."""
        return _find(tuple(self), ie_type, instance)

    def all(self, ie_type: int, instance: int | None = None) -> tuple[Ie, ...]:
        """Every member of this type, and of this instance unless None."""
        return _all(tuple(self), ie_type, instance)

    def view(self, kind: ViewKind[ViewT], instance: int = 0) -> ViewT | None:
        """A member's typed reading; None where it is absent. Raises DecodeError where it is malformed."""
        member = self.find(kind.ie_type, instance)
        return None if member is None else kind.decode(member.octets)


@dataclass(frozen=True, slots=True)
class Message:
    """One GTPv2-C message (clause 5.1). Every bit that a peer may set is kept.

    `teid` is None where the header has none (T flag 0). `flags` holds bits 5, 3, 2, 1 of octet 1: P, MP and spares.
    `spare` is the header's last octet (message priority and spare). `trailing` is what follows in the datagram: with
    the P flag a piggybacked message (clause 5.5.1), else padding.
    """

    type: int
    teid: int | None
    sequence: int
    ies: tuple[Ie, ...] = ()
    flags: int = 0
    spare: int = 0
    trailing: bytes = b""

    def encode(self) -> bytes:
        """The octets. Raises ValueError or OverflowError where a number does not fit its field."""
        body = b"".join(map(encode_ie, self.ies))
        end = self.sequence.to_bytes(3, "big") + bytes((self.spare,)) + body
        first = _VERSION | self.flags
        if self.teid is not None:
            first |= _FLAG_T
            end = self.teid.to_bytes(4, "big") + end
        return bytes((first, self.type)) + len(end).to_bytes(2, "big") + end + self.trailing

    @property
    def name(self) -> str:
        """What the specification calls it."""
        return message_name(self.type)

    def find(self, ie_type: int, instance: int = 0) -> Ie | None:
        """The first IE with this type and instance."""
        return _find(self.ies, ie_type, instance)

    def all(self, ie_type: int, instance: int | None = None) -> tuple[Ie, ...]:
        """Every IE of this type, and of this instance unless None."""
        return _all(self.ies, ie_type, instance)

    def view(self, kind: ViewKind[ViewT], instance: int = 0) -> ViewT | None:
        """An IE's typed reading; None where it is absent. Raises DecodeError where it is malformed."""
        ie = _find(self.ies, kind.ie_type, instance)
        return None if ie is None else kind.decode(ie.octets)

    @property
    def bearer_contexts(self) -> tuple[Ie, ...]:
        """Bearer Contexts with instance 0, in order."""
        return _all(self.ies, IeType.BEARER_CONTEXT, 0)

    @property
    def piggybacked(self) -> Message | None:
        """The message that rides on this one (clause 5.5.1), if any. Raises DecodeError where it is malformed."""
        return decode(self.trailing) if self.flags & _FLAG_P and self.trailing else None

    def with_header(self, teid: int | None, sequence: int) -> Message:
        """The same message under another TEID and sequence number."""
        return replace(self, teid=teid, sequence=sequence)


def _find(ies: tuple[Ie, ...], ie_type: int, instance: int) -> Ie | None:
    for ie in ies:
        if ie.type == ie_type and ie.instance == instance:
            return ie
    return None


def _all(ies: tuple[Ie, ...], ie_type: int, instance: int | None) -> tuple[Ie, ...]:
    return tuple(ie for ie in ies if ie.type == ie_type and (instance is None or ie.instance == instance))


def encode_ie(ie: Ie) -> bytes:
    """One IE's octets. Raises ValueError or OverflowError where a number does not fit its field."""
    value = ie.value if isinstance(ie.value, bytes) else b"".join(map(encode_ie, ie.value))
    return bytes((ie.type,)) + len(value).to_bytes(2, "big") + bytes((ie.spare << 4 | ie.instance & 15,)) + value


def decode_ies(octets: bytes, start: int = 0, depth: int = 0) -> tuple[Ie, ...]:
    """IEs one after the other. Raises DecodeError where one is cut short; `start` is their offset in the message."""
    ies = []
    position = 0
    end = len(octets)
    while position < end:
        if position + 4 > end:
            raise DecodeError("IE header is cut short", start + position)
        ie_type = octets[position]
        stop = position + 4 + (octets[position + 1] << 8 | octets[position + 2])
        if stop > end:
            raise DecodeError(f"IE type {ie_type} is cut short", start + position)
        mark = octets[position + 3]
        value: bytes | tuple[Ie, ...] = octets[position + 4 : stop]
        if ie_type in GROUPED and depth < MAX_DEPTH and value:
            value = _decode_group(octets[position + 4 : stop], start + position + 4, depth + 1)
        ies.append(Ie(ie_type, mark & 15, value, mark >> 4))
        position = stop
    return tuple(ies)


def _decode_group(octets: bytes, start: int, depth: int) -> bytes | tuple[Ie, ...]:
    """A grouped IE's members; the octets themselves where they are no list of IEs."""
    try:
        return decode_ies(octets, start, depth)
    except DecodeError:
        return octets


def kind_of(message_type: int) -> Kind:
    """What part a message of this type plays in its transaction."""
    return _KINDS[message_type & 0xFF]


def decode(octets: bytes) -> Message:
    """Read one message and what trails it in its datagram. Raises DecodeError."""
    if len(octets) < 8:
        raise DecodeError(f"{len(octets)} octets are too few for a GTPv2-C header", len(octets))
    first = octets[0]
    if first >> 5 != 2:
        raise DecodeError(f"GTP version {first >> 5} where 2 is expected", 0)
    end = 4 + (octets[2] << 8 | octets[3])
    start = 12 if first & _FLAG_T else 8
    if end < start or end > len(octets):
        raise DecodeError(f"length field says {end} octets, {len(octets)} are there", 2)
    teid = int.from_bytes(octets[4:8], "big") if first & _FLAG_T else None
    return Message(
        type=octets[1],
        teid=teid,
        sequence=int.from_bytes(octets[start - 4 : start - 1], "big"),
        ies=decode_ies(bytes(octets[start:end]), start),
        flags=first & ~(_VERSION | _FLAG_T) & 0x1F,
        spare=octets[start - 1],
        trailing=bytes(octets[end:]),
    )


def peek(octets: bytes) -> Peek | None:
    """What the hot path needs: kind, type, sequence number, length. None where it is no GTPv2-C message.

    `length` is what the header says; it exceeds what is there where the capture cut the message.
    """
    if len(octets) < 12 and (len(octets) < 8 or octets[0] & _FLAG_T):
        return None
    number = octets[1]
    length = 4 + (octets[2] << 8 | octets[3])
    start = 8 if octets[0] & _FLAG_T else 4
    if octets[0] >> 5 != 2 or length < start + 4 or number not in MESSAGE_NAMES:
        return None
    sequence = octets[start] << 16 | octets[start + 1] << 8 | octets[start + 2]
    return Peek(_KINDS[number], _NUMBERS[number], f"{sequence:#08x}", length)
