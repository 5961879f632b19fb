"""The key that a journal's messages are encrypted with at rest.

Recorded S6a and Cx answers hold authentication vectors, S1AP holds K_eNB: keys of living subscribers. So every message
is sealed by AES-256-GCM (NIST SP 800-38D) under a key that lies in a file of 32 octets, readable by its owner only:
beside the journal ("key") unless another place is given. A sealed message is a nonce of 12 octets and the ciphertext
with its tag of 16; what it belongs to (capture and index) is authenticated with it, so none can be put in another's
place.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ferret.errors import RecordError

KEY_SIZE = 32
KEY_NAME = "key"
CHECK_SIZE = 8
_NONCE_SIZE = 12


@dataclass(frozen=True, slots=True)
class JournalKey:
    """A journal's key. Its text form shows nothing of it."""

    _octets: bytes

    def __repr__(self) -> str:
        return "JournalKey(…)"

    @property
    def check(self) -> bytes:
        """Eight octets that tell whether a journal was written under this key, and nothing else."""
        return hashlib.sha256(b"FERRET journal key check" + self._octets).digest()[:CHECK_SIZE]

    def seal(self, octets: bytes, belongs_to: bytes) -> bytes:
        """Encrypt `octets`, bound to what they belong to."""
        nonce = os.urandom(_NONCE_SIZE)
        return nonce + AESGCM(self._octets).encrypt(nonce, octets, belongs_to)

    def open(self, sealed: bytes, belongs_to: bytes) -> bytes:
        """Decrypt again. Raises RecordError where key, octets or what they belong to are not what they were."""
        try:
            return AESGCM(self._octets).decrypt(sealed[:_NONCE_SIZE], sealed[_NONCE_SIZE:], belongs_to)
        except (InvalidTag, ValueError) as error:
            raise RecordError("a journal's message cannot be decrypted: wrong key, or changed") from error


def load_key(path: Path) -> JournalKey:
    """Read a key file. Raises RecordError where it is missing, not 32 octets, or open to others."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            octets = file.read(KEY_SIZE + 1)
    except OSError as error:
        raise RecordError(f"the journal's key {path} cannot be read: {error.strerror}") from error
    if len(octets) != KEY_SIZE:
        raise RecordError(f"{path} is not a journal key: it must hold exactly {KEY_SIZE} octets")
    if mode & 0o077:
        raise RecordError(f"the journal's key {path} is open to others; chmod 600 it")
    return JournalKey(octets)


def create_key(path: Path) -> JournalKey:
    """Make a new key file, readable by its owner only; the one that is there if somebody was quicker."""
    octets = os.urandom(KEY_SIZE)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)  # unlike a rename, never over a key that is in use
        except FileExistsError:
            return load_key(path)
        finally:
            temporary.unlink()
    except OSError as error:
        raise RecordError(f"the journal's key {path} cannot be made: {error.strerror}") from error
    return JournalKey(octets)
