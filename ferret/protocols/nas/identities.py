"""Identities that S1AP and NAS have in common: PLMN and tracking area (TS 23.003 clause 2 and 19.4.2.3)."""

from __future__ import annotations

from typing import NamedTuple


class Tai(NamedTuple):
    """Tracking Area Identity. `plmn`: MCC and MNC digits, "99970"."""

    plmn: str
    tac: int


def plmn_octets(plmn: str) -> bytes:
    """PLMN identity of MCC and MNC digits (TS 24.008 clause 10.5.1.3): "99970" is 99 f9 07."""
    mcc, mnc = plmn[:3], plmn[3:]
    third = mnc[2] if len(mnc) == 3 else "f"
    return bytes.fromhex(mcc[1] + mcc[0] + third + mcc[2] + mnc[1] + mnc[0])


def plmn_digits(octets: bytes) -> str:
    """The inverse of `plmn_octets`. A digit beyond 9 is shown as hexadecimal."""
    nibbles = octets.hex()
    third = "" if nibbles[2] == "f" else nibbles[2]
    return nibbles[1] + nibbles[0] + nibbles[3] + nibbles[5] + nibbles[4] + third
