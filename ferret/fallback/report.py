"""What an operator wants to see of one fallback."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ferret.fallback.states import State


@dataclass(frozen=True, slots=True)
class FallbackReport:
    """One fallback, while it runs or after it. Times are in milliseconds."""

    subscriber: str
    service: str
    number: int
    state: State
    reason: str  # why it never was, or no longer is, at the edge; "" where the call simply ended there
    failed: bool  # whether that reason is a fault
    phases_ms: Mapping[State, float]  # how long it was in each state, as far as it has left it
    fallback_ms: float | None  # from the hold until the call ran over the edge; None: it never did
    away_ms: float | None  # from the hold until everything was back; None: it is not, or nothing was done
    replayed: int = 0
    compared: int = 0
    acknowledged: int = 0
    high_risk: int = 0
    commands: int = 0  # given, with repetitions
    repeated: int = 0  # of those: given again because they failed or were not answered in time
    left_behind: tuple[str, ...] = ()  # what could not be undone: somebody must look at it

    @property
    def reached_edge(self) -> bool:
        """Whether the call has run over the edge."""
        return self.fallback_ms is not None

    def as_json(self) -> dict[str, object]:
        """The report's object in JSON."""
        return {
            "subscriber": self.subscriber,
            "service": self.service,
            "number": self.number,
            "state": str(self.state),
            "reason": self.reason,
            "reached_edge": self.reached_edge,
            "failed": self.failed,
            "phases_ms": {str(state): round(spent, 1) for state, spent in self.phases_ms.items()},
            "fallback_ms": _rounded(self.fallback_ms),
            "away_ms": _rounded(self.away_ms),
            "replayed": self.replayed,
            "compared": self.compared,
            "acknowledged": self.acknowledged,
            "high_risk": self.high_risk,
            "commands": self.commands,
            "repeated": self.repeated,
            "left_behind": list(self.left_behind),
        }


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 1)
