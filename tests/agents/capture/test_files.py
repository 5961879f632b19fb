"""pcap and pcapng files: every variant reads the same, and nothing in a file is trusted."""

from __future__ import annotations

import contextlib
import gzip
import io
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferret.errors import RecordError
from ferret_agents.capture import files
from ferret_agents.capture.files import Record, from_octets, open_capture, records
from ferret_agents.capture.ledger import Ledger
from ferret_agents.capture.reader import read

PACKETS = [b"first packet", b"", b"third" * 100]


def pcap(order: str = "<", magic: int = 0xA1B2C3D4, link_type: int = 1, extra: bytes = b"") -> bytes:
    out = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link_type)
    for number, packet in enumerate(PACKETS):
        out += struct.pack(order + "IIII", 100 + number, 5, len(packet), len(packet)) + extra + packet
    return out


def block(order: str, kind: int, body: bytes) -> bytes:
    body += b"\0" * (-len(body) % 4)
    length = 12 + len(body)
    return struct.pack(order + "II", kind, length) + body + struct.pack(order + "I", length)


def section(order: str) -> bytes:
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface(order: str, link_type: int = 1, options: bytes = b"") -> bytes:
    return block(order, 1, struct.pack(order + "HHI", link_type, 0, 0) + options)


def enhanced(order: str, number: int, ticks: int, packet: bytes, wire: int | None = None) -> bytes:
    head = struct.pack(
        order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(packet), len(packet) if wire is None else wire
    )
    return block(order, 6, head + packet)


def all_of(octets: bytes) -> tuple[list[Record], Ledger]:
    ledger = Ledger()
    return list(from_octets(octets, ledger)), ledger


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "fraction_ns"), [(0xA1B2C3D4, 5000), (0xA1B23C4D, 5)])
def test_pcap_of_either_byte_order_and_resolution_is_read(order: str, magic: int, fraction_ns: int) -> None:
    found, ledger = all_of(pcap(order, magic))
    assert [record.octets for record in found] == PACKETS
    assert [record.captured_at_ns for record in found] == [(100 + n) * 10**9 + fraction_ns for n in range(3)]
    assert [record.frame for record in found] == [1, 2, 3]
    assert not ledger.damage


def test_the_modified_pcap_format_has_longer_record_headers() -> None:
    found, _ = all_of(pcap(magic=0xA1B2CD34, extra=b"\0" * 8))
    assert [record.octets for record in found] == PACKETS


def test_a_captured_length_above_the_wire_length_counts_as_the_wire_length() -> None:
    octets = pcap()[:24] + struct.pack("<IIII", 1, 0, 6, 4) + b"padded"
    ((record,), _) = all_of(octets)
    assert record.octets == b"padded"
    assert record.wire_length == 6


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_blocks_of_every_packet_kind_are_read(order: str) -> None:
    old = struct.pack(order + "HHIIII", 0, 0, 0, 7_000_000, 3, 9) + b"old"
    octets = (
        section(order)
        + interface(order)
        + block(order, 0xBAD, b"of somebody else")
        + enhanced(order, 0, 5_000_000, b"enhanced")
        + block(order, 2, old)
        + block(order, 3, struct.pack(order + "I", 6) + b"simple")
    )
    found, ledger = all_of(octets)
    assert [record.octets for record in found] == [b"enhanced", b"old", b"simple"]
    assert [record.captured_at_ns for record in found] == [5 * 10**9, 7 * 10**9, 7 * 10**9]
    assert found[1].wire_length == 9
    assert not ledger.damage


@pytest.mark.parametrize(
    ("resolution", "ticks", "nanoseconds"),
    [(6, 1_500_000, 1_500_000_000), (9, 1_500_000_001, 1_500_000_001), (0x80 | 10, 1536, 1_500_000_000), (3, 1, 10**6)],
)
def test_pcapng_time_resolution_and_offset_of_the_interface_count(
    resolution: int, ticks: int, nanoseconds: int
) -> None:
    options = struct.pack("<HHBxxx", 9, 1, resolution) + struct.pack("<HHq", 14, 8, 100) + struct.pack("<HH", 0, 0)
    ((record,), _) = all_of(section("<") + interface("<", options=options) + enhanced("<", 0, ticks, b"x"))
    assert record.captured_at_ns == nanoseconds + 100 * 10**9


def test_sections_of_different_byte_order_and_several_interfaces_follow_each_other() -> None:
    first = (
        section("<") + interface("<", 1) + interface("<", 113) + enhanced("<", 1, 1, b"a") + enhanced("<", 0, 2, b"b")
    )
    second = section(">") + interface(">", 101) + enhanced(">", 0, 3, b"c")
    found, _ = all_of(first + second)
    assert [(record.link_type, record.octets) for record in found] == [(113, b"a"), (1, b"b"), (101, b"c")]
    assert [record.frame for record in found] == [1, 2, 3]


