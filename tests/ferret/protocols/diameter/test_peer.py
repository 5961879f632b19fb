from __future__ import annotations

from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferret.errors import LocalMisuseError
from ferret.protocols.diameter import Application, Avp, Command, Message, answer, avp, decode, request, split
from ferret.protocols.diameter.capabilities import Identity, capabilities_request
from ferret.protocols.diameter.peer import MAX_UNANSWERED, DiameterPeer, PeerTable
from ferret.protocols.diameter.peer_events import (
    AnswerReceived,
    ElectionLost,
    MessageDropped,
    PeerClosed,
    PeerOpened,
    PeerOutput,
    PeerSuspect,
    RequestReceived,
    RequestTimedOut,
)
from ferret.protocols.diameter.peer_states import PeerState, Side

PCRF = Identity("pcrf.example", "example", ("127.0.0.9",), (Application.GX, Application.RX))
SMF = Identity("smf.example", "example", ("127.0.0.4",), (Application.GX,))
HSS = Identity("hss.example", "example", ("127.0.0.8",), (Application.S6A,))


def _peer(identity: Identity = PCRF, side: Side = Side.RESPONDER, **options: object) -> DiameterPeer:
    peer = DiameterPeer(identity, side=side, random=Random(1), **options)  # type: ignore[arg-type]
    peer.connected(0.0)
    return peer


def _exchange(one: DiameterPeer, other: DiameterPeer, now: float = 0.0) -> list[list[PeerOutput]]:
    """Carry octets both ways until both are silent; what each of the two saw."""
    seen: list[list[PeerOutput]] = [[], []]
    while True:
        there, back = one.bytes_to_send(), other.bytes_to_send()
        if not there and not back:
            return seen
        seen[1] += other.receive_bytes(there, now)
        seen[0] += one.receive_bytes(back, now)


def _open_pair(**options: object) -> tuple[DiameterPeer, DiameterPeer]:
    one, other = _peer(SMF, Side.INITIATOR, **options), _peer(PCRF, Side.RESPONDER, **options)
    _exchange(one, other)
    assert one.is_open and other.is_open
    return one, other


def _ccr() -> Message:
    return request(Command.CREDIT_CONTROL, Application.GX, avp.SESSION_ID("a;1;2"))


def _of(events: Iterable[PeerOutput], kind: type) -> list[PeerOutput]:
    return [event for event in events if isinstance(event, kind)]


def test_capabilities_are_exchanged_and_both_sides_open() -> None:
    one, other = _peer(SMF, Side.INITIATOR), _peer(PCRF)
    mine, theirs = _exchange(one, other)
    opened = _of(mine, PeerOpened)[0]
    assert isinstance(opened, PeerOpened)
    assert opened.capabilities.host == "pcrf.example"
    assert opened.capabilities.applications == {Application.GX, Application.RX}
    assert len(_of(theirs, PeerOpened)) == 1


def test_requests_go_both_ways_whoever_opened_the_connection() -> None:
    one, other = _open_pair()
    for asking, answering in ((one, other), (other, one)):
        asking.send_request(_ccr(), 77, 1.0)
        arrived = answering.receive_bytes(asking.bytes_to_send(), 1.0)[0]
        assert isinstance(arrived, RequestReceived)
        answering.send_answer(arrived.transaction, answer(arrived.message, avp.RESULT_CODE(2001)))
        answered = asking.receive_bytes(answering.bytes_to_send(), 1.1)
        assert [(type(event), getattr(event, "token", 0)) for event in answered] == [(AnswerReceived, 77)]


def test_answers_are_matched_by_hop_by_hop_even_when_they_overtake_each_other() -> None:
    one, other = _open_pair()
    for token in (1, 2, 3):
        one.send_request(_ccr(), token, 1.0)
    arrived = other.receive_bytes(one.bytes_to_send(), 1.0)
    for event in reversed(arrived):
        assert isinstance(event, RequestReceived)
        other.send_answer(event.transaction, answer(event.message, avp.RESULT_CODE(2001)))
    answered = one.receive_bytes(other.bytes_to_send(), 1.0)
    assert [event.token for event in answered if isinstance(event, AnswerReceived)] == [3, 2, 1]


def test_a_request_without_an_answer_times_out_and_a_late_answer_is_dropped() -> None:
    one, other = _open_pair(tx=10.0)
    one.send_request(_ccr(), 5, 1.0)
    arrived = other.receive_bytes(one.bytes_to_send(), 1.0)[0]
    assert one.deadline() == 11.0
    assert not one.wake(10.9)
    assert one.wake(11.0) == [RequestTimedOut(5, "no answer in 10 s")]
    assert isinstance(arrived, RequestReceived)
    other.send_answer(arrived.transaction, answer(arrived.message))
    assert len(_of(one.receive_bytes(other.bytes_to_send(), 12.0), MessageDropped)) == 1
    assert one.is_open


