"""What a recorder has taken out of the queue and not yet written as recordings: on disk, so that a crash loses nothing.

A file of records: length (4), CRC-32 (4), a message in the queue's format. It is only appended to; a broken tail (a
crash while writing) is cut off. Once the recordings are in the journal, it is removed.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ferret.errors import RecordError

_HEAD: Final = struct.Struct(">II")
_LONGEST: Final = 1 << 26  # octets of one message


class Spool:
    """One recorder's spool, open for appending."""

    def __init__(self, path: Path) -> None:
        """Open it; made by the first `sync`. Raises RecordError where it cannot be, or another recorder has it."""
        self.path = path
        self.left_behind: list[bytes] = []
        self._file = -1
        self._waiting: list[bytes] = []
        if path.exists():
            self._open()

    def _open(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.left_behind = list(self._read())
        except BlockingIOError:
            self.close()
            raise RecordError(f"{self.path} is another recorder's") from None
        except OSError as error:
            self.close()
            raise RecordError(f"{self.path} cannot be used: {error.strerror}") from error

    def _read(self) -> Iterator[bytes]:
        """The messages of an earlier recorder; what is behind them is cut off."""
        content = self.path.read_bytes()
        at = 0
        while at + _HEAD.size <= len(content):
            length, check = _HEAD.unpack_from(content, at)
            octets = content[at + _HEAD.size : at + _HEAD.size + length]
            if length > _LONGEST or len(octets) < length or zlib.crc32(octets) != check:
                break
            yield octets
            at += _HEAD.size + length
        os.ftruncate(self._file, at)
        os.lseek(self._file, at, os.SEEK_SET)

    def append(self, octets: bytes) -> None:
        """One more message; it is safe after `sync`."""
        self._waiting.append(_HEAD.pack(len(octets), zlib.crc32(octets)) + octets)

    def sync(self, *, durable: bool = True) -> None:
        """Have the disk have everything; not `durable`: the system, which survives this process. Raises RecordError."""
        if not self._waiting:
            return
        if self._file < 0:
            self._open()
        octets = b"".join(self._waiting)
        try:
            while octets:
                octets = octets[os.write(self._file, octets) :]
            if durable:
                os.fdatasync(self._file)
        except OSError as error:
            raise RecordError(f"{self.path} cannot be written: {error.strerror}") from error
        self._waiting.clear()

    def remove(self) -> None:
        """Everything is in the journal."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Leave it for the next recorder. Closing twice does no harm."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
