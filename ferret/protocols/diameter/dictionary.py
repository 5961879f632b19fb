"""Look-up by number and by name: AVPs, applications, commands (RFC 6733, TS 29.230)."""

from __future__ import annotations

from typing import Final

from ferret.protocols.diameter import avp as _avp
from ferret.protocols.diameter.constants import Application, Command
from ferret.protocols.diameter.definition import BY_NAME, REGISTRY, AvpDefinition
from ferret.protocols.diameter.tree import Avp

APPLICATION_NAMES: Final[dict[int, str]] = {
    Application.BASE: "",
    Application.ACCOUNTING: "Rf",
    Application.CREDIT_CONTROL: "Gy",
    Application.CX: "Cx",
    Application.SH: "Sh",
    Application.ZH: "Zh",
    Application.RX: "Rx",
    Application.RX_RELEASE_6: "Rx",
    Application.GX: "Gx",
    Application.GX_RELEASE_6: "Gx",
    Application.S6A: "S6a",
    Application.S13: "S13",
    Application.SLG: "SLg",
    Application.SLH: "SLh",
    Application.SY: "Sy",
    Application.SGD: "SGd",
    Application.S6C: "S6c",
    Application.SWX: "SWx",
    Application.S6B: "S6b",
}

# Command code -> abbreviations of request and answer.
COMMAND_NAMES: Final[dict[int, tuple[str, str]]] = {
    Command.CAPABILITIES_EXCHANGE: ("CER", "CEA"),
    Command.RE_AUTH: ("RAR", "RAA"),
    Command.AA: ("AAR", "AAA"),
    Command.ACCOUNTING: ("ACR", "ACA"),
    Command.CREDIT_CONTROL: ("CCR", "CCA"),
    Command.ABORT_SESSION: ("ASR", "ASA"),
    Command.SESSION_TERMINATION: ("STR", "STA"),
    Command.DEVICE_WATCHDOG: ("DWR", "DWA"),
    Command.DISCONNECT_PEER: ("DPR", "DPA"),
    Command.USER_AUTHORIZATION: ("UAR", "UAA"),
    Command.SERVER_ASSIGNMENT: ("SAR", "SAA"),
    Command.LOCATION_INFO: ("LIR", "LIA"),
    Command.MULTIMEDIA_AUTH: ("MAR", "MAA"),
    Command.REGISTRATION_TERMINATION: ("RTR", "RTA"),
    Command.PUSH_PROFILE: ("PPR", "PPA"),
    Command.USER_DATA: ("UDR", "UDA"),
    Command.PROFILE_UPDATE: ("PUR", "PUA"),
    Command.SUBSCRIBE_NOTIFICATIONS: ("SNR", "SNA"),
    Command.PUSH_NOTIFICATION: ("PNR", "PNA"),
    Command.UPDATE_LOCATION: ("ULR", "ULA"),
    Command.CANCEL_LOCATION: ("CLR", "CLA"),
    Command.AUTHENTICATION_INFORMATION: ("AIR", "AIA"),
    Command.INSERT_SUBSCRIBER_DATA: ("IDR", "IDA"),
    Command.DELETE_SUBSCRIBER_DATA: ("DSR", "DSA"),
    Command.PURGE_UE: ("PUR", "PUA"),
    Command.RESET: ("RSR", "RSA"),
    Command.NOTIFY: ("NOR", "NOA"),
    Command.ME_IDENTITY_CHECK: ("ECR", "ECA"),
    Command.SPENDING_LIMIT: ("SLR", "SLA"),
    Command.SPENDING_STATUS_NOTIFICATION: ("SNR", "SNA"),
}

# Commands between neighbours, which are of no application (RFC 6733 clause 5).
PEER_COMMANDS: Final = frozenset((Command.CAPABILITIES_EXCHANGE, Command.DEVICE_WATCHDOG, Command.DISCONNECT_PEER))

MODULE: Final = _avp  # the definitions: importing them is what fills the tables below


def definition_of(avp: Avp) -> AvpDefinition[object] | None:
    """What the specification says of this AVP, or None where we know nothing."""
    return REGISTRY.get((avp.code, avp.vendor))


def by_name(name: str) -> AvpDefinition[object] | None:
    """The AVP of this name, or None."""
    return BY_NAME.get(name)


def name_of(avp: Avp) -> str:
    """Its name, or "AVP 1234" / "AVP 1234 of vendor 99" where we know none."""
    known = REGISTRY.get((avp.code, avp.vendor))
    if known is not None:
        return known.name
    return f"AVP {avp.code} of vendor {avp.vendor}" if avp.vendor else f"AVP {avp.code}"
