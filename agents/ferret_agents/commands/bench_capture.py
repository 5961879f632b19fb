"""`ferret bench capture`: what an agent costs, beside tcpdump and dumpcap."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict

import click
from rich.console import Console
from rich.table import Table

from ferret.logs import configure
from ferret_agents.live.agent import Capture
from ferret_agents.live.loads import LOADS, Load
from ferret_agents.live.measure import YARDSTICKS, Figures, Way, enter_own_network, measure_agent, measure_yardstick


@click.command("capture")
@click.option("--kind", type=click.Choice(tuple(LOADS)), default="gtpv2", show_default=True, help="What is sent.")
@click.option(
    "--rate", "rates", multiple=True, type=click.IntRange(1, 1_000_000), help="Messages per second; several at will."
)
@click.option(
    "--way", "ways", multiple=True, type=click.Choice(tuple(Capture)), help="How to capture (default: both ways)."
)
@click.option("--period", default=1, show_default=True, metavar="MS", help="Buffered: how late a frame may be.")
@click.option("--yardsticks/--no-yardsticks", default=True, help="Measure tcpdump and dumpcap as well.")
@click.option("--seconds", default=3.0, show_default=True, type=click.FloatRange(0.1, 600.0), help="For each rate.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def bench_capture(
    kind: str,
    rates: tuple[int, ...],
    ways: tuple[str, ...],
    period: int,
    yardsticks: bool,
    seconds: float,
    as_json: bool,
) -> None:
    """Capture real packets at steady rates, in a network namespace of its own.

    Prints for the agent, and for tcpdump and dumpcap at the same rate: messages offered, captured and dropped, CPU
    time per message, and for the agent how long after the kernel's timestamp messages are in the queue.
    """
    configure(level="error")
    enter_own_network()
    results: list[Figures] = []
    for rate in rates or (1000, 10_000):
        load = Load(kind, rate, seconds)
        results.extend(measure_agent(load, Way(Capture(way), period)) for way in ways or tuple(Capture))
        if yardsticks:
            results.extend(found for name in YARDSTICKS if (found := measure_yardstick(name, load)))
    if as_json:
        figures = [{**asdict(one), "exact": one.is_exact} for one in results]
        click.echo(json.dumps({"machine": _machine(), "kind": kind, "capture": figures}, indent=2))
    else:
        _print(results, kind)


def _machine() -> str:
    return f"{platform.machine()}, Linux {platform.release()}, Python {platform.python_version()}"


def _print(results: Sequence[Figures], kind: str) -> None:
    console = Console(highlight=False)
    console.print(f"{kind} over {LOADS[kind].transport.upper()} on lo; {_machine()}")
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("", "offered/s", "offered", "captured", "dropped", "CPU us a message", "lag p50 us", "lag p99 us"):
        table.add_column(name, justify="right" if name else "left", header_style="dim")
    for one in results:
        dropped = ", ".join(f"{number} {reason}" for reason, number in one.dropped.items()) or "0"
        lags = (f"{one.lag_p50_us:.0f}", f"{one.lag_p99_us:.0f}") if one.lag_p50_us else ("-", "-")
        row = (one.what, f"{one.offered_per_second:.0f}", str(one.offered), str(one.captured), dropped)
        table.add_row(*row, f"{one.cpu_us:.1f}", *lags)
    console.print(table)
