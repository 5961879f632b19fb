"""Datagrams: one socket at one address."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable

from ferret.transport.endpoint import Address, Counters, family_of, open_failed, plain, widen

_BATCH = 64  # datagrams read before the event loop gets its turn
_LARGEST = 65536  # octets: more than any UDP payload


class UdpTransport:
    """A bound UDP socket. `received(octets, source)` is called once per datagram, in order of arrival.

    A datagram that the kernel will not take at once waits, at most `queue_limit` of them; beyond that `send` refuses.
    """

    def __init__(
        self, sock: socket.socket, received: Callable[[bytes, Address], None], *, queue_limit: int = 4096
    ) -> None:
        self._socket = sock
        self._received = received
        self._queue_limit = queue_limit
        self._waiting: deque[tuple[bytes, Address]] = deque()
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self.counters = Counters()
        self.address = plain(sock.getsockname())
        self._loop.add_reader(sock.fileno(), self._readable)

    @classmethod
    async def bind(
        cls,
        address: str,
        port: int,
        received: Callable[[bytes, Address], None],
        *,
        queue_limit: int = 4096,
    ) -> UdpTransport:
        """Open a socket at `address` (a literal); `port` 0 lets the system choose. Raises TransportError."""
        sock = socket.socket(family_of(address), socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            widen(sock)
            sock.bind((address, port))
        except OSError as error:
            sock.close()
            raise open_failed("cannot bind UDP", (address, port), error) from error
        return cls(sock, received, queue_limit=queue_limit)

    def send(self, octets: bytes, destination: Address) -> bool:
        """Send one datagram. False, and counted, where it cannot be kept any more."""
        if self._closed:
            self.counters.refused += 1
            return False
        if self._waiting:
            return self._keep(octets, destination)
        return self._transmit(octets, destination) or self._keep(octets, destination)

    def close(self) -> None:
        """Close the socket; what still waits is counted as lost. Calling it again does nothing."""
        if self._closed:
            return
        self._closed = True
        self.counters.lost += len(self._waiting)
        self._waiting.clear()
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()

    def _transmit(self, octets: bytes, destination: Address) -> bool:
        """Whether the kernel took it, or will never take it."""
        try:
            self._socket.sendto(octets, destination)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:  # too long, no route, or a port unreachable of an earlier datagram: UDP promises nothing
            self.counters.lost += 1
            return True
        self.counters.sent += 1
        return True

    def _keep(self, octets: bytes, destination: Address) -> bool:
        if len(self._waiting) >= self._queue_limit:
            self.counters.refused += 1
            return False
        if not self._waiting:
            self._loop.add_writer(self._socket.fileno(), self._writable)
        self._waiting.append((octets, destination))
        return True

    def _writable(self) -> None:
        while self._waiting:
            if not self._transmit(*self._waiting[0]):
                return
            self._waiting.popleft()
        self._loop.remove_writer(self._socket.fileno())

    def _readable(self) -> None:
        for _ in range(_BATCH):
            if self._closed:  # by the callback
                return
            try:
                octets, source = self._socket.recvfrom(_LARGEST)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:  # an ICMP error about an earlier datagram; the next one may well be there
                continue
            self.counters.received += 1
            self._received(octets, plain(source))
