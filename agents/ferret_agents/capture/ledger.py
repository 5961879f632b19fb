"""The account of a capture: what became of every frame, and what is wrong with it.

Every frame ends as exactly one of: used (it carried octets of a signalling message), damaged (it should have, but they
cannot be read), or ignored, by kind ("rtp", "arp", ...). Frames whose octets wait in a reassembly buffer are pending
until their fate is known, so that `frames == used + damaged + sum(ignored)` holds when reading is done.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

USED = "used"
DAMAGED = "damaged"

MAX_DAMAGE_ENTRIES = 10_000  # a hostile capture must not fill memory with complaints; beyond it they are counted


class Damage(NamedTuple):
    """Something wrong with a capture. Reading went on after it."""

    frame: int  # number of the frame in the file, from 1; 0: the file itself
    what: str


def better(one: str | None, other: str) -> str:
    """The better of two fates of one frame: used before damaged before ignored; of two kinds the later."""
    if one is None or other == USED or (one not in (USED, DAMAGED)):
        return other
    return one


class _Pending:
    """A frame of which something still waits."""

    __slots__ = ("fate", "followers", "pieces")

    def __init__(self) -> None:
        self.pieces = 0
        self.fate: str | None = None  # the best so far
        self.followers: list[int] = []


class Ledger:
    """Counts frames by fate and keeps the list of damage. Sans-IO; bounded but for the number of distinct kinds."""

    def __init__(self) -> None:
        self.frames = 0
        self.used = 0
        self.damaged = 0
        self.ignored: Counter[str] = Counter()
        self.damage: list[Damage] = []
        self.damage_not_listed = 0
        self._open = 0  # the frame being dissected
        self._pending: dict[int, _Pending] = {}

    def begin(self, frame: int) -> None:
        """A frame's dissection begins."""
        self.frames += 1
        self._open = frame

    def hold(self, frame: int) -> None:
        """A piece of `frame` waits in a buffer; `settle` or `follow` must be called for it once."""
        entry = self._pending.get(frame)
        if entry is None:
            entry = self._pending[frame] = _Pending()
        entry.pieces += 1

    def settle(self, frame: int, fate: str) -> None:
        """What became of a piece that waited: `USED`, `DAMAGED`, or the kind that it was ignored as."""
        entry = self._pending.get(frame)
        if entry is None:
            return
        entry.pieces -= 1
        entry.fate = better(entry.fate, fate)
        if not entry.pieces and frame != self._open:
            self._close(frame, entry)

    def follow(self, frame: int, leader: int, fate: str | None) -> None:
        """A piece of `frame` that waited shares the fate of `leader`; None: which is not known yet."""
        entry = self._pending.get(leader)
        if fate is not None or entry is None or leader == frame:
            self.settle(frame, fate if fate is not None else USED)
        else:
            entry.followers.append(frame)

    def end(self, frame: int, fate: str | None) -> None:
        """A frame's dissection is over; `fate` is that of what did not wait, None if all of it did."""
        self._open = 0
        entry = self._pending.get(frame) if self._pending else None
        if entry is None:
            self._count(fate if fate is not None else "empty")
            return
        if fate is not None:
            entry.fate = better(entry.fate, fate)
        if not entry.pieces:
            self._close(frame, entry)

    def _close(self, frame: int, entry: _Pending) -> None:
        del self._pending[frame]
        fate = entry.fate or "empty"
        self._count(fate)
        for follower in entry.followers:
            self.settle(follower, fate)

    def report(self, frame: int, what: str) -> None:
        """Something is wrong; reading goes on."""
        if len(self.damage) < MAX_DAMAGE_ENTRIES:
            self.damage.append(Damage(frame, what))
        else:
            self.damage_not_listed += 1

    @property
    def pending(self) -> int:
        """Frames whose fate is not known yet."""
        return len(self._pending)

    @property
    def oldest_pending(self) -> int:
        """The frame that has waited longest for its fate; 0: none waits."""
        return next(iter(self._pending), 0)

    def _count(self, fate: str) -> None:
        if fate == USED:
            self.used += 1
        elif fate == DAMAGED:
            self.damaged += 1
        else:
            self.ignored[fate] += 1
