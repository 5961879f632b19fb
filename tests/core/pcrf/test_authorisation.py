from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferret.errors import DecodeError
from ferret.protocols.diameter import Avp, avp
from ferret_core.pcrf.authorisation import Counting, as_seen_from_network, flows_of, rates_of
from ferret_core.pcrf.rule import BitRates

OUT, IN = "permit out 17 from 10.0.0.9 1 to 10.0.0.1 2", "permit in 17 from 10.0.0.1 2 to 10.0.0.9 1"
OUT2, IN2 = "permit out 17 from 10.0.0.9 3 to 10.0.0.1 4", "permit in 17 from 10.0.0.1 4 to 10.0.0.9 3"


def sub(number: int, *filters: str, usage: int | None = None) -> Avp:
    return avp.MEDIA_SUB_COMPONENT(
        avp.FLOW_NUMBER(number),
        *[avp.FLOW_DESCRIPTION(one) for one in filters],
        None if usage is None else avp.FLOW_USAGE(usage),
    )


def media(*avps: Avp, up: int = 41000, down: int = 41000) -> Avp:
    bandwidth = avp.MAX_REQUESTED_BANDWIDTH_UL(up), avp.MAX_REQUESTED_BANDWIDTH_DL(down)
    return avp.MEDIA_COMPONENT_DESCRIPTION(avp.MEDIA_COMPONENT_NUMBER(1), *bandwidth, *avps)


RTP_AND_RTCP = (sub(1, OUT, IN), sub(2, OUT2, IN2, usage=1))


@pytest.mark.parametrize(
    ("component", "counting", "expected"),
    [
        (media(sub(1, OUT, IN)), Counting.PER_SUB_COMPONENT, 41000),
        (media(sub(1, OUT, IN, OUT2, IN2)), Counting.PER_SUB_COMPONENT, 41000),
        (media(sub(1, OUT, IN, OUT2, IN2)), Counting.PER_FILTER, 82000),
        (media(*RTP_AND_RTCP, avp.RR_BANDWIDTH(2050), avp.RS_BANDWIDTH(512)), Counting.PER_SUB_COMPONENT, 43562),
        (media(*RTP_AND_RTCP, avp.RR_BANDWIDTH(2050), avp.RS_BANDWIDTH(512)), Counting.PER_FILTER, 43562),
        (media(*RTP_AND_RTCP, avp.RR_BANDWIDTH(3000)), Counting.PER_SUB_COMPONENT, 44000),
        (media(*RTP_AND_RTCP, avp.RS_BANDWIDTH(1000)), Counting.PER_SUB_COMPONENT, 43050),
        (media(*RTP_AND_RTCP), Counting.PER_SUB_COMPONENT, 43050),
    ],
)
def test_the_authorised_rate_follows_table_6_3_1(component: Avp, counting: Counting, expected: int) -> None:
    assert rates_of(component, counting, guaranteed=True) == BitRates(expected, expected, expected, expected)


def test_a_direction_without_a_filter_gets_no_rate() -> None:
    assert rates_of(media(sub(1, OUT)), Counting.PER_SUB_COMPONENT, guaranteed=False) == BitRates(0, 41000)


def test_a_minimum_that_is_asked_for_is_what_is_guaranteed() -> None:
    least = avp.MIN_REQUESTED_BANDWIDTH_UL(20000), avp.MIN_REQUESTED_BANDWIDTH_DL(30000)
    assert rates_of(media(*RTP_AND_RTCP, *least), Counting.PER_SUB_COMPONENT, guaranteed=True) == BitRates(
        43050, 43050, 20000, 30000
    )


def test_no_requested_bandwidth_is_no_rate() -> None:
    component = avp.MEDIA_COMPONENT_DESCRIPTION(sub(1, OUT, IN))
    assert rates_of(component, Counting.PER_SUB_COMPONENT, guaranteed=True) is None


def test_uplink_filters_are_turned_round() -> None:
    assert [(flow.direction, flow.description) for flow in flows_of(media(sub(1, OUT, IN)))] == [(1, OUT), (2, OUT)]
    kept = flows_of(media(sub(1, OUT, IN)), reverse_uplink=False)
    assert kept[1].description == IN.replace(" in ", " out ")


@pytest.mark.parametrize(
    ("there", "back"),
    [
        ("permit in ip from any to 10.0.0.9", "permit out ip from 10.0.0.9 to any"),
        ("permit in 6 from 2001:db8::1 80-90,99 to any 1", "permit out 6 from any 1 to 2001:db8::1 80-90,99"),
        ("permit in 17 from any to any frag", "permit out 17 from any to any frag"),
    ],
)
def test_ports_and_options_of_a_filter_stay_with_their_end(there: str, back: str) -> None:
    assert as_seen_from_network(there) == back


@given(st.text(max_size=60))
def test_any_text_is_a_filter_or_a_decode_error(text: str) -> None:
    try:
        as_seen_from_network(text)
    except DecodeError:
        return
    assert " from " in text
