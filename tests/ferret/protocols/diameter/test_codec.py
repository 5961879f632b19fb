from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferret.errors import DecodeError, LocalMisuseError
from ferret.protocols.diameter import Avp, Command, Message, answer, avp, decode, peek, request, split
from ferret.protocols.diameter.constants import MAX_MESSAGE_OCTETS
from ferret.protocols.summary import Kind

DWR = bytes.fromhex("01000020 80000118 00000000 0000002a 0000002b 00000108 4000000b 61666600".replace(" ", ""))

leaves = st.builds(
    Avp,
    code=st.integers(0, 0xFFFFFFFF),
    vendor=st.just(0),
    flags=st.sampled_from((0x00, 0x40, 0x60, 0x20)),
    value=st.binary(max_size=20),
) | st.builds(
    Avp,
    code=st.integers(100_000, 0xFFFFFFFF),
    vendor=st.integers(0, 0xFFFFFFFF),
    flags=st.sampled_from((0x80, 0xC0)),
    value=st.binary(max_size=20),
)
trees = st.recursive(
    leaves.filter(lambda one: one.code >= 100_000),
    lambda inner: st.lists(inner, max_size=4).map(lambda avps: avp.FAILED_AVP(*avps)),
    max_leaves=12,
)
messages = st.builds(
    Message,
    command=st.integers(0, 0xFFFFFF),
    application=st.integers(0, 0xFFFFFFFF),
    flags=st.integers(0, 0xFF),
    hop_by_hop=st.integers(0, 0xFFFFFFFF),
    end_to_end=st.integers(0, 0xFFFFFFFF),
    avps=st.lists(trees, max_size=6).map(tuple),
)


def test_every_message_of_our_captures_is_written_back_exactly(
    own_captures: list[Path], recorded_messages: Callable[[Path], list[bytes]]
) -> None:
    octets = [one for path in own_captures for one in recorded_messages(path)]
    wrong = [one for one in octets if decode(one).encode() != one]
    print(f"\nDiameter: {len(octets)} messages of {len(own_captures)} captures written back, {len(wrong)} differ")  # noqa: T201  # the count is asked for
    assert len(octets) > 400
    assert not wrong


@pytest.mark.tshark
def test_every_message_of_all_captures_is_written_back_exactly(
    all_captures: list[Path], tshark_messages: Callable[[Path], list[bytes]]
) -> None:
    octets = [one for path in all_captures for one in tshark_messages(path)]
    wrong = [one for one in octets if decode(one).encode() != one]
    print(f"\nDiameter: {len(octets)} messages of {len(all_captures)} captures written back, {len(wrong)} differ")  # noqa: T201  # the count is asked for
    assert octets
    assert not wrong


@pytest.mark.tshark
def test_the_stream_splitter_finds_the_messages_that_tshark_finds(
    capture: Callable[[str], Path],
    recorded_messages: Callable[[Path], list[bytes]],
    tshark_messages: Callable[[Path], list[bytes]],
) -> None:
    path = capture("volte-multi-6.pcap")
    assert sorted(recorded_messages(path)) == sorted(tshark_messages(path))


@given(messages)
@settings(max_examples=150)
def test_any_message_that_can_be_built_is_read_back_as_it_was(message: Message) -> None:
    assert decode(message.encode()) == message


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_octets_that_decode_are_written_back_and_others_are_a_decode_error(octets: bytes) -> None:
    framed = b"\x01" + (20 + len(octets)).to_bytes(3, "big") + bytes(16) + octets
    peek(octets)
    peek(framed)
    try:
        message = decode(framed)
    except DecodeError:
        return
    assert message.encode() == framed


