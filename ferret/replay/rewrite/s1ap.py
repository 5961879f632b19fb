"""A recorded S1AP message from a base station, as the edge MME must see it (TS 36.413).

Changed are MME-UE-S1AP-ID and eNB-UE-S1AP-ID wherever they stand, the M-TMSI of an S-TMSI, and tunnel endpoints of NFs
that the edge stands in for. NAS messages inside stay as they are, whatever identifiers they hold: they are
integrity protected between device and MME (TS 24.301 clause 4.4), and the edge MME takes over the keys that they were
protected with. Everything else stays octet for octet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ferret.errors import DecodeError
from ferret.protocols import s1ap
from ferret.protocols.s1ap.constants import IeId
from ferret.protocols.s1ap.views import transport_address, transport_bits
from ferret.replay.rewrite.context import Place, ReplayContext
from ferret.replay.translation import Domain, Translation, teid_scope

_IDS = {
    int(IeId.MME_UE_S1AP_ID): Domain.MME_UE_S1AP_ID,
    int(IeId.ENB_UE_S1AP_ID): Domain.ENB_UE_S1AP_ID,
    int(IeId.SOURCE_MME_UE_S1AP_ID): Domain.MME_UE_S1AP_ID,
    int(IeId.MME_UE_S1AP_ID_2): Domain.MME_UE_S1AP_ID,
}
_ID_COMPONENTS = {"mME-UE-S1AP-ID": Domain.MME_UE_S1AP_ID, "eNB-UE-S1AP-ID": Domain.ENB_UE_S1AP_ID}
_TEIDS = ("gTP-TEID", "dL-gTP-TEID", "uL-GTP-TEID", "dL-GTP-TEID")
_S1_U_TYPES = (0, 1)  # S1-U eNodeB and S1-U SGW GTP-U interface (TS 29.274 clause 8.22)
_M_TMSI = "m-TMSI"
_MAX_DEPTH = 16


def rewrite(message: s1ap.Message, translation: Translation, context: ReplayContext, place: Place) -> s1ap.Message:
    """`message` with the edge's identifiers; the same object where nothing is to change."""
    work = _Work(translation)
    values = {}
    for ie in message.ies:
        if ie.value is None:
            continue
        domain = _IDS.get(ie.id)
        new = work.number(domain, ie.value) if domain is not None else work.rewritten(ie.value)
        if new != ie.value:
            values[ie.id] = new
    return message.replacing(values) if values else message


@dataclass(frozen=True, slots=True)
class _Work:
    """One message's rewriting: walks the values, which are plain Python in pycrate's form."""

    translation: Translation

    def number(self, domain: Domain, value: Any) -> Any:
        found = self.translation.edge(domain, value) if isinstance(value, int) else None
        return value if found is None else found

    def rewritten(self, value: Any, depth: int = 0) -> Any:
        if depth > _MAX_DEPTH:
            return value
        if isinstance(value, dict):
            return self._components(value, depth)
        if isinstance(value, list):
            return [self.rewritten(item, depth + 1) for item in value]
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
            return value[0], self._component(value[0], value[1], depth)
        return value

    def _components(self, value: Mapping[str, Any], depth: int) -> dict[str, Any]:
        made = {name: self._component(name, content, depth) for name, content in value.items()}
        teid = next((name for name in _TEIDS if name in value), None)
        if teid is not None and "transportLayerAddress" in value:
            address, number = self._tunnel(value["transportLayerAddress"], value[teid])
            made |= {"transportLayerAddress": address, teid: number}
        return made

    def _component(self, name: str, content: Any, depth: int) -> Any:
        if name in _ID_COMPONENTS:
            return self.number(_ID_COMPONENTS[name], content)
        if name == _M_TMSI and isinstance(content, bytes):
            found = self.translation.edge(Domain.M_TMSI, int.from_bytes(content, "big"))
            return content if found is None else int(found).to_bytes(4, "big")
        return self.rewritten(content, depth + 1)

    def _tunnel(self, address: tuple[int, int], teid: bytes) -> tuple[tuple[int, int], bytes]:
        """A Transport Layer Address and its GTP-TEID; both stay unless the edge allocated the TEID."""
        try:
            old = transport_address(address)
        except DecodeError:
            return address, teid
        for kind in _S1_U_TYPES:
            found = self.translation.edge(Domain.TEID_U, int.from_bytes(teid, "big"), teid_scope(kind, old))
            if isinstance(found, int):
                new = str(self.translation.edge(Domain.ADDRESS, old, str(kind)) or old)
                return address if new == old else transport_bits(new), found.to_bytes(4, "big")
        return address, teid


def released(message: s1ap.Message) -> list[tuple[Domain, int]]:
    """The recorded S1AP IDs that are free for another connection once this message has been sent: `Translation.forget`.

    UE CONTEXT RELEASE COMPLETE ends the UE-associated logical S1-connection (TS 36.413 clause 8.3.3).
    """
    if message.name != "UEContextReleaseComplete":
        return []
    ids = ((Domain.MME_UE_S1AP_ID, message.mme_ue_s1ap_id), (Domain.ENB_UE_S1AP_ID, message.enb_ue_s1ap_id))
    return [(domain, number) for domain, number in ids if number is not None]
