"""How far agents' clocks are apart, as far as the messages that two of them saw can tell.

A message is sent before it is received. If A's clock were B's, no message from A to B would take less than nothing; so
the shortest time from A to B bounds the offset from one side, the shortest from B to A from the other, and the middle
is as good as the network is symmetrical (as in NTP, RFC 5905 clause 8). Clocks only break ties, so that is enough.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ferret.records.joining import Joined


def clock_offsets(messages: Sequence[Joined]) -> dict[str, int]:
    """Nanoseconds to subtract from each agent's times to make them comparable. Zero for agents that share nothing."""
    shortest: dict[tuple[str, str], int] = {}
    for one in messages:
        sender = one.sightings.get(one.sender)
        receiver = one.sightings.get(one.receiver)
        if sender is not None and receiver is not None and sender is not receiver:
            pair = (sender.agent, receiver.agent)
            took = receiver.at_ns - sender.at_ns
            shortest[pair] = min(shortest.get(pair, took), took)
    neighbours: dict[str, dict[str, int]] = defaultdict(dict)
    for (sender_name, receiver_name), took in shortest.items():
        back = shortest.get((receiver_name, sender_name))
        ahead = took if back is None else (took - back) // 2
        neighbours[sender_name].setdefault(receiver_name, ahead)
        neighbours[receiver_name].setdefault(sender_name, -ahead)
    offsets: dict[str, int] = {}
    for agent in sorted({name for one in messages for name in one.sightings}):
        if agent not in offsets:
            _spread(agent, neighbours, offsets)
    return offsets


def _spread(first: str, neighbours: dict[str, dict[str, int]], offsets: dict[str, int]) -> None:
    """Walk from `first`, whose clock counts as right, to everybody it can be compared with."""
    offsets[first] = 0
    waiting = [first]
    for agent in waiting:
        for other, ahead in sorted(neighbours[agent].items()):
            if other not in offsets:
                offsets[other] = offsets[agent] + ahead
                waiting.append(other)
