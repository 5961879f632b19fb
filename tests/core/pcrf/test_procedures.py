from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest

from ferret.errors import ConfigError
from ferret.protocols import gtpv2
from ferret.protocols.diameter import Application, Avp, Command, Message, answer, avp, request, summarise
from ferret.protocols.diameter.constants import FlowStatus
from ferret.records.message import Interface, Role
from ferret_core.nf import Failed, Note, Output, Peer, PeerLost, Received, Send
from ferret_core.pcrf import Pcrf

PGW, PCSCF = Peer(Role.PGW, "127.0.0.4"), Peer(Role.PCSCF, "127.0.0.21")
UE = "10.46.0.2"


@pytest.fixture
def pcrf() -> Pcrf:
    return Pcrf(address="127.0.0.9", random=Random(1))


def gx(pcrf: Pcrf, message: Message, transaction: int = 7) -> Sequence[Output]:
    return pcrf.receive(Received(Interface.GX, PGW, message, transaction), 0.0)


def rx(pcrf: Pcrf, message: Message, transaction: int = 8) -> Sequence[Output]:
    return pcrf.receive(Received(Interface.RX, PCSCF, message, transaction), 0.0)


def ccr(kind: int, *avps: Avp, session_id: str = "pgw;1;1", ue: str = UE, apn: str = "ims") -> Message:
    return request(
        Command.CREDIT_CONTROL,
        Application.GX,
        avp.SESSION_ID(session_id),
        avp.ORIGIN_HOST("pgw.example"),
        avp.ORIGIN_REALM("example"),
        avp.CC_REQUEST_TYPE(kind),
        avp.CC_REQUEST_NUMBER(0),
        avp.SUBSCRIPTION_ID(avp.SUBSCRIPTION_ID_TYPE(1), avp.SUBSCRIPTION_ID_DATA("001010000000001")),
        avp.FRAMED_IP_ADDRESS(ue) if kind == 1 else None,
        avp.CALLED_STATION_ID(apn),
        avp.IP_CAN_TYPE(5),
        avp.RAT_TYPE(1004),
        *avps,
    )


def component(
    number: int = 1, *avps: Avp, kbits: int | None = 41, media_type: int = 0, status: int | None = 2, port: int = 5000
) -> Avp:
    return avp.MEDIA_COMPONENT_DESCRIPTION(
        avp.MEDIA_COMPONENT_NUMBER(number),
        avp.MEDIA_SUB_COMPONENT(
            avp.FLOW_NUMBER(1),
            avp.FLOW_DESCRIPTION(f"permit out 17 from 10.46.0.3 {port} to {UE} {port}"),
            avp.FLOW_DESCRIPTION(f"permit in 17 from {UE} {port} to 10.46.0.3 {port}"),
        ),
        avp.MEDIA_TYPE(media_type),
        None if kbits is None else avp.MAX_REQUESTED_BANDWIDTH_UL(kbits * 1000),
        None if kbits is None else avp.MAX_REQUESTED_BANDWIDTH_DL(kbits * 1000),
        None if status is None else avp.FLOW_STATUS(status),
        *avps,
    )


def aar(*avps: Avp, session_id: str = "af;1;1", framed: str | None = UE) -> Message:
    return request(
        Command.AA,
        Application.RX,
        avp.SESSION_ID(session_id),
        avp.ORIGIN_HOST("pcscf.example"),
        avp.ORIGIN_REALM("example"),
        None if framed is None else avp.FRAMED_IP_ADDRESS(framed),
        *avps,
    )


def str_(session_id: str = "af;1;1") -> Message:
    return request(Command.SESSION_TERMINATION, Application.RX, avp.SESSION_ID(session_id), avp.TERMINATION_CAUSE(1))


def sent(outputs: Sequence[Output]) -> list[tuple[str, Message]]:
    return [
        (summarise(one.message).name, one.message)
        for one in outputs
        if isinstance(one, Send) and isinstance(one.message, Message)
    ]


def names(outputs: Sequence[Output]) -> list[str]:
    return [name for name, _ in sent(outputs)]


