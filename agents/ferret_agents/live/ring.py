"""The buffered way to capture: a ring that the kernel fills and this process reads in place (TPACKET_V3).

Documentation/networking/packet_mmap.rst, linux/if_packet.h. The ring is made of blocks; the kernel hands a block over
when it is full, or when its time is up. So frames cost no system call each, and are up to that time late. A frame is
never larger than a block.
"""

from __future__ import annotations

import errno
import mmap
import socket
import struct
from collections.abc import Sequence
from typing import Final

from ferret_agents.live.filter import RAW_IP, Interface, Wanted
from ferret_agents.live.interfaces import link_type_of
from ferret_agents.live.packets import NS_PER_S, SOL_PACKET, Lost, PacketSource, Take

RING: Final = 8 << 20  # octets
PERIOD_MS: Final = 2  # waking up is what costs: docs/performance.md has the figures of 1 ms too
BLOCK: Final = 256 << 10  # octets; segmentation offload makes frames of 64 kB and more
_FRAME: Final = 2048  # octets; the kernel wants to be told, and makes no use of it
_PACKET_RX_RING, _PACKET_VERSION, _TPACKET_V3 = 5, 10, 2
_RING_REQUEST = struct.Struct("=7I")  # tpacket_req3
_STATUS = struct.Struct("=I")
_STATUS_AT: Final = 8  # tpacket_block_desc: version, offset of private data, then tpacket_hdr_v1
_BLOCK_HEAD = struct.Struct("=3I")  # its status, number of packets, offset of the first
# tpacket3_hdr: next, seconds, nanoseconds, captured and real length, status, where the frame begins; then, in
# sockaddr_ll, which stands 48 octets behind it, the hardware type
_PACKET = struct.Struct("=6IH30xH")
_USER, _LOSING = 1, 4  # TP_STATUS_


class RingSource(PacketSource):
    """Frames out of a ring. `period_ms`: how late a frame can be, in milliseconds."""

    def __init__(
        self,
        wanted: Wanted,
        interfaces: Sequence[Interface],
        *,
        ring: int = RING,
        period_ms: int = PERIOD_MS,
        fanout: int | None = None,
    ) -> None:
        """`ring`: octets, at least those of two blocks; that much memory is never swapped out."""
        self._blocks = max(2, ring // BLOCK)
        self._period_ms = max(1, period_ms)
        self._block = 0  # the next one to be handed over
        self._packets = 0  # of it, still to be read
        self._at = 0  # the next of these
        self._owed: int | None = None  # blocks to be read before what was dropped behind them is told
        self._memory: mmap.mmap | None = None
        super().__init__(wanted, interfaces, fanout=fanout)
        try:
            self._memory = mmap.mmap(self._socket.fileno(), self._blocks * BLOCK)
        except OSError:
            self._socket.close()
            raise

    def _prepare(self, sock: socket.socket) -> None:
        sock.setsockopt(SOL_PACKET, _PACKET_VERSION, _TPACKET_V3)
        frames = self._blocks * (BLOCK // _FRAME)
        request = _RING_REQUEST.pack(BLOCK, self._blocks, _FRAME, frames, self._period_ms, 0, 0)
        sock.setsockopt(SOL_PACKET, _PACKET_RX_RING, request)

    def read(self, limit: int, take: Take, lost: Lost) -> bool:
        """See `PacketSource.read`. Stops within a block where that has more than `limit` frames."""
        memory = self._memory
        if memory is None:
            return True
        while limit > 0:
            if not self._packets:
                if self._owed == 0:
                    self._tell_all(lost)
                if not self._open_block(memory):
                    self._look_at_interface()
                    return True
            number = min(limit, self._packets)
            limit -= number
            self._read_packets(memory, number, take, lost)
            if not self._packets:
                _STATUS.pack_into(memory, self._block * BLOCK + _STATUS_AT, 0)  # it is the kernel's again
                self._block = (self._block + 1) % self._blocks
                if self._owed:
                    self._owed -= 1
        return False

    def _look_at_interface(self) -> None:
        if self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ENETDOWN:
            self.interrupted += 1

    def _open_block(self, memory: mmap.mmap) -> bool:
        start = self._block * BLOCK
        status, packets, first = _BLOCK_HEAD.unpack_from(memory, start + _STATUS_AT)
        if not status & _USER:
            return False
        self._packets, self._at = packets, start + first
        return True

    def _read_packets(self, memory: mmap.mmap, number: int, take: Take, lost: Lost) -> None:
        at, unpack, known, link_type = self._at, _PACKET.unpack_from, -1, RAW_IP
        for _ in range(number):
            following, seconds, nanoseconds, captured, length, status, mac, hardware = unpack(memory, at)
            if status & _LOSING:
                self._dropped_before(lost)
            if hardware != known:  # as a rule they are all of one interface
                known, link_type = hardware, link_type_of(hardware) or RAW_IP
            begin = at + mac
            take(seconds * NS_PER_S + nanoseconds, memory[begin : begin + captured], length, link_type)
            at += following
        self.frames += number
        self._packets -= number
        self._at = at

    def _dropped_before(self, lost: Lost) -> None:
        """The kernel had dropped frames when it kept this one, and nobody had asked how many since."""
        super().update()
        self._tell_all(lost)

    def _tell_all(self, lost: Lost) -> None:
        self._owed = None
        self._tell(self.dropped & 0xFFFFFFFF, lost)

    def update(self) -> None:
        """See `PacketSource.update`. What was dropped lies behind every block that waits to be read.

        Asking takes the mark away from the frames that come after; so this is where it is kept in mind.
        """
        super().update()
        if self._memory is not None and self._owed is None and self.dropped & 0xFFFFFFFF != self._told & 0xFFFFFFFF:
            starts = range(_STATUS_AT, self._blocks * BLOCK, BLOCK)
            self._owed = sum(_STATUS.unpack_from(self._memory, at)[0] & _USER for at in starts)

    def close(self) -> None:
        """See `PacketSource.close`."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None
        super().close()
