"""The border rule: each recorded message gets its part, and the plan says why."""

from __future__ import annotations

import pytest

from ferret.protocols.summary import Kind, Protocol
from ferret.records.message import CapturedMessage, Endpoint, Flaw, Interface, Node, Role, SignallingMessage
from ferret.records.recording import Entry
from ferret.records.sip_legs import Boundary
from ferret.replay.plan import Part, Plan, members_for, plan

ENB, MME, SGW, PGW = (
    Node(Role.ENB, "10.0.0.1"),
    Node(Role.MME, "10.0.0.2"),
    Node(Role.SGW, "10.0.0.3"),
    Node(Role.PGW, "10.0.0.4"),
)
PCRF, HSS, AF = Node(Role.PCRF, "10.0.0.9"), Node(Role.HSS, "10.0.0.8"), Node(Role.AF, "10.0.0.50")
UE, PCSCF, SCSCF, ICSCF = (
    Node(Role.UE, "10.45.0.2"),
    Node(Role.PCSCF, "10.0.0.21"),
    Node(Role.SCSCF, "10.0.0.20"),
    Node(Role.ICSCF, "10.0.0.19"),
)

_PROTOCOLS = {
    Interface.S1_MME: Protocol.S1AP,
    Interface.S11: Protocol.GTPV2,
    Interface.S5: Protocol.GTPV2,
    Interface.GM: Protocol.SIP,
    Interface.MW: Protocol.SIP,
}


def message(
    name: str, interface: Interface, sender: Node, receiver: Node, kind: Kind = Kind.REQUEST, *flaws: Flaw
) -> SignallingMessage:
    captured = CapturedMessage(
        _PROTOCOLS.get(interface, Protocol.DIAMETER),
        0,
        Endpoint(sender.address, 1),
        Endpoint(receiver.address, 1),
        b"",
        flaws=flaws,
    )
    return SignallingMessage(0, captured, name, kind, interface, sender, receiver)


def planned(*messages: SignallingMessage, boundaries: dict[int, Boundary] | None = None) -> Plan:
    from dataclasses import replace

    numbered = [replace(m, index=place) for place, m in enumerate(messages, start=1)]
    pairs = [Entry(m, (boundaries or {}).get(m.index, Boundary.INSIDE)) for m in numbered]
    return plan(subscriber="001010000000001", service="volte", messages=pairs)


ATTACH = (
    message("InitialUEMessage (Attach request)", Interface.S1_MME, ENB, MME),
    message("AIR", Interface.S6A, MME, HSS),
    message("AIA", Interface.S6A, HSS, MME, Kind.RESPONSE),
    message("Create Session Request", Interface.S11, MME, SGW),
    message("CCR-Initial", Interface.GX, PGW, PCRF),
)


def test_what_enters_is_a_stimulus_what_leaves_is_caught_and_what_stays_inside_is_compared() -> None:
    parts = [step.part for step in planned(*ATTACH).steps]
    assert parts == [Part.STIMULUS, Part.CAUGHT, Part.IMPORTED, Part.COMPARED, Part.COMPARED]


def test_every_step_says_why_and_which_nf_acts() -> None:
    steps = planned(*ATTACH).steps
    assert all(step.reason for step in steps)
    assert [step.nf for step in steps] == [Role.MME, Role.MME, Role.MME, Role.MME, Role.PGW]


def test_the_first_nf_with_visible_input_brings_all_that_follow_it() -> None:
    assert members_for([message("Create Session Request", Interface.S11, MME, SGW)]) == {Role.SGW, Role.PGW, Role.PCRF}
    assert members_for([message("CCR-Initial", Interface.GX, PGW, PCRF)]) == {Role.PCRF}
    assert members_for(ATTACH) == {Role.MME, Role.SGW, Role.PGW, Role.PCRF}


