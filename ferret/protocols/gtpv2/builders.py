"""Short forms with which NF code reads like the specification's tables."""

from __future__ import annotations

from collections.abc import Iterable

from ferret.protocols.gtpv2.codec import Ie, Message, View
from ferret.protocols.gtpv2.constants import IeType, MessageType
from ferret.protocols.gtpv2.names import ANSWERED_BY
from ferret.protocols.gtpv2.single_values import Ebi
from ferret.protocols.gtpv2.views import CauseIe

Part = Ie | View | None
"""What messages are built from: an IE, a view (instance 0), or None for an IE that is left out."""


def ies(parts: Iterable[Part]) -> tuple[Ie, ...]:
    """The IEs of these parts, in order."""
    return tuple(part if isinstance(part, Ie) else part.ie() for part in parts if part is not None)


def request(message_type: MessageType, teid: int, *parts: Part) -> Message:
    """A message for the tunnel `teid`. Whoever sends it fills in the sequence number."""
    return Message(int(message_type), teid, 0, ies(parts))


def answer(to: Message, teid: int, *parts: Part) -> Message:
    """The answer to a request: the type that answers it, under the request's sequence number."""
    return Message(ANSWERED_BY[to.type], teid, to.sequence, ies(parts))


def refusal(to: Message, teid: int, cause: int, *, offending: int = 0, instance: int = 0) -> Message:
    """The answer to a request that carries nothing but a Cause."""
    return answer(to, teid, CauseIe(int(cause), offending=offending, offending_instance=instance))


def bearer_context(*parts: Part, ebi: int | None = None, instance: int = 0) -> Ie:
    """A Bearer Context; `ebi` goes first where it is given."""
    head = () if ebi is None else (Ebi(ebi).ie(),)
    return Ie(int(IeType.BEARER_CONTEXT), instance, head + ies(parts))


def accepted(message: Message | Ie) -> bool:
    """Whether a message or Bearer Context has a Cause that accepts. Raises DecodeError where it is malformed."""
    cause = message.view(CauseIe)
    return cause is not None and cause.accepted


def cause_of(message: Message | Ie) -> int:
    """The Cause value of a message or Bearer Context; 0 where it has none. Raises DecodeError where it is malformed."""
    cause = message.view(CauseIe)
    return 0 if cause is None else cause.value


def ebi_of(context: Ie | Message, instance: int = 0) -> int:
    """The EPS bearer identity of a message or Bearer Context; 0 where it has none. Raises DecodeError."""
    ebi = context.view(Ebi, instance)
    return 0 if ebi is None else ebi.value
