"""`ferret lab`: looks at the lab's parts by themselves."""

from __future__ import annotations

import json

import click

from ferret_deploy.lab.delay_line import Impairment
from ferret_deploy.lab.measure import Precision, measure_wan
from ferret_deploy.lab.namespace import become_root_of_own_network
from ferret_deploy.lab.netlink import PlaceError
from ferret_deploy.lab.wan import WanStatistics


@click.group("lab")
def lab() -> None:
    """Look at parts of the lab by themselves."""


@lab.command("wan")
@click.option("--delay", default=25.0, show_default=True, metavar="MS", help="One-way delay.")
@click.option("--jitter", default=0.0, show_default=True, metavar="MS", help="Delay is scattered by up to so much.")
@click.option("--loss", default=0.0, show_default=True, metavar="PERCENT", help="Share of packets that get lost.")
@click.option("--reorder", is_flag=True, help="Let jitter change the order of packets.")
@click.option(
    "--rate", "rates", multiple=True, type=click.IntRange(1, 100_000), metavar="PPS", help="Packets per second."
)
@click.option("--seconds", default=3.0, show_default=True, type=click.FloatRange(0.1, 600), help="For each rate.")
@click.option("--seed", default=1, show_default=True, help="What is lost and scattered follows from it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def wan(
    delay: float,
    jitter: float,
    loss: float,
    reorder: bool,
    rates: tuple[int, ...],
    seconds: float,
    seed: int,
    as_json: bool,
) -> None:
    """Measure how exact the lab's wide-area network is on this machine.

    Two places are joined by the emulated WAN, packets cross it at each --rate (by default 50 and 5000 per second), and
    each one's delay is measured. Beside it stands what this machine's timers are good for by themselves.
    """
    if why_not := become_root_of_own_network():
        raise PlaceError(f"no places apart on this machine: {why_not}")
    impairment = Impairment(delay / 1000, jitter / 1000, loss / 100, reorder)
    results = [measure_wan(impairment, rate, seconds, seed=seed) for rate in rates or (50, 5000)]
    if as_json:
        click.echo(json.dumps({"wan": [_json(*one) for one in results]}, indent=2))
    else:
        _print(results)


def _json(precision: Precision, statistics: WanStatistics) -> dict[str, object]:
    late = {f"relay_late_{name}_ms": round(1000 * value, 3) for name, value in statistics.late.items()}
    line = statistics.lines.get("site>core", {})
    lost = {
        "lost": line.get("lost", 0),
        "dropped": line.get("dropped", 0) + statistics.overrun + statistics.undelivered,
    }
    return {**precision.as_json(), **late, **lost}


def _print(results: list[tuple[Precision, WanStatistics]]) -> None:
    for precision, _ in results:
        click.echo(f"{precision.rate} packets per second, {precision.received} of {precision.sent} arrived")
        click.echo(f"  configured: {_milliseconds(precision.configured)} one way")
        measured = precision.p50, precision.p99, precision.longest
        click.echo(f"  measured: p50 {_milliseconds(measured[0])}, {_tail(*measured[1:])}")
        timer = precision.timer_p50, precision.timer_p99, precision.timer_longest
        click.echo(
            f"  this machine's timers meanwhile: late by p50 {_milliseconds(timer[0])}, {_tail(*timer[1:])}; "
            f"{100 * precision.stolen:.1f} % of its processor time went to others on its host"
        )


def _tail(p99: float, longest: float) -> str:
    return f"p99 {_milliseconds(p99)}, max {_milliseconds(longest)}"


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.3f} ms"
