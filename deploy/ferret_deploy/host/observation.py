"""What agents have captured, looked at whenever it pauses: which calls there are, and how far each has come (the rim).

Looking takes some 30 ms of a thread. So there is a look when something can have changed with a call; while a call is
followed, at every pause. What is over is dropped after a while, so that looks stay short.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, NamedTuple

from ferret.fallback.establishment import CallWatch
from ferret.fallback.messages import Call, CallBegun, CallEnded, CallEstablished
from ferret.protocols.summary import Protocol
from ferret.records.message import CapturedMessage, SignallingMessage
from ferret.records.recorder import Capture
from ferret.records.recording import CALLS, Entry, Recording
from ferret.replay.plan import KEEP_ALIVES
from ferret_agents.live_recording import record_messages
from ferret_agents.rolling import RollingRecorder

_QUIET: Final = 0.022  # s without a message after which what was captured is looked at
_LATEST: Final = 0.1  # s: on a host that is never quiet
_APART: Final = 0.15  # s between looks at what cannot have changed any call: they take the NFs' time
_OVER: Final = 0.5  # s after which no message of a call that has ended is on its way any more
_SPANS: Final = 32
_ATTACH: Final = "attach"
_REGISTRATION: Final = "registration"
_NEW_SESSION: Final = "Create Session Request"
"""No attach is without it: what else looks like one may be a straggler of something that was dropped."""
_CONNECTIONS: Final = KEEP_ALIVES & {"CER", "CEA"}

CallEvent = CallBegun | CallEstablished | CallEnded


class Span(NamedTuple):
    """From and to, ns since the epoch. `sip`: SIP within it is meant too."""

    begin: int
    end: int
    sip: bool


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
        self._own: dict[str, deque[Span]] = defaultdict(partial(deque, maxlen=_SPANS))  # by subscriber
        self._begins: dict[Call, int] = {}  # ns since the epoch
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

    def own_doing(self, subscriber: str, begin_ns: int, end_ns: int) -> None:
        """Meanwhile FERRET itself had the network signal with this subscriber: nothing of a recording caused it.

        SIP of that time is his own: a party may hang up just then.
        """
        self._own[subscriber].append(Span(begin_ns, end_ns, sip=False))

    def over(self, call: Call, now: float, now_ns: int) -> None:
        """Nobody has to do with this call any more. `now_ns`: since the epoch."""
        self._over[call] = now
        begin = self._begins.get(call, 0)
        if begin:
            self._own[call.subscriber].append(Span(begin, now_ns, sip=True))
        self._watch.forget(call)

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
        begun = now()
        self._first, self._looked = None, begun
        capture = await asyncio.to_thread(record_messages, self.recorder.messages())
        closed = {(call.subscriber, self._begins.get(call)) for call in self._over}
        still = [one for one in capture.recordings if (one.subscriber, one.begin_ns) not in closed]
        recordings = [rest for one in still if (rest := self._without_own(one)).entries]
        news = tuple(self._watch.look(recordings, until=begun))
        calls = {self._watch.call_of(one): one for one in recordings if one.service in CALLS}
        self._begins |= {call: one.begin_ns for call, one in calls.items()}
        self._drop(capture, now())
        return Look(news, capture, calls)

    def _without_own(self, recording: Recording) -> Recording:
        spans = self._own.get(recording.subscriber)
        if not spans:
            return recording
        if recording.service == _REGISTRATION:
            return recording
        return replace(
            recording,
            context=tuple(_without(recording.context, spans)),
            entries=tuple(_without(recording.entries, spans)),
        )

    def _drop(self, capture: Capture, now: float) -> None:
        """What calls that are over, and what FERRET itself caused, have left; what was before a subscriber's last
        attach; and keep-alives.
        """
        gone = [m for m in capture.unattributed if m.name in KEEP_ALIVES and m.name not in _CONNECTIONS]
        for call in [call for call, since in self._over.items() if now - since > _OVER]:
            del self._over[call]
            known = call.subscriber, self._begins.pop(call, 0)
            for one in capture.recordings:
                if (one.subscriber, one.begin_ns) == known:
                    gone += one.messages
            gone += self._within(capture, call.subscriber)
        attached: dict[str, int] = {}
        for one in capture.recordings:
            if one.service == _ATTACH and any(m.name == _NEW_SESSION for m in one.messages):
                attached[one.subscriber] = max(attached.get(one.subscriber, 0), one.begin_ns)
        for message in capture.messages:
            since = max((attached.get(one, 0) for one in message.subscribers), default=0)
            if message.captured.captured_at_ns < since:
                gone.append(message)
        if gone:
            self.recorder.drop(gone)

    def _within(self, capture: Capture, subscriber: str) -> list[SignallingMessage]:
        """What belongs to the subscriber's spans, whichever service it was taken for; a registration stays."""
        spans = self._own[subscriber]
        own = [m for m in capture.messages if subscriber in m.subscribers and _REGISTRATION not in m.services]
        return [m for m in own if _is_within(m, spans)]


def _without(entries: Iterable[Entry], spans: Iterable[Span]) -> list[Entry]:
    return [one for one in entries if not _is_within(one.message, spans)]


def _is_within(message: SignallingMessage, spans: Iterable[Span]) -> bool:
    at, is_sip = message.captured.captured_at_ns, message.protocol is Protocol.SIP
    return any(one.begin <= at <= one.end and (one.sip or not is_sip) for one in spans)
