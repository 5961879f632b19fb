"""What agents have captured, looked at whenever it pauses: which calls there are, and how far each has come (the rim).

Looking takes some 30 ms of a thread. So there is a look when something can have changed with a call; while a call is
followed, at every pause. What is over is dropped after a while, so that looks stay short.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from ferret.fallback.establishment import CallWatch
from ferret.fallback.messages import Call, CallBegun, CallEnded, CallEstablished
from ferret.records.message import CapturedMessage, SignallingMessage
from ferret.records.recorder import Capture
from ferret.records.recording import CALLS, Entry, Recording
from ferret.replay.plan import KEEP_ALIVES
from ferret_agents.live_recording import record_messages
from ferret_agents.rolling import RollingRecorder

_QUIET: Final = 0.012  # s without a message after which what was captured is looked at
_LATEST: Final = 0.1  # s: on a host that is never quiet
_APART: Final = 0.15  # s between looks at what cannot have changed any call: they take the NFs' time
_OVER: Final = 0.5  # s after which no message of a call that has ended is on its way any more
_ATTACH: Final = "attach"
_CONNECTIONS: Final = KEEP_ALIVES & {"CER", "CEA"}

CallEvent = CallBegun | CallEstablished | CallEnded
Span = tuple[int, int]
"""From and to, ns since the epoch."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a look has found: what is new, everything, and the recording of each call."""

    news: tuple[CallEvent, ...]
    capture: Capture
    calls: Mapping[Call, Recording]


class Observation:
    """Everything that agents capture on one host."""

    def __init__(self) -> None:
        self.recorder = RollingRecorder()
        self._watch = CallWatch(settle=_QUIET, latest=_LATEST)
        self._own: dict[str, list[Span]] = defaultdict(list)  # by subscriber
        self._over: dict[Call, float] = {}  # and since when
        self._first: float | None = None  # captured message that has not been looked at
        self._last = 0.0
        self._looked = 0.0

    def take(self, captured: CapturedMessage, now: float) -> None:
        """Take what an agent has captured."""
        self.recorder.take(captured)
        self._watch.take(captured, now)
        self._first = now if self._first is None else self._first
        self._last = now

    def own_doing(self, subscriber: str, span: Span) -> None:
        """Meanwhile FERRET itself had the network signal with this subscriber: nothing of a recording caused it."""
        self._own[subscriber].append(span)

    def over(self, call: Call, now: float) -> None:
        """Nobody has to do with this call any more."""
        self._over[call] = now

    def due(self, *, following: bool, busy: bool) -> float | None:
        """When to look; None: for nothing that has come. `following`: somebody wants to know of every message, but a
        call that may have begun or come to stand goes first. `busy`: only calls that may have ended are of interest.
        """
        if self._first is None:
            tidy = min(self._over.values(), default=None)
            return None if tidy is None or following or busy else tidy + _OVER
        moment = self._watch.deadline(ends=busy)
        if not following or busy:
            return moment
        anything = max(self._looked + _APART, min(self._last + _QUIET, self._first + _LATEST))
        return anything if moment is None else min(moment, anything)

    async def look(self, now: Callable[[], float]) -> Look:
        """Look. Raises RecordError where what was captured is of no use at all."""
        self._first, self._looked = None, now()
        capture = await asyncio.to_thread(record_messages, self.recorder.messages())
        known = {one: self._without_own(one) for one in capture.recordings}
        caused = {one: rest for one, rest in known.items() if rest.entries}
        news = tuple(self._watch.look(caused.values()))
        calls = {self._watch.call_of(rest): one for one, rest in caused.items() if one.service in CALLS}
        self._drop(capture, calls, now())
        return Look(news, capture, {call: known[one] for call, one in calls.items()})

    def _without_own(self, recording: Recording) -> Recording:
        spans = self._own.get(recording.subscriber)
        if not spans:
            return recording
        return replace(
            recording,
            context=tuple(_without(recording.context, spans)),
            entries=tuple(_without(recording.entries, spans)),
        )

    def _drop(self, capture: Capture, calls: Mapping[Call, Recording], now: float) -> None:
        """Calls that are over, what FERRET itself caused, what was before a subscriber's last attach, keep-alives."""
        gone = [m for m in capture.unattributed if m.name in KEEP_ALIVES and m.name not in _CONNECTIONS]
        for call in [call for call, since in self._over.items() if now - since > _OVER]:
            del self._over[call]
            if call in calls:
                gone += calls[call].messages
                self._watch.forget(call)
            if not any(one.subscriber == call.subscriber for one in self._over):
                gone += self._caused(capture, call.subscriber)
        attached: dict[str, int] = {}
        for one in capture.recordings:
            if one.service == _ATTACH:
                attached[one.subscriber] = max(attached.get(one.subscriber, 0), one.begin_ns)
        for one in capture.recordings:
            if one.service not in CALLS and one.begin_ns < attached.get(one.subscriber, 0):
                gone += one.messages
        if gone:
            self.recorder.drop(gone)

    def _caused(self, capture: Capture, subscriber: str) -> list[SignallingMessage]:
        """What is in no recording because FERRET itself caused it."""
        spans = self._own.pop(subscriber, [])
        own = [entry for one in capture.recordings if one.subscriber == subscriber for entry in one.entries]
        rest = {entry.message.index for entry in _without(own, spans)}
        return [entry.message for entry in own if entry.message.index not in rest]


def _without(entries: Iterable[Entry], spans: Iterable[Span]) -> list[Entry]:
    return [
        one for one in entries if not any(start <= one.message.captured.captured_at_ns <= end for start, end in spans)
    ]
