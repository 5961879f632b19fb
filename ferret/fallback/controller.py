"""The controller of one host: events and time in, commands and a deadline out (sans-IO).

    controller = Controller(services)
    for command in controller.receive(event, now): carry_out(command)     # later: receive(CommandDone(command.id))
    at controller.deadline(): controller.wake(now)

`ferret.fallback.states` says what follows what, `ferret.fallback.procedure` does it; here is which fallback an event
concerns, and whose turn it is. Any number of calls are recorded or at the edge at once; only one at a time is held,
replayed and moved, since it is silent meanwhile: the others wait, on the core and undisturbed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from ferret.fallback.fallback import Fallback
from ferret.fallback.judgement import why_not_eligible
from ferret.fallback.messages import (
    Answer,
    Call,
    CallBegun,
    CallEnded,
    CallEstablished,
    Command,
    CommandDone,
    CommandFailed,
    EdgeBack,
    EdgeLost,
    NasCounted,
    NetworkEvent,
    Place,
    Recalled,
    S1Lost,
    UeContextReleased,
)
from ferret.fallback.procedure import Limits, Procedure
from ferret.fallback.report import FallbackReport
from ferret.fallback.services import SwitchedServices
from ferret.fallback.states import TO_THE_EDGE, Event, State, step
from ferret.fallback.undo import Trace

_UNSEEN: Final = 16  # downlink NAS messages that an MME may have sent just before it was lost


class Controller:
    """Every fallback of one host. `services` may be exchanged while it runs: it counts for calls that begin."""

    def __init__(self, services: SwitchedServices, limits: Limits | None = None) -> None:
        self.services = services
        self._limits = limits or Limits()
        self._procedure = Procedure(self._limits)
        self._fallbacks: dict[Call, Fallback] = {}
        self._calls: dict[str, dict[Call, float]] = {}  # by subscriber: those in progress, and since when
        self._at_work: Fallback | None = None
        self._edge_lost: dict[str, str] = {}

    @property
    def counts(self) -> Counter[str]:
        """What became of calls and answers so far: at_edge, done, on_core, not_switched_on, late_answers, …"""
        return self._procedure.counts

    def receive(self, event: NetworkEvent | Answer, now: float) -> list[Command]:
        """Take one event. Raises LocalMisuseError for an answer to a command that was never given, and
        PeerViolationError for a call that is established twice; nothing has changed then.
        """
        match event:
            case CommandDone() | CommandFailed():
                self._procedure.answered(event, now)
            case CallBegun(call):
                self._begun(call, now)
            case CallEstablished():
                self._established(event, now)
            case CallEnded(call, at):
                self._ended(call, at, now)
            case _:
                self._changed(event, now)
        return self._commands(now)

    def wake(self, now: float) -> list[Command]:
        """Whatever is overdue at `now`."""
        for fallback in list(self._fallbacks.values()):
            if fallback.deadline is not None and fallback.deadline <= now:
                self._procedure.happen(fallback, Event.OVERDUE, now, f"took too long while {fallback.state}")
        return self._commands(now)

    def deadline(self) -> float | None:
        """When `wake` wants to be called at the latest; None: nothing is waited for."""
        found = [f.deadline for f in self._fallbacks.values() if f.deadline is not None]
        if not self._edge_is_busy():
            found += [f.ready_at for f in self._waiting()]
        return min(found, default=None)

    def reports(self) -> list[FallbackReport]:
        """Every fallback that is not over."""
        return [fallback.report() for fallback in self._fallbacks.values()]

    # Calls.

    def _begun(self, call: Call, now: float) -> None:
        others = self._calls_of(call, now)
        if call in others:
            return
        self._calls[call.subscriber] = {**others, call: now}
        policy = self.services.policy(call.service, call.subscriber)
        if others:
            self.counts["second_call"] += 1
            self._happen(self._of(call.subscriber), Event.SECOND_CALL, now, "a second call began")
        elif policy is None:
            self.counts["not_switched_on"] += 1
        else:
            self._fallbacks[call] = Fallback(call, policy, now, deadline=now + self._limits.recording)

    def _established(self, event: CallEstablished, now: float) -> None:
        fallback = self._fallbacks.get(event.call)
        if fallback is None:
            return
        step(fallback.state, Event.ESTABLISHED)  # raises before anything has changed
        fallback.recording = event.recording
        fallback.counts = event.counts or fallback.counts
        reason = why_not_eligible(event.recording) or self._why_not_now()
        self._procedure.happen(fallback, Event.UNFIT if reason else Event.ESTABLISHED, now, reason)

    def _why_not_now(self) -> str:
        """Why the edge takes no further call; "" if it does."""
        if self._edge_lost:
            return next(iter(self._edge_lost.values()))
        waiting = sum(fallback.state is State.ELIGIBLE for fallback in self._fallbacks.values())
        return "too many calls wait for the edge" if waiting >= self._limits.waiting else ""

    def _ended(self, call: Call, at: Place, now: float) -> None:
        self._calls.get(call.subscriber, {}).pop(call, None)
        others = self._calls_of(call, now)
        for fallback in self._of(call.subscriber):
            at_edge = fallback.state is State.AT_EDGE
            if fallback.call == call and at is Place.EDGE:
                fallback.traces.add(Trace.CORE_CALL)
            if fallback.call == call and at_edge and others:
                fallback.end_call()  # another call, which began there, keeps the device at the edge
            elif fallback.call == call or (at_edge and fallback.over and not others):
                reason = "" if at_edge else f"the call ended while {fallback.state}"
                self._procedure.happen(fallback, Event.HUNG_UP, now, reason)

    def _calls_of(self, call: Call, now: float) -> dict[Call, float]:
        """Every call of the same subscriber that is in progress."""
        known = self._calls.pop(call.subscriber, {})
        calls = {one: since for one, since in known.items() if now - since < self._limits.call}
        if calls:
            self._calls[call.subscriber] = calls
        return calls

    # The network around them.

    def _changed(self, event: NetworkEvent, now: float) -> None:
        match event:
            case UeContextReleased(subscriber):
                for fallback in self._of(subscriber):
                    fallback.idle = True
                self._happen(self._of(subscriber), Event.UE_RELEASED, now, "the device lost its signalling connection")
            case EdgeLost(nf, reason):
                self._edge_lost[nf] = f"edge {nf} is lost" + (f": {reason}" if reason else "")
                for fallback in self._of(None):
                    if fallback.counts is not None and Trace.DEVICE in fallback.traces:
                        fallback.counts = fallback.counts.skipping(_UNSEEN)
                self._happen(self._of(None), Event.EDGE_LOST, now, self._edge_lost[nf])
            case EdgeBack(nf):
                self._edge_lost.pop(nf, None)
            case S1Lost(subscribers):
                concerned = [f for f in self._of(None) if subscribers is None or f.call.subscriber in subscribers]
                self._happen(concerned, Event.S1_LOST, now, "the core's S1 association is lost")
            case Recalled(subscriber):
                self._happen(self._of(subscriber), Event.RECALLED, now, "the operator called it back")
            case NasCounted(subscriber, counts):
                for fallback in self._of(subscriber):
                    fallback.counts = counts

    def _happen(self, fallbacks: Iterable[Fallback], event: Event, now: float, reason: str) -> None:
        for fallback in fallbacks:
            self._procedure.happen(fallback, event, now, reason)

    def _of(self, subscriber: str | None) -> list[Fallback]:
        """This subscriber's: one, and perhaps another whose return is not over yet. None: everybody's."""
        return [one for call, one in self._fallbacks.items() if subscriber in (None, call.subscriber)]

    # Whose turn it is.

    def _commands(self, now: float) -> list[Command]:
        """Let go what is over, give the next one its turn if the edge is free; then everything that is to be done."""
        self._fallbacks = {call: one for call, one in self._fallbacks.items() if not one.state.final}
        if not self._edge_is_busy():
            self._at_work = self._next(now)
            if self._at_work is not None:
                self._procedure.happen(self._at_work, Event.TURN_CAME, now)
        return self._procedure.take_commands()

    def _edge_is_busy(self) -> bool:
        """A fallback that goes back has the edge until the edge has forgotten it."""
        one = self._at_work
        if one is None:
            return False
        return one.state in TO_THE_EDGE or (one.state is State.RETURNING and Trace.EDGE in one.traces)

    def _next(self, now: float) -> Fallback | None:
        """Who has waited longest."""
        ready = [one for one in self._waiting() if one.ready_at <= now]
        return min(ready, key=lambda one: one.ready_at, default=None)

    def _waiting(self) -> list[Fallback]:
        """Those that wait for their turn, and whose subscriber's last call has left nothing to be undone."""
        eligible = [one for one in self._fallbacks.values() if one.state is State.ELIGIBLE]
        return [one for one in eligible if len(self._of(one.call.subscriber)) == 1]