@given(st.data())
@settings(max_examples=150)
def test_a_damaged_real_message_never_raises_anything_but_a_decode_error(data: st.DataObject) -> None:
    octets = bytearray(_call().encode())
    for _ in range(data.draw(st.integers(1, 6))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(octets[: data.draw(st.integers(0, len(octets)))])
    for one in (bytes(octets), cut):
        peek(one)
        with contextlib.suppress(DecodeError):
            assert decode(one).encode() == one
        with contextlib.suppress(DecodeError):
            split(one)


@given(st.lists(messages, max_size=4), st.integers(0, 60))
@settings(max_examples=60)
def test_a_stream_is_split_into_its_messages_wherever_it_is_cut(several: list[Message], missing: int) -> None:
    octets = [one.encode() for one in several]
    stream = b"".join(octets)
    front = stream[: max(0, len(stream) - missing)]
    found, used = split(front)
    rest, used_later = split(stream[used:])
    assert found + rest == octets
    assert used + used_later == len(stream)


def _call() -> Message:
    return request(
        Command.AA,
        16777236,
        avp.SESSION_ID("af.example;1;2"),
        avp.SUBSCRIPTION_ID(avp.SUBSCRIPTION_ID_TYPE(1), avp.SUBSCRIPTION_ID_DATA("001010000000001")),
        avp.MEDIA_COMPONENT_DESCRIPTION(
            avp.MEDIA_COMPONENT_NUMBER(1),
            avp.MEDIA_SUB_COMPONENT(avp.FLOW_NUMBER(1), avp.FLOW_DESCRIPTION("permit out 17 from any to any")),
        ),
        avp.FRAMED_IP_ADDRESS("10.0.0.1"),
    )


def test_peek_sees_kind_command_hop_by_hop_and_length() -> None:
    seen = peek(DWR + b"more")
    assert seen is not None
    assert (seen.kind, seen.type, seen.correlation, seen.length) == (Kind.REQUEST, "280", "0x0000002a", 32)


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"", "nothing"),
        (DWR[:19], "a cut header"),
        (b"\x01\x00\x00\x00" + DWR[4:], "a length of 0"),
        (b"\x01\xff\xff\xfc" + DWR[4:], "a length of 16 MB"),
        (b"\x01\x00\x00\x21" + DWR[4:], "a length that is no multiple of four"),
        (b"\x02" + DWR[1:], "another version"),
        (b"INVITE sip:a@example SIP/2.0\r\n", "SIP"),
        (DWR[:20] + b"\x00\x00\x01\x08\x40\x00\x00\x02aff\0", "a first AVP of two octets"),
    ],
)
def test_peek_says_none_of_what_is_not_diameter(octets: bytes, reason: str) -> None:
    assert peek(octets) is None, reason


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\x01\x00\x00\x00" + DWR[4:],
        b"\x01\xff\xff\xfc" + DWR[4:],
        b"\x02" + DWR[1:],
        DWR + b"\0\0\0\0",
        DWR[:20] + b"\x00\x00\x01\x08\x40\x00\x00\x07aff\0",
        DWR[:20] + b"\x00\x00\x01\x08\xc0\x00\x00\x08aff\0",
        DWR[:20] + b"\x00\x00\x01\x08\x40\x00\xff\x0baff\0",
    ],
)
def test_a_message_with_an_impossible_length_is_a_decode_error(octets: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(octets)


@pytest.mark.parametrize("length", [0, 19, 21, MAX_MESSAGE_OCTETS + 4, 0xFFFFFC])
def test_a_stream_with_an_impossible_length_is_an_error_after_what_came_before_it(length: int) -> None:
    broken = b"\x01" + length.to_bytes(3, "big") + DWR[4:]
    assert split(DWR + broken) == ([DWR], len(DWR))
    with pytest.raises(DecodeError):
        split(broken)


def test_groups_nested_without_end_are_read_to_a_bound_and_written_back() -> None:
    bomb = b""
    for _ in range(5000):
        bomb = b"\x00\x00\x01\x17\x40" + (8 + len(bomb)).to_bytes(3, "big") + bomb
    octets = b"\x01" + (20 + len(bomb)).to_bytes(3, "big") + DWR[4:20] + bomb
    assert decode(octets).encode() == octets


def test_a_group_whose_content_is_no_avps_stays_octets() -> None:
    octets = DWR[:3] + b"\x1f" + DWR[4:20] + b"\x00\x00\x01\x17\x40\x00\x00\x0bxyz"
    octets = octets[:3] + bytes([len(octets) + 1]) + octets[4:] + b"\0"
    message = decode(octets)
    assert message.avps[0].value == b"xyz"
    assert message.encode() == octets
    with pytest.raises(DecodeError):
        message.value_of(avp.FAILED_AVP)


def test_padding_that_is_not_zero_or_missing_at_the_end_is_kept() -> None:
    strange = DWR[:-1] + b"\x07"
    assert decode(strange).avps[0].padding == b"\x07"
    assert decode(strange).encode() == strange
    group = avp.FAILED_AVP.of().encode()[:7] + b"\x13" + b"\x00\x00\x01\x08\x40\x00\x00\x0baff" + b"\0"
    octets = b"\x01" + (20 + len(group)).to_bytes(3, "big") + DWR[4:20] + group
    assert decode(octets).avps[0].avps[0].padding == b""
    assert decode(octets).encode() == octets


def test_an_answer_carries_session_proxy_info_and_identifiers_of_its_request() -> None:
    proxy = avp.PROXY_INFO(avp.PROXY_HOST("relay.example"), avp.PROXY_STATE(b"1"))
    asked = request(272, 16777238, avp.SESSION_ID("a;1;2"), proxy).with_identifiers(7, 8)
    said = answer(asked, avp.RESULT_CODE(2001))
    assert [one.code for one in said.avps] == [263, 268, 284]
    assert (said.hop_by_hop, said.end_to_end, said.flags) == (7, 8, 0x40)
    assert answer(asked, error=True).flags == 0x60


def test_avps_are_found_replaced_added_removed_and_rewritten() -> None:
    message = _call()
    assert message.value_of(avp.SESSION_ID) == "af.example;1;2"
    assert message.value_of(avp.RESULT_CODE) is None
    changed = message.with_avp(avp.SESSION_ID("x;1;2")).with_avp(avp.RESULT_CODE(2001)).without(avp.SUBSCRIPTION_ID)
    assert [one.code for one in changed.avps] == [263, 517, 8, 268]
    assert changed.value_of(avp.SESSION_ID) == "x;1;2"

    def other_flows(one: Avp) -> Avp | None:
        return avp.FLOW_DESCRIPTION("deny out ip from any to any") if one.code == avp.FLOW_DESCRIPTION.code else one

    media = message.rewritten(other_flows).find(avp.MEDIA_COMPONENT_DESCRIPTION)
    assert media is not None
    flow = media.find(avp.MEDIA_SUB_COMPONENT)
    assert flow is not None
    assert flow.values_of(avp.FLOW_DESCRIPTION) == ("deny out ip from any to any",)


def test_what_does_not_fit_into_a_message_is_misuse() -> None:
    with pytest.raises(LocalMisuseError):
        avp.RESULT_CODE(-1)
    with pytest.raises(LocalMisuseError):
        avp.FRAMED_IP_ADDRESS("not an address")
    with pytest.raises(LocalMisuseError):
        Avp(1, value=bytes(1 << 24)).encode()
    with pytest.raises(LocalMisuseError):
        Message(1, 0, avps=(Avp(1, value=bytes((1 << 24) - 9)),)).encode()
