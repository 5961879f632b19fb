"""The transaction layer (RFC 3261 clause 17, RFC 6026): what makes SIP over UDP reliable. Sans-IO.

It stands between a user (a proxy, a UA) and the sockets: retransmissions are sent and absorbed here, and the user
sees every message once. Provisional answers are made reliable end to end by PRACK (RFC 3262), not here.

The user sends 100 Trying itself. With `acknowledges=False` it also makes the ACK for a 300-699 itself (a proxy whose
every output is looked at); the layer then only repeats that ACK.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from itertools import count
from typing import TypeAlias

from ferret.errors import PeerViolationError
from ferret.protocols.sip.message import Message, request, response
from ferret.protocols.sip.syntax import parse_via
from ferret.protocols.sip.transaction_tables import (
    FIRST,
    REPEATING,
    STARTS,
    TABLES,
    Do,
    Event,
    Machine,
    State,
    Timings,
    duration,
    next_interval,
)

MAX_TRANSACTIONS = 65536
COOKIE = "z9hG4bK"
Key: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message for the user, seen for the first time.

    `stray`: a response to no transaction of this layer, or a request that was not made a transaction of (an ACK for
    a 2xx, or one too many).
    """

    message: Message
    source: str
    stray: bool = False


@dataclass(frozen=True, slots=True)
class Repeated:
    """A 2xx to INVITE again: its sender has not seen the ACK. A proxy forwards it, a UA sends its ACK again."""

    message: Message
    source: str


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Timer B or F: nobody answered. The user goes on as if `answer`, a 408, had come (RFC 3261 clause 16.9)."""

    request: Message
    destination: str
    answer: Message


@dataclass(frozen=True, slots=True)
class Unacknowledged:
    """Timer H: no ACK came for this final response."""

    response: Message
    destination: str


Happened: TypeAlias = Arrived | Repeated | Unanswered | Unacknowledged


@dataclass(slots=True)
class _Transaction:
    machine: Machine
    key: Key
    request: Message
    peer: str
    reliable: bool
    state: State
    last: Message | None = None  # what is sent again: a client's request, a server's latest answer
    ack: Message | None = None
    timers: dict[Event, tuple[float, int]] = field(default_factory=dict)  # due, number in the heap
    intervals: dict[Event, float] = field(default_factory=dict)


class TransactionLayer:
    """All transactions of one SIP element. `source` and `destination` are the caller's transport addresses."""

    def __init__(self, *, timings: Timings | None = None, acknowledges: bool = True) -> None:
        self._timings = timings or Timings()
        self._acknowledges = acknowledges
        self._clients: dict[Key, _Transaction] = {}
        self._servers: dict[Key, _Transaction] = {}
        self._heap: list[tuple[float, int, _Transaction, Event]] = []
        self._numbers = count()
        self._outbox: list[tuple[Message, str]] = []

    def __len__(self) -> int:
        return len(self._clients) + len(self._servers)

    def receive(self, message: Message, source: str, now: float, *, reliable: bool = False) -> tuple[Happened, ...]:
        """A message has come from the network."""
        if message.is_request:
            return self._receive_request(message, source, now, reliable)
        transaction = self._clients.get(client_key(message))
        if transaction is None:
            return (Arrived(message, source, stray=True),)
        return self._step(transaction, _class_of(message), message, source, now)

    def send(self, message: Message, destination: str, now: float, *, reliable: bool = False) -> None:
        """The user sends a message; `to_send` gives it out, and again as often as needed."""
        if not message.is_request:
            self._send_response(message, destination, now)
            return
        if message.method == "ACK":
            self._send_ack(message, destination)
            return
        machine = Machine.INVITE_CLIENT if message.method == "INVITE" else Machine.CLIENT
        self._outbox.append((message, destination))
        if len(self) < MAX_TRANSACTIONS:
            key = client_key(message)
            transaction = _Transaction(machine, key, message, destination, reliable, FIRST[machine], message)
            self._clients[key] = transaction
            self._start_timers(transaction, now)

    def retry(self, message: Message, destination: str, now: float) -> None:
        """Send a request, whose stream could not be opened, in datagrams after all (clause 18.1.1).

        It is the same transaction: `message` differs from what `send` was given in its Via's transport only.
        """
        transaction = self._clients.get(client_key(message))
        self._outbox.append((message, destination))
        if transaction is None:
            return
        transaction.request = transaction.last = message
        transaction.reliable = False
        for timer in list(transaction.timers):
            del transaction.timers[timer]
        self._start_timers(transaction, now)

    def to_send(self) -> list[tuple[Message, str]]:
        """What is to be sent now, with destinations; each is given out once."""
        outbox, self._outbox = self._outbox, []
        return outbox

    def deadline(self) -> float | None:
        """When `wake` wants to be called at the latest; None: no timer runs."""
        while self._heap:
            due, number, transaction, timer = self._heap[0]
            if transaction.timers.get(timer) == (due, number):
                return due
            heapq.heappop(self._heap)
        return None

    def wake(self, now: float) -> tuple[Happened, ...]:
        """Run the timers that are due."""
        happened: list[Happened] = []
        while (due := self.deadline()) is not None and due <= now:
            _, _, transaction, timer = heapq.heappop(self._heap)
            del transaction.timers[timer]
            happened += self._step(transaction, timer, None, transaction.peer, due)
            if timer in REPEATING and timer in _running(transaction):
                last = transaction.intervals[timer]
                interval = next_interval(timer, transaction.state, last, self._timings)
                self._start(transaction, timer, due, interval)
        return tuple(happened)

    # ---- requests in, responses and ACKs out

    def _receive_request(self, message: Message, source: str, now: float, reliable: bool) -> tuple[Happened, ...]:
        key = server_key(message)
        known = self._servers.get(key)
        if message.method == "ACK":
            if known is None:
                return (Arrived(message, source, stray=True),)
            return self._step(known, Event.ACK, message, source, now)
        if known is not None:
            return self._step(known, Event.REQUEST, message, source, now)
        if len(self) >= MAX_TRANSACTIONS:
            return (Arrived(message, source, stray=True),)
        machine = Machine.INVITE_SERVER if message.method == "INVITE" else Machine.SERVER
        self._servers[key] = _Transaction(machine, key, message, source, reliable, FIRST[machine])
        return (Arrived(message, source),)

    def _send_response(self, message: Message, destination: str, now: float) -> None:
        transaction = self._servers.get(server_key(message))
        event = _class_of(message)
        if transaction is None or (transaction.state, event) not in TABLES[transaction.machine]:
            self._outbox.append((message, destination))
            return
        transaction.peer = destination
        transaction.last = message
        self._step(transaction, event, message, destination, now)

    def _send_ack(self, message: Message, destination: str) -> None:
        """An ACK for a 300-699 has the branch of its INVITE and is kept to be repeated; one for a 2xx is not."""
        transaction = self._clients.get(client_key(message))
        if transaction is not None and transaction.state is State.COMPLETED:
            transaction.ack = message
        self._outbox.append((message, destination))

    # ---- the state machines

    def _step(
        self, transaction: _Transaction, event: Event, message: Message | None, peer: str, now: float
    ) -> tuple[Happened, ...]:
        step = TABLES[transaction.machine].get((transaction.state, event))
        if step is None:
            raise PeerViolationError(f"{event} in state {transaction.state} of an {transaction.machine} transaction")
        before, transaction.state = transaction.state, step.state
        happened: list[Happened] = []
        for do in step.do:
            happened += self._do(do, transaction, message, peer)
        if step.state is not before:
            self._start_timers(transaction, now)
        return tuple(happened)

    def _do(self, do: Do, transaction: _Transaction, message: Message | None, peer: str) -> tuple[Happened, ...]:
        if do in (Do.PASS, Do.PASS_AGAIN) and message is not None:
            return (Arrived(message, peer) if do is Do.PASS else Repeated(message, peer),)
        if do is Do.SEND and message is not None:
            self._outbox.append((message, transaction.peer))
        elif do is Do.REPEAT and transaction.last is not None:
            self._outbox.append((transaction.last, transaction.peer))
        elif do is Do.ACKNOWLEDGE and message is not None:
            if transaction.ack is None and self._acknowledges:
                transaction.ack = ack_for(transaction.request, message)
            if transaction.ack is not None:
                self._outbox.append((transaction.ack, transaction.peer))
        elif do is Do.GIVE_UP:
            return (Unanswered(transaction.request, transaction.peer, timeout_answer(transaction.request)),)
        elif do is Do.UNACKNOWLEDGED and transaction.last is not None:
            return (Unacknowledged(transaction.last, transaction.peer),)
        return ()

    # ---- timers

    def _start_timers(self, transaction: _Transaction, now: float) -> None:
        """On entering a state: stop the timers of the one before, start its own. Terminated: forget everything."""
        kept = _running(transaction)
        for timer in [timer for timer in transaction.timers if timer not in kept]:
            del transaction.timers[timer]
        if transaction.state is State.TERMINATED:
            table = self._clients if transaction.key in self._clients else self._servers
            if table.get(transaction.key) is transaction:
                del table[transaction.key]
            return
        for timer in STARTS.get((transaction.machine, transaction.state), ()):
            seconds = duration(timer, self._timings, transaction.reliable)
            if seconds is not None and timer not in transaction.timers:
                self._start(transaction, timer, now, seconds)

    def _start(self, transaction: _Transaction, timer: Event, now: float, seconds: float) -> None:
        number = next(self._numbers)
        transaction.timers[timer] = (now + seconds, number)
        transaction.intervals[timer] = seconds
        heapq.heappush(self._heap, (now + seconds, number, transaction, timer))


