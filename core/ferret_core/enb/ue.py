"""The NAS side of an emulated device (TS 24.301): mobility management and security; bearers are in `esm`.

What counts, in order:

1. Once keys are in use, a message that is not integrity protected, or whose MAC is wrong, is silently discarded
   (clause 4.4.4.2), except the few that the clause lets through before that.
2. Only a message with a right MAC moves the downlink NAS COUNT; every message sent moves the uplink one.
3. A device whose keys are not known (a recording without S6a) takes everything, answers unprotected, and says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from ferret.errors import DecodeError, LocalMisuseError, PeerViolationError, ProtocolError
from ferret.protocols.nas import (
    Direction,
    Discriminator,
    EmmCause,
    Guti,
    IdentityType,
    MessageType,
    MobileIdentity,
    NasSecurityContext,
    Plain,
    SecurityHeader,
    UeNetworkCapability,
    build_emm,
    decode,
    derive_k_asme,
)
from ferret.protocols.nas.identities import plmn_octets
from ferret_core.enb.context import ImportedUe
from ferret_core.enb.esm import IPV4_PDN_TYPE, EpsBearer, Esm
from ferret_core.enb.usim import Challenge, Usim
from ferret_core.nf import Note

CAPABILITY: Final = UeNetworkCapability(eea=0b1010_0000, eia=0b0010_0000)  # EEA0, EEA2; EIA2
NO_KEY: Final = 7  # "no key is available" (clause 9.9.3.21)
_IMEISV: Final = "3534900698733190"  # of no real device


class EmmState(StrEnum):
    """EMM states of the device (TS 24.301 clause 5.1.3.2), as far as they matter here."""

    DEREGISTERED = "EMM-DEREGISTERED"
    REGISTERED_INITIATED = "EMM-REGISTERED-INITIATED"
    REGISTERED = "EMM-REGISTERED"
    DEREGISTERED_INITIATED = "EMM-DEREGISTERED-INITIATED"


class NasOutput(NamedTuple):
    """What follows from a NAS message: NAS-PDUs to send up, and notes."""

    uplink: tuple[bytes, ...] = ()
    notes: tuple[Note, ...] = ()


@dataclass(slots=True)
class _Keys:
    """Keys in the making: agreed by AKA, not yet taken into use."""

    k_asme: bytes
    ksi: int


# TS 24.301 clause 4.4.4.2: what a device processes without integrity protection before keys are in use.
_ACCEPTED_PLAIN: Final = frozenset(
    {
        MessageType.IDENTITY_REQUEST,
        MessageType.AUTHENTICATION_REQUEST,
        MessageType.AUTHENTICATION_REJECT,
        MessageType.ATTACH_REJECT,
        MessageType.DETACH_ACCEPT,
        MessageType.TRACKING_AREA_UPDATE_REJECT,
        MessageType.SERVICE_REJECT,
    }
)


class Ue:
    """One device. Give it the network's NAS-PDUs (`receive`) and orders; it returns NAS-PDUs to send."""

    def __init__(self, imsi: str, *, usim: Usim | None = None, plmn: str = "00101") -> None:
        """`usim`: for devices that attach by themselves. `plmn`: of the serving network, for K_ASME."""
        self.imsi = imsi
        self.state = EmmState.DEREGISTERED
        self.security: NasSecurityContext | None = None
        self.keys_unknown = False
        self.esm = Esm()
        self.guti: Guti | None = None
        self.discarded = 0  # messages that were not rightly protected
        self._plmn = plmn
        self._usim = usim
        self._new_keys: _Keys | None = None

    @classmethod
    def taken_over(cls, imported: ImportedUe) -> Ue:
        """A device that is already attached."""
        ue = cls(imported.imsi)
        ue.state = EmmState.REGISTERED
        ue.security = imported.security
        ue.keys_unknown = imported.security is None
        if imported.m_tmsi is not None:
            ue.guti = Guti("00101", 0, imported.mme_code, imported.m_tmsi)
        for one in imported.bearers:
            ue.esm.bearers[one.ebi] = EpsBearer(one.ebi, one.linked_ebi, one.apn, one.address, one.qci)
        return ue

    @property
    def is_gone(self) -> bool:
        """Whether the network has nothing left of this device."""
        return self.state is EmmState.DEREGISTERED

    # Orders.

    def attach(self, apn: str = "", *, pco: bytes = b"") -> bytes:
        """ATTACH REQUEST with a PDN CONNECTIVITY REQUEST (clause 8.2.4)."""
        self._must_be(EmmState.DEREGISTERED)
        self.state = EmmState.REGISTERED_INITIATED
        self.security = None
        values: dict[str, bytes | int] = {
            "EPS attach type": 1,
            "NAS key set identifier": NO_KEY,
            "EPS mobile identity": MobileIdentity(IdentityType.IMSI, self.imsi).encode(),
            "UE network capability": bytes((CAPABILITY.eea, CAPABILITY.eia)),
            "ESM message container": self.esm.pdn_connectivity(apn, pco=pco, in_attach=True),
        }
        return build_emm(MessageType.ATTACH_REQUEST, values, by_network=False).octets

    def connect_pdn(self, apn: str, *, pco: bytes = b"", pdn_type: int = IPV4_PDN_TYPE) -> bytes:
        """Ask for a further PDN connection. `pdn_type`: 1 IPv4, 2 IPv6, 3 both."""
        self._must_be(EmmState.REGISTERED)
        return self._protect(self.esm.pdn_connectivity(apn, pco=pco, pdn_type=pdn_type))

    def disconnect_pdn(self, ebi: int) -> bytes:
        """Give up the PDN connection of default bearer `ebi`."""
        self._must_be(EmmState.REGISTERED)
        return self._protect(self.esm.pdn_disconnect(ebi))

    def detach(self, *, switch_off: bool = False) -> bytes:
        """DETACH REQUEST (clause 8.2.11.2). After a switch-off nothing more is expected."""
        self._must_be(EmmState.REGISTERED)
        identity = self.guti.encode() if self.guti else MobileIdentity(IdentityType.IMSI, self.imsi).encode()
        values: dict[str, bytes | int] = {
            "Detach type": 1 | switch_off << 3,
            "NAS key set identifier": self.security.ksi if self.security else NO_KEY,
            "EPS mobile identity": identity,
        }
        message = self._protect(build_emm(MessageType.DETACH_REQUEST, values, by_network=False).octets)
        self.state = EmmState.DEREGISTERED if switch_off else EmmState.DEREGISTERED_INITIATED
        if switch_off:
            self.esm.bearers.clear()
        return message

    def request_service(self) -> bytes:
        """SERVICE REQUEST (clause 8.2.25). Raises LocalMisuseError without keys, which it cannot do without."""
        self._must_be(EmmState.REGISTERED)
        if self.security is None:
            raise LocalMisuseError("a SERVICE REQUEST needs the device's keys")
        return self.security.protect_service_request()

    # What the base station and the network say.

    def keep_bearers(self, with_radio: set[int]) -> None:
        """The base station has set these up: the network has no others (TS 24.301 clauses 5.6.1.4 and 6.4.4.6)."""
        if self.state is EmmState.REGISTERED:
            self.esm.release(with_radio)

    def receive(self, nas_pdu: bytes) -> NasOutput:
        """Take a NAS-PDU. Never raises for what the network sent: that is discarded, and noted."""
        try:
            plain, verified = self._open(nas_pdu)
        except DecodeError as error:
            return self._discard(str(error))
        if plain is None:
            return self._discard("it cannot be read")
        if not verified and not self._may_be_unprotected(plain):
            return self._discard("it is not protected, or its MAC is wrong", plain)
        try:
            return self._process(plain, verified)
        except ProtocolError as error:
            return NasOutput((), (Note("nas_message_refused", {"message": plain.name, "reason": str(error)}),))

    def _open(self, nas_pdu: bytes) -> tuple[Plain | None, bool]:
        message = decode(nas_pdu)
        if message.header is SecurityHeader.INTEGRITY_PROTECTED_NEW_CONTEXT and self._new_keys is not None:
            return self._open_security_mode_command(nas_pdu)
        if self.security is None:
            return message.plain, False
        return self.security.unprotect(message, Direction.DOWNLINK)

    def _open_security_mode_command(self, nas_pdu: bytes) -> tuple[Plain | None, bool]:
        """It is protected with the keys and the integrity algorithm that it itself takes into use."""
        message, keys = decode(nas_pdu), self._new_keys
        selected = message.plain.number("Selected NAS security algorithms") if message.plain else None
        if keys is None or selected is None:
            return message.plain, False
        try:
            context = NasSecurityContext(keys.k_asme, selected & 7, selected >> 4 & 7, keys.ksi)
        except ProtocolError:  # an algorithm that this device does not have
            return message.plain, False
        plain, verified = context.unprotect(message, Direction.DOWNLINK)
        if verified:
            self.security, self._new_keys = context, None
        return plain, verified

    def _may_be_unprotected(self, plain: Plain) -> bool:
        if self.keys_unknown:
            return True
        return self.security is None and plain.type in _ACCEPTED_PLAIN

    def _process(self, plain: Plain, verified: bool) -> NasOutput:
        notes = [] if verified or not self.keys_unknown else [self._unprotected(plain)]
        if plain.discriminator is Discriminator.ESM:
            if self.state is not EmmState.REGISTERED and plain.type != MessageType.ESM_INFORMATION_REQUEST:
                raise PeerViolationError(f"{plain.name} in {self.state}")
            answer = self.esm.receive(plain)
            return NasOutput(() if answer is None else (self._protect(answer),), tuple(notes))
        handler = _HANDLERS.get((self.state, plain.type))
        if handler is None:
            raise PeerViolationError(f"{plain.name} in {self.state}")
        uplink, more = handler(self, plain)
        return NasOutput(uplink, (*notes, *more))

    # EMM procedures.

    def _identity(self, plain: Plain) -> NasOutput:
        kind = plain.number("Identity type") or IdentityType.IMSI
        if kind != IdentityType.IMSI and self.security is None:
            raise PeerViolationError("only the IMSI is given without protection")  # clause 4.4.4.2
        digits = self.imsi if kind == IdentityType.IMSI else _IMEISV
        identity = MobileIdentity(kind, digits).encode()
        return self._answer(MessageType.IDENTITY_RESPONSE, {"Mobile identity": identity})

    def _authentication(self, plain: Plain) -> NasOutput:
        if self._usim is None:
            raise PeerViolationError("this device has no USIM")
        result = self._usim.challenge(plain.get("RAND") or b"", plain.get("AUTN") or b"")
        if result.outcome is Challenge.MAC_FAILURE:
            return self._answer(MessageType.AUTHENTICATION_FAILURE, {"EMM cause": int(EmmCause.MAC_FAILURE)})
        if result.outcome is Challenge.SYNCH_FAILURE:
            return self._answer(
                MessageType.AUTHENTICATION_FAILURE,
                {"EMM cause": int(EmmCause.SYNCH_FAILURE), "Authentication failure parameter": result.auts},
            )
        sqn_xor_ak = (plain.get("AUTN") or b"")[:6]
        k_asme = derive_k_asme(result.ck, result.ik, plmn_octets(self._plmn), sqn_xor_ak)
        self._new_keys = _Keys(k_asme, plain.number("NAS key set identifier") or 0)
        return self._answer(MessageType.AUTHENTICATION_RESPONSE, {"Authentication response parameter": result.res})

    def _security_mode(self, plain: Plain) -> NasOutput:
        replayed = plain.get("Replayed UE security capabilities") or b""
        if replayed[:2] != CAPABILITY.security_capability()[:2]:
            cause = int(EmmCause.UE_SECURITY_CAPABILITIES_MISMATCH)
            self.security = None
            return self._answer(MessageType.SECURITY_MODE_REJECT, {"EMM cause": cause})
        values: dict[str, bytes | int] = {}
        if plain.number("IMEISV request") == 1:
            values["IMEISV"] = MobileIdentity(IdentityType.IMEISV, _IMEISV).encode()
        message = build_emm(MessageType.SECURITY_MODE_COMPLETE, values, by_network=False).octets
        header = SecurityHeader.INTEGRITY_PROTECTED_AND_CIPHERED_NEW_CONTEXT
        return NasOutput((self._protect(message, header),))

    def _attach_accept(self, plain: Plain) -> NasOutput:
        request = plain.esm
        if request is None:
            raise PeerViolationError("ATTACH ACCEPT without a default bearer")
        answer = self.esm.receive(request)
        if answer is None:
            raise PeerViolationError(f"ATTACH ACCEPT with {request.name}")
        if guti := plain.get("GUTI"):
            self.guti = MobileIdentity.decode(guti).guti
        self.state = EmmState.REGISTERED
        output = self._answer(MessageType.ATTACH_COMPLETE, {"ESM message container": answer})
        return NasOutput(output.uplink, (Note("ue_attached", {"imsi": self.imsi}),))

    def _guti_reallocation(self, plain: Plain) -> NasOutput:
        self.guti = MobileIdentity.decode(plain.get("GUTI") or b"").guti
        return self._answer(MessageType.GUTI_REALLOCATION_COMPLETE, {})

    def _rejected(self, plain: Plain) -> NasOutput:
        if self.state is EmmState.REGISTERED_INITIATED or plain.type == MessageType.AUTHENTICATION_REJECT:
            self.state = EmmState.DEREGISTERED
            self.esm = Esm()
        fields = {"imsi": self.imsi, "message": plain.name, "cause": plain.number("EMM cause")}
        return NasOutput((), (Note("ue_rejected", fields),))

    def _network_detaches(self, _: Plain) -> NasOutput:
        output = self._answer(MessageType.DETACH_ACCEPT, {})
        self._detached()
        return output

    def _detach_accepted(self, _: Plain) -> NasOutput:
        self._detached()
        return NasOutput((), (Note("ue_detached", {"imsi": self.imsi}),))

    def _detached(self) -> None:
        self.state = EmmState.DEREGISTERED
        self.esm.bearers.clear()

    def _information(self, _: Plain) -> NasOutput:
        return NasOutput()

    # Protection.

    def _answer(self, kind: MessageType, values: dict[str, bytes | int]) -> NasOutput:
        return NasOutput((self._protect(build_emm(kind, values, by_network=False).octets),))

    def _protect(
        self,
        plain: bytes,
        header: SecurityHeader = SecurityHeader.INTEGRITY_PROTECTED_AND_CIPHERED,
    ) -> bytes:
        if self.security is None:
            return plain
        return self.security.protect(plain, header, Direction.UPLINK)

    def _discard(self, reason: str, plain: Plain | None = None) -> NasOutput:
        self.discarded += 1
        fields = {"imsi": self.imsi, "message": plain.name if plain else "unreadable", "reason": reason}
        return NasOutput((), (Note("nas_message_discarded", fields),))

    def _unprotected(self, plain: Plain) -> Note:
        return Note("nas_not_verified", {"imsi": self.imsi, "message": plain.name, "reason": "no keys known"})

    def _must_be(self, state: EmmState) -> None:
        if self.state is not state:
            raise LocalMisuseError(f"the device is in {self.state}, not in {state}")


