"""Rx: an AF asks for resources for its media, changes its mind, and ends (TS 29.214 clauses 4.4.1 to 4.4.4)."""

from __future__ import annotations

from ferret.errors import DecodeError
from ferret.protocols.diameter import Avp, Message, ResultCode, avp
from ferret.protocols.diameter.constants import FlowStatus, RxResult
from ferret.records.message import Interface
from ferret_core.nf import Failed, Note, Output, Received, Send
from ferret_core.pcrf.authorisation import GBR_QCIS, flow_status_of, flows_of, qci_of, rates_of
from ferret_core.pcrf.binding import bind
from ferret_core.pcrf.messages import gx_reauth, rx_answer, rx_refusal
from ferret_core.pcrf.policy import Facts
from ferret_core.pcrf.rule import BitRates, Rule, install, remove
from ferret_core.pcrf.session import Component, GxSession, PcrfState, RxSession, RxState, Waiting

_FALLBACK_RATES = BitRates(64_000, 64_000, 64_000, 64_000)  # a GBR rule must have some (TS 29.212 clause 4.5.5.3)


def authorise(state: PcrfState, event: Received, asked: Message) -> list[Output]:
    """AAR: a new AF session, or an open one that changes."""
    session_id = asked.value_of(avp.SESSION_ID)
    host, realm = asked.value_of(avp.ORIGIN_HOST), asked.value_of(avp.ORIGIN_REALM)
    if not session_id or not host or not realm:
        return [_reply(event, rx_answer(state, asked, None, ResultCode.MISSING_AVP))]
    af = state.rx.get(session_id)
    session = bind(asked, state.gx.values()) if af is None else state.gx.get(af.gx_session_id)
    if session is None:
        return [_reply(event, rx_refusal(state, asked, RxResult.IP_CAN_SESSION_NOT_AVAILABLE))]
    if af is None:
        af = RxSession(session_id, event.peer, host, realm, session.session_id)
    try:
        names = _Names(state, session)
        changed, removed = _decide(state, session, af, asked, names)
    except DecodeError:
        return [_reply(event, rx_refusal(state, asked, RxResult.FILTER_RESTRICTIONS))]
    except _RefusedError:
        return [_reply(event, rx_refusal(state, asked, RxResult.REQUESTED_SERVICE_NOT_AUTHORIZED))]
    af.specific_actions |= set(asked.values_of(avp.SPECIFIC_ACTION))
    state.rx[session_id] = af
    names.take()
    said = rx_answer(state, asked, session, ResultCode.SUCCESS)
    if not changed and not removed:
        return [_reply(event, said)]
    avps = _apply(session, af, changed, removed)
    waiting = Waiting(gx_session_id=session.session_id)
    if state.wait_for_raa:
        waiting.answer, waiting.peer, waiting.reply_to = said, event.peer, event.transaction
    reauth = Send(Interface.GX, session.peer, gx_reauth(state, session, *avps), token=state.token(waiting))
    return [reauth] if state.wait_for_raa else [reauth, _reply(event, said)]


def terminate(state: PcrfState, event: Received, asked: Message) -> list[Output]:
    """STR: the AF session ends; its rules go."""
    af = state.rx.pop(asked.value_of(avp.SESSION_ID) or "", None)
    if af is None:
        return [_reply(event, rx_answer(state, asked, None, ResultCode.UNKNOWN_SESSION_ID))]
    session = state.gx.get(af.gx_session_id)
    said = _reply(event, rx_answer(state, asked, session, ResultCode.SUCCESS))
    if session is None or af.state is RxState.ABORTED:
        return [said]
    names = [one.rule_name for one in af.components.values() if session.rules.pop(one.rule_name, None) is not None]
    if not names:
        return [said]
    token = state.token(Waiting(gx_session_id=session.session_id))
    return [Send(Interface.GX, session.peer, gx_reauth(state, session, remove(names)), token=token), said]


def notified(state: PcrfState, waiting: Waiting, message: Message) -> list[Output]:
    """ASA or RAA of the AF. One that does not know its session any more will send no STR."""
    if message.value_of(avp.RESULT_CODE) == ResultCode.UNKNOWN_SESSION_ID:
        state.rx.pop(waiting.rx_session_id, None)
    return []


