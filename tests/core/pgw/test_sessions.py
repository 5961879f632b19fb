"""PDN connections from Create Session to Delete Session, and every way in which they fail."""

from __future__ import annotations

from typing import Any

import pytest

from ferret.errors import ConfigError
from ferret.protocols import diameter, gtpv2
from ferret.protocols.diameter import Application, Command, avp
from ferret.protocols.gtpv2 import Cause, Ipcp, Paa, Pco, PcoContainer, PcoId, PcoIe, UeTimeZone
from ferret.records.message import Interface, Role
from ferret_core.nf import Failed, Peer, PeerLost


def cause(send: Any) -> int:
    return gtpv2.cause_of(send.message)


def empty(core: Any) -> bool:
    return not any(core.sgw.leftovers().values()) and not any(core.pgw.leftovers().values())


def test_a_pdn_connection_is_made_and_given_up(core: Any, tools: Any) -> None:
    response = core.attach()
    assert cause(response) == Cause.REQUEST_ACCEPTED
    assert response.message.teid == 0x184
    assert core.sgw.leftovers() == {
        "ue_contexts": 1, "pdn_connections": 1, "bearers": 1, "tunnels": 2, "transactions": 0,
    }  # fmt: skip
    core.from_mme(tools.delete_session(tools.s11_teid(core)))
    ccr = core.pcrf_says()
    assert ccr.message.value_of(avp.CC_REQUEST_TYPE) == 3 and ccr.message.value_of(avp.CC_REQUEST_NUMBER) == 1
    assert ccr.message.value_of(avp.DESTINATION_HOST) == "pcrf.example"
    assert cause(core.next("Delete Session Response")) == Cause.REQUEST_ACCEPTED
    assert empty(core)


def test_an_address_that_is_asked_for_is_given(core: Any, tools: Any) -> None:
    core.from_mme(tools.create_session(paa=Paa(1, "10.45.7.7")))
    core.pcrf_says()
    assert core.next("Create Session Response").message.view(Paa) == Paa(1, "10.45.7.7")


def test_an_address_that_is_reserved_is_given_to_its_subscriber_alone(core: Any, tools: Any) -> None:
    core.pgw.import_context({"paa": {tools.IMSI: {"internet": "10.45.0.2"}}}, 0.0)
    core.from_mme(tools.create_session(imsi=gtpv2.Imsi("001019999999999")))
    core.pcrf_says()
    assert core.next("Create Session Response").message.view(Paa) == Paa(1, "10.45.0.3")
    assert core.attach().message.view(Paa) == Paa(1, "10.45.0.2")


@pytest.mark.parametrize(
    ("pools", "asked", "flags", "given", "expected"),
    [
        (["10.0.0.0/24"], 3, False, (1, "10.0.0.2", ""), Cause.NEW_PDN_TYPE_DUE_TO_NETWORK_PREFERENCE),
        (["2001:db8::/32"], 3, True, (2, "", "2001:db8:0:2::1"), Cause.NEW_PDN_TYPE_DUE_TO_NETWORK_PREFERENCE),
        (["10.0.0.0/24", "2001:db8::/32"], 3, True, (3, "10.0.0.2", "2001:db8:0:2::1"), Cause.REQUEST_ACCEPTED),
        (
            ["10.0.0.0/24", "2001:db8::/32"],
            3,
            False,
            (1, "10.0.0.2", ""),
            Cause.NEW_PDN_TYPE_DUE_TO_SINGLE_ADDRESS_BEARER_ONLY,
        ),
        (["10.0.0.0/24"], 2, False, None, Cause.PREFERRED_PDN_TYPE_NOT_SUPPORTED),
        (["10.0.0.0/31"], 1, False, None, Cause.ALL_DYNAMIC_ADDRESSES_ARE_OCCUPIED),
    ],
)
def test_the_pdn_type_is_what_ue_and_network_both_can(
    core: Any,
    tools: Any,
    pools: list[str],
    asked: int,
    flags: bool,
    given: tuple[int, str, str] | None,
    expected: Cause,
) -> None:
    core.pgw.import_context({"pools": {"*": pools}, "dual_address_flag": True}, 0.0)
    daf = gtpv2.Indication.of(gtpv2.IndicationFlag.DAF) if flags else None
    core.from_mme(tools.create_session(paa=Paa(asked, "0.0.0.0", "::"), indication=daf))
    if given is not None:
        core.pcrf_says()
    response = core.next("Create Session Response")
    assert cause(response) == expected
    paa = response.message.view(Paa)
    assert given == (None if paa is None else (paa.pdn_type, paa.ipv4, paa.ipv6))


