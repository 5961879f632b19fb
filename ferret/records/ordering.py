"""Causal order: which message came before which, whatever the clocks say (design, Recording 5).

Each time an agent saw a message is an event. What is certain of events:

1. Within one agent's run, the order of capture (each of its processes counts as a run of its own).
2. The sender's event of a message comes before the receiver's.
3. A response comes after its request.
4. Where no agent saw both: a protocol counter (GTPv2-C sequence number, Diameter hop-by-hop identifier, CSeq, SCTP
   stream sequence number) that counts the messages of one sender to one receiver.

A merge that respects all of these goes through the events; among those that may come next it takes the earliest by
the clocks, after `clock_offsets`. A message stands where its receiver saw it: that is when it had an effect; the
sender's event stands for it where the receiver had no agent. The result does not depend on the order in which agents'
messages came in. Contradictions (a broken agent) never stop it: rule 4 gives way first, then the earliest goes.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from ferret.protocols.summary import Kind, Protocol
from ferret.records.clocks import clock_offsets
from ferret.records.joining import Joined, Sighting
from ferret.records.matching import unique_pairs


class _Event(NamedTuple):
    at_ns: int  # by the common clock
    agent: str
    epoch: int
    number: int
    message: int  # position


def order(messages: Sequence[Joined]) -> list[Joined]:
    """The messages in causal order."""
    offsets = clock_offsets(messages)
    events, places = _events(messages, offsets)
    certain = _Graph(len(events))
    _chain_agents(events, certain)
    _send_before_receive(messages, events, certain)
    for request, answer in unique_pairs(messages):
        if not messages[request].sightings.keys() & messages[answer].sightings.keys():
            certain.add(places[request], places[answer])
    counted = _Graph(len(events))
    for before, after in _counter_pairs(messages):
        counted.add(places[before], places[after])
    sequence = _merge(events, certain, counted)
    rank = {event: place for place, event in enumerate(sequence)}
    positions = sorted(range(len(messages)), key=lambda position: rank[places[position]])
    return [messages[position] for position in positions]


class _Graph:
    """Who comes before whom, by event position."""

    def __init__(self, size: int) -> None:
        self.after: list[list[int]] = [[] for _ in range(size)]
        self.waits_for = [0] * size

    def add(self, before: int, after: int) -> None:
        if before != after:
            self.after[before].append(after)
            self.waits_for[after] += 1


def _events(messages: Sequence[Joined], offsets: dict[str, int]) -> tuple[list[_Event], list[int]]:
    """All events, sorted by what breaks ties, and for each message the event that it stands at."""
    events = sorted(
        _Event(seen.at_ns - offsets[seen.agent], seen.agent, seen.epoch, seen.number, position)
        for position, one in enumerate(messages)
        for seen in one.sightings.values()
    )
    places = [-1] * len(messages)
    for number, event in enumerate(events):
        if event.agent == _place(messages[event.message]).agent:
            places[event.message] = number
    return events, places


def _place(one: Joined) -> Sighting:
    for agent in (one.receiver, one.sender):
        if agent in one.sightings:
            return one.sightings[agent]
    return min(one.sightings.values(), key=lambda seen: (seen.at_ns, seen.agent))


def _chain_agents(events: Sequence[_Event], graph: _Graph) -> None:
    runs: dict[tuple[str, int], list[int]] = defaultdict(list)
    for number, event in enumerate(events):
        runs[event.agent, event.epoch].append(number)
    for numbers in runs.values():
        numbers.sort(key=lambda number: events[number].number)
        for before, after in pairwise(numbers):
            graph.add(before, after)


def _send_before_receive(messages: Sequence[Joined], events: Sequence[_Event], graph: _Graph) -> None:
    by_message: dict[int, dict[str, int]] = defaultdict(dict)
    for number, event in enumerate(events):
        by_message[event.message][event.agent] = number
    for position, seen in by_message.items():
        one = messages[position]
        sent, received = seen.get(one.sender), seen.get(one.receiver)
        for agent, number in seen.items():
            if sent is not None and agent != one.sender:
                graph.add(sent, number)
            elif received is not None and agent != one.receiver:
                graph.add(number, received)


def _merge(events: Sequence[_Event], certain: _Graph, counted: _Graph) -> list[int]:
    """Every event once, none before one that it waits for; `events` are sorted, so a position is a tie-break too."""
    hard, soft = list(certain.waits_for), list(counted.waits_for)
    done = [False] * len(events)
    ready = [number for number in range(len(events)) if not hard[number] and not soft[number]]
    held = [number for number in range(len(events)) if not hard[number] and soft[number]]  # by rule 4 only
    earliest = iter(range(len(events)))
    result: list[int] = []
    while len(result) < len(events):
        # With nothing ready, the rules contradict each other: rule 4 gives way, then whatever holds the earliest.
        number = heapq.heappop(ready) if ready else heapq.heappop(held) if held else next(earliest)
        if done[number]:
            continue
        done[number] = True
        result.append(number)
        for graph, waits in ((certain, hard), (counted, soft)):
            for after in graph.after[number]:
                waits[after] -= 1
                if not done[after] and not hard[after]:
                    heapq.heappush(held if soft[after] else ready, after)
    return result


def _counter_pairs(messages: Sequence[Joined]) -> Iterator[tuple[int, int]]:
    """Neighbours by a protocol counter that no agent saw both of."""
    counters: dict[tuple[Hashable, int], list[tuple[int, int]]] = defaultdict(list)
    for position, one in enumerate(messages):
        found = _counter(one)
        if found is not None:
            domain, size, value = found
            counters[domain, size].append((value, position))
    for (_, size), values in counters.items():
        for before, after in pairwise(_unwrapped(values, size)):
            if not messages[before].sightings.keys() & messages[after].sightings.keys():
                yield before, after


def _unwrapped(values: Iterable[tuple[int, int]], size: int) -> list[int]:
    """Positions in counting order; a counter that wrapped starts behind the widest gap."""
    ordered = sorted(values)
    gaps = [
        ((after[0] - before[0]) % size, place + 1)
        for place, (before, after) in enumerate(pairwise([*ordered, ordered[0]]))
    ]
    start = max(gaps)[1] % len(ordered)
    return [position for _, position in ordered[start:] + ordered[:start]]


def _counter(one: Joined) -> tuple[Hashable, int, int] | None:
    """What the counter counts, how many values it has, and its value."""
    captured, summary, message = one.captured, one.decoded.summary, one.decoded.message
    ends = (captured.source, captured.destination)
    if message is None:
        return None
    match captured.protocol:
        case Protocol.GTPV2 if summary.kind is Kind.REQUEST:
            return ("gtpv2", *ends), 1 << 24, message.sequence
        case Protocol.DIAMETER if message.is_request:
            return ("diameter", *ends), 1 << 32, message.hop_by_hop
        case Protocol.SIP if message.is_request:
            number = message.first("CSeq").split(None, 1)[:1]
            if number and number[0].isascii() and number[0].isdigit() and len(number[0]) <= 10:
                hop = (captured.source.address, captured.destination.address, message.first("From"))
                return ("sip", message.first("Call-ID"), *hop), 1 << 32, int(number[0])
        case Protocol.S1AP if captured.stream_sequence >= 0:
            return ("s1ap", *ends, captured.stream), 1 << 16, captured.stream_sequence
        case _:
            pass
    return None
