"""The built-in rules against what real networks send."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from ferret.errors import DecodeError, RecordError
from ferret.protocols import diameter, gtpv2, s1ap, sip
from ferret.protocols.diameter.parameters import parameters as diameter_parameters
from ferret.protocols.diameter.summary import summarise as summarise_diameter
from ferret.protocols.gtpv2.parameters import parameters as gtpv2_parameters
from ferret.protocols.gtpv2.summary import summarise as summarise_gtpv2
from ferret.protocols.s1ap.parameters import parameters as s1ap_parameters
from ferret.protocols.s1ap.summary import summarise as summarise_s1ap
from ferret.protocols.sip.parameters import parameters as sip_parameters
from ferret.protocols.sip.summary import summarise as summarise_sip
from ferret.protocols.summary import Parameter, Protocol
from ferret.replay.check import HIDDEN, compare
from ferret.replay.rules import ParameterClass, Risk, builtin_rules, load_rules
from ferret.replay.translation import Domain, Translation
from ferret_agents.capture.reader import messages

DOORS = {
    Protocol.GTPV2: (gtpv2.decode, summarise_gtpv2, gtpv2_parameters),
    Protocol.DIAMETER: (diameter.decode, summarise_diameter, diameter_parameters),
    Protocol.SIP: (sip.decode, summarise_sip, sip_parameters),
    Protocol.S1AP: (s1ap.decode, summarise_s1ap, s1ap_parameters),
}


def read(path: Path) -> Iterator[tuple[Protocol, str, list[Parameter]]]:
    try:
        for captured in messages(path):
            decode, summarise, parameters = DOORS[captured.protocol]
            try:
                message = decode(captured.octets)
            except DecodeError:
                continue
            yield captured.protocol, summarise(message).name, parameters(message)  # type: ignore[operator]
    except RecordError:
        return


def test_every_message_of_every_capture_is_the_same_as_itself(all_captures: list[Path]) -> None:
    rules = load_rules()
    for path in all_captures:
        translation = Translation()
        for protocol, name, parameters in read(path):
            result = compare(protocol, name, parameters, list(parameters), rules)
            assert result.differences == ()
            assert translation.learn(result.pairs) == []
            assert all(pair.recorded == pair.edge for pair in result.pairs)


def test_a_changed_result_or_type_is_always_of_high_risk(own_captures: list[Path]) -> None:
    rules = load_rules()
    locked = {(rule.protocol, rule.parameter.rpartition("/")[2].lower()) for rule in builtin_rules() if rule.locked}
    seen: Counter[Protocol] = Counter()
    for path in own_captures:
        for protocol, name, parameters in read(path):
            for i, (where, value) in enumerate(parameters):
                if (protocol.value, where.rpartition("/")[2].lower()) not in locked:
                    continue
                other = value + 1 if isinstance(value, int) else f"{value}x"
                changed = [*parameters[:i], Parameter(where, other), *parameters[i + 1 :]]
                found = compare(protocol, name, parameters, changed, rules)
                assert [d.risk for d in found.differences] == [Risk.HIGH], (where, found.differences)
                without = [*parameters[:i], *parameters[i + 1 :]]
                assert compare(protocol, name, parameters, without, rules).high_risk == 1
                seen[protocol] += 1
    assert set(seen) == set(Protocol)


@pytest.mark.parametrize(
    ("protocol", "name", "path", "expected"),
    [
        (Protocol.GTPV2, "Create Session Response", "header/TEID", (ParameterClass.ALLOCATED, Domain.TEID)),
        (Protocol.GTPV2, "Create Session Response", "F-TEID[1]/TEID", (ParameterClass.ALLOCATED, Domain.TEID)),
        (Protocol.GTPV2, "x", "Bearer Context[5]/F-TEID[2]/TEID", (ParameterClass.ALLOCATED, Domain.TEID_U)),
        (Protocol.GTPV2, "x", "PAA/IPv4", (ParameterClass.ALLOCATED, Domain.UE_IP)),
        (Protocol.GTPV2, "x", "Bearer Context[5]/Bearer QoS/QCI", (ParameterClass.POLICY, None)),
        (Protocol.GTPV2, "x", "IMSI", (ParameterClass.IDENTITY, None)),
        (Protocol.GTPV2, "x", "Bearer Context[5]/EBI", (ParameterClass.IDENTITY, None)),
        (Protocol.GTPV2, "x", "Recovery", (ParameterClass.VOLATILE, None)),
        (Protocol.DIAMETER, "CCR-Initial", "Session-Id", (ParameterClass.ALLOCATED, Domain.SESSION_ID)),
        (Protocol.DIAMETER, "CCR-Initial", "Framed-IP-Address", (ParameterClass.ALLOCATED, Domain.UE_IP)),
        (Protocol.DIAMETER, "CCR-Initial", "Origin-State-Id", (ParameterClass.VOLATILE, None)),
        (
            Protocol.DIAMETER,
            "RAR",
            "Charging-Rule-Install[0]/Charging-Rule-Definition[0]/Charging-Rule-Name",
            (ParameterClass.ALLOCATED, Domain.RULE_NAME),
        ),
        (
            Protocol.DIAMETER,
            "RAR",
            "Charging-Rule-Install[0]/Charging-Rule-Definition[0]/QoS-Information/QoS-Class-Identifier",
            (ParameterClass.POLICY, None),
        ),
        (Protocol.SIP, "INVITE", "Via[1]/branch", (ParameterClass.ALLOCATED, Domain.BRANCH)),
        (Protocol.SIP, "INVITE", "Contact[0]/uri", (ParameterClass.IDENTITY, None)),
        (Protocol.SIP, "NOTIFY", "Contact[0]/uri", (ParameterClass.ALLOCATED, Domain.SIP_URI)),
        (Protocol.SIP, "INVITE", "SDP/media[0]/codecs", (ParameterClass.POLICY, None)),
        (Protocol.SIP, "INVITE", "SDP/media[0]/port", (ParameterClass.ALLOCATED, Domain.SDP_PORT)),
        (Protocol.SIP, "INVITE", "User-Agent", (ParameterClass.INFORMATIONAL, None)),
        (Protocol.S1AP, "x", "MME-UE-S1AP-ID", (ParameterClass.ALLOCATED, Domain.MME_UE_S1AP_ID)),
        (
            Protocol.S1AP,
            "x",
            "UE-S1AP-IDs/uE-S1AP-ID-pair/eNB-UE-S1AP-ID",
            (ParameterClass.ALLOCATED, Domain.ENB_UE_S1AP_ID),
        ),
        (Protocol.S1AP, "x", "NAS/GUTI/M-TMSI", (ParameterClass.ALLOCATED, Domain.M_TMSI)),
        (Protocol.S1AP, "x", "NAS/Message authentication code", (ParameterClass.VOLATILE, None)),
    ],
)
def test_parameters_have_the_class_that_their_specification_implies(
    protocol: Protocol, name: str, path: str, expected: tuple[ParameterClass, Domain | None]
) -> None:
    found = load_rules().for_message(protocol, name).treatment(path)
    assert (found.parameter_class, found.domain) == expected


def test_a_downlink_tunnel_is_the_base_stations_and_an_uplink_one_the_gateways() -> None:
    path = "E-RABSetupListCtxtSURes[5]/gTP-TEID"
    answer = load_rules().for_message(Protocol.S1AP, "InitialContextSetupResponse").treatment(path)
    asked = load_rules().for_message(Protocol.S1AP, "InitialContextSetupRequest (Attach accept)").treatment(path)
    assert (answer.scope[0], asked.scope[0]) == ("=0", "=1")


def test_a_tunnel_endpoint_may_have_an_address_of_the_other_version() -> None:
    v6 = [Parameter("F-TEID[1]/TEID", 5), Parameter("F-TEID[1]/Interface Type", 7), Parameter("F-TEID[1]/IPv6", "::1")]
    v4 = [
        Parameter("F-TEID[1]/TEID", 9),
        Parameter("F-TEID[1]/Interface Type", 7),
        Parameter("F-TEID[1]/IPv4", "10.0.0.1"),
    ]
    result = compare(Protocol.GTPV2, "Create Session Response", v6, v4, load_rules())
    assert {difference.risk for difference in result.differences} == {Risk.LOW}
    assert result.pairs[0].recorded_scope == "7/::1"


@pytest.mark.parametrize(
    ("protocol", "path"),
    [
        (Protocol.DIAMETER, "SIP-Auth-Data-Item[1]/Confidentiality-Key"),
        (Protocol.DIAMETER, "Authentication-Info/E-UTRAN-Vector/KASME"),
        (Protocol.SIP, "WWW-Authenticate[0]/ck"),
        (Protocol.SIP, "Authorization[0]/response"),
        (Protocol.S1AP, "SecurityKey"),
    ],
)
def test_secrets_never_appear(protocol: Protocol, path: str) -> None:
    first, second = [Parameter(path, "sha256:00000001")], [Parameter(path, "sha256:00000002")]
    (difference,) = compare(protocol, "x", first, second, load_rules()).differences
    assert (difference.recorded, difference.edge) == (HIDDEN, HIDDEN)


def test_hosts_and_ue_addresses_inside_texts_are_translated_before_they_are_compared() -> None:
    translation = Translation({"172.22.0.21": "127.0.0.5"})
    recorded = [
        Parameter("Charging-Rule-Install[0]/Charging-Rule-Definition[0]/Flow-Information[0]/Flow-Description[0]", text)
        for text in ("permit out 17 from 10.46.0.2 49120 to 172.22.0.21 5060",)
    ]
    edge = [Parameter(recorded[0].path, "permit out 17 from 10.46.0.2 49120 to 127.0.0.5 5060")]
    rules = load_rules()
    assert compare(Protocol.DIAMETER, "RAR", recorded, edge, rules, translation=translation).differences == ()
    assert len(compare(Protocol.DIAMETER, "RAR", recorded, edge, rules).differences) == 1
