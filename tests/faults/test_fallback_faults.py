"""Faults at every state of a fallback: the call is never lost, never stays held, and the device always comes back.

`World` is what really happens, as against what the controller is told: a command may be carried out and never
confirmed, or refused, or get lost on its way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ferret.errors import PeerViolationError
from ferret.fallback.controller import Controller
from ferret.fallback.messages import (
    AbandonReplay,
    Call,
    CallBegun,
    CallEnded,
    CallEstablished,
    CommandDone,
    CommandFailed,
    EdgeBack,
    EdgeLost,
    EndCall,
    HoldCall,
    MoveBack,
    NasCounted,
    NasCounts,
    Place,
    Recalled,
    Reconfigure,
    ReleaseEdge,
    ReplayRecording,
    Report,
    ResumeCall,
    S1Lost,
    UeContextReleased,
)
from ferret.fallback.procedure import Limits
from ferret.fallback.report import FallbackReport
from ferret.fallback.services import ServicePolicy, SwitchedServices
from ferret.fallback.states import State
from ferret.fallback.undo import Trace
from ferret.records.recording import Recording
from ferret.replay.plan import Plan
from ferret.replay.verdict import RecordingResult

IMSI = "001010000000001"
AT_WORK = (State.HOLDING, State.REPLAYING, State.RECONFIGURING)


class Fate(StrEnum):
    """What becomes of a command."""

    DONE = "done"
    REFUSED = "refused"  # nothing happens, and the controller is told
    LOST = "lost"  # nothing happens, and nobody says so
    UNCONFIRMED = "unconfirmed"  # it happens, and nobody says so


@dataclass(slots=True)
class Device:
    """How it really is with one subscriber's device."""

    place: str = "core"
    edge_state: bool = False


@dataclass(slots=True)
class Truth:
    """How it really is with one call."""

    device: Device
    up: bool = True  # the parties have not hung up
    media: str = "core"  # where it flows: core, edge, "" on hold
    core_call: bool = True  # the core's IMS, PCRF and bearers hold the call

    def out_of_place(self) -> set[Trace]:
        """What must not stay like this without a fallback that looks after it."""
        wrong = {
            Trace.DEVICE: self.device.place != "core",
            Trace.MEDIA: self.up and self.media != "core",
            Trace.CORE_CALL: self.core_call and not self.up,
            Trace.EDGE: self.device.edge_state,
        }
        return {trace for trace, is_wrong in wrong.items() if is_wrong}


@dataclass(slots=True)
class World:
    """A controller, and the network that it works in."""

    limits: Limits = field(default_factory=lambda: Limits(recording=60, undo=1, pause=0.05, attempts=4, waiting=2))
    controller: Controller = field(init=False)
    now: float = 0.0
    truths: dict[Call, Truth] = field(default_factory=dict)
    devices: dict[str, Device] = field(default_factory=dict)
    pending: list[Any] = field(default_factory=list)  # commands that nothing has become of yet
    reports: list[FallbackReport] = field(default_factory=list)

    def __post_init__(self) -> None:
        policy = ServicePolicy(enabled=True, max_fallback_ms=1000, max_wait_ms=5000)
        self.controller = Controller(SwitchedServices({"volte": policy}), self.limits)

    def happen(self, event: Any) -> None:
        """Something happens in the network."""
        self._take(self.controller.receive(event, self.now))

    def begin(self, call: Call) -> None:
        self.truths[call] = Truth(self.devices.setdefault(call.subscriber, Device()))
        self.happen(CallBegun(call))

    def establish(self, call: Call) -> None:
        self.happen(CallEstablished(call, Recording(*call, entries=())))

    def hang_up(self, call: Call) -> None:
        """A party hangs up: whichever IMS the call runs through sees it and releases its own."""
        truth = self.truths[call]
        truth.up = False
        at = Place.EDGE if truth.media == "edge" else Place.CORE
        truth.core_call = at is Place.EDGE
        self.happen(CallEnded(call, at))

    def next(self, fate: Fate) -> None:
        """The oldest pending command is carried out, or not."""
        command = self.pending.pop(0)
        if fate in (Fate.DONE, Fate.UNCONFIRMED):
            self._carry_out(command)
        if fate is Fate.DONE:
            result = None
            if isinstance(command, ReplayRecording):
                result = good_result(command.call, moved=self.limits.replay_moves)
            self.happen(CommandDone(command.id, result=result))
        elif fate is Fate.REFUSED:
            self.happen(CommandFailed(command.id, f"{type(command).__name__} was refused"))

    def wait(self) -> None:
        """Time goes on to the controller's next deadline."""
        deadline = self.controller.deadline()
        if deadline is not None:
            self.now = max(self.now, deadline)
            self._take(self.controller.wake(self.now))

    def settle(self) -> None:
        """From now on the network does as it is told."""
        for _ in range(500):
            if self.pending:
                self.next(Fate.DONE)
            elif self.controller.deadline() is not None:
                self.wait()
            else:
                return
        raise AssertionError("the controller does not come to rest")

    def state(self, call: Call) -> State | None:
        return next((r.state for r in self.controller.reports() if key(r) == call), None)

    def _take(self, commands: list[Any]) -> None:
        for command in commands:
            match command:
                case Report(report):
                    self.reports.append(report)
                case AbandonReplay(call):
                    still = [c for c in self.pending if not (isinstance(c, ReplayRecording) and c.call == call)]
                    self.pending[:] = still
                case _:
                    self.pending.append(command)

    def _carry_out(self, command: Any) -> None:
        truth = self.truths[command.call]
        match command:
            case HoldCall():
                truth.media = "" if truth.up else truth.media
            case ReplayRecording():
                truth.device.edge_state = True
                truth.device.place = "edge" if self.limits.replay_moves else truth.device.place
            case Reconfigure():
                truth.device.place = "edge"
            case ResumeCall():
                truth.media = str(command.through)
            case MoveBack():
                truth.device.place = "core"
            case EndCall():
                truth.core_call = False
            case ReleaseEdge():
                truth.device.edge_state = False