def definitions(message: Message) -> list[Avp]:
    return [one for group in message.all(avp.CHARGING_RULE_INSTALL) for one in group.all(avp.CHARGING_RULE_DEFINITION)]


def rates(definition: Avp) -> tuple[int | None, ...]:
    quality = definition.find(avp.QOS_INFORMATION)
    assert quality is not None
    kinds = (
        avp.MAX_REQUESTED_BANDWIDTH_UL,
        avp.MAX_REQUESTED_BANDWIDTH_DL,
        avp.GUARANTEED_BITRATE_UL,
        avp.GUARANTEED_BITRATE_DL,
    )
    return tuple(quality.value_of(one) for one in kinds)


def tokens(outputs: Sequence[Output]) -> list[int]:
    return [one.token for one in outputs if isinstance(one, Send) and one.token]


def raa(outputs: Sequence[Output], *avps: Avp, result: int = 2001) -> tuple[Message, int]:
    """The PGW's answer to the RAR among `outputs`, and the RAR's token."""
    send = next(one for one in outputs if isinstance(one, Send) and one.interface is Interface.GX and one.token)
    assert isinstance(send.message, Message)
    return answer(send.message, avp.RESULT_CODE(result), *avps), send.token


def test_a_pdn_connection_is_granted_what_it_asks_for(pcrf: Pcrf) -> None:
    ambr = avp.QOS_INFORMATION(avp.APN_AGGREGATE_MAX_BITRATE_UL(5))
    (name, message), *rest = sent(gx(pcrf, ccr(1, ambr)))
    assert (name, rest) == ("CCA-Initial", [])
    assert message.value_of(avp.RESULT_CODE) == 2001
    assert message.find(avp.QOS_INFORMATION) == ambr
    assert message.value_of(avp.SESSION_ID) == "pgw;1;1"
    assert pcrf.leftovers()["gx_sessions"] == 1


def test_a_call_installs_a_rule_changes_it_and_removes_it(pcrf: Pcrf) -> None:
    gx(pcrf, ccr(1))
    first = rx(pcrf, aar(component()))
    assert names(first) == ["RAR", "AAA"]
    (definition,) = definitions(sent(first)[0][1])
    assert rates(definition) == (41000, 41000, 41000, 41000)
    flows = definition.all(avp.FLOW_INFORMATION)
    assert [one.value_of(avp.FLOW_DESCRIPTION) for one in flows] == [
        "permit out 17 from 10.46.0.3 5000 to 10.46.0.2 5000"
    ] * 2
    assert [one.value_of(avp.FLOW_DIRECTION) for one in flows] == [1, 2]
    aaa = sent(first)[1][1]
    assert (aaa.value_of(avp.IP_CAN_TYPE), aaa.value_of(avp.RAT_TYPE)) == (5, 1004)

    again = rx(pcrf, aar(component(kbits=16)))
    (changed,) = definitions(sent(again)[0][1])
    assert changed.value_of(avp.CHARGING_RULE_NAME) == definition.value_of(avp.CHARGING_RULE_NAME)
    assert not changed.all(avp.FLOW_INFORMATION)
    assert rates(changed)[0] == 16000

    moved = rx(pcrf, aar(component(port=6000)))
    assert len(definitions(sent(moved)[0][1])[0].all(avp.FLOW_INFORMATION)) == 2

    end = rx(pcrf, str_())
    assert names(end) == ["RAR", "STA"]
    (removal,) = sent(end)[0][1].all(avp.CHARGING_RULE_REMOVE)
    assert removal.value_of(avp.CHARGING_RULE_NAME) == definition.value_of(avp.CHARGING_RULE_NAME)
    for outputs in (first, again, moved, end):
        gx(pcrf, *raa(outputs))
    assert pcrf.leftovers() == {"gx_sessions": 1, "rx_sessions": 0, "rules": 0, "requests": 0}


