"""S1AP elementary procedures and their messages (TS 36.413 clauses 8.1 and 9.3.6)."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class PduKind(IntEnum):
    """The alternative of S1AP-PDU (TS 36.413 clause 9.3.3): which part of its procedure a message is."""

    INITIATING_MESSAGE = 0
    SUCCESSFUL_OUTCOME = 1
    UNSUCCESSFUL_OUTCOME = 2

    @property
    def asn1_name(self) -> str:
        """The specification's spelling: "initiatingMessage"."""
        return ("initiatingMessage", "successfulOutcome", "unsuccessfulOutcome")[self]


class Criticality(IntEnum):
    """What a receiver does with what it does not understand (TS 36.413 clause 10.3.2)."""

    REJECT = 0
    IGNORE = 1
    NOTIFY = 2

    @property
    def asn1_name(self) -> str:
        """The specification's spelling: "reject"."""
        return ("reject", "ignore", "notify")[self]


class ProcedureCode(IntEnum):
    """id-… constants of type ProcedureCode (TS 36.413 clause 9.3.6)."""

    HANDOVER_PREPARATION = 0
    HANDOVER_RESOURCE_ALLOCATION = 1
    HANDOVER_NOTIFICATION = 2
    PATH_SWITCH_REQUEST = 3
    HANDOVER_CANCEL = 4
    ERAB_SETUP = 5
    ERAB_MODIFY = 6
    ERAB_RELEASE = 7
    ERAB_RELEASE_INDICATION = 8
    INITIAL_CONTEXT_SETUP = 9
    PAGING = 10
    DOWNLINK_NAS_TRANSPORT = 11
    INITIAL_UE_MESSAGE = 12
    UPLINK_NAS_TRANSPORT = 13
    RESET = 14
    ERROR_INDICATION = 15
    NAS_NON_DELIVERY_INDICATION = 16
    S1_SETUP = 17
    UE_CONTEXT_RELEASE_REQUEST = 18
    DOWNLINK_S1_CDMA2000_TUNNELLING = 19
    UPLINK_S1_CDMA2000_TUNNELLING = 20
    UE_CONTEXT_MODIFICATION = 21
    UE_CAPABILITY_INFO_INDICATION = 22
    UE_CONTEXT_RELEASE = 23
    ENB_STATUS_TRANSFER = 24
    MME_STATUS_TRANSFER = 25
    DEACTIVATE_TRACE = 26
    TRACE_START = 27
    TRACE_FAILURE_INDICATION = 28
    ENB_CONFIGURATION_UPDATE = 29
    MME_CONFIGURATION_UPDATE = 30
    LOCATION_REPORTING_CONTROL = 31
    LOCATION_REPORTING_FAILURE_INDICATION = 32
    LOCATION_REPORT = 33
    OVERLOAD_START = 34
    OVERLOAD_STOP = 35
    WRITE_REPLACE_WARNING = 36
    ENB_DIRECT_INFORMATION_TRANSFER = 37
    MME_DIRECT_INFORMATION_TRANSFER = 38
    PRIVATE_MESSAGE = 39
    ENB_CONFIGURATION_TRANSFER = 40
    MME_CONFIGURATION_TRANSFER = 41
    CELL_TRAFFIC_TRACE = 42
    KILL = 43
    DOWNLINK_UE_ASSOCIATED_LPPA_TRANSPORT = 44
    UPLINK_UE_ASSOCIATED_LPPA_TRANSPORT = 45
    DOWNLINK_NON_UE_ASSOCIATED_LPPA_TRANSPORT = 46
    UPLINK_NON_UE_ASSOCIATED_LPPA_TRANSPORT = 47
    UE_RADIO_CAPABILITY_MATCH = 48
    PWS_RESTART_INDICATION = 49
    ERAB_MODIFICATION_INDICATION = 50
    PWS_FAILURE_INDICATION = 51
    REROUTE_NAS_REQUEST = 52
    UE_CONTEXT_MODIFICATION_INDICATION = 53
    CONNECTION_ESTABLISHMENT_INDICATION = 54
    UE_CONTEXT_SUSPEND = 55
    UE_CONTEXT_RESUME = 56
    NAS_DELIVERY_INDICATION = 57
    RETRIEVE_UE_INFORMATION = 58
    UE_INFORMATION_TRANSFER = 59
    ENB_CP_RELOCATION_INDICATION = 60
    MME_CP_RELOCATION_INDICATION = 61
    SECONDARY_RAT_DATA_USAGE_REPORT = 62
    UE_RADIO_CAPABILITY_ID_MAPPING = 63
    HANDOVER_SUCCESS = 64
    ENB_EARLY_STATUS_TRANSFER = 65
    MME_EARLY_STATUS_TRANSFER = 66


