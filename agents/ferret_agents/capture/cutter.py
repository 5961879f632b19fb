"""Cutting one direction of a byte stream into Diameter and SIP messages.

The stream may begin in the middle of a message and may have holes; which protocol it carries is seen from its octets.
A SIP Content-Length is believed unless the stream contradicts it: captures are passed on with names and numbers
replaced by shorter ones, which leaves Content-Length wrong.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ferret.protocols import sip
from ferret.protocols.summary import Protocol
from ferret.records.message import Flaw
from ferret_agents.capture import framing
from ferret_agents.capture.ledger import DAMAGED, USED, Ledger, better

_SIGNALLING_PORTS = frozenset((3868, 5060))
_QUICKLY_JOINED = 1 << 16  # octets that wait: joining them with more again and again takes its time
_BLANK = b"\r\n\0"  # keep-alives between SIP messages, RFC 5626 section 3.5.1

Emit = Callable[[Protocol, bytes, int, int, tuple[Flaw, ...]], None]
"""Gets protocol, octets, frame and time (ns) that completed the message, flaws."""


class _Mark:
    """Which frame brought the octets of the stream up to `end`."""

    __slots__ = ("captured_at_ns", "end", "fate", "frame", "pushed")

    def __init__(self, end: int, frame: int, captured_at_ns: int, pushed: bool) -> None:
        self.end = end
        self.frame = frame
        self.captured_at_ns = captured_at_ns
        self.pushed = pushed
        self.fate: str | None = None


class Cutter:
    """Takes octets in stream order. Each frame that it is given must be held in the ledger once; it settles them."""

    __slots__ = (
        "_buffer", "_discard", "_emit", "_hole", "_kind", "_ledger", "_length", "_marks", "_newest", "_noise", "_ports",
        "_reported", "_searched", "_synced", "offset", "protocol",
    )  # fmt: skip

    def __init__(self, ledger: Ledger, ports: tuple[int, int], emit: Emit, *, after_hole: bool = False) -> None:
        self._ledger = ledger
        self._ports = _SIGNALLING_PORTS.intersection(ports)
        self._emit = emit
        self._buffer = bytearray()
        self._marks: deque[_Mark] = deque()
        self._synced = False  # the buffer begins where a message should
        self._hole = after_hole
        self._discard = 0  # octets to come of a message that a hole has spoilt
        self._newest: _Mark | None = None  # the latest frame that a message so far came in
        self._searched = 0
        self._length = 0  # of the message that the buffer begins with, where `pass_in_order` knows it
        self._noise = 0  # octets since the last message that belong to none
        self._kind = ""  # what a stream of neither protocol seems to be
        self._reported = False  # that it is noise
        self.protocol: Protocol | None = None
        self.offset = 0  # in the stream, of the next octet expected

    @property
    def waits(self) -> bool:
        """Whether it holds the beginning of a message."""
        return self._synced and bool(self._buffer)

    @property
    def held(self) -> int:
        """How many octets of it wait for more."""
        return len(self._buffer)

    def take(self, octets: bytes, frame: int, captured_at_ns: int, *, pushed: bool) -> None:
        """The next octets of the stream. `pushed`: the sender had no more to say just then (TCP PSH)."""
        self.offset += len(octets)
        gone = min(self._discard, len(octets))
        if gone:
            self._discard -= gone
            octets = octets[gone:]
        if not octets:
            self._ledger.settle(frame, DAMAGED)
            return
        if self._synced and self._buffer and self.protocol is Protocol.SIP and self._begins_anew(octets):
            self._settle_short("another begins after it")
        self._buffer += octets
        self._marks.append(_Mark(self.offset, frame, captured_at_ns, pushed))
        self._cut()

    def pass_in_order(self, octets: bytes, frame: int, captured_at_ns: int, *, pushed: bool) -> list[bytes] | None:
        """Take the next octets of the stream, if nothing is wrong with it; the messages that they complete.

        None: nothing has changed, use `take`. The quick way for what nearly every segment is. `frame` need not be held
        in the ledger: where it brings the beginning of a message (`waits`) it is held here.
        """
        buffer, whole, searched, length = self._buffer, octets, 0, self._length
        if not self._synced or self._discard or self._hole:
            return None
        is_diameter = self.protocol is Protocol.DIAMETER
        if is_diameter and not buffer and _diameter_length(octets, 0) == len(octets):  # as nearly all are
            self.offset += len(octets)
            return [octets]
        if buffer:
            if len(buffer) > _QUICKLY_JOINED or (not is_diameter and framing.is_sip(octets)):  # which may begin anew
                return None
            whole, searched = bytes(buffer) + octets, self._searched
        found: list[bytes] = []
        at, end = 0, len(whole)
        while at < end:
            if not length:
                length = _diameter_length(whole, at) if is_diameter else _sip_length(whole, searched, at)
            if length < 0:
                return None
            if not length or at + length > end:
                break
            found.append(whole[at : at + length])
            at += length
            length = searched = 0
        self.offset += len(octets)
        if buffer:
            if found:
                for mark in self._marks:
                    self._ledger.settle(mark.frame, USED)
                self._marks.clear()
            buffer.clear()
        self._length = length
        self._searched = 0 if length else end - at
        if at < end:
            buffer += whole[at:]
            self._ledger.hold(frame)
            mark = _Mark(self.offset, frame, captured_at_ns, pushed)
            mark.fate = USED if found else None
            self._marks.append(mark)
        return found

    def skip(self, octets: int) -> None:
        """The next `octets` of the stream will never come."""
        spoilt = self._discard
        if self._synced and self._buffer:
            spoilt = self._extent().length - len(self._buffer)
            self._emit_part()
        elif self._buffer:
            self._drop_noise(len(self._buffer))
        self.offset += octets
        self._searched = 0
        self._discard = max(0, spoilt - octets)
        if spoilt < octets:  # beyond what is known to belong to the message that is cut off
            self._synced = False
            self._hole = True

    def quiet(self) -> None:
        """Nothing has come for long enough that a message whose length is wrong must be taken as it is."""
        if self.waits and self.protocol is Protocol.SIP:
            self._settle_short("nothing comes after it")

    def end(self, why: str) -> None:
        """No more octets will come."""
        self.quiet()
        if not self._buffer:
            return
        if self._synced:
            self._ledger.report(self._marks[-1].frame, f"a {self.protocol} message is not complete: {why}")
            self._emit_part()
        else:
            self._drop_noise(len(self._buffer))
        self._synced = False

    def _begins_anew(self, octets: bytes) -> bool:
        """Whether a segment begins with a SIP message while the one before seems to lack octets."""
        if not framing.is_sip(octets) or not self._marks[-1].pushed:
            return False
        seen = sip.peek(octets)
        return seen is not None and seen.correlation != ""

    def _settle_short(self, why: str) -> None:
        """Take a SIP message as complete although its Content-Length says that octets are missing, if it looks so."""
        extent = self._extent()
        if not extent.length or extent.length <= len(self._buffer) or not self._marks[-1].pushed:
            return
        if not self._buffer.endswith((b"\n", b">")):
            return
        short = extent.length - len(self._buffer)
        self._ledger.report(self._marks[-1].frame, f"a SIP Content-Length says {short} octets too many: {why}")
        self._message(len(self._buffer), ())

    def _extent(self) -> framing.Extent:
        if self.protocol is Protocol.DIAMETER:
            return framing.diameter_extent(self._buffer)
        return framing.sip_extent(self._buffer, self._searched)

    def _cut(self) -> None:
        """Cut as many messages from the buffer as are complete."""
        while self._buffer:
            if not self._synced and not self._find():
                return
            if self.protocol is Protocol.SIP and self._buffer[0] in _BLANK:
                self._consume(len(self._buffer) - len(self._buffer.lstrip(_BLANK)), "sip keep-alive")
                continue
            extent = self._extent()
            if extent.fault:
                self._lose(extent.fault)
            elif not extent.length or extent.length > len(self._buffer):
                self._searched = 0 if extent.length else len(self._buffer)
                return
            elif self.protocol is Protocol.SIP:
                self._message(self._stretch(extent.length), ())
            else:
                self._message(extent.length, ())

    def _stretch(self, length: int) -> int:
        """The true length of a SIP message whose Content-Length is too small: up to the next, or its segment's end."""
        end = length + self.offset - len(self._buffer)
        last = next(mark for mark in self._marks if mark.end >= end)
        stop = last.end - (self.offset - len(self._buffer))
        rest = self._buffer[length:stop]
        if not rest.strip(_BLANK) or framing.may_be_sip(rest.lstrip(_BLANK)):
            return length
        found = framing.find_start(rest)
        longer = found[1] if found is not None else len(rest)
        self._ledger.report(last.frame, f"a SIP Content-Length says {longer} octets too few")
        return length + longer

    def _lose(self, fault: str) -> None:
        """What stands where a message should begin is none: go on behind it."""
        self._ledger.report(self._marks[0].frame, f"undecodable: {fault}")
        self._consume(1, DAMAGED)
        self._reported = True
        self._synced = False
        self._hole = True

    def _find(self) -> bool:
        """Look for a message's beginning; drop what certainly is none."""
        found = framing.find_start(self._buffer)
        if found is None:
            useless = len(self._buffer) - framing.tail_to_keep(self._buffer)
            if useless:
                self._drop_noise(useless)
            return False
        protocol, at = found
        if at:
            self._drop_noise(at)
        if self._noise and not self._reported:
            self._ledger.report(self._marks[0].frame, f"{self._noise} octets before this {protocol} message are none")
        self._hole = self._hole or self._noise > 0
        self.protocol = protocol
        self._synced = True
        self._reported = False
        self._noise = 0
        return True

    def _drop_noise(self, octets: int) -> None:
        """The first `octets` of the buffer belong to no message."""
        noise = bytes(self._buffer[:octets])
        if not noise.strip(_BLANK):
            self._consume(octets, "sip keep-alive")
            return
        self._noise += octets
        self._kind = self._kind or framing.kind_of_stream(noise)
        if self.protocol is None and (not self._ports or self._kind != "tcp"):
            self._consume(octets, self._kind)
            return
        if not self._reported:
            self._reported = True
            fault = framing.diameter_fault(noise) if len(noise) >= framing.DIAMETER_HEADER else ""
            what = fault if fault and 3868 in self._ports else "neither Diameter nor SIP begins here"
            self._ledger.report(self._marks[0].frame, f"undecodable: {what}")
        self._consume(octets, DAMAGED)

    def _emit_part(self) -> None:
        """What there is of a message that a hole or the end has cut off."""
        known = framing.is_diameter if self.protocol is Protocol.DIAMETER else framing.is_sip
        if known(self._buffer):
            self._message(len(self._buffer), (Flaw.CUT,))
        else:
            self._consume(len(self._buffer), DAMAGED)

    def _message(self, length: int, flaws: tuple[Flaw, ...]) -> None:
        octets = bytes(self._buffer[:length])
        end = self.offset - len(self._buffer) + length
        for mark in self._marks:  # what waited for an earlier segment is complete only with that one
            if self._newest is None or mark.frame > self._newest.frame:
                self._newest = mark
            if mark.end >= end:
                break
        if self._hole:
            flaws = (Flaw.HOLE_BEFORE, *flaws)
            self._hole = False
        self._consume(length, USED)
        if self._newest is not None:
            at_ns = self._newest.captured_at_ns
            self._emit(self.protocol or Protocol.DIAMETER, octets, self._newest.frame, at_ns, flaws)

    def _consume(self, octets: int, fate: str) -> None:
        start = self.offset - len(self._buffer)
        del self._buffer[:octets]
        self._searched = self._length = 0
        marks = self._marks
        settled = start
        while marks and marks[0].end <= start + octets:
            mark = marks.popleft()
            settled = mark.end
            self._ledger.settle(mark.frame, better(mark.fate, fate))
        if marks and settled < start + octets:
            marks[0].fate = better(marks[0].fate, fate)


def _diameter_length(octets: bytes, at: int) -> int:
    """The length of the Diameter message at `at`; 0: more octets are needed to say; -1: there is none."""
    if len(octets) - at < framing.DIAMETER_HEADER:
        return 0 if octets[at] == 1 else -1
    return framing.diameter_length(octets, at) or -1


def _sip_length(octets: bytes, searched: int, at: int) -> int:
    """The same of a SIP message. `searched`: see `framing.sip_extent`."""
    extent = framing.sip_extent(octets, searched, at)
    return -1 if extent.fault else extent.length
