"""Which answer belongs to which request.

By peer and sequence first: GTPv2-C by the initiator's address, the request's type and the sequence number, never by
TEID, because real nodes answer errors with TEID 0; Diameter by the two ends and the hop-by-hop identifier; SIP by
Call-ID, CSeq and topmost branch; S1AP by procedure and UE.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from ferret.protocols.summary import Identifier, IdKind, Kind, Protocol
from ferret.records.joining import Joined

_EXCHANGE_NS = 64_000_000_000  # GTPv2-C sequence numbers and S1AP procedures come again; an answer is not older


def exchange_key(one: Joined) -> Hashable | None:
    """What a request and its answers have in common; None for a message that has neither."""
    return _key(one, one.decoded.summary.transaction)


def _key(one: Joined, transaction: str) -> Hashable | None:
    captured = one.captured
    if not transaction:
        return None
    from_end, to_end = captured.source, captured.destination
    if one.decoded.summary.kind is Kind.RESPONSE:
        from_end, to_end = to_end, from_end
    if (
        captured.protocol is Protocol.SIP
    ):  # a response goes to the Via's port, not to the one that the request came from
        return captured.protocol, from_end.address, to_end.address, transaction
    return captured.protocol, from_end, to_end, transaction


def unique_pairs(messages: Sequence[Joined]) -> list[tuple[int, int]]:
    """(request, answer) by position where there is exactly one of each with their key: known without any order."""
    requests: dict[Hashable, list[int]] = {}
    answers: dict[Hashable, list[int]] = {}
    for position, one in enumerate(messages):
        key = exchange_key(one)
        if key is not None:
            side = answers if one.decoded.summary.kind is Kind.RESPONSE else requests
            side.setdefault(key, []).append(position)
    return [
        (requests[key][0], position)
        for key, positions in answers.items()
        for position in positions
        if len(requests.get(key, ())) == 1
    ]


def match_answers(ordered: Sequence[Joined]) -> dict[int, int]:
    """For each answer's position in causal order the position of its request, where that was captured."""
    latest: dict[Hashable, int] = {}
    answered: dict[int, int] = {}
    for position, one in enumerate(ordered):
        kind = one.decoded.summary.kind
        if kind is Kind.REQUEST:
            for transaction in (one.decoded.summary.transaction, *one.also):
                key = _key(one, transaction)
                if key is not None:
                    latest[key] = position
        elif kind is Kind.RESPONSE:
            key = exchange_key(one)
            request = latest.get(key) if key is not None else None
            if request is not None and _in_time(ordered[request], one):
                answered[position] = request
    if any(_looped(one) for one in ordered):
        _match_looped(ordered, answered)
    return answered


def _looped(one: Joined) -> bool:
    """A loopback interface of some systems gives every packet its destination's address as source."""
    captured = one.captured
    return captured.protocol is Protocol.GTPV2 and captured.source.address == captured.destination.address


def _match_looped(ordered: Sequence[Joined], answered: dict[int, int]) -> None:
    """GTPv2-C without sources: by sequence and by the F-TEID that the request offered, else the youngest exchange."""
    waiting: dict[str, list[int]] = {}
    for position, one in enumerate(ordered):
        if not _looped(one) or position in answered:
            continue
        transaction = one.decoded.summary.transaction
        if one.decoded.summary.kind is Kind.REQUEST:
            waiting.setdefault(transaction, []).append(position)
            continue
        candidates = [c for c in waiting.get(transaction, ()) if _in_time(ordered[c], one)]
        header = next((i.value for i in one.decoded.summary.identifiers if i.kind is IdKind.HEADER_TEID), "")
        offered = Identifier(IdKind.TEID, f"{one.captured.destination.address}/{header}")
        exact = [c for c in candidates if offered in ordered[c].decoded.summary.identifiers]
        if candidates:
            answered[position] = (exact or candidates)[-1]
            waiting[transaction].remove(answered[position])


def _in_time(request: Joined, answer: Joined) -> bool:
    if request.captured.protocol in (Protocol.SIP, Protocol.DIAMETER):
        return True  # their identifiers do not come again; a phone may ring for minutes
    shared = request.sightings.keys() & answer.sightings.keys()
    return all(answer.sightings[agent].at_ns - request.sightings[agent].at_ns <= _EXCHANGE_NS for agent in shared)
