"""Builders of the S1AP messages that belong to no UE's connection (TS 36.413 clause 9.1).

Addresses are text, TEIDs and identifiers numbers, PLMNs MCC and MNC digits ("99970").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ferret.protocols.nas.identities import Tai, plmn_octets
from ferret.protocols.s1ap.constants import Cause, IeId
from ferret.protocols.s1ap.message import Message, build
from ferret.protocols.s1ap.procedures import PduKind, ProcedureCode
from ferret.protocols.s1ap.views import ServedGummeis, tai_value


def s1_setup_request(
    *, plmn: str, enb_id: int, name: str, supported_tas: Sequence[tuple[int, Sequence[str]]], paging_drx: str = "v128"
) -> Message:
    """S1 SETUP REQUEST (clause 9.1.8.4) of a macro eNB (20 bits). `supported_tas`: TAC and its broadcast PLMNs."""
    tas = [
        {"tAC": tac.to_bytes(2, "big"), "broadcastPLMNs": [plmn_octets(one) for one in plmns]}
        for tac, plmns in supported_tas
    ]
    return build(
        PduKind.INITIATING_MESSAGE,
        ProcedureCode.S1_SETUP,
        (
            (
                IeId.GLOBAL_ENB_ID,
                {"pLMNidentity": plmn_octets(plmn), "eNB-ID": ("macroENB-ID", (enb_id, 20))},
            ),
            (IeId.ENB_NAME, name or None),
            (IeId.SUPPORTED_TAS, tas),
            (IeId.DEFAULT_PAGING_DRX, paging_drx),
        ),
    )


def s1_setup_response(*, name: str, gummeis: Iterable[ServedGummeis], relative_capacity: int) -> Message:
    """S1 SETUP RESPONSE (clause 9.1.8.5)."""
    return build(
        PduKind.SUCCESSFUL_OUTCOME,
        ProcedureCode.S1_SETUP,
        (
            (IeId.MME_NAME, name or None),
            (IeId.SERVED_GUMMEIS, [one.value() for one in gummeis]),
            (IeId.RELATIVE_MME_CAPACITY, relative_capacity),
        ),
    )


def s1_setup_failure(*, cause: Cause, time_to_wait: str | None = None) -> Message:
    """S1 SETUP FAILURE (clause 9.1.8.6). `time_to_wait`: "v1s" to "v60s"."""
    return build(
        PduKind.UNSUCCESSFUL_OUTCOME,
        ProcedureCode.S1_SETUP,
        ((IeId.CAUSE, tuple(cause)), (IeId.TIME_TO_WAIT, time_to_wait)),
    )


def _connections(pairs: Iterable[tuple[int | None, int | None]]) -> list[dict[str, Any]]:
    items = []
    for mme, enb in pairs:
        content = {}
        if mme is not None:
            content["mME-UE-S1AP-ID"] = mme
        if enb is not None:
            content["eNB-UE-S1AP-ID"] = enb
        items.append(
            {
                "id": IeId.UE_ASSOCIATED_LOGICAL_S1_CONNECTION_ITEM,
                "criticality": "reject",
                "value": ("UE-associatedLogicalS1-ConnectionItem", content),
            }
        )
    return items


def reset(*, cause: Cause, connections: Sequence[tuple[int | None, int | None]] = ()) -> Message:
    """RESET (clause 9.1.8.1) of the whole interface, or of these (MME, eNB) UE S1AP IDs."""
    kind: tuple[str, Any] = ("s1-Interface", "reset-all")
    if connections:
        kind = ("partOfS1-Interface", _connections(connections))
    return build(
        PduKind.INITIATING_MESSAGE,
        ProcedureCode.RESET,
        ((IeId.CAUSE, tuple(cause)), (IeId.RESET_TYPE, kind)),
    )


def reset_acknowledge(*, connections: Sequence[tuple[int | None, int | None]] = ()) -> Message:
    """RESET ACKNOWLEDGE (clause 9.1.8.2), with the connections that the RESET named."""
    items = _connections(connections) or None
    return build(
        PduKind.SUCCESSFUL_OUTCOME,
        ProcedureCode.RESET,
        ((IeId.UE_ASSOCIATED_LOGICAL_S1_CONNECTION_LIST_RES_ACK, items),),
    )


def error_indication(*, mme_ue_s1ap_id: int | None = None, enb_ue_s1ap_id: int | None = None, cause: Cause) -> Message:
    """ERROR INDICATION (clause 9.1.8.3)."""
    return build(
        PduKind.INITIATING_MESSAGE,
        ProcedureCode.ERROR_INDICATION,
        (
            (IeId.MME_UE_S1AP_ID, mme_ue_s1ap_id),
            (IeId.ENB_UE_S1AP_ID, enb_ue_s1ap_id),
            (IeId.CAUSE, tuple(cause)),
        ),
    )


def paging(
    *, ue_identity_index: int, mme_code: int, m_tmsi: int, tais: Iterable[Tai], cn_domain: str = "ps"
) -> Message:
    """PAGING (clause 9.1.6) by S-TMSI. `ue_identity_index`: IMSI modulo 1024 (clause 9.2.3.10)."""
    items = [
        {"id": IeId.TAI_ITEM, "criticality": "ignore", "value": ("TAIItem", {"tAI": tai_value(tai)})} for tai in tais
    ]
    identity = {"mMEC": bytes((mme_code,)), "m-TMSI": m_tmsi.to_bytes(4, "big")}
    return build(
        PduKind.INITIATING_MESSAGE,
        ProcedureCode.PAGING,
        (
            (IeId.UE_IDENTITY_INDEX_VALUE, (ue_identity_index, 10)),
            (IeId.UE_PAGING_ID, ("s-TMSI", identity)),
            (IeId.CN_DOMAIN, cn_domain),
            (IeId.TAI_LIST, items),
        ),
    )
