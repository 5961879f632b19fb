"""Diameter messages of the captures, without any other package of the project and without tshark where possible."""

from __future__ import annotations

import json
import struct
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ferret.protocols.diameter import split

PORT = 3868


def _segments(path: Path) -> Iterator[tuple[tuple[bytes, int, bytes, int], int, bytes]]:
    """TCP payloads of an Ethernet/IPv4 pcap without loss or reordering, as the project's own are."""
    data = path.read_bytes()
    order = "<" if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    place = 24
    while place + 16 <= len(data):
        size = struct.unpack_from(order + "I", data, place + 8)[0]
        frame = data[place + 16 : place + 16 + size]
        place += 16 + size
        if frame[12:14] != b"\x08\x00" or frame[23] != 6:
            continue
        ip = frame[14 : 14 + int.from_bytes(frame[16:18], "big")]
        tcp = ip[(ip[0] & 15) * 4 :]
        source, destination, sequence = struct.unpack(">HHI", tcp[:8])
        yield (ip[12:16], source, ip[16:20], destination), sequence, tcp[(tcp[12] >> 4) * 4 :]


def stream_messages(path: Path) -> list[bytes]:
    """Every Diameter message on TCP 3868, put together from its segments."""
    streams: dict[tuple[bytes, int, bytes, int], bytes] = defaultdict(bytes)
    found = []
    for key, _, payload in _segments(path):
        if PORT in (key[1], key[3]) and payload:
            messages, used = split(streams[key] + payload)
            streams[key] = (streams[key] + payload)[used:]
            found += messages
    return found


@pytest.fixture(scope="session")
def recorded_messages() -> Callable[[Path], list[bytes]]:
    """Diameter messages of one of the project's own captures."""
    return stream_messages


@pytest.fixture(scope="session")
def tshark_messages() -> Callable[[Path], list[bytes]]:
    """Diameter messages of any capture, as tshark puts them together (its malformed ones left out)."""

    def read(path: Path) -> list[bytes]:
        command = ["tshark", "-r", str(path), "-Y", "diameter && !_ws.malformed", "-T", "json", "-x", "-J", "diameter"]
        command += ["--no-duplicate-keys", "-d", "tcp.port==3871,diameter"]
        output = subprocess.run(command, capture_output=True, check=True, text=True).stdout
        found = []
        for packet in json.loads(output or "[]"):
            raw = packet["_source"]["layers"].get("diameter_raw", [])
            found += [bytes.fromhex(one[0]) for one in ([raw] if raw and isinstance(raw[0], str) else raw)]
        return found

    return read
