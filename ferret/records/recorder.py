"""The recorder: from what agents put into the queue to ordered messages, subscribers and recordings.

    recorder = Recorder(resolve)
    for octets in queue: recorder.add(decode_captured(octets))
    capture = recorder.finish()

`resolve` says which NF an endpoint is, given one of its messages; roles are the agents' knowledge.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from ferret.protocols.summary import Kind
from ferret.records.correlation import Attribution, correlate
from ferret.records.decoding import Decoder, interface_of
from ferret.records.holes import Hole
from ferret.records.identities import Subscriber
from ferret.records.joining import Joined, join
from ferret.records.matching import match_answers
from ferret.records.message import CapturedMessage, Endpoint, Node, SignallingMessage
from ferret.records.ordering import order
from ferret.records.recording import Belonging, Recording, build_recordings
from ferret.records.services import Instance, Services

Resolve: TypeAlias = Callable[[Endpoint, CapturedMessage], Node]
_Run: TypeAlias = tuple[str, int]  # agent and epoch: numbers count within it


@dataclass(frozen=True, slots=True)
class KnownSubscriber:
    """A subscriber and everything that a capture says of who that is."""

    key: str  # as in SignallingMessage.subscribers
    imsi: str  # "" where no message says it
    msisdns: tuple[str, ...]
    addresses: tuple[str, ...]  # of the device, in order of appearance
    identities: tuple[str, ...]  # public and private identities that are neither IMSI nor number
    services: tuple[str, ...]  # in order of appearance, each once
    messages: int


@dataclass(frozen=True, slots=True)
class Capture:
    """Everything that was recorded."""

    messages: tuple[SignallingMessage, ...]
    subscribers: tuple[KnownSubscriber, ...]
    recordings: tuple[Recording, ...]
    damage: tuple[str, ...]  # one line for each thing that is wrong
    nodes: tuple[Node, ...]

    @property
    def unattributed(self) -> tuple[SignallingMessage, ...]:
        """Messages that lead to no subscriber: between neighbours, or unknown."""
        return tuple(message for message in self.messages if not message.subscribers)


class Recorder:
    """Collects captured messages of any number of agents, in whatever order they come."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._captured: list[CapturedMessage] = []

    def add(self, captured: CapturedMessage) -> None:
        """Take one message. Cheap: everything is done in `finish`."""
        self._captured.append(captured)

    def finish(self) -> Capture:
        """Decode, join, order, correlate and classify. May be called again after more was added."""
        decoder = Decoder()
        ordered = order(join(map(decoder.decode, self._captured), self._agents_at_ends))
        nodes = [
            (self._resolve(one.captured.source, one.captured), self._resolve(one.captured.destination, one.captured))
            for one in ordered
        ]
        answers = match_answers(ordered)
        attributions = correlate(ordered, nodes, answers)
        belongings = _belongings(ordered, attributions, answers)
        messages = [
            _message(position, one, nodes[position], answers, belongings[position])
            for position, one in enumerate(ordered)
        ]
        gaps = _gaps(self._captured, ordered)
        by_index = {position + 1: found for position, found in enumerate(belongings)}
        return Capture(
            messages=tuple(messages),
            subscribers=_subscribers(attributions, messages, belongings),
            recordings=tuple(build_recordings(messages, by_index, gaps)),
            damage=_damage(ordered, gaps),
            nodes=tuple(sorted({node for ends in nodes for node in ends})),
        )

    def _agents_at_ends(self, captured: CapturedMessage) -> tuple[str, str]:
        sender, receiver = (self._resolve(end, captured) for end in (captured.source, captured.destination))
        return agent_at(sender), agent_at(receiver)


def agent_at(node: Node) -> str:
    """The name of the agent beside an NF: its address, with its port where several NFs share the address."""
    return str(Endpoint(node.address, node.port)) if node.port else node.address


def _belongings(
    ordered: Sequence[Joined], attributions: Sequence[tuple[Attribution, ...]], answers: Mapping[int, int]
) -> list[tuple[Belonging, ...]]:
    services = Services()
    classified: list[dict[Subscriber, tuple[Instance, ...]]] = []
    result = []
    for position, one in enumerate(ordered):
        request = answers.get(position)
        asked = classified[request] if request is not None else {}
        found = services.classify(one, attributions[position], asked)
        classified.append(found)
        result.append(
            tuple(Belonging(a.subscriber.key, a.boundary, found[a.subscriber]) for a in attributions[position])
        )
    return result


