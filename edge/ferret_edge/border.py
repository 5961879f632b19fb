"""The border of the edge: transactions with NFs that are not there.

A request that an edge NF sends across the border is caught; its answer comes as a stimulus with the identifiers that
the request went out with. A request that comes in as a stimulus is answered into the same net. This keeps the two
sides' transaction identifiers together, as the protocol engines do for NFs that are there.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from itertools import count
from typing import TypeVar

from ferret.errors import PeerViolationError
from ferret.protocols import diameter, gtpv2
from ferret.records.message import Interface
from ferret_core.nf import Message, Peer, Received, Send

Key = TypeVar("Key")
Value = TypeVar("Value")

OPEN_LIMIT = 4096
"""Transactions that may be open across the border at once; the oldest is given up for one more."""


class Border:
    """Transactions across the border, for GTPv2-C and Diameter. SIP and S1AP carry their own identifiers."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._tokens: OrderedDict[tuple[Interface, int], int] = OrderedDict()
        self._requests: OrderedDict[int, gtpv2.Message | diameter.Message] = OrderedDict()

    def caught(self, output: Send) -> Message:
        """The message as it would have left: with its transaction identifiers filled in."""
        message = output.message
        if not isinstance(message, (gtpv2.Message, diameter.Message)):
            return message
        if output.reply_to:
            return _answer_to(self._requests.pop(output.reply_to, None), message)
        number = next(self._numbers)
        if isinstance(message, gtpv2.Message):
            filled: gtpv2.Message | diameter.Message = replace(message, sequence=number)
        else:
            filled = replace(message, hop_by_hop=number, end_to_end=number)
        _remember(self._tokens, (output.interface, number), output.token)
        return filled

    def arrived(self, interface: Interface, peer: Peer, message: Message, is_answer: bool) -> Received:
        """A stimulus as the NF is to see it. Raises PeerViolationError for an answer that nothing asked for."""
        if not isinstance(message, (gtpv2.Message, diameter.Message)):
            return Received(interface, peer, message)
        number = message.sequence if isinstance(message, gtpv2.Message) else message.hop_by_hop
        if is_answer:
            token = self._tokens.pop((interface, number), None)
            if token is None:
                raise PeerViolationError(f"an answer on {interface} to no request of this NF ({number:#x})")
            return Received(interface, peer, message, token)
        # Negative, so that no handle of a protocol engine is ever mistaken for one of the border's.
        handle = -next(self._numbers)
        _remember(self._requests, handle, message)
        return Received(interface, peer, message, handle)


def _answer_to(
    request: gtpv2.Message | diameter.Message | None, answer: gtpv2.Message | diameter.Message
) -> gtpv2.Message | diameter.Message:
    if isinstance(request, gtpv2.Message) and isinstance(answer, gtpv2.Message):
        return replace(answer, sequence=request.sequence)
    if isinstance(request, diameter.Message) and isinstance(answer, diameter.Message):
        return replace(answer, hop_by_hop=request.hop_by_hop, end_to_end=request.end_to_end)
    return answer


def _remember(table: OrderedDict[Key, Value], key: Key, value: Value) -> None:
    table[key] = value
    if len(table) > OPEN_LIMIT:
        table.popitem(last=False)
