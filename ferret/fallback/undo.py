"""What a fallback has done, and how each of it is undone.

A trace is laid when the command is *given*, not when it is answered: what nobody confirmed may have happened all the
same. So undoing never depends on how far things came, and every way to undo something can be gone where nothing was
done.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from ferret.fallback.messages import (
    Answered,
    Call,
    EndCall,
    MoveBack,
    NasCounts,
    Place,
    ReleaseEdge,
    ResumeCall,
    WayBack,
)


class Trace(StrEnum):
    """Something that must not stay. In the order in which it is undone: without the device's packets nothing else is of
    use, then comes what the subscriber hears; for the last two nobody waits.
    """

    DEVICE = "the device is at the edge"
    MEDIA = "the call is held or its media led to the edge"
    CORE_CALL = "the core holds a call that has ended at the edge"
    EDGE = "the edge holds the subscriber's state"


ONLY_WHILE_CALLED: Final = frozenset({Trace.MEDIA})
"""What is over with the call."""

_BY_RELEASE_FROM: Final = 4  # the attempt from which a device that does not move back is let go instead


def undo(trace: Trace, number: int, call: Call, attempt: int, counts: NasCounts | None, idle: bool) -> Answered:
    """The command, with this number, that undoes a trace. `attempt` counts from 1."""
    match trace:
        case Trace.DEVICE:
            way = WayBack.IDLE if idle else WayBack.MODIFY if attempt < _BY_RELEASE_FROM else WayBack.RELEASE
            return MoveBack(number, call, way, counts)
        case Trace.MEDIA:
            return ResumeCall(number, call, Place.CORE)
        case Trace.CORE_CALL:
            return EndCall(number, call)
        case Trace.EDGE:
            return ReleaseEdge(number, call)