def notification_failed(state: PcrfState, waiting: Waiting, event: Failed) -> list[Output]:
    """The AF does not answer: an aborted session is forgotten, any other goes on."""
    af = state.rx.get(waiting.rx_session_id)
    if af is not None and af.state is RxState.ABORTED:
        del state.rx[waiting.rx_session_id]
    return [Note("rx_request_failed", {"session": waiting.rx_session_id, "reason": event.reason})]


def _reply(event: Received, message: Message) -> Send:
    return Send(event.interface, event.peer, message, reply_to=event.transaction)


class _RefusedError(Exception):
    """Policy does not allow this media. Never leaves this module."""


class _Names:
    """Names for the new rules of one AAR; counted only once the AAR is accepted."""

    def __init__(self, state: PcrfState, session: GxSession) -> None:
        self._counter = state.rules_named
        self._policy = state.policy
        self._session = session
        self._new: list[tuple[str, int]] = []

    def next(self, facts: Facts, number: int, filters: set[str]) -> str:
        key = (self._session.imsi or self._session.session_id, number)
        count = self._counter[key] + self._new.count(key)
        self._new.append(key)
        foreseen = self._policy.rule_name(facts, filters, count)
        return foreseen or f"{self._session.apn or 'rx'}-{number}-{count + 1}"

    def take(self) -> None:
        self._counter.update(self._new)


def _decide(
    state: PcrfState, session: GxSession, af: RxSession, asked: Message, names: _Names
) -> tuple[dict[int, tuple[Rule, int]], list[int]]:
    """The rules that this AAR asks for, with the revision of each, and the media components whose rules go.

    Changes nothing. Raises DecodeError, or _RefusedError where policy does not allow the media.
    """
    changed: dict[int, tuple[Rule, int]] = {}
    removed: list[int] = []
    for description in asked.all(avp.MEDIA_COMPONENT_DESCRIPTION):
        number = description.value_of(avp.MEDIA_COMPONENT_NUMBER)
        if number is None:
            raise DecodeError("a Media-Component-Description without number")
        media_type = description.value_of(avp.MEDIA_TYPE)
        facts = {**session.facts, "media_component": number, "media_type": media_type}
        known = af.components.get(number)
        if state.policy.refuses(facts):
            raise _RefusedError
        if flow_status_of(description) == FlowStatus.REMOVED:
            removed += [number] if known is not None else []
        elif state.policy.authorises(facts):
            revision = 0 if known is None else known.revision + 1
            filters = {flow.description for flow in flows_of(description)}
            name = names.next(facts, number, filters) if known is None else known.rule_name
            changed[number] = (_rule(state, session, description, facts, name, revision), revision)
    return changed, removed


def _rule(state: PcrfState, session: GxSession, description: Avp, facts: Facts, name: str, revision: int) -> Rule:
    """The rule for one media component (TS 29.213 clause 6.3). Raises DecodeError."""
    policy = state.policy
    qci = policy.number("qci", facts) or qci_of(description)
    guaranteed = policy.guaranteed(facts)
    if guaranteed is None:
        guaranteed = qci in GBR_QCIS
    installed = session.rules.get(name)
    status = policy.number("flow_status", facts)
    flows = flows_of(description, reverse_uplink=policy.reverses_uplink(facts))
    return Rule(
        name=name,
        flows=flows or (installed.flows if installed is not None else ()),
        qci=qci,
        arp=policy.arp(facts),
        rates=policy.rates(facts, revision)
        or rates_of(description, policy.counting(facts), guaranteed=guaranteed)
        or policy.default_rates(facts)
        or (installed.rates if installed is not None else None)
        or (_FALLBACK_RATES if guaranteed else None),
        flow_status=flow_status_of(description) if status is None else status,
        precedence=policy.number("precedence", facts) or 1,
    )


def _apply(
    session: GxSession, af: RxSession, changed: dict[int, tuple[Rule, int]], removed: list[int]
) -> list[Avp | None]:
    """Keep the decision, and put it into AVPs."""
    gone = [af.components.pop(number).rule_name for number in removed]
    for name in gone:
        session.rules.pop(name, None)
    pairs = [(rule, session.rules.get(rule.name)) for rule, _ in changed.values()]
    for number, (rule, revision) in changed.items():
        af.components[number] = Component(rule.name, revision)
        session.rules[rule.name] = rule
    return [remove(gone), *install(pairs)]
