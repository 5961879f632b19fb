"""Runs a plan against edge NFs: queue, replay ports, acknowledgements, translation and check come together (the rim).

Every message of the plan that takes part goes through the queue and is acknowledged before the next one (the retry
engine decides the order: figure 6 of the paper). A stimulus is translated when its turn comes, since the identifiers
in it may have been allocated by the edge just before; so it waits until the edge has made what the recording shows
before it, or until nothing is under way at the edge any more.

A recording that is over is replayed by `run`. One that still grows is followed: `begin`, `follow` whenever more of it
is known, `finish`; then `move`, when somebody decides that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from struct import Struct
from time import monotonic
from types import MappingProxyType
from typing import Any, Protocol

from ferret.errors import FerretError
from ferret.queue import MessageQueue
from ferret.records.message import Role, SignallingMessage
from ferret.replay import retry
from ferret.replay.plan import Part, Plan, PlannedMessage, is_progress
from ferret.replay.port import (
    Ack,
    Begin,
    Command,
    Context,
    Deliver,
    Expect,
    Finish,
    Forget,
    MadeOutput,
    Moving,
    Noted,
    Reconfigure,
    Report,
    Settle,
    Settled,
)
from ferret.replay.retry import RetryEngine, RetryPolicy
from ferret.replay.rules.glob import matches
from ferret.replay.verdict import Made, MessageResult, RecordingResult

_NUMBER = Struct(">I")
_POLL = 0.003  # seconds without progress before the edge is asked whether anything is under way
FIRST_COMMAND_ID = 1 << 20
"""Ids below are message numbers."""


class Port(Protocol):
    """An edge NF's replay port, as `ReplayPortClient` has it."""

    async def send(self, command: Command) -> None:
        """Send one frame."""


class Translator(Protocol):
    """Makes stimuli out of recorded messages and learns from what the edge makes."""

    def stimulus(self, message: SignallingMessage) -> tuple[bytes, str]:
        """The octets to deliver, and the address of the peer that they come from."""

    def learn(self, message: SignallingMessage, made: MadeOutput) -> Sequence[Mapping[str, object]]:
        """Take what the edge made of a recorded message; returns differences that contradict the translation."""

    def snapshot(self) -> Mapping[str, object]:
        """The translation, for the NFs' own check."""


class Mover(Protocol):
    """The base station and device that are moved to the edge."""

    async def prepare(self, subscriber: str) -> int:
        """Bring base station and device to where the recording has them; the NAS COUNT that the device expects next."""

    async def probe(self, subscriber: str) -> Mapping[str, object]:
        """Send user packets over the new path; returns measured figures. Raises FerretError if none arrive."""


@dataclass(frozen=True, slots=True)
class ReplayTimes:
    """How long to wait for what, in seconds."""

    retry: RetryPolicy = field(default_factory=RetryPolicy)
    output: float = 1.0  # for the edge to make what precedes a stimulus
    command: float = 5.0  # for a context or settle command
    reconfiguration: float = 3.0
    unchanged: float = 0.05  # without any change after which nothing is under way, whatever the sums say


DEFAULT_TIMES = ReplayTimes()


class ReplayAbandonedError(FerretError):
    """The replay was given up; the service stays on the core."""

    exit_status = 1


