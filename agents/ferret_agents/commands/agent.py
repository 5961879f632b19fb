"""`ferret agent`: the process beside one NF, or several."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import click
import structlog
from aiohttp import web

from ferret.errors import ConfigError, FerretError
from ferret.logs import LEVELS, configure
from ferret.queue import open_queue
from ferret.signals import until_told_to_stop
from ferret_agents.live.agent import Capture
from ferret_agents.live.counters import AgentCounters
from ferret_agents.live.filter import DEFAULT_PORTS
from ferret_agents.live.group import AgentGroup
from ferret_agents.live.loop import new_event_loop
from ferret_agents.live.metrics import agent_app
from ferret_agents.live.privileges import drop_privileges
from ferret_agents.live.settings import DEFAULT_QUEUE, Settings, load, of_process, read
from ferret_agents.live.workers import run_workers

_WAYS = [str(one) for one in Capture]
_PORTS = ", ".join(map(str, DEFAULT_PORTS))

_log = structlog.get_logger("ferret.agent")


@click.command()
@click.option(
    "-c", "--config", "config_file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Configuration (TOML), a section for each interface; flags go before it. SIGHUP reads its filters again.",
)  # fmt: skip
@click.option(
    "-i", "--interface", "interfaces", multiple=True, metavar="NAME",
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
@click.option("--filter", "expression", metavar="EXPRESSION", help="Beside that, pcap-filter(7): 'not host 192.0.2.9'.")
@click.option("--netns", metavar="PATH|NAME", help="Capture in another network namespace: /proc/PID/ns/net.")
@click.option("--mirror", is_flag=True, help="A mirror port: take others' packets, also in VXLAN, GRE and ERSPAN.")
@click.option(
    "--capture",
    type=click.Choice(_WAYS),
    help="Each frame at once, or in blocks: cheaper, 1 ms late.",
)
@click.option("--processes", type=click.IntRange(1, 16), help="Processes that share the frames.")
@click.option("--name", help="What the agent is called, in place of the first address.")
@click.option("--queue", "queue_name", help=f"The recorder's queue: POSIX or redis://HOST (default: {DEFAULT_QUEUE}).")
@click.option("--user", help="Who to be once the sockets are open, when started as root.")
@click.option("--http", "http_address", metavar="[HOST:]PORT", help="Serve /healthz and /metrics there.")
@click.option(
    "--buffer", "megabytes", type=click.IntRange(1), metavar="MB",
    help="Memory for messages while the queue is full (default: 64).",
)  # fmt: skip
@click.option("--spill", "spill_directory", metavar="DIR", help="Where messages wait when that is used up.")
@click.option("--drain", type=float, help="Seconds to wait for the queue at the end (default: 5).")
@click.option("--log-level", type=click.Choice(LEVELS), help="What to log (default: info).")
def agent(config_file: Path | None, **flags: Any) -> None:
    """Capture what one NF sends and receives, into the host's queue.

    It needs CAP_NET_RAW, and changes nothing about the NF or its traffic. It starts with or without a recorder, and
    finds the queue when there is one. What cannot be kept is counted, never lost in silence. SIGTERM and Ctrl-C put
    what was captured into the queue, and end it with the account.
    """
    settings = _settings(config_file, flags)
    configure(level=settings.log_level)
    if settings.processes > 1:
        run_workers(settings.processes, lambda number: _run(settings, number, config_file, flags))
    else:
        _run(settings, 0, config_file, flags)


def _settings(config_file: Path | None, flags: Mapping[str, Any]) -> Settings:
    """The file, the environment, and flags. Raises ConfigError."""
    top = {
        "queue": flags["queue_name"], "http": flags["http_address"], "user": flags["user"], "drain_s": flags["drain"],
        "log_level": flags["log_level"],
    }  # fmt: skip
    given: dict[str, object] = {key: value for key, value in top.items() if value is not None}
    buffer = {"memory_mb": flags["megabytes"], "spill_directory": flags["spill_directory"]}
    if any(buffer.values()):
        given["buffer"] = {key: value for key, value in buffer.items() if value is not None}
    interfaces = _interfaces(flags)
    if config_file is not None:
        if interfaces:
            raise ConfigError("--config says which interfaces: leave --interface, --address, --port and so on out")
        return load(config_file, os.environ, given)
    if not interfaces:
        raise ConfigError("no interface to capture from: --interface eth0, or --config FILE")
    return read({"interface": interfaces}, os.environ, given)


def _interfaces(flags: Mapping[str, Any]) -> dict[str, dict[str, object]]:
    """Sections for the interfaces that flags name: several are one agent's."""
    ports = flags["ports"]
    about = {
        "addresses": list(flags["addresses"]) or None,
        "ports": ([] if 0 in ports else list(ports)) if ports else None,
        "filter": flags["expression"],
        "netns": flags["netns"],
        "name": flags["name"],
        "mirror": flags["mirror"] or None,
        "capture": flags["capture"],
        "processes": flags["processes"],
    }
    section = {key: value for key, value in about.items() if value is not None}
    if not flags["interfaces"]:
        return {"": section} if section else {}
    name = "+".join(dict.fromkeys(flags["interfaces"]))
    return {name: {**section, "devices": list(flags["interfaces"])}}


def _run(settings: Settings, number: int, config_file: Path | None, flags: Mapping[str, Any]) -> None:
    """One process's agents, from start to SIGTERM."""
    group = AgentGroup(of_process(settings, number), lambda: open_queue(settings.queue))
    try:
        group.open()
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.get_loop()  # imports what a user without root's rights may not be able to read
            if settings.user:
                drop_privileges(settings.user)
            serving = _serve(group, settings, number, lambda: _settings(config_file, flags))
            accounts = runner.run(serving)
    finally:
        group.close()
    for account in accounts:
        click.echo(_line(account))


async def _serve(group: AgentGroup, settings: Settings, number: int, again: Any) -> list[AgentCounters]:
    loop, stopping = asyncio.get_running_loop(), until_told_to_stop()
    loop.add_signal_handler(signal.SIGHUP, lambda: _reload(group, number, again))
    site = settings.http
    async with _http(group, (site[0], site[1] + number if site[1] else 0) if site else None):
        group.start(loop)
        await stopping.wait()
        return await group.stop(settings.drain_s)


def _reload(group: AgentGroup, number: int, again: Any) -> None:
    """SIGHUP: whatever is wrong with the file now, the agents go on as before."""
    try:
        group.reload(of_process(again(), number))
    except FerretError as error:
        _log.error("reload_failed", reason=str(error))


@contextlib.asynccontextmanager
async def _http(group: AgentGroup, site: tuple[str, int] | None) -> AsyncIterator[None]:
    if site is None:
        yield
        return
    runner = web.AppRunner(agent_app(group.agents), access_log=None)
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
