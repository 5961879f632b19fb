"""What each EMM and ESM message is made of (TS 24.301 clauses 8.2 and 8.3), as tables.

A mandatory part is written "Name:V n" (n octets), "Name:LV", "Name:LVE" (two octets of length), or "Low/High:H": two
half octets, the one in bits 1 to 4 first. An optional part is "Name:iei:TV n", "Name:iei:TV1" (type 1: iei and value
share one octet), "Name:iei:TLV" or "Name:iei:TLVE".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final


class Discriminator(IntEnum):
    """Protocol discriminator (TS 24.007 clause 11.2.3.1.1)."""

    ESM = 2
    EMM = 7


class MessageType(IntEnum):
    """Message types of EMM (TS 24.301 table 9.8.1) and, from 0xC1 on, of ESM (table 9.8.2)."""

    ATTACH_REQUEST = 0x41
    ATTACH_ACCEPT = 0x42
    ATTACH_COMPLETE = 0x43
    ATTACH_REJECT = 0x44
    DETACH_REQUEST = 0x45
    DETACH_ACCEPT = 0x46
    TRACKING_AREA_UPDATE_REQUEST = 0x48
    TRACKING_AREA_UPDATE_ACCEPT = 0x49
    TRACKING_AREA_UPDATE_COMPLETE = 0x4A
    TRACKING_AREA_UPDATE_REJECT = 0x4B
    EXTENDED_SERVICE_REQUEST = 0x4C
    CONTROL_PLANE_SERVICE_REQUEST = 0x4D
    SERVICE_REJECT = 0x4E
    SERVICE_ACCEPT = 0x4F
    GUTI_REALLOCATION_COMMAND = 0x50
    GUTI_REALLOCATION_COMPLETE = 0x51
    AUTHENTICATION_REQUEST = 0x52
    AUTHENTICATION_RESPONSE = 0x53
    AUTHENTICATION_REJECT = 0x54
    IDENTITY_REQUEST = 0x55
    IDENTITY_RESPONSE = 0x56
    AUTHENTICATION_FAILURE = 0x5C
    SECURITY_MODE_COMMAND = 0x5D
    SECURITY_MODE_COMPLETE = 0x5E
    SECURITY_MODE_REJECT = 0x5F
    EMM_STATUS = 0x60
    EMM_INFORMATION = 0x61
    DOWNLINK_NAS_TRANSPORT = 0x62
    UPLINK_NAS_TRANSPORT = 0x63
    CS_SERVICE_NOTIFICATION = 0x64
    DOWNLINK_GENERIC_NAS_TRANSPORT = 0x68
    UPLINK_GENERIC_NAS_TRANSPORT = 0x69
    ACTIVATE_DEFAULT_EPS_BEARER_CONTEXT_REQUEST = 0xC1
    ACTIVATE_DEFAULT_EPS_BEARER_CONTEXT_ACCEPT = 0xC2
    ACTIVATE_DEFAULT_EPS_BEARER_CONTEXT_REJECT = 0xC3
    ACTIVATE_DEDICATED_EPS_BEARER_CONTEXT_REQUEST = 0xC5
    ACTIVATE_DEDICATED_EPS_BEARER_CONTEXT_ACCEPT = 0xC6
    ACTIVATE_DEDICATED_EPS_BEARER_CONTEXT_REJECT = 0xC7
    MODIFY_EPS_BEARER_CONTEXT_REQUEST = 0xC9
    MODIFY_EPS_BEARER_CONTEXT_ACCEPT = 0xCA
    MODIFY_EPS_BEARER_CONTEXT_REJECT = 0xCB
    DEACTIVATE_EPS_BEARER_CONTEXT_REQUEST = 0xCD
    DEACTIVATE_EPS_BEARER_CONTEXT_ACCEPT = 0xCE
    PDN_CONNECTIVITY_REQUEST = 0xD0
    PDN_CONNECTIVITY_REJECT = 0xD1
    PDN_DISCONNECT_REQUEST = 0xD2
    PDN_DISCONNECT_REJECT = 0xD3
    BEARER_RESOURCE_ALLOCATION_REQUEST = 0xD4
    BEARER_RESOURCE_ALLOCATION_REJECT = 0xD5
    BEARER_RESOURCE_MODIFICATION_REQUEST = 0xD6
    BEARER_RESOURCE_MODIFICATION_REJECT = 0xD7
    ESM_INFORMATION_REQUEST = 0xD9
    ESM_INFORMATION_RESPONSE = 0xDA
    NOTIFICATION = 0xDB
    ESM_DUMMY_MESSAGE = 0xDC
    ESM_STATUS = 0xE8
    ESM_DATA_TRANSPORT = 0xEB


class Format(Enum):
    """How an information element is laid out (TS 24.007 clause 11.2.1.1)."""

    HALVES = "H"
    V = "V"
    LV = "LV"
    LV_E = "LVE"
    TV_HALF = "TV1"
    TV = "TV"
    TLV = "TLV"
    TLV_E = "TLVE"


@dataclass(frozen=True, slots=True)
class Part:
    """One information element of a message. `length`: octets of the value where it is fixed (V, TV)."""

    names: tuple[str, ...]  # two for a pair of half octets
    format: Format
    length: int = 0
    iei: int = -1

    @property
    def name(self) -> str:
        """The information element's name in clause 8."""
        return self.names[0]


