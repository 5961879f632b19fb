"""Reading a capture file: every signalling message in it, and the account of every frame."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ferret.errors import RecordError
from ferret.records.message import CapturedMessage
from ferret_agents.capture.dissect import Dissector
from ferret_agents.capture.files import open_capture, records
from ferret_agents.capture.ledger import Damage, Ledger

WAIT_NS = 3_500_000_000
MAX_WAITING = 4096


@dataclass(frozen=True, slots=True)
class CaptureResult:
    """What a capture file holds. `frames == used + damaged_frames + sum(ignored.values())`."""

    messages: tuple[CapturedMessage, ...]
    damage: tuple[Damage, ...]
    damage_not_listed: int  # entries beyond what is kept
    frames: int
    used: int  # frames that hold octets of a message
    damaged_frames: int
    ignored: Mapping[str, int]  # frames by the kind of what they hold instead
    by_protocol: Mapping[str, int]  # messages by protocol
    link_types: Mapping[int, int]  # frames by LINKTYPE_ value
    first_at_ns: int  # the earliest and the latest time of a frame; 0 where there is none
    last_at_ns: int


class _InFrameOrder:
    """Puts messages back into the order of the frames that completed them.

    A message behind a hole in its stream is known to be complete only when the hole is given up. Until then, messages
    of later frames wait here, but not for longer than `WAIT_NS` of capture time, and never more than `MAX_WAITING`.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: list[tuple[int, int, CapturedMessage]] = []
        self._count = 0

    def take(self, messages: list[CapturedMessage], at_ns: int) -> Iterator[CapturedMessage]:
        """Take what a frame at `at_ns` has completed; give what nothing earlier can precede any more."""
        waiting = self._waiting
        for message in messages:
            self._count += 1
            heapq.heappush(waiting, (message.frame, self._count, message))
        while waiting:
            frame, _, message = waiting[0]
            oldest = self._ledger.oldest_pending
            if oldest and oldest <= frame and len(waiting) <= MAX_WAITING and at_ns - message.captured_at_ns < WAIT_NS:
                return
            yield heapq.heappop(waiting)[2]

    def rest(self) -> Iterator[CapturedMessage]:
        """Everything that still waits."""
        while self._waiting:
            yield heapq.heappop(self._waiting)[2]


class CaptureReader:
    """One pass over a capture file: iterate it for the messages, then ask for the account. Memory stays bounded.

    Messages come in the order of the frames that completed them, with times as the file has them.

    Raises RecordError, at the first step, if the file cannot be opened or is no capture, and at the end if nobody here
    knows any of its link types.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ledger = Ledger()
        self.dissector = Dissector(self.ledger)
        self.first_at_ns = 0
        self.last_at_ns = 0

    def __iter__(self) -> Iterator[CapturedMessage]:
        at_ns = 0
        feed = self.dissector.feed
        ordered = _InFrameOrder(self.ledger)
        with open_capture(self.path) as stream:
            for record in records(stream, self.ledger, str(self.path)):
                at_ns = record.captured_at_ns
                if at_ns > self.last_at_ns:
                    self.last_at_ns = at_ns
                if at_ns < self.first_at_ns or not self.first_at_ns:
                    self.first_at_ns = at_ns
                yield from ordered.take(feed(record), at_ns)
        if self.dissector.unsupported and self.dissector.unsupported == sum(self.dissector.link_types.values()):
            kinds = ", ".join(str(number) for number in sorted(self.dissector.link_types))
            raise RecordError(f"{self.path}: link type {kinds} is not supported")
        yield from ordered.take(self.dissector.flush(), at_ns)
        yield from ordered.rest()

    def result(self, messages: tuple[CapturedMessage, ...] = ()) -> CaptureResult:
        """The account so far."""
        ledger = self.ledger
        return CaptureResult(
            messages=messages,
            damage=tuple(ledger.damage),
            damage_not_listed=ledger.damage_not_listed,
            frames=ledger.frames,
            used=ledger.used,
            damaged_frames=ledger.damaged,
            ignored=Counter(ledger.ignored),
            by_protocol=Counter(self.dissector.messages),
            link_types=Counter(self.dissector.link_types),
            first_at_ns=self.first_at_ns,
            last_at_ns=self.last_at_ns,
        )


def messages(path: Path) -> Iterator[CapturedMessage]:
    """Every message of a capture file, in capture order, one at a time. Raises RecordError like `CaptureReader`."""
    return iter(CaptureReader(path))


def read(path: Path) -> CaptureResult:
    """A whole capture file. Raises RecordError if it cannot be opened or is no capture."""
    reader = CaptureReader(path)
    return reader.result(tuple(reader))