def test_an_answer_is_sent_once() -> None:
    one, other = _open_pair()
    one.send_request(_ccr(), 5, 1.0)
    arrived = other.receive_bytes(one.bytes_to_send(), 1.0)[0]
    assert isinstance(arrived, RequestReceived)
    other.send_answer(arrived.transaction, answer(arrived.message))
    with pytest.raises(LocalMisuseError):
        other.send_answer(arrived.transaction, answer(arrived.message))


def test_a_request_before_the_connection_is_open_is_misuse() -> None:
    with pytest.raises(LocalMisuseError):
        _peer(SMF, Side.INITIATOR).send_request(_ccr(), 1, 0.0)


def test_peers_without_a_common_application_do_not_open() -> None:
    one, other = _peer(HSS, Side.INITIATOR), _peer(PCRF)
    mine, theirs = _exchange(one, other)
    assert one.closed and other.closed
    assert [getattr(event, "reason", "") for event in mine] == ["the peer refuses capabilities with Result-Code 5010"]
    assert len(_of(theirs, PeerClosed)) == 1


def test_a_relay_has_every_application_in_common() -> None:
    relay = Identity("relay.example", "example", ("127.0.0.7",), (Application.RELAY,))
    one, other = _peer(relay, Side.INITIATOR), _peer(PCRF)
    _exchange(one, other)
    assert one.is_open and other.is_open


def test_a_peer_with_another_name_than_expected_is_refused_on_both_sides() -> None:
    one, other = _peer(SMF, Side.INITIATOR, expected_host="someone.else"), _peer(PCRF)
    _exchange(one, other)
    assert one.closed
    one, other = _peer(SMF, Side.INITIATOR), _peer(PCRF, expected_host="someone.else")
    mine, _ = _exchange(one, other)
    assert other.closed and one.closed
    assert "3010" in str(mine[-1])


def test_anything_but_a_cer_at_the_start_ends_the_connection() -> None:
    other = _peer(PCRF)
    events = other.receive_bytes(_ccr().encode(), 0.0)
    assert events == [PeerClosed("Diameter: Rcv-Message in state Wait-CER")]


@pytest.mark.parametrize(
    "octets", [b"GET / HTTP/1.1\r\n\r\n----", b"\x01\x00\x00\x00" + bytes(20), b"\x01\xff\xff\xfc" + bytes(20)]
)
def test_garbage_ends_the_connection_and_raises_nothing(octets: bytes) -> None:
    _, other = _open_pair()
    assert isinstance(other.receive_bytes(octets, 1.0)[-1], PeerClosed)
    assert other.deadline() is None


def test_a_request_that_does_not_decode_is_refused_and_the_connection_goes_on() -> None:
    _, other = _open_pair()
    broken = Message(272, 16777238, avps=(Avp(1, value=b"abcd"),), hop_by_hop=9).encode()
    broken = broken[:25] + b"\0\0\x03" + broken[28:]
    events = other.receive_bytes(broken, 1.0)
    assert isinstance(events[0], MessageDropped)
    refusal = decode(other.bytes_to_send())
    assert (refusal.hop_by_hop, refusal.value_of(avp.RESULT_CODE)) == (9, 5014)
    assert other.is_open


def test_a_silent_peer_is_asked_then_suspected_then_given_up() -> None:
    one, _ = _open_pair(tw=30.0)
    first = one.deadline()
    assert first is not None and 28.0 <= first <= 32.0
    assert one.wake(first) == []
    assert decode(one.bytes_to_send()).command == Command.DEVICE_WATCHDOG
    second = one.deadline()
    assert second is not None
    assert one.wake(second) == [PeerSuspect()]
    third = one.deadline()
    assert third is not None
    one.send_request(_ccr(), 4, third - 1)
    events = one.wake(third)
    assert [type(event) for event in events] == [RequestTimedOut, PeerClosed]
    assert one.closed


def test_a_watchdog_is_answered_and_anything_heard_restarts_it() -> None:
    one, other = _open_pair(tw=30.0)
    due = one.deadline()
    assert due is not None
    one.wake(due)
    assert not _exchange(one, other, due + 1)[0]
    later = one.deadline()
    assert later is not None and later >= due + 1 + 28
    assert one.wake(due + 2) == []


