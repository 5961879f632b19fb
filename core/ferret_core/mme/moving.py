"""How far base station and device have moved to this MME's SGW."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ferret.protocols.gtpv2 import Cause
from ferret_core.mme.bearer_procedures import BearerProcedure
from ferret_core.mme.context import UeContext

if TYPE_CHECKING:
    from ferret_core.mme.node import MmeNode


def moved(node: MmeNode, ue: UeContext, procedure: BearerProcedure) -> None:
    """An Update Bearer procedure is over; if it was the last one of a move, the move is over too."""
    if ue.moving is None or not ue.moving.intersection(procedure.ebis):
        return
    ue.moving.difference_update(procedure.ebis)
    ue.not_moved |= procedure.failed
    if not ue.moving:
        ue.moving = None
        tell(node, ue, tuple(sorted(ue.bearers)), ue.not_moved)


def tell(node: MmeNode, ue: UeContext, ebis: tuple[int, ...], failed: Mapping[int, Cause]) -> None:
    """Note that base station and device have moved, or which bearers have not."""
    fields: dict[str, object] = {
        "imsi": ue.imsi,
        "ebis": list(ebis),
        "nas_protected": ue.security is not None and ue.secured and ue.security.integrity != 0,
    }
    if failed:
        refused = ", ".join(f"EPS bearer {ebi}: {cause.name}" for ebi, cause in sorted(failed.items()))
        node.note("reconfiguration_failed", reason=f"not every bearer moved ({refused})", **fields)
        return
    node.note("reconfigured", **fields)
