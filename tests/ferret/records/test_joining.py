"""One message, however many saw it and however often it was sent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ferret.protocols import diameter, gtpv2
from ferret.protocols.diameter import avp
from ferret.protocols.summary import Protocol
from ferret.records.decoding import Decoder
from ferret.records.joining import Joined, join
from ferret.records.message import CapturedMessage, Endpoint, Flaw

SECOND = 1_000_000_000
MME, SGW = Endpoint("172.22.0.2", 2123), Endpoint("172.22.0.3", 2123)
ECHO = gtpv2.Message(gtpv2.MessageType.ECHO_REQUEST, None, 7, ()).encode()


def captured(
    octets: bytes = ECHO,
    *,
    agent: str,
    number: int = 1,
    at: float = 0.0,
    protocol: Protocol = Protocol.GTPV2,
    source: Endpoint = MME,
    destination: Endpoint = SGW,
    transport: str = "udp",
) -> CapturedMessage:
    """A message as an agent saw it `at` seconds."""
    when = int(at * SECOND)
    return CapturedMessage(protocol, when, source, destination, octets, agent, number, transport)


def joined(*messages: CapturedMessage) -> list[Joined]:
    """What becomes of them."""
    decoder = Decoder()
    return join([decoder.decode(message) for message in messages])


def test_the_copies_of_sender_and_receiver_are_one_message_and_the_senders_is_kept() -> None:
    (one,) = joined(captured(agent="172.22.0.3", at=1.0), captured(agent="172.22.0.2", at=9.0))
    assert one.captured.agent == "172.22.0.2"
    assert sorted(one.sightings) == ["172.22.0.2", "172.22.0.3"]
    assert one.retransmissions == 0


def test_a_whole_copy_is_kept_rather_than_a_damaged_one_of_the_sender() -> None:
    cut = replace(captured(agent="172.22.0.2"), flaws=(Flaw.HOLE_BEFORE,))
    (one,) = joined(cut, captured(agent="172.22.0.3"))
    assert one.captured.agent == "172.22.0.3"


def test_repeated_octets_are_retransmissions_counted_once_per_repetition() -> None:
    copies = [
        captured(agent=agent, number=number, at=2.5 * number)
        for agent in ("172.22.0.2", "172.22.0.3")
        for number in (1, 2, 3)
    ]
    (one,) = joined(*copies)
    assert one.retransmissions == 2
    assert [seen.number for seen in one.sightings.values()] == [1, 1]


def test_the_same_packet_captured_twice_is_no_retransmission() -> None:
    (one,) = joined(captured(agent="a", number=1, at=1.0), captured(agent="a", number=2, at=1.0001))
    assert one.retransmissions == 0


def test_the_same_octets_long_after_are_another_message() -> None:
    assert len(joined(captured(agent="a", number=1), captured(agent="a", number=2, at=100.0))) == 2


def test_one_sequence_number_in_both_directions_is_two_messages() -> None:
    there = captured(agent="172.22.0.2", number=1)
    back = captured(agent="172.22.0.2", number=2, source=SGW, destination=MME)
    assert len(joined(there, back)) == 2


def test_what_came_through_two_tunnels_and_without_is_one_message() -> None:
    ue, pcscf = Endpoint("10.46.0.2", 5060), Endpoint("172.22.0.21", 5060)
    register = b"OPTIONS sip:a SIP/2.0\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n"
    plain = captured(
        register, agent="172.22.0.21", number=3, at=0.003, protocol=Protocol.SIP, source=ue, destination=pcscf
    )
    s1u = replace(plain, number=1, tunnel=(Endpoint("172.22.0.30", 2152), Endpoint("172.22.0.6", 2152)), tunnel_teid=5)
    s5u = replace(plain, number=2, tunnel=(Endpoint("172.22.0.6", 2152), Endpoint("172.22.0.7", 2152)), tunnel_teid=6)
    (one,) = joined(s5u, plain, s1u)
    assert not one.captured.tunnel
    assert one.sightings["172.22.0.21"].number == 3  # it has arrived when it is out of the last tunnel
    assert (one.copies, one.retransmissions) == (3, 0)


@pytest.mark.parametrize("transport", ["sctp", "tcp", "none"])
def test_a_transport_that_delivers_once_repeats_nothing(transport: str) -> None:
    paging = [captured(agent="a", number=number, at=2.0 * number, transport=transport) for number in (1, 2)]
    assert len(joined(*paging)) == 2


def request(*, flags: int = 0, hop: int = 1, end: int = 9) -> bytes:
    """An S6a AIR."""
    made = diameter.request(
        diameter.Command.AUTHENTICATION_INFORMATION, diameter.Application.S6A, avp.SESSION_ID("s;1")
    )
    return replace(made, flags=made.flags | flags, hop_by_hop=hop, end_to_end=end).encode()


def diameter_message(octets: bytes, number: int, source: Endpoint, destination: Endpoint) -> CapturedMessage:
    """As one agent sees it."""
    return captured(
        octets,
        agent="a",
        number=number,
        at=float(number),
        protocol=Protocol.DIAMETER,
        source=source,
        destination=destination,
        transport="tcp",
    )


CLIENT, RELAY, SERVER = Endpoint("10.0.0.1", 4000), Endpoint("10.0.0.2", 3868), Endpoint("10.0.0.3", 3868)


def test_a_diameter_request_with_the_t_flag_is_the_earlier_one_again() -> None:
    (one,) = joined(
        diameter_message(request(), 1, CLIENT, SERVER), diameter_message(request(flags=0x10, hop=2), 2, CLIENT, SERVER)
    )
    assert (one.retransmissions, one.captured.number) == (1, 1)
    assert one.also == ["0x00000002"]


def test_a_relayed_request_is_another_message() -> None:
    hops = joined(diameter_message(request(), 1, CLIENT, RELAY), diameter_message(request(hop=7), 2, RELAY, SERVER))
    assert len(hops) == 2


def test_a_request_with_the_t_flag_whose_first_was_not_captured_stays() -> None:
    assert len(joined(diameter_message(request(flags=0x10), 1, CLIENT, SERVER))) == 1
