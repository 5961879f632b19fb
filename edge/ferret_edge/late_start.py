"""Context for a recording that begins too late: what its messages imply about the time before.

A service recorded without its attach still needs a device with a default bearer. The MME takes over a UE context that
says as much as the recording does, and builds the default bearer itself, with real messages to the other edge NFs,
asking for the address that the device uses. What could only be guessed is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ferret.errors import ProtocolError
from ferret.protocols import gtpv2, nas, s1ap
from ferret.protocols.gtpv2 import Ebi
from ferret.protocols.nas import IdentityType, MobileIdentity
from ferret.protocols.s1ap import Ecgi, IeId, tai_of
from ferret.protocols.summary import IdKind, Protocol
from ferret.records.message import Interface, Role, SignallingMessage
from ferret.replay.device import Device
from ferret.replay.plan import Plan

_FIRST_EBI: Final = 5  # TS 24.007 clause 11.2.3.1.5
_IMS_QCI: Final = 5  # TS 23.203 table 6.1.7-A: IMS signalling
_DEFAULT_QCI: Final = 9
_ASSUMED_TEID: Final = 0x0FE00000  # the base station's end of a bearer that no message shows
_IMSI_DIGITS: Final = 15


@dataclass(frozen=True, slots=True)
class LateStart:
    """What the MME is to take over, and how to say it."""

    imsi: str
    ue_context: dict[str, Any] | None = None
    assumed: tuple[str, ...] = ()


def late_start(plan: Plan, enb_address: str) -> LateStart:
    """What has to be assumed for this plan. `enb_address`: of the emulated base station."""
    messages = [step.message for step in plan.steps]
    imsi, made_up = _imsi(plan.subscriber, messages)
    said = (f"IMSI {imsi}: made up, the recording shows none of {plan.subscriber}",) if made_up else ()
    if Role.MME not in plan.members:
        return LateStart(imsi, None, said)
    if _has_attach(messages):
        known = _guti_without_keys(imsi, messages)
        if known is None:
            return LateStart(imsi, None, said)
        return LateStart(imsi, known, (*said, f"the MME knows the GUTI of {imsi}: its authentication is not recorded"))
    return _attached_before(imsi, messages, enb_address, said)


def _attached_before(
    imsi: str, messages: Sequence[SignallingMessage], enb_address: str, said: tuple[str, ...]
) -> LateStart:
    device = Device()
    for message in messages:
        device.take(message)
    default, dedicated = _default_bearer(device, messages)
    address, apn = _address(messages), _apn(messages)
    bearers = [_bearer(default, apn, _IMS_QCI, address, enb_address, device)]
    lines = [
        f"attach of {imsi}, and its default bearer {default} to {apn} with address {address or 'of the edge'}",
    ]
    for ebi in range(_FIRST_EBI, dedicated or default):
        if ebi != default:
            bearers.append(_bearer(ebi, "internet", _DEFAULT_QCI, "", enb_address, device))
            lines.append(f"default bearer {ebi} to internet: the recorded MME gave out a higher identity next")
    context: dict[str, Any] = {
        "imsi": imsi,
        "enb": enb_address,
        "enb_ue_s1ap_id": device.enb_ue_s1ap_id,
        "bearers": bearers,
        **_location(messages),
    }
    if device.mme_ue_s1ap_id is not None:
        context["mme_ue_s1ap_id"] = device.mme_ue_s1ap_id
    return LateStart(imsi, context, (*said, *lines))


def _bearer(ebi: int, apn: str, qci: int, address: str, enb: str, device: Device) -> dict[str, Any]:
    known = device.bearers.get(ebi)
    teid = known.enb.teid if known is not None and known.enb is not None else _ASSUMED_TEID + ebi
    bearer: dict[str, Any] = {"ebi": ebi, "apn": apn, "qci": qci, "enb_tunnel": {"address": enb, "teid": teid}}
    if address:
        bearer["paa"] = address
    return bearer


def _has_attach(messages: Iterable[SignallingMessage]) -> bool:
    return any(m.interface is Interface.S1_MME and "(Attach request)" in m.name for m in messages)


def _imsi(subscriber: str, messages: Iterable[SignallingMessage]) -> tuple[str, bool]:
    """The subscriber's IMSI, and whether it had to be made up: test PLMN 001/01 and the digits of another identity."""
    if subscriber.isdecimal():
        return subscriber, False
    for message in messages:
        for kind, value in message.identifiers:
            if kind is IdKind.IMSI:
                return value, False
    digits = "".join(c for c in subscriber if c.isdecimal())
    return ("00101" + digits.rjust(_IMSI_DIGITS, "0")[5 - _IMSI_DIGITS :])[:_IMSI_DIGITS], True