def _running(transaction: _Transaction) -> tuple[Event, ...]:
    """The timers that may run in the transaction's state."""
    if transaction.machine is Machine.CLIENT and transaction.state is State.PROCEEDING:
        return (Event.TIMER_E, Event.TIMER_F)
    return STARTS.get((transaction.machine, transaction.state), ())


def _class_of(message: Message) -> Event:
    status = message.status
    return Event.PROVISIONAL if status < 200 else Event.SUCCESS if status < 300 else Event.FAILURE


def client_key(message: Message) -> Key:
    """What a response is matched to its client transaction by (clause 17.1.3): branch and method of the CSeq."""
    method = message.method
    return (parse_via(message.first("Via")).branch, "INVITE" if method == "ACK" else method)


def server_key(message: Message) -> Key:
    """What a request is matched to its server transaction by (clause 17.2.3).

    Branch, sent-by and method; where the branch has no cookie (RFC 2543), Call-ID, CSeq, From tag and top Via.
    """
    value = message.first("Via")
    via = parse_via(value)
    method = "INVITE" if message.method == "ACK" else message.method
    if via.branch.startswith(COOKIE):
        return (via.branch, f"{via.host}:{via.port or 5060}", method)
    return (
        message.first("Call-ID"),
        cseq_number(message),
        message.first("From"),
        f"{via.host}:{via.port}",
        via.branch,
        method,
    )


