"""Who is what in a capture: by what was said, on shared addresses too, and in captures that nobody tuned for."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferret.protocols.summary import Protocol
from ferret.records.message import CapturedMessage, Endpoint, Node, Role
from ferret_agents.capture.reader import read
from ferret_agents.evidence import role_in_name
from ferret_agents.roles import find_network, find_nodes

OURS = {
    Role.MME: "172.22.0.2",
    Role.SGW: "172.22.0.3",
    Role.PGW: "172.22.0.4",
    Role.HSS: "172.22.0.8",
    Role.PCRF: "172.22.0.9",
    Role.ICSCF: "172.22.0.19",
    Role.SCSCF: "172.22.0.20",
    Role.PCSCF: "172.22.0.21",
}


def message(
    protocol: Protocol, octets: bytes, source: str, destination: str, tunnel: tuple[Endpoint, ...] = ()
) -> CapturedMessage:
    def end(text: str) -> Endpoint:
        address, _, port = text.rpartition(":")
        return Endpoint(address, int(port))

    return CapturedMessage(protocol, 0, end(source), end(destination), octets, tunnel=tunnel)


def test_every_nf_of_a_recorded_call_is_found(capture: Callable[[str], Path]) -> None:
    nodes = find_nodes(read(capture("volte-call-full.pcap")).messages)
    assert {node for node in nodes if node.role is not Role.UE} == {
        *(Node(role, address) for role, address in OURS.items()),
        Node(Role.ENB, "172.22.0.30"),
    }
    assert {node.address for node in nodes if node.role is Role.UE} >= {"10.46.0.2", "10.46.0.3"}


def test_two_base_stations_and_many_devices_are_found(capture: Callable[[str], Path]) -> None:
    nodes = find_nodes(read(capture("volte-multi-6.pcap")).messages)
    assert [node.address for node in nodes if node.role is Role.ENB] == ["172.22.0.30", "172.22.0.31"]
    assert len([node for node in nodes if node.role is Role.UE]) == 12


def test_sip_alone_shows_its_roles_and_both_devices(capture: Callable[[str], Path]) -> None:
    sip = [m for m in read(capture("kamailio-ims-call.pcap")).messages if m.protocol is Protocol.SIP]
    assert set(find_nodes(sip)) == {
        Node(Role.UE, "172.22.0.41"),
        Node(Role.UE, "172.22.0.42"),
        *(Node(role, OURS[role]) for role in (Role.PCSCF, Role.ICSCF, Role.SCSCF)),
    }


def test_an_af_without_sip_stays_an_af(capture: Callable[[str], Path]) -> None:
    nodes = find_nodes(read(capture("open5gs-volte.pcap")).messages)
    assert Node(Role.AF, "172.22.0.21") in nodes


def test_every_interface_of_the_own_captures_connects_the_right_roles(own_captures: list[Path]) -> None:
    allowed = {
        Protocol.S1AP: [{Role.ENB, Role.MME}],
        Protocol.GTPV2: [{Role.MME, Role.SGW}, {Role.SGW, Role.PGW}],
        Protocol.SIP: [
            {Role.UE, Role.PCSCF},
            {Role.PCSCF, Role.ICSCF},
            {Role.PCSCF, Role.SCSCF},
            {Role.ICSCF, Role.SCSCF},
            {Role.SCSCF},
        ],
        Protocol.DIAMETER: [
            {Role.MME, Role.HSS},
            {Role.PGW, Role.PCRF},
            {Role.PCSCF, Role.PCRF},
            {Role.AF, Role.PCRF},
            {Role.ICSCF, Role.HSS},
            {Role.SCSCF, Role.HSS},
        ],
    }
    for path in own_captures:
        messages = read(path).messages
        network = find_network(messages)
        for one in messages:
            roles = {node.role for node in network.between(one)}
            assert roles in allowed[one.protocol], f"{path.name} frame {one.frame}: {roles}"


def test_no_message_between_nfs_of_the_given_captures_is_without_a_role() -> None:
    directory = os.environ.get("FERRET_CAPTURES")
    if not directory:
        pytest.skip("FERRET_CAPTURES names no directory of further captures")
    for path in sorted(Path(directory).glob("o5gs-*")):
        messages = read(path).messages
        network = find_network(messages)
        unknown = [one.frame for one in messages if Role.UNKNOWN in {node.role for node in network.between(one)}]
        assert not unknown, f"{path.name}: {unknown}"


def _s1ap(code: int) -> bytes:
    return bytes((0, code, 0, 0))


def _f_teid(kind: int, address: str, instance: int = 0) -> bytes:
    value = bytes((0x80 | kind,)) + b"\0\0\0\1" + bytes(map(int, address.split(".")))
    return struct.pack(">BHB", 87, len(value), instance) + value


def _gtpv2(kind: int, *ies: bytes) -> bytes:
    body = b"".join(ies)
    return struct.pack(">BBHII", 0x48, kind, 8 + len(body), 1, 1 << 8) + body


def test_nfs_on_one_address_are_told_apart_by_port(sample: Any) -> None:
    host = "10.0.0.1"
    first = sample.sip("REGISTER", 1).replace(b"192.0.2.1", b"192.168.0.2")
    via = b"Via: SIP/2.0/UDP 10.0.0.1:%d;branch=z9hG4bKx\r\nVia"
    second = first.replace(b"Via", via % 5060, 1)
    third = second.replace(b"Via", via % 4060, 1)
    messages = [
        message(Protocol.S1AP, _s1ap(12), "10.0.9.1:36412", f"{host}:36412"),
        message(Protocol.GTPV2, _gtpv2(32, _f_teid(10, host)), f"{host}:2123", "10.0.0.2:2123"),
        message(Protocol.DIAMETER, sample.diameter(318, 16777251, 1, True), f"{host}:50001", f"{host}:3868"),
        message(Protocol.DIAMETER, sample.diameter(265, 16777236, 2, True), f"{host}:3871", f"{host}:50002"),
        message(Protocol.DIAMETER, sample.diameter(300, 16777216, 3, True), f"{host}:50003", f"{host}:3868"),
        message(Protocol.SIP, first, "192.168.0.2:5060", f"{host}:5060"),
        message(Protocol.SIP, second, f"{host}:5060", f"{host}:4060"),
        message(Protocol.SIP, third, f"{host}:4060", f"{host}:6060"),
    ]
    network = find_network(messages)
    role = {port: network.resolve(Endpoint(host, port)).role for port in (36412, 2123, 50001, 3868, 3871, 50002, 50003)}
    assert role == {
        36412: Role.MME,
        2123: Role.MME,
        50001: Role.MME,
        3868: Role.HSS,
        3871: Role.PCSCF,
        50002: Role.PCRF,
        50003: Role.ICSCF,
    }
    assert network.resolve(Endpoint(host, 5060)) == Node(Role.PCSCF, host, 5060)
    assert network.resolve(Endpoint(host, 4060)) == Node(Role.ICSCF, host, 4060)
    assert network.resolve(Endpoint(host, 6060)) == Node(Role.SCSCF, host, 6060)
    assert network.resolve(Endpoint("192.168.0.2", 5060)).role is Role.UE
    assert network.resolve(Endpoint(host, 9)) == Node(Role.UNKNOWN, host, 9)
    assert network.resolve(Endpoint(host, 9), Protocol.S1AP).role is Role.MME


def test_an_f_teid_ties_a_sender_s_other_address_to_it() -> None:
    """Loopback captures: the MME sends from a client port on the SGW's own address."""
    messages = [
        message(Protocol.GTPV2, _gtpv2(32, _f_teid(10, "10.0.0.1")), "127.0.0.2:60001", "127.0.0.2:2123"),
        message(Protocol.GTPV2, _gtpv2(33, _f_teid(11, "127.0.0.2")), "10.0.0.1:60002", "10.0.0.1:2123"),
        message(Protocol.S1AP, _s1ap(12), "10.0.0.1:50000", "10.0.0.1:36412"),
    ]
    network = find_network(messages)
    mme = network.resolve(Endpoint("10.0.0.1", 36412))
    assert mme.role is Role.MME
    assert network.resolve(Endpoint("127.0.0.2", 60001)) == mme
    sgw = network.resolve(Endpoint("127.0.0.2", 2123))
    assert (sgw.role, network.resolve(Endpoint("10.0.0.1", 60002))) == (Role.SGW, sgw)
    assert network.between(messages[0]) == (mme, sgw)
    assert network.between(messages[1]) == (sgw, mme)
    assert network.resolve(Endpoint("10.0.0.1", 50000)).role is Role.ENB


