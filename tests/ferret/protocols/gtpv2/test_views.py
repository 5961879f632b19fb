"""Typed views: specification examples octet by octet, round trips, and malformed values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferret.errors import DecodeError
from ferret.protocols import gtpv2
from ferret.protocols.gtpv2 import (
    Ambr,
    Apn,
    BearerQos,
    CauseIe,
    Ebi,
    Fqdn,
    FTeid,
    Imsi,
    Indication,
    IndicationFlag,
    InterfaceType,
    IpAddress,
    Ipcp,
    Location,
    Msisdn,
    Paa,
    Pco,
    PcoContainer,
    PcoId,
    PcoIe,
    ServingNetwork,
    UeTimeZone,
    Uli,
    View,
    single_values,
    views,
)
from ferret.protocols.gtpv2.tft import (
    Component,
    Direction,
    PacketFilter,
    Tft,
    TftOperation,
    TftParameter,
    address,
    port,
    protocol,
)

EXAMPLES: list[tuple[View, str]] = [
    (Imsi("999700000000020"), "99790000000020f0"),  # 15 digits: the last half octet is filler
    (Msisdn("491700000020"), "947100000002"),
    (CauseIe(16), "1000"),
    (CauseIe(69, remote=True, offending=87, offending_instance=1), "450157000001"),
    (Apn("ims.mnc070.mcc999.gprs"), "03696d73066d6e63303730066d6363393939" + "0467707273"),
    (Ambr(1000000, 1000000), "000f4240000f4240"),
    (Ebi(5), "05"),
    (ServingNetwork("99970"), "99f907"),  # MCC 999, MNC 70: digit 3 of the MNC is filler
    (ServingNetwork("310410"), "130014"),
    (FTeid(InterfaceType.S11_MME_GTP_C, 0x184, "172.22.0.2"), "8a00000184ac160002"),
    (FTeid(5, 1, "", "2001:db8::1"), "450000000120010db8000000000000000000000001"),
    (Paa(1, "10.45.0.2"), "010a2d0002"),
    (Paa(3, "10.0.0.1", "2001:db8::", 64), "034020010db8000000000000000000000000" + "0a000001"),
    (BearerQos(1, 1, 1, 1, 82, 82, 82, 82), "4501" + "0000000052" * 4),  # PCI 1, PL 1, PVI 1; QCI 1
    (UeTimeZone(4, 1), "4001"),  # one hour, +1 hour daylight saving
    (UeTimeZone(-22, 0), "2a00"),  # -5:30: sign bit in the tens
    (Uli((Location("TAI", "99970", 1), Location("ECGI", "99970", 513))), "1899f907000199f90700000201"),
    (Indication.of(IndicationFlag.OI, IndicationFlag.CRSI), "0810"),
    (Fqdn("pgw.example"), "03706777076578616d706c65"),
    (IpAddress("192.0.2.1"), "c0000201"),
]


@pytest.mark.parametrize(("view", "octets"), EXAMPLES, ids=lambda x: type(x).__name__ if isinstance(x, View) else "")
def test_a_value_is_coded_as_its_clause_says(view: View, octets: str) -> None:
    assert view.encode().hex() == octets
    assert type(view).decode(bytes.fromhex(octets)) == view


def test_views_re_encode_every_captured_value(samples: list[Any]) -> None:
    kinds = {
        kind.ie_type: kind
        for kind in (*vars(views).values(), *vars(single_values).values())
        if isinstance(kind, type) and "ie_type" in vars(kind)
    }
    kinds |= {Uli.ie_type: Uli}
    counted = 0
    malformed: list[Any] = []

    def walk(ies: Any) -> None:
        nonlocal counted
        for ie in ies:
            if isinstance(ie.value, tuple):
                walk(ie)
            elif ie.type in kinds:
                try:
                    view = kinds[ie.type].decode(ie.value)
                except DecodeError:
                    malformed.append(ie)
                    continue
                assert kinds[ie.type].decode(view.encode()) == view
                counted += 1

    for sample in samples:
        if "-neg-" not in sample.file:
            walk(gtpv2.decode(sample.octets).ies)
    assert counted > 1000
    assert len(malformed) < counted / 100, malformed  # an APN without labels has been seen


def test_a_time_zone_whose_digit_is_none_raises_a_decode_error() -> None:
    with pytest.raises(DecodeError):
        UeTimeZone.decode(b"\xd7\x00")


def test_an_apn_without_operator_identifier_is_its_network_identifier() -> None:
    assert Apn("IMS.mnc070.mcc999.gprs").network_identifier == "ims"
    assert Apn("internet").network_identifier == "internet"


def test_a_tft_is_coded_as_the_clause_says() -> None:
    tft = Tft(
        TftOperation.CREATE_NEW,
        (
            PacketFilter(
                0, Direction.DOWNLINK, 3, (protocol(17), address("10.46.0.2", remote=True), port(49120, remote=True))
            ),
            PacketFilter(1, Direction.UPLINK, 4, (address("2001:db8::/32", remote=False), port(1, 9, remote=False))),
        ),
    )
    assert tft.encode().hex() == (
        "22"
        + "10030e"
        + "3011"
        + "100a2e0002ffffffff"
        + "50bfe0"
        + "210417"
        + "2320010db8"
        + "00" * 12
        + "20"
        + "4100010009"
    )
    assert Tft.decode(tft.encode()) == tft
    assert [c.text for c in tft.packet_filters[0].components] == [17, "10.46.0.2/255.255.255.255", 49120]


def test_deleted_packet_filters_and_parameters_are_kept() -> None:
    tft = Tft(TftOperation.DELETE_PACKET_FILTERS, deleted=b"\x01\x32", parameters=(TftParameter(3, b"\x01"),))
    assert tft.encode().hex() == "b20132030101"
    assert Tft.decode(tft.encode()) == tft


def test_an_unknown_component_takes_the_rest_of_its_filter() -> None:
    octets = bytes.fromhex("21" + "100004" + "ee010203")
    tft = Tft.decode(octets)
    assert tft.packet_filters[0].components == (Component(0xEE, b"\x01\x02\x03"),)
    assert tft.encode() == octets


@pytest.mark.parametrize("octets", ["", "22", "2110", "211000ff", "211000023011ff", "2110000310ffff", "a201", "3103"])
def test_a_malformed_tft_raises_a_decode_error(octets: str) -> None:
    with pytest.raises(DecodeError):
        Tft.decode(bytes.fromhex(octets))


def test_pco_containers_are_kept_in_order() -> None:
    ipcp = Ipcp(2, 0, ((129, bytes((10, 45, 0, 1))),))
    options = Pco(
        (
            PcoContainer(PcoId.DNS_SERVER_IPV4_ADDRESS, bytes((10, 45, 0, 1))),
            PcoContainer(PcoId.IPV4_LINK_MTU, (1400).to_bytes(2, "big")),
            PcoContainer(PcoId.IPCP, ipcp.encode()),
        )
    )
    assert options.encode().hex() == "80" + "000d040a2d0001" + "0010020578" + "80210a" + "0200000a" + "81060a2d0001"
    assert Pco.decode(options.encode()) == options
    assert [one.text for one in options.containers[:2]] == ["10.45.0.1", 1400]
    assert options.addresses([PcoId.DNS_SERVER_IPV4_ADDRESS]) == ("10.45.0.1",)
    assert Ipcp.decode(ipcp.encode()) == ipcp


_short = st.binary(max_size=40)
_kinds = [
    kind for kind in vars(gtpv2).values() if isinstance(kind, type) and issubclass(kind, View) and kind is not View
]


@settings(max_examples=300)
@given(st.sampled_from(_kinds), _short)
def test_no_view_raises_anything_but_a_decode_error_while_reading(kind: type[View], octets: bytes) -> None:
    try:
        view = kind.decode(octets)
    except DecodeError:
        return
    if isinstance(view, Paa | Apn | Fqdn):  # an unknown PDN type or an odd label reads, but is never written
        return
    assert kind.decode(view.encode()) == view


@settings(max_examples=200)
@given(_short)
def test_a_tft_that_decodes_is_encoded_again_exactly(octets: bytes) -> None:
    try:
        tft = Tft.decode(octets)
    except DecodeError:
        return
    assert Tft.decode(tft.encode()) == tft


@settings(max_examples=100)
@given(_short)
def test_pco_that_decodes_is_encoded_again_exactly(octets: bytes) -> None:
    try:
        options = Pco.decode(octets)
    except DecodeError:
        return
    assert options.encode() == octets
    assert PcoIe(options).encode() == octets
