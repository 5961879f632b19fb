"""The journal's file: a header, then frames, each with its length and checksum. Nothing here knows what they hold.

    header, 32 octets: magic "FERRETJ\\n" (8), format version (2), zero (2), key check (8), segment number (4),
                       CRC-32 of the 24 octets before it (4), zero (4)
    frame:             marker "\\xf5FRM" (4), length of the payload (4), CRC-32 of type and payload (4), type (1), then
                       the payload

All numbers are big-endian. A frame counts when it is whole and its checksum is right. What a crash leaves behind the
last whole frame is a *broken tail*: it is reported, and cut off by the next one who writes. Damage with whole frames
behind it is something else (a bad disk): it is reported, the marker leads on to the next whole frame, and nothing is
cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from ferret.errors import RecordError

MAGIC = b"FERRETJ\n"
VERSION = 1
MARKER = b"\xf5FRM"
MAX_PAYLOAD = 1 << 26  # octets; nothing that FERRET writes comes near

_HEADER = Struct(">8sHH8sII4x")
HEADER_SIZE = _HEADER.size
_CHECKED = 24
_FRAME = Struct(">4sIIB")
FRAME_OVERHEAD = _FRAME.size


class Frame(NamedTuple):
    """A whole frame. `offset` is where it begins in its file."""

    offset: int
    type: int
    payload: bytes

    @property
    def end(self) -> int:
        """Where the next one begins."""
        return self.offset + FRAME_OVERHEAD + len(self.payload)


def header(segment: int, key_check: bytes) -> bytes:
    """The header of a new file."""
    head = _HEADER.pack(MAGIC, VERSION, 0, key_check, segment, 0)
    return head[:_CHECKED] + crc32(head[:_CHECKED]).to_bytes(4, "big") + head[_CHECKED + 4 :]


def read_header(octets: bytes, name: str) -> tuple[int, bytes] | None:
    """Segment number and key check; None where a crash left only the beginning of a header.

    Raises RecordError for a file that is no journal, and for one of a newer version.
    """
    if not MAGIC.startswith(octets[: len(MAGIC)]):
        raise RecordError(f"{name} is not a FERRET journal")
    if len(octets) < HEADER_SIZE:
        return None
    _, version, _, key_check, segment, checksum = _HEADER.unpack_from(octets)
    if version > VERSION:
        raise RecordError(f"{name} has journal format version {version}; this FERRET reads up to {VERSION}")
    if checksum != crc32(octets[:_CHECKED]):
        raise RecordError(f"{name}: the header of the journal is damaged")
    return segment, key_check


def frame(kind: int, payload: bytes) -> bytes:
    """A frame as octets."""
    body = bytes([kind]) + payload
    return _FRAME.pack(MARKER, len(payload), crc32(body), kind) + payload


@dataclass(slots=True)
class Scan:
    """Goes through the frames of one file; afterwards `end` is behind the last whole one, `damage` what was wrong."""

    octets: bytes
    name: str
    end: int = HEADER_SIZE
    damage: list[str] = field(default_factory=list)
    broken_tail: int = 0  # octets

    def __iter__(self) -> Iterator[Frame]:
        position = HEADER_SIZE
        while position < len(self.octets):
            found = frame_at(self.octets, position)
            if found is None:
                found = self._next_whole(position)
                if found is None:
                    self.broken_tail = len(self.octets) - position
                    self.damage.append(f"{self.name}: {self.broken_tail} octets of an unfinished write at the end")
                    return
                self.damage.append(f"{self.name}: {found.offset - position} damaged octets at {position}")
            yield found
            position = self.end = found.end

    def _next_whole(self, position: int) -> Frame | None:
        while (position := self.octets.find(MARKER, position + 1)) >= 0:
            found = frame_at(self.octets, position)
            if found is not None:
                return found
        return None


def frame_at(octets: bytes, position: int) -> Frame | None:
    """The frame that begins there, if a whole one does."""
    if len(octets) - position < FRAME_OVERHEAD:
        return None
    marker, length, checksum, kind = _FRAME.unpack_from(octets, position)
    start = position + FRAME_OVERHEAD
    if marker != MARKER or length > MAX_PAYLOAD or start + length > len(octets):
        return None
    payload = octets[start : start + length]
    return Frame(position, kind, payload) if checksum == crc32(bytes([kind]) + payload) else None
