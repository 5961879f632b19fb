"""How long an acknowledgement may take (RFC 6298)."""

from __future__ import annotations

from typing import Final

_FIRST: Final = 1.0  # seconds (clause 2.1)
_LEAST: Final = 0.2  # clause 2.4 has 1 s; what others take, as delays here are those of one country
_MOST: Final = 60.0


class RoundTrip:
    """Measures one segment at a time, never one that was sent twice (Karn's algorithm, clause 3)."""

    def __init__(self) -> None:
        self.timeout = _FIRST
        self._smoothed: float | None = None
        self._varies = 0.0
        self._measured: tuple[int, float] | None = None  # the end of what is measured, and when it was sent

    def sent(self, end: int, now: float) -> None:
        """Something new was sent that ends before this sequence number."""
        if self._measured is None:
            self._measured = (end, now)

    def acknowledged(self, end: int, now: float) -> None:
        """Everything before this sequence number has arrived."""
        if self._measured is None or end < self._measured[0]:
            return
        took = max(0.0, now - self._measured[1])
        self._measured = None
        if self._smoothed is None:
            self._smoothed, self._varies = took, took / 2
        else:
            self._varies += (abs(self._smoothed - took) - self._varies) / 4
            self._smoothed += (took - self._smoothed) / 8
        self.timeout = min(_MOST, max(_LEAST, self._smoothed + 4 * self._varies))

    def timed_out(self) -> None:
        """It took too long: wait twice as long (clause 5.5)."""
        self._measured = None
        self.timeout = min(_MOST, 2 * self.timeout)
