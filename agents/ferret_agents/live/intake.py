"""From frames to messages of one NF, numbered and ready for the queue. Sans-IO: frames and times go in.

Messages are numbered as they are found, so that one which is dropped later, or which the kernel dropped before anybody
saw it, leaves a hole.
"""

from __future__ import annotations

import ipaddress
import struct
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from ferret.errors import RecordError
from ferret.protocols.summary import Protocol
from ferret.records.message import CapturedMessage
from ferret_agents.capture.classify import S1AP_PPID
from ferret_agents.capture.dissect import Dissector
from ferret_agents.capture.files import Record
from ferret_agents.capture.ledger import USED
from ferret_agents.live.filter import ETHERNET
from ferret_agents.live.message_types import type_of
from ferret_agents.live.sighting import Flow, HotPath, is_one_s1ap

_TCP: Final = 6
_BEHIND_PORTS: Final = 4  # octets into a TCP or SCTP header
_SEGMENT = struct.Struct(">IIBB")  # of TCP: sequence, acknowledgement, data offset, flags
_SHORTEST_SEGMENT: Final = 20
# Of SCTP: verification tag, checksum; of a DATA chunk type, flags, length, TSN, stream, sequence, payload protocol
_DATA = struct.Struct(">IIBBHIHHI")
_SCTP_HEADER: Final = 12
_ENCRYPTED: Final = ("esp", "tls", "dtls")  # kinds of ignored frames that nobody can read
_SAYS_TYPE: Final = {  # which octets say of what type a message is
    Protocol.DIAMETER: slice(4, 8),  # flags and command
    Protocol.SIP: slice(0, 9),  # the method, or the version and the first digit of the status
    Protocol.S1AP: slice(0, 2),  # choice and procedure
    Protocol.GTPV2: slice(1, 2),
}
_MOST_KINDS: Final = 4096
_FRAME_NUMBERS: Final = 0xFFFFFFFF  # then they start anew: the queue's format has 32 bits for them


class Batch(NamedTuple):
    """Messages as the queue wants them, and when each was captured (ns)."""

    messages: list[bytes]
    times: list[int]


