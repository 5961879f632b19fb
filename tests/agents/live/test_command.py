"""`ferret agent`: a process beside an NF, from start to SIGTERM."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner

from ferret.cli import ferret
from ferret.errors import ConfigError
from ferret.queue import PosixQueue
from ferret.records.message import CapturedMessage
from ferret_agents.collector import Collector
from ferret_agents.live.agent import AgentConfig, LiveAgent
from ferret_agents.live.privileges import drop_privileges
from ferret_agents.live_recording import record_messages

pytestmark = pytest.mark.mqueue

NF, PEER = "127.0.1.1", "127.0.1.2"
COMMAND = (sys.executable, "-c", "from ferret_agents.commands.agent import agent; agent()")
InNamespace = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]
Until = Callable[..., Coroutine[Any, Any, None]]


def is_mapped(user: int) -> bool:
    """Whether this user namespace has that user (user_namespaces(7))."""
    lines = Path("/proc/self/uid_map").read_text().splitlines()
    return any(int(first) <= user < int(first) + int(number) for first, _, number in map(str.split, lines))


class Process:
    """The command, running, with what it says."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.log = b""

    @classmethod
    async def start(cls, *arguments: str) -> Process:
        pipe = asyncio.subprocess.PIPE
        made = cls(await asyncio.create_subprocess_exec(*COMMAND, *arguments, stdout=pipe, stderr=pipe))
        await made.says(b"agent_started")
        return made

    async def says(self, what: bytes) -> None:
        stream = self._process.stderr
        assert stream is not None
        while what not in self.log:
            line = await stream.readline()
            assert line, self.log.decode()
            self.log += line

    @property
    def user(self) -> int:
        status = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        (line,) = (line for line in status if line.startswith("Uid:"))
        assert len(set(line.split()[1:])) == 1
        return int(line.split()[1])

    async def killed(self) -> None:
        self._process.kill()
        await self._process.communicate()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    async def end(self) -> str:
        self._process.send_signal(signal.SIGTERM)
        out, _ = await self._process.communicate()
        assert self._process.returncode == 0
        return out.decode()


def udp(address: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, port))
    return sock


def test_it_captures_tells_how_it_is_and_drains_at_sigterm(
    in_namespace: InNamespace, until: Until, narrow: PosixQueue, sample: SimpleNamespace
) -> None:
    async def scenario() -> None:
        http = "127.0.0.1:9101"
        process = await Process.start("-i", "lo", "-a", NF, "--queue", narrow.name, "--http", http)
        got: list[CapturedMessage] = []
        with udp(NF, 2123) as nf, udp(PEER, 2123):
            for _ in range(40):
                nf.sendto(sample.gtpv2, (PEER, 2123))
            async with aiohttp.ClientSession() as session:
                await until(lambda: narrow.depth == narrow.capacity)
                async with session.get(f"http://{http}/healthz") as answer:
                    health = await answer.json()
                    assert (answer.status, health["status"]) == (200, "ok")
                    assert health["waiting"] == health["messages"] - health["queued"]
                async with session.get(f"http://{http}/metrics") as answer:
                    text = await answer.text()
        where = f'agent="{NF}",interface="lo"'
        assert f'ferret_agent_messages_total{{{where},protocol="gtpv2",type="Echo Request"}} ' in text
        assert f"ferret_agent_queue_slots_taken{{{where}}} {float(narrow.capacity)}" in text
        assert f'ferret_agent_lag_seconds_bucket{{{where},le="+Inf"}}' in text
        assert f'ferret_agent_dropped_messages_total{{{where},reason="kernel"}} 0.0' in text
        assert f"ferret_agent_reassembly_octets{{{where}}} 0.0" in text
        ending = asyncio.create_task(process.end())
        collector = Collector(narrow, got.append)
        collector.start(asyncio.get_running_loop())
        line = await ending
        collector.stop()
        assert line == (f"agent {NF}: 40 messages, 40 queued, 0 dropped; 40 frames, 0 dropped by the kernel\n")
        assert [m.number for m in got] == list(range(1, 41))

    in_namespace(scenario)


