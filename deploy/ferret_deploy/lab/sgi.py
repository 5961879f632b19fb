"""SGi of a place: what its PGW sends goes to the WAN, and what the WAN has for its subscribers comes to the PGW.

No kernel's IP stack takes part: packets are put on the wire `sgi0`, and taken from it, as Ethernet frames.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final

from ferret.transport.endpoint import TransportError, widen
from ferret_core.driver.packet_network import PacketNetwork
from ferret_deploy.lab.places import SGI_INTERFACE, Place
from ferret_deploy.lab.wire import IPV4, IPV6, LARGEST_FRAME, open_wire

_HEAD: Final = bytes((2, 0xFE, 0, 0, 0, 0)) + bytes((2, 0xFE, 0, 0, 2, 0))
_BATCH: Final = 64


class SgiNetwork(PacketNetwork):
    """The packet data network of the PGW of a place that has subscribers."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self._place = place
        self._socket: socket.socket | None = None

    async def start(self) -> None:
        """Open the wire. Raises TransportError."""
        try:
            with self._place.inside():
                sock = open_wire(SGI_INTERFACE)
        except OSError as error:
            raise TransportError(f"cannot open {SGI_INTERFACE} of {self._place.name}: {error.strerror}") from error
        widen(sock)
        sock.setblocking(False)
        self._socket = sock
        asyncio.get_running_loop().add_reader(sock, self._readable)

    def stop(self) -> None:
        """Close it; closing it again does nothing."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def carry(self, packet: bytes) -> None:
        """Put a user's IP packet on the wire."""
        kind = IPV6 if packet[:1] and packet[0] >> 4 == 6 else IPV4
        try:
            if self._socket is None:
                raise OSError("not open")
            self._socket.send(_HEAD + kind + packet)
        except OSError:  # not open, longer than the wire takes, or the wire is busy
            self.lost += 1
        else:
            self.sent += 1

    def _readable(self) -> None:
        for _ in range(_BATCH):
            if self._socket is None:
                return
            try:
                frame = self._socket.recv(LARGEST_FRAME)
            except OSError:  # nothing more
                return
            if frame[12:14] in (IPV4, IPV6) and self.received is not None:
                self.received(frame[14:])
