"""`ferret lab`: a live call on the lab, and a look at its parts by themselves."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import click

from ferret.logs import configure
from ferret.transport.endpoint import TransportError
from ferret_deploy.lab.call_report import as_json_of, is_as_it_should_be, print_call
from ferret_deploy.lab.delay_line import Impairment
from ferret_deploy.lab.live_call import CONFIGS, play, replay_call, wan_links
from ferret_deploy.lab.measure import Precision, measure_wan
from ferret_deploy.lab.namespace import become_root_of_own_network
from ferret_deploy.lab.netlink import PlaceError
from ferret_deploy.lab.places import Places
from ferret_deploy.lab.wan import WanStatistics
from ferret_deploy.lab.wiretap import WireTap


@click.group("lab")
def lab() -> None:
    """Play on the lab: core, edge, base station and internet as places of their own on this machine."""


@lab.command("call")
@click.option("--wan-delay", default=25.0, show_default=True, metavar="MS", help="One-way delay to and from the core.")
@click.option("--talk", default=3.0, show_default=True, metavar="SECONDS", help="How long they talk.")
@click.option("--seed", default=1, show_default=True, help="Identifiers, SIP tags and the like follow from it.")
@click.option(
    "--pcap", type=click.Path(path_type=Path, dir_okay=False), help="Also write all packets of the call, as pcapng."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def call(wan_delay: float, talk: float, seed: int, pcap: Path | None, as_json: bool) -> int:
    """Set up a live VoLTE call, record it on the wire, and replay the recording at the edge.

    A core (MME, HSS, SGW, PGW, PCRF, CSCFs) on real sockets, an emulated device and base station, and a party on the
    internet, with an emulated WAN between them. Live agents capture beside each NF of the core; what they captured is
    replayed at edge NFs, and base station and device of the replay are moved there. The live call itself stays on the
    core to its end.

    Exit status: 0 the edge did as recorded; 1 it did not, or something was lost or left over; 2 this machine allows no
    places apart.
    """
    configure(level="error")
    if why_not := become_root_of_own_network():
        raise PlaceError(f"no places apart on this machine: {why_not}")
    tell = _quiet if as_json else click.echo
    links = wan_links(Impairment(wan_delay / 1000))
    with Places.build(CONFIGS, links, seed=seed) as places:
        tap = WireTap(places, pcap) if pcap is not None else None
        try:
            result = asyncio.run(play(places, talk=talk, seed=seed, tell=tell))
        except TimeoutError:
            raise TransportError("somebody on the lab did not answer in time") from None
        finally:
            if tap is not None:
                tap.stop()
        tell("The recording is replayed at the edge.")
        asyncio.run(replay_call(places, result, seed=seed))
    if as_json:
        click.echo(json.dumps(as_json_of(result), indent=2))
    else:
        print_call(result)
        if pcap is not None:
            click.echo(f"Packets: {pcap}; try 'ferret inspect {pcap}'.")
    return 0 if is_as_it_should_be(result) else 1


def _quiet(_: str) -> None:
    """Nothing but the JSON object is printed."""


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
