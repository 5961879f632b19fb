"""What an S1AP message is, in a few words: name, transaction, identifiers, state transitions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from ferret.errors import DecodeError
from ferret.protocols import nas
from ferret.protocols.s1ap.carried_nas import carried_nas
from ferret.protocols.s1ap.constants import IeId
from ferret.protocols.s1ap.message import Message, kind_of
from ferret.protocols.s1ap.procedures import PduKind, ProcedureCode
from ferret.protocols.s1ap.views import transport_address
from ferret.protocols.summary import Identifier, IdKind, Kind, Summary

# State transitions that the specifications have for a message at its two ends together: EMM and ESM (TS 24.301 clauses
# 5.1.3 and 6.1.3), ECM (TS 23.401 clause 4.6), and the eNB's UE context and E-RABs (TS 36.413 clause 8).
_S1AP_TRANSITIONS: Final = {
    "S1SetupResponse": 2,
    "InitialUEMessage": 2,  # ECM-IDLE to ECM-CONNECTED in UE and MME
    "InitialContextSetupRequest": 1,
    "InitialContextSetupResponse": 1,
    "E-RABSetupRequest": 1,
    "E-RABSetupResponse": 1,
    "E-RABModifyRequest": 1,
    "E-RABModifyResponse": 1,
    "E-RABReleaseCommand": 1,
    "E-RABReleaseResponse": 1,
    "UEContextReleaseCommand": 2,  # ECM-IDLE in UE and eNB
    "UEContextReleaseComplete": 1,
    "Reset": 2,
}
_NAS_TRANSITIONS: Final = {
    "Attach request": 2,  # EMM-REGISTERED-INITIATED, EMM-COMMON-PROCEDURE-INITIATED
    "Authentication request": 1,
    "Authentication response": 1,
    "Security mode command": 1,
    "Security mode complete": 1,
    "Attach accept": 2,
    "Attach complete": 2,  # EMM-REGISTERED in UE and MME
    "Attach reject": 2,
    "Detach request": 2,
    "Detach accept": 2,
    "Tracking area update request": 1,
    "Tracking area update accept": 2,
    "Service request": 1,
    "Extended service request": 1,
    "Service reject": 1,
    "PDN connectivity request": 1,  # PROCEDURE TRANSACTION PENDING
    "PDN disconnect request": 1,
    "Activate default EPS bearer context request": 2,
    "Activate default EPS bearer context accept": 2,
    "Activate dedicated EPS bearer context request": 2,
    "Activate dedicated EPS bearer context accept": 1,
    "Modify EPS bearer context request": 1,
    "Modify EPS bearer context accept": 1,
    "Deactivate EPS bearer context request": 2,
    "Deactivate EPS bearer context accept": 1,
}


def summarise(message: Message) -> Summary:
    """Name, kind, transaction and identifiers of a message. Never raises: NAS that does not decode is left out."""
    inner = [plain for octets in message.nas_pdus() if (plain := _nas(octets, message.name)) is not None]
    names = [one.name for one in inner]
    name = f"{message.name} ({', '.join(dict.fromkeys(names))})" if names else message.name
    identifiers = dict.fromkeys((*_ids(message), *_values(message), *_of_nas(inner)))
    transitions = _S1AP_TRANSITIONS.get(message.name, 0) + sum(_NAS_TRANSITIONS.get(one, 0) for one in names)
    kind = kind_of(message.kind, message.procedure_code)
    accepted = _accepted(message, names)
    return Summary(
        name, kind, _transaction(message, kind), tuple(identifiers), accepted=accepted, state_transitions=transitions
    )


def _nas(octets: bytes, carrier: str) -> nas.Message | None:
    try:
        return carried_nas(octets, carrier)
    except DecodeError:
        return None


def _transaction(message: Message, kind: Kind) -> str:
    """Procedure and UE: the MME's identifier, or the eNB's where the request cannot name the MME's."""
    if kind is Kind.INDICATION:
        return ""
    code = message.procedure_code
    by_enb = code == ProcedureCode.PATH_SWITCH_REQUEST
    number = message.enb_ue_s1ap_id if by_enb else message.mme_ue_s1ap_id
    return str(code) if number is None else f"{code}:{number}"


_FAILED_LISTS: Final = (
    IeId.ERAB_FAILED_TO_SETUP_LIST_BEARER_SU_RES,
    IeId.ERAB_FAILED_TO_SETUP_LIST_CTXT_SU_RES,
    IeId.ERAB_FAILED_TO_MODIFY_LIST,
    IeId.ERAB_FAILED_TO_RELEASE_LIST,
)


