"""The hot path says what the dissector and the queue's codec say, or leaves it to them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferret.errors import ConfigError, DecodeError
from ferret.queue import decode_captured, encode_captured
from ferret.records.message import CapturedMessage, Flaw
from ferret_agents.capture import ip, link
from ferret_agents.capture.dissect import Dissector
from ferret_agents.capture.files import Record, open_capture, records
from ferret_agents.capture.ledger import Ledger
from ferret_agents.capture.reader import read
from ferret_agents.live.sighting import HotPath, is_one_sip

AGENT = "192.0.2.1"
AT = 1_700_000_000_123_456_789
EPOCH = AT & ~0xFF


def _frame(payload: bytes, ports: tuple[int, int] = (2123, 40000)) -> bytes:
    udp = struct.pack(">HHHH", *ports, 8 + len(payload), 0) + payload
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0x4000, 64, 17, 0)
    return b"\x02" * 12 + b"\x08\x00" + head + bytes((192, 0, 2, 1, 192, 0, 2, 2)) + udp


def _as_ipv6(frame: bytes) -> bytes:
    """The same datagram between two IPv6 addresses."""
    head = struct.pack(">IHBB", 6 << 28, len(frame) - 34, 17, 64)
    return frame[:12] + b"\x86\xdd" + head + bytes(12) + frame[26:30] + bytes(12) + frame[30:]


def _see(frame: bytes) -> object:
    return HotPath(AGENT).see(frame)


def _dissected(frame: bytes, wire_length: int = 0) -> list[CapturedMessage]:
    return Dissector().feed(Record(1, AT, 1, frame, wire_length or len(frame)))


def _agrees(frame: bytes, wire_length: int = 0) -> bool:
    """Whether the hot path says of a frame what the dissector says; True as well where it says nothing."""
    sighting = _see(frame) if not wire_length or wire_length == len(frame) else None
    if sighting is None:
        return True
    (message,) = _dissected(frame, wire_length)
    for epoch in (0, EPOCH):
        wanted = encode_captured(replace(message, agent=AGENT, number=7, frame=0, epoch=epoch))
        hot = HotPath(AGENT, epoch=epoch)
        found = hot.see(frame)
        if found is None or hot.encode(*found, AT, 7) != wanted:
            return False
    return True


def test_gtpv2_and_sip_in_one_datagram_take_the_hot_path(sample: SimpleNamespace) -> None:
    for payload, port in ((sample.gtpv2, 2123), (sample.sip("INVITE", 1, b"v=0\r\n"), 5060)):
        frame = _frame(payload, (port, port))
        for one in (frame, _as_ipv6(frame)):
            assert _see(one) is not None
            assert _agrees(one)


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_a_frame_with_anything_else_in_it_gets_no_other_answer_than_the_dissector_s(data: st.DataObject) -> None:
    payload = data.draw(
        st.sampled_from(
            (
                bytes.fromhex("400100090000010003000100ff"),
                bytes.fromhex("480100090000010003000100ff") * 2,  # piggybacked
                b"OPTIONS sip:a@b SIP/2.0\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
                b"\r\n\r\n",
            )
        )
    )
    ports = st.sampled_from((2123, 5060, 2152, 4500, 9899, 53, 1234))
    frame = bytearray(_frame(payload, (data.draw(ports), data.draw(ports))) + data.draw(st.binary(max_size=3)))
    if data.draw(st.booleans()):
        frame = bytearray(_as_ipv6(bytes(frame)))
    for _ in range(data.draw(st.integers(0, 3))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, 3))
    assert _agrees(bytes(frame))
    assert _agrees(bytes(frame[: len(frame) - cut]), len(frame))


def test_of_real_captures_the_hot_path_says_the_same(all_captures: list[Path]) -> None:
    quick = 0
    for path in all_captures:
        with open_capture(path) as stream:
            for record in records(stream, Ledger(), str(path)):
                try:
                    protocol, start = link.walk_of(record.link_type)(record.octets)
                    ip.walk(record.octets, start)
                except DecodeError:
                    continue
                if protocol in (link.IPV4, link.IPV6):
                    frame = b"\x02" * 12 + protocol.to_bytes(2, "big") + record.octets[start:]
                    quick += _see(frame) is not None
                    assert _agrees(frame), (path.name, record.frame)
    assert quick > 100


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_what_is_quickly_taken_for_sip_is_sip_for_the_dissector(data: st.DataObject) -> None:
    octets = bytearray(
        b"INVITE sip:a@b SIP/2.0\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nContent-Length: 4\r\n\r\nv=0\n"
        if data.draw(st.booleans())
        else b"SIP/2.0 200 OK\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
    )
    for _ in range(data.draw(st.integers(0, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.sampled_from(b"\r\n :/019aZ\xff"))
    if is_one_sip(bytes(octets)):
        (message,) = _dissected(_frame(bytes(octets), (5060, 5060)))
        assert message.octets == octets


def test_a_dissected_message_is_signed_with_name_and_number(capture: Callable[[str], Path]) -> None:
    encoder = HotPath(AGENT, epoch=EPOCH)
    for message in read(capture("volte-call-full.pcap")).messages:
        for before in (message, replace(message, agent="somebody else", number=3, flaws=(Flaw.CUT,))):
            after = decode_captured(encoder.sign(before, 7))
            assert after == replace(before, agent=AGENT, number=7, frame=0, epoch=EPOCH)


def test_a_name_that_the_queue_has_no_room_for_is_refused() -> None:
    with pytest.raises(ConfigError, match="256 octets; 255 are the limit"):
        HotPath("é" * 128)
