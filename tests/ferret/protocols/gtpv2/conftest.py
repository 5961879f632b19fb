"""GTPv2-C messages out of captures, by a reader that shares no code with the product."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest


class Sample(NamedTuple):
    """One UDP payload of port 2123. `source` and `destination` are address octets."""

    file: str
    frame: int
    source: bytes
    destination: bytes
    octets: bytes


def frames(path: Path) -> Iterator[tuple[int, bytes]]:
    """Link type and octets of every packet of a pcap or pcapng file."""
    data = path.read_bytes()
    if data[:4] == b"\n\r\r\n":
        yield from _pcapng_frames(data)
        return
    order = "<" if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    link = struct.unpack_from(order + "I", data, 20)[0]
    at = 24
    while at + 16 <= len(data):
        length = struct.unpack_from(order + "I", data, at + 8)[0]
        yield link, data[at + 16 : at + 16 + length]
        at += 16 + length


def _pcapng_frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    links: list[int] = []
    at = 0
    order = "<"
    while at + 12 <= len(data):
        if data[at : at + 4] == b"\n\r\r\n":
            order = "<" if data[at + 8 : at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            links = []
        kind, length = struct.unpack_from(order + "II", data, at)
        if kind == 1:
            links.append(struct.unpack_from(order + "H", data, at + 8)[0])
        elif kind == 6:
            interface, _, _, captured = struct.unpack_from(order + "IIII", data, at + 8)
            yield links[interface], data[at + 28 : at + 28 + captured]
        at += length


LINK_HEADERS = {0: 4, 1: 14, 113: 16, 101: 0, 276: 20}


def gtpv2_samples(path: Path) -> list[Sample]:
    """Every UDP payload from or to port 2123, unfragmented, VLAN-free."""
    samples = []
    for number, (link, octets) in enumerate(frames(path), 1):
        packet = octets[LINK_HEADERS.get(link, 0) :]
        if packet[:1] and packet[0] >> 4 == 4 and packet[9] == 17:
            end = struct.unpack_from("!H", packet, 2)[0]
            source, destination, udp = packet[12:16], packet[16:20], packet[(packet[0] & 15) * 4 : end]
        elif packet[:1] and packet[0] >> 4 == 6 and packet[6] == 17:
            source, destination, udp = packet[8:24], packet[24:40], packet[40:]
        else:
            continue
        if len(udp) < 8 or (packet[0] >> 4 == 4 and struct.unpack_from("!H", packet, 6)[0] & 0x1FFF):
            continue
        *ports, size = struct.unpack_from("!HHH", udp)
        if 2123 in ports:
            samples.append(Sample(path.name, number, source, destination, udp[8:size]))
    return samples


@pytest.fixture(scope="session")
def samples_of() -> Callable[[Path], list[Sample]]:
    """Reads the GTPv2-C payloads of one capture."""
    return gtpv2_samples


@pytest.fixture(scope="session")
def samples(all_captures: list[Path]) -> list[Sample]:
    """The GTPv2-C payloads of every capture (version 2 only: port 2123 is GTPv1-C's too)."""
    return [s for path in all_captures for s in gtpv2_samples(path) if s.octets[:1] and s.octets[0] >> 5 == 2]
