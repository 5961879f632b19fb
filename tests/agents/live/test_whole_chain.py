"""A recorded network on a real wire: agents and queue give the recorder what the file would have given it."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ferret.queue import PosixQueue
from ferret.records.message import CapturedMessage, Node, Role
from ferret.records.recorder import Capture as Captured
from ferret.records.recorder import Recorder
from ferret_agents.capture.files import open_capture, records
from ferret_agents.capture.ledger import Ledger
from ferret_agents.collector import Collector
from ferret_agents.live.agent import AgentConfig, Capture, LiveAgent
from ferret_agents.pipeline import RecordedFile, record_file

pytestmark = [pytest.mark.mqueue, pytest.mark.root]

WITHOUT_AGENT = (Role.UE, Role.ENB, Role.REMOTE, Role.UNKNOWN)


def addresses_of(recorded: RecordedFile) -> dict[Node, list[str]]:
    """Every NF that has an agent, with its addresses; the one that names it comes first.

    Where a capture has Gm only inside GTP-U, the P-CSCF's agent looks into the tunnels.
    """
    found: dict[Node, dict[str, None]] = defaultdict(dict)
    for message in recorded.read.messages:
        ends = (message.source, message.destination)
        for node, end in zip(recorded.network.between(message), ends, strict=True):
            if node.role not in WITHOUT_AGENT:
                found[node].update(dict.fromkeys((node.address, end.address, *(one.address for one in message.tunnel))))
    return {node: list(addresses) for node, addresses in found.items()}


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("open5gs-attach.pcap", Capture.IMMEDIATE),
        ("open5gs-idle-paging.pcap", Capture.IMMEDIATE),
        ("kamailio-ims-call.pcap", Capture.BUFFERED),
        ("volte-call-full.pcap", Capture.IMMEDIATE),
        ("volte-call-full.pcap", Capture.BUFFERED),
    ],
)
def test_a_network_on_a_wire_is_recorded_as_from_the_file(
    in_namespace: Callable[..., None],
    until: Callable[..., Any],
    queue: PosixQueue,
    make_veth: Callable[[], None],
    capture: Callable[[str], Path],
    name: str,
    way: Capture,
) -> None:
    path = capture(name)
    offline = record_file(path)
    with open_capture(path) as stream:
        frames = [record.octets for record in records(stream, Ledger(), name)]
    got: list[CapturedMessage] = []

    async def scenario() -> None:
        make_veth()
        loop = asyncio.get_running_loop()
        collector = Collector(queue, got.append)
        collector.start(loop)
        agents = [
            LiveAgent(AgentConfig(("veth0",), tuple(addresses), (), name=node.address, capture=way), queue)
            for node, addresses in addresses_of(offline).items()
        ]
        for agent in agents:
            agent.start(loop)
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as wire:
            wire.bind(("veth1", 0))
            for frame in frames:
                wire.send(frame)
                await asyncio.sleep(0)
        accounts = [await agent.stop() for agent in agents]
        collector.stop()
        for account in accounts:
            assert account.is_exact
            assert not account.dropped
            assert not account.kernel_dropped
        assert sum(account.queued for account in accounts) == len(got)

    in_namespace(scenario)
    recorder = Recorder(lambda end, message: offline.network.resolve(end, message.protocol))
    for message in got:
        recorder.add(message)
    live = recorder.finish()
    assert not [line for line in live.damage if line.startswith("missing")]
    assert seen(live) == seen(offline.capture)
    assert [r.service for r in live.recordings] == [r.service for r in offline.capture.recordings]


def seen(capture: Captured) -> Counter[tuple[object, ...]]:
    """What was recorded, without when."""
    return Counter((m.name, m.octets, m.from_nf, m.to_nf, m.services) for m in capture.messages)
