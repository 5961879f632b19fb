"""What the controller does at each step, one call at a time and several at once."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from ferret.errors import LocalMisuseError, PeerViolationError
from ferret.fallback.controller import Controller
from ferret.fallback.judgement import why_not_accepted
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
    ResumeCall,
    S1Lost,
    UeContextReleased,
    WayBack,
)
from ferret.fallback.procedure import Limits
from ferret.fallback.services import ServicePolicy, SwitchedServices
from ferret.fallback.states import State
from ferret.records.message import Endpoint
from ferret.records.recording import Hole

CALL = Call("001010000000001", "volte", 1)
OTHER = Call("001010000000002", "volte", 1)
SECOND = CALL._replace(number=2)
MEDIA = Endpoint("10.9.0.1", 40000)

Bench = Any  # tests/ferret/fallback/conftest.py


def state_of(bench: Bench, call: Call = CALL) -> State | None:
    """Where this call's fallback stands; None once it is over."""
    return next((r.state for r in bench.controller.reports() if r.subscriber == call.subscriber), None)


# The way there


def test_a_call_that_stands_is_held_through_the_cores_ims(bench: Bench) -> None:
    assert bench.give(CallBegun(CALL)) == []
    assert bench.give(CallEstablished(CALL, SimpleNamespace(holes=(), messages=()))) == [HoldCall(1, CALL)]
    assert state_of(bench) is State.HOLDING


def test_a_held_call_is_replayed(bench: Bench) -> None:
    bench.bring_to("holding")
    (command,) = bench.answer()
    assert isinstance(command, ReplayRecording)
    assert command.recording.id == str(CALL)


def test_after_a_good_replay_base_station_and_device_move_with_the_nas_counts(bench: Bench, make_result: Any) -> None:
    bench.bring_to("replaying")
    assert bench.answer(result=make_result()) == [Reconfigure(3, CALL, NasCounts(7, 9))]


def test_counts_that_went_on_before_the_move_are_used_for_it(bench: Bench, make_result: Any) -> None:
    bench.bring_to("replaying")
    bench.give(NasCounted(CALL.subscriber, NasCounts(12, 13)))
    (command,) = bench.answer(result=make_result())
    assert command.counts == NasCounts(12, 13)


def test_a_replay_that_has_moved_the_device_itself_needs_no_other_move(make_bench: Any, make_result: Any) -> None:
    bench = make_bench(Limits(replay_moves=True))
    bench.bring_to("replaying")
    assert bench.answer(result=make_result(reconfigured=True), media=MEDIA) == [ResumeCall(3, CALL, Place.EDGE, MEDIA)]


def test_after_the_move_the_edges_ims_resumes_the_call_with_the_edges_media_address(bench: Bench) -> None:
    bench.bring_to("reconfiguring")
    assert bench.answer() == [ResumeCall(4, CALL, Place.EDGE, MEDIA)]
    assert state_of(bench) is State.RECONFIGURING


def test_a_resumed_call_is_at_the_edge_and_reported(bench: Bench) -> None:
    bench.bring_to("at_edge")
    (report,) = bench.reports
    assert (report.state, report.reason, report.failed, report.reached_edge) == (State.AT_EDGE, "", False, True)
    assert report.fallback_ms == pytest.approx(40)  # four answers, 10 ms each
    assert bench.controller.deadline() is None


# The way back


def test_a_call_that_ends_at_the_edge_leaves_nothing_behind(bench: Bench) -> None:
    bench.bring_to("at_edge")
    assert bench.give(CallEnded(CALL, Place.EDGE)) == [MoveBack(5, CALL, WayBack.MODIFY, NasCounts(8, 10))]
    assert bench.answer() == [EndCall(6, CALL)]
    assert bench.answer() == [ReleaseEdge(7, CALL)]
    assert bench.answer() == []
    report = bench.reports[-1]
    assert (report.state, report.reason, report.failed, report.left_behind) == (State.DONE, "", False, ())
    assert bench.controller.reports() == []


def test_a_call_that_the_core_has_seen_ending_needs_no_end_there(bench: Bench) -> None:
    bench.bring_to("at_edge")
    bench.give(CallEnded(CALL, Place.CORE))
    bench.answer()
    assert isinstance(bench.commands[-1], ReleaseEdge)


