"""How a message longer than a queue's slot goes through it whole.

Each slot holds one chunk: a header of nine octets and a piece of the message.

    octet 0     format version (1)
    octets 1-4  message number: equal in all chunks of one message, different from the message before
    octets 5-6  index of this chunk, from 0
    octets 7-8  number of chunks of this message

A slot of version 2 is a bundle: whole messages that were put at once, so that each costs a part of a slot only.

    octet 0     2
    octets 1-4  a number, of no meaning here
    octets 5-6  number of messages
    octets 7-8  0
    then        the length of each message (2), and the messages

The chunks of one message lie one behind the other inside their priority, because writers take turns (`PosixQueue.put`).
Between two of them a message of higher priority may come out: what has been read of the longer one is kept, by
priority, until its rest follows. A writer that dies half-way leaves a beginning without an end: it is dropped when the
next message of that priority begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from struct import Struct, pack

from ferret.queue.interface import Queued

VERSION = 1
BUNDLE = 2
HEADER = Struct(">BIHH")
MAX_CHUNKS = 0xFFFF
LENGTH = 2
"""Octets that a message in a bundle takes beside its own."""


def chunks_needed(length: int, slot_size: int) -> int:
    """How many slots of `slot_size` octets a message of `length` octets takes."""
    room = slot_size - HEADER.size
    return max(1, -(-length // room))


def split(octets: bytes, number: int, slot_size: int) -> Iterator[bytes]:
    """Cut a message into slots. `number` is any 32-bit number that the writer's last message did not have."""
    count = chunks_needed(len(octets), slot_size)
    room = slot_size - HEADER.size
    for index in range(count):
        header = HEADER.pack(VERSION, number & 0xFFFFFFFF, index, count)
        yield header + octets[index * room : (index + 1) * room]


def bundle(messages: Sequence[bytes], number: int) -> bytes:
    """Several messages as one slot. They have to fit."""
    lengths = pack(f">{len(messages)}H", *map(len, messages))
    return b"".join((HEADER.pack(BUNDLE, number & 0xFFFFFFFF, len(messages), 0), lengths, *messages))


def unbundle(slot: bytes) -> list[bytes]:
    """The messages of a bundle; none where it is damaged."""
    count = HEADER.unpack_from(slot)[2]
    at = HEADER.size + LENGTH * count
    if at > len(slot):
        return []
    messages = []
    for length in Struct(f">{count}H").unpack_from(slot, HEADER.size):
        messages.append(slot[at : at + length])
        at += length
    return messages if at == len(slot) else []


@dataclass(slots=True)
class _Partial:
    number: int
    count: int
    pieces: list[bytes] = field(default_factory=list)


class Assembler:
    """Puts chunks together again; `discarded` counts what never became a message."""

    def __init__(self) -> None:
        self.discarded = 0
        self._partials: dict[int, _Partial] = {}

    def take(self, slot: bytes, priority: int) -> list[Queued]:
        """Take the next slot out of the queue; the messages that it completes."""
        if len(slot) >= HEADER.size and slot[0] == BUNDLE:
            found = unbundle(slot)
            self._drop(priority)
            if not found:
                self.discarded += 1
            return [Queued(octets, priority) for octets in found]
        one = self.add(slot, priority)
        return [] if one is None else [one]

    def add(self, slot: bytes, priority: int) -> Queued | None:
        """Take the next slot out of the queue; a message when it was the last of one, else None."""
        if len(slot) < HEADER.size:
            self.discarded += 1
            return None
        version, number, index, count = HEADER.unpack_from(slot)
        if version != VERSION or index >= count:
            self.discarded += 1
            return None
        piece = slot[HEADER.size :]
        if count == 1:
            self._drop(priority)
            return Queued(piece, priority)
        return self._continue(_Partial(number, count, [piece]), index, priority)

    def _continue(self, chunk: _Partial, index: int, priority: int) -> Queued | None:
        if index == 0:
            self._drop(priority)
            self._partials[priority] = chunk
            return None
        partial = self._partials.get(priority)
        if partial is None or (partial.number, partial.count, len(partial.pieces)) != (
            chunk.number,
            chunk.count,
            index,
        ):
            self._drop(priority)
            self.discarded += 1
            return None
        partial.pieces += chunk.pieces
        if len(partial.pieces) < partial.count:
            return None
        del self._partials[priority]
        return Queued(b"".join(partial.pieces), priority)

    def _drop(self, priority: int) -> None:
        if self._partials.pop(priority, None) is not None:
            self.discarded += 1