def test_two_reserved_addresses_are_both_given(core: Any, tools: Any) -> None:
    core.pgw.import_context({"paa": {tools.IMSI: {"internet": ["10.45.0.9", "2001:db8:7::1"]}}}, 0.0)
    core.from_mme(tools.create_session(paa=Paa(3, "0.0.0.0", "::")))
    ccr = core.pcrf_says().message
    assert ccr.value_of(avp.FRAMED_IP_ADDRESS) == "10.45.0.9"
    assert ccr.value_of(avp.FRAMED_IPV6_PREFIX) == "2001:db8:7::/64"
    response = core.next("Create Session Response")
    assert cause(response) == Cause.REQUEST_ACCEPTED
    assert response.message.view(Paa) == Paa(3, "10.45.0.9", "2001:db8:7::1", 64)


def test_an_unknown_apn_is_refused(core: Any, tools: Any) -> None:
    core.pgw.import_context({"pools": {"internet": ["10.45.0.0/16"]}}, 0.0)
    core.from_mme(tools.create_session("nowhere"))
    assert cause(core.next("Create Session Response")) == Cause.MISSING_OR_UNKNOWN_APN
    assert empty(core)


@pytest.mark.parametrize(
    ("result", "expected"),
    [(5003, Cause.APN_ACCESS_DENIED_NO_SUBSCRIPTION), (5065, Cause.REQUEST_REJECTED_REASON_NOT_SPECIFIED)],
)
def test_a_refusal_of_the_pcrf_reaches_the_mme(core: Any, tools: Any, result: int, expected: Cause) -> None:
    core.from_mme(tools.create_session())
    core.pcrf_says(result)
    response = core.next("Create Session Response")
    assert (cause(response), response.message.teid) == (expected, 0x184)
    assert empty(core)


def test_a_silent_pcrf_is_a_refusal(core: Any, tools: Any) -> None:
    core.from_mme(tools.create_session())
    ccr = core.out.popleft()
    core.deliver(core.pgw, Failed(ccr.interface, ccr.peer, ccr.token, "Tx"))
    assert cause(core.next("Create Session Response")) == Cause.REMOTE_PEER_NOT_RESPONDING
    assert empty(core)


def test_a_silent_pgw_is_a_refusal(core: Any, tools: Any) -> None:
    core.silent = {"Create Session Request"}
    core.from_mme(tools.create_session())
    assert cause(core.next("Create Session Response")) == Cause.REMOTE_PEER_NOT_RESPONDING
    assert empty(core)


@pytest.mark.parametrize("missing", ["imsi", "sender", "apn", "pgw", "context"])
def test_a_request_without_what_it_needs_is_refused(core: Any, tools: Any, missing: str) -> None:
    core.from_mme(tools.create_session(**{missing: None}))
    response = core.next("Create Session Response")
    conditional = missing in ("imsi", "pgw")
    assert cause(response) == (Cause.CONDITIONAL_IE_MISSING if conditional else Cause.MANDATORY_IE_MISSING)
    assert response.message.teid == (0 if missing == "sender" else 0x184)
    assert empty(core)


def test_a_malformed_ie_is_named_in_the_refusal(core: Any, tools: Any) -> None:
    core.from_mme(tools.create_session(apn=gtpv2.Ie(gtpv2.IeType.APN, 0, b"\x09x")))
    refused = core.next("Create Session Response").message.view(gtpv2.CauseIe)
    assert refused == gtpv2.CauseIe(Cause.MANDATORY_IE_INCORRECT, offending=gtpv2.IeType.APN)


