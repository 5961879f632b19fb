"""Which service of a subscriber each message belongs to.

"attach", "pdn:<apn>", "registration", "volte", "video", "sms", "idle" (to idle and back: TS 23.401 clauses 5.3.4 and
5.3.5), "mobility", "detach". A call is what its INVITE begins, and everything that it causes: the Rx session of each
leg, the RAR that this causes on the Gx session, the bearer requests that this causes on S5, S11 and S1-MME, and their
answers.
Which is found by what they name (Session-Id, rule name, EBI) where that is known, else by what happened last.

The messages come in causal order, each with its subscribers; a service may happen more than once, so each is an
`Instance`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ferret.errors import DecodeError
from ferret.protocols import diameter, sip
from ferret.protocols.diameter import Command, avp
from ferret.protocols.gtpv2 import MessageType
from ferret.protocols.s1ap import ProcedureCode
from ferret.protocols.summary import IdKind, Kind, Protocol
from ferret.records.correlation import Attribution
from ferret.records.decoding import doors
from ferret.records.identities import Subscriber
from ferret.records.joining import Joined

ATTACH, DETACH, IDLE, MOBILITY, REGISTRATION = "attach", "detach", "idle", "mobility", "registration"
VOLTE, VIDEO, SMS = "volte", "video", "sms"
_QCI_VOICE, _QCI_VIDEO = 1, 2
_QCI_NAMES = ("QCI", "qCI", "QoS-Class-Identifier")
_AF_SIGNALLING = b"\x00\x00\x00\x02"  # Flow-Usage (TS 29.214 clause 5.3.12)
CONTEXT_SERVICES = (ATTACH, REGISTRATION, IDLE, MOBILITY)
"""With every "pdn:…", the services that a later one builds upon."""

MAKING_BEARERS = frozenset((ATTACH, IDLE, MOBILITY, DETACH))
"""The services in whose course PDN connections are made, changed and released."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One time that a subscriber used a service; `number` counts them, from 1."""

    service: str
    number: int


@dataclass(slots=True)
class _State:
    """What is known of one subscriber at this point of the capture."""

    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    procedure: Instance | None = None  # the EMM procedure that runs, or ran last
    procedure_over: bool = False
    pdns: dict[str, Instance] = field(default_factory=dict)  # by APN
    closing: set[str] = field(default_factory=set)  # APNs whose next Create Session Request makes a new connection
    default_bearers: dict[str, Instance] = field(default_factory=dict)  # by EBI
    dedicated_bearers: dict[str, Instance] = field(default_factory=dict)  # by EBI
    sessions: dict[str, Instance] = field(default_factory=dict)  # by Session-Id
    rules: dict[str, Instance] = field(default_factory=dict)  # by Charging-Rule-Name
    dialogs: dict[str, Instance] = field(default_factory=dict)  # by Call-ID
    registration: Instance | None = None
    calls: list[Instance] = field(default_factory=list)  # in progress, the latest last
    cause: Instance | None = None  # what the last Rx or Gx request was about
    bearer_cause: Instance | None = None  # what the last request for a dedicated bearer was about
    unread_accept: Instance | None = None  # what the device is about to accept, in a NAS message that is ciphered

    def begin(self, service: str) -> Instance:
        """The service once more."""
        self.counts[service] += 1
        return Instance(service, self.counts[service])


class Services:
    """Classifies an ordered capture, message by message."""

    def __init__(self) -> None:
        self._states: dict[Subscriber, _State] = defaultdict(_State)
        self._asked: dict[str, sip.Message] = {}  # the last SIP request that each address received

    def classify(
        self,
        one: Joined,
        attributions: Sequence[Attribution],
        asked: Mapping[Subscriber, tuple[Instance, ...]],
    ) -> dict[Subscriber, tuple[Instance, ...]]:
        """The instances that a message belongs to, for each subscriber; `asked` are those of its request."""
        result = {}
        for attribution in attributions:
            subscriber = attribution.subscriber
            state = self._states[subscriber]
            known = asked.get(subscriber, ())
            if _is_location_request(one):
                found = self._located(state, one)
            else:
                found = _CLASSIFIERS[one.captured.protocol](state, one, known)
            result[subscriber] = tuple(dict.fromkeys(found))
        if one.captured.protocol is Protocol.SIP and one.decoded.message and one.decoded.message.is_request:
            self._asked[one.captured.destination.address] = one.decoded.message
        return result

    def _located(self, state: _State, one: Joined) -> Sequence[Instance]:
        """LIR: the I-CSCF asks where the callee is, because of the request that it has just received."""
        cause = self._asked.get(one.captured.source.address)
        return () if cause is None else _dialog(state, cause)


