"""Reading a capture file: every signalling message in it, and the account of every frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ferret.records.message import CapturedMessage

from ferret_agents.capture.dissect import Dissector
from ferret_agents.capture.files import open_capture, records
from ferret_agents.capture.ledger import Damage, Ledger


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


class CaptureReader:
    """One pass over a capture file: iterate it for the messages, then ask for the account. Memory stays bounded.

    Raises RecordError, at the first step, if the file cannot be opened or is no capture, and on a link type that
    nobody here knows.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ledger = Ledger()
        self.dissector = Dissector(self.ledger)
        self.first_at_ns = 0
        self.last_at_ns = 0

    def __iter__(self) -> Iterator[CapturedMessage]:
        feed = self.dissector.feed
        with open_capture(self.path) as stream:
            for record in records(stream, self.ledger, str(self.path)):
                at_ns = record.captured_at_ns
                if at_ns > self.last_at_ns:
                    self.last_at_ns = at_ns
                if at_ns < self.first_at_ns or not self.first_at_ns:
                    self.first_at_ns = at_ns
                yield from feed(record)
        yield from self.dissector.flush()

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
