"""SCTP: user messages out of DATA and I-DATA chunks.

RFC 9260 (DATA, clause 3.3.1), RFC 8260 (I-DATA), RFC 6951 (UDP encapsulation, left to the caller). Several chunks of
one packet are taken apart, fragments put together by TSN, repeated TSNs dropped, and messages of one stream put into
the order of their sequence numbers. CRC32c is not looked at: a capture on the sending host may hold none.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import NamedTuple

from ferret.errors import DecodeError
from ferret.records.message import Flaw
from ferret_agents.capture.ledger import DAMAGED, Ledger, better

DATA, SACK, I_DATA = 0, 3, 64
_UNORDERED, _BEGINNING, _ENDING = 4, 2, 1
_MAX_CHUNKS = 256  # of one packet
_TSN_MEMORY = 1024  # TSNs that are remembered per direction, to know a retransmission
_KINDS = {
    1: "sctp init", 2: "sctp init", 3: "sctp sack", 4: "sctp heartbeat", 5: "sctp heartbeat", 6: "sctp abort",
    7: "sctp shutdown", 8: "sctp shutdown", 9: "sctp error", 10: "sctp cookie", 11: "sctp cookie",
    14: "sctp shutdown",
}  # fmt: skip


class Chunk(NamedTuple):
    """A DATA or I-DATA chunk."""

    tsn: int
    stream: int
    sequence: int  # SSN, or MID of I-DATA
    fragment: int  # FSN of a later fragment of I-DATA; 0
    ppid: int  # -1 where only the first fragment says it
    flags: int
    interleaved: bool
    payload: bytes
    missing: int


class UserMessage(NamedTuple):
    """What an SCTP user sent as one message. `frame` completed it."""

    stream: int
    sequence: int
    ppid: int
    payload: bytes
    frame: int
    captured_at_ns: int
    flaws: tuple[Flaw, ...]


class _Piece(NamedTuple):
    chunk: Chunk
    frame: int
    captured_at_ns: int


class _Held(NamedTuple):
    """A message that came before the one that precedes it in its stream."""

    message: UserMessage
    tsn: int
    since: int
    frames: tuple[int, ...]


class _Tsns:
    """The digests of what the latest TSNs brought: at least of `_TSN_MEMORY`, at most of twice as many."""

    __slots__ = ("older", "recent")

    def __init__(self) -> None:
        self.recent: dict[int, int] = {}
        self.older: dict[int, int] = {}

    def get(self, tsn: int) -> int | None:
        found = self.recent.get(tsn)
        return found if found is not None else self.older.get(tsn)

    def add(self, tsn: int, digest: int) -> None:
        recent = self.recent
        recent[tsn] = digest
        if len(recent) >= _TSN_MEMORY:
            self.older, self.recent = recent, {}

    def clear(self) -> None:
        self.recent, self.older = {}, {}


class Direction:
    """One direction of an association."""

    __slots__ = ("expected", "held", "is_open", "newest", "pieces", "seen", "tag")

    def __init__(self, tag: int) -> None:
        self.tag = tag
        self.is_open = True  # until `Associations` gives it up
        self.seen = _Tsns()
        self.pieces: dict[int, _Piece] = {}  # TSN -> fragment that waits
        self.expected: dict[tuple[int, bool], int] = {}  # stream -> its next sequence number
        self.held: dict[tuple[int, bool], dict[int, _Held]] = {}  # only streams where messages wait
        self.newest: dict[tuple[int, bool], UserMessage] = {}  # stream -> the latest frame that was delivered

    def pass_in_order(self, tag: int, chunks: Sequence[tuple[int, int, int, bytes]]) -> bool:
        """Whether whole, ordered DATA chunks of a packet are the next of their streams, and nothing waits there.

        Each is TSN, stream, sequence number, payload. If not, nothing has changed: use `Associations.add`. The quick
        way for what nearly all packets are; what is in them, and the ledger, are the caller's affair.
        """
        if self.tag != tag or self.held:
            return False
        if len(chunks) > 1:
            return self._pass_several(chunks)
        tsn, stream, sequence, payload = chunks[0]
        place, seen = (stream, False), self.seen
        if self.expected.get(place) != sequence or tsn in seen.recent or tsn in seen.older:
            return False
        self.expected[place] = sequence + 1 & 0xFFFF
        seen.add(tsn, hash((payload, stream, sequence)))
        return True

    def _pass_several(self, chunks: Sequence[tuple[int, int, int, bytes]]) -> bool:
        seen = self.seen
        after: dict[tuple[int, bool], int] = {}
        tsns = {tsn for tsn, *_ in chunks}
        if len(tsns) < len(chunks) or not tsns.isdisjoint(seen.recent) or not tsns.isdisjoint(seen.older):
            return False
        for _, stream, sequence, _ in chunks:
            place = (stream, False)
            if after.get(place, self.expected.get(place)) != sequence:
                return False
            after[place] = sequence + 1 & 0xFFFF
        self.expected.update(after)
        for tsn, stream, sequence, payload in chunks:
            seen.add(tsn, hash((payload, stream, sequence)))
        return True


def chunks(octets: bytes, at: int, missing: int) -> Iterator[Chunk | int | tuple[int, int]]:
    """The chunks of a packet after its common header.

    DATA and I-DATA come as `Chunk`, SACK as (chunk type, cumulative TSN), any other as its chunk type.
    Raises DecodeError where a chunk cannot be. `missing`: octets at the end that the capture does not hold.
    """
    end = len(octets)
    for _ in range(_MAX_CHUNKS):
        if at + 4 > end:
            if at < end or missing:
                raise DecodeError("an SCTP chunk header is cut", at)
            return
        kind, flags = octets[at], octets[at + 1]
        length = (octets[at + 2] << 8) | octets[at + 3]
        if length < 4 or at + length > end + missing:
            raise DecodeError(f"an SCTP chunk of {length} octets", at)
        if kind in (DATA, I_DATA):
            yield _data(octets, at, kind, flags, min(at + length, end), max(0, at + length - end))
        elif kind == SACK and at + 8 <= end:
            yield kind, int.from_bytes(octets[at + 4 : at + 8], "big")
        else:
            yield kind
        at += (length + 3) & ~3
        if at >= end:
            return
    raise DecodeError("too many SCTP chunks", at)


def _data(octets: bytes, at: int, kind: int, flags: int, end: int, missing: int) -> Chunk:
    header = 16 if kind == DATA else 20
    if at + header > end:
        raise DecodeError("an SCTP DATA chunk is cut", at)
    if kind == DATA:
        tsn, stream, sequence, ppid = struct.unpack_from(">IHHI", octets, at + 4)
        return Chunk(tsn, stream, sequence, 0, ppid, flags, False, octets[at + 16 : end], missing)
    tsn, stream, _, sequence, either = struct.unpack_from(">IHHII", octets, at + 4)
    if flags & _BEGINNING:
        return Chunk(tsn, stream, sequence, 0, either, flags, True, octets[at + 20 : end], missing)
    return Chunk(tsn, stream, sequence, either, -1, flags, True, octets[at + 20 : end], missing)


class Associations:
    """Every SCTP association of a capture. Sans-IO; bounded in associations, fragments, messages held, and time.

    `deliver(key, message) -> fate` gets each user message, with the key that `add` was given.
    """

    def __init__(
        self,
        ledger: Ledger,
        deliver: Callable[[Hashable, UserMessage], str],
        *,
        directions: int = 8192,
        fragments: int = 1024,
        held: int = 256,
        patience_ns: int = 2_000_000_000,
        all_octets: int = 64 << 20,
    ) -> None:
        self._ledger = ledger
        self._deliver = deliver
        self._max_directions = directions
        self._max_fragments = fragments
        self._max_held = held
        self._patience_ns = patience_ns
        self._max_all = all_octets
        self._directions: dict[Hashable, Direction] = {}
        self._impatient: dict[Hashable, Direction] = {}

    def add(
        self, key: Hashable, reverse: Hashable, packet: bytes, missing: int, frame: int, at_ns: int, clock: int
    ) -> str | None:
        """Take a packet (common header and chunks); its fate, None where that will only be known later.

        `key` and `reverse`: this direction of the association, and the other. `clock`: see `Defragmenter.add`.
        Raises DecodeError for what is no SCTP packet.
        """
        if len(packet) < 12:
            raise DecodeError("the SCTP header is cut", len(packet))
        tag = int.from_bytes(packet[4:8], "big")
        direction = self._directions.get(key)
        fate: str | None = None
        try:
            for chunk in chunks(packet, 12, missing):
                if isinstance(chunk, int):
                    fate = better(fate, _KINDS.get(chunk, "sctp control"))
                elif not isinstance(chunk, Chunk):
                    self._acknowledge(reverse, chunk[1])
                    fate = better(fate, "sctp sack")
                else:
                    if direction is None or direction.tag != tag:
                        direction = self._new(key, tag)
                    piece = self._chunk(key, direction, _Piece(chunk, frame, at_ns), clock)
                    fate = piece if fate is None else better(fate, piece) if piece is not None else fate
        except DecodeError as error:
            self._ledger.report(frame, f"undecodable: {error}")
            return better(fate, DAMAGED)
        return fate

    def direction(self, key: Hashable) -> Direction | None:
        """A direction of an association, for `Direction.pass_in_order`, until `is_open` is False; None: not known.

        Whoever asks often may keep it.
        """
        return self._directions.get(key)

    @property
    def waiting_octets(self) -> int:
        """How many octets of user messages wait for others."""
        return sum(
            sum(len(piece.chunk.payload) for piece in direction.pieces.values())
            + sum(len(one.message.payload) for held in direction.held.values() for one in held.values())
            for direction in self._directions.values()
        )

    def expire(self, clock: int) -> None:
        """Deliver what has waited too long for the messages before it."""
        for key, direction in list(self._impatient.items()):
            for stream, held in list(direction.held.items()):
                if clock - next(iter(held.values())).since > self._patience_ns:
                    self._skip(key, direction, stream)
            if not direction.held:
                del self._impatient[key]
        while self._directions and self.waiting_octets > self._max_all:
            oldest = next(iter(self._directions))
            self._close(oldest, self._directions.pop(oldest))

    def flush(self) -> None:
        """The capture has ended: deliver what is held, account for fragments without the rest."""
        for key, direction in self._directions.items():
            self._close(key, direction)
        self._directions.clear()
        self._impatient.clear()

    def _new(self, key: Hashable, tag: int) -> Direction:
        old = self._directions.pop(key, None)
        if old is not None:
            self._close(key, old)
        if len(self._directions) >= self._max_directions:
            oldest = next(iter(self._directions))
            self._close(oldest, self._directions.pop(oldest))
        direction = self._directions[key] = Direction(tag)
        return direction

    def _close(self, key: Hashable, direction: Direction) -> None:
        direction.is_open = False
        for stream in list(direction.held):
            while stream in direction.held:
                self._skip(key, direction, stream)
        self._impatient.pop(key, None)
        self._drop_pieces(direction, list(direction.pieces))

    def _drop_pieces(self, direction: Direction, tsns: list[int]) -> None:
        for tsn in tsns:
            piece = direction.pieces.pop(tsn)
            self._ledger.report(piece.frame, f"a fragment of an SCTP message without the rest (TSN {tsn})")
            self._ledger.settle(piece.frame, DAMAGED)

    def _chunk(self, key: Hashable, direction: Direction, piece: _Piece, clock: int) -> str | None:
        chunk = piece.chunk
        digest = hash((chunk.payload, chunk.stream, chunk.sequence))
        known = direction.seen.get(chunk.tsn)
        if known == digest:
            return "sctp retransmission"
        if known is not None:  # the same TSN with other octets: another association, made up or restarted
            direction.seen.clear()
            direction.expected.clear()
        direction.seen.add(chunk.tsn, digest)
        whole = _BEGINNING | _ENDING
        if chunk.flags & whole == whole:
            flaws = (Flaw.CUT,) if chunk.missing else ()
            message = UserMessage(
                chunk.stream, chunk.sequence, chunk.ppid, chunk.payload, piece.frame, piece.captured_at_ns, flaws
            )
            return self._order(key, direction, message, chunk, (piece.frame,), clock)
        if chunk.tsn in direction.pieces:
            self._drop_pieces(direction, [chunk.tsn])
        self._ledger.hold(piece.frame)
        direction.pieces[chunk.tsn] = piece
        if len(direction.pieces) > self._max_fragments:
            self._drop_pieces(direction, list(direction.pieces)[: self._max_fragments // 2])
            return None
        self._join(key, direction, chunk, clock)
        return None

    def _join(self, key: Hashable, direction: Direction, chunk: Chunk, clock: int) -> None:
        """Put a message together if the fragment `chunk` was the last that it lacked."""
        run = _interleaved_run(direction, chunk) if chunk.interleaved else _run(direction, chunk)
        if run is None:
            return
        for piece in run:
            del direction.pieces[piece.chunk.tsn]
        payload, cut = b"", False
        for piece in run:
            payload += piece.chunk.payload
            if piece.chunk.missing:
                cut = True
                break
        last = max(run, key=lambda piece: piece.frame)
        first = run[0].chunk
        message = UserMessage(
            first.stream, first.sequence, first.ppid, payload, last.frame, last.captured_at_ns,
            (Flaw.CUT,) if cut else (),
        )  # fmt: skip
        fate = self._order(key, direction, message, first, tuple(piece.frame for piece in run), clock)
        for piece in run:
            self._ledger.settle(piece.frame, fate if fate is not None else "sctp")

    def _order(
        self, key: Hashable, direction: Direction, message: UserMessage, chunk: Chunk, frames: tuple[int, ...],
        clock: int,
    ) -> str | None:  # fmt: skip
        """Deliver a message, or hold it until those before it in its stream have come."""
        if chunk.flags & _UNORDERED:
            return self._deliver(key, message)
        stream = (chunk.stream, chunk.interleaved)
        modulus = 1 << 32 if chunk.interleaved else 1 << 16
        expected = direction.expected.get(stream)
        ahead = (chunk.sequence - expected) % modulus if expected is not None else 0
        if ahead and ahead < modulus >> 1:
            held = direction.held.setdefault(stream, {})
            if chunk.sequence in held:  # two messages of one number: a broken sender
                return self._deliver(key, message)
            for frame in frames:
                self._ledger.hold(frame)
            held[chunk.sequence] = _Held(message, chunk.tsn, clock, frames)
            self._impatient[key] = direction
            if len(held) > self._max_held:
                self._skip(key, direction, stream)
            return None
        fate = self._deliver(key, _in_order(direction, stream, message) if not ahead else message)
        if not ahead:
            direction.expected[stream] = (chunk.sequence + 1) % modulus
            self._release(key, direction, stream, modulus)
        return fate

    def _release(self, key: Hashable, direction: Direction, stream: tuple[int, bool], modulus: int) -> None:
        held = direction.held.get(stream)
        while held:
            ready = held.pop(direction.expected[stream], None)
            if ready is None:
                return
            direction.expected[stream] = (direction.expected[stream] + 1) % modulus
            self._deliver_held(key, ready, _in_order(direction, stream, ready.message))
        direction.held.pop(stream, None)

    def _deliver_held(self, key: Hashable, held: _Held, message: UserMessage) -> None:
        fate = self._deliver(key, message)
        for frame in held.frames:
            self._ledger.settle(frame, fate)

    def _skip(self, key: Hashable, direction: Direction, stream: tuple[int, bool]) -> None:
        """Give up the messages that are missing before the first one held."""
        held = direction.held[stream]
        modulus = 1 << 32 if stream[1] else 1 << 16
        expected = direction.expected.get(stream, 0)
        sequence = min(held, key=lambda number: (number - expected) % modulus)
        first = held.pop(sequence)
        count = (sequence - expected) % modulus
        self._ledger.report(first.message.frame, f"{count} message(s) of SCTP stream {stream[0]} are missing before it")
        direction.expected[stream] = (sequence + 1) % modulus
        message = first.message._replace(flaws=(Flaw.HOLE_BEFORE, *first.message.flaws))
        self._deliver_held(key, first, _in_order(direction, stream, message))
        self._release(key, direction, stream, modulus)

    def _acknowledge(self, reverse: Hashable, tsn: int) -> None:
        """The receiver has everything up to `tsn`: what the capture lacks of that will not be sent again."""
        direction = self._directions.get(reverse)
        if direction is None or not direction.held:
            return
        for stream, held in list(direction.held.items()):
            while held and (tsn - next(iter(held.values())).tsn) & 0xFFFFFFFF < 0x80000000:
                self._skip(reverse, direction, stream)


def _in_order(direction: Direction, stream: tuple[int, bool], message: UserMessage) -> UserMessage:
    """The message; if it had to wait for an earlier one of its stream, complete only with that one's frame."""
    newest = direction.newest.get(stream)
    if newest is not None and newest.frame > message.frame:
        return message._replace(frame=newest.frame, captured_at_ns=newest.captured_at_ns)
    direction.newest[stream] = message
    return message