@pytest.mark.root
def test_it_gives_up_root_before_it_opens_the_queue(
    in_namespace: InNamespace, until: Until, queue: PosixQueue, sample: SimpleNamespace
) -> None:
    nobody = pwd.getpwnam("nobody")
    if not is_mapped(nobody.pw_uid):
        pytest.skip("SKIPPED LOUDLY: this user namespace does not know the user nobody")

    async def scenario() -> None:
        process = await Process.start("-i", "lo", "-a", NF, "--queue", queue.name, "--user", "nobody")
        await process.says(b"cannot be opened")
        assert process.user == nobody.pw_uid
        os.fchown(queue.fileno(), nobody.pw_uid, nobody.pw_gid)
        with udp(NF, 2123) as nf, udp(PEER, 2123):
            nf.sendto(sample.gtpv2, (PEER, 2123))
            await until(lambda: queue.depth == 1)
        assert "1 queued" in await process.end()

    in_namespace(scenario)


def test_an_agent_without_a_queue_or_interface_says_so(in_namespace: InNamespace, until: Until) -> None:
    async def scenario() -> None:
        http = "127.0.0.1:9102"
        process = await Process.start("-i", "lo", "-a", NF, "--queue", "/ferret-is-not-there", "--http", http)
        async with aiohttp.ClientSession() as session, session.get(f"http://{http}/healthz") as answer:
            health = await answer.json()
            assert answer.status == 503
            assert health["faults"] == ["there is no queue to put messages into: is the recorder running?"]
        await process.says(b"there is no POSIX queue /ferret-is-not-there")
        await process.end()

    in_namespace(scenario)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["-i", "nowhere0", "-i", "nowhere1"], "no interface 'nowhere0' (there are: lo"),
        (["-i", "lo", "-a", "mme"], "'mme' is not an IP address"),
        (["-i", "lo", "--http", "127.0.0.1:70000"], "host and port are wanted"),
        (["-i", "lo", "--http", "host:http"], "host and port are wanted"),
    ],
)
def test_what_is_wrong_with_the_command_line_is_said_in_one_line(arguments: list[str], fault: str) -> None:
    result = CliRunner().invoke(ferret, ["agent", *arguments])
    assert isinstance(result.exception, ConfigError)
    assert fault in str(result.exception)
    assert "\n" not in str(result.exception)


def test_without_the_capability_it_says_what_to_do(queue: PosixQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    live = LiveAgent(AgentConfig(("lo",), (NF,)), queue)
    monkeypatch.setattr("ferret_agents.live.packets.socket.socket.__init__", refuse)
    monkeypatch.setattr("ferret_agents.live.agent.find_interfaces", lambda names: ())
    with pytest.raises(ConfigError, match=r"needs CAP_NET_RAW: run it as root .*unshare --user"):
        live.open()


def test_a_user_that_cannot_be_had_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ConfigError, match="only root can become the user 'nobody'"):
        drop_privileges("nobody")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(ConfigError, match="there is no user 'nobody at all'"):
        drop_privileges("nobody at all")


def test_sighup_takes_other_addresses_and_loses_no_message(
    in_namespace: InNamespace, until: Until, queue: PosixQueue, sample: SimpleNamespace, tmp_path: Path
) -> None:
    """Messages of the one NF go on all the time; from a SIGHUP on, those of another one are taken as well."""
    config = tmp_path / "agent.toml"
    text = 'queue = "{}"\n[interface.mme]\ndevice = "lo"\naddresses = [{}]\n{}'

    def write(*addresses: str, more: str = "") -> None:
        config.write_text(text.format(queue.name, ", ".join(f'"{one}"' for one in addresses), more))

    async def scenario() -> None:
        write(NF)
        process = await Process.start("--config", str(config))
        got: list[CapturedMessage] = []
        collector = Collector(queue, got.append)
        collector.start(asyncio.get_running_loop())
        sent, stopping = 0, False

        async def go_on() -> None:
            nonlocal sent
            while not stopping:
                nf.sendto(sample.gtpv2, (PEER, 2123))
                sent += 1
                await asyncio.sleep(0)

        other, peer = "127.0.1.8", "127.0.1.9"
        with udp(NF, 2123) as nf, udp(PEER, 2123), udp(other, 2123) as second, udp(peer, 2123):
            going_on = asyncio.create_task(go_on())
            second.sendto(sample.gtpv2, (peer, 2123))
            await until(lambda: len(got) > 50)
            write(NF, other)
            process.signal(signal.SIGHUP)
            await process.says(b"filters_reloaded")
            second.sendto(sample.gtpv2, (peer, 2123))
            await until(lambda: any(m.source.address == other for m in got))
            write("nonsense")
            process.signal(signal.SIGHUP)
            await process.says(b"reload_failed")
            write(NF, more="capture = 'buffered'\n")
            process.signal(signal.SIGHUP)
            await process.says(b"other than its filter")
            before = sent
            await until(lambda: sent > before + 50)
            stopping = True
            await going_on
            await until(lambda: len(got) == sent + 1)
        assert "0 dropped by the kernel" in await process.end()
        collector.stop()
        assert len(got) == sent + 1
        assert [m.number for m in got] == list(range(1, sent + 2))

    in_namespace(scenario)


