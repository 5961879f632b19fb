"""Causal order, whatever the clocks say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from ferret.protocols import gtpv2
from ferret.protocols.summary import Kind, Protocol, Summary
from ferret.records.decoding import Decoded, Decoder
from ferret.records.joining import Joined, join
from ferret.records.message import CapturedMessage, Endpoint
from ferret.records.ordering import order

MS = 1_000_000


@dataclass(frozen=True)
class Sent:
    """A message of a simulated network."""

    name: int
    sender: str
    receiver: str
    sent_at: int
    received_at: int


def simulate(random: Random, agents: list[str], count: int) -> list[Sent]:
    """Messages between random pairs, some overtaking others on the way."""
    messages, now = [], 0
    for name in range(count):
        now += random.randrange(0, 3 * MS)
        sender, receiver = random.sample(agents, 2)
        messages.append(Sent(name, sender, receiver, now, now + random.randrange(1, 5 * MS)))
    return messages


def decoded(agent: str, number: int, at: int, message: Sent) -> Decoded:
    """The message as one agent saw it."""
    ends = Endpoint(message.sender, 2123), Endpoint(message.receiver, 2123)
    octets = message.name.to_bytes(4, "big")
    captured = CapturedMessage(Protocol.GTPV2, at, *ends, octets, agent, number)
    return Decoded(captured, None, Summary(str(message.name), Kind.INDICATION, ""))


def observe(messages: list[Sent], watched: set[str], offsets: dict[str, int]) -> dict[str, list[tuple[int, Sent]]]:
    """Each watched NF's own events in its own order."""
    logs: dict[str, list[tuple[int, Sent]]] = {agent: [] for agent in watched}
    for message in messages:
        for agent, at in ((message.sender, message.sent_at), (message.receiver, message.received_at)):
            if agent in watched:
                logs[agent].append((at + offsets[agent], message))
    for log in logs.values():
        log.sort(key=lambda event: (event[0], event[1].name))
    return logs


def captures(logs: dict[str, list[tuple[int, Sent]]]) -> list[Decoded]:
    """What the agents of these logs put into the queue."""
    return [
        decoded(agent, number, at, message)
        for agent, log in logs.items()
        for number, (at, message) in enumerate(log, start=1)
    ]


def happened_before(logs: dict[str, list[tuple[int, Sent]]]) -> dict[tuple[str, int], set[tuple[str, int]]]:
    """For each event (agent, message) every event that certainly came before it (Lamport's relation)."""
    before: dict[tuple[str, int], set[tuple[str, int]]] = {}

    def add(event: tuple[str, int], others: set[tuple[str, int]]) -> None:
        before.setdefault(event, set()).update(others)

    events = [(agent, message.name) for agent, log in logs.items() for _, message in log]
    for event in events:
        add(event, set())
    for _ in range(len(events)):
        size = sum(map(len, before.values()))
        for agent, log in logs.items():
            for (_, one), (_, other) in pairwise(log):
                add((agent, other.name), {(agent, one.name), *before[agent, one.name]})
            for _, message in log:
                sent = (message.sender, message.name)
                if agent == message.receiver and sent in before:
                    add((agent, message.name), {sent, *before[sent]})
        if size == sum(map(len, before.values())):
            break
    return before


def place(message: Joined) -> tuple[str, int]:
    """The event that a message stands at."""
    receiver, sender = message.captured.destination.address, message.captured.source.address
    return (receiver if receiver in message.sightings else sender), int(message.decoded.summary.name)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    watched=st.integers(1, 4),
    offsets=st.lists(st.integers(-5000, 5000), min_size=4, max_size=4),
    count=st.integers(2, 25),
)
def test_no_message_comes_before_one_that_happened_before_it(
    seed: int, watched: int, offsets: list[int], count: int
) -> None:
    random = Random(seed)
    agents = ["a", "b", "c", "d"]
    skew = {agent: offset * MS for agent, offset in zip(agents, offsets, strict=True)}
    logs = observe(simulate(random, agents, count), set(agents[:watched]), skew)
    seen = captures(logs)
    ordered = order(join(seen))
    before = happened_before(logs)
    positions = {place(one): position for position, one in enumerate(ordered)}
    for event, position in positions.items():
        assert all(positions[other] < position for other in before[event] & positions.keys())
    random.shuffle(seen)
    assert [one.decoded.summary.name for one in order(join(seen))] == [one.decoded.summary.name for one in ordered]


def test_clocks_that_are_seconds_apart_do_not_turn_request_and_answer_round() -> None:
    request = Sent(1, "a", "b", 10 * MS, 11 * MS)
    onward = Sent(2, "b", "c", 12 * MS, 13 * MS)
    back = Sent(3, "c", "b", 14 * MS, 15 * MS)
    answer = Sent(4, "b", "a", 16 * MS, 17 * MS)
    logs = observe([request, onward, back, answer], {"a", "b", "c"}, {"a": 4000 * MS, "b": 0, "c": -9000 * MS})
    assert [one.decoded.summary.name for one in order(join(captures(logs)))] == ["1", "2", "3", "4"]


def echo(agent: str, number: int, at: int, sequence: int) -> CapturedMessage:
    """An Echo Request from a to b, seen by one of them."""
    octets = gtpv2.Message(gtpv2.MessageType.ECHO_REQUEST, None, sequence, ()).encode()
    return CapturedMessage(Protocol.GTPV2, at, Endpoint("a", 2123), Endpoint("b", 2123), octets, agent, number)


def sequences(*messages: CapturedMessage) -> list[int]:
    decoder = Decoder()
    return [one.decoded.message.sequence for one in order(join([decoder.decode(message) for message in messages]))]


def test_a_sequence_number_orders_what_no_agent_saw_both_of() -> None:
    assert sequences(echo("a", 1, 50 * MS, 1), echo("b", 1, 10 * MS, 2)) == [1, 2]


def test_a_sequence_number_that_wraps_still_counts_up() -> None:
    assert sequences(echo("b", 1, 10 * MS, 0), echo("a", 1, 50 * MS, 0xFFFFFF), echo("a", 2, 60 * MS, 1)) == [
        0xFFFFFF,
        0,
        1,
    ]


def test_the_order_of_capture_within_an_agent_counts_more_than_sequence_numbers() -> None:
    assert sequences(echo("a", 1, 1, 2), echo("a", 2, 2, 1)) == [2, 1]


def test_agents_that_contradict_each_other_still_give_an_order() -> None:
    one, other, back = echo("a", 1, 1, 1), echo("a", 2, 2, 2), echo("b", 3, 3, 3)
    back = replace(back, source=back.destination, destination=back.source)
    by_b = [replace(message, agent="b", number=3 - message.number, captured_at_ns=9) for message in (one, other)]
    # b says that it sent the third after it had got the first two in the wrong order; a had it before it sent them.
    assert sorted(sequences(one, other, *by_b, back, replace(back, agent="a", number=0))) == [1, 2, 3]
