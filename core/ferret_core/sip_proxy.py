"""A transaction-stateful SIP proxy (RFC 3261 clause 16), the part that P-CSCF and S-CSCF share.

Retransmission is the transaction layer's work (`ferret.protocols.sip.TransactionLayer` stands between this and the
sockets, with `acknowledges=False`). Everything that is a message of its own is made here, so that it can be compared:
100 Trying, the ACK for a 300-699 (clause 16.7 step 10), CANCEL and its 200.

A context is one request that is being proxied; each branch of it went to one place (clause 16.6).
"""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

from ferret.protocols import sip
from ferret.protocols.sip.transactions import COOKIE, server_key
from ferret.records.message import Interface
from ferret_core.nf import NetworkFunction, Note, Output, Peer, Received, Send
from ferret_core.sip_carriage import Carriage, shown_transport, sized, with_source
from ferret_core.sip_names import DEFAULT_PORT, Names, split_address
from ferret_core.sip_policy import ANSWER_TO, Policy, RecordRouteForm, Way, apply, filled
from ferret_core.sip_timers import Timers

TIMER_C = 180.0  # seconds that an INVITE may ring (clause 16.6 step 11)
LINGER = 32.0  # seconds that a finished context is kept for what comes late: 64*T1
MAX_CONTEXTS = 16384
MAX_FORWARDS = 70
ELSEWHERE = 'SIP;cause=200;text="Call completed elsewhere"'  # RFC 3326: why the other branches are cancelled


class Phase(StrEnum):
    """Where a proxied request stands."""

    PROCEEDING = "proceeding"
    CANCELLING = "cancelling"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    ACKNOWLEDGED = "acknowledged"


class Incident(StrEnum):
    """What happens to a proxied request."""

    PROVISIONAL = "provisional"
    SUCCESS = "success"
    FAILURE = "failure"
    CANCEL = "cancel"
    ACK = "ack"


@dataclass(slots=True)
class Branch:
    """One place that a request was forwarded to."""

    id: str
    request: sip.Message  # as sent
    interface: Interface
    peer: Peer
    provisional: bool = False
    final: sip.Message | None = None
    cancelled: bool = False


@dataclass(slots=True)
class Context:
    """A request that is being proxied."""

    request: sip.Message  # as received, with received and rport in its Via
    interface: Interface
    peer: Peer  # whom it came from
    way: Way
    ue: str = ""  # the address of the UE whose half of the dialog this is
    phase: Phase = Phase.PROCEEDING
    branches: dict[str, Branch] = field(default_factory=dict)
    key: tuple[str, ...] = ()  # of its server transaction
    notes: dict[str, object] = field(default_factory=dict)  # what a subclass keeps with it

    @property
    def method(self) -> str:
        """The request's method."""
        return self.request.method


Handler = Callable[["SipProxy", Context, "Branch | None", sip.Message, float], list[Output]]


