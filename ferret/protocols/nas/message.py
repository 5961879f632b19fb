"""NAS messages of EPS: a lossless codec (TS 24.301 clause 9, TS 24.007 clause 11.2).

A `Message` is what one NAS-PDU holds: a security header, if any, around a plain EMM or ESM message. A plain message is
a list of named fields whose values stay octets; `values` gives them meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from ferret.errors import DecodeError, LocalMisuseError
from ferret.protocols.nas.grammar import (
    DETACH_REQUEST_BY_NETWORK,
    DETACH_REQUEST_BY_UE,
    GRAMMARS,
    Discriminator,
    Format,
    Grammar,
    MessageType,
    Part,
)

_NAMES: Final = {
    **{code: grammar.name for code, grammar in GRAMMARS.items()},
    MessageType.DETACH_REQUEST: "Detach request",
}


class SecurityHeader(IntEnum):
    """Security header type (TS 24.301 clause 9.3.1)."""

    PLAIN = 0
    INTEGRITY_PROTECTED = 1
    INTEGRITY_PROTECTED_AND_CIPHERED = 2
    INTEGRITY_PROTECTED_NEW_CONTEXT = 3
    INTEGRITY_PROTECTED_AND_CIPHERED_NEW_CONTEXT = 4
    INTEGRITY_PROTECTED_AND_PARTIALLY_CIPHERED = 5
    SERVICE_REQUEST = 12

    @property
    def ciphered(self) -> bool:
        """Whether what follows is ciphered (with EEA0 it is readable all the same)."""
        return self in (2, 4, 5)


@dataclass(frozen=True, slots=True)
class Field:
    """One information element of a plain message. `octets` is its value, without IEI and length.

    Of a pair of half octets, each is a field of its own whose value is one octet.
    """

    name: str  # in the specification's words; "IEI 0x77" for one it does not have in this message
    octets: bytes
    iei: int = -1  # -1: mandatory, or of a half octet

    @property
    def number(self) -> int:
        """The value as an unsigned number."""
        return int.from_bytes(self.octets, "big")


@dataclass(frozen=True, slots=True)
class Plain:
    """A plain EMM or ESM message."""

    discriminator: Discriminator
    type: int
    fields: tuple[Field, ...]
    octets: bytes
    ebi: int = 0  # EPS bearer identity; EMM messages have none
    pti: int = 0  # procedure transaction identity; EMM messages have none

    @property
    def name(self) -> str:
        """The message's name in TS 24.301 clause 8."""
        return _NAMES.get(self.type, f"NAS message 0x{self.type:02x}")

    def get(self, name: str) -> bytes | None:
        """The value of the first field of this name."""
        for one in self.fields:
            if one.name == name:
                return one.octets
        return None

    def number(self, name: str) -> int | None:
        """The value of the first field of this name as an unsigned number."""
        value = self.get(name)
        return None if value is None else int.from_bytes(value, "big")

    @property
    def esm(self) -> Plain | None:
        """The ESM message of an EMM message's ESM message container, or this message if it is ESM itself."""
        if self.discriminator is Discriminator.ESM:
            return self
        container = self.get("ESM message container")
        return None if not container else decode_plain(container)


@dataclass(frozen=True, slots=True)
class Message:
    """What one NAS-PDU holds. `plain` is None for what is ciphered, and for a SERVICE REQUEST, which has no fields."""

    header: SecurityHeader
    octets: bytes
    plain: Plain | None = None
    mac: bytes = b""  # 4 octets; 2 in a SERVICE REQUEST; none in a plain message
    sequence_number: int = -1  # 8 bits; 5 in a SERVICE REQUEST; -1 in a plain message
    payload: bytes = field(default=b"")  # what the MAC protects behind the sequence number, ciphered or not
    ksi: int = -1  # key set identifier of a SERVICE REQUEST

    def encode(self) -> bytes:
        """The message as it was on the wire."""
        return self.octets

    @property
    def name(self) -> str:
        """The plain message's name; "Service request"; "ciphered NAS message" where it cannot be read."""
        if self.plain is not None:
            return self.plain.name
        return "Service request" if self.header is SecurityHeader.SERVICE_REQUEST else "ciphered NAS message"


