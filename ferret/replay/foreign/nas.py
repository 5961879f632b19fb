"""The device's NAS towards a foreign MME: its recorded messages under the algorithms and COUNTs that hold now.

The MME takes the recorded vector (K_ASME), but chooses the algorithms itself (TS 24.301 clause 5.4.3): a message that
was protected with the recorded ones is unprotected and protected again. Without keys messages stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from typing import Any, Final

from ferret.errors import DecodeError, ProtocolError
from ferret.protocols import nas, s1ap
from ferret.protocols.nas import Direction, IdentityType, MessageType, MobileIdentity, NasSecurityContext
from ferret.protocols.s1ap import Ecgi, IeId, tai_of
from ferret.protocols.summary import Protocol
from ferret.records.message import Role, SignallingMessage
from ferret.replay.device import Device

_PROTECTION: Final = 6  # octets before the message inside: header type, MAC, sequence number (TS 24.301 clause 9.1)
_MAX_DEPTH: Final = 16


class DeviceNas:
    """One replay's device. `messages`: the recording's, in order."""

    def __init__(self, messages: Sequence[SignallingMessage]) -> None:
        self._messages = messages
        self._taken = 0
        self._recorded = Device()
        self._current = Device()
        self._downlink = next((m for m in messages if _is_downlink(m)), None)
        self._uplink = next((m for m in messages if m.name.startswith("InitialUEMessage")), None)

    @property
    def reason(self) -> str:
        """Why the device has no keys; "" where it has."""
        return self._current.why_no_keys

    def heard(self, message: s1ap.Message) -> s1ap.Message:
        """The MME has sent this; returns it with NAS that can be read."""
        if self._downlink is None:
            return message
        readable = _readable(message, self._current.security)
        captured = replace(self._downlink.captured, octets=message.encode())
        self._current.take(replace(self._downlink, captured=captured))
        return readable

    @property
    def base_station(self) -> SignallingMessage | None:
        """A recorded message of the device's base station: what is made for the device goes where it went."""
        return self._uplink

    def identity_response(self, asked: s1ap.Message, imsi: str) -> s1ap.Message | None:
        """What the device answers an IDENTITY REQUEST for its IMSI (TS 24.301 clause 5.4.4) with; None: it is none.

        A network that does not know the GUTI of an ATTACH REQUEST asks this; the recorded one may have known it.
        """
        octets = asked.nas_pdu
        plain = nas.decode(octets).plain if octets else None
        if plain is None or plain.type != MessageType.IDENTITY_REQUEST or self._uplink is None:
            return None
        if (plain.number("Identity type") or 0) & 7 != IdentityType.IMSI or not imsi.isdecimal():
            return None
        identity = MobileIdentity(IdentityType.IMSI, imsi).encode()
        answer = nas.build_emm(MessageType.IDENTITY_RESPONSE, {"Mobile identity": identity}, by_network=False)
        pdu, mme_id, enb_id = s1ap.decode(self._uplink.octets), asked.mme_ue_s1ap_id, asked.enb_ue_s1ap_id
        tai, ecgi = pdu.ie(IeId.TAI), pdu.ie(IeId.EUTRAN_CGI)
        if mme_id is None or enb_id is None or tai is None or ecgi is None:
            return None
        return s1ap.uplink_nas_transport(
            mme_ue_s1ap_id=mme_id, enb_ue_s1ap_id=enb_id, nas_pdu=answer.octets, ecgi=Ecgi.of(ecgi), tai=tai_of(tai)
        )

    def uplink(self, message: SignallingMessage, nas_pdu: bytes) -> bytes:
        """A recorded uplink NAS message as the device protects it now."""
        self._take_until(message.index)
        recorded, current = self._recorded.security, self._current.security
        if recorded is None or current is None:
            return nas_pdu
        if _is_service_request(nas_pdu):
            return current.protect_service_request()
        return self._current.protect_again(nas_pdu, copy(recorded), current)

    def _take_until(self, index: int) -> None:
        """What the recording shows before the message of this index."""
        while self._taken < len(self._messages) and self._messages[self._taken].index < index:
            message = self._messages[self._taken]
            self._taken += 1
            self._recorded.take(message)
            if message.name == "AIA":
                self._current.take(message)


def readable_recording(messages: Sequence[SignallingMessage]) -> dict[int, s1ap.Message]:
    """What the recorded MME sent, with NAS that can be read where the recording has the keys; by index."""
    device = Device()
    found: dict[int, s1ap.Message] = {}
    for message in messages:
        if _is_downlink(message):
            try:
                found[message.index] = _readable(s1ap.decode(message.octets), device.security)
            except ProtocolError:
                continue
        device.take(message)
    return found


def _is_downlink(message: SignallingMessage) -> bool:
    return message.protocol is Protocol.S1AP and message.from_nf.role is Role.MME


def _readable(message: s1ap.Message, security: NasSecurityContext | None) -> s1ap.Message:
    """The message with its NAS deciphered in place, as if with the null algorithm (TS 24.301 clause 4.4.5)."""
    if security is None or not security.ciphering:
        return message

    def decipher(nas_pdu: bytes) -> bytes:
        try:
            plain, _ = copy(security).unprotect(nas.decode(nas_pdu), Direction.DOWNLINK)
        except ProtocolError:
            return nas_pdu
        return nas_pdu if plain is None else nas_pdu[:_PROTECTION] + plain.octets

    values = {
        ie.id: new
        for ie in message.ies
        if ie.value is not None and (new := _with_nas(ie.value, decipher, at_top=ie.id == IeId.NAS_PDU)) != ie.value
    }
    return message.replacing(values) if values else message


def _with_nas(value: Any, change: Callable[[bytes], bytes], *, at_top: bool = False, depth: int = 0) -> Any:
    """A decoded value with every NAS-PDU in it changed."""
    if at_top and isinstance(value, bytes):
        return change(value)
    if depth > _MAX_DEPTH:
        return value
    if isinstance(value, dict):
        return {
            name: _with_nas(content, change, at_top=name == "nAS-PDU", depth=depth + 1)
            for name, content in value.items()
        }
    if isinstance(value, list):
        return [_with_nas(item, change, depth=depth + 1) for item in value]
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
        return value[0], _with_nas(value[1], change, depth=depth + 1)
    return value


def _is_service_request(nas_pdu: bytes) -> bool:
    try:
        return nas.decode(nas_pdu).header is nas.SecurityHeader.SERVICE_REQUEST
    except DecodeError:
        return False
