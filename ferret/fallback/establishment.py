"""When calls begin, stand and end, from what agents see: the controller's eyes (sans-IO).

    watch = CallWatch()
    for captured in queue: recorder.add(captured); watch.take(captured, now)
    at watch.deadline(): for event in watch.look(recorder.finish().recordings): controller.receive(event, now)

The hot path only peeks whether a message can begin, establish or end a call at all. Such messages come in bursts, one
per hop and agent; once they have paused, the recordings are looked at, and they decide. A call is established where
`ferret.replay.plan` would move it (200/ACK and dedicated bearer) and that bearer is for conversational voice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import Enum, StrEnum
from math import inf
from typing import Final

from ferret.fallback.messages import Call, CallBegun, CallEnded, CallEstablished, Place
from ferret.fallback.nas_counts import count_nas
from ferret.protocols.gtpv2 import MessageType
from ferret.protocols.summary import Kind, Protocol
from ferret.records.decoding import doors
from ferret.records.message import CapturedMessage, SignallingMessage
from ferret.records.recording import CALLS, Recording
from ferret.replay.plan import plan

_SIP_BEGINNINGS: Final = frozenset({"INVITE", "ACK"})
_SIP_ENDS: Final = frozenset({"BYE", "CANCEL"})
_BEARER_IS_UP: Final = str(int(MessageType.CREATE_BEARER_RESPONSE))
_BEARER_GOES: Final = str(int(MessageType.DELETE_BEARER_REQUEST))
_QCI_VOICE: Final = 1  # TS 23.203 table 6.1.7
_TRIED_AGAIN: Final = frozenset({"401 (INVITE)", "407 (INVITE)"})  # a challenge: the device comes back with credentials


class Standing(StrEnum):
    """How far a recorded call has come."""

    BEGUN = "begun"
    ESTABLISHED = "established"
    ENDED = "ended"


class Moment(Enum):
    """What a message may do to a call."""

    NONE = 0
    ADVANCE = 1  # it begins, or comes to stand
    END = 2


def moment(captured: CapturedMessage) -> Moment:
    """What this message can do to a call's standing. Only peeks, never raises."""
    peek = doors(captured.protocol).peek(captured.octets)
    if peek is None:
        return Moment.NONE
    if captured.protocol is Protocol.GTPV2:
        return {_BEARER_IS_UP: Moment.ADVANCE, _BEARER_GOES: Moment.END}.get(peek.type, Moment.NONE)
    if captured.protocol is not Protocol.SIP:
        return Moment.NONE
    failed = peek.kind is Kind.RESPONSE and peek.type >= "300" and peek.correlation.endswith(" INVITE")
    if failed or peek.type in _SIP_ENDS:
        return Moment.END
    return Moment.ADVANCE if peek.type in _SIP_BEGINNINGS else Moment.NONE


def is_call(recording: Recording) -> bool:
    """Whether a recording is of a call, and not only of what was late of one that is over."""
    return recording.service in CALLS and any(map(_begins, recording.messages))


def standing(recording: Recording) -> Standing:
    """How far the call of a recording has come."""
    messages = recording.messages
    if _ended(messages):
        return Standing.ENDED
    planned = plan(subscriber=recording.subscriber, service=recording.service, messages=recording.everything)
    if planned.reconfigure_after is not None and any(map(_asks_for_voice, messages)):
        return Standing.ESTABLISHED
    return Standing.BEGUN


def _begins(message: SignallingMessage) -> bool:
    """What no call is without."""
    return message.name == "INVITE" or _is_gtpv2(message, MessageType.CREATE_BEARER_REQUEST)


def _ended(messages: Sequence[SignallingMessage]) -> bool:
    """A BYE, or an INVITE that failed at every hop; where no SIP is to be seen, the bearer's release."""
    invites = {m.index for m in messages if m.name == "INVITE"}
    if not invites:
        return any(m.name == "BYE" or _is_gtpv2(m, MessageType.DELETE_BEARER_REQUEST) for m in messages)
    if any(m.name == "BYE" for m in messages):
        return True
    finals = [m for m in messages if m.answers in invites and m.accepted is not None]
    if any(m.accepted or m.name in _TRIED_AGAIN for m in finals):
        return False
    return invites <= {m.answers for m in finals}


def _is_gtpv2(message: SignallingMessage, kind: MessageType) -> bool:
    return message.protocol is Protocol.GTPV2 and message.octets[1:2] == bytes((kind,))


