"""The hot path says what the dissector and the queue's codec say, or leaves it to them."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st

from ferret.errors import DecodeError
from ferret.queue import encode_captured
from ferret.records.message import CapturedMessage
from ferret_agents.capture import ip, link
from ferret_agents.capture.dissect import Dissector
from ferret_agents.capture.files import Record, open_capture, records
from ferret_agents.capture.ledger import Ledger
from ferret_agents.live.catch import Catch
from ferret_agents.live.envelope import Sender
from ferret_agents.live.hotpath import HotPath

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


def _seen(frame: bytes, epoch: int = 0) -> list[bytes] | None:
    """What the hot path makes of a frame; None where it leaves it."""
    catch = Catch()
    hot = HotPath(catch, Dissector(), Sender(AGENT, epoch))
    return catch.take_batch().messages if hot.take(AT, frame) else None


def _dissected(frame: bytes, wire_length: int = 0) -> list[CapturedMessage]:
    return Dissector().feed(Record(1, AT, 1, frame, wire_length or len(frame)))


def _agrees(frame: bytes, wire_length: int = 0) -> bool:
    """Whether the hot path says of a frame what the dissector says; True as well where it says nothing."""
    if _seen(frame) is None or wire_length not in (0, len(frame)):
        return True
    messages = _dissected(frame, wire_length)
    return all(
        _seen(frame, epoch)
        == [
            encode_captured(replace(message, agent=AGENT, number=number, frame=0, epoch=epoch))
            for number, message in enumerate(messages, start=1)
        ]
        for epoch in (0, EPOCH)
    )


def test_gtpv2_and_sip_in_one_datagram_take_the_hot_path(sample: SimpleNamespace) -> None:
    for payload, port in ((sample.gtpv2, 2123), (sample.sip("INVITE", 1, b"v=0\r\n"), 5060)):
        frame = _frame(payload, (port, port))
        for one in (frame, _as_ipv6(frame)):
            assert _seen(one) is not None
            assert _agrees(one)


@settings(max_examples=500)
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
                    quick += _seen(frame) is not None
                    assert _agrees(frame), (path.name, record.frame)
    assert quick > 100
