"""SNOW 3G, and the algorithms made of it: 128-EEA1 and 128-EIA1 (ETSI/SAGE UEA2 and UIA2, TS 35.215 to 35.217).

Pure Python with tables that are built at first use; a NAS message takes about 0.2 ms.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Final

_MASK: Final = 0xFFFFFFFF
_ONES: Final = _MASK


def _mul_x(value: int, polynomial: int) -> int:
    """MULx (TS 35.216 clause 3.1.1)."""
    return (value << 1 ^ polynomial) & 0xFF if value & 0x80 else value << 1


def _mul_x_pow(value: int, times: int, polynomial: int) -> int:
    for _ in range(times):
        value = _mul_x(value, polynomial)
    return value


def _multiply(one: int, other: int, polynomial: int) -> int:
    """Product in GF(2**8) of this reduction polynomial (without its highest term)."""
    product = 0
    while other:
        if other & 1:
            product ^= one
        one, other = _mul_x(one, polynomial), other >> 1
    return product


def _power(base: int, exponent: int, polynomial: int) -> int:
    result = 1
    for _ in range(exponent):
        result = _multiply(result, base, polynomial)
    return result


def _rijndael_sbox() -> list[int]:
    """S_R, the S-box of AES (clause 3.3.1): the inverse in GF(2**8), then an affine map."""
    box = []
    for value in range(256):
        inverse = _power(value, 254, 0x1B) if value else 0
        result = 0x63
        for shift in range(5):
            result ^= (inverse << shift | inverse >> (8 - shift)) & 0xFF
        box.append(result)
    return box


def _dickson_sbox() -> list[int]:
    """S_Q (clause 3.3.2): the Dickson polynomial g49 over GF(2**8) by x**8+x**6+x**5+x**3+1, plus 0x25."""
    box = []
    for value in range(256):
        result = 0x25
        for exponent in (1, 9, 13, 15, 33, 41, 45, 47, 49):
            result ^= _power(value, exponent, 0x69)
        box.append(result)
    return box


def _mixed(box: list[int], polynomial: int) -> tuple[tuple[int, ...], ...]:
    """Four tables, by octet of the word, whose sum is the 32x32 S-box of clause 3.3."""
    tables: list[list[int]] = [[], [], [], []]
    for value in box:
        double = _mul_x(value, polynomial)
        column = (double, double ^ value, value, value)
        for place in range(4):
            word = 0
            for row in range(4):
                word = word << 8 | column[(row - place) % 4]
            tables[place].append(word)
    return tuple(tuple(table) for table in tables)


_S = tuple[tuple[int, ...], ...]


@cache
def _tables() -> tuple[_S, _S, tuple[int, ...], tuple[int, ...]]:
    """The two S-boxes, and MUL_alpha and DIV_alpha (clauses 3.1.3 and 3.1.4)."""
    words = []
    for powers in ((23, 245, 48, 239), (16, 39, 6, 64)):
        table = []
        for value in range(256):
            word = 0
            for power in powers:
                word = word << 8 | _mul_x_pow(value, power, 0xA9)
            table.append(word)
        words.append(tuple(table))
    return _mixed(_rijndael_sbox(), 0x1B), _mixed(_dickson_sbox(), 0x69), words[0], words[1]


def keystream(key: bytes, iv: tuple[int, int, int, int]) -> Iterator[int]:
    """The keystream in words of 32 bits, for a key of 16 octets. `iv`: IV0 to IV3 (clause 4)."""
    s1, s2, mul_alpha, div_alpha = _tables()
    # K3 is the first word of the confidentiality or integrity key, K0 the last
    k3, k2, k1, k0 = (int.from_bytes(key[start : start + 4], "big") for start in (0, 4, 8, 12))
    iv0, iv1, iv2, iv3 = iv
    lfsr = [
        k0 ^ _ONES, k1 ^ _ONES, k2 ^ _ONES, k3 ^ _ONES, k0, k1, k2, k3,
        k0 ^ _ONES, k1 ^ _ONES ^ iv3, k2 ^ _ONES ^ iv2, k3 ^ _ONES, k0 ^ iv1, k1, k2, k3 ^ iv0,
    ]  # fmt: skip
    r1 = r2 = r3 = 0
    step = 0
    while True:
        word = (lfsr[15] + r1 & _MASK) ^ r2
        after = r2 + (r3 ^ lfsr[5]) & _MASK
        r3 = s2[0][r2 >> 24] ^ s2[1][r2 >> 16 & 255] ^ s2[2][r2 >> 8 & 255] ^ s2[3][r2 & 255]
        r2 = s1[0][r1 >> 24] ^ s1[1][r1 >> 16 & 255] ^ s1[2][r1 >> 8 & 255] ^ s1[3][r1 & 255]
        r1 = after
        # the first word after the 32 steps of the initialisation is thrown away
        if step > 32:
            yield word ^ lfsr[0]
        first, eleventh = lfsr[0], lfsr[11]
        new = (first << 8 & _MASK) ^ mul_alpha[first >> 24] ^ lfsr[2] ^ eleventh >> 8 ^ div_alpha[eleventh & 255]
        lfsr = [*lfsr[1:], new ^ word if step < 32 else new]
        step += 1


def eea1(key: bytes, count: int, bearer: int, direction: int, message: bytes) -> bytes:
    """128-EEA1 over whole octets, both ways (TS 33.401 annex B.1.2)."""
    head = bearer << 27 | direction << 26
    stream = keystream(key, (head, count, head, count))
    words = b"".join(next(stream).to_bytes(4, "big") for _ in range(-(-len(message) // 4)))
    return bytes(one ^ other for one, other in zip(message, words, strict=False))


def _multiply_64(one: int, other: int) -> int:
    """Product in GF(2**64) by x**64+x**4+x**3+x+1 (TS 35.215 clause 4.3.4)."""
    product = 0
    while other:
        if other & 1:
            product ^= one
        one = (one << 1 ^ 0x1B) & 0xFFFFFFFFFFFFFFFF if one >> 63 else one << 1
        other >>= 1
    return product


def eia1(key: bytes, count: int, bearer: int, direction: int, message: bytes) -> bytes:
    """128-EIA1 over whole octets: 4 octets (TS 33.401 annex B.2.2)."""
    fresh = bearer << 27
    stream = keystream(key, (fresh ^ direction << 15, count ^ direction << 31, fresh, count))
    z1, z2, z3, z4, z5 = (next(stream) for _ in range(5))
    p, q = z1 << 32 | z2, z3 << 32 | z4
    value = 0
    for start in range(0, len(message), 8):
        block = int.from_bytes(message[start : start + 8].ljust(8, b"\0"), "big")
        value = _multiply_64(value ^ block, p)
    value = _multiply_64(value ^ len(message) * 8, q)
    return (value >> 32 ^ z5).to_bytes(4, "big")
