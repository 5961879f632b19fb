"""ESP: what is not encrypted is read, what is encrypted is counted."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from ferret_agents.capture.dissect import MAX_TUNNELS
from ferret_agents.capture.esp import open_plain

Dissect = Callable[..., Any]
RAW = 101
UNREADABLE = "esp (encrypted, not readable)"


def wrapped(inner: bytes, protocol: int, check: int = 12) -> bytes:
    """ESP with null encryption around a transport packet (RFC 4303 clause 2)."""
    padding = -(len(inner) + 2) % 4
    trailer = bytes(range(1, padding + 1)) + bytes((padding, protocol))
    return b"\x00\x00\x04\x3f" + b"\x00\x00\x00\x01" + inner + trailer + os.urandom(check)


@pytest.mark.parametrize("check", [12, 16, 0])
def test_sip_in_unencrypted_esp_is_found(scapy: Any, dissect: Dissect, sample: Any, check: int) -> None:
    ends = {"src": "10.46.0.2", "dst": "172.22.0.21"}
    request = sample.sip("REGISTER", 1, b"x" * 3)
    datagram = bytes(scapy.IP(**ends) / scapy.UDP(sport=6100, dport=6101) / request)[20:]
    stream = bytes(scapy.IP(**ends) / scapy.TCP(sport=6100, dport=6101, flags="PA") / request)[20:]
    whole = bytes(scapy.IP(src="10.9.9.9", dst="172.22.0.21") / scapy.UDP(sport=6100, dport=6101) / request)
    frames = [
        scapy.IP(**ends, proto=50) / wrapped(datagram, 17, check),
        scapy.IP(**ends, proto=50) / wrapped(stream, 6, check),
        scapy.IP(**ends, proto=50) / wrapped(whole, 4, check),
        scapy.IP(**ends) / scapy.UDP(sport=4500, dport=4500) / wrapped(datagram, 17, check),
    ]
    outcome = dissect(frames, RAW)
    assert outcome.octets == [request] * 4
    assert [message.transport for message in outcome.messages] == ["udp", "tcp", "udp", "udp"]
    assert [message.source.port for message in outcome.messages] == [6100] * 4
    assert outcome.accounted


def test_encrypted_esp_is_counted_as_not_readable(scapy: Any, dissect: Dissect) -> None:
    frames = [scapy.IP(src="10.46.0.2", dst="172.22.0.21", proto=50) / os.urandom(80 + n) for n in range(60)]
    outcome = dissect(frames, RAW)
    assert outcome.ledger.ignored == {UNREADABLE: 60}
    short = [scapy.IP(src="10.46.0.2", dst="172.22.0.21", proto=50) / (b"\0" * n) for n in range(24)]
    assert dissect(short, RAW).accounted


def test_esp_inside_esp_ends_somewhere(scapy: Any, dissect: Dissect) -> None:
    packet = bytes(scapy.IP(src="10.0.0.1", dst="10.0.0.2") / scapy.UDP(sport=1, dport=2))
    for _ in range(MAX_TUNNELS + 5):
        packet = bytes(scapy.IP(src="10.0.0.1", dst="10.0.0.2", proto=50) / wrapped(packet, 4))
    outcome = dissect([packet], RAW)
    assert outcome.ledger.damaged == 1


def test_a_cut_packet_is_not_opened(sample: Any) -> None:
    octets = wrapped(b"\x17\xd4\x17\xd5\x00\x10\x00\x00payload!", 17)
    assert open_plain(octets, 0, len(octets)) is not None
    for end in range(len(octets) - 12):  # what is left then could be ESP without a check value
        assert open_plain(octets, 0, end) is None
