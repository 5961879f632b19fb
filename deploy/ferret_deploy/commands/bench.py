"""`ferret bench`: how long a replay takes, and where the time goes; and what capturing costs."""

from __future__ import annotations

import cProfile
import json
import platform
import pstats
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ferret.errors import RecordError
from ferret.logs import configure
from ferret.records.recording import Recording
from ferret.replay.rules import load_rules
from ferret.replay.verdict import ReplayResult
from ferret_agents.commands.bench_capture import bench_capture
from ferret_agents.pipeline import RecordedFile, private_queue, record_file, usable
from ferret_deploy.commands.bench_acceptance import bench_acceptance
from ferret_deploy.replay_run import ReplayOptions, replay, run

# Where a function belongs, by a part of its file's path; the first that fits.
_AREAS: Sequence[tuple[str, str]] = (
    ("/ferret/protocols/", "codecs and their readings (decode, encode, parameters)"),
    ("/ferret/replay/rules", "output check"),
    ("/ferret/replay/check", "output check"),
    ("/ferret/replay/alignment", "output check"),
    ("/ferret_edge/matching", "output check"),
    ("/ferret/replay/", "replayer: queue, retry, translation, rewriting"),
    ("/ferret/queue/", "replayer: queue, retry, translation, rewriting"),
    ("/ferret_core/", "NF logic"),
    ("/ferret_edge/", "edge: node, border, links"),
    ("/ferret/transport/", "sockets"),
    ("pycrate", "pycrate (S1AP)"),
    ("aiohttp", "replay port: aiohttp, JSON"),
    ("json", "replay port: aiohttp, JSON"),
    ("uvloop", "event loop"),
    ("asyncio", "event loop"),
)


@click.group()
def bench() -> None:
    """Measure FERRET on this machine."""


bench.add_command(bench_capture)
bench.add_command(bench_acceptance)


@bench.command("replay")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--runs", default=5, show_default=True, type=click.IntRange(1, 1000), help="How often to replay.")
@click.option("--service", default="volte", show_default=True, help="Which recordings.")
@click.option("--profile", is_flag=True, help="One more run under a profiler: where the time goes.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def bench_replay(file: Path, runs: int, service: str, profile: bool, as_json: bool) -> None:
    """Replay FILE's recordings several times, all edge NFs in this process, and print how long each takes.

    A recording's time runs from the first frame to the edge until the last answer; "moved" is when base station and
    device have answered the reconfiguration. Both include NAS, S1AP over SCTP and every check.
    """
    configure(level="error")
    recorded = usable(record_file(file))
    recordings = [r for r in recorded.capture.recordings if r.service == service and r.complete]
    if not recordings:
        raise RecordError(f"{file}: no whole recording of {service}")
    _run(recorded, recordings)  # imports, caches
    results = [_run(recorded, recordings) for _ in range(runs)]
    figures = _figures(results)
    if profile:
        figures["profile"] = _profiled(recorded, recordings)
    if as_json:
        click.echo(json.dumps(figures, indent=2))
    else:
        _print(figures, Console(highlight=False))


def _run(recorded: RecordedFile, recordings: Sequence[Recording]) -> ReplayResult:
    with private_queue("bench") as queue:
        return run(replay(recordings, recorded.capture.messages, queue, ReplayOptions(load_rules())))


def _figures(results: Sequence[ReplayResult]) -> dict[str, object]:
    per_recording = []
    for place, first in enumerate(results[0].recordings):
        of_all = [result.recordings[place] for result in results]
        moved = [r.fallback_ms for r in of_all if r.reconfigured]
        per_recording.append(
            {
                "subscriber": first.plan.subscriber,
                "messages": first.acknowledged,
                "duration_ms": _spread([r.duration_ms for r in of_all]),
                "moved_ms": _spread(moved) if moved else None,
                "ms_per_message": round(
                    statistics.median(r.duration_ms for r in of_all) / max(1, first.acknowledged), 3
                ),
            }
        )
    return {
        "machine": f"{platform.machine()}, Linux {platform.release()}, Python {platform.python_version()}",
        "runs": len(results),
        "verdicts": sorted({str(r.verdict) for r in results}),
        "recordings": per_recording,
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "min": round(min(values), 1),
        "median": round(statistics.median(values), 1),
        "max": round(max(values), 1),
    }


def _profiled(recorded: RecordedFile, recordings: Sequence[Recording]) -> dict[str, float]:
    """Share of the time by area, in percent; a profiler slows small functions more than large ones."""
    profiler = cProfile.Profile()
    profiler.enable()
    _run(recorded, recordings)
    profiler.disable()
    times: Mapping[tuple[str, int, str], tuple[int, int, float, float, object]] = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    by_area: dict[str, float] = defaultdict(float)
    for (path, _, _), (_, _, own, _, _) in times.items():
        area = next((name for part, name in _AREAS if part in path), "Python itself and what else there is")
        by_area[area] += own
    total = sum(by_area.values())
    return {name: round(100 * own / total, 1) for name, own in sorted(by_area.items(), key=lambda item: -item[1])}


def _print(figures: Mapping[str, object], console: Console) -> None:
    console.print("Times are min / median / max.")
    console.print(f"{figures['runs']} runs on {figures['machine']}; verdict {', '.join(_list(figures['verdicts']))}")
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in (
        "subscriber",
        "messages",
        "all: min / median / max ms",
        "moved: min / median / max ms",
        "ms a message",
    ):
        table.add_column(heading, justify="left" if heading == "subscriber" else "right", header_style="dim")
    for one in _list(figures["recordings"]):
        moved = one["moved_ms"]
        table.add_row(
            one["subscriber"],
            str(one["messages"]),
            _three(one["duration_ms"]),
            _three(moved) if moved else "—",
            str(one["ms_per_message"]),
        )
    console.print(table)
    profile = figures.get("profile")
    if isinstance(profile, dict):
        console.print("Where the time goes, percent of a run with its start-up, under a profiler:")
        for name, share in profile.items():
            console.print(f"  {share:5.1f}  {name}")


def _three(spread: Mapping[str, float]) -> str:
    return f"{spread['min']} / {spread['median']} / {spread['max']}"


def _list(value: object) -> list[Any]:
    return list(value) if isinstance(value, list) else []
