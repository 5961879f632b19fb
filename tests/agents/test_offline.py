"""The agents of a capture file: each counts for itself, and between them they lose nothing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ferret.records.message import CapturedMessage, Node, Role
from ferret_agents.capture.reader import read
from ferret_agents.offline import agent_name, agents
from ferret_agents.roles import find_network


def seen(path: Path) -> tuple[tuple[CapturedMessage, ...], list[CapturedMessage]]:
    messages = read(path).messages
    return messages, list(agents(messages, find_network(messages)))


def test_numbers_count_up_by_one_within_each_agent(own_captures: list[Path]) -> None:
    for path in own_captures:
        _, copies = seen(path)
        numbers: dict[str, list[int]] = defaultdict(list)
        for copy in copies:
            numbers[copy.agent].append(copy.number)
        assert all(list(range(1, len(of) + 1)) == of for of in numbers.values())


def test_every_message_is_seen_once_by_each_nf_and_by_nobody_else(own_captures: list[Path]) -> None:
    for path in own_captures:
        messages, copies = seen(path)
        network = find_network(messages)
        expected: Counter[tuple[int, str]] = Counter()
        for position, message in enumerate(messages):
            sides = {node for node in network.between(message) if node.role not in (Role.UE, Role.ENB)}
            expected.update((position, agent_name(node)) for node in sides)
        places = {id(message): position for position, message in enumerate(messages)}
        found: Counter[tuple[int, str]] = Counter()
        at = iter(messages)
        current = next(at)
        for copy in copies:
            while replace(copy, agent="", number=0) != current:
                current = next(at)
            found[places[id(current)], copy.agent] += 1
        assert found == expected, path.name


def test_no_agent_stands_beside_a_device_or_a_base_station(capture: Callable[[str], Path]) -> None:
    _, copies = seen(capture("volte-call-full.pcap"))
    assert {copy.agent for copy in copies} == {f"172.22.0.{number}" for number in (2, 3, 4, 8, 9, 19, 20, 21)}


def test_copies_from_tunnels_stay_marked(capture: Callable[[str], Path]) -> None:
    messages, copies = seen(capture("volte-call-full.pcap"))
    assert sum(bool(copy.tunnel) for copy in copies) == sum(bool(message.tunnel) for message in messages) > 0
    assert {copy.agent for copy in copies if copy.tunnel} == {"172.22.0.21"}


def test_an_agent_is_named_by_port_where_nfs_share_an_address() -> None:
    assert agent_name(Node(Role.MME, "10.0.0.1")) == "10.0.0.1"
    assert agent_name(Node(Role.MME, "10.0.0.1", 36412)) == "10.0.0.1:36412"
    assert agent_name(Node(Role.MME, "2001:db8::1", 36412)) == "[2001:db8::1]:36412"


def test_what_nobody_stands_beside_is_not_lost(capture: Callable[[str], Path]) -> None:
    messages = read(capture("open5gs-attach.pcap")).messages
    assert len(list(agents(messages[:1], find_network(())))) == 2
    lonely = [message for message in messages if message.source.address == "172.22.0.30"]
    assert len(list(agents(lonely, find_network(messages)))) == len(lonely)
