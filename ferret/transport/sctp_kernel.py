"""SCTP by the kernel (Linux, module sctp): one-to-one sockets after RFC 6458.

Constants and structures are those of linux/sctp.h, which the socket module does not have.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Final

from ferret.transport.endpoint import Address, TransportError, family_of, open_failed, plain, text
from ferret.transport.sctp import (
    DEFAULT_OPTIONS,
    SctpAssociation,
    SctpListener,
    SctpMessage,
    SctpOptions,
    SctpTransport,
    _ignore_lost,
    _ignore_message,
)

SOL_SCTP: Final = 132
IPPROTO_SCTP: Final = 132
_OPT_RTOINFO: Final = 0
_OPT_ASSOCINFO: Final = 1
_OPT_INITMSG: Final = 2
_OPT_NODELAY: Final = 3
_OPT_PEER_ADDR_PARAMS: Final = 9
_OPT_STATUS: Final = 14
_OPT_RECVRCVINFO: Final = 32
_CMSG_SNDINFO: Final = 2
_CMSG_RCVINFO: Final = 3
_MSG_NOTIFICATION: Final = 0x8000
_SPP_HB_ENABLE: Final = 1
_SNDINFO = struct.Struct("=HHIIi")  # sid, flags, ppid, context, assoc_id
_RCVINFO = struct.Struct("=HHHxxIIIIi")  # sid, ssn, flags, ppid, tsn, cumtsn, context, assoc_id
_ANCILLARY = socket.CMSG_SPACE(_RCVINFO.size) + 64
_CHUNK = 65536  # octets per recvmsg; longer messages come in parts
_BATCH = 64


def why_not() -> str:
    """Why the kernel's SCTP cannot be used; "" where it can."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_SCTP).close()
    except OSError as error:
        return f"the kernel says {(error.strerror or str(error)).lower()}"
    return ""


def send_ancillary(stream: int, ppid: int) -> list[tuple[int, int, bytes]]:
    """The control message that gives stream and PPID (RFC 6458 clause 5.3.4); the PPID is passed as it goes out."""
    return [(SOL_SCTP, _CMSG_SNDINFO, _SNDINFO.pack(stream, 0, socket.htonl(ppid), 0, 0))]


def read_ancillary(ancillary: list[tuple[int, int, bytes]]) -> tuple[int, int]:
    """Stream and PPID of a received message (RFC 6458 clause 5.3.5); 0 and 0 where the kernel did not say."""
    for level, kind, data in ancillary:
        if level == SOL_SCTP and kind == _CMSG_RCVINFO and len(data) >= _RCVINFO.size:
            stream, _, _, ppid, *_ = _RCVINFO.unpack_from(data)
            return stream, socket.ntohl(ppid)
    return 0, 0


class KernelAssociation(SctpAssociation):
    """An association on a socket of its own."""

    def __init__(self, sock: socket.socket, options: SctpOptions) -> None:
        super().__init__(plain(sock.getsockname()), plain(sock.getpeername()))
        self._socket = sock
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[bytes, int, int]] = deque()
        self._waiting_octets = 0
        self._part = bytearray()
        self._ended = False
        self._closing = False
        self.streams = _outbound_streams(sock)
        self._loop.add_reader(sock.fileno(), self._readable)

    def send(self, octets: bytes, *, stream: int = 0, ppid: int = 18) -> bool:
        """Queue one message (see the interface)."""
        too_much = self._waiting_octets + len(octets) > self._options.send_limit
        if self._ended or self._closing or too_much:
            self.counters.refused += 1
            return False
        if self._waiting or not self._transmit(octets, stream, ppid):
            if not self._waiting:
                self._loop.add_writer(self._socket.fileno(), self._writable)
            self._waiting.append((octets, stream, ppid))
            self._waiting_octets += len(octets)
        return True

    def close(self) -> None:
        """Send what waits, then shut down."""
        if not self._ended and not self._closing:
            self._closing = True
            if not self._waiting:
                self._end()

    def abort(self) -> None:
        """ABORT: a close with a linger time of 0 (RFC 6458 clause 8.1.4)."""
        if not self._ended:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._end()

    def _transmit(self, octets: bytes, stream: int, ppid: int) -> bool:
        """Whether the kernel took it, or will never take it."""
        try:
            self._socket.sendmsg([octets], send_ancillary(stream, ppid))
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:  # the reader finds out what became of the association
            self.counters.lost += 1
            return True
        self.counters.sent += 1
        return True

    def _writable(self) -> None:
        while self._waiting:
            octets, stream, ppid = self._waiting[0]
            if not self._transmit(octets, stream, ppid):
                return
            self._waiting.popleft()
            self._waiting_octets -= len(octets)
        self._loop.remove_writer(self._socket.fileno())
        if self._closing:
            self._end()

    def _readable(self) -> None:
        for _ in range(_BATCH):
            if self._ended:  # by the callback
                return
            try:
                data, ancillary, flags, _ = self._socket.recvmsg(_CHUNK, _ANCILLARY)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._peer_gone((error.strerror or str(error)).lower())
                return
            if not data:
                self._peer_gone("shut down by peer")
                return
            if not flags & _MSG_NOTIFICATION:
                self._take(data, ancillary, bool(flags & socket.MSG_EOR))

    def _take(self, data: bytes, ancillary: list[tuple[int, int, bytes]], whole: bool) -> None:
        if len(self._part) + len(data) > self._options.largest_message:
            reason = f"peer sent a message of more than {self._options.largest_message} octets"
            self.abort()
            self.lost(reason)
            return
        if not whole:
            self._part += data
            return
        if self._part:
            data = bytes(self._part) + data
            self._part.clear()
        stream, ppid = read_ancillary(ancillary)
        self.counters.received += 1
        if not self._closing:
            self.received(SctpMessage(data, stream, ppid))

    def _peer_gone(self, reason: str) -> None:
        by_us = self._closing
        self._end()
        if not by_us:
            self.lost(reason)

    def _end(self) -> None:
        self._ended = True
        self.counters.lost += len(self._waiting)
        self._waiting.clear()
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()


