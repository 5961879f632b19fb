"""A challenge that the registrar did not go on with is left out of a replay; every other one stays."""

from __future__ import annotations

from ferret.protocols.summary import Kind, Protocol
from ferret.records.message import CapturedMessage, Endpoint, Interface, Node, Role, SignallingMessage
from ferret.replay.challenges import superseded_challenges

UE, SCSCF, HSS = Node(Role.UE, "10.45.0.2"), Node(Role.SCSCF, "10.0.0.20"), Node(Role.HSS, "10.0.0.8")


def _sip(index: int, name: str, number: int, call_id: str = "a@ue") -> SignallingMessage:
    captured = CapturedMessage(Protocol.SIP, index, Endpoint("10.45.0.2", 5060), Endpoint("10.0.0.20", 5060), b"")
    kind = Kind.REQUEST if name == "REGISTER" else Kind.RESPONSE
    transaction = f"{call_id} {number} REGISTER z9hG4bK{index}"
    return SignallingMessage(index, captured, name, kind, Interface.MW, UE, SCSCF, transaction=transaction)


def _cx(index: int, name: str) -> SignallingMessage:
    captured = CapturedMessage(Protocol.DIAMETER, index, Endpoint("10.0.0.20", 1), Endpoint("10.0.0.8", 3868), b"")
    return SignallingMessage(index, captured, name, Kind.REQUEST, Interface.CX, SCSCF, HSS)


def _round(first: int, number: int, answer: str, *between: str) -> list[SignallingMessage]:
    messages = [_sip(first, "REGISTER", number)]
    messages += [_cx(first + place, name) for place, name in enumerate(between, start=1)]
    return [*messages, _sip(first + len(messages), answer, number)]


def test_a_challenge_followed_by_another_one_is_left_out_with_its_vector() -> None:
    messages = [
        *_round(1, 1, "401 (REGISTER)", "MAR", "MAA"),
        *_round(5, 2, "401 (REGISTER)", "MAR", "MAA"),
        *_round(9, 3, "200 (REGISTER)", "SAR", "SAA"),
    ]
    assert superseded_challenges(messages) == {1, 2, 3, 4}


def test_the_usual_challenge_stays_and_so_does_that_of_a_later_registration() -> None:
    messages = [
        *_round(1, 1, "401 (REGISTER)", "MAR", "MAA"),
        *_round(5, 2, "200 (REGISTER)", "SAR", "SAA"),
        *_round(9, 3, "401 (REGISTER)", "MAR", "MAA"),
        *_round(13, 4, "200 (REGISTER)"),
    ]
    assert superseded_challenges(messages) == frozenset()


def test_challenges_of_two_devices_are_not_taken_for_two_of_one() -> None:
    other = [_sip(5, "REGISTER", 2, "b@ue"), _sip(6, "401 (REGISTER)", 2, "b@ue")]
    assert superseded_challenges([*_round(1, 1, "401 (REGISTER)"), *other]) == frozenset()
