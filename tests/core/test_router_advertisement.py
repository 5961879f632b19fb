"""How a device gets its IPv6 prefix from the PGW: RFC 4861 messages on the default bearer."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferret.protocols import gtpu
from ferret.protocols.nas import Discriminator, MessageType, PdnAddress, build_esm, decode
from ferret.protocols.nas import EpsQos as Qos
from ferret_core.enb.esm import Esm
from ferret_core.gtp_control import Tunnel
from ferret_core.router_advertisement import (
    address_in,
    advertised_prefix,
    advertisement,
    link_local,
    solicitation,
    solicited_by,
)
from ferret_core.user_plane import PgwBearer, PgwForwarder, PgwUserPlane

IDENTIFIER = bytes.fromhex("0000000000000001")
PREFIX, KEY = "2001:db8:0:7::/64", "2001:db8:0:7::/64"
SGW = Tunnel("192.0.2.3", 0x33)


@given(st.binary(min_size=8, max_size=8), st.integers(0, 2**64 - 1))
def test_what_is_asked_and_advertised_is_read(identifier: bytes, number: int) -> None:
    prefix = str(IPv6Network((number << 64, 64)))
    assert solicited_by(solicitation(identifier)) == link_local(identifier)
    assert advertised_prefix(advertisement(prefix, link_local(identifier))) == prefix
    assert IPv6Address(address_in(prefix, identifier)).packed[8:] == identifier


@given(st.binary(max_size=100), st.integers(0, 103), st.integers(1, 255))
def test_damaged_messages_are_not_believed(tail: bytes, at: int, change: int) -> None:
    packet = bytearray(advertisement(PREFIX, "fe80::1"))
    assert len(packet) == 88
    packet[at % 88] ^= change
    found = advertised_prefix(bytes(packet))
    assert found in ("", PREFIX)  # a traffic class, flow label or the like may change
    assert advertised_prefix(tail) == ""
    assert solicited_by(tail) is None


def test_a_message_that_was_forwarded_is_not_believed() -> None:
    packet = bytearray(advertisement(PREFIX, "fe80::1"))
    packet[7] = 64  # hop limit
    assert advertised_prefix(bytes(packet)) == ""
    with pytest.raises(ValueError):
        advertisement("2001:db8::1/64", "fe80::1")


def plane() -> PgwUserPlane:
    made = PgwUserPlane("192.0.2.4", {7: ("10.0.0.2", KEY)})
    made.downlink = {"10.0.0.2": {7: PgwBearer(SGW)}, KEY: {7: PgwBearer(SGW)}}
    return made


def test_a_pgw_answers_a_solicitation_on_the_default_bearer() -> None:
    pgw = PgwForwarder(plane())
    ((octets, destination),) = pgw.receive(gtpu.wrap(7, solicitation(IDENTIFIER)), ("192.0.2.3", 2152))
    assert destination == ("192.0.2.3", 2152)
    opened = gtpu.open_tunnel(octets)
    assert opened is not None
    assert opened[0] == 0x33
    assert advertised_prefix(opened[1]) == PREFIX
    assert pgw.take_packets() == []  # it is not for the network behind


def test_a_connection_without_ipv6_has_no_prefix_to_tell() -> None:
    made = plane()
    made.uplink[7] = ("10.0.0.2",)
    assert PgwForwarder(made).receive(gtpu.wrap(7, solicitation(IDENTIFIER)), ("192.0.2.3", 2152)) == []


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_a_device_asks_for_the_type_it_wants_and_knows_its_identifier(kind: int) -> None:
    esm = Esm()
    asked = decode(esm.pdn_connectivity("ims", pdn_type=kind)).plain
    assert asked is not None
    assert (asked.discriminator, asked.number("PDN type")) == (Discriminator.ESM, kind)
    ipv4, identifier = ("10.0.0.2" if kind != 2 else ""), (IDENTIFIER if kind != 1 else b"")
    values: dict[str, bytes | int] = {
        "EPS QoS": Qos(5).encode(),
        "Access point name": b"\x03ims",
        "PDN address": PdnAddress(kind, ipv4, identifier).encode(),
    }
    request = build_esm(MessageType.ACTIVATE_DEFAULT_EPS_BEARER_CONTEXT_REQUEST, ebi=6, pti=asked.pti, values=values)
    esm.receive(request)
    bearer = esm.bearers[6]
    assert (bearer.address, bearer.identifier, bearer.addresses) == (ipv4, identifier, (ipv4,) if ipv4 else ())
    if identifier:
        esm.configure_ipv6(6, "2001:db8:0:7::1")
        assert esm.bearers[6].addresses == ((ipv4, "2001:db8:0:7::1") if ipv4 else ("2001:db8:0:7::1",))
