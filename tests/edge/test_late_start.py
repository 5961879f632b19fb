"""What a recording that begins too late implies about the time before, and how it is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ferret.records.recording import Recording
from ferret.replay.plan import Plan, plan
from ferret_agents.pipeline import record_file
from ferret_edge.late_start import late_start

ENB = "127.0.0.30"


@pytest.fixture(scope="module")
def call() -> Recording:
    file = record_file(Path(__file__).parents[1] / "data" / "volte-call-full.pcap")
    return next(r for r in file.capture.recordings if r.service == "volte")


def _plan(recording: Recording, *, context: bool, subscriber: str = "") -> Plan:
    entries = [*(recording.context if context else ()), *recording.entries]
    return plan(subscriber=subscriber or recording.subscriber, service="volte", messages=entries)


def test_a_recording_with_its_attach_needs_no_assumption(call: Recording) -> None:
    late = late_start(_plan(call, context=True), ENB)
    assert (late.imsi, late.ue_context, late.assumed) == (call.subscriber, None, ())


def test_without_the_attach_the_device_has_the_default_bearer_that_the_dedicated_one_is_linked_to(
    call: Recording,
) -> None:
    late = late_start(_plan(call, context=False), ENB)
    assert late.ue_context is not None
    bearers = {b["ebi"]: b for b in late.ue_context["bearers"]}
    assert set(bearers) == {5, 6}  # the dedicated bearer is 7
    assert bearers[6]["paa"] == "10.46.0.2"
    assert late.ue_context["tai"] == {"plmn": "99970", "tac": 1}
    assert late.ue_context["enb"] == ENB


def test_each_assumption_is_said_in_words(call: Recording) -> None:
    said = " / ".join(late_start(_plan(call, context=False), ENB).assumed)
    assert f"attach of {call.subscriber}" in said
    assert "default bearer 6 to ims with address 10.46.0.2" in said
    assert "default bearer 5 to internet" in said


def test_a_subscriber_without_an_imsi_gets_one_of_the_test_network_and_it_is_said(call: Recording) -> None:
    late = late_start(_plan(call, context=False, subscriber="msisdn:0298765432100"), ENB)
    assert late.imsi.startswith("00101") and len(late.imsi) == 15
    assert any("made up" in line for line in late.assumed)


def test_an_ims_alone_needs_no_device_at_the_mme(capture: Callable[[str], Path]) -> None:
    file = record_file(capture("kamailio-ims-call.pcap"))
    recording = next(r for r in file.capture.recordings if r.service == "volte")
    assert late_start(_plan(recording, context=False), "").ue_context is None


def test_an_attach_by_guti_without_a_vector_makes_the_device_known_to_the_mme(call: Recording) -> None:
    without_vector = tuple(e for e in call.context if e.message.name != "AIA")
    late = late_start(_plan(replace(call, context=without_vector), context=True), ENB)
    assert late.ue_context is None  # this one attached with its IMSI
