"""What a replay at foreign NFs prints for people: each recording, each target, the acceptance ratio, the verdict."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ferret.commands.output import printable
from ferret.replay.foreign.acceptance import TargetFigures, ratio
from ferret.replay.plan import Part
from ferret.replay.verdict import RecordingResult
from ferret_deploy.foreign.run import ForeignResult
from ferret_deploy.report import VERDICT_COLOURS, print_differences, print_messages

_SHOWN = 12  # refusals and events of each target


def print_foreign(result: ForeignResult, console: Console, *, every_message: bool = False) -> None:
    """Print the outcome; `every_message` adds one line per message."""
    for recording in result.replay.recordings:
        _print_recording(recording, console, every_message=every_message)
    _print_targets(result, console)
    verdict = result.replay.verdict
    console.print(
        Text.assemble(
            ("Verdict: ", "bold"),
            (str(verdict), f"bold {VERDICT_COLOURS[verdict]}"),
            f" — acceptance {percent(result.acceptance)}, {result.replay.duration_ms:.0f} ms in all",
        )
    )


def percent(share: float | None) -> str:
    """A ratio for people."""
    return "— (nothing was sent)" if share is None else f"{100 * share:.1f} %"


def _print_recording(recording: RecordingResult, console: Console, *, every_message: bool) -> None:
    plan = recording.plan
    console.print(Text.assemble((f"{plan.service} of subscriber {plan.subscriber}", "bold")))
    parts = Counter(m.step.part for m in recording.messages)
    console.print("  messages: " + ", ".join(f"{parts[p]} {p}" for p in Part if parts[p]))
    due = sum(1 for m in recording.messages if m.step.part is not Part.SKIPPED)
    expected = sum(1 for m in recording.messages if m.step.part.expected)
    console.print(
        f"  {recording.acknowledged} of {due} acknowledged, {recording.compared} of {expected} made and compared"
    )
    if every_message:
        print_messages(recording, console)
    print_differences(recording, console, "target")
    if recording.abandoned:
        console.print(Text(f"  abandoned: {recording.abandoned}", style="red"))
    console.print()


def _print_targets(result: ForeignResult, console: Console) -> None:
    table = Table(box=None, padding=(0, 2), header_style="bold")
    for heading in ("target", "calls itself", "sent", "accepted", "acceptance"):
        table.add_column(heading, justify="right" if heading in ("sent", "accepted", "acceptance") else "left")
    for one in result.targets:
        share = ratio(one.accepted, one.sent)
        table.add_row(str(one.target), printable(one.identity) or "—", str(one.sent), str(one.accepted), percent(share))
    console.print(table)
    for one in result.targets:
        for line in [*_refusals(one), *(f"stood in: {text}" for text in one.stood_in), *one.events][:_SHOWN]:
            console.print(Text(f"  {one.target.role}: {printable(line)}", style="dim"))
    console.print()


def _refusals(figures: TargetFigures) -> list[str]:
    return [f"{o.name}: {o.fate}, {o.reason or 'no reason'}" for o in figures.outcomes.values() if not o.accepted]
