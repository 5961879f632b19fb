"""Registrations in which the registrar challenged again although it had been answered.

Some registrars do so now and then with a right answer (the vector had just expired, or another process held it). No NF
can be made to do the same at the same moment, so the replay begins with the challenge that was gone on with: the round
before it is left out, and the answer to it, which the edge's registrar cannot know, gets the recorded second challenge.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from ferret.protocols.summary import Protocol
from ferret.records.message import Interface, SignallingMessage

_CHALLENGED = "401 (REGISTER)"
_OF_THE_VECTOR = frozenset({"MAR", "MAA"})


def superseded_challenges(messages: Sequence[SignallingMessage]) -> frozenset[int]:
    """Indexes of the messages of every challenge that another one of the same registration followed at once."""
    rounds: dict[tuple[str, str], list[SignallingMessage]] = {}
    for message in messages:
        if message.protocol is Protocol.SIP and message.name.endswith(("REGISTER", "(REGISTER)")):
            call_id, number, *_ = message.transaction.split()
            rounds.setdefault((call_id, number), []).append(message)
    found: set[int] = set()
    ordered = list(rounds.items())
    for ((call_id, _), one), ((next_call_id, _), following) in pairwise(ordered):
        if call_id == next_call_id and _was_challenged(one) and _was_challenged(following):
            found.update(message.index for message in one)
            found.update(_vectors_between(messages, one[0].index, one[-1].index))
    return frozenset(found)


def _was_challenged(one: Iterable[SignallingMessage]) -> bool:
    return any(message.name == _CHALLENGED for message in one)


def _vectors_between(messages: Iterable[SignallingMessage], first: int, last: int) -> Iterable[int]:
    """What the registrar asked the HSS for that challenge."""
    return (
        message.index
        for message in messages
        if message.interface is Interface.CX and message.name in _OF_THE_VECTOR and first < message.index < last
    )
