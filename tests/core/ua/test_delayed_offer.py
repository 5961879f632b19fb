"""INVITEs without an offer: the called party makes it, in its first reliable answer (RFC 3264, RFC 6337 clause 2.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ferret.protocols import sip
from ferret_core.ua import Ended, EndReason, Established, Held, MediaSession, Resumed, Ringing
from ferret_core.ua.states import CallState

A, B = "10.0.0.1:5060", "10.0.0.2:5060"
URI_B = "sip:b@ims.example"
Pair = Any
MEDIA = MediaSession("10.0.0.1", 49000, "10.0.0.2", 49000, 104, "AMR-WB/16000", "sendrecv")


def call(pair: Pair, change: Callable[[sip.Message], sip.Message] = lambda invite: invite) -> str:
    """a calls b without an offer; `change` is done to its INVITE on the way."""
    name: str = pair.a.call(URI_B, 0.0, offers=False)
    ((octets, _),) = pair.a.datagrams()
    invite = change(sip.decode(octets))
    assert invite.body == b""
    pair.seen.append((A, invite))
    pair.tell(pair.b, pair.b.receive_datagram(invite.encode(), A, 0.0))
    pair.run()
    return name


def bodies(pair: Pair) -> list[str]:
    return [entry for entry, (_, message) in zip(pair.flow(), pair.seen, strict=True) if message.body]


def test_the_called_party_offers_in_183_and_prack_answers(pair: Pair) -> None:
    name = call(pair)
    assert isinstance(pair.last(B), Ringing)
    pair.order(pair.b, "answer", name)
    assert pair.flow() == [
        "a INVITE", "b 100 (INVITE)", "b 183 (INVITE)", "a PRACK", "b 200 (PRACK)", "a UPDATE", "b 200 (UPDATE)",
        "b 180 (INVITE)", "b 200 (INVITE)", "a ACK",
    ]  # fmt: skip
    assert bodies(pair) == ["b 183 (INVITE)", "a PRACK", "a UPDATE", "b 200 (UPDATE)"]
    assert pair.kinds(A) == pair.kinds(B) == ["ResourcesWanted", "Ringing", "Established"]
    assert pair.last(A).media == MEDIA


def test_nobody_rings_before_both_have_their_resources(pair: Pair) -> None:
    pair.reserves = False
    name = call(pair)
    assert pair.kinds(B) == ["ResourcesWanted"]
    pair.tell(pair.b, pair.b.resources_ready(name, 0.0))
    pair.run()
    assert pair.kinds(B) == ["ResourcesWanted"]
    pair.tell(pair.a, pair.a.resources_ready(name, 0.0))
    pair.run()
    assert pair.kinds(B) == ["ResourcesWanted", "Ringing"]


def test_without_reliable_answers_the_200_offers_and_the_ack_answers(pair: Pair) -> None:
    name = call(pair, lambda invite: invite.remove("Supported"))
    assert isinstance(pair.last(B), Ringing)
    pair.order(pair.b, "answer", name)
    assert pair.flow() == ["a INVITE", "b 100 (INVITE)", "b 180 (INVITE)", "b 200 (INVITE)", "a ACK"]
    assert bodies(pair) == ["b 200 (INVITE)", "a ACK"]
    assert isinstance(pair.last(B), Established)
    assert pair.last(B).media.remote_address == "10.0.0.1"


def test_a_party_without_resources_to_reserve_says_so_in_its_prack(pairs: Callable[..., Pair]) -> None:
    pair = pairs(of_a={"resources_at_once": True})
    name = call(pair)
    pair.order(pair.b, "answer", name)
    assert "a UPDATE" not in pair.flow()
    assert pair.kinds(B) == ["ResourcesWanted", "Ringing", "Established"]


def test_an_offer_that_the_caller_cannot_take_ends_the_call(pairs: Callable[..., Pair]) -> None:
    pair = pairs(of_a={"codecs": ()})
    call(pair)
    assert pair.last(A) == Ended(pair.last(A).call, EndReason.REFUSED, pair.last(A).status)
    assert isinstance(pair.last(B), Ended)
    assert pair.a.leftovers()["calls"] == pair.b.leftovers()["calls"] == 0


def test_a_prack_or_ack_without_the_answer_ends_the_call(pair: Pair) -> None:
    def strip(message: sip.Message, number: int) -> bool:
        return message.method == "PRACK" and message.is_request

    pair.lose = strip
    call(pair)
    prack = next(m for _, m in pair.seen if m.is_request and m.method == "PRACK")
    pair.lose = lambda message, number: False
    pair.tell(pair.b, pair.b.receive_datagram(prack.with_body(b"", "").encode(), A, 0.0))
    pair.run()
    assert pair.last(B).status == 488
    assert pair.last(A).status == 488


@pytest.mark.parametrize("direction", ["sendonly", "sendrecv"])
def test_a_re_invite_without_an_offer_is_answered_with_one(pair: Pair, direction: str) -> None:
    name: str = pair.a.call(URI_B, 0.0)
    pair.run()
    pair.order(pair.b, "answer", name)
    known = pair.b.calls[name]
    dialog, before = pair.a.calls[name].dialog, len(pair.seen)
    invite = dialog.request("INVITE", f"SIP/2.0/UDP {A};branch=z9hG4bKre", [("Contact", f"<sip:a@{A}>")])
    pair.tell(pair.b, pair.b.receive_datagram(invite.encode(), A, 1.0))
    answers = [sip.decode(octets) for octets, _ in pair.b.datagrams()]
    assert [one.status for one in answers] == [200]
    offered = sip.sdp.decode(answers[0].body)
    assert len(offered.media[0].codecs) == 4  # everything that it can do
    body = pair.a.calls[name].ours.encode().replace(b"a=sendrecv", f"a={direction}".encode())
    ack = dialog.request("ACK", f"SIP/2.0/UDP {A};branch=z9hG4bKack", body=body, cseq=dialog.local_cseq)
    pair.tell(pair.b, pair.b.receive_datagram(ack.encode(), A, 1.0))
    assert known.state is CallState.ESTABLISHED
    assert known.held_by_peer == (direction == "sendonly")
    assert len(pair.seen) == before
    expected = Held if direction == "sendonly" else Established
    assert isinstance(pair.last(B), expected)
    pair.order(pair.b, "hold", name)
    pair.order(pair.b, "resume", name)
    assert isinstance(pair.last(B), Resumed)
