"""NAS COUNTs of a device, read from what its MME sends and receives, without its keys.

The sequence number of a protected message is never ciphered and is the COUNT's low 8 bits; the overflow counter goes up
whenever it wraps (TS 24.301 clause 4.4.3.1). MME and device must go on counting where the other place's MME stopped.
Without keys nobody can say whether a message was genuine; one that was not moves the COUNT all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from ferret.errors import DecodeError, ProtocolError
from ferret.fallback.messages import NasCounted, NasCounts, UeContextReleased
from ferret.protocols import nas, s1ap
from ferret.protocols.nas import Direction, SecurityHeader
from ferret.protocols.summary import Protocol
from ferret.records.message import CapturedMessage, Role, SignallingMessage
from ferret.replay.device import device_at

_BITS: Final = {SecurityHeader.SERVICE_REQUEST: 5}  # the short sequence number (TS 24.301 clause 9.9.3.28)
_RELEASED: Final = "UEContextReleaseComplete"
_LATE: Final = 8  # a message that is this little behind came late or twice; one further ahead than that has wrapped


class NasCounter:
    """One device. Feed it the messages of S1-MME in order. `begin`: COUNTs that are known already."""

    def __init__(self, begin: NasCounts | None = None) -> None:
        self._next: dict[Direction, int] = {}
        self._exact = False  # since the keys were taken into use
        if begin is not None:
            self._next = {Direction.UPLINK: begin.uplink, Direction.DOWNLINK: begin.downlink}
            self._exact = begin.exact

    @property
    def counts(self) -> NasCounts | None:
        """Those of the next messages; None while no protected message has been seen."""
        if not self._next:
            return None
        return NasCounts(self._next.get(Direction.UPLINK, 0), self._next.get(Direction.DOWNLINK, 0), self._exact)

    def take(self, message: SignallingMessage) -> None:
        """What a message says of the COUNTs. Never raises: what cannot be read says nothing."""
        if message.protocol is not Protocol.S1AP:
            return
        try:
            self.take_s1ap(s1ap.decode(message.octets), from_mme=message.from_nf.role is Role.MME)
        except ProtocolError:
            return

    def take_s1ap(self, message: s1ap.Message, *, from_mme: bool) -> None:
        """The same for a message that is decoded. Raises DecodeError where it holds something that is not S1AP."""
        direction = Direction.DOWNLINK if from_mme else Direction.UPLINK
        for nas_pdu in list(message.nas_pdus()):
            try:
                self._take(nas.decode(nas_pdu), direction)
            except DecodeError:
                continue

    def _take(self, message: nas.Message, direction: Direction) -> None:
        if message.header is SecurityHeader.PLAIN:
            return
        if message.header is SecurityHeader.INTEGRITY_PROTECTED_NEW_CONTEXT and not message.sequence_number:
            self._next, self._exact = {}, True  # a Security Mode Command with fresh keys: both begin at 0
        expected = self._next.get(direction, 0)
        span = 1 << _BITS.get(message.header, 8)
        ahead = (message.sequence_number - expected) % span
        if direction in self._next and ahead >= span - _LATE:
            return
        self._next[direction] = expected + ahead + 1


class NasWatch:
    """Counts what live devices and their MMEs, at whichever place, say to each other."""

    def __init__(self) -> None:
        self._counters: dict[str, NasCounter] = {}
        self._subscribers: dict[tuple[str, int], str] = {}  # by the MME's address and MME UE S1AP ID

    def watch(self, subscriber: str, begin: NasCounts | None, ids: Iterable[tuple[str, int]]) -> None:
        """Count for this subscriber from now on; `ids`: the addresses of his MMEs, and his ID at each."""
        self._counters[subscriber] = NasCounter(begin)
        self.also(subscriber, ids)

    def also(self, subscriber: str, ids: Iterable[tuple[str, int]]) -> None:
        """One more MME signals with him."""
        if subscriber in self._counters:
            self._subscribers.update(dict.fromkeys(ids, subscriber))

    def end(self, subscriber: str) -> None:
        """Count for him no longer."""
        self._counters.pop(subscriber, None)
        self._subscribers = {key: one for key, one in self._subscribers.items() if one != subscriber}

    def counts(self, subscriber: str) -> NasCounts | None:
        """Those of the next messages."""
        counter = self._counters.get(subscriber)
        return None if counter is None else counter.counts

    def take(self, captured: CapturedMessage) -> NasCounted | UeContextReleased | None:
        """What is new about a device: its COUNTs, or that it is idle; None: nothing. Never raises."""
        if not self._subscribers or captured.protocol is not Protocol.S1AP:
            return None
        try:
            message = s1ap.decode(captured.octets)
            number = message.mme_ue_s1ap_id or 0
            subscriber = self._subscribers.get((captured.source.address, number))
            from_mme = subscriber is not None
            subscriber = subscriber or self._subscribers.get((captured.destination.address, number))
            if subscriber is None:
                return None
            if message.name == _RELEASED:
                return UeContextReleased(subscriber)
            before = self.counts(subscriber)
            self._counters[subscriber].take_s1ap(message, from_mme=from_mme)
        except ProtocolError:
            return None
        after = self.counts(subscriber)
        return None if after is None or after == before else NasCounted(subscriber, after)


def count_nas(messages: Sequence[SignallingMessage]) -> NasCounts | None:
    """The COUNTs after these messages of one device: verified where its keys are among them, else by numbers alone."""
    device = device_at(messages, max((message.index for message in messages), default=0))
    if device.security is not None:
        return NasCounts(device.security.uplink_count, device.security.downlink_count)
    counter = NasCounter()
    for message in messages:
        counter.take(message)
    return counter.counts
