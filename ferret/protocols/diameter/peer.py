"""One connection to a Diameter peer, without I/O: octets and time in, octets, events and a deadline out.

    peer = DiameterPeer(identity, side=Side.INITIATOR, random=random)
    peer.connected(now)                     # the driver's TCP connection is up
    events = peer.receive_bytes(octets, now)
    peer.send_request(message, token, now)  # comes back as AnswerReceived(token, …) or RequestTimedOut(token)
    peer.send_answer(event.transaction, message)
    socket.send(peer.bytes_to_send()); wake at peer.deadline(); close when peer.closed

The state machine is that of RFC 6733 clause 5.6 as one connection sees it; where the clause runs two connections of one
peer against each other (election, clause 5.6.4), `PeerTable` knows both. Requests go either way, whoever opened the
connection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, TypeAlias

from ferret.errors import DecodeError, LocalMisuseError, PeerViolationError
from ferret.protocols.diameter.capabilities import (
    Capabilities,
    Identity,
    capabilities_answer,
    capabilities_request,
    disconnect_cause_of,
    disconnect_request,
    plain_answer,
    read_capabilities,
    watchdog_request,
)
from ferret.protocols.diameter.codec import decode, split
from ferret.protocols.diameter.constants import DisconnectCause, ResultCode
from ferret.protocols.diameter.peer_events import (
    AnswerReceived,
    ElectionLost,
    MessageDropped,
    PeerClosed,
    PeerOpened,
    PeerOutput,
    PeerSuspect,
    RequestReceived,
    RequestTimedOut,
)
from ferret.protocols.diameter.peer_states import PeerEvent, PeerState, Side, event_of
from ferret.protocols.diameter.tree import Message
from ferret.protocols.diameter.watchdog import TW_SECONDS, Watchdog, WatchdogAction

TX_SECONDS: Final = 10.0  # how long a request waits for its answer (RFC 8506 clause 13 recommends 10 s)
MAX_UNANSWERED: Final = 10_000  # requests of the peer that we have yet to answer; beyond, 3004 DIAMETER_TOO_BUSY


@dataclass(slots=True)
class _Waiting:
    token: int
    due: float


class PeerTable:
    """The connections of one node by the peer's Origin-Host, so that two with one peer can be told (clause 5.6.4)."""

    def __init__(self) -> None:
        self._known: dict[str, list[DiameterPeer]] = {}

    def add(self, host: str, peer: DiameterPeer) -> None:
        """`peer` is, or is to be, a connection to `host`."""
        self._known.setdefault(host, []).append(peer)

    def remove(self, peer: DiameterPeer) -> None:
        """`peer` is closed."""
        for host, peers in list(self._known.items()):
            if peer in peers:
                peers.remove(peer)
            if not peers:
                del self._known[host]

    def others(self, host: str, peer: DiameterPeer) -> list[DiameterPeer]:
        """Other connections to the same peer that are up or coming up."""
        return [one for one in self._known.get(host, []) if one is not peer and one.state is not PeerState.CLOSED]


