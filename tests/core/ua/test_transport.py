"""Which transport a user agent takes: what its Via, Contact and Route say, and what it does where there is none."""

from __future__ import annotations

from random import Random

import pytest

from ferret.errors import ConfigError
from ferret.protocols import sip
from ferret_core.ua import Ended, EndReason, UaConfiguration, UserAgent

A, PROXY = "10.0.0.1:5060", "10.0.0.2:5060"


def agent(**more: object) -> UserAgent:
    own = UaConfiguration(address=A, proxy=PROXY, identity="sip:a@ims.example", **more)  # type: ignore[arg-type]
    return UserAgent(own, Random(1))


def sent(ua: UserAgent) -> list[sip.Message]:
    return [message for message, _ in ua.to_send()]


def transport(message: sip.Message) -> str:
    return sip.parse_via(message.first("Via")).transport


def test_over_tcp_via_and_contact_say_so() -> None:
    ua = agent(transport="TCP")
    ua.call("sip:b@ims.example", 0.0)
    (invite,) = sent(ua)
    assert transport(invite) == "TCP"
    assert invite.first("Contact").startswith("<sip:a@10.0.0.1:5060;transport=tcp>")
    assert ua.wake(40.0) == []
    assert sent(ua) == []  # nothing is repeated over TCP (RFC 3261 clause 17.1.1.2)


def test_a_long_request_goes_over_tcp_and_its_cancel_the_same_way() -> None:
    ua = agent(stream_above=600)
    name = ua.call("sip:b@ims.example", 0.0)
    (invite,) = sent(ua)
    assert len(invite.encode()) > 600
    ua.receive_message(sip.respond(invite, 100, "Trying"), PROXY, 0.1)
    ua.hang_up(name, 0.2)
    (cancel,) = sent(ua)
    assert (cancel.method, transport(cancel)) == ("CANCEL", "TCP")
    assert cancel.first("Via") == invite.first("Via")


def test_a_short_request_stays_in_a_datagram() -> None:
    ua = agent(stream_above=60000)
    ua.call("sip:b@ims.example", 0.0)
    assert transport(sent(ua)[0]) == "UDP"


def test_where_no_connection_is_to_be_had_a_long_request_goes_in_datagrams_after_all() -> None:
    ua = agent(stream_above=600)
    name = ua.call("sip:b@ims.example", 0.0)
    (invite,) = sent(ua)
    assert ua.not_sent(invite, PROXY, 1.0) == []
    (again,) = sent(ua)
    assert transport(again) == "UDP"
    assert sip.parse_via(again.first("Via")).branch == sip.parse_via(invite.first("Via")).branch
    ua.wake(3.0)
    assert sent(ua) == [again]  # and is repeated, T1 later
    ua.receive_datagram(sip.respond(again, 486, "Busy Here", to_tag="b").encode(), PROXY, 3.1)
    assert name not in ua.calls


def test_one_who_speaks_tcp_only_has_not_reached_anybody() -> None:
    ua = agent(transport="TCP")
    name = ua.call("sip:b@ims.example", 0.0)
    (invite,) = sent(ua)
    assert ua.not_sent(invite, PROXY, 1.0) == [Ended(name, EndReason.NOT_REACHED, 503)]
    assert ua.not_sent(sip.respond(invite, 200, "OK"), PROXY, 1.0) == []


def test_a_lost_connection_means_nothing_to_one_who_is_not_registered_or_speaks_udp() -> None:
    for ua in (agent(transport="TCP"), agent()):
        assert ua.connection_lost(1.0) == []
        assert sent(ua) == []


def test_there_is_no_other_transport() -> None:
    with pytest.raises(ConfigError, match="SCTP"):
        agent(transport="SCTP")
