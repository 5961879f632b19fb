"""Frames in, signalling messages out: link layer, IP, tunnels, transport, each handing on to the next.

Sans-IO, so that a file and a live interface go the same way. Whatever a frame holds, dissecting it never raises;
what is wrong becomes an entry of the ledger, and every frame is accounted for.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Hashable
from typing import NamedTuple

from ferret.errors import DecodeError
from ferret.protocols import s1ap
from ferret.protocols.summary import Protocol
from ferret.records.message import CapturedMessage, Endpoint, Flaw
from ferret_agents.capture import classify, esp, exported, ip, link, overlay, tunnel
from ferret_agents.capture.files import Record
from ferret_agents.capture.ledger import DAMAGED, USED, Ledger
from ferret_agents.capture.sctp import Associations, UserMessage
from ferret_agents.capture.tcp import Flow, Segment, TcpStreams

MAX_TUNNELS = 4  # how deep a packet may be packed into others
SCTP_IN_UDP_PORT = 9899  # RFC 6951
_SWEEP_NS = 100_000_000  # how often, in capture time, reassembly looks for what has waited too long
_OTHER_PROTOCOLS = {1: "icmp", 2: "igmp", 58: "icmpv6", 59: "no next header", 89: "ospf", 103: "pim"}

S1AP_MME = Endpoint("", 36412)
"""Where a capture has S1AP without IP: the MME's side, by the direction of the message."""
S1AP_ENB = Endpoint("", 1)
"""The same for the eNB's side."""


class _Origin(NamedTuple):
    """Where the octets being looked at come from."""

    frame: int
    captured_at_ns: int
    tunnel: tuple[Endpoint, ...] = ()
    teid: int = -1
    depth: int = 0


def _deeper(origin: _Origin, offset: int) -> _Origin:
    """The origin of a packet inside a packet. Raises DecodeError where there are too many inside each other."""
    if origin.depth >= MAX_TUNNELS:
        raise DecodeError(f"more than {MAX_TUNNELS} packets inside each other", offset)
    return origin._replace(depth=origin.depth + 1)


class _SctpKey(NamedTuple):
    source: Endpoint
    destination: Endpoint
    tunnel: tuple[Endpoint, ...]
    teid: int


@functools.lru_cache(maxsize=65_536)
def _endpoint(address: bytes, port: int) -> Endpoint:
    return Endpoint(ip.address_text(address), port)


