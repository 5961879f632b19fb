"""The SGW between MME and PGW: idle mode, paging, and answers that do not fit."""

from __future__ import annotations

from typing import Any

import pytest

from ferret.protocols import gtpv2
from ferret.protocols.gtpv2 import (
    Arp,
    BearerQos,
    Cause,
    CauseIe,
    DelayValue,
    Ebi,
    FTeid,
    InterfaceType,
    MessageType,
    RatTypeIe,
    UeTimeZone,
    bearer_context,
)
from ferret.records.message import Interface, Role
from ferret_core.nf import Peer, Received


def cause(message: Any) -> int:
    return gtpv2.cause_of(message)


def release(bench: Any, teid: int) -> None:
    bench.s11(gtpv2.request(MessageType.RELEASE_ACCESS_BEARERS_REQUEST, teid))
    assert cause(bench.next("Release Access Bearers Response")[1]) == Cause.REQUEST_ACCEPTED


def create_bearer(bench: Any, s5_teid: int) -> Any:
    context = bearer_context(FTeid(InterfaceType.S5_S8_PGW_GTP_U, 0x777, bench.PGW).ie(1), BearerQos(1, 1), ebi=0)
    bench.s5(gtpv2.request(MessageType.CREATE_BEARER_REQUEST, s5_teid, Ebi(5), context))
    return bench.next("Create Bearer Request")


def test_user_packets_have_a_way_in_both_directions(bench: Any) -> None:
    teid, _ = bench.attach()
    bearer = bench.sgw.ues[teid].bearer(5)
    paths = bench.sgw.user_plane.paths
    assert paths[bearer.s1u_teid].next_hop == (bench.PGW, 0x505)
    assert paths[bearer.s5u_teid].next_hop is None
    bench.connect(teid, 5)
    assert paths[bearer.s5u_teid].next_hop == (bench.ENB, 0x605)
    bench.next("Modify Bearer Response")
    release(bench, teid)
    assert paths[bearer.s5u_teid].next_hop is None and paths[bearer.s1u_teid].next_hop == (bench.PGW, 0x505)


def test_modify_bearer_goes_no_further_and_repeats_the_enbs_tunnel(bench: Any) -> None:
    teid, _ = bench.attach()
    bench.connect(teid, 5)
    _, response = bench.next("Modify Bearer Response")
    assert cause(response) == Cause.REQUEST_ACCEPTED and not bench.sent
    assert response.bearer_contexts[0].view(FTeid) == FTeid(InterfaceType.S1_U_ENB_GTP_U, 0x605, bench.ENB)


def test_modify_bearer_gives_the_sgws_own_tunnel_where_so_configured(bench: Any) -> None:
    bench.sgw.import_context({"echo_enb_f_teid": False}, 0.0)
    teid, _ = bench.attach()
    bench.connect(teid, 5)
    tunnel = bench.next("Modify Bearer Response")[1].bearer_contexts[0].view(FTeid)
    assert (tunnel.interface_type, tunnel.address) == (InterfaceType.S1_U_SGW_GTP_U, "192.0.2.33")


def test_one_unknown_bearer_is_partial_acceptance_and_all_unknown_a_refusal(bench: Any) -> None:
    teid, _ = bench.attach()
    bench.connect(teid, 5, 9)
    _, response = bench.next("Modify Bearer Response")
    assert cause(response) == Cause.REQUEST_ACCEPTED_PARTIALLY
    assert [cause(context) for context in response.bearer_contexts] == [16, 64]
    bench.connect(teid, 9)
    assert cause(bench.next("Modify Bearer Response")[1]) == Cause.CONTEXT_NOT_FOUND


def test_a_bearer_without_room_at_the_enb_leads_nowhere(bench: Any) -> None:
    teid, _ = bench.attach()
    bench.connect(teid, 5)
    bench.next("Modify Bearer Response")
    bench.connect(teid, more=(bearer_context(ebi=5, instance=1),))
    _, response = bench.next("Modify Bearer Response")
    (removed,) = response.all(gtpv2.IeType.BEARER_CONTEXT, 1)
    assert (gtpv2.ebi_of(removed), cause(removed)) == (5, Cause.REQUEST_ACCEPTED)
    assert bench.sgw.ues[teid].bearer(5).enb is None