def cseq_number(message: Message) -> str:
    """The number in CSeq as written; "0" where there is none."""
    parts = message.first("CSeq").split()
    return parts[0] if parts else "0"


def ack_for(invite: Message, final: Message) -> Message:
    """The ACK for a 300-699 (clause 17.1.1.3): hop by hop, with the INVITE's branch and Route."""
    headers = [("Route", value) for value in invite.values("Route")]
    headers += [
        ("Via", invite.first("Via")),
        ("Max-Forwards", invite.first("Max-Forwards") or "70"),
        ("From", invite.first("From")),
        ("To", final.first("To")),
        ("Call-ID", invite.first("Call-ID")),
        ("CSeq", f"{cseq_number(invite)} ACK"),
    ]
    return request("ACK", invite.request_uri, headers)


def cancel_for(invite: Message) -> Message:
    """The CANCEL of a request (clause 9.1): same Request-URI, top Via, To, From, Call-ID, CSeq number and Route."""
    headers = [("Route", value) for value in invite.values("Route")]
    headers += [
        ("Via", invite.first("Via")),
        ("Max-Forwards", invite.first("Max-Forwards") or "70"),
        ("From", invite.first("From")),
        ("To", invite.first("To")),
        ("Call-ID", invite.first("Call-ID")),
        ("CSeq", f"{cseq_number(invite)} CANCEL"),
    ]
    return request("CANCEL", invite.request_uri, headers)


def respond(
    asked: Message, status: int, reason: str, *, to_tag: str = "", headers: tuple[tuple[str, str], ...] = ()
) -> Message:
    """A response of this element's own (clause 8.2.6): Via, From, To, Call-ID and CSeq of the request.

    `to_tag` is added where To has none; a 100 has no need of one.
    """
    to = asked.first("To")
    if to_tag and ";tag=" not in to.rpartition(">")[2]:
        to = f"{to};tag={to_tag}"
    fields = [("Via", value) for value in asked.values("Via")]
    fields += [("From", asked.first("From")), ("To", to), ("Call-ID", asked.first("Call-ID"))]
    fields += [("CSeq", asked.first("CSeq")), *headers]
    return response(status, reason, fields)


def timeout_answer(asked: Message) -> Message:
    """The 408 that stands for no answer at all (clause 8.1.3.1)."""
    return respond(asked, 408, "Request Timeout")