def test_a_second_pdn_connection_uses_the_ues_s11_tunnel(core: Any, tools: Any) -> None:
    core.attach()
    teid = tools.s11_teid(core)
    core.attach("ims", 6, teid)
    assert core.sgw.leftovers()["ue_contexts"] == 1 and core.pgw.leftovers()["sessions"] == 2
    core.from_mme(tools.delete_session(teid, 6))
    core.pcrf_says()
    core.next("Delete Session Response")
    assert core.sgw.leftovers()["pdn_connections"] == 1


def test_an_unknown_teid_is_context_not_found(core: Any, tools: Any) -> None:
    core.from_mme(tools.create_session(teid=77))
    assert cause(core.next("Create Session Response")) == Cause.CONTEXT_NOT_FOUND
    core.from_mme(tools.delete_session(77))
    response = core.next("Delete Session Response")
    assert (cause(response), response.message.teid) == (Cause.CONTEXT_NOT_FOUND, 0)


def test_the_tunnel_of_one_ue_is_not_for_another(core: Any, tools: Any) -> None:
    core.attach()
    core.from_mme(tools.create_session("ims", 6, tools.s11_teid(core), imsi=gtpv2.Imsi("001010000000001")))
    assert cause(core.next("Create Session Response")) == Cause.CONTEXT_NOT_FOUND


def test_a_ue_that_begins_afresh_leaves_nothing_behind(core: Any, tools: Any) -> None:
    core.attach()
    core.from_mme(tools.create_session())
    old = core.pcrf_says()
    assert old.message.value_of(avp.CC_REQUEST_TYPE) == 3  # the PGW ends the old Gx session
    core.pcrf_says()
    core.next("Create Session Response")
    assert core.sgw.leftovers()["pdn_connections"] == core.pgw.leftovers()["sessions"] == 1
    core.from_mme(tools.delete_session(tools.s11_teid(core)))
    core.pcrf_says()
    assert empty(core)


def test_deleting_an_unknown_pdn_connection_is_context_not_found(core: Any, tools: Any) -> None:
    core.attach()
    core.from_mme(tools.delete_session(tools.s11_teid(core), 9))
    assert cause(core.next("Delete Session Response")) == Cause.CONTEXT_NOT_FOUND


def test_a_pdn_connection_ends_even_if_nobody_answers(core: Any, tools: Any) -> None:
    core.attach()
    core.silent = {"Delete Session Request"}
    core.from_mme(tools.delete_session(tools.s11_teid(core)))
    assert cause(core.next("Delete Session Response")) == Cause.REMOTE_PEER_NOT_RESPONDING
    assert not any(core.sgw.leftovers().values())


def test_what_the_pcrf_changes_is_told_to_the_mme(core: Any, tools: Any) -> None:
    core.from_mme(tools.create_session())
    qos = avp.DEFAULT_EPS_BEARER_QOS(
        avp.QOS_CLASS_IDENTIFIER(8),
        avp.ALLOCATION_RETENTION_PRIORITY(
            avp.PRIORITY_LEVEL(3), avp.PRE_EMPTION_CAPABILITY(0), avp.PRE_EMPTION_VULNERABILITY(1)
        ),
    )
    ambr = avp.QOS_INFORMATION(avp.APN_AGGREGATE_MAX_BITRATE_UL(5_000_000), avp.APN_AGGREGATE_MAX_BITRATE_DL(9_000_000))
    core.pcrf_says(2001, ambr, qos)
    response = core.next("Create Session Response").message
    assert response.view(gtpv2.Ambr) == gtpv2.Ambr(5000, 9000)
    assert response.bearer_contexts[0].view(gtpv2.BearerQos) == gtpv2.BearerQos(8, 3, 0, 1)


def test_rules_that_come_with_the_answer_get_bearers_after_it(core: Any, tools: Any) -> None:
    core.from_mme(tools.create_session())
    core.pcrf_says(2001, tools.charging_rule())
    core.next("Create Session Response")
    core.accept_bearer()
    assert core.pgw.leftovers()["bearers"] == 2


