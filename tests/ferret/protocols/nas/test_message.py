"""NAS messages: lossless decoding, building, damage."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferret.errors import DecodeError, LocalMisuseError
from ferret.protocols import nas

# Attach accept of Open5GS in its security header; EEA0.
ACCEPT = bytes.fromhex(
    "274be8872b01"  # integrity protected and ciphered, MAC, sequence number 1
    "07420129"  # Attach accept, EPS only, T3412 9 min
    "064099f9070001"  # TAI list: one partial list of type 2
    "0040"  # ESM message container
    "5201c101090908696e7465726e657405010a2d0002"  # Activate default: QCI 9, "internet", 10.45.0.2
    "5e06fefefafa0202"  # APN-AMBR 768 Mbit/s
    "272180000d040a2d0001000c04ac160015001002057880210a0200000a81060a2d0001"  # PCO
    "500bf699f907000201c00002b4"  # GUTI
    "64020108"  # EPS network feature support
)


def test_attach_accept_reads_field_by_field_through_its_security_header() -> None:
    message = nas.decode(ACCEPT)
    assert message.encode() == ACCEPT
    assert (message.header, message.sequence_number) == (nas.SecurityHeader.INTEGRITY_PROTECTED_AND_CIPHERED, 1)
    assert message.plain is not None and message.plain.name == "Attach accept"
    guti = nas.MobileIdentity.decode(message.plain.get("GUTI") or b"").guti
    assert guti == nas.Guti("99970", 2, 1, 0xC00002B4)
    assert nas.decode_tai_list(message.plain.get("TAI list") or b"") == (nas.Tai("99970", 1),)


def test_the_esm_message_inside_is_found() -> None:
    plain = nas.decode(ACCEPT).plain
    inner = plain.esm if plain else None
    assert inner is not None and inner.name == "Activate default EPS bearer context request"
    assert (inner.ebi, inner.pti) == (5, 1)
    assert nas.decode_apn(inner.get("Access point name") or b"") == "internet"
    assert nas.PdnAddress.decode(inner.get("PDN address") or b"").ipv4 == "10.45.0.2"
    assert nas.ApnAmbr.decode(inner.get("APN-AMBR") or b"") == (768_000, 768_000)
    assert nas.EpsQos.decode(inner.get("EPS QoS") or b"") == nas.EpsQos(9)


def test_service_request_has_a_short_mac() -> None:
    message = nas.decode(bytes.fromhex("c704d4b8"))
    assert (message.name, message.ksi, message.sequence_number, message.mac.hex()) == ("Service request", 0, 4, "d4b8")


def test_what_is_ciphered_is_kept_as_it_is() -> None:
    octets = bytes.fromhex("270000000007") + bytes.fromhex("a3f1c2d4e5f60718")
    message = nas.decode(octets)
    assert message.plain is None
    assert message.name == "ciphered NAS message"
    assert message.encode() == octets


@pytest.mark.parametrize(
    ("text", "ksi"), [("0745 01 0bf699f907000201c00002b4", True), ("0745 02", False), ("0745 02 5302", False)]
)
def test_detach_request_is_told_by_its_form_who_sent_it(text: str, ksi: bool) -> None:
    plain = nas.decode(bytes.fromhex(text)).plain
    assert plain is not None
    assert (plain.get("NAS key set identifier") is not None) is ksi


def test_an_unknown_optional_part_is_carried() -> None:
    plain = nas.decode(bytes.fromhex("0743 0003 5200c2 770102 7b000155 91".replace(" ", ""))).plain
    assert plain is not None
    assert [one.name for one in plain.fields] == ["ESM message container", "IEI 0x77", "IEI 0x7b", "IEI 0x91"]


def test_a_field_that_a_message_does_not_have_is_misuse() -> None:
    with pytest.raises(LocalMisuseError):
        nas.build_emm(nas.MessageType.ATTACH_COMPLETE, {"ESM message container": b"", "GUTI": b""})
    with pytest.raises(LocalMisuseError):
        nas.build_emm(nas.MessageType.ATTACH_COMPLETE, {})


def test_built_messages_decode_to_what_was_asked() -> None:
    command = nas.build_emm(
        nas.MessageType.SECURITY_MODE_COMMAND,
        {
            "Selected NAS security algorithms": 0x02,
            "NAS key set identifier": 1,
            "Replayed UE security capabilities": b"\xf0\xf0",
            "IMEISV request": 1,
        },
    )
    assert command.octets == bytes.fromhex("075d020102f0f0c1")
    modify = nas.build_esm(
        nas.MessageType.MODIFY_EPS_BEARER_CONTEXT_REQUEST, ebi=6, pti=0, values={"New EPS QoS": nas.EpsQos(1).encode()}
    )
    assert modify.octets == bytes.fromhex("6200c95b0101")


@pytest.mark.parametrize("octets", [b"", b"\x07", b"\x09\x01", b"\x27\x00", b"\x07\x41\x01", b"\xc7\x00\x00"])
def test_what_is_no_nas_message_is_refused(octets: bytes) -> None:
    with pytest.raises(DecodeError):
        nas.decode(octets)


@settings(max_examples=400)
@given(st.data())
def test_damage_is_refused_or_survived_but_never_anything_else(data: st.DataObject) -> None:
    octets = bytearray(data.draw(st.sampled_from([ACCEPT, ACCEPT[6:], b"\x07" + bytes(20)])))
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(octets[: data.draw(st.integers(0, len(octets)))])
    try:
        message = nas.decode(damaged)
        inner = message.plain.esm if message.plain else None
    except DecodeError:
        return
    assert message.encode() == damaged
    assert inner is None or inner.octets in damaged
