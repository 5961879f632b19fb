"""SCTP: chunks apart, fragments together, repetitions out, streams in order."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ferret.protocols.summary import Protocol
from ferret.records.message import Flaw
from ferret_agents.capture.ledger import Ledger
from ferret_agents.capture.sctp import Associations, UserMessage

Dissect = Callable[..., Any]
RAW = 101
WHOLE = 3


def data(
    tsn: int, payload: bytes, *, stream: int = 1, ssn: int = 0, ppid: int = 18, flags: int = WHOLE, kind: int = 0
) -> bytes:
    if kind == 0:
        head = struct.pack(">BBHIHHI", 0, flags, 16 + len(payload), tsn & 0xFFFFFFFF, stream, ssn & 0xFFFF, ppid)
    else:
        head = struct.pack(">BBHIHHII", 64, flags, 20 + len(payload), tsn & 0xFFFFFFFF, stream, 0, ssn, ppid)
    return head + payload + b"\0" * (-len(payload) % 4)


def sack(tsn: int) -> bytes:
    return struct.pack(">BBHIIHH", 3, 0, 16, tsn, 65535, 0, 0)


def packet(scapy: Any, *chunks: bytes, tag: int = 1, back: bool = False) -> bytes:
    ends = {"src": "192.0.2.1", "dst": "192.0.2.2"} if not back else {"src": "192.0.2.2", "dst": "192.0.2.1"}
    ports = (40000, 36412) if not back else (36412, 40000)
    head = struct.pack(">HHII", *ports, tag, 0)
    return bytes(scapy.IP(**ends, proto=132) / (head + b"".join(chunks)))


def test_bundled_chunks_are_taken_apart(scapy: Any, dissect: Dissect, sample: Any) -> None:
    chunks = [data(10 + n, sample.s1ap, stream=n, ssn=0) for n in range(7)]
    outcome = dissect([packet(scapy, sack(5), *chunks)], RAW)
    assert outcome.octets == [sample.s1ap] * 7
    assert [message.stream for message in outcome.messages] == list(range(7))
    assert {(message.protocol, message.transport) for message in outcome.messages} == {(Protocol.S1AP, "sctp")}
    assert (outcome.ledger.used, outcome.accounted) == (1, True)


def test_scapys_own_data_chunks_are_read(scapy: Any, dissect: Dissect, sample: Any) -> None:
    frame = (
        scapy.IP(src="192.0.2.1", dst="192.0.2.2")
        / scapy.SCTP(sport=36412, dport=36412, tag=7)
        / scapy.SCTPChunkData(tsn=1, stream_id=2, stream_seq=0, proto_id=18, beginning=1, ending=1, data=sample.s1ap)
    )
    (message,) = dissect([frame], RAW).messages
    assert (message.octets, message.stream, message.stream_sequence) == (sample.s1ap, 2, 0)


def test_fragments_in_any_order_make_the_message(scapy: Any, dissect: Dissect, sample: Any) -> None:
    whole = sample.diameter(316, 16777251, 1, True, size=3000)
    pieces = [whole[start : start + 700] for start in range(0, len(whole), 700)]
    for kind in (0, 64):
        chunks = []
        for n, piece in enumerate(pieces):
            flags = (2 if n == 0 else 0) | (1 if n == len(pieces) - 1 else 0)
            ppid = 46 if kind == 0 or n == 0 else n
            chunks.append(data(0xFFFFFFFE + n, piece, ssn=9, ppid=ppid, flags=flags, kind=kind))
        for seed in range(5):
            random.Random(seed).shuffle(chunks)
            outcome = dissect([packet(scapy, chunk) for chunk in chunks], RAW)
            assert outcome.octets == [whole]
            assert (outcome.ledger.used, outcome.accounted) == (len(pieces), True)
            assert outcome.messages[0].frame == len(pieces)


def test_repeated_tsns_are_dropped_but_not_those_of_a_new_association(
    scapy: Any, dissect: Dissect, sample: Any
) -> None:
    one = packet(scapy, data(10, sample.s1ap))
    outcome = dissect([one, one, packet(scapy, data(10, sample.s1ap), tag=2)], RAW)
    assert outcome.octets == [sample.s1ap] * 2
    assert outcome.ledger.ignored == {"sctp retransmission": 1}
    made_up = dissect([one, packet(scapy, data(10, sample.s1ap_answer))], RAW)
    assert made_up.octets == [sample.s1ap, sample.s1ap_answer]


def test_one_number_for_two_messages_loses_neither_frame(scapy: Any, dissect: Dissect, sample: Any) -> None:
    frames = [
        packet(scapy, data(1, sample.s1ap, ssn=0)),
        packet(scapy, data(5, sample.s1ap, ssn=4)),
        packet(scapy, data(6, sample.s1ap_answer, ssn=4)),
        packet(scapy, data(9, b"one", ssn=7, flags=2)),
        packet(scapy, data(9, b"other", ssn=7, flags=2)),
    ]
    outcome = dissect(frames, RAW)
    assert sorted(outcome.octets) == sorted([sample.s1ap, sample.s1ap, sample.s1ap_answer])
    assert (outcome.ledger.damaged, outcome.accounted) == (2, True)


def test_messages_of_one_stream_come_in_its_order(scapy: Any, dissect: Dissect, sample: Any) -> None:
    first, second = sample.s1ap, sample.s1ap_answer
    outcome = dissect(
        [
            packet(scapy, data(1, first, ssn=65535)),
            packet(scapy, data(3, second, ssn=1)),
            packet(scapy, data(4, first, stream=2, ssn=0)),
            packet(scapy, data(2, first, ssn=0)),
        ],
        RAW,
    )
    assert [(m.stream, m.stream_sequence) for m in outcome.messages] == [(1, 65535), (2, 0), (1, 0), (1, 1)]
    assert [message.frame for message in outcome.messages] == [1, 3, 4, 4]
    assert not any(message.flaws for message in outcome.messages)
    assert outcome.accounted


def test_a_message_that_never_comes_is_a_hole(scapy: Any, dissect: Dissect, sample: Any) -> None:
    frames = [packet(scapy, data(1, sample.s1ap, ssn=0)), packet(scapy, data(3, sample.s1ap, ssn=2))]
    acknowledged = packet(scapy, sack(3), back=True, tag=9)
    for after in ([], [acknowledged]):
        outcome = dissect([*frames, *after], RAW)
        assert [message.flaws for message in outcome.messages] == [(), (Flaw.HOLE_BEFORE,)]
        assert "1 message(s) of SCTP stream 1 are missing" in outcome.ledger.damage[0].what
        assert outcome.accounted


def test_unordered_messages_do_not_wait(scapy: Any, dissect: Dissect, sample: Any) -> None:
    frames = [packet(scapy, data(1, sample.s1ap, ssn=0)), packet(scapy, data(3, sample.s1ap, ssn=9, flags=7))]
    assert [message.flaws for message in dissect(frames, RAW).messages] == [(), ()]


def test_the_payload_protocol_may_be_unset_or_in_the_wrong_byte_order(
    scapy: Any, dissect: Dissect, sample: Any
) -> None:
    request = sample.diameter(316, 16777251, 1, True)
    frames = [
        packet(scapy, data(1, sample.s1ap, ssn=0, ppid=0)),
        packet(scapy, data(2, request, ssn=1, ppid=0)),
        packet(scapy, data(3, sample.s1ap, ssn=2, ppid=18 << 24)),
        packet(scapy, data(4, request, ssn=3, ppid=46 << 24)),
        packet(scapy, data(5, request, ssn=4, ppid=47)),
        packet(scapy, data(6, sample.sip("INVITE", 1), ssn=5, ppid=0)),
    ]
    found = [message.protocol for message in dissect(frames, RAW).messages]
    s1ap, diameter, sip = Protocol.S1AP, Protocol.DIAMETER, Protocol.SIP
    assert found == [s1ap, diameter, s1ap, diameter, diameter, sip]


def test_an_s1ap_pdu_that_does_not_decode_is_kept_and_marked(scapy: Any, dissect: Dissect) -> None:
    outcome = dissect([packet(scapy, data(1, b"\xff" * 20))], RAW)
    assert outcome.messages[0].flaws == (Flaw.UNDECODABLE,)
    assert outcome.ledger.damage[0].what == "undecodable: no S1AP PDU"


def test_other_payload_protocols_are_ignored_by_name(scapy: Any, dissect: Dissect) -> None:
    outcome = dissect(
        [packet(scapy, data(1, b"\x00" * 20, ppid=60)), packet(scapy, data(2, b"zz", ssn=1, ppid=99))], RAW
    )
    assert outcome.ledger.ignored["ngap"] == 1
    assert outcome.accounted


def test_a_chunk_cut_by_the_snaplen_is_marked(scapy: Any, dissect: Dissect, sample: Any) -> None:
    outcome = dissect([packet(scapy, data(1, sample.s1ap))], RAW, cut=20)
    assert outcome.messages[0].flaws == (Flaw.CUT,)
    assert sample.s1ap.startswith(outcome.octets[0])


def test_sctp_in_udp_is_found(scapy: Any, dissect: Dissect, sample: Any) -> None:
    inner = packet(scapy, data(1, sample.s1ap))[20:]
    frame = scapy.IP(src="192.0.2.1", dst="192.0.2.2") / scapy.UDP(sport=9899, dport=9899) / inner
    (message,) = dissect([frame], RAW).messages
    assert (message.octets, message.source.port, message.transport) == (sample.s1ap, 40000, "sctp")


def test_broken_chunks_are_damage(scapy: Any, dissect: Dissect) -> None:
    frames = [
        packet(scapy, struct.pack(">BBH", 0, 3, 2)),
        packet(scapy, struct.pack(">BBH", 0, 3, 900)),
        packet(scapy, struct.pack(">BBHI", 0, 3, 8, 1)),
        packet(scapy, b"\x00\x03"),
    ]
    outcome = dissect(frames, RAW)
    assert (outcome.ledger.damaged, outcome.messages, outcome.accounted) == (4, [], True)


def test_memory_is_bounded_in_fragments_and_held_messages(sample: Any) -> None:
    ledger = Ledger()
    got: list[UserMessage] = []

    def deliver(key: object, message: UserMessage) -> str:
        got.append(message)
        return "used"

    associations = Associations(ledger, deliver, directions=4, fragments=32, held=16)
    for number in range(500):
        chunk = (
            data(5 * number, b"x", ssn=number, flags=0)
            if number % 2
            else data(5 * number, b"x", ssn=number * 2, stream=2)
        )
        ledger.begin(number)
        head = struct.pack(">HHII", 1, 2, number // 200, 0)
        key = f"association {number % 3}"
        ledger.end(number, associations.add(key, "other", head + chunk, 0, number, 0, 0))
    assert ledger.pending <= 4 * (32 + 16)
    associations.flush()
    assert ledger.pending == 0
    assert got


def test_octets_that_wait_are_bounded_over_all_associations() -> None:
    ledger = Ledger()
    associations = Associations(ledger, lambda key, message: "sctp", all_octets=20_000)
    for number in range(1, 101):
        chunk = struct.pack(">BBHIHHI", 0, 2, 16 + 1000, 1, 0, 0, 18) + bytes(1000)  # a beginning without its end
        ledger.begin(number)
        packet = struct.pack(">HHII", 36412, 36412, 1, 0) + chunk
        ledger.end(number, associations.add(("a", number), ("b", number), packet, 0, number, number, number))
        associations.expire(number)
        assert associations.waiting_octets <= 20_000
    associations.flush()
    assert associations.waiting_octets == ledger.pending == 0


@given(st.lists(st.binary(max_size=60), max_size=12), st.integers(0, 40))
def test_hostile_packets_are_survived_and_accounted_for(dissect_octets: list[bytes], missing: int) -> None:
    ledger = Ledger()
    associations = Associations(ledger, lambda key, message: "used")
    for frame, octets in enumerate(dissect_octets, start=1):
        ledger.begin(frame)
        head = struct.pack(">HHII", 1, 2, 3, 0)
        ledger.end(frame, associations.add("a", "b", head + octets, missing, frame, 0, frame))
    associations.flush()
    assert not ledger.pending
    assert ledger.frames == ledger.used + ledger.damaged + sum(ledger.ignored.values())


@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=6),
    seed=st.integers(0, 2**32),
    origin=st.integers(0, 2**32 - 1),
)
def test_any_fragmentation_and_order_within_an_association_gives_its_messages(
    sizes: list[int], seed: int, origin: int
) -> None:
    chunks, tsn = [], origin
    for number, size in enumerate(sizes):
        for part in range(size):
            flags = (2 if part == 0 else 0) | (1 if part == size - 1 else 0)
            chunks.append(data(tsn, bytes((number, part)), ssn=number, flags=flags))
            tsn += 1
    first, rest = chunks[: sizes[0]], chunks[sizes[0] :] * 2
    random.Random(seed).shuffle(rest)
    ledger, got = Ledger(), []
    associations = Associations(ledger, lambda key, message: (got.append(message), "used")[1])
    for frame, chunk in enumerate((*first, *rest), start=1):
        ledger.begin(frame)
        packet_octets = struct.pack(">HHII", 1, 2, 3, 0) + chunk
        ledger.end(frame, associations.add("a", "b", packet_octets, 0, frame, 0, 0))
    associations.flush()
    assert [message.payload for message in got] == [
        b"".join(bytes((number, part)) for part in range(size)) for number, size in enumerate(sizes)
    ]
    assert not any(message.flaws for message in got)
