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
        assert 'ferret_agent_messages_total{protocol="gtpv2"}' in text
        assert f"ferret_agent_queue_slots_taken {float(narrow.capacity)}" in text
        assert 'ferret_agent_lag_seconds_bucket{le="+Inf"}' in text
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
