"""FERRET at work on one host: what agents capture goes in, calls are moved to the edge and back (the rim).

What is new about calls goes to the controller; its commands are carried out here, those of one call one after the
other. While the core sets a call up, its replay already follows: it touches edge NFs only, so that nothing has to be
undone in the network if the call is never moved, and little is left to do once it stands.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from ferret.errors import FerretError
from ferret.fallback.controller import Controller
from ferret.fallback.judgement import why_not_accepted
from ferret.fallback.messages import (
    AbandonReplay,
    Answer,
    Answered,
    Call,
    CallEnded,
    CallEstablished,
    Command,
    CommandDone,
    CommandFailed,
    EdgeBack,
    EdgeLost,
    EndCall,
    HoldCall,
    MoveBack,
    NasCounted,
    NasCounts,
    NetworkEvent,
    Place,
    Reconfigure,
    ReleaseEdge,
    ReplayRecording,
    Report,
    ResumeCall,
    UeContextReleased,
)
from ferret.fallback.nas_counts import NasWatch
from ferret.fallback.report import FallbackReport
from ferret.fallback.states import TO_THE_EDGE, State
from ferret.queue import MessageQueue
from ferret.records.message import CapturedMessage, Role, SignallingMessage
from ferret.records.recorder import Capture
from ferret.records.recording import Recording
from ferret.replay.device import device_at
from ferret.replay.plan import EDGE_ROLES
from ferret.replay.port import Noted
from ferret.replay.runner import ReplayTimes
from ferret.replay.verdict import RecordingResult
from ferret_deploy.host.edge_ports import EdgePorts
from ferret_deploy.host.followed_replay import FallbackError, FollowedReplay, before_pause
from ferret_deploy.host.network import CoreNetwork
from ferret_deploy.host.observation import CallEvent, Look, Observation
from ferret_edge.site import Site

_AFTERMATH_NS: Final = 20_000_000  # until the last answers of what FERRET had the network do have been seen
_S1: Final = "S1 association"
_EDGE_AT_WORK: Final = frozenset((*TO_THE_EDGE, State.RETURNING))
_log = structlog.get_logger("ferret.host")


@dataclass(slots=True, eq=False)
class MovedCall:
    """What the host does with one call."""

    call: Call
    recording: Recording | None = None  # once the call stands
    replay: FollowedReplay | None = None
    following: asyncio.Task[bool] | None = None
    work: asyncio.Task[None] | None = None  # the last command, which waits for those before it
    over: bool = False  # it has ended, here or there
    results: list[RecordingResult] = field(default_factory=list)


class FallbackHost:
    """Moves calls.

    `told` gets each report with the results of the call's replays; `happened`, each command when it begins (None) and
    when it is answered.
    """

    def __init__(
        self,
        controller: Controller,
        network: CoreNetwork,
        site: Site,
        queue: MessageQueue,
        *,
        told: Callable[[FallbackReport, list[RecordingResult]], None] = lambda report, results: None,
        happened: Callable[[Answered, Answer | None], None] = lambda command, answer: None,
        times: ReplayTimes | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`site`: where the edge NFs are; `queue`: for the replays."""
        self.controller = controller
        self.observation = Observation()
        self.capture: Capture | None = None  # as of the last look
        self._network = network
        self._queue = queue
        self._told = told
        self._happened = happened
        self._times = times or ReplayTimes()
        self._clock = clock
        self._nas = NasWatch()
        self._edge = EdgePorts(site, EDGE_ROLES, noted=self._noted, lost=self._edge_lost, back=self._edge_back)
        self._edge_addresses = frozenset(site.addresses())
        self._calls: dict[Call, MovedCall] = {}
        self._current: MovedCall | None = None  # whose replay the edge is busy with, until it has moved
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._edge_is_there = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Connect to the edge's NFs and begin. Raises ConfigError."""
        await self._edge.start()
        self._start(self._run())

    async def stop(self) -> None:
        """Look no more; whatever is under way is left as it is."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._edge.stop()

    def take(self, captured: CapturedMessage) -> None:
        """Take what an agent has captured. What edge NFs say is not recorded: it only moves NAS COUNTs on."""
        of_edge = (
            captured.source.address in self._edge_addresses or captured.destination.address in self._edge_addresses
        )
        if (event := self._nas.take(captured)) is not None:
            self._signalled(event, at_edge=of_edge)
        if not of_edge:
            self.observation.take(captured, self._clock())
            self._changed.set()

    def receive(self, event: NetworkEvent | Answer) -> None:
        """Let the controller take an event, and carry out what it commands."""
        self._do(self.controller.receive(event, self._clock()))

    async def until_idle(self) -> None:
        """Wait until no call is in progress, nor anything that is left of one."""
        while self.controller.reports() or self._calls:
            self._idle.clear()
            await self._idle.wait()

    async def until_edge_is_there(self) -> None:
        """Wait until every edge NF answers."""
        while self._edge.gone:
            self._edge_is_there.clear()
            await self._edge_is_there.wait()

    # Looking.

    async def _run(self) -> None:
        while True:
            await self._until_due()
            now = self._clock()
            self._do(self.controller.wake(now))
            if (due := self._look_due()) is not None and due <= now:
                try:
                    self._found(await self.observation.look(self._clock))
                except FerretError as error:
                    _log.warning("recording_unusable", reason=str(error))
            self._let_go()
            if not self.controller.reports() and not self._calls:
                self._idle.set()

    def _look_due(self) -> float | None:
        states = {one.state for one in self.controller.reports()}
        return self.observation.due(following=State.RECORDING in states, busy=not states.isdisjoint(TO_THE_EDGE))

    async def _until_due(self) -> None:
        deadlines = [one for one in (self.controller.deadline(), self._look_due()) if one is not None]
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, min(deadlines) - self._clock()) if deadlines else None):
                await self._changed.wait()

    def _found(self, look: Look) -> None:
        """Tell the controller what is new, and let the replay of a call that is being set up follow."""
        self.capture = look.capture
        for event in look.news:
            self._new(event)
        for report in self.controller.reports():
            call = _call_of(report)
            if report.state is State.RECORDING and call in look.calls:
                self._follow(self._known(call), look.calls[call])

    def _new(self, event: CallEvent) -> None:
        if isinstance(event, CallEnded):
            self._known(event.call).over = True
        if not isinstance(event, CallEstablished):
            self.receive(event)
            return
        self._watch_nas(event)
        before = self._state_of(event.call)
        self.receive(event)
        if before is State.RECORDING and self._state_of(event.call) is not None:
            moved = self._known(event.call)
            moved.recording = event.recording
            self._follow(moved, event.recording)

    def _let_go(self) -> None:
        """Calls that nobody has to do with any more."""
        for call, moved in list(self._calls.items()):
            if self._state_of(call) is not None or (moved.work is not None and not moved.work.done()):
                continue
            if moved.replay is not None:  # it ended, or is not to be moved, while its replay followed
                moved.work = self._start(self._forget(moved))
                continue
            if not moved.over:  # it goes on over the core
                continue
            del self._calls[call]
            self.observation.over(call, self._clock(), time.time_ns())
            if not any(one.subscriber == call.subscriber for one in self._calls):
                self._nas.end(call.subscriber)

    # Following.

    def _follow(self, moved: MovedCall, recording: Recording) -> None:
        """Replay what is new of this call, if the edge is not busy with another one."""
        if moved.replay is None:
            if self._current is not None or self._edge.gone or self._edge_is_taken(moved.call):
                return
            self._begin(moved)
        before = moved.following
        if before is None or before.done():
            moved.following = self._start(self._followed(moved, recording, None))
        elif moved.recording is recording:  # the call stands: this is the last look
            moved.following = self._start(self._followed(moved, recording, before))

    def _edge_is_taken(self, call: Call) -> bool:
        reports = self.controller.reports()
        return any(r.state in _EDGE_AT_WORK and _call_of(r) != call for r in reports)

    def _begin(self, moved: MovedCall) -> None:
        def shared(subscriber: str, mme_ue_s1ap_id: int) -> None:
            self._nas.also(subscriber, [(self._edge.site.address(Role.MME), mme_ue_s1ap_id)])

        moved.replay = FollowedReplay(self._edge, self._queue, self._network, self._times, shared)
        self._current = moved

    async def _followed(self, moved: MovedCall, recording: Recording, before: asyncio.Task[bool] | None) -> bool:
        if before is not None:
            await asyncio.wait([before])
        replay, capture = moved.replay, self.capture
        if replay is None or capture is None:
            return False
        known: tuple[SignallingMessage, ...] = capture.messages
        entries = recording.everything
        if moved.recording is not recording:
            entries = before_pause(entries, time.time_ns())
        return await replay.follow(recording.subscriber, recording.service, entries, known)

    async def _forget(self, moved: MovedCall) -> None:
        """Whatever the edge has replayed of a call is forgotten there."""
        await self._stop_following(moved)
        replay, moved.replay = moved.replay, None
        try:
            if replay is not None:
                await replay.release()
        finally:
            if self._current is moved:
                self._current = None

    async def _stop_following(self, moved: MovedCall) -> None:
        following, moved.following = moved.following, None
        if following is not None and not following.done():
            following.cancel()
            await asyncio.wait([following])

    # Commands.

    def _do(self, commands: Iterable[Command]) -> None:
        for command in commands:
            match command:
                case Report(report):
                    moved = self._calls.get(_call_of(report))
                    self._told(report, moved.results if moved is not None else [])
                case AbandonReplay(call):
                    self._start(self._stop_following(self._known(call)))
                case _:
                    moved = self._known(command.call)
                    moved.work = self._start(self._carry_out(command, moved, moved.work))
        self._changed.set()

    def _start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._is_done)
        return task

    def _is_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self._changed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("host_failed", reason=f"{type(error).__name__}: {error}")

    async def _carry_out(self, command: Answered, moved: MovedCall, before: asyncio.Task[None] | None) -> None:
        """Carry a command out after those before it, and answer it."""
        if before is not None:
            await asyncio.wait([before])
        self._happened(command, None)
        answer: Answer
        try:
            result = await self._attempt(command, moved)
            answer = CommandDone(command.id, result=result, counts=self._nas.counts(command.call.subscriber))
        except (FerretError, TimeoutError, OSError) as error:
            answer = CommandFailed(command.id, str(error) or "no answer in time")
        except Exception as error:  # whatever else goes wrong here must not keep the call from going back
            _log.exception("host_failed", command=type(command).__name__)
            answer = CommandFailed(command.id, f"internal error: {type(error).__name__}")
        self._happened(command, answer)
        self.receive(answer)

    async def _attempt(self, command: Answered, moved: MovedCall) -> RecordingResult | None:
        match command:
            case HoldCall(call=call):
                await self._network.hold(call)
            case ReplayRecording(recording=recording):
                return await self._replayed(moved, recording)
            case Reconfigure(counts=counts):
                await self._move(moved, counts)
            case ResumeCall(call=call, through=through):
                at_edge = moved.replay if through is Place.EDGE else None
                await self._network.resume(call, at_edge.routes() if at_edge is not None else ())
            case MoveBack(call=call, way=way, counts=counts):
                with self._own_doing(call):
                    await self._network.move_back(call, way, counts)
            case EndCall(call=call):
                with self._own_doing(call):
                    await self._network.end_call(call, sorted(moved.replay.calls()) if moved.replay else ())
            case ReleaseEdge():
                await self._forget(moved)
        return None

    async def _replayed(self, moved: MovedCall, recording: Recording) -> RecordingResult:
        """The result of what has followed; where that came to nothing, of a replay from the beginning."""
        if moved.replay is not None and moved.following is not None:
            await asyncio.wait([moved.following])
            result = await moved.replay.finish()
            moved.results.append(result)
            reason = why_not_accepted(result)
            if not reason:
                return result
            _log.info("replay_begins_again", reason=reason)
        for other in (moved, self._current):
            if other is not None and other.replay is not None:
                await self._forget(other)
        self._begin(moved)
        moved.following = self._start(self._followed(moved, recording, None))
        await asyncio.wait([moved.following])
        if moved.replay is None or moved.following is None:
            raise FallbackError("the replay was stopped")
        moved.results.append(await moved.replay.finish())
        return moved.results[-1]

    async def _move(self, moved: MovedCall, counts: NasCounts | None) -> None:
        if moved.replay is None:
            raise FallbackError("there is no replay whose device could be moved")
        await moved.replay.move(counts)
        await self._network.arrive(moved.call)
        self._current = None

    @contextlib.contextmanager
    def _own_doing(self, call: Call) -> Iterator[None]:
        begin = time.time_ns()
        try:
            yield
        finally:
            self.observation.own_doing(call.subscriber, begin, time.time_ns() + _AFTERMATH_NS)

    # Events.

    def _noted(self, noted: Noted) -> None:
        match noted.event:
            case "served_call_ended":
                self._ended_at_edge(noted.fields.get("call", ""))
            case "enb_lost":
                self.receive(EdgeLost(_S1, str(noted.fields.get("reason", ""))))
            case "enb_connected":
                self.receive(EdgeBack(_S1))

    def _ended_at_edge(self, ended: object) -> None:
        for call, moved in list(self._calls.items()):
            if moved.replay is not None and self._state_of(call) is State.AT_EDGE and ended in moved.replay.calls():
                moved.over = True
                self.receive(CallEnded(call, Place.EDGE))

    def _edge_lost(self, role: Role, reason: str) -> None:
        self.receive(EdgeLost(str(role), reason))

    def _edge_back(self, role: Role) -> None:
        self._edge_is_there.set()
        self.receive(EdgeBack(str(role)))

    def _watch_nas(self, event: CallEstablished) -> None:
        messages = [entry.message for entry in event.recording.everything]
        device = device_at(messages, messages[-1].index)
        mme = next((m.from_nf.address for m in messages if m.from_nf.role is Role.MME), "")
        self._nas.watch(event.call.subscriber, event.counts, [(mme, device.mme_ue_s1ap_id or 0)])

    def _signalled(self, event: NasCounted | UeContextReleased, *, at_edge: bool) -> None:
        if at_edge and isinstance(event, NasCounted):
            self._network.counted(event.subscriber, event.counts)
        self.receive(event)

    # Small things.

    def _known(self, call: Call) -> MovedCall:
        return self._calls.setdefault(call, MovedCall(call))

    def _state_of(self, call: Call) -> State | None:
        """Where a call's fallback stands; None: there is none, or it is over."""
        return next((one.state for one in self.controller.reports() if _call_of(one) == call), None)


def _call_of(report: FallbackReport) -> Call:
    return Call(report.subscriber, report.service, report.number)