class Replayer:
    """Replays one recording. `reported` and `lost` are what the ports' clients call."""

    def __init__(
        self,
        plan: Plan,
        *,
        imsi: str = "",
        ports: Mapping[Role, Port],
        queue: MessageQueue,
        translator: Translator,
        contexts: Mapping[Role, Mapping[str, object]],
        mover: Mover | None = None,
        moves: bool = True,
        ids: Iterator[int] | None = None,
        noted: Callable[[Noted], None] = lambda noted: None,
        excused: Mapping[str, str] = MappingProxyType({}),
        times: ReplayTimes = DEFAULT_TIMES,
        clock: Callable[[], float] = monotonic,
        progress: Callable[[int], None] = lambda done: None,
    ) -> None:
        """`imsi`: by which the edge knows the subscriber. `moves`: base station and device are moved as soon as the
        plan says so; otherwise by `move`. `ids`: numbers of commands, where several share the ports; from
        FIRST_COMMAND_ID.
        `noted` gets what NFs tell besides.
        """
        self.result = RecordingResult(plan, [])
        self._plan = plan
        self.imsi = imsi or plan.subscriber
        self._ports = ports
        self._queue = queue
        self._translator = translator
        self._contexts = contexts
        self._mover = mover
        self._moves = moves
        self._excused = excused
        self._times = times
        self._clock = clock
        self._progress = progress
        self._taking_part: list[MessageResult] = []
        self._done = 0  # so many of them have been given to an engine
        self._begun_at = 0  # the number of the present engine's first one
        self._ids = ids or count(FIRST_COMMAND_ID)
        self._told = noted
        self._answers: dict[int, asyncio.Future[Report]] = {}
        self._open: set[int] = set()  # numbers of expected messages not made yet
        self._changed = asyncio.Event()
        self._moved: asyncio.Future[Noted] | None = None
        self._lost = ""
        self._started = 0.0
        self._prepared: dict[int, Command] = {}
        self._engine: RetryEngine | None = None
        self._extend(plan)

    # What the ports' clients call.

    def reported(self, report: Report) -> None:
        """An edge NF has said something."""
        match report:
            case Ack() | Settled():
                self._answered(report)
            case MadeOutput():
                self._made(report)
            case Noted():
                self._noted(report)
        self._changed.set()

    def lost(self, reason: str) -> None:
        """An edge NF is gone."""
        self._lost = self._lost or reason
        self._changed.set()
        for future in self._answers.values():
            if not future.done():
                future.set_exception(ReplayAbandonedError(reason))
        if self._moved is not None and not self._moved.done():
            self._moved.set_exception(ReplayAbandonedError(reason))

    # The run.

    async def run(self) -> RecordingResult:
        """Replay the recording. Never raises for what the edge does: the result says it."""
        if await self.begin() and await self.follow(self._plan):
            await self.finish()
        return self.result

    async def begin(self) -> bool:
        """Give the edge NFs their context. False: the replay is abandoned, and the result says why."""
        self._started = self._clock()
        return await self._unless_abandoned(self._begin())

    async def follow(self, plan: Plan, contexts: Mapping[Role, Mapping[str, object]] | None = None) -> bool:
        """Replay what this plan has more than the last one; `contexts`: what is known better now, by NF.

        Abandons the replay where the recording is not what it was.
        """
        return await self._unless_abandoned(self._follow(plan, contexts or {}))

    async def finish(self) -> bool:
        """The recording is over: wait for what the edge still makes, and take what nothing asked for."""

        async def last() -> None:
            await self._nothing_open(len(self._taking_part))
            await self._to_all(lambda number: Finish(number))

        return await self._unless_abandoned(last())

    async def move(self) -> bool:
        """Move base station and device; whether they have. The result says why not."""
        await self._unless_abandoned(self._move(len(self._taking_part) - 1))
        return self.result.reconfigured and not self.result.abandoned

    async def forget(self) -> None:
        """Have NFs that go on running let go what they hold of the subscriber. Raises ReplayAbandonedError."""
        calls = self._plan.call_ids
        for role in in_order_of_release(self._ports):
            await self._command(role, Forget(next(self._ids), self.imsi, calls))
        await self._settled()

    def stop(self) -> None:
        """Nothing more is wanted: what still lies in the queue is thrown away."""
        self._drain()

    async def _unless_abandoned(self, work: Coroutine[Any, Any, None]) -> bool:
        try:
            await work
        except ReplayAbandonedError as error:
            self.result.abandoned = self.result.abandoned or str(error)
        self._mark_missing()
        self.result.duration_ms = (self._clock() - self._started) * 1000
        return not self.result.abandoned

    async def _follow(self, plan: Plan, contexts: Mapping[Role, Mapping[str, object]]) -> None:
        self._extend(plan)
        for role, values in contexts.items():
            if role in self._ports:
                await self._command(role, Context(next(self._ids), values))
        await self._messages()

    def _extend(self, plan: Plan) -> None:
        """Take the steps that are new. Raises ReplayAbandonedError where the old ones are not what they were."""
        known = self.result.messages
        if len(plan.steps) < len(known) or any(
            not _is_same(old.step, new) for old, new in zip(known, plan.steps, strict=False)
        ):
            raise ReplayAbandonedError("the recording is not what it was when its replay began")
        for old, step in zip(known, plan.steps, strict=False):
            old.step = step
        self._plan = self.result.plan = plan
        fresh = [MessageResult(step) for step in plan.steps[len(known) :]]
        known += fresh
        self._taking_part += [m for m in fresh if m.step.part is not Part.SKIPPED]

    async def _begin(self) -> None:
        """Context first: what it makes the NFs say to each other is not part of the recording."""
        snapshot = self._translator.snapshot()
        members = tuple(sorted(self._plan.members))
        await self._to_all(lambda number: Begin(number, self.imsi, members, snapshot))
        before = await self._sums()
        for role, values in self._in_order_of_need():
            await self._command(role, Context(next(self._ids), values))
        if await self._sums() != before:
            await self._settled()
            await self._to_all(lambda number: Begin(number, self.imsi, members, snapshot))
            self.result.added.clear()

    def _in_order_of_need(self) -> list[tuple[Role, Mapping[str, object]]]:
        """The MME last: what it takes over makes it use the others at once."""
        known = [(role, values) for role, values in self._contexts.items() if role in self._ports]
        return sorted(known, key=lambda item: item[0] is Role.MME)

    async def _messages(self) -> None:
        fresh = self._taking_part[self._done :]
        self._begun_at, self._done = self._done, len(self._taking_part)
        engine = RetryEngine(
            [m.step.message.octets for m in fresh],
            capacity=self._queue.capacity,
            slots=self._queue.slots,
            policy=self._times.retry,
        )
        self._engine = engine
        commands: Sequence[retry.Command] = engine.start()
        while commands:
            following: list[retry.Command] = []
            for command in commands:
                following.extend(await self._do(engine, command))
            commands = following

    async def _do(self, engine: RetryEngine, command: retry.Command) -> Sequence[retry.Command]:
        match command:
            case retry.Put(octets=octets, priority=priority):
                self._queue.put(octets, priority)
            case retry.Take():
                octets = self._queue.get().octets
                (number,) = _NUMBER.unpack_from(octets)
                await self._ready(self._begun_at + number)
                return engine.taken(octets, self._clock())
            case retry.Deliver(number=number, attempt=attempt):
                return await self._attempt(engine, self._begun_at + number, attempt)
            case retry.Drain():
                self._drain()
            case retry.Abandon(number=number, reason=reason):
                raise ReplayAbandonedError(self._where(self._begun_at + number if number >= 0 else number) + reason)
        return ()

    async def _attempt(self, engine: RetryEngine, number: int, attempt: int) -> Sequence[retry.Command]:
        """Deliver one message and wait for its acknowledgement."""
        result = self._taking_part[number]
        result.attempts = attempt
        answer = self._expect_answer(number)
        await self._port(result.step).send(self._frame(number))
        deadline = engine.deadline()
        try:
            report = await asyncio.wait_for(answer, None if deadline is None else deadline - self._clock())
        except TimeoutError:
            return engine.wake(max(self._clock(), deadline or 0.0))
        except ReplayAbandonedError as error:
            return engine.cancel(str(error))
        if isinstance(report, Ack) and report.error:
            return engine.refused(number - self._begun_at, report.error)
        result.acknowledged = True
        self._progress(number + 1)
        if self._moves and result.step.index == self._plan.reconfigure_after:
            await self._move(number)
        return engine.acknowledged(number - self._begun_at)

    async def _ready(self, number: int) -> None:
        """Before a stimulus, everything that the recording shows before it should have been made."""
        step = self._taking_part[number].step
        if step.part.delivered and number not in self._prepared:
            await self._nothing_open(number)

    def _frame(self, number: int) -> Command:
        """The frame that delivers a message: made once, so that every attempt carries the same octets."""
        if number not in self._prepared:
            step = self._taking_part[number].step
            self._prepared[number] = self._stimulus(number, step) if step.part.delivered else self._expect(number, step)
        return self._prepared[number]

    def _stimulus(self, number: int, step: PlannedMessage) -> Command:
        message = step.message
        octets, address = self._translator.stimulus(message)
        return Deliver(number, message.protocol, message.interface, message.from_nf.role, address, octets)

    def _expect(self, number: int, step: PlannedMessage) -> Command:
        message = step.message
        if not self._taking_part[number].made:
            self._open.add(number)
        role = str(message.to_nf.role)
        return Expect(number, message.protocol, message.interface, role, message.name, message.octets)

    async def _nothing_open(self, number: int) -> None:
        """Wait until no message before `number` is still to be made, or nothing is under way at the edge."""
        if self._open_before(number):
            await self._settled(lambda: not self._open_before(number))

    async def _settled(self, enough: Callable[[], bool] = lambda: False) -> None:
        """Wait until nothing is under way between members any more, or until that is not needed."""
        until = self._clock() + self._times.output
        sums: tuple[int, int] = (-1, -1)
        since = self._clock()
        while not enough() and self._clock() < until and not self._lost:
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), _POLL)
                continue
            except TimeoutError:
                pass
            found = await self._sums()
            if found != sums:
                sums, since = found, self._clock()
            elif found[0] == found[1] or self._clock() - since > self._times.unchanged:
                return

    def _open_before(self, number: int) -> bool:
        return any(waiting < number for waiting in self._open)

    async def _sums(self) -> tuple[int, int]:
        """How many messages members have sent to members, and received from them, so far."""
        answers = await self._to_all(lambda number: Settle(number))
        settled = [a for a in answers if isinstance(a, Settled)]
        return sum(a.sent for a in settled), sum(a.received for a in settled)

    # Reconfiguration.

    async def _move(self, number: int) -> None:
        """Move base station and device to the edge, on the real S1-MME interface, and prove the new path."""
        result = self.result
        if self._mover is None or not {Role.MME, Role.PGW} <= self._ports.keys():
            result.not_reconfigured = "no edge MME takes part in this replay"
            return
        await self._nothing_open(number + 1)
        try:
            noted = await self._reconfigure(await self._mover.prepare(self.imsi))
            if noted.event != "reconfigured":
                result.not_reconfigured = str(noted.fields.get("reason", noted.event))
                return
            result.reconfigured = True
            result.nas_protected = bool(noted.fields.get("nas_protected"))
            result.fallback_ms = (self._clock() - self._started) * 1000
            result.user_plane = await self._mover.probe(self.imsi)
        except ReplayAbandonedError:
            raise
        except FerretError as error:
            result.not_reconfigured = str(error)

    async def _reconfigure(self, downlink_count: int) -> Noted:
        """The PGW has every bearer updated; on the way the MME adds where base station and device are to move."""
        self._moved = asyncio.get_running_loop().create_future()
        await self._to_all(lambda number: Moving(number, begins=True))
        try:
            for role in (Role.MME, Role.PGW):
                await self._command(role, Reconfigure(next(self._ids), self.imsi, downlink_count))
            noted = await asyncio.wait_for(self._moved, self._times.reconfiguration)
            if self._moves:
                await self._settled()  # the next stimulus comes upon it
        except TimeoutError:
            noted = Noted("reconfiguration_failed", {"reason": "base station or device did not answer in time"})
        finally:
            await self._to_all(lambda number: Moving(number, begins=False))
        return noted

    # Reports.

    def _answered(self, report: Ack | Settled) -> None:
        future = self._answers.pop(report.id, None)
        if future is not None and not future.done():
            future.set_result(report)
        elif self._engine is not None and report.id < len(self._taking_part) and isinstance(report, Ack):
            self._late(report)

    def _late(self, report: Ack) -> None:
        """An acknowledgement after its timer: the message need not be delivered again."""
        number = report.id - self._begun_at
        attempts = [] if self._engine is None else self._engine.attempts
        if self._engine is not None and not report.error and 0 <= number < len(attempts) and attempts[number]:
            self._taking_part[report.id].acknowledged = True
            self._engine.acknowledged(number)

    def _made(self, report: MadeOutput) -> None:
        if not self._is_number(report.expected):
            if not is_progress(report.protocol, report.name):
                self.result.added.append(Made(report.protocol, report.interface, report.name))
            return
        result = self._taking_part[report.expected]
        result.made, result.octets = True, report.octets
        self._open.discard(report.expected)
        contradictions = self._translator.learn(result.step.message, report)
        result.differences = tuple(self._with_excuse(d) for d in (*report.differences, *contradictions))

    def _with_excuse(self, difference: Mapping[str, object]) -> Mapping[str, object]:
        """A difference that follows from what had to be assumed is shown with its reason, but is of low risk."""
        for pattern, reason in self._excused.items():
            if matches(pattern, str(difference["parameter"])):
                return {**difference, "risk": "low", "reason": reason}
        return difference

    def _is_number(self, number: int) -> bool:
        return 0 <= number < len(self._taking_part)

    def _noted(self, report: Noted) -> None:
        if report.event in ("reconfigured", "reconfiguration_failed") and self._moved is not None:
            if not self._moved.done():
                self._moved.set_result(report)
        elif report.event == "stimulus_refused":
            self._refused(report)
        else:
            self._told(report)

    def _refused(self, report: Noted) -> None:
        """The NF took the message but could not execute it: that is a difference of the highest risk."""
        number = report.fields.get("id")
        if isinstance(number, int) and self._is_number(number):
            result = self._taking_part[number]
            reason = report.fields.get("reason", "")
            result.differences = (*result.differences, _difference("execution", "executed", f"refused: {reason}"))

    def _mark_missing(self) -> None:
        """What the edge has not made (yet): what it makes later takes this back."""
        for number in self._open:
            result = self._taking_part[number]
            result.differences = (_difference("message", result.step.message.name, None),)

    # Frames.

    def _port(self, step: PlannedMessage) -> Port:
        if step.nf is None or step.nf not in self._ports:
            raise ReplayAbandonedError(f"no edge {step.nf} is there for message {step.index}")
        return self._ports[step.nf]

    def _expect_answer(self, number: int) -> asyncio.Future[Report]:
        if self._lost:
            raise ReplayAbandonedError(self._lost)
        future: asyncio.Future[Report] = asyncio.get_running_loop().create_future()
        self._answers[number] = future
        return future

    async def _command(self, role: Role, command: Command) -> Report:
        """Send a command that is no message, and wait for its answer."""
        answer = self._expect_answer(command.id)
        await self._ports[role].send(command)
        try:
            report = await asyncio.wait_for(answer, self._times.command)
        except TimeoutError:
            raise ReplayAbandonedError(f"{role}: no answer to {command.KIND}") from None
        if isinstance(report, Ack) and report.error:
            raise ReplayAbandonedError(f"{role}: {report.error}")
        return report

    async def _to_all(self, make: Callable[[int], Command]) -> list[Report]:
        waiting: list[Awaitable[Report]] = [self._command(role, make(next(self._ids))) for role in self._ports]
        return list(await asyncio.gather(*waiting))

    def _drain(self) -> None:
        while self._queue.depth:
            self._queue.get()

    def _where(self, number: int) -> str:
        if number < 0:
            return ""
        message = self._taking_part[number].step.message
        return f"message {message.index} ({message.name}): "


def in_order_of_release(roles: Iterable[Role]) -> list[Role]:
    """The MME first: it deletes the sessions, and so the other NFs of the EPC hear of it."""
    return sorted(roles, key=lambda role: role is not Role.MME)


def _is_same(old: PlannedMessage, new: PlannedMessage) -> bool:
    return (old.message.octets, old.part, old.nf) == (new.message.octets, new.part, new.nf)


def _difference(parameter: str, recorded: object, edge: object) -> Mapping[str, object]:
    """A difference of a message as a whole."""
    return {"parameter": parameter, "class": "policy", "risk": "high", "recorded": recorded, "edge": edge}
