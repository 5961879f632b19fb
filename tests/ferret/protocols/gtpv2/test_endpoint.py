"""Reliable delivery: repetition, answers from the cache, restarts, and any order of loss and duplication."""

from __future__ import annotations

from random import Random

import pytest

from ferret.errors import LocalMisuseError
from ferret.protocols import gtpv2
from ferret.protocols.gtpv2 import (
    Cause,
    CauseIe,
    Discarded,
    Ebi,
    Gtpv2Endpoint,
    Message,
    MessageType,
    PathFailed,
    Peer,
    PeerRestarted,
    Recovery,
    RequestReceived,
    RequestTimedOut,
    ResponseReceived,
)

A: Peer = ("192.0.2.1", 2123)
B: Peer = ("192.0.2.2", 2123)


def delete_bearer() -> Message:
    return gtpv2.request(MessageType.DELETE_BEARER_REQUEST, 7, Ebi(5))


def yes(request: Message) -> Message:
    return gtpv2.answer(request, 9, CauseIe(Cause.REQUEST_ACCEPTED))


def only(endpoint: Gtpv2Endpoint) -> bytes:
    ((octets, _),) = endpoint.datagrams()
    return octets


def test_a_request_is_repeated_octet_for_octet_until_it_is_answered() -> None:
    endpoint = Gtpv2Endpoint()
    endpoint.send_request(delete_bearer(), B, 0.0, 42)
    first = only(endpoint)
    assert endpoint.deadline() == 3.0
    assert endpoint.wake(2.9) == [] and endpoint.datagrams() == []
    assert endpoint.wake(3.0) == [] and only(endpoint) == first
    request = gtpv2.decode(first)
    assert endpoint.receive_datagram(yes(request).encode(), B, 4.0) == [ResponseReceived(yes(request), B, 42)]
    assert endpoint.deadline() is None and endpoint.wake(99.0) == [] and endpoint.pending == 0


def test_a_request_is_given_up_after_n3_attempts() -> None:
    endpoint = Gtpv2Endpoint(t3_response=2.0, n3_requests=3)
    endpoint.send_request(delete_bearer(), B, 0.0, 42)
    sent = len(endpoint.datagrams())
    for now in (2.0, 4.0):
        assert endpoint.wake(now) == []
        sent += len(endpoint.datagrams())
    assert sent == 3
    assert endpoint.wake(6.0) == [RequestTimedOut(42, B, "no answer to 3 attempts")]
    assert endpoint.deadline() is None


def test_a_repeated_request_is_answered_from_the_cache_and_not_executed_again() -> None:
    endpoint = Gtpv2Endpoint()
    octets = Message(MessageType.DELETE_BEARER_REQUEST, 7, 3, (Ebi(5).ie(),)).encode()
    (event,) = endpoint.receive_datagram(octets, B, 0.0)
    assert isinstance(event, RequestReceived)
    assert endpoint.receive_datagram(octets, B, 0.1) == [] and endpoint.datagrams() == []  # still being executed
    endpoint.send_response(event.transaction, yes(event.message), 0.2)
    answer = only(endpoint)
    assert gtpv2.decode(answer).sequence == 3
    assert endpoint.receive_datagram(octets, B, 3.0) == [] and only(endpoint) == answer
    endpoint.wake(12.3)
    (again,) = endpoint.receive_datagram(octets, B, 12.4)
    assert isinstance(again, RequestReceived) and again.transaction != event.transaction


def test_another_request_under_an_old_number_is_executed() -> None:
    endpoint = Gtpv2Endpoint()
    (first,) = endpoint.receive_datagram(Message(99, 7, 3, (Ebi(5).ie(),)).encode(), B, 0.0)
    (second,) = endpoint.receive_datagram(Message(99, 7, 3, (Ebi(6).ie(),)).encode(), B, 0.1)
    assert isinstance(first, RequestReceived) and isinstance(second, RequestReceived)
    endpoint.send_response(first.transaction, yes(first.message), 0.2)  # too late: nothing goes out
    assert endpoint.datagrams() == []
    endpoint.send_response(second.transaction, yes(second.message), 0.2)
    assert len(endpoint.datagrams()) == 1


def test_both_ends_may_use_one_number_at_the_same_time() -> None:
    endpoint = Gtpv2Endpoint(first_sequence=3)
    endpoint.send_request(delete_bearer(), B, 0.0, 1)
    ours = gtpv2.decode(only(endpoint))
    theirs = gtpv2.request(MessageType.CREATE_SESSION_REQUEST, 0).with_header(0, 3)
    (asked,) = endpoint.receive_datagram(theirs.encode(), B, 0.1)
    assert isinstance(asked, RequestReceived) and ours.sequence == 3
    assert endpoint.receive_datagram(yes(ours).encode(), B, 0.2) == [ResponseReceived(yes(ours), B, 1)]


