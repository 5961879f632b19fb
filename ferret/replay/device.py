"""The device of a recording: its keys, NAS COUNTs and bearers, as they stand after each recorded message.

The device itself is not in a capture, but what went between it and its MME is: K_ASME in the HSS's answer (TS 29.272
clause 7.3.17), the algorithms in the Security Mode Command, the COUNTs in every protected message (TS 24.301 clause
4.4.3), the bearers in S1AP. That is enough to go on as that device: `ferret_core.enb` does, and
`Device.protect_again` protects its recorded messages anew once COUNTs have moved on without the recording.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address
from typing import Final

from ferret.errors import DecodeError, ProtocolError
from ferret.protocols import diameter, gtpv2, nas, s1ap
from ferret.protocols.diameter import avp
from ferret.protocols.nas import Direction, MessageType, NasSecurityContext, PdnAddress
from ferret.protocols.s1ap import Erab, IeId, Tunnel
from ferret.records.message import Role, SignallingMessage

_SET_UP_LISTS: Final = (IeId.ERAB_TO_BE_SETUP_LIST_CTXT_SU_REQ, IeId.ERAB_TO_BE_SETUP_LIST_BEARER_SU_REQ)
_DONE_LISTS: Final = (IeId.ERAB_SETUP_LIST_CTXT_SU_RES, IeId.ERAB_SETUP_LIST_BEARER_SU_RES)
_RELEASED_LISTS: Final = (IeId.ERAB_TO_BE_RELEASED_LIST,)


@dataclass(slots=True)
class DeviceBearer:
    """An EPS bearer with its E-RAB, as the core set it up."""

    ebi: int
    sgw: Tunnel
    enb: Tunnel | None = None
    qci: int = 9
    linked_ebi: int = 0  # of a dedicated bearer: its default bearer
    apn: str = ""
    address: str = ""  # of a default bearer: the device's IPv4 address, or the IPv6 one where it has no other


@dataclass(slots=True)
class Device:
    """One subscriber's device. Feed it the recorded messages in order."""

    enb_address: str = ""
    enb_ue_s1ap_id: int = 0
    mme_ue_s1ap_id: int | None = None
    security: NasSecurityContext | None = None
    why_no_keys: str = "the recording has no Authentication-Information-Answer"
    bearers: dict[int, DeviceBearer] = field(default_factory=dict)
    unverified: int = 0  # protected NAS messages whose MAC is not what these keys make
    _vectors: list[tuple[bytes, bytes]] = field(default_factory=list, repr=False)  # (RAND, K_ASME)
    _rand: bytes = field(default=b"", repr=False)
    _prefixes: dict[int, str] = field(default_factory=dict, repr=False)  # IPv6 addresses that a PGW gave, by EBI

    def take(self, message: SignallingMessage) -> None:
        """What one recorded message says of the device. Never raises."""
        try:
            if message.name == "AIA":
                self._take_vectors(diameter.decode(message.octets))
            elif message.name == "Create Session Response":
                self._take_session(gtpv2.decode(message.octets))
            elif message.protocol.value == "s1ap":
                self._take_s1ap(message, s1ap.decode(message.octets))
        except ProtocolError:
            return

    def protect_again(self, nas_pdu: bytes, recorded: NasSecurityContext, current: NasSecurityContext) -> bytes:
        """An uplink message of the recording, protected with the COUNT that the device has now.

        `recorded` holds the COUNTs as recorded, `current` those in force; both move on. A message that is not
        protected, or not with these keys, stays as it is.
        """
        try:
            message = nas.decode(nas_pdu)
            plain, verified = recorded.unprotect(message, Direction.UPLINK)
        except ProtocolError:
            return nas_pdu
        if not verified or plain is None:
            return nas_pdu
        return current.protect(plain.octets, message.header, Direction.UPLINK)

    def _take_vectors(self, answer: diameter.Message) -> None:
        self._vectors = [
            (rand, key)
            for info in answer.all(avp.AUTHENTICATION_INFO)
            for vector in info.all(avp.E_UTRAN_VECTOR)
            if (rand := vector.value_of(avp.RAND)) and (key := vector.value_of(avp.KASME))
        ]

    def _take_session(self, answer: gtpv2.Message) -> None:
        """The IPv6 prefix of a PDN connection, of which NAS only has the interface identifier."""
        paa = answer.view(gtpv2.Paa)
        for context in answer.bearer_contexts:
            ebi = context.view(gtpv2.Ebi)
            if paa is not None and paa.ipv6 and ebi is not None:
                self._prefixes[ebi.value] = paa.ipv6

    def _take_s1ap(self, message: SignallingMessage, pdu: s1ap.Message) -> None:
        downlink = message.from_nf.role is Role.MME
        self.enb_address = (message.to_nf if downlink else message.from_nf).address
        if pdu.enb_ue_s1ap_id is not None:
            self.enb_ue_s1ap_id = pdu.enb_ue_s1ap_id
        self.mme_ue_s1ap_id = pdu.mme_ue_s1ap_id if pdu.mme_ue_s1ap_id is not None else self.mme_ue_s1ap_id
        for erab in _erabs(pdu, _SET_UP_LISTS):
            self._set_up(erab)
        for erab in _erabs(pdu, _DONE_LISTS):
            if erab.ebi in self.bearers and erab.tunnel is not None:
                self.bearers[erab.ebi].enb = erab.tunnel
        for erab in _erabs(pdu, _RELEASED_LISTS):
            self.bearers.pop(erab.ebi, None)
        direction = Direction.DOWNLINK if downlink else Direction.UPLINK
        for nas_pdu in pdu.nas_pdus():
            self._take_nas(nas_pdu, direction)

    def _set_up(self, erab: Erab) -> None:
        if erab.tunnel is None:
            return
        qci = erab.qos.qci if erab.qos is not None else 9
        known = self.bearers.get(erab.ebi)
        # After idle mode the base station sets up a bearer that the device still has.
        self.bearers[erab.ebi] = (
            replace(known, sgw=erab.tunnel, qci=qci)
            if known is not None
            else DeviceBearer(erab.ebi, erab.tunnel, qci=qci)
        )

    def _take_nas(self, nas_pdu: bytes, direction: Direction) -> None:
        message = nas.decode(nas_pdu)
        plain = message.plain
        if plain is not None and plain.type == MessageType.SECURITY_MODE_COMMAND:
            self._take_into_use(plain)
        if self.security is not None and message.mac:
            inside, verified = self.security.unprotect(message, direction)
            self.unverified += not verified
            plain = inside or plain
        if plain is None:
            return
        if plain.type == MessageType.AUTHENTICATION_REQUEST:
            self._rand = plain.get("Authentication parameter RAND") or b""
        esm = plain.esm
        if esm is not None:
            self._take_esm(esm)

    def _take_into_use(self, command: nas.Plain) -> None:
        """Keys are in use from the Security Mode Command on (TS 24.301 clause 5.4.3)."""
        algorithms = command.number("Selected NAS security algorithms")
        key = next((k for rand, k in self._vectors if rand == self._rand), None)
        if key is None and len(self._vectors) == 1:
            key = self._vectors[0][1]
        if algorithms is None or key is None:
            return
        try:
            self.security = NasSecurityContext(key, algorithms & 7, algorithms >> 4 & 7)
            self.why_no_keys = ""
        except ProtocolError as error:
            self.why_no_keys = str(error)

    def _take_esm(self, esm: nas.Plain) -> None:
        if esm.type == MessageType.ACTIVATE_DEFAULT_EPS_BEARER_CONTEXT_REQUEST and esm.ebi in self.bearers:
            bearer = self.bearers[esm.ebi]
            if apn := esm.get("Access point name"):
                bearer.apn = nas.decode_apn(apn)
            if address := esm.get("PDN address"):
                bearer.address = self._address(esm.ebi, PdnAddress.decode(address))
        elif esm.type == MessageType.ACTIVATE_DEDICATED_EPS_BEARER_CONTEXT_REQUEST and esm.ebi in self.bearers:
            self.bearers[esm.ebi].linked_ebi = esm.number("Linked EPS bearer identity") or 0

    def _address(self, ebi: int, given: PdnAddress) -> str:
        """IPv4, else prefix and interface identifier (TS 23.401 clause 5.3.1.2.2); "" where there is no prefix."""
        prefix = self._prefixes.get(ebi, "")
        if given.ipv4 or not prefix:
            return given.ipv4
        return str(IPv6Address(IPv6Address(prefix).packed[:8] + given.interface_identifier))


def _erabs(pdu: s1ap.Message, lists: Iterable[IeId]) -> Iterator[Erab]:
    for which in lists:
        for item in pdu.items(which):
            try:
                yield Erab.of(item)
            except (DecodeError, KeyError):
                continue


def device_at(messages: Iterable[SignallingMessage], until: int) -> Device:
    """The device as it stands after the message with index `until`."""
    device = Device()
    for message in messages:
        if message.index > until:
            break
        device.take(message)
    return device
