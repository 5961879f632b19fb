"""NAS COUNTs of a device, read from what its MME sends and receives, without its keys.

The sequence number of a protected message is never ciphered and is the COUNT's low 8 bits; the overflow counter goes up
whenever it wraps (TS 24.301 clause 4.4.3.1). MME and device must go on counting where the other place's MME stopped.
Without keys nobody can say whether a message was genuine; one that was not moves the COUNT all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ferret.errors import DecodeError, ProtocolError
from ferret.fallback.messages import NasCounts
from ferret.protocols import nas, s1ap
from ferret.protocols.nas import Direction, SecurityHeader
from ferret.protocols.summary import Protocol
from ferret.records.message import Role, SignallingMessage
from ferret.replay.device import device_at

_BITS: Final = {SecurityHeader.SERVICE_REQUEST: 5}  # the short sequence number (TS 24.301 clause 9.9.3.28)
_LATE: Final = 8  # a message that is this little behind came late or twice; one further ahead than that has wrapped


class NasCounter:
    """One device. Feed it the messages of S1-MME in order."""

    def __init__(self) -> None:
        self._next: dict[Direction, int] = {}
        self._exact = False  # since the keys were taken into use

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
        direction = Direction.DOWNLINK if message.from_nf.role is Role.MME else Direction.UPLINK
        try:
            nas_pdus = list(s1ap.decode(message.octets).nas_pdus())
        except ProtocolError:
            return
        for nas_pdu in nas_pdus:
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


def count_nas(messages: Sequence[SignallingMessage]) -> NasCounts | None:
    """The COUNTs after these messages of one device: verified where its keys are among them, else by numbers alone."""
    device = device_at(messages, max((message.index for message in messages), default=0))
    if device.security is not None:
        return NasCounts(device.security.uplink_count, device.security.downlink_count)
    counter = NasCounter()
    for message in messages:
        counter.take(message)
    return counter.counts
