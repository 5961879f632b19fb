"""An agent that is started again numbers its messages from 1 again; the recorder tells the runs apart."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import pytest

from ferret.records.message import CapturedMessage
from ferret.records.recorder import Capture, Recorder
from ferret_agents.capture.reader import read
from ferret_agents.offline import agents
from ferret_agents.roles import Network, find_network

FIRST = 1_700_000_000_000_000_000 & ~0xFF  # before the capture


@pytest.fixture(scope="module")
def seen() -> tuple[list[CapturedMessage], Network]:
    result = read(Path(__file__).parents[2] / "data" / "open5gs-attach.pcap")
    network = find_network(result.messages)
    return list(agents(result.messages, network)), network


def recorded(messages: list[CapturedMessage], network: Network) -> Capture:
    recorder = Recorder(lambda end, message: network.resolve(end, message.protocol))
    for message in messages:
        recorder.add(message)
    return recorder.finish()


def names(capture: Capture) -> list[str]:
    return [message.name for message in capture.messages]


def busiest(messages: list[CapturedMessage]) -> str:
    return Counter(message.agent for message in messages).most_common(1)[0][0]


def second_run(messages: list[CapturedMessage], agent: str, after: int) -> int:
    """When it begins: just after the last message of the first one."""
    (last,) = (m.captured_at_ns for m in messages if (m.agent, m.number) == (agent, after))
    return (last | 0xFF) + 1


def started_again(messages: list[CapturedMessage], agent: str, after: int) -> list[CapturedMessage]:
    """What `agent` saw after its `after`-th message is of another run of it, numbered from 1."""
    result = []
    second = second_run(messages, agent, after)
    for message in messages:
        if message.agent != agent or message.number <= after:
            result.append(replace(message, epoch=FIRST))
        else:
            result.append(replace(message, epoch=second, number=message.number - after))
    return result


def test_two_runs_keep_the_order_and_the_restart_is_a_hole(seen: tuple[list[CapturedMessage], Network]) -> None:
    messages, network = seen
    agent = busiest(messages)
    whole = recorded([replace(message, epoch=FIRST) for message in messages], network)
    assert not whole.damage
    again = recorded(started_again(messages, agent, 5), network)
    assert names(again) == names(whole)
    assert len(again.damage) == 1
    assert f"the agent at {agent} was started again" in again.damage[0]
    assert any(hole.agent == agent for recording in again.recordings for hole in recording.holes)


def test_what_a_new_run_dropped_at_its_beginning_is_a_hole(seen: tuple[list[CapturedMessage], Network]) -> None:
    messages, network = seen
    agent = busiest(messages)
    second = second_run(messages, agent, 5)
    runs = [m for m in started_again(messages, agent, 5) if (m.agent, m.epoch, m.number) != (agent, second, 1)]
    assert any("1 message(s) of the agent" in line for line in recorded(runs, network).damage)


def test_processes_of_one_run_are_no_restart(seen: tuple[list[CapturedMessage], Network]) -> None:
    messages, network = seen
    counts: dict[tuple[str, int], int] = {}
    shared = []
    for message in messages:
        process = crc32(repr(sorted((message.source, message.destination))).encode()) % 3
        counts[message.agent, process] = counts.get((message.agent, process), 0) + 1
        shared.append(replace(message, epoch=FIRST + process, number=counts[message.agent, process]))
    capture = recorded(shared, network)
    assert not capture.damage
    assert names(capture) == names(recorded(messages, network))


def test_agents_of_one_name_beside_each_other_are_no_restart(seen: tuple[list[CapturedMessage], Network]) -> None:
    """As one for each interface of an NF: the second was started later, and the first goes on."""
    messages, network = seen
    agent = busiest(messages)
    mine = [m for m in messages if m.agent == agent]
    second = second_run(messages, agent, 2)
    counts = {FIRST: 0, second: 0}
    beside = []
    for place, message in enumerate(mine):
        epoch = second if place > 3 and place % 2 else FIRST
        counts[epoch] += 1
        beside.append(replace(message, epoch=epoch, number=counts[epoch]))
    others = [replace(m, epoch=FIRST) for m in messages if m.agent != agent]
    assert not recorded([*others, *beside], network).damage
