"""Who speaks what with whom: the NFs around a target, by interface (TS 23.401 clause 4.4, TS 23.228 clause 4.6).

Stand-ins for several NFs may share one address. Which of them a request of the target is for, its type then says: the
directions of TS 29.274 clause 7 and the applications of Diameter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ferret.protocols.diameter import Application
from ferret.protocols.gtpv2 import InterfaceType, MessageType
from ferret.records.message import Interface, Role

GTPV2: Final[Mapping[Role, Mapping[Role, Interface]]] = {
    Role.MME: {Role.SGW: Interface.S11},
    Role.SGW: {Role.MME: Interface.S11, Role.PGW: Interface.S5},
    Role.PGW: {Role.SGW: Interface.S5},
}

DIAMETER: Final[Mapping[Role, Mapping[Role, Interface]]] = {
    Role.MME: {Role.HSS: Interface.S6A},
    Role.PGW: {Role.PCRF: Interface.GX},
    Role.PCRF: {Role.PGW: Interface.GX, Role.PCSCF: Interface.RX, Role.AF: Interface.RX},
    Role.PCSCF: {Role.PCRF: Interface.RX},
    Role.SCSCF: {Role.HSS: Interface.CX},
}

SIP: Final = frozenset({Role.PCSCF, Role.SCSCF})

APPLICATIONS: Final[Mapping[Interface, int]] = {
    Interface.S6A: Application.S6A,
    Interface.CX: Application.CX,
    Interface.GX: Application.GX,
    Interface.RX: Application.RX,
}

OWNERS: Final[Mapping[int, Role]] = {
    InterfaceType.S1_U_ENB_GTP_U: Role.ENB,
    InterfaceType.S1_U_SGW_GTP_U: Role.SGW,
    InterfaceType.S5_S8_SGW_GTP_U: Role.SGW,
    InterfaceType.S5_S8_PGW_GTP_U: Role.PGW,
    InterfaceType.S5_S8_SGW_GTP_C: Role.SGW,
    InterfaceType.S5_S8_PGW_GTP_C: Role.PGW,
    InterfaceType.S11_MME_GTP_C: Role.MME,
    InterfaceType.S11_SGW_GTP_C: Role.SGW,
    InterfaceType.SGW_GTP_U_FOR_DATA_FORWARDING: Role.SGW,
    InterfaceType.SGW_GTP_U_FOR_UL_DATA_FORWARDING: Role.SGW,
}
"""Which NF allocates an F-TEID of this interface type (TS 29.274 clause 8.22)."""

CONTROL_PLANE: Final[Mapping[tuple[Interface, Role], int]] = {
    (Interface.S11, Role.MME): InterfaceType.S11_MME_GTP_C,
    (Interface.S11, Role.SGW): InterfaceType.S11_SGW_GTP_C,
    (Interface.S5, Role.SGW): InterfaceType.S5_S8_SGW_GTP_C,
    (Interface.S5, Role.PGW): InterfaceType.S5_S8_PGW_GTP_C,
}

# Requests of an SGW that go up to the PGW; all others go down to the MME.
_UPWARDS: Final = frozenset(
    {
        MessageType.CREATE_SESSION_REQUEST,
        MessageType.MODIFY_BEARER_REQUEST,
        MessageType.DELETE_SESSION_REQUEST,
        MessageType.CHANGE_NOTIFICATION_REQUEST,
        MessageType.MODIFY_BEARER_COMMAND,
        MessageType.DELETE_BEARER_COMMAND,
        MessageType.BEARER_RESOURCE_COMMAND,
        MessageType.SUSPEND_NOTIFICATION,
        MessageType.RESUME_NOTIFICATION,
    }
)


def gtpv2_neighbour(target: Role, request_type: int) -> Role:
    """For whom a GTPv2-C request of the target is."""
    if target is Role.SGW:
        return Role.PGW if request_type in _UPWARDS else Role.MME
    return next(iter(GTPV2[target]))


def diameter_neighbour(target: Role, application: int, there: frozenset[Role]) -> Role | None:
    """For which of the stand-ins that are `there` a Diameter request of the target is; None: for none of them."""
    for role, interface in DIAMETER.get(target, {}).items():
        if APPLICATIONS[interface] == application and role in there:
            return role
    return None


def neighbours(target: Role) -> frozenset[Role]:
    """Every NF that a target of this role speaks GTPv2-C or Diameter with."""
    return frozenset(GTPV2.get(target, {})) | frozenset(DIAMETER.get(target, {}))
