"""Ethernet frames at an interface, as they come in, and when they came."""

from __future__ import annotations

import fcntl
import socket
import struct
import time
from typing import Final

IPV4: Final = b"\x08\x00"
"""EtherType (IEEE 802)."""
IPV6: Final = b"\x86\xdd"
_ETH_P_ALL: Final = 3
_SOL_PACKET, _PACKET_STATISTICS, _PACKET_IGNORE_OUTGOING = 263, 6, 23
_SIOCGSTAMPNS: Final = 0x8907  # linux/sockios.h
_TIMESPEC = struct.Struct("=qq")
LARGEST_FRAME: Final = 65600
"""Octets: more than any frame has."""


def open_wire(interface: str) -> socket.socket:
    """A socket for every frame that comes in at an interface of the calling thread's namespace. Raises OSError."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    try:
        sock.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        stamp_ns(sock)  # there is nothing yet, but from now on the kernel stamps what comes
        sock.bind((interface, _ETH_P_ALL))
    except OSError:
        sock.close()
        raise
    return sock


def stamp_ns(sock: socket.socket) -> int:
    """When the frame that was read last reached the kernel: ns since 1970, as the machine's clock has it."""
    try:
        seconds, nanoseconds = _TIMESPEC.unpack(fcntl.ioctl(sock, _SIOCGSTAMPNS, bytes(16)))
    except OSError:
        return time.time_ns()
    return int(seconds * 1_000_000_000 + nanoseconds)


def take_overrun(sock: socket.socket) -> int:
    """Frames that came faster than they were read since the last time of asking."""
    return int(struct.unpack("=II", sock.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))[1])
