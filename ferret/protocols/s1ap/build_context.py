"""Builders of the S1AP messages of one UE's connection (TS 36.413 clause 9.1): NAS transport, context, path switch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ferret.protocols.nas.identities import Tai
from ferret.protocols.s1ap.build_bearer import setup_items
from ferret.protocols.s1ap.constants import Cause, IeId
from ferret.protocols.s1ap.message import Message, build
from ferret.protocols.s1ap.procedures import PduKind, ProcedureCode
from ferret.protocols.s1ap.views import Ecgi, Erab, Tunnel, tai_value, transport_bits


def initial_ue_message(
    *,
    enb_ue_s1ap_id: int,
    nas_pdu: bytes,
    tai: Tai,
    ecgi: Ecgi,
    establishment_cause: str = "mo-Signalling",
    s_tmsi: tuple[int, int] | None = None,
) -> Message:
    """INITIAL UE MESSAGE (clause 9.1.7.1). `s_tmsi`: MME code and M-TMSI of a UE that has them."""
    identity = s_tmsi and {"mMEC": bytes((s_tmsi[0],)), "m-TMSI": s_tmsi[1].to_bytes(4, "big")}
    return build(
        PduKind.INITIATING_MESSAGE,
        ProcedureCode.INITIAL_UE_MESSAGE,
        (
            (IeId.ENB_UE_S1AP_ID, enb_ue_s1ap_id),
            (IeId.NAS_PDU, nas_pdu),
            (IeId.TAI, tai_value(tai)),
            (IeId.EUTRAN_CGI, ecgi.value()),
            (IeId.RRC_ESTABLISHMENT_CAUSE, establishment_cause),
            (IeId.S_TMSI, identity),
        ),
    )


def downlink_nas_transport(*, mme_ue_s1ap_id: int, enb_ue_s1ap_id: int, nas_pdu: bytes) -> Message:
    """DOWNLINK NAS TRANSPORT (clause 9.1.7.2)."""
    return build(
        PduKind.INITIATING_MESSAGE,
        ProcedureCode.DOWNLINK_NAS_TRANSPORT,
        (*_ids(mme_ue_s1ap_id, enb_ue_s1ap_id), (IeId.NAS_PDU, nas_pdu)),
    )


def uplink_nas_transport(*, mme_ue_s1ap_id: int, enb_ue_s1ap_id: int, nas_pdu: bytes, ecgi: Ecgi, tai: Tai) -> Message:
    """UPLINK NAS TRANSPORT (clause 9.1.7.3)."""
    return build(
        PduKind.INITIATING_MESSAGE,
        ProcedureCode.UPLINK_NAS_TRANSPORT,
        (
            *_ids(mme_ue_s1ap_id, enb_ue_s1ap_id),
            (IeId.NAS_PDU, nas_pdu),
            (IeId.EUTRAN_CGI, ecgi.value()),
            (IeId.TAI, tai_value(tai)),
        ),
    )


def initial_context_setup_request(
    *,
    mme_ue_s1ap_id: int,
    enb_ue_s1ap_id: int,
    ambr: tuple[int, int],
    erabs: Iterable[Erab],
    encryption_algorithms: int,
    integrity_algorithms: int,
    security_key: bytes,
    masked_imeisv: bytes | None = None,
    ue_radio_capability: bytes | None = None,
) -> Message:
    """INITIAL CONTEXT SETUP REQUEST (clause 9.1.4.1).

    `ambr`: downlink and uplink, bit/s. `…_algorithms`: the 16-bit maps of clause 9.2.1.40. `security_key`: K_eNB, 32
    octets. `masked_imeisv`: 8 octets (clause 9.2.3.38).
    """
    masked = None if masked_imeisv is None else (int.from_bytes(masked_imeisv, "big"), 64)
    return build(
        PduKind.INITIATING_MESSAGE,
        ProcedureCode.INITIAL_CONTEXT_SETUP,
        (
            *_ids(mme_ue_s1ap_id, enb_ue_s1ap_id),
            (IeId.UE_AGGREGATE_MAXIMUM_BITRATE, aggregate_maximum_bitrate(ambr)),
            (
                IeId.ERAB_TO_BE_SETUP_LIST_CTXT_SU_REQ,
                setup_items(IeId.ERAB_TO_BE_SETUP_ITEM_CTXT_SU_REQ, "E-RABToBeSetupItemCtxtSUReq", erabs),
            ),
            (IeId.UE_SECURITY_CAPABILITIES, _algorithms(encryption_algorithms, integrity_algorithms)),
            (IeId.SECURITY_KEY, (int.from_bytes(security_key, "big"), 256)),
            (IeId.UE_RADIO_CAPABILITY, ue_radio_capability),
            (IeId.MASKED_IMEISV, masked),
        ),
    )


def initial_context_setup_response(
    *, mme_ue_s1ap_id: int, enb_ue_s1ap_id: int, erabs: Iterable[Erab], failed: Iterable[Erab] = ()
) -> Message:
    """INITIAL CONTEXT SETUP RESPONSE (clause 9.1.4.3)."""
    done = setup_items(IeId.ERAB_SETUP_ITEM_CTXT_SU_RES, "E-RABSetupItemCtxtSURes", erabs, "ignore")
    not_done = setup_items(IeId.ERAB_ITEM, "E-RABItem", failed, "ignore")
    return build(
        PduKind.SUCCESSFUL_OUTCOME,
        ProcedureCode.INITIAL_CONTEXT_SETUP,
        (
            *_ids(mme_ue_s1ap_id, enb_ue_s1ap_id),
            (IeId.ERAB_SETUP_LIST_CTXT_SU_RES, done or None),
            (IeId.ERAB_FAILED_TO_SETUP_LIST_CTXT_SU_RES, not_done or None),
        ),
    )


def initial_context_setup_failure(*, mme_ue_s1ap_id: int, enb_ue_s1ap_id: int, cause: Cause) -> Message:
    """INITIAL CONTEXT SETUP FAILURE (clause 9.1.4.4)."""
    return build(
        PduKind.UNSUCCESSFUL_OUTCOME,
        ProcedureCode.INITIAL_CONTEXT_SETUP,
        (*_ids(mme_ue_s1ap_id, enb_ue_s1ap_id), (IeId.CAUSE, tuple(cause))),
    )


def ue_context_release_request(*, mme_ue_s1ap_id: int, enb_ue_s1ap_id: int, cause: Cause) -> Message:
    """UE CONTEXT RELEASE REQUEST (clause 9.1.4.5)."""
    return build(
        PduKind.INITIATING_MESSAGE,
        ProcedureCode.UE_CONTEXT_RELEASE_REQUEST,
        (*_ids(mme_ue_s1ap_id, enb_ue_s1ap_id), (IeId.CAUSE, tuple(cause))),
    )


def ue_context_release_command(*, mme_ue_s1ap_id: int, enb_ue_s1ap_id: int | None, cause: Cause) -> Message:
    """UE CONTEXT RELEASE COMMAND (clause 9.1.4.6)."""
    identity: tuple[str, Any] = ("mME-UE-S1AP-ID", mme_ue_s1ap_id)
    if enb_ue_s1ap_id is not None:
        pair = {"mME-UE-S1AP-ID": mme_ue_s1ap_id, "eNB-UE-S1AP-ID": enb_ue_s1ap_id}
        identity = ("uE-S1AP-ID-pair", pair)
    return build(
        PduKind.INITIATING_MESSAGE,
        ProcedureCode.UE_CONTEXT_RELEASE,
        ((IeId.UE_S1AP_IDS, identity), (IeId.CAUSE, tuple(cause))),
    )


def ue_context_release_complete(*, mme_ue_s1ap_id: int, enb_ue_s1ap_id: int) -> Message:
    """UE CONTEXT RELEASE COMPLETE (clause 9.1.4.7)."""
    return build(PduKind.SUCCESSFUL_OUTCOME, ProcedureCode.UE_CONTEXT_RELEASE, _ids(mme_ue_s1ap_id, enb_ue_s1ap_id))


def ue_context_modification_request(
    *,
    mme_ue_s1ap_id: int,
    enb_ue_s1ap_id: int,
    security_key: bytes | None = None,
    ambr: tuple[int, int] | None = None,
    cs_fallback: str | None = None,
) -> Message:
    """UE CONTEXT MODIFICATION REQUEST (clause 9.1.4.8). `cs_fallback`: "cs-fallback-required" or "…-high-priority"."""
    return build(
        PduKind.INITIATING_MESSAGE,
        ProcedureCode.UE_CONTEXT_MODIFICATION,
        (
            *_ids(mme_ue_s1ap_id, enb_ue_s1ap_id),
            (IeId.SECURITY_KEY, security_key and (int.from_bytes(security_key, "big"), 256)),
            (IeId.UE_AGGREGATE_MAXIMUM_BITRATE, ambr and aggregate_maximum_bitrate(ambr)),
            (IeId.CS_FALLBACK_INDICATOR, cs_fallback),
        ),
    )


def ue_context_modification_response(*, mme_ue_s1ap_id: int, enb_ue_s1ap_id: int) -> Message:
    """UE CONTEXT MODIFICATION RESPONSE (clause 9.1.4.9)."""
    return build(
        PduKind.SUCCESSFUL_OUTCOME, ProcedureCode.UE_CONTEXT_MODIFICATION, _ids(mme_ue_s1ap_id, enb_ue_s1ap_id)
    )


def ue_capability_info_indication(*, mme_ue_s1ap_id: int, enb_ue_s1ap_id: int, ue_radio_capability: bytes) -> Message:
    """UE CAPABILITY INFO INDICATION (clause 9.1.10)."""
    return build(
        PduKind.INITIATING_MESSAGE,
        ProcedureCode.UE_CAPABILITY_INFO_INDICATION,
        (*_ids(mme_ue_s1ap_id, enb_ue_s1ap_id), (IeId.UE_RADIO_CAPABILITY, ue_radio_capability)),
    )


def path_switch_request(
    *,
    enb_ue_s1ap_id: int,
    source_mme_ue_s1ap_id: int,
    switched: Iterable[tuple[int, Tunnel]],
    ecgi: Ecgi,
    tai: Tai,
    encryption_algorithms: int,
    integrity_algorithms: int,
) -> Message:
    """PATH SWITCH REQUEST (clause 9.1.5.8). `switched`: EBI and the eNB's new downlink end of each E-RAB."""
    items = _switched_items(IeId.ERAB_TO_BE_SWITCHED_DL_ITEM, "E-RABToBeSwitchedDLItem", switched)
    return build(
        PduKind.INITIATING_MESSAGE,
        ProcedureCode.PATH_SWITCH_REQUEST,
        (
            (IeId.ENB_UE_S1AP_ID, enb_ue_s1ap_id),
            (IeId.ERAB_TO_BE_SWITCHED_DL_LIST, items),
            (IeId.SOURCE_MME_UE_S1AP_ID, source_mme_ue_s1ap_id),
            (IeId.EUTRAN_CGI, ecgi.value()),
            (IeId.TAI, tai_value(tai)),
            (IeId.UE_SECURITY_CAPABILITIES, _algorithms(encryption_algorithms, integrity_algorithms)),
        ),
    )


