"""Dedicated bearers: made, changed and removed for PCC rules; refused, lost and raced."""

from __future__ import annotations

from typing import Any

import pytest

from ferret.errors import DecodeError
from ferret.protocols import gtpv2
from ferret.protocols.diameter import avp
from ferret.protocols.gtpv2 import BearerQos, BearerTft, Cause, CauseIe, Ebi, FTeid, bearer_context
from ferret.protocols.gtpv2.tft import TftOperation
from ferret_core.pgw.rules import Flow, filters_of


def said_no(core: Any, tools: Any, send: Any, *parts: Any, cause: Cause = Cause.CONTEXT_NOT_FOUND) -> None:
    core.from_mme(gtpv2.answer(send.message, tools.s11_teid(core), CauseIe(cause), *parts), send)


def said_yes(core: Any, tools: Any, send: Any, ebi: int = 6) -> None:
    context = bearer_context(CauseIe(Cause.REQUEST_ACCEPTED), ebi=ebi)
    core.from_mme(gtpv2.answer(send.message, tools.s11_teid(core), CauseIe(Cause.REQUEST_ACCEPTED), context), send)


@pytest.fixture
def call(core: Any, tools: Any) -> Any:
    """A core with one dedicated bearer."""
    core.attach()
    core.rule(tools.charging_rule())
    core.accept_bearer()
    return core


def test_a_rule_gets_a_bearer_with_its_flows_and_rates(core: Any, tools: Any) -> None:
    core.attach()
    core.rule(tools.charging_rule(rate=43562))
    send = core.accept_bearer()
    context = send.message.bearer_contexts[0]
    assert gtpv2.ebi_of(send.message) == 5 and gtpv2.ebi_of(context) == 0
    assert context.view(BearerQos) == BearerQos(1, 1, 1, 1, 43, 43, 43, 43)
    tft = context.view(BearerTft).tft
    assert tft.operation == TftOperation.CREATE_NEW
    assert [(f.identifier, f.direction, f.precedence) for f in tft.packet_filters] == [(0, 1, 0), (1, 2, 1)]
    assert core.pgw.leftovers()["bearers"] == core.sgw.leftovers()["bearers"] == 2


def test_tunnel_instance_and_first_precedence_are_the_operators(core: Any, tools: Any) -> None:
    core.pgw.import_context({"create_bearer_instance": 2, "first_precedence": 1}, 0.0)
    core.sgw.import_context({"tell_pgw_f_teid": False}, 0.0)
    core.attach()
    core.rule(tools.charging_rule())
    context = core.accept_bearer().message.bearer_contexts[0]
    assert len(context.all(gtpv2.IeType.F_TEID)) == 1  # the SGW has heard of the PGW's, and keeps it to itself
    assert [one.precedence for one in context.view(BearerTft).tft.packet_filters] == [1, 2]
    assert core.sgw.leftovers()["bearers"] == 2


def test_fractions_of_a_kilobit_count_up_where_the_operator_says_so(core: Any, tools: Any) -> None:
    core.pgw.import_context({"round_bit_rates_up": True}, 0.0)
    core.attach()
    core.rule(tools.charging_rule(rate=43562))
    assert core.accept_bearer().message.bearer_contexts[0].view(BearerQos).mbr_uplink == 44


def test_a_rule_that_says_nothing_new_moves_nothing(call: Any, tools: Any) -> None:
    call.rule(tools.charging_rule(flows=False))
    assert not call.out


def test_a_new_rate_updates_the_bearer(call: Any, tools: Any) -> None:
    call.rule(tools.charging_rule(rate=16000, flows=False))
    send = call.next("Update Bearer Request")
    context = send.message.bearer_contexts[0]
    assert gtpv2.ebi_of(context) == 6 and context.view(BearerQos).gbr_uplink == 16
    assert context.find(gtpv2.IeType.BEARER_TFT) is None
    assert send.message.view(gtpv2.Ambr) is not None
    said_yes(call, tools, send)
    assert call.sgw.leftovers()["transactions"] == call.pgw.leftovers()["transactions"] == 0


def test_a_new_flow_is_added_to_the_filters(call: Any, tools: Any) -> None:
    call.rule(tools.charging_rule(port=60000))
    tft = call.next("Update Bearer Request").message.bearer_contexts[0].view(BearerTft).tft
    assert tft.operation == TftOperation.ADD_PACKET_FILTERS
    assert [(f.identifier, f.precedence) for f in tft.packet_filters] == [(2, 2), (3, 3)]


