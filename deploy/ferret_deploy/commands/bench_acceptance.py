"""`ferret bench acceptance`: how many of the messages sent a foreign NF accepts, beside a packet replay of the same."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from ferret.commands.output import print_json
from ferret.errors import RecordError
from ferret.logs import configure
from ferret.replay.foreign.plan import foreign_plan
from ferret.replay.rules import load_rules
from ferret_agents.pipeline import private_queue, record_file, usable
from ferret_deploy.foreign.options import ForeignArguments, foreign_options
from ferret_deploy.foreign.packet_replay import PacketFigures, packet_replay
from ferret_deploy.foreign.report import percent
from ferret_deploy.foreign.run import ForeignOptions, ForeignResult, replay_at_foreign
from ferret_deploy.replay_run import run


@click.command("acceptance")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@foreign_options
@click.option("--service", default="volte", show_default=True, help="Which recordings.")
@click.option("--gap", default=0.05, show_default=True, type=click.FloatRange(0, 10), help="Between packets, seconds.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def bench_acceptance(file: Path, foreign: ForeignArguments, service: str, gap: float, as_json: bool) -> None:
    """Messages accepted ÷ messages sent at foreign NFs: FERRET's replay beside a packet replay of the same messages.

    The packet replay comes first: each message as recorded, with only the packet's addresses rewritten, as tcpreplay
    and scapy's sendp send it. Then FERRET replays the same messages statefully. docs/foreign.md says what counts as
    accepted.
    """
    configure(level="error")
    recorded = usable(record_file(file))
    recordings = [r for r in recorded.capture.recordings if r.service == service and r.complete]
    if not recordings:
        raise RecordError(f"{file}: no whole recording of {service}")
    options = foreign.options(load_rules())
    plans = [foreign_plan(recording, options.setting) for recording in recordings]

    async def both() -> tuple[PacketFigures, ForeignResult]:
        packets = await packet_replay(plans, options.setting, gap=gap)
        with private_queue("bench") as queue:
            return packets, await replay_at_foreign(recordings, recorded.capture.messages, queue, options)

    packets, replayed = run(both())
    if as_json:
        print_json(_figures(file, options, packets, replayed))
    else:
        _print(packets, replayed, Console(highlight=False))


def _figures(file: Path, options: ForeignOptions, packets: PacketFigures, replayed: ForeignResult) -> dict[str, object]:
    return {
        "file": file.name,
        "targets": [str(target) for target in options.setting.targets],
        "packet_replay": packets.as_json(),
        "ferret": {
            "sent": sum(t.sent for t in replayed.targets),
            "accepted": sum(t.accepted for t in replayed.targets),
            "acceptance": replayed.acceptance,
            "targets": [t.as_json() for t in replayed.targets],
        },
    }


def _print(packets: PacketFigures, replayed: ForeignResult, console: Console) -> None:
    table = Table(box=None, padding=(0, 2), header_style="bold")
    for heading in ("", "sent", "accepted", "acceptance"):
        table.add_column(heading, justify="right" if heading else "left")
    share = packets.accepted / packets.sent if packets.sent else None
    table.add_row("packet replay", str(packets.sent), str(packets.accepted), percent(share))
    sent, accepted = sum(t.sent for t in replayed.targets), sum(t.accepted for t in replayed.targets)
    table.add_row("FERRET", str(sent), str(accepted), percent(replayed.acceptance))
    console.print(table)
    if packets.unsent:
        console.print(f"{packets.unsent} packets need the right to send raw ones (CAP_NET_RAW) and were not sent")
