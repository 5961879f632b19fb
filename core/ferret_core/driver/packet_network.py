"""What lies behind the PGW (SGi, TS 29.061): a TUN device, another host over UDP, or nothing that looks closer.

`UdpNetwork` is the lab's SGi: each IP packet travels as one UDP datagram to the next hop, and back. It needs no
privileges and works on any machine; it is no standard and nothing outside the lab speaks it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias

from ferret.errors import ConfigError
from ferret.transport.endpoint import Address, TransportError
from ferret.transport.udp import UdpTransport

Packets: TypeAlias = Callable[[bytes], None]
_TUN_DEVICE: Final = "/dev/net/tun"
_TUNSETIFF: Final = 0x400454CA
_IFF_TUN_NO_PI: Final = 0x1001
_MTU: Final = 65535
_BATCH: Final = 64


class PacketNetwork(ABC):
    """The packet data network of a PGW. `received` is called with each IP packet that comes from it."""

    received: Packets | None = None

    def __init__(self) -> None:
        self.sent = 0
        self.lost = 0

    @abstractmethod
    async def start(self) -> None:
        """Open it. Raises TransportError or ConfigError."""

    @abstractmethod
    def stop(self) -> None:
        """Close it; closing it again does nothing."""

    @abstractmethod
    def carry(self, packet: bytes) -> None:
        """Take a user's IP packet."""


class SinkNetwork(PacketNetwork):
    """Counts, and keeps the last packets for whoever wants to look (a probe, a test)."""

    def __init__(self, keep: int = 256) -> None:
        super().__init__()
        self.packets: deque[bytes] = deque(maxlen=keep)

    async def start(self) -> None:
        """There is nothing to open."""

    def stop(self) -> None:
        """There is nothing to close."""

    def carry(self, packet: bytes) -> None:
        """Keep it."""
        self.sent += 1
        self.packets.append(packet)


class UdpNetwork(PacketNetwork):
    """The lab's SGi: IP packets as UDP datagrams between `address` and `next_hop`."""

    def __init__(self, address: Address, next_hop: Address) -> None:
        super().__init__()
        self.address = address
        self._next_hop = next_hop
        self._socket: UdpTransport | None = None

    async def start(self) -> None:
        """Bind the socket."""
        self._socket = await UdpTransport.bind(*self.address, self._arrived)
        self.address = self._socket.address

    def stop(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def carry(self, packet: bytes) -> None:
        """Send it to the next hop."""
        if self._socket is not None and self._socket.send(packet, self._next_hop):
            self.sent += 1
        else:
            self.lost += 1

    def _arrived(self, octets: bytes, source: Address) -> None:
        if self.received is not None and source == self._next_hop:
            self.received(octets)


class TunNetwork(PacketNetwork):
    """A TUN device: the machine's own routing is the packet data network. Needs CAP_NET_ADMIN.

    The device is made if it is not there; its addresses and routes are the operator's (`ip addr`, `ip route`).
    """

    def __init__(self, name: str = "ferret0") -> None:
        super().__init__()
        if not 0 < len(name.encode()) < 16:
            raise ConfigError(f"TUN device name {name!r} is not 1 to 15 octets long")
        self.name = name
        self._file = -1

    async def start(self) -> None:
        """Attach to the device."""
        try:
            self._file = os.open(_TUN_DEVICE, os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(self._file, _TUNSETIFF, struct.pack("16sH22x", self.name.encode(), _IFF_TUN_NO_PI))
        except OSError as error:
            self.stop()
            raise TransportError(f"cannot open TUN device {self.name}: {error.strerror}") from error
        asyncio.get_running_loop().add_reader(self._file, self._readable)

    def stop(self) -> None:
        """Let go of the device; one that was made here goes with it."""
        if self._file >= 0:
            asyncio.get_running_loop().remove_reader(self._file)
            os.close(self._file)
            self._file = -1

    def carry(self, packet: bytes) -> None:
        """Hand it to the kernel."""
        try:
            os.write(self._file, packet)
        except OSError:  # the device is down, its queue is full, or this is no IP packet
            self.lost += 1
        else:
            self.sent += 1

    def _readable(self) -> None:
        for _ in range(_BATCH):
            try:
                packet = os.read(self._file, _MTU)
            except OSError:  # nothing more, or the device is down
                return
            if self.received is not None:
                self.received(packet)
