"""The kernel's SCTP by way of a stand-in socket, for kernels without it: framing, back-pressure, endings."""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any

from ferret.transport.sctp import SctpMessage, SctpOptions
from ferret.transport.sctp_kernel import SOL_SCTP, KernelAssociation

_HEAD = struct.Struct("=BHI")  # whether the message ends here, stream, PPID as it is on the wire


class StandIn:
    """A SOCK_SEQPACKET socket that carries stream, PPID and end of message as SCTP does."""

    def __init__(self, real: socket.socket) -> None:
        self.real = real
        self.options: list[tuple[int, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def getsockname(self) -> tuple[str, int]:
        return ("127.0.0.1", 1)

    def getpeername(self) -> tuple[str, int]:
        return ("127.0.0.2", 2)

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        return struct.pack("=iiIHHHH", 1, 4, 1000, 0, 0, 10, 12)

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        self.options.append((level, option))

    def sendmsg(self, buffers: list[bytes], ancillary: list[tuple[int, int, bytes]]) -> int:
        ((level, kind, data),) = ancillary
        assert (level, kind) == (SOL_SCTP, 2)
        stream, _, ppid, _, _ = struct.unpack("=HHIIi", data)
        return self.real.send(_HEAD.pack(1, stream, ppid) + b"".join(buffers))

    def recvmsg(self, size: int, ancillary_size: int) -> tuple[bytes, list[tuple[int, int, bytes]], int, None]:
        octets = self.real.recv(size)
        if not octets:
            return b"", [], 0, None
        ends, stream, ppid = _HEAD.unpack_from(octets)
        information = struct.pack("=HHHxxIIIIi", stream, 0, 0, ppid, 0, 0, 0, 0)
        return octets[_HEAD.size :], [(SOL_SCTP, 3, information)], socket.MSG_EOR if ends == 1 else ends, None


def pair(options: SctpOptions) -> tuple[KernelAssociation, StandIn, socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    theirs.setblocking(False)
    stand_in = StandIn(ours)
    return KernelAssociation(stand_in, options), stand_in, theirs  # type: ignore[arg-type]


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - what is waited for is not an event
            await asyncio.sleep(0)


def test_messages_go_and_come_with_stream_and_ppid() -> None:
    async def scenario() -> None:
        association, _, peer = pair(SctpOptions())
        got: list[SctpMessage] = []
        association.received = got.append
        assert association.streams == 12
        assert association.send(b"out", stream=3, ppid=18)
        assert peer.recv(100) == _HEAD.pack(1, 3, socket.htonl(18)) + b"out"
        peer.send(_HEAD.pack(0, 5, socket.htonl(18)) + b"first part, ")
        peer.send(_HEAD.pack(1, 5, socket.htonl(18)) + b"second part")
        await until(lambda: got)
        assert got == [SctpMessage(b"first part, second part", 5, 18)]
        association.close()
        assert peer.recv(100) == b""
        peer.close()

    asyncio.run(scenario())


def test_a_notification_is_not_a_message() -> None:
    async def scenario() -> None:
        association, stand_in, peer = pair(SctpOptions())
        got: list[SctpMessage] = []
        association.received = got.append
        real = stand_in.recvmsg

        def notify(size: int, ancillary_size: int) -> Any:
            data, ancillary, flags, name = real(size, ancillary_size)
            return data, ancillary, flags | (0x8000 if data == b"event" else 0), name

        stand_in.recvmsg = notify  # type: ignore[method-assign]
        for octets in (b"event", b"message"):
            peer.send(_HEAD.pack(1, 0, 0) + octets)
        await until(lambda: got)
        assert [message.octets for message in got] == [b"message"]
        association.abort()
        assert (socket.SOL_SOCKET, socket.SO_LINGER) in stand_in.options
        peer.close()

    asyncio.run(scenario())


def test_a_slow_peer_makes_messages_wait_then_be_refused_and_close_sends_them_all() -> None:
    async def scenario() -> None:
        association, _, peer = pair(SctpOptions(send_limit=100_000))
        accepted = 0
        while association.send(bytes(10_000)):
            accepted += 1
        assert association.counters.refused == 1
        association.close()
        assert not association.send(b"late")
        received = 0
        while received < accepted:
            try:
                assert len(peer.recv(20_000)) == 10_000 + _HEAD.size
                received += 1
            except BlockingIOError:
                await asyncio.sleep(0)
        await until(lambda: association.counters.sent == accepted)
        assert association.counters.lost == 0
        peer.close()

    asyncio.run(scenario())


def test_the_end_of_the_peer_is_told_once() -> None:
    async def scenario() -> None:
        association, _, peer = pair(SctpOptions())
        lost: list[str] = []
        association.lost = lost.append
        peer.close()
        await until(lambda: lost)
        assert lost == ["shut down by peer"]
        association.close()
        association.abort()
        assert not association.send(b"late")

    asyncio.run(scenario())


def test_a_message_that_is_too_long_ends_it() -> None:
    async def scenario() -> None:
        association, _, peer = pair(SctpOptions(largest_message=100))
        lost: list[str] = []
        association.lost = lost.append
        peer.send(_HEAD.pack(0, 0, 0) + bytes(60))
        peer.send(_HEAD.pack(1, 0, 0) + bytes(60))
        await until(lambda: lost)
        assert lost == ["peer sent a message of more than 100 octets"]
        peer.close()

    asyncio.run(scenario())
