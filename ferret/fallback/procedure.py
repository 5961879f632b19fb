"""The table at work: takes one fallback from state to state and gives the commands that belong to each step (sans-IO).

There is one method for each `Action`, and no other branch on what follows what.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from ferret.errors import LocalMisuseError
from ferret.fallback.fallback import Fallback
from ferret.fallback.judgement import why_not_accepted
from ferret.fallback.messages import (
    AbandonReplay,
    Answer,
    Answered,
    Command,
    CommandDone,
    CommandFailed,
    HoldCall,
    Place,
    Reconfigure,
    ReplayRecording,
    Report,
    ResumeCall,
)
from ferret.fallback.states import FAILURES, Action, Event, step
from ferret.fallback.undo import Trace, undo


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


class Procedure:
    """Steps of any number of fallbacks. `counts`: what became of them and of late answers, by name."""

    def __init__(self, limits: Limits) -> None:
        self.counts: Counter[str] = Counter()
        self._limits = limits
        self._awaited: dict[int, _Awaited] = {}
        self._last_number = 0
        self._out: list[Command] = []

    def happen(self, fallback: Fallback, event: Event, now: float, reason: str = "") -> None:
        """Look the event up, go into the next state and do what belongs to it. `reason`: why it goes back, if it does.

        Raises LocalMisuseError, PeerViolationError where the table has no entry; nothing has changed then.
        """
        found = step(fallback.state, event)
        if reason and found.state is not fallback.state:
            fallback.because(reason, failed=event in FAILURES)
        fallback.enter(found.state, now)
        _ACTIONS[found.action](self, fallback, now)

    def answered(self, answer: Answer, now: float) -> None:
        """A command was answered. Raises LocalMisuseError for one that was never given."""
        awaited = self._awaited.get(answer.id)
        if awaited is None:
            if not 0 < answer.id <= self._last_number:
                raise LocalMisuseError(f"an answer to command {answer.id}, which was never given")
            self.counts["late_answers"] += 1  # nobody waits for it any more: what it may have done is being undone
            return
        reason = _refusal(answer, awaited, moves=self._limits.replay_moves)
        fallback = awaited.fallback
        self._forget(fallback)
        if isinstance(answer, CommandDone):
            fallback.result = answer.result or fallback.result
            fallback.counts = answer.counts or fallback.counts
            fallback.media = answer.media or fallback.media
        elif awaited.failed is Event.HOLD_REFUSED:
            fallback.traces.discard(Trace.MEDIA)  # a refused re-INVITE changes nothing (RFC 3261 clause 14.1)
        self.happen(fallback, awaited.failed if reason else awaited.done, now, reason)

    def take_commands(self) -> list[Command]:
        """What is to be done since the last time, in order."""
        out, self._out = self._out, []
        return out

    # There.

    def _nothing(self, fallback: Fallback, now: float) -> None:
        pass

    def _wait(self, fallback: Fallback, now: float) -> None:
        fallback.ready_at = now + fallback.policy.after_ms / 1000
        fallback.deadline = fallback.ready_at + fallback.policy.max_wait_ms / 1000

    def _hold(self, fallback: Fallback, now: float) -> None:
        fallback.begun_at = now
        fallback.deadline = now + fallback.policy.max_fallback_ms / 1000  # for all until it arrives
        fallback.traces.add(Trace.MEDIA)
        self._give(HoldCall(self._number(), fallback.call), fallback, Event.HELD, Event.HOLD_REFUSED)

    def _replay(self, fallback: Fallback, now: float) -> None:
        fallback.traces.add(Trace.EDGE)
        if self._limits.replay_moves:
            fallback.traces.add(Trace.DEVICE)
        if fallback.recording is None:
            raise LocalMisuseError("a call is held that has no recording")
        command = ReplayRecording(self._number(), fallback.call, fallback.recording)
        self._give(command, fallback, Event.REPLAYED, Event.REPLAY_FAILED)

    def _move(self, fallback: Fallback, now: float) -> None:
        fallback.traces.add(Trace.DEVICE)
        if fallback.result is not None and fallback.result.reconfigured:
            self.happen(fallback, Event.RECONFIGURED, now)
            return
        command = Reconfigure(self._number(), fallback.call, fallback.counts)
        self._give(command, fallback, Event.RECONFIGURED, Event.RECONFIGURATION_FAILED)

    def _resume(self, fallback: Fallback, now: float) -> None:
        command = ResumeCall(self._number(), fallback.call, Place.EDGE, fallback.media)
        self._give(command, fallback, Event.RESUMED, Event.RESUME_REFUSED)

    def _arrive(self, fallback: Fallback, now: float) -> None:
        fallback.arrived_at, fallback.deadline = now, None
        self._tell(fallback)

    # And back.

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
            self.happen(fallback, Event.CLEARED if fallback.over else Event.RESTORED, now)
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
        fallback.deadline = None
        if fallback.begun_at is not None:
            fallback.back_at = now
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

    def _forget(self, fallback: Fallback) -> None:
        """Its command's answer is not waited for any more."""
        self._awaited.pop(fallback.awaited, None)
        fallback.awaited = 0

    def _tell(self, fallback: Fallback) -> None:
        self.counts[str(fallback.state)] += 1
        self._out.append(Report(fallback.report()))


def _refusal(answer: Answer, awaited: _Awaited, *, moves: bool) -> str:
    """Why the answer is a no; "" for a yes."""
    if isinstance(answer, CommandFailed):
        return answer.reason or "refused"
    if awaited.done is not Event.REPLAYED:
        return ""
    if answer.result is None:
        raise LocalMisuseError(f"the replay of command {answer.id} is done, but has no result")
    return why_not_accepted(answer.result, moves=moves)


_Act: TypeAlias = Callable[[Procedure, Fallback, float], None]
_ACTIONS: Final[Mapping[Action, _Act]] = {
    Action.NOTHING: Procedure._nothing,
    Action.WAIT: Procedure._wait,
    Action.HOLD: Procedure._hold,
    Action.REPLAY: Procedure._replay,
    Action.MOVE: Procedure._move,
    Action.RESUME: Procedure._resume,
    Action.ARRIVE: Procedure._arrive,
    Action.GIVE_UP: Procedure._give_up,
    Action.CLEAR: Procedure._clear,
    Action.UNDO_NEXT: Procedure._undo_next,
    Action.PAUSE: Procedure._pause,
    Action.UNDO_AGAIN: Procedure._undo_again,
    Action.END: Procedure._end,
}