def test_a_peer_leaves_in_order() -> None:
    one, other = _open_pair()
    one.stop(1.0)
    mine, theirs = _exchange(one, other, 1.0)
    assert mine == [PeerClosed("disconnected in order")]
    assert other.state is PeerState.CLOSING
    assert other.connection_lost(1.1) == [PeerClosed("disconnected in order")]
    assert theirs == []


def test_a_lost_connection_fails_what_waits() -> None:
    one, _ = _open_pair()
    one.send_request(_ccr(), 6, 1.0)
    assert one.connection_lost(2.0) == [
        RequestTimedOut(6, "the connection is lost"),
        PeerClosed("the connection is lost"),
    ]
    assert one.connection_lost(2.0) == []


def test_a_connection_that_does_not_come_up_is_given_up() -> None:
    for peer in (_peer(SMF, Side.INITIATOR, tx=10.0), _peer(PCRF, tx=10.0)):
        assert peer.deadline() == 10.0
        assert isinstance(peer.wake(10.0)[-1], PeerClosed)


def test_of_two_connections_between_the_same_peers_the_one_to_the_higher_name_stays() -> None:
    # Both connect to each other at once: "smf.example" > "pcrf.example".
    smf_table, pcrf_table = PeerTable(), PeerTable()
    smf_out = _peer(SMF, Side.INITIATOR, expected_host="pcrf.example", table=smf_table)
    pcrf_out = _peer(PCRF, Side.INITIATOR, expected_host="smf.example", table=pcrf_table)
    smf_in, pcrf_in = _peer(SMF, table=smf_table), _peer(PCRF, table=pcrf_table)
    from_smf, from_pcrf = smf_out.bytes_to_send(), pcrf_out.bytes_to_send()
    at_smf = smf_in.receive_bytes(from_pcrf, 0.0)
    at_pcrf = pcrf_in.receive_bytes(from_smf, 0.0)
    assert _of(at_smf, ElectionLost) == [ElectionLost(smf_out)]
    assert smf_out.closed and smf_in.is_open
    assert pcrf_in.closed and isinstance(at_pcrf[-1], PeerClosed)
    assert isinstance(pcrf_out.receive_bytes(smf_in.bytes_to_send(), 0.0)[0], PeerOpened)


def test_a_second_connection_beside_an_open_one_is_refused() -> None:
    table = PeerTable()
    first, second = _peer(SMF, table=table), _peer(SMF, table=table)
    first.receive_bytes(capabilities_request(PCRF).encode(), 0.0)
    second.receive_bytes(capabilities_request(PCRF).encode(), 0.0)
    assert first.is_open and second.closed
    assert decode(second.bytes_to_send()).value_of(avp.RESULT_CODE) == 4003
    first.connection_lost(1.0)
    third = _peer(SMF, table=table)
    third.receive_bytes(capabilities_request(PCRF).encode(), 1.0)
    assert third.is_open


def test_more_requests_than_can_be_kept_are_refused_as_busy() -> None:
    _, other = _open_pair()
    octets = _ccr().encode()
    other.receive_bytes(octets * MAX_UNANSWERED, 1.0)
    assert not other.bytes_to_send()
    assert other.receive_bytes(octets, 1.0) == []
    refusal = decode(other.bytes_to_send())
    assert refusal.is_error and refusal.value_of(avp.RESULT_CODE) == 3004


@given(st.lists(st.binary(max_size=80), max_size=5), st.booleans())
@settings(max_examples=60)
def test_no_octets_make_a_peer_raise(chunks: list[bytes], opened: bool) -> None:
    peer = _open_pair()[1] if opened else _peer(PCRF)
    for chunk in chunks:
        peer.receive_bytes(chunk, 1.0)
        framed = b"\x01" + (20 + len(chunk) // 4 * 4).to_bytes(3, "big") + chunk[:1].ljust(1) + bytes(15)
        peer.receive_bytes(framed + chunk[: len(chunk) // 4 * 4], 1.0)
    peer.bytes_to_send()
    peer.wake(100.0)


@given(st.integers(1, 7))
@settings(max_examples=7)
def test_messages_arrive_whole_however_the_stream_is_cut(size: int) -> None:
    one, other = _open_pair()
    for token in range(3):
        one.send_request(_ccr(), token, 1.0)
    octets = one.bytes_to_send()
    assert len(split(octets)[0]) == 3
    events = [e for at in range(0, len(octets), size) for e in other.receive_bytes(octets[at : at + size], 1.0)]
    assert [type(event) for event in events] == [RequestReceived] * 3
