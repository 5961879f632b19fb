"""`ferret agent`: the process beside one NF."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator

import click
from aiohttp import web

from ferret.errors import ConfigError
from ferret.logs import LEVELS, configure
from ferret.queue import PosixQueue
from ferret_agents.live.agent import AgentConfig, LiveAgent
from ferret_agents.live.counters import AgentCounters
from ferret_agents.live.filter import DEFAULT_PORTS
from ferret_agents.live.loop import new_event_loop
from ferret_agents.live.metrics import agent_app
from ferret_agents.live.outbox import BufferLimits
from ferret_agents.live.privileges import drop_privileges

DEFAULT_QUEUE = "/ferret"
_PORTS = ", ".join(map(str, DEFAULT_PORTS))


@click.command()
@click.option(
    "-i", "--interface", "interfaces", multiple=True, required=True, metavar="NAME",
    help="Interface to capture from; may be given several times. NFs of one host talk over lo.",
)  # fmt: skip
@click.option(
    "-a", "--address", "addresses", multiple=True, metavar="IP",
    help="Address of the NF, several times where it has several; the first names it. Without: every address.",
)  # fmt: skip
@click.option(
    "-p", "--port", "ports", multiple=True, type=click.IntRange(0, 65535), metavar="PORT",
    help=f"Port of signalling, several times where there are several (default: {_PORTS}). 2152: also inside "
    "GTP-U. 0: every port.",
)  # fmt: skip
@click.option("--mirror", is_flag=True, help="A mirror port: take others' packets, also in VXLAN, GRE and ERSPAN.")
@click.option("--name", default="", help="What the agent is called, in place of the first address.")
@click.option("--queue", "queue_name", default=DEFAULT_QUEUE, show_default=True, help="POSIX queue of the recorder.")
@click.option("--user", default="", help="Who to be once the socket is open, when started as root.")
@click.option("--http", "http_address", default="", metavar="[HOST:]PORT", help="Serve /healthz and /metrics there.")
@click.option(
    "--buffer", "megabytes", default=64, show_default=True, type=click.IntRange(1), metavar="MB",
    help="Memory for messages while the queue is full.",
)  # fmt: skip
@click.option("--drain", default=5.0, show_default=True, help="Seconds to wait for the queue at the end.")
@click.option("--log-level", default="info", show_default=True, type=click.Choice(LEVELS), help="What to log.")
def agent(
    interfaces: tuple[str, ...],
    addresses: tuple[str, ...],
    ports: tuple[int, ...],
    mirror: bool,
    name: str,
    queue_name: str,
    user: str,
    http_address: str,
    megabytes: int,
    drain: float,
    log_level: str,
) -> None:
    """Capture what one NF sends and receives, into the host's queue.

    It needs CAP_NET_RAW, and changes nothing about the NF or its traffic. It starts with or without a recorder, and
    finds the queue when there is one. What cannot be kept is counted, never lost in silence. SIGTERM and Ctrl-C put
    what was captured into the queue, and end it with the account.
    """
    configure(level=log_level)
    config = AgentConfig(
        interfaces=interfaces,
        addresses=addresses,
        ports=() if 0 in ports else ports or DEFAULT_PORTS,
        mirrored=mirror,
        name=name,
        buffer=BufferLimits(messages=megabytes * 2000, octets=megabytes << 20),
    )
    site = _host_and_port(http_address) if http_address else None
    live = LiveAgent(config, None, reopen=lambda: PosixQueue(queue_name))
    try:
        live.open()
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.get_loop()  # imports what a user without root's rights may not be able to read
            if user:
                drop_privileges(user)
            account = runner.run(_serve(live, site, drain))
    finally:
        live.close()
    click.echo(_line(account))


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"--http {text}: host and port are wanted, such as 127.0.0.1:9101")
    return host.strip("[]") or "127.0.0.1", int(port)


async def _serve(live: LiveAgent, site: tuple[str, int] | None, drain: float) -> AgentCounters:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    async with _http(live, site):
        live.start(loop)
        await stopping.wait()
        return await live.stop(drain)


@contextlib.asynccontextmanager
async def _http(live: LiveAgent, site: tuple[str, int] | None) -> AsyncIterator[None]:
    if site is None:
        yield
        return
    runner = web.AppRunner(agent_app(live), access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, *site).start()
        except OSError as error:
            raise ConfigError(f"--http {site[0]}:{site[1]}: {error.strerror or error}") from None
        yield
    finally:
        await runner.cleanup()


def _line(account: AgentCounters) -> str:
    """The account for people."""
    dropped = sum(account.dropped.values())
    reasons = ", ".join(f"{number} {reason}" for reason, number in account.dropped.items())
    return (
        f"agent {account.agent}: {account.messages} messages, {account.queued} queued, {dropped} dropped"
        f"{f' ({reasons})' if dropped else ''}; {account.frames} frames, {account.kernel_dropped} dropped by the kernel"
    )
