"""ESM of the emulated device (TS 24.301 clause 6): it accepts the bearers that the network sets up, changes, ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from ferret.errors import PeerViolationError
from ferret.protocols.nas import (
    EpsQos,
    EsmCause,
    MessageType,
    PdnAddress,
    Plain,
    build_esm,
    decode_apn,
    encode_apn,
)

IPV4_PDN_TYPE: Final = 1
_PTI_LIMIT: Final = 254  # TS 24.301 clause 9.4: 1 to 254 are assigned, 255 is reserved


@dataclass(frozen=True, slots=True)
class EpsBearer:
    """An EPS bearer context as the device keeps it (TS 24.301 clause 6.1.3). All of them here are active."""

    ebi: int
    linked_ebi: int = 0  # 0: this is a default bearer
    apn: str = ""
    address: str = ""  # of a default bearer's PDN connection: IPv4, or IPv6 once that is known where there is no IPv4
    qci: int = 9
    tft: bytes = b""  # TS 24.008 clause 10.5.6.12, as last received
    options: bytes = b""  # protocol configuration options of a default bearer (TS 24.008 clause 10.5.6.3)
    identifier: bytes = b""  # interface identifier (8 octets) of a default bearer's PDN connection with IPv6
    ipv6: str = ""  # the IPv6 address, once the network has advertised its prefix

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses of a default bearer's PDN connection that may be used."""
        return tuple(dict.fromkeys(one for one in (self.address, self.ipv6) if one))