def test_a_change_of_rat_is_told_to_every_pgw_before_the_mme_is_answered(bench: Any) -> None:
    teid, _ = bench.attach()
    bench.attach(6, teid)
    bench.connect(teid, 5, 6, more=(RatTypeIe(1), UeTimeZone(8)))
    asked = [bench.next("Modify Bearer Request"), bench.next("Modify Bearer Request")]
    assert [message.teid for _, message in asked] == [0x405, 0x406]
    assert all(not message.bearer_contexts and message.view(RatTypeIe) == RatTypeIe(1) for _, message in asked)
    bench.s5(gtpv2.answer(asked[0][1], 0, CauseIe(Cause.REQUEST_ACCEPTED)), asked[0][0])
    assert not bench.sent
    bench.silence(asked[1][0])
    assert cause(bench.next("Modify Bearer Response")[1]) == Cause.REQUEST_ACCEPTED


def test_an_mme_that_moves_gets_the_next_answers(bench: Any) -> None:
    teid, _ = bench.attach()
    bench.connect(teid, 5, more=(FTeid(InterfaceType.S11_MME_GTP_C, 0x111, "192.0.2.99"),))
    assert bench.next("Modify Bearer Response")[1].teid == 0x111
    assert bench.sgw.ues[teid].mme == ("192.0.2.99", 0x111)


def test_a_packet_for_an_idle_ue_is_announced_once(bench: Any) -> None:
    teid, _ = bench.attach()
    bearer = bench.sgw.ues[teid].bearer(5)
    (send,) = bench.sgw.downlink_arrived(bearer.s5u_teid, 0.0)
    assert send.message.name == "Downlink Data Notification"
    assert send.message.view(Ebi) == Ebi(5) and send.message.view(Arp) == Arp(8)
    assert list(bench.sgw.downlink_arrived(bearer.s5u_teid, 0.1)) == []
    bench.s11(gtpv2.answer(send.message, teid, CauseIe(Cause.REQUEST_ACCEPTED), DelayValue(0)), send)
    assert list(bench.sgw.downlink_arrived(bearer.s5u_teid, 0.2)) == []  # paging goes on
    bench.connect(teid, 5)
    assert list(bench.sgw.downlink_arrived(bearer.s5u_teid, 0.3)) == []  # it has somewhere to go


def test_a_packet_may_be_told_by_subscriber_and_bearer(bench: Any) -> None:
    bench.attach()
    assert bench.sgw.downlink_for("001010000000001", 9, 0.0) == bench.sgw.downlink_for("1", 5, 0.0) == ()
    (send,) = bench.sgw.downlink_for("001010000000001", 5, 0.0)
    assert send.message.name == "Downlink Data Notification"


@pytest.mark.parametrize("how", ["refused", "silence", "failure indication"])
def test_a_failed_page_lets_the_next_packet_ask_again(bench: Any, how: str) -> None:
    teid, _ = bench.attach()
    tunnel = bench.sgw.ues[teid].bearer(5).s5u_teid
    (send,) = bench.sgw.downlink_arrived(tunnel, 0.0)
    if how == "refused":
        bench.s11(gtpv2.answer(send.message, teid, CauseIe(Cause.UNABLE_TO_PAGE_UE)), send)
    elif how == "silence":
        bench.silence(send)
    else:
        bench.s11(gtpv2.answer(send.message, teid, CauseIe(Cause.REQUEST_ACCEPTED)), send)
        kind = MessageType.DOWNLINK_DATA_NOTIFICATION_FAILURE_INDICATION
        bench.s11(gtpv2.request(kind, teid, CauseIe(Cause.UE_NOT_RESPONDING)))
    assert len(bench.sgw.downlink_arrived(tunnel, 1.0)) == 1
    assert list(bench.sgw.downlink_arrived(12345, 1.0)) == []