class Intake:
    """Takes frames in the order of their capture; `take_batch` gives the messages found so far."""

    def __init__(self, agent: str, addresses: Sequence[str], *, epoch: int = 0) -> None:
        """Raises ConfigError for a name that is too long."""
        self.dissector = Dissector()
        self.types: Counter[tuple[Protocol, str]] = Counter()  # messages by type, but for GTPv2-C of the hot path
        self.gtpv2_types = [0] * 256  # those, by message type
        self.number = 0  # of the last message, holes included
        self.foreign = 0  # messages of others that the filter could not tell apart
        self.unfit = 0  # messages that the queue's format has no room for
        self._hot = HotPath(agent, epoch=epoch)
        self._addresses: frozenset[str] = frozenset()
        self._kinds: dict[tuple[Protocol, bytes], tuple[Protocol, str]] = {}  # by their first octets
        self._frames = 0
        self._messages: list[bytes] = []
        self._times: list[int] = []
        self.use(addresses)

    def use(self, addresses: Sequence[str]) -> None:
        """From now on these are the NF's addresses; none: everybody's."""
        parsed = [ipaddress.ip_address(one) for one in addresses]
        self._addresses = frozenset(one.compressed for one in parsed)
        self._hot.use(frozenset(one.packed for one in parsed))

    def take(self, at_ns: int, frame: bytes, wire_length: int, link_type: int) -> None:
        """A frame, as the kernel gave it."""
        if link_type == ETHERNET and wire_length == len(frame):
            found = self._hot.see(frame)
            if found is not None:
                flow, protocol, octets = found
                self._count_frame(USED)
                number = self._count(flow, protocol, octets)
                if number:
                    self._put(self._hot.encode(flow, protocol, octets, at_ns, number), at_ns)
                return
            if self._take_stream(at_ns, frame):
                return
        self._frames = self._frames % _FRAME_NUMBERS + 1
        self._offer(self.dissector.feed(Record(self._frames, at_ns, link_type, frame, wire_length)))

    def _take_stream(self, at_ns: int, frame: bytes) -> bool:
        """TCP and SCTP that is in order and in whole messages; False: it is for the dissector."""
        found = self._hot.stream(frame)
        if found is None:
            return False
        flow, protocol, start, end = found
        if protocol == _TCP:
            return self._take_segment(at_ns, flow, frame, start, end)
        return self._take_data(at_ns, flow, frame, start, end)

    def _take_segment(self, at_ns: int, flow: Flow, frame: bytes, start: int, end: int) -> bool:
        if end < start + _SHORTEST_SEGMENT:
            return False
        sequence, acknowledged, offset, flags = _SEGMENT.unpack_from(frame, start + _BEHIND_PORTS)
        begin = start + (offset >> 4 << 2)
        if not start + _SHORTEST_SEGMENT <= begin <= end:
            return False
        payload = frame[begin:end]
        found = self.dissector.tcp.pass_in_order(flow.key, sequence, acknowledged, flags, payload)
        if found is None:
            return False
        self._count_frame(USED if found else "tcp without payload")
        for octets in found:
            number = self._count(flow, Protocol.DIAMETER, octets)
            if number:
                self._put(self._hot.encode(flow, Protocol.DIAMETER, octets, at_ns, number), at_ns)
        return True

    def _take_data(self, at_ns: int, flow: Flow, frame: bytes, start: int, end: int) -> bool:
        begin = start + _BEHIND_PORTS + _DATA.size
        if end < begin:
            return False
        tag, _, kind, flags, length, tsn, stream, sequence, ppid = _DATA.unpack_from(frame, start + _BEHIND_PORTS)
        stop = start + _SCTP_HEADER + length
        if kind or flags & 0x07 != 0x03 or ppid != S1AP_PPID or stop > end or end - stop > 3:
            return False
        octets = frame[begin:stop]
        key = (flow.key.source, flow.key.destination, (), -1)
        if not is_one_s1ap(octets) or not self.dissector.sctp.pass_in_order(key, tag, tsn, stream, sequence, octets):
            return False
        self._count_frame(USED)
        number = self._count(flow, Protocol.S1AP, octets)
        if number:
            self._put(self._hot.encode_data(flow, Protocol.S1AP, octets, at_ns, number, stream, sequence), at_ns)
        return True

    def _count_frame(self, fate: str) -> None:
        ledger = self.dissector.ledger
        ledger.frames += 1
        if fate is USED:
            ledger.used += 1
        else:
            ledger.ignored[fate] += 1

    def _count(self, flow: Flow, protocol: Protocol, octets: bytes) -> int:
        """The number of one more message; 0 where it is not the NF's."""
        self.dissector.messages[protocol] += 1
        if not flow.is_ours:
            self.foreign += 1
            return 0
        if protocol is Protocol.GTPV2:
            self.gtpv2_types[octets[1]] += 1
        else:
            begin = octets[_SAYS_TYPE[protocol]]
            kind = self._kinds.get((protocol, begin)) or self._learn_kind(protocol, begin, octets)
            self.types[kind] += 1
        self.number += 1
        return self.number

    def _learn_kind(self, protocol: Protocol, begin: bytes, octets: bytes) -> tuple[Protocol, str]:
        """What messages that begin so are counted as: on the hot path these octets settle it."""
        if len(self._kinds) >= _MOST_KINDS:
            self._kinds.clear()
        kind = self._kinds[protocol, begin] = (protocol, type_of(protocol, octets))
        return kind

    def _put(self, octets: bytes, at_ns: int) -> None:
        self._messages.append(octets)
        self._times.append(at_ns)

    def lost(self, frames: int) -> None:
        """The kernel dropped frames. Each may have been a message: the hole is at least as wide."""
        self.number += frames

    def expire(self, now_ns: int) -> None:
        """Give up what has waited too long in reassembly."""
        self._offer(self.dissector.expire(now_ns))

    def flush(self) -> None:
        """No more frames will come."""
        self._offer(self.dissector.flush())

    def take_batch(self) -> Batch:
        """The messages found since the last time."""
        batch = Batch(self._messages, self._times)
        self._messages, self._times = [], []
        return batch

    def messages_by_type(self) -> Counter[tuple[str, str]]:
        """How many messages of which protocol and type were found and are the NF's."""
        found: Counter[tuple[str, str]] = Counter({(str(one), kind): n for (one, kind), n in self.types.items()})
        for number, count in enumerate(self.gtpv2_types):
            if count:
                found["gtpv2", type_of(Protocol.GTPV2, bytes((0x40, number)))] += count
        return found

    @property
    def unreadable(self) -> dict[str, int]:
        """Frames that are encrypted, by what with."""
        ignored = self.dissector.ledger.ignored
        return {kind: number for kind, number in ignored.items() if kind.startswith(_ENCRYPTED)}

    def _offer(self, messages: Iterable[CapturedMessage]) -> None:
        for message in messages:
            if self._addresses and not self._is_ours(message):
                self.foreign += 1
                continue
            self.types[message.protocol, type_of(message.protocol, message.octets)] += 1
            self.number += 1
            try:
                octets = self._hot.sign(message, self.number)
            except RecordError:
                self.unfit += 1
                continue
            self._messages.append(octets)
            self._times.append(message.captured_at_ns)

    def _is_ours(self, message: CapturedMessage) -> bool:
        """Whether it is from or to the NF, or from within a tunnel of its."""
        ours = self._addresses
        return (
            message.source.address in ours
            or message.destination.address in ours
            or any(end.address in ours for end in message.tunnel)
        )