def _asks_for_voice(message: SignallingMessage) -> bool:
    if message.captured.flaws or not _is_gtpv2(message, MessageType.CREATE_BEARER_REQUEST):
        return False
    way = doors(Protocol.GTPV2)
    parameters = way.parameters(way.decode(message.octets))
    return any(path.endswith("/QCI") and value == _QCI_VOICE for path, value in parameters)


class CallWatch:
    """Tells what is new about calls. Times in seconds.

    `settle`: how long such messages must have paused, so that every agent's copy has come. It is spent before the call
    is held, so nobody hears it. `latest`: after so long it is looked all the same, on a host that is never quiet.
    `edge`: the addresses of the edge's CSCFs, where agents stand there as well; a call that ends there has ended at the
    edge.
    """

    def __init__(self, *, settle: float = 0.02, latest: float = 0.2, edge: frozenset[str] = frozenset()) -> None:
        self._edge = edge
        self._settle = settle
        self._latest = latest
        self._first: dict[Moment, float] = {}  # moments that have not been looked at
        self._last: dict[Moment, float] = {}
        self._known: dict[Call, Standing] = {}
        self._calls: dict[tuple[str, str, bytes | int], Call] = {}  # by what a call is known by
        self._numbers: Counter[tuple[str, str]] = Counter()

    def take(self, captured: CapturedMessage, now: float) -> None:
        """Take what an agent has seen."""
        found = moment(captured)
        if found is not Moment.NONE:
            self._first.setdefault(found, now)
            self._last[found] = now

    def deadline(self, *, ends: bool = False) -> float | None:
        """When `look` wants to be called; None: nothing can have changed. `ends`: only for calls that may have ended,
        since there is no time to look at others.
        """
        chosen = (Moment.END,) if ends else (Moment.ADVANCE, Moment.END)
        found = [one for one in chosen if one in self._first]
        if not found:
            return None
        last, first = max(self._last[one] for one in found), min(self._first[one] for one in found)
        return min(last + self._settle, first + self._latest)

    def look(
        self, recordings: Iterable[Recording], *, until: float = inf
    ) -> list[CallBegun | CallEstablished | CallEnded]:
        """What is new. `recordings`: everything recorded; what is dropped from them for good can be `forget`-ed.

        `until`: they hold what was taken up to then, for whom it takes a while to make them.
        """
        self._first = {found: max(first, until) for found, first in self._first.items() if self._last[found] > until}
        events: list[CallBegun | CallEstablished | CallEnded] = []
        seen: set[Call] = set()
        for recording in recordings:
            if not is_call(recording):
                continue
            call = self.call_of(recording)
            seen.add(call)
            if self._known.get(call) is Standing.ENDED:
                continue
            before, after = self._known.get(call), standing(recording)
            if before is Standing.ESTABLISHED and after is Standing.BEGUN:
                continue  # it never becomes less
            if before is None:
                events.append(CallBegun(call))
            if after is Standing.ESTABLISHED and before is not after:
                counts = count_nas([entry.message for entry in recording.everything])
                events.append(CallEstablished(call, recording, counts))
            if after is Standing.ENDED:
                events.append(CallEnded(call, self._where_it_ended(recording)))
            self._known[call] = after
        gone = [call for call, known in self._known.items() if known is not Standing.ENDED and call not in seen]
        for call in gone:  # its recording was dropped: its subscriber has left, or attached anew
            self._known[call] = Standing.ENDED
            events.append(CallEnded(call))
        return events

    def _where_it_ended(self, recording: Recording) -> Place:
        ways = (m for m in recording.messages if m.name == "BYE")
        return Place.EDGE if any(self._edge & {m.from_nf.address, m.to_nf.address} for m in ways) else Place.CORE

    def call_of(self, recording: Recording) -> Call:
        """The name of a recording's call: it stays although recordings before it are dropped and numbers change."""
        key = (recording.subscriber, recording.service, _mark(recording))
        if key not in self._calls:
            self._numbers[key[:2]] += 1
            self._calls[key] = Call(*key[:2], self._numbers[key[:2]])
        return self._calls[key]

    def forget(self, call: Call) -> None:
        """This call's recording is gone and will not come back."""
        self._known.pop(call, None)
        self._calls = {key: known for key, known in self._calls.items() if known != call}


def _mark(recording: Recording) -> bytes | int:
    """What no other call has and this one keeps: its first INVITE; where no SIP is to be seen, its begin."""
    invite = next((m.octets for m in recording.messages if m.name == "INVITE"), None)
    return recording.begin_ns if invite is None else invite
