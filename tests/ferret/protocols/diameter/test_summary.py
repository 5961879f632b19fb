from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferret.protocols.diameter import (
    Application,
    Avp,
    AvpType,
    Command,
    Message,
    answer,
    avp,
    decode,
    parameters,
    request,
    result_of,
    summarise,
)
from ferret.protocols.summary import Identifier, IdKind, Kind


def _walk(avps: tuple[Avp, ...]) -> Iterator[Avp]:
    for one in avps:
        yield one
        yield from _walk(one.avps)


def _identifiers(message: Message) -> set[tuple[IdKind, str]]:
    return {(kind, value) for kind, value in summarise(message).identifiers}


@pytest.mark.parametrize(
    ("command", "application", "asks", "answers", "name"),
    [
        (257, 0, "CER", "CEA", ""),
        (258, 16777238, "RAR", "RAA", "Gx"),
        (265, 16777236, "AAR", "AAA", "Rx"),
        (274, 16777236, "ASR", "ASA", "Rx"),
        (275, 16777236, "STR", "STA", "Rx"),
        (280, 0, "DWR", "DWA", ""),
        (282, 0, "DPR", "DPA", ""),
        (300, 16777216, "UAR", "UAA", "Cx"),
        (301, 16777216, "SAR", "SAA", "Cx"),
        (302, 16777216, "LIR", "LIA", "Cx"),
        (303, 16777216, "MAR", "MAA", "Cx"),
        (304, 16777216, "RTR", "RTA", "Cx"),
        (305, 16777216, "PPR", "PPA", "Cx"),
        (316, 16777251, "ULR", "ULA", "S6a"),
        (317, 16777251, "CLR", "CLA", "S6a"),
        (318, 16777251, "AIR", "AIA", "S6a"),
        (321, 16777251, "PUR", "PUA", "S6a"),
        (999, 4, "command 999 request", "command 999 answer", "Gy"),
        (999, 12345, "command 999 request", "command 999 answer", "application 12345"),
    ],
)
def test_a_message_has_the_name_of_its_command(
    command: int, application: int, asks: str, answers: str, name: str
) -> None:
    asked = request(command, application).with_identifiers(42, 1)
    said = answer(asked)
    assert (summarise(asked).name, summarise(said).name) == (asks, answers)
    assert (summarise(asked).kind, summarise(said).kind) == (Kind.REQUEST, Kind.RESPONSE)
    assert summarise(asked).transaction == summarise(said).transaction == "0x0000002a"
    assert summarise(asked).application == name


@pytest.mark.parametrize(
    ("kind", "name"), [(1, "CCR-Initial"), (2, "CCR-Update"), (3, "CCR-Termination"), (4, "CCR-Event"), (9, "CCR")]
)
def test_credit_control_is_named_by_its_request_type(kind: int, name: str) -> None:
    message = request(Command.CREDIT_CONTROL, Application.GX, avp.CC_REQUEST_TYPE(kind))
    assert summarise(message).name == name
    assert summarise(answer(message, avp.CC_REQUEST_TYPE(kind))).name == name.replace("CCR", "CCA")


@pytest.mark.parametrize(
    ("avps", "error", "outcome"),
    [
        ((avp.RESULT_CODE(2001),), False, True),
        ((avp.RESULT_CODE(5012),), False, False),
        ((avp.RESULT_CODE(4001),), False, False),
        ((avp.RESULT_CODE(1001),), False, None),
        ((avp.RESULT_CODE(3002),), True, False),
        ((), True, False),
        ((), False, None),
        ((avp.EXPERIMENTAL_RESULT(avp.EXPERIMENTAL_RESULT_CODE(2002)),), False, True),
        ((avp.EXPERIMENTAL_RESULT(avp.EXPERIMENTAL_RESULT_CODE(5065)),), False, False),
        ((Avp(268, value=b"\x07"),), False, None),
    ],
)
def test_an_answer_is_accepted_by_its_result(avps: tuple[Avp, ...], error: bool, outcome: bool | None) -> None:
    asked = request(Command.AA, Application.RX)
    assert summarise(answer(asked, *avps, error=error)).accepted is outcome
    assert summarise(asked).accepted is None