_Handler = Callable[[Ue, Plain], NasOutput]
_T = MessageType
_ANY: Final = tuple(EmmState)
_BY_MESSAGE: Final[dict[MessageType, tuple[tuple[EmmState, ...], _Handler]]] = {
    _T.IDENTITY_REQUEST: (_ANY[1:], Ue._identity),
    _T.AUTHENTICATION_REQUEST: (_ANY[1:], Ue._authentication),
    _T.AUTHENTICATION_REJECT: (_ANY, Ue._rejected),
    _T.SECURITY_MODE_COMMAND: (_ANY[1:], Ue._security_mode),
    _T.ATTACH_ACCEPT: ((EmmState.REGISTERED_INITIATED,), Ue._attach_accept),
    _T.ATTACH_REJECT: ((EmmState.REGISTERED_INITIATED,), Ue._rejected),
    _T.SERVICE_REJECT: ((EmmState.REGISTERED,), Ue._rejected),
    _T.TRACKING_AREA_UPDATE_REJECT: ((EmmState.REGISTERED,), Ue._rejected),
    _T.GUTI_REALLOCATION_COMMAND: ((EmmState.REGISTERED,), Ue._guti_reallocation),
    _T.DETACH_REQUEST: ((EmmState.REGISTERED, EmmState.DEREGISTERED_INITIATED), Ue._network_detaches),
    _T.DETACH_ACCEPT: ((EmmState.DEREGISTERED_INITIATED,), Ue._detach_accepted),
    _T.EMM_INFORMATION: ((EmmState.REGISTERED,), Ue._information),
    _T.EMM_STATUS: (_ANY, Ue._information),
    _T.SERVICE_ACCEPT: ((EmmState.REGISTERED,), Ue._information),
}
_HANDLERS: Final[dict[tuple[EmmState, int], _Handler]] = {
    (state, kind): handler for kind, (states, handler) in _BY_MESSAGE.items() for state in states
}
