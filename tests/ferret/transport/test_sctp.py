"""Associations over the real implementations, within a process and between two."""

import asyncio
import os
import random
import socket
import struct
import subprocess
import sys
import textwrap
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from ferret.errors import ConfigError
from ferret.transport import sctp_kernel, sctp_packets, usrsctp_library
from ferret.transport.endpoint import TransportError
from ferret.transport.sctp import Choice, SctpAssociation, SctpMessage, SctpOptions, choose

pytestmark = pytest.mark.sctp
SERVER, CLIENT = "127.0.8.11", "127.0.8.12"


def why_not(wanted: str) -> str:
    if wanted == "kernel":
        return sctp_kernel.why_not()
    try:
        usrsctp_library.find()
    except ConfigError as error:
        return str(error)
    return sctp_packets.why_not_raw() if wanted == "usrsctp" else ""


@pytest.fixture(params=["kernel", "usrsctp", "usrsctp-udp"])
def choice(request: pytest.FixtureRequest) -> Choice:
    reason = why_not(request.param)
    if reason:
        pytest.skip(f"SCTP by {request.param} is NOT tested: {reason}")
    return choose(request.param)


async def until(holds: Callable[[], Any], within: float = 10) -> None:
    async with asyncio.timeout(within):
        while not holds():  # noqa: ASYNC110 - what is waited for is not an event
            await asyncio.sleep(0.001)


class Echo:
    """Accepts, keeps and echoes."""

    def __init__(self) -> None:
        self.associations: list[SctpAssociation] = []
        self.lost: list[str] = []

    def accepted(self, association: SctpAssociation) -> None:
        self.associations.append(association)
        association.lost = self.lost.append
        association.received = lambda message: association.send(
            message.octets, stream=message.stream, ppid=message.ppid
        )


def test_messages_keep_boundaries_order_stream_and_ppid(choice: Choice) -> None:
    async def scenario() -> None:
        echo, got = Echo(), []
        listener = await choice.transport.listen(SERVER, 36412, echo.accepted)
        client = await choice.transport.connect((SERVER, 36412), local=(CLIENT, 0), received=got.append)
        assert client.local[0] == CLIENT
        assert client.streams == 16
        for number in range(10_000):
            assert client.send(b"%d" % number, stream=number % 3, ppid=18)
        await until(lambda: len(got) == 10_000)
        for stream in range(3):
            numbers = [int(message.octets) for message in got if message.stream == stream]
            assert numbers == list(range(stream, 10_000, 3))
        assert {message.ppid for message in got} == {18}
        assert echo.associations[0].peer == client.local
        client.close()
        await until(lambda: echo.lost)
        assert echo.lost == ["shut down by peer"]
        listener.close()

    asyncio.run(scenario())


def test_large_messages_arrive_whole(choice: Choice) -> None:
    async def scenario() -> None:
        echo, got = Echo(), []
        listener = await choice.transport.listen(SERVER, 36412, echo.accepted)
        client = await choice.transport.connect((SERVER, 36412), local=(CLIENT, 0), received=got.append)
        sent = [os.urandom(size) for size in (1, 1452, 65536, 300_000)]
        for octets in sent:
            client.send(octets)
        await until(lambda: len(got) == len(sent))
        assert [message.octets for message in got] == sent
        client.abort()
        await until(lambda: echo.lost)
        listener.close()

    asyncio.run(scenario())


def test_a_message_beyond_the_limit_ends_the_association(choice: Choice) -> None:
    async def scenario() -> None:
        echo, lost = Echo(), []
        options = SctpOptions(largest_message=10_000)
        listener = await choice.transport.listen(SERVER, 36412, echo.accepted, options=options)
        client = await choice.transport.connect((SERVER, 36412), local=(CLIENT, 0), lost=lost.append)
        client.send(bytes(20_000))
        await until(lambda: lost and echo.lost)
        assert "more than 10000 octets" in echo.lost[0]
        listener.close()

    asyncio.run(scenario())


