"""Messages cut out of a TCP stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferret.errors import DecodeError
from ferret.protocols import sip

ONE = b"BYE sip:a SIP/2.0\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n"
TWO = b"MESSAGE sip:a SIP/2.0\r\nCSeq: 2 MESSAGE\r\nl: 7\r\n\r\nCSeq: 3"
STREAM = ONE + b"\r\n\r\n" + TWO + ONE


def received(*parts: bytes) -> tuple[list[sip.Message], sip.MessageStream]:
    """What comes out of a connection, and the connection."""
    stream = sip.MessageStream()
    return [message for part in parts for message in stream.receive(part)], stream


def test_a_stream_is_cut_at_content_length_and_keep_alives_are_swallowed() -> None:
    messages, stream = received(STREAM + b"\r\n\r\n")
    assert [message.first("CSeq") for message in messages] == ["1 BYE", "2 MESSAGE", "1 BYE"]
    assert messages[1].body == b"CSeq: 3"
    assert not stream.is_amid_message


@given(st.integers(0, len(STREAM)))
def test_however_the_stream_is_segmented_the_messages_are_the_same(at: int) -> None:
    messages, stream = received(STREAM[:at], STREAM[at:])
    assert [m.first("CSeq") for m in messages] == ["1 BYE", "2 MESSAGE", "1 BYE"]
    assert not stream.is_amid_message


@given(st.integers(1, len(TWO) - 1))
def test_a_message_that_has_begun_is_known_to_be_unfinished(at: int) -> None:
    messages, stream = received(ONE + TWO[:at])
    assert [m.first("CSeq") for m in messages] == ["1 BYE"]
    assert stream.is_amid_message


def test_without_content_length_a_message_has_no_body() -> None:
    messages, stream = received(b"BYE sip:a SIP/2.0\r\nCSeq: 1 BYE\r\n\r\n" + ONE)
    assert len(messages) == 2
    assert not stream.is_amid_message


@pytest.mark.parametrize("length", [b"-1", b"x", b"99999999"])
def test_a_stream_that_cannot_be_followed_is_refused(length: bytes) -> None:
    with pytest.raises(DecodeError):
        received(b"BYE sip:a SIP/2.0\r\nContent-Length: " + length + b"\r\n\r\n")


def test_a_header_without_end_is_refused() -> None:
    with pytest.raises(DecodeError):
        received(b"BYE sip:a SIP/2.0\r\nX: " + b"x" * (1 << 17))


def test_two_messages_in_one_datagram_are_seen_by_peek() -> None:
    seen = sip.peek(TWO + ONE)
    assert seen is not None
    assert seen.length == len(TWO)


@given(st.lists(st.integers(1, 40), max_size=30))
def test_a_connection_s_messages_are_the_same_however_they_arrive(lengths: list[int]) -> None:
    stream, at, rest = sip.MessageStream(), 0, STREAM * 2
    found: list[sip.Message] = []
    for length in (*lengths, len(rest)):
        found += stream.receive(rest[at : at + length])
        at += length
    assert [m.first("CSeq") for m in found] == ["1 BYE", "2 MESSAGE", "1 BYE"] * 2
    assert stream.take_pings() == 2
    assert stream.take_pings() == 0


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_whatever_a_connection_brings_is_taken_or_refused(first: bytes, second: bytes) -> None:
    stream = sip.MessageStream()
    try:
        list(stream.receive(first))
        list(stream.receive(second))
    except DecodeError:
        return


def test_what_comes_before_damage_is_delivered() -> None:
    taken: list[str] = []
    stream = sip.MessageStream()
    with pytest.raises(DecodeError):
        taken.extend(m.first("CSeq") for m in stream.receive(ONE + b"BYE sip:a SIP/2.0\r\nl: x\r\n\r\n"))
    assert taken == ["1 BYE"]
