"""The NAS message that an S1AP message carries.

What is ciphered may, by chance, read like a plain message: about one in a thousand does. Where an S1AP message cannot
carry what was read, it is taken for ciphered.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ferret.protocols import nas
from ferret.protocols.nas import MessageType as Type

_BY_UE: Final = frozenset(
    {
        Type.ATTACH_REQUEST,
        Type.ATTACH_COMPLETE,
        Type.TRACKING_AREA_UPDATE_REQUEST,
        Type.TRACKING_AREA_UPDATE_COMPLETE,
        Type.EXTENDED_SERVICE_REQUEST,
        Type.CONTROL_PLANE_SERVICE_REQUEST,
        Type.GUTI_REALLOCATION_COMPLETE,
        Type.AUTHENTICATION_RESPONSE,
        Type.AUTHENTICATION_FAILURE,
        Type.IDENTITY_RESPONSE,
        Type.SECURITY_MODE_COMPLETE,
        Type.SECURITY_MODE_REJECT,
        Type.UPLINK_NAS_TRANSPORT,
        Type.UPLINK_GENERIC_NAS_TRANSPORT,
        Type.ACTIVATE_DEFAULT_EPS_BEARER_CONTEXT_ACCEPT,
        Type.ACTIVATE_DEFAULT_EPS_BEARER_CONTEXT_REJECT,
        Type.ACTIVATE_DEDICATED_EPS_BEARER_CONTEXT_ACCEPT,
        Type.ACTIVATE_DEDICATED_EPS_BEARER_CONTEXT_REJECT,
        Type.MODIFY_EPS_BEARER_CONTEXT_ACCEPT,
        Type.MODIFY_EPS_BEARER_CONTEXT_REJECT,
        Type.DEACTIVATE_EPS_BEARER_CONTEXT_ACCEPT,
        Type.PDN_CONNECTIVITY_REQUEST,
        Type.PDN_DISCONNECT_REQUEST,
        Type.BEARER_RESOURCE_ALLOCATION_REQUEST,
        Type.BEARER_RESOURCE_MODIFICATION_REQUEST,
        Type.ESM_INFORMATION_RESPONSE,
    }
)
_EITHER: Final = frozenset(
    {
        Type.DETACH_REQUEST,
        Type.DETACH_ACCEPT,
        Type.EMM_STATUS,
        Type.ESM_STATUS,
        Type.ESM_DUMMY_MESSAGE,
        Type.ESM_DATA_TRANSPORT,
    }
)
_BY_MME: Final = frozenset(Type) - _BY_UE - _EITHER
_UPLINK: Final = _BY_UE | _EITHER
_POSSIBLE: Final = {
    "InitialUEMessage": _UPLINK,
    "UplinkNASTransport": _UPLINK,
    "NASNonDeliveryIndication": _BY_MME | _EITHER,
    "DownlinkNASTransport": _BY_MME | _EITHER,
    "InitialContextSetupRequest": _BY_MME | _EITHER,
    "E-RABSetupRequest": frozenset(
        {
            Type.ATTACH_ACCEPT,
            Type.ACTIVATE_DEFAULT_EPS_BEARER_CONTEXT_REQUEST,
            Type.ACTIVATE_DEDICATED_EPS_BEARER_CONTEXT_REQUEST,
        }
    ),
    "E-RABModifyRequest": frozenset({Type.MODIFY_EPS_BEARER_CONTEXT_REQUEST}),
    "E-RABReleaseCommand": frozenset({Type.DEACTIVATE_EPS_BEARER_CONTEXT_REQUEST, Type.DETACH_ACCEPT}),
}
"""By S1AP message (TS 36.413 clause 9.1), of those whose NAS-PDU has one direction; TS 24.301 clauses 8.2 and 8.3."""


def carried_nas(octets: bytes, carrier: str) -> nas.Message:
    """Decode the NAS-PDU of an S1AP message named `carrier`. Raises DecodeError."""
    message = nas.decode(octets)
    possible = _POSSIBLE.get(carrier)
    if message.plain is None or not message.header.ciphered or possible is None or message.plain.type in possible:
        return message
    return replace(message, plain=None)