def test_a_diameter_agent_in_between_is_neither_of_its_neighbours(sample: Any) -> None:
    request, answer = sample.diameter(318, 16777251, 7, True), sample.diameter(318, 16777251, 7, False)
    messages = [
        message(Protocol.DIAMETER, request, "10.0.0.1:50001", "10.0.0.5:3868"),
        message(Protocol.DIAMETER, request, "10.0.0.5:50002", "10.0.0.9:3868"),
        message(Protocol.DIAMETER, answer, "10.0.0.9:3868", "10.0.0.5:50002"),
        message(Protocol.DIAMETER, answer, "10.0.0.5:3868", "10.0.0.1:50001"),
    ]
    network = find_network(messages)
    assert network.nodes == (Node(Role.MME, "10.0.0.1"), Node(Role.HSS, "10.0.0.9"))
    assert [node.role for node in network.between(messages[1])] == [Role.UNKNOWN, Role.HSS]


def test_a_device_is_known_by_the_prefix_that_its_bearer_got() -> None:
    paa = bytes((2, 64)) + bytes.fromhex("20010db8000000010000000000000001")
    answer = _gtpv2(33, _f_teid(7, "10.0.0.3", 1), struct.pack(">BHB", 79, len(paa), 0) + paa)
    network = find_network([message(Protocol.GTPV2, answer, "10.0.0.3:2123", "10.0.0.2:2123")])
    assert network.resolve(Endpoint("2001:db8:0:1:aaaa::1", 5060)).role is Role.UE
    assert network.resolve(Endpoint("2001:db8:0:2::1", 5060)).role is Role.UNKNOWN