def test_a_packet_of_an_interface_that_is_not_described_is_damage_and_reading_goes_on() -> None:
    found, ledger = all_of(section("<") + interface("<") + enhanced("<", 4, 1, b"lost") + enhanced("<", 0, 2, b"kept"))
    assert [record.octets for record in found] == [b"kept"]
    assert [(entry.frame, "interface 4" in entry.what) for entry in ledger.damage] == [(1, True)]


def test_packets_dropped_while_capturing_are_damage() -> None:
    body = struct.pack("<III", 0, 0, 0) + struct.pack("<HHQ", 5, 8, 627) + struct.pack("<HH", 0, 0)
    _, ledger = all_of(section("<") + interface("<") + block("<", 5, body))
    assert ledger.damage[0].what == "627 packets were dropped while capturing"


def test_a_truncated_last_packet_ends_reading_with_one_entry_of_damage() -> None:
    for octets in (pcap(), section("<") + interface("<") + b"".join(enhanced("<", 0, 1, p) for p in PACKETS)):
        found, ledger = all_of(octets[:-40])
        assert [record.octets for record in found] == PACKETS[:2]
        assert [entry.frame for entry in ledger.damage] == [3]
        assert (ledger.frames, ledger.damaged) == (1, 1)


@pytest.mark.parametrize(
    ("octets", "what"),
    [
        (b"", "empty"),
        (b"PK\x03\x04 a zip file, and quite long at that", "not a capture file"),
        (b"GET", "not a capture file"),
        (pcap()[:20], "within its pcap header"),
        (section("<")[:20], "within its pcapng section header"),
        (struct.pack("<II", 0x0A0D0D0A, 28) + b"no magic" * 3, "not a capture file"),
    ],
)
def test_what_is_no_capture_is_refused_in_one_line(tmp_path: Path, octets: bytes, what: str) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(octets)
    with pytest.raises(RecordError, match=what) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_what_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.pcap", tmp_path):
        with pytest.raises(RecordError, match="cannot be read"):
            read(path)


def test_a_gzipped_capture_is_read_and_a_broken_one_up_to_the_break(
    tmp_path: Path, capture: Callable[[str], Path]
) -> None:
    plain = read(capture("open5gs-attach.pcap"))
    whole = tmp_path / "whole.pcap.gz"
    whole.write_bytes(gzip.compress(capture("open5gs-attach.pcap").read_bytes()))
    assert read(whole).messages == plain.messages
    broken = tmp_path / "broken.pcap.gz"
    broken.write_bytes(whole.read_bytes()[:-2000])
    twice = tmp_path / "members.pcap.gz"
    octets = capture("open5gs-attach.pcap").read_bytes()
    twice.write_bytes(gzip.compress(octets[:5000]) + gzip.compress(octets[5000:]))
    assert read(twice).messages == plain.messages
    result = read(broken)
    assert 0 < len(result.messages) < len(plain.messages)
    assert any("cannot be read to its end" in entry.what for entry in result.damage)
    nothing = tmp_path / "nothing.gz"
    nothing.write_bytes(b"\x1f\x8b but not gzip")
    with pytest.raises(RecordError):
        read(nothing)


def test_a_huge_record_or_block_is_never_allocated() -> None:
    for octets in (
        pcap() + struct.pack("<IIII", 1, 0, 0xFFFFFFF0, 0xFFFFFFF0) + b"x" * 64,
        section("<") + interface("<") + struct.pack("<II", 6, 0xFFFFFFF0) + b"x" * 64,
    ):
        _, ledger = all_of(octets)
        assert "nothing after it was read" in ledger.damage[0].what


def test_records_are_the_same_however_the_file_is_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = all_of(pcap())
    monkeypatch.setattr(files, "CHUNK", 7)
    assert list(records(io.BytesIO(pcap()), Ledger())) == whole


def test_an_open_capture_is_a_plain_stream(capture: Callable[[str], Path]) -> None:
    with open_capture(capture("open5gs-attach.pcap")) as stream:
        assert stream.read(4) == b"\x4d\x3c\xb2\xa1"


@given(st.binary(max_size=400), st.sampled_from([b"", pcap()[:24], pcap()[:60], section("<") + interface("<")]))
def test_hostile_octets_end_in_records_or_a_record_error(octets: bytes, head: bytes) -> None:
    ledger = Ledger()
    try:
        for record in from_octets(head + octets, ledger):
            assert isinstance(record, Record)
    except RecordError:
        pass


@given(st.data())
def test_any_octet_changed_in_a_file_is_survived(data: st.DataObject) -> None:
    octets = bytearray(section("<") + interface("<") + b"".join(enhanced("<", 0, 1, p) for p in PACKETS))
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(RecordError):
        all_of(bytes(octets))