def test_several_processes_share_the_frames_and_each_flow_stays_together(
    in_namespace: InNamespace, until: Until, queue: PosixQueue, sample: SimpleNamespace
) -> None:
    async def scenario() -> None:
        process = await Process.start(
            "-i", "lo", "-a", NF, "--queue", queue.name, "--processes", "2", "--capture", "buffered"
        )
        process.log = b""
        await process.says(b"agent_started")  # the other one
        got: list[CapturedMessage] = []
        collector = Collector(queue, got.append)
        collector.start(asyncio.get_running_loop())
        ports = range(30000, 30016)
        with udp(NF, 2123) as nf:
            for number in range(320):
                nf.sendto(sample.gtpv2, (PEER, ports[number % len(ports)]))
            await until(lambda: len(got) == 320)
        line = await process.end()
        collector.stop()
        assert line.count(f"agent {NF}: ") == 2
        epochs = {m.epoch for m in got}
        assert len({epoch >> 8 for epoch in epochs} | {0}) <= 3
        assert {epoch & 0xFF for epoch in epochs} == {0, 1}
        for epoch in epochs:
            its = [m for m in got if m.epoch == epoch]
            assert [m.number for m in its] == list(range(1, len(its) + 1))
        for port in ports:
            assert len({m.epoch for m in got if m.destination.port == port}) == 1

    in_namespace(scenario)


def test_what_memory_has_no_room_for_waits_on_disk(
    in_namespace: InNamespace, until: Until, narrow: PosixQueue, sample: SimpleNamespace, tmp_path: Path
) -> None:
    async def scenario() -> None:
        http = "127.0.0.1:9104"
        arguments = ("-i", "lo", "-a", NF, "--queue", narrow.name, "--http", http, "--spill", str(tmp_path))
        process = await Process.start(*arguments, "--buffer", "1")
        with udp(NF, 2123) as nf, udp(PEER, 2123):
            for _ in range(3000):
                nf.sendto(sample.gtpv2, (PEER, 2123))
            async with aiohttp.ClientSession() as session:
                text = ""
                async with asyncio.timeout(20):
                    while 'spilled_messages_total{agent="127.0.1.1",interface="lo"} 990.0' not in text:
                        async with session.get(f"http://{http}/metrics") as answer:
                            text = await answer.text()
        got: list[CapturedMessage] = []
        ending = asyncio.create_task(process.end())
        collector = Collector(narrow, got.append)
        collector.start(asyncio.get_running_loop())
        line = await ending
        collector.stop()
        assert "3000 messages, 3000 queued, 0 dropped" in line
        assert [m.number for m in got] == list(range(1, 3001))

    in_namespace(scenario)


def test_an_agent_that_was_killed_and_started_again_leaves_a_hole_and_nothing_twice(
    in_namespace: InNamespace, until: Until, queue: PosixQueue, sample: SimpleNamespace
) -> None:
    async def scenario() -> None:
        got: list[CapturedMessage] = []
        collector = Collector(queue, got.append)
        collector.start(asyncio.get_running_loop())
        with udp(NF, 2123) as nf, udp(PEER, 2123):
            process = await Process.start("-i", "lo", "-a", NF, "--queue", queue.name)
            for total in (5, 10):
                for number in range(5):
                    nf.sendto(request(total + number), (PEER, 2123))
                await until(lambda: len(got) == total)  # noqa: B023 - awaited here
                if total == 5:
                    await process.killed()
                    nf.sendto(request(99), (PEER, 2123))  # nobody sees it
                    process = await Process.start("-i", "lo", "-a", NF, "--queue", queue.name)
            await process.end()
        collector.stop()
        assert [m.number for m in got] == 2 * [1, 2, 3, 4, 5]
        first, second = got[0].epoch, got[-1].epoch
        assert [m.epoch for m in got] == 5 * [first] + 5 * [second]
        assert first < second
        damage = record_messages(got).damage
        assert len(damage) == 1
        assert f"the agent at {NF} was started again, after message 5" in damage[0]

    in_namespace(scenario)


def request(sequence: int) -> bytes:
    """An Echo Request (TS 29.274 clause 7.1.1) of its own."""
    return bytes.fromhex("40010009") + sequence.to_bytes(3, "big") + bytes.fromhex("000300010001")
