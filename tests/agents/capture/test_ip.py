"""IP: extension headers, and fragments in any order, repeated, overlapping, missing or made to hurt."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferret.errors import DecodeError
from ferret.records.message import Flaw
from ferret_agents.capture import ip
from ferret_agents.capture.ip import Defragmenter, Packet, Whole
from ferret_agents.capture.ledger import Ledger

Dissect = Callable[..., Any]
RAW = 101


def invite(sample: Any) -> bytes:
    return bytes(sample.sip("INVITE", 1, b"v=0\r\n" + b"a=x\r\n" * 700))


def fragments4(scapy: Any, payload: bytes, size: int = 1400, number: int = 7, **fields: Any) -> list[bytes]:
    packet = (
        scapy.IP(src="192.0.2.1", dst="192.0.2.2", id=number, **fields) / scapy.UDP(sport=5060, dport=5060) / payload
    )
    return [bytes(part) for part in scapy.fragment(packet, fragsize=size)]


def fragments6(scapy: Any, payload: bytes) -> list[bytes]:
    packet = (
        scapy.IPv6(src="2001:db8::1", dst="2001:db8::2")
        / scapy.IPv6ExtHdrHopByHop()
        / scapy.IPv6ExtHdrFragment(id=99)
        / scapy.IPv6ExtHdrDestOpt()
        / scapy.UDP(sport=5060, dport=5060)
        / payload
    )
    return [bytes(part) for part in scapy.fragment6(packet, 1280)]


def test_ipv6_extension_headers_are_walked(scapy: Any, dissect: Dissect, sample: Any) -> None:
    base = scapy.IPv6(src="2001:db8::1", dst="2001:db8::2")
    datagram = scapy.UDP(sport=2123, dport=2123) / sample.gtpv2
    ah = bytes((17, 4)) + b"\0" * 22
    frames = [
        base / scapy.IPv6ExtHdrHopByHop() / datagram,
        base / scapy.IPv6ExtHdrHopByHop() / scapy.IPv6ExtHdrRouting() / scapy.IPv6ExtHdrDestOpt() / datagram,
        base / scapy.IPv6ExtHdrFragment(id=5) / datagram,  # atomic
        bytes(scapy.IPv6(src="2001:db8::1", dst="2001:db8::2", nh=51, plen=24 + len(datagram))) + ah + bytes(datagram),
    ]
    assert dissect(frames, RAW).octets == [sample.gtpv2] * 4


def test_too_many_or_cut_extension_headers_are_damage(scapy: Any, dissect: Dissect) -> None:
    chain = b"\x00\x00" + b"\0" * 6
    bomb = bytes(scapy.IPv6(nh=0, plen=8 * 100)) + chain * 100
    cut = bytes(scapy.IPv6(nh=0, plen=4)) + b"\x11\x00\x00\x00"
    outcome = dissect([bomb, cut], RAW)
    assert outcome.ledger.damaged == 2
    assert outcome.accounted


@pytest.mark.parametrize("family", [4, 6])
def test_fragments_in_any_order_make_the_message(scapy: Any, dissect: Dissect, sample: Any, family: int) -> None:
    payload = invite(sample)
    parts = fragments4(scapy, payload) if family == 4 else fragments6(scapy, payload)
    assert len(parts) > 2
    for seed in range(6):
        random.Random(seed).shuffle(parts)
        outcome = dissect(parts, RAW)
        assert outcome.octets == [payload]
        assert outcome.messages[0].frame == len(parts)
        assert (outcome.ledger.used, outcome.accounted) == (len(parts), True)


def test_repeated_fragments_are_ignored_before_and_after_the_datagram_is_whole(
    scapy: Any, dissect: Dissect, sample: Any
) -> None:
    first, *rest = fragments4(scapy, invite(sample))
    outcome = dissect([first, first, *rest, *rest, first], RAW)
    assert outcome.octets == [invite(sample)]
    assert outcome.ledger.ignored["repeated ip fragment"] == 2 + len(rest)
    assert outcome.accounted


def test_an_identification_that_is_used_again_begins_a_new_datagram(scapy: Any, dissect: Dissect, sample: Any) -> None:
    one = sample.sip("INVITE", 1, b"v=0\r\n" + b"a=x\r\n" * 700)
    other = sample.sip("INVITE", 2, b"v=1\r\n" + b"b=x\r\n" * 800)
    outcome = dissect([*fragments4(scapy, one), *fragments4(scapy, other)], RAW)
    assert outcome.octets == [one, other]


def test_where_fragments_overlap_the_first_octets_stay(scapy: Any, dissect: Dissect, sample: Any) -> None:
    payload = invite(sample)
    whole = bytes(scapy.UDP(sport=5060, dport=5060, chksum=1, len=8 + len(payload)) / payload)
    base = {"src": "192.0.2.1", "dst": "192.0.2.2", "id": 3, "proto": 17}
    frames = [
        scapy.IP(**base, flags=1, frag=0) / whole[:1600],
        scapy.IP(**base, flags=1, frag=100) / (b"\xff" * 800 + whole[1600:2400]),
        scapy.IP(**base, flags=0, frag=300) / whole[2400:],
    ]
    outcome = dissect(frames, RAW)
    assert outcome.octets == [payload]
    assert any("overlap" in entry.what for entry in outcome.ledger.damage)


def test_inner_fragments_of_two_tunnels_are_kept_apart(scapy: Any, dissect: Dissect, sample: Any) -> None:
    payload = invite(sample)
    parts = fragments4(scapy, payload, size=1200)

    def tunnel(source: str, destination: str, teid: int, part: bytes) -> Any:
        header = scapy.GTP_U_Header(teid=teid, gtp_type=255, length=len(part))
        return scapy.IP(src=source, dst=destination) / scapy.UDP(sport=2152, dport=2152) / header / part

    access = [tunnel("198.51.100.1", "198.51.100.2", 1, part) for part in parts]
    core = [tunnel("198.51.100.2", "198.51.100.3", 2, part) for part in parts]
    interleaved = [frame for pair in zip(core, access, strict=True) for frame in pair]
    outcome = dissect(interleaved, RAW)
    assert outcome.octets == [payload, payload]
    assert {message.tunnel_teid for message in outcome.messages} == {1, 2}
    assert outcome.accounted


def test_a_fragment_cut_by_the_snaplen_cuts_the_message(scapy: Any, dissect: Dissect, sample: Any) -> None:
    payload = invite(sample)
    outcome = dissect(fragments4(scapy, payload), RAW, cut=100)
    (message,) = outcome.messages
    assert message.flaws == (Flaw.CUT,)
    assert payload.startswith(message.octets)
    assert 1000 < len(message.octets) < len(payload)


def test_missing_fragments_are_damage_and_age_out(scapy: Any, dissect: Dissect, sample: Any) -> None:
    parts = fragments4(scapy, invite(sample))
    echo = bytes(scapy.IP(src="192.0.2.1", dst="192.0.2.2") / scapy.UDP(sport=2123, dport=2123) / sample.gtpv2)
    outcome = dissect([*parts[:-1], echo, parts[-1]], RAW, times=[*range(len(parts) - 1), 40, 41])
    assert outcome.octets == [sample.gtpv2]
    assert outcome.ledger.damaged == len(parts)
    assert "without the rest of the datagram" in outcome.ledger.damage[0].what
    assert outcome.accounted


def test_a_fragment_beyond_65535_octets_is_damage(scapy: Any, dissect: Dissect) -> None:
    frame = scapy.IP(src="192.0.2.1", dst="192.0.2.2", frag=8189, proto=17) / (b"x" * 1000)
    outcome = dissect([frame], RAW)
    assert (outcome.ledger.damaged, outcome.messages) == (1, [])


def test_memory_for_fragments_is_bounded_in_datagrams_octets_and_parts() -> None:
    ledger = Ledger()
    defragmenter = Defragmenter(ledger, datagrams=10, octets=50_000)
    for number in range(1000):
        ledger.begin(number)
        packet = Packet(b"\0" * 4, b"\1" * 4, 17, 0, 8, 0, (number, 8, True))
        defragmenter.add(("key", number), packet, b"x" * 8000, number, number)
        ledger.end(number, None)
    assert ledger.pending <= 10
    for number in range(2000):
        ledger.begin(1000 + number)
        packet = Packet(b"\0" * 4, b"\1" * 4, 17, 0, 8, 0, (1, 16 * number, True))
        result = defragmenter.add("one", packet, b"x" * 8, 1000 + number, 0)
        ledger.end(1000 + number, result if isinstance(result, str) else None)
    assert ledger.pending <= 530
    defragmenter.flush()
    assert ledger.pending == 0


def test_impossible_headers_are_refused() -> None:
    for octets in (b"", b"\x45", b"\x45" + b"\0" * 18, b"\x41" + b"\0" * 30, b"\x60" * 20, b"\x75" * 40):
        with pytest.raises(DecodeError):
            ip.walk(octets, 0)


@given(
    payload=st.binary(min_size=1, max_size=400),
    cuts=st.lists(st.integers(1, 49), max_size=12),
    seed=st.integers(0, 2**32),
    copies=st.integers(1, 2),
)
def test_any_fragmentation_in_any_order_gives_the_datagram(
    payload: bytes, cuts: list[int], seed: int, copies: int
) -> None:
    places = sorted({0, len(payload), *(8 * cut for cut in cuts if 8 * cut < len(payload))})
    pieces = [(a, payload[a:b], b < len(payload)) for a, b in itertools.pairwise(places)] * copies
    random.Random(seed).shuffle(pieces)
    ledger = Ledger()
    defragmenter = Defragmenter(ledger)
    found: list[bytes] = []
    for frame, (offset, piece, more) in enumerate(pieces, start=1):
        ledger.begin(frame)
        packet = Packet(b"\0" * 4, b"\1" * 4, 17, 0, len(piece), 0, (1, offset, more))
        result = defragmenter.add("key", packet, piece, frame, 0)
        if isinstance(result, Whole):
            found.append(result.payload)
            for waited in result.frames:
                ledger.settle(waited, "used")
            ledger.end(frame, "used")
        else:
            ledger.end(frame, result)
    defragmenter.flush()
    assert found[:1] == [payload]
    assert set(found) == {payload}
    assert ledger.pending == 0
