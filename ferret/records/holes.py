"""What must have been there and was not captured: the holes of a recording.

An agent's missing numbers are holes, and so is every message with a flaw. Beyond that:

- Octets or packets that are missing before a message (TCP, SCTP), and a message that cannot be read, may have been
  anybody's: they are in every recording that they lie in and that has messages between the same two NFs; or in all
  that they lie in of a subscriber, where at least that is known.
- An answer whose request is not there, although the capture was running.
- A request whose answer is not there, although what came later says that there was one: the step that only an answer
  allows, the answer passed on to the one before, or that the sender never repeated itself (TS 29.274 clause 7.6, RFC
  3261 clause 17.1.2). A request that nobody ever answered is no hole: that is what happened.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ferret.protocols.summary import IdKind, Kind, Protocol
from ferret.records.message import Endpoint, Flaw, Interface, Node, SignallingMessage

_UNREADABLE = frozenset((Flaw.CUT, Flaw.UNDECODABLE))
_SIP_REPEATS_NS = 1_000_000_000  # twice T1: an unanswered request over UDP has been repeated by then
_GTPV2_REPEATS_NS = 5_000_000_000  # longer than T3-RESPONSE usually is
_PROMPT_NS = 2_000_000_000  # an NF has answered another one by then


@dataclass(frozen=True, slots=True)
class Hole:
    """Something that must have been there and was not captured. A recording with a hole is never replayed."""

    what: str  # "3 messages of the agent at 172.22.0.9", "the answer to Create Session Request"
    after: int  # index of the message that it lies behind; 0: before the first
    agent: str = ""  # whose message numbers are missing; "" where it is something else


class _Loss(NamedTuple):
    """Something between two NFs that nobody can say what service it belonged to."""

    ends: frozenset[Node]
    subscribers: tuple[str, ...]  # whose it was, where at least that is known
    after: int  # it lies behind the message of this index ...
    before: int  # ... and not behind the one of this
    what: str


class Holes:
    """What is missing of one capture; finds the holes of each of its recordings."""

    def __init__(self, messages: Sequence[SignallingMessage], gaps: Iterable[Hole] = ()) -> None:
        """`messages` is the whole capture in order, `gaps` are agents' missing numbers."""
        times = [message.captured.captured_at_ns for message in messages]
        self._ended_ns = max(times, default=0)
        self._running_ns = min(times, default=0) + _PROMPT_NS
        self._begun: dict[frozenset[Node], int] = {}  # with which message what two NFs say to each other begins
        for message in messages:
            self._begun.setdefault(_ends(message), message.index)
        self._last_in_session = {
            _session(m): m.index for m in messages if m.protocol is Protocol.DIAMETER and m.kind is Kind.REQUEST
        }
        self._gaps = tuple(gaps)
        self._answered = {m.answers for m in messages if m.accepted is not None or m.protocol is not Protocol.SIP}
        self._losses = [*_missing_in_streams(messages), *self._unattributed(messages)]

    def of(self, subscriber: str, messages: Sequence[SignallingMessage]) -> tuple[Hole, ...]:
        """The holes of a subscriber's recording with these messages, its context among them, by where they are."""
        holes = [
            *self._numbers_missing(messages),
            *self._lost(subscriber, messages),
            *(Hole(f"{m.name}: {', '.join(m.captured.flaws)}", m.index) for m in messages if m.captured.flaws),
            *(Hole(f"the request of {m.name}", m.index - 1) for m in messages if self._was_asked(m)),
            *self._without_answer(messages),
        ]
        return tuple(sorted(holes, key=lambda hole: hole.after))

    def _numbers_missing(self, messages: Sequence[SignallingMessage]) -> list[Hole]:
        first, last = messages[0].index, messages[-1].index
        seen_by = {agent for message in messages for agent in message.agents}
        return [gap for gap in self._gaps if gap.agent in seen_by and first <= gap.after < last]

    def _lost(self, subscriber: str, messages: Sequence[SignallingMessage]) -> list[Hole]:
        first, last = messages[0].index, messages[-1].index
        inside = [loss for loss in self._losses if loss.before > first and loss.after < last]
        if not inside:
            return []
        own, ends = {message.index for message in messages}, {_ends(message) for message in messages}
        return [
            Hole(loss.what, max(loss.after, first))
            for loss in inside
            if loss.before not in own and (subscriber in loss.subscribers if loss.subscribers else loss.ends in ends)
        ]

    def _was_asked(self, answer: SignallingMessage) -> bool:
        """Whether an answer's request must have been there and is not.

        SCTP says itself what it lost, and some base stations answer under other identifiers than they were asked.
        """
        return (
            answer.kind is Kind.RESPONSE
            and not answer.answers
            and answer.protocol is not Protocol.S1AP
            and self._was_running(answer)
        )

    def _was_running(self, answer: SignallingMessage) -> bool:
        """Whether the capture had begun when its request was sent, as far as one can tell."""
        if self._begun[_ends(answer)] < answer.index:
            return True
        return answer.protocol is not Protocol.SIP and answer.captured.captured_at_ns > self._running_ns

    def _unattributed(self, messages: Sequence[SignallingMessage]) -> Iterator[_Loss]:
        """Messages of no service: some that cannot be read, and answers that only their request could have placed."""
        for message in messages:
            if message.services:
                continue
            what = ""
            if not _UNREADABLE.isdisjoint(message.captured.flaws):
                what = _unreadable(message)
            elif _is_about_a_service(message) and self._was_asked(message):
                what = f"the request of {message.name}"
            if what:
                yield _Loss(_ends(message), message.subscribers, message.index - 1, message.index, what)

    def _without_answer(self, messages: Sequence[SignallingMessage]) -> list[Hole]:
        return [
            Hole(f"the answer to {message.name}", message.index)
            for position, message in enumerate(messages)
            if message.kind is Kind.REQUEST
            and message.index not in self._answered
            and self._was_answered(message, messages, messages[position + 1 :])
        ]

    def _was_answered(
        self,
        request: SignallingMessage,
        messages: Sequence[SignallingMessage],
        later: Sequence[SignallingMessage],
    ) -> bool:
        match request.protocol:
            case Protocol.SIP:
                return not self._answered_elsewhere(request, messages) and _sip_was_answered(request, later)
            case Protocol.GTPV2:
                repeated_by = request.captured.captured_at_ns + _GTPV2_REPEATS_NS
                never_repeated = not request.retransmissions and self._ended_ns > repeated_by
                return never_repeated or _answer_passed_on(request, later) or _tunnel_is_used(request, later)
            case Protocol.DIAMETER:
                return self._last_in_session.get(_session(request), 0) > request.index
            case _:
                return False

    def _answered_elsewhere(self, request: SignallingMessage, messages: Sequence[SignallingMessage]) -> bool:
        """Whether a proxy that forked a request had its answer from another branch."""
        step = _step(request)
        return any(
            m.kind is Kind.REQUEST
            and m.index in self._answered
            and m.from_nf == request.from_nf
            and m.to_nf.role == request.to_nf.role
            and _step(m) == step
            for m in messages
        )


