"""Captured frames in pcapng files that follow each other, the oldest removed, with the names of NFs in each.

draft-ietf-opsawg-pcapng: section header, one interface description for each kind of frame, a name resolution block
(so that Wireshark shows "MME" for an address), enhanced packets with nanoseconds. Every file can be read by itself.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from ferret.errors import ConfigError
from ferret_agents.live.background import Background

_SECTION, _INTERFACE, _NAMES, _PACKET = 0x0A0D0D0A, 1, 4, 6
_BYTE_ORDER: Final = 0x1A2B3C4D
_IF_NAME, _IF_TSRESOL, _SHB_USERAPPL = 2, 9, 4
_IPV4_NAME, _IPV6_NAME = 1, 2
_MOST_WAITING: Final = 20_000  # frames


class Frame(NamedTuple):
    """One frame, as the agent has taken it."""

    at_ns: int
    octets: bytes
    wire_length: int
    link_type: int


@dataclass(frozen=True, slots=True)
class FilesConfig:
    """Where, how large, how many."""

    directory: Path
    file_octets: int = 100 << 20
    files: int = 10
    names: Mapping[str, str] = field(default_factory=dict)  # address -> name of the NF


class PcapngFiles:
    """Writes to NAME-000001.pcapng and on; `put` never waits."""

    def __init__(self, config: FilesConfig, name: str, interface: str) -> None:
        """Raises ConfigError where the directory cannot be written to."""
        self._config = config
        self._stem = name.replace("/", "_").replace(":", "_")
        self._interface = interface
        self._file: BinaryIO | None = None
        self._size = 0
        self._link_types: dict[int, int] = {}
        try:
            config.directory.mkdir(parents=True, exist_ok=True)
            there = self._there()
            self._number = int(there[-1].stem.rpartition("-")[2]) if there else 0
            self._next_file()
        except OSError as error:
            raise ConfigError(f"{config.directory}: no pcapng files can be written there: {error.strerror}") from None
        self.work: Background[Frame] = Background("pcapng", self._write, most=_MOST_WAITING)

    def put(self, frames: Sequence[Frame]) -> None:
        """Write these, some time soon."""
        self.work.offer(frames)

    def _there(self) -> list[Path]:
        found = self._config.directory.glob(f"{self._stem}-*.pcapng")
        return sorted(path for path in found if path.stem.rpartition("-")[2].isdigit())

    def _next_file(self) -> None:
        if self._file is not None:
            self._file.close()
        self._number += 1
        path = self._config.directory / f"{self._stem}-{self._number:06d}.pcapng"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._file = os.fdopen(descriptor, "wb")
        self._size = 0
        self._link_types = {}
        application = _option(_SHB_USERAPPL, b"ferret agent") + bytes(4)
        self._put_block(_SECTION, struct.pack("=IHHq", _BYTE_ORDER, 1, 0, -1) + application)
        if self._config.names:
            self._put_block(_NAMES, _name_records(self._config.names))
        for old in self._there()[: -self._config.files]:
            with contextlib.suppress(OSError):
                old.unlink()

    def _write(self, frames: Sequence[Frame]) -> int:
        """In the thread: all of them, or OSError."""
        for frame in frames:
            if self._size >= self._config.file_octets:
                self._next_file()
            if frame.link_type not in self._link_types:
                self._link_types[frame.link_type] = len(self._link_types)
                options = _option(_IF_NAME, self._interface.encode()) + _option(_IF_TSRESOL, b"\x09") + bytes(4)
                self._put_block(_INTERFACE, struct.pack("=HHI", frame.link_type, 0, 0) + options)
            head = struct.pack(
                "=IIIII", self._link_types[frame.link_type], frame.at_ns >> 32, frame.at_ns & 0xFFFFFFFF,
                len(frame.octets), frame.wire_length,
            )  # fmt: skip
            self._put_block(_PACKET, head + frame.octets + bytes(-len(frame.octets) % 4))
        if self._file is not None:
            self._file.flush()
        return len(frames)

    def _put_block(self, kind: int, body: bytes) -> None:
        length = struct.pack("=I", len(body) + 12)
        if self._file is not None:
            self._size += self._file.write(struct.pack("=I", kind) + length + body + length)

    def close(self) -> None:
        """Write what waits, and close the file."""
        self.work.close()
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None


def _option(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", kind, len(value)) + value + bytes(-len(value) % 4)


def _name_records(names: Mapping[str, str]) -> bytes:
    records = b""
    for address, name in names.items():
        parsed = ipaddress.ip_address(address)
        value = parsed.packed + name.encode() + b"\0"
        records += _option(_IPV4_NAME if parsed.version == 4 else _IPV6_NAME, value)
    return records + bytes(4)
