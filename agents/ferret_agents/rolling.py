"""A recording that goes on: what agents have captured, looked at again and again while more comes.

    recorder = RollingRecorder()
    for captured in queue: recorder.take(captured)
    capture = await asyncio.to_thread(record_messages, recorder.messages())
    recorder.drop(call.messages)          # when the call is over

What is over is dropped, so that looking stays quick; what calls build upon (attach, PDN connections, registration)
stays. A gap in an agent's numbers is a hole in a recording, so the numbers close up where messages were dropped on
purpose, and only there.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from ferret.protocols.summary import Protocol
from ferret.records.message import CapturedMessage, SignallingMessage

MOST_MESSAGES: Final = 200_000
"""About 400 MB of memory; the oldest go first, and are counted."""
_COPY_NS: Final = 250_000_000
"""Agents of one host see the same message within this time; the next call may have one with the same octets."""


class RollingRecorder:
    """The messages of a host that are still of use. `let_go`: those that there was no room for."""

    def __init__(self, *, most: int = MOST_MESSAGES) -> None:
        self.taken = 0
        self.let_go = 0
        self._most = most
        self._messages: dict[int, CapturedMessage] = {}  # by the order in which they came
        self._dropped: Counter[tuple[str, int]] = Counter()  # on purpose, by agent and its run

    def take(self, captured: CapturedMessage) -> None:
        """Take what an agent has captured."""
        dropped = self._dropped[captured.agent, captured.epoch]
        self._messages[self.taken] = replace(captured, number=captured.number - dropped) if dropped else captured
        self.taken += 1
        if len(self._messages) > self._most:
            del self._messages[next(iter(self._messages))]
            self.let_go += 1

    def messages(self) -> tuple[CapturedMessage, ...]:
        """Everything that is kept, in the order in which it came."""
        return tuple(self._messages.values())

    def drop(self, messages: Iterable[SignallingMessage]) -> None:
        """Forget these, as every agent has seen them."""
        gone: dict[tuple[Protocol, bytes], list[int]] = defaultdict(list)
        for message in messages:
            gone[message.protocol, message.octets].append(message.captured.captured_at_ns)
        kept: dict[int, CapturedMessage] = {}
        now: Counter[tuple[str, int]] = Counter()
        for place, one in sorted(self._messages.items(), key=lambda item: item[1].number):
            run = one.agent, one.epoch
            times = gone.get((one.protocol, one.octets), ())
            if any(abs(one.captured_at_ns - at) <= _COPY_NS for at in times):
                now[run] += 1
            else:
                kept[place] = replace(one, number=one.number - now[run]) if now[run] else one
        self._dropped.update(now)
        self._messages = dict(sorted(kept.items()))

    def __len__(self) -> int:
        return len(self._messages)
