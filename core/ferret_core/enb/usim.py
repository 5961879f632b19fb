"""The emulated device's USIM: it authenticates the network and itself (TS 33.102 clause 6.3, Milenage)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from ferret.protocols.nas import Milenage


class Challenge(StrEnum):
    """What the USIM makes of an authentication request."""

    ACCEPTED = "accepted"
    MAC_FAILURE = "MAC failure"
    SYNCH_FAILURE = "synch failure"


@dataclass(frozen=True, slots=True)
class ChallengeResult:
    """The answer to a challenge. Keys do not show in `repr`."""

    outcome: Challenge
    res: bytes = b""
    ck: bytes = field(default=b"", repr=False)
    ik: bytes = field(default=b"", repr=False)
    auts: bytes = b""  # of a synch failure


class Usim:
    """Keys and sequence number of one subscriber."""

    def __init__(self, imsi: str, milenage: Milenage, *, sqn: int = 0) -> None:
        """`sqn`: the highest sequence number accepted so far."""
        self.imsi = imsi
        self.sqn = sqn
        self._milenage = milenage

    def challenge(self, rand: bytes, autn: bytes) -> ChallengeResult:
        """Check AUTN; a sequence number that is not above the last one is out of range (TS 33.102 annex C)."""
        sqn = self._milenage.check(rand, autn)
        if sqn is None:
            return ChallengeResult(Challenge.MAC_FAILURE)
        if int.from_bytes(sqn, "big") <= self.sqn:
            auts = self._milenage.auts(rand, self.sqn.to_bytes(6, "big"))
            return ChallengeResult(Challenge.SYNCH_FAILURE, auts=auts)
        self.sqn = int.from_bytes(sqn, "big")
        one = self._milenage
        return ChallengeResult(Challenge.ACCEPTED, one.f2(rand), one.f3(rand), one.f4(rand))
