"""The journal: the durable file that recordings are kept in until they are done with.

A journal is a directory. In it are segments ("000001.journal", …: `journal_frames`), to the last of which everything is
appended, and the key that messages are encrypted with (`journal_key`), unless that lies elsewhere. Frames are of type:

    1  capture    JSON {"capture": number, "source": name}: what follows comes from this capture
    2  message    capture number (4), index (4), and the sealed message (`journal_codec`)
    3  recording  JSON: id, capture, subscriber, service, times, holes, and the indexes of its messages
    4  forgotten  JSON {"id": …}: the recording is done with

Durability: a recording's messages are written before it, and it is one frame. So it is there as a whole or not at all,
whenever the process or the machine stops; `Fsync` says after what the disk has it for certain. One process may write
at a time (flock(2) on the file "lock"); readers need no lock. A segment is never changed except that a broken tail is
cut off by the next one who writes. A journal of a newer format version is refused, by readers and writers alike.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from ferret.errors import RecordError
from ferret.records.holes import Hole
from ferret.records.journal_codec import (
    decode_message,
    decode_recording,
    dump,
    encode_message,
    encode_recording,
    holes_of,
    load,
)
from ferret.records.journal_frames import HEADER_SIZE, Scan, frame, frame_at, header, read_header
from ferret.records.journal_key import KEY_NAME, JournalKey, create_key, load_key
from ferret.records.message import SignallingMessage
from ferret.records.recording import Recording

SUFFIX = ".journal"
SEGMENT_SIZE = 64 << 20  # octets after which a new segment is begun
_CAPTURE, _MESSAGE, _RECORDING, _FORGOTTEN = 1, 2, 3, 4
_PLACE_SIZE = 8


class Fsync(StrEnum):
    """When the disk must have what was written."""

    RECORDING = "recording"  # after each recording: a power failure loses at most the one being written
    APPEND = "append"  # at the end of each `append`
    NEVER = "never"  # when the system likes: survives a crash of FERRET, not of the machine


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One recording in a journal, without its messages."""

    id: str  # "1.999700000000020-volte-1": unique in its journal
    source: str  # the capture or host that it was recorded from
    subscriber: str
    service: str
    begin_ns: int
    end_ns: int
    messages: int
    context: int
    holes: tuple[Hole, ...]


@dataclass(frozen=True, slots=True)
class _Place:
    segment: Path
    offset: int