def test_the_core_goes_on_with_the_nas_counts_of_the_edge(bench: Bench) -> None:
    bench.bring_to("at_edge")
    bench.give(NasCounted(CALL.subscriber, NasCounts(20, 21)))
    (command,) = bench.give(CallEnded(CALL, Place.EDGE))
    assert command.counts == NasCounts(20, 21)


def test_a_device_that_went_idle_at_the_edge_comes_back_idle(bench: Bench) -> None:
    bench.bring_to("at_edge")
    (command,) = bench.give(UeContextReleased(CALL.subscriber))
    assert command == MoveBack(5, CALL, WayBack.IDLE, NasCounts(8, 10))


def test_a_call_whose_edge_is_lost_goes_on_over_the_core(bench: Bench) -> None:
    bench.bring_to("at_edge")
    (moved,) = bench.give(EdgeLost("SGW", "killed"))
    assert isinstance(moved, MoveBack)
    assert bench.answer() == [ResumeCall(6, CALL, Place.CORE)]
    assert bench.answer() == [ReleaseEdge(7, CALL)]
    bench.refuse()
    while bench.controller.reports():
        bench.refuse() if bench.wake() else None
    report = bench.reports[-1]
    assert (report.state, report.reason, report.failed) == (State.ON_CORE, "edge SGW is lost: killed", True)
    assert report.left_behind == ("the edge holds the subscriber's state",)


def test_the_core_leaves_out_nas_counts_that_a_lost_edge_may_have_used(bench: Bench) -> None:
    bench.bring_to("at_edge")
    (command,) = bench.give(EdgeLost("MME"))
    assert command.counts == NasCounts(8, 26, exact=False)


def test_the_operator_can_call_everything_back(bench: Bench) -> None:
    bench.bring_to("at_edge")
    bench.give(Recalled())
    for _ in range(3):
        bench.answer()
    report = bench.reports[-1]
    assert (report.state, report.reason, report.failed) == (State.ON_CORE, "the operator called it back", False)


def test_the_loss_of_the_cores_base_station_link_leaves_a_call_at_the_edge(bench: Bench) -> None:
    bench.bring_to("at_edge")
    assert bench.give(S1Lost()) == []
    assert state_of(bench) is State.AT_EDGE


def test_what_changed_nothing_is_no_reason_in_the_report(bench: Bench) -> None:
    bench.bring_to("at_edge")
    bench.give(S1Lost())
    bench.give(CallEnded(CALL, Place.EDGE))
    for _ in range(3):
        bench.answer()
    assert (bench.reports[-1].reason, bench.reports[-1].failed) == ("", False)


def test_the_loss_of_another_base_station_leaves_a_call_alone(bench: Bench) -> None:
    bench.bring_to("holding")
    assert bench.give(S1Lost(frozenset({OTHER.subscriber}))) == []
    assert state_of(bench) is State.HOLDING


# What does not go well


def test_a_refused_hold_leaves_the_call_as_it_is(bench: Bench) -> None:
    bench.bring_to("holding")
    assert bench.refuse("488 Not Acceptable Here") == []
    report = bench.reports[-1]
    assert (report.state, report.reason, report.failed) == (State.ON_CORE, "488 Not Acceptable Here", True)


def test_a_hold_that_nobody_answers_is_undone_as_if_it_had_happened(bench: Bench) -> None:
    bench.bring_to("holding")
    assert bench.wake() == [ResumeCall(2, CALL, Place.CORE)]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"abandoned": "edge PGW: connection lost"}, "the replay was abandoned: edge PGW: connection lost"),
        ({"messages": 2}, "the edge acknowledged 0 messages, and 2 not"),
    ],
)
def test_a_replay_that_came_out_otherwise_brings_the_call_back(
    bench: Bench, make_result: Callable[..., Any], values: dict[str, Any], reason: str
) -> None:
    bench.bring_to("replaying")
    result = make_result()
    result.abandoned = values.get("abandoned", "")
    step = SimpleNamespace(part="stimulus")
    result.messages = [SimpleNamespace(step=step, acknowledged=False, high_risk=0)] * values.get("messages", 0)
    assert why_not_accepted(result) == reason
    result.messages = []
    if result.abandoned:
        assert bench.answer(result=result) == [ResumeCall(3, CALL, Place.CORE)]


def test_a_difference_of_high_risk_brings_the_call_back(make_result: Callable[..., Any]) -> None:
    result = make_result()
    message = SimpleNamespace(name="Create Session Response")
    step = SimpleNamespace(part="compared", message=message)
    result.messages = [SimpleNamespace(step=step, acknowledged=True, high_risk=2)]
    assert why_not_accepted(result) == "the edge made another Create Session Response than the core: 2 differences"


