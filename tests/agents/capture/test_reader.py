"""A whole capture: every frame accounted for, whatever is in it, and order as in the file."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ferret.protocols.summary import Protocol
from ferret_agents.capture.dissect import Dissector
from ferret_agents.capture.files import Record
from ferret_agents.capture.reader import CaptureReader, CaptureResult, messages, read


def write(path: Path, frames: list[tuple[float, bytes]], link_type: int = 1) -> Path:
    pieces = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, link_type)]
    for at, frame in frames:
        seconds = int(at)
        fraction = round((at - seconds) * 1e9)
        pieces.append(struct.pack("<IIII", seconds, fraction, len(frame), len(frame)) + frame)
    path.write_bytes(b"".join(pieces))
    return path


def accounted(result: CaptureResult) -> bool:
    return result.frames == result.used + result.damaged_frames + sum(result.ignored.values())


def test_every_frame_of_every_capture_is_accounted_for(all_captures: list[Path]) -> None:
    for path in all_captures:
        result = read(path)
        assert accounted(result), path.name
        assert sum(result.by_protocol.values()) == len(result.messages)
        assert sum(result.link_types.values()) == result.frames
        assert bool(result.messages) <= bool(result.used)


def test_nothing_is_wrong_with_the_captures_of_this_project(own_captures: list[Path]) -> None:
    for path in own_captures:
        result = read(path)
        assert not result.damage, path.name
        assert not any(message.flaws for message in result.messages)
        assert result.last_at_ns > result.first_at_ns > 1_600_000_000 * 10**9


def test_messages_come_in_the_order_of_the_frames_that_completed_them(all_captures: list[Path]) -> None:
    for path in all_captures:
        frames = [message.frame for message in read(path).messages]
        assert frames == sorted(frames), path.name


def test_the_iterator_gives_what_read_gives(capture: Callable[[str], Path]) -> None:
    path = capture("volte-call-full.pcap")
    assert tuple(messages(path)) == read(path).messages


def test_a_device_s_sip_is_found_in_both_tunnels(capture: Callable[[str], Path]) -> None:
    result = read(capture("volte-call-full.pcap"))
    sip = [message for message in result.messages if message.protocol is Protocol.SIP and message.tunnel]
    access = {message.octets for message in sip if "172.22.0.30" in {end.address for end in message.tunnel}}
    core = {message.octets for message in sip if "172.22.0.7" in {end.address for end in message.tunnel}}
    assert access == core
    assert len(sip) == 2 * len([m for m in sip if "172.22.0.30" in {end.address for end in m.tunnel}])


def test_time_that_runs_backwards_is_kept(tmp_path: Path, scapy: Any, sample: Any) -> None:
    base = scapy.Ether() / scapy.IP(src="192.0.2.1", dst="192.0.2.2")
    segment = scapy.TCP(sport=40000, dport=3868, flags="PA")
    request = sample.diameter(272, 4, 1, True, size=900)
    frames = [
        (100.0, bytes(base / scapy.UDP(sport=2123, dport=2123) / sample.gtpv2)),
        (50.0, bytes(base / segment.__class__(sport=40000, dport=3868, seq=1, flags="PA") / request[:500])),
        (20.5, bytes(base / segment.__class__(sport=40000, dport=3868, seq=501, flags="PA") / request[500:])),
    ]
    result = read(write(tmp_path / "backwards.pcap", frames))
    assert [(m.captured_at_ns, m.frame) for m in result.messages] == [(100 * 10**9, 1), (20_500_000_000, 3)]
    assert (result.first_at_ns, result.last_at_ns) == (20_500_000_000, 100 * 10**9)


def test_a_message_behind_a_hole_keeps_its_place_in_the_file(tmp_path: Path, scapy: Any, sample: Any) -> None:
    base = scapy.Ether() / scapy.IP(src="192.0.2.1", dst="192.0.2.2")
    echo = bytes(base / scapy.UDP(sport=2123, dport=2123) / sample.gtpv2)
    one, two, three = (sample.diameter(272, 4, number, True) for number in range(3))

    def segment(sequence: int, payload: bytes) -> bytes:
        return bytes(base / scapy.TCP(sport=40000, dport=3868, seq=sequence, flags="PA") / payload)

    frames = [(1.0, segment(0, one)), (1.1, segment(len(one) * 2, three)), (1.2, echo), (9.0, echo)]
    found = read(write(tmp_path / "hole.pcap", frames)).messages
    assert [message.frame for message in found] == [1, 2, 3, 4]
    assert [message.octets for message in found] == [one, three, sample.gtpv2, sample.gtpv2]
    late = read(write(tmp_path / "late.pcap", [*frames[:3], (1.3, segment(len(one), two))])).messages
    assert [(message.octets, message.frame) for message in late] == [
        (one, 1),
        (sample.gtpv2, 3),
        (two, 4),
        (three, 4),
    ]


def test_memory_does_not_grow_with_the_file(tmp_path: Path, scapy: Any) -> None:
    packet = bytes(
        scapy.Ether()
        / scapy.IP(src="192.0.2.1", dst="192.0.2.2")
        / scapy.UDP(sport=40000, dport=40002)
        / (b"\x80" * 900)
    )
    path = write(tmp_path / "long.pcap", [(1 + number / 1000, packet) for number in range(20_000)])
    reader = CaptureReader(path)
    tracemalloc.start()
    try:
        assert not list(reader)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8_000_000 < path.stat().st_size
    assert reader.result().ignored == {"rtp": 20_000}


def _dissected(frames: list[tuple[int, bytes, int]]) -> Dissector:
    dissector = Dissector()
    for number, (link_type, octets, missing) in enumerate(frames, start=1):
        dissector.feed(Record(number, number * 10**7, link_type, octets, len(octets) + missing))
    dissector.flush()
    return dissector


def _accounted(dissector: Dissector) -> bool:
    ledger = dissector.ledger
    return not ledger.pending and ledger.frames == ledger.used + ledger.damaged + sum(ledger.ignored.values())


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 1, 9, 12, 101, 104, 108, 113, 150, 204, 276]),
            st.binary(max_size=90),
            st.integers(0, 99),
        ),
        max_size=8,
    )
)
def test_hostile_frames_are_survived_and_accounted_for(frames: list[tuple[int, bytes, int]]) -> None:
    assert _accounted(_dissected(frames))


@settings(max_examples=150)
@given(data=st.data())
def test_real_frames_with_octets_changed_cut_and_mixed_are_survived(
    data: st.DataObject, own_captures: list[Path]
) -> None:
    pool = _real_frames(own_captures)
    frames = []
    for octets in data.draw(st.lists(st.sampled_from(pool), min_size=1, max_size=12)):
        changed = bytearray(octets)
        for _ in range(data.draw(st.integers(0, 6))):
            changed[data.draw(st.integers(14, len(changed) - 1))] = data.draw(st.integers(0, 255))
        keep = data.draw(st.integers(14, len(changed)) | st.just(len(changed)))
        frames.append((1, bytes(changed[:keep]), data.draw(st.sampled_from([0, len(changed) - keep]))))
    assert _accounted(_dissected(frames))


_POOL: list[bytes] = []


def _real_frames(paths: list[Path]) -> list[bytes]:
    if not _POOL:
        octets = next(path for path in paths if path.name == "volte-call-full.pcap").read_bytes()
        at = 24
        while at < len(octets):
            length = struct.unpack_from("<I", octets, at + 8)[0]
            _POOL.append(octets[at + 16 : at + 16 + length])
            at += 16 + length
        del _POOL[600:]
    return _POOL