class KernelListener(SctpListener):
    """A listening socket."""

    def __init__(self, sock: socket.socket, accepted: Callable[[SctpAssociation], None], options: SctpOptions) -> None:
        self._socket = sock
        self._accepted = accepted
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self.address = plain(sock.getsockname())
        self._loop.add_reader(sock.fileno(), self._readable)

    def close(self) -> None:
        """Stop listening."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _readable(self) -> None:
        for _ in range(_BATCH):
            if self._closed:
                return
            try:
                sock, _ = self._socket.accept()
            except OSError:  # nobody waits, or the one who waited has gone
                return
            sock.setblocking(False)
            try:
                association = KernelAssociation(sock, self._options)
            except OSError:  # gone again before it could be asked for its name
                sock.close()
                continue
            self._accepted(association)


class KernelSctp(SctpTransport):
    """SCTP by the kernel."""

    name = "kernel SCTP"

    async def listen(
        self,
        address: str,
        port: int,
        accepted: Callable[[SctpAssociation], None],
        *,
        options: SctpOptions = DEFAULT_OPTIONS,
    ) -> SctpListener:
        """Listen (see the interface)."""
        sock = _open((address, port), options)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address, port))
            sock.listen(128)
        except OSError as error:
            sock.close()
            raise open_failed("cannot listen on SCTP", (address, port), error) from error
        return KernelListener(sock, accepted, options)

    async def connect(
        self,
        peer: Address,
        *,
        local: Address | None = None,
        received: Callable[[SctpMessage], None] = _ignore_message,
        lost: Callable[[str], None] = _ignore_lost,
        options: SctpOptions = DEFAULT_OPTIONS,
    ) -> SctpAssociation:
        """Set up an association (see the interface)."""
        sock = _open(peer, options)
        try:
            if local is not None:
                sock.bind(local)
            async with asyncio.timeout(options.connect_timeout):
                await asyncio.get_running_loop().sock_connect(sock, peer)
            association = KernelAssociation(sock, options)
        except TimeoutError:
            sock.close()
            raise TransportError(
                f"cannot connect SCTP {text(peer)}: no answer in {options.connect_timeout:g} s"
            ) from None
        except OSError as error:
            sock.close()
            raise open_failed("cannot connect SCTP", peer, error) from error
        association.received, association.lost = received, lost
        return association


def _open(address: Address, options: SctpOptions) -> socket.socket:
    """A one-to-one socket with its options set."""
    try:
        sock = socket.socket(family_of(address[0]), socket.SOCK_STREAM, IPPROTO_SCTP)
    except OSError as error:
        raise open_failed("cannot open SCTP", address, error) from error
    try:
        sock.setblocking(False)
        for option, value in _socket_options(options).items():
            sock.setsockopt(SOL_SCTP, option, value)
    except OSError as error:
        sock.close()
        raise open_failed("cannot set up SCTP", address, error) from error
    return sock


def _socket_options(options: SctpOptions) -> dict[int, bytes]:
    """Socket options as linux/sctp.h lays them out; times in milliseconds."""
    initial, top, low = (round(1000 * x) for x in (options.rto_initial, options.rto_max, options.rto_min))
    retransmissions = options.path_retransmissions
    return {
        _OPT_INITMSG: struct.pack("=HHHH", options.streams, options.streams, 4, 0),
        _OPT_NODELAY: struct.pack("=i", 1),
        _OPT_RECVRCVINFO: struct.pack("=i", 1),
        _OPT_RTOINFO: struct.pack("=iIII", 0, initial, top, low),
        _OPT_ASSOCINFO: struct.pack("=iHHIII", 0, retransmissions, 0, 0, 0, 0),
        # sctp_paddrparams is packed to 4: assoc_id, 128 octets of address (any), then the parameters
        _OPT_PEER_ADDR_PARAMS: struct.pack(
            "=i128sIHIIIIBx",
            0,
            b"",
            round(1000 * options.heartbeat),
            retransmissions,
            0,
            0,
            _SPP_HB_ENABLE,
            0,
            0,
        ),
    }


def _outbound_streams(sock: socket.socket) -> int:
    """How many streams the peer agreed to (RFC 6458 clause 8.2.1, sctp_status)."""
    try:
        status = sock.getsockopt(SOL_SCTP, _OPT_STATUS, 256)
    except OSError:
        return 1
    return int(struct.unpack_from("=H", status, 18)[0]) if len(status) >= 20 else 1
