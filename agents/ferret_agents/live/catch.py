"""What an agent has found and not handed on yet, and the count of it.

Messages are numbered as they are found, so that one which is dropped later, or which the kernel dropped before anybody
saw it, leaves a hole.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Final, NamedTuple

from ferret.protocols.summary import Protocol
from ferret_agents.live.message_types import type_of

_MOST_KINDS: Final = 4096
_FRAME_NUMBERS: Final = 0xFFFFFFFF  # then they start anew: the queue's format has 32 bits for them


class Batch(NamedTuple):
    """Messages as the queue wants them, and when each was captured (ns)."""

    messages: list[bytes]
    times: list[int]


class Catch:
    """The messages of one NF. Flows of the hot path count by what is cheapest to look at; `by_type` gives the names."""

    __slots__ = ("diameter", "foreign", "frame", "gtpv2", "messages", "named", "number", "s1ap", "sip", "times")

    def __init__(self) -> None:
        self.number = 0  # of the last message, holes included
        self.frame = 0  # the last one that has a number: only those have one that may have to wait
        self.messages: list[bytes] = []
        self.times: list[int] = []
        self.gtpv2 = [0] * 256  # messages by message type
        self.sip: defaultdict[bytes, int] = defaultdict(int)  # by what `shapes.one_sip` gives
        self.s1ap: defaultdict[bytes, int] = defaultdict(int)  # by what `shapes.one_s1ap` gives
        self.diameter: defaultdict[bytes, int] = defaultdict(int)  # by flags and command: octets 4 to 7
        self.named: Counter[tuple[str, str]] = Counter()  # those that were not counted so
        self.foreign: Counter[Protocol] = Counter()  # messages of others that the filter could not tell apart

    @property
    def next_frame(self) -> int:
        """The number for one more frame: `frame`, once it is used."""
        return self.frame % _FRAME_NUMBERS + 1

    def refuse(self, protocol: Protocol) -> None:
        """A message that is not the NF's."""
        self.foreign[protocol] += 1

    def take_batch(self) -> Batch:
        """The messages found since the last time."""
        batch = Batch(self.messages, self.times)
        self.messages, self.times = [], []
        if len(self.diameter) > _MOST_KINDS:  # the only one that those who send can make long
            for begin, count in self.diameter.items():
                self.named[Protocol.DIAMETER, _diameter_type(begin)] += count
            self.diameter.clear()
        return batch

    def by_type(self) -> Counter[tuple[str, str]]:
        """How many messages of which protocol and type were found and are the NF's."""
        found = Counter(self.named)
        for kind, count in enumerate(self.gtpv2):
            if count:
                found[Protocol.GTPV2, type_of(Protocol.GTPV2, bytes((0x40, kind)))] += count
        for begin, count in self.sip.items():
            found[Protocol.SIP, type_of(Protocol.SIP, begin + b" ")] += count
        for begin, count in self.s1ap.items():
            found[Protocol.S1AP, type_of(Protocol.S1AP, begin)] += count
        for begin, count in self.diameter.items():
            found[Protocol.DIAMETER, _diameter_type(begin)] += count
        return found


def _diameter_type(begin: bytes) -> str:
    return type_of(Protocol.DIAMETER, bytes(4) + begin)