def key(report: FallbackReport) -> Call:
    return Call(report.subscriber, report.service, report.number)


def good_result(call: Call, *, moved: bool = False) -> RecordingResult:
    plan = Plan(call.subscriber, call.service, frozenset(), steps=(), reconfigure_after=1)
    return RecordingResult(plan, [], reconfigured=moved)


def check(world: World) -> None:
    """What holds at any time, whatever happens."""
    followed = {report.subscriber: report for report in world.controller.reports()}
    ended = {key(report) for report in world.reports if report.state.final}
    for call, truth in world.truths.items():
        if call.subscriber not in followed and call in ended:
            left = {t for r in world.reports if r.subscriber == call.subscriber for t in r.left_behind}
            assert truth.out_of_place() <= {Trace(text) for text in left}, f"{call} is left: {truth}"
    working = [report for report in world.controller.reports() if report.state in AT_WORK]
    assert len(working) <= 1, "two fallbacks keep the edge busy"
    if any(report.state is not State.AT_EDGE for report in world.controller.reports()):
        assert world.controller.deadline() is not None, "a fallback waits for ever"


def check_at_rest(world: World) -> None:
    """What holds once the network has done as it was told for a while."""
    check(world)
    for report in world.controller.reports():
        assert report.state is State.AT_EDGE
        truth = world.truths[key(report)]
        assert (truth.device.place, truth.device.edge_state) == ("edge", True)
        assert truth.media == "edge" or not truth.up


# Each fault at each state

STATES = ("recording", "eligible", "holding", "replaying", "reconfiguring", "resuming", "at_edge", "returning")
CALL = Call(IMSI, "volte", 1)


def at(state: str) -> World:
    """A world whose call has come to this state, with the command of that state still to be carried out."""
    world = World()
    if state == "eligible":
        other = Call("001010000000002", "volte", 1)
        world.begin(other)
        world.establish(other)
    world.begin(CALL)
    if state == "recording":
        return world
    world.establish(CALL)
    before = ("holding", "replaying", "reconfiguring", "resuming", "at_edge")
    for _ in range(before.index(state) if state in before else 4 if state == "returning" else 0):
        world.next(Fate.DONE)
    if state == "returning":
        world.happen(Recalled())
    return world


def end_of(world: World, call: Call = CALL) -> FallbackReport:
    """Let the network do as it is told; how this call's fallback ended."""
    world.settle()
    check_at_rest(world)
    assert world.truths[call].out_of_place() == set() or world.state(call) is State.AT_EDGE
    return [report for report in world.reports if key(report) == call][-1]


