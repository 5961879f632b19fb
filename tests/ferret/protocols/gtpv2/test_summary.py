"""What summarise and parameters say of real messages, and that an independent decoder says the same."""

from __future__ import annotations

import subprocess
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ferret.errors import DecodeError
from ferret.protocols import gtpv2
from ferret.protocols.gtpv2 import Cause, Ebi, Ie, IeType, Message, MessageType, bearer_context
from ferret.protocols.summary import Identifier, IdKind, Kind


@pytest.fixture
def call(samples_of: Callable[[Path], list[Any]], capture: Callable[[str], Path]) -> list[Message]:
    """The messages of one VoLTE call."""
    return [gtpv2.decode(sample.octets) for sample in samples_of(capture("volte-call-full.pcap"))]


def first(messages: list[Message], kind: MessageType) -> Message:
    return next(message for message in messages if message.type == kind)


def test_names_are_the_specifications(call: list[Message]) -> None:
    assert {gtpv2.summarise(message).name for message in call} == {
        f"{procedure} {part}"
        for procedure in (
            "Create Session", "Modify Bearer", "Delete Session", "Create Bearer", "Update Bearer", "Delete Bearer",
        )
        for part in ("Request", "Response")
    }  # fmt: skip
    ack = Message(MessageType.DOWNLINK_DATA_NOTIFICATION_ACKNOWLEDGEMENT, 1, 1)
    assert gtpv2.summarise(ack).name == "Downlink Data Notification Acknowledgement"
    assert gtpv2.summarise(Message(250, 1, 1)).name == "Message 250"


def test_a_request_leads_to_its_subscriber(call: list[Message]) -> None:
    summary = gtpv2.summarise(first(call, MessageType.CREATE_SESSION_REQUEST))
    assert summary.kind is Kind.REQUEST and summary.accepted is None
    assert summary.identifiers == (
        Identifier(IdKind.IMSI, "999700000000020"),
        Identifier(IdKind.MSISDN, "491700000020"),
        Identifier(IdKind.TEID, "172.22.0.2/0x00000184"),
        Identifier(IdKind.APN, "internet"),
        Identifier(IdKind.EBI, "5"),
    )


def test_an_answer_says_address_tunnels_and_verdict(call: list[Message]) -> None:
    response = next(m for m in call if m.type == MessageType.CREATE_SESSION_RESPONSE and m.teid == 0x184)
    summary = gtpv2.summarise(response)
    assert summary.accepted is True and summary.state_transitions == 4
    assert Identifier(IdKind.UE_IP, "10.45.0.2") in summary.identifiers
    assert Identifier(IdKind.TEID_U, "172.22.0.6/0x0000234e") in summary.identifiers
    assert Identifier(IdKind.HEADER_TEID, "0x00000184") in summary.identifiers


def test_a_refusal_is_not_accepted_and_moves_no_bearer(call: list[Message]) -> None:
    request = first(call, MessageType.UPDATE_BEARER_REQUEST)
    summary = gtpv2.summarise(gtpv2.refusal(request, 0, Cause.CONTEXT_NOT_FOUND))
    assert summary.accepted is False and summary.state_transitions == 2
    assert summary.transaction == gtpv2.summarise(request).transaction


def test_requests_of_both_ends_under_one_number_are_two_transactions() -> None:
    one, other = Message(MessageType.CREATE_SESSION_REQUEST, 0, 3), Message(MessageType.CREATE_BEARER_REQUEST, 1, 3)
    assert gtpv2.summarise(one).transaction != gtpv2.summarise(other).transaction


def test_paths_are_unique_in_every_captured_message(samples: list[Any]) -> None:
    for sample in samples:
        if "-neg-" not in sample.file:
            paths = [parameter.path for parameter in gtpv2.parameters(gtpv2.decode(sample.octets))]
            assert len(paths) == len(set(paths)), (sample.file, sample.frame)


def test_repeated_ies_keep_apart_by_instance_ebi_and_position() -> None:
    message = gtpv2.request(
        MessageType.DELETE_BEARER_REQUEST,
        1,
        Ebi(6).ie(1),
        Ebi(7).ie(1),
        bearer_context(ebi=5),
        bearer_context(ebi=0),
        bearer_context(ebi=5),
        Ie(250, 2, b"\xab"),
    )
    assert [p.path for p in gtpv2.parameters(message)][2:] == [
        "EBI[1]",
        "EBI[1][1]",
        "Bearer Context[5]/EBI",
        "Bearer Context[1]/EBI",
        "Bearer Context[5][1]/EBI",
        "IE 250[2]",
    ]