def _run(direction: Direction, chunk: Chunk) -> list[_Piece] | None:
    """The fragments from B to E around a DATA chunk, if all are there: their TSNs are consecutive (RFC 9260)."""
    pieces = direction.pieces
    first = last = chunk.tsn
    while not pieces[first].chunk.flags & _BEGINNING:
        first = (first - 1) & 0xFFFFFFFF
        if not _belongs(pieces.get(first), chunk):
            return None
    while not pieces[last].chunk.flags & _ENDING:
        last = (last + 1) & 0xFFFFFFFF
        if not _belongs(pieces.get(last), chunk):
            return None
    count = ((last - first) & 0xFFFFFFFF) + 1
    return [pieces[(first + step) & 0xFFFFFFFF] for step in range(count)]


def _belongs(piece: _Piece | None, chunk: Chunk) -> bool:
    return piece is not None and (piece.chunk.stream, piece.chunk.sequence, piece.chunk.interleaved) == (
        chunk.stream,
        chunk.sequence,
        chunk.interleaved,
    )


def _interleaved_run(direction: Direction, chunk: Chunk) -> list[_Piece] | None:
    """The fragments of an I-DATA message, if all are there: their FSNs are consecutive (RFC 8260)."""
    unordered = chunk.flags & _UNORDERED
    parts = {
        piece.chunk.fragment: piece
        for piece in direction.pieces.values()
        if _belongs(piece, chunk) and piece.chunk.flags & _UNORDERED == unordered
    }
    run = []
    for number in range(len(parts)):
        piece = parts.get(number)
        if piece is None:
            return None
        run.append(piece)
    if not run[0].chunk.flags & _BEGINNING or not run[-1].chunk.flags & _ENDING:
        return None
    return run
