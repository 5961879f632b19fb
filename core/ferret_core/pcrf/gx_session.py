"""Gx: IP-CAN sessions are opened, changed and closed by the PCEF (TS 29.212 clauses 4.5.1 to 4.5.7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum

from ferret.protocols.diameter import Message, ResultCode, avp
from ferret.protocols.diameter.constants import CcRequestType
from ferret.records.message import Interface
from ferret_core.nf import Failed, Note, Output, Received, Send
from ferret_core.pcrf.messages import gx_answer, rx_abort, rx_notification
from ferret_core.pcrf.session import GxSession, PcrfState, RxSession, RxState, Waiting


class SpecificAction(IntEnum):
    """Specific-Action (TS 29.214 clause 5.3.13): what an AF may want to be told."""

    LOSS_OF_BEARER = 2
    RELEASE_OF_BEARER = 4
    FAILED_RESOURCES_ALLOCATION = 9


_INACTIVE = 1  # PCC-Rule-Status (TS 29.212 clause 5.3.19)


def establish(state: PcrfState, event: Received, asked: Message) -> list[Output]:
    """CCR-Initial: a PDN connection is set up."""
    session_id = asked.value_of(avp.SESSION_ID)
    host, realm = asked.value_of(avp.ORIGIN_HOST), asked.value_of(avp.ORIGIN_REALM)
    if not session_id or not host or not realm:
        return [_reply(event, gx_answer(state, asked, None, ResultCode.MISSING_AVP))]
    outputs = _forget_before_restart(state, host, asked.value_of(avp.ORIGIN_STATE_ID) or 0)
    session = state.gx.get(session_id)  # there already: the CCR is a repetition (RFC 8506 clause 5.5)
    if session is None:
        session = GxSession(session_id, event.peer, host, realm)
    session.learn(asked)
    state.gx[session_id] = session
    outputs += _forget_others_with_its_address(state, session)
    return [*outputs, _reply(event, gx_answer(state, asked, session, ResultCode.SUCCESS))]


def _forget_before_restart(state: PcrfState, host: str, origin_state_id: int) -> list[Output]:
    """A larger Origin-State-Id: the PCEF has lost its sessions of before (RFC 6733 clause 8.16)."""
    known = state.origin_states.get(host, 0)
    if origin_state_id <= known:
        return []
    state.origin_states[host] = origin_state_id
    lost = [one.session_id for one in state.gx.values() if one.host == host] if known else []
    return [output for one in lost for output in _forget(state, one, "the PCEF has restarted")]


def _forget_others_with_its_address(state: PcrfState, session: GxSession) -> list[Output]:
    """A PCEF that gives an address anew has the session that had it no more: its end did not reach us."""
    lost = [
        one.session_id
        for one in state.gx.values()
        if one is not session
        and (one.host, one.apn) == (session.host, session.apn)
        and set(one.addresses) & set(session.addresses)
    ]
    return [output for one in lost for output in _forget(state, one, "its address is another's")]


def _forget(state: PcrfState, session_id: str, reason: str) -> list[Output]:
    del state.gx[session_id]
    return [Note("gx_session_lost", {"session": session_id, "reason": reason}), *_abort_af_sessions(state, session_id)]


def modify(state: PcrfState, event: Received, asked: Message) -> list[Output]:
    """CCR-Update: something has changed at the PCEF, or rules have been lost there."""
    session = state.gx.get(asked.value_of(avp.SESSION_ID) or "")
    if session is None:
        return [_reply(event, gx_answer(state, asked, None, ResultCode.UNKNOWN_SESSION_ID))]
    session.learn(asked)
    answered = _reply(event, gx_answer(state, asked, session, ResultCode.SUCCESS))
    return [answered, *_report_lost(state, session, _lost_rules(asked), SpecificAction.RELEASE_OF_BEARER)]


def terminate(state: PcrfState, event: Received, asked: Message) -> list[Output]:
    """CCR-Termination: the PDN connection is gone, and with it what AF sessions had there."""
    session = state.gx.pop(asked.value_of(avp.SESSION_ID) or "", None)
    if session is None:
        return [_reply(event, gx_answer(state, asked, None, ResultCode.UNKNOWN_SESSION_ID))]
    aborts = _abort_af_sessions(state, session.session_id)
    return [*aborts, _reply(event, gx_answer(state, asked, session, ResultCode.SUCCESS))]


def refuse(state: PcrfState, event: Received, asked: Message) -> list[Output]:
    """A CCR of a type that Gx does not have."""
    return [_reply(event, gx_answer(state, asked, None, ResultCode.INVALID_AVP_VALUE))]


def reauth_answered(state: PcrfState, waiting: Waiting, message: Message) -> list[Output]:
    """RAA: the PCEF has taken the rules, or some of them, or does not know the session."""
    outputs: list[Output] = _answer_af(waiting)
    session = state.gx.get(waiting.gx_session_id)
    if session is None:
        return outputs
    if message.value_of(avp.RESULT_CODE) == ResultCode.UNKNOWN_SESSION_ID:
        del state.gx[session.session_id]
        return [*outputs, *_abort_af_sessions(state, session.session_id)]
    lost = _lost_rules(message)
    return [*outputs, *_report_lost(state, session, lost, SpecificAction.FAILED_RESOURCES_ALLOCATION)]


def reauth_failed(state: PcrfState, waiting: Waiting, event: Failed) -> list[Output]:
    """No RAA: what the PCEF holds is not known; the AF session goes on (TS 29.214 clause 4.4.1)."""
    fields = {"session": waiting.gx_session_id, "reason": event.reason}
    return [Note("gx_reauth_failed", fields), *_answer_af(waiting)]


def _reply(event: Received, message: Message) -> Send:
    return Send(event.interface, event.peer, message, reply_to=event.transaction)


def _answer_af(waiting: Waiting) -> list[Output]:
    if waiting.answer is None or waiting.peer is None:
        return []
    return [Send(Interface.RX, waiting.peer, waiting.answer, reply_to=waiting.reply_to)]


def _lost_rules(message: Message) -> list[str]:
    """Rules that a Charging-Rule-Report says are not in force."""
    reports = message.all(avp.CHARGING_RULE_REPORT)
    lost = [one for one in reports if one.value_of(avp.PCC_RULE_STATUS) == _INACTIVE]
    return [name for one in lost for name in one.values_of(avp.CHARGING_RULE_NAME)]


def _report_lost(state: PcrfState, session: GxSession, names: list[str], action: SpecificAction) -> list[Output]:
    """Forget rules that are not in force, and tell those AFs that want to know."""
    outputs: list[Output] = []
    for name in names:
        session.rules.pop(name, None)
    for af in _af_sessions(state, session.session_id):
        hit = [number for number, component in af.components.items() if component.rule_name in names]
        for number in hit:
            del af.components[number]
        wanted = af.specific_actions & {action, SpecificAction.LOSS_OF_BEARER}
        if hit and wanted:
            told = action if action in wanted else SpecificAction.LOSS_OF_BEARER
            outputs.append(_ask_af(state, af, rx_notification(state, af, told, hit)))
    return outputs


def _abort_af_sessions(state: PcrfState, session_id: str) -> list[Output]:
    outputs: list[Output] = []
    for af in _af_sessions(state, session_id):
        af.state = RxState.ABORTED
        outputs.append(_ask_af(state, af, rx_abort(state, af)))
    return outputs


def _ask_af(state: PcrfState, af: RxSession, message: Message) -> Send:
    token = state.token(Waiting(rx_session_id=af.session_id))
    return Send(Interface.RX, af.peer, message, token=token)


def _af_sessions(state: PcrfState, session_id: str) -> list[RxSession]:
    return [one for one in state.rx.values() if one.gx_session_id == session_id and one.state is RxState.OPEN]


CREDIT_CONTROL: Mapping[int, Callable[[PcrfState, Received, Message], list[Output]]] = {
    CcRequestType.INITIAL: establish,
    CcRequestType.UPDATE: modify,
    CcRequestType.TERMINATION: terminate,
}
