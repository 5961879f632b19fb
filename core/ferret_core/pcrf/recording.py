"""The policy of a recorded network, read out of its own Gx and Rx messages.

Only what no NF could compute is taken: names of rules, classes and priorities, how bandwidth is counted, which AVPs
answers are furnished with. Results, session identifiers and filters are never taken: the PCRF has to find those itself.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ferret.errors import DecodeError
from ferret.protocols.diameter import Avp, Command, Message, avp, name_of
from ferret.protocols.diameter.constants import Application, RxResult
from ferret.protocols.diameter.summary import accepted, name_of_message
from ferret.records.message import Role
from ferret_core.nf import Peer
from ferret_core.pcrf.authorisation import GBR_QCIS, Counting, flow_status_of, flows_of, rates_of
from ferret_core.pcrf.binding import bind
from ferret_core.pcrf.rule import Arp, BitRates
from ferret_core.pcrf.session import GxSession

Entry = dict[str, object]

# AVPs that the PCRF fills in itself, whatever the operator wants.
_COMPUTED = frozenset(
    (definition.code, definition.vendor)
    for definition in (
        avp.SESSION_ID, avp.AUTH_APPLICATION_ID, avp.ORIGIN_HOST, avp.ORIGIN_REALM, avp.RESULT_CODE,
        avp.EXPERIMENTAL_RESULT, avp.CC_REQUEST_TYPE, avp.CC_REQUEST_NUMBER, avp.PROXY_INFO,
        avp.ROUTE_RECORD, avp.FAILED_AVP, avp.ERROR_MESSAGE, avp.ERROR_REPORTING_HOST, avp.DRMP, avp.LOAD,
    )
)  # fmt: skip
_ANSWERS = frozenset((Command.CREDIT_CONTROL, Command.AA, Command.SESSION_TERMINATION))


@dataclass(slots=True)
class _Rule:
    """What was seen of the rules of one media component: their names, and each definition sent."""

    facts: Entry
    names: list[str] = field(default_factory=list)
    filters: list[str] = field(default_factory=list)  # one of each, "" where none was seen
    definitions: list[tuple[Avp, Avp]] = field(default_factory=list)  # each with the component that asked for it


@dataclass(slots=True)
class _Seen:
    """What has been read so far."""

    sessions: dict[str, GxSession] = field(default_factory=dict)
    requests: dict[tuple[int, int, int, str], Message] = field(default_factory=dict)
    asked: dict[str, list[Message]] = field(default_factory=lambda: defaultdict(list))  # AARs by UE address
    rules: dict[str, _Rule] = field(default_factory=dict)  # by the facts that policy is chosen by
    named: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)  # by Gx session and rule name
    refused: dict[str, Entry] = field(default_factory=dict)  # by facts
    answers: dict[tuple[tuple[str, str], ...], dict[str, object]] = field(default_factory=dict)
    rx_bound: dict[str, GxSession] = field(default_factory=dict)
    identities: Counter[tuple[str, str]] = field(default_factory=Counter)  # Origin-Host and Origin-Realm of the PCRF


def policy_from_recording(messages: Sequence[Message]) -> Mapping[str, object]:
    """Context for `Pcrf.import_context` ("policy" and "identity") from a network's Gx and Rx messages in their order.

    Messages of other applications may be among them and are not looked at; nor is one that cannot be read.
    """
    seen = _Seen()
    for message in messages:
        try:
            _look_at(seen, message)
        except DecodeError:
            continue
    context: dict[str, object] = {"policy": [*_rule_entries(seen), *_refusals(seen), *_answer_entries(seen)]}
    if seen.identities:
        host, realm = seen.identities.most_common(1)[0][0]
        context["identity"] = {"host": host, "realm": realm}
    return context


def missing_gx_sessions(messages: Sequence[Message]) -> list[Mapping[str, object]]:
    """Context `gx_sessions` for `Pcrf.import_context`: IP-CAN sessions that RARs show, but whose CCR was not recorded.

    What the RAR does not say comes from the AAR that caused it and its answer. The Session-Id is the recorded one: the
    PCEF has to be given the same.
    """
    seen = _Seen()
    found: dict[str, Mapping[str, object]] = {}
    for message in messages:
        try:
            _look_at(seen, message)
            reauth = message.is_request and message.command == Command.RE_AUTH and message.application == Application.GX
            session_id = message.value_of(avp.SESSION_ID) or ""
            if reauth and session_id not in seen.sessions and session_id not in found:
                session = _session_of(seen, session_id, message)
                found.update({} if session is None else {session_id: _missing(session, message)})
        except DecodeError:
            continue
    return list(found.values())


def _session_of(seen: _Seen, session_id: str, message: Message) -> GxSession | None:
    for definition in _definitions(message):
        session, _ = _origin(seen, session_id, definition, None)
        if session is not None:
            return session
    return None


def _missing(session: GxSession, message: Message) -> Mapping[str, object]:
    return {
        "session_id": message.value_of(avp.SESSION_ID) or "",
        "host": message.value_of(avp.DESTINATION_HOST) or "",
        "realm": message.value_of(avp.DESTINATION_REALM) or "",
        "ue_ip": list(session.addresses),
        "ip_can_type": 5,  # 3GPP-EPS (TS 29.212 clause 5.3.27)
        "rat_type": 1004,  # EUTRAN (clause 5.3.31)
    }


def _look_at(seen: _Seen, message: Message) -> None:
    if message.application not in (Application.GX, Application.RX):
        return
    session_id = message.value_of(avp.SESSION_ID) or ""
    key = (message.command, message.hop_by_hop, message.end_to_end, session_id)
    if message.is_request:
        seen.requests[key] = message
        if message.command == Command.CREDIT_CONTROL:
            session = seen.sessions.setdefault(session_id, _unknown_session(session_id))
            session.host = message.value_of(avp.ORIGIN_HOST) or ""
            session.learn(message)
        elif message.command == Command.AA:
            _note_request(seen, message, session_id)
        elif message.command == Command.RE_AUTH and message.application == Application.GX:
            _note_rules(seen, message, session_id)
    elif message.command in _ANSWERS and key in seen.requests:
        note = _note_answer if accepted(message) else _note_refusal
        note(seen, seen.requests[key], message, session_id)


def _unknown_session(session_id: str) -> GxSession:
    return GxSession(session_id, Peer(Role.PGW), "", "")


# --- rules


def _note_request(seen: _Seen, message: Message, session_id: str) -> None:
    bound = bind(message, seen.sessions.values())
    if bound is None:  # its CCR was not recorded: a session that is known by the UE's address only
        addresses = (*message.values_of(avp.FRAMED_IP_ADDRESS), *message.values_of(avp.FRAMED_IPV6_PREFIX))
        if not addresses:
            return
        bound = _unknown_session(f"of {addresses[0]}")
        bound.addresses = addresses
        seen.sessions[bound.session_id] = bound
    seen.rx_bound[session_id] = bound
    seen.asked[bound.session_id].append(message)


def _definitions(message: Message) -> Iterator[Avp]:
    for group in message.all(avp.CHARGING_RULE_INSTALL):
        yield from group.all(avp.CHARGING_RULE_DEFINITION)


def _note_rules(seen: _Seen, message: Message, session_id: str) -> None:
    for definition in _definitions(message):
        name = definition.value_of(avp.CHARGING_RULE_NAME) or ""
        session, component = _origin(seen, session_id, definition, seen.named.get((session_id, name)))
        if session is None or component is None:
            continue
        facts = _facts(session, component)
        rule = seen.rules.setdefault(repr(facts), _Rule(facts))
        if (session_id, name) not in seen.named:
            rule.names.append(name)
            flow = definition.find(avp.FLOW_INFORMATION)
            rule.filters.append((flow and flow.value_of(avp.FLOW_DESCRIPTION)) or "")
            seen.named[(session_id, name)] = (session.session_id, component.value_of(avp.MEDIA_COMPONENT_NUMBER) or 0)
        rule.definitions.append((definition, component))
    for group in message.all(avp.CHARGING_RULE_REMOVE):
        for name in group.values_of(avp.CHARGING_RULE_NAME):
            seen.named.pop((session_id, name), None)


def _origin(
    seen: _Seen, session_id: str, definition: Avp, known: tuple[str, int] | None
) -> tuple[GxSession | None, Avp | None]:
    """The session that a rule belongs to and the media component that it was made from, the latest that fits."""
    candidates = [session_id] if session_id in seen.sessions else list(seen.sessions)
    if known is not None:
        candidates = [known[0]]
    filters = {text for one in definition.all(avp.FLOW_INFORMATION) for text in one.values_of(avp.FLOW_DESCRIPTION)}
    for candidate in candidates:
        for message in reversed(seen.asked[candidate]):
            for component in message.all(avp.MEDIA_COMPONENT_DESCRIPTION):
                same = known is not None and component.value_of(avp.MEDIA_COMPONENT_NUMBER) == known[1]
                if same or filters & {flow.description for flow in flows_of(component)}:
                    return seen.sessions[candidate], component
    return None, None


def _facts(session: GxSession, component: Avp) -> Entry:
    """The conditions under which an entry applies."""
    facts: Entry = {"imsi": session.imsi} if session.imsi else {"ue_ip": (*session.addresses, "")[0]}
    if session.apn:
        facts["apn"] = session.apn
    number, media_type = component.value_of(avp.MEDIA_COMPONENT_NUMBER), component.value_of(avp.MEDIA_TYPE)
    facts["media_component"] = number or 0
    if media_type is not None:
        facts["media_type"] = media_type
    return facts


def _refusals(seen: _Seen) -> Iterator[Entry]:
    """Media components that were refused, or asked for without ever getting a rule where one could have been seen."""
    for entry in seen.refused.values():
        yield {**entry, "refuse": True}
    told = {*seen.rules, *seen.refused}
    for session_id, asked in seen.asked.items():
        session = seen.sessions[session_id]
        for component in (one for message in asked for one in message.all(avp.MEDIA_COMPONENT_DESCRIPTION)):
            facts = _facts(session, component)
            if session.host and repr(facts) not in told and component.find(avp.MEDIA_SUB_COMPONENT):
                told.add(repr(facts))
                yield {**facts, "authorise": False}


def _note_refusal(seen: _Seen, asked: Message, message: Message, session_id: str) -> None:
    """Policy does not allow the media of an AAR (TS 29.214 clause 4.4.1)."""
    group, session = message.find(avp.EXPERIMENTAL_RESULT), seen.rx_bound.get(session_id)
    result = group.value_of(avp.EXPERIMENTAL_RESULT_CODE) if group is not None else None
    if session is not None and result == RxResult.REQUESTED_SERVICE_NOT_AUTHORIZED:
        for component in asked.all(avp.MEDIA_COMPONENT_DESCRIPTION):
            facts = _facts(session, component)
            if repr(facts) not in seen.rules:
                seen.refused.setdefault(repr(facts), facts)


def _rule_entries(seen: _Seen) -> Iterator[Entry]:
    for rule in seen.rules.values():
        yield {**rule.facts, **_statements(rule)}


def _statements(rule: _Rule) -> Entry:
    """What a policy has to say so that these definitions come out."""
    definition, component = rule.definitions[0]
    entry: Entry = {"rule_names": rule.names, "rule_filters": rule.filters}
    quality = definition.find(avp.QOS_INFORMATION)
    precedence = definition.value_of(avp.PRECEDENCE)
    if precedence is not None:
        entry["precedence"] = precedence
    if quality is not None:
        entry.update(_quality(rule, quality))
    if not _turned(definition, component):
        entry["uplink"] = "kept"
    statuses = {one.value_of(avp.FLOW_STATUS) for one, _ in rule.definitions}
    wanted = {flow_status_of(asked) for _, asked in rule.definitions}
    if len(statuses) == 1 and statuses != wanted and None not in statuses:
        entry["flow_status"] = next(iter(statuses))
    return entry


def _turned(definition: Avp, component: Avp) -> bool:
    """Whether uplink filters were turned round; true where there is none to tell by."""
    sent = [one.value_of(avp.FLOW_DESCRIPTION) for one in definition.all(avp.FLOW_INFORMATION)]
    kept = [flow.description for flow in flows_of(component, reverse_uplink=False)]
    return not sent or sent != kept or kept == [flow.description for flow in flows_of(component)]


def _quality(rule: _Rule, quality: Avp) -> Entry:
    entry: Entry = {}
    qci = quality.value_of(avp.QOS_CLASS_IDENTIFIER)
    if qci is not None:
        entry["qci"] = qci
    priority = quality.find(avp.ALLOCATION_RETENTION_PRIORITY)
    if priority is not None:
        arp = Arp.read(priority)
        entry["arp"] = {
            "priority_level": arp.priority_level,
            "pre_emption_capability": arp.pre_emption_capability,
            "pre_emption_vulnerability": arp.pre_emption_vulnerability,
        }
    guaranteed = quality.find(avp.GUARANTEED_BITRATE_UL) is not None
    if guaranteed != (qci in GBR_QCIS):
        entry["guaranteed"] = guaranteed
    return {**entry, **_counting(rule, guaranteed)}


def _counting(rule: _Rule, guaranteed: bool) -> Entry:
    """How bandwidth was counted, if one way explains every definition; else the rates themselves."""
    sent = [_rates(definition) for definition, _ in rule.definitions]
    for counting in Counting:
        computed = [rates_of(asked, counting, guaranteed=guaranteed) for _, asked in rule.definitions]
        without = {given for given, one in zip(sent, computed, strict=True) if one is None and given is not None}
        if len(without) < 2 and all(one in (None, given) for given, one in zip(sent, computed, strict=True)):
            entry: Entry = {} if counting is Counting.PER_SUB_COMPONENT else {"bandwidth": str(counting)}
            return {**entry, **({"default_rates": _as_mapping(without.pop())} if without else {})}
    return {"rates": [None if rates is None else _as_mapping(rates) for rates in sent]}


def _rates(definition: Avp) -> BitRates | None:
    quality = definition.find(avp.QOS_INFORMATION)
    if quality is None:
        return None
    up, down = quality.value_of(avp.MAX_REQUESTED_BANDWIDTH_UL), quality.value_of(avp.MAX_REQUESTED_BANDWIDTH_DL)
    if up is None and down is None:
        return None
    guaranteed = quality.value_of(avp.GUARANTEED_BITRATE_UL), quality.value_of(avp.GUARANTEED_BITRATE_DL)
    return BitRates(up or 0, down or 0, *guaranteed)


def _as_mapping(rates: BitRates) -> Mapping[str, int]:
    names = ("mbr_ul", "mbr_dl", "gbr_ul", "gbr_dl")
    return {name: value for name in names if (value := getattr(rates, name)) is not None}


# --- answers


def _note_answer(seen: _Seen, asked: Message, message: Message, session_id: str) -> None:
    session = seen.sessions.get(session_id) or seen.rx_bound.get(session_id) or _unknown_session(session_id)
    seen.identities[(message.value_of(avp.ORIGIN_HOST) or "", message.value_of(avp.ORIGIN_REALM) or "")] += 1
    echo, learnt, fixed = [], [], []
    for one in message.avps:
        key = (one.code, one.vendor)
        if key in _COMPUTED:
            continue
        if one in asked.avps:
            echo.append(name_of(one))
        elif session.learnt.get(key) == one or (key in _LEARNT and not session.learnt):
            learnt.append(name_of(one))
        else:
            fixed.append(one.encode().hex())
    furnishing = {"echo": list(dict.fromkeys(echo)), "session": learnt, "fixed": fixed}
    facts = tuple((name, value) for name, value in (("imsi", session.imsi), ("apn", session.apn)) if value)
    seen.answers.setdefault(facts, {}).setdefault(name_of_message(message), furnishing)


_LEARNT = frozenset(((avp.IP_CAN_TYPE.code, avp.IP_CAN_TYPE.vendor), (avp.RAT_TYPE.code, avp.RAT_TYPE.vendor)))


def _answer_entries(seen: _Seen) -> Iterator[Entry]:
    """What answers carry: one entry for all where subscribers and APNs are alike, else one for each."""
    alike: dict[str, object] = {}
    for name in {name for answers in seen.answers.values() for name in answers}:
        furnishings = [answers[name] for answers in seen.answers.values() if name in answers]
        if all(furnishing == furnishings[0] for furnishing in furnishings):
            alike[name] = furnishings[0]
    for facts, answers in seen.answers.items():
        particular = {name: furnishing for name, furnishing in answers.items() if name not in alike}
        if particular:
            yield {**dict(facts), "answers": particular}
    if alike:
        yield {"answers": dict(sorted(alike.items()))}