def test_the_pcrf_may_change_ambr_and_default_bearer(core: Any, tools: Any) -> None:
    core.attach()
    ambr = avp.QOS_INFORMATION(avp.APN_AGGREGATE_MAX_BITRATE_UL(2_000_000), avp.APN_AGGREGATE_MAX_BITRATE_DL(3_000_000))
    core.rule(ambr)
    update = core.next("Update Bearer Request")
    (context,) = update.message.bearer_contexts
    assert update.message.view(gtpv2.Ambr) == gtpv2.Ambr(2000, 3000)
    assert gtpv2.ebi_of(context) == 5 and context.view(BearerQos) is None
    said_no(core, tools, update)
    core.rule(ambr)  # the refusal was taken back to the old one, so it is asked for again
    said_yes(core, tools, core.next("Update Bearer Request"), 5)
    core.rule(ambr)
    assert not core.out


def test_a_refused_update_leaves_the_bearer_as_it_was(call: Any, tools: Any) -> None:
    before = call.pgw.user_plane.downlink["10.45.0.2"].copy()
    call.rule(tools.charging_rule(port=60000, rate=16000))
    send = call.next("Update Bearer Request")
    said_no(call, tools, send, bearer_context(CauseIe(Cause.UE_REFUSES), ebi=6), cause=Cause.UE_REFUSES)
    assert call.pgw.user_plane.downlink["10.45.0.2"] == before
    call.rule(tools.charging_rule(rate=16000, flows=False))
    assert call.next("Update Bearer Request")  # the rate is still the old one


def test_removing_the_rule_deletes_the_bearer(call: Any, tools: Any) -> None:
    call.rule(tools.rule_removal())
    send = call.next("Delete Bearer Request")
    assert send.message.view(Ebi, 1) == Ebi(6) and send.message.find(gtpv2.IeType.EBI, 0) is None
    said_yes(call, tools, send)
    assert call.pgw.leftovers()["bearers"] == call.sgw.leftovers()["bearers"] == 1
    assert len(call.pgw.user_plane.uplink) == 1 and len(call.sgw.user_plane.paths) == 2


def test_filter_identifiers_start_again_with_a_bearer_and_precedences_go_on(call: Any, tools: Any) -> None:
    call.rule(tools.rule_removal())
    said_yes(call, tools, call.next("Delete Bearer Request"))
    call.rule(tools.charging_rule())
    tft = call.accept_bearer().message.bearer_contexts[0].view(BearerTft).tft
    assert [(f.identifier, f.precedence) for f in tft.packet_filters] == [(0, 2), (1, 3)]


def test_removing_an_unknown_rule_moves_nothing(call: Any, tools: Any) -> None:
    call.rule(tools.rule_removal("nobody"))
    assert not call.out


def test_a_silent_mme_costs_the_bearer(core: Any, tools: Any) -> None:
    core.attach()
    core.rule(tools.charging_rule())
    core.mme_silent(core.next("Create Bearer Request"))
    assert core.pgw.leftovers() == {"sessions": 1, "bearers": 1, "tunnels": 1, "transactions": 0}
    assert core.sgw.leftovers()["bearers"] == 1
    assert "dedicated_bearer_failed" in [note.event for note in core.notes]


def test_a_refusing_mme_costs_the_bearer_and_its_cause_is_passed_on(core: Any, tools: Any) -> None:
    core.attach()
    core.rule(tools.charging_rule())
    send = core.next("Create Bearer Request")
    said_no(core, tools, send, bearer_context(CauseIe(Cause.UE_REFUSES), ebi=0), cause=Cause.UE_REFUSES)
    assert core.pgw.leftovers()["bearers"] == core.sgw.leftovers()["bearers"] == 1


def test_the_pcrf_hears_of_a_failed_rule_where_the_operator_says_so(core: Any, tools: Any) -> None:
    core.pgw.import_context({"report_rule_failures": True}, 0.0)
    core.attach()
    core.rule(tools.charging_rule())
    core.mme_silent(core.next("Create Bearer Request"))
    report = core.pcrf_says().message
    assert report.value_of(avp.CC_REQUEST_TYPE) == 2 and report.value_of(avp.CC_REQUEST_NUMBER) == 1
    found = report.find(avp.CHARGING_RULE_REPORT)
    assert found.value_of(avp.CHARGING_RULE_NAME) == "voice" and found.value_of(avp.PCC_RULE_STATUS) == 1


def test_a_bearer_that_the_mme_never_made_is_changed_and_deleted_as_unknown(core: Any, tools: Any) -> None:
    """The eNB failed the E-RAB; the MME stays silent, then says Context not found of everything else."""
    core.attach()
    core.rule(tools.charging_rule())
    pending = core.next("Create Bearer Request")
    core.rule(tools.charging_rule(rate=16000, flows=False))
    update = core.next("Update Bearer Request")
    assert gtpv2.ebi_of(update.message.bearer_contexts[0]) == 0
    said_no(core, tools, update)
    core.rule(tools.rule_removal())
    delete = core.next("Delete Bearer Request")
    assert delete.message.view(Ebi, 1) == Ebi(0)
    said_no(core, tools, delete)
    assert core.pgw.leftovers()["bearers"] == 1
    core.mme_silent(pending)
    assert core.pgw.leftovers()["bearers"] == core.sgw.leftovers()["bearers"] == 1
    assert core.pgw.leftovers()["transactions"] == core.sgw.leftovers()["transactions"] == 0


