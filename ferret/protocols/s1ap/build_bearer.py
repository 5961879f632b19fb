"""Builders of the S1AP E-RAB procedures (TS 36.413 clauses 8.2 and 9.1.3)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ferret.protocols.s1ap.constants import IeId
from ferret.protocols.s1ap.message import Message, build
from ferret.protocols.s1ap.procedures import PduKind, ProcedureCode
from ferret.protocols.s1ap.views import Erab, Tunnel, transport_bits


def erab_setup_request(
    *, mme_ue_s1ap_id: int, enb_ue_s1ap_id: int, erabs: Iterable[Erab], ambr: tuple[int, int] | None = None
) -> Message:
    """E-RAB SETUP REQUEST (clause 9.1.3.1). Each E-RAB has QoS, the S-GW's tunnel end and a NAS message."""
    items = setup_items(IeId.ERAB_TO_BE_SETUP_ITEM_BEARER_SU_REQ, "E-RABToBeSetupItemBearerSUReq", erabs)
    return _message(
        PduKind.INITIATING_MESSAGE,
        ProcedureCode.ERAB_SETUP,
        mme_ue_s1ap_id,
        enb_ue_s1ap_id,
        (IeId.UE_AGGREGATE_MAXIMUM_BITRATE, _ambr(ambr)),
        (IeId.ERAB_TO_BE_SETUP_LIST_BEARER_SU_REQ, items),
    )


def erab_setup_response(
    *, mme_ue_s1ap_id: int, enb_ue_s1ap_id: int, erabs: Iterable[Erab] = (), failed: Iterable[Erab] = ()
) -> Message:
    """E-RAB SETUP RESPONSE (clause 9.1.3.2). Each E-RAB has the eNB's tunnel end, each failed one a cause."""
    done = setup_items(IeId.ERAB_SETUP_ITEM_BEARER_SU_RES, "E-RABSetupItemBearerSURes", erabs, "ignore")
    return _message(
        PduKind.SUCCESSFUL_OUTCOME,
        ProcedureCode.ERAB_SETUP,
        mme_ue_s1ap_id,
        enb_ue_s1ap_id,
        (IeId.ERAB_SETUP_LIST_BEARER_SU_RES, done or None),
        (IeId.ERAB_FAILED_TO_SETUP_LIST_BEARER_SU_RES, _erab_list(failed) or None),
    )


def erab_modify_request(
    *, mme_ue_s1ap_id: int, enb_ue_s1ap_id: int, erabs: Iterable[Erab], ambr: tuple[int, int] | None = None
) -> Message:
    """E-RAB MODIFY REQUEST (clause 9.1.3.3). Each E-RAB has QoS and a NAS message.

    An E-RAB with `transport_information` carries it as item extension 185: the eNB then sends its uplink packets there.
    """
    items = [_modify_item(erab) for erab in erabs]
    return _message(
        PduKind.INITIATING_MESSAGE,
        ProcedureCode.ERAB_MODIFY,
        mme_ue_s1ap_id,
        enb_ue_s1ap_id,
        (IeId.UE_AGGREGATE_MAXIMUM_BITRATE, _ambr(ambr)),
        (IeId.ERAB_TO_BE_MODIFIED_LIST_BEARER_MOD_REQ, items),
    )


def erab_modify_response(
    *, mme_ue_s1ap_id: int, enb_ue_s1ap_id: int, ebis: Iterable[int] = (), failed: Iterable[Erab] = ()
) -> Message:
    """E-RAB MODIFY RESPONSE (clause 9.1.3.4)."""
    done = [
        _item(IeId.ERAB_MODIFY_ITEM_BEARER_MOD_RES, "E-RABModifyItemBearerModRes", {"e-RAB-ID": ebi}, "ignore")
        for ebi in ebis
    ]
    return _message(
        PduKind.SUCCESSFUL_OUTCOME,
        ProcedureCode.ERAB_MODIFY,
        mme_ue_s1ap_id,
        enb_ue_s1ap_id,
        (IeId.ERAB_MODIFY_LIST_BEARER_MOD_RES, done or None),
        (IeId.ERAB_FAILED_TO_MODIFY_LIST, _erab_list(failed) or None),
    )


def erab_release_command(
    *, mme_ue_s1ap_id: int, enb_ue_s1ap_id: int, erabs: Iterable[Erab], nas_pdu: bytes | None = None
) -> Message:
    """E-RAB RELEASE COMMAND (clause 9.1.3.5). Each E-RAB has a cause."""
    return _message(
        PduKind.INITIATING_MESSAGE,
        ProcedureCode.ERAB_RELEASE,
        mme_ue_s1ap_id,
        enb_ue_s1ap_id,
        (IeId.ERAB_TO_BE_RELEASED_LIST, _erab_list(erabs)),
        (IeId.NAS_PDU, nas_pdu),
    )


