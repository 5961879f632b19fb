"""The messages that a PCRF makes (TS 29.212 clause 5.6, TS 29.214 clause 5.6)."""

from __future__ import annotations

from collections.abc import Mapping

from ferret.protocols.diameter import Application, Avp, Command, Message, ResultCode, answer, avp, by_name, request
from ferret.protocols.diameter.constants import VENDOR_3GPP
from ferret.protocols.diameter.summary import name_of_message
from ferret_core.pcrf.policy import Facts
from ferret_core.pcrf.session import GxSession, PcrfState, RxSession

_AUTHORIZE_ONLY = 0  # Re-Auth-Request-Type (RFC 6733 clause 8.12)
_BEARER_RELEASED = 0  # Abort-Cause (TS 29.214 clause 5.3.1)


def _named(names: tuple[str, ...], avps: Mapping[tuple[int, int], Avp] | Message) -> list[Avp]:
    """The AVPs of these names, of a message or by code and vendor."""
    found: list[Avp] = []
    for name in names:
        definition = by_name(name)
        if definition is None:
            continue
        if isinstance(avps, Message):
            found += avps.all(definition)
        elif (definition.code, definition.vendor) in avps:
            found.append(avps[(definition.code, definition.vendor)])
    return found


def _answer(
    state: PcrfState, asked: Message, facts: Facts, learnt: Mapping[tuple[int, int], Avp], result: Avp
) -> Message:
    """An answer with what policy wants in it; a refusal carries nothing of the kind."""
    name = name_of_message(answer(asked, *asked.all(avp.CC_REQUEST_TYPE)))
    furnishing = state.policy.furnishing(name, facts)
    granted: list[Avp] = []
    if result == avp.RESULT_CODE(ResultCode.SUCCESS):
        granted = [*_named(furnishing.echo, asked), *_named(furnishing.session, learnt), *furnishing.fixed]
    return answer(
        asked,
        avp.AUTH_APPLICATION_ID(asked.application),
        avp.ORIGIN_HOST(state.host),
        avp.ORIGIN_REALM(state.realm),
        result,
        asked.find(avp.CC_REQUEST_TYPE),
        asked.find(avp.CC_REQUEST_NUMBER),
        *granted,
    )


def gx_answer(state: PcrfState, asked: Message, session: GxSession | None, result: int) -> Message:
    """CCA. What the CCR asks for is granted, unless policy says otherwise."""
    facts: Facts = session.facts if session is not None else {}
    return _answer(state, asked, facts, session.learnt if session is not None else {}, avp.RESULT_CODE(result))


def rx_answer(state: PcrfState, asked: Message, session: GxSession | None, result: int) -> Message:
    """AAA or STA."""
    facts: Facts = session.facts if session is not None else {}
    return _answer(state, asked, facts, session.learnt if session is not None else {}, avp.RESULT_CODE(result))


def rx_refusal(state: PcrfState, asked: Message, result: int) -> Message:
    """AAA with an Experimental-Result of Rx (TS 29.214 clause 5.5), and therefore no Result-Code."""
    experimental = avp.EXPERIMENTAL_RESULT(avp.VENDOR_ID(VENDOR_3GPP), avp.EXPERIMENTAL_RESULT_CODE(result))
    return _answer(state, asked, {}, {}, experimental)


def gx_reauth(state: PcrfState, session: GxSession, *rules: Avp | None) -> Message:
    """RAR on Gx: install, change and remove rules."""
    return request(
        Command.RE_AUTH,
        Application.GX,
        avp.SESSION_ID(session.session_id),
        avp.AUTH_APPLICATION_ID(Application.GX),
        avp.ORIGIN_HOST(state.host),
        avp.ORIGIN_REALM(state.realm),
        avp.DESTINATION_REALM(session.realm),
        avp.DESTINATION_HOST(session.host),
        avp.RE_AUTH_REQUEST_TYPE(_AUTHORIZE_ONLY),
        *rules,
    )


def _to_af(state: PcrfState, command: int, session: RxSession, *avps: Avp) -> Message:
    return request(
        command,
        Application.RX,
        avp.SESSION_ID(session.session_id),
        avp.AUTH_APPLICATION_ID(Application.RX),
        avp.ORIGIN_HOST(state.host),
        avp.ORIGIN_REALM(state.realm),
        avp.DESTINATION_REALM(session.realm),
        avp.DESTINATION_HOST(session.host),
        *avps,
    )


def rx_abort(state: PcrfState, session: RxSession) -> Message:
    """ASR: the bearers of this AF session are gone."""
    return _to_af(state, Command.ABORT_SESSION, session, avp.ABORT_CAUSE(_BEARER_RELEASED))


def rx_notification(state: PcrfState, session: RxSession, action: int, components: list[int]) -> Message:
    """RAR on Rx: something that the AF subscribed to has happened to these media components."""
    flows = [avp.FLOWS(avp.MEDIA_COMPONENT_NUMBER(number)) for number in components]
    return _to_af(state, Command.RE_AUTH, session, avp.SPECIFIC_ACTION(action), *flows)
