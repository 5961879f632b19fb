"""The replayer keeps order, acknowledges, retries and gives up as planned, whatever the edge NFs do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest

from ferret.protocols.summary import Kind, Protocol
from ferret.queue.memory import MemoryQueue
from ferret.records.message import CapturedMessage, Endpoint, Interface, Node, Role, SignallingMessage
from ferret.records.recording import Entry
from ferret.records.sip_legs import Boundary
from ferret.replay.plan import Plan, plan
from ferret.replay.port import (
    Ack,
    Command,
    Deliver,
    Expect,
    MadeOutput,
    Noted,
    Reconfigure,
    Report,
    Settle,
    Settled,
)
from ferret.replay.retry import RetryPolicy
from ferret.replay.runner import Replayer, ReplayTimes
from ferret.replay.verdict import RecordingResult, ReplayResult, Verdict, as_junit

ENB, MME, SGW, HSS = (
    Node(Role.ENB, "10.0.0.1"),
    Node(Role.MME, "10.0.0.2"),
    Node(Role.SGW, "10.0.0.3"),
    Node(Role.HSS, "10.0.0.8"),
)
QUICK = ReplayTimes(retry=RetryPolicy(ack_timeout=0.02, max_attempts=3), output=0.1, command=0.5, reconfiguration=0.1)


def _message(index: int, name: str, interface: Interface, sender: Node, receiver: Node) -> SignallingMessage:
    protocol = Protocol.S1AP if interface is Interface.S1_MME else Protocol.GTPV2
    captured = CapturedMessage(
        protocol, index, Endpoint(sender.address, 1), Endpoint(receiver.address, 1), name.encode()
    )
    kind = Kind.RESPONSE if name.endswith("Response") else Kind.REQUEST
    return SignallingMessage(index, captured, name, kind, interface, sender, receiver)


MESSAGES = (
    _message(1, "InitialUEMessage", Interface.S1_MME, ENB, MME),
    _message(2, "Create Session Request", Interface.S11, MME, SGW),
    _message(3, "UplinkNASTransport", Interface.S1_MME, ENB, MME),
    _message(4, "Create Bearer Response", Interface.S11, MME, SGW),
    _message(5, "UplinkNASTransport", Interface.S1_MME, ENB, MME),
)
PLAN = plan(subscriber="001", service="volte", messages=[Entry(m, Boundary.INSIDE) for m in MESSAGES])


class Translator:
    def __init__(self) -> None:
        self.learnt: list[int] = []

    def stimulus(self, message: SignallingMessage) -> tuple[bytes, str]:
        return message.octets, "127.0.0.1"

    def learn(self, message: SignallingMessage, made: MadeOutput) -> Sequence[Mapping[str, object]]:
        self.learnt.append(message.index)
        return ()

    def snapshot(self) -> Mapping[str, object]:
        return {}


class Edge:
    """An edge of one port that acknowledges, makes what is expected, and can be told to fail."""

    def __init__(self) -> None:
        self.report: Callable[[Report], None] = lambda report: None
        self.received: list[Command] = []
        self.silent: dict[int, int] = {}  # message number: how many attempts to leave unanswered
        self.makes = True
        self.moves = True

    async def send(self, command: Command) -> None:
        self.received.append(command)
        asyncio.get_running_loop().call_soon(self._answer, command)

    def _answer(self, command: Command) -> None:
        if self.silent.get(command.id, 0):
            self.silent[command.id] -= 1
            return
        if isinstance(command, Settle):
            self.report(Settled(command.id, 1, 1))
            return
        self.report(Ack(command.id))
        if isinstance(command, Expect) and self.makes:
            self.report(MadeOutput(command.id, command.protocol, command.interface, "", command.name, b""))
        if isinstance(command, Reconfigure) and self.moves:
            self.report(Noted("reconfigured", {"nas_protected": True}))

    def deliveries(self) -> list[int]:
        return [c.id for c in self.received if isinstance(c, (Deliver, Expect))]


class Mover:
    def __init__(self) -> None:
        self.calls: list[str] = []

    async def prepare(self, subscriber: str) -> int:
        self.calls.append("prepare")
        return 7

    async def probe(self, subscriber: str) -> Mapping[str, object]:
        self.calls.append("probe")
        return {"packets": 1}


def _run(edge: Edge, mover: Mover | None = None, kill: Callable[[Replayer], None] | None = None) -> RecordingResult:
    async def run() -> RecordingResult:
        with MemoryQueue() as queue:
            ports = dict.fromkeys(PLAN.members, edge)
            replayer = Replayer(
                PLAN, ports=ports, queue=queue, translator=Translator(), contexts={}, mover=mover, times=QUICK
            )
            edge.report = replayer.reported
            if kill is not None:
                asyncio.get_running_loop().call_later(0.005, kill, replayer)
            return await replayer.run()

    return asyncio.run(run())


def test_every_message_is_delivered_once_in_order_and_acknowledged() -> None:
    edge = Edge()
    result = _run(edge, Mover())
    assert edge.deliveries() == [0, 1, 2, 3, 4]
    assert (result.replayed, result.compared, result.acknowledged) == (3, 2, 5)
    assert result.verdict is Verdict.SAME
    assert result.reconfigured and result.nas_protected


def test_an_unacknowledged_message_is_delivered_again_before_any_other() -> None:
    edge = Edge()
    edge.silent = {2: 1}
    result = _run(edge, Mover())
    assert edge.deliveries() == [0, 1, 2, 2, 3, 4]
    assert result.messages[2].attempts == 2
    assert result.verdict is Verdict.SAME


def test_after_the_last_attempt_the_replay_is_abandoned_and_the_rest_stays_undelivered() -> None:
    edge = Edge()
    edge.silent = {2: 99}
    result = _run(edge, Mover())
    assert edge.deliveries() == [0, 1, 2, 2, 2]
    assert "message 3" in result.abandoned
    assert result.verdict is Verdict.FAILED
    assert not result.reconfigured


def test_what_the_edge_never_makes_is_a_difference_of_high_risk() -> None:
    edge = Edge()
    edge.makes = False
    result = _run(edge, Mover())
    assert result.compared == 0
    assert [m.step.index for m in result.messages if m.high_risk] == [2, 4]
    assert result.verdict is Verdict.DIFFERENT


def test_the_move_happens_after_the_message_that_establishes_the_service() -> None:
    edge, mover = Edge(), Mover()
    _run(edge, mover)
    kinds = [type(c).__name__ for c in edge.received if isinstance(c, (Deliver, Expect, Reconfigure))]
    assert kinds == ["Deliver", "Expect", "Deliver", "Expect", "Reconfigure", "Reconfigure", "Deliver"]  # MME, PGW
    assert mover.calls == ["prepare", "probe"]


def test_a_device_that_does_not_answer_the_move_fails_the_replay_but_not_the_run() -> None:
    edge = Edge()
    edge.moves = False
    result = _run(edge, Mover())
    assert not result.reconfigured
    assert "did not answer" in result.not_reconfigured
    assert result.verdict is Verdict.FAILED
    assert result.acknowledged == 5


def _followed(edge: Edge, *lengths: int, mover: Mover | None = None, changed: bool = False) -> RecordingResult:
    """A replay that gets to know so many messages one look after the other; `changed`: at last, others."""

    async def run() -> RecordingResult:
        with MemoryQueue() as queue:
            plans = [_plan_of(MESSAGES[:length]) for length in lengths]
            if changed:
                plans.append(_plan_of((replace(MESSAGES[0], name="Other"), *MESSAGES[:0:-1])))
            ports = dict.fromkeys(PLAN.members, edge)
            replayer = Replayer(
                replace(plans[0], steps=()),
                ports=ports,
                queue=queue,
                translator=Translator(),
                contexts={},
                mover=mover,
                moves=False,
                times=QUICK,
            )
            edge.report = replayer.reported
            await replayer.begin()
            for one in plans:
                await replayer.follow(one)
            await replayer.finish()
            if mover is not None:
                await replayer.move()
            return replayer.result

    return asyncio.run(run())


def _plan_of(messages: Sequence[SignallingMessage]) -> Plan:
    return plan(
        subscriber="001",
        service="volte",
        messages=[Entry(m, Boundary.INSIDE) for m in messages],
        members=PLAN.members,
    )


@pytest.mark.parametrize("lengths", [(5,), (1, 5), (2, 4, 5), (1, 2, 3, 4, 5), (3, 3, 5)])
def test_a_recording_that_grows_is_replayed_like_one_that_is_over(lengths: tuple[int, ...]) -> None:
    edge = Edge()
    result = _followed(edge, *lengths)
    assert edge.deliveries() == [0, 1, 2, 3, 4]
    assert (result.replayed, result.compared, result.acknowledged) == (3, 2, 5)
    assert not result.reconfigured


def test_a_followed_replay_moves_the_device_when_it_is_told_to() -> None:
    edge, mover = Edge(), Mover()
    result = _followed(edge, 3, 5, mover=mover)
    assert mover.calls == ["prepare", "probe"]
    assert result.reconfigured
    assert result.verdict is Verdict.SAME


def test_a_message_is_sent_again_also_while_it_is_followed() -> None:
    edge = Edge()
    edge.silent = {3: 1}
    result = _followed(edge, 2, 5)
    assert edge.deliveries() == [0, 1, 2, 3, 3, 4]
    assert result.acknowledged == 5


def test_a_recording_that_changes_behind_its_replay_abandons_it() -> None:
    result = _followed(Edge(), 3, changed=True)
    assert "is not what it was" in result.abandoned
    assert result.verdict is Verdict.FAILED


def test_an_nf_that_dies_abandons_the_replay_at_once() -> None:
    edge = Edge()
    edge.silent = {2: 99}
    result = _run(edge, Mover(), kill=lambda replayer: replayer.lost("mme: connection lost"))
    assert "connection lost" in result.abandoned
    assert result.verdict is Verdict.FAILED


def test_a_refused_stimulus_is_a_difference_of_high_risk() -> None:
    class Refusing(Edge):
        def _answer(self, command: Command) -> None:
            super()._answer(command)
            if isinstance(command, Deliver) and command.id == 2:
                self.report(Noted("stimulus_refused", {"id": 2, "reason": "no such UE"}))

    result = _run(Refusing(), Mover())
    assert "no such UE" in str(result.messages[2].differences)
    assert result.verdict is Verdict.DIFFERENT


def test_the_result_as_json_has_what_is_promised() -> None:
    result = ReplayResult([_run(Edge(), Mover())], 12.0).as_json()
    promised = {
        "messages", "subscribers", "replayed", "compared", "acknowledged", "high_risk", "reconfigured", "assumed",
        "duration_ms", "verdict",
    }  # fmt: skip
    assert promised <= result.keys()
    messages = result["messages"]
    assert isinstance(messages, list)
    of_message = {
        "index", "interface", "name", "from_nf", "to_nf", "role", "acknowledged", "attempts", "differences",
    }  # fmt: skip
    assert all(of_message <= m.keys() for m in messages)


@pytest.mark.parametrize("makes", [True, False])
def test_the_junit_file_has_a_case_per_message_and_a_failure_per_high_risk(makes: bool) -> None:
    from xml.etree import ElementTree

    edge = Edge()
    edge.makes = makes
    root = ElementTree.fromstring(as_junit(ReplayResult([_run(edge, Mover())], 1.0), "call.pcap"))
    assert len(root.findall(".//testcase")) == 5
    assert len(root.findall(".//failure")) == (0 if makes else 2)