def erab_release_response(
    *, mme_ue_s1ap_id: int, enb_ue_s1ap_id: int, ebis: Iterable[int] = (), failed: Iterable[Erab] = ()
) -> Message:
    """E-RAB RELEASE RESPONSE (clause 9.1.3.6)."""
    name = "E-RABReleaseItemBearerRelComp"
    done = [_item(IeId.ERAB_RELEASE_ITEM_BEARER_REL_COMP, name, {"e-RAB-ID": ebi}, "ignore") for ebi in ebis]
    return _message(
        PduKind.SUCCESSFUL_OUTCOME,
        ProcedureCode.ERAB_RELEASE,
        mme_ue_s1ap_id,
        enb_ue_s1ap_id,
        (IeId.ERAB_RELEASE_LIST_BEARER_REL_COMP, done or None),
        (IeId.ERAB_FAILED_TO_RELEASE_LIST, _erab_list(failed) or None),
    )


def erab_release_indication(*, mme_ue_s1ap_id: int, enb_ue_s1ap_id: int, erabs: Iterable[Erab]) -> Message:
    """E-RAB RELEASE INDICATION (clause 9.1.3.7). Each E-RAB has a cause."""
    return _message(
        PduKind.INITIATING_MESSAGE,
        ProcedureCode.ERAB_RELEASE_INDICATION,
        mme_ue_s1ap_id,
        enb_ue_s1ap_id,
        (IeId.ERAB_RELEASED_LIST, _erab_list(erabs)),
    )


def setup_items(
    identifier: IeId, name: str, erabs: Iterable[Erab], criticality: str = "reject"
) -> list[dict[str, Any]]:
    """Items of a list of E-RABs that are set up, or have been; those with a cause only have been refused."""
    items = []
    for erab in erabs:
        content: dict[str, Any] = {"e-RAB-ID": erab.ebi}
        if erab.qos is not None:
            content["e-RABlevelQoSParameters"] = erab.qos.value()
        if erab.tunnel is not None:
            content |= _tunnel(erab.tunnel)
        if erab.nas_pdu is not None:
            content["nAS-PDU"] = erab.nas_pdu
        if erab.cause is not None:
            content["cause"] = tuple(erab.cause)
        items.append(_item(identifier, name, content, criticality))
    return items


def _modify_item(erab: Erab) -> dict[str, Any]:
    content: dict[str, Any] = {"e-RAB-ID": erab.ebi, "nAS-PDU": erab.nas_pdu}
    if erab.qos is not None:
        content["e-RABLevelQoSParameters"] = erab.qos.value()
    if erab.transport_information is not None:
        address, teid = erab.transport_information
        information = {"transportLayerAddress": transport_bits(address), "uL-GTP-TEID": teid.to_bytes(4, "big")}
        content["iE-Extensions"] = [
            {
                "id": IeId.TRANSPORT_INFORMATION,
                "criticality": "reject",
                "extensionValue": ("TransportInformation", information),
            }
        ]
    name = "E-RABToBeModifiedItemBearerModReq"
    return _item(IeId.ERAB_TO_BE_MODIFIED_ITEM_BEARER_MOD_REQ, name, content, "reject")


def _tunnel(tunnel: Tunnel) -> dict[str, Any]:
    return {"transportLayerAddress": transport_bits(tunnel.address), "gTP-TEID": tunnel.teid.to_bytes(4, "big")}


def _erab_list(erabs: Iterable[Erab]) -> list[dict[str, Any]]:
    return setup_items(IeId.ERAB_ITEM, "E-RABItem", erabs, "ignore")


def _item(identifier: IeId, name: str, content: dict[str, Any], criticality: str) -> dict[str, Any]:
    return {"id": int(identifier), "criticality": criticality, "value": (name, content)}


def _ambr(ambr: tuple[int, int] | None) -> dict[str, int] | None:
    if ambr is None:
        return None
    downlink, uplink = (min(rate, 10_000_000_000) for rate in ambr)
    return {"uEaggregateMaximumBitRateDL": downlink, "uEaggregateMaximumBitRateUL": uplink}


def _message(kind: PduKind, code: ProcedureCode, mme: int, enb: int, *ies: tuple[IeId, Any]) -> Message:
    return build(kind, code, ((IeId.MME_UE_S1AP_ID, mme), (IeId.ENB_UE_S1AP_ID, enb), *ies))