def test_a_dedicated_bearer_is_translated_in_both_directions(bench: Any) -> None:
    teid, s5_teid = bench.attach()
    send, request = create_bearer(bench, s5_teid)
    ours = request.bearer_contexts[0].view(FTeid, 0)
    assert ours.interface_type == InterfaceType.S1_U_SGW_GTP_U and request.teid == 0x100
    assert request.bearer_contexts[0].view(FTeid, 1).teid == 0x777
    context = bearer_context(
        FTeid(InterfaceType.S1_U_ENB_GTP_U, 0x601, bench.ENB).ie(0), ours.ie(1), CauseIe(16), ebi=7
    )
    bench.s11(gtpv2.answer(request, teid, CauseIe(16), context, UeTimeZone(0)), send)
    _, response = bench.next("Create Bearer Response")
    (context,) = response.bearer_contexts
    assert response.teid == 0x405 and response.view(UeTimeZone) == UeTimeZone(0)
    assert context.view(FTeid, 2).interface_type == InterfaceType.S5_S8_SGW_GTP_U
    assert context.view(FTeid, 3) == FTeid(InterfaceType.S5_S8_PGW_GTP_U, 0x777, bench.PGW)


def test_a_bearer_without_the_enbs_tunnel_is_conditional_ie_missing(bench: Any) -> None:
    teid, s5_teid = bench.attach()
    send, request = create_bearer(bench, s5_teid)
    bench.s11(gtpv2.answer(request, teid, CauseIe(16), bearer_context(CauseIe(16), ebi=7)), send)
    assert cause(bench.next("Create Bearer Response")[1]) == Cause.CONDITIONAL_IE_MISSING
    assert bench.sgw.leftovers()["bearers"] == 1


def test_silence_of_the_mme_is_told_to_the_pgw(bench: Any) -> None:
    _, s5_teid = bench.attach()
    bench.silence(create_bearer(bench, s5_teid)[0])
    assert cause(bench.next("Create Bearer Response")[1]) == Cause.REMOTE_PEER_NOT_RESPONDING
    bench.s5(gtpv2.request(MessageType.UPDATE_BEARER_REQUEST, s5_teid, bearer_context(BearerQos(9, 7), ebi=5)))
    bench.silence(bench.next("Update Bearer Request")[0])
    assert cause(bench.next("Update Bearer Response")[1]) == Cause.REMOTE_PEER_NOT_RESPONDING
    bench.s5(gtpv2.request(MessageType.DELETE_BEARER_REQUEST, s5_teid, Ebi(5).ie(0)))
    bench.silence(bench.next("Delete Bearer Request")[0])
    assert cause(bench.next("Delete Bearer Response")[1]) == Cause.REMOTE_PEER_NOT_RESPONDING
    assert not any(bench.sgw.leftovers().values())


def test_context_not_found_becomes_mandatory_ie_missing_for_an_update_but_not_for_a_delete(bench: Any) -> None:
    """An Update Bearer Response without Bearer Contexts lacks a mandatory IE; in a Delete Bearer Response it may."""
    teid, s5_teid = bench.attach()
    bench.s5(gtpv2.request(MessageType.UPDATE_BEARER_REQUEST, s5_teid, bearer_context(BearerQos(9, 7), ebi=5)))
    send, request = bench.next("Update Bearer Request")
    bench.s11(gtpv2.refusal(request, teid, Cause.CONTEXT_NOT_FOUND), send)
    assert cause(bench.next("Update Bearer Response")[1]) == Cause.MANDATORY_IE_MISSING
    bench.s5(gtpv2.request(MessageType.DELETE_BEARER_REQUEST, s5_teid, Ebi(5).ie(1)))
    send, request = bench.next("Delete Bearer Request")
    bench.s11(gtpv2.refusal(request, teid, Cause.CONTEXT_NOT_FOUND), send)
    assert cause(bench.next("Delete Bearer Response")[1]) == Cause.CONTEXT_NOT_FOUND


