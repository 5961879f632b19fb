"""What a bearer procedure waits for: the base station's answer and the UE's, for each of its bearers.

A procedure that changes bearers is done when S1AP (TS 36.413 clause 8.2) and ESM (TS 24.301 clause 6.4) both are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from ferret.errors import PeerViolationError
from ferret.protocols import gtpv2, nas, s1ap
from ferret.protocols.gtpv2 import Cause
from ferret.protocols.nas import EsmCause, MessageType
from ferret_core.mme.context import UeContext
from ferret_core.mme.nas_transport import send
from ferret_core.mme.states import BearerEvent, BearerState
from ferret_core.nf import Peer

if TYPE_CHECKING:
    from ferret_core.mme.node import MmeNode


class Change(StrEnum):
    """What happens to the bearers."""

    SETUP = "E-RAB Setup"
    MODIFY = "E-RAB Modify"
    RELEASE = "E-RAB Release"


@dataclass(slots=True)
class BearerProcedure:
    """One procedure: `finished` runs once, when nothing is awaited any more."""

    change: Change
    finished: Callable[[MmeNode, UeContext, BearerProcedure], None]
    ebis: tuple[int, ...]
    awaits_enb: set[int] = field(default_factory=set)
    awaits_ue: set[int] = field(default_factory=set)
    failed: dict[int, Cause] = field(default_factory=dict)
    # the SGW's request that it answers, if one did begin it
    request: gtpv2.Message | None = None
    peer: Peer | None = None
    transaction: int = 0
    # what the UE is told again while it does not answer, and when
    message: nas.Plain | None = None
    repeat_at: float | None = None
    repetitions: int = 0

    def refuse(self, ebi: int, cause: Cause) -> None:
        """A bearer has failed: nothing more is awaited for it."""
        self.failed.setdefault(ebi, cause)
        self.awaits_enb.discard(ebi)
        self.awaits_ue.discard(ebi)

    def check(self, node: MmeNode, ue: UeContext) -> None:
        """Finish if nothing is awaited any more."""
        if self.awaits_enb or self.awaits_ue or self not in ue.procedures:
            return
        ue.procedures.remove(self)
        self.finished(node, ue, self)

    def abandon(self, node: MmeNode, ue: UeContext) -> None:
        """The connection is lost: what is still awaited will not come."""
        for ebi in self.awaits_enb | self.awaits_ue:
            self.failed.setdefault(ebi, Cause.UE_NOT_RESPONDING)
        self.finished(node, ue, self)


def begin(ue: UeContext, procedure: BearerProcedure) -> None:
    """Wait for the answers for every bearer of a procedure."""
    procedure.awaits_enb, procedure.awaits_ue = set(procedure.ebis), set(procedure.ebis)
    ue.procedures.append(procedure)


def _waiting(ue: UeContext, change: Change, ebi: int) -> BearerProcedure | None:
    """The oldest procedure of this kind that waits for the eNB's answer for this bearer."""
    return next((one for one in ue.procedures if one.change is change and ebi in one.awaits_enb), None)


_DONE = {
    Change.SETUP: s1ap.IeId.ERAB_SETUP_LIST_BEARER_SU_RES,
    Change.MODIFY: s1ap.IeId.ERAB_MODIFY_LIST_BEARER_MOD_RES,
    Change.RELEASE: s1ap.IeId.ERAB_RELEASE_LIST_BEARER_REL_COMP,
}
_FAILED = {
    Change.SETUP: s1ap.IeId.ERAB_FAILED_TO_SETUP_LIST_BEARER_SU_RES,
    Change.MODIFY: s1ap.IeId.ERAB_FAILED_TO_MODIFY_LIST,
    Change.RELEASE: s1ap.IeId.ERAB_FAILED_TO_RELEASE_LIST,
}


def enb_answered(node: MmeNode, ue: UeContext, change: Change, message: s1ap.Message) -> None:
    """E-RAB SETUP, MODIFY or RELEASE RESPONSE. Raises PeerViolationError for a bearer nobody asked for."""
    touched: list[BearerProcedure] = []
    for item in message.items(_DONE[change]):
        erab = s1ap.Erab.of(item)
        procedure = _waiting(ue, change, erab.ebi)
        if procedure is None:
            raise PeerViolationError(f"{message.name} for EPS bearer {erab.ebi}, which is not waiting for it")
        bearer = ue.bearers.get(erab.ebi)
        if bearer is not None and erab.tunnel is not None:
            bearer.enb = erab.tunnel
        procedure.awaits_enb.discard(erab.ebi)
        touched.append(procedure)
    for item in message.items(_FAILED[change]):
        procedure = _waiting(ue, change, item["e-RAB-ID"])
        if procedure is None:
            continue
        cause = ":".join(item.get("cause") or ())
        node.note("bearer_refused_by_enb", imsi=ue.imsi, ebi=item["e-RAB-ID"], cause=cause)
        if change is Change.RELEASE:  # what is gone already is as good as released, at the UE too
            procedure.awaits_enb.discard(item["e-RAB-ID"])
            procedure.awaits_ue.discard(item["e-RAB-ID"])
        else:
            procedure.refuse(item["e-RAB-ID"], Cause.NO_RESOURCES_AVAILABLE)
        touched.append(procedure)
    for procedure in touched:
        procedure.check(node, ue)


