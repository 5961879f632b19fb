"""The quick ways through streams give what reassembly gives, message by message and frame by frame."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferret.errors import DecodeError
from ferret.queue import decode_captured, encode_captured
from ferret_agents.capture import ip, link
from ferret_agents.capture.dissect import Dissector
from ferret_agents.capture.files import Record, open_capture, records
from ferret_agents.capture.ledger import Ledger
from ferret_agents.capture.tcp import TcpStreams
from ferret_agents.live.catch import Catch
from ferret_agents.live.intake import Intake
from ferret_agents.live.loads import LOADS
from ferret_agents.live.message_types import type_of

AT = 1_700_000_000_000_000_000
CCR, S1AP, SIP = (LOADS[kind].message for kind in ("diameter", "s1ap", "sip"))
OTHER_SIP = b"SIP/2.0 200 OK\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nl: 4\r\n\r\nv=0\n"
A, B = bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2))


def frame(protocol: int, payload: bytes, source: bytes = A, destination: bytes = B) -> bytes:
    if len(source) == 16:
        head = struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64)
        return b"\x02" * 12 + b"\x86\xdd" + head + source + destination + payload
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0x4000, 64, protocol, 0)
    return b"\x02" * 12 + b"\x08\x00" + head + source + destination + payload


def as_ipv6(frames: Sequence[bytes]) -> list[bytes]:
    """The same packets between two IPv6 addresses."""
    return [frame(one[23], one[34:], bytes(12) + one[26:30], bytes(12) + one[30:34]) for one in frames]


def segment(sequence: int, payload: bytes, flags: int = 0x18, *, back: bool = False, acknowledged: int = 1) -> bytes:
    ports = (3868, 40000) if back else (40000, 3868)
    header = struct.pack(">HHIIBBHHH", *ports, sequence & 0xFFFFFFFF, acknowledged & 0xFFFFFFFF, 0x50, flags, 512, 0, 0)
    return frame(6, header + payload, *((B, A) if back else (A, B)))


def chunk(tsn: int, sequence: int, payload: bytes, flags: int = 3, stream: int = 0) -> bytes:
    whole = struct.pack(">BBHIHHI", 0, flags, 16 + len(payload), tsn, stream, sequence, 18) + payload
    return whole + bytes(-len(whole) % 4)


def sack(tsn: int) -> bytes:
    return struct.pack(">BBHIIHH", 3, 0, 16, tsn & 0xFFFFFFFF, 65536, 0, 0)


def packet(*chunks: bytes, tag: int = 7, back: bool = False) -> bytes:
    return frame(132, struct.pack(">HHII", 36412, 36412, tag, 0) + b"".join(chunks), *((B, A) if back else (A, B)))


def data(tsn: int, sequence: int, payload: bytes, flags: int = 3, tag: int = 7) -> bytes:
    return packet(chunk(tsn, sequence, payload, flags), tag=tag)


def shuffle(frames: list[bytes], random: Random, others: Sequence[bytes] = ()) -> None:
    """Make it wild: frames out of order, repeated, gone, broken, or not at all what they should be."""
    for _ in range(random.randrange(5)):
        place = random.randrange(len(frames))
        match random.randrange(5 if others else 4):
            case 0:
                frames.insert(random.randrange(len(frames)), frames.pop(place))
            case 1:
                frames.insert(place, frames[place])
            case 2:
                frames.pop(place) if len(frames) > 1 else None
            case 3:
                broken = bytearray(frames[place])
                broken[random.randrange(34, len(broken))] ^= 1 << random.randrange(8)
                frames[place] = bytes(broken)
            case _:
                frames.insert(place, random.choice(others))


def assert_same(frames: Sequence[bytes]) -> int:
    """Both ways give the same messages and account; how many messages."""
    intake, dissector = Intake("", ()), Dissector()
    wanted = []
    for number, octets in enumerate(frames):
        at_ns = AT + number * 1_000_000
        intake.take(at_ns, octets, len(octets), 1)
        wanted += dissector.feed(Record(number + 1, at_ns, 1, octets, len(octets)))
    assert intake.dissector.ledger.pending == dissector.ledger.pending
    assert intake.dissector.waiting_octets == dissector.waiting_octets
    intake.flush()
    wanted += dissector.flush()
    got = [decode_captured(octets) for octets in intake.take_batch().messages]
    as_coded = [decode_captured(encode_captured(m)) for m in wanted]  # which knows flaws in one order only
    assert [replace(m, number=0) for m in got] == [replace(m, frame=0) for m in as_coded]
    assert [m.number for m in got] == list(range(1, len(got) + 1))
    mine, theirs = intake.dissector.ledger, dissector.ledger
    assert (mine.frames, mine.used, mine.damaged, mine.ignored) == (
        theirs.frames, theirs.used, theirs.damaged, theirs.ignored,
    )  # fmt: skip
    assert len(mine.damage) == len(theirs.damage)
    assert intake.messages_by_protocol() == dissector.messages
    assert intake.messages_by_type() == Counter((str(m.protocol), type_of(m.protocol, m.octets)) for m in wanted)
    return len(got)


@settings(max_examples=150)
@given(
    random=st.randoms(use_true_random=False),
    messages=st.integers(1, 12),
    syn=st.booleans(),
    wild=st.booleans(),
    ipv6=st.booleans(),
)
def test_a_diameter_stream_is_read_as_reassembly_reads_it(
    random: Random, messages: int, syn: bool, wild: bool, ipv6: bool
) -> None:
    stream, at, frames = CCR * messages, 0, []
    first = random.choice((1000, 0xFFFFFF00))
    answered = random.random() < 0.7
    if answered:
        frames.append(segment(1, CCR, back=True, acknowledged=first))
    while at < len(stream):
        size = random.choice((len(CCR), len(CCR), 2 * len(CCR), 100, 1))
        frames.append(segment(first + at, stream[at : at + size]))
        at += size
        if random.random() < 0.4:
            frames.append(segment(1 + answered * len(CCR), b"", 0x10, back=True, acknowledged=first + at))
    if wild:
        shuffle(frames, random)
    if syn:
        frames.insert(0, segment(first - 1, b"", 0x02))
        frames.append(segment(first + len(stream), b"", 0x11))
    assert_same(as_ipv6(frames) if ipv6 else frames)


@settings(max_examples=150)
@given(random=st.randoms(use_true_random=False), messages=st.integers(1, 12), syn=st.booleans(), wild=st.booleans())
def test_a_sip_stream_is_read_as_reassembly_reads_it(random: Random, messages: int, syn: bool, wild: bool) -> None:
    stream = b"".join(random.choice((SIP, OTHER_SIP, b"\r\n\r\n")) for _ in range(messages)) + SIP
    at, frames, first = 0, [], 1000
    while at < len(stream):
        size = random.choice((len(SIP), len(SIP), len(OTHER_SIP), 4, 500, 2000))
        frames.append(segment(first + at, stream[at : at + size]))
        at += size
    if wild:
        shuffle(frames, random)
    if syn:
        frames.insert(0, segment(first - 1, b"", 0x02))
        frames.append(segment(first + len(stream), b"", 0x11))
    assert_same(frames)


@settings(max_examples=150)
@given(random=st.randoms(use_true_random=False), messages=st.integers(1, 20), wild=st.booleans(), ipv6=st.booleans())
def test_an_sctp_association_is_read_as_reassembly_reads_it(
    random: Random, messages: int, wild: bool, ipv6: bool
) -> None:
    frames = [data(0xFFFFFFF8 + n & 0xFFFFFFFF, 0xFFFC + n & 0xFFFF, S1AP) for n in range(messages)]
    if wild:
        shuffle(frames, random, [data(5, 5, S1AP, tag=tag) for tag in (7, 8)])
    assert_same(as_ipv6(frames) if ipv6 else frames)


@settings(max_examples=200)
@given(random=st.randoms(use_true_random=False), packets=st.integers(1, 12), wild=st.booleans())
def test_packets_of_several_chunks_are_read_as_reassembly_reads_them(random: Random, packets: int, wild: bool) -> None:
    """Both sides, several streams, SACKs before and behind the data, and alone."""
    sent, frames = {False: 0, True: 0}, []
    sequences = {(back, stream): 0 for back in sent for stream in range(3)}
    for _ in range(packets):
        back, chunks = random.random() < 0.5, []
        for _ in range(random.choice((0, 1, 1, 2, 3, 20))):
            stream = random.randrange(3)
            chunks.append(chunk(sent[back], sequences[back, stream], S1AP, stream=stream))
            sent[back] += 1
            sequences[back, stream] += 1
        if not chunks or random.random() < 0.5:
            chunks.insert(random.choice((0, len(chunks))), sack(sent[not back] - 1))
        if wild and random.random() < 0.1:
            chunks.append(chunks[0])
        frames.append(packet(*chunks, tag=7 + back, back=back))
    if wild:
        shuffle(frames, random)
    assert_same(frames)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_comes_nothing_raises_and_every_frame_is_accounted_for(seed: int) -> None:
    """Streams and associations whose frames are broken, cut, repeated, lost and mixed."""
    random = Random(seed)
    stream = [segment(1 + at, (CCR * 40)[at : at + 200]) for at in range(0, 40 * len(CCR), 200)]
    frames = [one for n in range(40) for one in (data(n, n, S1AP), segment(1 + n * len(SIP), SIP, back=True))] + stream
    intake, taken = Intake("", ()), 0
    for number in range(300):
        octets = bytearray(frames[(number + random.randrange(3)) % len(frames)])
        for _ in range(random.choice((0, 0, 0, 1, 3))):
            octets[random.randrange(len(octets))] = random.randrange(256)
        if random.random() < 0.1:
            del octets[random.randrange(len(octets)) :]
        intake.take(AT + number, bytes(octets), len(octets), 1)
        if random.random() < 0.05:
            intake.lost(3)
        if random.random() < 0.05:
            intake.expire(AT + number * 10**8)
        taken += len(intake.take_batch().messages)
    ledger = intake.dissector.ledger
    assert ledger.frames == 300
    assert ledger.frames == ledger.used + ledger.damaged + sum(ledger.ignored.values()) + ledger.pending
    assert taken == sum(intake.messages_by_type().values()) - intake.unfit


def test_what_is_in_order_takes_the_quick_way() -> None:
    for way in (list, as_ipv6):
        intake = Intake("", ())
        for number in range(10):
            for octets in way(
                (
                    segment(1 + number * len(CCR), CCR),
                    segment(1 + number * len(SIP), SIP, back=True),
                    packet(sack(9), chunk(2 * number, 2 * number, S1AP), chunk(2 * number + 1, 2 * number + 1, S1AP)),
                )
            ):
                intake.take(AT, octets, len(octets), 1)
        assert sum(intake.dissector.link_types.values()) == 3  # only the first of each was dissected
        assert len(intake.take_batch().messages) == 40


def test_a_sip_message_shorter_than_it_says_is_taken_once_nothing_follows_also_the_quick_way() -> None:
    short = SIP.replace(b"Content-Length: 400", b"Content-Length: 450")[:-1] + b"\n"
    intake, dissector = Intake("", ()), Dissector()
    for number, octets in enumerate((segment(1, SIP), segment(1 + len(SIP), SIP + short))):
        intake.take(AT + number, octets, len(octets), 1)
        dissector.feed(Record(number + 1, AT + number, 1, octets, len(octets)))
    assert sum(intake.dissector.link_types.values()) == 1
    assert len(intake.take_batch().messages) == 2
    for second in range(1, 4):
        intake.expire(AT + second * 10**9)
        dissector.expire(AT + second * 10**9)
    (late,) = intake.take_batch().messages
    assert decode_captured(late).octets == short
    assert [one.what for one in intake.dissector.ledger.damage] == [one.what for one in dissector.ledger.damage]
    assert intake.dissector.ledger.pending == 0


def test_a_stream_that_is_still_in_use_is_not_given_up_for_new_ones() -> None:
    """Also where only the quick way has seen it lately."""
    intake = Intake("", ())
    intake.dissector.tcp = TcpStreams(intake.dissector.ledger, intake.dissector._emit, connections=4)
    for number in range(20):
        octets = segment(1 + number * len(CCR), CCR)
        intake.take(AT, octets, len(octets), 1)
        other = bytearray(segment(1, CCR, back=True))
        other[34:36] = struct.pack(">H", 2000 + number)
        intake.take(AT, bytes(other), len(other), 1)
    assert sum(intake.dissector.link_types.values()) == 21
    assert len(intake.take_batch().messages) == 40


def test_messages_of_others_are_counted_and_left_out() -> None:
    intake = Intake("", ("192.0.2.99",))
    udp = struct.pack(">HHHH", 5060, 5060, 8 + len(SIP), 0) + SIP
    for number in range(3):
        for octets in (segment(1 + number * len(CCR), CCR), data(number, number, S1AP), frame(17, udp)):
            intake.take(AT, octets, len(octets), 1)
    assert intake.messages_by_protocol() == {"diameter": 3, "s1ap": 3, "sip": 3}
    assert (intake.foreign, intake.number, intake.take_batch().messages) == (9, 0, [])


def test_diameter_commands_without_end_do_not_fill_memory() -> None:
    catch = Catch()
    for command in range(3 * 4096):
        catch.diameter[command.to_bytes(4, "big")] += 1
        catch.take_batch()
    assert len(catch.diameter) <= 4097
    assert catch.by_type().total() == 3 * 4096
    assert len(catch.by_type()) < 100


def test_tcp_and_sctp_between_the_same_ports_are_told_apart() -> None:
    """As with Diameter, which may have both."""
    ports = struct.pack(">HH", 3868, 3868)
    both = []
    for number in range(3):
        header = struct.pack(">IIBBHHH", 1 + number * len(CCR), 1, 0x50, 0x18, 512, 0, 0)
        chunk = struct.pack(">BBHIHHI", 0, 3, 16 + len(S1AP), number, 0, number, 18) + S1AP
        both += [frame(6, ports + header + CCR), frame(132, ports + struct.pack(">II", 7, 0) + chunk + bytes(2))]
    assert assert_same(both) == 6


def test_real_captures_are_read_alike(all_captures: list[Path]) -> None:
    found = 0
    for path in all_captures:
        frames = []
        with open_capture(path) as stream:
            for record in records(stream, Ledger(), str(path)):
                try:
                    walk = link.walk_of(record.link_type)
                    protocol, start = walk(record.octets) if walk else (0, 0)
                    ip.walk(record.octets, start)
                except DecodeError:
                    continue
                if protocol in (link.IPV4, link.IPV6) and record.wire_length == len(record.octets):
                    frames.append(b"\x02" * 12 + protocol.to_bytes(2, "big") + record.octets[start:])
        found += assert_same(frames)
    assert found > 1000


def test_what_is_encrypted_is_counted_as_unreadable_with_its_reason() -> None:
    hello = bytes.fromhex("160301020001000001fc0303") + bytes(501)
    tls = struct.pack(">HHIIBBHHH", 40000, 5061, 1000, 1, 0x50, 0x18, 512, 0, 0) + hello
    esp = bytes.fromhex("0000100100000001") + bytes(range(7, 107))
    natted = struct.pack(">HHHH", 4500, 4500, 8 + len(esp), 0) + esp
    intake = Intake("", ())
    for octets in (frame(6, tls), frame(50, esp), frame(17, natted)):
        intake.take(AT, octets, len(octets), 1)
    intake.flush()
    found = intake.unreadable
    assert sum(found.values()) == 3
    assert set(found) == {"tls", "esp (encrypted, not readable)", "esp in udp (encrypted, not readable)"}
    assert not intake.take_batch().messages