def test_too_much_waiting_is_refused_and_counted(choice: Choice) -> None:
    async def scenario() -> None:
        echo, got = Echo(), []
        listener = await choice.transport.listen(SERVER, 36412, echo.accepted)
        client = await choice.transport.connect(
            (SERVER, 36412), local=(CLIENT, 0), received=got.append, options=SctpOptions(send_limit=200_000)
        )
        accepted = sum(client.send(bytes(50_000)) for _ in range(200))
        assert 0 < accepted < 200
        assert client.counters.refused == 200 - accepted
        await until(lambda: len(got) == accepted)
        client.close()
        assert not client.send(b"late")
        await until(lambda: echo.lost)
        listener.close()

    asyncio.run(scenario())


def test_several_peers_and_listeners_at_one_port_do_not_mix(choice: Choice) -> None:
    async def scenario() -> None:
        first, second = Echo(), Echo()
        listeners = [
            await choice.transport.listen(SERVER, 36412, first.accepted),
            await choice.transport.listen("127.0.8.13", 36412, second.accepted),
        ]
        got: dict[str, list[SctpMessage]] = {}
        clients = []
        for host in (CLIENT, "127.0.8.14"):
            for server in (SERVER, "127.0.8.13"):
                inbox = got.setdefault(f"{host}>{server}", [])
                clients.append(await choice.transport.connect((server, 36412), local=(host, 0), received=inbox.append))
                clients[-1].send(f"{host}>{server}".encode())
        await until(lambda: all(got.values()))
        assert all([message.octets.decode() for message in inbox] == [key] for key, inbox in got.items())
        assert (len(first.associations), len(second.associations)) == (2, 2)
        for client in clients:
            client.close()
        await until(lambda: len(first.lost) == len(second.lost) == 2)
        for listener in listeners:
            listener.close()

    asyncio.run(scenario())


def test_nobody_there_is_said_at_once_and_a_taken_port_as_well(choice: Choice) -> None:
    async def scenario() -> None:
        listener = await choice.transport.listen(SERVER, 36412, lambda association: None)
        with pytest.raises(TransportError, match=r"cannot listen on SCTP 127\.0\.8\.11:36412"):
            await choice.transport.listen(SERVER, 36412, lambda association: None)
        listener.close()
        with pytest.raises(TransportError, match=r"cannot connect SCTP 127\.0\.8\.15:36412"):
            await choice.transport.connect(("127.0.8.15", 36412), local=(CLIENT, 0))

    asyncio.run(scenario())


def test_the_next_event_loop_can_use_it_again(choice: Choice) -> None:
    async def scenario() -> None:
        echo, got = Echo(), []
        await choice.transport.listen(SERVER, 36412, echo.accepted)
        client = await choice.transport.connect((SERVER, 36412), local=(CLIENT, 0), received=got.append)
        client.send(b"x")
        await until(lambda: got)
        if choice.transport.name.startswith("kernel"):
            client.abort()

    if choice.transport.name.startswith("kernel"):
        pytest.skip("kernel sockets belong to no loop")
    asyncio.run(scenario())
    asyncio.run(scenario())
    asyncio.run(asyncio.sleep(0))


