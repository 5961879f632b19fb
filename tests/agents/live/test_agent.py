"""Agents on real interfaces: what an NF sends and receives comes out of the queue, all of it, once."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from ferret.errors import ConfigError
from ferret.protocols.summary import Protocol
from ferret.queue import PosixQueue, QueueLimits
from ferret.records.message import CapturedMessage, Node, Role
from ferret.records.recorder import Recorder
from ferret.transport.sctp import SctpAssociation, choose
from ferret_agents.collector import Collector
from ferret_agents.live.agent import AgentConfig, Capture, LiveAgent
from ferret_agents.live.counters import AgentCounters
from ferret_agents.live.metrics import faults
from ferret_agents.live.outbox import BufferLimits

pytestmark = pytest.mark.mqueue

WAY = Capture.IMMEDIATE
MME, SGW, OTHER = "127.0.1.1", "127.0.1.2", "127.0.1.3"
InNamespace = Callable[..., None]
Until = Callable[..., Coroutine[Any, Any, None]]


def udp(address: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, port))
    return sock


def config(address: str, **changes: Any) -> AgentConfig:
    return AgentConfig(("lo",), (address,), **{"capture": WAY, **changes})


@pytest.fixture(autouse=True, params=list(Capture))
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything here holds for either way to capture."""
    monkeypatch.setitem(globals(), "WAY", request.param)


def raw_sender() -> socket.socket:
    """Sends IPv4 packets as they are."""
    return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)