@pytest.mark.parametrize("state", STATES)
def test_an_edge_nf_is_lost(state: str) -> None:
    world = at(state)
    world.happen(EdgeLost("SGW", "killed"))
    check(world)
    if state == "recording":
        assert world.state(CALL) is State.RECORDING
        world.establish(CALL)
    report = end_of(world)
    assert report.state is State.ON_CORE
    assert report.failed is (state != "returning")


@pytest.mark.parametrize("state", STATES)
def test_the_cores_s1_association_is_lost(state: str) -> None:
    world = at(state)
    world.happen(S1Lost())
    check(world)
    assert end_of(world).state is (State.AT_EDGE if state == "at_edge" else State.ON_CORE)


@pytest.mark.parametrize("state", STATES)
def test_the_s1_association_with_the_edge_is_lost_and_comes_back_for_the_next_call(state: str) -> None:
    world = at(state)
    world.happen(EdgeLost("S1-MME", "association down"))
    if state != "recording":
        end_of(world)
    world.hang_up(CALL)
    world.happen(EdgeBack("S1-MME"))
    second = CALL._replace(number=2)
    world.begin(second)
    world.establish(second)
    assert end_of(world, second).state is State.AT_EDGE


@pytest.mark.parametrize("state", STATES)
def test_a_party_hangs_up(state: str) -> None:
    world = at(state)
    world.hang_up(CALL)
    check(world)
    report = end_of(world)
    assert (report.state, report.failed, report.left_behind) == (State.DONE, False, ())


@pytest.mark.parametrize("state", STATES)
def test_the_device_goes_idle(state: str) -> None:
    world = at(state)
    world.happen(UeContextReleased(IMSI))
    check(world)
    assert end_of(world).state is State.ON_CORE


@pytest.mark.parametrize("state", STATES[2:6])
def test_the_edge_or_the_core_refuses(state: str) -> None:
    world = at(state)
    world.next(Fate.REFUSED)
    report = end_of(world)
    assert report.state is State.ON_CORE
    assert report.reason.endswith("was refused")


@pytest.mark.parametrize("fate", [Fate.LOST, Fate.UNCONFIRMED])
@pytest.mark.parametrize("state", STATES[2:6])
def test_the_edge_or_the_core_is_slow(state: str, fate: Fate) -> None:
    world = at(state)
    world.next(fate)
    world.wait()
    check(world)
    report = end_of(world)
    assert report.state is State.ON_CORE
    assert report.reason.startswith("took too long while ")


@pytest.mark.parametrize("fate", [Fate.LOST, Fate.UNCONFIRMED, Fate.REFUSED])
@pytest.mark.parametrize("times", [1, 3])
def test_the_return_itself_fails_and_is_tried_again(fate: Fate, times: int) -> None:
    world = at("returning")
    for _ in range(times):
        world.next(fate)
        world.wait()
        check(world)
    report = end_of(world)
    assert (report.state, report.left_behind, report.repeated) == (State.ON_CORE, (), times)


def test_what_can_never_be_undone_is_told_to_the_operator() -> None:
    world = at("returning")
    while world.state(CALL) is not None:
        if world.pending:
            world.next(Fate.REFUSED)
        world.wait()
        check(world)
    report = world.reports[-1]
    assert report.state is State.ON_CORE
    assert report.failed
    assert {Trace(text) for text in report.left_behind} == {Trace.DEVICE, Trace.MEDIA, Trace.EDGE}


@pytest.mark.parametrize("fate", [Fate.LOST, Fate.UNCONFIRMED, Fate.REFUSED])
@pytest.mark.parametrize("state", STATES[2:6])
def test_a_hang_up_follows_a_fault(state: str, fate: Fate) -> None:
    world = at(state)
    world.next(fate)
    if fate is not Fate.REFUSED:
        world.wait()
    world.hang_up(CALL)
    check(world)
    assert end_of(world).left_behind == ()


@pytest.mark.parametrize("state", STATES[2:])
def test_the_second_call_after_a_return_is_moved(state: str) -> None:
    world = at(state)
    world.hang_up(CALL)
    world.settle()
    second = CALL._replace(number=2)
    world.begin(second)
    world.establish(second)
    report = end_of(world, second)
    assert (report.state, report.reason) == (State.AT_EDGE, "")


@pytest.mark.parametrize("fate", [Fate.DONE, Fate.LOST, Fate.UNCONFIRMED, Fate.REFUSED])
def test_a_redial_waits_until_nothing_of_the_last_call_is_left_to_undo(fate: Fate) -> None:
    world = at("at_edge")
    world.hang_up(CALL)
    second = CALL._replace(number=2)
    world.begin(second)
    world.establish(second)
    assert world.state(second) is State.ELIGIBLE
    world.next(fate)
    assert end_of(world, second).state is State.AT_EDGE


