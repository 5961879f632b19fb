"""Voice at work: both ends of a call's media on the event loop, one behind a base station, one on a UDP socket.

Times of arrival at a socket are the kernel's; those behind a base station are its driver's.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Final

from ferret.errors import DecodeError
from ferret.transport.endpoint import Address, TransportError, family_of, widen
from ferret_core.ua.packets import Datagram
from ferret_deploy.lab import rtp
from ferret_deploy.lab.loopback import LoopbackWan
from ferret_deploy.lab.voice import FRAME, VoiceSink, VoiceSource, report

EXPEDITED_FORWARDING: Final = 46 << 2
"""Type of service of voice (RFC 3246)."""
_REPORT_INTERVAL: Final = 5.0  # s (RFC 3550 clause 6.2)
_SO_TIMESTAMPNS: Final = 35
_TIMESPEC = struct.Struct("=qq")
_LARGEST: Final = 65536
_BATCH: Final = 64
_PORTS: Final = range(20000, 40000, 2)  # RTP on an even port, RTCP on the next (RFC 3550 clause 11)
_TRIES: Final = 64
_IP_TOS, _IPV6_TCLASS = 1, 67


class VoiceEnd:
    """One end: speaks 50 packets per second from `talk` to `hush`, and listens all the time."""

    def __init__(
        self,
        name: str,
        random: Random,
        *,
        send: Callable[[bytes], object],
        send_report: Callable[[bytes], object] | None = None,
        path: Callable[[], str] = str,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`send` takes RTP, `send_report` RTCP (None: there is none); `path` says which way packets go just now."""
        self.name = name
        self.source = VoiceSource(random)
        self.sink = VoiceSink()
        self._random = random
        self._send = send
        self._send_report = send_report
        self._path = path
        self._clock = clock
        self._wall = wall
        self._next = 0.0
        self._hushed_at: float | None = None
        self._speaking: asyncio.TimerHandle | None = None
        self._reporting: asyncio.TimerHandle | None = None

    @property
    def is_talking(self) -> bool:
        """Whether packets go out."""
        return self._speaking is not None

    def talk(self) -> None:
        """Speak from now on; after `hush` it is the same stream that goes on."""
        if self.is_talking:
            return
        now = self._clock()
        if self._hushed_at is not None:
            self.source.pause(now - self._hushed_at)
        self._next = now
        self._speak()
        if self._reporting is None and self._send_report is not None:
            self._schedule_report()

    def hush(self) -> None:
        """Say nothing, as on hold."""
        if self._speaking is not None:
            self._speaking.cancel()
            self._speaking = None
            self._hushed_at = self._clock()

    def stop(self) -> None:
        """Say nothing more, and goodbye by RTCP; stopping again does nothing."""
        self.hush()
        if self._reporting is not None:
            self._reporting.cancel()
            self._reporting = None
            self._report(bye=True)

    def receive(self, octets: bytes, at: float, *, path: str = "") -> None:
        """Take RTP that came."""
        self.sink.receive(octets, at, path=path)

    def receive_report(self, octets: bytes, at: float) -> None:
        """Take RTCP that came; damage is passed over."""
        try:
            self.sink.receive_report(rtp.decode_report(octets), at)
        except DecodeError:
            self.sink.foreign += 1

    def _speak(self) -> None:
        """Send what is due: more than one packet where the event loop was late."""
        while self._next <= self._clock():
            self._send(self.source.packet(self._clock(), path=self._path()))
            self._next += FRAME
        loop = asyncio.get_running_loop()
        self._speaking = loop.call_later(max(0.0, self._next - self._clock()), self._speak)

    def _schedule_report(self) -> None:
        wait = _REPORT_INTERVAL * (0.5 + self._random.random())
        self._reporting = asyncio.get_running_loop().call_later(wait, self._report_again)

    def _report_again(self) -> None:
        self._report()
        self._schedule_report()

    def _report(self, *, bye: bool = False) -> None:
        if self._send_report is not None:
            now = self._clock()
            octets = report(self.source, self.sink, cname=self.name, now=now, wall=self._wall(), bye=bye)
            self._send_report(octets)


