"""What each S1AP message may carry and how each IE's value is coded: pycrate's compilation of TS 36.413 clause 9.3.

pycrate takes a quarter of a second to import, so that happens at first use (`warm` does it beforehand). Its ASN.1
objects are shared, mutable and not safe for threads: values are taken out under a lock and the objects never leave
this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import Any, Final

from ferret.errors import DecodeError, LocalMisuseError
from ferret.protocols.s1ap.per import RawIe, read_single_containers, write_single_containers
from ferret.protocols.s1ap.procedures import Criticality, PduKind

_LOCK: Final = Lock()
_OUTCOMES: Final = ("InitiatingMessage", "SuccessfulOutcome", "UnsuccessfulOutcome")
_CRITICALITIES: Final = {"reject": Criticality.REJECT, "ignore": Criticality.IGNORE, "notify": Criticality.NOTIFY}


@dataclass(frozen=True, slots=True)
class IeType:
    """The type of one IE in one message: its ASN.1 type, and for a list of items the types of the items."""

    name: str  # the ASN.1 type's name: "E-RABToBeSetupListBearerSUReq"
    criticality: Criticality
    asn1: Any  # a pycrate object
    items: dict[int, IeType] | None = None  # not None: a SEQUENCE OF ProtocolIE-SingleContainer

    def decode(self, octets: bytes) -> Any:
        """The value as plain Python, in pycrate's form. Raises DecodeError."""
        if self.items is not None:
            return [self._decode_item(item) for item in read_single_containers(octets)]
        try:
            with _LOCK:
                self.asn1.from_aper(octets)
                return self.asn1.get_val()
        except Exception as error:  # pycrate raises anything, AssertionError and IndexError included
            raise DecodeError(f"{self.name} does not decode: {type(error).__name__}") from error

    def _decode_item(self, item: RawIe) -> dict[str, Any]:
        kind = self.items.get(item.id) if self.items else None
        value = (kind.name, kind.decode(item.octets)) if kind else (UNKNOWN, item.octets)
        return {"id": item.id, "criticality": item.criticality.asn1_name, "value": value}

    def encode(self, value: Any) -> bytes:
        """The octets of a value. Raises LocalMisuseError if it is not one of this type."""
        if self.items is not None:
            return write_single_containers([self._encode_item(item) for item in value])
        try:
            with _LOCK:
                self.asn1.set_val(value)
                return bytes(self.asn1.to_aper())
        except Exception as error:
            raise LocalMisuseError(f"{value!r} is no {self.name}: {error}") from error

    def _encode_item(self, item: dict[str, Any]) -> RawIe:
        identifier, (name, value) = item["id"], item["value"]
        kind = self.items.get(identifier) if self.items else None
        if kind is None and name != UNKNOWN:
            raise LocalMisuseError(f"{self.name} has no item {identifier}")
        octets = kind.encode(value) if kind else value
        return RawIe(identifier, _CRITICALITIES[item["criticality"]], octets)


UNKNOWN: Final = "unknown"  # stands in place of the type's name for an item that TS 36.413 does not define


@dataclass(frozen=True, slots=True)
class MessageType:
    """One message of TS 36.413 clause 9.1."""

    name: str
    criticality: Criticality
    ies: dict[int, IeType]


@cache
def _s1ap() -> Any:
    from pycrate_asn1dir import S1AP

    return S1AP


def _object_set(holder: Any) -> list[dict[str, Any]]:
    """The information objects that a container's open type is constrained by."""
    table = holder._cont["value"]._const_tab
    objects = table._val if table is not None else None
    return [*objects.root, *(objects.ext or ())] if objects is not None else []


def _ie_type(entry: dict[str, Any]) -> IeType:
    asn1 = entry["Value"]
    reference = asn1._typeref
    name = reference.called[1] if reference is not None else asn1.TYPE
    items: dict[int, IeType] | None = None
    content: Any = getattr(asn1, "_cont", None)
    content_reference = getattr(content, "_typeref", None) if asn1.TYPE == "SEQUENCE OF" else None
    if content_reference is not None and content_reference.called[1] == "ProtocolIE-SingleContainer":
        items = {inner["id"]: _ie_type(inner) for inner in _object_set(content)}
    return IeType(name, _CRITICALITIES[entry["criticality"]], asn1, items)


@cache
def _procedures() -> dict[int, Any]:
    objects = _s1ap().S1AP_PDU_Descriptions.S1AP_ELEMENTARY_PROCEDURES._val
    return {entry["procedureCode"]: entry for entry in (*objects.root, *(objects.ext or ()))}


@cache
def message_type(kind: PduKind, procedure_code: int) -> MessageType | None:
    """The schema of a message; None if TS 36.413 has no such message, or it does not hold a list of protocol IEs."""
    procedure = _procedures().get(procedure_code)
    message = procedure.get(_OUTCOMES[kind]) if procedure else None
    if procedure is None or message is None or "protocolIEs" not in list(message._cont):
        return None
    entries = _object_set(message._cont["protocolIEs"]._cont)
    criticality = _CRITICALITIES[procedure.get("criticality", "ignore")]
    return MessageType(message._typeref.called[1], criticality, {ie["id"]: _ie_type(ie) for ie in entries})


@cache
def ie_names() -> dict[int, str]:
    """Protocol IE identifiers by number, in the specification's spelling: {0: "MME-UE-S1AP-ID", ...}."""
    constants = _s1ap().S1AP_Constants
    names: dict[int, str] = {}
    for attribute in dir(constants):
        constant = getattr(constants, attribute)
        reference = getattr(constant, "_typeref", None)
        if reference is not None and reference.called[1] == "ProtocolIE-ID":
            names[constant._val] = constant._name.removeprefix("id-")
    return names


@cache
def ie_ids() -> dict[str, int]:
    """The inverse of `ie_names`."""
    return {name: number for number, name in ie_names().items()}


def warm() -> None:
    """Load pycrate and the tables of every message now rather than at the first decode."""
    ie_ids()
    for code in _procedures():
        for kind in PduKind:
            message_type(kind, code)
