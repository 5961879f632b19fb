"""One fallback: what is known of it, without any decision."""

from __future__ import annotations

from dataclasses import dataclass, field

from ferret.fallback.messages import Call, NasCounts
from ferret.fallback.report import FallbackReport
from ferret.fallback.services import ServicePolicy
from ferret.fallback.states import State
from ferret.fallback.undo import ONLY_WHILE_CALLED, Trace
from ferret.records.message import Endpoint
from ferret.records.recording import Recording
from ferret.replay.verdict import RecordingResult


@dataclass(slots=True, eq=False)
class Fallback:
    """Times are monotonic seconds. `awaited`: the number of the command whose answer is awaited; 0: none."""

    call: Call
    policy: ServicePolicy
    since: float  # when it came into its state
    deadline: float | None = None
    ready_at: float = 0.0  # an eligible one: before that it is not moved
    state: State = State.RECORDING
    recording: Recording | None = None
    result: RecordingResult | None = None
    media: Endpoint | None = None
    counts: NasCounts | None = None
    traces: set[Trace] = field(default_factory=set)
    awaited: int = 0
    undoing: Trace | None = None
    attempt: int = 0  # at undoing that
    idle: bool = False  # the device has no signalling connection
    over: bool = False  # the call has ended
    reason: str = ""
    failed: bool = False
    left_behind: tuple[str, ...] = ()
    commands: int = 0
    repeated: int = 0
    begun_at: float | None = None
    arrived_at: float | None = None
    back_at: float | None = None
    _phases: dict[State, float] = field(default_factory=dict)

    def enter(self, state: State, now: float) -> None:
        """Into the next state, which may be the same."""
        if state is not self.state:
            self._phases[self.state] = self._phases.get(self.state, 0.0) + now - self.since
            self.state, self.since = state, now

    def because(self, reason: str, *, failed: bool) -> None:
        """Why it goes back. The first reason counts: what follows is its consequence."""
        if not self.reason:
            self.reason, self.failed = reason, failed

    def end_call(self) -> None:
        """The call is over, and with it what only mattered while it lasted."""
        self.over = True
        self.traces -= ONLY_WHILE_CALLED

    @property
    def next_trace(self) -> Trace | None:
        """What is to be undone next."""
        return next((trace for trace in Trace if trace in self.traces), None)

    def report(self) -> FallbackReport:
        """What an operator wants to see of it."""
        result = self.result
        return FallbackReport(
            *self.call,
            state=self.state,
            reason=self.reason,
            failed=self.failed or bool(self.left_behind),
            phases_ms={state: spent * 1000 for state, spent in self._phases.items()},
            fallback_ms=_between(self.begun_at, self.arrived_at),
            away_ms=_between(self.begun_at, self.back_at),
            replayed=result.replayed if result else 0,
            compared=result.compared if result else 0,
            acknowledged=result.acknowledged if result else 0,
            high_risk=result.high_risk if result else 0,
            commands=self.commands,
            repeated=self.repeated,
            left_behind=self.left_behind,
        )


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else (end - start) * 1000