def test_rubbish_packets_do_no_harm(choice: Choice) -> None:
    if choice.transport.name != "libusrsctp over UDP":
        pytest.skip("packets can be made up only over UDP")

    async def scenario() -> None:
        echo, got, lost = Echo(), [], []
        listener = await choice.transport.listen(SERVER, 36412, echo.accepted)
        client = await choice.transport.connect(
            (SERVER, 36412), local=(CLIENT, 0), received=got.append, lost=lost.append
        )
        ports = struct.pack("!HH", client.local[1], 36412)
        randomness = random.Random(1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind(("127.0.8.18", 9899))
            for _ in range(500):
                start = randomness.choice([b"", ports, ports + bytes(8), ports + bytes(8) + b"\x01\x00\x00\x14"])
                stranger.sendto(start + randomness.randbytes(randomness.randrange(60)), (SERVER, 9899))
                await asyncio.sleep(0)
        client.send(b"still there")
        await until(lambda: got)
        assert lost == []
        assert len(echo.associations) == 1
        client.close()
        await until(lambda: echo.lost)
        listener.close()

    asyncio.run(scenario())


PEER = """
    import asyncio, sys
    from ferret.transport.sctp import choose

    async def main(wanted, host):
        def accepted(association):
            association.received = lambda m: association.send(m.octets, stream=m.stream, ppid=m.ppid)
        await choose(wanted).transport.listen(host, 36412, accepted)
        sys.stdout.write("listening\\n")
        sys.stdout.flush()
        await asyncio.Event().wait()

    asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
def other_process(choice: Choice) -> Iterator[subprocess.Popen[str]]:
    wanted = {"libusrsctp over UDP": "usrsctp-udp", "libusrsctp over raw IP": "usrsctp"}
    arguments = [wanted.get(choice.transport.name, "kernel"), "127.0.8.16"]
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PEER), *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
        yield process
        process.kill()


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    if request.param == "asyncio":
        return asyncio.run
    uvloop = pytest.importorskip("uvloop", reason="SCTP under uvloop is NOT tested: uvloop is not installed")
    return uvloop.run


def test_between_two_processes_messages_arrive_in_order_and_death_is_noticed(
    choice: Choice,
    other_process: subprocess.Popen[str],
    run: Callable[[Coroutine[Any, Any, None]], None],
) -> None:
    async def scenario() -> None:
        got: list[SctpMessage] = []
        lost: list[str] = []
        client = await choice.transport.connect(
            ("127.0.8.16", 36412),
            local=(CLIENT, 0),
            received=got.append,
            lost=lost.append,
            options=SctpOptions(heartbeat=0.2),
        )
        for number in range(10_000):
            client.send(b"%d" % number)
        await until(lambda: len(got) == 10_000)
        assert [int(message.octets) for message in got] == list(range(10_000))
        assert not lost
        other_process.kill()
        await until(lambda: lost)
        assert len(lost) == 1
        assert not client.send(b"late")

    run(scenario())


def test_what_is_used_is_chosen_and_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sctp_kernel, "why_not", lambda: "")
    assert choose().transport.name == "kernel SCTP"
    monkeypatch.setattr(sctp_kernel, "why_not", lambda: "the kernel says no")
    with pytest.raises(ConfigError, match="no kernel SCTP: the kernel says no"):
        choose("kernel")
    with pytest.raises(ConfigError, match="unknown SCTP implementation 'tcp'"):
        choose("tcp")
    monkeypatch.setattr("ferret.transport.sctp_usrsctp.load", lambda: "libusrsctp.so.2")
    monkeypatch.setattr(sctp_packets, "why_not_raw", lambda: "")
    assert choose().transport.name == "libusrsctp over raw IP"
    monkeypatch.setattr(sctp_packets, "why_not_raw", lambda: "raw sockets are not permitted")
    picked = choose()
    assert picked.transport.name == "libusrsctp over UDP"
    assert picked.why == "no kernel SCTP (the kernel says no); over UDP because raw sockets are not permitted"


def test_with_neither_the_debian_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise OSError("no such library")

    monkeypatch.setattr(sctp_kernel, "why_not", lambda: "the kernel says no")
    monkeypatch.setattr(usrsctp_library.ctypes, "CDLL", missing)
    with pytest.raises(ConfigError) as caught:
        choose()
    assert "Debian package libusrsctp2" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_kernel_is_told_stream_and_ppid_and_tells_them() -> None:
    ((level, kind, data),) = sctp_kernel.send_ancillary(3, 18)
    assert (level, kind) == (132, 2)
    assert struct.unpack("=HH4sIi", data) == (3, 0, b"\x00\x00\x00\x12", 0, 0)
    received = struct.pack("=HHHxx4sIIIi", 3, 7, 0, b"\x00\x00\x00\x12", 1, 1, 0, 5)
    assert sctp_kernel.read_ancillary([(1, 1, b""), (132, 3, received)]) == (3, 18)
    assert sctp_kernel.read_ancillary([]) == (0, 0)


def test_the_kernel_options_have_the_sizes_of_its_structures() -> None:
    sizes = {option: len(value) for option, value in sctp_kernel._socket_options(SctpOptions()).items()}
    assert sizes == {2: 8, 3: 4, 32: 4, 0: 16, 1: 20, 9: 156}
