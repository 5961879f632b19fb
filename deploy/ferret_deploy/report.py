"""What `ferret replay` prints for people: one block per recording, then the verdict."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ferret.commands.output import printable
from ferret.replay.plan import Part
from ferret.replay.verdict import MessageResult, RecordingResult, ReplayResult, Verdict

VERDICT_COLOURS = {Verdict.SAME: "green", Verdict.DIFFERENT: "yellow", Verdict.FAILED: "red"}
_RISKS = {"high": "red", "medium": "yellow", "low": "dim"}
_SHOWN_DIFFERENCES = 12


def print_result(result: ReplayResult, console: Console, *, every_message: bool = False) -> None:
    """Print the outcome; `every_message` adds one line per message."""
    for recording in result.recordings:
        _print_recording(recording, console, every_message=every_message)
    verdict = result.verdict
    moved = sum(1 for r in result.recordings if r.reconfigured)
    console.print(
        Text.assemble(
            ("Verdict: ", "bold"),
            (str(verdict), f"bold {VERDICT_COLOURS[verdict]}"),
            f" — {_plural(len(result.recordings), 'recording')}, {moved} moved to the edge, "
            f"{result.duration_ms:.0f} ms in all",
        )
    )


def _print_recording(recording: RecordingResult, console: Console, *, every_message: bool) -> None:
    plan = recording.plan
    console.print(Text.assemble((f"{plan.service} of subscriber {plan.subscriber}", "bold")))
    console.print("  edge NFs: " + ", ".join(sorted(plan.members)))
    parts = Counter(m.step.part for m in recording.messages)
    console.print("  messages: " + ", ".join(f"{parts[p]} {p}" for p in Part if parts[p]))
    due = sum(1 for m in recording.messages if m.step.part is not Part.SKIPPED)
    expected = sum(1 for m in recording.messages if m.step.part.expected)
    console.print(
        f"  {recording.acknowledged} of {due} acknowledged, "
        f"{recording.compared} of {expected} made at the edge and compared"
    )
    if every_message:
        print_messages(recording, console)
    print_differences(recording, console)
    _print_move(recording, console)
    for assumed in recording.assumed:
        console.print(Text(f"  assumed: {assumed}", style="dim"))
    if recording.abandoned:
        console.print(Text(f"  abandoned: {recording.abandoned}; the service stays on the core", style="red"))
    console.print()


def _print_move(recording: RecordingResult, console: Console) -> None:
    if recording.reconfigured:
        protected = "protected" if recording.nas_protected else "UNPROTECTED (no keys in the recording)"
        console.print(
            Text.assemble(
                ("  moved: ", "green"),
                f"E-RAB MODIFY answered by the emulated base station and device, NAS {protected}; "
                f"{recording.fallback_ms:.0f} ms from first message to moved, {recording.duration_ms:.0f} ms in all",
            )
        )
        for line in _probe_lines(recording):
            console.print("  " + line)
    else:
        reason = recording.not_reconfigured or recording.plan.not_reconfigured or "the replay did not come that far"
        console.print(Text(f"  not moved: {reason}", style="yellow"))


def _probe_lines(recording: RecordingResult) -> list[str]:
    """What the user-plane probe measured, one line for each way."""
    figures = recording.user_plane
    lines = []
    for way in ("uplink eNB to PGW_e", "downlink PGW_e to device"):
        times = {key.split()[1]: value for key, value in figures.items() if way in key}
        if times:
            listed = ", ".join(f"bearer {ebi} {value} ms" for ebi, value in times.items())
            lines.append(f"user packets {way}: {listed}")
    lines += [f"user packets {key}: {value}" for key, value in figures.items() if "not probed" in key]
    return lines


def print_differences(recording: RecordingResult, console: Console, made_by: str = "edge") -> None:
    """A table of the differences that are not of low risk; `made_by`: whose the second value is."""
    found = [(m, d) for m in recording.messages for d in m.differences]
    risks = Counter(str(d["risk"]) for _, d in found)
    if not found:
        console.print("  differences: none")
        return
    console.print("  differences: " + ", ".join(f"{risks[r]} {r}" for r in _RISKS if risks[r]))
    shown = sorted(found, key=lambda pair: list(_RISKS).index(str(pair[1]["risk"])))
    table = Table(box=None, padding=(0, 2), show_header=True, header_style="bold")
    for heading in ("  #", "message", "parameter", "recorded", made_by, "risk"):
        table.add_column(heading, overflow="fold")
    for message, difference in [p for p in shown if p[1]["risk"] != "low"][:_SHOWN_DIFFERENCES]:
        risk = str(difference["risk"])
        table.add_row(
            f"  {message.step.index}",
            printable(message.step.message.name),
            printable(str(difference["parameter"])),
            _value(difference["recorded"]),
            _value(difference["edge"]),
            Text(risk, style=_RISKS[risk]),
        )
    if table.row_count:
        console.print(table)
    if len(found) > table.row_count:
        console.print(Text("  (--json shows every difference)", style="dim"))


def print_messages(recording: RecordingResult, console: Console) -> None:
    """A table with one line per message."""
    table = Table(box=None, padding=(0, 1), header_style="bold")
    for heading in ("  #", "interface", "from", "to", "message", "part", "result"):
        table.add_column(heading)
    for message in recording.messages:
        recorded = message.step.message
        table.add_row(
            f"  {recorded.index}",
            str(recorded.interface),
            str(recorded.from_nf.role),
            str(recorded.to_nf.role),
            printable(recorded.name),
            str(message.step.part),
            _result(message),
        )
    console.print(table)


def _result(message: MessageResult) -> Text:
    part = message.step.part
    if part is Part.SKIPPED:
        return Text(message.step.reason, style="dim")
    if not message.acknowledged:
        return Text(f"not acknowledged after {_plural(message.attempts, 'attempt')}", style="red")
    if message.high_risk:
        return Text(f"{_plural(message.high_risk, 'high-risk difference')}", style="red")
    if message.differences:
        return Text(_plural(len(message.differences), "difference"), style="yellow")
    return Text("acknowledged" if part.delivered else "as recorded", style="green")


def _value(value: object) -> str:
    return "—" if value is None else printable(str(value))


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
