"""The packet socket: frames from network interfaces, with the kernel's time and the kernel's count of what it dropped.

AF_PACKET of the standard library (packet(7)). The filter is attached before the socket is bound, so that nothing else
is ever seen. A socket for several interfaces is bound to none and filters by interface, so that the frames of all of
them come in one order.

`SocketSource` here is the immediate way: each frame is there at once, and costs a system call. The buffered way is
`ferret_agents.live.ring`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from ferret.errors import ConfigError
from ferret_agents.live.bpf import REJECT_ALL, attach
from ferret_agents.live.filter import RAW_IP, Interface, Wanted, build
from ferret_agents.live.interfaces import is_up, link_type_of

LARGEST_FRAME: Final = 0x40000  # octets; segmentation offload makes frames of 64 kB and more
RECEIVE_BUFFER: Final = 8 << 20  # octets asked of the kernel
SOL_PACKET: Final = 263
NS_PER_S: Final = 1_000_000_000

_ETH_P_ALL: Final = 0x0003
_PACKET_ADD_MEMBERSHIP: Final = 1
_PACKET_MR_PROMISC: Final = 1
_PACKET_STATISTICS: Final = 6
_PACKET_FANOUT: Final = 18
_FANOUT_HASH: Final = 0
_FANOUT_FLAG_DEFRAG: Final = 0x8000
_SO_RCVBUFFORCE: Final = 33
_SO_RXQ_OVFL: Final = 40
_SO_TIMESTAMPNS_NEW: Final = 64
_TIMESPEC = struct.Struct("=qq")
_ADDRESS = struct.Struct("=HHi12x")  # sockaddr_ll
_MEMBERSHIP = struct.Struct("=iHH8x")  # packet_mreq
_COUNT = struct.Struct("=I")
_STATISTICS = struct.Struct("=II")
_ANCILLARY: Final = socket.CMSG_SPACE(_TIMESPEC.size) + socket.CMSG_SPACE(_COUNT.size)

Take: TypeAlias = Callable[[int, bytes, int, int], None]
"""Gets time (ns since the epoch), frame, its length on the wire, LINKTYPE_."""
Lost: TypeAlias = Callable[[int], None]
"""Gets how many frames the kernel has dropped just before the next one."""


class PacketSource(ABC):
    """Frames of some interfaces that pass a filter.

    `seen == frames + dropped + (what still waits in the kernel)` after `update`; `seen` and `dropped` are the kernel's.
    """

    def __init__(self, wanted: Wanted, interfaces: Sequence[Interface], *, fanout: int | None = None) -> None:
        """Open and bind the socket. Raises ConfigError where that is not permitted or an interface is gone.

        `fanout`: a number of 16 bits; sockets with the same one share the frames, each flow going to one of them.
        """
        self.frames = 0
        self.seen = 0
        self.dropped = 0
        self.interrupted = 0  # how often an interface went down
        self._told = 0  # of the dropped: those that `lost` was called for
        self._interfaces = tuple(interfaces)
        self._fanout = fanout
        self._socket = self._opened(wanted)

    def _opened(self, wanted: Wanted) -> socket.socket:
        program = build(wanted, self._interfaces)
        try:
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # protocol 0: nothing yet
        except PermissionError:
            raise ConfigError(
                "capturing from an interface needs CAP_NET_RAW: run it as root (with --user it gives that up again), "
                "give it the capability (AmbientCapabilities=CAP_NET_RAW), or try it inside "
                "'unshare --user --map-root-user --net'"
            ) from None
        try:
            sock.setblocking(False)
            self._prepare(sock)
            attach(sock, program)
            _bind(sock, self._interfaces[0].index if len(self._interfaces) == 1 else 0)
            if self._fanout is not None:
                share = (self._fanout & 0xFFFF) | (_FANOUT_HASH | _FANOUT_FLAG_DEFRAG) << 16
                sock.setsockopt(SOL_PACKET, _PACKET_FANOUT, struct.pack("=I", share))
            if wanted.mirrored:
                for interface in self._interfaces:
                    membership = _MEMBERSHIP.pack(interface.index, _PACKET_MR_PROMISC, 0)
                    sock.setsockopt(SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)
        except OSError as error:
            sock.close()
            names = ", ".join(interface.name for interface in self._interfaces)
            raise ConfigError(f"cannot capture from {names}: {error.strerror or error}") from None
        return sock

    @abstractmethod
    def _prepare(self, sock: socket.socket) -> None:
        """Set the socket up, before it sees anything. May raise OSError."""

    @abstractmethod
    def read(self, limit: int, take: Take, lost: Lost) -> bool:
        """Hand on some `limit` frames; whether none waits any more. Never blocks."""

    def fileno(self) -> int:
        """For the event loop: readable while a frame waits."""
        return self._socket.fileno()

    def _tell(self, dropped: int, lost: Lost) -> None:
        """`dropped` is the kernel's count since the socket was made, in 32 bits."""
        fresh = (dropped - self._told) & 0xFFFFFFFF
        if fresh:
            self._told += fresh
            lost(fresh)

    def update(self) -> None:
        """Ask the kernel for its counts, while there is a socket to ask about (PACKET_STATISTICS; it starts anew)."""
        if self._socket.fileno() < 0:
            return
        octets = self._socket.getsockopt(SOL_PACKET, _PACKET_STATISTICS, 16)
        seen, dropped = _STATISTICS.unpack_from(octets)
        self.seen += seen
        self.dropped += dropped

    @property
    def unread(self) -> int:
        """Frames that the kernel still holds, after `update`."""
        return self.seen - self.dropped - self.frames

    def finish(self, lost: Lost) -> None:
        """Once nothing waits any more: tell what was dropped behind the last frame."""
        self.update()
        self._tell(self.dropped & 0xFFFFFFFF, lost)

    @property
    def down(self) -> tuple[str, ...]:
        """The interfaces that are down or gone; all of them once the socket is closed."""
        return tuple(one.name for one in self._interfaces if not is_up(one.name, self._socket))

    def refilter(self, wanted: Wanted) -> None:
        """Change the filter at once, without losing a frame. Raises ConfigError."""
        attach(self._socket, build(wanted, self._interfaces))

    def shut(self) -> None:
        """Take no further frame; those that wait can still be read."""
        attach(self._socket, REJECT_ALL)

    def close(self) -> None:
        """Close the socket. Closing twice does no harm."""
        self._socket.close()


