"""The recording: the ordered messages of one subscriber's one service, from first to last, with what it builds upon."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ferret.protocols.summary import IdKind, Kind, Protocol
from ferret.records.message import SignallingMessage
from ferret.records.services import ATTACH, CONTEXT_SERVICES, VIDEO, VOLTE, Instance
from ferret.records.sip_legs import Boundary


class Entry(NamedTuple):
    """A message in a recording, and where it lies seen from the subscriber's half of a call."""

    message: SignallingMessage
    boundary: Boundary


@dataclass(frozen=True, slots=True)
class Hole:
    """Something that must have been there and was not captured. A recording with a hole is never replayed."""

    what: str  # "3 messages of the agent at 172.22.0.9", "the answer to Create Session Request"
    after: int  # index of the message that it lies behind; 0: before the first
    agent: str = ""  # whose message numbers are missing; "" where it is something else


@dataclass(frozen=True, slots=True)
class Recording:
    """One subscriber's one service."""

    subscriber: str
    service: str
    number: int  # which time that the subscriber used the service, from 1
    entries: tuple[Entry, ...]
    context: tuple[Entry, ...] = ()  # attach, PDN connections, registration: everything before it that it builds upon
    holes: tuple[Hole, ...] = ()

    @property
    def id(self) -> str:
        """A name for it that is unique within its capture: "999700000000020-volte-1"."""
        return f"{self.subscriber}-{self.service}-{self.number}"

    @property
    def messages(self) -> tuple[SignallingMessage, ...]:
        """The service's own messages, without the context."""
        return tuple(entry.message for entry in self.entries)

    @property
    def begin_ns(self) -> int:
        """When its first message was captured, nanoseconds since the epoch."""
        return min((entry.message.captured.captured_at_ns for entry in self.entries), default=0)

    @property
    def end_ns(self) -> int:
        """When its last message was captured."""
        return max((entry.message.captured.captured_at_ns for entry in self.entries), default=0)

    @property
    def complete(self) -> bool:
        """Whether nothing is missing that must have been there."""
        return not self.holes

    @property
    def quality(self) -> float:
        """The share of its messages, from 0 to 1, that are whole and, if requests, answered."""
        answered = {entry.message.answers for entry in self.entries}
        good = sum(
            not message.captured.flaws and (message.kind is not Kind.REQUEST or message.index in answered)
            for message in self.messages
        )
        return good / len(self.entries) if self.entries else 1.0


@dataclass(frozen=True, slots=True)
class Belonging:
    """To which instances of a subscriber's services a message belongs, and where it lies seen from there."""

    subscriber: str
    boundary: Boundary
    instances: tuple[Instance, ...]


@dataclass(slots=True)
class _Draft:
    entries: list[Entry] = field(default_factory=list)


def build_recordings(
    messages: Sequence[SignallingMessage],
    belongings: Mapping[int, Sequence[Belonging]],
    gaps: Iterable[Hole] = (),
) -> list[Recording]:
    """Every subscriber's services, by where they begin.

    `messages` are in order; `belongings` is by index; `gaps` are agents' missing numbers: nobody can say whose messages
    those were, so they are in every recording that they lie in and whose messages that agent has seen.
    """
    drafts: dict[tuple[str, Instance], _Draft] = defaultdict(_Draft)
    for message in messages:
        for belonging in belongings.get(message.index, ()):
            if belonging.boundary is Boundary.BEYOND:
                continue
            for instance in belonging.instances:
                drafts[belonging.subscriber, instance].entries.append(Entry(message, belonging.boundary))
    by_subscriber: dict[str, list[tuple[Instance, _Draft]]] = defaultdict(list)
    for (subscriber, instance), draft in drafts.items():
        by_subscriber[subscriber].append((instance, draft))
    gaps = list(gaps)
    recordings = [
        _recording(subscriber, instance, draft, by_subscriber[subscriber], gaps)
        for (subscriber, instance), draft in drafts.items()
    ]
    return sorted(recordings, key=lambda recording: (recording.entries[0].message.index, recording.id))


def _recording(
    subscriber: str,
    instance: Instance,
    draft: _Draft,
    all_drafts: Sequence[tuple[Instance, _Draft]],
    gaps: Sequence[Hole],
) -> Recording:
    begin, end = draft.entries[0].message.index, draft.entries[-1].message.index
    own = {entry.message.index for entry in draft.entries}
    since = _last_attach(begin, all_drafts)
    context: dict[int, Entry] = {}
    for other, its in all_drafts:
        if other != instance and instance.service != ATTACH and is_context(other.service):
            context.update(
                (entry.message.index, entry)
                for entry in its.entries
                if since <= entry.message.index < begin and entry.message.index not in own
            )
    before = tuple(entry for _, entry in sorted(context.items()))
    everything = [*before, *draft.entries]
    first = everything[0].message.index
    seen_by = {agent for entry in everything for agent in entry.message.agents}
    inside = [gap for gap in gaps if gap.agent in seen_by and first <= gap.after < end]
    return Recording(
        subscriber=subscriber,
        service=instance.service,
        number=instance.number,
        entries=tuple(draft.entries),
        context=before,
        holes=(*inside, *_flawed(everything), *_unanswered(draft.entries)),
    )


def _last_attach(begin: int, all_drafts: Sequence[tuple[Instance, _Draft]]) -> int:
    """Where the attach begins that everything since then builds upon; 0 where there is none before `begin`."""
    begins = (draft.entries[0].message.index for instance, draft in all_drafts if instance.service == ATTACH)
    return max((index for index in begins if index <= begin), default=0)


def is_context(service: str) -> bool:
    """Whether later services build upon this one."""
    return service in CONTEXT_SERVICES or service.startswith("pdn:")


def _flawed(entries: Iterable[Entry]) -> list[Hole]:
    return [
        Hole(f"{message.name}: {', '.join(message.captured.flaws)}", message.index)
        for message, _ in entries
        if message.captured.flaws
    ]


def _unanswered(entries: Sequence[Entry]) -> list[Hole]:
    """Requests whose answer must have been there, because what came later needs it.

    A request that nobody ever answered is no hole: that is what happened.
    """
    answered = {entry.message.answers for entry in entries}
    return [
        Hole(f"the answer to {message.name}", message.index)
        for position, (message, _) in enumerate(entries)
        if message.kind is Kind.REQUEST
        and message.index not in answered
        and _was_answered(message, [entry.message for entry in entries[position + 1 :]])
    ]


def _was_answered(request: SignallingMessage, later: Sequence[SignallingMessage]) -> bool:
    match request.protocol:
        case Protocol.SIP if request.name == "INVITE":
            # Only a dialog that was confirmed goes on with a BYE; a 2xx is acknowledged on the way of the INVITE.
            call = _value(request, IdKind.CALL_ID)
            return any(m.name == "BYE" and _value(m, IdKind.CALL_ID) == call for m in later)
        case Protocol.GTPV2 if request.name == "Create Session Request":
            tunnels = {value for kind, value in request.identifiers if kind is IdKind.TEID}
            ends = {_receiver_tunnel(m) for m in later if m.protocol is Protocol.GTPV2}
            return bool(tunnels & ends)
        case _:
            return False


def _receiver_tunnel(message: SignallingMessage) -> str:
    header = _value(message, IdKind.HEADER_TEID)
    return f"{message.captured.destination.address}/{header}"


def _value(message: SignallingMessage, kind: IdKind) -> str:
    return next((i.value for i in message.identifiers if i.kind is kind), "")


CALLS = (VOLTE, VIDEO)
"""The services that are calls."""
