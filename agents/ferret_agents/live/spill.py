"""Messages that wait on disk when memory is used up: a bounded ring in one file that has no name.

The file is gone with the process, however that ends: what waits here is of an agent that runs.
"""

from __future__ import annotations

import contextlib
import os
import struct
import tempfile
from collections import deque
from pathlib import Path
from typing import Final

from ferret.errors import ConfigError

_HEAD: Final = struct.Struct("=Iq")  # length, captured_at_ns


class Spill:
    """First in, first out. `put` never raises for the disk's sake: it says no.

    What it keeps of each message in memory is its place: 16 octets or so.
    """

    def __init__(self, directory: Path, octets: int) -> None:
        """`octets`: the largest that the file gets. Raises ConfigError where no file can be made there."""
        self.octets = 0  # of messages that wait
        self.unreadable = 0  # messages that the disk has not given back
        self._size = octets
        self._places: deque[tuple[int, int]] = deque()  # offset and length with head, oldest first
        self._write_at = 0
        try:
            self._file = _nameless_file(directory)
        except OSError as error:
            raise ConfigError(f"{directory}: nothing can be spilled there: {error.strerror}") from None

    def __len__(self) -> int:
        return len(self._places)

    def put(self, octets: bytes, captured_at_ns: int) -> bool:
        """Keep a message; False where there is no room for it, or the disk refuses."""
        record = _HEAD.pack(len(octets), captured_at_ns) + octets
        at = self._room_for(len(record))
        if at < 0:
            return False
        try:
            written = os.pwrite(self._file, record, at)
        except OSError:
            return False
        if written != len(record):  # the disk is full; the part that was written is for nobody
            return False
        self._places.append((at, len(record)))
        self._write_at = at + len(record)
        self.octets += len(octets)
        return True

    def _room_for(self, length: int) -> int:
        """Where a record of this length goes; -1: nowhere."""
        if not self._places:
            return 0 if length <= self._size else -1
        oldest = self._places[0][0]
        if self._write_at > oldest:
            if self._write_at + length <= self._size:
                return self._write_at
            return 0 if length <= oldest else -1
        return self._write_at if self._write_at + length <= oldest else -1

    def get(self) -> tuple[bytes, int] | None:
        """The oldest message and when it was captured; None where there is none. What cannot be read is counted."""
        while self._places:
            at, length = self._places.popleft()
            try:
                record = os.pread(self._file, length, at)
            except OSError:
                record = b""
            self.octets -= length - _HEAD.size
            if len(record) == length:
                if not self._places:
                    self._forget()
                return record[_HEAD.size :], int(_HEAD.unpack_from(record)[1])
            self.unreadable += 1
        return None

    def _forget(self) -> None:
        """Everything was read: give the disk back what it holds."""
        self._write_at = 0
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, 0)

    def clear(self) -> int:
        """Forget what waits; how many messages that were."""
        gone = len(self._places)
        self._places.clear()
        self.octets = 0
        self._forget()
        return gone

    def close(self) -> None:
        """Give the file back. Closing twice does no harm."""
        if self._file >= 0:
            self.clear()
            os.close(self._file)
            self._file = -1


def _nameless_file(directory: Path) -> int:
    try:
        return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:  # not every file system can
        descriptor, name = tempfile.mkstemp(prefix="ferret-spill-", dir=directory)
        Path(name).unlink()
        return descriptor
