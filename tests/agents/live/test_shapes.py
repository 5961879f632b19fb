"""What is quickly taken for a message is one for those who look closely."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferret.protocols import gtpv2, s1ap
from ferret.protocols.summary import Protocol
from ferret_agents.capture.classify import Found, datagram
from ferret_agents.live.loads import LOADS
from ferret_agents.live.shapes import one_gtpv2, one_s1ap, one_sip

GTPV2, SIP, S1AP = (LOADS[kind].message for kind in ("gtpv2", "sip", "s1ap"))
REQUEST = b"INVITE sip:a@b SIP/2.0\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nContent-Length: 4\r\n\r\nv=0\n"
ANSWER = b"SIP/2.0 200 OK\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"


def test_messages_as_nearly_all_are_written_are_known_with_their_types() -> None:
    assert one_gtpv2(GTPV2) == GTPV2[1]
    assert (one_sip(SIP), one_sip(REQUEST), one_sip(ANSWER)) == (b"INVITE", b"INVITE", b"SIP/2.0 2")
    assert one_s1ap(S1AP) == S1AP[:2]


@pytest.mark.parametrize("octets", (b"", b"\x48", b"SIP/2.0", b"\r\n\r\n", bytes(12), GTPV2[:-1], SIP[:-1], S1AP[:-1]))
def test_what_is_too_short_is_no_message(octets: bytes) -> None:
    assert not one_gtpv2(octets)
    assert not one_sip(octets)
    assert not one_s1ap(octets)


@settings(max_examples=400)
@given(st.data())
def test_what_is_quickly_taken_for_sip_is_one_message_for_the_dissector(data: st.DataObject) -> None:
    octets = bytearray(data.draw(st.sampled_from((REQUEST, ANSWER))))
    for _ in range(data.draw(st.integers(0, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.sampled_from(b"\r\n :/019aZ\xff"))
    whole = bytes(octets)
    if one_sip(whole):
        assert datagram(5060, 5060, whole, 0) == Found(Protocol.SIP, (len(whole),))


@settings(max_examples=400)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 255)), max_size=3), st.integers(0, 30))
def test_what_is_quickly_taken_for_s1ap_is_s1ap_for_its_peek(changes: list[tuple[int, int]], cut: int) -> None:
    octets = bytearray(S1AP)
    for place, value in changes:
        octets[place] = value
    whole = bytes(octets[: len(octets) - cut] if cut > 20 else octets)
    if one_s1ap(whole):
        assert s1ap.peek(whole) is not None


@settings(max_examples=400)
@given(st.lists(st.tuples(st.integers(0, len(GTPV2) - 1), st.integers(0, 255)), max_size=3), st.integers(0, 3))
def test_what_is_quickly_taken_for_gtpv2_is_one_message_for_the_dissector(
    changes: list[tuple[int, int]], cut: int
) -> None:
    octets = bytearray(GTPV2)
    for place, value in changes:
        octets[place] = value
    whole = bytes(octets[: len(octets) - cut])
    if one_gtpv2(whole):
        assert gtpv2.peek(whole) is not None
        assert datagram(2123, 2123, whole, 0) == Found(Protocol.GTPV2, (len(whole),))
