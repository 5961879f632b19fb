"""The recording: the ordered messages of one subscriber's one service, from first to last, with what it builds upon."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ferret.records.holes import Hole, Holes
from ferret.records.message import SignallingMessage
from ferret.records.quality import assess
from ferret.records.services import ATTACH, CONTEXT_SERVICES, MAKING_BEARERS, VIDEO, VOLTE, Instance
from ferret.records.sip_legs import Boundary


class Entry(NamedTuple):
    """A message in a recording, and where it lies seen from the subscriber's half of a call."""

    message: SignallingMessage
    boundary: Boundary


@dataclass(frozen=True, slots=True)
class Recording:
    """One subscriber's one service."""

    subscriber: str
    service: str
    number: int  # which time that the subscriber used the service, from 1
    entries: tuple[Entry, ...]
    context: tuple[Entry, ...] = ()  # attach, PDN connections, registration: everything that it builds upon
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
    def everything(self) -> list[Entry]:
        """Context and service in one order."""
        return sorted((*self.context, *self.entries), key=lambda entry: entry.message.index)

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
        """How good it is, from 0 to 1; `ferret.records.quality` says what that is made of."""
        return assess(self).value


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

    `messages` are in order; `belongings` is by index; `gaps` are agents' missing numbers.
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
    holes = Holes(messages, gaps)
    recordings = [
        _recording(subscriber, instance, draft, by_subscriber[subscriber], holes)
        for (subscriber, instance), draft in drafts.items()
    ]
    return sorted(recordings, key=lambda recording: (recording.entries[0].message.index, recording.id))


def _recording(
    subscriber: str,
    instance: Instance,
    draft: _Draft,
    all_drafts: Sequence[tuple[Instance, _Draft]],
    holes: Holes,
) -> Recording:
    begin, end = draft.entries[0].message.index, draft.entries[-1].message.index
    own = {entry.message.index for entry in draft.entries}
    since = _last_attach(begin, all_drafts)
    context: dict[int, Entry] = {}
    for other, its in all_drafts:
        if other == instance or instance.service == ATTACH:
            continue
        until = begin if is_context(other.service) else 0
        if instance.service.startswith("pdn:") and other.service in MAKING_BEARERS:
            until = end  # what the device and the MME do with a PDN connection is not about it alone
        context.update(
            (entry.message.index, entry)
            for entry in its.entries
            if since <= entry.message.index < until and entry.message.index not in own
        )
    before = tuple(entry for _, entry in sorted(context.items()))
    return Recording(
        subscriber=subscriber,
        service=instance.service,
        number=instance.number,
        entries=tuple(draft.entries),
        context=before,
        holes=holes.of(subscriber, [entry.message for entry in (*before, *draft.entries)]),
    )


def _last_attach(begin: int, all_drafts: Sequence[tuple[Instance, _Draft]]) -> int:
    """Where the attach begins that everything since then builds upon; 0 where there is none before `begin`."""
    begins = (draft.entries[0].message.index for instance, draft in all_drafts if instance.service == ATTACH)
    return max((index for index in begins if index <= begin), default=0)


def is_context(service: str) -> bool:
    """Whether later services build upon this one."""
    return service in CONTEXT_SERVICES or service.startswith("pdn:")


CALLS = (VOLTE, VIDEO)
"""The services that are calls."""
