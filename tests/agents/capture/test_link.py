"""Whatever is below IP, the same message comes out."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ferret.errors import DecodeError, RecordError
from ferret.protocols.summary import Protocol
from ferret_agents.capture import link
from ferret_agents.capture.dissect import S1AP_ENB, S1AP_MME
from ferret_agents.capture.reader import read

Dissect = Callable[..., Any]


@pytest.fixture
def packet(scapy: Any, sample: Any) -> bytes:
    return bytes(scapy.IP(src="192.0.2.1", dst="192.0.2.2") / scapy.UDP(sport=2123, dport=2123) / sample.gtpv2)


@pytest.fixture
def packet6(scapy: Any, sample: Any) -> bytes:
    return bytes(scapy.IPv6(src="2001:db8::1", dst="2001:db8::2") / scapy.UDP(sport=2123, dport=2123) / sample.gtpv2)


def test_vlan_tags_in_any_number_and_kind_are_walked(scapy: Any, dissect: Dissect, packet: bytes, sample: Any) -> None:
    inner = scapy.IP(packet)
    frames = [
        scapy.Ether() / inner,
        scapy.Ether() / scapy.Dot1Q(vlan=7) / inner,
        scapy.Ether() / scapy.Dot1Q(vlan=7) / scapy.Dot1Q(vlan=8) / inner,
        scapy.Ether(type=0x88A8) / scapy.Dot1AD(vlan=9) / scapy.Dot1Q(vlan=8) / inner,
        bytes(scapy.Ether(type=0x9100))[:14] + b"\x00\x05\x08\x00" + packet,
    ]
    assert dissect(frames).octets == [sample.gtpv2] * len(frames)


def test_mpls_pppoe_and_snap_are_walked(scapy: Any, dissect: Dissect, packet: bytes, sample: Any) -> None:
    head = b"\x02" * 12
    frames = [
        head + b"\x88\x47" + b"\x00\x01\x00\x40" + b"\x00\x02\x01\x40" + packet,
        head + b"\x88\x64" + b"\x11\x00\x00\x01\x00\x00" + b"\x00\x21" + packet,
        head + struct.pack(">H", 8 + len(packet)) + b"\xaa\xaa\x03\x00\x00\x00\x08\x00" + packet,
    ]
    assert dissect(frames).octets == [sample.gtpv2] * 3


@pytest.mark.parametrize(
    ("link_type", "head4", "head6"),
    [
        (113, b"\x00\x00\x03\x04\x00\x06" + b"\x00" * 8 + b"\x08\x00", b"\x00" * 14 + b"\x86\xdd"),
        (276, b"\x08\x00" + b"\x00" * 18, b"\x86\xdd" + b"\x00" * 18),
        (276, b"\x81\x00" + b"\x00" * 18 + b"\x00\x07\x08\x00", b"\x86\xdd" + b"\x00" * 18),
        (12, b"", b""),
        (14, b"", b""),
        (101, b"", b""),
        (228, b"", None),
        (229, None, b""),
        (0, b"\x02\x00\x00\x00", b"\x1e\x00\x00\x00"),
        (0, b"\x00\x00\x00\x02", b"\x00\x00\x00\x0a"),
        (108, b"\x00\x00\x00\x02", b"\x00\x00\x00\x18"),
        (9, b"\xff\x03\x00\x21", b"\x57"),
        (9, b"\x21", b"\x00\x57"),
        (50, b"\xff\x03\x00\x21", b"\xff\x03\x00\x57"),
        (104, b"\x0f\x00\x08\x00", b"\x0f\x00\x86\xdd"),
        (204, b"\x01\xff\x03\x00\x21", b"\x00\x00\x57"),
    ],
)
def test_link_layers_of_both_ip_versions_are_walked(
    dissect: Dissect,
    packet: bytes,
    packet6: bytes,
    sample: Any,
    link_type: int,
    head4: bytes | None,
    head6: bytes | None,
) -> None:
    if head4 is not None:
        (message,) = dissect([head4 + packet], link_type).messages
        assert (message.octets, str(message.source)) == (sample.gtpv2, "192.0.2.1:2123")
    if head6 is not None:
        (message,) = dissect([head6 + packet6], link_type).messages
        assert (message.octets, str(message.source)) == (sample.gtpv2, "[2001:db8::1]:2123")


@pytest.mark.parametrize("link_type", [147, 150, 162])
def test_s1ap_without_anything_below_it_is_found_with_its_direction(
    dissect: Dissect, sample: Any, link_type: int
) -> None:
    outcome = dissect([sample.s1ap, sample.s1ap_answer, b"no S1AP"], link_type)
    assert [message.protocol for message in outcome.messages] == [Protocol.S1AP] * 2
    assert [(m.source, m.destination) for m in outcome.messages] == [(S1AP_ENB, S1AP_MME), (S1AP_MME, S1AP_ENB)]
    assert all(message.transport == "none" for message in outcome.messages)
    assert outcome.ledger.damaged == 1
    assert outcome.accounted


def tag(number: int, value: bytes = b"") -> bytes:
    value += b"\0" * (-len(value) % 4)
    return struct.pack(">HH", number, len(value)) + value


def test_pdus_that_wireshark_exported_are_read(dissect: Dissect, packet: bytes, sample: Any) -> None:
    ends = tag(20, bytes((192, 0, 2, 1))) + tag(21, bytes((192, 0, 2, 2))) + tag(24, b"\0\0\0\3")
    ports = tag(25, b"\0\0\x08\x4b") + tag(26, b"\0\0\x08\x4b") + tag(0)
    six = tag(22, b"\x20\x01" + b"\0" * 13 + b"\1") + tag(23, b"\x20\x01" + b"\0" * 13 + b"\2")
    frames = [
        tag(12, b"gtpv2") + ends + ports + sample.gtpv2,
        tag(12, b"diameter") + six + tag(0) + sample.diameter(272, 4, 1, True),
        tag(13, b"sip_udp") + ends + ports + sample.sip("INVITE", 1),
        tag(12, b"s1ap") + tag(0) + sample.s1ap,
        tag(12, b"ip") + tag(0) + packet,
        tag(12, b"rtp") + tag(0) + b"\x80",
        tag(12, b"sip") + tag(0) + b"nothing of the kind",
        tag(12, b"sip")[:-1],
        tag(99) * 100,
    ]
    outcome = dissect(frames, link_type=252)
    assert [m.protocol for m in outcome.messages] == ["gtpv2", "diameter", "sip", "s1ap", "gtpv2"]
    assert str(outcome.messages[0].source) == "192.0.2.1:2123"
    assert outcome.messages[1].destination.address == "2001::2"
    assert (outcome.ledger.damaged, outcome.ledger.ignored, outcome.accounted) == (3, {"exported rtp": 1}, True)


def test_odd_link_layers_are_left_to_scapy(scapy: Any, dissect: Dissect, packet: bytes, sample: Any) -> None:
    frame = scapy.Dot11(type=2) / scapy.LLC() / scapy.SNAP() / scapy.IP(packet)
    (message,) = dissect([frame], link_type=105).messages
    assert message.octets == sample.gtpv2
    assert dissect([b"\x08"], link_type=105).accounted


def test_a_capture_of_link_types_that_nobody_knows_is_refused_by_name(tmp_path: Path, dissect: Dissect) -> None:
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 9999)
    path = tmp_path / "odd.pcap"
    path.write_bytes(head + struct.pack("<IIII", 1, 0, 1, 1) + b"x")
    with pytest.raises(RecordError, match="link type 9999 is not supported"):
        read(path)
    outcome = dissect([b"x"], link_type=9999)
    assert outcome.ledger.ignored == {"link type 9999 (not supported)": 1}
    assert outcome.accounted


def test_overlays_and_mirrored_frames_are_walked(scapy: Any, dissect: Dissect, packet: bytes, sample: Any) -> None:
    outer = scapy.Ether() / scapy.IP(src="10.1.1.1", dst="10.1.1.2")
    inner = bytes(scapy.Ether() / scapy.Dot1Q(vlan=3) / scapy.IP(packet))
    gre = scapy.IP(src="10.1.1.1", dst="10.1.1.2", proto=47)
    frames = [
        outer / scapy.UDP(sport=50000, dport=4789) / (b"\x08\x00\x00\x00\x00\x00\x07\x00" + inner),
        scapy.Ether() / gre / (b"\x00\x00\x08\x00" + packet),
        scapy.Ether() / gre / (b"\x20\x00\x65\x58\x00\x00\x00\x09" + inner),
        scapy.Ether() / gre / (b"\x10\x00\x88\xbe\x00\x00\x00\x01" + b"\x10\x07\x00\x01\x00\x00\x00\x00" + inner),
        scapy.Ether() / gre / (b"\x00\x00\x88\xbe" + inner),
        scapy.Ether() / gre / (b"\x10\x00\x22\xeb\x00\x00\x00\x01" + b"\x20" + b"\0" * 11 + inner),
    ]
    outcome = dissect([*frames, scapy.Ether() / gre / b"\x00"])
    assert outcome.octets == [sample.gtpv2] * 6
    assert (outcome.ledger.damaged, outcome.accounted) == (1, True)


def test_frames_of_other_kinds_are_ignored_by_name(scapy: Any, dissect: Dissect) -> None:
    outcome = dissect([scapy.Ether() / scapy.ARP(), b"\x01" * 12 + b"\x88\xcc" + b"\x00" * 50])
    assert outcome.ledger.ignored == {"arp": 1, "lldp": 1}
    assert outcome.accounted


def test_a_cut_link_header_is_a_decode_error() -> None:
    for link_type in (0, 1, 9, 113, 276):
        walk = link.walk_of(link_type)
        assert walk is not None
        with pytest.raises(DecodeError):
            walk(b"\x81")
    with pytest.raises(DecodeError):
        link.ethernet(b"\x00" * 12 + b"\x81\x00\x00\x01" * 20)
