"""Reading pcap and pcapng files.

pcap: draft-ietf-opsawg-pcap; microsecond and nanosecond files of both byte orders, and Kuznetzov's variant.
pcapng: draft-ietf-opsawg-pcapng; several sections and interfaces, Enhanced, Simple and the old Packet Block; every
other block is skipped, but for what Interface Statistics say was dropped. Either may be compressed with gzip.

Memory stays bounded: a file is read in pieces of `CHUNK` octets, and no record may be longer than `MAX_RECORD`.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from ferret.errors import RecordError
from ferret_agents.capture.gunzip import Gunzip
from ferret_agents.capture.ledger import DAMAGED, Ledger

CHUNK = 1 << 20
MAX_RECORD = 1 << 20  # octets of one packet; libpcap's own limit is 262144
MAX_BLOCK = 1 << 24  # octets of one pcapng block

_GZIP_MAGIC = b"\x1f\x8b"
_SECTION_HEADER = b"\x0a\x0d\x0d\x0a"
_PCAP_MAGICS = {  # magic -> (byte order, nanoseconds per unit of the fraction, octets of a record header)
    b"\xa1\xb2\xc3\xd4": (">", 1000, 16),
    b"\xd4\xc3\xb2\xa1": ("<", 1000, 16),
    b"\xa1\xb2\x3c\x4d": (">", 1, 16),
    b"\x4d\x3c\xb2\xa1": ("<", 1, 16),
    b"\xa1\xb2\xcd\x34": (">", 1000, 24),
    b"\x34\xcd\xb2\xa1": ("<", 1000, 24),
}
_IDB, _OPB, _SPB, _ISB, _EPB = 1, 2, 3, 5, 6
_OPT_TSRESOL, _OPT_TSOFFSET = 9, 14
_OPT_ISB_IFDROP, _OPT_ISB_OSDROP = 5, 7


class Record(NamedTuple):
    """One captured frame."""

    frame: int  # from 1
    captured_at_ns: int  # since the epoch
    link_type: int  # LINKTYPE_ value of the tcpdump registry
    octets: bytes
    wire_length: int  # octets it had on the wire; more than are here where a snaplen cut it


class _Interface(NamedTuple):
    link_type: int
    snaplen: int
    units_per_second: int
    offset_ns: int


class Readable(Protocol):
    """What captures are read from."""

    def read(self, octets: int, /) -> bytes:
        """Up to so many octets; none at the end."""


class _Source:
    """A file read in large pieces, with the octets at hand as one buffer."""

    def __init__(self, stream: Readable, ledger: Ledger) -> None:
        self._stream = stream
        self._ledger = ledger
        self.buffer = b""
        self.at = 0

    def has(self, octets: int) -> bool:
        """Whether that many octets are at hand; reads on for them."""
        missing = octets - (len(self.buffer) - self.at)
        if missing <= 0:
            return True
        pieces = [self.buffer[self.at :]]
        while missing > 0:
            piece = self._read(max(CHUNK, missing))
            if not piece:
                break
            pieces.append(piece)
            missing -= len(piece)
        self.buffer = b"".join(pieces)
        self.at = 0
        return missing <= 0

    def left(self) -> int:
        """Octets at hand."""
        return len(self.buffer) - self.at

    def _read(self, octets: int) -> bytes:
        try:
            return self._stream.read(octets)
        except (OSError, EOFError) as error:
            self._ledger.report(0, f"the file cannot be read to its end: {error}")
            return b""


def open_capture(path: Path) -> BinaryIO | Gunzip:
    """Open a capture file, through gzip where its first octets say so.

    Raises RecordError if the file cannot be opened or read, or is empty.
    """
    try:
        stream = path.open("rb")
        magic = stream.read(2)
        stream.seek(0)
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not magic:
        stream.close()
        raise RecordError(f"{path}: the file is empty")
    if magic == _GZIP_MAGIC:
        return Gunzip(stream)
    return stream


def records(stream: Readable, ledger: Ledger, name: str = "capture") -> Iterator[Record]:
    """Every frame of a pcap or pcapng file, in file order.

    What is wrong within the file (a truncated end, a broken block) is reported to the ledger and ends reading.
    Raises RecordError if it is not a capture at all.
    """
    source = _Source(stream, ledger)
    if not source.has(1):
        raise RecordError(f"{name}: the file is empty" if not ledger.damage else f"{name}: {ledger.damage[0].what}")
    magic = source.buffer[:4] if source.has(4) else b""
    if magic == _SECTION_HEADER:
        if not source.has(28):
            raise RecordError(f"{name}: the file ends within its pcapng section header")
        yield from _pcapng(source, ledger, name)
    elif magic in _PCAP_MAGICS:
        if not source.has(24):
            raise RecordError(f"{name}: the file ends within its pcap header")
        yield from _pcap(source, ledger, *_PCAP_MAGICS[magic])
    else:
        raise RecordError(f"{name}: not a capture file (neither pcap nor pcapng)")


def _pcap(source: _Source, ledger: Ledger, order: str, nanoseconds: int, header: int) -> Iterator[Record]:
    link_type = struct.unpack_from(order + "I", source.buffer, 20)[0] & 0xFFFF  # above: FCS length, draft section 4
    source.at = 24
    unpack = struct.Struct(order + "IIII").unpack_from
    frame = 0
    while source.has(header):
        seconds, fraction, length, wire_length = unpack(source.buffer, source.at)
        frame += 1
        if length > MAX_RECORD:
            _broken(ledger, frame, f"a packet of {length} octets: the file is broken here, nothing after it was read")
            return
        if not source.has(header + length):
            _broken(ledger, frame, f"the file ends within this packet ({source.left() - header} of {length} octets)")
            return
        start = source.at + header
        source.at = end = start + length
        yield Record(
            frame,
            seconds * 1_000_000_000 + fraction * nanoseconds,
            link_type,
            source.buffer[start:end],
            wire_length if wire_length > length else length,
        )
    if source.left():
        _broken(ledger, frame + 1, f"the file ends within a packet header ({source.left()} of {header} octets)")


def _broken(ledger: Ledger, frame: int, what: str) -> None:
    ledger.begin(frame)
    ledger.report(frame, what)
    ledger.end(frame, DAMAGED)


class _Section:
    """What the Section Header Block and the blocks after it have said so far."""

    def __init__(self, order: str) -> None:
        self.order = order
        self.interfaces: list[_Interface] = []
        self.head = struct.Struct(order + "II").unpack_from
        self.enhanced = struct.Struct(order + "IIIII").unpack_from
        self.old = struct.Struct(order + "HHIIII").unpack_from


def _pcapng(source: _Source, ledger: Ledger, name: str) -> Iterator[Record]:
    section = _Section(_byte_order(source.buffer[8:12]) or "<")
    frame = 0
    last_ns = 0
    while source.has(12):
        if source.buffer[source.at : source.at + 4] == _SECTION_HEADER:
            order = _byte_order(source.buffer[source.at + 8 : source.at + 12])
            if order is None:
                if not frame:
                    raise RecordError(f"{name}: not a capture file (a pcapng section header without its magic)")
                _broken(ledger, frame + 1, "a pcapng section header without its magic: nothing after it was read")
                return
            section = _Section(order)
        kind, length = section.head(source.buffer, source.at)
        if length < 12 or length > MAX_BLOCK:
            _broken(ledger, frame + 1, f"a pcapng block of {length} octets: nothing after it was read")
            return
        if not source.has(length):
            _broken(ledger, frame + 1, f"the file ends within this block ({source.left()} of {length} octets)")
            return
        body, end = source.at + 8, source.at + length - 4
        source.at += (length + 3) & ~3
        if kind in (_EPB, _OPB, _SPB):
            frame += 1
            record = _packet(section, kind, source.buffer, body, end, frame, last_ns)
            if isinstance(record, str):
                _broken(ledger, frame, record)
                continue
            last_ns = record.captured_at_ns
            yield record
        elif kind == _IDB:
            section.interfaces.append(_interface(section.order, source.buffer, body, end))
        elif kind == _ISB:
            _statistics(section.order, source.buffer, body, end, frame, ledger)
    if source.left() > 0:
        _broken(ledger, frame + 1, f"the file ends within a block header ({source.left()} of 12 octets)")


def _byte_order(magic: bytes) -> str | None:
    return {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}.get(magic)


def _packet(section: _Section, kind: int, buffer: bytes, body: int, end: int, frame: int, last_ns: int) -> Record | str:
    """The packet of an Enhanced, old or Simple Packet Block; a string says what is wrong with it."""
    if kind == _SPB:
        return _simple_packet(section, buffer, body, end, frame, last_ns)
    if end - body < 20:
        return "a pcapng packet block without its header"
    if kind == _EPB:
        index, high, low, length, wire_length = section.enhanced(buffer, body)
    else:
        index, _, high, low, length, wire_length = section.old(buffer, body)
    start = body + 20
    if index >= len(section.interfaces):
        return f"a packet of interface {index}, which the capture does not describe"
    if start + length > end:
        return f"a packet of {length} octets in a block with room for {end - start}"
    interface = section.interfaces[index]
    units = interface.units_per_second
    ticks = (high << 32) | low
    nanoseconds = (
        ticks * (1_000_000_000 // units)
        if units <= 1_000_000 and 1_000_000 % units == 0
        else (ticks * 1_000_000_000 // units)
    )
    return Record(
        frame,
        nanoseconds + interface.offset_ns,
        interface.link_type,
        buffer[start : start + length],
        wire_length if wire_length > length else length,
    )


def _simple_packet(section: _Section, buffer: bytes, body: int, end: int, frame: int, last_ns: int) -> Record | str:
    """A Simple Packet Block: of interface 0, without a time; it gets that of the packet before it."""
    if end - body < 4 or not section.interfaces:
        return "a pcapng packet block without its header or interface"
    interface = section.interfaces[0]
    (wire_length,) = struct.unpack_from(section.order + "I", buffer, body)
    length = min(wire_length, end - body - 4, interface.snaplen or wire_length)
    return Record(frame, last_ns, interface.link_type, buffer[body + 4 : body + 4 + length], wire_length)


def _interface(order: str, buffer: bytes, body: int, end: int) -> _Interface:
    if end - body < 8:
        return _Interface(-1, 0, 1_000_000, 0)
    link_type, _, snaplen = struct.unpack_from(order + "HHI", buffer, body)
    units, offset_ns = 1_000_000, 0
    for code, value in _options(order, buffer, body + 8, end):
        if code == _OPT_TSRESOL and len(value) == 1:
            units = 1 << (value[0] & 0x7F) if value[0] & 0x80 else 10 ** min(value[0], 30)
        elif code == _OPT_TSOFFSET and len(value) == 8:
            offset_ns = struct.unpack(order + "q", value)[0] * 1_000_000_000
    return _Interface(link_type, snaplen, units, offset_ns)


def _statistics(order: str, buffer: bytes, body: int, end: int, frame: int, ledger: Ledger) -> None:
    """What was dropped while capturing is a hole that no protocol shows."""
    for code, value in _options(order, buffer, body + 12, end):
        if code in (_OPT_ISB_IFDROP, _OPT_ISB_OSDROP) and len(value) == 8:
            dropped = struct.unpack(order + "Q", value)[0]
            if dropped:
                ledger.report(frame, f"{dropped} packets were dropped while capturing")


def _options(order: str, buffer: bytes, at: int, end: int) -> Iterator[tuple[int, bytes]]:
    while at + 4 <= end:
        code, length = struct.unpack_from(order + "HH", buffer, at)
        if code == 0 or at + 4 + length > end:
            return
        yield code, buffer[at + 4 : at + 4 + length]
        at += 4 + ((length + 3) & ~3)


def from_octets(octets: bytes, ledger: Ledger) -> Iterator[Record]:
    """The frames of a capture file held in memory. Raises RecordError like `records`."""
    return records(io.BytesIO(octets), ledger)