def decode(octets: bytes) -> Message:
    """Decode a NAS-PDU. Raises DecodeError.

    A payload under a ciphering header is read if it reads as a plain message to its last octet (EEA0), else left alone.
    """
    if not octets:
        raise DecodeError("empty NAS message", 0)
    first = octets[0]
    if first & 15 == Discriminator.ESM:
        return Message(SecurityHeader.PLAIN, octets, decode_plain(octets), payload=octets)
    if first & 15 != Discriminator.EMM:
        raise DecodeError(f"protocol discriminator {first & 15} is neither EMM nor ESM", 0)
    if first >> 4 == SecurityHeader.PLAIN:
        return Message(SecurityHeader.PLAIN, octets, decode_plain(octets), payload=octets)
    if first >> 4 >= SecurityHeader.SERVICE_REQUEST:
        return _service_request(octets)
    if len(octets) < 7 or first >> 4 > SecurityHeader.INTEGRITY_PROTECTED_AND_PARTIALLY_CIPHERED:
        raise DecodeError("no security protected NAS message", 0)
    header = SecurityHeader(first >> 4)
    payload = octets[6:]
    return Message(header, octets, _readable(payload, header), octets[1:5], octets[5], payload)


def _service_request(octets: bytes) -> Message:
    """SERVICE REQUEST (clause 8.2.25): KSI and sequence number, short MAC."""
    if len(octets) != 4:
        raise DecodeError("a SERVICE REQUEST has 4 octets", len(octets))
    return Message(
        SecurityHeader.SERVICE_REQUEST, octets, None, octets[2:4], octets[1] & 31, octets[:2], octets[1] >> 5
    )


def _readable(payload: bytes, header: SecurityHeader) -> Plain | None:
    try:
        plain = decode_plain(payload)
    except DecodeError:
        if header.ciphered:
            return None
        raise
    surprising = plain.type not in _NAMES or any(one.name.startswith("IEI ") for one in plain.fields)
    return None if header.ciphered and surprising else plain


def decode_plain(octets: bytes) -> Plain:
    """Decode a plain EMM or ESM message. Raises DecodeError."""
    if len(octets) < 2:
        raise DecodeError("NAS message is cut", len(octets))
    low, high = octets[0] & 15, octets[0] >> 4
    if low == Discriminator.EMM and high == 0:
        kind, start = octets[1], 2
        grammar = _grammar_of(kind, octets)
        return Plain(Discriminator.EMM, kind, _fields(octets, start, grammar), octets)
    if low == Discriminator.ESM and len(octets) >= 3:
        grammar = _grammar_of(octets[2], octets)
        return Plain(Discriminator.ESM, octets[2], _fields(octets, 3, grammar), octets, high, octets[1])
    raise DecodeError("no plain EMM or ESM message", 0)


_UNKNOWN: Final = Grammar("", (), {})


def _grammar_of(kind: int, octets: bytes) -> Grammar:
    if (octets[0] & 15 == Discriminator.ESM) != (kind >= MessageType.ACTIVATE_DEFAULT_EPS_BEARER_CONTEXT_REQUEST):
        return _UNKNOWN
    if kind == MessageType.DETACH_REQUEST:
        by_network = len(octets) == 3 or (len(octets) == 5 and octets[3] == 0x53)
        return DETACH_REQUEST_BY_NETWORK if by_network else DETACH_REQUEST_BY_UE
    return GRAMMARS.get(kind, _UNKNOWN)


def _fields(octets: bytes, offset: int, grammar: Grammar) -> tuple[Field, ...]:
    if grammar is _UNKNOWN:
        return (Field("Contents", octets[offset:]),) if octets[offset:] else ()
    fields: list[Field] = []
    for part in grammar.mandatory:
        if part.format is Format.HALVES:
            if offset >= len(octets):
                raise DecodeError(f"{part.name} is missing", offset)
            halves = (octets[offset] & 15, octets[offset] >> 4)
            fields += (Field(name, bytes((half,))) for name, half in zip(part.names, halves, strict=True))
            offset += 1
        else:
            value, offset = _value(octets, offset, part)
            fields.append(Field(part.name, value))
    while offset < len(octets):
        one, offset = _optional(octets, offset, grammar)
        fields.append(one)
    return tuple(fields)