class Esm:
    """The device's bearers and its own requests for them."""

    def __init__(self) -> None:
        self.bearers: dict[int, EpsBearer] = {}
        self.requested: dict[int, str] = {}  # PTI -> APN that was asked for
        self.rejected: list[int] = []  # ESM causes of what the network refused
        self._pti = 0

    def next_pti(self) -> int:
        """A procedure transaction identity that is not in use."""
        for _ in range(_PTI_LIMIT):
            self._pti = self._pti % _PTI_LIMIT + 1
            if self._pti not in self.requested:
                return self._pti
        raise PeerViolationError("254 ESM procedures are open")

    def pdn_connectivity(
        self, apn: str, *, pco: bytes = b"", in_attach: bool = False, pdn_type: int = IPV4_PDN_TYPE
    ) -> bytes:
        """PDN CONNECTIVITY REQUEST (clause 8.3.20); in an attach the APN follows on the network's request.

        `pdn_type`: 1 IPv4, 2 IPv6, 3 both (TS 24.008 clause 10.5.6.4 and TS 24.301 clause 9.9.4.10).
        """
        pti = self.next_pti()
        self.requested[pti] = apn
        values: dict[str, bytes | int] = {"Request type": 1, "PDN type": pdn_type}
        if in_attach and apn:
            values["ESM information transfer flag"] = 1
        elif apn:
            values["Access point name"] = encode_apn(apn)
        if pco:
            values["Protocol configuration options"] = pco
        return build_esm(MessageType.PDN_CONNECTIVITY_REQUEST, ebi=0, pti=pti, values=values).octets

    def pdn_disconnect(self, ebi: int) -> bytes:
        """PDN DISCONNECT REQUEST (clause 8.3.22) for the PDN connection of default bearer `ebi`."""
        pti = self.next_pti()
        self.requested[pti] = self.bearers[ebi].apn if ebi in self.bearers else ""
        values: dict[str, bytes | int] = {"Linked EPS bearer identity": ebi}
        return build_esm(MessageType.PDN_DISCONNECT_REQUEST, ebi=0, pti=pti, values=values).octets

    def receive(self, plain: Plain) -> bytes | None:
        """Take a verified message; return the plain answer. Raises PeerViolationError for one that a UE never gets."""
        handler = _HANDLERS.get(plain.type)
        if handler is None:
            raise PeerViolationError(f"{plain.name} is not for a device")
        return handler(self, plain)

    def _activate_default(self, plain: Plain) -> bytes:
        address = PdnAddress.decode(plain.get("PDN address") or b"")
        qos = EpsQos.decode(plain.get("EPS QoS") or b"")
        apn = decode_apn(plain.get("Access point name") or b"")
        options = plain.get("Protocol configuration options") or b""
        self.bearers[plain.ebi] = EpsBearer(
            plain.ebi, 0, apn, address.ipv4, qos.qci, options=options, identifier=address.interface_identifier
        )
        self.requested.pop(plain.pti, None)
        # clause 6.4.1.3: the answer's PTI is 0, for the activation is the network's procedure
        return _answer(MessageType.ACTIVATE_DEFAULT_EPS_BEARER_CONTEXT_ACCEPT, plain)

    def _activate_dedicated(self, plain: Plain) -> bytes:
        linked = plain.number("Linked EPS bearer identity") or 0
        default = self.bearers.get(linked)
        if default is None or default.linked_ebi:
            reject = MessageType.ACTIVATE_DEDICATED_EPS_BEARER_CONTEXT_REJECT
            return _answer(reject, plain, EsmCause.INVALID_EPS_BEARER_IDENTITY)
        qos = EpsQos.decode(plain.get("EPS QoS") or b"")
        tft = plain.get("TFT") or b""
        self.bearers[plain.ebi] = EpsBearer(plain.ebi, linked, default.apn, default.address, qos.qci, tft)
        self.requested.pop(plain.pti, None)
        return _answer(MessageType.ACTIVATE_DEDICATED_EPS_BEARER_CONTEXT_ACCEPT, plain)

    def _modify(self, plain: Plain) -> bytes:
        bearer = self.bearers.get(plain.ebi)
        if bearer is None:
            reject = MessageType.MODIFY_EPS_BEARER_CONTEXT_REJECT
            return _answer(reject, plain, EsmCause.INVALID_EPS_BEARER_IDENTITY)
        qos, tft = plain.get("New EPS QoS"), plain.get("TFT")
        self.bearers[plain.ebi] = replace(
            bearer,
            qci=EpsQos.decode(qos).qci if qos else bearer.qci,
            tft=bearer.tft if tft is None else tft,
        )
        self.requested.pop(plain.pti, None)
        return _answer(MessageType.MODIFY_EPS_BEARER_CONTEXT_ACCEPT, plain)

    def _deactivate(self, plain: Plain) -> bytes:
        """Also an unknown bearer's deactivation is accepted (clause 7.3.2)."""
        self.requested.pop(plain.pti, None)
        gone = self.bearers.pop(plain.ebi, None)
        if gone is not None and not gone.linked_ebi:
            for ebi in [one.ebi for one in self.bearers.values() if one.linked_ebi == gone.ebi]:
                del self.bearers[ebi]
        return _answer(MessageType.DEACTIVATE_EPS_BEARER_CONTEXT_ACCEPT, plain)

    def _information(self, plain: Plain) -> bytes:
        values: dict[str, bytes | int] = {}
        if apn := self.requested.get(plain.pti, ""):
            values["Access point name"] = encode_apn(apn)
        kind = MessageType.ESM_INFORMATION_RESPONSE
        return build_esm(kind, ebi=0, pti=plain.pti, values=values).octets

    def _rejected(self, plain: Plain) -> None:
        self.requested.pop(plain.pti, None)
        self.rejected.append(plain.number("ESM cause") or 0)

    def _status(self, plain: Plain) -> None:
        self.rejected.append(plain.number("ESM cause") or 0)

    def configure_ipv6(self, ebi: int, address: str) -> None:
        """The IPv6 address of a default bearer's PDN connection is known now."""
        bearer = self.bearers[ebi]
        self.bearers[ebi] = replace(bearer, ipv6=address, address=bearer.address or address)

    def release(self, kept: set[int]) -> None:
        """Keep only these bearers: what a lower layer or the network's bearer status says (clause 6.4.4.6)."""
        for ebi in set(self.bearers) - kept:
            del self.bearers[ebi]


def _answer(kind: MessageType, request: Plain, cause: EsmCause | None = None) -> bytes:
    values: dict[str, bytes | int] = {} if cause is None else {"ESM cause": int(cause)}
    return build_esm(kind, ebi=request.ebi, pti=0, values=values).octets


_HANDLERS: Final[dict[int, Callable[[Esm, Plain], bytes | None]]] = {
    MessageType.ACTIVATE_DEFAULT_EPS_BEARER_CONTEXT_REQUEST: Esm._activate_default,
    MessageType.ACTIVATE_DEDICATED_EPS_BEARER_CONTEXT_REQUEST: Esm._activate_dedicated,
    MessageType.MODIFY_EPS_BEARER_CONTEXT_REQUEST: Esm._modify,
    MessageType.DEACTIVATE_EPS_BEARER_CONTEXT_REQUEST: Esm._deactivate,
    MessageType.ESM_INFORMATION_REQUEST: Esm._information,
    MessageType.PDN_CONNECTIVITY_REJECT: Esm._rejected,
    MessageType.PDN_DISCONNECT_REJECT: Esm._rejected,
    MessageType.BEARER_RESOURCE_ALLOCATION_REJECT: Esm._rejected,
    MessageType.BEARER_RESOURCE_MODIFICATION_REJECT: Esm._rejected,
    MessageType.ESM_STATUS: Esm._status,
    MessageType.NOTIFICATION: Esm._status,
}
