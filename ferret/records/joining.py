"""One message, however many agents saw it and however often it was sent.

Copies of one message are what has the same octets between the same two addresses: the sender's agent's and the
receiver's, and of a device's SIP also the one in the S1-U tunnel, the one in the S5-U tunnel and the one without.
Where an agent stood, and in which tunnel it looked, is a *vantage*; the n-th time at one vantage is the n-th time at
another.

Retransmissions are recognised per protocol:

- GTPv2-C (TS 29.274 clause 7.6) and SIP over UDP (RFC 3261 clause 17): the same octets again at the same vantage within
  the time that the protocol repeats. A GTPv2-C sequence number counts per initiator, so the addresses are part of it.
- Diameter (RFC 6733 clause 3): a request with the T flag and the end-to-end identifier of an earlier one between the
  same two addresses, and the second answer to it. A relay's copy goes between other addresses: another message.
- SCTP and TCP deliver once; the same octets again are another message (a second Paging).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from ferret.protocols.summary import Protocol
from ferret.records.decoding import Decoded
from ferret.records.message import CapturedMessage

_SECOND = 1_000_000_000
REPEAT_WINDOW_NS = {
    Protocol.GTPV2: 60 * _SECOND,  # T3-RESPONSE times N3-REQUESTS of any sensible configuration
    Protocol.SIP: 64 * _SECOND,  # twice 64*T1, timers B, F and H
}
SHORTEST_REPEAT_NS = _SECOND // 10
"""What comes again sooner is the same packet, captured twice; no timer of these protocols is that short."""


class Sighting(NamedTuple):
    """Where a message stands in the capture of one agent. `at_ns` is that agent's clock."""

    agent: str
    number: int
    at_ns: int
    epoch: int = 0  # the agent's run that `number` counts in

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands among all that its agent saw: runs follow each other."""
        return self.epoch, self.number


@dataclass(slots=True)
class Joined:
    """A message with everybody who saw it."""

    decoded: Decoded
    sender: str = ""  # the agent that stands at its sender
    receiver: str = ""
    sightings: dict[str, Sighting] = field(default_factory=dict)  # by agent
    retransmissions: int = 0
    copies: int = 0
    also: list[str] = field(default_factory=list)  # transactions of its retransmissions, where they differ

    @property
    def captured(self) -> CapturedMessage:
        """The copy that is kept: the sender's where there is one."""
        return self.decoded.captured

    @property
    def key(self) -> tuple[int, str, int]:
        """A stable order between messages that nothing else orders."""
        first = min(self.sightings.values(), key=lambda s: (s.at_ns, s.agent, s.number))
        return first.at_ns, first.agent, first.number


class _Vantage(NamedTuple):
    agent: str
    tunnel: Hashable


Ends: TypeAlias = Callable[[CapturedMessage], tuple[str, str]]


def by_address(captured: CapturedMessage) -> tuple[str, str]:
    """The agents at a message's ends, where no two NFs share an address."""
    return captured.source.address, captured.destination.address


def join(messages: Iterable[Decoded], ends: Ends = by_address) -> list[Joined]:
    """Every message once. `ends` names the agents that stand at its sender and receiver, if any do.

    The order of the result is not causal.
    """
    by_vantage: dict[_Vantage, list[Decoded]] = defaultdict(list)
    for decoded in messages:
        captured = decoded.captured
        by_vantage[_Vantage(captured.agent, (captured.tunnel, captured.tunnel_teid))].append(decoded)
    joined: dict[Hashable, Joined] = {}
    for vantage in sorted(by_vantage, key=repr):
        _join_vantage(sorted(by_vantage[vantage], key=lambda d: (d.captured.epoch, d.captured.number)), joined, ends)
    return _without_repeated_diameter(list(joined.values()))


def _join_vantage(messages: list[Decoded], joined: dict[Hashable, Joined], ends: Ends) -> None:
    """All that one vantage saw, in its order: count how often each message came, and join it with the others'."""
    times: dict[Hashable, int] = {}
    last_at: dict[Hashable, int] = {}
    repeats: dict[Hashable, int] = {}
    for decoded in messages:
        captured = decoded.captured
        same = _sameness(captured)
        now, before = captured.captured_at_ns, last_at.get(same)
        last_at[same] = now
        window = REPEAT_WINDOW_NS.get(captured.protocol, 0) if captured.transport == "udp" else 0
        again = before is not None and abs(now - before) <= window
        times[same] = times.get(same, -1) + (not again)
        key = (same, times[same])
        if not again:
            repeats[key] = 0
            _add_sighting(joined, key, decoded, ends)
        elif before is not None and abs(now - before) >= SHORTEST_REPEAT_NS:
            repeats[key] += 1
            joined[key].retransmissions = max(joined[key].retransmissions, repeats[key])


def _sameness(captured: CapturedMessage) -> Hashable:
    return (
        captured.protocol,
        captured.source,
        captured.destination,
        captured.stream,
        captured.stream_sequence,
        captured.octets,
    )


def _add_sighting(joined: dict[Hashable, Joined], key: Hashable, decoded: Decoded, ends: Ends) -> None:
    captured = decoded.captured
    one = joined.get(key)
    if one is None:
        one = joined[key] = Joined(decoded, *ends(captured))
    elif _worth(captured, one) > _worth(one.captured, one):
        one.decoded = decoded
    one.copies += 1
    sighting = Sighting(captured.agent, captured.number, captured.captured_at_ns, captured.epoch)
    known = one.sightings.get(captured.agent)
    # Through two tunnels: it was sent when first seen, and has arrived when last seen.
    arrives = captured.agent == one.receiver != one.sender
    if known is None or (sighting.place > known.place) == arrives:
        one.sightings[captured.agent] = sighting


def _worth(captured: CapturedMessage, one: Joined) -> tuple[bool, bool, bool, bool]:
    return not captured.flaws, captured.agent == one.sender, captured.agent == one.receiver, not captured.tunnel


def _without_repeated_diameter(messages: list[Joined]) -> list[Joined]:
    """Merge requests with the T flag into the first one, and second answers into the first answer."""
    if not any(_is_repeated_request(one) for one in messages):
        return messages
    kept: list[Joined] = []
    first: dict[Hashable, Joined] = {}
    repeated: set[Hashable] = set()
    for one in sorted(messages, key=lambda m: m.key):
        if one.captured.protocol is not Protocol.DIAMETER or one.decoded.message is None:
            kept.append(one)
            continue
        key, exchange = _diameter_key(one)
        earlier = first.get(key)
        if earlier is not None and (_is_repeated_request(one) or exchange in repeated):
            repeated.add(exchange)
            earlier.retransmissions += 1
            earlier.also.append(one.decoded.summary.transaction)
            continue
        first.setdefault(key, one)
        kept.append(one)
    return kept


def _is_repeated_request(one: Joined) -> bool:
    message = one.decoded.message
    if one.captured.protocol is not Protocol.DIAMETER or message is None:
        return False
    return bool(message.is_request and message.flags & 0x10)


def _diameter_key(one: Joined) -> tuple[Hashable, Hashable]:
    """What a retransmission shares with the message itself, and what an exchange of request and answer shares."""
    message, captured = one.decoded.message, one.captured
    ends = (captured.source.address, captured.destination.address)
    client, server = ends if message.is_request else reversed(ends)
    exchange = (client, server, message.command, message.application, message.end_to_end)
    return (exchange, message.is_request), exchange
