"""A controller with a hand on every command, and what it is fed with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ferret.fallback.controller import Controller
from ferret.fallback.messages import (
    Call,
    CallBegun,
    CallEstablished,
    CommandDone,
    CommandFailed,
    NasCounts,
    Report,
)
from ferret.fallback.procedure import Limits
from ferret.fallback.report import FallbackReport
from ferret.fallback.services import ServicePolicy, SwitchedServices
from ferret.records.message import Endpoint
from ferret.records.recording import Hole, Recording
from ferret.replay.plan import Plan
from ferret.replay.verdict import RecordingResult

CALL = Call("001010000000001", "volte", 1)
MEDIA = Endpoint("10.9.0.1", 40000)


def recording_of(call: Call = CALL, *holes: Hole) -> Recording:
    """A recording of this call."""
    return Recording(call.subscriber, call.service, call.number, entries=(), holes=holes)


def result_of(**values: Any) -> RecordingResult:
    """The result of a replay, in which all went well unless `values` say otherwise."""
    plan = Plan(CALL.subscriber, CALL.service, frozenset(), steps=(), reconfigure_after=1)
    return RecordingResult(plan, [], **values)


class Bench:
    """A controller, its time, and the commands that it has given."""

    def __init__(self, limits: Limits | None = None, policy: ServicePolicy | None = None) -> None:
        services = SwitchedServices({"volte": policy or ServicePolicy(enabled=True)})
        self.controller = Controller(services, limits)
        self.now = 100.0
        self.commands: list[Any] = []
        self.reports: list[FallbackReport] = []

    def give(self, event: Any, after: float = 0.01) -> list[Any]:
        """Give it an event; returns the commands that follow, without reports."""
        self.now += after
        return self._took(self.controller.receive(event, self.now))

    def wake(self) -> list[Any]:
        """Let time go on to its deadline."""
        deadline = self.controller.deadline()
        assert deadline is not None
        self.now = max(self.now, deadline)
        return self._took(self.controller.wake(self.now))

    def answer(self, **values: Any) -> list[Any]:
        """Yes to the last command."""
        return self.give(CommandDone(self.commands[-1].id, **values))

    def refuse(self, reason: str = "no") -> list[Any]:
        """No to the last command."""
        return self.give(CommandFailed(self.commands[-1].id, reason))

    def begin(self, call: Call = CALL) -> list[Any]:
        """A call is set up and stands."""
        self.give(CallBegun(call))
        return self.give(CallEstablished(call, recording_of(call), NasCounts(7, 9)))

    def bring_to(self, state: str) -> None:
        """The call goes as far as this state, without a fault."""
        steps: dict[str, Callable[[], object]] = {
            "recording": lambda: self.give(CallBegun(CALL)),
            "holding": lambda: self.give(CallEstablished(CALL, recording_of(), NasCounts(7, 9))),
            "replaying": self.answer,
            "reconfiguring": lambda: self.answer(result=result_of(), media=MEDIA),
            "resuming": lambda: self.answer(counts=NasCounts(8, 10)),
            "at_edge": self.answer,
        }
        for name, step in steps.items():
            step()
            if name == state:
                return
        raise AssertionError(state)

    def _took(self, commands: list[Any]) -> list[Any]:
        self.reports += [command.report for command in commands if isinstance(command, Report)]
        real = [command for command in commands if not isinstance(command, Report)]
        self.commands += real
        return real


@pytest.fixture
def bench() -> Bench:
    """A controller for VoLTE calls of everybody."""
    return Bench()


@pytest.fixture
def make_bench() -> Callable[..., Bench]:
    """The same with limits and a policy of one's own."""
    return Bench


@pytest.fixture
def make_result() -> Callable[..., RecordingResult]:
    """Results of replays."""
    return result_of


@pytest.fixture
def make_recording() -> Callable[..., Recording]:
    """Recordings of calls."""
    return recording_of
