"""The outer layers of an S1AP message in aligned PER: PDU, IE container and open types (ITU-T X.691).

Of what a message is made is read here, octet by octet, because two things cannot be had from a general ASN.1 runtime:
the octets of each IE (kept, so that encoding is lossless), and tolerance towards octets that follow a value inside its
open type, which real eNBs send and X.691 clause 11.2 allows a receiver to skip.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ferret.errors import DecodeError
from ferret.protocols.s1ap.procedures import Criticality, PduKind

_FRAGMENT = 16384  # X.691 clause 11.9.3.8: unit of fragmentation of a long open type
_MAX_LENGTH = 1 << 20  # octets; S1AP over SCTP never comes near it


class RawIe(NamedTuple):
    """One ProtocolIE-Field: what stands around its value, and the value's octets."""

    id: int
    criticality: Criticality
    octets: bytes


class RawPdu(NamedTuple):
    """An S1AP-PDU whose message is still octets."""

    kind: PduKind
    procedure_code: int
    criticality: Criticality
    body: bytes


def read_length(octets: bytes, offset: int) -> tuple[int, int, bool]:
    """A length determinant (X.691 clause 11.9): length, offset behind it, and whether another fragment follows."""
    if offset >= len(octets):
        raise DecodeError("length is missing", offset)
    first = octets[offset]
    if first < 0x80:
        return first, offset + 1, False
    if first < 0xC0:
        if offset + 1 >= len(octets):
            raise DecodeError("length is cut", offset)
        return (first & 0x3F) << 8 | octets[offset + 1], offset + 2, False
    units = first & 0x3F
    if not 1 <= units <= 4:
        raise DecodeError("length fragment of an impossible size", offset)
    return units * _FRAGMENT, offset + 1, True


def read_open_type(octets: bytes, offset: int) -> tuple[bytes, int]:
    """The octets of an open type, joined from its fragments, and the offset behind it."""
    parts: list[bytes] = []
    total = 0
    more = True
    while more:
        length, start, more = read_length(octets, offset)
        offset = start + length
        total += length
        if offset > len(octets):
            raise DecodeError(f"open type of {length} octets, but {len(octets) - start} are left", start)
        if total > _MAX_LENGTH:
            raise DecodeError("open type is longer than any S1AP message", start)
        parts.append(octets[start:offset])
    return (parts[0] if len(parts) == 1 else b"".join(parts)), offset


def write_open_type(value: bytes) -> bytes:
    """An open type with its length determinant, fragmented from 16384 octets on."""
    out: list[bytes] = []
    rest = value
    while len(rest) >= _FRAGMENT:
        units = min(4, len(rest) // _FRAGMENT)
        out += (bytes((0xC0 | units,)), rest[: units * _FRAGMENT])
        rest = rest[units * _FRAGMENT :]
    length = len(rest)
    head = bytes((length,)) if length < 0x80 else (0x8000 | length).to_bytes(2, "big")
    return b"".join((*out, head, rest))


def _criticality(octet: int, offset: int) -> Criticality:
    if octet >> 6 > Criticality.NOTIFY:
        raise DecodeError("criticality has no fourth value", offset)
    return Criticality(octet >> 6)


def read_pdu(octets: bytes) -> RawPdu:
    """The outermost layer: S1AP-PDU (TS 36.413 clause 9.3.3)."""
    if len(octets) < 4:
        raise DecodeError("too short for an S1AP message", len(octets))
    choice = octets[0] >> 5
    if choice > PduKind.UNSUCCESSFUL_OUTCOME:
        raise DecodeError("not one of the three kinds of S1AP-PDU", 0)
    body, _ = read_open_type(octets, 3)
    return RawPdu(PduKind(choice), octets[1], _criticality(octets[2], 2), body)


def write_pdu(kind: PduKind, procedure_code: int, criticality: Criticality, body: bytes) -> bytes:
    """The inverse of `read_pdu`."""
    return bytes((kind << 5, procedure_code, criticality << 6)) + write_open_type(body)


def _read_field(octets: bytes, offset: int) -> tuple[RawIe, int]:
    if offset + 3 > len(octets):
        raise DecodeError("IE is cut", offset)
    identifier = octets[offset] << 8 | octets[offset + 1]
    criticality = _criticality(octets[offset + 2], offset + 2)
    value, end = read_open_type(octets, offset + 3)
    return RawIe(identifier, criticality, value), end


def read_ies(body: bytes) -> list[RawIe]:
    """The IEs of a message: SEQUENCE { protocolIEs ProtocolIE-Container, ... }. Later extensions are skipped."""
    if len(body) < 3:
        raise DecodeError("too short for a list of IEs", len(body))
    offset = 3
    ies: list[RawIe] = []
    for _ in range(body[1] << 8 | body[2]):
        ie, offset = _read_field(body, offset)
        ies.append(ie)
    return ies


def write_ies(ies: Iterable[RawIe]) -> bytes:
    """The inverse of `read_ies`, without extensions."""
    fields = [_write_field(ie) for ie in ies]
    return b"".join((b"\x00", len(fields).to_bytes(2, "big"), *fields))


def _write_field(ie: RawIe) -> bytes:
    return ie.id.to_bytes(2, "big") + bytes((ie.criticality << 6,)) + write_open_type(ie.octets)


def read_single_containers(octets: bytes) -> list[RawIe]:
    """A SEQUENCE (SIZE (1..256)) OF ProtocolIE-SingleContainer: the lists of E-RABs and of S1 connections."""
    if not octets:
        raise DecodeError("list is missing", 0)
    offset = 1
    items: list[RawIe] = []
    for _ in range(octets[0] + 1):
        item, offset = _read_field(octets, offset)
        items.append(item)
    return items


def write_single_containers(items: Iterable[RawIe]) -> bytes:
    """The inverse of `read_single_containers`."""
    fields = [_write_field(item) for item in items]
    return bytes((len(fields) - 1,)) + b"".join(fields)