def udp_packet(source: str, destination: str, port: int, payload: bytes) -> bytes:
    """An IPv4 packet. No checksum of UDP."""
    header = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 28 + len(payload), 1, 0, 64, 17, 0, *map(socket.inet_aton, (source, destination))
    )
    total = sum(struct.unpack(">10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    header = header[:10] + struct.pack(">H", ~(total + (total >> 16)) & 0xFFFF) + header[12:]
    return header + struct.pack(">HHHH", port, port, 8 + len(payload), 0) + payload


def make_tun(name: str, address: str) -> int:
    """A point-to-point interface without a link layer, up, with an address and a network of 256; its descriptor."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1001))  # TUNSETIFF: IFF_TUN, IFF_NO_PI
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for request, value in ((0x8916, address), (0x891C, "255.255.255.0")):  # SIOCSIFADDR, SIOCSIFNETMASK
            of_inet = struct.pack("16sHH4s8x", name.encode(), socket.AF_INET, 0, socket.inet_aton(value))
            fcntl.ioctl(asking, request, of_inet)
        fcntl.ioctl(asking, 0x8914, struct.pack("16sH22x", name.encode(), 0x51))  # SIOCSIFFLAGS: IFF_UP, RUNNING
    return descriptor


class Bench:
    """Agents and a collector on one queue."""

    def __init__(self, queue: PosixQueue, *configs: AgentConfig) -> None:
        self.got: list[CapturedMessage] = []
        self.collector = Collector(queue, self.got.append)
        self.agents = [LiveAgent(one, queue) for one in configs]

    async def __aenter__(self) -> Bench:
        loop = asyncio.get_running_loop()
        self.collector.start(loop)
        for agent in self.agents:
            agent.start(loop)
        return self

    async def __aexit__(self, *error: object) -> None:
        self.accounts = [await agent.stop() for agent in self.agents]
        self.collector.stop()
        if error[0] is None:
            for account in self.accounts:
                assert_exact(account)
            assert sum(account.queued for account in self.accounts) == self.collector.taken == len(self.got)


def assert_exact(account: AgentCounters) -> None:
    assert account.is_exact
    assert account.unread == account.waiting == account.pending == 0
    assert account.kernel_frames == account.frames + account.kernel_dropped
    assert account.messages == account.queued + sum(account.dropped.values())
    assert account.last_number == account.messages + account.kernel_dropped


def test_what_an_nf_sends_and_receives_over_udp_is_captured_once(
    in_namespace: InNamespace, until: Until, queue: PosixQueue, sample: SimpleNamespace
) -> None:
    async def scenario() -> None:
        async with Bench(queue, config(MME)) as bench:
            with udp(MME, 2123) as mme, udp(SGW, 2123) as sgw, udp(OTHER, 2123) as other:
                began = time.time_ns()
                mme.sendto(sample.gtpv2, (SGW, 2123))
                sgw.sendto(sample.gtpv2, (MME, 2123))
                sgw.sendto(sample.gtpv2, (OTHER, 2123))  # of no concern
                other.sendto(sample.gtpv2, (MME, 2123))
                await until(lambda: len(bench.got) == 3)
                ended = time.time_ns()
        assert [(m.source.address, m.destination.address) for m in bench.got] == [(MME, SGW), (SGW, MME), (OTHER, MME)]
        assert {(m.protocol, m.octets, m.agent) for m in bench.got} == {(Protocol.GTPV2, sample.gtpv2, MME)}
        assert [m.number for m in bench.got] == [1, 2, 3]
        times = [m.captured_at_ns for m in bench.got]
        assert began <= times[0] <= times[1] <= times[2] <= ended
        assert bench.accounts[0].kernel_frames == 3

    in_namespace(scenario)


def test_ip_fragments_are_put_together(
    in_namespace: InNamespace,
    until: Until,
    queue: PosixQueue,
    sample: SimpleNamespace,
    set_mtu: Callable[[int], None],
) -> None:
    invite = sample.sip("INVITE", 1, b"v=0\r\n" + b"a=long:" + b"x" * 5000 + b"\r\n")

    async def scenario() -> None:
        set_mtu(1500)
        ends = (MME, SGW), ("::1", "::1")
        async with Bench(queue, AgentConfig(("lo",), (MME, "::1"))) as bench:
            for source, destination in ends:
                with udp(source, 5060) as sender, udp(destination, 5061) as receiver:
                    sender.sendto(invite, (destination, 5061))
                    receiver.settimeout(5)
                    assert receiver.recv(65535) == invite
            await until(lambda: len(bench.got) == 2)
        assert [(m.octets, m.protocol, m.flaws) for m in bench.got] == 2 * [(invite, Protocol.SIP, ())]
        assert bench.accounts[0].frames == bench.accounts[0].used == 8

    in_namespace(scenario)


def test_diameter_over_tcp_is_cut_out_of_the_stream(
    in_namespace: InNamespace, until: Until, queue: PosixQueue, sample: SimpleNamespace
) -> None:
    sent = [sample.diameter(316, 16777251, number, True, size) for number, size in enumerate((0, 40, 5000, 70000, 8))]

    async def scenario() -> None:
        async def discard(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        server = await asyncio.start_server(discard, SGW, 3868)
        async with Bench(queue, config(MME)) as bench:
            _, writer = await asyncio.open_connection(SGW, 3868, local_addr=(MME, 0))
            for octets in sent:
                writer.write(octets)
            writer.write_eof()
            await until(lambda: len(bench.got) + sum(bench.agents[0].counters.dropped.values()) == len(sent))
            writer.close()
        server.close()
        await server.wait_closed()
        assert [m.octets for m in bench.got] == sent
        assert {(m.source.address, m.destination.port, m.transport) for m in bench.got} == {(MME, 3868, "tcp")}

    in_namespace(scenario)


@pytest.mark.sctp
def test_s1ap_over_sctp_is_captured_with_its_stream(
    in_namespace: InNamespace, until: Until, queue: PosixQueue, sample: SimpleNamespace
) -> None:
    async def scenario() -> None:
        transport = choose().transport
        accepted: list[SctpAssociation] = []
        async with Bench(queue, config(MME)) as bench:
            listener = await transport.listen(MME, 36412, accepted.append)
            enb = await transport.connect((MME, 36412), local=(OTHER, 0))
            enb.send(sample.s1ap, stream=0)
            await until(lambda: accepted)
            accepted[0].send(sample.s1ap_answer, stream=3)
            await until(lambda: len(bench.got) == 2)
            enb.close()
            listener.close()
        assert [(m.octets, m.stream, m.source.address) for m in bench.got] == [
            (sample.s1ap, 0, OTHER),
            (sample.s1ap_answer, 3, MME),
        ]
        assert {(m.protocol, m.transport) for m in bench.got} == {(Protocol.S1AP, "sctp")}

    in_namespace(scenario)


def test_sip_inside_a_gtpu_tunnel_is_captured_and_voice_stays_in_the_kernel(
    in_namespace: InNamespace, until: Until, queue: PosixQueue, sample: SimpleNamespace, scapy: Any
) -> None:
    register = sample.sip("REGISTER", 1)

    def tunnelled(payload: bytes, port: int) -> bytes:
        inner = bytes(scapy.IP(src="10.45.0.2", dst="10.45.0.9") / scapy.UDP(sport=port, dport=port) / payload)
        return b"\x30\xff" + len(inner).to_bytes(2, "big") + b"\0\0\0\x01" + inner

    async def scenario() -> None:
        async with Bench(queue, config(SGW, ports=(5060, 2152))) as bench:
            with udp(OTHER, 2152) as enb, udp(SGW, 2152):
                for number in range(50):
                    enb.sendto(tunnelled(b"\x80\x60" + bytes(30), 40000 + number), (SGW, 2152))
                enb.sendto(tunnelled(register, 5060), (SGW, 2152))
                await until(lambda: bench.got)
        assert [(m.octets, m.tunnel_teid, m.tunnel[1].address) for m in bench.got] == [(register, 1, SGW)]
        assert bench.accounts[0].frames == 1

    in_namespace(scenario)


def test_what_two_agents_see_the_recorder_joins(
    in_namespace: InNamespace, until: Until, queue: PosixQueue, sample: SimpleNamespace
) -> None:
    answer = bytes.fromhex("40020009") + sample.gtpv2[4:]
    roles = {MME: Role.MME, SGW: Role.SGW}

    async def scenario() -> None:
        async with Bench(queue, config(MME), config(SGW)) as bench:
            with udp(MME, 2123) as mme, udp(SGW, 2123) as sgw:
                mme.sendto(sample.gtpv2, (SGW, 2123))
                sgw.sendto(answer, (MME, 2123))
                await until(lambda: len(bench.got) == 4)
        recorder = Recorder(lambda end, message: Node(roles[end.address], end.address))
        for message in bench.got:
            recorder.add(message)
        capture = recorder.finish()
        assert [(m.octets, m.agents) for m in capture.messages] == [
            (sample.gtpv2, (MME, SGW)),
            (answer, (MME, SGW)),
        ]
        assert capture.messages[1].answers == 1
        assert not capture.damage
        assert all(m.retransmissions == 0 for m in capture.messages)

    in_namespace(scenario)


def test_frames_of_several_interfaces_come_in_one_order(
    in_namespace: InNamespace, until: Until, queue: PosixQueue, sample: SimpleNamespace
) -> None:
    async def scenario() -> None:
        near, far, peer = "10.9.0.1", "127.0.1.9", "10.9.0.2"
        tun = make_tun("tun7", near)
        try:
            async with Bench(queue, AgentConfig(("lo", "tun7"), (near,))) as bench:
                with udp(near, 2123) as nf, udp(far, 2123):
                    for number in range(20):
                        nf.sendto(sample.gtpv2, (peer if number % 2 else near, 2123))
                        os.write(tun, udp_packet(peer, near, 2123, sample.gtpv2))
                    await until(lambda: len(bench.got) == 40)
            here = [m.destination.address if m.source.address == near else "in" for m in bench.got]
            assert here == [one for number in range(20) for one in (peer if number % 2 else near, "in")]
        finally:
            os.close(tun)

    in_namespace(scenario)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_full_queue_delays_nothing_but_the_messages_and_loses_none_while_memory_lasts(
    in_namespace: InNamespace, until: Until, narrow: PosixQueue, sample: SimpleNamespace, loop: str
) -> None:
    factory = pytest.importorskip("uvloop").new_event_loop if loop == "uvloop" else None

    async def scenario() -> None:
        got: list[CapturedMessage] = []
        agent = LiveAgent(config(MME), narrow)
        agent.start(asyncio.get_running_loop())
        with udp(MME, 2123) as mme, udp(SGW, 2123):
            for _ in range(500):
                mme.sendto(sample.gtpv2, (SGW, 2123))
            await until(lambda: agent.counters.messages == 500)
            counters = agent.counters
            assert (counters.queued, counters.waiting, counters.dropped) == (10, 490, {})
            assert counters.is_exact
        collector = Collector(narrow, got.append)
        collector.start(asyncio.get_running_loop())
        await until(lambda: len(got) == 500)
        assert_exact(await agent.stop())
        collector.stop()
        assert [m.number for m in got] == list(range(1, 501))

    in_namespace(scenario, factory)


def test_what_memory_has_no_room_for_is_dropped_counted_and_leaves_a_hole(
    in_namespace: InNamespace, until: Until, narrow: PosixQueue, sample: SimpleNamespace
) -> None:
    async def scenario() -> None:
        got: list[CapturedMessage] = []
        agent = LiveAgent(config(MME, buffer=BufferLimits(messages=25)), narrow)
        agent.start(asyncio.get_running_loop())
        collector = Collector(narrow, got.append)
        with udp(MME, 2123) as mme, udp(SGW, 2123):
            for _ in range(100):
                mme.sendto(sample.gtpv2, (SGW, 2123))
            await until(lambda: agent.counters.messages == 100)
            collector.start(asyncio.get_running_loop())
            await until(lambda: len(got) == 35)
            mme.sendto(sample.gtpv2, (SGW, 2123))
            await until(lambda: len(got) == 36)
        account = await agent.stop()
        collector.stop()
        assert_exact(account)
        assert (account.queued, account.dropped) == (36, {"buffer full": 65})
        assert [m.number for m in got] == [*range(1, 36), 101]
        recorder = Recorder(lambda end, message: Node(Role.UNKNOWN, end.address))
        for message in got:
            recorder.add(message)
        assert [line for line in recorder.finish().damage if "65 message(s) of the agent" in line]

    in_namespace(scenario)


def test_nobody_reads_the_queue_and_the_agent_still_stops_in_time(
    in_namespace: InNamespace, until: Until, narrow: PosixQueue, sample: SimpleNamespace
) -> None:
    async def scenario() -> None:
        agent = LiveAgent(config(MME), narrow)
        agent.start(asyncio.get_running_loop())
        with udp(MME, 2123) as mme, udp(SGW, 2123):
            for _ in range(30):
                mme.sendto(sample.gtpv2, (SGW, 2123))
        account = await agent.stop(within=0.05)
        assert_exact(account)
        assert (account.messages, account.queued, account.dropped) == (30, 10, {"stopped": 20})

    in_namespace(scenario)


def test_what_the_kernel_dropped_is_counted_and_leaves_a_hole_in_its_place(
    in_namespace: InNamespace, until: Until, queue: PosixQueue, sample: SimpleNamespace
) -> None:
    sent = 6000 if WAY is Capture.BUFFERED else 300  # more than the kernel has room for

    async def scenario() -> None:
        async with Bench(queue, config(MME, receive_buffer=4096)) as bench:
            with udp(MME, 2123) as mme, udp(SGW, 2123):
                for _ in range(sent):  # without giving the agent its turn
                    mme.sendto(sample.gtpv2, (SGW, 2123))
                await until(lambda: bench.agents[0].counters.unread == 0)
                held = len(bench.got)
                mme.sendto(sample.gtpv2, (SGW, 2123))
                await until(lambda: len(bench.got) > held)
        account = bench.accounts[0]
        assert account.kernel_dropped > 0
        assert account.kernel_frames == sent + 1 == account.messages + account.kernel_dropped
        numbers = [m.number for m in bench.got]
        assert numbers[-1] == sent + 1 == account.last_number
        assert numbers[:-1] == list(range(1, len(numbers)))

    in_namespace(scenario)


def test_a_message_longer_than_the_queue_is_counted_and_the_next_one_goes_on(
    in_namespace: InNamespace, until: Until, sample: SimpleNamespace
) -> None:
    async def scenario() -> None:
        name = f"/ferret-test-{os.getpid()}-{os.urandom(4).hex()}"
        with PosixQueue.create(name, QueueLimits(2, 512)) as small, udp(MME, 5060) as nf, udp(SGW, 5060):
            async with Bench(small, config(MME)) as bench:
                nf.sendto(sample.sip("INVITE", 1, b"x" * 2000), (SGW, 5060))
                nf.sendto(sample.sip("OPTIONS", 2), (SGW, 5060))
                await until(lambda: bench.got)
        assert bench.accounts[0].dropped == {"longer than the queue": 1}
        assert [m.number for m in bench.got] == [2]

    in_namespace(scenario)


def test_a_queue_made_later_or_anew_is_found_and_nothing_is_put_into_one_that_was_removed(
    in_namespace: InNamespace, until: Until, sample: SimpleNamespace
) -> None:
    name = f"/ferret-test-{os.getpid()}-{os.urandom(4).hex()}"

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        agent = LiveAgent(config(MME), None, reopen=lambda: PosixQueue(name))
        agent.start(loop)
        assert not agent.delivery.has_queue
        got: list[CapturedMessage] = []
        with udp(MME, 2123) as mme, udp(SGW, 2123):
            for total in (15, 30):
                for _ in range(15):
                    mme.sendto(sample.gtpv2, (SGW, 2123))
                await until(lambda: agent.counters.messages == total)  # noqa: B023 - awaited here
                with PosixQueue.create(name, QueueLimits(10, 512)) as queue:
                    collector = Collector(queue, got.append)
                    collector.start(loop)
                    await until(lambda: len(got) == total)  # noqa: B023
                    collector.stop()
        assert [m.number for m in got] == list(range(1, 31))
        account = await agent.stop(within=0)
        assert_exact(account)
        assert account.queued == 30

    in_namespace(scenario)


def test_at_a_mirror_port_an_nf_elsewhere_is_captured(
    in_namespace: InNamespace,
    until: Until,
    queue: PosixQueue,
    sample: SimpleNamespace,
    make_veth: Callable[[], None],
    scapy: Any,
) -> None:
    near, far = "10.8.0.1", "10.8.0.2"
    plain = b"\x04" * 12 + b"\x08\x00" + udp_packet(near, far, 2123, sample.gtpv2)  # to somebody else's MAC address
    foreign = b"\x04" * 12 + b"\x08\x00" + udp_packet(far, "10.8.0.3", 2123, sample.gtpv2)
    outer = scapy.IP(src="9.0.0.1", dst="9.0.0.2", proto=47)
    mirrored = bytes(scapy.Ether() / outer / (b"\x10\0\x88\xbe\0\0\0\x01" + bytes(8) + plain))

    async def scenario() -> None:
        make_veth()
        mirror = AgentConfig(("veth0",), (near,), mirrored=True)
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
            async with Bench(queue, mirror) as bench:
                for frame in (plain, foreign, mirrored):
                    wire.sendto(frame, ("veth1", 0x0800))
                await until(lambda: len(bench.got) == 2)
        assert [(m.source.address, m.octets) for m in bench.got] == 2 * [(near, sample.gtpv2)]

    in_namespace(scenario)


def test_an_interface_that_goes_down_is_told_and_captured_from_again_when_it_is_up(
    in_namespace: InNamespace,
    until: Until,
    queue: PosixQueue,
    sample: SimpleNamespace,
    set_up: Callable[[bool], None],
) -> None:
    async def scenario() -> None:
        async with Bench(queue, config(MME)) as bench:
            agent = bench.agents[0]
            assert faults(agent) == []
            set_up(False)
            await until(lambda: agent.counters.interrupted == 1)
            assert faults(agent) == ["the interface lo is down"]
            set_up(True)
            with udp(MME, 2123) as mme, udp(SGW, 2123):
                mme.sendto(sample.gtpv2, (SGW, 2123))
                await until(lambda: bench.got)
            assert faults(agent) == []

    in_namespace(scenario)


@pytest.mark.parametrize("tags", [(), (0x8100,), (0x88A8, 0x8100), (0x8100, 0x8100, 0x8100)])
def test_vlan_tags_are_seen_through_where_frames_leave_and_where_they_come_in(
    in_namespace: InNamespace,
    until: Until,
    queue: PosixQueue,
    sample: SimpleNamespace,
    make_veth: Callable[[], None],
    tags: tuple[int, ...],
) -> None:
    near, far = "10.8.0.1", "10.8.0.2"
    head = b"\xff" * 6 + b"\x02" * 6 + b"".join(struct.pack(">HH", tag, 7) for tag in tags) + b"\x08\x00"

    async def scenario() -> None:
        make_veth()
        leaving = AgentConfig(("veth1",), (near,), name="leaving")
        coming = AgentConfig(("veth0",), (near,), name="coming")
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
            async with Bench(queue, leaving, coming) as bench:
                for packet in (
                    udp_packet(far, "10.8.0.3", 2123, b"not ours"),
                    udp_packet(near, far, 2123, sample.gtpv2),
                ):
                    wire.sendto(head + packet, ("veth1", 0x0800))
                await until(lambda: len(bench.got) == 2)
        assert {(m.agent, m.octets) for m in bench.got} == {("leaving", sample.gtpv2), ("coming", sample.gtpv2)}
        assert [account.frames for account in bench.accounts] == [1, 1]

    in_namespace(scenario)


def test_an_agent_stays_in_the_namespace_that_it_was_opened_in(
    in_namespace: InNamespace, until: Until, queue: PosixQueue, sample: SimpleNamespace
) -> None:
    agent = LiveAgent(config(MME), queue)
    ends: list[socket.socket] = []

    async def open_there() -> None:
        agent.open()
        ends.extend((udp(MME, 2123), udp(SGW, 2123)))

    async def scenario() -> None:
        agent.start(asyncio.get_running_loop())
        assert faults(agent) == []
        ends[0].sendto(sample.gtpv2, (SGW, 2123))
        await until(lambda: agent.counters.queued == 1)
        assert_exact(await agent.stop())
        for end in ends:
            end.close()

    in_namespace(open_there)
    in_namespace(scenario)


def test_a_filter_is_changed_without_losing_a_frame(
    in_namespace: InNamespace, until: Until, queue: PosixQueue, sample: SimpleNamespace
) -> None:
    async def scenario() -> None:
        async with Bench(queue, config(MME, ports=(2123,))) as bench:
            with udp(MME, 2123) as mme, udp(OTHER, 2123) as other, udp(SGW, 2123):
                mme.sendto(sample.gtpv2, (SGW, 2123))
                other.sendto(sample.gtpv2, (SGW, 2123))
                bench.agents[0].refilter((MME, OTHER), (2123,))
                mme.sendto(sample.gtpv2, (SGW, 2123))
                other.sendto(sample.gtpv2, (SGW, 2123))
                await until(lambda: len(bench.got) == 3)
        assert [m.source.address for m in bench.got] == [MME, MME, OTHER]

    in_namespace(scenario)


def test_a_stream_with_a_hole_is_given_up_when_the_interface_is_quiet(
    in_namespace: InNamespace, until: Until, queue: PosixQueue, scapy: Any, sample: SimpleNamespace
) -> None:
    async def scenario() -> None:
        with raw_sender() as raw:
            async with Bench(queue, config(MME)) as bench:
                octets = sample.diameter(316, 16777251, 1, True)
                for sequence, payload in ((1000, octets), (5000, octets)):
                    packet = scapy.IP(src=MME, dst=SGW) / scapy.TCP(sport=4000, dport=3868, seq=sequence, flags="PA")
                    raw.sendto(bytes(packet / payload), (SGW, 0))
                await until(lambda: len(bench.got) == 2)
        assert [flaw.value for flaw in bench.got[1].flaws] == ["hole before"]

    in_namespace(scenario)


def test_it_captures_in_another_namespace_and_stays_in_its_own(
    in_namespace: InNamespace, until: Until, queue: PosixQueue, sample: SimpleNamespace
) -> None:
    """As beside a container: the agent is opened by a thread that is in the namespace where the tests began."""
    with ThreadPoolExecutor(1) as outside:
        outside.submit(threading.get_native_id).result()  # it is there, in the first namespace

        async def scenario() -> None:
            there = f"/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net"
            loop = asyncio.get_running_loop()
            agent = LiveAgent(config(MME, netns=there), queue)
            await loop.run_in_executor(outside, agent.open)
            agent.start(loop)
            got: list[CapturedMessage] = []
            collector = Collector(queue, got.append)
            collector.start(loop)
            with udp(MME, 2123) as mme, udp(SGW, 2123):
                mme.sendto(sample.gtpv2, (SGW, 2123))
                await until(lambda: got)
            assert_exact(await agent.stop())
            collector.stop()

        in_namespace(scenario)


def test_a_namespace_that_is_not_there_is_said(queue: PosixQueue) -> None:
    with pytest.raises(ConfigError, match="no network namespace /run/netns/nowhere"):
        LiveAgent(config(MME, netns="nowhere"), queue).open()
