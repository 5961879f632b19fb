"""Digits as GTPv2-C and NAS pack them: TBCD strings and PLMN identities (TS 29.274 clause 8.3, TS 24.008 10.5.1.3)."""

from __future__ import annotations

from ferret.errors import DecodeError

_DIGITS = "0123456789*#abc"


def decode_tbcd(octets: bytes) -> str:
    """Digits, two per octet, low half first; 1111 fills. Raises DecodeError where a filler stands among digits."""
    text = "".join((_DIGITS + "f")[half] for octet in octets for half in (octet & 15, octet >> 4))
    digits = text.rstrip("f")
    if "f" in digits or len(text) - len(digits) > 1:
        raise DecodeError(f"filler within the digits of {octets.hex()}")
    return digits


def encode_tbcd(digits: str) -> bytes:
    """The octets. Raises ValueError where a character is no TBCD digit."""
    padded = digits + "f" * (len(digits) % 2)
    halves = [(_DIGITS + "f").index(digit) for digit in padded]
    return bytes(low | high << 4 for low, high in zip(halves[::2], halves[1::2], strict=True))


def decode_plmn(octets: bytes) -> str:
    """MCC and MNC as five or six digits from three octets. Raises DecodeError."""
    if len(octets) != 3:
        raise DecodeError(f"a PLMN has three octets, not {len(octets)}")
    halves = [half for octet in octets for half in (octet & 15, octet >> 4)]
    mcc, third, mnc = (halves[0], halves[1], halves[2]), halves[3], (halves[4], halves[5])
    if max(mcc + mnc) > 9 or (third > 9 and third != 15):
        raise DecodeError(f"{octets.hex()} is not a PLMN")
    return "".join(map(str, mcc + mnc if third == 15 else (*mcc, *mnc, third)))


def encode_plmn(plmn: str) -> bytes:
    """Three octets. Raises ValueError where the text is not five or six digits."""
    if len(plmn) not in (5, 6) or not plmn.isdecimal() or not plmn.isascii():
        raise ValueError(f"{plmn!r} is not MCC and MNC")
    mcc1, mcc2, mcc3, mnc1, mnc2 = (int(digit) for digit in plmn[:5])
    mnc3 = int(plmn[5]) if len(plmn) == 6 else 15
    return bytes((mcc1 | mcc2 << 4, mcc3 | mnc3 << 4, mnc1 | mnc2 << 4))
