"""Short messages in pager mode (RFC 3428)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from ferret.errors import LocalMisuseError
from ferret.protocols import sip
from ferret_core.ua import MessageAnswered, MessageReceived

if TYPE_CHECKING:
    from tests.core.ua.conftest import Pair

A, B = "10.0.0.1:5060", "10.0.0.2:5060"
URI_A, URI_B = "sip:a@ims.example", "sip:b@ims.example"


def test_a_text_arrives_and_its_sender_learns_so(pair: Pair) -> None:
    name = pair.order(pair.a, "message", URI_B, "wo bist du? – hier")
    assert pair.flow() == ["a MESSAGE", "b 200 (MESSAGE)"]
    assert pair.last(B) == MessageReceived(URI_A, "wo bist du? – hier")
    assert pair.last(A) == MessageAnswered(name, 200)
    assert not pair.a.messages.waiting


def test_a_text_that_gets_lost_is_sent_again_and_arrives_once(pair: Pair) -> None:
    pair.lose = lambda message, number: number in (1, 3)  # the request, then the answer to its repetition
    pair.order(pair.a, "message", URI_B, "once")
    pair.advance(10)
    assert pair.kinds(B) == ["MessageReceived"]
    assert pair.kinds(A) == ["MessageAnswered"]


def test_a_text_that_nobody_answers_is_given_up(pair: Pair) -> None:
    pair.lose = lambda message, number: True
    name = pair.order(pair.a, "message", URI_B, "anybody?")
    pair.advance(200)
    assert pair.last(A) == MessageAnswered(name, 408)


def test_what_is_no_text_is_refused(pair: Pair) -> None:
    pair.order(pair.a, "message", URI_B, "text")
    message = pair.seen[0][1].with_header("Content-Type", "application/vnd.3gpp.sms")
    message = message.with_header("Via", f"SIP/2.0/UDP {A};branch=z9hG4bKother")
    pair.b.receive_datagram(message.encode(), A, pair.now)
    (octets, _), *_ = pair.b.datagrams()
    assert sip.decode(octets).status == 415


def test_a_text_that_does_not_fit_is_refused_before_it_is_sent(pairs: Callable[..., Pair]) -> None:
    pair = pairs()
    with pytest.raises(LocalMisuseError, match="1301 octets"):
        pair.a.message(URI_B, "x" * 1301, 0.0)