class DeviceVoice:
    """The end of a device: its datagrams go over its bearers. `send` takes them, `take` gets them.

    `remote` may change in a call, as SDP does; so may the port of `local`, never its address.
    """

    def __init__(
        self,
        name: str,
        random: Random,
        *,
        local: Address,
        remote: Address,
        send: Callable[[Datagram], object],
        path: Callable[[], str] = str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.local = local
        self.remote = remote
        self._send = send
        self.end = VoiceEnd(name, random, send=self._rtp, send_report=self._rtcp, path=path, clock=clock)

    def take(self, datagram: Datagram, at: float, *, path: str = "") -> bool:
        """Take a downlink datagram that came at that time; False where it is not of this call's media."""
        if datagram.destination == self.local:
            self.end.receive(datagram.payload, at, path=path)
        elif datagram.destination == _rtcp_of(self.local):
            self.end.receive_report(datagram.payload, at)
        else:
            return False
        return True

    def _rtp(self, octets: bytes) -> None:
        self._send(Datagram(self.local, self.remote, octets))

    def _rtcp(self, octets: bytes) -> None:
        self._send(Datagram(_rtcp_of(self.local), _rtcp_of(self.remote), octets))


class RemoteVoice:
    """The end of a party on the internet: two UDP sockets. `remote` may change in a call, as SDP does."""

    def __init__(
        self,
        name: str,
        random: Random,
        sockets: tuple[socket.socket, socket.socket],
        *,
        path: Callable[[], str] = str,
        wan: LoopbackWan | None = None,
    ) -> None:
        """`wan`: the delay between places in name only."""
        self.remote: Address | None = None
        self._wan = wan
        self.refused = 0  # packets that the kernel would not take
        self._rtp_socket, self._rtcp_socket = sockets
        self.local: Address = self._rtp_socket.getsockname()[:2]
        self.end = VoiceEnd(name, random, send=self._rtp, send_report=self._rtcp, path=path)
        loop = asyncio.get_running_loop()
        loop.add_reader(self._rtp_socket, self._readable, self._rtp_socket)
        loop.add_reader(self._rtcp_socket, self._readable, self._rtcp_socket)

    @classmethod
    def open(
        cls,
        name: str,
        random: Random,
        address: str,
        *,
        port: int | None = None,
        path: Callable[[], str] = str,
        wan: LoopbackWan | None = None,
    ) -> RemoteVoice:
        """Take `port` and the next, or a free pair; to be called inside the party's place. Raises TransportError.

        `wan`: the delay between places in name only.
        """
        failed: OSError | None = None
        for first in random.sample(_PORTS, _TRIES) if port is None else (port,):
            try:
                return cls(name, random, _open_pair(address, first), path=path, wan=wan)
            except OSError as error:
                failed = error
        raise TransportError(f"cannot find ports for RTP at {address}: {failed}")

    def stop(self) -> None:
        """End the stream and close the sockets; stopping again does nothing."""
        self.end.stop()
        if self._rtp_socket.fileno() >= 0:
            loop = asyncio.get_running_loop()
            for sock in (self._rtp_socket, self._rtcp_socket):
                loop.remove_reader(sock)
                sock.close()

    def _rtp(self, octets: bytes) -> None:
        if self.remote is not None:
            self._transmit(self._rtp_socket, octets, self.remote)

    def _rtcp(self, octets: bytes) -> None:
        if self.remote is not None:
            self._transmit(self._rtcp_socket, octets, _rtcp_of(self.remote))

    def _transmit(self, sock: socket.socket, octets: bytes, destination: Address) -> None:
        if self._wan is None:
            self._put(sock, octets, destination)
        else:
            self._wan.carry(self.local[0], destination[0], lambda: self._put(sock, octets, destination))

    def _put(self, sock: socket.socket, octets: bytes, destination: Address) -> None:
        try:
            sock.sendto(octets, destination)
        except OSError:
            self.refused += 1

    def _readable(self, sock: socket.socket) -> None:
        for _ in range(_BATCH):
            try:
                octets, ancillary, _, source = sock.recvmsg(_LARGEST, 64)
            except OSError:  # nothing more, an ICMP error, or closed
                return
            receive = self.end.receive if sock is self._rtp_socket else self.end.receive_report
            if self._wan is None:
                receive(octets, _arrival(ancillary))
            else:
                self._wan.carry(source[0], self.local[0], partial(_now, receive, octets))


def _now(receive: Callable[[bytes, float], None], octets: bytes) -> None:
    receive(octets, time.monotonic())


def _rtcp_of(address: Address) -> Address:
    return address[0], address[1] + 1


def _open_pair(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    first = _open(address, port)
    try:
        return first, _open(address, port + 1)
    except OSError:
        first.close()
        raise


def _open(address: str, port: int) -> socket.socket:
    family = family_of(address)
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        widen(sock)
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        if family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, _IP_TOS, EXPEDITED_FORWARDING)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_TCLASS, EXPEDITED_FORWARDING)
        sock.bind((address, port))
    except OSError:
        sock.close()
        raise
    return sock


def _arrival(ancillary: list[tuple[int, int, bytes]]) -> float:
    """When a datagram reached the kernel, on the monotonic clock."""
    now = time.monotonic()
    for _, kind, data in ancillary:
        if kind == _SO_TIMESTAMPNS and len(data) == _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack(data)
            waited = (time.time_ns() - seconds * 1_000_000_000 - nanoseconds) / 1e9
            return now - waited if 0 <= waited < 1 else now  # else somebody has set the clock
    return now
