"""`ferret bench capture`: what an agent costs, beside tcpdump and dumpcap."""

from __future__ import annotations

import json
import platform
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict

import click
from rich.console import Console
from rich.table import Table

from ferret.errors import ConfigError
from ferret.logs import configure
from ferret_agents.live.agent import Capture
from ferret_agents.live.loads import LOADS, Load
from ferret_agents.live.measure import YARDSTICKS, Figures, Way, enter_own_network, measure_agent, measure_yardstick
from ferret_agents.live.measure_beside import Beside, measure_file, measure_nf
from ferret_agents.live.measure_kamailio import measure_kamailio, why_not
from ferret_agents.live.ring import PERIOD_MS

_WAYS = [str(one) for one in Capture]
_NF_RATE = 40_000  # questions a second, below what the NF can do alone
_CALL_RATE = 300  # calls a second, likewise
_WIDE = 140


@click.command("capture")
@click.option("--kind", type=click.Choice(tuple(LOADS)), default="gtpv2", show_default=True, help="What is sent.")
@click.option(
    "--rate", "rates", multiple=True, type=click.IntRange(1, 1_000_000), help="Messages per second; several at will."
)
@click.option(
    "--way",
    "ways",
    multiple=True,
    type=click.Choice(_WAYS),
    help="How to capture (default: both ways).",
)
@click.option("--period", default=PERIOD_MS, show_default=True, metavar="MS", help="Buffered: how late a frame may be.")
@click.option("--yardsticks/--no-yardsticks", default=True, help="Measure tcpdump and dumpcap as well.")
@click.option(
    "--nf", "beside", is_flag=True, help="Also: how much slower an NF (a UDP echo) is with an agent beside it."
)
@click.option("--kamailio", is_flag=True, help="Also: what Kamailio does under SIPp with an agent beside it.")
@click.option("--file", "of_file", is_flag=True, help="Also: reading a file, beside 'tshark -T fields'.")
@click.option(
    "--turns", default=1, show_default=True, type=click.IntRange(1, 100), help="How often, one after another."
)
@click.option("--seconds", default=3.0, show_default=True, type=click.FloatRange(0.1, 600.0), help="For each rate.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def bench_capture(
    kind: str,
    rates: tuple[int, ...],
    ways: tuple[str, ...],
    period: int,
    yardsticks: bool,
    beside: bool,
    kamailio: bool,
    of_file: bool,
    turns: int,
    seconds: float,
    as_json: bool,
) -> None:
    """Capture real packets at steady rates, in a network namespace of its own.

    Prints for the agent, and for tcpdump and dumpcap at the same rate: messages offered, captured and dropped, CPU
    time per message, and for the agent how long after the kernel's timestamp messages are in the queue. Of several
    turns: the one with the median CPU time, the range of these, and what the worst has captured and dropped.
    """
    configure(level="error")
    enter_own_network()
    results: defaultdict[tuple[int, str], list[Figures]] = defaultdict(list)
    every_way = [Way(Capture(way), period) for way in ways or tuple(Capture)]
    for rate in rates or (1000, 10_000):
        load = Load(kind, rate, seconds)
        for _ in range(turns):
            for one in _turn(load, every_way, YARDSTICKS if yardsticks else ()):
                results[rate, one.what].append(one)
    is_udp = LOADS[kind].transport == "udp"
    nf = [one for rate in (_NF_RATE, 0) for one in measure_nf(kind, every_way, rate=rate)] if beside and is_udp else []
    if kamailio:
        if why_not():
            raise ConfigError(f"Kamailio cannot be measured: {why_not()}")
        nf += [one for rate in (_CALL_RATE, 0) for one in measure_kamailio(every_way, rate=rate)]
    file = measure_file(kind) if of_file and is_udp else None
    if as_json:
        figures = [{**asdict(one), "exact": one.is_exact} for row in results.values() for one in row]
        told: dict[str, object] = {"machine": _machine(), "kind": kind, "capture": figures}
        if nf:
            told["nf"] = [{**asdict(one), "share": one.share} for one in nf]
        if file is not None:
            told["file"] = asdict(file)
        click.echo(json.dumps(told, indent=2))
        return
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)
    _print(results.values(), kind, console)
    if nf:
        _print_nf(nf, console)
    if file is not None:
        tshark = f"{file.tshark_us:.1f}" if file.tshark_us is not None else "-"
        console.print(
            f"Reading a file of {file.messages} messages: {file.ferret_us:.1f} us a message; tshark {tshark} us"
        )


def _turn(load: Load, ways: Iterable[Way], yardsticks: Iterable[str]) -> list[Figures]:
    figures = [measure_agent(load, way) for way in ways]
    return figures + [found for name in yardsticks if (found := measure_yardstick(name, load))]


def _print_nf(nf: Sequence[Beside], console: Console) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("NF (UDP echo; Kamailio: calls) beside", "asked/s", "answers/s alone", "beside", "share"):
        table.add_column(name, justify="left" if name.startswith("NF") else "right", header_style="dim", no_wrap=True)
    for one in nf:
        figures = (f"{statistics.median(values):.0f}" for values in (one.without, one.beside))
        table.add_row(one.what, str(one.asked or "as fast as it can"), *figures, f"{one.share:.1%}")
    console.print(table)


def _machine() -> str:
    return f"{platform.machine()}, Linux {platform.release()}, Python {platform.python_version()}"


def _print(results: Iterable[Sequence[Figures]], kind: str, console: Console) -> None:
    console.print(f"{kind.partition('-')[0]} over {LOADS[kind].transport.upper()} on lo; {_machine()}")
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("", "offered/s", "offered", "captured", "dropped", "CPU us a message", "lag p50 us", "lag p99 us"):
        table.add_column(name, justify="right" if name else "left", header_style="dim", no_wrap=True)
    for turns in results:
        ordered = sorted(turns, key=lambda one: one.cpu_us)
        one, worst = ordered[(len(ordered) - 1) // 2], max(turns, key=lambda one: sum(one.dropped.values()))
        dropped = ", ".join(f"{number} {reason}" for reason, number in worst.dropped.items()) or "0"
        cpu = f"{one.cpu_us:.1f}"
        if len(turns) > 1:
            cpu += f" ({ordered[0].cpu_us:.1f} – {ordered[-1].cpu_us:.1f})"
        lags = (f"{one.lag_p50_us:.0f}", f"{one.lag_p99_us:.0f}") if one.lag_p50_us else ("-", "-")
        row = (one.what, f"{one.offered_per_second:.0f}", str(one.offered), str(worst.captured), dropped)
        table.add_row(*row, cpu, *lags)
    console.print(table)
