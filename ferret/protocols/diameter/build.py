"""Requests and answers in the order that RFC 6733 clauses 6.1 and 6.2 give them."""

from __future__ import annotations

from ferret.protocols.diameter import avp
from ferret.protocols.diameter.constants import MessageFlag
from ferret.protocols.diameter.dictionary import PEER_COMMANDS
from ferret.protocols.diameter.tree import Avp, Message


def request(command: int, application: int, *avps: Avp | None) -> Message:
    """A request with these AVPs in order (None is left out). The peer's endpoint fills the identifiers in.

    Proxiable, unless it is a command between neighbours (RFC 6733 clause 5).
    """
    proxiable = 0 if command in PEER_COMMANDS else MessageFlag.PROXIABLE
    present = tuple([one for one in avps if one is not None])
    return Message(command, application, MessageFlag.REQUEST | proxiable, avps=present)


def answer(asked: Message, *avps: Avp | None, error: bool = False) -> Message:
    """The answer to `asked` with these AVPs in order (None is left out).

    Carries the request's Session-Id first and its Proxy-Info last, as RFC 6733 clause 6.2 asks, and its
    identifiers. `error` sets the E bit (clause 7.2: Result-Code 3xxx).
    """
    session = asked.find(avp.SESSION_ID)
    present = [one for one in (session, *avps) if one is not None]
    flags = asked.flags & MessageFlag.PROXIABLE | (MessageFlag.ERROR if error else 0)
    return Message(
        asked.command,
        asked.application,
        flags,
        asked.hop_by_hop,
        asked.end_to_end,
        (*present, *asked.all(avp.PROXY_INFO)),
    )