def test_an_update_of_an_open_rx_session_changes_no_state() -> None:
    first = request(Command.AA, Application.RX, avp.RX_REQUEST_TYPE(0))
    later = request(Command.AA, Application.RX, avp.RX_REQUEST_TYPE(1))
    assert (summarise(first).state_transitions, summarise(later).state_transitions) == (2, 0)
    assert summarise(answer(first, avp.RESULT_CODE(2001))).state_transitions == 1
    assert summarise(answer(first, avp.RESULT_CODE(5012))).state_transitions == 0


def test_identities_of_every_application_are_found_in_one_form() -> None:
    gx = request(
        Command.CREDIT_CONTROL,
        Application.GX,
        avp.SESSION_ID("smf;1;2"),
        avp.SUBSCRIPTION_ID(avp.SUBSCRIPTION_ID_TYPE(0), avp.SUBSCRIPTION_ID_DATA("+4917")),
        avp.SUBSCRIPTION_ID(avp.SUBSCRIPTION_ID_TYPE(1), avp.SUBSCRIPTION_ID_DATA("001010000000001")),
        avp.SUBSCRIPTION_ID(avp.SUBSCRIPTION_ID_TYPE(2), avp.SUBSCRIPTION_ID_DATA("sip:a@ims.example;user=phone")),
        avp.FRAMED_IPV6_PREFIX("2001:db8::/64"),
        avp.CALLED_STATION_ID("IMS.mnc001.mcc001.gprs"),
    )
    assert _identifiers(gx) == {
        (IdKind.SESSION_ID, "smf;1;2"),
        (IdKind.MSISDN, "4917"),
        (IdKind.IMSI, "001010000000001"),
        (IdKind.IMPU, "sip:a@ims.example"),
        (IdKind.UE_IP, "2001:db8::/64"),
        (IdKind.APN, "ims"),
    }
    s6a = request(
        Command.UPDATE_LOCATION,
        Application.S6A,
        avp.USER_NAME("001010000000001"),
        avp.SUBSCRIPTION_DATA(avp.MSISDN(bytes.fromhex("947100000002f0"))),
    )
    assert _identifiers(s6a) == {(IdKind.IMSI, "001010000000001"), (IdKind.MSISDN, "4917000000200")}
    cx = request(
        Command.MULTIMEDIA_AUTH,
        Application.CX,
        avp.USER_NAME("001010000000001@ims.mnc001.mcc001.3gppnetwork.org"),
        avp.PUBLIC_IDENTITY("tel:+4917"),
    )
    assert _identifiers(cx) == {
        (IdKind.IMPI, "001010000000001@ims.mnc001.mcc001.3gppnetwork.org"),
        (IdKind.IMSI, "001010000000001"),
        (IdKind.IMPU, "tel:+4917"),
    }
    rx = request(Command.AA, Application.RX, avp.AF_CHARGING_IDENTIFIER("icid-1"), avp.FRAMED_IP_ADDRESS("10.0.0.1"))
    assert _identifiers(rx) == {(IdKind.ICID, "icid-1"), (IdKind.UE_IP, "10.0.0.1")}


def test_an_avp_that_cannot_be_read_costs_only_its_own_identifier() -> None:
    message = request(265, 16777236, Avp(8, value=b"\x01"), avp.SESSION_ID("a;1"), Avp(443, value=b"xy"))
    assert summarise(message).identifiers == (Identifier(IdKind.SESSION_ID, "a;1"),)
    paths = [one.path for one in parameters(message)[6:]]
    assert paths == ["Framed-IP-Address", "Session-Id", "Subscription-Id"]


