"""Inner IP packets, and scapy's opinion of them."""

from __future__ import annotations

from socket import AF_INET6, inet_ntop

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6

from ferret.errors import DecodeError
from ferret_deploy.lab import datagram
from ferret_deploy.lab.datagram import Datagram

PORTS = st.integers(1, 65535)
PAYLOADS = st.binary(max_size=80)
V4, V6 = st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(lambda one: inet_ntop(AF_INET6, one.packed))
DATAGRAMS = st.one_of(
    *(st.builds(Datagram, st.tuples(hosts, PORTS), st.tuples(hosts, PORTS), PAYLOADS) for hosts in (V4, V6))
)


@given(DATAGRAMS)
def test_what_is_written_is_read(one: Datagram) -> None:
    assert datagram.read(datagram.write(one)) == one


@given(DATAGRAMS)
def test_scapy_computes_the_same_checksums(one: Datagram) -> None:
    packet = datagram.write(one)
    layers = (IPv6 if ":" in one.source[0] else IP)(packet)
    checksum = layers[UDP].chksum
    del layers[UDP].chksum
    if IP in layers:
        del layers[IP].chksum
    again = layers.__class__(bytes(layers))
    assert again[UDP].chksum == checksum
    assert bytes(again) == packet


@given(DATAGRAMS, st.data())
def test_a_packet_that_is_cut_is_a_decode_error(one: Datagram, data: st.DataObject) -> None:
    packet = datagram.write(one)
    with pytest.raises(DecodeError):
        datagram.read(packet[: data.draw(st.integers(0, len(packet) - 1))])


@given(st.binary(max_size=80))
def test_nothing_else_comes_out_of_the_decoder(octets: bytes) -> None:
    try:
        datagram.read(octets)
    except DecodeError:
        return


def test_fragments_and_other_protocols_are_refused() -> None:
    packet = datagram.write(Datagram(("10.0.0.1", 1), ("10.0.0.2", 2), b"x"))
    for at, value in ((6, 0x20), (7, 1), (9, 6)):
        changed = bytearray(packet)
        changed[at] = value
        with pytest.raises(DecodeError):
            datagram.read(bytes(changed))


def test_octets_after_the_packet_are_no_part_of_it() -> None:
    one = Datagram(("10.0.0.1", 1), ("10.0.0.2", 2), b"x")
    assert datagram.read(datagram.write(one) + b"padding of Ethernet") == one
