"""docs/journal.md is enough to write another reader: this is one, written from the page alone."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ferret.records.journal import Journal
from ferret.records.recorder import Capture

PROTOCOLS = ("gtpv2", "diameter", "sip", "s1ap")
TRANSPORTS = ("none", "udp", "tcp", "sctp")


def _frames(octets: bytes, key: bytes) -> Iterator[tuple[int, bytes]]:
    assert octets[:8] == b"FERRETJ\n"
    version, zero, check, segment, checksum, last = struct.unpack(">HH8sIII", octets[8:32])
    assert (version, zero, segment, last) == (1, 0, 1, 0)
    assert check == hashlib.sha256(b"FERRET journal key check" + key).digest()[:8]
    assert checksum == crc32(octets[:24])
    at = 32
    while at < len(octets):
        marker, length, checksum, kind = struct.unpack_from(">4sIIB", octets, at)
        payload = octets[at + 13 : at + 13 + length]
        assert marker == bytes.fromhex("f546524d")
        assert checksum == crc32(octets[at + 12 : at + 13 + length])
        yield kind, payload
        at += 13 + length


def _message(payload: bytes, key: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    opened = AESGCM(key).decrypt(payload[8:20], payload[20:], payload[:8])
    length = int.from_bytes(opened[:4], "big")
    return json.loads(opened[4 : 4 + length]), _captured(opened[4 + length :])


def _captured(octets: bytes) -> dict[str, Any]:
    head = struct.unpack_from(">BBBBqHHQiqqIBBBB", octets)
    assert head[0] == 1
    at = 52
    names = []
    for length in head[12:15]:
        names.append(octets[at : at + length].decode())
        at += length
    tunnel = []
    for _ in range(head[15]):
        port, length = struct.unpack_from(">HB", octets, at)
        tunnel.append((octets[at + 3 : at + 3 + length].decode(), port))
        at += 3 + length
    return {
        "protocol": PROTOCOLS[head[1]],
        "transport": TRANSPORTS[head[2]],
        "flaws": tuple(f for bit, f in enumerate(("cut", "hole before", "undecodable")) if head[3] >> bit & 1),
        "captured_at_ns": head[4],
        "source": (names[0], head[5]),
        "destination": (names[1], head[6]),
        "agent": names[2],
        "number": head[7],
        "stream": head[8],
        "stream_sequence": head[9],
        "tunnel_teid": head[10],
        "frame": head[11],
        "tunnel": tuple(tunnel),
        "octets": octets[at:],
    }


@pytest.fixture
def capture_in_journal(recorded: Callable[[str], Capture], tmp_path: Path) -> Capture:
    """A recorded attach, kept in a journal in tmp_path; one recording of it is done with."""
    capture = recorded("open5gs-attach.pcap")
    with Journal(tmp_path) as journal:
        names = journal.append(capture.recordings, source="open5gs-attach.pcap")
        journal.forget(names[-1])
    return capture


def test_a_reader_written_from_the_page_reads_everything(capture_in_journal: Capture, tmp_path: Path) -> None:
    key = (tmp_path / "key").read_bytes()
    found = list(_frames((tmp_path / "000001.journal").read_bytes(), key))
    by_type = {kind: [payload for k, payload in found if k == kind] for kind in (1, 2, 3, 4)}
    assert json.loads(by_type[1][0]) == {"capture": 1, "source": "open5gs-attach.pcap"}
    messages = {message.index: message for message in capture_in_journal.messages}
    for payload in by_type[2]:
        about, captured = _message(payload, key)
        message = messages[int.from_bytes(payload[4:8], "big")]
        assert about == {
            "index": message.index,
            "name": message.name,
            "kind": message.kind,
            "interface": message.interface,
            "from": list(message.from_nf),
            "to": list(message.to_nf),
            "transaction": message.transaction,
            "identifiers": [list(identifier) for identifier in message.identifiers],
            "accepted": message.accepted,
            "transitions": message.state_transitions,
            "answers": message.answers,
            "agents": list(message.agents),
            "retransmissions": message.retransmissions,
            "subscribers": list(message.subscribers),
            "services": list(message.services),
        }
        assert captured == {name: getattr(message.captured, name) for name in captured}
    for payload, recording in zip(by_type[3], capture_in_journal.recordings, strict=True):
        about = json.loads(payload)
        assert about == {
            "id": f"1.{recording.id}",
            "capture": 1,
            "subscriber": recording.subscriber,
            "service": recording.service,
            "number": recording.number,
            "begin_ns": recording.begin_ns,
            "end_ns": recording.end_ns,
            "entries": [[message.index, boundary] for message, boundary in recording.entries],
            "context": [[message.index, boundary] for message, boundary in recording.context],
            "holes": [[hole.what, hole.after, hole.agent] for hole in recording.holes],
        }
    assert json.loads(by_type[4][0]) == {"id": f"1.{capture_in_journal.recordings[-1].id}"}
