"""Our SCTP against libusrsctp as other programs run it: with its own threads, on its own raw sockets, over IP."""

import asyncio
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ferret.errors import ConfigError
from ferret.transport import sctp_kernel, sctp_packets, usrsctp_library
from ferret.transport.sctp import SctpMessage, SctpTransport, choose

pytestmark = [pytest.mark.sctp, pytest.mark.root]
THEIRS, OURS = "127.0.0.1", "127.0.8.32"  # libusrsctp itself binds only addresses that an interface has

PEER = """
    import ctypes, socket, struct, sys

    library = ctypes.CDLL(sys.argv[1], use_errno=True)
    library.usrsctp_socket.restype = library.usrsctp_accept.restype = ctypes.c_void_p
    library.usrsctp_recvv.restype = library.usrsctp_sendv.restype = ctypes.c_ssize_t
    library.usrsctp_init(0, None, None)
    library.usrsctp_sysctl_set_sctp_no_csum_on_loopback(0)
    library.usrsctp_sysctl_set_sctp_blackhole(2)  # leave other processes' associations alone

    def name(host, port):
        return struct.pack("=H2s4s8x", socket.AF_INET, port.to_bytes(2, "big"), socket.inet_aton(host))

    def say(text):
        sys.stdout.write(text + "\\n")
        sys.stdout.flush()

    def option(handle, number, value):
        handle = ctypes.c_void_p(handle)
        library.usrsctp_setsockopt(handle, 132, number, value, len(value))

    def echo(handle):
        handle, size = ctypes.c_void_p(handle), 1 << 20
        buffer, info = ctypes.create_string_buffer(size), ctypes.create_string_buffer(64)
        while True:
            length, kind, flags = ctypes.c_uint32(64), ctypes.c_uint(0), ctypes.c_int(0)
            got = library.usrsctp_recvv(
                handle, buffer, ctypes.c_size_t(size), None, None, info,
                ctypes.byref(length), ctypes.byref(kind), ctypes.byref(flags),
            )
            if got <= 0:
                say("ended")
                return
            stream, _, _, ppid = struct.unpack_from("=HHHxxI", info)
            send = struct.pack("=HHIII", stream, 0, ppid, 0, 0)
            library.usrsctp_sendv(handle, buffer, ctypes.c_size_t(got), None, 0, send, 16, 1, 0)

    handle = library.usrsctp_socket(socket.AF_INET, socket.SOCK_STREAM, 132, None, None, 0, None)
    option(handle, 31, struct.pack("i", 1))  # SCTP_RECVRCVINFO
    option(handle, 4, struct.pack("i", 1))  # SCTP_NODELAY
    option(handle, 17, struct.pack("I", 262144))  # SCTP_PARTIAL_DELIVERY_POINT
    host = sys.argv[3]
    if library.usrsctp_bind(ctypes.c_void_p(handle), name(host, 36412), 16):
        say("cannot bind")
    if sys.argv[2] == "listen":
        library.usrsctp_listen(ctypes.c_void_p(handle), 5)
        say("ready")
        echo(library.usrsctp_accept(ctypes.c_void_p(handle), None, None))
    else:
        say("ready")
        sys.stdin.readline()
        if library.usrsctp_connect(ctypes.c_void_p(handle), name(sys.argv[4], 36412), 16):
            say("refused")
        echo(handle)
"""


@pytest.fixture
def ours() -> SctpTransport:
    try:
        library = usrsctp_library.find()
    except ConfigError as error:
        pytest.skip(f"SCTP interoperation is NOT tested: {error}")
    if reason := sctp_packets.why_not_raw():
        pytest.skip(f"SCTP interoperation is NOT tested: {reason}")
    assert library
    return choose("usrsctp" if sctp_kernel.why_not() else "auto").transport


@pytest.fixture
def peer() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", textwrap.dedent(PEER), usrsctp_library.find(), *arguments]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - what is waited for is not an event
            await asyncio.sleep(0.001)


def check(got: list[SctpMessage], sent: list[bytes]) -> None:
    assert [message.octets for message in got if message.stream == 1] == sent[1::2]
    assert [message.octets for message in got if message.stream == 0] == sent[0::2]
    assert {message.ppid for message in got} == {18}


def test_we_connect_to_a_plain_libusrsctp(ours: SctpTransport, peer: Callable[..., subprocess.Popen[str]]) -> None:
    process = peer("listen", THEIRS)

    async def scenario() -> None:
        got: list[SctpMessage] = []
        association = await ours.connect((THEIRS, 36412), local=(OURS, 0), received=got.append)
        sent = [b"%d" % number * 10 for number in range(2000)] + [bytes(60_000), bytes(65_536)]
        for number, octets in enumerate(sent):
            association.send(octets, stream=number % 2)
        await until(lambda: len(got) == len(sent))
        check(got, sent)
        association.close()
        await asyncio.to_thread(lambda: process.stdout and process.stdout.readline())

    asyncio.run(scenario())


def test_a_plain_libusrsctp_connects_to_us_and_its_death_is_noticed(
    ours: SctpTransport, peer: Callable[..., subprocess.Popen[str]]
) -> None:
    process = peer("connect", THEIRS, OURS)

    async def scenario() -> None:
        got: list[SctpMessage] = []
        lost: list[str] = []
        accepted: list[Any] = []

        def accept(association: Any) -> None:
            accepted.append(association)
            association.received = got.append
            association.lost = lost.append

        listener = await ours.listen(OURS, 36412, accept)
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        await until(lambda: accepted)
        assert accepted[0].peer == (THEIRS, 36412)
        sent = [b"%d" % number for number in range(1000)]
        for number, octets in enumerate(sent):
            accepted[0].send(octets, stream=number % 2)
        await until(lambda: len(got) == len(sent))
        check(got, sent)
        process.kill()
        process.wait()
        accepted[0].send(b"is anybody there?")
        await until(lambda: lost)
        listener.close()

    asyncio.run(scenario())