def test_an_answer_with_teid_0_still_finds_its_request() -> None:
    endpoint = Gtpv2Endpoint()
    endpoint.send_request(delete_bearer(), B, 0.0, 1)
    refusal = gtpv2.refusal(gtpv2.decode(only(endpoint)), 0, Cause.CONTEXT_NOT_FOUND)
    assert endpoint.receive_datagram(refusal.encode(), B, 0.1) == [ResponseReceived(refusal, B, 1)]


def test_an_answer_from_elsewhere_or_of_another_kind_is_discarded() -> None:
    endpoint = Gtpv2Endpoint()
    endpoint.send_request(delete_bearer(), B, 0.0, 1)
    request = gtpv2.decode(only(endpoint))
    (event,) = endpoint.receive_datagram(yes(request).encode(), A, 0.1)
    assert isinstance(event, Discarded)
    (event,) = endpoint.receive_datagram(Message(96, 9, request.sequence).encode(), B, 0.1)
    assert isinstance(event, Discarded)
    assert endpoint.pending == 1


def test_commands_have_the_top_bit_and_what_obeys_them_says_so() -> None:
    endpoint = Gtpv2Endpoint()
    endpoint.send_request(gtpv2.request(MessageType.DELETE_BEARER_COMMAND, 7), B, 0.0, 5)
    command = gtpv2.decode(only(endpoint))
    assert command.sequence == 0x800001
    obeying = Message(MessageType.DELETE_BEARER_REQUEST, 9, command.sequence)
    (event,) = endpoint.receive_datagram(obeying.encode(), B, 0.1)
    assert isinstance(event, RequestReceived) and event.triggered_by == 5
    assert endpoint.pending == 0


def test_sequence_numbers_wrap_below_the_command_bit_and_skip_those_in_flight() -> None:
    endpoint = Gtpv2Endpoint(first_sequence=0x7FFFFF)
    for token in range(2):
        endpoint.send_request(delete_bearer(), B, 0.0, token)
    assert [gtpv2.decode(octets).sequence for octets, _ in endpoint.datagrams()] == [0x7FFFFF, 0]
    endpoint._sequence = 0x7FFFFF
    endpoint.send_request(delete_bearer(), B, 0.0, 3)
    assert gtpv2.decode(only(endpoint)).sequence == 1


def test_echo_is_answered_with_the_restart_counter() -> None:
    endpoint = Gtpv2Endpoint(restart_counter=9)
    assert endpoint.receive_datagram(Message(1, None, 5, (Recovery(1).ie(),)).encode(), B, 0.0) == []
    answer = gtpv2.decode(only(endpoint))
    assert (answer.type, answer.teid, answer.sequence, answer.view(Recovery)) == (2, None, 5, Recovery(9))


def test_silence_to_an_echo_is_a_failed_path() -> None:
    endpoint = Gtpv2Endpoint(n3_requests=1)
    endpoint.send_echo(B, 0.0)
    assert endpoint.wake(3.0) == [PathFailed(B)]


def test_a_higher_restart_counter_is_a_restart_and_a_lower_one_an_old_message() -> None:
    endpoint = Gtpv2Endpoint()
    seen = [
        endpoint.receive_datagram(Message(1, None, n, (Recovery(c).ie(),)).encode(), B, 0.0)
        for n, c in enumerate([254, 254, 253, 1, 2])
    ]
    assert seen == [[], [], [], [PeerRestarted(B, 254, 1)], [PeerRestarted(B, 1, 2)]]


def test_another_version_is_told_that_it_is_not_supported() -> None:
    endpoint = Gtpv2Endpoint()
    (event,) = endpoint.receive_datagram(bytes.fromhex("3201000400000000 00050000".replace(" ", "")), B, 0.0)
    assert isinstance(event, Discarded)
    assert gtpv2.decode(only(endpoint)).type == MessageType.VERSION_NOT_SUPPORTED_INDICATION
    endpoint.receive_datagram(bytes.fromhex("6003000400000000"), B, 0.0)
    assert endpoint.datagrams() == []  # never in answer to one


def test_a_peer_without_gtpv2_ends_the_request_at_once() -> None:
    endpoint = Gtpv2Endpoint()
    endpoint.send_request(delete_bearer(), B, 0.0, 8)
    indication = Message(3, None, gtpv2.decode(only(endpoint)).sequence)
    assert endpoint.receive_datagram(indication.encode(), B, 0.1) == [
        RequestTimedOut(8, B, "the peer does not support GTP version 2")
    ]


