"""Sockets that carry SCTP packets: raw IP, or UDP after RFC 6951; one per local address."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Callable
from typing import Final

from ferret.errors import ConfigError
from ferret.transport.endpoint import Address, family_of, open_failed, widen

IPPROTO_SCTP: Final = 132
_BATCH: Final = 64  # packets read before the event loop gets its turn
_IP_MTU_DISCOVER: Final = 10
_IP_RECVERR: Final = 11
_IPV6_RECVERR: Final = 25
_MSG_ERRQUEUE: Final = 0x2000
_EXTENDED_ERROR = struct.Struct("=IBBBxII")  # errno, origin, type, code, info, data (linux/errqueue.h)
_UNREACHABLE: Final = {(2, 3, 2), (2, 3, 3), (3, 1, 4), (3, 4, 1)}  # origin (ICMP, ICMPv6), type, code


def why_not_raw() -> str:
    """Why raw IP cannot be used; "" where it can."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, IPPROTO_SCTP).close()
    except OSError:
        return "raw sockets are not permitted (they need CAP_NET_RAW)"
    return ""


class PacketSocket:
    """Carries SCTP packets from and to one local address. Over raw IP, the port of an `Address` is 0.

    `received(packet, source)` gets each packet; `unreachable(start, destination)` the start of a packet of ours for
    which the other host sent an ICMP "protocol unreachable" or "port unreachable".
    """

    def __init__(
        self,
        host: str,
        udp_port: int | None,
        received: Callable[[bytes, Address], None],
        unreachable: Callable[[bytes, Address], None],
    ) -> None:
        """`udp_port` None: raw IP. Raises TransportError, or ConfigError where it is not permitted."""
        self._raw = udp_port is None
        self._socket = _open(host, udp_port)
        self._strip = self._raw and self._socket.family == socket.AF_INET  # IPv4 raw sockets show the IP header
        self._received = received
        self._unreachable = unreachable
        self._has_errors = False
        # An event loop that is told of an error on a file descriptor may stop to poll it (libuv does). This one is
        # readable when the socket has packets or errors, and never has an error itself.
        self._ready = select.epoll()
        self._ready.register(self._socket, select.EPOLLIN)

    def fileno(self) -> int:
        """For the event loop: readable when `read` has something to do."""
        return self._ready.fileno()

    def close(self) -> None:
        """Close it."""
        self._ready.close()
        self._socket.close()

    def send(self, packet: bytes, destination: Address) -> bool:
        """Whether the kernel took it."""
        for _ in range(2):
            try:
                self._socket.sendto(packet, destination)
            except (BlockingIOError, InterruptedError):
                return False
            except OSError:  # perhaps an ICMP error of an earlier packet, told here instead of in `read`: once more
                self._has_errors = True
                continue
            return True
        return False

    def read(self) -> None:
        """Hand over what has come."""
        for _ in range(_BATCH):
            if self._socket.fileno() < 0:  # closed by what was handed over
                return
            try:
                packet, source = self._socket.recvfrom(65535)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                self._has_errors = True
                continue
            if self._strip and packet:
                packet = packet[4 * (packet[0] & 15) :]
            self._received(packet, (source[0], 0 if self._raw else source[1]))
        if self._has_errors:
            self._has_errors = False
            self._read_errors()

    def _read_errors(self) -> None:
        while True:
            try:
                start, ancillary, _, name = self._socket.recvmsg(576, 512, _MSG_ERRQUEUE)
            except OSError:  # that was all
                return
            for _, kind, data in ancillary:
                if kind not in (_IP_RECVERR, _IPV6_RECVERR) or len(data) < _EXTENDED_ERROR.size:
                    continue
                _, origin, icmp_type, code, _, _ = _EXTENDED_ERROR.unpack_from(data)
                if (origin, icmp_type, code) in _UNREACHABLE:
                    self._unreachable(start, (name[0], 0 if self._raw else name[1]))


def _open(host: str, udp_port: int | None) -> socket.socket:
    """A raw socket, or a UDP socket at `udp_port` of the same address."""
    family = family_of(host)
    what = "cannot open raw SCTP" if udp_port is None else "cannot open SCTP over UDP"
    try:
        if udp_port is None:
            sock = socket.socket(family, socket.SOCK_RAW, IPPROTO_SCTP)
        else:
            sock = socket.socket(family, socket.SOCK_DGRAM)
    except PermissionError:
        raise ConfigError(f"{what} at {host}: not permitted (raw sockets need CAP_NET_RAW)") from None
    except OSError as error:
        raise open_failed(what, (host, 0), error) from error
    try:
        sock.setblocking(False)
        widen(sock)
        if family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
            sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, 0)  # packets may be fragmented on the way
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        sock.bind((host, udp_port or 0))
    except OSError as error:
        sock.close()
        raise open_failed(what, (host, udp_port or 0), error) from error
    return sock
