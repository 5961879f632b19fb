"""NAS security of EPS: key derivation, integrity, ciphering, NAS COUNT (TS 33.401 clause 8 and annexes A and B).

EIA2 and EEA2 (AES), EIA1 and EEA1 (SNOW 3G) and the null algorithms are here. EIA3 and EEA3 (ZUC) are not: whoever
asks for them gets UnsupportedAlgorithmError and must not go on as if the message had been protected.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from enum import IntEnum

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

from ferret.errors import DecodeError, PeerViolationError, ProtocolError
from ferret.protocols.nas.message import Message, Plain, SecurityHeader, decode, decode_plain
from ferret.protocols.nas.snow3g import eea1, eia1

_COUNT_LIMIT = 1 << 24  # NAS COUNT: 16 bits of overflow and 8 of sequence number (TS 24.301 clause 4.4.3.1)


class UnsupportedAlgorithmError(ProtocolError):
    """An integrity or ciphering algorithm that FERRET does not have (ZUC)."""


SUPPORTED = (0, 1, 2)  # the numbers of EIA and EEA that `NasSecurityContext` has


class Direction(IntEnum):
    """DIRECTION bit (TS 33.401 annex B.1)."""

    UPLINK = 0
    DOWNLINK = 1


class _Purpose(IntEnum):
    """Algorithm type distinguisher (TS 33.401 annex A.7)."""

    NAS_ENC = 1
    NAS_INT = 2


def kdf(key: bytes, code: int, *parameters: bytes) -> bytes:
    """The generic key derivation function, 32 octets (TS 33.220 annex B.2). `code`: FC."""
    text = bytes((code,)) + b"".join(one + len(one).to_bytes(2, "big") for one in parameters)
    return hmac.new(key, text, hashlib.sha256).digest()


def derive_k_asme(ck: bytes, ik: bytes, plmn: bytes, sqn_xor_ak: bytes) -> bytes:
    """K_ASME of CK and IK (annex A.2). `plmn`: serving network identity, 3 octets; `sqn_xor_ak`: AUTN[0:6]."""
    return kdf(ck + ik, 0x10, plmn, sqn_xor_ak)


def derive_k_enb(k_asme: bytes, uplink_count: int) -> bytes:
    """K_eNB of K_ASME and the uplink NAS COUNT of the message that started it (annex A.3)."""
    return kdf(k_asme, 0x11, uplink_count.to_bytes(4, "big"))


def derive_nh(k_asme: bytes, sync_input: bytes) -> bytes:
    """Next hop of K_ASME and K_eNB or the previous NH (annex A.4)."""
    return kdf(k_asme, 0x12, sync_input)


def derive_k_nas_int(k_asme: bytes, algorithm: int) -> bytes:
    """K_NASint, 16 octets (annex A.7)."""
    return kdf(k_asme, 0x15, bytes((_Purpose.NAS_INT,)), bytes((algorithm,)))[16:]


def derive_k_nas_enc(k_asme: bytes, algorithm: int) -> bytes:
    """K_NASenc, 16 octets (annex A.7)."""
    return kdf(k_asme, 0x15, bytes((_Purpose.NAS_ENC,)), bytes((algorithm,)))[16:]


def _head(count: int, bearer: int, direction: Direction) -> bytes:
    return count.to_bytes(4, "big") + bytes((bearer << 3 | direction << 2, 0, 0, 0))


def eia2(key: bytes, count: int, bearer: int, direction: Direction, message: bytes) -> bytes:
    """128-EIA2: AES-CMAC, 4 octets (annex B.2.3)."""
    cmac = CMAC(algorithms.AES(key))
    cmac.update(_head(count, bearer, direction) + message)
    return cmac.finalize()[:4]


def eea2(key: bytes, count: int, bearer: int, direction: Direction, message: bytes) -> bytes:
    """128-EEA2: AES in counter mode, both ways (annex B.1.3)."""
    cipher = Cipher(algorithms.AES(key), modes.CTR(_head(count, bearer, direction) + bytes(8))).encryptor()
    return cipher.update(message) + cipher.finalize()


@dataclass(slots=True)
class NasSecurityContext:
    """An EPS NAS security context (TS 33.401 clause 7.2.7), as the MME and the UE each keep one.

    `uplink_count` and `downlink_count` are the NAS COUNTs of the next message in each direction. Keys do not show in
    `repr`.
    """

    k_asme: bytes = field(repr=False)  # 32 octets
    integrity: int  # EIA number
    ciphering: int  # EEA number
    ksi: int = 0
    uplink_count: int = 0
    downlink_count: int = 0
    _k_int: bytes = field(init=False, repr=False, default=b"")
    _k_enc: bytes = field(init=False, repr=False, default=b"")

    def __post_init__(self) -> None:
        if self.integrity not in SUPPORTED:
            raise UnsupportedAlgorithmError(f"EIA{self.integrity} is not supported, only EIA0 to EIA2 are")
        if self.ciphering not in SUPPORTED:
            raise UnsupportedAlgorithmError(f"EEA{self.ciphering} is not supported, only EEA0 to EEA2 are")
        self._k_int = derive_k_nas_int(self.k_asme, self.integrity)
        self._k_enc = derive_k_nas_enc(self.k_asme, self.ciphering)

    def k_enb(self, uplink_count: int | None = None) -> bytes:
        """K_eNB for this uplink NAS COUNT; by default for the last message received."""
        count = max(self.uplink_count - 1, 0) if uplink_count is None else uplink_count
        return derive_k_enb(self.k_asme, count)

    def mac(self, count: int, direction: Direction, content: bytes) -> bytes:
        """The MAC over sequence number and message, as they go."""
        if self.integrity == 0:
            return bytes(4)
        if self.integrity == 1:
            return eia1(self._k_int, count, 0, direction, content)
        return eia2(self._k_int, count, 0, direction, content)

    def _cipher(self, count: int, direction: Direction, payload: bytes, header: SecurityHeader) -> bytes:
        if not header.ciphered or self.ciphering == 0:
            return payload
        if self.ciphering == 1:
            return eea1(self._k_enc, count, 0, direction, payload)
        return eea2(self._k_enc, count, 0, direction, payload)

    def protect(self, plain: bytes, header: SecurityHeader, direction: Direction) -> bytes:
        """Protect a plain message with the next COUNT of its direction and count it."""
        count = self.downlink_count if direction is Direction.DOWNLINK else self.uplink_count
        if count >= _COUNT_LIMIT:
            raise PeerViolationError("NAS COUNT has wrapped: the key set is used up")
        content = bytes((count & 0xFF,)) + self._cipher(count, direction, plain, header)
        self._advance(direction, count)
        return bytes((header << 4 | 7,)) + self.mac(count, direction, content) + content

    def protect_service_request(self) -> bytes:
        """A SERVICE REQUEST with KSI, short sequence number and short MAC (TS 24.301 clauses 8.2.25 and 9.9.3.28)."""
        count = self.uplink_count
        content = bytes((SecurityHeader.SERVICE_REQUEST << 4 | 7, self.ksi << 5 | count & 31))
        self._advance(Direction.UPLINK, count)
        return content + self.mac(count, Direction.UPLINK, content)[2:]

    def unprotect(self, message: Message, direction: Direction) -> tuple[Plain | None, bool]:
        """The plain message inside, and whether its MAC is right; only a right one moves the COUNT on.

        None for a SERVICE REQUEST, and for what cannot be read. A message without protection is never verified.
        """
        if message.header is SecurityHeader.PLAIN:
            return message.plain, False
        expected = self.downlink_count if direction is Direction.DOWNLINK else self.uplink_count
        if message.header is SecurityHeader.SERVICE_REQUEST:
            count = _estimate(expected, message.sequence_number, 5)
            verified = self.mac(count, direction, message.payload)[2:] == message.mac
            plain = None
        else:
            count = _estimate(expected, message.sequence_number, 8)
            content = bytes((message.sequence_number,)) + message.payload
            verified = self.integrity == 0 or self.mac(count, direction, content) == message.mac
            plain = self._read(message, count, direction)
        if verified:
            self._advance(direction, count)
        return plain, verified

    def _read(self, message: Message, count: int, direction: Direction) -> Plain | None:
        if not message.header.ciphered or self.ciphering == 0:
            return message.plain
        try:
            return decode_plain(self._cipher(count, direction, message.payload, message.header))
        except DecodeError:
            return None

    def _advance(self, direction: Direction, count: int) -> None:
        if direction is Direction.DOWNLINK:
            self.downlink_count = count + 1
        else:
            self.uplink_count = count + 1


def _estimate(expected: int, sequence_number: int, bits: int) -> int:
    """The COUNT nearest at or after `expected` with these low bits (TS 24.301 clause 4.4.3.1)."""
    span = 1 << bits
    base = expected & ~(span - 1)
    count = base | sequence_number & (span - 1)
    return count if count >= expected else count + span


def verify(octets: bytes, context: NasSecurityContext, direction: Direction) -> tuple[Plain | None, bool]:
    """Decode and unprotect a NAS-PDU. Raises DecodeError."""
    return context.unprotect(decode(octets), direction)
