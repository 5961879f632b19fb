"""The watchdog of a connection (RFC 3539 clause 3.4.1): is the peer still there?

Anything received proves it. After Tw without a word a DWR is sent; after another Tw the peer is suspect; after a third
the connection is given up.
"""

from __future__ import annotations

from enum import StrEnum
from random import Random
from typing import Final

TW_SECONDS: Final = 30.0
MIN_TW_SECONDS: Final = 6.0  # clause 3.4.1: "MUST NOT be set lower than 6 seconds"
JITTER_SECONDS: Final = 2.0


class WatchdogState(StrEnum):
    """What is known of the peer. `WAITING` is the RFC's OKAY with Pending set."""

    OKAY = "okay"
    WAITING = "waiting"
    SUSPECT = "suspect"
    DOWN = "down"


class WatchdogAction(StrEnum):
    """What the expiry of Tw asks for."""

    SEND_DWR = "send DWR"
    FAIL_OVER = "fail over"
    CLOSE = "close"


# On expiry of Tw: state -> next state, what to do. Clause 3.4.1, "Timer expires".
_EXPIRY: Final[dict[WatchdogState, tuple[WatchdogState, WatchdogAction]]] = {
    WatchdogState.OKAY: (WatchdogState.WAITING, WatchdogAction.SEND_DWR),
    WatchdogState.WAITING: (WatchdogState.SUSPECT, WatchdogAction.FAIL_OVER),
    WatchdogState.SUSPECT: (WatchdogState.DOWN, WatchdogAction.CLOSE),
}


class Watchdog:
    """Tw of one connection. `tw` in seconds; each period is lengthened or shortened by up to two at random."""

    def __init__(self, tw: float, random: Random) -> None:
        self._tw = tw
        self._random = random
        self.state = WatchdogState.OKAY
        self.due: float | None = None

    def restart(self, now: float) -> None:
        """The peer was heard, or the connection has just been opened."""
        self.state = WatchdogState.OKAY
        self._set(now)

    def stop(self) -> None:
        """The connection is no longer in use."""
        self.due = None

    def expire(self, now: float) -> WatchdogAction | None:
        """What to do if Tw has run out by `now`; None if it has not."""
        if self.due is None or now < self.due:
            return None
        self.state, action = _EXPIRY[self.state]
        self.due = None
        if action is not WatchdogAction.CLOSE:
            self._set(now)
        return action

    def _set(self, now: float) -> None:
        jitter = min(JITTER_SECONDS, self._tw / 4)  # a Tw below the RFC's minimum is for tests
        self.due = now + self._tw + self._random.uniform(-jitter, jitter)