class SipProxy(NetworkFunction):
    """What a CSCF does with SIP whatever its role. Subclasses route requests and hook into answers."""

    def __init__(self, *, address: str, random: Random, policy: Policy) -> None:
        super().__init__(address=address, random=random)
        self.policy = policy
        self.names = Names(address)
        self._contexts: OrderedDict[tuple[str, ...], Context] = OrderedDict()  # by server transaction
        self._timers: Timers[tuple[str, ...]] = Timers()
        self._branches: dict[str, Context] = {}  # by branch of our own Via
        self._own_requests: OrderedDict[str, None] = OrderedDict()  # branches of requests of our own making
        self._one_tags: dict[str, str] = {}  # by method
        self._register_tags: OrderedDict[str, str] = OrderedDict()  # by Call-ID

    # ---- what a subclass says

    @abstractmethod
    def _route(self, context: Context, now: float) -> list[Output]:
        """Forward (or answer) a request that is new."""

    @abstractmethod
    def _answered(self, context: Context, branch: Branch, answer: sip.Message, now: float) -> list[Output] | None:
        """Look at an answer before it is forwarded upstream; None: it is held back and forwarded later."""

    @abstractmethod
    def _peer_of(self, address: str, context: Context | None) -> tuple[Interface, Peer]:
        """The interface and peer at a transport address "host:port"."""

    @abstractmethod
    def _values(self, context: Context) -> dict[str, str]:
        """What fills the braces of this context's header templates."""

    def _over(self, context: Context) -> list[Output]:
        """A request was refused or given up: what follows besides the answer."""
        del context
        return []

    # ---- SIP in

    def _receive_sip(self, event: Received, message: sip.Message, now: float) -> list[Output]:
        if not message.is_request:
            return self._receive_answer(event, message, now)
        fault = _fault(message)
        if fault:
            return [] if message.method == "ACK" else [self._reply(event, message, *fault)]
        wanted = _not_understood(message)
        if wanted:
            return [self._reply(event, message, 420, "Bad Extension", (("Unsupported", ", ".join(wanted)),))]
        key = server_key(message)
        known = self._contexts.get(key)
        if message.method == "ACK" and known is not None and known.phase is not Phase.ACCEPTED:
            return self._happen(known, Incident.ACK, None, message, now)
        if message.method == "CANCEL":
            return self._cancelled(event, message, now)
        if known is not None:
            return [Note("retransmission_absorbed", {"method": message.method})]
        return self._begin(event, message, key, now)

    def _begin(self, event: Received, message: sip.Message, key: tuple[str, ...], now: float) -> list[Output]:
        way = self._way_of(event, message)
        context = Context(
            with_source(message, event.peer, asks_port=way in self.policy.force_rport), event.interface, event.peer, way
        )
        if message.method != "ACK":
            context.key = key
            self._contexts[key] = context
            self._timers.set(key, now + (TIMER_C if message.method == "INVITE" else LINGER))
            self._limit()
        outputs: list[Output] = []
        if message.method in self.policy.trying:
            asked = with_source(message, event.peer)
            trying = sip.respond(asked, 100, self.policy.trying_reason, headers=self._server_header())
            outputs.append(Send(event.interface, event.peer, trying))
        return outputs + self._route(context, now)

    @abstractmethod
    def _way_of(self, event: Received, request: sip.Message) -> Way:
        """Which way a request goes."""

    def _cancelled(self, event: Received, message: sip.Message, now: float) -> list[Output]:
        via = sip.parse_via(message.first("Via"))
        key = (via.branch, f"{via.host}:{via.port or DEFAULT_PORT}", "INVITE")
        context = self._contexts.get(key)
        if context is None:
            return [self._reply(event, message, 481, "Call leg/transaction does not exist")]
        answer = sip.respond(
            message, 200, self.policy.cancelling_reason, to_tag=self._tag(context), headers=self._server_header()
        )
        outputs: list[Output] = [Send(event.interface, event.peer, answer)]
        return outputs + self._happen(context, Incident.CANCEL, None, message, now)

    def _receive_answer(self, event: Received, answer: sip.Message, now: float) -> list[Output]:
        branch_id = sip.parse_via(answer.first("Via")).branch
        context = self._branches.get(branch_id)
        if context is None:
            return [] if branch_id in self._own_requests else self._forward_stray(answer)
        if answer.method == "CANCEL":
            return []
        branch = context.branches[branch_id]
        status = answer.status
        if status == 100:
            branch.provisional = True
            return self._cancel_waiting(context, branch)
        incident = Incident.PROVISIONAL if status < 200 else Incident.SUCCESS if status < 300 else Incident.FAILURE
        return self._happen(context, incident, branch, answer, now)

    def _happen(
        self, context: Context, incident: Incident, branch: Branch | None, message: sip.Message, now: float
    ) -> list[Output]:
        phase, handler = TABLE[context.phase, incident]
        context.phase = phase
        if phase is not Phase.PROCEEDING and incident is not Incident.PROVISIONAL:
            self._timers.set(context.key, now + LINGER)
        return handler(self, context, branch, message, now)

    # ---- what the table does

    def _nothing(self, context: Context, branch: Branch | None, message: sip.Message, now: float) -> list[Output]:
        return []

    def _take_provisional(
        self, context: Context, branch: Branch | None, answer: sip.Message, now: float
    ) -> list[Output]:
        if branch is None:
            return []
        branch.provisional = True
        outputs = self._cancel_waiting(context, branch)
        if context.phase is Phase.CANCELLING:
            return outputs
        return outputs + self._pass_on(context, branch, answer, now)

    def _take_success(self, context: Context, branch: Branch | None, answer: sip.Message, now: float) -> list[Output]:
        if branch is None:
            return []
        branch.final = answer
        outputs = self._pass_on(context, branch, answer, now)
        return outputs + self._cancel_all(context)

    def _take_failure(self, context: Context, branch: Branch | None, answer: sip.Message, now: float) -> list[Output]:
        """Acknowledge hop by hop; when every branch has failed, the best answer goes upstream (clause 16.7)."""
        if branch is None:
            return []
        repeated, branch.final = branch.final is not None, answer
        outputs: list[Output] = []
        if context.method == "INVITE":
            outputs.append(Send(branch.interface, branch.peer, sip.ack_for(branch.request, answer)))
        waiting = any(one.final is None for one in context.branches.values())
        if repeated or waiting or context.phase is Phase.ACCEPTED:
            return outputs
        context.phase = Phase.REFUSED
        self._timers.set(context.key, now + LINGER)
        best = min(context.branches.values(), key=_preference)
        outputs += self._pass_on(context, best, best.final or answer, now)
        return outputs + self._over(context)

    def _take_cancel(self, context: Context, branch: Branch | None, message: sip.Message, now: float) -> list[Output]:
        context.notes["cancel_reason"] = message.values("Reason") if message.method == "CANCEL" else ()
        for one in context.branches.values():
            one.cancelled = True
        return [output for one in context.branches.values() for output in self._cancel_waiting(context, one)]

    def _cancel_waiting(self, context: Context, branch: Branch) -> list[Output]:
        """CANCEL a branch that is to be cancelled, as soon as it has answered anything (clause 9.1)."""
        if not (branch.cancelled and branch.provisional) or branch.final is not None:
            return []
        branch.cancelled = False
        cancel = sip.cancel_for(branch.request)
        given = context.notes.get("cancel_reason", ())
        for reason in (ELSEWHERE,) if context.phase is Phase.ACCEPTED else given if isinstance(given, tuple) else ():
            cancel = cancel.append("Reason", reason)
        return [Send(branch.interface, branch.peer, cancel)]

    def _cancel_all(self, context: Context) -> list[Output]:
        outputs: list[Output] = []
        for branch in context.branches.values():
            if branch.final is None and context.method == "INVITE":
                branch.cancelled = True
                outputs += self._cancel_waiting(context, branch)
        return outputs

    def _pass_on(self, context: Context, branch: Branch, answer: sip.Message, now: float) -> list[Output]:
        outputs = self._answered(context, branch, answer, now)
        return [] if outputs is None else outputs

    # ---- sending

    def _forward(self, context: Context, request: sip.Message, address: str, *, record: bool = True) -> list[Output]:
        """Forward a request to "host:port" (clause 16.6): header fields, Max-Forwards, Record-Route, Via."""
        hops = request.first("Max-Forwards")
        left = int(hops) - 1 if hops.isascii() and hops.isdigit() and len(hops) < 6 else MAX_FORWARDS - 1
        request = apply(self.policy.headers.get(context.way), request, self._values(context))
        request = request.with_header("Max-Forwards", str(left))
        interface, peer = self._peer_of(address, context)
        way_out = self._way_out(interface, peer)
        if self._records(context.way, request.method):
            request = self._record_routed(context, request, way_out)
        branch_id = self._branch_id()
        flags = "".join(f";{flag}" for flag in self.policy.via_params)
        if sip.parse_via(context.request.first("Via")).transport == "TCP":
            flags += "".join(f";{name}={self.random.getrandbits(16):x}" for name in self.policy.via_tcp_params)
        request = request.prepend("Via", f"SIP/2.0/{way_out.transport} {self._sent_by()};branch={branch_id}{flags}")
        request = sized(request, way_out, self.policy.stream_above)
        context.branches[branch_id] = Branch(branch_id, request, interface, peer)
        if request.method != "ACK":
            self._branches[branch_id] = context
        return [Send(interface, peer, request)]

    def _records(self, way: Way, method: str) -> bool:
        """Whether we stay on the path of what a request begins (clause 16.6 step 4)."""
        if way in (Way.IN_DIALOG_FROM_UE, Way.IN_DIALOG_TO_UE) and not self.policy.record_route_in_dialog:
            return False
        return way is not Way.REGISTER and method in self.policy.record_route_methods

    def _record_routed(self, context: Context, request: sip.Message, way_out: Carriage) -> sip.Message:
        form = self.policy.record_route.get(f"{context.way} {request.method}") or self.policy.record_route.get(
            str(context.way), RecordRouteForm()
        )
        values = self._values(context) | {
            "from_tag": sip.parse_name_addr(request.first("From")).param("tag") or "",
            "random": str(context.notes.setdefault("record_route", self._token())),
        }
        params = [(name, filled(text, values) if text is not None else None) for name, text in form.params]
        tail = "".join(f";{name}" if text is None else f";{name}={text}" for name, text in params)
        user = f"{form.user}@" if form.user else ""
        host, port = (form.host, DEFAULT_PORT) if form.host else split_address(self.names.own)
        shown = f":{port}" if form.port or port != DEFAULT_PORT else ""
        uri = f"sip:{user}{host}{shown}"
        way_in = self._way_out(context.interface, context.peer)
        incoming = sip.parse_via(request.first("Via")).transport if not way_in.by_size else ""
        before, after = shown_transport(incoming), shown_transport("" if way_out.by_size else way_out.transport)
        if before != after:  # one for each side (RFC 5658)
            request = request.prepend("Record-Route", f"<{uri}{before};r2=on{tail}>")
            after += ";r2=on"
        return request.prepend("Record-Route", f"<{uri}{after}{tail}>")

    def _way_out(self, interface: Interface, peer: Peer) -> Carriage:
        """The transport to a peer. A subclass knows better where a peer has a flow of its own."""
        del interface, peer
        return Carriage(
            self.policy.transport, by_size=bool(self.policy.stream_above) and self.policy.transport == "UDP"
        )

    def _send_upstream(self, context: Context, answer: sip.Message) -> Send:
        """Forward an answer without our Via, its header fields treated (clause 16.7 step 3 and 9)."""
        answer = answer.remove_first_value("Via")
        way = ANSWER_TO[context.way]
        if way is Way.REGISTER_ANSWER and answer.status == 401:
            way = Way.REGISTER_CHALLENGE
        rule = self.policy.headers.get(way)
        return Send(context.interface, context.peer, apply(rule, answer, self._values(context)))

    def _forward_stray(self, answer: sip.Message) -> list[Output]:
        """An answer to a request from before our time goes where the next Via says (clause 18.2.2)."""
        answer = answer.remove_first_value("Via")
        via = sip.parse_via(answer.first("Via"))
        if not via.host:
            return [Note("answer_without_request", {"status": answer.status})]
        port = via.param("rport") or ""
        number = int(port) if port.isascii() and port.isdigit() and len(port) < 6 else via.port
        address = f"{via.param('received') or via.host}:{number or DEFAULT_PORT}"
        interface, peer = self._peer_of(address, None)
        return [Send(interface, peer, answer)]

    def _own_answer(
        self,
        context: Context,
        status: int,
        reason: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
    ) -> Send:
        extra = (*headers, *self._server_header())
        answer = sip.respond(context.request, status, reason, to_tag=self._tag(context), headers=extra)
        return Send(context.interface, context.peer, answer)

    def _refuse(self, context: Context, status: int, reason: str) -> list[Output]:
        """Answer a request with a final refusal of our own."""
        context.phase = Phase.REFUSED
        return [self._own_answer(context, status, reason)]

    def _reply(
        self,
        event: Received,
        request: sip.Message,
        status: int,
        reason: str,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> Send:
        """Answer a request of which no context is made."""
        answer = sip.respond(request, status, reason, to_tag=self._token(), headers=(*headers, *self._server_header()))
        return Send(event.interface, event.peer, answer)

    def _server_header(self) -> tuple[tuple[str, str], ...]:
        return (("Server", self.policy.server),) if self.policy.server else ()

    # ---- small things

    def _without_own_route(self, request: sip.Message) -> tuple[sip.Message, sip.Uri | None]:
        """Take our own entry off the Route (clause 16.4), both of a pair written for two transports."""
        top = request.first("Route")
        if not top:
            return request, None
        uri = sip.parse_uri(sip.parse_name_addr(top).uri)
        if not self.names.is_own(uri.host, uri.port):
            return request, None
        request = request.remove_first_value("Route")
        following = sip.parse_uri(sip.parse_name_addr(request.first("Route")).uri)
        if uri.param("r2") and following.param("r2") and self.names.is_own(following.host, following.port):
            request = request.remove_first_value("Route")
        return request, uri

    def _next_hop(self, request: sip.Message) -> str:
        """Where a request goes: its topmost Route, or else its Request-URI; "host:port"."""
        route = request.first("Route")
        uri = sip.parse_uri(sip.parse_name_addr(route).uri if route else request.request_uri)
        return self.names.address_of(uri)

    def _tag(self, context: Context) -> str:
        if context.method in self.policy.one_tag:
            return self._one_tags.setdefault(context.method, self._token())
        if context.method == "REGISTER":  # a challenge and what follows are of one Call-ID
            call_id = context.request.first("Call-ID")
            self._register_tags[call_id] = tag = self._register_tags.pop(call_id, "") or self._token()
            if len(self._register_tags) > MAX_CONTEXTS:
                self._register_tags.popitem(last=False)
            return tag
        return str(context.notes.setdefault("tag", self._token()))

    def _token(self) -> str:
        return f"{self.random.getrandbits(48):012x}"

    def _own_request(self, request: sip.Message) -> Send:
        """Send a request of our own making, which has no Via yet; the answer to it ends here."""
        interface, peer = self._peer_of(self._next_hop(request), None)
        way_out = self._way_out(interface, peer)
        via = f"SIP/2.0/{way_out.transport} {self._sent_by()};branch={self._own_branch()}"
        return Send(interface, peer, sized(request.prepend("Via", via), way_out, self.policy.stream_above))

    def _own_branch(self) -> str:
        branch_id = self._branch_id()
        self._own_requests[branch_id] = None
        if len(self._own_requests) > MAX_CONTEXTS:
            self._own_requests.popitem(last=False)
        return branch_id

    def _sent_by(self) -> str:
        host, port = split_address(self.names.own)
        return f"{host}:{port}" if self.policy.via_port or port != DEFAULT_PORT else host

    def _branch_id(self) -> str:
        return f"{COOKIE}{self.random.getrandbits(96):024x}"

    # ---- time

    def forget(self, subscriber: str, calls: Collection[str], now: float) -> Sequence[Output]:
        """Forget the transactions of these calls."""
        chosen = frozenset(calls)
        for key in [key for key, one in self._contexts.items() if one.request.first("Call-ID") in chosen]:
            self._forget(key)
        for call_id in chosen:
            self._register_tags.pop(call_id, None)
        return ()

    def deadline(self) -> float | None:
        """When the next context is given up or forgotten."""
        return self._timers.deadline()

    def wake(self, now: float) -> Sequence[Output]:
        """Give up INVITEs that ring too long, forget what is finished."""
        outputs: list[Output] = []
        for key in self._timers.due(now):
            context = self._contexts[key]
            if context.phase is Phase.PROCEEDING and context.method == "INVITE" and context.branches:
                context.phase = Phase.CANCELLING
                self._timers.set(key, now + LINGER)
                outputs += self._take_cancel(context, None, context.request, now)
            elif context.phase is Phase.CANCELLING:
                self._timers.set(key, now + LINGER)
                outputs += [*self._refuse(context, 487, "Request Terminated"), *self._over(context)]
            else:
                self._forget(key)
        return outputs

    def _forget(self, key: tuple[str, ...]) -> None:
        context = self._contexts.pop(key)
        self._timers.cancel(key)
        for branch in context.branches:
            self._branches.pop(branch, None)

    def _limit(self) -> None:
        if len(self._contexts) > MAX_CONTEXTS:
            self._forget(next(iter(self._contexts)))


def _fault(request: sip.Message) -> tuple[int, str] | None:
    """What is wrong with a request before it is looked at (clause 16.3)."""
    missing = [n for n in ("Via", "From", "To", "Call-ID", "CSeq") if not request.has(n)]
    cseq = request.first("CSeq").split()
    if missing or len(cseq) != 2 or cseq[1] != request.method:
        return 400, "Bad Request"
    if request.first("Max-Forwards") == "0":
        return 483, "Too Many Hops"
    return None


def _not_understood(request: sip.Message) -> list[str]:
    """What Proxy-Require wants of every proxy and we know nothing of (clause 16.3 step 5)."""
    if request.method in ("ACK", "CANCEL"):
        return []
    wanted = [tag.strip() for value in request.values("Proxy-Require") for tag in value.split(",")]
    return [tag for tag in wanted if tag and tag.lower() not in _UNDERSTOOD]


def _preference(branch: Branch) -> tuple[int, int]:
    """Which refusal is best (clause 16.7 step 6): 6xx, then the lowest class; 503 never if there is another."""
    status = branch.final.status if branch.final else 699
    return (0 if status >= 600 else 9 if status == 503 else status // 100, status)


_UNDERSTOOD = frozenset({"sec-agree", "privacy", "path"})  # RFC 3329, RFC 3323, RFC 3327
_P, _I = Phase, Incident
TABLE: dict[tuple[Phase, Incident], tuple[Phase, Handler]] = {
    (_P.PROCEEDING, _I.PROVISIONAL): (_P.PROCEEDING, SipProxy._take_provisional),
    (_P.PROCEEDING, _I.SUCCESS): (_P.ACCEPTED, SipProxy._take_success),
    (_P.PROCEEDING, _I.FAILURE): (_P.PROCEEDING, SipProxy._take_failure),
    (_P.PROCEEDING, _I.CANCEL): (_P.CANCELLING, SipProxy._take_cancel),
    (_P.PROCEEDING, _I.ACK): (_P.PROCEEDING, SipProxy._nothing),
    (_P.CANCELLING, _I.PROVISIONAL): (_P.CANCELLING, SipProxy._take_provisional),
    (_P.CANCELLING, _I.SUCCESS): (_P.ACCEPTED, SipProxy._take_success),
    (_P.CANCELLING, _I.FAILURE): (_P.CANCELLING, SipProxy._take_failure),
    (_P.CANCELLING, _I.CANCEL): (_P.CANCELLING, SipProxy._nothing),
    (_P.CANCELLING, _I.ACK): (_P.CANCELLING, SipProxy._nothing),
    (_P.ACCEPTED, _I.PROVISIONAL): (_P.ACCEPTED, SipProxy._nothing),
    (_P.ACCEPTED, _I.SUCCESS): (_P.ACCEPTED, SipProxy._take_success),
    (_P.ACCEPTED, _I.FAILURE): (_P.ACCEPTED, SipProxy._take_failure),
    (_P.ACCEPTED, _I.CANCEL): (_P.ACCEPTED, SipProxy._nothing),
    (_P.ACCEPTED, _I.ACK): (_P.ACCEPTED, SipProxy._nothing),
    (_P.REFUSED, _I.PROVISIONAL): (_P.REFUSED, SipProxy._nothing),
    (_P.REFUSED, _I.SUCCESS): (_P.REFUSED, SipProxy._nothing),
    (_P.REFUSED, _I.FAILURE): (_P.REFUSED, SipProxy._take_failure),
    (_P.REFUSED, _I.CANCEL): (_P.REFUSED, SipProxy._nothing),
    (_P.REFUSED, _I.ACK): (_P.ACKNOWLEDGED, SipProxy._nothing),
    (_P.ACKNOWLEDGED, _I.PROVISIONAL): (_P.ACKNOWLEDGED, SipProxy._nothing),
    (_P.ACKNOWLEDGED, _I.SUCCESS): (_P.ACKNOWLEDGED, SipProxy._nothing),
    (_P.ACKNOWLEDGED, _I.FAILURE): (_P.ACKNOWLEDGED, SipProxy._nothing),
    (_P.ACKNOWLEDGED, _I.CANCEL): (_P.ACKNOWLEDGED, SipProxy._nothing),
    (_P.ACKNOWLEDGED, _I.ACK): (_P.ACKNOWLEDGED, SipProxy._nothing),
}
