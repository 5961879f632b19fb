"""RTP and RTCP on the octet."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferret.errors import DecodeError
from ferret_deploy.lab import rtp
from ferret_deploy.lab.rtp import ReportBlock, RtcpReport, RtpPacket, SenderInfo

U16, U32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
EXTENSIONS = st.integers(0, 3).flatmap(
    lambda words: st.binary(min_size=4 * words, max_size=4 * words).map(
        lambda body: b"\xbe\xde" + words.to_bytes(2, "big") + body
    )
)
PACKETS = st.builds(
    RtpPacket,
    st.integers(96, 127),
    U16,
    U32,
    U32,
    st.binary(max_size=40),
    st.booleans(),
    st.lists(U32, max_size=15).map(tuple),
    st.just(b"") | EXTENSIONS,
)


@given(PACKETS)
def test_what_is_encoded_comes_back(packet: RtpPacket) -> None:
    assert rtp.decode(packet.encode()) == packet


def test_a_packet_looks_as_rfc_3550_draws_it() -> None:
    packet = RtpPacket(104, 0x1234, 0x01020304, 0xAABBCCDD, b"\xf0\x44", marker=True)
    octets = bytes.fromhex("80 e8 1234 01020304 aabbccdd f044")  # V=2; M, PT 104; sequence; timestamp; SSRC; payload
    assert packet.encode() == octets


def test_padding_is_taken_off() -> None:
    octets = bytes.fromhex("a0 68 0001 00000000 00000001 cafe 0000 03".replace(" ", ""))
    assert rtp.decode(octets).payload == bytes.fromhex("cafe")


@pytest.mark.parametrize(
    "octets",
    [
        "",
        "80",
        "40680001000000000000000a",  # version 1
        "80c8000100000000000000aa",  # RTCP
        "8f680001000000000000000a",  # 15 CSRCs that are not there
        "90680001000000000000000a",  # an extension that is not there
        "90680001000000000000000abede0001",  # an extension shorter than it says
        "a0680001000000000000000aff",  # more padding than packet
        "a0680001000000000000000a00",  # no padding where there should be some
    ],
)
def test_damage_is_a_decode_error(octets: str) -> None:
    with pytest.raises(DecodeError):
        rtp.decode(bytes.fromhex(octets))


@given(st.binary(max_size=120))
def test_nothing_else_comes_out_of_the_decoders(octets: bytes) -> None:
    for decode in (rtp.decode, rtp.decode_report):
        try:
            decode(octets)
        except DecodeError:
            continue


BLOCKS = st.builds(ReportBlock, U32, st.integers(0, 255), st.integers(-(1 << 23), (1 << 23) - 1), U32, U32, U32, U32)
REPORTS = st.builds(
    RtcpReport,
    U32,
    st.text("abc@.", max_size=20),
    st.none() | st.builds(SenderInfo, st.integers(0, (1 << 64) - 1), U32, U32, U32),
    st.lists(BLOCKS, max_size=4).map(tuple),
    st.booleans(),
)


@given(REPORTS)
def test_reports_come_back(report: RtcpReport) -> None:
    octets = report.encode()
    assert len(octets) % 4 == 0
    assert rtp.decode_report(octets) == report


@pytest.mark.parametrize(
    "octets", ["", "80", "80ca0001000000010100", "81c9000100000001", "80c8000100000001", "80c9ffff"]
)
def test_damaged_reports_are_a_decode_error(octets: str) -> None:
    with pytest.raises(DecodeError):
        rtp.decode_report(bytes.fromhex(octets))