def _message(
    position: int,
    one: Joined,
    ends: tuple[Node, Node],
    answers: Mapping[int, int],
    belongings: tuple[Belonging, ...],
) -> SignallingMessage:
    summary = one.decoded.summary
    services = [instance.service for belonging in belongings for instance in belonging.instances]
    return SignallingMessage(
        index=position + 1,
        captured=one.captured,
        name=summary.name,
        kind=summary.kind,
        interface=interface_of(one.decoded, ends[0].role, ends[1].role),
        from_nf=ends[0],
        to_nf=ends[1],
        transaction=summary.transaction,
        identifiers=summary.identifiers,
        accepted=summary.accepted,
        state_transitions=summary.state_transitions,
        answers=answers[position] + 1 if position in answers and summary.kind is Kind.RESPONSE else 0,
        agents=tuple(sorted(one.sightings)),
        retransmissions=one.retransmissions,
        subscribers=tuple(belonging.subscriber for belonging in belongings),
        services=tuple(dict.fromkeys(services)),
    )


def _subscribers(
    attributions: Sequence[tuple[Attribution, ...]],
    messages: Sequence[SignallingMessage],
    belongings: Sequence[tuple[Belonging, ...]],
) -> tuple[KnownSubscriber, ...]:
    known = {a.subscriber.key: a.subscriber for found in attributions for a in found}
    services: dict[str, dict[str, None]] = defaultdict(dict)
    counts: dict[str, int] = defaultdict(int)
    for message, found in zip(messages, belongings, strict=True):
        for key in message.subscribers:
            counts[key] += 1
        for belonging in found:
            services[belonging.subscriber].update((i.service, None) for i in belonging.instances)
    return tuple(
        KnownSubscriber(
            key=key,
            imsi=subscriber.imsi,
            msisdns=tuple(subscriber.msisdns),
            addresses=tuple(subscriber.addresses),
            identities=tuple(subscriber.others),
            services=tuple(services[key]),
            messages=counts[key],
        )
        for key, subscriber in sorted(known.items(), key=lambda item: item[1].number)
    )


def _gaps(captured: Sequence[CapturedMessage], ordered: Sequence[Joined]) -> list[Hole]:
    """Numbers that an agent left out: messages that it has seen and that did not arrive."""
    reached: dict[_Run, dict[int, int]] = defaultdict(dict)
    for position, one in enumerate(ordered):
        for seen in one.sightings.values():
            reached[seen.agent, seen.epoch][seen.number] = position + 1
    numbers: dict[_Run, set[int]] = defaultdict(set)
    ended: dict[_Run, int] = defaultdict(int)
    for message in captured:
        run = (message.agent, message.epoch)
        numbers[run].add(message.number)
        ended[run] = max(ended[run], message.captured_at_ns)
    holes = []
    for (agent, epoch), its in sorted(numbers.items()):
        before_it = [run for run, at_ns in ended.items() if run[0] == agent and _is_over(run[1], at_ns, epoch)]
        begun = max((max(reached[run].values(), default=0) for run in before_it), default=None)
        place, counted = begun or 0, sorted(its)
        if begun is not None:
            holes.append(Hole(f"what passed while the agent at {agent} was started again", begun, agent))
            counted = [0, *counted]
        for before, after in pairwise(counted):
            place = max(place, reached[agent, epoch].get(before, 0))
            if after - before > 1:
                holes.append(Hole(f"{after - before - 1} message(s) of the agent at {agent or '?'}", place, agent))
    return holes


def _is_over(run: int, ended_ns: int, epoch: int) -> bool:
    """Whether a run of an agent had ended when another one began: it was started again.

    Several processes of one agent are one run (`CapturedMessage.epoch`), and so are agents of one name that run beside
    each other, as for two interfaces of one NF.
    """
    return run >> 8 < epoch >> 8 and ended_ns <= epoch


def _damage(ordered: Sequence[Joined], gaps: Sequence[Hole]) -> tuple[str, ...]:
    lines = [f"missing: {gap.what}, after message {gap.after}" for gap in gaps]
    for position, one in enumerate(ordered):
        if one.captured.flaws:
            reason = f" ({one.decoded.error})" if one.decoded.error else ""
            flaws = ", ".join(one.captured.flaws)
            lines.append(f"message {position + 1}, {one.decoded.summary.name}: {flaws}{reason}")
    return tuple(lines)
