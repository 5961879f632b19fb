"""TCP streams of Diameter and SIP: reassembly, and cutting them into messages.

RFC 9293. Each direction of a connection is a `_Half`: segments are put in order, repeated octets dropped, and messages
cut out. Which protocol a stream carries is seen from its octets, not from its ports. A capture may begin in mid-stream
and may lack segments; then the next message that begins beyond doubt carries on, marked `Flaw.HOLE_BEFORE`.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable, Hashable
from typing import NamedTuple

from ferret.protocols.summary import Protocol
from ferret.records.message import CapturedMessage, Endpoint, Flaw

from ferret_agents.capture import framing
from ferret_agents.capture.ledger import DAMAGED, USED, Ledger, better

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
_WINDOW = 1 << 24  # octets: a sequence number farther off belongs to another connection
_SIGNALLING_PORTS = frozenset((3868, 5060))


class Segment(NamedTuple):
    """One TCP segment, as captured."""

    source: Endpoint
    destination: Endpoint
    tunnel: tuple[Endpoint, ...]
    tunnel_teid: int
    sequence: int
    acknowledged: int
    flags: int
    payload: bytes
    missing: int  # octets of the payload that a snaplen cut off
    frame: int
    captured_at_ns: int


class _Waiting(NamedTuple):
    """A segment that came before the one that it follows. Sorted by its distance from the stream's beginning."""

    offset: int  # octets since the stream's beginning
    frame: int
    captured_at_ns: int
    payload: bytes
    missing: int


class _Mark:
    """Which frame brought the octets up to `end`."""

    __slots__ = ("captured_at_ns", "end", "fate", "frame")

    def __init__(self, end: int, frame: int, captured_at_ns: int) -> None:
        self.end = end
        self.frame = frame
        self.captured_at_ns = captured_at_ns
        self.fate: str | None = None


class _Half:
    """One direction of a connection."""

    __slots__ = (
        "acknowledged", "base", "buffer", "discard", "finished_at", "hole", "kind", "marks", "noise", "origin",
        "protocol", "reported", "searched", "segment", "started", "synced", "waiting", "waiting_octets",
        "waiting_since",
    )  # fmt: skip

    def __init__(self, segment: Segment, origin: int, *, from_syn: bool) -> None:
        self.segment = segment  # whose direction this is; only its addresses are of interest
        self.origin = origin  # sequence number of offset 0
        self.base = 0  # offset of buffer[0]
        self.buffer = bytearray()
        self.marks: deque[_Mark] = deque()
        self.waiting: list[_Waiting] = []
        self.waiting_octets = 0
        self.waiting_since = 0
        self.acknowledged = -1  # the last acknowledgement number that this side sent
        self.protocol: Protocol | None = None
        self.synced = False  # the buffer begins where a message should
        self.started = from_syn  # the stream's beginning was seen
        self.hole = False
        self.discard = 0  # octets to come that belong to a message which a hole has spoilt
        self.searched = 0
        self.finished_at = -1  # the offset of FIN
        self.noise = 0  # octets since the last message that belong to none
        self.kind = ""  # what a stream of neither protocol seems to be
        self.reported = False  # that it is noise

    @property
    def next(self) -> int:
        """The offset after the last octet in order."""
        return self.base + len(self.buffer)


