"""Watch and controller together, while a recorded call plays: moved when it stands, back when it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ferret.fallback.controller import Controller
from ferret.fallback.establishment import CallWatch
from ferret.fallback.messages import AbandonReplay, CommandDone, HoldCall, MoveBack, ReplayRecording, Report
from ferret.fallback.report import FallbackReport
from ferret.fallback.services import parse_services
from ferret.fallback.states import State
from ferret.records.recorder import Recorder
from ferret.replay.plan import plan
from ferret.replay.verdict import RecordingResult
from ferret_agents.capture.reader import read
from ferret_agents.offline import agents
from ferret_agents.roles import find_network

STEP = 0.01  # seconds that the network needs for each command


class Replay:
    """A capture, its agents, watch and controller, and a network that does as it is told."""

    def __init__(self, path: Path) -> None:
        messages = read(path).messages
        self.network = find_network(messages)
        self.sightings = list(agents(messages, self.network))
        self.begun = messages[0].captured_at_ns
        self.recorder = Recorder(lambda endpoint, message: self.network.resolve(endpoint, message.protocol))
        self.watch = CallWatch()
        self.controller = Controller(parse_services("[services.volte]\nenabled = true", "test"))
        self.commands: list[tuple[float, Any]] = []
        self.reports: list[FallbackReport] = []
        self.waiting: list[tuple[float, Any]] = []  # commands, and when they are done

    def play(self) -> None:
        """From the first message to the last, and until nothing more happens."""
        for message in self.sightings:
            self._until((message.captured_at_ns - self.begun) / 1e9)
            self.recorder.add(message)
            self.watch.take(message, (message.captured_at_ns - self.begun) / 1e9)
        self._until(float("inf"))

    def _until(self, end: float) -> None:
        while (due := min(self._dues(), key=lambda one: one[0], default=None)) is not None and due[0] <= end:
            due[1](due[0])

    def _dues(self) -> Iterator[tuple[float, Callable[[float], None]]]:
        if (at := self.watch.deadline()) is not None:
            yield at, self._look
        if (at := self.controller.deadline()) is not None:
            yield at, lambda now: self._take(self.controller.wake(now), now)
        if self.waiting:
            yield self.waiting[0][0], self._answer

    def _look(self, now: float) -> None:
        for event in self.watch.look(self.recorder.finish().recordings):
            self._take(self.controller.receive(event, now), now)

    def _answer(self, now: float) -> None:
        _, command = self.waiting.pop(0)
        result = None
        if isinstance(command, ReplayRecording):
            of = command.recording
            planned = plan(subscriber=of.subscriber, service=of.service, messages=[*of.context, *of.entries])
            result = RecordingResult(planned, [])
        self._take(self.controller.receive(CommandDone(command.id, result=result), now), now)

    def _take(self, commands: list[Any], now: float) -> None:
        for command in commands:
            if isinstance(command, Report):
                self.reports.append(command.report)
            else:
                self.commands.append((now, command))
                if not isinstance(command, AbandonReplay):
                    self.waiting.append((now + STEP, command))


@pytest.mark.parametrize(("name", "calls"), [("open5gs-volte.pcap", 1), ("volte-call-full.pcap", 2)])
def test_every_half_of_a_call_is_moved_when_it_stands_and_comes_back_when_it_ends(
    capture: Callable[[str], Path], name: str, calls: int
) -> None:
    replay = Replay(capture(name))
    replay.play()
    ends = [report for report in replay.reports if report.state.final]
    assert len(ends) == calls
    for report in ends:
        assert (report.state, report.reason, report.left_behind) == (State.DONE, "", ())
        assert report.fallback_ms == pytest.approx(4 * STEP * 1000)
    assert sum(isinstance(command, HoldCall) for _, command in replay.commands) == calls
    assert sum(isinstance(command, MoveBack) for _, command in replay.commands) == calls
    assert replay.controller.reports() == []


def test_busy_and_refused_calls_among_others_are_left_alone(capture: Callable[[str], Path]) -> None:
    replay = Replay(capture("volte-multi-6.pcap"))
    replay.play()
    ends = {report.subscriber: report for report in replay.reports if report.state.final}
    assert len(ends) == 6
    held = {command.call.subscriber for _, command in replay.commands if isinstance(command, HoldCall)}
    assert held == {report.subscriber for report in ends.values() if report.reached_edge}
    assert all(report.state is State.DONE and not report.failed for report in ends.values())
    assert 0 < len(held) < 6
