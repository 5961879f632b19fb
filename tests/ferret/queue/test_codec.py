"""Captured messages as octets."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferret.errors import RecordError
from ferret.protocols.summary import Protocol
from ferret.queue import decode_captured, encode_captured
from ferret.records.message import CapturedMessage, Endpoint, Flaw

endpoints = st.builds(Endpoint, st.text(max_size=20), st.integers(0, 65535))
messages = st.builds(
    CapturedMessage,
    protocol=st.sampled_from(list(Protocol)),
    captured_at_ns=st.integers(-(2**62), 2**62),
    source=endpoints,
    destination=endpoints,
    octets=st.binary(max_size=300),
    agent=st.text(max_size=20),
    number=st.integers(0, 2**63),
    transport=st.sampled_from(["none", "udp", "tcp", "sctp"]),
    stream=st.integers(-1, 65535),
    stream_sequence=st.integers(-1, 2**32 - 1),
    tunnel=st.lists(endpoints, max_size=3).map(tuple),
    tunnel_teid=st.integers(-1, 2**32 - 1),
    frame=st.integers(0, 2**32 - 1),
    epoch=st.integers(0, 2**64 - 1),
    flaws=st.sets(st.sampled_from(list(Flaw))).map(lambda chosen: tuple(f for f in Flaw if f in chosen)),
)


@settings(max_examples=150)
@given(messages)
def test_every_message_comes_back_as_it_was(message: CapturedMessage) -> None:
    assert decode_captured(encode_captured(message)) == message


@settings(max_examples=150)
@given(messages, st.integers(0, 400), st.binary(max_size=60))
def test_damaged_octets_are_a_record_error_or_another_message(message: CapturedMessage, cut: int, junk: bytes) -> None:
    for octets in (encode_captured(message)[:cut], junk, b"\x01" + junk, b"\x02" + junk):
        with contextlib.suppress(RecordError):
            decode_captured(octets)


def test_a_newer_format_is_refused_by_its_number() -> None:
    octets = encode_captured(
        CapturedMessage(Protocol.SIP, 1, Endpoint("10.46.0.2", 5060), Endpoint("172.22.0.21", 5060), b"OPTIONS")
    )
    with pytest.raises(RecordError, match="version 3"):
        decode_captured(b"\x03" + octets[1:])


@pytest.mark.parametrize(
    "change",
    [{"source": Endpoint("10.0.0.1", 70000)}, {"agent": "x" * 300}, {"transport": "carrier pigeon"}],
)
def test_a_field_that_does_not_fit_is_a_record_error(change: dict[str, object]) -> None:
    fields: dict[str, object] = {
        "protocol": Protocol.SIP,
        "captured_at_ns": 1,
        "source": Endpoint("10.46.0.2", 5060),
        "destination": Endpoint("172.22.0.21", 5060),
        "octets": b"",
    } | change
    with pytest.raises(RecordError):
        encode_captured(CapturedMessage(**fields))  # type: ignore[arg-type]


def test_what_has_no_epoch_is_written_as_older_versions_read_it() -> None:
    message = CapturedMessage(Protocol.SIP, 1, Endpoint("10.46.0.2", 5060), Endpoint("172.22.0.21", 5060), b"OPTIONS")
    assert encode_captured(message)[0] == 1
    assert encode_captured(replace(message, epoch=5))[0] == 2