def _default_bearer(device: Device, messages: Iterable[SignallingMessage]) -> tuple[int, int]:
    """The default bearer that a dedicated one was linked to, and the first dedicated one (0: none)."""
    dedicated = sorted(bearer.ebi for bearer in device.bearers.values() if bearer.linked_ebi)
    linked = [device.bearers[ebi].linked_ebi for ebi in dedicated]
    for message in messages:
        if not linked and message.name == "Create Bearer Request":
            try:
                view = gtpv2.decode(message.octets).view(Ebi)
            except ProtocolError:
                continue
            linked += [view.value] if view is not None else []
    return (linked[0] if linked else _FIRST_EBI), (dedicated[0] if dedicated else 0)


def _address(messages: Iterable[SignallingMessage]) -> str:
    """The device's address: of several that share an identity, the one that answers or makes the call."""
    listed = list(messages)
    sent = [m for m in listed if m.protocol is Protocol.SIP and m.from_nf.role is Role.UE]
    for name in ("200 (INVITE)", "INVITE", ""):
        for message in sent:
            if name in ("", message.name):
                return message.from_nf.address
    return next((v for m in listed for kind, v in m.identifiers if kind is IdKind.UE_IP), "")


def _apn(messages: Iterable[SignallingMessage]) -> str:
    return next((v for m in messages for kind, v in m.identifiers if kind is IdKind.APN), "ims")


def _location(messages: Iterable[SignallingMessage]) -> dict[str, Any]:
    """TAI and cell, which every uplink NAS message tells (TS 36.413 clause 9.1.7.3)."""
    for message in messages:
        if message.protocol is not Protocol.S1AP or message.from_nf.role is not Role.ENB:
            continue
        try:
            pdu = s1ap.decode(message.octets)
            tai, ecgi = pdu.ie(IeId.TAI), pdu.ie(IeId.EUTRAN_CGI)
            if tai is not None and ecgi is not None:
                place, cell = tai_of(tai), Ecgi.of(ecgi)
                return {
                    "tai": {"plmn": place.plmn, "tac": place.tac},
                    "ecgi": {"plmn": cell.plmn, "cell": cell.cell},
                }
        except (ProtocolError, KeyError):
            continue
    return {}


def _guti_without_keys(imsi: str, messages: Sequence[SignallingMessage]) -> dict[str, Any] | None:
    """A device that attaches with a GUTI, and whose vector the recording does not hold."""
    if any(message.name == "AIA" for message in messages):
        return None
    for message in messages:
        if "(Attach request)" not in message.name:
            continue
        try:
            octets = s1ap.decode(message.octets).nas_pdu
            plain = nas.decode(octets).plain if octets else None
            identity = MobileIdentity.decode(plain.get("EPS mobile identity") or b"") if plain else None
        except ProtocolError:
            continue
        if identity is not None and identity.type is IdentityType.GUTI and identity.guti is not None:
            guti = identity.guti
            return {
                "imsi": imsi,
                "guti": {
                    "plmn": guti.plmn,
                    "group_id": guti.group_id,
                    "mme_code": guti.mme_code,
                    "m_tmsi": guti.m_tmsi,
                },
            }
    return None