def _unreadable(message: SignallingMessage) -> str:
    if Flaw.CUT in message.captured.flaws:
        return f"a {message.protocol} message that was captured only in part"
    return f"{message.name}: {', '.join(message.captured.flaws)}"


def _missing_in_streams(messages: Sequence[SignallingMessage]) -> Iterator[_Loss]:
    last: dict[tuple[Protocol, Endpoint, Endpoint], int] = defaultdict(int)
    for message in messages:
        captured = message.captured
        way = (captured.protocol, captured.source, captured.destination)
        if Flaw.HOLE_BEFORE in captured.flaws:
            yield _Loss(_ends(message), (), last[way], message.index, f"something before {message.name}")
        last[way] = message.index


def _is_about_a_service(message: SignallingMessage) -> bool:
    return (
        message.protocol in (Protocol.GTPV2, Protocol.DIAMETER)
        and message.interface is not Interface.BASE
        and message.name != "Echo Response"
    )


def _sip_was_answered(request: SignallingMessage, later: Sequence[SignallingMessage]) -> bool:
    call, step = _value(request, IdKind.CALL_ID), _step(request)
    dialog = [m for m in later if m.protocol is Protocol.SIP and _value(m, IdKind.CALL_ID) == call]
    if any(m.accepted is not None and m.from_nf == request.from_nf and _step(m) == step for m in dialog):
        return True  # the proxy passed the answer on
    if request.name == "INVITE":
        # Only a dialog that was confirmed goes on with a BYE; a 2xx is acknowledged on the way of the INVITE.
        return any(m.name == "BYE" for m in dialog)
    repeated_by = request.captured.captured_at_ns + _SIP_REPEATS_NS
    return (
        request.captured.transport == "udp"
        and not request.retransmissions
        and any(m.from_nf == request.from_nf and m.captured.captured_at_ns > repeated_by for m in dialog)
    )


def _answer_passed_on(request: SignallingMessage, later: Sequence[SignallingMessage]) -> bool:
    """Whether the sender answered the NF that it had the request from."""
    answer = request.name.removesuffix("Request") + "Response"
    return any(m.protocol is request.protocol and m.name == answer and m.from_nf == request.from_nf for m in later)


def _tunnel_is_used(request: SignallingMessage, later: Sequence[SignallingMessage]) -> bool:
    """Whether later messages come to a tunnel end that only the answer's receiver could make known (Create Session)."""
    offered = {value for kind, value in request.identifiers if kind is IdKind.TEID}
    return bool(offered) and any(
        m.protocol is Protocol.GTPV2 and f"{m.captured.destination.address}/{_value(m, IdKind.HEADER_TEID)}" in offered
        for m in later
    )


def _session(request: SignallingMessage) -> tuple[Node, str]:
    """Who speaks in which Diameter session; what is in none is by itself."""
    return request.from_nf, _value(request, IdKind.SESSION_ID) or f"message {request.index}"


def _step(message: SignallingMessage) -> str:
    """Call-ID and CSeq: the same on every hop, other than the branch."""
    return message.transaction.rpartition(" ")[0]


def _ends(message: SignallingMessage) -> frozenset[Node]:
    return frozenset((message.from_nf, message.to_nf))


def _value(message: SignallingMessage, kind: IdKind) -> str:
    return next((i.value for i in message.identifiers if i.kind is kind), "")