# ---- SIP


def _sip(state: _State, one: Joined, asked: tuple[Instance, ...]) -> Sequence[Instance]:
    message: sip.Message = one.decoded.message
    found = next(iter(_dialog(state, message)), None)
    if found is None:
        return asked
    if (message.method == "BYE" and not message.is_request) or _failed_invite(message):
        state.calls = [call for call in state.calls if call != found]
    return (found,)


def _dialog(state: _State, message: sip.Message) -> Sequence[Instance]:
    """What the dialog of a message is for; one that begins with it is noted."""
    call_id = message.first("Call-ID")
    found = state.dialogs.get(call_id) or _sip_begins(state, message)
    if found is None:
        return ()
    if call_id not in state.dialogs and found.service in (VOLTE, VIDEO):
        state.calls.append(found)
    state.dialogs[call_id] = found
    return (found,)


def _is_location_request(one: Joined) -> bool:
    message = one.decoded.message
    if one.captured.protocol is not Protocol.DIAMETER or message is None:
        return False
    return bool(message.is_request and message.command == Command.LOCATION_INFO)


def _sip_begins(state: _State, message: sip.Message) -> Instance | None:
    match message.method:
        case "REGISTER" | "PUBLISH":
            return _registration(state)
        case "SUBSCRIBE" | "NOTIFY":
            about_registration = message.first("Event").partition(";")[0].strip() == "reg"
            return _registration(state) if about_registration else None
        case "INVITE" | "ACK" | "BYE" | "PRACK" | "UPDATE" | "CANCEL":
            return state.begin(VIDEO if has_video(message) else VOLTE)
        case "MESSAGE":
            return state.begin(SMS)
        case _:
            return None


def _registration(state: _State) -> Instance:
    if state.registration is None:
        state.registration = state.begin(REGISTRATION)
    return state.registration


def _failed_invite(message: sip.Message) -> bool:
    return not message.is_request and message.method == "INVITE" and message.status >= 300


def has_video(message: sip.Message) -> bool:
    """Whether a session description in a SIP message offers or accepts video."""
    if b"m=video" not in message.body:
        return False
    try:
        description = sip.sdp.decode(message.body)
    except DecodeError:
        return False
    return any(media.type == "video" and media.port for media in description.media)


# ---- Diameter


def _diameter(state: _State, one: Joined, asked: tuple[Instance, ...]) -> Sequence[Instance]:
    if not one.decoded.message.is_request:
        return asked
    match one.decoded.summary.application:
        case "Rx":
            return _rx(state, one)
        case "Gx" | "Gy":
            return _gx(state, one)
        case "Cx":
            return (_registration(state),)
        case "S6a":
            return (state.procedure or _procedure(state, ATTACH),)
        case _:
            return ()


def _rx(state: _State, one: Joined) -> Sequence[Instance]:
    session = _identifier(one, IdKind.SESSION_ID)
    found = state.sessions.get(session)
    if found is None:
        call_id = _identifier(one, IdKind.CALL_ID)
        if call_id in state.dialogs:
            found = state.dialogs[call_id]
        elif state.calls:
            found = state.calls[-1]
        elif _is_for_signalling(one.decoded.message):
            found = _registration(state)
        else:
            found = state.begin(VOLTE)
        state.sessions[session] = found
    state.cause = found
    return (found,)


def _is_for_signalling(message: diameter.Message) -> bool:
    """An AF session that watches over the signalling path only (TS 29.214 clause 4.4.5): no media at all."""
    parts = [
        part for media in message.all(avp.MEDIA_COMPONENT_DESCRIPTION) for part in media.all(avp.MEDIA_SUB_COMPONENT)
    ]
    usages = [part.find(avp.FLOW_USAGE) for part in parts]
    return all(usage is not None and usage.octets == _AF_SIGNALLING for usage in usages)


def _gx(state: _State, one: Joined) -> Sequence[Instance]:
    message: diameter.Message = one.decoded.message
    session = _identifier(one, IdKind.SESSION_ID)
    pdn = state.sessions.get(session)
    if pdn is None:
        pdn = state.sessions[session] = _pdn(state, _identifier(one, IdKind.APN))
    if message.command != Command.RE_AUTH:
        return _with_procedure(state, pdn)
    names = _rule_names(message)
    known = next((state.rules[name] for name in names if name in state.rules), None) or state.cause
    found = known or _by_qci(state, one) or pdn
    for name in names:
        state.rules.setdefault(name, found)
    state.bearer_cause = found
    return (found,)


