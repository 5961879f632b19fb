"""User packets through SGW and PGW: forwarding, buffering, bearer binding, and what is no user packet."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferret.protocols import gtpu
from ferret.protocols.gtpu import GtpuType
from ferret.protocols.gtpv2.tft import Component, PacketFilter, address, port, protocol
from ferret_core.gtp_control import Tunnel
from ferret_core.ua.packets import Datagram, PacketMaker
from ferret_core.user_plane import (
    BUFFERED_PACKETS,
    Flow,
    PgwBearer,
    PgwForwarder,
    PgwUserPlane,
    SgwForwarder,
    SgwPath,
    SgwUserPlane,
    flow_of,
    matches,
    ue_key,
)

UE, PEER = "10.45.0.2", "198.51.100.7"
ENB, SGW, PGW = ("192.0.2.30", 2152), ("192.0.2.6", 2152), ("192.0.2.7", 2152)


def packet(source: str, destination: str, sport: int = 0, dport: int = 0, proto: int = 17, fragment: int = 0) -> bytes:
    ends = ip_address(source).packed + ip_address(destination).packed
    end = sport.to_bytes(2, "big") + dport.to_bytes(2, "big") + bytes(4)
    if ":" in source:
        return b"\x60\x00\x00\x00" + len(end).to_bytes(2, "big") + bytes((proto, 64)) + ends + end
    return b"\x45\x00\x00\x1c\x00\x01" + fragment.to_bytes(2, "big") + bytes((64, proto, 0, 0)) + ends + end


@pytest.fixture
def sgw() -> SgwForwarder:
    paths = {1: SgwPath(Tunnel(PGW[0], 0x51)), 2: SgwPath(None)}
    return SgwForwarder(SgwUserPlane(SGW[0], paths))


def test_the_sgw_passes_packets_from_tunnel_to_tunnel(sgw: SgwForwarder) -> None:
    assert sgw.receive(gtpu.wrap(1, b"\x45up"), ENB) == [(gtpu.wrap(0x51, b"\x45up"), PGW)]


def test_packets_for_an_idle_ue_wait_and_are_announced(sgw: SgwForwarder) -> None:
    for number in range(BUFFERED_PACKETS + 3):
        assert sgw.receive(gtpu.wrap(2, bytes((0x45, number))), PGW) == []
    assert sgw.take_arrived() == [2] and sgw.take_arrived() == []
    sgw.receive(gtpu.wrap(2, bytes((0x45, BUFFERED_PACKETS + 3))), PGW)
    assert sgw.take_arrived() == [2]  # the SGW knows whether it has asked already
    assert sgw.flush() == [] and sgw.buffered == BUFFERED_PACKETS
    sgw._plane.paths[2] = SgwPath(Tunnel(ENB[0], 0x30))
    sent = sgw.flush()
    assert [octets[9] for octets, _ in sent] == list(range(4, BUFFERED_PACKETS + 4))
    assert sent[0] == (gtpu.wrap(0x30, b"\x45\x04"), ENB) and sgw.buffered == 0
    assert sgw.receive(gtpu.wrap(2, b"\x45"), PGW) == [(gtpu.wrap(0x30, b"\x45"), ENB)]


def test_packets_of_a_bearer_that_goes_are_dropped(sgw: SgwForwarder) -> None:
    sgw.receive(gtpu.wrap(2, b"\x45"), PGW)
    del sgw._plane.paths[2]
    assert sgw.flush() == [] and sgw.buffered == 0


def test_an_unknown_tunnel_is_reported_to_the_sender(sgw: SgwForwarder) -> None:
    ((octets, destination),) = sgw.receive(gtpu.wrap(99, b"\x45"), ("192.0.2.30", 40000))
    assert destination == ENB
    assert gtpu.error_indication(gtpu.decode(octets)) == gtpu.ErrorIndication(99, SGW[0])


def test_echo_error_indication_end_marker_and_noise(sgw: SgwForwarder) -> None:
    ((octets, destination),) = sgw.receive(gtpu.echo_request(7), ("192.0.2.30", 40000))
    assert gtpu.decode(octets).type == GtpuType.ECHO_RESPONSE and destination == ("192.0.2.30", 40000)
    assert sgw.receive(gtpu.ErrorIndication(0x51, PGW[0]).encode(), PGW) == []
    assert sgw.take_lost() == [(PGW[0], 0x51)]
    assert sgw.receive(gtpu.end_marker(1), ENB) == [(gtpu.end_marker(0x51), PGW)]
    assert sgw.receive(gtpu.end_marker(2), ENB) == sgw.receive(gtpu.end_marker(9), ENB) == []
    assert sgw.receive(b"noise", ENB) == []


VOICE = PacketFilter(0, 1, 3, (protocol(17), address(PEER, remote=True), port(5000, remote=True)))


@pytest.fixture
def pgw() -> PgwForwarder:
    plane = PgwUserPlane(PGW[0])
    plane.uplink = {0x51: (UE,), 0x52: (UE,), 0x61: (ue_key("2001:db8:1:2::5"),)}
    plane.downlink = {
        UE: {0x51: PgwBearer(Tunnel(SGW[0], 5)), 0x52: PgwBearer(Tunnel(SGW[0], 6), (VOICE,))},
        ue_key("2001:db8:1:2::1"): {0x61: PgwBearer(Tunnel(SGW[0], 7))},
    }
    return PgwForwarder(plane)


def test_the_pgw_takes_uplink_packets_out_of_their_tunnels(pgw: PgwForwarder) -> None:
    up = packet(UE, PEER)
    assert pgw.receive(gtpu.wrap(0x51, up), SGW) == []
    assert pgw.take_packets() == [up] and pgw.take_packets() == []


def test_a_ue_uses_no_address_but_its_own(pgw: PgwForwarder) -> None:
    pgw.receive(gtpu.wrap(0x51, packet("10.45.0.3", PEER)), SGW)
    pgw.receive(gtpu.wrap(0x51, b"\x45"), SGW)
    assert pgw.take_packets() == []
    pgw.receive(gtpu.wrap(0x61, packet("2001:db8:1:2::abcd", "2001:db8::1")), SGW)
    assert len(pgw.take_packets()) == 1


def test_downlink_packets_go_into_the_bearer_that_they_are_bound_to(pgw: PgwForwarder) -> None:
    voice, other = packet(PEER, UE, 5000, 6000), packet(PEER, UE, 5001, 6000)
    assert pgw.send(voice) == [(gtpu.wrap(6, voice), SGW)]
    assert pgw.send(other) == [(gtpu.wrap(5, other), SGW)]
    six = packet("2001:db8::1", "2001:db8:1:2::99")
    assert pgw.send(six) == [(gtpu.wrap(7, six), SGW)]
    assert pgw.send(packet(PEER, "10.45.0.9")) == pgw.send(b"noise") == []


def test_the_lowest_precedence_wins(pgw: PgwForwarder) -> None:
    first = PacketFilter(0, 3, 1, (protocol(17),))
    pgw._plane.downlink[UE][0x53] = PgwBearer(Tunnel(SGW[0], 8), (first,))
    voice = packet(PEER, UE, 5000, 6000)
    assert pgw.send(voice) == [(gtpu.wrap(8, voice), SGW)]


def test_a_later_fragment_has_no_ports() -> None:
    assert flow_of(packet(PEER, UE, 5000, 6000, fragment=0x20)) == Flow(PEER, UE, 17, 0, 0, 0)
    assert flow_of(packet(PEER, UE, 5000, 6000, fragment=0x2000)) == Flow(PEER, UE, 17, 5000, 6000, 0)


def test_ports_of_ipv6_are_found_behind_extension_headers_and_in_first_fragments_only() -> None:
    ends = ("2001:db8::1", 5000), ("2001:db8::2", 6000)
    first, later = PacketMaker().packets(Datagram(*ends, bytes(1500)))
    assert flow_of(first) == Flow("2001:db8::1", "2001:db8::2", 17, 5000, 6000, 0)
    assert flow_of(later) == Flow("2001:db8::1", "2001:db8::2", 17, 0, 0, 0)
    whole = packet("2001:db8::1", "2001:db8::2", 5000, 6000)
    options = bytes((17, 0)) + bytes(6)
    assert flow_of(whole[:6] + bytes((60, 64)) + whole[8:40] + options + whole[40:]) == flow_of(whole)


@given(st.binary(min_size=39, max_size=120))
def test_any_octets_have_a_flow_or_none(octets: bytes) -> None:
    found = flow_of(b"\x60" + octets)
    assert found is not None and 0 <= found.source_port < 65536


@pytest.mark.parametrize(
    ("components", "holds"),
    [
        ((), True),
        ((protocol(6),), False),
        ((port(4000, 6000, remote=True),), True),
        ((port(4000, 4999, remote=True),), False),
        ((port(6000, remote=False),), True),
        ((address("198.51.100.0/24", remote=True),), True),
        ((address("198.51.101.0/24", remote=True),), False),
        ((address(UE, remote=False),), True),
        ((address("2001:db8::/32", remote=True),), False),
        ((Component(0x70, b"\x00\xff"),), True),
        ((Component(0x70, b"\xb8\xfc"),), False),
        ((Component(0x60, bytes(4)),), False),
    ],
)
def test_a_filter_holds_when_all_its_components_do(components: tuple[Component, ...], holds: bool) -> None:
    flow = Flow(PEER, UE, 17, 5000, 6000, 0)
    assert matches(PacketFilter(0, 1, 0, components), flow, uplink=False) is holds
    assert matches(PacketFilter(0, 2, 0, components), flow, uplink=False) is False
    back = Flow(UE, PEER, 17, 6000, 5000, 0)
    assert matches(PacketFilter(0, 3, 0, components), back, uplink=True) is holds


def test_ipv6_prefixes_hold_by_their_length() -> None:
    flow = Flow("2001:db8:1::5", "2001:db8:2::1", 17, 1, 2, 0)
    inside, outside = address("2001:db8:1::/48", remote=True), address("2001:db8:3::/48", remote=True)
    assert matches(PacketFilter(0, 1, 0, (inside,)), flow, uplink=False)
    assert not matches(PacketFilter(0, 1, 0, (outside,)), flow, uplink=False)


@settings(max_examples=200)
@given(st.binary(max_size=80), st.booleans())
def test_no_datagram_and_no_packet_breaks_a_forwarder(octets: bytes, dressed: bool) -> None:
    if dressed:
        octets = gtpu.wrap(1, octets)
    forwarder = PgwForwarder(PgwUserPlane(PGW[0], {1: (UE,)}, {UE: {1: PgwBearer(None)}}))
    forwarder.receive(octets, ENB)
    forwarder.send(octets)
    SgwForwarder(SgwUserPlane(SGW[0], {1: SgwPath(None)})).receive(octets, ENB)
