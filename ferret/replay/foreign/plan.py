"""The plan of a replay at foreign NFs: the border rule with the targets as members, and what only targets ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from ferret.errors import RecordError
from ferret.protocols.summary import Kind, Protocol
from ferret.records.message import Role, SignallingMessage
from ferret.records.recording import Recording
from ferret.replay.foreign.targets import ForeignSetting
from ferret.replay.plan import Part, Plan, PlannedMessage, members_for, plan

_NOT_MOVED: Final = "a replay at foreign NFs moves nothing"
_UNHEARD: Final = "goes from one target to the other, where nobody hears it"
_UNCAUSED: Final = "a P-CSCF only forwards it, and what it forwarded is in nobody's half of a call"

_BEGINNINGS: Final = {Role.SGW: "Create Session Request", Role.PGW: "Create Session Request", Role.PCRF: "CCR-Initial"}


def foreign_plan(recording: Recording, setting: ForeignSetting, edge: frozenset[Role] | None = frozenset()) -> Plan:
    """The plan with the targets as its members, and edge NFs of these roles (None: all that the recording allows).

    Raises RecordError where a target takes no part in it.
    """
    own = members_for(m for m, _ in recording.everything) if edge is None else edge
    made = plan(
        subscriber=recording.subscriber,
        service=recording.service,
        messages=recording.everything,
        members=setting.roles | own,
    )
    steps = tuple(_unheard(step, setting.roles) for step in made.steps)
    if Role.SCSCF not in made.members:
        steps = _without_uncaused(steps)
    idle = sorted(role for role in setting.roles if not any(_is_for(step, role) for step in steps))
    if idle:
        raise RecordError(f"{recording.id}: nothing in the recording is for the {', '.join(idle)}")
    return replace(made, steps=steps, reconfigure_after=None, not_reconfigured=_NOT_MOVED)


def begins_late(made: Plan, target: Role) -> bool:
    """Whether the recording has no request with which its sessions at a target begin."""
    beginning = _BEGINNINGS.get(target)
    names = {step.message.name for step in made.steps if step.message.to_nf.role is target}
    return beginning is not None and beginning not in names


def _is_for(step: PlannedMessage, role: Role) -> bool:
    return step.part is not Part.SKIPPED and step.message.to_nf.role is role


def _unheard(step: PlannedMessage, targets: frozenset[Role]) -> PlannedMessage:
    if step.part is Part.COMPARED and {step.message.from_nf.role, step.message.to_nf.role} <= targets:
        return replace(step, part=Part.SKIPPED, reason=_UNHEARD)
    return step


def _without_uncaused(steps: Sequence[PlannedMessage]) -> tuple[PlannedMessage, ...]:
    """Without a NOTIFY that a P-CSCF is to forward and never gets, and its answer.

    An S-CSCF's own NOTIFY (reg event, RFC 3680) begins in no device's half: it becomes part of a recording only where
    the P-CSCF sends it on.
    """
    arrived: set[str] = set()
    uncaused: set[int] = set()
    for step in steps:
        message = step.message
        if message.answers in uncaused and message.answers:
            uncaused.add(message.index)
        elif _is_notify(message) and step.part.delivered:
            arrived.add(message.transaction)
        elif _is_notify(message) and step.part is Part.CAUGHT and message.transaction not in arrived:
            uncaused.add(message.index)
    return tuple(
        replace(step, part=Part.SKIPPED, reason=_UNCAUSED) if step.index in uncaused else step for step in steps
    )


def _is_notify(message: SignallingMessage) -> bool:
    notified = message.protocol is Protocol.SIP and message.name == "NOTIFY" and message.kind is Kind.REQUEST
    return notified and Role.PCSCF in (message.from_nf.role, message.to_nf.role)