class DiameterPeer:
    """One connection to a peer. No method but `send_*`, `stop` and `connected` raises, whatever the peer sends.

    `expected_host`: the Origin-Host that the peer must have; "" takes any. `tw` and `tx` are in seconds.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        side: Side,
        random: Random,
        expected_host: str = "",
        table: PeerTable | None = None,
        tw: float = TW_SECONDS,
        tx: float = TX_SECONDS,
    ) -> None:
        self.identity = identity
        self.side = side
        self.state = PeerState.WAIT_CONN_ACK if side is Side.INITIATOR else PeerState.WAIT_CER
        self.capabilities: Capabilities | None = None
        self.disconnect_cause: int | None = None  # that the peer gave when it left in order (clause 5.4.3)
        self._expected_host = expected_host
        self._table = table or PeerTable()
        self._tx = tx
        self._watchdog = Watchdog(tw, random)
        self._next_hop_by_hop = random.getrandbits(32)
        self._next_end_to_end = random.getrandbits(32)
        self._next_transaction = 1
        self._input = b""
        self._output: list[bytes] = []
        self._events: list[PeerOutput] = []
        self._waiting: dict[int, _Waiting] = {}  # our requests by hop-by-hop identifier
        self._asked: dict[int, Message] = {}  # the peer's requests by transaction
        self._state_due: float | None = None  # of Wait-CEA, Wait-CER and Closing
        if expected_host:
            self._table.add(expected_host, self)

    # --- the driver's side

    @property
    def cut(self) -> bool:
        """Whether the peer has sent a part of a message only."""
        return bool(self._input)

    @property
    def closed(self) -> bool:
        """Whether the driver should close the connection once everything is sent."""
        return self.state is PeerState.CLOSED

    @property
    def is_open(self) -> bool:
        """Whether requests may be sent."""
        return self.state is PeerState.OPEN

    def connected(self, now: float) -> None:
        """The transport connection is up: an initiator sends its CER, a responder waits for one."""
        if self.side is Side.RESPONDER:
            self._state_due = now + self._tx
            return
        self._dispatch(PeerEvent.CONN_ACK, None, now)

    def receive_bytes(self, octets: bytes, now: float) -> Sequence[PeerOutput]:
        """Take what the transport has received; any cut is fine."""
        try:
            messages, used = split(self._input + octets)
            self._input = (self._input + octets)[used:]
            for one in messages:
                self._receive(one, now)
        except (DecodeError, PeerViolationError) as error:
            self._close(str(error))
        return self._take_events()

    def connection_lost(self, now: float) -> Sequence[PeerOutput]:
        """The transport connection is gone."""
        if self.state is not PeerState.CLOSED:
            self._dispatch(PeerEvent.DISCONNECTED, None, now)
        return self._take_events()

    def send_request(self, message: Message, token: int, now: float) -> None:
        """Ask the peer. Raises LocalMisuseError unless the connection is open."""
        if self.state is not PeerState.OPEN:
            raise LocalMisuseError(f"a request to a Diameter peer that is {self.state}")
        hop_by_hop = self._send_new(message)
        self._waiting[hop_by_hop] = _Waiting(token, now + self._tx)

    def send_answer(self, transaction: int, message: Message) -> None:
        """Answer RequestReceived. Raises LocalMisuseError when there is no such request, or it has been answered."""
        asked = self._asked.pop(transaction, None)
        if asked is None:
            raise LocalMisuseError(f"an answer to Diameter transaction {transaction}, which does not wait for one")
        if self.state in (PeerState.OPEN, PeerState.CLOSING):
            self._output.append(message.with_identifiers(asked.hop_by_hop, asked.end_to_end).encode())

    def stop(self, now: float) -> Sequence[PeerOutput]:
        """Leave in order: DPR, wait for DPA, close (clause 5.4)."""
        if self.state is not PeerState.CLOSED:
            self._dispatch(PeerEvent.STOP, None, now)
        return self._take_events()

    def bytes_to_send(self) -> bytes:
        """What is to be written to the transport now; hands it over once."""
        octets = b"".join(self._output)
        self._output.clear()
        return octets

    def deadline(self) -> float | None:
        """When `wake` has to be called at the latest."""
        times = [due for due in (self._state_due, self._watchdog.due) if due is not None]
        times += [one.due for one in self._waiting.values()]
        return min(times, default=None)

    def wake(self, now: float) -> Sequence[PeerOutput]:
        """Timers: requests (Tx), the watchdog (Tw), connections that come up or go down too slowly."""
        for hop_by_hop, one in list(self._waiting.items()):
            if one.due <= now:
                del self._waiting[hop_by_hop]
                self._events.append(RequestTimedOut(one.token, f"no answer in {self._tx:g} s"))
        if self._state_due is not None and self._state_due <= now:
            self._state_due = None
            self._dispatch(PeerEvent.TIMEOUT, None, now)
        self._watch(now)
        return self._take_events()

    # --- inside

    def _take_events(self) -> Sequence[PeerOutput]:
        events, self._events = self._events, []
        return events

    def _send_new(self, message: Message) -> int:
        hop_by_hop = self._next_hop_by_hop
        self._output.append(message.with_identifiers(hop_by_hop, self._next_end_to_end).encode())
        self._next_hop_by_hop = (hop_by_hop + 1) & 0xFFFFFFFF
        self._next_end_to_end = (self._next_end_to_end + 1) & 0xFFFFFFFF
        return hop_by_hop

    def _receive(self, octets: bytes, now: float) -> None:
        if self.state is PeerState.CLOSED:
            return
        try:
            message = decode(octets)
        except DecodeError as error:
            self._drop_undecodable(octets, error)
            return
        if self.state is PeerState.OPEN:
            self._watchdog.restart(now)
        self._dispatch(event_of(message), message, now)

    def _drop_undecodable(self, octets: bytes, error: DecodeError) -> None:
        self._events.append(MessageDropped(str(error)))
        header = decode(octets[:1] + b"\0\0\x14" + octets[4:20])
        if header.is_request and self.state is PeerState.OPEN:
            self._output.append(plain_answer(self.identity, header, ResultCode.INVALID_AVP_LENGTH).encode())

    def _watch(self, now: float) -> None:
        action = self._watchdog.expire(now)
        if action is WatchdogAction.SEND_DWR:
            self._send_new(watchdog_request(self.identity))
        elif action is WatchdogAction.FAIL_OVER:
            self._events.append(PeerSuspect())
        elif action is WatchdogAction.CLOSE:
            self._close("the peer does not answer the watchdog")

    def _dispatch(self, event: PeerEvent, message: Message | None, now: float) -> None:
        handler = _TRANSITIONS.get((self.state, event))
        if handler is None:
            raise PeerViolationError(f"Diameter: {event} in state {self.state}")
        handler(self, message or _NOTHING, now)

    def _close(self, reason: str) -> None:
        if self.state is PeerState.CLOSED:
            return
        self.state = PeerState.CLOSED
        self._state_due = None
        self._watchdog.stop()
        self._table.remove(self)
        self._events += [RequestTimedOut(one.token, reason) for one in self._waiting.values()]
        self._waiting.clear()
        self._asked.clear()
        self._events.append(PeerClosed(reason))

    def _open(self, capabilities: Capabilities, now: float) -> None:
        self.state = PeerState.OPEN
        self.capabilities = capabilities
        self._state_due = None
        self._watchdog.restart(now)
        self._events.append(PeerOpened(capabilities))

    # --- actions of the table

    def _send_cer(self, message: Message, now: float) -> None:
        self._send_new(capabilities_request(self.identity))
        self.state = PeerState.WAIT_CEA
        self._state_due = now + self._tx

    def _take_cea(self, message: Message, now: float) -> None:
        capabilities = read_capabilities(message)
        if capabilities.result != ResultCode.SUCCESS:
            self._close(f"the peer refuses capabilities with Result-Code {capabilities.result}")
        elif self._expected_host and capabilities.host != self._expected_host:
            self._close(f"the peer is {capabilities.host}, not {self._expected_host}")
        else:
            self._open(capabilities, now)

    def _take_cer(self, message: Message, now: float) -> None:
        capabilities = read_capabilities(message)
        refusal = self._refusal(capabilities)
        result = refusal or (ResultCode.SUCCESS if self._wins_election(capabilities.host) else ResultCode.ELECTION_LOST)
        self._output.append(capabilities_answer(self.identity, message, result).encode())
        if result != ResultCode.SUCCESS:
            self._close(f"refused {capabilities.host or 'a peer without a name'} with {ResultCode(result).name}")
            return
        if not self._expected_host:
            self._table.add(capabilities.host, self)
        self._open(capabilities, now)

    def _refusal(self, capabilities: Capabilities) -> int:
        if not capabilities.host:
            return ResultCode.MISSING_AVP
        if self._expected_host and capabilities.host != self._expected_host:
            return ResultCode.UNKNOWN_PEER
        if not capabilities.common(self.identity.applications):
            return ResultCode.NO_COMMON_APPLICATION
        return 0

    def _wins_election(self, host: str) -> bool:
        """Clause 5.6.4: the node with the higher Origin-Host keeps the connection that it accepted."""
        for other in self._table.others(host, self):
            if other.state is PeerState.OPEN or self.identity.host.encode() <= host.encode():
                return False
            other._close("lost the election: the peer's connection is kept")
            self._events.append(ElectionLost(other))
        return True

    def _answer_cer_again(self, message: Message, now: float) -> None:
        self._output.append(capabilities_answer(self.identity, message, ResultCode.SUCCESS).encode())

    def _answer_watchdog(self, message: Message, now: float) -> None:
        self._output.append(plain_answer(self.identity, message).encode())

    def _ignore(self, message: Message, now: float) -> None:
        """Nothing to do: that it came has already been noted."""

    def _send_dpr(self, message: Message, now: float) -> None:
        self._send_new(disconnect_request(self.identity, DisconnectCause.REBOOTING))
        self._leave(now)

    def _take_dpr(self, message: Message, now: float) -> None:
        self.disconnect_cause = disconnect_cause_of(message)
        self._output.append(plain_answer(self.identity, message).encode())
        self._leave(now)

    def _leave(self, now: float) -> None:
        self.state = PeerState.CLOSING
        self._watchdog.stop()
        self._state_due = now + self._tx

    def _take_message(self, message: Message, now: float) -> None:
        if not message.is_request:
            waiting = self._waiting.pop(message.hop_by_hop, None)
            if waiting is None:
                self._events.append(MessageDropped(f"an answer to 0x{message.hop_by_hop:08x}, which nobody waits for"))
                return
            self._events.append(AnswerReceived(waiting.token, message))
        elif len(self._asked) >= MAX_UNANSWERED:
            self._output.append(plain_answer(self.identity, message, ResultCode.TOO_BUSY).encode())
        else:
            transaction, self._next_transaction = self._next_transaction, self._next_transaction + 1
            self._asked[transaction] = message
            self._events.append(RequestReceived(transaction, message))

    def _finish(self, message: Message, now: float) -> None:
        self._close("disconnected in order")

    def _lose(self, message: Message, now: float) -> None:
        self._close("the connection is lost")

    def _give_up(self, message: Message, now: float) -> None:
        self._close(f"nothing came in state {self.state}")


_NOTHING: Final = Message(0, 0)
_Handler: TypeAlias = Callable[[DiameterPeer, Message, float], None]

# RFC 6733 clause 5.6; what is not here is a violation by the peer and ends the connection.
_TRANSITIONS: Final[dict[tuple[PeerState, PeerEvent], _Handler]] = {
    (PeerState.WAIT_CONN_ACK, PeerEvent.CONN_ACK): DiameterPeer._send_cer,
    (PeerState.WAIT_CONN_ACK, PeerEvent.DISCONNECTED): DiameterPeer._lose,
    (PeerState.WAIT_CONN_ACK, PeerEvent.STOP): DiameterPeer._finish,
    (PeerState.WAIT_CEA, PeerEvent.CEA): DiameterPeer._take_cea,
    (PeerState.WAIT_CEA, PeerEvent.DISCONNECTED): DiameterPeer._lose,
    (PeerState.WAIT_CEA, PeerEvent.TIMEOUT): DiameterPeer._give_up,
    (PeerState.WAIT_CEA, PeerEvent.STOP): DiameterPeer._finish,
    (PeerState.WAIT_CER, PeerEvent.CER): DiameterPeer._take_cer,
    (PeerState.WAIT_CER, PeerEvent.DISCONNECTED): DiameterPeer._lose,
    (PeerState.WAIT_CER, PeerEvent.TIMEOUT): DiameterPeer._give_up,
    (PeerState.WAIT_CER, PeerEvent.STOP): DiameterPeer._finish,
    (PeerState.OPEN, PeerEvent.MESSAGE): DiameterPeer._take_message,
    (PeerState.OPEN, PeerEvent.DWR): DiameterPeer._answer_watchdog,
    (PeerState.OPEN, PeerEvent.DWA): DiameterPeer._ignore,
    (PeerState.OPEN, PeerEvent.CER): DiameterPeer._answer_cer_again,  # as RFC 3588 had it; some still do
    (PeerState.OPEN, PeerEvent.STOP): DiameterPeer._send_dpr,
    (PeerState.OPEN, PeerEvent.DPR): DiameterPeer._take_dpr,
    (PeerState.OPEN, PeerEvent.DISCONNECTED): DiameterPeer._lose,
    (PeerState.CLOSING, PeerEvent.DPA): DiameterPeer._finish,
    (PeerState.CLOSING, PeerEvent.DPR): DiameterPeer._take_dpr,  # both leave at once
    (PeerState.CLOSING, PeerEvent.MESSAGE): DiameterPeer._take_message,  # what was under way
    (PeerState.CLOSING, PeerEvent.DWR): DiameterPeer._answer_watchdog,
    (PeerState.CLOSING, PeerEvent.DWA): DiameterPeer._ignore,
    (PeerState.CLOSING, PeerEvent.STOP): DiameterPeer._ignore,
    (PeerState.CLOSING, PeerEvent.TIMEOUT): DiameterPeer._give_up,
    (PeerState.CLOSING, PeerEvent.DISCONNECTED): DiameterPeer._finish,
}
