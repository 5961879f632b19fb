"""`ferret inspect FILE`: what is in a capture."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import click
from rich.console import Console

from ferret.commands.output import encodable, print_json, printable
from ferret.errors import DecodeError, RecordError
from ferret.ladder import html_page, ladder_of, text_lines
from ferret.records.decoding import doors
from ferret.records.message import SignallingMessage
from ferret.records.recorder import KnownSubscriber
from ferret.replay.check import HIDDEN
from ferret.replay.rules import load_rules
from ferret_agents.commands.overview import introduction, overview, print_overview
from ferret_agents.commands.progress import recording_progress
from ferret_agents.pipeline import RecordedFile, record_file, usable

_ALL = "all"
_UNLIMITED = 1000  # columns: what is not read on a terminal is never folded


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("--ladder", metavar="IMSI", help="Ladder diagram of one subscriber's messages; 'all' for everything.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Ladder diagrams as one HTML page.")
def inspect(file: Path, as_json: bool, ladder: str | None, html: Path | None) -> None:
    """Show what is in the capture FILE (pcap or pcapng).

    Its network functions and their interfaces, messages by type, subscribers and their services, what is missing or
    damaged; as tables, as JSON, or as a ladder diagram per subscriber.
    """
    with recording_progress(file) as progress:
        recorded = usable(record_file(file, progress=progress))
    if html is not None:
        _write(html, _page(recorded))
    if as_json:
        print_json(overview(recorded))
    elif ladder is not None:
        _print_ladder(recorded, ladder)
    elif html is None:
        print_overview(recorded, Console(highlight=False, width=None if sys.stdout.isatty() else _UNLIMITED))


def _print_ladder(recorded: RecordedFile, wanted: str) -> None:
    title, messages = _chosen(recorded, wanted)
    width = Console().width if sys.stdout.isatty() else 0
    for line in text_lines(ladder_of(title, messages), width):
        click.echo(printable(line))


def _chosen(recorded: RecordedFile, wanted: str) -> tuple[str, tuple[SignallingMessage, ...]]:
    """The messages to draw, and what they are. Raises RecordError where the subscriber is not in the capture."""
    capture = recorded.capture
    if wanted == _ALL:
        return f"{recorded.path.name}: all messages", capture.messages
    for subscriber in capture.subscribers:
        if wanted in _names(subscriber):
            return f"{recorded.path.name}: subscriber {subscriber.key}", _of(capture.messages, subscriber)
    known = ", ".join(s.key for s in capture.subscribers) or "none"
    raise RecordError(f"{recorded.path}: no subscriber {wanted}; there are: {known}")


def _names(subscriber: KnownSubscriber) -> Iterable[str]:
    return (subscriber.key, subscriber.imsi, *subscriber.msisdns, *subscriber.addresses, *subscriber.identities)


def _of(messages: Iterable[SignallingMessage], subscriber: KnownSubscriber) -> tuple[SignallingMessage, ...]:
    return tuple(m for m in messages if subscriber.key in m.subscribers)


def _page(recorded: RecordedFile) -> str:
    """One section per subscriber, and one for what belongs to none, each message with its parameters."""
    capture = recorded.capture
    ladders = [
        ladder_of(f"Subscriber {s.key}", _of(capture.messages, s), _details(_of(capture.messages, s)))
        for s in capture.subscribers
    ]
    if capture.unattributed:
        ladders.append(ladder_of("Of no subscriber", capture.unattributed, _details(capture.unattributed)))
    return html_page(f"Signalling in {recorded.path.name}", introduction(recorded), ladders)


def _details(messages: Iterable[SignallingMessage]) -> dict[int, str]:
    """Every parameter of every message, as text, by the message's index. Keys and what they are made of stay hidden."""
    details = {}
    rules = load_rules()
    for message in messages:
        way = doors(message.protocol)
        try:
            found = way.parameters(way.decode(message.octets))
        except DecodeError as error:
            details[message.index] = str(error)
            continue
        known = rules.for_message(message.protocol, message.name)
        lines = [(p.path, HIDDEN if known.treatment(p.path).secret else p.value) for p in found]
        details[message.index] = "\n".join(f"{path}: {'' if value is None else value}" for path, value in lines)
    return details


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(encodable(text), encoding="utf-8")
    except OSError as error:
        raise RecordError(f"cannot write {path}: {error.strerror}") from error
    click.echo(f"wrote {path}", err=True)
