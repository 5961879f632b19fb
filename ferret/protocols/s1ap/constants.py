"""Protocol IE identifiers and causes of S1AP (TS 36.413 clauses 9.2 and 9.3.6).

The identifiers that FERRET's own code speaks of; every other one is known to the decoder by number and name.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

PAYLOAD_PROTOCOL_ID = 18  # SCTP payload protocol identifier of S1AP (TS 36.412 clause 7)
PORT = 36412  # SCTP port of S1AP (TS 36.412 clause 7)


class IeId(IntEnum):
    """id-… constants of type ProtocolIE-ID (TS 36.413 clause 9.3.6); the comment gives the IE's own clause."""

    MME_UE_S1AP_ID = 0  # 9.2.3.3
    CAUSE = 2  # 9.2.1.3
    ENB_UE_S1AP_ID = 8  # 9.2.3.4
    ERAB_RELEASE_ITEM_BEARER_REL_COMP = 15  # 9.1.3.6
    ERAB_TO_BE_SETUP_LIST_BEARER_SU_REQ = 16  # 9.1.3.1
    ERAB_TO_BE_SETUP_ITEM_BEARER_SU_REQ = 17  # 9.1.3.1
    ERAB_TO_BE_SWITCHED_DL_LIST = 22  # 9.1.5.8
    ERAB_TO_BE_SWITCHED_DL_ITEM = 23  # 9.1.5.8
    ERAB_TO_BE_SETUP_LIST_CTXT_SU_REQ = 24  # 9.1.4.1
    NAS_PDU = 26  # 9.2.3.5
    ERAB_SETUP_LIST_BEARER_SU_RES = 28  # 9.1.3.2
    ERAB_FAILED_TO_SETUP_LIST_BEARER_SU_RES = 29  # 9.1.3.2
    ERAB_TO_BE_MODIFIED_LIST_BEARER_MOD_REQ = 30  # 9.1.3.3
    ERAB_MODIFY_LIST_BEARER_MOD_RES = 31  # 9.1.3.4
    ERAB_FAILED_TO_MODIFY_LIST = 32  # 9.1.3.4
    ERAB_TO_BE_RELEASED_LIST = 33  # 9.1.3.5
    ERAB_FAILED_TO_RELEASE_LIST = 34  # 9.1.3.6
    ERAB_ITEM = 35  # 9.2.1.36
    ERAB_TO_BE_MODIFIED_ITEM_BEARER_MOD_REQ = 36  # 9.1.3.3
    ERAB_MODIFY_ITEM_BEARER_MOD_RES = 37  # 9.1.3.4
    ERAB_SETUP_ITEM_BEARER_SU_RES = 39  # 9.1.3.2
    SECURITY_CONTEXT = 40  # 9.2.1.26
    UE_PAGING_ID = 43  # 9.2.3.13
    PAGING_DRX = 44  # 9.2.1.16
    TAI_LIST = 46  # 9.1.6
    TAI_ITEM = 47  # 9.1.6
    ERAB_FAILED_TO_SETUP_LIST_CTXT_SU_RES = 48  # 9.1.4.3
    ERAB_SETUP_ITEM_CTXT_SU_RES = 50  # 9.1.4.3
    ERAB_SETUP_LIST_CTXT_SU_RES = 51  # 9.1.4.3
    ERAB_TO_BE_SETUP_ITEM_CTXT_SU_REQ = 52  # 9.1.4.1
    CRITICALITY_DIAGNOSTICS = 58  # 9.2.1.21
    GLOBAL_ENB_ID = 59  # 9.2.1.37
    ENB_NAME = 60  # 9.1.8.4
    MME_NAME = 61  # 9.1.8.5
    SUPPORTED_TAS = 64  # 9.1.8.4
    TIME_TO_WAIT = 65  # 9.2.1.61
    UE_AGGREGATE_MAXIMUM_BITRATE = 66  # 9.2.1.20
    TAI = 67  # 9.2.3.16
    ERAB_RELEASE_LIST_BEARER_REL_COMP = 69  # 9.1.3.6
    SECURITY_KEY = 73  # 9.2.1.41
    UE_RADIO_CAPABILITY = 74  # 9.2.1.27
    GUMMEI_ID = 75  # 9.2.3.9
    UE_IDENTITY_INDEX_VALUE = 80  # 9.2.3.10
    RELATIVE_MME_CAPACITY = 87  # 9.2.3.17
    SOURCE_MME_UE_S1AP_ID = 88  # 9.2.3.3
    UE_ASSOCIATED_LOGICAL_S1_CONNECTION_ITEM = 91  # 9.1.8.1
    RESET_TYPE = 92  # 9.1.8.1
    UE_ASSOCIATED_LOGICAL_S1_CONNECTION_LIST_RES_ACK = 93  # 9.1.8.2
    ERAB_TO_BE_SWITCHED_UL_ITEM = 94  # 9.1.5.9
    ERAB_TO_BE_SWITCHED_UL_LIST = 95  # 9.1.5.9
    S_TMSI = 96  # 9.2.3.6
    UE_S1AP_IDS = 99  # 9.2.3.18
    EUTRAN_CGI = 100  # 9.2.1.38
    SERVED_GUMMEIS = 105  # 9.1.8.5
    UE_SECURITY_CAPABILITIES = 107  # 9.2.1.40
    CS_FALLBACK_INDICATOR = 108  # 9.2.3.21
    CN_DOMAIN = 109  # 9.2.3.22
    ERAB_RELEASED_LIST = 110  # 9.1.3.7
    RRC_ESTABLISHMENT_CAUSE = 134  # 9.2.1.3a
    DEFAULT_PAGING_DRX = 137  # 9.2.1.16
    MME_UE_S1AP_ID_2 = 158  # 9.2.3.3
    TRANSPORT_INFORMATION = 185  # 9.2.2.4: new S1-U end of an E-RAB that is modified
    MASKED_IMEISV = 192  # 9.2.3.38


