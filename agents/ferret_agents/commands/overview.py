"""What `ferret inspect` says of a capture: as JSON, as tables and as the introduction of a page."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ferret.commands.output import printable
from ferret.records.message import Node, Role
from ferret.records.recording import Recording
from ferret_agents.pipeline import RecordedFile

_NS_PER_S = 1_000_000_000
_SHOWN_DAMAGE = 20
_OF_MESSAGE = re.compile(r"message (\d+), ")
_ROLE_ORDER = {role: place for place, role in enumerate(Role)}


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
        "nodes": [{"role": str(n.role), "address": n.address, "port": n.port} for n in in_order(capture.nodes)],
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
    """Everything that is wrong with the capture, a line each, by frame."""
    lines = [(frame, f"frame {frame}: {what}" if frame else what) for frame, what in _damage(recorded)]
    return [line for _, line in sorted(lines, key=lambda line: line[0])]


def grouped_damage(recorded: RecordedFile) -> list[str]:
    """The same with the frames that have the same thing wrong in one line."""
    frames: dict[str, list[int]] = defaultdict(list)
    for frame, what in sorted(_damage(recorded), key=lambda damage: damage[0]):
        frames[what].append(frame)
    return [_framed(numbers, what) for what, numbers in frames.items()]


def _damage(recorded: RecordedFile) -> list[tuple[int, str]]:
    """Frame (0: none) and what is wrong. What a reader and the recorder both say of one message is said once."""
    messages = recorded.capture.messages
    found = []
    for line in recorded.capture.damage:
        of_message = _OF_MESSAGE.match(line)
        index = int(of_message[1]) if of_message else 0
        found.append((messages[index - 1].captured.frame if 0 < index <= len(messages) else 0, line))
    told = {frame for frame, _ in found if frame}
    found += [(d.frame, d.what) for d in recorded.read.damage if d.frame not in told or "undecodable" not in d.what]
    if recorded.read.damage_not_listed:
        found.append((0, f"{recorded.read.damage_not_listed} more damaged frames"))
    return found


def _framed(numbers: Sequence[int], what: str) -> str:
    if not numbers[0]:
        return what
    if len(numbers) == 1:
        return f"frame {numbers[0]}: {what}"
    first = ", ".join(map(str, numbers[:3]))
    return f"{len(numbers)} frames ({first}{', …' if len(numbers) > 3 else ''}): {what}"


def print_overview(recorded: RecordedFile, console: Console) -> None:
    """The overview as tables."""
    capture, result = recorded.capture, recorded.read
    seconds = (result.last_at_ns - result.first_at_ns) / _NS_PER_S
    _say(console, recorded.path.name, style="bold")
    _say(console, f"{result.frames} frames in {seconds:.1f} s, the first at {_when(result.first_at_ns)}")
    _say(console, f"signalling messages: {len(capture.messages)}, subscribers: {len(capture.subscribers)}\n")
    _table(console, "Network functions", ("role", "address", "interfaces", "messages"), _functions(recorded))
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
        "Recordings (quality: the share of messages that are whole and, if requests, answered)",
        ("recording", "messages", "quality", "holes"),
        [(r.id, str(len(r.entries)), f"{r.quality:.0%}", _holes(r)) for r in capture.recordings],
    )
    rest = Counter(m.name for m in capture.unattributed)
    if rest:
        _say(console, "Of no subscriber: " + ", ".join(f"{n} {name}" for name, n in rest.most_common()) + "\n")
    if result.ignored:
        _say(console, "Other frames: " + ", ".join(f"{n} {kind}" for kind, n in sorted(result.ignored.items())) + "\n")
    damage = grouped_damage(recorded)
    if damage:
        _say(console, "Damage", style="bold red")
        for line in damage[:_SHOWN_DAMAGE]:
            _say(console, f"  {line}")
        if len(damage) > _SHOWN_DAMAGE:
            _say(console, f"  and {len(damage) - _SHOWN_DAMAGE} more (--json)")


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(Text(printable(text), style=style), soft_wrap=True)


def _functions(recorded: RecordedFile) -> list[tuple[str, ...]]:
    """A row for each NF: what it is, where it is, on which interfaces it speaks, in how many messages."""
    interfaces: dict[Node, set[str]] = defaultdict(set)
    numbers: Counter[Node] = Counter()
    for message in recorded.capture.messages:
        for node in {message.from_nf, message.to_nf}:
            interfaces[node].add(str(message.interface))
            numbers[node] += 1
    return [
        (str(node.role), _address(node), ", ".join(sorted(interfaces[node])), str(numbers[node]))
        for node in in_order(recorded.capture.nodes)
    ]


def in_order(nodes: Iterable[Node]) -> list[Node]:
    """NFs from the device inwards."""
    return sorted(nodes, key=lambda node: (_ROLE_ORDER[node.role], node.address, node.port))


def introduction(recorded: RecordedFile) -> str:
    """The page's introduction, as HTML."""
    capture, result = recorded.capture, recorded.read
    seconds = (result.last_at_ns - result.first_at_ns) / _NS_PER_S
    rows = [(*row[:2], row[2]) for row in _functions(recorded)]
    nodes = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    damage = "".join(f"<li>{escape(printable(line))}</li>" for line in grouped_damage(recorded)[:_SHOWN_DAMAGE])
    return (
        f"<p>{result.frames} frames in {seconds:.1f} s, first {escape(_when(result.first_at_ns))}; "
        f"{len(capture.messages)} signalling messages of {len(capture.subscribers)} subscribers. "
        "Solid arrows are requests, dashed ones answers, red ones refusals.</p>"
        f"<table><tr><th>network function</th><th>address</th><th>interfaces</th></tr>{nodes}</table>"
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
    """In UTC, as RFC 3339 writes it; "unknown" for 0 and for what no calendar has."""
    try:
        moment = datetime.fromtimestamp(ns // _NS_PER_S, UTC) if ns else None
    except (OverflowError, ValueError, OSError):
        moment = None
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ns % _NS_PER_S:09d}Z" if moment else "unknown"


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
        justify: Literal["left", "right"] = "right" if is_number else "left"
        table.add_column(heading, justify=justify, header_style="dim", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console.print(table)
    console.print()