class TcpStreams:
    """Every TCP connection of a capture. Sans-IO; bounded in connections, segments and octets that wait, and time.

    `emit` gets each message, in the order of its stream; the message's time and frame are those that completed it.
    """

    def __init__(
        self,
        ledger: Ledger,
        emit: Callable[[CapturedMessage], None],
        *,
        connections: int = 16_384,
        segments: int = 512,
        octets: int = 1 << 22,
        patience_ns: int = 3_000_000_000,
        acknowledged_patience_ns: int = 200_000_000,
    ) -> None:
        self._ledger = ledger
        self._emit = emit
        self._max_connections = connections
        self._max_segments = segments
        self._max_octets = octets
        self._patience_ns = patience_ns
        self._acknowledged_patience_ns = acknowledged_patience_ns
        self._halves: dict[Hashable, _Half] = {}  # least lately used first
        self._impatient: dict[Hashable, _Half] = {}  # those where segments wait

    def add(self, segment: Segment, clock: int) -> str | None:
        """Take a segment; its fate, or None where that will only be known later. `clock`: see `Defragmenter.add`."""
        key = (segment.source, segment.destination, segment.tunnel, segment.tunnel_teid)
        half = self._halves.pop(key, None)
        if segment.flags & SYN:
            half = self._syn(half, segment)
        elif half is None and segment.payload:
            half = self._new(segment, segment.sequence, from_syn=False)
        if half is None:
            return "tcp without payload"
        self._halves[key] = half
        if segment.flags & ACK:
            half.acknowledged = segment.acknowledged
        fate: str | None = "tcp without payload"
        if segment.payload or segment.missing:
            fate = self._payload(key, half, segment, clock)
        if half.waiting:
            self._look_at_hole(key, half, clock, closing=bool(segment.flags & RST))
        if segment.flags & (FIN | RST):
            self._end(half, segment)
        if 0 <= half.finished_at <= half.next:
            self._finish(half, "the connection closed")
        return fate

    def _end(self, half: _Half, segment: Segment) -> None:
        """FIN or RST. What a FIN has overtaken may still come."""
        if segment.flags & RST:
            half.finished_at = half.next
            return
        ahead = (segment.sequence + len(segment.payload) + segment.missing - half.origin - half.next) & 0xFFFFFFFF
        if ahead < _WINDOW:
            half.finished_at = half.next + ahead

    def expire(self, clock: int) -> None:
        """Stop waiting for segments that do not come."""
        for key, half in list(self._impatient.items()):
            self._look_at_hole(key, half, clock, closing=False)

    def flush(self) -> None:
        """The capture has ended: give up every hole, and account for what is left."""
        for key, half in list(self._halves.items()):
            self._close(key, half, "the capture ends")
        self._halves.clear()

    def _new(self, segment: Segment, origin: int, *, from_syn: bool) -> _Half:
        if len(self._halves) >= self._max_connections:
            oldest = next(iter(self._halves))
            self._close(oldest, self._halves.pop(oldest), "too many connections")
        return _Half(segment._replace(payload=b""), origin, from_syn=from_syn)

    def _syn(self, half: _Half | None, segment: Segment) -> _Half:
        origin = (segment.sequence + 1) & 0xFFFFFFFF
        if half is not None:
            if half.origin == origin:
                return half  # repeated
            key = (segment.source, segment.destination, segment.tunnel, segment.tunnel_teid)
            self._close(key, half, "the ports were used again")
        return self._new(segment, origin, from_syn=True)

    def _payload(self, key: Hashable, half: _Half, segment: Segment, clock: int) -> str | None:
        sequence = segment.sequence + (1 if segment.flags & SYN else 0)
        ahead = (sequence - (half.origin + half.next)) & 0xFFFFFFFF
        ahead -= (ahead & 0x80000000) << 1
        if abs(ahead) > _WINDOW:
            return self._restart(key, half, segment, clock)
        payload = segment.payload
        if ahead < 0:
            if -ahead >= len(payload) + segment.missing:
                return self._old(half, segment, half.next + ahead)
            if -ahead >= len(payload):
                return "tcp retransmission"
            payload = payload[-ahead:]
            ahead = 0
        offset = half.next + ahead
        self._ledger.hold(segment.frame)
        piece = _Waiting(offset, segment.frame, segment.captured_at_ns, payload, segment.missing)
        if ahead:
            if not half.waiting:
                half.waiting_since = clock
                self._impatient[key] = half
            insort(half.waiting, piece)
            half.waiting_octets += len(payload)
        else:
            self._accept(half, piece)
            self._take_waiting(key, half, clock)
        return None

    def _old(self, half: _Half, segment: Segment, offset: int) -> str:
        """Octets that are already here, or that lie before the place where the capture came in."""
        if offset >= 0 or half.started or len(segment.payload) < framing.DIAMETER_HEADER:
            return "tcp retransmission"
        self._ledger.report(segment.frame, "a TCP segment from before the place where its stream was first seen")
        return DAMAGED

    def _restart(self, key: Hashable, half: _Half, segment: Segment, clock: int) -> str | None:
        self._close(key, half, "the sequence numbers leap")
        fresh = self._new(segment, segment.sequence, from_syn=False)
        fresh.hole = True
        self._halves[key] = fresh
        return self._payload(key, fresh, segment, clock)

    def _accept(self, half: _Half, piece: _Waiting) -> None:
        """Take octets that are next in order; the caller has held their frame."""
        payload = piece.payload
        gone = min(half.discard, len(payload))
        if gone:
            half.discard -= gone
            half.base += gone
            payload = payload[gone:]
        if not payload:
            self._ledger.settle(piece.frame, DAMAGED)
        else:
            half.buffer += payload
            half.marks.append(_Mark(half.next, piece.frame, piece.captured_at_ns))
            self._cut(half)
        if piece.missing:
            self._hole(half, piece.missing)

    def _take_waiting(self, key: Hashable, half: _Half, clock: int) -> None:
        while half.waiting and half.waiting[0].offset <= half.next:
            piece = half.waiting.pop(0)
            half.waiting_octets -= len(piece.payload)
            behind = half.next - piece.offset
            if behind >= len(piece.payload):
                self._ledger.settle(piece.frame, "tcp retransmission")
                continue
            self._accept(half, piece._replace(offset=half.next, payload=piece.payload[behind:]))
        half.waiting_since = clock
        if not half.waiting:
            self._impatient.pop(key, None)

    def _look_at_hole(self, key: Hashable, half: _Half, clock: int, *, closing: bool) -> None:
        """Whether to wait on for the segment that is missing before those that wait."""
        while half.waiting:
            waited = clock - half.waiting_since
            full = len(half.waiting) > self._max_segments or half.waiting_octets > self._max_octets
            certain = waited >= self._acknowledged_patience_ns and self._is_acknowledged(half)
            if not (full or closing or certain or waited > self._patience_ns):
                return
            self._skip_hole(half)
            self._take_waiting(key, half, clock)

    def _is_acknowledged(self, half: _Half) -> bool:
        """Whether the receiver has what the capture lacks: then it will not be sent again."""
        segment = half.segment
        reverse = self._halves.get((segment.destination, segment.source, segment.tunnel, segment.tunnel_teid))
        if reverse is None or reverse.acknowledged < 0 or not half.waiting:
            return False
        ahead = (reverse.acknowledged - (half.origin + half.waiting[0].offset)) & 0xFFFFFFFF
        return ahead < 0x80000000

    def _skip_hole(self, half: _Half) -> None:
        piece = half.waiting[0]
        octets = piece.offset - half.next
        if half.protocol is not None or half.buffer:
            self._ledger.report(piece.frame, f"{octets} octets of a TCP stream are missing before this frame")
        self._hole(half, octets)

    def _hole(self, half: _Half, octets: int) -> None:
        """The next `octets` of the stream will never come."""
        spoilt = half.discard  # octets to come of a message that is cut off already
        if half.synced and half.buffer:
            spoilt = _extent(half).length - len(half.buffer)
            self._emit_part(half)
        elif half.buffer:
            self._noise(half, len(half.buffer))
        half.base += octets
        half.discard = max(0, spoilt - octets)
        if spoilt < octets:  # beyond what is known to belong to that message
            half.synced = False
            half.hole = True

    def _emit_part(self, half: _Half) -> None:
        """What there is of a message that a hole has cut off."""
        if half.protocol is Protocol.DIAMETER:
            recognisable = framing.is_diameter(half.buffer)
        else:
            recognisable = framing.is_sip(half.buffer)
        if recognisable:
            self._message(half, len(half.buffer), (Flaw.CUT,))
        else:
            self._consume(half, len(half.buffer), DAMAGED)

    def _finish(self, half: _Half, why: str) -> None:
        """No more octets will come."""
        if not half.buffer:
            return
        if half.synced:
            self._ledger.report(half.marks[-1].frame, f"a {half.protocol} message is not complete: {why}")
            self._emit_part(half)
        else:
            self._noise(half, len(half.buffer))
        half.synced = False

    def _close(self, key: Hashable, half: _Half, why: str) -> None:
        while half.waiting:
            self._skip_hole(half)
            self._take_waiting(key, half, 0)
        self._finish(half, why)
        self._impatient.pop(key, None)

    def _cut(self, half: _Half) -> None:
        """Cut as many messages from the buffer as are complete."""
        while half.buffer:
            if not half.synced and not self._find(half):
                return
            if half.protocol is Protocol.SIP and half.buffer[0] in b"\r\n":
                blank = len(half.buffer) - len(half.buffer.lstrip(b"\r\n"))
                self._consume(half, blank, "sip keep-alive")
                continue
            extent = _extent(half)
            if extent.fault:
                self._lose(half, extent.fault)
            elif not extent.length or extent.length > len(half.buffer):
                half.searched = len(half.buffer)
                return
            else:
                self._message(half, extent.length, ())

    def _lose(self, half: _Half, fault: str) -> None:
        """What stands where a message should begin is none: go on behind it."""
        self._ledger.report(half.marks[0].frame, f"undecodable: {fault}")
        self._consume(half, 1, DAMAGED)
        half.reported = True
        half.synced = False
        half.hole = True

    def _find(self, half: _Half) -> bool:
        """Look for a message's beginning; drop what certainly is none."""
        found = framing.find_start(half.buffer)
        if found is None:
            useless = len(half.buffer) - framing.tail_to_keep(half.buffer)
            if useless:
                self._noise(half, useless)
            return False
        protocol, at = found
        if at:
            self._noise(half, at)
        if half.noise and not half.reported:
            self._ledger.report(half.marks[0].frame, f"{half.noise} octets before this {protocol} message are none")
        half.hole = half.hole or half.noise > 0
        half.protocol = protocol
        half.synced = True
        half.reported = False
        half.noise = 0
        return True

    def _noise(self, half: _Half, octets: int) -> None:
        """The first `octets` of the buffer belong to no message."""
        noise = bytes(half.buffer[:octets])
        if not noise.strip(b"\r\n\0"):
            self._consume(half, octets, "sip keep-alive")
            return
        half.noise += octets
        half.kind = half.kind or framing.kind_of_stream(noise)
        ports = {half.segment.source.port, half.segment.destination.port} & _SIGNALLING_PORTS
        if half.protocol is not None or (ports and half.kind == "tcp"):
            if not half.reported:
                half.reported = True
                fault = framing.diameter_fault(noise) if len(noise) >= framing.DIAMETER_HEADER else ""
                what = fault if fault and 3868 in ports else "neither Diameter nor SIP begins here"
                self._ledger.report(half.marks[0].frame, f"undecodable: {what}")
            self._consume(half, octets, DAMAGED)
        else:
            self._consume(half, octets, half.kind)

    def _message(self, half: _Half, length: int, flaws: tuple[Flaw, ...]) -> None:
        octets = bytes(half.buffer[:length])
        end = half.base + length
        last = half.marks[0]
        for mark in half.marks:
            if mark.frame > last.frame:
                last = mark
            if mark.end >= end:
                break
        if half.hole:
            flaws = (Flaw.HOLE_BEFORE, *flaws)
            half.hole = False
        segment = half.segment
        self._consume(half, length, USED)
        self._emit(
            CapturedMessage(
                protocol=half.protocol or Protocol.DIAMETER,
                captured_at_ns=last.captured_at_ns,
                source=segment.source,
                destination=segment.destination,
                octets=octets,
                transport="tcp",
                tunnel=segment.tunnel,
                tunnel_teid=segment.tunnel_teid,
                frame=last.frame,
                flaws=flaws,
            )
        )

    def _consume(self, half: _Half, octets: int, fate: str) -> None:
        del half.buffer[:octets]
        half.base += octets
        half.searched = 0
        marks = half.marks
        settled = half.base - octets
        while marks and marks[0].end <= half.base:
            mark = marks.popleft()
            settled = mark.end
            self._ledger.settle(mark.frame, better(mark.fate, fate))
        if marks and settled < half.base:
            marks[0].fate = better(marks[0].fate, fate)


def _extent(half: _Half) -> framing.Extent:
    if half.protocol is Protocol.DIAMETER:
        return framing.diameter_extent(half.buffer)
    return framing.sip_extent(half.buffer, half.searched)
