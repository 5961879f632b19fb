from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferret.errors import DecodeError
from ferret.protocols.diameter import Avp, avp, by_name, definition_of, name_of
from ferret.protocols.diameter.definition import REGISTRY


@given(st.ip_addresses())
@settings(max_examples=40)
def test_an_address_is_read_as_it_was_written(address: object) -> None:
    assert avp.HOST_IP_ADDRESS.read(avp.HOST_IP_ADDRESS(str(address))) == str(address)
    assert avp.FRAMED_IP_ADDRESS.read(avp.FRAMED_IP_ADDRESS(str(address))) == str(address)


@given(st.text(max_size=30))
@settings(max_examples=40)
def test_text_is_read_as_it_was_written(text: str) -> None:
    if not any(0xD800 <= ord(c) < 0xE000 for c in text):
        assert avp.ERROR_MESSAGE.read(avp.ERROR_MESSAGE(text)) == text


@given(st.binary(max_size=30))
@settings(max_examples=40)
def test_octets_that_are_no_utf8_survive_being_read_as_text(octets: bytes) -> None:
    one = Avp(avp.SESSION_ID.code, value=octets)
    assert avp.SESSION_ID(avp.SESSION_ID.read(one)).value == octets


@given(st.integers(0, 0xFFFFFFFF), st.binary(max_size=40))
@settings(max_examples=100)
def test_reading_any_content_as_any_type_is_a_value_or_a_decode_error(pick: int, octets: bytes) -> None:
    definition = list(REGISTRY.values())[pick % len(REGISTRY)]
    with contextlib.suppress(DecodeError):
        definition.read(Avp(definition.code, definition.vendor, definition.flags, octets))


def test_time_counts_from_1900_and_goes_on_after_2036() -> None:
    for moment in (datetime(2026, 11, 21, 15, 0, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC)):
        assert avp.EVENT_TIMESTAMP.read(avp.EVENT_TIMESTAMP(moment)) == moment
    assert avp.EVENT_TIMESTAMP(datetime(2026, 11, 21, 15, 0, 1, tzinfo=UTC)).value == bytes.fromhex("eeac3071")


def test_an_ipv6_prefix_is_as_long_as_it_says() -> None:
    one = avp.FRAMED_IPV6_PREFIX("2001:db8:1:2::/64")
    assert one.value == bytes.fromhex("004020010db800010002")
    assert avp.FRAMED_IPV6_PREFIX.read(one) == "2001:db8:1:2::/64"
    with pytest.raises(DecodeError):
        avp.FRAMED_IPV6_PREFIX.read(Avp(97, value=b"\x00\x81" + bytes(16)))


@pytest.mark.parametrize(
    ("definition", "flags", "octets"),
    [
        (avp.RESULT_CODE(2001), 0x40, "000007d1"),
        (avp.CHARGING_RULE_NAME("ims-g1-r1"), 0xC0, "696d732d67312d7231"),
        (avp.HOST_IP_ADDRESS("172.22.0.8"), 0x40, "0001ac160008"),
        (avp.FRAMED_IP_ADDRESS("10.46.0.2"), 0x40, "0a2e0002"),
        (avp.FEATURE_LIST(11), 0x80, "0000000b"),
        (avp.MEDIA_TYPE(0xFFFFFFFF), 0xC0, "ffffffff"),
        (avp.USED_SERVICE_UNIT(avp.CC_TOTAL_OCTETS(5)), 0x40, "000001a540000010" + "0000000000000005"),
    ],
)
def test_a_builder_writes_what_the_specification_says(definition: Avp, flags: int, octets: str) -> None:
    assert definition.flags == flags
    assert definition.octets.hex() == octets


def test_an_avp_is_named_by_code_and_vendor_together() -> None:
    assert name_of(Avp(22, 10415)) == "3GPP-User-Location-Info"
    assert name_of(Avp(22, 0)) == "Framed-Route"
    assert name_of(Avp(99999, 7)) == "AVP 99999 of vendor 7"
    assert name_of(Avp(99999)) == "AVP 99999"
    assert definition_of(Avp(1005, 10415)) is avp.CHARGING_RULE_NAME
    assert by_name("Charging-Rule-Name") is avp.CHARGING_RULE_NAME
    assert avp.CHARGING_RULE_NAME.clause == "TS 29.212 clause 5.3"


def test_a_group_leaves_out_what_is_none() -> None:
    assert avp.FLOWS(None, avp.FLOW_NUMBER(1)).avps == (avp.FLOW_NUMBER(1),)