@dataclass(frozen=True, slots=True)
class Grammar:
    """One message: its name, its mandatory parts in order, its optional ones by IEI."""

    name: str
    mandatory: tuple[Part, ...]
    optional: dict[int, Part]

    def part(self, name: str) -> Part | None:
        """The part of this name."""
        for part in (*self.mandatory, *self.optional.values()):
            if name in part.names:
                return part
        return None


def _part(text: str) -> Part:
    name, *rest = text.split(":")
    iei = int(rest[0], 16) if len(rest) == 2 else -1
    coded = rest[-1].split()
    length = int(coded[1]) if len(coded) == 2 else 0
    kind = Format(coded[0])
    return Part(tuple(name.split("|")) if kind is Format.HALVES else (name,), kind, length, iei)


def _grammar(name: str, mandatory: str = "", optional: str = "") -> Grammar:
    parts = tuple(_part(one) for one in mandatory.split(";") if one)
    choices = [_part(one) for one in optional.split(";") if one]
    return Grammar(name, parts, {one.iei: one for one in choices})


# IEs that many messages share.
_KSI: Final = "NAS key set identifier"
_PCO: Final = "Protocol configuration options:27:TLV;Extended protocol configuration options:7B:TLVE"
_NBIFOM: Final = "NBIFOM container:33:TLV"
_CAUSE: Final = "ESM cause:V 1"
_BACK_OFF: Final = "Back-off timer value:37:TLV;Re-attempt indicator:6B:TLV"
_QOS_2G: Final = "LLC service access point identifier:32:TV 1;Radio priority:8:TV1;Packet flow Identifier:34:TLV"
_UE_OPTIONS: Final = (
    "Old P-TMSI signature:19:TV 3;Additional GUTI:50:TLV;Last visited registered TAI:52:TV 5;DRX parameter:5C:TV 2;"
    "MS network capability:31:TLV;Old location area identification:13:TV 5;TMSI status:9:TV1;"
    "Mobile station classmark 2:11:TLV;Mobile station classmark 3:20:TLV;Supported Codecs:40:TLV;"
    "Voice domain preference and UE's usage setting:5D:TLV;Old GUTI type:E:TV1;Device properties:D:TV1;"
    "MS network feature support:C:TV1;Network resource identifier container:10:TLV;T3324 value:6A:TLV;"
    "T3412 extended value:5E:TLV;Extended DRX parameters:6E:TLV;UE additional security capability:6F:TLV;"
    "UE status:6D:TLV;Additional information requested:17:TV 1;N1 UE network capability:32:TLV;"
    "UE radio capability ID availability:34:TLV;Requested WUS assistance information:35:TLV;"
    "DRX parameter in NB-S1 mode:36:TLV;Requested IMSI offset:38:TLV"
)
_ACCEPT_OPTIONS: Final = (
    "GUTI:50:TLV;Location area identification:13:TV 5;MS identity:23:TLV;EMM cause:53:TV 1;T3402 value:17:TV 1;"
    "T3423 value:59:TV 1;Equivalent PLMNs:4A:TLV;Emergency number list:34:TLV;EPS network feature support:64:TLV;"
    "Additional update result:F:TV1;T3412 extended value:5E:TLV;T3324 value:6A:TLV;Extended DRX parameters:6E:TLV;"
    "DCN-ID:65:TLV;SMS services status:E:TV1;Non-3GPP NW provided policies:D:TV1;T3448 value:6B:TLV;"
    "Network policy:C:TV1;T3447 value:6C:TLV;Extended emergency number list:7A:TLVE;Ciphering key data:7C:TLVE;"
    "UE radio capability ID:66:TLV;Negotiated WUS assistance information:35:TLV;Negotiated IMSI offset:38:TLV"
)
_REJECT_OPTIONS: Final = "T3346 value:5F:TLV;T3402 value:16:TLV;Extended EMM cause:A:TV1"
_CONTAINER: Final = "ESM message container:LVE"