def test_a_malformed_value_is_hex_and_costs_nothing_else() -> None:
    message = Message(32, 0, 1, (Ie(IeType.F_TEID, 0, b"\x8a\x00"), Ie(IeType.IMSI, 0, b"\x21\x43")))
    assert [(p.path, p.value) for p in gtpv2.parameters(message)][2:] == [("F-TEID[0]", "8a00"), ("IMSI", "1234")]
    assert gtpv2.summarise(message).identifiers == (Identifier(IdKind.IMSI, "1234"),)


# tshark field, and how the last parts of our paths end that hold the same.
FIELDS: dict[str, tuple[str, ...]] = {
    "gtpv2.f_teid_gre_key": ("]/TEID",),
    "gtpv2.f_teid_interface_type": ("/Interface Type",),
    "gtpv2.f_teid_ipv4": ("]/IPv4",),
    "gtpv2.cause": ("Cause/Cause",),
    "gtpv2.ebi": ("EBI", "EBI[1]"),
    "gtpv2.apn": ("APN",),
    "gtpv2.ambr_up": ("AMBR/Uplink",),
    "gtpv2.ambr_down": ("AMBR/Downlink",),
    "gtpv2.bearer_qos_pci": ("Bearer QoS/PCI",),
    "gtpv2.bearer_qos_pl": ("Bearer QoS/PL",),
    "gtpv2.bearer_qos_pvi": ("Bearer QoS/PVI",),
    "gtpv2.bearer_qos_label_qci": ("Bearer QoS/QCI",),
    "gtpv2.bearer_qos_mbr_up": ("Bearer QoS/MBR Uplink",),
    "gtpv2.bearer_qos_gbr_down": ("Bearer QoS/GBR Downlink",),
    "gtpv2.charging_id": ("Charging ID",),
    "gtpv2.pdn_addr_and_prefix.ipv4": ("PAA/IPv4",),
    "gtpv2.tai_tac": ("TAI/TAC",),
    "gtpv2.ecgi_eci": ("ECGI/ECI",),
    "gtpv2.mei": ("MEI",),
    "gtpv2.rec": ("Recovery",),
}


@pytest.mark.tshark
def test_tshark_reads_the_same_fields(own_captures: list[Path], samples_of: Callable[[Path], list[Any]]) -> None:
    compared = 0
    for path in own_captures:
        arguments = [argument for field in ("frame.number", *FIELDS) for argument in ("-e", field)]
        command = ["tshark", "-r", str(path), "-Y", "gtpv2", "-T", "fields", "-E", "separator=|", *arguments]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        theirs = {int(line.split("|")[0]): line.split("|")[1:] for line in lines}
        for sample in samples_of(path):
            ours = gtpv2.parameters(gtpv2.decode(sample.octets))
            for field, value in zip(FIELDS, theirs[sample.frame], strict=True):
                found = [str(p.value) for p in ours if p.path.endswith(FIELDS[field])]
                expected = [_plain(text) for text in value.split(",")] if value else []
                assert [_plain(text) for text in found] == expected, (path.name, sample.frame, field)
                compared += len(expected)
    assert compared > 2000


def _plain(text: str) -> str:
    return str(int(text, 16)) if text.startswith("0x") else text


def test_hostile_octets_never_break_summary_or_parameters(samples: list[Any]) -> None:
    for sample in samples[::7]:
        for place in range(12, len(sample.octets), 11):
            octets = bytearray(sample.octets)
            octets[place] ^= 0xFF
            try:
                message = gtpv2.decode(bytes(octets))
            except DecodeError:
                continue
            gtpv2.summarise(message)
            gtpv2.parameters(message)


def test_summary_and_parameters_take_tens_of_microseconds(call: list[Message]) -> None:
    best = min(timeit.repeat(lambda: [gtpv2.parameters(m) for m in call], number=1, repeat=5)) / len(call)
    assert best < 500e-6  # measured 50 µs; generous, as machines are shared
