"""S1AP, the protocol of S1-MME (TS 36.413), aligned PER over SCTP port 36412.

`decode`, `Message.encode`, `peek`, `summarise` and `parameters` are the doors that every protocol has; the builders
make each message from named arguments; `views` reads E-RABs, tunnels and identities.
"""

from ferret.protocols.nas.identities import Tai
from ferret.protocols.s1ap.build_bearer import (
    erab_modify_request,
    erab_modify_response,
    erab_release_command,
    erab_release_indication,
    erab_release_response,
    erab_setup_request,
    erab_setup_response,
)
from ferret.protocols.s1ap.build_context import (
    downlink_nas_transport,
    initial_context_setup_failure,
    initial_context_setup_request,
    initial_context_setup_response,
    initial_ue_message,
    path_switch_request,
    path_switch_request_acknowledge,
    path_switch_request_failure,
    ue_capability_info_indication,
    ue_context_modification_request,
    ue_context_modification_response,
    ue_context_release_command,
    ue_context_release_complete,
    ue_context_release_request,
    uplink_nas_transport,
)
from ferret.protocols.s1ap.build_interface import (
    error_indication,
    paging,
    reset,
    reset_acknowledge,
    s1_setup_failure,
    s1_setup_request,
    s1_setup_response,
)
from ferret.protocols.s1ap.constants import PAYLOAD_PROTOCOL_ID, PORT, Cause, IeId
from ferret.protocols.s1ap.message import Ie, Message, build, decode, peek
from ferret.protocols.s1ap.parameters import parameters
from ferret.protocols.s1ap.procedures import Criticality, PduKind, ProcedureCode
from ferret.protocols.s1ap.schema import warm
from ferret.protocols.s1ap.summary import summarise
from ferret.protocols.s1ap.views import Ecgi, Erab, ErabQos, Gbr, ServedGummeis, Tunnel, tai_of, tai_value

__all__ = [
    "PAYLOAD_PROTOCOL_ID",
    "PORT",
    "Cause",
    "Criticality",
    "Ecgi",
    "Erab",
    "ErabQos",
    "Gbr",
    "Ie",
    "IeId",
    "Message",
    "PduKind",
    "ProcedureCode",
    "ServedGummeis",
    "Tai",
    "Tunnel",
    "build",
    "decode",
    "downlink_nas_transport",
    "erab_modify_request",
    "erab_modify_response",
    "erab_release_command",
    "erab_release_indication",
    "erab_release_response",
    "erab_setup_request",
    "erab_setup_response",
    "error_indication",
    "initial_context_setup_failure",
    "initial_context_setup_request",
    "initial_context_setup_response",
    "initial_ue_message",
    "paging",
    "parameters",
    "path_switch_request",
    "path_switch_request_acknowledge",
    "path_switch_request_failure",
    "peek",
    "reset",
    "reset_acknowledge",
    "s1_setup_failure",
    "s1_setup_request",
    "s1_setup_response",
    "summarise",
    "tai_of",
    "tai_value",
    "ue_capability_info_indication",
    "ue_context_modification_request",
    "ue_context_modification_response",
    "ue_context_release_command",
    "ue_context_release_complete",
    "ue_context_release_request",
    "uplink_nas_transport",
    "warm",
]
