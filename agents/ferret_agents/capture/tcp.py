"""TCP streams: putting segments in order, whichever way they were captured (RFC 9293).

Each direction of a connection is a `Half`. Its octets go, in order and once each, to a `Cutter`. A capture may begin
in mid-stream, may lack segments, and ports are used again.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from typing import NamedTuple

from ferret.protocols.summary import Protocol
from ferret.records.message import CapturedMessage, Endpoint, Flaw
from ferret_agents.capture.cutter import Cutter
from ferret_agents.capture.ledger import DAMAGED, Ledger

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
_WINDOW = 1 << 24  # octets: a sequence number farther off belongs to another connection
_MIN_LOST = 20  # octets: less than that before the stream's first octet is a keep-alive probe
_RETRANSMISSION = "tcp retransmission"


class Flow(NamedTuple):
    """One direction of a connection, at one place: the same connection may be seen in two tunnels."""

    source: Endpoint
    destination: Endpoint
    tunnel: tuple[Endpoint, ...]
    tunnel_teid: int


class Segment(NamedTuple):
    """One TCP segment, as captured."""

    sequence: int
    acknowledged: int
    flags: int
    payload: bytes
    missing: int  # octets of the payload that a snaplen cut off
    frame: int
    captured_at_ns: int


class _Waiting(NamedTuple):
    """Octets that came before those that they follow. Sorted by their place."""

    offset: int  # octets since the stream's beginning
    frame: int
    captured_at_ns: int
    payload: bytes
    missing: int
    pushed: bool


class Half:
    """One direction of a connection."""

    __slots__ = (
        "acknowledged", "cutter", "finished_at", "is_open", "is_partial", "last_octets_at", "origin", "started", "used",
        "waiting", "waiting_octets", "waiting_since",
    )  # fmt: skip

    def __init__(self, cutter: Cutter, origin: int, *, from_syn: bool) -> None:
        self.cutter = cutter
        self.origin = origin  # sequence number of offset 0
        self.started = from_syn  # the stream's beginning was seen
        self.waiting: list[_Waiting] = []
        self.waiting_octets = 0
        self.waiting_since = 0
        self.last_octets_at = 0
        self.acknowledged = -1  # the last acknowledgement number that this side sent
        self.finished_at = -1  # the offset of FIN
        self.is_open = True  # until `TcpStreams` gives it up
        self.is_partial = False  # may hold the beginning of a message: is to be looked at
        self.used = False  # the quick way, since it was last made the latest

    def acknowledge(self, acknowledged: int, flags: int) -> bool:
        """Take what a segment acknowledges, if it does nothing else and nothing waits; else use `TcpStreams.add`."""
        if self.waiting or flags & ~PSH != ACK or self.finished_at >= 0:
            return False
        self.acknowledged = acknowledged
        self.used = True
        return True


class TcpStreams:
    """Every TCP connection of a capture. Sans-IO; bounded in connections, segments and octets that wait, and time.

    `emit` gets each message, in the order of its stream; its time and frame are those that completed it.
    """

    def __init__(
        self,
        ledger: Ledger,
        emit: Callable[[CapturedMessage], None],
        *,
        connections: int = 16_384,
        segments: int = 512,
        octets: int = 1 << 22,
        all_octets: int = 64 << 20,
        patience_ns: int = 3_000_000_000,
        acknowledged_patience_ns: int = 200_000_000,
        quiet_ns: int = 1_000_000_000,
    ) -> None:
        self._ledger = ledger
        self._emit = emit
        self._max_connections = connections
        self._max_segments = segments
        self._max_octets = octets
        self._max_all = all_octets
        self._all = 0  # octets that wait, of all connections
        self._lost_at = -1 << 63
        self._patience_ns = patience_ns
        self._acknowledged_patience_ns = acknowledged_patience_ns
        self._quiet_ns = quiet_ns
        self._halves: dict[Flow, Half] = {}  # least lately used first, but for what is marked as used
        self._impatient: dict[Flow, Half] = {}  # those where segments wait
        self._partial: dict[Flow, Half] = {}  # those that hold the beginning of a message

    @property
    def waiting_octets(self) -> int:
        """How many octets wait for others before them, or for the rest of their message."""
        return sum(half.waiting_octets + half.cutter.held for half in self._halves.values())

    def add(self, flow: Flow, segment: Segment, clock: int) -> str | None:
        """Take a segment; its fate, or None where that will only be known later. `clock`: see `Defragmenter.add`."""
        half = self._halves.pop(flow, None)
        if segment.flags & SYN:
            half = self._syn(flow, half, segment)
        elif half is None and segment.payload:
            half = self._new(flow, segment.sequence, from_syn=False)
        if half is None:
            return "tcp without payload"
        self._halves[flow] = half
        if segment.flags & ACK:
            half.acknowledged = segment.acknowledged
        fate: str | None = "tcp without payload"
        if segment.payload or segment.missing:
            fate = self._payload(flow, half, segment, clock)
            half = self._halves[flow]
            if half.cutter.waits:
                self._note_partial(flow, half, clock)
        if half.waiting:
            self._look_at_hole(flow, half, clock, closing=bool(segment.flags & RST))
        if segment.flags & (FIN | RST):
            self._end(half, segment)
        if 0 <= half.finished_at <= half.cutter.offset:
            half.cutter.end("the connection closed")
        return fate

    def half(self, flow: Flow) -> Half | None:
        """A direction of a connection, for `pass_in_order`, until `is_open` is False; None: not known.

        Whoever asks often may keep it.
        """
        return self._halves.get(flow)

    def pass_in_order(
        self,
        flow: Flow,
        half: Half,
        sequence: int,
        acknowledged: int,
        flags: int,
        payload: bytes,
        frame: int,
        at_ns: int,
    ) -> list[bytes] | None:
        """The messages that a whole segment completes, if it is next in order and nothing waits; None: use `add`.

        `payload`: not empty; for what has none there is `Half.acknowledge`.

        The quick way for what nearly every segment is. The frame is the caller's to account for, but where the half's
        cutter `waits` for the rest of a message that begins in it.
        """
        cutter = half.cutter
        if (sequence - half.origin - cutter.offset) & 0xFFFFFFFF or not half.acknowledge(acknowledged, flags):
            return None
        found = cutter.pass_in_order(payload, frame, at_ns, pushed=flags & PSH != 0)
        if found is not None and cutter.waits:
            self._note_partial(flow, half, at_ns)
        return found

    def lost(self, clock: int) -> None:
        """Frames were lost in capturing: what is missing now, and is acknowledged, need not be waited for."""
        self._lost_at = clock

    def _note_partial(self, flow: Flow, half: Half, clock: int) -> None:
        half.last_octets_at = clock
        if not half.is_partial:
            half.is_partial = True
            self._partial[flow] = half

    def expire(self, clock: int) -> None:
        """Stop waiting for what does not come."""
        for flow, half in list(self._impatient.items()):
            self._look_at_hole(flow, half, clock, closing=False)
        for flow, half in list(self._partial.items()):
            is_quiet = clock - half.last_octets_at > self._quiet_ns and not half.waiting
            if half.cutter.waits and is_quiet:
                half.cutter.quiet()
            if is_quiet or not half.cutter.waits:
                half.is_partial = False
                del self._partial[flow]

    def flush(self) -> None:
        """The capture has ended: give up every hole, and account for what is left."""
        for flow, half in list(self._halves.items()):
            self._close(flow, half, "the capture ends")
        self._halves.clear()

    def _new(self, flow: Flow, origin: int, *, from_syn: bool, after_hole: bool = False) -> Half:
        if len(self._halves) >= self._max_connections:
            self._give_up_oldest()

        def emit(protocol: Protocol, octets: bytes, frame: int, captured_at_ns: int, flaws: tuple[Flaw, ...]) -> None:
            self._emit(
                CapturedMessage(
                    protocol=protocol,
                    captured_at_ns=captured_at_ns,
                    source=flow.source,
                    destination=flow.destination,
                    octets=octets,
                    transport="tcp",
                    tunnel=flow.tunnel,
                    tunnel_teid=flow.tunnel_teid,
                    frame=frame,
                    flaws=flaws,
                )
            )

        ports = (flow.source.port, flow.destination.port)
        return Half(Cutter(self._ledger, ports, emit, after_hole=after_hole), origin, from_syn=from_syn)

    def _give_up_oldest(self) -> None:
        while True:
            flow = next(iter(self._halves))
            half = self._halves.pop(flow)
            if not half.used:
                self._close(flow, half, "too many connections")
                return
            half.used = False
            self._halves[flow] = half

    def _syn(self, flow: Flow, half: Half | None, segment: Segment) -> Half:
        origin = (segment.sequence + 1) & 0xFFFFFFFF
        if half is not None:
            if half.origin == origin:
                return half  # repeated
            self._close(flow, half, "the ports were used again")
        return self._new(flow, origin, from_syn=True)

    def _payload(self, flow: Flow, half: Half, segment: Segment, clock: int) -> str | None:
        sequence = segment.sequence + (1 if segment.flags & SYN else 0)
        place = half.cutter.offset
        ahead = (sequence - (half.origin + place)) & 0xFFFFFFFF
        ahead -= (ahead & 0x80000000) << 1
        if abs(ahead) > _WINDOW:
            return self._restart(flow, half, segment, clock)
        payload = segment.payload
        if ahead < 0:
            if -ahead >= len(payload) + segment.missing:
                return self._old(half, segment, place + ahead)
            if -ahead >= len(payload):
                return _RETRANSMISSION
            payload = payload[-ahead:]
            ahead = 0
        self._ledger.hold(segment.frame)
        pushed = bool(segment.flags & PSH)
        piece = _Waiting(place + ahead, segment.frame, segment.captured_at_ns, payload, segment.missing, pushed)
        if ahead:
            if not half.waiting:
                half.waiting_since = clock
                self._impatient[flow] = half
            insort(half.waiting, piece)
            half.waiting_octets += len(payload)
            self._all += len(payload)
        else:
            _accept(half, piece)
            self._take_waiting(flow, half, clock)
        return None

    def _old(self, half: Half, segment: Segment, offset: int) -> str:
        """Octets that are already here, or that lie before the place where the capture came in."""
        if offset >= 0 or half.started or len(segment.payload) < _MIN_LOST:
            return _RETRANSMISSION
        self._ledger.report(segment.frame, "a TCP segment from before the place where its stream was first seen")
        return DAMAGED

    def _restart(self, flow: Flow, half: Half, segment: Segment, clock: int) -> str | None:
        self._close(flow, half, "the sequence numbers leap")
        fresh = self._halves[flow] = self._new(flow, segment.sequence, from_syn=False, after_hole=True)
        fresh.acknowledged = half.acknowledged
        return self._payload(flow, fresh, segment._replace(flags=segment.flags & ~SYN), clock)

    def _take_waiting(self, flow: Flow, half: Half, clock: int) -> None:
        while half.waiting and half.waiting[0].offset <= half.cutter.offset:
            piece = half.waiting.pop(0)
            half.waiting_octets -= len(piece.payload)
            self._all -= len(piece.payload)
            behind = half.cutter.offset - piece.offset
            if behind >= len(piece.payload):
                self._ledger.settle(piece.frame, _RETRANSMISSION)
                continue
            _accept(half, piece._replace(offset=half.cutter.offset, payload=piece.payload[behind:]))
        half.waiting_since = clock
        if not half.waiting:
            self._impatient.pop(flow, None)

    def _look_at_hole(self, flow: Flow, half: Half, clock: int, *, closing: bool) -> None:
        """Whether to wait on for the segment that is missing before those that wait."""
        while half.waiting:
            waited = clock - half.waiting_since
            full = len(half.waiting) > self._max_segments or half.waiting_octets > self._max_octets
            full = full or self._all > self._max_all
            was_lost = 0 <= half.waiting_since - self._lost_at < self._patience_ns
            certain = (was_lost or waited >= self._acknowledged_patience_ns) and self._is_acknowledged(flow, half)
            if not (full or closing or certain or waited > self._patience_ns):
                return
            self._skip_hole(half)
            self._take_waiting(flow, half, clock)

    def _is_acknowledged(self, flow: Flow, half: Half) -> bool:
        """Whether the receiver has what the capture lacks: then it will not be sent again."""
        reverse = self._halves.get(Flow(flow.destination, flow.source, flow.tunnel[::-1], flow.tunnel_teid))
        if reverse is None or reverse.acknowledged < 0:
            return False
        ahead = (reverse.acknowledged - (half.origin + half.waiting[0].offset)) & 0xFFFFFFFF
        return ahead < 0x80000000

    def _skip_hole(self, half: Half) -> None:
        piece = half.waiting[0]
        octets = piece.offset - half.cutter.offset
        if half.cutter.protocol is not None:
            self._ledger.report(piece.frame, f"{octets} octets of a TCP stream are missing before this frame")
        half.cutter.skip(octets)

    def _end(self, half: Half, segment: Segment) -> None:
        """FIN or RST. What a FIN has overtaken may still come."""
        if segment.flags & RST:
            half.finished_at = half.cutter.offset
            return
        end = segment.sequence + len(segment.payload) + segment.missing
        ahead = (end - half.origin - half.cutter.offset) & 0xFFFFFFFF
        if ahead < _WINDOW:
            half.finished_at = half.cutter.offset + ahead

    def _close(self, flow: Flow, half: Half, why: str) -> None:
        while half.waiting:
            self._skip_hole(half)
            self._take_waiting(flow, half, 0)
        half.cutter.end(why)
        half.is_open = False
        self._impatient.pop(flow, None)
        self._partial.pop(flow, None)


def _accept(half: Half, piece: _Waiting) -> None:
    """Hand on octets that are next in order; their frame is held."""
    half.cutter.take(piece.payload, piece.frame, piece.captured_at_ns, pushed=piece.pushed)
    if piece.missing:
        half.cutter.skip(piece.missing)