def test_the_pcrf_can_end_a_pdn_connection(core: Any, tools: Any) -> None:
    core.attach()
    core.rule(avp.SESSION_RELEASE_CAUSE(0))
    request = core.next("Delete Bearer Request")
    assert gtpv2.ebi_of(request.message) == 5
    core.from_mme(gtpv2.answer(request.message, tools.s11_teid(core), gtpv2.CauseIe(16), gtpv2.Ebi(5)), request)
    core.pcrf_says()
    assert empty(core)


def test_a_rar_for_an_unknown_session_is_refused(core: Any) -> None:
    core.from_pcrf(diameter.request(Command.RE_AUTH, Application.GX, avp.SESSION_ID("nobody;1;2")))
    assert core.next("RAA").message.value_of(avp.RESULT_CODE) == 5002


def test_other_requests_on_gx_are_unsupported(core: Any) -> None:
    core.from_pcrf(diameter.request(Command.ABORT_SESSION, Application.GX, avp.SESSION_ID("nobody;1;2")))
    assert core.out.popleft().message.value_of(avp.RESULT_CODE) == 3001


def test_an_sgw_that_restarts_takes_its_pdn_connections_with_it(core: Any, tools: Any) -> None:
    core.attach()
    core.deliver(core.pgw, PeerLost(Interface.S5, Peer(Role.SGW, tools.SGW), "PeerRestarted"))
    core.pcrf_says()
    assert not any(core.pgw.leftovers().values())


def test_an_mme_that_restarts_has_its_pdn_connections_deleted(core: Any, tools: Any) -> None:
    core.attach()
    core.deliver(core.sgw, PeerLost(Interface.S11, Peer(Role.MME, tools.MME), "PeerRestarted"))
    core.pcrf_says()
    assert empty(core)


def test_location_and_time_zone_reach_the_pcrf(core: Any, tools: Any) -> None:
    uli = gtpv2.Uli((gtpv2.Location("TAI", "99970", 1), gtpv2.Location("ECGI", "99970", 513)))
    core.from_mme(tools.create_session(uli=uli))
    ccr = core.pcrf_says().message
    assert ccr.value_of(avp.TGPP_USER_LOCATION_INFO) == bytes.fromhex("8299f907000199f90700000201")
    assert ccr.value_of(avp.TGPP_MS_TIMEZONE) == UeTimeZone(4, 0).encode()
    assert ccr.value_of(avp.TGPP_SGSN_MCC_MNC) == "99970"


def test_protocol_options_are_answered_in_the_order_in_which_they_are_asked(core: Any, tools: Any) -> None:
    core.pgw.import_context(
        {"dns": ["192.0.2.53", "192.0.2.54", "2001:db8::53"], "pcscf": ["192.0.2.21", "2001:db8::21"], "mtu": 1400}, 0.0
    )
    empty4 = bytes(4)
    asked = Pco(
        (
            PcoContainer(PcoId.IPCP, Ipcp(1, 7, ((129, empty4), (131, empty4), (130, empty4))).encode()),
            PcoContainer(PcoId.P_CSCF_IPV6_ADDRESS),
            PcoContainer(PcoId.DNS_SERVER_IPV4_ADDRESS),
            PcoContainer(PcoId.IP_ADDRESS_ALLOCATION_VIA_NAS),
            PcoContainer(PcoId.DNS_SERVER_IPV6_ADDRESS),
            PcoContainer(PcoId.P_CSCF_IPV4_ADDRESS),
            PcoContainer(PcoId.IPV4_LINK_MTU),
            PcoContainer(PcoId.CHAP, bytes.fromhex("02000015103d3dda5c724cc497354ae6465345a808")),
            PcoContainer(PcoId.PAP, bytes.fromhex("010b000c03616263037878780a")),
            PcoContainer(0xFF00, b"own"),
        )
    )
    core.from_mme(tools.create_session(pco=PcoIe(asked)))
    core.pcrf_says()
    answered = core.next("Create Session Response").message.view(PcoIe)
    assert [(one.name, one.text) for one in answered.options.containers] == [
        ("IPCP", "020700108106c00002358306c0000236"),
        ("P-CSCF IPv6 Address", "2001:db8::21"),
        ("DNS Server IPv4 Address", "192.0.2.53"),
        ("DNS Server IPv4 Address", "192.0.2.54"),
        ("DNS Server IPv6 Address", "2001:db8::53"),
        ("P-CSCF IPv4 Address", "192.0.2.21"),
        ("IPv4 Link MTU", 1400),
        ("CHAP", "03000004"),
        ("PAP", "020b000500"),
    ]