def _accepted(message: Message, names: Iterable[str]) -> bool | None:
    if any(name.endswith(("reject", "failure")) for name in names):
        return False
    if message.kind is PduKind.INITIATING_MESSAGE:
        return None
    failed = any(message.ie(which) for which in _FAILED_LISTS)
    return message.kind is PduKind.SUCCESSFUL_OUTCOME and not failed


def _ids(message: Message) -> Iterator[Identifier]:
    pairs = ((IdKind.MME_UE_S1AP_ID, message.mme_ue_s1ap_id), (IdKind.ENB_UE_S1AP_ID, message.enb_ue_s1ap_id))
    yield from (Identifier(kind, str(number)) for kind, number in pairs if number is not None)


def _values(message: Message) -> Iterator[Identifier]:
    for ie in message.ies:
        if ie.id == IeId.S_TMSI and ie.value is not None:
            yield Identifier(IdKind.M_TMSI, "0x" + ie.value["m-TMSI"].hex())
        elif ie.id == IeId.UE_PAGING_ID and ie.value is not None:
            yield from _paged(ie.value)
        elif isinstance(ie.value, list):
            for item in ie.value:
                yield from _of_item(item)


def _paged(value: tuple[str, Any]) -> Iterator[Identifier]:
    alternative, content = value
    if alternative == "s-TMSI":
        yield Identifier(IdKind.M_TMSI, "0x" + content["m-TMSI"].hex())
    elif isinstance(content, bytes):
        digits = "".join(f"{octet & 15:x}{octet >> 4:x}" for octet in content)
        yield Identifier(IdKind.IMSI, digits.rstrip("f"))


def _of_item(item: Any) -> Iterator[Identifier]:
    content = item.get("value", ("", None))[1] if isinstance(item, dict) else None
    if not isinstance(content, dict) or "e-RAB-ID" not in content:
        return
    yield Identifier(IdKind.EBI, str(content["e-RAB-ID"]))
    yield from _tunnel(content.get("transportLayerAddress"), content.get("gTP-TEID"))
    for extension in content.get("iE-Extensions") or ():
        if extension["id"] == IeId.TRANSPORT_INFORMATION:
            inner = extension["extensionValue"][1]
            yield from _tunnel(inner["transportLayerAddress"], inner["uL-GTP-TEID"])


def _tunnel(address: Any, teid: Any) -> Iterator[Identifier]:
    if address is None or not isinstance(teid, bytes):
        return
    try:
        yield Identifier(IdKind.TEID_U, f"{transport_address(address)}/0x{teid.hex()}")
    except DecodeError:
        return


def _of_nas(messages: Iterable[nas.Message]) -> Iterator[Identifier]:
    for message in messages:
        plain = message.plain
        for _ in range(2):  # an EMM message, then the ESM message inside
            if plain is None:
                break
            yield from _of_plain(plain)
            plain = _inner(plain)


def _inner(plain: nas.Plain) -> nas.Plain | None:
    try:
        inner = plain.esm
    except DecodeError:
        return None
    return None if inner is plain else inner


_IDENTITIES: Final = ("EPS mobile identity", "GUTI", "Old GUTI", "Mobile identity", "M-TMSI")


def _of_plain(plain: nas.Plain) -> Iterator[Identifier]:
    if plain.ebi:
        yield Identifier(IdKind.EBI, str(plain.ebi))
    for field in plain.fields:
        try:
            if field.name in _IDENTITIES:
                yield from _identity(nas.MobileIdentity.decode(field.octets))
            elif field.name == "PDN address":
                address = nas.PdnAddress.decode(field.octets).ipv4
                if address and address != "0.0.0.0":
                    yield Identifier(IdKind.UE_IP, address)
            elif field.name == "Access point name":
                yield Identifier(IdKind.APN, _network_identifier(nas.decode_apn(field.octets)))
        except DecodeError:
            continue


def _identity(identity: nas.MobileIdentity) -> Iterator[Identifier]:
    if identity.type == nas.IdentityType.IMSI and identity.digits.isdecimal():
        yield Identifier(IdKind.IMSI, identity.digits)
    elif identity.guti is not None:
        yield Identifier(IdKind.M_TMSI, f"0x{identity.guti.m_tmsi:08x}")
    elif identity.tmsi is not None:
        yield Identifier(IdKind.M_TMSI, f"0x{identity.tmsi:08x}")


def _network_identifier(apn: str) -> str:
    """An APN without the operator identifier (TS 23.003 clause 9.1.2), in lower case."""
    return apn.lower().partition(".mnc")[0]
