"""UDP in IP packets, whole and in fragments, compared with scapy and with itself."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferret_core.ip import checksum
from ferret_core.ua.packets import MTU, REASSEMBLY_SECONDS, Datagram, PacketMaker, PacketReader

FOUR = st.integers(0, (1 << 32) - 1).map(lambda n: str(IPv4Address(n)))
SIX = st.integers(0, (1 << 128) - 1).map(lambda n: str(IPv6Address(n)))
PORTS = st.integers(0, 65535)


@st.composite
def datagrams(draw: st.DrawFn) -> Datagram:
    address = draw(st.sampled_from([FOUR, SIX]))
    size = draw(st.sampled_from([0, 1, 160, 1371, 1372, 1373, 2744, 2745, 4000, 9001]))
    payload = (draw(st.binary(min_size=1, max_size=16)) * (size // 1 + 1))[:size]
    return Datagram((draw(address), draw(PORTS)), (draw(address), draw(PORTS)), payload)


@given(datagrams(), st.randoms(use_true_random=False), st.sampled_from([600, 1280, MTU]))
@settings(max_examples=100)
def test_what_is_sent_in_any_order_of_fragments_is_received(datagram: Datagram, random: Any, mtu: int) -> None:
    packets = PacketMaker(mtu).packets(datagram)
    assert all(len(packet) <= mtu for packet in packets)
    random.shuffle(packets)
    reader = PacketReader()
    found = [reader.receive(packet, 0.0) for packet in packets]
    assert found == [None] * (len(packets) - 1) + [datagram]
    assert reader.dropped == 0


@given(datagrams())
@settings(max_examples=50)
def test_scapy_reads_the_same(datagram: Datagram) -> None:
    inet: Any = pytest.importorskip("scapy.layers.inet")
    inet6: Any = pytest.importorskip("scapy.layers.inet6")
    (packet,) = PacketMaker(65535).packets(datagram, service=0xB8)
    layer = (inet6.IPv6 if ":" in datagram.source[0] else inet.IP)(packet)
    ends = ip_address(layer.src), ip_address(layer.dst)
    assert ends == (ip_address(datagram.source[0]), ip_address(datagram.destination[0]))
    udp = layer[inet.UDP]
    assert (udp.sport, udp.dport, bytes(udp.payload)) == (
        datagram.source[1],
        datagram.destination[1],
        datagram.payload,
    )
    given_checksum = udp.chksum
    del udp.chksum
    if layer.version == 4:
        given_head = layer.chksum
        del layer.chksum
        assert type(layer)(bytes(layer)).chksum == given_head
    assert type(layer)(bytes(layer))[inet.UDP].chksum == given_checksum


@given(st.binary(max_size=120))
@settings(max_examples=200)
def test_rubbish_is_dropped(octets: bytes) -> None:
    reader = PacketReader()
    reader.receive(octets, 0.0)
    for first in (b"\x45", b"\x60"):
        reader.receive(first + octets, 0.0)


@given(datagrams(), st.data())
@settings(max_examples=100)
def test_a_changed_octet_never_gives_another_payload(datagram: Datagram, data: st.DataObject) -> None:
    reader = PacketReader()
    packets = PacketMaker().packets(datagram)
    which = data.draw(st.integers(0, len(packets) - 1))
    packet = bytearray(packets[which])
    packet[data.draw(st.integers(0, len(packet) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    packets[which] = bytes(packet)
    found = [one for one in (reader.receive(packet, 0.0) for packet in packets) if one is not None]
    assert all(one.payload == datagram.payload for one in found)


def test_overlapping_fragments_spoil_the_packet_and_missing_ones_are_given_up() -> None:
    datagram = Datagram(("10.0.0.1", 1), ("10.0.0.2", 2), bytes(3000))
    first, second, third = PacketMaker().packets(datagram)
    reader = PacketReader()
    assert reader.receive(first, 0.0) is None
    assert reader.receive(first, 0.0) is None  # the same once more does no harm
    overlap = bytearray(second)
    overlap[7] -= 1
    assert reader.receive(bytes(overlap), 0.0) is None
    assert reader.dropped == 1
    assert reader.receive(second, 1.0) is None
    assert reader.receive(third, 1.0) is None
    assert reader.receive(first, 1.0 + REASSEMBLY_SECONDS) is None
    assert reader.dropped == 2


def test_the_checksum_of_nothing_is_all_ones() -> None:
    assert checksum(b"") == 0xFFFF
    assert checksum(b"\xff\xff") == 0
    assert checksum(b"\x00\x01\xf2\x03\xf4\xf5\xf6\xf7") == 0x220D  # the example of RFC 1071 clause 3
