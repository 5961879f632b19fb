"""Stimuli out of recorded messages, and what the edge's messages teach about the translation.

`Replayer` asks this of its `Translator`; the pieces are the translation, the rewriters and the memory of what the edge
made in place of what was recorded. Once the device has moved, `uplink_nas` protects its NAS messages anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ferret.errors import DecodeError
from ferret.protocols import s1ap
from ferret.protocols.s1ap import IeId
from ferret.protocols.summary import IdKind, Protocol
from ferret.records.decoding import doors
from ferret.records.message import Node, Role, SignallingMessage
from ferret.replay.check import inconsistencies
from ferret.replay.port import MadeOutput
from ferret.replay.rewrite import Message, Place, ReplayContext, released, rewrite
from ferret.replay.translation import Domain, Pair, Translation, teid_scope
from ferret.transport.endpoint import text

_S1_U_ENB = 0  # interface type of an eNB's user-plane F-TEID (TS 29.274 clause 8.22)


class StimulusTranslator:
    """The translation of one replay. `hosts` are the recorded NFs' addresses and names, and the edge's instead."""

    def __init__(self, hosts: Mapping[str, str]) -> None:
        self.translation = Translation(hosts)
        self.uplink_nas: Callable[[SignallingMessage, bytes], bytes] = _as_recorded
        self._context = ReplayContext()

    def stimulus(self, message: SignallingMessage) -> tuple[bytes, str]:
        """The octets to deliver and the address of the peer that they come from."""
        self._own_tunnels(message)
        decoded = doors(message.protocol).decode(message.octets)
        rewritten = rewrite(decoded, self.translation, self._context, _place(message))
        if isinstance(rewritten, s1ap.Message) and (nas_pdu := rewritten.nas_pdu) is not None:
            current = self.uplink_nas(message, nas_pdu)
            if current != nas_pdu:
                rewritten = rewritten.replacing({int(IeId.NAS_PDU): current})
        self._forget_released(decoded)
        return rewritten.encode(), self._peer(message.from_nf, message)

    def learn(self, message: SignallingMessage, made: MadeOutput) -> Sequence[Mapping[str, object]]:
        """Take what the edge made of `message`; returns the differences that contradict what was known."""
        pairs = [_pair(fields) for fields in made.pairs]
        found = inconsistencies(self.translation.learn(pairs))
        try:
            decode = doors(message.protocol).decode
            recorded, edge = decode(message.octets), decode(made.octets)
        except DecodeError:
            return [difference.as_json() for difference in found]
        self._context.remember(_place(message), recorded, edge)
        return [difference.as_json() for difference in found]

    def _forget_released(self, decoded: Message) -> None:
        """Identifiers that a released UE context gave back may be allocated anew."""
        for freed in released(decoded) if isinstance(decoded, s1ap.Message) else ():
            self.translation.forget(*freed)

    def snapshot(self) -> Mapping[str, object]:
        """The translation as JSON, for the NFs' own check."""
        return self.translation.snapshot()

    def _peer(self, sender: Node, message: SignallingMessage) -> str:
        """Where a stimulus comes from: as recorded, since the sender is outside; but base stations are emulated.

        The sender may have the address of an NF that is inside as well: a CSCF that serves both halves of a call.
        """
        if message.protocol is Protocol.S1AP:
            return self.translation.endpoint(sender.address)[0]
        return text((sender.address, message.captured.source.port))

    def _own_tunnels(self, message: SignallingMessage) -> None:
        """The emulated base station keeps the recorded one's TEIDs; only its address is another."""
        if message.from_nf.role is not Role.ENB:
            return
        for kind, value in message.identifiers:
            if kind is IdKind.TEID_U:
                address, _, teid = value.rpartition("/")
                new, _ = self.translation.endpoint(address)
                scopes = teid_scope(_S1_U_ENB, address), teid_scope(_S1_U_ENB, new)
                self.translation.learn([Pair(Domain.TEID_U, int(teid, 16), int(teid, 16), *scopes)])


def _as_recorded(message: SignallingMessage, nas_pdu: bytes) -> bytes:
    """Until the device has moved, its NAS messages are those of the recording."""
    return nas_pdu


def _place(message: SignallingMessage) -> Place:
    return Place(message.interface, message.from_nf, message.to_nf)


def _pair(fields: Sequence[str | int]) -> Pair:
    """A pair as it came over the replay port."""
    domain, recorded, edge, *rest = fields
    recorded_scope, edge_scope, parameter, risk = (str(text) for text in rest)
    return Pair(Domain(str(domain)), recorded, edge, recorded_scope, edge_scope, parameter, risk)
