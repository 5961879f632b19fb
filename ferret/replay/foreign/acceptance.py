"""Whether a foreign NF accepted a message: the acceptance ratio is messages accepted ÷ messages sent.

- A request is accepted when the NF answers it and the answer does not refuse it (GTPv2-C Cause, TS 29.274 clause 8.4;
  Result-Code, RFC 6733 clause 7.1; SIP status below 400, 401 and 407 being steps of authentication) – or refuses it
  with the very result that the recorded NF gave.
- An answer is accepted when the NF has an open request that it belongs to, and takes it without asking again.
- What nothing answers (S1AP, ACK) is accepted when no error indication follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from ferret.errors import DecodeError
from ferret.protocols import diameter, gtpv2, s1ap, sip
from ferret.protocols.summary import Kind
from ferret.records.decoding import doors
from ferret.records.message import SignallingMessage
from ferret.replay.foreign.targets import Target
from ferret.replay.rewrite import Message

_AUTHENTICATION: Final = (401, 407)


class Fate(StrEnum):
    """What became of a message for a foreign NF."""

    SENT = "sent"  # a request that is not answered yet
    ANSWERED = "answered"
    TAKEN = "taken"  # an answer that the NF had asked for, or an indication
    UNANSWERED = "unanswered"
    UNASKED = "unasked"  # an answer to a request that the NF has not sent: it cannot be sent either
    UNSENT = "unsent"  # no connection


ANSWERABLE: Final = frozenset({Fate.SENT, Fate.ANSWERED, Fate.TAKEN, Fate.UNANSWERED})


@dataclass(slots=True)
class Outcome:
    """One message and its fate. `result`: the answer's cause, code or status; 0 where there is none."""

    name: str
    fate: Fate
    result: int = 0
    accepted: bool = False
    reason: str = ""

    @property
    def acknowledged(self) -> bool:
        """Whether the NF has shown that it has the message."""
        return self.fate in (Fate.ANSWERED, Fate.TAKEN)

    @property
    def sent(self) -> bool:
        """Whether it went out."""
        return self.fate in ANSWERABLE


@dataclass(slots=True)
class TargetFigures:
    """What one target did in one replay."""

    target: Target
    identity: str = ""  # Origin-Host of a Diameter peer
    outcomes: dict[int, Outcome] = field(default_factory=dict)  # by number of the message
    repeated: int = 0  # messages of the target that came again
    stood_in: list[str] = field(default_factory=list)  # answers to requests that the recording does not have
    events: list[str] = field(default_factory=list)  # restarts, refused connections, closed in mid-message

    @property
    def sent(self) -> int:
        """Messages sent to it."""
        return sum(outcome.sent for outcome in self.outcomes.values())

    @property
    def accepted(self) -> int:
        """Of these, how many it accepted."""
        return sum(outcome.accepted for outcome in self.outcomes.values() if outcome.sent)

    def as_json(self) -> dict[str, object]:
        """The target's object in `ferret replay --json`."""
        return {
            "role": str(self.target.role),
            "address": self.target.address,
            "port": self.target.port,
            "identity": self.identity,
            "sent": self.sent,
            "accepted": self.accepted,
            "acceptance": ratio(self.accepted, self.sent),
            "unasked": sum(o.fate is Fate.UNASKED for o in self.outcomes.values()),
            "unanswered": sum(o.fate is Fate.UNANSWERED for o in self.outcomes.values()),
            "repeated": self.repeated,
            "stood_in": list(self.stood_in),
            "events": list(self.events),
        }


def merged(figures: Iterable[TargetFigures]) -> list[TargetFigures]:
    """The figures of several replays, one for each target."""
    by_target: dict[Target, TargetFigures] = {}
    for one in figures:
        total = by_target.setdefault(one.target, TargetFigures(one.target))
        total.identity = one.identity or total.identity
        first = len(total.outcomes)
        total.outcomes.update({first + place: outcome for place, outcome in enumerate(one.outcomes.values())})
        total.repeated += one.repeated
        total.stood_in += one.stood_in
        total.events += one.events
    return list(by_target.values())


def is_request(message: Message) -> bool:
    """Whether somebody waits for an answer to it. Of S1AP nobody is held to: errors are indicated."""
    if isinstance(message, gtpv2.Message):
        return message.type not in gtpv2.ANSWERS
    return not isinstance(message, s1ap.Message) and message.is_request


def ratio(accepted: int, sent: int) -> float | None:
    """Accepted ÷ sent, from 0 to 1; None where nothing was sent."""
    return round(accepted / sent, 4) if sent else None


def result_of(message: Message) -> int:
    """The cause, Result-Code or status of an answer; 0 where it has none."""
    try:
        if isinstance(message, gtpv2.Message):
            return gtpv2.cause_of(message)
        if isinstance(message, diameter.Message):
            return diameter.result_of(message) or 0
        if isinstance(message, sip.Message):
            return message.status
    except DecodeError:
        return 0
    return 0


def accepts(message: Message, result: int) -> bool:
    """Whether an answer with this result says yes."""
    if isinstance(message, gtpv2.Message):
        return 16 <= result < 64  # TS 29.274 table 8.4-1: acceptance
    if isinstance(message, diameter.Message):
        return 2000 <= result < 3000 or result == diameter.ResultCode.MULTI_ROUND_AUTH
    return 100 <= result < 400 or result in _AUTHENTICATION


def recorded_results(messages: Sequence[SignallingMessage]) -> Mapping[int, int]:
    """The recorded NFs' result to each request, by the request's index: the last one, which is final."""
    results: dict[int, int] = {}
    for message in messages:
        if message.answers and message.kind is Kind.RESPONSE:
            try:
                results[message.answers] = result_of(doors(message.protocol).decode(message.octets))
            except DecodeError:
                continue
    return results
