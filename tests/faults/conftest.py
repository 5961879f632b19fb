"""What the tests of bad input share: small builders of frames and captures, and the command line."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from ferret.cli import main

PCAP_HEADER = bytes.fromhex("d4c3b2a1020004000000000000000000ffff0000")
ETHERNET = 1


class Frame(NamedTuple):
    """A frame of a capture file."""

    seconds: int
    fraction: int
    octets: bytes
    wire_length: int


def read_pcap(octets: bytes) -> list[Frame]:
    """The frames of a little-endian pcap file."""
    found = []
    at = 24
    while at < len(octets):
        seconds, fraction, length, wire_length = struct.unpack_from("<IIII", octets, at)
        found.append(Frame(seconds, fraction, octets[at + 16 : at + 16 + length], wire_length))
        at += 16 + length
    return found


def write_pcap(frames: Sequence[Frame], magic: bytes = PCAP_HEADER, link_type: int = ETHERNET) -> bytes:
    """A pcap file of these frames."""
    records = [struct.pack("<IIII", f.seconds, f.fraction, len(f.octets), f.wire_length) + f.octets for f in frames]
    return magic + struct.pack("<I", link_type) + b"".join(records)


def write_pcapng(frames: Sequence[Frame]) -> bytes:
    """A little-endian pcapng file of these frames: one section, one Ethernet interface."""
    blocks = [(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)), (1, struct.pack("<HHI", ETHERNET, 0, 0))]
    for frame in frames:
        microseconds = frame.seconds * 1_000_000 + frame.fraction // 1000
        head = (0, microseconds >> 32, microseconds & 0xFFFFFFFF, len(frame.octets), frame.wire_length)
        blocks.append((6, struct.pack("<IIIII", *head) + frame.octets + bytes(-len(frame.octets) % 4)))
    return b"".join(
        struct.pack("<II", kind, 12 + len(body)) + body + struct.pack("<I", 12 + len(body)) for kind, body in blocks
    )


def _address(text: str) -> bytes:
    return bytes(map(int, text.split(".")))


def ipv4(protocol: int, source: str, destination: str, payload: bytes) -> bytes:
    """An Ethernet frame with an IPv4 packet (RFC 791), its checksum right."""
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0)
    head += _address(source) + _address(destination)
    total = sum(struct.unpack(">10H", head))
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return bytes(12) + b"\x08\x00" + head[:10] + checksum.to_bytes(2, "big") + head[12:] + payload


def udp(source: str, source_port: int, destination: str, port: int, payload: bytes) -> bytes:
    """A UDP datagram (RFC 768) without checksum."""
    return ipv4(17, source, destination, struct.pack(">HHHH", source_port, port, 8 + len(payload), 0) + payload)


def tcp(source: str, source_port: int, destination: str, port: int, payload: bytes, sequence: int = 1) -> bytes:
    """A TCP segment (RFC 9293) with the flags PSH and ACK."""
    head = struct.pack(">HHIIBBHHH", source_port, port, sequence, 1, 0x50, 0x18, 65535, 0, 0)
    return ipv4(6, source, destination, head + payload)


def sctp(source: str, source_port: int, destination: str, port: int, payload: bytes, ppid: int = 18) -> bytes:
    """An SCTP packet (RFC 9260) with one DATA chunk that is a whole user message."""
    chunk = struct.pack(">BBHIHHI", 0, 3, 16 + len(payload), 1, 0, 0, ppid) + payload
    head = struct.pack(">HHII", source_port, port, 1, 0)
    return ipv4(132, source, destination, head + chunk + bytes(-len(payload) % 4))


@pytest.fixture(scope="session")
def craft() -> SimpleNamespace:
    """The builders: `udp`, `tcp`, `sctp`, `read_pcap`, `write_pcap`, `write_pcapng`."""
    return SimpleNamespace(
        udp=udp, tcp=tcp, sctp=sctp, read_pcap=read_pcap, write_pcap=write_pcap, write_pcapng=write_pcapng
    )


class Ran(NamedTuple):
    """How a command ended and what it said."""

    status: int
    stdout: str
    stderr: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Runs `ferret …` as the shell would: `run("inspect", path)`."""

    def command(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["ferret", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Ran(int(ended.value.code or 0), said.out, said.err)

    return command


@pytest.fixture
def spoilt(tmp_path: Path, capture: Callable[[str], Path]) -> Callable[..., tuple[Path, Path]]:
    """A capture of the project, and what `change(frames)` makes of it: `spoilt("x.pcap", change)`."""

    def make(name: str, change: Callable[[list[Frame]], Sequence[Frame]]) -> tuple[Path, Path]:
        octets = capture(name).read_bytes()
        bad = tmp_path / name
        bad.write_bytes(write_pcap(change(read_pcap(octets)), octets[:20]))
        return capture(name), bad

    return make