def test_a_bearer_whose_rule_went_while_it_was_made_is_deleted_under_its_identity(core: Any, tools: Any) -> None:
    core.attach()
    core.rule(tools.charging_rule())
    pending = core.out[0]
    core.out.clear()
    core.rule(tools.rule_removal())
    first = core.next("Delete Bearer Request")
    core.out.append(pending)
    core.accept_bearer()
    second = core.next("Delete Bearer Request")
    assert second.message.view(Ebi, 1) == Ebi(6)
    said_no(core, tools, first)
    said_yes(core, tools, second)
    assert core.pgw.leftovers()["bearers"] == core.sgw.leftovers()["bearers"] == 1
    assert core.pgw.leftovers()["transactions"] == core.sgw.leftovers()["transactions"] == 0


def test_a_bearer_that_was_given_up_before_it_had_an_identity_is_deleted_once_it_has_one(core: Any, tools: Any) -> None:
    core.attach()
    core.rule(tools.charging_rule())
    pending = core.out[0]
    core.out.clear()
    core.rule(tools.rule_removal())
    said_no(core, tools, core.next("Delete Bearer Request"))
    core.out.append(pending)
    core.accept_bearer()
    delete = core.next("Delete Bearer Request")
    assert delete.message.view(Ebi, 1) == Ebi(6)
    said_yes(core, tools, delete)
    assert core.pgw.leftovers()["bearers"] == core.sgw.leftovers()["bearers"] == 1
    assert core.pgw.leftovers()["transactions"] == core.sgw.leftovers()["transactions"] == 0


def test_an_answer_without_bearer_contexts_lacks_a_mandatory_ie(core: Any, tools: Any) -> None:
    core.attach()
    core.rule(tools.charging_rule())
    said_no(core, tools, core.next("Create Bearer Request"))
    refused = [note for note in core.notes if note.event == "dedicated_bearer_refused"]
    assert refused[0].fields["cause"] == Cause.MANDATORY_IE_MISSING


def test_rules_of_one_class_share_a_bearer_where_the_operator_says_so(core: Any, tools: Any) -> None:
    core.pgw.import_context({"bearer_per_rule": False}, 0.0)
    core.attach()
    core.rule(tools.charging_rule("audio", rate=40000))
    core.accept_bearer()
    core.rule(tools.charging_rule("more audio", port=52000, rate=20000))
    update = core.next("Update Bearer Request")
    context = update.message.bearer_contexts[0]
    assert context.view(BearerQos).gbr_downlink == 60
    assert len(context.view(BearerTft).tft.packet_filters) == 2
    said_yes(core, tools, update)
    core.rule(tools.rule_removal("audio"))
    update = core.next("Update Bearer Request")
    tft = update.message.bearer_contexts[0].view(BearerTft).tft
    assert (tft.operation, tft.deleted) == (TftOperation.DELETE_PACKET_FILTERS, b"\x00\x01")
    said_yes(core, tools, update)
    core.rule(tools.rule_removal("more audio"))
    said_yes(core, tools, core.next("Delete Bearer Request"))
    assert core.pgw.leftovers()["bearers"] == 1


def test_a_refused_sharing_leaves_the_rule_out(core: Any, tools: Any) -> None:
    core.pgw.import_context({"bearer_per_rule": False}, 0.0)
    core.attach()
    core.rule(tools.charging_rule("audio"))
    core.accept_bearer()
    core.rule(tools.charging_rule("more audio", port=52000))
    said_no(core, tools, core.next("Update Bearer Request"))
    core.rule(tools.rule_removal("audio"))
    core.next("Delete Bearer Request")


def test_a_rule_of_the_default_bearers_class_needs_no_other(core: Any, tools: Any) -> None:
    core.attach()
    core.rule(
        avp.CHARGING_RULE_INSTALL(
            avp.CHARGING_RULE_DEFINITION(
                avp.CHARGING_RULE_NAME("all"),
                avp.FLOW_INFORMATION(avp.FLOW_DESCRIPTION("permit out ip from any to assigned")),
            )
        )
    )
    core.rule(tools.rule_removal("all"))
    assert not core.out


