"""GTP-U codec: clause examples, lossless over real traffic, DecodeError on anything else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferret.errors import DecodeError
from ferret.protocols import gtpu
from ferret.protocols.gtpu import ErrorIndication, ExtensionHeader, ExtensionType, GtpuType, Packet


def test_a_t_pdu_without_options_has_eight_octets_of_header() -> None:
    octets = gtpu.wrap(0x00001002, b"\x45abc")
    assert octets.hex() == "30ff0004" + "00001002" + "45616263"
    assert gtpu.open_tunnel(octets) == (0x1002, b"\x45abc")
    assert gtpu.decode(octets).encode() == octets


def test_extension_headers_are_skipped_to_the_inner_packet() -> None:
    packet = Packet(
        GtpuType.T_PDU,
        7,
        b"\x45",
        flags=0x06,
        option=b"\x00\x05\x00",
        extensions=(
            ExtensionHeader(ExtensionType.PDCP_PDU_NUMBER, b"\x00\x01"),
            ExtensionHeader(ExtensionType.PDU_SESSION_CONTAINER, b"\x00\x09" + bytes(4)),
        ),
    )
    octets = packet.encode()
    assert octets.hex() == "36ff" + "0011" + "00000007" + "000500c0" + "01000185" + "0200090000000000" + "45"
    assert gtpu.decode(octets) == packet and packet.sequence == 5
    assert gtpu.open_tunnel(octets) == (7, b"\x45")


def test_echo_is_answered_under_its_sequence_number() -> None:
    request = gtpu.echo_request(0x1234)
    assert request.hex() == "32010004" + "00000000" + "12340000"
    assert gtpu.echo_response(gtpu.decode(request)).hex() == "32020006" + "00000000" + "12340000" + "0e00"


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_an_error_indication_names_tunnel_and_sender(address: str) -> None:
    indication = ErrorIndication(0xDEADBEEF, address)
    packet = gtpu.decode(indication.encode())
    assert packet.type == GtpuType.ERROR_INDICATION and packet.teid == 0
    assert gtpu.error_indication(packet) == indication


def test_an_end_marker_is_a_bare_header() -> None:
    assert gtpu.end_marker(9).hex() == "30fe0000" + "00000009"
    assert gtpu.open_tunnel(gtpu.end_marker(9)) is None


@pytest.mark.parametrize(
    "octets", ["", "30ff", "48ff000000000001", "30ff000500000001aa", "32ff000000000001", "34ff0004000000010000c0"]
)
def test_what_is_no_gtp_u_message_raises_a_decode_error(octets: str) -> None:
    with pytest.raises(DecodeError):
        gtpu.decode(bytes.fromhex(octets))
    assert gtpu.open_tunnel(bytes.fromhex(octets)) is None


@pytest.mark.parametrize("payload", ["", "10000000", "1000000001", "10000000018500050a000001", "8500040a000001", "ff"])
def test_an_error_indication_without_its_elements_raises_a_decode_error(payload: str) -> None:
    with pytest.raises(DecodeError):
        gtpu.error_indication(Packet(GtpuType.ERROR_INDICATION, 0, bytes.fromhex(payload)))


@settings(max_examples=400)
@given(st.binary(max_size=60), st.integers(0, 15), st.booleans())
def test_hostile_octets_either_decode_losslessly_or_raise_a_decode_error(
    octets: bytes, flags: int, dressed: bool
) -> None:
    if dressed:
        octets = bytes((0x30 | flags, 255)) + len(octets).to_bytes(2, "big") + bytes(4) + octets
    opened = gtpu.open_tunnel(octets)
    try:
        packet = gtpu.decode(octets)
    except DecodeError:
        assert opened is None
        return
    assert packet.encode() == octets
    assert opened in (None, (packet.teid, packet.payload))
    try:
        gtpu.error_indication(packet)
    except DecodeError:
        return


@pytest.mark.tshark
def test_tshark_sees_the_same_tunnels(own_captures: list[Path]) -> None:
    checked = 0
    for path in own_captures:
        fields = ["-e", "gtp.teid", "-e", "gtp.message", "-e", "gtp.length", "-e", "udp.payload"]
        command = ["tshark", "-r", str(path), "-Y", "gtp", "-c", "2000", "-T", "fields", "-E", "occurrence=f", *fields]
        for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines():
            teid, kind, length, payload = line.split("\t")
            octets = bytes.fromhex(payload)
            packet = gtpu.decode(octets)
            assert packet.encode() == octets
            assert (packet.teid, packet.type) == (int(teid, 16), int(kind, 16))
            assert len(octets) == int(length) + 8
            checked += 1
    assert checked > 500