def test_a_flow_status_of_the_af_reaches_the_pgw(pcrf: Pcrf) -> None:
    gx(pcrf, ccr(1))
    rx(pcrf, aar(component()))
    (held,) = definitions(sent(rx(pcrf, aar(component(status=FlowStatus.DISABLED))))[0][1])
    assert held.value_of(avp.FLOW_STATUS) == FlowStatus.DISABLED


def test_a_removed_media_component_takes_its_rule_with_it(pcrf: Pcrf) -> None:
    gx(pcrf, ccr(1))
    rx(pcrf, aar(component(1), component(2, media_type=1, kbits=500)))
    assert pcrf.leftovers()["rules"] == 2
    outputs = rx(pcrf, aar(component(2, media_type=1, status=FlowStatus.REMOVED)))
    assert len(sent(outputs)[0][1].all(avp.CHARGING_RULE_REMOVE)) == 1
    assert pcrf.leftovers()["rules"] == 1


def test_audio_and_video_get_their_own_rules_and_classes(pcrf: Pcrf) -> None:
    gx(pcrf, ccr(1))
    outputs = rx(pcrf, aar(component(1), component(2, media_type=1, kbits=500)))
    found = definitions(sent(outputs)[0][1])
    qualities = [one.find(avp.QOS_INFORMATION) for one in found]
    assert [one and one.value_of(avp.QOS_CLASS_IDENTIFIER) for one in qualities] == [1, 2]
    assert len({one.value_of(avp.CHARGING_RULE_NAME) for one in found}) == 2


def test_an_unknown_address_is_refused_with_5065_and_without_a_result_code(pcrf: Pcrf) -> None:
    gx(pcrf, ccr(1))
    ((name, message),) = sent(rx(pcrf, aar(component(), framed="10.46.9.9")))
    assert name == "AAA"
    assert message.find(avp.RESULT_CODE) is None
    experimental = message.find(avp.EXPERIMENTAL_RESULT)
    assert experimental is not None
    assert experimental.value_of(avp.EXPERIMENTAL_RESULT_CODE) == 5065
    assert experimental.value_of(avp.VENDOR_ID) == 10415
    assert pcrf.leftovers()["rx_sessions"] == 0


def test_an_af_session_is_bound_by_filters_or_subscriber_where_it_gives_no_address(pcrf: Pcrf) -> None:
    gx(pcrf, ccr(1))
    gx(pcrf, ccr(1, session_id="pgw;1;2", ue="10.45.0.2", apn="internet"))
    assert names(rx(pcrf, aar(component(), framed=None))) == ["RAR", "AAA"]
    by_subscriber = aar(
        avp.SUBSCRIPTION_ID(avp.SUBSCRIPTION_ID_TYPE(1), avp.SUBSCRIPTION_ID_DATA("001010000000001")),
        session_id="af;1;2",
        framed=None,
    )
    ((_, refused),) = sent(rx(pcrf, by_subscriber))
    assert refused.find(avp.RESULT_CODE) is None  # two PDN connections: which of them is not known
    gx(pcrf, ccr(3, session_id="pgw;1;2"))
    ((_, accepted),) = sent(rx(pcrf, by_subscriber))
    assert accepted.value_of(avp.RESULT_CODE) == 2001


def test_a_ue_within_its_ipv6_prefix_is_found(pcrf: Pcrf) -> None:
    message = ccr(1, avp.FRAMED_IPV6_PREFIX("2001:db8:1:2::1/128")).without(avp.FRAMED_IP_ADDRESS)
    gx(pcrf, message)
    asked = aar(component(), avp.FRAMED_IPV6_PREFIX("2001:db8:1:2:a::77/128"), framed=None)
    assert names(rx(pcrf, asked)) == ["RAR", "AAA"]


def test_the_end_of_a_pdn_connection_aborts_its_af_sessions(pcrf: Pcrf) -> None:
    gx(pcrf, ccr(1))
    rx(pcrf, aar(component()))
    outputs = gx(pcrf, ccr(3))
    assert names(outputs) == ["ASR", "CCA-Termination"]
    abort = sent(outputs)[0][1]
    assert abort.value_of(avp.DESTINATION_HOST) == "pcscf.example"
    rx(pcrf, answer(abort, avp.RESULT_CODE(2001)), tokens(outputs)[0])
    assert names(rx(pcrf, str_())) == ["STA"]
    assert pcrf.leftovers()["rx_sessions"] == 0


