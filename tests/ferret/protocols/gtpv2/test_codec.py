"""GTPv2-C codec: lossless over real traffic, never anything but DecodeError on hostile octets."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferret.errors import DecodeError
from ferret.protocols import gtpv2
from ferret.protocols.gtpv2 import Ie, IeType, Message, MessageType
from ferret.protocols.summary import Kind

ECHO = bytes.fromhex("40010009 00000100 03 0001 00 07".replace(" ", ""))


def test_every_captured_message_is_encoded_as_it_was_decoded(samples: list[Any]) -> None:
    undecodable = Counter[str]()
    for sample in samples:
        try:
            message = gtpv2.decode(sample.octets)
        except DecodeError:
            undecodable[sample.file] += 1
            continue
        assert message.encode() == sample.octets, (sample.file, sample.frame)
    exact = len(samples) - undecodable.total()
    sys.stdout.write(f"{exact} GTPv2-C messages round-trip exactly, undecodable: {dict(undecodable)}\n")
    assert len(samples) > 150
    assert all("-neg-" in name for name in undecodable)


def test_peek_agrees_with_decode_on_every_captured_message(samples: list[Any]) -> None:
    for sample in samples:
        try:
            message = gtpv2.decode(sample.octets)
        except DecodeError:
            continue
        seen = gtpv2.peek(sample.octets)
        assert seen is not None
        assert seen.type == str(message.type)
        assert int(seen.correlation, 16) == message.sequence
        assert seen.length == len(sample.octets) - len(message.trailing)


def test_an_echo_request_has_no_teid() -> None:
    message = gtpv2.decode(ECHO)
    assert (message.type, message.teid, message.sequence) == (MessageType.ECHO_REQUEST, None, 1)
    assert message.view(gtpv2.Recovery) == gtpv2.Recovery(7)
    peek = gtpv2.peek(ECHO)
    assert peek is not None and peek.kind is Kind.REQUEST and peek.length == 13


def test_a_piggybacked_message_is_kept_and_can_be_read() -> None:
    first = gtpv2.request(MessageType.CREATE_SESSION_RESPONSE, 1)
    second = gtpv2.request(MessageType.CREATE_BEARER_REQUEST, 1, gtpv2.Ebi(5))
    octets = bytes((first.encode()[0] | 0x10,)) + first.encode()[1:] + second.encode()
    message = gtpv2.decode(octets)
    assert message.encode() == octets
    assert message.piggybacked == second


def test_a_grouped_ie_that_is_no_list_stays_octets() -> None:
    message = gtpv2.decode(Message(32, 0, 1, (Ie(IeType.BEARER_CONTEXT, 0, b"\x49\x00\x09\x00"),)).encode())
    assert message.ies[0].value == b"\x49\x00\x09\x00"
    assert list(message.ies[0]) == []


def test_nesting_is_opened_four_deep_and_kept_beyond() -> None:
    ie = Ie(IeType.EBI, 0, b"\x05")
    for _ in range(200):
        ie = Ie(IeType.BEARER_CONTEXT, 0, (ie,))
    octets = Message(32, 0, 1, (ie,)).encode()
    message = gtpv2.decode(octets)
    assert message.encode() == octets


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\x48",
        bytes(8),
        bytes.fromhex("3020000400000000"),  # version 1
        bytes.fromhex("48200004000000000000000000"),  # shorter than its header
        bytes.fromhex("482000ff0000000000000100"),  # longer than the datagram
        bytes.fromhex("4820000a000000000000010001000801"),  # IE cut short
        bytes.fromhex("4820000a0000000000000100010008"),
    ],
)
def test_what_is_no_message_raises_a_decode_error(octets: bytes) -> None:
    with pytest.raises(DecodeError):
        gtpv2.decode(octets)


_ies = st.recursive(
    st.builds(
        Ie,
        st.integers(0, 255).filter(lambda number: number not in gtpv2.codec.GROUPED),
        st.integers(0, 15),
        st.binary(max_size=40),
        st.integers(0, 15),
    ),
    lambda children: st.builds(
        Ie,
        st.sampled_from(sorted(gtpv2.codec.GROUPED)),
        st.integers(0, 15),
        st.lists(children, min_size=1, max_size=4).map(tuple),
        st.integers(0, 15),
    ),
    max_leaves=6,
)


@settings(max_examples=200)
@given(
    st.builds(
        Message,
        st.integers(0, 255),
        st.none() | st.integers(0, 0xFFFFFFFF),
        st.integers(0, 0xFFFFFF),
        st.lists(_ies, max_size=6).map(tuple),
        st.sampled_from([0, 1, 2, 4, 7, 0x10, 0x17]),
        st.integers(0, 255),
        st.binary(max_size=20),
    )
)
def test_any_message_is_decoded_as_it_was_encoded(message: Message) -> None:
    assert gtpv2.decode(message.encode()) == message


@settings(max_examples=400)
@given(st.binary(max_size=120), st.booleans())
def test_hostile_octets_either_decode_losslessly_or_raise_a_decode_error(octets: bytes, dressed: bool) -> None:
    if dressed:
        octets = b"\x48\x20" + len(octets).to_bytes(2, "big") + octets
    gtpv2.peek(octets)
    try:
        message = gtpv2.decode(octets)
    except DecodeError:
        return
    assert message.encode() == octets
