"""Writing pcapng files (draft-ietf-opsawg-pcapng): frames of several interfaces in the order of their times."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import BinaryIO, Final

_SECTION, _INTERFACE, _ENHANCED_PACKET = 0x0A0D0D0A, 1, 6
_BYTE_ORDER: Final = 0x1A2B3C4D
_ETHERNET: Final = 1
_IF_NAME, _IF_TSRESOL, _NANOSECONDS = 2, 9, b"\x09"
_SETTLED_NS: Final = 250_000_000  # ns after which nothing older will come


class PcapngWriter:
    """Writes frames to a file that the caller opened and closes."""

    def __init__(self, file: BinaryIO, interfaces: Sequence[str]) -> None:
        self.frames = 0
        self._file = file
        self._waiting: list[tuple[int, int, int, bytes]] = []  # ns, serial number, interface, frame
        file.write(_block(_SECTION, struct.pack("=IHHq", _BYTE_ORDER, 1, 0, -1)))
        for name in interfaces:
            options = _option(_IF_NAME, name.encode()) + _option(_IF_TSRESOL, _NANOSECONDS) + bytes(4)
            file.write(_block(_INTERFACE, struct.pack("=HHI", _ETHERNET, 0, 0) + options))

    def put(self, interface: int, captured_at_ns: int, frame: bytes) -> None:
        """Take a frame of an interface; it is written once nothing older can come."""
        self.frames += 1
        heappush(self._waiting, (captured_at_ns, self.frames, interface, frame))
        while self._waiting[0][0] < captured_at_ns - _SETTLED_NS:
            self._write()

    def finish(self) -> None:
        """Write what still waits."""
        while self._waiting:
            self._write()
        self._file.flush()

    def _write(self) -> None:
        stamp, _, interface, frame = heappop(self._waiting)
        head = struct.pack("=IIIII", interface, stamp >> 32, stamp & 0xFFFFFFFF, len(frame), len(frame))
        self._file.write(_block(_ENHANCED_PACKET, head + frame + bytes(-len(frame) % 4)))


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack("=I", len(body) + 12)
    return struct.pack("=I", kind) + length + body + length


def _option(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", kind, len(value)) + value + bytes(-len(value) % 4)
