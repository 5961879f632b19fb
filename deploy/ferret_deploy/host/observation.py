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

from ferret.fallback.establishment import CallWatch, is_call
from ferret.fallback.messages import Call, CallBegun, CallEnded, CallEstablished
from ferret.protocols.summary import Protocol
from ferret.records.message import CapturedMessage, SignallingMessage
from ferret.records.recorder import Capture
from ferret.records.recording import CALLS, Recording
from ferret.replay.plan import KEEP_ALIVES
from ferret_agents.live_recording import record_messages
from ferret_agents.rolling import RollingRecorder

_QUIET: Final = 0.022  # s without a message after which what was captured is looked at
_LATEST: Final = 0.1  # s: on a host that is never quiet
_APART: Final = 0.35  # s between looks at what cannot have changed any call: they take the NFs' time
_OVER: Final = 0.5  # s after which no message of a call that has ended is on its way any more
_STRAGGLING_NS: Final = 400_000_000  # in which the network still has to do with a call that is over
_SPANS: Final = 32
_ATTACH: Final = "attach"
_REGISTRATION: Final = "registration"
_NEW_SESSION: Final = "Create Session Request"
"""No attach is without it: what else looks like one may be a straggler of something that was dropped."""
_CAPABILITIES: Final = frozenset({"CER", "CEA"})

CallEvent = CallBegun | CallEstablished | CallEnded


class Span(NamedTuple):
    """From and to, ns since the epoch."""

    begin: int
    end: int


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
        self._closed: dict[str, deque[Span]] = defaultdict(partial(deque, maxlen=_SPANS))  # calls, by subscriber
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
        self._own[subscriber].append(Span(begin_ns, end_ns))

    def over(self, call: Call, now: float, now_ns: int) -> None:
        """Nobody has to do with this call any more. `now_ns`: since the epoch."""
        self._over[call] = now
        begin = self._begins.get(call, 0)
        if begin:
            self._closed[call.subscriber].append(Span(begin, now_ns + _STRAGGLING_NS))
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
        attached = _attached(capture)
        self._end_at_attach(attached)
        recordings = [rest for one in capture.recordings if (rest := self._without_own(one)).entries]
        news = tuple(self._watch.look(recordings, until=begun))
        calls = {self._watch.call_of(one): one for one in recordings if is_call(one)}
        self._begins |= {call: one.begin_ns for call, one in calls.items()}
        self._drop(capture, attached, now())
        return Look(news, capture, calls)

    def _end_at_attach(self, attached: Mapping[str, int]) -> None:
        """What belongs to a call that is over ends where its subscriber attaches anew."""
        for subscriber, at in attached.items():
            closed = self._closed.get(subscriber, ())
            ended = [Span(one.begin, min(one.end, at - 1)) if one.begin < at else one for one in closed]
            if ended:
                self._closed[subscriber] = deque(ended, maxlen=_SPANS)

    def _without_own(self, recording: Recording) -> Recording:
        """Without what FERRET caused; a call that is over is empty, and no other one builds upon it."""
        subscriber = recording.subscriber
        own, closed = self._own.get(subscriber, ()), self._closed.get(subscriber, ())
        if recording.service == _REGISTRATION or not (own or closed):
            return recording
        over = any(one.begin == recording.begin_ns for one in closed) and recording.service in CALLS
        entries = () if over else tuple(one for one in recording.entries if not _is_caused(one.message, own))
        context = (one for one in recording.context if not _is_caused(one.message, own))
        return replace(
            recording, entries=entries, context=tuple(one for one in context if not _belongs(one.message, closed))
        )

    def _drop(self, capture: Capture, attached: Mapping[str, int], now: float) -> None:
        """What calls that are over, and what FERRET itself caused, have left; what was before a subscriber's last
        attach; and keep-alives.
        """
        gone = [m for m in capture.unattributed if m.name in KEEP_ALIVES and m.name not in _CAPABILITIES]
        for call in [call for call, since in self._over.items() if now - since > _OVER]:
            del self._over[call]
            gone += self._left_by(call, capture)
        for message in capture.messages:
            since = max((attached.get(one, 0) for one in message.subscribers), default=0)
            if message.captured.captured_at_ns < since:
                gone.append(message)
        if gone:
            self.recorder.drop(gone)

    def _left_by(self, call: Call, capture: Capture) -> list[SignallingMessage]:
        """What was recorded from a call's begin until some time after its end, but for a call that began meanwhile."""
        begin, subscriber = self._begins.pop(call, 0), call.subscriber
        later = {
            message.index
            for one in capture.recordings
            if one.subscriber == subscriber and one.service in CALLS and one.begin_ns > begin
            for message in one.messages
        }
        spans = [one for one in self._closed[subscriber] if one.begin == begin]
        own = [m for m in capture.messages if subscriber in m.subscribers and m.index not in later]
        return [m for m in own if _belongs(m, spans) or _is_caused(m, self._own[subscriber])]


def _attached(capture: Capture) -> dict[str, int]:
    """When each subscriber attached last, ns since the epoch."""
    found: dict[str, int] = {}
    for one in capture.recordings:
        if one.service == _ATTACH and any(m.name == _NEW_SESSION for m in one.messages):
            found[one.subscriber] = max(found.get(one.subscriber, 0), one.begin_ns)
    return found


def _is_caused(message: SignallingMessage, spans: Iterable[Span]) -> bool:
    at = message.captured.captured_at_ns
    return message.protocol is not Protocol.SIP and any(one.begin <= at <= one.end for one in spans)


def _belongs(message: SignallingMessage, spans: Iterable[Span]) -> bool:
    """Whether a message is of these times; a registration is of its own."""
    at = message.captured.captured_at_ns
    return _REGISTRATION not in message.services and any(one.begin <= at <= one.end for one in spans)
