"""Faults between replayer and edge NFs: what is lost is sent again, executed once; an NF that dies is named.

Each fault is drawn from a seed, so a failing run can be repeated.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from ferret.records.message import Role
from ferret.replay.client import ReplayPortClient
from ferret.replay.port import Command, Deliver, Expect, Report
from ferret.replay.retry import RetryPolicy
from ferret.replay.rules import load_rules
from ferret.replay.runner import ReplayTimes
from ferret.replay.verdict import RecordingResult, Verdict
from ferret_agents.pipeline import RecordedFile, private_queue, record_file
from ferret_deploy.replay_run import ReplayOptions, replay, run
from ferret_edge.node import EdgeNode

pytestmark = [pytest.mark.sctp, pytest.mark.mqueue]

IMPATIENT = ReplayTimes(retry=RetryPolicy(ack_timeout=0.15, max_attempts=30))


@pytest.fixture(scope="module")
def call() -> RecordedFile:
    return record_file(Path(__file__).parents[1] / "data" / "open5gs-volte.pcap")


def replayed(call: RecordedFile, times: ReplayTimes = IMPATIENT) -> RecordingResult:
    recordings = [r for r in call.capture.recordings if r.service == "volte"]
    with private_queue("faults") as queue:
        result = run(replay(recordings, call.capture.messages, queue, ReplayOptions(load_rules(), times=times)))
    (recording,) = result.recordings
    return recording


def _is_message(command: Command) -> bool:
    return isinstance(command, (Deliver, Expect))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_lost_messages_are_sent_again_and_the_edge_still_does_as_recorded(
    seed: int, call: RecordedFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    random, lost = Random(seed), Counter[str]()
    send = ReplayPortClient.send

    async def lossy(client: ReplayPortClient, command: Command) -> None:
        if _is_message(command) and random.random() < 0.1:
            lost[command.KIND] += 1
            return
        await send(client, command)

    monkeypatch.setattr(ReplayPortClient, "send", lossy)
    result = replayed(call)
    assert lost.total() > 0
    assert result.verdict is Verdict.SAME
    assert sum(m.attempts - 1 for m in result.messages if m.attempts) == lost.total()


def test_lost_acknowledgements_make_messages_come_twice_but_execute_once(
    call: RecordedFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    random, executed = Random(7), Counter[tuple[Role, int]]()
    execute, deliver = EdgeNode.execute, EdgeNode._deliver

    def forgetful(node: EdgeNode, command: Command, report: object) -> None:
        silent = _is_message(command) and random.random() < 0.1

        def maybe(one: Report) -> None:
            if not (silent and one.KIND == "ack"):
                report(one)  # type: ignore[operator]

        execute(node, command, maybe)

    def counted(node: EdgeNode, command: Deliver) -> None:
        executed[node.nf.role, command.id] += 1
        deliver(node, command)

    monkeypatch.setattr(EdgeNode, "execute", forgetful)
    monkeypatch.setattr(EdgeNode, "_deliver", counted)
    result = replayed(call)
    assert result.verdict is Verdict.SAME
    assert any(m.attempts > 1 for m in result.messages)
    assert set(executed.values()) == {1}


@pytest.mark.parametrize("after", [0, 20, 45, 70])
def test_an_edge_nf_that_stops_answering_abandons_the_replay_at_the_message_that_it_was_to_take(
    after: int, call: RecordedFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = EdgeNode.execute

    def dead_from(node: EdgeNode, command: Command, report: object) -> None:
        if not (_is_message(command) and command.id >= after):
            execute(node, command, report)  # type: ignore[arg-type]

    monkeypatch.setattr(EdgeNode, "execute", dead_from)
    quick = ReplayTimes(retry=RetryPolicy(ack_timeout=0.02, max_attempts=3))
    result = replayed(call, quick)
    taking_part = [m for m in result.messages if m.step.part != "skipped"]
    assert result.verdict is Verdict.FAILED
    assert f"message {taking_part[after].step.index} (" in result.abandoned
    assert "not acknowledged after 3 attempts" in result.abandoned
    assert [m.attempts for m in taking_part[after + 1 :]] == [0] * (len(taking_part) - after - 1)


def test_an_edge_nf_that_closes_its_replay_port_is_named(call: RecordedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    send = ReplayPortClient.send
    closing: set[asyncio.Task[None]] = set()

    async def closes(client: ReplayPortClient, command: Command) -> None:
        await send(client, command)
        if _is_message(command) and command.id == 30 and client._socket is not None:
            closing.add(asyncio.create_task(_close(client)))

    monkeypatch.setattr(ReplayPortClient, "send", closes)
    result = replayed(call)
    assert result.verdict is Verdict.FAILED
    assert "/replay: " in result.abandoned


async def _close(client: ReplayPortClient) -> None:
    if client._socket is not None:
        await client._socket.close()
