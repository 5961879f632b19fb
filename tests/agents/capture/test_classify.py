"""What is signalling and what is not: octets decide, ports only hint."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferret.protocols.summary import Protocol
from ferret.records.message import Flaw
from ferret_agents.capture import framing
from ferret_agents.capture.classify import Found, Noise, datagram, sent_by_mme, user_message

Dissect = Callable[..., Any]


def test_sip_is_found_on_any_port(sample: Any) -> None:
    for ports in ((5060, 5060), (4060, 6060), (40000, 31337)):
        found = datagram(*ports, sample.sip("INVITE", 1), 0)
        assert isinstance(found, Found)
        assert found.protocol is Protocol.SIP


def test_a_datagram_on_2123_is_gtpv2c_or_damage_or_an_older_gtp(sample: Any) -> None:
    assert datagram(2123, 40000, sample.gtpv2, 0) == Found(Protocol.GTPV2, (len(sample.gtpv2),))
    assert datagram(2123, 2123, b"\x32\x01\x00\x04\x00\x00\x00\x00\x00\x01\x00\x00", 0) == Noise("gtpv1-c")
    for garbage in (b"\x00", b"\xff" * 30, b"\x48\x20\xff\xff" + b"\0" * 20, b"\x40\xfa\x00\x08" + b"\0" * 8):
        noise = datagram(2123, 2123, garbage, 0)
        assert isinstance(noise, Noise)
        assert noise.fault


def test_piggybacked_messages_are_taken_apart(sample: Any) -> None:
    first = bytes((sample.gtpv2[0] | 0x10,)) + sample.gtpv2[1:]
    found = datagram(2123, 2123, first + sample.gtpv2, 0)
    assert found == Found(Protocol.GTPV2, (13, 26))
    broken = datagram(2123, 2123, first + sample.gtpv2[:-5] + b"\x00\x00\x01\x00\x01", 0)
    assert isinstance(broken, Found)
    assert (broken.ends, broken.faulty) == ((13, 26), 1)


def test_ies_that_cannot_be_walked_mark_the_message(scapy: Any, dissect: Dissect, sample: Any) -> None:
    bad = sample.gtpv2[:-5] + b"\x03\x00\xff\x00\x01"
    frame = scapy.Ether() / scapy.IP(src="192.0.2.1", dst="192.0.2.2") / scapy.UDP(sport=2123, dport=2123) / bad
    outcome = dissect([frame])
    assert outcome.messages[0].flaws == (Flaw.UNDECODABLE,)
    assert "undecodable: an IE is longer" in outcome.ledger.damage[0].what


def test_a_cut_datagram_is_still_a_message_and_marked(scapy: Any, dissect: Dissect, sample: Any) -> None:
    base = scapy.Ether() / scapy.IP(src="192.0.2.1", dst="192.0.2.2")
    frames = [
        base
        / scapy.UDP(sport=2123, dport=2123)
        / (sample.gtpv2[:3] + b"\x59" + sample.gtpv2[4:] + b"\x7f\x00\x4c\x00" + b"x" * 76),
        base / scapy.UDP(sport=5060, dport=5060) / sample.sip("INVITE", 1, b"v=0\r\n" * 30),
    ]
    outcome = dissect(frames, cut=40)
    assert [message.flaws for message in outcome.messages] == [(Flaw.CUT,), (Flaw.CUT,)]


@pytest.mark.parametrize(
    ("ports", "octets", "kind", "fault"),
    [
        ((5060, 5060), b"\r\n\r\n", "sip keep-alive", False),
        ((5060, 5060), b"\0\0\0\0", "sip keep-alive", False),
        ((5060, 5060), b"hello", "udp", True),
        ((5060, 5060), b"HTTP/1.1 200 OK\r\n\r\n", "http", False),
        ((5060, 5060), b"\xff\xfe\xfd" * 9, "udp", True),
        ((137, 137), b"\x80\xf0\x01\x10\x00\x01" + b"\0" * 30, "nbns", False),
        ((53, 40000), b"\x12\x34\x81\x80" + b"\0" * 30, "dns", False),
        ((8805, 8805), b"\x20\x01\x00\x0c" + b"\0" * 12, "pfcp", False),
        ((40000, 40002), b"\x80\x68" + b"\0" * 60, "rtp", False),
        ((40001, 40003), b"\x80\xc8" + b"\0" * 60, "rtcp", False),
        ((40001, 3478), b"\x00\x01\x00\x00\x21\x12\xa4\x42" + b"\0" * 12, "stun", False),
        ((500, 500), b"\x01" * 20, "isakmp", False),
        ((1, 2), b"", "udp without payload", False),
        ((4444, 5555), b"INVITE me to a party\r\n", "udp", False),
    ],
)
def test_noise_is_told_by_kind(ports: tuple[int, int], octets: bytes, kind: str, fault: bool) -> None:
    noise = datagram(*ports, octets, 0)
    assert isinstance(noise, Noise)
    assert (noise.kind, bool(noise.fault)) == (kind, fault)


def test_a_long_line_of_spaces_costs_no_more_than_its_length() -> None:
    spaces = b"A" + b" " * 60_000
    begin = perf_counter()
    for octets in (spaces, spaces + b"SIP/x", b"A \t" * 20_000):
        assert isinstance(datagram(4444, 5555, octets, 0), Noise)
        assert framing.find_start(b"\n" + octets + b" SIP/2.0 ") is None
    assert perf_counter() - begin < 2


def test_esp_is_counted_as_not_readable(scapy: Any, dissect: Dissect) -> None:
    frame = scapy.Ether() / scapy.IP(src="192.0.2.1", dst="192.0.2.2", proto=50) / (b"\0" * 40)
    assert dissect([frame]).ledger.ignored == {"esp (encrypted, not readable)": 1}


def test_who_sent_an_s1ap_pdu_is_seen_from_its_first_octets(sample: Any) -> None:
    assert sent_by_mme(sample.s1ap) is False
    assert sent_by_mme(sample.s1ap_answer) is True
    assert sent_by_mme(b"\x00\x0b") is True  # DownlinkNASTransport
    assert sent_by_mme(b"\x20\x05") is False  # E-RABSetupResponse
    assert sent_by_mme(b"\x00\x0f") is None  # ErrorIndication
    assert sent_by_mme(b"") is None


@given(st.integers(0, 65535), st.integers(0, 65535), st.binary(max_size=80), st.integers(0, 9))
def test_no_datagram_raises(source: int, destination: int, octets: bytes, missing: int) -> None:
    for ports in ((source, destination), (2123, source), (5060, 5060)):
        found = datagram(*ports, octets, missing)
        if isinstance(found, Found):
            assert list(found.ends) == sorted(set(found.ends))
            assert 0 < found.ends[-1] <= len(octets)


@given(
    st.integers(0, 2**32 - 1) | st.sampled_from([0, 18, 46, 47]),
    st.binary(max_size=80),
    st.sampled_from([36412, 3868, 9]),
)
def test_no_user_message_raises(ppid: int, octets: bytes, port: int) -> None:
    found = user_message(ppid, (port, 1), octets, 0)
    assert isinstance(found, Found | Noise)