def _pdn(state: _State, apn: str) -> Instance:
    """The PDN connection to an APN; without one, the latest."""
    found = state.pdns.get(apn) if apn else next(reversed(state.pdns.values()), None)
    if found is None:
        found = state.pdns[apn] = state.begin(f"pdn:{apn}")
    return found


def _rule_names(message: diameter.Message) -> list[str]:
    names = []
    for install in message.all(avp.CHARGING_RULE_INSTALL):
        names += [definition.find(avp.CHARGING_RULE_NAME) for definition in install.all(avp.CHARGING_RULE_DEFINITION)]
    for remove in message.all(avp.CHARGING_RULE_REMOVE):
        names += remove.all(avp.CHARGING_RULE_NAME)
    return [name.octets.decode("utf-8", "replace") for name in names if name is not None]


# ---- GTPv2-C


def _gtpv2(state: _State, one: Joined, asked: tuple[Instance, ...]) -> Sequence[Instance]:
    kind = one.decoded.message.type
    ebis = _identifiers(one, IdKind.EBI)
    if one.decoded.summary.kind is Kind.RESPONSE:
        if kind == MessageType.CREATE_BEARER_RESPONSE and asked:
            state.dedicated_bearers.update(dict.fromkeys(ebis, asked[0]))
        return asked or _by_bearer(state, ebis)
    match kind:
        case MessageType.CREATE_SESSION_REQUEST:
            apn = _identifier(one, IdKind.APN)
            if apn in state.closing:
                state.pdns.pop(apn, None)
                state.closing.remove(apn)
            pdn = _pdn(state, apn)
            state.default_bearers.update(dict.fromkeys(ebis, pdn))
            for ebi in ebis:
                state.dedicated_bearers.pop(ebi, None)
            return _with_procedure(state, pdn)
        case MessageType.CREATE_BEARER_REQUEST:
            return (_cause_of_bearer(state, one, ebis),)
        case MessageType.DELETE_BEARER_REQUEST:
            _released(state, ebis)
            return _by_bearer(state, ebis)
        case MessageType.MODIFY_BEARER_REQUEST:
            return _with_procedure(state, *_by_bearer(state, ebis))
        case MessageType.DELETE_SESSION_REQUEST:
            found = _by_bearer(state, ebis)
            state.closing.update(apn for apn, pdn in state.pdns.items() if pdn in found)
            return _with_procedure(state, *found)
        case MessageType.RELEASE_ACCESS_BEARERS_REQUEST | MessageType.DOWNLINK_DATA_NOTIFICATION:
            return (_procedure(state, IDLE),)
        case _:
            return _by_bearer(state, ebis)


def _cause_of_bearer(state: _State, one: Joined, ebis: Sequence[str]) -> Instance:
    """What a new dedicated bearer is for: what Gx last asked for; without Gx, its QCI says it."""
    if state.bearer_cause is None:
        state.bearer_cause = _by_qci(state, one) or _by_bearer(state, ebis)[0]
    return state.bearer_cause


def _by_qci(state: _State, one: Joined) -> Instance | None:
    """A call of which only the bearer is to be seen: conversational voice or video (TS 23.203 table 6.1.7)."""
    parameters = doors(one.captured.protocol).parameters(one.decoded.message)
    qcis = {value for path, value in parameters if path.rpartition("/")[2] in _QCI_NAMES}
    service = VIDEO if _QCI_VIDEO in qcis else VOLTE if _QCI_VOICE in qcis else ""
    return state.begin(service) if service else None


def _released(state: _State, ebis: Sequence[str]) -> None:
    """Dedicated bearers go: the next one may be for something else. What they were for is still known."""
    if any(ebi in state.dedicated_bearers for ebi in ebis):
        state.bearer_cause = None


def _by_bearer(state: _State, ebis: Sequence[str]) -> Sequence[Instance]:
    """What the bearers of these identities are for: a dedicated one's service before its default bearer's."""
    for known in (state.dedicated_bearers, state.default_bearers):
        found = [known[ebi] for ebi in ebis if ebi in known]
        if found:
            return found
    return (_pdn(state, ""),)


def _with_procedure(state: _State, *found: Instance) -> Sequence[Instance]:
    """A message about a PDN connection is part of the attach that makes it, the detach that ends it, …"""
    if state.procedure is not None and not state.procedure_over:
        return (state.procedure, *found)
    return found


