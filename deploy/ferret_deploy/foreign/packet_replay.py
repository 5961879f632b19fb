"""What a packet replay of the same messages comes to: each sent as recorded, with only its addresses rewritten.

That is what tcpreplay and scapy's `sendp` do. GTPv2-C and SIP over UDP go out of sockets at the stand-ins' addresses;
a TCP or SCTP packet goes out raw, since without a connection there is nothing else to send it on. What the target
sends back is counted by the same measure of acceptance as for a replay.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ferret.errors import DecodeError
from ferret.protocols import diameter, gtpv2, s1ap, sip
from ferret.protocols.summary import Kind, Protocol
from ferret.records.decoding import doors
from ferret.records.message import Endpoint, Role, SignallingMessage
from ferret.replay.foreign.acceptance import accepts, is_request, ratio, recorded_results, result_of
from ferret.replay.foreign.identifiers import sip_places
from ferret.replay.foreign.targets import ForeignSetting
from ferret.replay.plan import Plan
from ferret.transport.endpoint import Address
from ferret.transport.udp import UdpTransport

_UDP: Final = frozenset({Protocol.GTPV2, Protocol.SIP})
_PORTS: Final = {Protocol.DIAMETER: diameter.PORT, Protocol.S1AP: s1ap.PORT}


@dataclass(slots=True)
class PacketFigures:
    """What came of a packet replay. `unsent`: packets that this process has no right to send."""

    sent: int = 0
    accepted: int = 0
    unsent: int = 0
    by_protocol: dict[str, list[int]] = field(default_factory=dict)  # [sent, accepted]

    def as_json(self) -> dict[str, object]:
        """The object in `ferret bench acceptance --json`."""
        return {
            "sent": self.sent,
            "accepted": self.accepted,
            "acceptance": ratio(self.accepted, self.sent),
            "unsent": self.unsent,
            "by_protocol": {name: {"sent": s, "accepted": a} for name, (s, a) in self.by_protocol.items()},
        }


async def packet_replay(
    plans: Sequence[Plan], setting: ForeignSetting, *, gap: float = 0.05, linger: float = 1.0
) -> PacketFigures:
    """Send what is for the targets, `gap` seconds apart; answers count until `linger` seconds after the last."""
    messages = {s.message.index: s.message for one in plans for s in one.steps if s.part.delivered}
    results = recorded_results([step.message for one in plans for step in one.steps])
    sender = _Sender(list(messages.values()), setting)
    try:
        await sender.open()
        for index in sorted(messages):
            await sender.send(messages[index])
            await asyncio.sleep(gap)
        await asyncio.sleep(linger)
    finally:
        sender.close()
    return sender.figures(results)


class _Sender:
    """The sockets, and what has gone and come through them."""

    def __init__(self, messages: Sequence[SignallingMessage], setting: ForeignSetting) -> None:
        self._setting = setting
        self._messages = messages
        self._places = sip_places(messages, setting)
        self._sockets: dict[Endpoint, UdpTransport] = {}
        self._sent: list[tuple[SignallingMessage, Any]] = []
        self._unsent = 0
        self._answers: list[Any] = []
        self._asked: set[tuple[str, str]] = set()  # requests of the target, by protocol and what answers are matched by
        self._taken: set[int] = set()

    async def open(self) -> None:
        """Open a socket for each stand-in that UDP comes from. Raises TransportError."""
        for message in self._messages:
            if message.protocol in _UDP:
                place = self._place(message)
                if place not in self._sockets:
                    self._sockets[place] = await UdpTransport.bind(*place, self._received)

    def close(self) -> None:
        """Close the sockets."""
        for one in self._sockets.values():
            one.close()

    async def send(self, message: SignallingMessage) -> None:
        """Send one message as recorded."""
        target = self._setting.target(message.to_nf.role)
        decoded = doors(message.protocol).decode(message.octets)
        if message.protocol in _UDP:
            port = target.port if message.to_nf.role is not Role.MME else gtpv2.PORT
            self._sockets[self._place(message)].send(message.octets, (target.address, port))
        else:
            port = target.port if _is_served_by(message) else _PORTS[message.protocol]
            if not self._send_raw(message, (target.address, port)):
                self._unsent += 1
                return
        if message.kind is Kind.RESPONSE and (str(message.protocol), _matched_by(decoded)) in self._asked:
            self._taken.add(message.index)
        self._sent.append((message, decoded))

    def figures(self, results: Mapping[int, int]) -> PacketFigures:
        """Count."""
        made = PacketFigures(unsent=self._unsent)
        answers = {(type(answer), _matched_by(answer)): answer for answer in self._answers}
        for message, decoded in self._sent:
            answer = answers.get((type(decoded), _matched_by(decoded))) if message.kind is Kind.REQUEST else None
            result = result_of(answer) if answer is not None else 0
            accepted = message.index in self._taken or (
                answer is not None and (accepts(answer, result) or result == results.get(message.index, -1))
            )
            figures = made.by_protocol.setdefault(str(message.protocol), [0, 0])
            figures[0] += 1
            figures[1] += accepted
            made.sent += 1
            made.accepted += accepted
        return made

    def _place(self, message: SignallingMessage) -> Endpoint:
        role = message.from_nf.role
        if message.protocol is Protocol.SIP:
            return self._places[role]
        stand_ins = self._setting.stand_ins
        return Endpoint(stand_ins.address(role), stand_ins.port(role, gtpv2.PORT))

    def _received(self, octets: bytes, source: Address) -> None:
        for protocol in _UDP:
            try:
                message = doors(protocol).decode(octets)
            except DecodeError:
                continue
            if is_request(message):
                self._asked.add((str(protocol), _matched_by(message)))
            else:
                self._answers.append(message)
            return

    def _send_raw(self, message: SignallingMessage, target: Address) -> bool:
        """One IP packet with the message in it; False where this process may not."""
        source = (self._setting.stand_ins.address(message.from_nf.role), message.captured.source.port)
        packet = _packet(message, source, target)
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
                raw.sendto(packet, (target[0], 0))
        except OSError:
            return False
        return True


def _is_served_by(message: SignallingMessage) -> bool:
    """Whether the target's port is that of the message's protocol."""
    role = message.to_nf.role
    return role is Role.PCRF or (role is Role.MME and message.protocol is Protocol.S1AP)


def _packet(message: SignallingMessage, source: Address, target: Address) -> bytes:
    from scapy.layers.inet import IP, TCP
    from scapy.layers.sctp import SCTP, SCTPChunkData

    ip: Any = IP(src=source[0], dst=target[0])
    if message.protocol is Protocol.S1AP:
        chunk = SCTPChunkData(data=message.octets, proto_id=s1ap.PAYLOAD_PROTOCOL_ID, beginning=1, ending=1)
        return bytes(ip / SCTP(sport=source[1], dport=target[1]) / chunk)
    return bytes(ip / TCP(sport=source[1], dport=target[1], flags="PA") / message.octets)


def _matched_by(message: Any) -> str:
    if isinstance(message, gtpv2.Message):
        return str(message.sequence)
    if isinstance(message, sip.Message):
        return f"{sip.parse_via(message.first('Via')).branch} {message.method}"
    return ""