def test_a_replay_that_was_to_move_the_device_and_did_not_is_not_accepted(make_result: Callable[..., Any]) -> None:
    result = make_result(not_reconfigured="the UE has no active bearer")
    assert why_not_accepted(result, moves=True) == "not moved: the UE has no active bearer"
    assert why_not_accepted(result) == ""


def test_a_replay_that_hangs_is_abandoned_before_the_call_is_resumed(bench: Bench) -> None:
    bench.bring_to("replaying")
    assert bench.wake() == [AbandonReplay(CALL), ResumeCall(3, CALL, Place.CORE)]


def test_a_replay_that_moves_the_device_itself_and_hangs_may_have_moved_it(make_bench: Any) -> None:
    bench = make_bench(Limits(replay_moves=True))
    bench.bring_to("replaying")
    assert bench.wake() == [AbandonReplay(CALL), MoveBack(3, CALL, WayBack.MODIFY, NasCounts(7, 9))]


def test_hold_replay_and_move_together_may_take_no_longer_than_the_operator_allows(make_bench: Any) -> None:
    bench = make_bench(policy=ServicePolicy(enabled=True, max_fallback_ms=300))
    bench.bring_to("holding")
    held_at = bench.now
    bench.answer()
    assert bench.controller.deadline() == pytest.approx(held_at + 0.3)
    bench.wake()
    assert bench.controller.reports()[0].reason == "took too long while replaying"


@pytest.mark.parametrize("state", ["reconfiguring", "resuming"])
def test_a_move_that_is_not_confirmed_is_undone_as_if_it_had_happened(bench: Bench, state: str) -> None:
    bench.bring_to(state)
    (command,) = bench.refuse("not every bearer moved")
    assert isinstance(command, MoveBack)
    assert isinstance(bench.answer()[0], ResumeCall)
    assert isinstance(bench.answer()[0], ReleaseEdge)
    bench.answer()
    assert bench.reports[-1].reason == "not every bearer moved"
    assert bench.reports[-1].state is State.ON_CORE


def test_a_call_that_ends_during_the_replay_is_not_resumed(bench: Bench) -> None:
    bench.bring_to("replaying")
    assert bench.give(CallEnded(CALL)) == [AbandonReplay(CALL), ReleaseEdge(3, CALL)]
    bench.answer()
    report = bench.reports[-1]
    assert (report.state, report.reason, report.failed) == (State.DONE, "the call ended while replaying", False)


def test_a_call_that_ends_while_it_is_being_resumed_is_left_in_peace(bench: Bench) -> None:
    bench.bring_to("replaying")
    bench.wake()
    assert isinstance(bench.commands[-1], ResumeCall)
    assert bench.give(CallEnded(CALL)) == [ReleaseEdge(4, CALL)]


def test_what_cannot_be_undone_is_tried_again_after_growing_pauses(make_bench: Any) -> None:
    bench = make_bench(Limits(pause=0.1, attempts=4))
    bench.bring_to("holding")
    bench.wake()
    pauses = []
    for _ in range(4):
        bench.refuse("503 Service Unavailable")
        failed_at = bench.now
        bench.wake()
        pauses.append(round(bench.now - failed_at, 3))
    assert pauses == [0.1, 0.2, 0.4, 0.8]
    report = bench.reports[-1]
    assert report.state is State.ON_CORE
    assert report.left_behind == ("the call is held or its media led to the edge",)
    assert (report.commands, report.repeated) == (5, 3)


def test_a_device_that_does_not_move_back_is_let_go_by_the_base_station(bench: Bench) -> None:
    bench.bring_to("at_edge")
    bench.give(EdgeLost("MME"))
    for _ in range(3):
        bench.wake()
    ways = [command.way for command in bench.commands if isinstance(command, MoveBack)]
    assert ways == [WayBack.MODIFY, WayBack.MODIFY, WayBack.MODIFY, WayBack.RELEASE]


def test_an_answer_that_comes_too_late_changes_nothing(bench: Bench) -> None:
    bench.bring_to("holding")
    hold = bench.commands[-1]
    bench.wake()
    assert bench.give(CommandDone(hold.id)) == []
    assert bench.controller.counts["late_answers"] == 1