# ---- S1AP and NAS

_PROCEDURES = (
    ("attach request", ATTACH),
    ("detach request", DETACH),
    ("tracking area update request", MOBILITY),
    ("service request", IDLE),
)
_ABOUT_BEARERS = (
    ProcedureCode.ERAB_SETUP,
    ProcedureCode.ERAB_MODIFY,
    ProcedureCode.ERAB_RELEASE,
    ProcedureCode.ERAB_RELEASE_INDICATION,
)
_CIPHERED = "ciphered nas message"
_ACCEPTED_BY_NAS = (
    ProcedureCode.INITIAL_CONTEXT_SETUP,
    ProcedureCode.ERAB_SETUP,
    ProcedureCode.ERAB_MODIFY,
    ProcedureCode.ERAB_RELEASE,
)
"""Requests that carry a NAS message to which the device answers by one of its own, in an UPLINK NAS TRANSPORT."""
_PROCEDURE_ENDS = ("attach complete", "attach reject", "service reject", "tracking area update accept")


def _s1ap(state: _State, one: Joined, asked: tuple[Instance, ...]) -> Sequence[Instance]:
    code, name = one.decoded.message.procedure_code, one.decoded.summary.name.lower()
    begun = next((service for text, service in _PROCEDURES if text in name), None)
    if begun is not None:
        return (_procedure(state, begun),)
    if code == ProcedureCode.UE_CONTEXT_RELEASE_REQUEST:
        state.procedure = None  # to idle once more
    if code in (ProcedureCode.PAGING, ProcedureCode.UE_CONTEXT_RELEASE_REQUEST):
        return (_procedure(state, IDLE),)
    if code in (ProcedureCode.PATH_SWITCH_REQUEST, ProcedureCode.HANDOVER_PREPARATION):
        return (_procedure(state, MOBILITY),)
    if one.decoded.summary.kind is Kind.RESPONSE and asked:
        return asked
    if _CIPHERED in name and code == ProcedureCode.UPLINK_NAS_TRANSPORT and state.unread_accept is not None:
        found: Sequence[Instance] = (state.unread_accept,)
        state.procedure_over |= state.unread_accept == state.procedure
        state.unread_accept = None
        return found
    found = _s1ap_bearers(state, one, name)
    if _CIPHERED in name and code in _ACCEPTED_BY_NAS:
        state.unread_accept = found[0]
    if any(text in name for text in _PROCEDURE_ENDS):
        state.procedure_over = True
    return found


def _s1ap_bearers(state: _State, one: Joined, name: str) -> Sequence[Instance]:
    ebis = _identifiers(one, IdKind.EBI)
    procedure = state.procedure
    running = procedure is not None and not state.procedure_over
    if "pdn connectivity" in name or "pdn disconnect" in name or ("esm information" in name and not running):
        apn = _identifier(one, IdKind.APN)
        return (_pdn(state, apn),) if apn else _by_bearer(state, ebis)
    code, request = one.decoded.message.procedure_code, one.decoded.summary.kind is Kind.REQUEST
    dedicated = "dedicated" in name or not any(ebi in state.default_bearers for ebi in ebis)
    if code == ProcedureCode.ERAB_SETUP and request and dedicated:
        state.dedicated_bearers.update(dict.fromkeys(ebis, _cause_of_bearer(state, one, ebis)))
    if code == ProcedureCode.ERAB_RELEASE:
        _released(state, ebis)
    if (code in _ABOUT_BEARERS or "eps bearer context" in name) and ebis:
        return _by_bearer(state, ebis)
    return (procedure or _procedure(state, ATTACH),)


def _procedure(state: _State, service: str) -> Instance:
    """The EMM procedure that a message begins, or goes on with."""
    same = state.procedure is not None and state.procedure.service == service
    if state.procedure is None or not same or (service == ATTACH and state.procedure_over):
        if service == ATTACH:
            state.closing.update(state.pdns)
        state.procedure = state.begin(service)
    state.procedure_over = False
    return state.procedure


# ---- all


def _identifiers(one: Joined, kind: IdKind) -> list[str]:
    return [i.value for i in one.decoded.summary.identifiers if i.kind is kind]


def _identifier(one: Joined, kind: IdKind) -> str:
    return next(iter(_identifiers(one, kind)), "")


_CLASSIFIERS = {
    Protocol.SIP: _sip,
    Protocol.DIAMETER: _diameter,
    Protocol.GTPV2: _gtpv2,
    Protocol.S1AP: _s1ap,
}
