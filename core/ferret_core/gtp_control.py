"""What SGW and PGW have in common as GTP-C entities: tunnels, TEIDs, reading requests, refusing them.

Clauses are those of 3GPP TS 29.274.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random
from typing import NamedTuple, TypeVar

from ferret.errors import DecodeError, PeerViolationError
from ferret.protocols import gtpv2
from ferret.protocols.gtpv2 import Cause, FTeid, Ie, IeType, Message, Part, View
from ferret.protocols.gtpv2.names import COMMANDS
from ferret_core.nf import Received, Send

ViewT = TypeVar("ViewT", bound=View)


class RefusedError(Exception):
    """This request is refused with this Cause; never leaves the NF."""

    def __init__(self, cause: Cause, offending: int = 0, instance: int = 0) -> None:
        super().__init__(cause.name)
        self.cause = cause
        self.offending = offending
        self.instance = instance


class Tunnel(NamedTuple):
    """One end of a GTP tunnel: where to send, and under which TEID."""

    address: str
    teid: int

    @classmethod
    def of(cls, f_teid: FTeid) -> Tunnel:
        """The end that an F-TEID names. Raises RefusedError where it has no address."""
        if not f_teid.address:
            raise RefusedError(Cause.MANDATORY_IE_INCORRECT, IeType.F_TEID)
        return cls(f_teid.address, f_teid.teid)


class TeidPool:
    """Draws TEIDs that are in use nowhere in this NF. TEID 0 is for messages without a context (clause 5.5.2)."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._taken: set[int] = set()

    def take(self) -> int:
        """A new TEID."""
        while (teid := self._random.randrange(1, 1 << 32)) in self._taken:
            continue
        self._taken.add(teid)
        return teid

    def release(self, teid: int) -> None:
        """This TEID may be used again."""
        self._taken.discard(teid)


def optional(source: Message | Ie, kind: type[ViewT], instance: int = 0) -> ViewT | None:
    """An IE, None where it is absent or malformed: what nothing depends on is passed over (clause 7.7.9)."""
    try:
        return source.view(kind, instance)
    except DecodeError:
        return None


def required(
    source: Message | Ie, kind: type[ViewT], instance: int = 0, *, missing: Cause = Cause.MANDATORY_IE_MISSING
) -> ViewT:
    """An IE of a request. Raises RefusedError where it is absent (clause 7.7.5) or malformed (clause 7.7.6)."""
    try:
        view = source.view(kind, instance)
    except DecodeError as error:
        raise RefusedError(Cause.MANDATORY_IE_INCORRECT, kind.ie_type, instance) from error
    if view is None:
        raise RefusedError(missing, kind.ie_type, instance)
    return view


def f_teid_of(source: Message | Ie, *interface_types: int) -> FTeid | None:
    """The first F-TEID of one of these interface types, whatever its instance. Raises RefusedError.

    Instances have moved between releases and some peers use another than the tables give; the interface type says what
    the tunnel is.
    """
    for ie in source.all(IeType.F_TEID):
        try:
            found = FTeid.decode(ie.octets)
        except DecodeError as error:
            raise RefusedError(Cause.MANDATORY_IE_INCORRECT, IeType.F_TEID, ie.instance) from error
        if found.interface_type in interface_types:
            return found
    return None


def bearer_contexts(message: Message) -> tuple[Ie, ...]:
    """The Bearer Contexts of a request. Raises RefusedError where there is none."""
    contexts = message.bearer_contexts
    if not contexts:
        raise RefusedError(Cause.MANDATORY_IE_MISSING, IeType.BEARER_CONTEXT)
    return contexts


def sender_teid(message: Message) -> int:
    """The TEID that a refusal goes to: that of the request's Sender F-TEID where readable, else 0 (clause 5.5.2)."""
    sender = optional(message, FTeid)
    return 0 if sender is None else sender.teid


Replacement = Mapping[tuple[int, int], tuple[Ie, ...]]


def rewritten(ies: Iterable[Ie], replacement: Replacement) -> tuple[Ie, ...]:
    """The IEs, those named by type and instance replaced by others, or by none."""
    result: list[Ie] = []
    for ie in ies:
        result += replacement.get((ie.type, ie.instance), (ie,))
    return tuple(result)


def inserted_after(ies: tuple[Ie, ...], ie_type: int, *new: Ie) -> tuple[Ie, ...]:
    """The IEs with `new` after the first of this type; at the front where there is none."""
    place = next((at for at, ie in enumerate(ies, 1) if ie.type == ie_type), 0)
    return ies[:place] + new + ies[place:]


def cause_of(source: Message | Ie) -> gtpv2.CauseIe | None:
    """The Cause of an answer, None where it is absent or malformed."""
    return optional(source, gtpv2.CauseIe)


def reply(event: Received, answer: Message) -> Send:
    """The answer to a request, back to where it came from."""
    return Send(event.interface, event.peer, answer, reply_to=event.transaction)


def answer_to(event: Received, teid: int, *parts: Part) -> Send:
    """An answer of these IEs to a request."""
    return reply(event, gtpv2.answer(request_of(event), teid, *parts))


def unsupported(message: Message, teid: int) -> Message:
    """The refusal of a request that an NF does not execute (clause 7.7.4).

    Of a command, the Failure Indication also says which bearer and which transaction of the UE (clause 7.2.6).
    """
    named = (message.find(IeType.EBI), message.find(IeType.PTI)) if message.type in COMMANDS else ()
    return gtpv2.answer(message, teid, gtpv2.CauseIe(Cause.SERVICE_NOT_SUPPORTED), *named)


def request_of(event: Received) -> Message:
    """The GTPv2-C message of an event. Raises PeerViolationError where it is none."""
    if not isinstance(event.message, Message):
        raise PeerViolationError(f"not a GTPv2-C message on {event.interface}")
    return event.message
