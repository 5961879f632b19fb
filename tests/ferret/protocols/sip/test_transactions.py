"""The transaction layer: each message once, retransmissions sent and absorbed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferret.errors import PeerViolationError
from ferret.protocols import sip
from ferret.protocols.sip.transaction_tables import FIRST, TABLES, Event, State

PEER = "192.0.2.1:5060"


def _request(method: str = "INVITE", branch: str = "z9hG4bK1", host: str = "192.0.2.9") -> sip.Message:
    return sip.request(
        method,
        "sip:bob@example.com",
        [
            ("Via", f"SIP/2.0/UDP {host}:5060;branch={branch}"),
            ("Max-Forwards", "70"),
            ("Route", "<sip:p.example.com;lr>"),
            ("From", "<sip:alice@example.com>;tag=a"),
            ("To", "<sip:bob@example.com>"),
            ("Call-ID", "c"),
            ("CSeq", f"1 {method}"),
        ],
    )


def _answer(request: sip.Message, status: int) -> sip.Message:
    return sip.respond(request, status, "x", to_tag="b")


def _sent(layer: sip.TransactionLayer) -> list[str]:
    return [m.method if m.is_request else str(m.status) for m, _ in layer.to_send()]


def _kinds(happened: tuple[sip.Happened, ...]) -> list[type]:
    return [type(one) for one in happened]


def _run(layer: sip.TransactionLayer, until: float) -> list[tuple[float, list[str], list[type]]]:
    """Let timers run; what was sent and what happened, with times."""
    log = []
    while (due := layer.deadline()) is not None and due <= until:
        happened = layer.wake(due)
        log.append((due, _sent(layer), _kinds(happened)))
    return log


def test_an_invite_is_repeated_at_doubling_intervals_until_timer_b() -> None:
    layer = sip.TransactionLayer()
    layer.send(_request(), PEER, 0.0)
    assert _sent(layer) == ["INVITE"]
    log = _run(layer, 100.0)
    assert [when for when, sent, _ in log if sent] == [0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert log[-1] == (32.0, [], [sip.Unanswered])
    assert len(layer) == 0
    assert layer.deadline() is None


def test_other_requests_are_repeated_up_to_t2_until_timer_f() -> None:
    layer = sip.TransactionLayer()
    layer.send(_request("MESSAGE"), PEER, 0.0)
    layer.to_send()
    log = _run(layer, 100.0)
    assert [when for when, sent, _ in log if sent] == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert log[-1][2] == [sip.Unanswered]


def test_nothing_is_repeated_over_a_reliable_transport() -> None:
    layer = sip.TransactionLayer()
    layer.send(_request(), PEER, 0.0, reliable=True)
    layer.to_send()
    assert _run(layer, 31.0) == []
    assert _run(layer, 40.0) == [(32.0, [], [sip.Unanswered])]


def test_the_answer_that_stands_for_silence_is_a_408_to_the_request() -> None:
    layer = sip.TransactionLayer()
    request = _request("BYE")
    layer.send(request, PEER, 0.0)
    (given_up,) = [one for one in layer.wake(32.0) if isinstance(one, sip.Unanswered)]
    assert given_up.answer.status == 408
    assert given_up.answer.values("Via") == request.values("Via")


def test_a_provisional_answer_ends_repetition_of_an_invite() -> None:
    layer = sip.TransactionLayer()
    layer.send(_request(), PEER, 0.0)
    assert _kinds(layer.receive(_answer(_request(), 180), PEER, 0.1)) == [sip.Arrived]
    assert layer.deadline() is None


def test_a_failure_is_acknowledged_each_time_and_passed_once() -> None:
    layer = sip.TransactionLayer()
    invite = _request()
    layer.send(invite, PEER, 0.0)
    layer.to_send()
    assert _kinds(layer.receive(_answer(invite, 486), PEER, 0.1)) == [sip.Arrived]
    assert _kinds(layer.receive(_answer(invite, 486), PEER, 0.2)) == []
    acks = [message for message, _ in layer.to_send()]
    assert [ack.method for ack in acks] == ["ACK", "ACK"]
    assert acks[0].values("Via") == invite.values("Via")
    assert acks[0].values("Route") == invite.values("Route")
    assert acks[0].first("To").endswith(";tag=b")
    assert _run(layer, 100.0) == [(32.1, [], [])]
    assert len(layer) == 0


def test_a_proxy_s_own_ack_is_repeated_for_it() -> None:
    layer = sip.TransactionLayer(acknowledges=False)
    invite = _request()
    layer.send(invite, PEER, 0.0)
    layer.receive(_answer(invite, 486), PEER, 0.1)
    assert _sent(layer) == ["INVITE"]
    layer.send(sip.ack_for(invite, _answer(invite, 486)), PEER, 0.1)
    layer.receive(_answer(invite, 486), PEER, 0.6)
    assert _sent(layer) == ["ACK", "ACK"]


def test_a_2xx_again_is_said_to_be_a_repetition() -> None:
    layer = sip.TransactionLayer()
    invite = _request()
    layer.send(invite, PEER, 0.0)
    assert _kinds(layer.receive(_answer(invite, 200), PEER, 0.1)) == [sip.Arrived]
    assert _kinds(layer.receive(_answer(invite, 200), PEER, 0.6)) == [sip.Repeated]


def test_a_request_again_is_absorbed_and_answered_with_the_latest_response() -> None:
    layer = sip.TransactionLayer()
    message = _request("MESSAGE")
    assert _kinds(layer.receive(message, PEER, 0.0)) == [sip.Arrived]
    assert _kinds(layer.receive(message, PEER, 0.5)) == []
    assert _sent(layer) == []
    layer.send(_answer(message, 200), PEER, 0.6)
    assert _kinds(layer.receive(message, PEER, 1.5)) == []
    assert _sent(layer) == ["200", "200"]
    _run(layer, 40.0)
    assert _kinds(layer.receive(message, PEER, 41.0)) == [sip.Arrived]


def test_a_final_answer_to_invite_is_repeated_until_the_ack() -> None:
    layer = sip.TransactionLayer()
    invite = _request()
    layer.receive(invite, PEER, 0.0)
    layer.send(_answer(invite, 100), PEER, 0.0)
    layer.send(_answer(invite, 486), PEER, 1.0)
    assert _sent(layer) == ["100", "486"]
    assert [when for when, sent, _ in _run(layer, 6.0) if sent == ["486"]] == [1.5, 2.5, 4.5]
    ack = sip.ack_for(invite, _answer(invite, 486))
    assert _kinds(layer.receive(ack, PEER, 6.0)) == [sip.Arrived]
    assert _kinds(layer.receive(ack, PEER, 6.1)) == []
    assert _run(layer, 100.0) == [(11.0, [], [])]
    assert len(layer) == 0


def test_without_an_ack_the_user_is_told() -> None:
    layer = sip.TransactionLayer()
    layer.receive(_request(), PEER, 0.0)
    layer.send(_answer(_request(), 486), PEER, 0.0)
    assert _run(layer, 100.0)[-1] == (32.0, [], [sip.Unacknowledged])


def test_a_2xx_is_not_repeated_by_the_server_transaction_and_its_ack_passes() -> None:
    layer = sip.TransactionLayer()
    invite = _request()
    layer.receive(invite, PEER, 0.0)
    layer.send(_answer(invite, 200), PEER, 0.0)
    assert _sent(layer) == ["200"]
    assert _kinds(layer.receive(invite, PEER, 0.5)) == []
    assert _sent(layer) == []
    ack = _request("ACK", branch="z9hG4bKother")
    assert layer.receive(ack, PEER, 0.6) == (sip.Arrived(ack, PEER, stray=True),)


def test_cancel_is_a_transaction_of_its_own_with_the_branch_of_its_invite() -> None:
    layer = sip.TransactionLayer()
    invite = _request()
    layer.receive(invite, PEER, 0.0)
    assert _kinds(layer.receive(sip.cancel_for(invite), PEER, 0.1)) == [sip.Arrived]
    assert len(layer) == 2


def test_equal_branches_of_different_hosts_are_different_transactions() -> None:
    layer = sip.TransactionLayer()
    assert _kinds(layer.receive(_request(host="192.0.2.9"), PEER, 0.0)) == [sip.Arrived]
    assert _kinds(layer.receive(_request(host="192.0.2.8"), PEER, 0.0)) == [sip.Arrived]


def test_a_branch_without_the_cookie_is_matched_the_old_way() -> None:
    layer = sip.TransactionLayer()
    assert _kinds(layer.receive(_request(branch="1"), PEER, 0.0)) == [sip.Arrived]
    assert _kinds(layer.receive(_request(branch="1"), PEER, 0.1)) == []


def test_a_response_to_nothing_is_a_stray() -> None:
    layer = sip.TransactionLayer()
    answer = _answer(_request(), 200)
    assert layer.receive(answer, PEER, 0.0) == (sip.Arrived(answer, PEER, stray=True),)


def test_timers_towards_a_ue_are_longer() -> None:
    layer = sip.TransactionLayer(timings=sip.UE_TIMINGS)
    layer.send(_request(), PEER, 0.0)
    assert layer.deadline() == 2.0


def test_every_state_of_every_machine_is_reached_and_left_by_its_table() -> None:
    for machine, table in TABLES.items():
        states = {state for state, _ in table}
        assert {step.state for step in table.values()} - states == {State.TERMINATED}
        reached = {FIRST[machine]}
        while more := {step.state for (state, _), step in table.items() if state in reached} - reached:
            reached |= more
        assert states <= reached


def test_an_event_that_the_table_does_not_have_is_an_error() -> None:
    layer = sip.TransactionLayer()
    layer.receive(_request(), PEER, 0.0)
    (transaction,) = layer._servers.values()
    with pytest.raises(PeerViolationError):
        layer._step(transaction, Event.TIMER_K, None, PEER, 0.0)


MESSAGES = st.sampled_from(
    [_request(), _request("MESSAGE"), _request("ACK"), sip.cancel_for(_request())]
    + [_answer(_request(method), status) for method in ("INVITE", "MESSAGE") for status in (100, 183, 200, 486)]
)


@settings(max_examples=120)
@given(st.lists(st.tuples(st.booleans(), MESSAGES, st.floats(0.0, 20.0)), max_size=25), st.booleans())
def test_whatever_comes_and_goes_the_layer_ends_empty(
    steps: list[tuple[bool, sip.Message, float]], reliable: bool
) -> None:
    layer = sip.TransactionLayer()
    now = 0.0
    for incoming, message, wait in steps:
        now += wait
        layer.wake(now)
        if incoming:
            layer.receive(message, PEER, now, reliable=reliable)
        else:
            layer.send(message, PEER, now, reliable=reliable)
    proceeding = [t for t in (*layer._servers.values(), *layer._clients.values()) if t.state is State.PROCEEDING]
    trying = [t for t in layer._servers.values() if t.state is State.TRYING]
    _run(layer, now + 1000.0)
    assert len(layer) <= len(proceeding) + len(trying)


def test_a_request_whose_stream_could_not_be_opened_is_repeated_in_datagrams() -> None:
    layer = sip.TransactionLayer()
    layer.send(_request(), PEER, 0.0, reliable=True)
    assert _sent(layer) == ["INVITE"]
    layer.retry(_request(), PEER, 1.0)
    assert _sent(layer) == ["INVITE"]
    log = _run(layer, 100.0)
    assert [when for when, sent, _ in log if sent] == [1.5, 2.5, 4.5, 8.5, 16.5, 32.5]
    assert log[-1] == (33.0, [], [sip.Unanswered])
    assert len(layer) == 0