def test_an_af_that_does_not_answer_an_abort_or_knows_no_session_is_forgotten(pcrf: Pcrf) -> None:
    for unknown in (True, False):
        gx(pcrf, ccr(1))
        rx(pcrf, aar(component()))
        outputs = gx(pcrf, ccr(3))
        if unknown:
            rx(pcrf, answer(sent(outputs)[0][1], avp.RESULT_CODE(5002)), tokens(outputs)[0])
        else:
            notes = pcrf.receive(Failed(Interface.RX, PCSCF, tokens(outputs)[0], "no answer"), 1.0)
            assert [one.event for one in notes if isinstance(one, Note)] == ["rx_request_failed"]
        assert pcrf.leftovers()["rx_sessions"] == 0


def test_the_af_waits_for_the_pgw_where_that_is_configured(pcrf: Pcrf) -> None:
    pcrf.import_context({"wait_for_raa": True}, 0.0)
    gx(pcrf, ccr(1))
    outputs = rx(pcrf, aar(component()), 99)
    assert names(outputs) == ["RAR"]
    told = gx(pcrf, *raa(outputs))
    assert names(told) == ["AAA"]
    assert isinstance(told[0], Send) and told[0].reply_to == 99
    outputs = rx(pcrf, aar(component(kbits=16)), 100)
    told = pcrf.receive(Failed(Interface.GX, PGW, tokens(outputs)[0], "no answer"), 9.0)
    assert names(told) == ["AAA"]


def test_a_pgw_that_has_lost_the_session_ends_it(pcrf: Pcrf) -> None:
    gx(pcrf, ccr(1))
    outputs = rx(pcrf, aar(component()))
    assert names(gx(pcrf, *raa(outputs, result=5002))) == ["ASR"]
    assert pcrf.leftovers()["gx_sessions"] == 0


def _lost(name: str) -> Avp:
    return avp.CHARGING_RULE_REPORT(avp.CHARGING_RULE_NAME(name), avp.PCC_RULE_STATUS(1))


@pytest.mark.parametrize("at", ["RAA", "CCR-Update"])
def test_a_lost_bearer_is_told_to_an_af_that_wants_to_know(pcrf: Pcrf, at: str) -> None:
    gx(pcrf, ccr(1))
    outputs = rx(pcrf, aar(component(), avp.SPECIFIC_ACTION(2), avp.SPECIFIC_ACTION(9)))
    name = definitions(sent(outputs)[0][1])[0].value_of(avp.CHARGING_RULE_NAME) or ""
    told = gx(pcrf, *raa(outputs, _lost(name))) if at == "RAA" else gx(pcrf, ccr(2, _lost(name)))
    notification = sent(told)[-1][1]
    assert summarise(notification).name == "RAR" and notification.application == Application.RX
    assert notification.value_of(avp.SPECIFIC_ACTION) == (9 if at == "RAA" else 2)
    flows = notification.find(avp.FLOWS)
    assert flows is not None and flows.value_of(avp.MEDIA_COMPONENT_NUMBER) == 1
    assert pcrf.leftovers()["rules"] == 0
    assert names(rx(pcrf, str_())) == ["STA"]


def test_what_is_not_known_is_refused_by_result_code(pcrf: Pcrf) -> None:
    cases = [
        (gx(pcrf, ccr(2)), 5002),
        (gx(pcrf, ccr(3)), 5002),
        (gx(pcrf, ccr(4)), 5004),
        (gx(pcrf, ccr(1).without(avp.ORIGIN_HOST)), 5005),
        (gx(pcrf, request(999, Application.GX)), 3001),
        (rx(pcrf, str_("nobody;1")), 5002),
        (rx(pcrf, aar().without(avp.SESSION_ID)), 5005),
        (gx(pcrf, ccr(1, Avp(8, value=b"\x01"))), 5004),
    ]
    for outputs, result in cases:
        assert sent(outputs)[-1][1].value_of(avp.RESULT_CODE) == result
    assert not any(pcrf.leftovers().values())


