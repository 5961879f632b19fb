"""What `ferret inspect` says of a capture: as JSON, as tables and as the introduction of a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

from rich.console import Console
from rich.table import Table

from ferret.records.message import Node
from ferret.records.recording import Recording
from ferret_agents.pipeline import RecordedFile

_NS_PER_S = 1_000_000_000
_SHOWN_DAMAGE = 20


def overview(recorded: RecordedFile) -> dict[str, object]:
    """The object that `ferret inspect --json` prints."""
    capture, result = recorded.capture, recorded.read
    return {
        "file": str(recorded.path),
        "frames": result.frames,
        "first_frame": _when(result.first_at_ns),
        "seconds": (result.last_at_ns - result.first_at_ns) / _NS_PER_S,
        "link_types": {str(kind): number for kind, number in result.link_types.items()},
        "ignored_frames": dict(result.ignored),
        "nodes": [{"role": str(n.role), "address": n.address, "port": n.port} for n in capture.nodes],
        "messages": len(capture.messages),
        "retransmissions": sum(m.retransmissions for m in capture.messages),
        "by_interface": _by_interface(recorded),
        "subscribers": [
            {
                "subscriber": s.key,
                "imsi": s.imsi,
                "msisdns": list(s.msisdns),
                "addresses": list(s.addresses),
                "identities": list(s.identities),
                "services": list(s.services),
                "messages": s.messages,
            }
            for s in capture.subscribers
        ],
        "recordings": [_recording_json(r) for r in capture.recordings],
        "unattributed": dict(Counter(m.name for m in capture.unattributed)),
        "damage": damage_lines(recorded),
    }


def damage_lines(recorded: RecordedFile) -> list[str]:
    """Everything that is wrong with the capture, a line each."""
    lines = [f"frame {d.frame}: {d.what}" if d.frame else d.what for d in recorded.read.damage]
    if recorded.read.damage_not_listed:
        lines.append(f"and {recorded.read.damage_not_listed} more damaged frames")
    return [*lines, *recorded.capture.damage]


def print_overview(recorded: RecordedFile, console: Console) -> None:
    """The overview as tables."""
    capture, result = recorded.capture, recorded.read
    seconds = (result.last_at_ns - result.first_at_ns) / _NS_PER_S
    console.print(f"[bold]{recorded.path.name}[/bold]: {result.frames} frames in {seconds:.1f} s", highlight=False)
    console.print(f"first frame {_when(result.first_at_ns)}; {len(capture.messages)} signalling messages\n")
    _table(console, "Network functions", ("role", "address"), [(str(n.role), _address(n)) for n in capture.nodes])
    rows = [
        (interface, name, str(number))
        for interface, names in _by_interface(recorded).items()
        for name, number in names.items()
    ]
    _table(console, "Messages", ("interface", "message", "number"), _without_repeats(rows))
    _table(
        console,
        "Subscribers",
        ("subscriber", "numbers", "addresses", "messages", "services"),
        [
            (s.key, ", ".join(s.msisdns), ", ".join(s.addresses), str(s.messages), ", ".join(s.services))
            for s in capture.subscribers
        ],
    )
    _table(
        console,
        "Recordings",
        ("recording", "messages", "quality", "holes"),
        [(r.id, str(len(r.entries)), f"{r.quality:.0%}", _holes(r)) for r in capture.recordings],
    )
    rest = Counter(m.name for m in capture.unattributed)
    if rest:
        console.print("Of no subscriber: " + ", ".join(f"{n} {name}" for name, n in rest.most_common()) + "\n")
    if result.ignored:
        console.print("Other frames: " + ", ".join(f"{n} {kind}" for kind, n in sorted(result.ignored.items())) + "\n")
    damage = damage_lines(recorded)
    if damage:
        console.print("[bold red]Damage[/bold red]")
        for line in damage[:_SHOWN_DAMAGE]:
            console.print(f"  {line}", markup=False)
        if len(damage) > _SHOWN_DAMAGE:
            console.print(f"  and {len(damage) - _SHOWN_DAMAGE} more (--json)")


def introduction(recorded: RecordedFile) -> str:
    """The page's introduction, as HTML."""
    capture, result = recorded.capture, recorded.read
    seconds = (result.last_at_ns - result.first_at_ns) / _NS_PER_S
    nodes = "".join(f"<tr><td>{escape(str(n.role))}</td><td>{escape(_address(n))}</td></tr>" for n in capture.nodes)
    damage = "".join(f"<li>{escape(line)}</li>" for line in damage_lines(recorded)[:_SHOWN_DAMAGE])
    return (
        f"<p>{result.frames} frames in {seconds:.1f} s, first {escape(_when(result.first_at_ns))}; "
        f"{len(capture.messages)} signalling messages of {len(capture.subscribers)} subscribers. "
        "Solid arrows are requests, dashed ones answers, red ones refusals.</p>"
        f"<table><tr><th>network function</th><th>address</th></tr>{nodes}</table>"
        + (f"<h2>Damage</h2><ul>{damage}</ul>" if damage else "")
    )


def _by_interface(recorded: RecordedFile) -> dict[str, dict[str, int]]:
    counts = Counter((str(m.interface), m.name) for m in recorded.capture.messages)
    by_interface: dict[str, dict[str, int]] = {}
    for (interface, name), number in sorted(counts.items()):
        by_interface.setdefault(interface, {})[name] = number
    return by_interface


def _recording_json(recording: Recording) -> dict[str, object]:
    return {
        "id": recording.id,
        "subscriber": recording.subscriber,
        "service": recording.service,
        "messages": len(recording.entries),
        "context_messages": len(recording.context),
        "begin": _when(recording.begin_ns),
        "end": _when(recording.end_ns),
        "quality": round(recording.quality, 4),
        "holes": [{"what": h.what, "after": h.after, "agent": h.agent} for h in recording.holes],
    }


def _holes(recording: Recording) -> str:
    return "; ".join(f"{hole.what} after {hole.after}" for hole in recording.holes)


def _address(node: Node) -> str:
    return f"{node.address}:{node.port}" if node.port else node.address


def _when(ns: int) -> str:
    if not ns:
        return "unknown"
    moment = datetime.fromtimestamp(ns // _NS_PER_S, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ns % _NS_PER_S:09d}Z"


def _without_repeats(rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Rows whose first column is blank where it repeats the one above."""
    last = ""
    shown = []
    for first, *rest in rows:
        shown.append(("" if first == last else first, *rest))
        last = first
    return shown


def _table(console: Console, title: str, headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    if not rows:
        return
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for heading in headings:
        is_number = heading in ("number", "messages", "quality")
        table.add_column(heading, justify="right" if is_number else "left", header_style="dim", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print()