class Journal:
    """A journal, open for reading, and for writing from the first `append` or `forget` on."""

    def __init__(self, directory: Path, *, key_file: Path | None = None, fsync: Fsync = Fsync.RECORDING) -> None:
        """Open a journal; a directory that does not exist is made by the first write.

        Raises RecordError where it is no journal, of a newer version, or its key is missing or another one.
        """
        self.directory = directory
        self.damage: tuple[str, ...] = ()
        self._key_file = key_file or directory / KEY_NAME
        self._fsync = fsync
        self._key: JournalKey | None = None
        self._file: BinaryIO | None = None
        self._lock: BinaryIO | None = None
        self._sources: dict[int, str] = {}
        self._messages: dict[tuple[int, int], _Place] = {}
        self._recordings: dict[str, dict[str, Any]] = {}
        self._tail: tuple[Path, int] | None = None  # the last segment, and where its last whole frame ends
        self._scan()

    # ---- reading

    def recordings(self) -> list[JournalEntry]:
        """Every recording that is not done with, in the order in which they were written."""
        return [self._entry(name, about) for name, about in self._recordings.items()]

    def read(self, recording_id: str) -> Recording:
        """One recording with all its messages. Raises RecordError where there is none of this id."""
        about = self._recordings.get(recording_id)
        if about is None:
            raise RecordError(f"no recording {recording_id} in {self.directory}")
        capture = about["capture"]
        indexes = {index for index, _ in [*about["entries"], *about["context"]]}
        return decode_recording(about, {index: self._message(capture, index) for index in sorted(indexes)})

    def _entry(self, name: str, about: dict[str, Any]) -> JournalEntry:
        return JournalEntry(
            id=name,
            source=self._sources.get(about["capture"], ""),
            subscriber=about["subscriber"],
            service=about["service"],
            begin_ns=about["begin_ns"],
            end_ns=about["end_ns"],
            messages=len(about["entries"]),
            context=len(about["context"]),
            holes=holes_of(about),
        )

    def _message(self, capture: int, index: int) -> SignallingMessage:
        place = self._messages.get((capture, index))
        if place is None:
            raise RecordError(f"{self.directory}: message {index} of capture {capture} is damaged or missing")
        with place.segment.open("rb") as file:
            file.seek(place.offset)
            head = file.read(13)
            found = frame_at(head + file.read(int.from_bytes(head[4:8], "big")), 0)
        if found is None:
            raise RecordError(f"{place.segment}: the message at {place.offset} has changed")
        where, sealed = found.payload[:_PLACE_SIZE], found.payload[_PLACE_SIZE:]
        return decode_message(self._loaded_key().open(sealed, where))

    def _scan(self) -> None:
        damage: list[str] = []
        for path in self._segments():
            octets = _read(path)
            head = read_header(octets, str(path))
            if head is None:
                damage.append(f"{path}: an unfinished header, nothing in it")
                self._tail = (path, 0)
                continue
            self._check_key(head[1], path)
            scan = Scan(octets, str(path))
            for found in scan:
                try:
                    self._note(path, found.offset, found.type, found.payload)
                except (KeyError, ValueError, TypeError) as error:
                    raise RecordError(f"{path}: the frame at {found.offset} makes no sense: {error!r}") from error
            damage += scan.damage
            self._tail = (path, scan.end)
        self.damage = tuple(damage)

    def _segments(self) -> list[Path]:
        if not self.directory.exists():
            return []
        if not self.directory.is_dir():
            raise RecordError(f"{self.directory} is not a journal: a journal is a directory")
        return sorted(p for p in self.directory.iterdir() if p.suffix == SUFFIX and p.stem.isdecimal())

    def _check_key(self, check: bytes, path: Path) -> None:
        if self._loaded_key().check != check:
            raise RecordError(f"{path} was written with another key than {self._key_file}")

    def _loaded_key(self) -> JournalKey:
        if self._key is None:
            self._key = load_key(self._key_file)
        return self._key

    def _note(self, path: Path, offset: int, kind: int, payload: bytes) -> None:
        match kind:
            case 1:
                about = load(payload, "a capture")
                self._sources[int(about["capture"])] = str(about["source"])
            case 2:
                capture, index = int.from_bytes(payload[:4], "big"), int.from_bytes(payload[4:8], "big")
                self._messages[capture, index] = _Place(path, offset)
            case 3:
                about = load(payload, "a recording")
                self._recordings[str(about["id"])] = about
            case 4:
                self._recordings.pop(str(load(payload, "a note")["id"]), None)
            case _:
                pass  # a later FERRET of the same format version may add types that an older one leaves alone

    # ---- writing

    def append(self, recordings: Iterable[Recording], source: str = "") -> list[str]:
        """Keep recordings of one capture; their ids. `source` says where they come from."""
        self._open_for_writing()
        capture = max(self._sources, default=0) + 1
        self._write(_CAPTURE, dump({"capture": capture, "source": source}))
        written = []
        for recording in recordings:
            for message in _distinct(recording):
                if (capture, message.index) not in self._messages:
                    self._write_message(capture, message)
            name = f"{capture}.{recording.id}"
            self._write(_RECORDING, encode_recording(recording, {"id": name, "capture": capture}))
            written.append(name)
            self._sync(Fsync.RECORDING)
        self._sync(Fsync.APPEND)
        return written

    def forget(self, recording_id: str) -> None:
        """The recording is done with. Raises RecordError where there is none of this id."""
        if recording_id not in self._recordings:
            raise RecordError(f"no recording {recording_id} in {self.directory}")
        self._open_for_writing()
        self._write(_FORGOTTEN, dump({"id": recording_id}))
        self._sync(Fsync.RECORDING, Fsync.APPEND)

    def close(self) -> None:
        """Let go of the files. Closing twice does no harm."""
        for file in (self._file, self._lock):
            if file is not None:
                file.close()
        self._file = self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write_message(self, capture: int, message: SignallingMessage) -> None:
        where = capture.to_bytes(4, "big") + message.index.to_bytes(4, "big")
        self._write(_MESSAGE, where + self._loaded_key().seal(encode_message(message), where))

    def _write(self, kind: int, payload: bytes) -> None:
        path, end = self._segment_to_write()
        octets = frame(kind, payload)
        try:
            self._current().write(octets)
            self._current().flush()
        except OSError as error:
            self.close()  # what was written of it is a broken tail, for whoever writes next
            raise RecordError(f"{path} cannot be written: {error.strerror}") from error
        self._note(path, end, kind, payload)
        self._tail = (path, end + len(octets))

    def _segment_to_write(self) -> tuple[Path, int]:
        if self._tail is None:
            raise RecordError(f"{self.directory} is not open for writing")
        if self._tail[1] >= SEGMENT_SIZE:
            self._sync(Fsync.RECORDING, Fsync.APPEND)
            self._begin_segment(int(self._tail[0].stem) + 1)
        return self._tail

    def _current(self) -> BinaryIO:
        if self._file is None:
            raise RecordError(f"{self.directory} is not open for writing")
        return self._file

    def _sync(self, *policies: Fsync) -> None:
        if self._fsync in policies:
            os.fsync(self._current().fileno())

    def _open_for_writing(self) -> None:
        if self._file is not None:
            return
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._take_lock()
            self._rescan()
            if self._tail is None:
                self._begin_segment(1)
                return
            path, end = self._tail
            if end < HEADER_SIZE:
                self._begin_segment(int(path.stem), again=True)
                return
            self._file = path.open("r+b")
            self._file.truncate(end)
            self._file.seek(end)
        except OSError as error:
            raise RecordError(f"{self.directory} cannot be written: {error.strerror}") from error

    def _rescan(self) -> None:
        """Another process may have written since this one read."""
        self._sources.clear()
        self._messages.clear()
        self._recordings.clear()
        self._tail = None
        self._scan()

    def _take_lock(self) -> None:
        lock = (self.directory / "lock").open("ab")
        try:
            fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise RecordError(f"another process is writing to the journal {self.directory}") from error
        if self._lock is not None:
            self._lock.close()
        self._lock = lock

    def _begin_segment(self, number: int, *, again: bool = False) -> None:
        if self._file is not None:
            self._file.close()
        path = self.directory / f"{number:06}{SUFFIX}"
        if self._key is None:
            self._key = load_key(self._key_file) if self._key_file.exists() else create_key(self._key_file)
        self._file = path.open("wb" if again else "xb")
        self._file.write(header(number, self._key.check))
        self._file.flush()
        if self._fsync is not Fsync.NEVER:
            os.fsync(self._file.fileno())
            _sync_directory(self.directory)
        self._tail = (path, HEADER_SIZE)


def _distinct(recording: Recording) -> Iterator[SignallingMessage]:
    seen: set[int] = set()
    for message, _ in (*recording.context, *recording.entries):
        if message.index not in seen:
            seen.add(message.index)
            yield message


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error.strerror}") from error


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