def test_filters_that_are_none_are_refused_and_change_nothing(pcrf: Pcrf) -> None:
    gx(pcrf, ccr(1))
    broken = avp.MEDIA_COMPONENT_DESCRIPTION(
        avp.MEDIA_COMPONENT_NUMBER(1), avp.MEDIA_SUB_COMPONENT(avp.FLOW_NUMBER(1), avp.FLOW_DESCRIPTION("let me in"))
    )
    ((_, message),) = sent(rx(pcrf, aar(broken)))
    experimental = message.find(avp.EXPERIMENTAL_RESULT)
    assert experimental is not None and experimental.value_of(avp.EXPERIMENTAL_RESULT_CODE) == 5062
    assert pcrf.leftovers()["rx_sessions"] == 0


def test_an_aar_without_media_is_accepted_and_installs_nothing(pcrf: Pcrf) -> None:
    gx(pcrf, ccr(1))
    assert names(rx(pcrf, aar(avp.SPECIFIC_ACTION(2)))) == ["AAA"]


def test_a_repeated_ccr_changes_nothing(pcrf: Pcrf) -> None:
    gx(pcrf, ccr(1))
    rx(pcrf, aar(component()))
    assert names(gx(pcrf, ccr(1))) == ["CCA-Initial"]
    assert pcrf.leftovers()["rules"] == 1


def test_an_address_that_is_given_anew_ends_the_session_that_had_it(pcrf: Pcrf) -> None:
    """The CCR-Termination of a PGW may get lost; what AFs had there is aborted."""
    gx(pcrf, ccr(1))
    rx(pcrf, aar(component()))
    assert names(gx(pcrf, ccr(1, session_id="pgw;1;2"))) == ["ASR", "CCA-Initial"]
    assert pcrf.leftovers()["gx_sessions"] == 1
    gx(pcrf, ccr(1, session_id="pgw;1;3", apn="internet"))  # another network may have the same addresses
    assert pcrf.leftovers()["gx_sessions"] == 2


def test_a_larger_origin_state_id_ends_the_sessions_of_before(pcrf: Pcrf) -> None:
    gx(pcrf, ccr(1, avp.ORIGIN_STATE_ID(5)))
    rx(pcrf, aar(component()))
    assert names(gx(pcrf, ccr(1, avp.ORIGIN_STATE_ID(5), session_id="pgw;1;2", ue="10.46.0.9"))) == ["CCA-Initial"]
    assert names(gx(pcrf, ccr(1, avp.ORIGIN_STATE_ID(4), session_id="pgw;1;3", ue="10.46.0.8"))) == ["CCA-Initial"]
    assert pcrf.leftovers()["gx_sessions"] == 3
    assert names(gx(pcrf, ccr(1, avp.ORIGIN_STATE_ID(6), session_id="pgw;2;1", ue="10.46.0.7"))) == [
        "ASR",
        "CCA-Initial",
    ]
    assert pcrf.leftovers()["gx_sessions"] == 1


def test_media_that_policy_refuses_is_refused_as_a_whole(pcrf: Pcrf) -> None:
    pcrf.import_context({"policy": [{"media_type": 1, "refuse": True}]}, 0.0)
    gx(pcrf, ccr(1))
    ((_, message),) = sent(rx(pcrf, aar(component(1), component(2, media_type=1))))
    experimental = message.find(avp.EXPERIMENTAL_RESULT)
    assert experimental is not None and experimental.value_of(avp.EXPERIMENTAL_RESULT_CODE) == 5063
    assert pcrf.leftovers()["rules"] == 0
    assert names(rx(pcrf, aar(component(1)))) == ["RAR", "AAA"]