def test_an_unknown_message_type_is_discarded_silently() -> None:
    endpoint = Gtpv2Endpoint()
    (event,) = endpoint.receive_datagram(Message(250, 1, 1).encode(), B, 0.0)
    assert isinstance(event, Discarded) and endpoint.datagrams() == []


def test_a_request_with_a_wrong_length_is_refused() -> None:
    endpoint = Gtpv2Endpoint()
    octets = delete_bearer().with_header(1, 6).encode() + b""
    cut = octets[:2] + (len(octets) - 6).to_bytes(2, "big") + octets[4:-2]
    (event,) = endpoint.receive_datagram(cut, B, 0.0)
    answer = gtpv2.decode(only(endpoint))
    assert isinstance(event, Discarded)
    assert (answer.type, answer.sequence, gtpv2.cause_of(answer)) == (100, 6, Cause.INVALID_LENGTH)


def test_a_piggybacked_request_is_received_after_its_carrier() -> None:
    endpoint = Gtpv2Endpoint()
    carrier = Message(32, 0, 1)
    rider = Message(95, 1, 2)
    octets = bytes((carrier.encode()[0] | 0x10,)) + carrier.encode()[1:] + rider.encode()
    first, second = endpoint.receive_datagram(octets, B, 0.0)
    assert isinstance(first, RequestReceived) and first.message.type == 32
    assert isinstance(second, RequestReceived) and second.message == rider


def test_a_second_answer_and_an_answer_to_nothing_are_misuse() -> None:
    endpoint = Gtpv2Endpoint()
    with pytest.raises(LocalMisuseError):
        endpoint.send_response(1, delete_bearer(), 0.0)
    (event,) = endpoint.receive_datagram(Message(99, 7, 3).encode(), B, 0.0)
    assert isinstance(event, RequestReceived)
    endpoint.send_response(event.transaction, yes(event.message), 0.0)
    with pytest.raises(LocalMisuseError):
        endpoint.send_response(event.transaction, yes(event.message), 0.0)


def test_a_flood_of_requests_is_bounded() -> None:
    endpoint = Gtpv2Endpoint(capacity=10)
    events = [e for n in range(20) for e in endpoint.receive_datagram(Message(99, 7, n).encode(), B, 0.0)]
    assert sum(isinstance(e, RequestReceived) for e in events) == 10
    endpoint.wake(1000.0)
    assert endpoint.receive_datagram(Message(99, 7, 99).encode(), B, 1000.0)


@pytest.mark.parametrize("seed", range(30))
def test_every_request_is_executed_once_and_settled_once_whatever_is_lost_or_doubled(seed: int) -> None:
    random = Random(seed)
    ends = {A: Gtpv2Endpoint(), B: Gtpv2Endpoint()}
    wire: list[tuple[float, bytes, Peer, Peer]] = []
    executed: dict[tuple[Peer, int], int] = {}
    settled: dict[tuple[Peer, int], list[str]] = {}
    now = 0.0

    def carry(source: Peer) -> None:
        for octets, destination in ends[source].datagrams():
            copies = random.choice((0, 1, 1, 1, 2))
            wire.extend((now + random.random(), octets, source, destination) for _ in range(copies))

    def handle(at: Peer, events: list[gtpv2.Event]) -> None:
        for event in events:
            if isinstance(event, RequestReceived):
                number = gtpv2.ebi_of(event.message)
                executed[at, number] = executed.get((at, number), 0) + 1
                ends[at].send_response(event.transaction, yes(event.message), now)
            elif isinstance(event, ResponseReceived | RequestTimedOut):
                settled.setdefault((at, event.token), []).append(type(event).__name__)

    for token in range(12):
        for source, destination in ((A, B), (B, A)):
            request = gtpv2.request(MessageType.DELETE_BEARER_REQUEST, 7, Ebi(token))
            ends[source].send_request(request, destination, now, token)
            carry(source)
    while now < 60.0:
        now += 0.05
        wire.sort()
        while wire and wire[0][0] <= now:
            _, octets, source, destination = wire.pop(0)
            handle(destination, ends[destination].receive_datagram(octets, source, now))
            carry(destination)
        for end in ends:
            handle(end, ends[end].wake(now))
            carry(end)
    assert all(times == 1 for times in executed.values())
    assert len(settled) == 24 and all(len(fates) == 1 for fates in settled.values())
    for (end, token), (fate,) in settled.items():
        other = B if end == A else A
        assert fate != "ResponseReceived" or (other, token) in executed
