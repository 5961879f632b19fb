"""One S1AP message: decoded once, its octets kept, encoded without loss (TS 36.413 clause 9)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ferret.errors import DecodeError, LocalMisuseError
from ferret.protocols.s1ap import schema
from ferret.protocols.s1ap.constants import IeId
from ferret.protocols.s1ap.per import RawIe, read_ies, read_open_type, read_pdu, write_ies, write_pdu
from ferret.protocols.s1ap.procedures import CLASS_2, Criticality, PduKind, message_name
from ferret.protocols.summary import Kind, Peek

_UNSIGNED: Final = frozenset((IeId.MME_UE_S1AP_ID, IeId.ENB_UE_S1AP_ID))
_NO_CHOICE: Final[tuple[str, Any]] = ("", None)
_MAX_IES: Final = 1024  # no message of TS 36.413 comes near it; a hostile count of 65535 does not get work done


@dataclass(frozen=True, slots=True)
class Ie:
    """One protocol IE of a message.

    `value` is plain Python in pycrate's form (int, bytes, str, dict by component, (alternative, value), (bits,
    number of bits)); None where TS 36.413 does not define this IE in this message. `octets` is its coded value.
    """

    id: int
    criticality: Criticality
    value: Any
    octets: bytes

    @property
    def name(self) -> str:
        """The identifier's name in TS 36.413 clause 9.3.6 without "id-"; "IE 999" where it has none."""
        return schema.ie_names().get(self.id, f"IE {self.id}")


@dataclass(frozen=True, slots=True)
class Message:
    """A complete S1AP message. Made by `decode` or by a builder; `octets` always is its coded form."""

    kind: PduKind
    procedure_code: int
    criticality: Criticality
    ies: tuple[Ie, ...]
    octets: bytes

    def encode(self) -> bytes:
        """The message as it was on the wire."""
        return self.octets

    @property
    def name(self) -> str:
        """The message's name: "InitialUEMessage", "E-RABSetupRequest"."""
        return message_name(self.kind, self.procedure_code)

    @property
    def value(self) -> tuple[str, dict[str, Any]]:
        """The whole value tree in pycrate's form, with plain Python values; undefined IEs as octets."""
        fields = [
            {
                "id": ie.id,
                "criticality": ie.criticality.asn1_name,
                "value": (ie.name, ie.octets if ie.value is None else ie.value),
            }
            for ie in self.ies
        ]
        return self.kind.asn1_name, {
            "procedureCode": self.procedure_code,
            "criticality": self.criticality.asn1_name,
            "value": (self.name, {"protocolIEs": fields}),
        }

    def ie(self, which: int | str) -> Any:
        """The value of the first IE of this identifier or name ("NAS-PDU"); None if the message has none."""
        number = schema.ie_ids().get(which) if isinstance(which, str) else which
        for ie in self.ies:
            if ie.id == number:
                return ie.value
        return None

    def items(self, which: int | str) -> Iterator[Any]:
        """The values of the items of a list IE, each a dict by component; none if the message has no such list.

        Items that TS 36.413 does not define in that list are passed over.
        """
        for item in self.ie(which) or ():
            if isinstance(item["value"][1], dict):
                yield item["value"][1]

    @property
    def mme_ue_s1ap_id(self) -> int | None:
        """MME UE S1AP ID, from its own IE or from UE S1AP IDs (clause 9.2.3.18)."""
        return self._s1ap_id(IeId.MME_UE_S1AP_ID, "mME-UE-S1AP-ID")

    @property
    def enb_ue_s1ap_id(self) -> int | None:
        """eNB UE S1AP ID, from its own IE or from UE S1AP IDs (clause 9.2.3.18)."""
        return self._s1ap_id(IeId.ENB_UE_S1AP_ID, "eNB-UE-S1AP-ID")

    def _s1ap_id(self, identifier: IeId, component: str) -> int | None:
        value = self.ie(identifier)
        if value is None:
            alternative, content = self.ie(IeId.UE_S1AP_IDS) or _NO_CHOICE
            if alternative == "uE-S1AP-ID-pair":
                value = content[component]
            elif alternative == component:
                value = content
        return value if isinstance(value, int) else None

    @property
    def nas_pdu(self) -> bytes | None:
        """The NAS message that the NAS-PDU IE itself carries."""
        value = self.ie(IeId.NAS_PDU)
        return value if isinstance(value, bytes) else None

    def nas_pdus(self) -> Iterator[bytes]:
        """Every NAS message in it: of the NAS-PDU IE, then of each E-RAB item."""
        if (own := self.nas_pdu) is not None:
            yield own
        for ie in self.ies:
            if isinstance(ie.value, list):
                for item in ie.value:
                    content = item.get("value", ("", None))[1] if isinstance(item, dict) else None
                    if isinstance(content, dict) and "nAS-PDU" in content:
                        yield content["nAS-PDU"]

    def replacing(self, values: Mapping[int, Any]) -> Message:
        """The same message with other values for some of its IEs; every other IE keeps its octets.

        Raises LocalMisuseError for an IE that the message does not have, or a value that is none of its type.
        """
        missing = set(values) - {ie.id for ie in self.ies}
        kinds = schema.message_type(self.kind, self.procedure_code)
        if missing or kinds is None:
            raise LocalMisuseError(f"{self.name} has no IE {', '.join(map(str, sorted(missing)))}")
        ies = tuple(
            Ie(ie.id, ie.criticality, values[ie.id], kinds.ies[ie.id].encode(values[ie.id])) if ie.id in values else ie
            for ie in self.ies
        )
        return _assemble(self.kind, self.procedure_code, self.criticality, ies)