def test_a_device_in_a_tunnel_is_the_end_at_the_base_station(sample: Any) -> None:
    up = (Endpoint("10.0.9.1", 2152), Endpoint("10.0.0.6", 2152))
    ping = sample.sip("OPTIONS", 1)
    messages = [
        message(Protocol.S1AP, _s1ap(12), "10.0.9.1:36412", "10.0.0.1:36412"),
        message(Protocol.SIP, ping, "10.0.0.7:5060", "10.46.0.9:5060", up[::-1]),
    ]
    network = find_network(messages)
    assert [node.role for node in network.between(messages[1])] == [Role.PCSCF, Role.UE]


def test_what_cannot_be_read_says_nothing() -> None:
    messages = [message(protocol, b"\xff" * 30, "10.0.0.1:1", "10.0.0.2:2") for protocol in Protocol]
    assert [node for node in find_nodes(messages) if node.role not in (Role.MME, Role.ENB)] == []


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("pcscf.ims.mnc001.mcc001.3gppnetwork.org", Role.PCSCF),
        ("s-cscf-1.ims.example", Role.SCSCF),
        ("icscf", Role.ICSCF),
        ("smf.epc.mnc070.mcc999.3gppnetwork.org", Role.PGW),
        ("hss01.mme.example", Role.HSS),
        ("commerce.example", None),
        ("", None),
    ],
)
def test_a_host_name_hints_at_a_role_by_its_first_label(name: str, role: Role | None) -> None:
    assert role_in_name(name) is role


@given(
    st.lists(
        st.tuples(st.sampled_from(list(Protocol)), st.binary(max_size=60), st.integers(0, 3), st.integers(0, 3)),
        max_size=12,
    )
)
def test_hostile_messages_never_raise_and_every_endpoint_resolves(
    pieces: list[tuple[Protocol, bytes, int, int]],
) -> None:
    messages = [message(p, octets, f"10.0.0.{a}:{a}", f"10.0.0.{b}:9") for p, octets, a, b in pieces]
    network = find_network(messages)
    for one in messages:
        for node in network.between(one):
            assert node.address
    for node in network.nodes:
        assert network.resolve(Endpoint(node.address, node.port or 1)).address