def test_an_af_without_sip_stays_outside() -> None:
    plan_ = planned(message("AAR", Interface.RX, AF, PCRF), message("AAA", Interface.RX, PCRF, AF, Kind.RESPONSE))
    assert plan_.members == {Role.PCRF}
    assert [step.part for step in plan_.steps] == [Part.STIMULUS, Part.CAUGHT]


def test_the_other_half_of_a_call_is_outside_although_the_same_nf_serves_it() -> None:
    plan_ = planned(
        message("INVITE", Interface.GM, UE, PCSCF),
        message("INVITE", Interface.MW, PCSCF, SCSCF),
        message("INVITE", Interface.MW, SCSCF, SCSCF),
        message("183 (INVITE)", Interface.MW, SCSCF, SCSCF, Kind.RESPONSE),
        boundaries={3: Boundary.LEAVES, 4: Boundary.ENTERS},
    )
    assert [s.part for s in plan_.steps] == [Part.STIMULUS, Part.COMPARED, Part.CAUGHT, Part.STIMULUS]
    assert "other leg" in plan_.steps[2].reason


@pytest.mark.parametrize(
    "skipped",
    [
        message("DWR", Interface.BASE, PGW, PCRF),
        message("Echo Request", Interface.S11, MME, SGW),
        message("OPTIONS", Interface.GM, PCSCF, UE),
        message("200 (OPTIONS)", Interface.GM, UE, PCSCF, Kind.RESPONSE),
        message("100 (INVITE)", Interface.MW, SCSCF, PCSCF, Kind.RESPONSE),
        message("S1SetupRequest", Interface.S1_MME, ENB, MME),
        message("UAR", Interface.CX, ICSCF, HSS),
        message("AAR", Interface.RX, PCSCF, PCRF, Kind.REQUEST, Flaw.CUT),
    ],
)
def test_keep_alives_hop_by_hop_progress_damage_and_what_stays_in_the_core_are_skipped(
    skipped: SignallingMessage,
) -> None:
    step = planned(*ATTACH, skipped).steps[-1]
    assert step.part is Part.SKIPPED
    assert step.reason


def test_a_call_is_established_when_it_is_answered_and_acked_and_the_bearer_is_up() -> None:
    plan_ = planned(
        *ATTACH,
        message("INVITE", Interface.GM, UE, PCSCF),
        message("Create Bearer Request", Interface.S5, PGW, SGW),
        message("Create Bearer Response", Interface.S11, MME, SGW, Kind.RESPONSE),
        message("Create Bearer Response", Interface.S5, SGW, PGW, Kind.RESPONSE),
        message("200 (INVITE)", Interface.GM, PCSCF, UE, Kind.RESPONSE),
        message("ACK", Interface.GM, UE, PCSCF),
        message("ACK", Interface.MW, PCSCF, SCSCF),
        message("BYE", Interface.GM, UE, PCSCF),
    )
    assert plan_.reconfigure_after == 12
    assert plan_.release_from == 13


def test_a_late_bearer_delays_the_move() -> None:
    plan_ = planned(
        message("INVITE", Interface.GM, UE, PCSCF),
        message("200 (INVITE)", Interface.GM, PCSCF, UE, Kind.RESPONSE),
        message("ACK", Interface.GM, UE, PCSCF),
        message("Create Bearer Response", Interface.S11, MME, SGW, Kind.RESPONSE),
    )
    assert plan_.reconfigure_after == 4


def test_a_call_that_nobody_answered_is_not_moved_and_the_plan_says_so() -> None:
    plan_ = planned(
        message("INVITE", Interface.GM, UE, PCSCF),
        message("Create Bearer Response", Interface.S11, MME, SGW, Kind.RESPONSE),
        message("486 (INVITE)", Interface.GM, PCSCF, UE, Kind.RESPONSE),
    )
    assert plan_.reconfigure_after is None
    assert "not answered" in plan_.not_reconfigured
    assert "no dedicated bearer" in planned(*ATTACH).not_reconfigured