def test_an_accepted_update_changes_what_a_page_asks_for(bench: Any) -> None:
    teid, s5_teid = bench.attach()
    bench.s5(gtpv2.request(MessageType.UPDATE_BEARER_REQUEST, s5_teid, bearer_context(BearerQos(9, 3), ebi=5)))
    send, request = bench.next("Update Bearer Request")
    bench.s11(gtpv2.answer(request, teid, CauseIe(16), bearer_context(CauseIe(16), ebi=5)), send)
    (notification,) = bench.sgw.downlink_arrived(bench.sgw.ues[teid].bearer(5).s5u_teid, 0.0)
    assert notification.message.view(Arp) == Arp(3)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (gtpv2.request(MessageType.CREATE_BEARER_REQUEST, 1), Cause.CONTEXT_NOT_FOUND),
        (gtpv2.request(MessageType.UPDATE_BEARER_REQUEST, 1), Cause.CONTEXT_NOT_FOUND),
        (gtpv2.request(MessageType.DELETE_BEARER_REQUEST, 1), Cause.CONTEXT_NOT_FOUND),
        (gtpv2.request(MessageType.UPDATE_PDN_CONNECTION_SET_REQUEST, 1), Cause.SERVICE_NOT_SUPPORTED),
    ],
)
def test_requests_of_the_pgw_that_cannot_be_executed_are_refused(bench: Any, message: Any, expected: Cause) -> None:
    bench.s5(message)
    send = bench.sent.pop()
    assert (cause(send.message), send.message.teid, send.message.type) == (expected, 0, gtpv2.ANSWERED_BY[message.type])


@pytest.mark.parametrize(
    ("kind", "parts", "expected"),
    [
        (MessageType.CREATE_BEARER_REQUEST, (), Cause.MANDATORY_IE_MISSING),
        (MessageType.CREATE_BEARER_REQUEST, (Ebi(5), bearer_context(ebi=0)), Cause.MANDATORY_IE_MISSING),
        (MessageType.UPDATE_BEARER_REQUEST, (), Cause.MANDATORY_IE_MISSING),
        (MessageType.UPDATE_BEARER_REQUEST, (bearer_context(ebi=9),), Cause.CONTEXT_NOT_FOUND),
        (MessageType.DELETE_BEARER_REQUEST, (), Cause.CONDITIONAL_IE_MISSING),
        (MessageType.DELETE_BEARER_REQUEST, (Ebi(9).ie(1),), Cause.CONTEXT_NOT_FOUND),
    ],
)
def test_requests_of_the_pgw_that_lack_something_are_refused(
    bench: Any, kind: MessageType, parts: tuple[Any, ...], expected: Cause
) -> None:
    _, s5_teid = bench.attach()
    bench.s5(gtpv2.request(kind, s5_teid, *parts))
    send = bench.sent.pop()
    assert (cause(send.message), send.message.teid) == (expected, 0x405)


def test_a_command_is_refused_with_its_bearer_and_transaction(bench: Any) -> None:
    teid, _ = bench.attach()
    bench.s11(gtpv2.request(MessageType.BEARER_RESOURCE_COMMAND, teid, Ebi(5), gtpv2.Pti(9)))
    _, indication = bench.next("Bearer Resource Failure Indication")
    assert cause(indication) == Cause.SERVICE_NOT_SUPPORTED and indication.teid == 0x100
    assert indication.view(Ebi) == Ebi(5) and indication.view(gtpv2.Pti) == gtpv2.Pti(9)


def test_release_and_delete_of_an_unknown_ue_are_refused(bench: Any) -> None:
    bench.s11(gtpv2.request(MessageType.RELEASE_ACCESS_BEARERS_REQUEST, 1))
    assert cause(bench.next("Release Access Bearers Response")[1]) == Cause.CONTEXT_NOT_FOUND
    bench.connect(1, 5)
    assert cause(bench.next("Modify Bearer Response")[1]) == Cause.CONTEXT_NOT_FOUND