def path_switch_request_acknowledge(
    *,
    mme_ue_s1ap_id: int,
    enb_ue_s1ap_id: int,
    next_hop_chaining_count: int,
    next_hop: bytes,
    switched: Iterable[tuple[int, Tunnel]] = (),
) -> Message:
    """PATH SWITCH REQUEST ACKNOWLEDGE (clause 9.1.5.9). `switched`: the S-GW's new uplink ends, if it has any."""
    items = _switched_items(IeId.ERAB_TO_BE_SWITCHED_UL_ITEM, "E-RABToBeSwitchedULItem", switched)
    context = {
        "nextHopChainingCount": next_hop_chaining_count,
        "nextHopParameter": (int.from_bytes(next_hop, "big"), 256),
    }
    return build(
        PduKind.SUCCESSFUL_OUTCOME,
        ProcedureCode.PATH_SWITCH_REQUEST,
        (
            *_ids(mme_ue_s1ap_id, enb_ue_s1ap_id),
            (IeId.ERAB_TO_BE_SWITCHED_UL_LIST, items or None),
            (IeId.SECURITY_CONTEXT, context),
        ),
    )


def path_switch_request_failure(*, mme_ue_s1ap_id: int, enb_ue_s1ap_id: int, cause: Cause) -> Message:
    """PATH SWITCH REQUEST FAILURE (clause 9.1.5.10)."""
    return build(
        PduKind.UNSUCCESSFUL_OUTCOME,
        ProcedureCode.PATH_SWITCH_REQUEST,
        (*_ids(mme_ue_s1ap_id, enb_ue_s1ap_id), (IeId.CAUSE, tuple(cause))),
    )