def build(kind: PduKind, procedure_code: int, values: Iterable[tuple[int, Any]]) -> Message:
    """A message with these IEs, in this order; an IE whose value is None is left out.

    Raises LocalMisuseError for what TS 36.413 clause 9.3.3 does not allow in that message.
    """
    kinds = schema.message_type(kind, procedure_code)
    if kinds is None:
        raise LocalMisuseError(f"S1AP has no message {message_name(kind, procedure_code)}")
    ies: list[Ie] = []
    for identifier, value in values:
        if value is None:
            continue
        ie_type = kinds.ies.get(identifier)
        if ie_type is None:
            raise LocalMisuseError(f"{kinds.name} has no IE {identifier}")
        ies.append(Ie(identifier, ie_type.criticality, value, ie_type.encode(value)))
    return _assemble(kind, procedure_code, kinds.criticality, tuple(ies))


def _assemble(kind: PduKind, code: int, criticality: Criticality, ies: tuple[Ie, ...]) -> Message:
    body = write_ies(RawIe(ie.id, ie.criticality, ie.octets) for ie in ies)
    return Message(kind, code, criticality, ies, write_pdu(kind, code, criticality, body))


def decode(octets: bytes) -> Message:
    """Decode one S1AP message with all its IEs. Raises DecodeError for whatever is no S1AP message."""
    pdu = read_pdu(octets)
    kinds = schema.message_type(pdu.kind, pdu.procedure_code)
    if kinds is None:
        if message_name(pdu.kind, pdu.procedure_code) != "PrivateMessage":
            raise DecodeError(f"S1AP has no {message_name(pdu.kind, pdu.procedure_code)}", 1)
        return Message(pdu.kind, pdu.procedure_code, pdu.criticality, (), octets)
    if int.from_bytes(pdu.body[1:3], "big") > _MAX_IES:
        raise DecodeError(f"more than {_MAX_IES} IEs", 5)
    ies = tuple(_decode_ie(raw, kinds) for raw in read_ies(pdu.body))
    return Message(pdu.kind, pdu.procedure_code, pdu.criticality, ies, octets)


def _decode_ie(raw: RawIe, kinds: schema.MessageType) -> Ie:
    if raw.id in _UNSIGNED:
        value: Any = _unsigned(raw.octets)
    elif raw.id == IeId.NAS_PDU and raw.id in kinds.ies:
        value = _octet_string(raw.octets)
    else:
        ie_type = kinds.ies.get(raw.id)
        value = ie_type.decode(raw.octets) if ie_type else None
    return Ie(raw.id, raw.criticality, value, raw.octets)


def _unsigned(octets: bytes) -> int:
    """An INTEGER of at most 2**32 values: two bits say how many octets, less one, follow (X.691 clause 13.2.6)."""
    length = (octets[0] >> 6) + 1 if octets else 0
    if not length or len(octets) <= length:
        raise DecodeError("S1AP ID is cut", 0)
    return int.from_bytes(octets[1 : 1 + length], "big")


def _octet_string(octets: bytes) -> bytes:
    """An OCTET STRING without size constraint: coded like an open type."""
    return read_open_type(octets, 0)[0]


def peek(octets: bytes) -> Peek | None:
    """Message name, kind and S1AP IDs from the PER header and the first two IEs. Never raises; None if not S1AP."""
    if len(octets) < 4 or octets[0] >> 5 > 2 or octets[0] & 0x1F or octets[2] >> 6 > 2:
        return None
    try:
        pdu = read_pdu(octets)
        name = message_name(pdu.kind, pdu.procedure_code)
        if name.startswith("procedure "):
            return None
        return Peek(kind_of(pdu.kind, pdu.procedure_code), name, _peek_ids(pdu.body), len(octets))
    except DecodeError:
        return None


def kind_of(kind: PduKind, procedure_code: int) -> Kind:
    """Class 1 procedures have requests and answers, class 2 indications (TS 36.413 clause 8.1)."""
    if kind is not PduKind.INITIATING_MESSAGE:
        return Kind.RESPONSE
    return Kind.INDICATION if procedure_code in CLASS_2 else Kind.REQUEST


def _peek_ids(body: bytes) -> str:
    """ "mme:enb" S1AP IDs where they are the first IEs, as in all messages but the first and the release command."""
    ids: dict[int, int] = {}
    offset = 3
    for _ in range(min(2, int.from_bytes(body[1:3], "big"))):
        if len(body) < offset + 6 or body[offset + 3] > 6:
            break
        identifier, length = body[offset] << 8 | body[offset + 1], body[offset + 3]
        if identifier in _UNSIGNED:
            ids[identifier] = _unsigned(body[offset + 4 : offset + 4 + length])
        offset += 4 + length
    if not ids:
        return ""
    return ":".join(str(ids.get(which, "")) for which in (IeId.MME_UE_S1AP_ID, IeId.ENB_UE_S1AP_ID))