_UE_ANSWERS = {
    MessageType.ACTIVATE_DEFAULT_EPS_BEARER_CONTEXT_ACCEPT: (Change.SETUP, BearerEvent.ACTIVATE_ACCEPT),
    MessageType.ACTIVATE_DEFAULT_EPS_BEARER_CONTEXT_REJECT: (Change.SETUP, BearerEvent.ACTIVATE_REJECT),
    MessageType.ACTIVATE_DEDICATED_EPS_BEARER_CONTEXT_ACCEPT: (Change.SETUP, BearerEvent.ACTIVATE_ACCEPT),
    MessageType.ACTIVATE_DEDICATED_EPS_BEARER_CONTEXT_REJECT: (Change.SETUP, BearerEvent.ACTIVATE_REJECT),
    MessageType.MODIFY_EPS_BEARER_CONTEXT_ACCEPT: (Change.MODIFY, BearerEvent.MODIFY_ACCEPT),
    MessageType.MODIFY_EPS_BEARER_CONTEXT_REJECT: (Change.MODIFY, BearerEvent.MODIFY_REJECT),
    MessageType.DEACTIVATE_EPS_BEARER_CONTEXT_ACCEPT: (Change.RELEASE, BearerEvent.DEACTIVATE_ACCEPT),
}
# TS 29.274 annex C: Cause for each ESM cause of a UE that refuses.
_REFUSALS: dict[int, Cause] = {
    EsmCause.SEMANTIC_ERROR_IN_TFT: Cause.SEMANTIC_ERROR_IN_THE_TFT_OPERATION,
    EsmCause.SYNTACTICAL_ERROR_IN_TFT: Cause.SYNTACTIC_ERROR_IN_THE_TFT_OPERATION,
    EsmCause.SEMANTIC_ERRORS_IN_PACKET_FILTERS: Cause.SEMANTIC_ERRORS_IN_PACKET_FILTERS,
    EsmCause.SYNTACTICAL_ERRORS_IN_PACKET_FILTERS: Cause.SYNTACTIC_ERRORS_IN_PACKET_FILTERS,
    EsmCause.INSUFFICIENT_RESOURCES: Cause.NO_RESOURCES_AVAILABLE,
}


def ue_answered(node: MmeNode, ue: UeContext, plain: nas.Plain) -> None:
    """The UE accepts or refuses what was asked for one bearer. Raises PeerViolationError if nothing was."""
    change, event = _UE_ANSWERS[MessageType(plain.type)]
    procedure = next((one for one in ue.procedures if one.change is change and plain.ebi in one.awaits_ue), None)
    if procedure is None and change is Change.RELEASE and plain.ebi not in ue.bearers:
        return  # the base station had said already that it is gone
    if procedure is None:
        raise PeerViolationError(f"{plain.name} for EPS bearer {plain.ebi}, which is not waiting for it")
    bearer = ue.bearers.get(plain.ebi)
    if bearer is not None:
        bearer.happen(event)
    if event in (BearerEvent.ACTIVATE_REJECT, BearerEvent.MODIFY_REJECT):
        esm_cause = plain.number("ESM cause") or 0
        node.note("bearer_refused_by_ue", imsi=ue.imsi, ebi=plain.ebi, esm_cause=esm_cause)
        procedure.refuse(plain.ebi, _REFUSALS.get(esm_cause, Cause.UE_REFUSES))
    procedure.awaits_ue.discard(plain.ebi)
    procedure.check(node, ue)


_REPETITIONS = 4


def repeat(node: MmeNode, ue: UeContext, procedure: BearerProcedure, message: nas.Plain) -> None:
    """Send this message again while the UE does not answer (T3495, TS 24.301 clause 6.4.4.5)."""
    procedure.message, procedure.repeat_at = message, node.now + node.profile.esm_timer_s


def deadline(node: MmeNode) -> float | None:
    """When the next message is sent again."""
    found = [one.repeat_at for ue in node.contexts() for one in ue.procedures if one.awaits_ue]
    return min((at for at in found if at is not None), default=None)


def wake(node: MmeNode) -> None:
    """Send again what is due; the fifth time, do without the UE's answer."""
    for ue in list(node.contexts()):
        for procedure in list(ue.procedures):
            if procedure.awaits_ue and procedure.repeat_at is not None and procedure.repeat_at <= node.now:
                _repeat(node, ue, procedure)


def _repeat(node: MmeNode, ue: UeContext, procedure: BearerProcedure) -> None:
    procedure.repetitions += 1
    if procedure.repetitions > _REPETITIONS or procedure.message is None:
        procedure.repeat_at = None
        procedure.awaits_ue.clear()
        procedure.check(node, ue)
        return
    procedure.repeat_at = node.now + node.profile.esm_timer_s
    send(node, ue, procedure.message)


def drop(ue: UeContext, ebi: int) -> None:
    """A bearer could not be set up, or is gone."""
    bearer = ue.bearers.pop(ebi, None)
    if bearer is not None:
        bearer.state = BearerState.INACTIVE
