"""Ethernet frames at an interface, as they come in."""

from __future__ import annotations

import socket
from typing import Final

IPV4: Final = b"\x08\x00"
"""EtherType (IEEE 802)."""
IPV6: Final = b"\x86\xdd"
_ETH_P_ALL: Final = 3
_SOL_PACKET, _PACKET_IGNORE_OUTGOING = 263, 23


def open_wire(interface: str) -> socket.socket:
    """A socket for every frame that comes in at an interface of the calling thread's namespace. Raises OSError."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    try:
        sock.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        sock.bind((interface, _ETH_P_ALL))
    except OSError:
        sock.close()
        raise
    return sock