def test_parameters_are_named_by_key_or_position() -> None:
    message = request(
        Command.AA,
        Application.RX,
        avp.MEDIA_COMPONENT_DESCRIPTION(
            avp.MEDIA_COMPONENT_NUMBER(2),
            avp.MEDIA_SUB_COMPONENT(avp.FLOW_NUMBER(1), avp.FLOW_DESCRIPTION("a"), avp.FLOW_DESCRIPTION("b")),
        ),
        avp.SUBSCRIPTION_ID(avp.SUBSCRIPTION_ID_TYPE(1), avp.SUBSCRIPTION_ID_DATA("1")),
        avp.SUPPORTED_FEATURES(avp.VENDOR_ID(10415), avp.FEATURE_LIST_ID(1), avp.FEATURE_LIST(2)),
        avp.SUPPORTED_FEATURES(avp.VENDOR_ID(13019), avp.FEATURE_LIST_ID(1), avp.FEATURE_LIST(3)),
        avp.CHARGING_RULE_REMOVE(avp.CHARGING_RULE_NAME("r1")),
        avp.CHARGING_RULE_INSTALL(avp.CHARGING_RULE_DEFINITION(avp.CHARGING_RULE_NAME("r2"))),
        avp.CODEC_DATA("uplink\nanswer\n\0"),
        avp.FAILED_AVP.of(),
        Avp(77777, 10415, 0x80, b"\x01\x02"),
    ).with_identifiers(1, 2)
    assert [tuple(one) for one in parameters(message)] == [
        ("header/Version", 1),
        ("header/Command Flags", 192),
        ("header/Command Code", 265),
        ("header/Application-ID", 16777236),
        ("header/Hop-by-Hop Identifier", 1),
        ("header/End-to-End Identifier", 2),
        ("Media-Component-Description[2]/Media-Component-Number", 2),
        ("Media-Component-Description[2]/Media-Sub-Component[1]/Flow-Number", 1),
        ("Media-Component-Description[2]/Media-Sub-Component[1]/Flow-Description[0]", "a"),
        ("Media-Component-Description[2]/Media-Sub-Component[1]/Flow-Description[1]", "b"),
        ("Subscription-Id[1]/Subscription-Id-Type", 1),
        ("Subscription-Id[1]/Subscription-Id-Data", "1"),
        ("Supported-Features[1]/Vendor-Id", 10415),
        ("Supported-Features[1]/Feature-List-ID", 1),
        ("Supported-Features[1]/Feature-List", 2),
        ("Supported-Features[1 #2]/Vendor-Id", 13019),
        ("Supported-Features[1 #2]/Feature-List-ID", 1),
        ("Supported-Features[1 #2]/Feature-List", 3),
        ("Charging-Rule-Remove[0]/Charging-Rule-Name[0]", "r1"),
        ("Charging-Rule-Install[0]/Charging-Rule-Definition[0]/Charging-Rule-Name", "r2"),
        ("Codec-Data[0]", "uplink\nanswer\n\\x00"),
        ("Failed-AVP[0]", None),
        ("AVP 77777 of vendor 10415", "0102"),
    ]


def test_keys_and_vectors_are_never_shown() -> None:
    secret = bytes(range(32))
    message = request(
        Command.AUTHENTICATION_INFORMATION,
        Application.S6A,
        avp.KASME(secret),
        avp.XRES(secret),
        avp.CONFIDENTIALITY_KEY(secret),
        avp.INTEGRITY_KEY(secret),
        avp.SIP_AUTHENTICATE(secret),
        avp.SIP_AUTHORIZATION(secret),
    )
    shown = [str(one.value) for one in parameters(message)[6:]]
    assert shown == ["sha256:630dcd29"] * 6


@given(st.binary(max_size=120))
@settings(max_examples=150)
def test_summary_and_parameters_never_raise_and_paths_are_unique(octets: bytes) -> None:
    known = request(265, 16777236, *[Avp(code, 0, 0x40, octets) for code in (1, 8, 97, 263, 268, 297, 443)])
    for message in (known, Message(303, 16777216, avps=(Avp(612, 10415, 0xC0, octets), Avp(601, 10415, 0xC0, octets)))):
        summarise(message)
        result_of(message)
        paths = [one.path for one in parameters(message)]
        assert len(paths) == len(set(paths))


def test_paths_of_real_messages_are_unique(
    own_captures: list[Path], recorded_messages: Callable[[Path], list[bytes]]
) -> None:
    for path in own_captures:
        for octets in recorded_messages(path):
            paths = [one.path for one in parameters(decode(octets))]
            assert len(paths) == len(set(paths))


