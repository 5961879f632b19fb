"""One TCP connection, sans-IO: segments, orders and time go in, segments and events come out (RFC 9293).

What counts, in order:

1. `states.TABLE` says what leads from one state to another.
2. Only what is next in order is delivered; what comes early waits, within the window that was offered.
3. Everything unacknowledged is sent again from its beginning when the retransmission timer runs out (RFC 6298), its
   first segment already at the third duplicate acknowledgement (RFC 5681 clause 3.2).
4. Not more is under way than the peer's window and the congestion window allow (RFC 5681 clause 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from ferret.errors import LocalMisuseError
from ferret.transport.endpoint import Address
from ferret_core.tcp.rtt import RoundTrip
from ferret_core.tcp.segment import Flag, Segment
from ferret_core.tcp.states import RECEIVES, SENDS, TABLE, TcpEvent, TcpState

WINDOW: Final = 0xFFFF  # octets; there is no window scaling
_DEFAULT_MSS: Final = 536  # octets, of a peer that names none (RFC 9293 clause 3.7.1)
_LEAST_MSS: Final = 64
_INITIAL_SEGMENTS: Final = 10  # of the congestion window (RFC 6928)
_SENDING: Final = 1 << 20  # octets that may wait to be sent
_TRIES: Final = 8  # times that one thing is sent before the peer is given up
_MSL: Final = 30.0  # seconds (RFC 9293 clause 3.4.1 has two minutes; paths here are short)
_DUPLICATES: Final = 3
_WRAP: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class Opened:
    """The connection is established."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """Octets from the peer, in order."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class Closed:
    """The peer has nothing more to send."""


@dataclass(frozen=True, slots=True)
class Lost:
    """There is no connection any more."""

    reason: str


Happened: TypeAlias = Opened | Delivered | Closed | Lost


