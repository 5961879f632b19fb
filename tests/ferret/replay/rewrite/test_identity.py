"""Rewriting with nothing to translate leaves every message of every capture as it was."""

from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferret.errors import DecodeError, RecordError
from ferret.protocols import diameter, gtpv2, s1ap, sip
from ferret.protocols.summary import Protocol
from ferret.records.message import CapturedMessage, Interface, Node, Role
from ferret.replay.rewrite import Message, Place, ReplayContext, rewrite
from ferret.replay.translation import Domain, Pair, Translation
from ferret_agents.capture.reader import messages

DECODERS = {
    Protocol.GTPV2: gtpv2.decode,
    Protocol.DIAMETER: diameter.decode,
    Protocol.SIP: sip.decode,
    Protocol.S1AP: s1ap.decode,
}


def decoded(path: Path) -> Iterator[tuple[CapturedMessage, Message]]:
    try:
        for captured in messages(path):
            if not captured.flaws:
                try:
                    yield captured, DECODERS[captured.protocol](captured.octets)
                except DecodeError:
                    continue
    except RecordError:
        return


def place_of(captured: CapturedMessage) -> Place:
    ends = (captured.source, captured.destination)
    sender, receiver = (Node(Role.UNKNOWN, end.address, end.port) for end in ends)
    return Place(Interface.UNKNOWN, sender, receiver)


def test_an_identity_translation_gives_identical_octets_for_every_message_of_every_capture(
    all_captures: list[Path],
) -> None:
    counted: Counter[str] = Counter()
    for path in all_captures:
        context = ReplayContext()
        hosts = {end.address: end.address for captured, _ in decoded(path) for end in (captured.source,)}
        translation = Translation(hosts)
        for captured, message in decoded(path):
            place = place_of(captured)
            context.remember(place, message, message)
            made = rewrite(message, translation, context, place)
            assert made is message
            assert made.encode() == captured.octets
            counted[captured.protocol.value] += 1
    assert set(counted) == set(Protocol)
    print(f"{counted.total()} messages came out unchanged: {dict(counted)}")  # noqa: T201


@pytest.fixture(scope="module")
def call(own_captures: list[Path]) -> list[tuple[CapturedMessage, Message]]:
    return list(decoded(next(path for path in own_captures if path.name == "volte-call-full.pcap")))


_NUMBERS = st.integers(1, 2**24 - 1)  # as many as an eNB UE S1AP ID may be (TS 36.413 clause 9.2.3.4)
_ADDRESSES = st.integers(1, 2**32 - 1).map(lambda number: str(ip_address(number)))


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.tuples(_ADDRESSES, _ADDRESSES, _ADDRESSES), st.tuples(_NUMBERS, _NUMBERS))
def test_whatever_is_translated_the_rewritten_message_decodes_again(
    call: list[tuple[CapturedMessage, Message]],
    which: int,
    addresses: tuple[str, str, str],
    numbers: tuple[int, int],
) -> None:
    captured, message = call[which % len(call)]
    source, destination, ue = addresses
    translation = Translation({captured.source.address: source, captured.destination.address: destination})
    translation.learn(
        [
            Pair(Domain.MME_UE_S1AP_ID, 1, numbers[0]),
            Pair(Domain.ENB_UE_S1AP_ID, 1, numbers[1]),
            Pair(Domain.UE_IP, "10.46.0.2", ue),
        ]
    )
    made = rewrite(message, translation, ReplayContext(), place_of(captured))
    assert DECODERS[captured.protocol](made.encode()).encode() == made.encode()
