"""Flows of the hot path: what goes one way between two sockets, over plain Ethernet and IP.

A flow takes a packet that holds what nearly every one holds: one GTPv2-C or SIP message in a datagram, whole Diameter
or SIP messages in a TCP segment that is next in order, S1AP messages, each the next of its stream, in an SCTP packet.
Any other packet it leaves, unchanged and uncounted, to the dissector.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final

from ferret.protocols.summary import Protocol
from ferret.records.message import Endpoint
from ferret_agents.capture import sctp, tcp
from ferret_agents.capture.classify import GTPC_PORT, S1AP_PPID, Found, datagram
from ferret_agents.capture.ledger import Ledger
from ferret_agents.live.catch import Catch
from ferret_agents.live.envelope import PLACED, STREAM, Envelope
from ferret_agents.live.message_types import type_of
from ferret_agents.live.shapes import one_gtpv2, one_s1ap, one_sip

_UDP_HEADER: Final = 8
_SEGMENT = struct.Struct(">4xIIBB")  # of TCP: sequence, acknowledgement, data offset, flags
_SHORTEST_SEGMENT: Final = 20
_SCTP_HEADER: Final = 12
_TAG = struct.Struct(">4xI")
_CHUNK = struct.Struct(">BBHIHHI")  # type, flags, length, TSN; of DATA: stream, its sequence, payload protocol
_WHOLE_AND_ORDERED: Final = 3  # of the flags of DATA: beginning and ending, not unordered
_MOST_CHUNKS: Final = 16


class Flow(ABC):
    """What goes one way between two sockets."""

    __slots__ = ("_catch", "_fixed", "_is_ours", "_ledger", "_names", "_plain", "_ports")

    def __init__(self, catch: Catch, ledger: Ledger, envelope: Envelope, is_ours: bool) -> None:
        """`is_ours`: from or to the agent's NF."""
        self._catch = catch
        self._ledger = ledger
        self._is_ours = is_ours
        self._fixed, self._ports = envelope.fixed, envelope.ports
        self._names, self._plain = envelope.names, envelope.plain

    @abstractmethod
    def take(self, at_ns: int, frame: bytes, start: int, end: int) -> bool:
        """Take what lies behind the IP header, from `start` to `end`; False: it is for the dissector."""

    def _put(self, protocol: Protocol, octets: bytes, at_ns: int, behind: bytes) -> None:
        """A message of the NF. `behind`: of its envelope, what follows `PLACED`."""
        catch = self._catch
        number = catch.number = catch.number + 1
        placed = PLACED.pack(self._fixed[protocol], at_ns, self._ports, number)
        catch.messages.append(placed + behind + octets)
        catch.times.append(at_ns)

    def _count_used(self) -> None:
        ledger = self._ledger
        ledger.frames += 1
        ledger.used += 1


class DatagramFlow(Flow):
    """UDP: GTPv2-C where a port says so, else SIP."""

    __slots__ = ("_between", "_protocol", "_shape", "_tally")

    def __init__(self, catch: Catch, ledger: Ledger, envelope: Envelope, is_ours: bool, ports: tuple[int, int]) -> None:
        """`ports`: none of a tunnel."""
        super().__init__(catch, ledger, envelope, is_ours)
        self._between = ports
        is_gtpc = GTPC_PORT in ports
        self._protocol = Protocol.GTPV2 if is_gtpc else Protocol.SIP
        self._shape: Callable[[bytes], Any] = one_gtpv2 if is_gtpc else one_sip
        self._tally: Any = catch.gtpv2 if is_gtpc else catch.sip  # by what the shape gives

    def take(self, at_ns: int, frame: bytes, start: int, end: int) -> bool:
        """See `Flow.take`."""
        octets = frame[start + _UDP_HEADER : end]
        kind = self._shape(octets)
        if not kind:
            return self._classify(octets, at_ns)
        self._count_used()
        if self._is_ours:
            self._tally[kind] += 1
            self._put(self._protocol, octets, at_ns, self._plain)
        else:
            self._catch.refuse(self._protocol)
        return True

    def _classify(self, octets: bytes, at_ns: int) -> bool:
        """What is written otherwise, or is of another protocol."""
        found = datagram(*self._between, octets, 0)
        if not isinstance(found, Found) or found.fault or found.ends != (len(octets),):
            return False
        self._count_used()
        if self._is_ours:
            self._catch.named[found.protocol, type_of(found.protocol, octets)] += 1
            self._put(found.protocol, octets, at_ns, self._plain)
        else:
            self._catch.refuse(found.protocol)
        return True


