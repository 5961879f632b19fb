"""`ferret demo`: live calls on the lab, moved to the edge and back."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from ferret.errors import RecordError
from ferret.logs import configure
from ferret.records.message import Role
from ferret.replay.plan import EDGE_ROLES
from ferret_deploy.lab.call_report import as_json as json_of
from ferret_deploy.lab.call_report import is_as_it_should_be, page, rows
from ferret_deploy.lab.delay_line import Impairment
from ferret_deploy.lab.live_call import Demonstration, play
from ferret_deploy.lab.live_scene import CONFIGS, wan_links
from ferret_deploy.lab.namespace import become_root_of_own_network
from ferret_deploy.lab.netlink import PlaceError
from ferret_deploy.lab.places import Places
from ferret_deploy.lab.wiretap import WireTap
from ferret_deploy.replay_run import run

_WIDE = 140  # columns, where nobody says how many there are


@click.command(short_help="Play live calls, moved to the edge and back.")
@click.option("--calls", default=1, show_default=True, type=click.IntRange(1, 1000), help="How many, one by one.")
@click.option("--wan-delay", default=25.0, show_default=True, metavar="MS", help="One-way delay to and from the core.")
@click.option("--talk", default=2.0, show_default=True, metavar="SECONDS", help="Voice on the core, then at the edge.")
@click.option(
    "--kill",
    type=click.Choice(sorted(map(str, EDGE_ROLES)), case_sensitive=False),
    help="Kill this edge NF in the last call, while they talk over the edge.",
)
@click.option("--seed", default=1, show_default=True, help="Identifiers, SIP tags and the like follow from it.")
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Also write a page with the figures.")
@click.option("--pcap", type=click.Path(path_type=Path, dir_okay=False), help="Also write all packets, as pcapng.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def demo(
    calls: int,
    wan_delay: float,
    talk: float,
    kill: str | None,
    seed: int,
    report: Path | None,
    pcap: Path | None,
    as_json: bool,
) -> int:
    """Play live VoLTE calls on an emulated LTE network, and move each to the edge while they talk.

    A core (MME, HSS, SGW, PGW, PCRF, CSCFs) on real sockets, an emulated device and base station, and a party on the
    internet, with an emulated WAN between them and the core. Agents beside the core's NFs record the call on the wire;
    edge NFs replay the recording; the call is put on hold, S1AP and NAS move the device's bearers to the edge, the
    edge's IMS resumes the call, and voice takes the short way. When they hang up, or an edge NF dies (--kill), the
    device is back on the core. Everything that is said is measured.

    Exit status: 0 every call was moved and came back; 1 one was not, or something was lost or left over; 2 this machine
    allows no network namespaces.
    """
    configure(level="error")
    if why_not := become_root_of_own_network():
        raise PlaceError(f"no places apart on this machine: {why_not}")
    tell = partial(click.echo, err=True) if as_json and sys.stderr.isatty() else _quiet if as_json else click.echo
    with Places.build(CONFIGS, wan_links(Impairment(wan_delay / 1000)), seed=seed) as places:
        tap = WireTap(places, pcap) if pcap is not None else None
        try:
            shown = run(play(places, calls=calls, talk=talk, kill=Role(kill) if kill else None, seed=seed, tell=tell))
        finally:
            if tap is not None:
                tap.stop()
    if report is not None:
        _write(report, page(shown, f"{calls} calls, {wan_delay:g} ms one way to and from the core."))
    if as_json:
        click.echo(json.dumps(json_of(shown), indent=2))
    else:
        _print(shown)
        for name, path in (("report", report), ("packets", pcap)):
            if path is not None:
                click.echo(f"{name}: {path}")
    return 0 if is_as_it_should_be(shown) else 1


def _print(shown: Demonstration) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    for what, value in rows(shown):
        table.add_row(what, value)
    Console(width=None if sys.stdout.isatty() else _WIDE).print(table)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RecordError(f"{path} cannot be written: {error.strerror}") from error


def _quiet(_: str) -> None:
    """Nothing but the JSON object is printed."""
