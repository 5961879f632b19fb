"""Re-Auth: the PCRF installs, changes and removes rules while a PDN connection lives (TS 29.212 clause 4.5.2.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ferret.protocols import diameter
from ferret.protocols.diameter import avp
from ferret_core.nf import Output, Received, Send
from ferret_core.pgw import dedicated_bearer, delete_session, gx, rules
from ferret_core.pgw.context import SessionState

if TYPE_CHECKING:
    from ferret_core.pgw.nf import Pgw

_SUCCESS = 2001  # RFC 6733 clause 7.1.2
_UNKNOWN_SESSION_ID = 5002  # RFC 6733 clause 7.1.5


def requested(pgw: Pgw, event: Received, message: diameter.Message, now: float) -> list[Output]:
    """Answer at once, then do what the rules ask for. Raises DecodeError where they cannot be read."""
    session = pgw.session_of_gx(message.value_of(avp.SESSION_ID) or "")
    if session is None or session.state is not SessionState.ACTIVE:
        return [_answer(pgw, event, message, _UNKNOWN_SESSION_ID)]
    ambr, qos = gx.authorised_ambr(message, pgw.configuration.kilobit), gx.authorised_qos(message)
    gone = rules.removed(message)
    wanted = rules.installed(message)
    ends = message.find(avp.SESSION_RELEASE_CAUSE) is not None
    out: list[Output] = [_answer(pgw, event, message, _SUCCESS)]
    if ends:
        return [*out, *delete_session.deactivate(pgw, session)]
    out += dedicated_bearer.change_default(pgw, session, ambr, qos)
    out += dedicated_bearer.remove(pgw, session, gone)
    out += dedicated_bearer.install(pgw, session, wanted)
    return out


def _answer(pgw: Pgw, event: Received, asked: diameter.Message, result: int) -> Send:
    return Send(event.interface, event.peer, gx.re_auth_answer(pgw, asked, result), reply_to=event.transaction)