class Dissector:
    """Takes frames in the order in which they were captured; gives the messages that each one completes."""

    def __init__(self, ledger: Ledger | None = None) -> None:
        self.ledger = ledger if ledger is not None else Ledger()
        self.messages: Counter[str] = Counter()  # messages found, by protocol
        self.link_types: Counter[int] = Counter()  # frames by link type
        self.unsupported = 0  # frames of link types that nobody knows
        self._out: list[CapturedMessage] = []
        self._clock = 0
        self._swept = 0
        self._fragments = ip.Defragmenter(self.ledger)
        self.tcp = TcpStreams(self.ledger, self._emit)
        self.sctp = Associations(self.ledger, self._user_message)

    def feed(self, record: Record) -> list[CapturedMessage]:
        """Dissect one frame. Never raises; a frame of a link type that nobody knows is ignored."""
        frame, at_ns, link_type, octets, wire_length = record
        ledger = self.ledger
        ledger.begin(frame)
        self.link_types[link_type] += 1
        if at_ns > self._clock:
            self._clock = at_ns
            if at_ns - self._swept > _SWEEP_NS:
                self._sweep()
        try:
            walk = link.walk_of(link_type)
            if walk is None:
                ledger.end(frame, f"link type {link_type} (not supported)")
                self.unsupported += 1
                return []
            protocol, start = walk(octets)
            fate = self._network(_Origin(frame, at_ns), protocol, octets, start, wire_length - len(octets))
        except DecodeError as error:
            ledger.report(frame, f"cut short: {error}" if wire_length > len(octets) else f"malformed: {error}")
            fate = DAMAGED
        ledger.end(frame, fate)
        if not self._out:
            return []
        out, self._out = self._out, []
        return out

    def flush(self) -> list[CapturedMessage]:
        """The capture has ended: the messages that still waited for others before them."""
        self._fragments.flush()
        self.tcp.flush()
        self.sctp.flush()
        out, self._out = self._out, []
        return out

    def expire(self, clock: int) -> list[CapturedMessage]:
        """On a live interface that is quiet: give up what has waited too long; the messages that come of it.

        `clock`: the time in nanoseconds since the epoch, later than that of every frame so far.
        """
        if clock > self._clock:
            self._clock = clock
        self._sweep()
        out, self._out = self._out, []
        return out

    def lost(self) -> None:
        """Frames were lost in capturing, just before the next one."""
        self.tcp.lost(self._clock)

    @property
    def waiting_octets(self) -> int:
        """How many octets wait in reassembly."""
        return self._fragments.waiting_octets + self.tcp.waiting_octets + self.sctp.waiting_octets

    def _sweep(self) -> None:
        self._swept = self._clock
        self._fragments.expire(self._clock)
        self.tcp.expire(self._clock)
        self.sctp.expire(self._clock)

    def _emit(self, message: CapturedMessage) -> None:
        self.messages[message.protocol] += 1
        self._out.append(message)

    def _network(self, origin: _Origin, protocol: int, octets: bytes, start: int, missing: int) -> str | None:
        if protocol == link.IPV4 or protocol == link.IPV6:
            return self._ip(origin, octets, start)
        if protocol == link.S1AP:
            return self._bare_s1ap(origin, octets, missing)
        if protocol == link.EXPORTED:
            return self._exported(origin, octets, missing)
        return link.kind_of(protocol)

    def _ip(self, origin: _Origin, octets: bytes, start: int) -> str | None:
        packet = ip.walk(octets, start)
        if packet.fragment is None:
            return self._transport(origin, packet, octets, packet.start, packet.end, packet.missing)
        key = (packet.source, packet.destination, packet.fragment[0], packet.protocol, origin.tunnel, origin.teid)
        payload = octets[packet.start : packet.end]
        whole = self._fragments.add(key, packet, payload, origin.frame, self._clock)
        if whole is None or isinstance(whole, str):
            return whole
        try:
            protocol, at = whole.protocol, 0
            if len(packet.source) == 16:
                protocol, at, _ = ip.extensions(whole.payload, protocol, 0, len(whole.payload))
            fate = self._transport(
                origin, packet._replace(protocol=protocol), whole.payload, at, len(whole.payload), whole.missing
            )
        except DecodeError as error:
            self.ledger.report(origin.frame, f"malformed: {error}")
            fate = DAMAGED
        for frame in whole.frames:
            self.ledger.follow(frame, origin.frame, fate)
        return fate

    def _transport(
        self, origin: _Origin, packet: ip.Packet, octets: bytes, start: int, end: int, missing: int
    ) -> str | None:
        protocol = packet.protocol
        if protocol == ip.UDP:
            return self._udp(origin, packet, octets, start, end, missing)
        if protocol == ip.TCP:
            return self._segment(origin, packet, octets, start, end, missing)
        if protocol == ip.SCTP:
            if end - start < 12:
                raise DecodeError("the SCTP header is cut", end)
            source = _endpoint(packet.source, octets[start] << 8 | octets[start + 1])
            destination = _endpoint(packet.destination, octets[start + 2] << 8 | octets[start + 3])
            return self._sctp_packet(origin, source, destination, octets[start:end], missing)
        if protocol == ip.ESP:
            return self._esp(origin, packet, octets, start, end)
        if protocol == ip.GRE:
            kind, at = overlay.gre(octets, start, end)
            return self._network(_deeper(origin, start), kind, octets[:end], at, missing)
        if protocol in (ip.IPV4_IN_IP, ip.IPV6_IN_IP):
            return self._ip(_deeper(origin, start), octets[:end], start)
        return _OTHER_PROTOCOLS.get(protocol, f"ip protocol {protocol}")

    def _esp(self, origin: _Origin, packet: ip.Packet, octets: bytes, start: int, end: int) -> str | None:
        inside = esp.open_plain(octets, start, end)
        if inside is None:
            return "esp (encrypted, not readable)"
        inner = packet._replace(protocol=inside.protocol)
        return self._transport(_deeper(origin, start), inner, octets, inside.start, inside.end, 0)

    def _udp(self, origin: _Origin, packet: ip.Packet, octets: bytes, start: int, end: int, missing: int) -> str | None:
        if start + 8 > end:
            raise DecodeError("the UDP header is cut", end)
        source_port = octets[start] << 8 | octets[start + 1]
        destination_port = octets[start + 2] << 8 | octets[start + 3]
        length = octets[start + 4] << 8 | octets[start + 5]
        if 8 <= length < end - start:
            end = start + length
        elif length < 8 and length:
            raise DecodeError(f"a UDP length of {length}", start + 4)
        start += 8
        if (source_port == tunnel.PORT or destination_port == tunnel.PORT) and tunnel.is_gtpu(octets, start, end):
            return self._tunnel(origin, packet, source_port, destination_port, octets[start:end])
        if esp.UDP_PORT in (source_port, destination_port) and esp.open_plain(octets, start, end) is not None:
            return self._esp(origin, packet, octets, start, end)
        if destination_port == overlay.VXLAN_PORT and overlay.is_vxlan(octets, start, end):
            kind, at = overlay.vxlan(octets, start)
            return self._network(_deeper(origin, start), kind, octets[:end], at, missing)
        payload = octets[start:end]
        if SCTP_IN_UDP_PORT in (source_port, destination_port) and len(payload) >= 16:
            source = _endpoint(packet.source, payload[0] << 8 | payload[1])
            destination = _endpoint(packet.destination, payload[2] << 8 | payload[3])
            return self._sctp_packet(origin, source, destination, payload, missing)
        found = classify.datagram(source_port, destination_port, payload, missing)
        if isinstance(found, classify.Noise):
            return self._noise(origin.frame, found)
        source = _endpoint(packet.source, source_port)
        destination = _endpoint(packet.destination, destination_port)
        self._found(origin, found, payload, missing, source, destination, "udp")
        return USED

    def _noise(self, frame: int, noise: classify.Noise) -> str:
        if not noise.fault:
            return noise.kind
        self.ledger.report(frame, f"undecodable: {noise.fault}")
        return DAMAGED

    def _found(
        self,
        origin: _Origin,
        found: classify.Found,
        payload: bytes,
        missing: int,
        source: Endpoint,
        destination: Endpoint,
        transport: str,
        stream: int = -1,
        sequence: int = -1,
        flaws: tuple[Flaw, ...] = (),
    ) -> None:
        """Emit every message of a datagram or SCTP user message."""
        at = 0
        if found.fault:
            self.ledger.report(origin.frame, f"undecodable: {found.fault}")
        for index, end in enumerate(found.ends):
            last = end == found.ends[-1]
            faults = flaws if not at else ()
            if last and missing and Flaw.CUT not in faults:
                faults = (*faults, Flaw.CUT)
            if found.fault and index == found.faulty:
                faults = (*faults, Flaw.UNDECODABLE)
            self._emit(
                CapturedMessage(
                    protocol=found.protocol,
                    captured_at_ns=origin.captured_at_ns,
                    source=source,
                    destination=destination,
                    octets=payload[at:end],
                    transport=transport,
                    stream=stream,
                    stream_sequence=sequence,
                    tunnel=origin.tunnel,
                    tunnel_teid=origin.teid,
                    frame=origin.frame,
                    flaws=faults,
                )
            )
            at = end
        if at < len(payload):
            self.ledger.report(origin.frame, f"{len(payload) - at} octets after the last message of a datagram")

    def _tunnel(
        self, origin: _Origin, packet: ip.Packet, source_port: int, destination_port: int, payload: bytes
    ) -> str | None:
        inside = tunnel.open_tunnel(payload, 0, len(payload))
        if isinstance(inside, str):
            return inside
        version = payload[inside.start] >> 4
        if version != 4 and version != 6:
            return "gtp-u without ip"
        deeper = _deeper(origin, inside.start)
        ends = (_endpoint(packet.source, source_port), _endpoint(packet.destination, destination_port))
        return self._ip(deeper._replace(tunnel=ends, teid=inside.teid), payload, inside.start)

    def _segment(
        self, origin: _Origin, packet: ip.Packet, octets: bytes, start: int, end: int, missing: int
    ) -> str | None:
        header = (octets[start + 12] >> 4) << 2 if start + 13 < end else 0
        if header < 20 or start + header > end + missing:
            raise DecodeError("an impossible TCP header length", start)
        if start + header > end:
            return "tcp cut"
        flow = Flow(
            _endpoint(packet.source, octets[start] << 8 | octets[start + 1]),
            _endpoint(packet.destination, octets[start + 2] << 8 | octets[start + 3]),
            origin.tunnel,
            origin.teid,
        )
        segment = Segment(
            int.from_bytes(octets[start + 4 : start + 8], "big"),
            int.from_bytes(octets[start + 8 : start + 12], "big"),
            octets[start + 13],
            octets[start + header : end],
            missing,
            origin.frame,
            origin.captured_at_ns,
        )
        return self.tcp.add(flow, segment, self._clock)

    def _sctp_packet(
        self, origin: _Origin, source: Endpoint, destination: Endpoint, packet: bytes, missing: int
    ) -> str | None:
        key = _SctpKey(source, destination, origin.tunnel, origin.teid)
        reverse = _SctpKey(destination, source, origin.tunnel, origin.teid)
        return self.sctp.add(key, reverse, packet, missing, origin.frame, origin.captured_at_ns, self._clock)

    def _user_message(self, key: Hashable, message: UserMessage) -> str:
        if not isinstance(key, _SctpKey):
            return "sctp"
        cut = 1 if Flaw.CUT in message.flaws else 0
        ports = (key.source.port, key.destination.port)
        found = classify.user_message(message.ppid, ports, message.payload, cut)
        if isinstance(found, classify.Noise):
            return self._noise(message.frame, found)
        origin = _Origin(message.frame, message.captured_at_ns, key.tunnel, key.teid)
        self._found(
            origin, found, message.payload, cut, key.source, key.destination, "sctp", message.stream,
            message.sequence, message.flaws,
        )  # fmt: skip
        return USED

    def _bare_s1ap(self, origin: _Origin, octets: bytes, missing: int) -> str:
        seen = s1ap.peek(octets)
        if seen is None and not missing:
            return self._noise(origin.frame, classify.Noise("user link type", "no S1AP PDU"))
        from_mme = classify.sent_by_mme(octets)
        source, destination = (S1AP_MME, S1AP_ENB) if from_mme else (S1AP_ENB, S1AP_MME)
        found = classify.Found(Protocol.S1AP, (len(octets),))
        self._found(origin, found, octets, missing, source, destination, "none")
        return USED

    def _exported(self, origin: _Origin, octets: bytes, missing: int) -> str | None:
        pdu = exported.open_exported(octets)
        if pdu.name == "ip":
            return self._ip(origin, octets, pdu.start)
        if pdu.protocol is None:
            return f"exported {pdu.name[:20]}"
        payload = octets[pdu.start :]
        if pdu.protocol is Protocol.S1AP and not pdu.source.address:
            return self._bare_s1ap(origin, payload, missing)
        if not missing and classify.PEEKS[pdu.protocol](payload) is None:
            return self._noise(origin.frame, classify.Noise("exported", f"no {pdu.protocol} in an exported PDU"))
        found = classify.Found(pdu.protocol, (len(payload),))
        self._found(origin, found, payload, missing, pdu.source, pdu.destination, pdu.transport)
        return USED