def test_a_ccr_says_what_the_operator_names_in_that_order(core: Any, tools: Any) -> None:
    core.pgw.import_context(
        {
            "ccr_initial": [
                "RAT-Type", "3GPP-SGSN-Address", "3GPP-GGSN-Address", "3GPP-Selection-Mode", "Bearer-Usage",
                "User-Equipment-Info", "AN-Trusted", "Online",
            ],
            "ccr_termination": ["Termination-Cause", "Framed-IP-Address"],
            "gx_numbers": {"AN-Trusted": 1, "Online": 1, "Termination-Cause": 4},
        },
        0.0,
    )  # fmt: skip
    flag = PcoIe(Pco((PcoContainer(PcoId.IM_CN_SUBSYSTEM_SIGNALLING_FLAG),)))
    core.from_mme(tools.create_session(mei=gtpv2.Mei("3512345678901231"), pco=flag))
    ccr = core.pcrf_says().message
    assert [diameter.name_of(one) for one in ccr.avps[7:]] == [
        "RAT-Type", "3GPP-SGSN-Address", "3GPP-GGSN-Address", "3GPP-Selection-Mode", "Bearer-Usage",
        "User-Equipment-Info", "AN-Trusted", "Online",
    ]  # fmt: skip
    assert (ccr.value_of(avp.BEARER_USAGE), ccr.value_of(avp.ONLINE)) == (1, 1)
    assert ccr.find(avp.USER_EQUIPMENT_INFO).value_of(avp.USER_EQUIPMENT_INFO_VALUE) == b"3512345678901231"
    core.out.clear()
    core.from_mme(tools.delete_session(tools.s11_teid(core)))
    ccr = core.pcrf_says().message
    assert [diameter.name_of(one) for one in ccr.avps[7:]] == ["Termination-Cause", "Framed-IP-Address"]


def test_charging_id_and_options_are_told_as_the_operator_says(core: Any, tools: Any) -> None:
    core.pgw.import_context({"charging_id": False, "delete_session_pco": True, "dns": ["192.0.2.53"]}, 0.0)
    core.from_mme(tools.create_session(pco=PcoIe(Pco((PcoContainer(PcoId.DNS_SERVER_IPV4_ADDRESS),)))))
    core.pcrf_says()
    response = core.next("Create Session Response").message
    assert response.bearer_contexts[0].find(gtpv2.IeType.CHARGING_ID) is None
    core.from_mme(tools.delete_session(tools.s11_teid(core)))
    core.pcrf_says()
    assert core.next("Delete Session Response").message.view(PcoIe) == response.view(PcoIe)


def test_a_network_that_means_bits_by_kilobits_is_followed(core: Any, tools: Any) -> None:
    core.pgw.import_context({"kilobit": 1}, 0.0)
    core.from_mme(tools.create_session())
    ccr = core.pcrf_says().message
    assert ccr.find(avp.QOS_INFORMATION).value_of(avp.APN_AGGREGATE_MAX_BITRATE_UL) == 1_000_000


def test_every_fault_of_a_configuration_is_listed(core: Any) -> None:
    with pytest.raises(ConfigError) as error:
        core.pgw.import_context(
            {"dns": "10.0.0.1", "mtu": -1, "pools": {"a": ["x"]}, "colour": 1, "bearer_per_rule": 1, "origin_host": ""},
            0.0,
        )
    for word in ("dns", "mtu", "pools", "colour", "bearer_per_rule", "origin_host"):
        assert word in str(error.value)
    with pytest.raises(ConfigError):
        core.sgw.import_context({"sequence": 1}, 0.0)
    with pytest.raises(ConfigError):
        core.sgw.import_context({"echo_enb_f_teid": 1}, 0.0)
