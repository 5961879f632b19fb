"""Context for a recording that begins after the attach: what later messages imply about the time before."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ferret.records.message import Role, SignallingMessage
from ferret.replay.plan import Plan

if TYPE_CHECKING:
    from ferret_edge.context import EdgeContext


def late_start(context: EdgeContext, plan: Plan) -> None:
    """Give the MME a device that is attached already, where the recording does not hold its attach."""
    messages = [step.message for step in plan.steps]
    if Role.MME not in plan.members or _attached(messages):
        return


def _attached(messages: Iterable[SignallingMessage]) -> bool:
    return any(m.name == "InitialUEMessage (Attach request)" for m in messages)