def test_scope_indication_keeps_a_delete_session_at_the_sgw(bench: Any) -> None:
    teid, _ = bench.attach()
    both = gtpv2.Indication.of(gtpv2.IndicationFlag.OI, gtpv2.IndicationFlag.SI)
    bench.s11(gtpv2.request(MessageType.DELETE_SESSION_REQUEST, teid, Ebi(5), both))
    assert cause(bench.next("Delete Session Response")[1]) == Cause.INVALID_MESSAGE_FORMAT
    scope = gtpv2.Indication.of(gtpv2.IndicationFlag.SI)
    bench.s11(gtpv2.request(MessageType.DELETE_SESSION_REQUEST, teid, Ebi(5), scope))
    assert cause(bench.next("Delete Session Response")[1]) == Cause.REQUEST_ACCEPTED
    assert not any(bench.sgw.leftovers().values())


def test_mme_and_pgw_may_delete_at_the_same_time(bench: Any) -> None:
    teid, s5_teid = bench.attach()
    bench.s5(gtpv2.request(MessageType.DELETE_BEARER_REQUEST, s5_teid, Ebi(5)))
    from_pgw, to_mme = bench.next("Delete Bearer Request")
    bench.s11(gtpv2.request(MessageType.DELETE_SESSION_REQUEST, teid, Ebi(5)))
    from_mme, to_pgw = bench.next("Delete Session Request")
    bench.s5(gtpv2.answer(to_pgw, s5_teid, CauseIe(16)), from_mme)
    bench.next("Delete Session Response")
    bench.s11(gtpv2.answer(to_mme, teid, CauseIe(16), Ebi(5)), from_pgw)
    bench.next("Delete Bearer Response")
    assert not any(bench.sgw.leftovers().values())


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((), Cause.MANDATORY_IE_MISSING),
        ((CauseIe(Cause.NO_RESOURCES_AVAILABLE),), Cause.NO_RESOURCES_AVAILABLE),
        ((CauseIe(16),), Cause.CONDITIONAL_IE_MISSING),
        ((CauseIe(16), FTeid(7, 9, "192.0.2.4").ie(1)), Cause.MANDATORY_IE_MISSING),
        ((CauseIe(16), FTeid(7, 9, "192.0.2.4").ie(1), bearer_context(ebi=5)), Cause.CONDITIONAL_IE_MISSING),
    ],
)
def test_a_pgws_answer_that_cannot_be_used_is_a_refusal(bench: Any, parts: tuple[Any, ...], expected: Cause) -> None:
    request = gtpv2.request(
        MessageType.CREATE_SESSION_REQUEST,
        0,
        gtpv2.Imsi("001010000000001"),
        FTeid(InterfaceType.S11_MME_GTP_C, 0x100, bench.MME).ie(0),
        FTeid(InterfaceType.S5_S8_PGW_GTP_C, 0, bench.PGW).ie(1),
        gtpv2.Apn("internet"),
        bearer_context(BearerQos(9, 8), ebi=5),
    )
    bench.s11(request)
    send, asked = bench.next("Create Session Request")
    bench.s5(gtpv2.answer(asked, 0, *parts), send)
    _, response = bench.next("Create Session Response")
    assert (cause(response), response.teid) == (expected, 0x100)
    assert not any(bench.sgw.leftovers().values())


def test_an_answer_to_nothing_and_a_message_from_elsewhere_change_nothing(bench: Any) -> None:
    bench.s5(gtpv2.Message(MessageType.CREATE_SESSION_RESPONSE, 1, 1))
    bench.give(Received(Interface.S11, Peer(Role.MME), gtpv2.Message(MessageType.STOP_PAGING_INDICATION, 1, 1)))
    assert bench.notes == ["answer_to_nothing", "message_not_supported"] and not bench.sent
