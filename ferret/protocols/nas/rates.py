"""Bit rates as NAS codes them, in kbit/s (TS 24.301 clauses 9.9.4.2 and 9.9.4.3).

A rate takes one octet up to 8640 kbit/s, a second one ("extended") up to 256 Mbit/s, a third one ("extended-2")
beyond. What cannot be said exactly is rounded down.
"""

from __future__ import annotations

from typing import NamedTuple

_TOP = 0xFE  # 8640 kbit/s: the first octet where the second one counts
_TOP_EXTENDED = 0xFA  # 256 Mbit/s: the second octet where the third one counts


class CodedRate(NamedTuple):
    """One rate in its up to three octets; 0 in the second or third: it does not count."""

    base: int
    extended: int = 0
    extended_2: int = 0

    @property
    def octets_needed(self) -> int:
        """How many of the three octets say something."""
        return 3 if self.extended_2 else 2 if self.extended else 1


def _encode_base(kbps: int) -> int:
    if kbps < 1:
        return 0xFF
    if kbps < 64:
        return kbps
    if kbps < 576:
        return 0x40 + (kbps - 64) // 8
    return min(0x80 + (kbps - 576) // 64, _TOP)


def _decode_base(code: int) -> int:
    if code == 0xFF:
        return 0
    if code < 0x40:
        return code
    return 64 + (code - 0x40) * 8 if code < 0x80 else 576 + (code - 0x80) * 64


def _encode_extended(kbps: int) -> int:
    if kbps <= 16_000:
        return max((kbps - 8_600) // 100, 0)
    if kbps <= 128_000:
        return 0x4A + (kbps - 16_000) // 1_000
    return min(0xBA + (kbps - 128_000) // 2_000, _TOP_EXTENDED)


def _decode_extended(code: int) -> int:
    code = min(code, _TOP_EXTENDED)
    if code <= 0x4A:
        return 8_600 + code * 100
    return 16_000 + (code - 0x4A) * 1_000 if code <= 0xBA else 128_000 + (code - 0xBA) * 2_000


def encode_qos_rate(kbps: int) -> CodedRate:
    """A maximum or guaranteed bit rate of EPS QoS (clause 9.9.4.3)."""
    if kbps < 8_700:
        return CodedRate(_encode_base(kbps))
    if kbps < 260_000:
        return CodedRate(_TOP, _encode_extended(kbps))
    if kbps <= 500_000:
        return CodedRate(_TOP, _TOP_EXTENDED, (kbps - 256_000) // 4_000)
    if kbps <= 1_500_000:
        return CodedRate(_TOP, _TOP_EXTENDED, 0x3D + (kbps - 500_000) // 10_000)
    return CodedRate(_TOP, _TOP_EXTENDED, min(0xA1 + (kbps - 1_500_000) // 100_000, 0xF6))


def decode_qos_rate(rate: CodedRate) -> int:
    """kbit/s of a rate of EPS QoS."""
    code = min(rate.extended_2, 0xF6)
    if code == 0:
        return _decode_extended(rate.extended) if rate.extended else _decode_base(rate.base)
    if code <= 0x3D:
        return 256_000 + code * 4_000
    return 500_000 + (code - 0x3D) * 10_000 if code <= 0xA1 else 1_500_000 + (code - 0xA1) * 100_000


def encode_ambr_rate(kbps: int, *, exact: bool = True) -> CodedRate:
    """One direction of APN-AMBR (clause 9.9.4.2): the third octet counts multiples of 256 Mbit/s to be added.

    `exact` False rounds a rate beyond 256 Mbit/s down to a multiple of 256 Mbit/s, as some MMEs do.
    """
    if kbps < 8_700:
        return CodedRate(_encode_base(kbps))
    if kbps <= 256_000:
        return CodedRate(_TOP, _encode_extended(kbps))
    multiples = min(kbps // 256_000, 0xFE)
    rest = kbps - multiples * 256_000
    if not exact:
        return CodedRate(_TOP, _TOP_EXTENDED, min(multiples - 1, 0xFE))
    if rest >= 8_700:
        return CodedRate(_TOP, _encode_extended(rest), multiples)
    return CodedRate(_encode_base(rest), 0, multiples)


def decode_ambr_rate(rate: CodedRate) -> int:
    """kbit/s of one direction of APN-AMBR."""
    low = _decode_extended(rate.extended) if rate.extended else _decode_base(rate.base)
    return low + min(rate.extended_2, 0xFE) * 256_000