# initiating message, successful outcome, unsuccessful outcome; "": there is none
_MESSAGES: Final[dict[int, tuple[str, str, str]]] = {
    ProcedureCode.HANDOVER_PREPARATION: ("HandoverRequired", "HandoverCommand", "HandoverPreparationFailure"),
    ProcedureCode.HANDOVER_RESOURCE_ALLOCATION: ("HandoverRequest", "HandoverRequestAcknowledge", "HandoverFailure"),
    ProcedureCode.HANDOVER_NOTIFICATION: ("HandoverNotify", "", ""),
    ProcedureCode.PATH_SWITCH_REQUEST: (
        "PathSwitchRequest",
        "PathSwitchRequestAcknowledge",
        "PathSwitchRequestFailure",
    ),
    ProcedureCode.HANDOVER_CANCEL: ("HandoverCancel", "HandoverCancelAcknowledge", ""),
    ProcedureCode.ERAB_SETUP: ("E-RABSetupRequest", "E-RABSetupResponse", ""),
    ProcedureCode.ERAB_MODIFY: ("E-RABModifyRequest", "E-RABModifyResponse", ""),
    ProcedureCode.ERAB_RELEASE: ("E-RABReleaseCommand", "E-RABReleaseResponse", ""),
    ProcedureCode.ERAB_RELEASE_INDICATION: ("E-RABReleaseIndication", "", ""),
    ProcedureCode.INITIAL_CONTEXT_SETUP: (
        "InitialContextSetupRequest",
        "InitialContextSetupResponse",
        "InitialContextSetupFailure",
    ),
    ProcedureCode.PAGING: ("Paging", "", ""),
    ProcedureCode.DOWNLINK_NAS_TRANSPORT: ("DownlinkNASTransport", "", ""),
    ProcedureCode.INITIAL_UE_MESSAGE: ("InitialUEMessage", "", ""),
    ProcedureCode.UPLINK_NAS_TRANSPORT: ("UplinkNASTransport", "", ""),
    ProcedureCode.RESET: ("Reset", "ResetAcknowledge", ""),
    ProcedureCode.ERROR_INDICATION: ("ErrorIndication", "", ""),
    ProcedureCode.NAS_NON_DELIVERY_INDICATION: ("NASNonDeliveryIndication", "", ""),
    ProcedureCode.S1_SETUP: ("S1SetupRequest", "S1SetupResponse", "S1SetupFailure"),
    ProcedureCode.UE_CONTEXT_RELEASE_REQUEST: ("UEContextReleaseRequest", "", ""),
    ProcedureCode.DOWNLINK_S1_CDMA2000_TUNNELLING: ("DownlinkS1cdma2000tunnelling", "", ""),
    ProcedureCode.UPLINK_S1_CDMA2000_TUNNELLING: ("UplinkS1cdma2000tunnelling", "", ""),
    ProcedureCode.UE_CONTEXT_MODIFICATION: (
        "UEContextModificationRequest",
        "UEContextModificationResponse",
        "UEContextModificationFailure",
    ),
    ProcedureCode.UE_CAPABILITY_INFO_INDICATION: ("UECapabilityInfoIndication", "", ""),
    ProcedureCode.UE_CONTEXT_RELEASE: ("UEContextReleaseCommand", "UEContextReleaseComplete", ""),
    ProcedureCode.ENB_STATUS_TRANSFER: ("ENBStatusTransfer", "", ""),
    ProcedureCode.MME_STATUS_TRANSFER: ("MMEStatusTransfer", "", ""),
    ProcedureCode.DEACTIVATE_TRACE: ("DeactivateTrace", "", ""),
    ProcedureCode.TRACE_START: ("TraceStart", "", ""),
    ProcedureCode.TRACE_FAILURE_INDICATION: ("TraceFailureIndication", "", ""),
    ProcedureCode.ENB_CONFIGURATION_UPDATE: (
        "ENBConfigurationUpdate",
        "ENBConfigurationUpdateAcknowledge",
        "ENBConfigurationUpdateFailure",
    ),
    ProcedureCode.MME_CONFIGURATION_UPDATE: (
        "MMEConfigurationUpdate",
        "MMEConfigurationUpdateAcknowledge",
        "MMEConfigurationUpdateFailure",
    ),
    ProcedureCode.LOCATION_REPORTING_CONTROL: ("LocationReportingControl", "", ""),
    ProcedureCode.LOCATION_REPORTING_FAILURE_INDICATION: ("LocationReportingFailureIndication", "", ""),
    ProcedureCode.LOCATION_REPORT: ("LocationReport", "", ""),
    ProcedureCode.OVERLOAD_START: ("OverloadStart", "", ""),
    ProcedureCode.OVERLOAD_STOP: ("OverloadStop", "", ""),
    ProcedureCode.WRITE_REPLACE_WARNING: ("WriteReplaceWarningRequest", "WriteReplaceWarningResponse", ""),
    ProcedureCode.ENB_DIRECT_INFORMATION_TRANSFER: ("ENBDirectInformationTransfer", "", ""),
    ProcedureCode.MME_DIRECT_INFORMATION_TRANSFER: ("MMEDirectInformationTransfer", "", ""),
    ProcedureCode.PRIVATE_MESSAGE: ("PrivateMessage", "", ""),
    ProcedureCode.ENB_CONFIGURATION_TRANSFER: ("ENBConfigurationTransfer", "", ""),
    ProcedureCode.MME_CONFIGURATION_TRANSFER: ("MMEConfigurationTransfer", "", ""),
    ProcedureCode.CELL_TRAFFIC_TRACE: ("CellTrafficTrace", "", ""),
    ProcedureCode.KILL: ("KillRequest", "KillResponse", ""),
    ProcedureCode.DOWNLINK_UE_ASSOCIATED_LPPA_TRANSPORT: ("DownlinkUEAssociatedLPPaTransport", "", ""),
    ProcedureCode.UPLINK_UE_ASSOCIATED_LPPA_TRANSPORT: ("UplinkUEAssociatedLPPaTransport", "", ""),
    ProcedureCode.DOWNLINK_NON_UE_ASSOCIATED_LPPA_TRANSPORT: ("DownlinkNonUEAssociatedLPPaTransport", "", ""),
    ProcedureCode.UPLINK_NON_UE_ASSOCIATED_LPPA_TRANSPORT: ("UplinkNonUEAssociatedLPPaTransport", "", ""),
    ProcedureCode.UE_RADIO_CAPABILITY_MATCH: ("UERadioCapabilityMatchRequest", "UERadioCapabilityMatchResponse", ""),
    ProcedureCode.PWS_RESTART_INDICATION: ("PWSRestartIndication", "", ""),
    ProcedureCode.ERAB_MODIFICATION_INDICATION: ("E-RABModificationIndication", "E-RABModificationConfirm", ""),
    ProcedureCode.PWS_FAILURE_INDICATION: ("PWSFailureIndication", "", ""),
    ProcedureCode.REROUTE_NAS_REQUEST: ("RerouteNASRequest", "", ""),
    ProcedureCode.UE_CONTEXT_MODIFICATION_INDICATION: (
        "UEContextModificationIndication",
        "UEContextModificationConfirm",
        "",
    ),
    ProcedureCode.CONNECTION_ESTABLISHMENT_INDICATION: ("ConnectionEstablishmentIndication", "", ""),
    ProcedureCode.UE_CONTEXT_SUSPEND: ("UEContextSuspendRequest", "UEContextSuspendResponse", ""),
    ProcedureCode.UE_CONTEXT_RESUME: ("UEContextResumeRequest", "UEContextResumeResponse", "UEContextResumeFailure"),
    ProcedureCode.NAS_DELIVERY_INDICATION: ("NASDeliveryIndication", "", ""),
    ProcedureCode.RETRIEVE_UE_INFORMATION: ("RetrieveUEInformation", "", ""),
    ProcedureCode.UE_INFORMATION_TRANSFER: ("UEInformationTransfer", "", ""),
    ProcedureCode.ENB_CP_RELOCATION_INDICATION: ("ENBCPRelocationIndication", "", ""),
    ProcedureCode.MME_CP_RELOCATION_INDICATION: ("MMECPRelocationIndication", "", ""),
    ProcedureCode.SECONDARY_RAT_DATA_USAGE_REPORT: ("SecondaryRATDataUsageReport", "", ""),
    ProcedureCode.UE_RADIO_CAPABILITY_ID_MAPPING: (
        "UERadioCapabilityIDMappingRequest",
        "UERadioCapabilityIDMappingResponse",
        "",
    ),
    ProcedureCode.HANDOVER_SUCCESS: ("HandoverSuccess", "", ""),
    ProcedureCode.ENB_EARLY_STATUS_TRANSFER: ("ENBEarlyStatusTransfer", "", ""),
    ProcedureCode.MME_EARLY_STATUS_TRANSFER: ("MMEEarlyStatusTransfer", "", ""),
}

# Procedures without an answer (TS 36.413 clause 8.1, table 2: class 2).
CLASS_2: Final = frozenset(code for code, names in _MESSAGES.items() if not names[1])


def message_name(kind: PduKind, procedure_code: int) -> str:
    """The message's name in TS 36.413 clause 9.3.3; "procedure 77 initiatingMessage" for one it does not define."""
    names = _MESSAGES.get(procedure_code)
    name = names[kind] if names else ""
    return name or f"procedure {procedure_code} {kind.asn1_name}"
