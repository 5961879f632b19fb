"""S1AP messages: lossless decoding, building, damage."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferret.errors import DecodeError, LocalMisuseError
from ferret.protocols import s1ap
from ferret.protocols.summary import Kind

# InitialUEMessage of an Open5GS test run; the eNB UE S1AP ID (00 02) is followed by an octet that means nothing.
TRAILING = bytes.fromhex(
    "000c403800000600080003000400001a000504c704d4b8004300060000f11030390064400800"
    "00f1100787b8000086400140006000060040c200bb1d"
)
DOWNLINK = s1ap.downlink_nas_transport(mme_ue_s1ap_id=7, enb_ue_s1ap_id=9, nas_pdu=b"\x07\x52\x00")


def test_a_built_message_decodes_to_itself() -> None:
    assert s1ap.decode(DOWNLINK.encode()) == DOWNLINK
    assert DOWNLINK.name == "DownlinkNASTransport"
    assert DOWNLINK.nas_pdu == b"\x07\x52\x00"
    assert (DOWNLINK.mme_ue_s1ap_id, DOWNLINK.enb_ue_s1ap_id) == (7, 9)


def test_octets_behind_a_value_inside_its_open_type_are_tolerated_and_kept() -> None:
    message = s1ap.decode(TRAILING)
    assert message.enb_ue_s1ap_id == 4
    assert message.ie("S-TMSI") == {"mMEC": b"\x01", "m-TMSI": bytes.fromhex("c200bb1d")}
    assert message.encode() == TRAILING


def test_values_of_a_decoded_message_do_not_change_when_another_is_decoded() -> None:
    first = s1ap.decode(TRAILING)
    before = repr(first)
    s1ap.decode(TRAILING.replace(bytes.fromhex("c200bb1d"), bytes(4)))
    assert repr(first) == before


def test_replacing_an_ie_leaves_the_octets_of_the_others_alone() -> None:
    changed = s1ap.decode(TRAILING).replacing({s1ap.IeId.NAS_PDU: b"\xc7\x05\x00\x00"})
    assert changed.ies[0].octets == bytes.fromhex("000400")
    assert s1ap.decode(changed.encode()).nas_pdu == b"\xc7\x05\x00\x00"


def test_replacing_what_a_message_lacks_is_misuse() -> None:
    with pytest.raises(LocalMisuseError):
        DOWNLINK.replacing({s1ap.IeId.TAI: {}})


def test_an_ie_that_a_message_must_not_carry_is_misuse() -> None:
    with pytest.raises(LocalMisuseError):
        s1ap.build(s1ap.PduKind.INITIATING_MESSAGE, s1ap.ProcedureCode.PAGING, [(s1ap.IeId.NAS_PDU, b"")])


def test_release_command_names_its_connection_in_ue_s1ap_ids() -> None:
    cause = s1ap.Cause("nas", "detach")
    message = s1ap.ue_context_release_command(mme_ue_s1ap_id=3, enb_ue_s1ap_id=4, cause=cause)
    assert (message.mme_ue_s1ap_id, message.enb_ue_s1ap_id, message.ie("Cause")) == (3, 4, cause)


def test_modification_carries_the_gateways_new_tunnel_end_as_transport_information() -> None:
    erab = s1ap.Erab(
        5, s1ap.ErabQos(1, 2, gbr=s1ap.Gbr(4, 3, 2, 1)), nas_pdu=b"\x52", transport_information=s1ap.Tunnel("::1", 77)
    )
    message = s1ap.erab_modify_request(mme_ue_s1ap_id=1, enb_ue_s1ap_id=2, erabs=[erab])
    items = list(s1ap.decode(message.octets).items(s1ap.IeId.ERAB_TO_BE_MODIFIED_LIST_BEARER_MOD_REQ))
    assert [s1ap.Erab.of(item) for item in items] == [erab]
    assert list(message.nas_pdus()) == [b"\x52"]


def test_peek_tells_name_kind_and_ids_without_decoding() -> None:
    seen = s1ap.peek(DOWNLINK.octets)
    assert seen is not None
    assert (seen.type, seen.kind, seen.correlation) == ("DownlinkNASTransport", Kind.INDICATION, "7:9")
    assert seen.length == len(DOWNLINK.octets)
    assert s1ap.peek(b"") is None
    assert s1ap.peek(b"GET / HTTP/1.1") is None


def test_a_nas_pdu_longer_than_a_fragment_survives() -> None:
    nas = bytes(range(256)) * 300
    message = s1ap.downlink_nas_transport(mme_ue_s1ap_id=1, enb_ue_s1ap_id=1, nas_pdu=nas)
    assert s1ap.decode(message.octets).nas_pdu == nas


@pytest.mark.parametrize("octets", [b"", b"\x00", b"\xff" * 40, DOWNLINK.octets[:-1], b"\x00\x4d\x00\x03\x00\x00\x00"])
def test_what_is_no_message_is_refused(octets: bytes) -> None:
    with pytest.raises(DecodeError):
        s1ap.decode(octets)


@settings(max_examples=300)
@given(st.data())
def test_damage_is_refused_or_survived_but_never_anything_else(data: st.DataObject) -> None:
    octets = bytearray(data.draw(st.sampled_from([TRAILING, DOWNLINK.octets])))
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(octets[: data.draw(st.integers(0, len(octets)))])
    s1ap.peek(damaged)
    try:
        message = s1ap.decode(damaged)
    except DecodeError:
        return
    assert message.encode() == damaged


@settings(max_examples=200)
@given(mme=st.integers(0, 2**32 - 1), enb=st.integers(0, 2**24 - 1), nas=st.binary(max_size=400))
def test_identifiers_and_nas_come_back_as_they_were_given(mme: int, enb: int, nas: bytes) -> None:
    built = s1ap.downlink_nas_transport(mme_ue_s1ap_id=mme, enb_ue_s1ap_id=enb, nas_pdu=nas)
    read = s1ap.decode(built.octets)
    assert (read.mme_ue_s1ap_id, read.enb_ue_s1ap_id, read.nas_pdu) == (mme, enb, nas)
