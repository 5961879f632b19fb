"""`ferret replay FILE`: replay a capture's recordings at edge NFs on this machine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from ferret.commands.output import print_json
from ferret.commands.recordings import key_option, load_recording
from ferret.errors import ConfigError, RecordError
from ferret.logs import configure
from ferret.records.quality import assess
from ferret.records.recorder import Capture
from ferret.records.recording import Recording
from ferret.replay.rules import load_rules
from ferret.replay.verdict import EXIT_STATUS, ReplayResult, as_junit
from ferret_agents.commands.progress import recording_progress
from ferret_agents.pipeline import private_queue, record_file, usable
from ferret_deploy.foreign.options import ForeignArguments, foreign_options
from ferret_deploy.foreign.report import print_foreign
from ferret_deploy.foreign.run import ForeignResult, replay_at_foreign
from ferret_deploy.replay_run import ReplayOptions, replay, run
from ferret_deploy.report import print_result


@click.command("replay", short_help="Replay a capture or a recording at edge NFs and compare.")
@click.argument("source", metavar="FILE|RECORDING")
@click.option("--subscriber", metavar="IMSI", help="Only this subscriber; IMSI, MSISDN or address.")
@click.option("--service", default="volte", show_default=True, help="Only recordings of this service.")
@click.option("--journal", type=click.Path(path_type=Path, file_okay=False), help="Journal that holds RECORDING.")
@key_option()
@click.option("--rules", type=click.Path(path_type=Path, dir_okay=False), help="Rules for the output check (TOML).")
@click.option(
    "--min-quality", default=0.5, show_default=True, type=click.FloatRange(0, 1),
    help="Refuse recordings whose quality is below that.",
)  # fmt: skip
@click.option("--network", default="", metavar="CIDR", help="The /24 for the edge's addresses (default: one of 127/8).")
@click.option("--running", is_flag=True, help="Use edge NFs that run already at --network (see 'ferret edge').")
@foreign_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), help="Also write the result as JUnit XML.")
@click.option("--messages", is_flag=True, help="One line for every message.")
@click.option("--log-level", default="error", show_default=True, help="debug, info, warning or error.")
def replay_command(
    source: str,
    subscriber: str | None,
    service: str,
    journal: Path | None,
    key_file: Path | None,
    rules: Path | None,
    min_quality: float,
    network: str,
    running: bool,
    foreign: ForeignArguments,
    as_json: bool,
    junit: Path | None,
    messages: bool,
    log_level: str,
) -> int:
    """Replay a capture (pcap, pcapng), or a RECORDING of a journal, at edge NFs on this machine.

    Records the capture through the ordered queue, replays each recording at MME, SGW, PGW, PCRF, P-CSCF and S-CSCF
    microservices over real sockets, compares what they make with what was recorded, and moves an emulated base station
    and device to the edge. With --target, the foreign NFs that it names are replayed at instead: FERRET stands in for
    the NFs around them, sends them what the recording shows arriving at them, and compares what they make.

    Exit status: 0 everything as recorded; 1 differences of high risk, or messages that were not acknowledged; 2 the
    input or the configuration cannot be used.
    """
    configure(level=log_level)
    if running and not network:
        raise ConfigError("--running needs --network: where the edge NFs are")
    if foreign.given and (running or network):
        raise ConfigError("--network and --running are for edge NFs alone; with --target, --local says where FERRET is")
    loaded = load_rules(rules)
    recordings, capture = _recordings(source, journal, key_file)
    chosen = good_enough(_chosen(recordings, source, subscriber, service, capture), min_quality, source)
    captured = capture.messages if capture else ()
    with _replay_progress() as progress, private_queue("replay") as queue:
        if foreign.given:
            at_foreign = run(replay_at_foreign(chosen, captured, queue, foreign.options(loaded, progress)))
            return _report_foreign(at_foreign, source, as_json=as_json, junit=junit, messages=messages)
        options = ReplayOptions(loaded, network=network, running=running, progress=progress)
        result = run(replay(chosen, captured, queue, options))
    _report(result, source, as_json=as_json, junit=junit, messages=messages)
    return EXIT_STATUS[result.verdict]


def _recordings(source: str, journal: Path | None, key_file: Path | None) -> tuple[Sequence[Recording], Capture | None]:
    """What FILE or the journal holds, and the capture it came from where there is one."""
    path = Path(source)
    if journal is not None:
        return [load_recording(journal, source, key_file)], None
    if not path.exists():
        raise RecordError(f"{source}: no such file (a recording of a journal needs --journal DIR)")
    with recording_progress(path) as progress:
        recorded = usable(record_file(path, progress=progress))
    return recorded.capture.recordings, recorded.capture


def _chosen(
    recordings: Sequence[Recording], source: str, subscriber: str | None, service: str, capture: Capture | None
) -> list[Recording]:
    """The recordings to replay. Raises RecordError where there is none, or one has a hole."""
    keys = _keys(subscriber, capture) if subscriber is not None else None
    chosen = [
        r for r in recordings if (r.service == service or capture is None) and (keys is None or r.subscriber in keys)
    ]
    if not chosen:
        there = ", ".join(dict.fromkeys(f"{r.service} of {r.subscriber}" for r in recordings)) or "nothing"
        whose = f" of {subscriber}" if subscriber is not None else ""
        raise RecordError(f"{source}: no recording of {service}{whose}; there is {there}")
    whole = [r for r in chosen if r.complete]
    for recording in chosen:
        if not recording.complete:
            holes = "; ".join(f"{hole.what} after message {hole.after}" for hole in recording.holes)
            refused = f"{recording.id} has a hole and is not replayed: {holes}"
            if not whole:
                raise RecordError(f"{source}: {refused}")
            click.echo(f"ferret: {refused}", err=True)
    return whole


def good_enough(recordings: Sequence[Recording], limit: float, source: str) -> list[Recording]:
    """Those whose quality is not below the limit. Raises RecordError where that is none; the others are told."""
    good = [r for r in recordings if r.quality >= limit]
    for recording in recordings:
        if recording not in good:
            refused = f"{recording.id} is of quality {assess(recording)}; below {limit:g} none is replayed"
            if not good:
                raise RecordError(f"{source}: {refused}")
            click.echo(f"ferret: {refused}", err=True)
    return good


def _keys(subscriber: str, capture: Capture | None) -> set[str]:
    """Subscriber keys that this identity stands for."""
    known = capture.subscribers if capture is not None else ()
    return {subscriber} | {s.key for s in known if subscriber in (s.imsi, *s.msisdns, *s.addresses, *s.identities)}


@contextmanager
def _replay_progress() -> Iterator[Callable[[str, int, int], None]]:
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks = {}

        def moved(recording: str, done: int, total: int) -> None:
            if recording not in tasks:
                tasks[recording] = bar.add_task(f"replaying {recording}", total=total)
            bar.update(tasks[recording], completed=done)

        yield moved


def _report_foreign(result: ForeignResult, source: str, *, as_json: bool, junit: Path | None, messages: bool) -> int:
    if junit is not None:
        _write_junit(result.replay, source, junit)
    if as_json:
        print_json(result.as_json())
    else:
        print_foreign(result, Console(highlight=False, soft_wrap=not sys.stdout.isatty()), every_message=messages)
    return EXIT_STATUS[result.replay.verdict]


def _write_junit(result: ReplayResult, source: str, junit: Path) -> None:
    try:
        junit.write_bytes(as_junit(result, source))
    except OSError as error:
        raise ConfigError(f"cannot write {junit}: {error.strerror}") from error


def _report(result: ReplayResult, source: str, *, as_json: bool, junit: Path | None, messages: bool) -> None:
    if junit is not None:
        _write_junit(result, source, junit)
    if as_json:
        print_json(result.as_json())
    else:
        print_result(result, Console(highlight=False, soft_wrap=not sys.stdout.isatty()), every_message=messages)