class Cause(NamedTuple):
    """Cause (TS 36.413 clause 9.2.1.3): the group and the value, both in the specification's spelling."""

    group: str  # "radioNetwork", "transport", "nas", "protocol", "misc"
    value: str


CAUSE_RADIO_UNSPECIFIED = Cause("radioNetwork", "unspecified")
CAUSE_USER_INACTIVITY = Cause("radioNetwork", "user-inactivity")
CAUSE_RADIO_CONNECTION_WITH_UE_LOST = Cause("radioNetwork", "radio-connection-with-ue-lost")
CAUSE_GENERATED_BY_EUTRAN = Cause("radioNetwork", "release-due-to-eutran-generated-reason")
CAUSE_UNKNOWN_ERAB_ID = Cause("radioNetwork", "unknown-E-RAB-ID")
CAUSE_UNKNOWN_MME_UE_S1AP_ID = Cause("radioNetwork", "unknown-mme-ue-s1ap-id")
CAUSE_UNKNOWN_ENB_UE_S1AP_ID = Cause("radioNetwork", "unknown-enb-ue-s1ap-id")
CAUSE_UNKNOWN_PAIR_UE_S1AP_ID = Cause("radioNetwork", "unknown-pair-ue-s1ap-id")
CAUSE_TRANSPORT_RESOURCE_UNAVAILABLE = Cause("transport", "transport-resource-unavailable")
CAUSE_NAS_NORMAL_RELEASE = Cause("nas", "normal-release")
CAUSE_NAS_AUTHENTICATION_FAILURE = Cause("nas", "authentication-failure")
CAUSE_NAS_DETACH = Cause("nas", "detach")
CAUSE_NAS_UNSPECIFIED = Cause("nas", "unspecified")
CAUSE_PROTOCOL_SEMANTIC_ERROR = Cause("protocol", "semantic-error")
CAUSE_MISC_UNKNOWN_PLMN = Cause("misc", "unknown-PLMN")
CAUSE_MISC_OM_INTERVENTION = Cause("misc", "om-intervention")