def aggregate_maximum_bitrate(ambr: tuple[int, int]) -> dict[str, int]:
    """UE Aggregate Maximum Bit Rate (clause 9.2.1.20): downlink and uplink, bit/s, at most 10 Gbit/s each."""
    downlink, uplink = (min(rate, 10_000_000_000) for rate in ambr)
    return {"uEaggregateMaximumBitRateDL": downlink, "uEaggregateMaximumBitRateUL": uplink}


def _algorithms(encryption: int, integrity: int) -> dict[str, tuple[int, int]]:
    return {"encryptionAlgorithms": (encryption, 16), "integrityProtectionAlgorithms": (integrity, 16)}


def _switched_items(identifier: IeId, name: str, switched: Iterable[tuple[int, Tunnel]]) -> list[dict[str, Any]]:
    return [
        {
            "id": identifier,
            "criticality": "reject",
            "value": (
                name,
                {
                    "e-RAB-ID": ebi,
                    "transportLayerAddress": transport_bits(tunnel.address),
                    "gTP-TEID": tunnel.teid.to_bytes(4, "big"),
                },
            ),
        }
        for ebi, tunnel in switched
    ]


def _ids(mme: int, enb: int) -> tuple[tuple[IeId, int], ...]:
    return (IeId.MME_UE_S1AP_ID, mme), (IeId.ENB_UE_S1AP_ID, enb)
