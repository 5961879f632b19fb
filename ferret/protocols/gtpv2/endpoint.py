"""Reliable delivery of GTPv2-C messages (TS 29.274 clause 7.6), path management (7.1) and protocol errors (7.7).

    endpoint.send_request(message, peer, now, token)    repeats it until answered or given up
    endpoint.receive_datagram(octets, peer, now)        -> events
    endpoint.send_response(transaction, message, now)   and answers repetitions of the request from its cache
    endpoint.datagrams()                                -> what to send now
    endpoint.deadline(), endpoint.wake(now)             -> when to be woken, and what came of it

Sans-IO: no socket, no clock. Both ends of a path count their own sequence numbers, so what we asked (`_asked`) and what
we are asked (`_serving`) are kept apart. An answer belongs to the request by peer address and sequence number, never
by TEID: an error may come with TEID 0.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final

from ferret.errors import DecodeError, LocalMisuseError
from ferret.protocols.gtpv2.codec import Message, decode, kind_of, peek
from ferret.protocols.gtpv2.constants import Cause, MessageType
from ferret.protocols.gtpv2.events import (
    Discarded,
    Event,
    PathFailed,
    Peer,
    PeerRestarted,
    RequestReceived,
    RequestTimedOut,
    ResponseReceived,
)
from ferret.protocols.gtpv2.names import ANSWERED_BY, ANSWERS, COMMANDS, MESSAGE_NAMES
from ferret.protocols.gtpv2.single_values import Recovery
from ferret.protocols.gtpv2.views import CauseIe
from ferret.protocols.summary import Kind

__all__ = [
    "Discarded",
    "Event",
    "Gtpv2Endpoint",
    "PathFailed",
    "Peer",
    "PeerRestarted",
    "RequestReceived",
    "RequestTimedOut",
    "ResponseReceived",
]

COMMAND_BIT: Final = 0x800000
_ECHO: Final = -1  # the token of our own Echo Requests


class AskedEvent(Enum):
    """What can happen to a request of ours."""

    ANSWERED = auto()
    EXPIRED = auto()  # T3-RESPONSE, with attempts left
    EXHAUSTED = auto()  # T3-RESPONSE after the N3-REQUESTSth attempt
    REFUSED = auto()  # Version Not Supported Indication


class Serving(Enum):
    """Where a request of a peer stands."""

    EXECUTING = auto()
    ANSWERED = auto()


class ServingEvent(Enum):
    """What can happen to a request of a peer."""

    REPEATED = auto()
    ANSWER = auto()
    EXPIRED = auto()


@dataclass(slots=True)
class _Asked:
    key: tuple[str, int]  # peer address and sequence number
    token: int
    peer: Peer
    type: int
    octets: bytes
    attempts: int
    due: float


@dataclass(slots=True)
class _Served:
    key: tuple[Peer, int]  # peer and sequence number
    transaction: int
    request: Message
    octets: bytes
    state: Serving
    due: float
    answer: bytes = b""


class Gtpv2Endpoint:
    """One GTP-C entity's transactions with all its peers.

    `t3_response` in seconds and `n3_requests` (attempts in all) are those of clause 7.6; `keep` is how many seconds an
    answer is kept for repetitions, by default as long as a peer with the same settings may repeat. `restart_counter`
    goes into Echo Responses. At most `capacity` requests of peers are held; more are discarded.
    """

    def __init__(
        self,
        *,
        restart_counter: int = 0,
        first_sequence: int = 1,
        t3_response: float = 3.0,
        n3_requests: int = 3,
        keep: float | None = None,
        capacity: int = 100_000,
    ) -> None:
        self.restart_counter = restart_counter
        self._t3 = t3_response
        self._n3 = n3_requests
        self._keep = t3_response * (n3_requests + 1) if keep is None else keep
        self._sequence = first_sequence % COMMAND_BIT
        self._capacity = capacity
        self._asked: dict[tuple[str, int], _Asked] = {}
        self._served: dict[int, _Served] = {}
        self._serving: dict[tuple[Peer, int], _Served] = {}
        self._last_transaction = 0
        self._restart_counters: dict[str, int] = {}
        self._asked_timers: list[tuple[float, tuple[str, int]]] = []
        self._served_timers: list[tuple[float, int]] = []
        self._out: list[tuple[bytes, Peer]] = []
        self._found: list[Event] = []

    # What the driver asks for

    def send_request(self, message: Message, peer: Peer, now: float, token: int) -> None:
        """Send a request, or an indication, under our next sequence number; its fate comes under `token`."""
        self._send(message, peer, now, token)

    def send_echo(self, peer: Peer, now: float) -> None:
        """Ask whether the peer is there. Silence becomes PathFailed, a new restart counter PeerRestarted."""
        recovery = Recovery(self.restart_counter).ie()
        self._send(Message(MessageType.ECHO_REQUEST, None, 0, (recovery,)), peer, now, _ECHO)

    def send_response(self, transaction: int, message: Message, now: float) -> None:
        """Answer a request under its own sequence number. Nothing is sent when the peer has long given up.

        Raises LocalMisuseError where the transaction was never opened, or is answered already.
        """
        if not 0 < transaction <= self._last_transaction:
            raise LocalMisuseError(f"there is no GTPv2-C transaction {transaction}")
        served = self._served.get(transaction)
        if served is None:
            return
        octets = replace(message, sequence=served.request.sequence).encode()
        if served.state is Serving.EXECUTING:
            served.answer = octets
        self._serve(served, ServingEvent.ANSWER)
        self._keep_until(served, now + self._keep)

    def datagrams(self) -> list[tuple[bytes, Peer]]:
        """What is to be sent now, in order; the list is handed over."""
        out, self._out = self._out, []
        return out

    def deadline(self) -> float | None:
        """When `wake` wants to be called; None: nothing is awaited."""
        asked, served = self._next_asked(), self._next_served()
        return min((entry.due for entry in (asked, served) if entry is not None), default=None)

    def wake(self, now: float) -> list[Event]:
        """Repeat, give up and forget what is due at `now`."""
        while (asked := self._next_asked()) is not None and asked.due <= now:
            event = AskedEvent.EXPIRED if asked.attempts < self._n3 else AskedEvent.EXHAUSTED
            _ASKED[event](self, asked, now)
        while (served := self._next_served()) is not None and served.due <= now:
            self._serve(served, ServingEvent.EXPIRED)
        return self._take()

    def receive_datagram(self, octets: bytes, peer: Peer, now: float) -> list[Event]:
        """Take a datagram from a peer, with a message that rides on it, and say what came of it. Never raises."""
        try:
            message = decode(octets)
        except DecodeError as error:
            self._answer_undecodable(octets, peer, error)
            return self._take()
        self._receive(message, octets, peer, now)
        try:
            rider = message.piggybacked
        except DecodeError as error:
            self._found.append(Discarded(peer, f"piggybacked message: {error}"))
        else:
            if rider is not None and not rider.trailing:
                self._receive(rider, rider.encode(), peer, now)
        return self._take()

    def forget(self, peer_address: str) -> None:
        """Drop every request to this address that is unanswered, without a further event."""
        for key in [key for key in self._asked if key[0] == peer_address]:
            del self._asked[key]

    @property
    def pending(self) -> int:
        """How many requests of ours are unanswered."""
        return len(self._asked)

    # Sending

    def _send(self, message: Message, peer: Peer, now: float, token: int) -> None:
        sequence = self._next_sequence(peer[0], COMMAND_BIT if message.type in COMMANDS else 0)
        octets = replace(message, sequence=sequence).encode()
        self._out.append((octets, peer))
        if kind_of(message.type) is Kind.REQUEST:
            asked = _Asked((peer[0], sequence), token, peer, message.type, octets, 1, now + self._t3)
            self._asked[asked.key] = asked
            heapq.heappush(self._asked_timers, (asked.due, asked.key))

    def _next_sequence(self, address: str, bit: int) -> int:
        """The next number that is not in flight to this address (clause 7.6: 24 bits, the top one for commands)."""
        for _ in range(COMMAND_BIT):
            sequence = self._sequence | bit
            self._sequence = (self._sequence + 1) % COMMAND_BIT
            if (address, sequence) not in self._asked:
                return sequence
        raise LocalMisuseError("every GTPv2-C sequence number is in flight")

    # Receiving

    def _receive(self, message: Message, octets: bytes, peer: Peer, now: float) -> None:
        self._watch_recovery(message, peer)
        if message.type == MessageType.ECHO_REQUEST:
            answer = Message(MessageType.ECHO_RESPONSE, None, message.sequence, (Recovery(self.restart_counter).ie(),))
            self._out.append((answer.encode(), peer))
        elif message.type == MessageType.VERSION_NOT_SUPPORTED_INDICATION:
            self._receive_answer(message, peer, now)
        elif message.type not in MESSAGE_NAMES:
            self._found.append(Discarded(peer, f"message type {message.type} is unknown"))
        elif kind_of(message.type) is Kind.RESPONSE:
            self._receive_answer(message, peer, now)
        elif kind_of(message.type) is Kind.REQUEST:
            self._receive_request(message, octets, peer, now)
        else:
            self._found.append(RequestReceived(message, peer, 0))

    def _receive_answer(self, message: Message, peer: Peer, now: float) -> None:
        asked = self._asked.get((peer[0], message.sequence))
        if asked is None:
            self._found.append(Discarded(peer, f"{message.name} answers nothing that was asked"))
        elif message.type == MessageType.VERSION_NOT_SUPPORTED_INDICATION:
            _ASKED[AskedEvent.REFUSED](self, asked, now)
        elif ANSWERS[message.type] != asked.type:
            self._found.append(Discarded(peer, f"{message.name} does not answer {MESSAGE_NAMES[asked.type]}"))
        else:
            _ASKED[AskedEvent.ANSWERED](self, asked, now)
            if asked.token != _ECHO:
                self._found.append(ResponseReceived(message, peer, asked.token))

    def _receive_request(self, message: Message, octets: bytes, peer: Peer, now: float) -> None:
        key = (peer, message.sequence)
        served = self._serving.get(key)
        if served is not None:
            if served.octets == octets:
                self._serve(served, ServingEvent.REPEATED)
                return
            self._forget_served(served)  # the peer counts anew: another request under an old number
        if len(self._served) >= self._capacity:
            self._found.append(Discarded(peer, "too many requests are held"))
            return
        self._last_transaction += 1
        served = _Served(key, self._last_transaction, message, octets, Serving.EXECUTING, 0.0)
        self._serving[key] = self._served[served.transaction] = served
        self._keep_until(served, now + 2 * self._keep)
        self._found.append(RequestReceived(message, peer, served.transaction, self._obeyed(message, peer, now)))

    def _obeyed(self, message: Message, peer: Peer, now: float) -> int | None:
        """The token of our command that this request obeys: it has the command's sequence number."""
        asked = self._asked.get((peer[0], message.sequence)) if message.sequence & COMMAND_BIT else None
        if asked is None or asked.type not in COMMANDS:
            return None
        _ASKED[AskedEvent.ANSWERED](self, asked, now)
        return asked.token

    def _watch_recovery(self, message: Message, peer: Peer) -> None:
        """Compare restart counters modulo 256; a smaller one is an old message overtaken by a newer (TS 23.007)."""
        try:
            recovery = message.view(Recovery)
        except DecodeError:
            return
        if recovery is None:
            return
        was = self._restart_counters.setdefault(peer[0], recovery.value)
        if 0 < (recovery.value - was) % 256 < 128:
            self._restart_counters[peer[0]] = recovery.value
            self._found.append(PeerRestarted(peer, was, recovery.value))

    def _answer_undecodable(self, octets: bytes, peer: Peer, error: DecodeError) -> None:
        """Clause 7.7.2: another version is told so. 7.7.3: a request of wrong length is refused. Else dropped."""
        self._found.append(Discarded(peer, str(error)))
        if len(octets) < 8 or octets[1] == MessageType.VERSION_NOT_SUPPORTED_INDICATION:
            return
        if octets[0] >> 5 != 2:
            at = 8 if octets[0] & 8 and len(octets) >= 12 else 4
            sequence = int.from_bytes(octets[at : at + 3], "big")
            answer = Message(MessageType.VERSION_NOT_SUPPORTED_INDICATION, None, sequence)
        else:
            seen = peek(octets)
            if seen is None or seen.kind is not Kind.REQUEST or octets[1] == MessageType.ECHO_REQUEST:
                return
            cause = CauseIe(Cause.INVALID_LENGTH).ie()
            answer = Message(ANSWERED_BY[octets[1]], 0, int(seen.correlation, 16), (cause,))
        self._out.append((answer.encode(), peer))

    # Transitions

    def _serve(self, served: _Served, event: ServingEvent) -> None:
        handler = _SERVING.get((served.state, event))
        if handler is None:
            raise LocalMisuseError(f"{served.request.name} is {served.state.name.lower()}: no {event.name.lower()} now")
        handler(self, served)

    def _ignore(self, served: _Served) -> None:
        """The request is being executed; its answer will do for both."""

    def _answer(self, served: _Served) -> None:
        served.state = Serving.ANSWERED
        self._out.append((served.answer, served.key[0]))

    def _forget_served(self, served: _Served) -> None:
        del self._serving[served.key]
        del self._served[served.transaction]

    def _settle(self, asked: _Asked, now: float) -> None:
        del self._asked[asked.key]

    def _repeat(self, asked: _Asked, now: float) -> None:
        asked.attempts += 1
        asked.due = now + self._t3
        self._out.append((asked.octets, asked.peer))
        heapq.heappush(self._asked_timers, (asked.due, asked.key))

    def _give_up(self, asked: _Asked, now: float) -> None:
        self._fail(asked, f"no answer to {asked.attempts} attempts")

    def _refuse(self, asked: _Asked, now: float) -> None:
        self._fail(asked, "the peer does not support GTP version 2")

    def _fail(self, asked: _Asked, reason: str) -> None:
        del self._asked[asked.key]
        if asked.token == _ECHO:
            self._found.append(PathFailed(asked.peer))
        else:
            self._found.append(RequestTimedOut(asked.token, asked.peer, reason))

    # Timers: an entry whose time is no longer its owner's is left over from before an answer or a repetition

    def _keep_until(self, served: _Served, due: float) -> None:
        served.due = due
        heapq.heappush(self._served_timers, (due, served.transaction))

    def _next_asked(self) -> _Asked | None:
        while self._asked_timers:
            due, key = self._asked_timers[0]
            asked = self._asked.get(key)
            if asked is not None and asked.due == due:
                return asked
            heapq.heappop(self._asked_timers)
        return None

    def _next_served(self) -> _Served | None:
        while self._served_timers:
            due, transaction = self._served_timers[0]
            served = self._served.get(transaction)
            if served is not None and served.due == due:
                return served
            heapq.heappop(self._served_timers)
        return None

    def _take(self) -> list[Event]:
        found, self._found = self._found, []
        return found


_ASKED: Final[dict[AskedEvent, Callable[[Gtpv2Endpoint, _Asked, float], None]]] = {
    AskedEvent.ANSWERED: Gtpv2Endpoint._settle,
    AskedEvent.EXPIRED: Gtpv2Endpoint._repeat,
    AskedEvent.EXHAUSTED: Gtpv2Endpoint._give_up,
    AskedEvent.REFUSED: Gtpv2Endpoint._refuse,
}
"""A request of ours has one state, awaiting its answer; every way out of it."""

_SERVING: Final[dict[tuple[Serving, ServingEvent], Callable[[Gtpv2Endpoint, _Served], None]]] = {
    (Serving.EXECUTING, ServingEvent.REPEATED): Gtpv2Endpoint._ignore,
    (Serving.EXECUTING, ServingEvent.ANSWER): Gtpv2Endpoint._answer,
    (Serving.EXECUTING, ServingEvent.EXPIRED): Gtpv2Endpoint._forget_served,
    (Serving.ANSWERED, ServingEvent.REPEATED): Gtpv2Endpoint._answer,
    (Serving.ANSWERED, ServingEvent.EXPIRED): Gtpv2Endpoint._forget_served,
}
