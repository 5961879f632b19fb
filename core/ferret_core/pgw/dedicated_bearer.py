"""Dedicated bearers for PCC rules: Create, Update and Delete Bearer (TS 23.401 clauses 5.4.1, 5.4.2.1 and 5.4.4.1).

Bearer binding is TS 23.203 clause 6.1.1.4. A rule's flows are added to a bearer's packet filters as they come; filters
go when their rule goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from ferret.errors import DecodeError
from ferret.protocols import gtpv2
from ferret.protocols.gtpv2 import Ambr, BearerQos, BearerTft, Ebi, InterfaceType, MessageType, bearer_context
from ferret.protocols.gtpv2.tft import PacketFilter, Tft, TftOperation
from ferret_core.gtp_control import RefusedError, Tunnel, f_teid_of
from ferret_core.nf import Note, Output
from ferret_core.pgw import credit_control
from ferret_core.pgw.context import Answer, Bearer, BearerState, BoundFilter, Session, Waiting
from ferret_core.pgw.rules import Flow, Rule, RuleQos, filters_of

if TYPE_CHECKING:
    from ferret_core.pgw.nf import Pgw

MAX_FILTERS = 15  # per bearer: a TFT counts them with four bits (TS 24.008 clause 10.5.6.12)
_IDENTIFIERS = 16  # of packet filters, per bearer
_PRECEDENCES = 255  # per PDN connection; 255 is reserved there
_MAX_BEARERS = 11  # per UE: EBI 5 to 15 (TS 24.007 clause 11.2.3.1.5)


def install(pgw: Pgw, session: Session, rules: Iterable[Rule]) -> list[Output]:
    """Rules are new, or changed: find or make a bearer for each."""
    out: list[Output] = []
    for rule in rules:
        bearer = session.bearer_of_rule(rule.name)
        try:
            if bearer is not None:
                out += _change(pgw, session, bearer, rule)
            else:
                out += _bind(pgw, session, rule)
        except DecodeError as error:
            out += [
                Note("rule_unusable", {"rule": rule.name, "reason": str(error)}),
                *_report(pgw, session, [rule.name]),
            ]
    return out


def remove(pgw: Pgw, session: Session, names: Iterable[str]) -> list[Output]:
    """Rules are gone; a dedicated bearer goes with its last rule."""
    out: list[Output] = []
    for name in names:
        bearer = session.bearer_of_rule(name)
        if bearer is None:
            out.append(Note("rule_unknown", {"rule": name}))
            continue
        del bearer.rules[name]
        if bearer is session.default_bearer:
            continue
        out += _delete(pgw, session, bearer) if not bearer.rules else _shrink(pgw, session, bearer, name)
    return out


def change_default(pgw: Pgw, session: Session, ambr: Ambr | None, qos: BearerQos | None) -> list[Output]:
    """The PCRF authorises another APN-AMBR or default bearer QoS: Update Bearer Request for the default bearer."""
    bearer = session.default_bearer
    old_ambr, old_qos = session.ambr, bearer.qos
    new_qos = qos is not None and qos != old_qos
    if not new_qos and (ambr is None or ambr == old_ambr):
        return []
    session.ambr, bearer.qos = ambr or old_ambr, qos or old_qos

    def undo() -> None:
        session.ambr, bearer.qos = old_ambr, old_qos

    return _update(pgw, session, bearer, None, undo, with_qos=new_qos)


def update_all(pgw: Pgw, session: Session) -> list[Output]:
    """One Update Bearer Request for every bearer of a PDN connection as it stands: the device has them, they move."""
    active = [one for one in session.bearers if one.state is BearerState.ACTIVE]
    contexts = [bearer_context(one.qos, ebi=one.ebi) for one in active]
    if not contexts:
        return []
    request = gtpv2.request(MessageType.UPDATE_BEARER_REQUEST, session.sgw.teid, *contexts, session.ambr)
    return [pgw.ask_sgw(session, request, Waiting(updated, session))]


# Binding


def _bind(pgw: Pgw, session: Session, rule: Rule) -> list[Output]:
    if _is_of_default_bearer(session, rule):
        session.default_bearer.rules[rule.name] = rule
        return []
    if not rule.flows:
        return [Note("rule_without_flows", {"rule": rule.name}), *_report(pgw, session, [rule.name])]
    shared = None if pgw.configuration.bearer_per_rule else _of_same_class(session, rule)
    if shared is not None:
        shared.rules[rule.name] = replace(rule, flows=())
        return _change(pgw, session, shared, rule)
    if len(session.bearers) >= _MAX_BEARERS:
        return [Note("rule_without_bearer", {"rule": rule.name}), *_report(pgw, session, [rule.name])]
    return _create(pgw, session, rule)


def _is_of_default_bearer(session: Session, rule: Rule) -> bool:
    """Without QoS of its own, or with just the default bearer's, a rule belongs to the default bearer."""
    if rule.qos is None:
        return bool(rule.flows)
    return _class(rule.qos) == _class_of(session.default_bearer.qos) and not rule.qos.gbr_uplink


