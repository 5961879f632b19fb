"""Authentication vectors of EPS (TS 33.401 clause 6.1.2) and IMS (TS 33.203 clause 6.1), with SQN of TS 33.102."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from ferret.protocols.nas.security import derive_k_asme
from ferret_core.hss.subscription import Subscriber

_SQN_STEP = 32  # SEQ counts in steps of 2^IND bits, 5 of them (TS 33.102 clause C.3.2)
_SQN_MODULUS = 1 << 48
_RAND_OCTETS = 16
_AMF_RESYNCHRONISATION = b"\0\0"  # TS 33.102 clause 6.3.3
_SEPARATION_BIT = 0x80  # AMF's, set in every vector for E-UTRAN and in no other (TS 33.401 clause 6.1.2)


@dataclass(frozen=True, slots=True)
class Vector:
    """One challenge and what it yields. Secret but for `rand` and `autn`."""

    rand: bytes
    autn: bytes
    xres: bytes = field(repr=False)
    ck: bytes = field(repr=False)
    ik: bytes = field(repr=False)


def next_vector(subscriber: Subscriber, random: Random, *, for_eps: bool) -> Vector:
    """A fresh vector; counts the subscriber's SQN up."""
    subscriber.sqn = (subscriber.sqn + _SQN_STEP) % _SQN_MODULUS
    rand, sqn = random.randbytes(_RAND_OCTETS), subscriber.sqn.to_bytes(6, "big")
    first = subscriber.amf[0] & ~_SEPARATION_BIT | (_SEPARATION_BIT if for_eps else 0)
    amf = bytes((first, subscriber.amf[1]))
    functions = subscriber.milenage
    return Vector(rand, functions.autn(rand, sqn, amf), functions.f2(rand), functions.f3(rand), functions.f4(rand))


def k_asme(vector: Vector, plmn: bytes) -> bytes:
    """K_ASME for a serving network, `plmn` as in Visited-PLMN-Id (TS 33.401 clause A.2)."""
    return derive_k_asme(vector.ck, vector.ik, plmn, vector.autn[:6])


def resynchronise(subscriber: Subscriber, rand: bytes, auts: bytes) -> bool:
    """Take over the UE's SQN from AUTS (14 octets), if its MAC-S is right (TS 33.102 clause 6.3.5)."""
    if len(rand) != _RAND_OCTETS or len(auts) != 14:
        return False
    functions = subscriber.milenage
    sqn = bytes(a ^ b for a, b in zip(auts[:6], functions.f5_star(rand), strict=True))
    if functions.f1_star(rand, sqn, _AMF_RESYNCHRONISATION) != auts[6:]:
        return False
    subscriber.sqn = int.from_bytes(sqn, "big")
    return True