def test_a_rule_takes_the_name_that_its_filter_had_whatever_the_order(pcrf: Pcrf) -> None:
    filters = [f"permit out 17 from 10.46.0.3 {port} to {UE} {port}" for port in (5000, 6000)]
    pcrf.import_context({"policy": [{"rule_names": ["first", "second"], "rule_filters": filters}]}, 0.0)
    gx(pcrf, ccr(1))
    outputs = rx(pcrf, aar(component(port=6000)))
    assert definitions(sent(outputs)[0][1])[0].value_of(avp.CHARGING_RULE_NAME) == "second"


def test_messages_of_other_protocols_and_lost_peers_are_noted(pcrf: Pcrf) -> None:
    event = Received(Interface.S11, Peer(Role.MME), gtpv2.decode(bytes.fromhex("4001000900000100030001000a")), 1)
    assert [type(one) for one in pcrf.receive(event, 0.0)] == [Note]
    assert [type(one) for one in pcrf.receive(PeerLost(Interface.GX, PGW, "gone"), 0.0)] == [Note]
    assert not pcrf.receive(Failed(Interface.GX, PGW, 12345, "late"), 0.0)


@pytest.mark.parametrize(
    "context",
    [
        {"results": []},
        {"policy": [{"qci": "one"}]},
        {"policy": [{"colour": 1}]},
        {"policy": [{"bandwidth": "much"}]},
        {"policy": [{"arp": {"priority": 1}}]},
        {"policy": [{"answers": {"AAA": {"echo": ["No-Such-AVP"]}}}]},
        {"policy": [{"answers": {"AAA": {"fixed": ["zz"]}}}]},
        {"policy": [{"rates": [{"mbr": 1}]}]},
        {"gx_sessions": [{"session_id": "x"}]},
        {"identity": {}},
    ],
)
def test_context_that_makes_no_sense_is_refused(pcrf: Pcrf, context: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        pcrf.import_context(context, 0.0)


def test_policy_decides_what_the_specification_leaves_open(pcrf: Pcrf) -> None:
    entries = [
        {"media_type": 1, "authorise": False},
        {"apn": "internet", "qci": 9},
        {
            "imsi": "001010000000001",
            "media_component": 1,
            "rule_names": ["voice-a"],
            "qci": 2,
            "precedence": 30,
            "flow_status": 2,
            "arp": {"priority_level": 5, "pre_emption_capability": 0, "pre_emption_vulnerability": 0},
            "rates": [None, {"mbr_ul": 1, "mbr_dl": 2, "gbr_ul": 3, "gbr_dl": 4}],
        },
    ]
    pcrf.import_context({"policy": entries}, 0.0)
    gx(pcrf, ccr(1))
    first = rx(pcrf, aar(component(1, status=3), component(2, media_type=1)))
    (definition,) = definitions(sent(first)[0][1])
    assert definition.value_of(avp.CHARGING_RULE_NAME) == "voice-a"
    assert definition.value_of(avp.PRECEDENCE) == 30
    assert definition.value_of(avp.FLOW_STATUS) == 2
    assert rates(definition)[0] == 41000
    again = rx(pcrf, aar(component(1)))
    assert rates(definitions(sent(again)[0][1])[0]) == (1, 2, 3, 4)
    second_call = rx(pcrf, aar(component(1), session_id="af;1;2"))
    assert definitions(sent(second_call)[0][1])[0].value_of(avp.CHARGING_RULE_NAME) == "ims-1-2"


def test_a_rule_without_requested_bandwidth_has_the_operators_or_a_small_one(pcrf: Pcrf) -> None:
    gx(pcrf, ccr(1))
    outputs = rx(pcrf, aar(component(kbits=None)))
    assert rates(definitions(sent(outputs)[0][1])[0]) == (64000,) * 4
    pcrf.import_context({"policy": [{"default_rates": {"mbr_ul": 9, "mbr_dl": 8}}]}, 0.0)
    outputs = rx(pcrf, aar(component(kbits=None), session_id="af;1;2"))
    assert rates(definitions(sent(outputs)[0][1])[0]) == (9, 8, None, None)


def test_ccrs_are_answered_the_same_again(pcrf: Pcrf) -> None:
    one, other = sent(gx(pcrf, ccr(1))), sent(gx(pcrf, ccr(1)))
    assert one == other
