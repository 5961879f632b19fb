"""Transactions across the border keep the identifiers that they began with."""

from __future__ import annotations

import pytest

from ferret.errors import PeerViolationError
from ferret.protocols import diameter, gtpv2
from ferret.protocols.diameter import avp
from ferret.records.message import Interface, Role
from ferret_core.nf import Peer, Send
from ferret_edge.border import OPEN_LIMIT, Border

HSS = Peer(Role.HSS, "10.0.0.8")
REQUEST = diameter.Message(command=318, application=16777251, flags=0xC0, hop_by_hop=0, end_to_end=0, avps=())
ANSWER = diameter.Message(
    command=318, application=16777251, flags=0x40, hop_by_hop=0, end_to_end=0, avps=(avp.RESULT_CODE(2001),)
)


def _caught(border: Border, token: int) -> diameter.Message:
    message = border.caught(Send(Interface.S6A, HSS, REQUEST, token=token))
    assert isinstance(message, diameter.Message)
    return message


def test_an_answer_from_outside_finds_the_request_that_was_caught() -> None:
    from dataclasses import replace

    border = Border()
    first, second = _caught(border, 11), _caught(border, 12)
    assert first.hop_by_hop != second.hop_by_hop
    event = border.arrived(Interface.S6A, HSS, replace(ANSWER, hop_by_hop=second.hop_by_hop), is_answer=True)
    assert event.transaction == 12


def test_an_answer_to_nothing_is_the_peers_violation() -> None:
    with pytest.raises(PeerViolationError, match="no request"):
        Border().arrived(Interface.S6A, HSS, ANSWER, is_answer=True)


def test_an_answer_is_taken_once() -> None:
    from dataclasses import replace

    border = Border()
    answer = replace(ANSWER, hop_by_hop=_caught(border, 5).hop_by_hop)
    border.arrived(Interface.S6A, HSS, answer, is_answer=True)
    with pytest.raises(PeerViolationError):
        border.arrived(Interface.S6A, HSS, answer, is_answer=True)


def test_the_answer_to_a_request_from_outside_leaves_with_its_identifiers() -> None:
    from dataclasses import replace

    border = Border()
    asked = replace(REQUEST, hop_by_hop=77, end_to_end=88)
    event = border.arrived(Interface.RX, Peer(Role.AF, "10.0.0.50"), asked, is_answer=False)
    assert event.transaction < 0
    answer = border.caught(Send(Interface.RX, event.peer, ANSWER, reply_to=event.transaction))
    assert isinstance(answer, diameter.Message)
    assert (answer.hop_by_hop, answer.end_to_end) == (77, 88)


def test_gtpv2_works_alike() -> None:
    border = Border()
    request = gtpv2.Message(type=32, teid=0, sequence=0, ies=())
    sent = border.caught(Send(Interface.S11, Peer(Role.SGW), request, token=9))
    assert isinstance(sent, gtpv2.Message)
    answer = gtpv2.Message(type=33, teid=1, sequence=sent.sequence, ies=())
    assert border.arrived(Interface.S11, Peer(Role.SGW), answer, is_answer=True).transaction == 9


def test_open_transactions_are_bounded() -> None:
    from dataclasses import replace

    border = Border()
    first = _caught(border, 1)
    for token in range(OPEN_LIMIT):
        _caught(border, token)
    with pytest.raises(PeerViolationError):
        border.arrived(Interface.S6A, HSS, replace(ANSWER, hop_by_hop=first.hop_by_hop), is_answer=True)
