"""Every field of an S1AP message, flat, under a stable path (TS 36.413's own names).

"header/Procedure Code", then each IE by the name of its identifier: "MME-UE-S1AP-ID", "TAI/tAC", "Cause" (value
"nas:detach"). Items of a list of E-RABs are marked by their E-RAB ID: "E-RABToBeSetupListBearerSUReq[6]/gTP-TEID";
other items by position. A NAS message stands in place of its octets: "NAS/Message type",
"E-RABToBeSetupListCtxtSUReq[5]/NAS/GUTI/M-TMSI" (see `ferret.protocols.nas.parameters`).
Addresses are text, TEIDs numbers, PLMNs digits; keys are "sha256:" and eight digits, enough to see whether two are
equal; what else is opaque is hex.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

from ferret.errors import DecodeError
from ferret.protocols.nas.identities import plmn_digits
from ferret.protocols.nas.parameters import nas_fields
from ferret.protocols.s1ap.carried_nas import carried_nas
from ferret.protocols.s1ap.message import Message
from ferret.protocols.s1ap.views import transport_address
from ferret.protocols.summary import Parameter

Entry: TypeAlias = "tuple[str, str | int | None]"
_MAX_DEPTH: Final = 24  # levels of a value; TS 36.413 has fewer


def parameters(message: Message) -> list[Parameter]:
    """Every field of `message`, header first, then the IEs in their order. Never raises."""
    found = [
        Parameter("header/Procedure Code", message.procedure_code),
        Parameter("header/Criticality", message.criticality.asn1_name),
    ]
    seen: dict[str, int] = {}
    for ie in message.ies:
        times = seen[ie.name] = seen.get(ie.name, -1) + 1
        path = f"{ie.name}[{times}]" if times else ie.name
        value = ie.octets if ie.value is None else ie.value
        found += (Parameter(*entry) for entry in _flatten(path, ie.name, value, 0, message.name))
    return found


def _flatten(path: str, name: str, value: Any, depth: int, carrier: str) -> Iterator[Entry]:
    """One value: `name` is that of the component it stands in, which says how octets and bits read.

    `carrier`: the name of the S1AP message.
    """
    if depth > _MAX_DEPTH:
        yield path, "nested too deeply"
    elif name in ("NAS-PDU", "nAS-PDU") and isinstance(value, bytes):
        yield from _nas(path, value, carrier)
    elif isinstance(value, dict):
        yield from _components(path, value, depth, carrier)
    elif isinstance(value, list):
        yield from _items(path, name, value, depth, carrier)
    elif isinstance(value, tuple) and len(value) == 2:
        yield from _pair(path, name, value, depth, carrier)
    elif isinstance(value, bytes):
        yield path, _OCTETS.get(name, bytes.hex)(value)
    elif value is None or isinstance(value, (int, str)):
        yield path, value
    else:
        yield path, str(value)


def _components(path: str, value: dict[str, Any], depth: int, carrier: str) -> Iterator[Entry]:
    if not value:
        yield path, None
    for name, content in value.items():
        yield from _flatten(f"{path}/{name}", name, content, depth + 1, carrier)


def _items(path: str, name: str, value: list[Any], depth: int, carrier: str) -> Iterator[Entry]:
    if not value:
        yield path, None
    for position, item in enumerate(value):
        if isinstance(item, dict) and {"id", "criticality"} < item.keys():
            yield from _container(path, position, item, depth, carrier)
        else:
            yield from _flatten(f"{path}[{position}]", name, item, depth + 1, carrier)


def _container(path: str, position: int, item: dict[str, Any], depth: int, carrier: str) -> Iterator[Entry]:
    """An item in a ProtocolIE-SingleContainer, or an extension."""
    kind, content = item.get("value") or item.get("extensionValue") or ("", None)
    if "extensionValue" in item:
        yield from _flatten(f"{path}/{kind}", kind, content, depth + 1, carrier)
        return
    ebi = content.get("e-RAB-ID") if isinstance(content, dict) else None
    yield from _flatten(f"{path}[{position if ebi is None else ebi}]", kind, content, depth + 1, carrier)


def _pair(path: str, name: str, value: tuple[Any, Any], depth: int, carrier: str) -> Iterator[Entry]:
    first, second = value
    if isinstance(first, int) and isinstance(second, int):
        yield path, _bits(name, first, second)
    elif isinstance(second, (dict, list, tuple, bytes)):
        yield from _flatten(f"{path}/{first}", str(first), second, depth + 1, carrier)
    elif isinstance(second, str):
        yield path, f"{first}:{second}"
    else:
        yield f"{path}/{first}", second


def _bits(name: str, number: int, length: int) -> str | int:
    if name == "transportLayerAddress":
        try:
            return transport_address((number, length))
        except (DecodeError, OverflowError):
            return f"{number:x}/{length}"
    if name in _SECRET:
        return _digest(number.to_bytes((length + 7) // 8, "big"))
    return number if length <= 28 and name not in _MAPS else f"{number:0{(length + 3) // 4}x}"


def _digest(octets: bytes) -> str:
    return "sha256:" + hashlib.sha256(octets).hexdigest()[:8]


_SECRET: Final = frozenset(("SecurityKey", "nextHopParameter"))
_MAPS: Final = frozenset(("encryptionAlgorithms", "integrityProtectionAlgorithms"))


def _number(octets: bytes) -> int:
    return int.from_bytes(octets, "big")


def _plmn(octets: bytes) -> str:
    return plmn_digits(octets) if len(octets) == 3 else octets.hex()


def _tmsi(octets: bytes) -> str:
    return "0x" + octets.hex()


_OCTETS: Final[dict[str, Callable[[bytes], str | int]]] = {
    "gTP-TEID": _number,
    "uL-GTP-TEID": _number,
    "dL-gTP-TEID": _number,
    "tAC": _number,
    "mMEC": _number,
    "mME-Code": _number,
    "mME-Group-ID": _number,
    "servedMMECs": _number,
    "servedGroupIDs": _number,
    "pLMNidentity": _plmn,
    "pLMN-Identity": _plmn,
    "broadcastPLMNs": _plmn,
    "servedPLMNs": _plmn,
    "m-TMSI": _tmsi,
}


def _nas(path: str, octets: bytes, carrier: str) -> Iterator[Entry]:
    outer = path.rpartition("/")[0]
    prefix = f"{outer}/NAS" if outer else "NAS"
    try:
        fields = list(nas_fields(carried_nas(octets, carrier)))
    except DecodeError:
        fields = [("malformed", octets.hex())]
    yield from ((f"{prefix}/{name}", value) for name, value in fields)