@pytest.mark.parametrize(
    "description", ["permit out 17 from 10.0.0.1", "deny out ip from any to any", "permit out 17 from x to any"]
)
def test_a_rule_that_cannot_be_understood_gets_no_bearer(core: Any, description: str) -> None:
    core.attach()
    core.rule(
        avp.CHARGING_RULE_INSTALL(
            avp.CHARGING_RULE_DEFINITION(
                avp.CHARGING_RULE_NAME("odd"),
                avp.FLOW_INFORMATION(avp.FLOW_DIRECTION(1), avp.FLOW_DESCRIPTION(description)),
                avp.QOS_INFORMATION(avp.QOS_CLASS_IDENTIFIER(1)),
            )
        )
    )
    assert not core.out and core.pgw.leftovers()["bearers"] == 1


def test_a_rule_with_more_filters_than_a_bearer_holds_gets_none(core: Any) -> None:
    core.attach()
    ports = ",".join(map(str, range(1, 18)))
    flow = avp.FLOW_INFORMATION(avp.FLOW_DIRECTION(1), avp.FLOW_DESCRIPTION(f"permit out 17 from any {ports} to any"))
    core.rule(
        avp.CHARGING_RULE_INSTALL(
            avp.CHARGING_RULE_DEFINITION(
                avp.CHARGING_RULE_NAME("many"), flow, avp.QOS_INFORMATION(avp.QOS_CLASS_IDENTIFIER(1))
            )
        )
    )
    assert not core.out and core.pgw.leftovers()["bearers"] == 1


def test_bearers_are_bounded(core: Any, tools: Any) -> None:
    core.attach()
    for number in range(14):
        core.from_pcrf(core.rar(tools.charging_rule(f"r{number}", port=1000 + 2 * number)))
    assert sum(tools.name_of(send.message) == "Create Bearer Request" for send in core.out) == 10


def test_the_mmes_tunnel_reaches_the_pgw_through_the_sgw(call: Any, tools: Any) -> None:
    (bearer,) = [b for s in call.pgw.sessions.values() for b in s.bearers if b.ebi == 6]
    (ue,) = call.sgw.ues.values()
    at_sgw = ue.bearer(6)
    assert bearer.sgw == (tools.SGW, at_sgw.s5u_teid)
    assert at_sgw.pgw == (tools.PGW, bearer.teid)
    assert at_sgw.enb == (tools.ENB, 0x2006)
    assert isinstance(FTeid(0, at_sgw.s1u_teid, tools.SGW).encode(), bytes)


@pytest.mark.parametrize(
    ("flow", "direction", "components"),
    [
        (
            Flow(1, "permit out 17 from 10.0.0.1 5000 to 10.45.0.2 6000"),
            1,
            ["Protocol identifier=17", "IPv4 remote address=10.0.0.1/255.255.255.255",
             "IPv4 local address=10.45.0.2/255.255.255.255", "Single remote port=5000", "Single local port=6000"],
        ),
        (
            Flow(2, "permit out 17 from 10.0.0.1 5000 to 10.45.0.2 6000"),
            2,
            ["Protocol identifier=17", "IPv4 local address=10.45.0.2/255.255.255.255",
             "IPv4 remote address=10.0.0.1/255.255.255.255", "Single local port=6000", "Single remote port=5000"],
        ),
        (
            Flow(0, "permit in udp from 10.45.0.2 1-9 to 10.0.0.0/8"),
            2,
            ["Protocol identifier=17", "IPv4 local address=10.45.0.2/255.255.255.255",
             "IPv4 remote address=10.0.0.0/255.0.0.0", "Local port range=1-9"],
        ),
        (Flow(3, "permit out ip from 2001:db8::/32 to any"), 3, ["IPv6 remote prefix=2001:db8::/32"]),
    ],
)  # fmt: skip
def test_a_flow_becomes_a_filter(flow: Flow, direction: int, components: list[str]) -> None:
    (contents,) = filters_of(flow, local_address=True)
    assert contents.direction == direction
    assert [f"{part.name}={part.text}" for part in contents.components] == components


def test_the_ues_own_address_is_left_out_where_the_operator_says_so() -> None:
    (contents,) = filters_of(Flow(2, "permit out 17 from 10.0.0.1 5 to 10.45.0.2 6"), local_address=False)
    assert [part.name for part in contents.components] == [
        "Protocol identifier", "IPv4 remote address", "Single local port", "Single remote port",
    ]  # fmt: skip


def test_lists_of_ports_become_several_filters() -> None:
    made = filters_of(Flow(1, "permit out 6 from any 1,3-4 to 10.45.0.2 7"), local_address=True)
    assert [[part.text for part in one.components[2:]] for one in made] == [[1, 7], ["3-4", 7]]


@pytest.mark.parametrize(
    "description",
    ["", "permit out 17 from 1.2.3.4 70000 to any", "permit out x from any to any", "permit out 1 from any to"],
)
def test_what_is_no_flow_raises_a_decode_error(description: str) -> None:
    with pytest.raises(DecodeError):
        filters_of(Flow(1, description), local_address=True)
