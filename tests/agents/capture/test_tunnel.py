"""GTP-U: what is inside a tunnel is found, with the tunnel it was in; what is made to hurt does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ferret.records.message import Endpoint
from ferret_agents.capture.dissect import MAX_TUNNELS
from ferret_agents.capture.tunnel import TunnelPdu, is_gtpu, open_tunnel

Dissect = Callable[..., Any]
RAW = 101
UE, PROXY = "10.46.0.2", "172.22.0.21"


def outer(
    scapy: Any, payload: bytes, flags: int = 0x30, teid: int = 0xABCD, kind: int = 255, extra: bytes = b""
) -> bytes:
    body = extra + payload
    header = bytes((flags, kind)) + len(body).to_bytes(2, "big") + teid.to_bytes(4, "big")
    ip = scapy.IP(src="198.51.100.1", dst="198.51.100.2") / scapy.UDP(sport=2152, dport=2152)
    return bytes(ip / (header + body))


@pytest.fixture
def inner(scapy: Any, sample: Any) -> bytes:
    return bytes(scapy.IP(src=UE, dst=PROXY) / scapy.UDP(sport=5060, dport=5060) / sample.sip("REGISTER", 1))


def test_sip_in_a_tunnel_is_found_with_the_tunnel(scapy: Any, dissect: Dissect, inner: bytes, sample: Any) -> None:
    (message,) = dissect([outer(scapy, inner)], RAW).messages
    assert message.octets == sample.sip("REGISTER", 1)
    assert (message.source, message.destination) == (Endpoint(UE, 5060), Endpoint(PROXY, 5060))
    assert message.tunnel == (Endpoint("198.51.100.1", 2152), Endpoint("198.51.100.2", 2152))
    assert message.tunnel_teid == 0xABCD


def test_optional_fields_and_extension_headers_are_skipped(
    scapy: Any, dissect: Dissect, inner: bytes, sample: Any
) -> None:
    frames = [
        outer(scapy, inner, 0x32, extra=b"\x00\x01\x00\x00"),
        outer(scapy, inner, 0x34, extra=b"\x00\x00\x00\x85\x01\x10\x05\x00"),
        outer(scapy, inner, 0x36, extra=b"\x00\x01\x00\xc0\x01\x00\x01\x85\x02" + b"\0" * 6 + b"\x00"),
    ]
    assert dissect(frames, RAW).octets == [sample.sip("REGISTER", 1)] * 3


def test_an_ipv6_device_is_found(scapy: Any, dissect: Dissect, sample: Any) -> None:
    packet = scapy.IPv6(src="2001:db8::5", dst="2001:db8::9") / scapy.TCP(sport=5060, dport=5060, flags="PA")
    (message,) = dissect([outer(scapy, bytes(packet / sample.sip("INVITE", 1)))], RAW).messages
    assert (message.source.address, message.transport) == ("2001:db8::5", "tcp")


def test_tunnels_inside_tunnels_end_somewhere(scapy: Any, dissect: Dissect, inner: bytes) -> None:
    packet = inner
    for depth in range(1, 30):
        packet = outer(scapy, packet)
        outcome = dissect([packet], RAW)
        assert len(outcome.messages) == (1 if depth <= MAX_TUNNELS else 0)
        assert outcome.ledger.damaged == (0 if depth <= MAX_TUNNELS else 1)
    packet = inner
    for _ in range(60):
        packet = bytes(scapy.IP(src="192.0.2.1", dst="192.0.2.2", proto=4) / packet)
    assert dissect([packet], RAW).ledger.damaged == 1


def test_messages_of_gtpu_itself_are_ignored_by_kind(scapy: Any, dissect: Dissect) -> None:
    outcome = dissect([outer(scapy, b"", kind=kind) for kind in (1, 2, 26, 31, 254, 99)], RAW)
    assert outcome.ledger.ignored == {
        "gtp-u echo": 2,
        "gtp-u error indication": 1,
        "gtp-u extension notification": 1,
        "gtp-u end marker": 1,
        "gtp-u other": 1,
    }


def test_malformed_tunnels_are_counted_and_never_followed(scapy: Any, dissect: Dissect) -> None:
    frames = [
        outer(scapy, b""),
        outer(scapy, b"", 0x34, extra=b"\x00\x00\x00\x85\x00"),
        outer(scapy, b"", 0x34, extra=b"\x00\x00\x00\x85\xff\x00"),
        outer(scapy, b"", 0x34, extra=b"\x00\x00\x00\x85" + b"\x01\x00\x00\x85" * 40),
        outer(scapy, b"\x00\x11 not IP"),
    ]
    outcome = dissect(frames, RAW)
    assert outcome.ledger.ignored == {"gtp-u malformed": 4, "gtp-u without ip": 1}


def test_the_header_alone_decides() -> None:
    assert is_gtpu(b"\x30\xff" + b"\0" * 6, 0, 8)
    assert not is_gtpu(b"\x30\xff" + b"\0" * 5, 0, 7)
    assert not is_gtpu(b"\x48\xff" + b"\0" * 6, 0, 8)
    assert open_tunnel(b"\x30\xff\x00\x01\x00\x00\x00\x07E", 0, 9) == TunnelPdu(7, 8)
