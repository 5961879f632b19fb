"""MILENAGE: the authentication functions f1 to f5* of most USIMs and HSSs (TS 35.206)."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


def _encrypt(key: bytes, block: bytes) -> bytes:
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # one block: the mode has no part in it
    return encryptor.update(block) + encryptor.finalize()


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def derive_opc(key: bytes, op: bytes) -> bytes:
    """OPc of the operator's OP and a subscriber's K (clause 4.1). All are 16 octets."""
    return _xor(_encrypt(key, op), op)


class Milenage:
    """The functions for one subscriber: K and OPc, 16 octets each (clause 4.1). Holds keys: never log it."""

    __slots__ = ("_key", "_opc")

    def __init__(self, key: bytes, opc: bytes) -> None:
        self._key = key
        self._opc = opc

    def _temporary(self, rand: bytes) -> bytes:
        return _encrypt(self._key, _xor(rand, self._opc))

    def _out1(self, rand: bytes, sqn: bytes, amf: bytes) -> bytes:
        message = (sqn + amf) * 2
        rotated = _rotate(_xor(message, self._opc), 64)
        return _xor(_encrypt(self._key, _xor(self._temporary(rand), rotated)), self._opc)

    def _out(self, rand: bytes, rotation: int, constant: int) -> bytes:
        rotated = bytearray(_rotate(_xor(self._temporary(rand), self._opc), rotation))
        rotated[15] ^= constant
        return _xor(_encrypt(self._key, bytes(rotated)), self._opc)

    def f1(self, rand: bytes, sqn: bytes, amf: bytes) -> bytes:
        """MAC-A: 8 octets. `rand` 16 octets, `sqn` 6, `amf` 2."""
        return self._out1(rand, sqn, amf)[:8]

    def f1_star(self, rand: bytes, sqn: bytes, amf: bytes) -> bytes:
        """MAC-S, for resynchronisation: 8 octets."""
        return self._out1(rand, sqn, amf)[8:]

    def f2(self, rand: bytes) -> bytes:
        """RES or XRES: 8 octets."""
        return self._out(rand, 0, 1)[8:]

    def f3(self, rand: bytes) -> bytes:
        """CK: 16 octets."""
        return self._out(rand, 32, 2)

    def f4(self, rand: bytes) -> bytes:
        """IK: 16 octets."""
        return self._out(rand, 64, 4)

    def f5(self, rand: bytes) -> bytes:
        """AK: 6 octets."""
        return self._out(rand, 0, 1)[:6]

    def f5_star(self, rand: bytes) -> bytes:
        """AK for resynchronisation: 6 octets."""
        return self._out(rand, 96, 8)[:6]

    def autn(self, rand: bytes, sqn: bytes, amf: bytes) -> bytes:
        """AUTN of TS 33.102 clause 6.3.2: SQN xor AK, AMF, MAC-A; 16 octets."""
        return _xor(sqn, self.f5(rand)) + amf + self.f1(rand, sqn, amf)

    def check(self, rand: bytes, autn: bytes) -> bytes | None:
        """The SQN that a network's challenge holds (6 octets); None if its MAC-A is not ours."""
        sqn = _xor(autn[:6], self.f5(rand))
        return sqn if self.f1(rand, sqn, autn[6:8]) == autn[8:16] else None

    def auts(self, rand: bytes, sqn: bytes) -> bytes:
        """AUTS, which tells the network our own SQN (TS 33.102 clause 6.3.3): 14 octets."""
        return _xor(sqn, self.f5_star(rand)) + self.f1_star(rand, sqn, b"\x00\x00")


def _rotate(block: bytes, bits: int) -> bytes:
    """Rotate a block to the left by whole octets."""
    octets = bits // 8
    return block[octets:] + block[:octets]
