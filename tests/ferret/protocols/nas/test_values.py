"""Values of NAS information elements."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferret.errors import DecodeError
from ferret.protocols import nas
from ferret.protocols.nas.rates import decode_ambr_rate, decode_qos_rate, encode_ambr_rate, encode_qos_rate
from ferret.protocols.nas.values import encode_gprs_timer, gprs_timer

DIGITS = st.text("0123456789", min_size=1, max_size=16)


@given(st.integers(1, 10_000_000))
@settings(max_examples=300)
def test_rates_are_never_rounded_up_and_loose_less_than_a_step(kbps: int) -> None:
    for decoded in (
        decode_qos_rate(encode_qos_rate(kbps)),
        decode_ambr_rate(encode_ambr_rate(kbps)),
    ):
        assert kbps * 0.88 - 1 <= decoded <= kbps
        assert decode_qos_rate(encode_qos_rate(decode_qos_rate(encode_qos_rate(kbps)))) <= kbps


@pytest.mark.parametrize(("kbps", "octets"), [(0, "ff"), (8, "08"), (64, "40"), (568, "7f"), (576, "80"), (8640, "fe")])
def test_small_rates_take_one_octet(kbps: int, octets: str) -> None:
    coded = encode_qos_rate(kbps)
    assert bytes((coded.base,)).hex() == octets
    assert coded.octets_needed == 1
    assert decode_qos_rate(coded) == kbps


def test_apn_ambr_of_a_gigabit_can_be_said_exactly_or_coarsely() -> None:
    rate = nas.ApnAmbr(1_000_000, 1_000_000)
    assert nas.ApnAmbr.decode(rate.encode()) == rate
    assert rate.encode(exact=False).hex() == "fefefafa0202"


@given(st.sampled_from([1, 2, 3]), DIGITS)
@settings(max_examples=60)
def test_identities_of_digits_come_back(kind: int, digits: str) -> None:
    identity = nas.MobileIdentity(kind, digits)
    assert nas.MobileIdentity.decode(identity.encode()) == identity


@given(st.integers(0, 65535), st.integers(0, 255), st.integers(0, 2**32 - 1), st.sampled_from(["99970", "310410"]))
@settings(max_examples=60)
def test_gutis_come_back(group: int, code: int, tmsi: int, plmn: str) -> None:
    guti = nas.Guti(plmn, group, code, tmsi)
    assert nas.MobileIdentity.decode(guti.encode()).guti == guti


def test_tai_lists_of_every_type_are_read_in_order() -> None:
    octets = bytes.fromhex("0199f90700010005" + "2199f9070007" + "4099f9070009")
    assert [tai.tac for tai in nas.decode_tai_list(octets)] == [1, 5, 7, 8, 9]


@pytest.mark.parametrize("seconds", [2, 62, 720, 540, 3600, None])
def test_timers_come_back(seconds: int | None) -> None:
    assert gprs_timer(encode_gprs_timer(seconds)) == seconds


@given(st.binary(max_size=20))
@settings(max_examples=200)
def test_no_octets_make_a_value_do_anything_but_read_or_refuse(octets: bytes) -> None:
    readers = (
        nas.MobileIdentity.decode,
        nas.EpsQos.decode,
        nas.ApnAmbr.decode,
        nas.PdnAddress.decode,
        nas.UeNetworkCapability.decode,
        nas.decode_apn,
        nas.decode_tai_list,
    )
    for read in readers:
        try:
            read(octets)  # type: ignore[operator]
        except DecodeError:
            continue
