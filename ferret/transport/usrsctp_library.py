"""libusrsctp by ctypes: the calls that FERRET makes, and the structures that they take (usrsctp.h of 0.9.5).

The library is run without threads of its own (`usrsctp_init_nothreads`) and over its AF_CONN sockets: packets are
handed to it and taken from it, and its clock is advanced, all by the event loop. So it needs no privileges by itself,
calls back only from within a call of ours, and nothing of it is left to stop when the process ends.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from ferret.errors import ConfigError
from ferret.transport.endpoint import Address, TransportError, text
from ferret.transport.sctp import SctpOptions

AF_CONN: Final = 123
IPPROTO_SCTP: Final = 132
EVENT_READ: Final = 1
MSG_EOR: Final = int(socket.MSG_EOR)
MSG_NOTIFICATION: Final = 0x2000
ASSOC_CHANGE: Final = 0x0001
SHUTDOWN_EVENT: Final = 0x0005
COMM_UP: Final = 1
COMM_LOST: Final = 2
RESTART: Final = 3
SHUTDOWN_COMP: Final = 4
CANT_STR_ASSOC: Final = 5
_SENDV_SNDINFO: Final = 1
_OPT_RTOINFO: Final = 1
_OPT_ASSOCINFO: Final = 2
_OPT_INITMSG: Final = 3
_OPT_NODELAY: Final = 4
_OPT_PEER_ADDR_PARAMS: Final = 10
_OPT_PARTIAL_DELIVERY_POINT: Final = 17
_OPT_EVENT: Final = 30
_OPT_RECVRCVINFO: Final = 31
_SPP_HB_ENABLE: Final = 1
_SPP_HB_DEMAND: Final = 4
_SOCKADDR = struct.Struct("=H2s4xQ")  # family, port in network byte order, address
_SNDINFO = struct.Struct("=HHIII")  # sid, flags, ppid, context, assoc_id
_RCVINFO = struct.Struct("=HHHxxIIIII")  # sid, ssn, flags, ppid, tsn, cumtsn, context, assoc_id
_BUFFER: Final = 262144  # octets per read; longer messages come in parts
_SOCKET_BUFFER: Final = 2 * 1024 * 1024

OUTPUT = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint8, ctypes.c_uint8
)
UPCALL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)

_POINTER = ctypes.c_void_p
_SENDV_ARGUMENTS = [
    *(_POINTER, ctypes.c_char_p, ctypes.c_size_t),  # socket, octets, length
    *(_POINTER, ctypes.c_int),  # destinations
    *(ctypes.c_char_p, ctypes.c_uint32, ctypes.c_uint, ctypes.c_int),  # information, its length and type, flags
]
_SIGNATURES: Final[dict[str, tuple[Any, list[Any]]]] = {
    "usrsctp_init_nothreads": (None, [ctypes.c_uint16, OUTPUT, ctypes.c_void_p]),
    "usrsctp_socket": (
        ctypes.c_void_p,
        [ctypes.c_int] * 3 + [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p],
    ),
    "usrsctp_setsockopt": (
        ctypes.c_int,
        [ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32],
    ),
    "usrsctp_set_non_blocking": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_int]),
    "usrsctp_set_upcall": (ctypes.c_int, [ctypes.c_void_p, UPCALL, ctypes.c_void_p]),
    "usrsctp_bind": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint32]),
    "usrsctp_listen": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_int]),
    "usrsctp_accept": (ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]),
    "usrsctp_connect": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint32]),
    "usrsctp_sendv": (ctypes.c_ssize_t, _SENDV_ARGUMENTS),
    "usrsctp_recvv": (ctypes.c_ssize_t, [_POINTER, _POINTER, ctypes.c_size_t, *[_POINTER] * 6]),
    "usrsctp_shutdown": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_int]),
    "usrsctp_close": (None, [ctypes.c_void_p]),
    "usrsctp_conninput": (None, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint8]),
    "usrsctp_handle_timers": (None, [ctypes.c_uint32]),
    "usrsctp_register_address": (None, [ctypes.c_void_p]),
    "usrsctp_deregister_address": (None, [ctypes.c_void_p]),
}
_SYSTEM_SETTINGS: Final = {
    "sctp_no_csum_on_loopback": 0,  # a real CRC32c, also on loopback
    "sctp_ecn_enable": 0,  # the ECN bits of a packet are not seen here
    "sctp_asconf_enable": 0,  # one address on each side
    "sctp_auto_asconf": 0,
    "sctp_pr_enable": 0,  # S1AP needs every message
    "sctp_auth_enable": 0,
    "sctp_reconfig_enable": 0,
    "sctp_nrsack_enable": 0,
    "sctp_pktdrop_enable": 0,
    "sctp_sendspace": _SOCKET_BUFFER,
    "sctp_recvspace": _SOCKET_BUFFER,
    "sctp_initial_cwnd": 10,  # packets (RFC 6928's value), so that a large message is not held back
    "sctp_max_burst_default": 0,  # no limit besides the congestion window
}


def find() -> str:
    """Where the library is: the loader's path, then FERRET_USRSCTP, then the virtual environment's lib.

    Raises ConfigError that names the Debian package.
    """
    candidates = [
        os.environ.get("FERRET_USRSCTP", ""),
        str(Path(sys.prefix) / "lib" / "libusrsctp.so.2"),
        ctypes.util.find_library("usrsctp") or "",
    ]
    for name in ("libusrsctp.so.2", *(one for one in candidates if one)):
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return name
    raise ConfigError("libusrsctp.so.2 is not installed (Debian package libusrsctp2)")


class UsrsctpLibrary:
    """The loaded library. There is one per process, since the library's state is global."""

    def __init__(self, path: str, output: Callable[[int, bytes], None], wakened: Callable[[int], None]) -> None:
        """`output(pair, packet)` gets each packet to send, `wakened(owner)` says whose socket has something to do."""
        self._library = ctypes.CDLL(path, use_errno=True)
        for name, (result, arguments) in _SIGNATURES.items():
            try:
                function = getattr(self._library, name)
            except AttributeError:
                raise ConfigError(f"{path} is too old: it has no {name} (0.9.5 or later is needed)") from None
            function.restype, function.argtypes = result, arguments

        def send_packet(pair: int, buffer: int, length: int, _tos: int, _set_df: int) -> int:
            output(pair, ctypes.string_at(buffer, length))
            return 0

        def wake_owner(_socket: int, owner: int, _flags: int) -> None:
            wakened(owner)

        # The library keeps pointers to these for as long as the process lives.
        self._send_packet, self._wake_owner = OUTPUT(send_packet), UPCALL(wake_owner)
        self._library.usrsctp_init_nothreads(0, self._send_packet, None)
        for name, value in _SYSTEM_SETTINGS.items():
            getattr(self._library, f"usrsctp_sysctl_set_{name}")(ctypes.c_uint32(value))
        self._buffer = ctypes.create_string_buffer(_BUFFER)
        self._info = ctypes.create_string_buffer(_RCVINFO.size + 32)
        self._info_length, self._info_type = ctypes.c_uint32(), ctypes.c_uint()
        self._flags = ctypes.c_int()
        self._references = (
            ctypes.byref(self._info_length),
            ctypes.byref(self._info_type),
            ctypes.byref(self._flags),
        )

    def register(self, pair: int) -> None:
        """Make `pair` an address that sockets can be bound to."""
        self._library.usrsctp_register_address(pair)

    def deregister(self, pair: int) -> None:
        """Forget `pair`."""
        self._library.usrsctp_deregister_address(pair)

    def input(self, pair: int, packet: bytes) -> None:
        """A packet has come from the other side of `pair`."""
        self._library.usrsctp_conninput(pair, packet, len(packet), 0)

    def advance(self, milliseconds: int) -> None:
        """Let time pass."""
        self._library.usrsctp_handle_timers(milliseconds)

    def open(self, owner: int, pair: int, port: int, options: SctpOptions, where: Address) -> int:
        """A one-to-one socket of `owner`, bound, non-blocking, with its options set. Raises TransportError."""
        handle = self._library.usrsctp_socket(AF_CONN, socket.SOCK_STREAM, IPPROTO_SCTP, None, None, 0, None)
        if not handle:
            raise TransportError(f"libusrsctp cannot open a socket for {text(where)}: {_reason()}")
        try:
            self.adopt(handle, owner)
            for option, value in _socket_options(options):
                if self._library.usrsctp_setsockopt(handle, IPPROTO_SCTP, option, value, len(value)):
                    raise TransportError(f"libusrsctp refuses option {option}: {_reason()}")
            if self._library.usrsctp_bind(handle, _name(pair, port), _SOCKADDR.size):
                raise TransportError(f"cannot bind SCTP {text(where)}: {_reason()}")
        except TransportError:
            self._library.usrsctp_close(handle)
            raise
        return int(handle)

    def adopt(self, handle: int, owner: int) -> None:
        """Make a socket non-blocking and say whose it is."""
        self._library.usrsctp_set_non_blocking(handle, 1)
        self._library.usrsctp_set_upcall(handle, self._wake_owner, owner)

    def listen(self, handle: int) -> None:
        """Let a socket accept associations."""
        if self._library.usrsctp_listen(handle, 16):
            raise TransportError(f"libusrsctp cannot listen: {_reason()}")

    def accept(self, handle: int) -> tuple[int, int] | None:
        """A new association's socket and its peer's port; None where nobody waits."""
        name, length = ctypes.create_string_buffer(_SOCKADDR.size), ctypes.c_uint32(_SOCKADDR.size)
        accepted = self._library.usrsctp_accept(handle, name, ctypes.byref(length))
        if not accepted:
            return None
        return accepted, int.from_bytes(_SOCKADDR.unpack(name.raw)[1], "big")

    def connect(self, handle: int, pair: int, port: int) -> None:
        """Send INIT. Whether somebody answers is a notification. Raises TransportError."""
        if self._library.usrsctp_connect(handle, _name(pair, port), _SOCKADDR.size):
            error = ctypes.get_errno()
            if error != _EINPROGRESS:
                raise TransportError(f"libusrsctp cannot connect: {os.strerror(error)}")

    def send(self, handle: int, octets: bytes, stream: int, ppid: int) -> bool | None:
        """True: accepted. False: no room now. None: never, the association is gone or the message too long."""
        info = _SNDINFO.pack(stream, 0, socket.htonl(ppid), 0, 0)
        done = self._library.usrsctp_sendv(handle, octets, len(octets), None, 0, info, len(info), _SENDV_SNDINFO, 0)
        if done >= 0:
            return True
        return False if ctypes.get_errno() in _TRY_AGAIN else None

    def receive(self, handle: int) -> tuple[bytes, int, int, int] | str | None:
        """Octets, flags, stream and PPID; None: nothing now; a text: the association has ended, and why."""
        self._info_length.value = ctypes.sizeof(self._info)
        self._flags.value = 0
        length = self._library.usrsctp_recvv(handle, self._buffer, _BUFFER, None, None, self._info, *self._references)
        if length < 0:
            error = ctypes.get_errno()
            return None if error in _TRY_AGAIN else os.strerror(error).lower()
        if length == 0:
            return "shut down by peer"
        octets = ctypes.string_at(self._buffer, length)
        if self._info_type.value != 1:  # SCTP_RECVV_RCVINFO
            return octets, self._flags.value, 0, 0
        stream, _, _, ppid, *_ = _RCVINFO.unpack_from(self._info)
        return octets, self._flags.value, stream, socket.ntohl(ppid)

    def heartbeat(self, handle: int) -> None:
        """Send a HEARTBEAT now."""
        value = struct.pack("=128sIIIIIHBx", b"", 0, 0, 0, _SPP_HB_DEMAND, 0, 0, 0)
        self._library.usrsctp_setsockopt(handle, IPPROTO_SCTP, _OPT_PEER_ADDR_PARAMS, value, len(value))

    def shut_down(self, handle: int) -> None:
        """Send what waits, then SHUTDOWN."""
        self._library.usrsctp_shutdown(handle, 1)

    def close(self, handle: int, *, abort: bool = False) -> None:
        """Give the socket back; `abort`: with ABORT to the peer (a linger time of 0)."""
        if abort:
            linger = struct.pack("ii", 1, 0)
            self._library.usrsctp_setsockopt(handle, socket.SOL_SOCKET, socket.SO_LINGER, linger, len(linger))
        self._library.usrsctp_close(handle)