def test_an_answer_to_a_command_that_was_never_given_is_misuse(bench: Bench) -> None:
    for answer in (CommandDone(99), CommandFailed(0, "")):
        with pytest.raises(LocalMisuseError):
            bench.give(answer)


def test_a_replay_that_is_done_without_a_result_is_misuse(bench: Bench) -> None:
    bench.bring_to("replaying")
    with pytest.raises(LocalMisuseError):
        bench.answer()
    assert state_of(bench) is State.REPLAYING


def test_a_call_cannot_be_established_twice(bench: Bench) -> None:
    bench.bring_to("at_edge")
    with pytest.raises(PeerViolationError):
        bench.give(CallEstablished(CALL, SimpleNamespace(holes=(), messages=())))
    assert state_of(bench) is State.AT_EDGE


# Which calls


def test_a_service_that_is_off_is_left_alone() -> None:
    controller = Controller(SwitchedServices({"volte": ServicePolicy(enabled=False)}))
    assert controller.receive(CallBegun(CALL), 0) == []
    assert controller.receive(CallEstablished(CALL, SimpleNamespace(holes=(), messages=())), 1) == []
    assert (controller.reports(), controller.counts["not_switched_on"]) == ([], 1)


def test_a_recording_with_a_hole_stays_on_the_core(bench: Bench, make_recording: Any) -> None:
    bench.give(CallBegun(CALL))
    hole = Hole("3 message(s) of the agent at 10.0.0.9", 7)
    assert bench.give(CallEstablished(CALL, make_recording(CALL, hole))) == []
    assert bench.reports[-1].reason == "the recording has a hole: 3 message(s) of the agent at 10.0.0.9"


@pytest.mark.parametrize(
    ("uri", "stays"), [("urn:service:sos", True), ("URN:service:sos.fire", True), ("sip:112@ims.example", False)]
)
def test_an_emergency_call_is_never_touched(bench: Bench, make_recording: Any, uri: str, stays: bool) -> None:
    octets = f"INVITE {uri} SIP/2.0\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n\r\n".encode()
    entry = SimpleNamespace(message=SimpleNamespace(name="INVITE", octets=octets))
    bench.give(CallBegun(CALL))
    commands = bench.give(CallEstablished(CALL, dataclasses.replace(make_recording(), entries=(entry,))))
    assert (commands == []) is stays
    assert not stays or bench.reports[-1].reason == "an emergency call is never touched"


def test_commands_do_not_show_what_is_in_a_recording(bench: Bench) -> None:
    bench.bring_to("replaying")
    assert "entries" not in repr(bench.commands[-1])


def test_while_the_edge_is_lost_calls_stay_on_the_core_and_then_no_longer(bench: Bench) -> None:
    bench.give(EdgeLost("PGW"))
    assert bench.begin() == []
    assert bench.reports[-1].reason == "edge PGW is lost"
    bench.give(CallEnded(CALL))
    bench.give(EdgeBack("PGW"))
    assert bench.begin(SECOND) == [HoldCall(1, SECOND)]


def test_an_edge_that_is_lost_while_a_call_is_set_up_may_be_back_in_time(bench: Bench) -> None:
    bench.give(CallBegun(CALL))
    bench.give(EdgeLost("PGW"))
    bench.give(EdgeBack("PGW"))
    assert bench.give(CallEstablished(CALL, SimpleNamespace(holes=(), messages=()))) == [HoldCall(1, CALL)]


@pytest.mark.parametrize("state", ["recording", "holding", "replaying", "reconfiguring", "resuming"])
def test_a_second_call_of_a_subscriber_brings_the_first_back(bench: Bench, state: str) -> None:
    bench.bring_to(state)
    assert not any(isinstance(command, HoldCall) for command in bench.begin(SECOND))
    while bench.controller.reports():
        bench.answer()
    report = bench.reports[-1]
    assert (report.state, report.reason, report.failed) == (State.ON_CORE, "a second call began", False)
    assert bench.controller.counts["second_call"] == 1


def test_a_second_call_at_the_edge_keeps_the_device_there_until_it_ends(bench: Bench) -> None:
    bench.bring_to("at_edge")
    assert bench.begin(SECOND) == []
    assert bench.give(CallEnded(CALL, Place.EDGE)) == []
    assert state_of(bench) is State.AT_EDGE
    assert isinstance(bench.give(CallEnded(SECOND, Place.EDGE))[0], MoveBack)
    assert isinstance(bench.answer()[0], EndCall)
    bench.answer()
    bench.answer()
    assert (bench.reports[-1].state, bench.reports[-1].failed) == (State.DONE, False)