_M = MessageType
GRAMMARS: Final[dict[int, Grammar]] = {
    _M.ATTACH_REQUEST: _grammar(
        "Attach request",
        f"EPS attach type|{_KSI}:H;EPS mobile identity:LV;UE network capability:LV;{_CONTAINER}",
        f"{_UE_OPTIONS};Additional update type:F:TV1",
    ),
    _M.ATTACH_ACCEPT: _grammar(
        "Attach accept",
        f"EPS attach result|Spare half octet:H;T3412 value:V 1;TAI list:LV;{_CONTAINER}",
        _ACCEPT_OPTIONS,
    ),
    _M.ATTACH_COMPLETE: _grammar("Attach complete", _CONTAINER),
    _M.ATTACH_REJECT: _grammar("Attach reject", "EMM cause:V 1", f"ESM message container:78:TLVE;{_REJECT_OPTIONS}"),
    _M.DETACH_ACCEPT: _grammar("Detach accept"),
    _M.TRACKING_AREA_UPDATE_REQUEST: _grammar(
        "Tracking area update request",
        f"EPS update type|{_KSI}:H;Old GUTI:LV",
        f"{_UE_OPTIONS};Non-current native NAS key set identifier:B:TV1;"
        "GPRS ciphering key sequence number:8:TV1;NonceUE:55:TV 4;UE network capability:58:TLV;"
        "UE radio capability information update needed:A:TV1;EPS bearer context status:57:TLV;"
        "Additional update type:F:TV1",
    ),
    _M.TRACKING_AREA_UPDATE_ACCEPT: _grammar(
        "Tracking area update accept",
        "EPS update result|Spare half octet:H",
        f"T3412 value:5A:TV 1;TAI list:54:TLV;EPS bearer context status:57:TLV;{_ACCEPT_OPTIONS}",
    ),
    _M.TRACKING_AREA_UPDATE_COMPLETE: _grammar("Tracking area update complete"),
    _M.TRACKING_AREA_UPDATE_REJECT: _grammar("Tracking area update reject", "EMM cause:V 1", _REJECT_OPTIONS),
    _M.EXTENDED_SERVICE_REQUEST: _grammar(
        "Extended service request",
        f"Service type|{_KSI}:H;M-TMSI:LV",
        "CSFB response:B:TV1;EPS bearer context status:57:TLV;Device properties:D:TV1",
    ),
    _M.CONTROL_PLANE_SERVICE_REQUEST: _grammar(
        "Control plane service request",
        f"Control plane service type|{_KSI}:H",
        "ESM message container:78:TLVE;NAS message container:67:TLV;EPS bearer context status:57:TLV;"
        "Device properties:D:TV1",
    ),
    _M.SERVICE_REJECT: _grammar(
        "Service reject", "EMM cause:V 1", "T3442 value:5B:TV 1;T3346 value:5F:TLV;T3448 value:6B:TLV"
    ),
    _M.SERVICE_ACCEPT: _grammar(
        "Service accept", "", "EPS bearer context status:57:TLV;T3448 value:6B:TLV;UE radio capability ID:66:TLV"
    ),
    _M.GUTI_REALLOCATION_COMMAND: _grammar(
        "GUTI reallocation command", "GUTI:LV", "TAI list:54:TLV;DCN-ID:65:TLV;UE radio capability ID:66:TLV"
    ),
    _M.GUTI_REALLOCATION_COMPLETE: _grammar("GUTI reallocation complete"),
    _M.AUTHENTICATION_REQUEST: _grammar("Authentication request", f"{_KSI}|Spare half octet:H;RAND:V 16;AUTN:LV"),
    _M.AUTHENTICATION_RESPONSE: _grammar("Authentication response", "Authentication response parameter:LV"),
    _M.AUTHENTICATION_REJECT: _grammar("Authentication reject"),
    _M.IDENTITY_REQUEST: _grammar("Identity request", "Identity type|Spare half octet:H"),
    _M.IDENTITY_RESPONSE: _grammar("Identity response", "Mobile identity:LV"),
    _M.AUTHENTICATION_FAILURE: _grammar(
        "Authentication failure", "EMM cause:V 1", "Authentication failure parameter:30:TLV"
    ),
    _M.SECURITY_MODE_COMMAND: _grammar(
        "Security mode command",
        f"Selected NAS security algorithms:V 1;{_KSI}|Spare half octet:H;Replayed UE security capabilities:LV",
        "IMEISV request:C:TV1;Replayed NonceUE:55:TV 4;NonceMME:56:TV 4;HashMME:4F:TLV;"
        "Replayed UE additional security capability:6F:TLV;UE radio capability ID request:37:TLV",
    ),
    _M.SECURITY_MODE_COMPLETE: _grammar(
        "Security mode complete",
        "",
        "IMEISV:23:TLV;Replayed NAS message container:79:TLVE;UE radio capability ID:66:TLV",
    ),
    _M.SECURITY_MODE_REJECT: _grammar("Security mode reject", "EMM cause:V 1"),
    _M.EMM_STATUS: _grammar("EMM status", "EMM cause:V 1"),
    _M.EMM_INFORMATION: _grammar(
        "EMM information",
        "",
        "Full name for network:43:TLV;Short name for network:45:TLV;Local time zone:46:TV 1;"
        "Universal time and local time zone:47:TV 7;Network daylight saving time:49:TLV",
    ),
    _M.DOWNLINK_NAS_TRANSPORT: _grammar("Downlink NAS transport", "NAS message container:LV"),
    _M.UPLINK_NAS_TRANSPORT: _grammar("Uplink NAS transport", "NAS message container:LV"),
    _M.CS_SERVICE_NOTIFICATION: _grammar(
        "CS service notification",
        "Paging identity:V 1",
        "CLI:60:TLV;SS Code:61:TV 1;LCS indicator:62:TV 1;LCS client identity:63:TLV",
    ),
    _M.DOWNLINK_GENERIC_NAS_TRANSPORT: _grammar(
        "Downlink generic NAS transport",
        "Generic message container type:V 1;Generic message container:LVE",
        "Additional information:65:TLV",
    ),
    _M.UPLINK_GENERIC_NAS_TRANSPORT: _grammar(
        "Uplink generic NAS transport",
        "Generic message container type:V 1;Generic message container:LVE",
        "Additional information:65:TLV",
    ),
    _M.ACTIVATE_DEFAULT_EPS_BEARER_CONTEXT_REQUEST: _grammar(
        "Activate default EPS bearer context request",
        "EPS QoS:LV;Access point name:LV;PDN address:LV",
        f"Transaction identifier:5D:TLV;Negotiated QoS:30:TLV;{_QOS_2G};APN-AMBR:5E:TLV;ESM cause:58:TV 1;{_PCO};"
        f"Connectivity type:B:TV1;WLAN offload indication:C:TV1;{_NBIFOM};"
        "Header compression configuration:66:TLV;Control plane only indication:9:TV1;"
        "Serving PLMN rate control:6E:TLV;Extended APN-AMBR:5F:TLV",
    ),
    _M.ACTIVATE_DEFAULT_EPS_BEARER_CONTEXT_ACCEPT: _grammar("Activate default EPS bearer context accept", "", _PCO),
    _M.ACTIVATE_DEFAULT_EPS_BEARER_CONTEXT_REJECT: _grammar("Activate default EPS bearer context reject", _CAUSE, _PCO),
    _M.ACTIVATE_DEDICATED_EPS_BEARER_CONTEXT_REQUEST: _grammar(
        "Activate dedicated EPS bearer context request",
        "Linked EPS bearer identity|Spare half octet:H;EPS QoS:LV;TFT:LV",
        f"Transaction identifier:5D:TLV;Negotiated QoS:30:TLV;{_QOS_2G};{_PCO};WLAN offload indication:C:TV1;"
        f"{_NBIFOM};Extended EPS QoS:5C:TLV",
    ),
    _M.ACTIVATE_DEDICATED_EPS_BEARER_CONTEXT_ACCEPT: _grammar(
        "Activate dedicated EPS bearer context accept", "", f"{_PCO};{_NBIFOM}"
    ),
    _M.ACTIVATE_DEDICATED_EPS_BEARER_CONTEXT_REJECT: _grammar(
        "Activate dedicated EPS bearer context reject", _CAUSE, f"{_PCO};{_NBIFOM}"
    ),
    _M.MODIFY_EPS_BEARER_CONTEXT_REQUEST: _grammar(
        "Modify EPS bearer context request",
        "",
        f"New EPS QoS:5B:TLV;TFT:36:TLV;New QoS:30:TLV;{_QOS_2G};APN-AMBR:5E:TLV;{_PCO};"
        f"WLAN offload indication:C:TV1;{_NBIFOM};Header compression configuration:66:TLV;"
        "Extended APN-AMBR:5F:TLV;Extended EPS QoS:5C:TLV",
    ),
    _M.MODIFY_EPS_BEARER_CONTEXT_ACCEPT: _grammar("Modify EPS bearer context accept", "", f"{_PCO};{_NBIFOM}"),
    _M.MODIFY_EPS_BEARER_CONTEXT_REJECT: _grammar("Modify EPS bearer context reject", _CAUSE, f"{_PCO};{_NBIFOM}"),
    _M.DEACTIVATE_EPS_BEARER_CONTEXT_REQUEST: _grammar(
        "Deactivate EPS bearer context request",
        _CAUSE,
        f"{_PCO};T3396 value:37:TLV;WLAN offload indication:C:TV1;{_NBIFOM}",
    ),
    _M.DEACTIVATE_EPS_BEARER_CONTEXT_ACCEPT: _grammar("Deactivate EPS bearer context accept", "", _PCO),
    _M.PDN_CONNECTIVITY_REQUEST: _grammar(
        "PDN connectivity request",
        "Request type|PDN type:H",
        f"ESM information transfer flag:D:TV1;Access point name:28:TLV;{_PCO};Device properties:C:TV1;{_NBIFOM};"
        "Header compression configuration:66:TLV",
    ),
    _M.PDN_CONNECTIVITY_REJECT: _grammar("PDN connectivity reject", _CAUSE, f"{_PCO};{_BACK_OFF};{_NBIFOM}"),
    _M.PDN_DISCONNECT_REQUEST: _grammar(
        "PDN disconnect request", "Linked EPS bearer identity|Spare half octet:H", _PCO
    ),
    _M.PDN_DISCONNECT_REJECT: _grammar("PDN disconnect reject", _CAUSE, _PCO),
    _M.BEARER_RESOURCE_ALLOCATION_REQUEST: _grammar(
        "Bearer resource allocation request",
        "Linked EPS bearer identity|Spare half octet:H;Traffic flow aggregate:LV;Required traffic flow QoS:LV",
        f"{_PCO};Device properties:C:TV1;{_NBIFOM};Extended EPS QoS:5C:TLV",
    ),
    _M.BEARER_RESOURCE_ALLOCATION_REJECT: _grammar(
        "Bearer resource allocation reject", _CAUSE, f"{_PCO};{_BACK_OFF};{_NBIFOM}"
    ),
    _M.BEARER_RESOURCE_MODIFICATION_REQUEST: _grammar(
        "Bearer resource modification request",
        "EPS bearer identity for packet filter|Spare half octet:H;Traffic flow aggregate:LV",
        f"Required traffic flow QoS:5B:TLV;ESM cause:58:TV 1;{_PCO};Device properties:C:TV1;{_NBIFOM};"
        "Header compression configuration:66:TLV;Extended EPS QoS:5C:TLV",
    ),
    _M.BEARER_RESOURCE_MODIFICATION_REJECT: _grammar(
        "Bearer resource modification reject", _CAUSE, f"{_PCO};{_BACK_OFF};{_NBIFOM}"
    ),
    _M.ESM_INFORMATION_REQUEST: _grammar("ESM information request"),
    _M.ESM_INFORMATION_RESPONSE: _grammar("ESM information response", "", f"Access point name:28:TLV;{_PCO}"),
    _M.NOTIFICATION: _grammar("Notification", "Notification indicator:LV"),
    _M.ESM_DUMMY_MESSAGE: _grammar("ESM dummy message"),
    _M.ESM_STATUS: _grammar("ESM status", _CAUSE),
    _M.ESM_DATA_TRANSPORT: _grammar(
        "ESM data transport", "User data container:LVE", "Release assistance indication:F:TV1"
    ),
}
# Detach request has one form in each direction (clauses 8.2.11.1 and 8.2.11.2).
DETACH_REQUEST_BY_UE: Final = _grammar("Detach request", f"Detach type|{_KSI}:H;EPS mobile identity:LV")
DETACH_REQUEST_BY_NETWORK: Final = _grammar("Detach request", "Detach type|Spare half octet:H", "EMM cause:53:TV 1")