class SocketSource(PacketSource):
    """Each frame as it comes, by recvmsg(2)."""

    def __init__(
        self,
        wanted: Wanted,
        interfaces: Sequence[Interface],
        *,
        receive_buffer: int = RECEIVE_BUFFER,
        fanout: int | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """`receive_buffer`: octets asked of the kernel."""
        self._clock = clock
        self._receive_buffer = receive_buffer
        self._buffer = bytearray(LARGEST_FRAME)
        self._view = memoryview(self._buffer)
        super().__init__(wanted, interfaces, fanout=fanout)

    def _prepare(self, sock: socket.socket) -> None:
        _widen(sock, self._receive_buffer)
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS_NEW, 1)
        sock.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)

    def read(self, limit: int, take: Take, lost: Lost) -> bool:
        """See `PacketSource.read`."""
        receive, buffers, view = self._socket.recvmsg_into, [self._buffer], self._view
        for _ in range(limit):
            try:
                length, ancillary, _, address = receive(buffers, _ANCILLARY, socket.MSG_TRUNC)
            except (BlockingIOError, InterruptedError):
                return True
            except OSError as error:
                if error.errno != errno.ENETDOWN:  # which is told once; the socket lives on for when it is up again
                    raise
                self.interrupted += 1
                continue
            at_ns = 0
            for _, kind, data in ancillary:
                if kind == _SO_TIMESTAMPNS_NEW:
                    seconds, nanoseconds = _TIMESPEC.unpack(data)
                    at_ns = seconds * NS_PER_S + nanoseconds
                elif kind == _SO_RXQ_OVFL:
                    self._tell(_COUNT.unpack(data)[0], lost)
            self.frames += 1
            take(at_ns or self._clock(), bytes(view[:length]), length, link_type_of(address[3]) or RAW_IP)
        return False


def _bind(sock: socket.socket, index: int) -> None:
    """Begin to capture from an interface, 0: from all. By the C library: Python's `bind` has no name for all."""
    address = _ADDRESS.pack(socket.AF_PACKET, socket.htons(_ETH_P_ALL), index)
    library = ctypes.CDLL(None, use_errno=True)
    if library.bind(sock.fileno(), address, len(address)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _widen(sock: socket.socket, octets: int) -> None:
    """A large receive buffer: beyond the system's limit where that is permitted, else up to it."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, octets)
    except OSError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, octets)