def test_the_subscriber_of_a_call_is_found_on_every_interface(
    capture: Callable[[str], Path], recorded_messages: Callable[[Path], list[bytes]]
) -> None:
    found: dict[str, set[tuple[IdKind, str]]] = {}
    for octets in recorded_messages(capture("volte-call-full.pcap")):
        message = decode(octets)
        found.setdefault(summarise(message).application, set()).update(_identifiers(message))
    imsi = (IdKind.IMSI, "999700000000020")
    assert imsi in found["Gx"] and imsi in found["S6a"] and imsi in found["Cx"]
    assert (IdKind.MSISDN, "491700000020") in found["Gx"] & found["S6a"]
    assert (IdKind.UE_IP, "10.46.0.2") in found["Gx"] & found["Rx"]
    assert (IdKind.APN, "ims") in found["Gx"]


FIELDS = ("diameter.cmd.code", "diameter.applicationId", "diameter.flags.request", "diameter.hopbyhopid")
AVP_FIELDS = ("diameter.avp.code", "diameter.avp.len")
VALUES = {
    "diameter.Session-Id": avp.SESSION_ID,
    "diameter.Origin-Host": avp.ORIGIN_HOST,
    "diameter.Result-Code": avp.RESULT_CODE,
    "diameter.Experimental-Result-Code": avp.EXPERIMENTAL_RESULT_CODE,
    "diameter.CC-Request-Type": avp.CC_REQUEST_TYPE,
    "diameter.CC-Request-Number": avp.CC_REQUEST_NUMBER,
    "diameter.User-Name": avp.USER_NAME,
    "diameter.Framed-IP-Address.IPv4": avp.FRAMED_IP_ADDRESS,
    "diameter.Charging-Rule-Name": avp.CHARGING_RULE_NAME,
    "diameter.QoS-Class-Identifier": avp.QOS_CLASS_IDENTIFIER,
    "diameter.Max-Requested-Bandwidth-UL": avp.MAX_REQUESTED_BANDWIDTH_UL,
    "diameter.Flow-Description": avp.FLOW_DESCRIPTION,
    "diameter.Media-Component-Number": avp.MEDIA_COMPONENT_NUMBER,
    "diameter.Public-Identity": avp.PUBLIC_IDENTITY,
}


@pytest.mark.tshark
def test_fields_are_what_tshark_reads(all_captures: list[Path], tshark_messages: Callable[[Path], list[bytes]]) -> None:
    compared = 0
    for path in all_captures:
        fields = (*FIELDS, *AVP_FIELDS, *VALUES)
        command = ["tshark", "-r", str(path), "-Y", "diameter && !_ws.malformed", "-d", "tcp.port==3871,diameter"]
        command += ["-T", "fields", "-E", "separator=/t", "-E", "aggregator=|"]
        command += [part for field in fields for part in ("-e", field)]
        rows = subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()
        theirs: dict[str, list[str]] = {field: [] for field in fields}
        for row in rows:
            for field, cell in zip(fields, row.split("\t"), strict=True):
                theirs[field] += cell.split("|") if cell else []
        messages = [decode(octets) for octets in tshark_messages(path)]
        avps = [one for message in messages for one in _walk(message.avps)]
        assert theirs["diameter.cmd.code"] == [str(one.command) for one in messages]
        assert theirs["diameter.applicationId"] == [str(one.application) for one in messages]
        assert theirs["diameter.flags.request"] == [str(int(one.is_request)) for one in messages]
        assert [int(one, 16) for one in theirs["diameter.hopbyhopid"]] == [one.hop_by_hop for one in messages]
        assert theirs["diameter.avp.code"] == [str(one.code) for one in avps], path.name
        for field, definition in VALUES.items():
            found = [one for one in avps if (one.code, one.vendor) == (definition.code, definition.vendor)]
            hexadecimal = definition.type is AvpType.LABEL  # tshark shows octets even where they are text
            ours = [one.octets.hex() if hexadecimal else str(definition.read(one)) for one in found]
            assert theirs[field] == ours, f"{path.name} {field}"
        compared += len(messages)
    print(f"\nDiameter: fields of {compared} messages compared with tshark")  # noqa: T201  # the count is asked for
    assert compared