def test_a_second_call_at_the_edge_that_ends_first_changes_nothing(bench: Bench) -> None:
    bench.bring_to("at_edge")
    bench.begin(SECOND)
    assert bench.give(CallEnded(SECOND, Place.EDGE)) == []
    assert isinstance(bench.give(CallEnded(CALL, Place.EDGE))[0], MoveBack)


def test_a_call_whose_end_nobody_saw_does_not_count_for_ever(make_bench: Any) -> None:
    bench = make_bench(Limits(call=100.0))
    bench.begin()
    bench.refuse()
    assert bench.begin(SECOND) == []
    bench.now += 100
    assert bench.begin(CALL._replace(number=3)) == [HoldCall(2, CALL._replace(number=3))]


def test_a_second_call_after_a_return_is_moved_like_the_first(bench: Bench) -> None:
    bench.bring_to("at_edge")
    bench.give(CallEnded(CALL, Place.EDGE))
    for _ in range(3):
        bench.answer()
    assert bench.begin(SECOND) == [HoldCall(8, SECOND)]


def test_a_call_that_is_never_established_is_forgotten_in_the_end(bench: Bench) -> None:
    bench.give(CallBegun(CALL))
    assert bench.wake() == []
    assert bench.reports[-1].reason == "took too long while recording"


# Several at once


def test_the_second_call_waits_on_the_core_until_the_edge_is_free(bench: Bench, make_result: Any) -> None:
    bench.begin(CALL)
    assert bench.begin(OTHER) == []
    assert state_of(bench, OTHER) is State.ELIGIBLE
    bench.answer()
    bench.answer(result=make_result())
    bench.answer()
    assert bench.answer() == [HoldCall(5, OTHER)]


def test_the_next_has_its_turn_only_when_the_edge_has_forgotten_a_replay_that_failed(bench: Bench) -> None:
    bench.begin(CALL)
    bench.begin(OTHER)
    bench.answer()
    bench.refuse("no edge NF answered")
    bench.answer()
    assert isinstance(bench.commands[-1], ReleaseEdge)
    assert state_of(bench, OTHER) is State.ELIGIBLE
    assert bench.answer() == [HoldCall(5, OTHER)]


def test_who_waits_too_long_stays_on_the_core(make_bench: Any) -> None:
    bench = make_bench(policy=ServicePolicy(enabled=True, max_wait_ms=100))
    bench.begin(CALL)
    bench.begin(OTHER)
    assert bench.wake() == []
    assert bench.reports[-1].reason == "took too long while eligible"
    assert bench.reports[-1].away_ms is None


def test_no_more_wait_than_the_limit_says(make_bench: Any) -> None:
    bench = make_bench(Limits(waiting=1))
    for number in range(1, 4):
        bench.begin(Call(f"00101000000000{number}", "volte", 1))
    assert bench.reports[-1].reason == "too many calls wait for the edge"
    assert len(bench.controller.reports()) == 2


def test_who_hangs_up_while_waiting_is_passed_over(bench: Bench) -> None:
    third = Call("001010000000003", "volte", 1)
    for call in (CALL, OTHER, third):
        bench.begin(call)
    bench.give(CallEnded(OTHER))
    assert bench.give(CallEnded(CALL)) == [HoldCall(2, third)]


def test_the_loss_of_an_edge_nf_concerns_everybody(bench: Bench) -> None:
    bench.bring_to("at_edge")
    bench.begin(OTHER)
    commands = bench.give(EdgeLost("SGW"))
    assert {type(command) for command in commands} == {MoveBack, ResumeCall}


# Reports


def test_a_report_has_a_json_form_with_times_per_phase(bench: Bench) -> None:
    bench.bring_to("at_edge")
    bench.give(CallEnded(CALL, Place.EDGE), after=2.0)
    for _ in range(3):
        bench.answer()
    told = json.loads(json.dumps(bench.reports[-1].as_json()))
    assert told["state"] == "done"
    assert told["phases_ms"] == {
        "recording": 10,
        "eligible": 0,
        "holding": 10,
        "replaying": 10,
        "reconfiguring": 20,
        "at_edge": 2000,
        "returning": 30,
    }
    assert (told["fallback_ms"], told["away_ms"], told["commands"], told["repeated"]) == (40, 2070, 7, 0)