class SegmentFlow(Flow):
    """TCP."""

    __slots__ = ("_half", "_key", "_streams")

    def __init__(
        self,
        catch: Catch,
        ledger: Ledger,
        envelope: Envelope,
        is_ours: bool,
        streams: tcp.TcpStreams,
        ends: tuple[Endpoint, Endpoint],
    ) -> None:
        super().__init__(catch, ledger, envelope, is_ours)
        self._key = tcp.Flow(*ends, (), -1)
        self._streams = streams
        self._half: tcp.Half | None = None

    def take(self, at_ns: int, frame: bytes, start: int, end: int) -> bool:
        """See `Flow.take`."""
        if end < start + _SHORTEST_SEGMENT:
            return False
        sequence, acknowledged, offset, flags = _SEGMENT.unpack_from(frame, start)
        begin = start + (offset >> 4 << 2)
        if not start + _SHORTEST_SEGMENT <= begin <= end:
            return False
        half = self._half
        if half is None or not half.is_open:
            half = self._half = self._streams.half(self._key)
            if half is None:
                return False
        if begin == end:
            return self._take_empty(half, acknowledged, flags)
        catch = self._catch
        number = catch.next_frame
        found = self._streams.pass_in_order(
            self._key, half, sequence, acknowledged, flags, frame[begin:end], number, at_ns
        )
        if found is None:
            return False
        if half.cutter.waits:  # the frame's fate is settled with the rest of the message that begins in it
            self._ledger.frames += 1
            catch.frame = number
        else:
            self._count_used()
        protocol = half.cutter.protocol or Protocol.DIAMETER
        for octets in found:
            if not self._is_ours:
                catch.refuse(protocol)
                continue
            if protocol is Protocol.DIAMETER:
                catch.diameter[octets[4:8]] += 1
            else:
                catch.named[protocol, type_of(protocol, octets)] += 1
            self._put(protocol, octets, at_ns, self._plain)
        return True

    def _take_empty(self, half: tcp.Half, acknowledged: int, flags: int) -> bool:
        if not half.acknowledge(acknowledged, flags):
            return False
        self._ledger.frames += 1
        self._ledger.ignored["tcp without payload"] += 1
        return True


class PacketFlow(Flow):
    """SCTP: S1AP."""

    __slots__ = ("_associations", "_direction", "_key", "_reverse", "_reverse_key")

    def __init__(
        self,
        catch: Catch,
        ledger: Ledger,
        envelope: Envelope,
        is_ours: bool,
        associations: sctp.Associations,
        ends: tuple[Endpoint, Endpoint],
    ) -> None:
        super().__init__(catch, ledger, envelope, is_ours)
        self._key = (*ends, (), -1)
        self._reverse_key = (*reversed(ends), (), -1)
        self._associations = associations
        self._direction: sctp.Direction | None = None
        self._reverse: sctp.Direction | None = None

    def take(self, at_ns: int, frame: bytes, start: int, end: int) -> bool:
        """See `Flow.take`. DATA and SACK chunks, in any order; nothing else."""
        if end < start + _SCTP_HEADER + _CHUNK.size:
            return False
        at = start + _SCTP_HEADER
        chunks: list[tuple[int, int, int, bytes]] = []
        for _ in range(_MOST_CHUNKS):
            if at + _CHUNK.size > end:
                return False
            kind, flags, length, tsn, stream, sequence, ppid = _CHUNK.unpack_from(frame, at)
            if length < _CHUNK.size or at + length > end:
                return False
            if kind == sctp.DATA:
                octets = frame[at + _CHUNK.size : at + length]
                if ppid != S1AP_PPID or flags & 7 != _WHOLE_AND_ORDERED or not one_s1ap(octets):
                    return False
                chunks.append((tsn, stream, sequence, octets))
            elif kind != sctp.SACK or self._somebody_waits():
                return False
            at += length + 3 & ~3
            if at >= end:
                return self._pass_on(at_ns, _TAG.unpack_from(frame, start)[0], chunks)
        return False

    def _pass_on(self, at_ns: int, tag: int, chunks: list[tuple[int, int, int, bytes]]) -> bool:
        if not chunks:
            self._ledger.frames += 1
            self._ledger.ignored["sctp sack"] += 1
            return True
        direction = self._direction
        if direction is None or not direction.is_open:
            direction = self._direction = self._associations.direction(self._key)
        if direction is None or not direction.pass_in_order(tag, chunks):
            return False
        self._count_used()
        catch = self._catch
        for _, stream, sequence, octets in chunks:
            if not self._is_ours:
                catch.refuse(Protocol.S1AP)
                continue
            catch.s1ap[octets[:2]] += 1
            self._put(Protocol.S1AP, octets, at_ns, STREAM.pack(stream, sequence, -1) + self._names)
        return True

    def _somebody_waits(self) -> bool:
        """Whether messages of the other direction wait for others: what is acknowledged matters to them."""
        reverse = self._reverse
        if reverse is None or not reverse.is_open:
            reverse = self._reverse = self._associations.direction(self._reverse_key)
        return reverse is not None and bool(reverse.held)