def _of_same_class(session: Session, rule: Rule) -> Bearer | None:
    wanted = None if rule.qos is None else _class(rule.qos)
    dedicated = (bearer for bearer in session.bearers[1:] if bearer.state is BearerState.ACTIVE)
    return next((bearer for bearer in dedicated if _class_of(bearer.qos) == wanted), None)


def _class(qos: RuleQos) -> tuple[int | None, int | None, int, int]:
    return qos.qci, qos.priority_level, qos.pci, qos.pvi


def _class_of(qos: BearerQos) -> tuple[int | None, int | None, int, int]:
    return qos.qci, qos.priority_level, qos.pci, qos.pvi


def _qos(pgw: Pgw, session: Session, rules: Iterable[Rule]) -> BearerQos:
    """A bearer's QoS: the class of its rules, and the sum of their bit rates in kbit/s (clause 8.15)."""
    known = [rule.qos for rule in rules if rule.qos is not None]
    first = known[0] if known else RuleQos()
    default = session.default_bearer.qos

    def rate(name: str) -> int:
        bits = sum(getattr(qos, name) or 0 for qos in known)
        unit = pgw.configuration.kilobit
        return -(-bits // unit) if pgw.configuration.round_bit_rates_up else bits // unit

    return BearerQos(
        first.qci or default.qci,
        first.priority_level or default.priority_level,
        first.pci,
        first.pvi,
        rate("mbr_uplink"),
        rate("mbr_downlink"),
        rate("gbr_uplink"),
        rate("gbr_downlink"),
    )


def _add_filters(pgw: Pgw, session: Session, bearer: Bearer, rule: str, flows: Iterable[Flow]) -> list[BoundFilter]:
    """Make packet filters for flows that the bearer does not have; raises DecodeError before any is added."""
    local = pgw.configuration.tft_local_address
    there = {bound.flow for bound in bearer.filters}
    own = {session.paa.ipv4, session.paa.ipv6} - {""}
    made = [
        (flow, one)
        for flow in flows
        if flow not in there
        for one in filters_of(flow, local_address=local, ue_addresses=own)
    ]
    if len(bearer.filters) + len(made) > MAX_FILTERS:
        raise DecodeError(f"rule {rule} needs more packet filters than a bearer has")
    new = []
    for flow, contents in made:
        identifier, precedence = _free_identifier(bearer), _free_precedence(session)
        bound = BoundFilter(rule, flow, PacketFilter(identifier, contents.direction, precedence, contents.components))
        bearer.filters.append(bound)
        new.append(bound)
    return new


def _free_identifier(bearer: Bearer) -> int:
    """Identifiers go round, so that one is not soon used again."""
    taken = {bound.packet_filter.identifier for bound in bearer.filters}
    free = next(number for number in _round(bearer.next_filter, _IDENTIFIERS) if number not in taken)
    bearer.next_filter = (free + 1) % _IDENTIFIERS
    return free


def _free_precedence(session: Session) -> int:
    """Evaluation precedences are unique in a PDN connection, and go round in it."""
    taken = {bound.packet_filter.precedence for bearer in session.bearers for bound in bearer.filters}
    free = next(number for number in _round(session.next_precedence, _PRECEDENCES) if number not in taken)
    session.next_precedence = (free + 1) % _PRECEDENCES
    return free


def _round(start: int, size: int) -> Iterable[int]:
    return ((start + step) % size for step in range(size))


# Create


def _create(pgw: Pgw, session: Session, rule: Rule) -> list[Output]:
    bearer = Bearer(0, _qos(pgw, session, [rule]), 0, rules={rule.name: rule})
    new = _add_filters(pgw, session, bearer, rule.name, rule.flows)
    bearer.teid = pgw.teids.take()
    session.bearers.append(bearer)
    instance = pgw.configuration.create_bearer_instance
    context = bearer_context(
        BearerTft(Tft(TftOperation.CREATE_NEW, tuple(bound.packet_filter for bound in new))),
        gtpv2.f_teid(InterfaceType.S5_S8_PGW_GTP_U, bearer.teid, pgw.user_plane.address).ie(instance),
        bearer.qos,
        ebi=0,
    )
    ebi = Ebi(session.default_bearer.ebi)
    request = gtpv2.request(MessageType.CREATE_BEARER_REQUEST, session.sgw.teid, ebi, context)
    return [pgw.ask_sgw(session, request, Waiting(created, session, bearer=bearer))]


def created(pgw: Pgw, waiting: Waiting, answer: Answer, now: float) -> list[Output]:
    """The bearer is there, or is refused, or nobody answered; a rule without its bearer is gone."""
    session, bearer = waiting.session, waiting.bearer
    if bearer is None or session.teid not in pgw.sessions:
        return []
    ebi, sgw = _accepted(answer)
    if bearer not in session.bearers:
        bearer.ebi = ebi
        return _ask_delete(pgw, session, bearer) if ebi else []  # it was given up before it had a name to go by
    if sgw is None or not ebi:
        if bearer.state is BearerState.DELETING:
            return []  # the answer to our Delete Bearer Request settles it
        pgw.drop_bearer(session, bearer)
        note = Note("dedicated_bearer_failed", {"apn": session.apn, "rules": list(bearer.rules)})
        return [note, *_report(pgw, session, list(bearer.rules))]
    bearer.ebi, bearer.sgw = ebi, sgw
    if bearer.state is BearerState.DELETING:
        return _ask_delete(pgw, session, bearer)  # its rule went while it was being made
    bearer.state = BearerState.ACTIVE
    pgw.route(session, bearer)
    return [Note("dedicated_bearer_created", {"apn": session.apn, "ebi": ebi, "qci": bearer.qos.qci})]


def _accepted(answer: Answer) -> tuple[int, Tunnel | None]:
    """EBI and SGW tunnel of an accepting Create Bearer Response; no tunnel where it refuses or cannot be read."""
    try:
        if not isinstance(answer, gtpv2.Message) or not gtpv2.accepted(answer) or not answer.bearer_contexts:
            return 0, None
        context = answer.bearer_contexts[0]
        if not gtpv2.accepted(context):
            return 0, None
        found = f_teid_of(context, InterfaceType.S5_S8_SGW_GTP_U)
        return gtpv2.ebi_of(context), None if found is None else Tunnel.of(found)
    except (DecodeError, RefusedError):
        return 0, None


# Update


def _change(pgw: Pgw, session: Session, bearer: Bearer, change: Rule) -> list[Output]:
    """A rule has changed: Update Bearer Request where its bearer does."""
    old_rule, old_qos = bearer.rules[change.name], bearer.qos
    new = _add_filters(pgw, session, bearer, change.name, change.flows)
    rule = bearer.rules[change.name] = old_rule.changed_by(change)
    if bearer is session.default_bearer:
        return []
    bearer.qos = _qos(pgw, session, bearer.rules.values())
    qos_changed = rule.qos != old_rule.qos or bearer.qos != old_qos
    if not qos_changed and not new:
        return []
    tft = Tft(TftOperation.ADD_PACKET_FILTERS, tuple(bound.packet_filter for bound in new)) if new else None

    def undo() -> None:
        bearer.rules[change.name], bearer.qos = old_rule, old_qos
        if not old_rule.flows:  # it was to share this bearer
            del bearer.rules[change.name]
        bearer.filters = [bound for bound in bearer.filters if bound not in new]

    return _update(pgw, session, bearer, tft, undo, with_qos=qos_changed)


def _shrink(pgw: Pgw, session: Session, bearer: Bearer, name: str) -> list[Output]:
    """One of several rules is gone from a bearer: its filters and its share of the bit rate go."""
    gone = [bound for bound in bearer.filters if bound.rule == name]
    bearer.filters = [bound for bound in bearer.filters if bound.rule != name]
    bearer.qos = _qos(pgw, session, bearer.rules.values())
    deleted = bytes(bound.packet_filter.identifier for bound in gone)
    tft = Tft(TftOperation.DELETE_PACKET_FILTERS, deleted=deleted) if gone else None
    return _update(pgw, session, bearer, tft, None, with_qos=True)


def _update(
    pgw: Pgw, session: Session, bearer: Bearer, tft: Tft | None, undo: Callable[[], None] | None, *, with_qos: bool
) -> list[Output]:
    context = bearer_context(
        None if tft is None else BearerTft(tft),
        bearer.qos if with_qos else None,
        ebi=bearer.ebi,
    )
    request = gtpv2.request(MessageType.UPDATE_BEARER_REQUEST, session.sgw.teid, context, session.ambr)
    waiting = Waiting(updated, session, bearer=bearer, undo=undo)
    if bearer.state is BearerState.ACTIVE:
        pgw.route(session, bearer)
    return [pgw.ask_sgw(session, request, waiting)]


def updated(pgw: Pgw, waiting: Waiting, answer: Answer, now: float) -> list[Output]:
    """The change is made, or is taken back."""
    session, bearer = waiting.session, waiting.bearer
    if bearer is None or bearer not in session.bearers or _is_accepted(answer):
        return []
    if waiting.undo is not None:
        waiting.undo()
    if bearer.state is BearerState.ACTIVE:
        pgw.route(session, bearer)
    return [Note("bearer_update_failed", {"apn": session.apn, "ebi": bearer.ebi})]


def _is_accepted(answer: Answer) -> bool:
    try:
        return isinstance(answer, gtpv2.Message) and gtpv2.accepted(answer)
    except DecodeError:
        return False


# Delete


def _delete(pgw: Pgw, session: Session, bearer: Bearer) -> list[Output]:
    bearer.state = BearerState.DELETING
    return _ask_delete(pgw, session, bearer)


def _ask_delete(pgw: Pgw, session: Session, bearer: Bearer) -> list[Output]:
    """Delete Bearer Request; the EBI is 0 while the MME has not yet given one (it then answers Context not found)."""
    request = gtpv2.request(MessageType.DELETE_BEARER_REQUEST, session.sgw.teid, Ebi(bearer.ebi).ie(1))
    return [pgw.ask_sgw(session, request, Waiting(deleted, session, bearer=bearer))]


def deleted(pgw: Pgw, waiting: Waiting, answer: Answer, now: float) -> list[Output]:
    """The bearer is gone whatever the MME says: it knows nothing of it, or the UE is out of reach."""
    session, bearer = waiting.session, waiting.bearer
    if bearer is None or bearer not in session.bearers:
        return []
    pgw.drop_bearer(session, bearer)
    return [Note("dedicated_bearer_deleted", {"apn": session.apn, "ebi": bearer.ebi})]


# Reports


def _report(pgw: Pgw, session: Session, names: list[str]) -> list[Output]:
    """Tell the PCRF of rules that have no bearer (TS 29.212 clause 4.5.12), where the operator wants that."""
    if not pgw.configuration.report_rule_failures:
        return []
    return [pgw.ask_pcrf(credit_control.update(pgw, session, names), Waiting(reported, session))]


def reported(pgw: Pgw, waiting: Waiting, answer: Answer, now: float) -> list[Output]:
    """The PCRF has taken note; it may install what it likes instead."""
    return []