def _value(octets: bytes, offset: int, part: Part) -> tuple[bytes, int]:
    """A value of format V, LV or LV-E at `offset`."""
    width = {Format.LV: 1, Format.TLV: 1, Format.LV_E: 2, Format.TLV_E: 2}.get(part.format, 0)
    length = int.from_bytes(octets[offset : offset + width], "big") if width else part.length
    start = offset + width
    if start + length > len(octets):
        raise DecodeError(f"{part.name} is cut", offset)
    return octets[start : start + length], start + length


def _optional(octets: bytes, offset: int, grammar: Grammar) -> tuple[Field, int]:
    first = octets[offset]
    if first & 0x80:  # type 1: IEI in the high half, value in the low one; type 2: the IEI alone
        part = grammar.optional.get(first >> 4)
        if part is not None and part.format is Format.TV_HALF:
            return Field(part.name, bytes((first & 15,)), first >> 4), offset + 1
        return Field(f"IEI 0x{first:02x}", b"", first), offset + 1
    part = grammar.optional.get(first)
    if part is None:
        # TS 24.007 clause 11.2.4: an unknown IE has one octet of length, two from IEI 0x78 on
        form = Format.TLV_E if first & 0x78 == 0x78 else Format.TLV
        part = Part((f"IEI 0x{first:02x}",), form, 0, first)
    value, end = _value(octets, offset + 1, part)
    return Field(part.name, value, first), end


def build_emm(kind: MessageType, values: Mapping[str, bytes | int], *, by_network: bool = True) -> Plain:
    """A plain EMM message. See `build_esm`."""
    grammar = GRAMMARS.get(kind)
    if grammar is None:
        grammar = DETACH_REQUEST_BY_NETWORK if by_network else DETACH_REQUEST_BY_UE
    body = _encode(grammar, values)
    return decode_plain(bytes((Discriminator.EMM, kind)) + body)


def build_esm(kind: MessageType, *, ebi: int, pti: int, values: Mapping[str, bytes | int] | None = None) -> Plain:
    """A plain ESM message. Optional fields come in the order given.

    Raises LocalMisuseError for a field that the message does not have, or lacks.
    """
    body = _encode(GRAMMARS[kind], values or {})
    return decode_plain(bytes((ebi << 4 | Discriminator.ESM, pti, kind)) + body)


def _encode(grammar: Grammar, values: Mapping[str, bytes | int]) -> bytes:
    out = bytearray()
    done: set[str] = set()
    for part in grammar.mandatory:
        done.update(part.names)
        if part.format is Format.HALVES:
            low, high = (values.get(name, 0) for name in part.names)
            out.append(_half(low) | _half(high) << 4)
        elif part.name in values:
            out += _with_length(part, values[part.name])
        else:
            raise LocalMisuseError(f"{grammar.name} needs {part.name}")
    for name, value in values.items():
        if name in done:
            continue
        optional = grammar.part(name)
        if optional is None:
            raise LocalMisuseError(f"{grammar.name} has no {name}")
        if optional.format is Format.TV_HALF:
            out.append(optional.iei << 4 | _half(value))
        else:
            out.append(optional.iei)
            out += _with_length(optional, value)
    return bytes(out)


def _half(value: bytes | int) -> int:
    return (value if isinstance(value, int) else value[0]) & 15


def _with_length(part: Part, value: bytes | int) -> bytes:
    octets = value.to_bytes(max(part.length, 1), "big") if isinstance(value, int) else value
    if part.format in (Format.LV, Format.TLV):
        return bytes((len(octets),)) + octets
    if part.format in (Format.LV_E, Format.TLV_E):
        return len(octets).to_bytes(2, "big") + octets
    if len(octets) != part.length:
        raise LocalMisuseError(f"{part.name} has {part.length} octets, not {len(octets)}")
    return octets
