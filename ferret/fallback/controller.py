"""The controller of one host: events and time in, commands and a deadline out (sans-IO).

    controller = Controller(services)
    for command in controller.receive(event, now): carry_out(command)     # later: receive(CommandDone(command.id))
    at controller.deadline(): controller.wake(now)

`ferret.fallback.states` says what follows what; here is what each step does. Any number of subscribers are recorded or
at the edge at once; only one fallback at a time holds, replays and moves, since voice is silent meanwhile: the others
wait, on the core and undisturbed.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from ferret.errors import LocalMisuseError
from ferret.fallback.fallback import Fallback
from ferret.fallback.judgement import why_not_accepted, why_not_eligible
from ferret.fallback.messages import (
    AbandonReplay,
    Answered,
    Call,
    CallBegun,
    CallEnded,
    CallEstablished,
    Command,
    CommandDone,
    CommandFailed,
    EdgeBack,
    EdgeLost,
    HoldCall,
    NasCounted,
    NetworkEvent,
    Place,
    Recalled,
    Reconfigure,
    ReplayRecording,
    Report,
    ResumeCall,
    S1Lost,
    UeContextReleased,
)
from ferret.fallback.report import FallbackReport
from ferret.fallback.services import SwitchedServices
from ferret.fallback.states import FAILURES, Action, Event, State, step
from ferret.fallback.undo import Trace, undo
from ferret.records.recording import Recording

_AT_WORK: Final = (State.HOLDING, State.REPLAYING, State.RECONFIGURING)


@dataclass(frozen=True, slots=True)
class Limits:
    """How long (seconds) and how many."""

    call: float = 4 * 3600.0  # a call whose end nobody has seen is taken to be over
    recording: float = 600.0  # from INVITE to 200/ACK and bearer: beyond what any network lets a phone ring
    undo: float = 1.0  # for one attempt to undo one thing
    pause: float = 0.05  # before the second attempt; doubled before each further one
    attempts: int = 7  # to undo one thing, before it is left to the operator
    waiting: int = 16  # fallbacks that may wait for the edge
    replay_moves: bool = False  # the replayer moves base station and device itself, as a `Replayer` with a mover does


@dataclass(slots=True)
class _Awaited:
    """A command whose answer will be one of two events."""

    fallback: Fallback
    done: Event
    failed: Event


class Controller:
    """Every fallback of one host. `services` may be exchanged while it runs: it counts for calls that begin."""

    def __init__(self, services: SwitchedServices, limits: Limits | None = None) -> None:
        self.services = services
        self.counts: Counter[str] = Counter()  # what became of calls and answers, by name
        self._limits = limits or Limits()
        self._fallbacks: dict[Call, Fallback] = {}
        self._calls: dict[str, dict[Call, float]] = {}  # by subscriber: those in progress, and since when
        self._awaited: dict[int, _Awaited] = {}
        self._waiting: deque[Fallback] = deque()
        self._at_work: Fallback | None = None
        self._edge_lost: dict[str, str] = {}
        self._last_number = 0
        self._out: list[Command] = []

    # Events and time.

    def receive(self, event: NetworkEvent | CommandDone | CommandFailed, now: float) -> list[Command]:
        """Take one event. Raises LocalMisuseError for an answer to a command that was never given, and
        PeerViolationError for a call that is established twice; nothing has changed then.
        """
        match event:
            case CommandDone() | CommandFailed():
                self._answered(event, now)
            case CallBegun(call):
                self._begin(call, now)
            case NasCounted(subscriber, counts):
                for fallback in self._of(subscriber):
                    fallback.counts = counts
            case EdgeBack(nf):
                self._edge_lost.pop(nf, None)
            case _:
                self._network(event, now)
        return self._flush(now)

    def wake(self, now: float) -> list[Command]:
        """Whatever is overdue at `now`."""
        for fallback in list(self._fallbacks.values()):
            if fallback.deadline is not None and fallback.deadline <= now:
                self._happen(fallback, Event.OVERDUE, now, f"took too long while {fallback.state}")
        return self._flush(now)

    def deadline(self) -> float | None:
        """When `wake` wants to be called at the latest; None: nothing is waited for."""
        return min((f.deadline for f in self._fallbacks.values() if f.deadline is not None), default=None)

    def reports(self) -> list[FallbackReport]:
        """Every fallback that is not over."""
        return [fallback.report() for fallback in self._fallbacks.values()]

    def _begin(self, call: Call, now: float) -> None:
        others = self._calls_of(call, now)
        if call in others:
            return
        policy = self.services.policy(call.service, call.subscriber)
        if others:
            self.counts["second_call"] += 1
            self._happen_to(self._of(call.subscriber), Event.SECOND_CALL, now, "a second call began")
        elif policy is None:
            self.counts["not_switched_on"] += 1
        else:
            self._fallbacks[call] = Fallback(call, policy, now, deadline=now + self._limits.recording)
        self._calls.setdefault(call.subscriber, {})[call] = now

    def _calls_of(self, call: Call, now: float) -> dict[Call, float]:
        """Every call of the same subscriber that is in progress."""
        known = self._calls.pop(call.subscriber, {})
        calls = {one: since for one, since in known.items() if now - since < self._limits.call}
        if calls:
            self._calls[call.subscriber] = calls
        return calls

    def _network(self, event: NetworkEvent, now: float) -> None:
        match event:
            case CallEstablished():
                self._established(self._fallbacks.get(event.call), event, now)
            case CallEnded(call, at):
                self._hung_up(call, at, now)
            case UeContextReleased(subscriber):
                concerned = self._of(subscriber)
                for fallback in concerned:
                    fallback.idle = True
                self._happen_to(concerned, Event.UE_RELEASED, now, "the device lost its signalling connection")
            case EdgeLost(nf, reason):
                text = f"edge {nf} is lost" + (f": {reason}" if reason else "")
                self._edge_lost[nf] = text
                self._happen_to(list(self._fallbacks.values()), Event.EDGE_LOST, now, text)
            case S1Lost(subscribers):
                concerned = [
                    f for c, f in self._fallbacks.items() if subscribers is None or c.subscriber in subscribers
                ]
                self._happen_to(concerned, Event.S1_LOST, now, "the core's S1 association is lost")
            case Recalled(subscriber):
                concerned = [f for c, f in self._fallbacks.items() if subscriber in (None, c.subscriber)]
                self._happen_to(concerned, Event.RECALLED, now, "the operator called it back")

    def _established(self, fallback: Fallback | None, event: CallEstablished, now: float) -> None:
        if fallback is None:
            return
        step(fallback.state, Event.ESTABLISHED)  # raises before anything has changed
        fallback.recording = event.recording
        fallback.counts = event.counts or fallback.counts
        reason = self._why_not(event.recording)
        self._happen(fallback, Event.UNFIT if reason else Event.ESTABLISHED, now, reason)

    def _why_not(self, recording: Recording) -> str:
        """Why an established call cannot be moved now; "" if it can."""
        if reason := why_not_eligible(recording):
            return reason
        if self._edge_lost:
            return next(iter(self._edge_lost.values()))
        return "too many calls wait for the edge" if len(self._waiting) >= self._limits.waiting else ""

    def _hung_up(self, call: Call, at: Place, now: float) -> None:
        self._calls.get(call.subscriber, {}).pop(call, None)
        others = self._calls_of(call, now)
        for fallback in self._of(call.subscriber):
            at_edge = fallback.state is State.AT_EDGE
            if fallback.call == call and at is Place.EDGE:
                fallback.traces.add(Trace.CORE_CALL)
            if fallback.call == call and at_edge and others:
                fallback.end_call()  # another call, which began there, keeps the device at the edge
            elif fallback.call == call or (at_edge and fallback.over and not others):
                self._happen(fallback, Event.HUNG_UP, now, "" if at_edge else f"the call ended while {fallback.state}")

    def _answered(self, answer: CommandDone | CommandFailed, now: float) -> None:
        awaited = self._awaited.get(answer.id)
        if awaited is None:
            if not 0 < answer.id <= self._last_number:
                raise LocalMisuseError(f"an answer to command {answer.id}, which was never given")
            self.counts["late_answers"] += 1  # nobody waits for it any more: what it may have done is being undone
            return
        reason = _refusal(answer, awaited, moves=self._limits.replay_moves)
        fallback = self._forget(awaited.fallback)
        if isinstance(answer, CommandDone):
            fallback.result = answer.result or fallback.result
            fallback.counts = answer.counts or fallback.counts
            fallback.media = answer.media or fallback.media
        elif awaited.failed is Event.HOLD_REFUSED:
            fallback.traces.discard(Trace.MEDIA)  # a refused re-INVITE changes nothing (RFC 3261 clause 14.1)
        self._happen(fallback, awaited.failed if reason else awaited.done, now, reason)

    # The table at work.

    def _happen(self, fallback: Fallback, event: Event, now: float, reason: str = "") -> None:
        """Look the event up, go into the next state and do what belongs to it."""
        found = step(fallback.state, event)
        if reason and found.state is not fallback.state:
            fallback.because(reason, failed=event in FAILURES)
        fallback.enter(found.state, now)
        _ACTIONS[found.action](self, fallback, now)

    def _happen_to(self, fallbacks: list[Fallback], event: Event, now: float, reason: str) -> None:
        for fallback in fallbacks:
            self._happen(fallback, event, now, reason)

    def _nothing(self, fallback: Fallback, now: float) -> None:
        pass

    def _queue(self, fallback: Fallback, now: float) -> None:
        fallback.deadline = now + fallback.policy.max_wait_ms / 1000
        self._waiting.append(fallback)

    def _hold(self, fallback: Fallback, now: float) -> None:
        fallback.begun_at = now
        fallback.deadline = now + fallback.policy.max_fallback_ms / 1000  # for all until it arrives
        fallback.traces.add(Trace.MEDIA)
        self._give(HoldCall(self._number(), fallback.call), fallback, Event.HELD, Event.HOLD_REFUSED)

    def _replay(self, fallback: Fallback, now: float) -> None:
        fallback.traces.add(Trace.EDGE)
        if self._limits.replay_moves:
            fallback.traces.add(Trace.DEVICE)
        recording = fallback.recording
        if recording is None:
            raise LocalMisuseError("a call is held that has no recording")
        command = ReplayRecording(self._number(), fallback.call, recording)
        self._give(command, fallback, Event.REPLAYED, Event.REPLAY_FAILED)

    def _move(self, fallback: Fallback, now: float) -> None:
        fallback.traces.add(Trace.DEVICE)
        if fallback.result is not None and fallback.result.reconfigured:
            self._happen(fallback, Event.RECONFIGURED, now)
            return
        command = Reconfigure(self._number(), fallback.call, fallback.counts)
        self._give(command, fallback, Event.RECONFIGURED, Event.RECONFIGURATION_FAILED)

    def _resume(self, fallback: Fallback, now: float) -> None:
        command = ResumeCall(self._number(), fallback.call, Place.EDGE, fallback.media)
        self._give(command, fallback, Event.RESUMED, Event.RESUME_REFUSED)

    def _arrive(self, fallback: Fallback, now: float) -> None:
        fallback.arrived_at, fallback.deadline = now, None
        self._tell(fallback)

    def _give_up(self, fallback: Fallback, now: float) -> None:
        awaited = self._awaited.get(fallback.awaited)
        self._forget(fallback)
        if awaited is not None and awaited.done is Event.REPLAYED:
            self._out.append(AbandonReplay(fallback.call))
        self._undo_first(fallback, now)

    def _clear(self, fallback: Fallback, now: float) -> None:
        fallback.end_call()
        if fallback.undoing not in fallback.traces:  # nothing is being undone, or what need not be any more
            self._give_up(fallback, now)

    def _undo_first(self, fallback: Fallback, now: float) -> None:
        fallback.undoing, fallback.attempt = fallback.next_trace, 0
        if fallback.undoing is None:
            self._happen(fallback, Event.CLEARED if fallback.over else Event.RESTORED, now)
        else:
            self._attempt(fallback, fallback.undoing, now)

    def _attempt(self, fallback: Fallback, trace: Trace, now: float) -> None:
        fallback.repeated += fallback.attempt > 0
        fallback.attempt += 1
        fallback.deadline = now + self._limits.undo
        command = undo(trace, self._number(), fallback.call, fallback.attempt, fallback.counts, fallback.idle)
        self._give(command, fallback, Event.UNDONE, Event.UNDO_FAILED)

    def _undo_next(self, fallback: Fallback, now: float) -> None:
        fallback.traces -= {fallback.undoing}
        self._undo_first(fallback, now)

    def _pause(self, fallback: Fallback, now: float) -> None:
        fallback.deadline = now + self._limits.pause * 2 ** (fallback.attempt - 1)

    def _undo_again(self, fallback: Fallback, now: float) -> None:
        self._forget(fallback)
        trace = fallback.undoing
        if trace is None or fallback.attempt >= self._limits.attempts:
            fallback.left_behind += (str(trace),)
            self._undo_next(fallback, now)
        else:
            self._attempt(fallback, trace, now)

    def _end(self, fallback: Fallback, now: float) -> None:
        if fallback.begun_at is not None:
            fallback.back_at = now
        del self._fallbacks[fallback.call]
        if fallback in self._waiting:
            self._waiting.remove(fallback)
        self.counts["left_behind"] += len(fallback.left_behind)
        self._tell(fallback)

    # Commands.

    def _number(self) -> int:
        self._last_number += 1
        return self._last_number

    def _give(self, command: Answered, fallback: Fallback, done: Event, failed: Event) -> None:
        fallback.commands += 1
        fallback.awaited = command.id
        self._awaited[command.id] = _Awaited(fallback, done, failed)
        self._out.append(command)

    def _forget(self, fallback: Fallback) -> Fallback:
        """Its command's answer is not waited for any more."""
        self._awaited.pop(fallback.awaited, None)
        fallback.awaited = 0
        return fallback

    def _tell(self, fallback: Fallback) -> None:
        self.counts[str(fallback.state)] += 1
        self._out.append(Report(fallback.report()))

    def _flush(self, now: float) -> list[Command]:
        """Let the next one have the edge if it is free; then everything that is to be done, in order."""
        while self._waiting and not self._edge_is_busy():
            self._at_work = self._waiting.popleft()
            self._happen(self._at_work, Event.TURN_CAME, now)
        out, self._out = self._out, []
        return out

    def _edge_is_busy(self) -> bool:
        """A fallback that goes back has the edge until the edge has forgotten it."""
        one = self._at_work
        if one is None:
            return False
        return one.state in _AT_WORK or (one.state is State.RETURNING and Trace.EDGE in one.traces)

    def _of(self, subscriber: str) -> list[Fallback]:
        return [fallback for call, fallback in self._fallbacks.items() if call.subscriber == subscriber]


def _refusal(answer: CommandDone | CommandFailed, awaited: _Awaited, *, moves: bool) -> str:
    """Why the answer is a no; "" for a yes."""
    if isinstance(answer, CommandFailed):
        return answer.reason or "refused"
    if awaited.done is not Event.REPLAYED:
        return ""
    if answer.result is None:
        raise LocalMisuseError(f"the replay of command {answer.id} is done, but has no result")
    return why_not_accepted(answer.result, moves=moves)


_Act: TypeAlias = Callable[[Controller, Fallback, float], None]
_ACTIONS: Final[Mapping[Action, _Act]] = {
    Action.NOTHING: Controller._nothing,
    Action.QUEUE: Controller._queue,
    Action.HOLD: Controller._hold,
    Action.REPLAY: Controller._replay,
    Action.MOVE: Controller._move,
    Action.RESUME: Controller._resume,
    Action.ARRIVE: Controller._arrive,
    Action.GIVE_UP: Controller._give_up,
    Action.CLEAR: Controller._clear,
    Action.UNDO_NEXT: Controller._undo_next,
    Action.PAUSE: Controller._pause,
    Action.UNDO_AGAIN: Controller._undo_again,
    Action.END: Controller._end,
}
