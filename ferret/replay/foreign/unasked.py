"""Answers to legal requests of a foreign NF that the recording does not have.

A stand-in is no NF: it says yes, briefly, so that the target goes on. Where a bare yes would tell the target something
that it must then act on (a session, a bearer, subscription data), the stand-in says that it does not know the context.
"""

from __future__ import annotations

from typing import Final

from ferret.protocols import diameter, gtpv2, sip
from ferret.protocols.diameter import Application, Command, ResultCode, avp
from ferret.protocols.gtpv2 import Cause, CauseIe, MessageType
from ferret.protocols.sip.transactions import respond
from ferret.replay.foreign.identifiers import DiameterName

_CREATING: Final = frozenset({MessageType.CREATE_SESSION_REQUEST, MessageType.CREATE_BEARER_REQUEST})
_DATA: Final = frozenset(
    {
        Command.UPDATE_LOCATION,
        Command.AUTHENTICATION_INFORMATION,
        Command.MULTIMEDIA_AUTH,
        Command.SERVER_ASSIGNMENT,
        Command.USER_AUTHORIZATION,
        Command.LOCATION_INFO,
    }
)
_UNABLE_TO_COMPLY: Final = 5012  # RFC 6733 clause 7.1.5
_SIP_YES: Final = frozenset({"OPTIONS", "NOTIFY", "MESSAGE", "PUBLISH", "INFO", "BYE", "CANCEL", "UPDATE", "PRACK"})
_UNKNOWN_DIALOG: Final = 481
_UNAVAILABLE: Final = 480


def gtpv2_answer(asked: gtpv2.Message, teid: int) -> gtpv2.Message:
    """The answer to an unforeseen GTPv2-C request. `teid`: the target's for this session, 0 if not known."""
    cause = Cause.CONTEXT_NOT_FOUND if asked.type in _CREATING else Cause.REQUEST_ACCEPTED
    return gtpv2.answer(asked, teid, CauseIe(int(cause)))


def diameter_answer(asked: diameter.Message, name: DiameterName) -> diameter.Message:
    """The answer to an unforeseen Diameter request."""
    result = _UNABLE_TO_COMPLY if asked.command in _DATA else ResultCode.SUCCESS
    parts = [avp.RESULT_CODE(result), avp.ORIGIN_HOST(name.host), avp.ORIGIN_REALM(name.realm)]
    parts += _of_credit_control(asked)
    return diameter.answer(asked, *parts)


def _of_credit_control(asked: diameter.Message) -> list[diameter.Avp]:
    """What a CCA repeats of its CCR (RFC 8506 clause 3.2)."""
    if asked.command != Command.CREDIT_CONTROL:
        return []
    application = asked.value_of(avp.AUTH_APPLICATION_ID) or Application.GX
    parts = [avp.AUTH_APPLICATION_ID(application)]
    for definition in (avp.CC_REQUEST_TYPE, avp.CC_REQUEST_NUMBER):
        found = asked.find(definition)
        parts += [found] if found is not None else []
    return parts


def sip_answer(asked: sip.Message, tag: str) -> sip.Message | None:
    """The final answer to an unforeseen SIP request; None: nothing answers it (ACK)."""
    if asked.method == "ACK":
        return None
    if asked.method in _SIP_YES:
        return respond(asked, 200, "OK", to_tag=tag)
    if asked.method == "SUBSCRIBE":
        headers = (("Expires", asked.first("Expires") or "3600"), ("Contact", asked.first("Contact")))
        return respond(asked, 200, "OK", to_tag=tag, headers=headers)
    if sip.parse_name_addr(asked.first("To")).param("tag"):
        return respond(asked, _UNKNOWN_DIALOG, "Call/Transaction Does Not Exist", to_tag=tag)
    return respond(asked, _UNAVAILABLE, "Temporarily Unavailable", to_tag=tag)