class Connection:
    """One connection. `mss`: what one segment to us may carry, in octets."""

    def __init__(self, local: Address, remote: Address, sequence: int, *, mss: int) -> None:
        """`sequence`: the initial one; nobody should be able to guess it (RFC 6528)."""
        self.local = local
        self.remote = remote
        self.state = TcpState.CLOSED
        self._mss = mss
        self._peer_mss = _DEFAULT_MSS
        self._first = sequence % _WRAP
        self._acknowledged = self._first  # SND.UNA
        self._next = self._first  # SND.NXT
        self._highest = self._first  # the highest SND.NXT so far: it goes back when things are sent again
        self._counted = 0  # octets acknowledged since the beginning
        self._buffer = b""  # from SND.UNA on, without SYN
        self._fin_wanted = False
        self._expected = 0  # RCV.NXT
        self._early: dict[int, bytes] = {}
        self._fin_at: int | None = None
        self._window = WINDOW
        self._congestion = _INITIAL_SEGMENTS * _DEFAULT_MSS
        self._threshold = WINDOW
        self._duplicates = 0
        self._round_trip = RoundTrip()
        self._tries = 0
        self._timer: float | None = None
        self._outbox: list[Segment] = []
        self._events: list[Happened] = []

    # ---- orders

    def open(self, now: float) -> None:
        """Connect."""
        self.state = TcpState.SYN_SENT
        self._next = self._highest = (self._first + 1) % _WRAP
        self._send_syn(now)

    def accept(self, syn: Segment, now: float) -> None:
        """Answer the peer's SYN."""
        self.state = TcpState.SYN_RECEIVED
        self._expected = (syn.sequence + 1) % _WRAP
        self._learn(syn)
        self._next = self._highest = (self._first + 1) % _WRAP
        self._send_syn(now)

    def send(self, octets: bytes, now: float) -> None:
        """Send. Raises LocalMisuseError where nothing can be sent any more, or too much waits already."""
        if self._fin_wanted or self.state not in (*SENDS, TcpState.SYN_SENT, TcpState.SYN_RECEIVED):
            raise LocalMisuseError(f"sending on a TCP connection that is {self.state}")
        if len(self._buffer) + len(octets) > _SENDING:
            raise LocalMisuseError("the TCP peer takes nothing any more")
        self._buffer += octets
        self._flush(now)

    def close(self, now: float) -> list[Happened]:
        """Send what waits, then say that there is nothing more."""
        self._fin_wanted = True
        self._happen(TcpEvent.CLOSE, now)
        self._flush(now)
        return self._told()

    def abort(self) -> None:
        """End it at once; the peer is told."""
        if self.state not in (TcpState.CLOSED, TcpState.SYN_SENT):
            self._emit(Flag.RST | Flag.ACK, self._next)
        self.state, self._timer = TcpState.CLOSED, None

    # ---- the network

    def receive(self, segment: Segment, now: float) -> list[Happened]:
        """A segment of this connection has come."""
        if self.state is TcpState.SYN_SENT:
            self._receive_in_syn_sent(segment, now)
        elif self.state is not TcpState.CLOSED:
            self._receive(segment, now)
        return self._told()

    def segments(self) -> list[Segment]:
        """What is to be sent now; each is given out once."""
        outbox, self._outbox = self._outbox, []
        return outbox

    def deadline(self) -> float | None:
        """When `wake` wants to be called."""
        return self._timer

    def wake(self, now: float) -> list[Happened]:
        """Run the timer if it is due."""
        if self._timer is not None and self._timer <= now:
            self._timer = None
            if self.state is TcpState.TIME_WAIT:
                self._happen(TcpEvent.WAITED, now)
            else:
                self._send_again(now)
        return self._told()

    # ---- receiving

    def _receive_in_syn_sent(self, segment: Segment, now: float) -> None:
        """RFC 9293 clause 3.10.7.3."""
        fits = bool(segment.flags & Flag.ACK) and segment.acknowledgement == (self._first + 1) % _WRAP
        if not fits:
            return
        if segment.flags & Flag.RST:
            self._lose("connection refused")
        elif segment.flags & Flag.SYN:
            self._expected = (segment.sequence + 1) % _WRAP
            self._learn(segment)
            self._acknowledged = segment.acknowledgement
            self._established(TcpEvent.SYN_ACCEPTED, now)
            self._emit(Flag.ACK, self._next)
            self._flush(now)

    def _receive(self, segment: Segment, now: float) -> None:
        """RFC 9293 clause 3.10.7.4."""
        ahead = (segment.sequence - self._expected) % _WRAP
        if segment.flags & Flag.RST:
            if not ahead:  # any other may be forged (RFC 5961 clause 3.2)
                self._lose("reset by peer")
            return
        if segment.flags & Flag.SYN:
            if self.state is TcpState.SYN_RECEIVED and ahead == _WRAP - 1:
                self._send_syn(now)  # our answer was lost
            else:
                self._emit(Flag.ACK, self._next)
            return
        if segment.flags & Flag.ACK and self._take_acknowledgement(segment, now) and segment.length:
            self._take_octets(segment, now)
        self._flush(now)

    def _take_acknowledgement(self, segment: Segment, now: float) -> bool:
        """SND.UNA < SEG.ACK =< SND.NXT; False: it is of nothing that we have sent."""
        ahead = (segment.acknowledgement - self._acknowledged) % _WRAP
        if ahead > (self._highest - self._acknowledged) % _WRAP:
            if ahead < _WRAP // 2:
                self._emit(Flag.ACK, self._next)
            return ahead >= _WRAP // 2  # an old one: what it carries may be new
        if self.state is TcpState.SYN_RECEIVED:
            if not ahead:
                return False
            self._acknowledged = (self._acknowledged + 1) % _WRAP
            ahead -= 1
            self._established(TcpEvent.SYN_ACKNOWLEDGED, now)
        self._window = segment.window
        if ahead:
            self._advance(ahead, now)
        elif self._next != self._acknowledged and not segment.length:
            self._take_duplicate(now)
        return True

    def _advance(self, octets: int, now: float) -> None:
        self._counted += octets
        self._round_trip.acknowledged(self._counted, now)
        fin_too = octets > len(self._buffer)
        self._buffer = self._buffer[octets:]
        if octets > (self._next - self._acknowledged) % _WRAP:  # what was sent before it was to be sent again
            self._next = (self._acknowledged + octets) % _WRAP
        self._acknowledged = (self._acknowledged + octets) % _WRAP
        self._tries = self._duplicates = 0
        grows_fast = self._congestion < self._threshold
        self._congestion += min(octets, self._peer_mss) if grows_fast else max(1, self._peer_mss**2 // self._congestion)
        self._timer = None if self._next == self._acknowledged else now + self._round_trip.timeout
        if fin_too:
            self._happen(TcpEvent.FIN_ACKNOWLEDGED, now)

    def _take_duplicate(self, now: float) -> None:
        self._duplicates += 1
        if self._duplicates == _DUPLICATES:
            self._slow_down(self._threshold_now())
            self._send_from(self._acknowledged, self._peer_mss, now)

    def _take_octets(self, segment: Segment, now: float) -> None:
        if self.state in RECEIVES:
            ahead = (segment.sequence - self._expected) % _WRAP
            if ahead >= _WRAP // 2:  # it begins with what is here already
                known = _WRAP - ahead
                self._keep(self._expected, segment.payload[known:])
            elif ahead + len(segment.payload) <= WINDOW:
                self._keep(segment.sequence, segment.payload)
            if segment.flags & Flag.FIN:
                self._fin_at = (segment.sequence + len(segment.payload)) % _WRAP
            self._deliver(now)
        self._emit(Flag.ACK, self._next)

    def _keep(self, sequence: int, octets: bytes) -> None:
        if octets and len(octets) > len(self._early.get(sequence, b"")) and len(self._early) < WINDOW // _LEAST_MSS:
            self._early[sequence] = octets

    def _deliver(self, now: float) -> None:
        """Hand on what is in order now, and the end if it is reached."""
        delivered: list[bytes] = []
        while (found := self._first_early()) is not None:
            sequence, octets = found
            del self._early[sequence]
            new = octets[(self._expected - sequence) % _WRAP :]
            delivered.append(new)
            self._expected = (self._expected + len(new)) % _WRAP
        if delivered:
            self._events.append(Delivered(b"".join(delivered)))
        if self._fin_at == self._expected:
            self._expected = (self._expected + 1) % _WRAP
            self._fin_at = None
            self._events.append(Closed())
            self._happen(TcpEvent.FIN_RECEIVED, now)

    def _first_early(self) -> tuple[int, bytes] | None:
        """A piece that holds what is expected next; pieces that are behind it are forgotten."""
        for sequence, octets in list(self._early.items()):
            behind = (self._expected - sequence) % _WRAP
            if behind < len(octets):
                return sequence, octets
            if behind < _WRAP // 2:
                del self._early[sequence]
        return None

    # ---- sending

    def _flush(self, now: float) -> None:
        """Send what the windows allow of what has not been sent."""
        if self.state not in SENDS:
            return
        sent = (self._next - self._acknowledged) % _WRAP
        allowed = min(max(self._window, 1), self._congestion)  # one octet asks whether a closed window has opened
        while sent < len(self._buffer) and sent < allowed:
            size = min(self._peer_mss, allowed - sent, len(self._buffer) - sent)
            sent += self._send_from((self._acknowledged + sent) % _WRAP, size, now)
        if self._fin_wanted and sent == len(self._buffer):
            self._send_from((self._acknowledged + sent) % _WRAP, 0, now)

    def _send_from(self, sequence: int, size: int, now: float) -> int:
        """Send up to `size` octets from `sequence` on, with the FIN if it is next; how many they were."""
        at = (sequence - self._acknowledged) % _WRAP
        octets = self._buffer[at : at + size]
        last = self._fin_wanted and at + len(octets) == len(self._buffer)
        flags = Flag.ACK | (Flag.PSH if octets else Flag(0)) | (Flag.FIN if last else Flag(0))
        self._emit(flags, sequence, octets)
        end = (sequence + len(octets) + last) % _WRAP
        if (end - self._acknowledged) % _WRAP > (self._next - self._acknowledged) % _WRAP:
            self._next = end
        if (end - self._acknowledged) % _WRAP > (self._highest - self._acknowledged) % _WRAP:
            self._highest = end
            self._round_trip.sent(self._counted + at + len(octets) + last, now)
        if self._timer is None:
            self._timer = now + self._round_trip.timeout
        return len(octets)

    def _send_again(self, now: float) -> None:
        """The retransmission timer has run out (RFC 6298 clause 5.4 to 5.7)."""
        self._tries += 1
        if self._tries >= _TRIES:
            self._lose("no acknowledgement")
            return
        self._round_trip.timed_out()
        if self.state in (TcpState.SYN_SENT, TcpState.SYN_RECEIVED):
            self._send_syn(now)
            return
        self._threshold = self._threshold_now()
        self._congestion = self._peer_mss
        self._next = self._acknowledged
        self._flush(now)

    def _send_syn(self, now: float) -> None:
        flags = Flag.SYN | (Flag.ACK if self.state is TcpState.SYN_RECEIVED else Flag(0))
        self._emit(flags, self._first, mss=self._mss)
        self._timer = now + self._round_trip.timeout

    def _threshold_now(self) -> int:
        return max((self._next - self._acknowledged) % _WRAP // 2, 2 * self._peer_mss)

    def _slow_down(self, threshold: int) -> None:
        self._threshold = self._congestion = threshold

    def _emit(self, flags: Flag, sequence: int, octets: bytes = b"", mss: int = 0) -> None:
        acknowledgement = self._expected if flags & Flag.ACK else 0
        segment = Segment(self.local, self.remote, sequence % _WRAP, acknowledgement, flags, WINDOW, octets, mss)
        self._outbox.append(segment)

    # ---- states

    def _established(self, event: TcpEvent, now: float) -> None:
        self._tries = 0
        self._timer = None
        self._congestion = _INITIAL_SEGMENTS * self._peer_mss
        self._happen(event, now)
        self._events.append(Opened())
        if self._fin_wanted:
            self._happen(TcpEvent.CLOSE, now)

    def _learn(self, syn: Segment) -> None:
        self._peer_mss = max(_LEAST_MSS, min(syn.mss or _DEFAULT_MSS, self._mss))
        self._window = syn.window

    def _happen(self, event: TcpEvent, now: float) -> None:
        self.state = TABLE[self.state, event]
        if self.state is TcpState.TIME_WAIT:
            self._timer = now + 2 * _MSL
        elif self.state is TcpState.CLOSED:
            self._timer = None

    def _lose(self, reason: str) -> None:
        self.state, self._timer = TABLE[self.state, TcpEvent.RESET], None
        self._events.append(Lost(reason))

    def _told(self) -> list[Happened]:
        events, self._events = self._events, []
        return events
