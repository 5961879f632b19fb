"""What a measurement sends: one message again and again at an even rate, over UDP, TCP or SCTP, on `lo`."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

NF, PEER = "127.0.1.1", "127.0.1.2"
_PAUSE: Final = 0.0005  # seconds between two looks at what is due
_GTPV2 = bytes.fromhex(  # Modify Bearer Request with bearer contexts, as long as such requests usually are
    "4822009a0000000100000700"
) + b"".join(
    struct.pack(">BHB", kind, len(value), 0) + value
    for kind, value in (
        (86, bytes(13)), (82, b"\x06"), (87, b"\x8a" + bytes(8)), (93, struct.pack(">BHB", 73, 1, 0) + b"\x05"),
        (72, bytes(8)), (3, b"\x07"), (75, bytes(8)), (161, bytes(1)), (255, bytes(42)),
    )
)  # fmt: skip
_SIP_HEADER = (
    b"INVITE sip:+15550100@ims.example SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.1.1:5060;branch=z9hG4bK776asdhds\r\n"
    b"Max-Forwards: 70\r\nFrom: <sip:+15550101@ims.example>;tag=1928301774\r\nTo: <sip:+15550100@ims.example>\r\n"
    b"Call-ID: a84b4c76e66710@127.0.1.1\r\nCSeq: 314159 INVITE\r\nContact: <sip:+15550101@127.0.1.1>\r\n"
    b"Route: <sip:orig@scscf.ims.example:6060;lr>\r\nP-Asserted-Identity: <sip:+15550101@ims.example>\r\n"
    b"Supported: 100rel,precondition\r\nContent-Type: application/sdp\r\nContent-Length: "
)
_SIP = _SIP_HEADER + b"400\r\n\r\n" + b"v" * 400
_LARGE_SIP = _SIP_HEADER + b"1400\r\n\r\n" + b"v" * 1400  # RFC 3261 clause 18.1.1: too large for UDP
_AVPS: Final = ((263, 40), (264, 40), (296, 24), (283, 24), (258, 4), (416, 4), (415, 4), (443, 60))  # code, octets
_IES = bytes.fromhex("00000300000005c0000000010008000480010001001a007978") + bytes(120)
_S1AP = b"\x00\x0b\x40" + bytes((0x80, len(_IES))) + _IES  # DownlinkNASTransport


def _gtpv2() -> bytes:
    length = len(_GTPV2) - 4
    return _GTPV2[:2] + length.to_bytes(2, "big") + _GTPV2[4:]


def _diameter(more: int = 0) -> bytes:
    """A Credit-Control-Request as long as they often are, or longer by an AVP of `more` octets."""
    avps = b"".join(
        struct.pack(">IB3s", code, 0x40, (8 + size).to_bytes(3, "big")) + bytes(size)
        for code, size in (*_AVPS, *([(1001, more)] if more else []))
    )
    return struct.pack(">I4sIII", 1 << 24 | 20 + len(avps), b"\xc0\0\x01\x10", 16777238, 1, 1) + avps


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of load."""

    transport: str  # udp, tcp, sctp
    port: int
    message: bytes

    @property
    def expression(self) -> str:
        """What tcpdump and dumpcap filter by. Of TCP only what carries something: answers have no messages."""
        return f"{self.transport} dst port {self.port}"


LOADS: Final[Mapping[str, Kind]] = {
    "gtpv2": Kind("udp", 2123, _gtpv2()),
    "sip": Kind("udp", 5060, _SIP),
    "sip-tcp": Kind("tcp", 5060, _LARGE_SIP),
    "diameter": Kind("tcp", 3868, _diameter()),
    "diameter-large": Kind("tcp", 3868, _diameter(1800)),
    "s1ap": Kind("sctp", 36412, _S1AP),
}
"""What can be sent."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is offered."""

    kind: str = "gtpv2"
    rate: int = 10_000  # messages per second
    seconds: float = 3.0

    @property
    def messages(self) -> int:
        """How many that are."""
        return round(self.rate * self.seconds)


def send(load: Load) -> tuple[int, float]:
    """Send at an even rate; how many messages, and in how many seconds."""
    kind = LOADS[load.kind]
    with _SENDERS[kind.transport](kind) as some:
        began, sent = time.monotonic(), 0
        while sent < load.messages:
            due = min(load.messages, int((time.monotonic() - began) * load.rate) + 1)
            if due > sent:
                some(due - sent)
                sent = due
            time.sleep(_PAUSE)
        return load.messages, time.monotonic() - began


@contextmanager
def _udp(kind: Kind) -> Iterator[Callable[[int], None]]:
    """Nobody reads: the kernel drops at the receiver."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender, _bound(socket.SOCK_DGRAM, kind) as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        sender.bind((NF, kind.port))
        sender.connect((PEER, kind.port))

        def some(number: int) -> None:
            for _ in range(number):
                sender.send(kind.message)

        yield some


@contextmanager
def _tcp(kind: Kind) -> Iterator[Callable[[int], None]]:
    """A thread reads and throws away."""
    with _bound(socket.SOCK_STREAM, kind) as listener:
        listener.listen()
        reader = threading.Thread(target=_discard, args=(listener,), daemon=True)
        reader.start()
        with socket.create_connection((PEER, kind.port), source_address=(NF, 0)) as sender:
            sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def some(number: int) -> None:
                for _ in range(number):
                    sender.sendall(kind.message)

            yield some
        reader.join()


def _discard(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection, contextlib.suppress(OSError):
        while connection.recv(1 << 20):
            pass


@contextmanager
def _sctp(kind: Kind) -> Iterator[Callable[[int], None]]:
    """Packets of an association that nobody is at the other end of: one DATA chunk each (RFC 9260 clause 3.3.1)."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, 132) as sender:
        sender.bind((NF, 0))
        sender.connect((PEER, 0))
        length, padding = 16 + len(kind.message), bytes(-len(kind.message) % 4)
        number = 0

        def some(wanted: int) -> None:
            nonlocal number
            for _ in range(wanted):
                chunk = struct.pack(">BBHIHHI", 0, 3, length, number & 0xFFFFFFFF, 0, number & 0xFFFF, 18)
                sender.send(struct.pack(">HHII", kind.port, kind.port, 7, 0) + chunk + kind.message + padding)
                number += 1

        yield some


def _bound(kind: socket.SocketKind, load: Kind) -> socket.socket:
    sock = socket.socket(socket.AF_INET, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((PEER, load.port))
    return sock


_SENDERS: Final = {"udp": _udp, "tcp": _tcp, "sctp": _sctp}