_EINPROGRESS: Final = 115
_TRY_AGAIN: Final = (11, 4, _EINPROGRESS)  # EAGAIN, EINTR


def _reason() -> str:
    return os.strerror(ctypes.get_errno()).lower()


def _name(pair: int, port: int) -> bytes:
    """A sockaddr_conn."""
    return _SOCKADDR.pack(AF_CONN, port.to_bytes(2, "big"), pair)


def _socket_options(options: SctpOptions) -> list[tuple[int, bytes]]:
    """Socket options as usrsctp.h lays them out; times in milliseconds."""
    initial, top, low = (round(1000 * x) for x in (options.rto_initial, options.rto_max, options.rto_min))
    retransmissions, heartbeat = options.path_retransmissions, round(1000 * options.heartbeat)
    attempts = 4
    return [
        (_OPT_INITMSG, struct.pack("=HHHH", options.streams, options.streams, attempts, top)),
        (_OPT_NODELAY, struct.pack("=i", 1)),
        (_OPT_RECVRCVINFO, struct.pack("=i", 1)),
        (_OPT_RTOINFO, struct.pack("=IIII", 0, initial, top, low)),
        (_OPT_ASSOCINFO, struct.pack("=IIIIHH", 0, 0, 0, 0, retransmissions, 0)),
        (
            _OPT_PEER_ADDR_PARAMS,
            struct.pack("=128sIIIIIHBx", b"", 0, heartbeat, 0, _SPP_HB_ENABLE, 0, retransmissions, 0),
        ),
        (_OPT_PARTIAL_DELIVERY_POINT, struct.pack("=I", _BUFFER)),
        (_OPT_EVENT, struct.pack("=IHBx", 0, ASSOC_CHANGE, 1)),
    ]