@pytest.mark.parametrize("seed", range(60))
def test_twelve_calls_of_three_subscribers_in_a_bad_network(seed: int) -> None:
    random = Random(seed)
    world = World(Limits(recording=60, undo=1, pause=0.05, attempts=4, waiting=2, replay_moves=bool(seed % 2)))
    calls = iter([Call(f"00101000000000{s}", "volte", n) for n in range(1, 5) for s in range(1, 4)])
    for _ in range(150):
        _happen_at_random(world, random, calls)
        check(world)
    world.settle()
    check_at_rest(world)


def _happen_at_random(world: World, random: Random, calls: Iterator[Call]) -> None:
    up = [call for call, truth in world.truths.items() if truth.up]
    recording = [call for call in up if world.state(call) is State.RECORDING]
    chance = random.random()
    if world.pending and chance < 0.6:
        world.next(random.choice([Fate.DONE] * 6 + list(Fate)))
    elif recording and chance < 0.7:
        world.establish(random.choice(recording))
    elif up and chance < 0.75:
        world.hang_up(random.choice(up))
    elif chance < 0.8:
        nf = random.choice(["SGW", "MME"])
        world.happen(random.choice([EdgeLost(nf, "killed"), EdgeBack(nf), EdgeBack(nf), S1Lost(), Recalled()]))
    elif chance < 0.9 and (call := next(calls, None)) is not None:
        world.begin(call)
    else:
        world.wait()


# Any sequence of events


class AnySequence(RuleBasedStateMachine):
    """Three subscribers with a few calls each, in a network where everything can happen at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.random = Random(0)

    @initialize(replay_moves=st.booleans())
    def begin_anew(self, replay_moves: bool) -> None:
        limits = Limits(recording=60, undo=1, pause=0.05, attempts=3, waiting=2, replay_moves=replay_moves)
        self.world = World(limits)

    @rule(subscriber=st.integers(1, 3))
    def a_call_begins(self, subscriber: int) -> None:
        imsi = f"00101000000000{subscriber}"
        number = 1 + sum(call.subscriber == imsi for call in self.world.truths)
        self.world.begin(Call(imsi, "volte", number))

    @precondition(lambda self: self.world.truths)
    @rule(data=st.data())
    def a_call_is_established(self, data: Any) -> None:
        call = data.draw(st.sampled_from(list(self.world.truths)))
        state = self.world.state(call)
        try:
            self.world.establish(call)
        except PeerViolationError:
            assert state not in (None, State.RECORDING)

    @precondition(lambda self: self.world.truths)
    @rule(data=st.data())
    def somebody_hangs_up(self, data: Any) -> None:
        call = data.draw(st.sampled_from(list(self.world.truths)))
        if self.world.truths[call].up:
            self.world.hang_up(call)

    @precondition(lambda self: self.world.pending)
    @rule(fate=st.sampled_from([Fate.DONE, Fate.DONE, *Fate]))
    def a_command_has_its_fate(self, fate: Fate) -> None:
        self.world.next(fate)

    @precondition(lambda self: self.world.pending)
    @rule()
    def a_command_is_answered_twice(self) -> None:
        command = self.world.pending[0]
        self.world.next(Fate.DONE)
        self.world.happen(CommandFailed(command.id, "again"))

    @rule(
        event=st.sampled_from(
            [
                EdgeLost("PGW", "killed"),
                EdgeBack("PGW"),
                S1Lost(),
                S1Lost(frozenset({IMSI})),
                Recalled(),
                Recalled(IMSI),
                UeContextReleased(IMSI),
                NasCounted(IMSI, NasCounts(3, 4)),
            ]
        )
    )
    def the_network_changes(self, event: Any) -> None:
        self.world.happen(event)

    @rule()
    def time_goes_on(self) -> None:
        self.world.wait()

    @invariant()
    def nothing_is_lost(self) -> None:
        check(self.world)

    def teardown(self) -> None:
        self.world.settle()
        check_at_rest(self.world)


AnySequence.TestCase.settings = settings(max_examples=120, stateful_step_count=40)
TestAnySequenceOfEventsHasAWayBack = AnySequence.TestCase
