"""`ferret recordings`: what is in a journal; and how other commands get at it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ferret.commands.output import print_json, printable
from ferret.errors import RecordError
from ferret.records.journal import Journal, JournalEntry
from ferret.records.recording import Recording

_NS_PER_S = 1_000_000_000
_UNLIMITED = 1000  # columns: what is not read on a terminal is never folded
_WIDE = 120  # columns from which on there is room to repeat what the ID says

Command = TypeVar("Command", bound=Callable[..., Any])


def journal_option(*, required: bool = True) -> Callable[[Command], Command]:
    """The option `--journal DIR`, the same for every command that has it."""
    return click.option(
        "--journal",
        "directory",
        metavar="DIR",
        type=click.Path(path_type=Path, file_okay=False),
        required=required,
        help="The directory that the journal is in.",
    )


def key_option() -> Callable[[Command], Command]:
    """The option `--key FILE`, the same for every command that opens a journal."""
    return click.option(
        "--key",
        "key_file",
        metavar="FILE",
        type=click.Path(path_type=Path, dir_okay=False),
        help="The journal's key, where it is not kept beside it (DIR/key).",
    )


@click.command()
@journal_option()
@key_option()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("--delete", metavar="ID", multiple=True, help="Drop a recording from the journal; may be repeated.")
def recordings(directory: Path, key_file: Path | None, as_json: bool, delete: tuple[str, ...]) -> None:
    """List the recordings in a journal.

    For each one: whose it is, of which service, when it began, how many messages it has, what share of them is whole
    and answered (quality), what is missing (holes) and how large it is. `ferret record` puts recordings in, and
    `ferret replay ID --journal DIR` replays one.
    """
    with existing_journal(directory, key_file) as journal:
        if delete:
            _delete(journal, delete)
            return
        listed = [_look(journal, entry) for entry in journal.recordings()]
    if as_json:
        found = {"journal": str(directory), "recordings": [one.as_json() for one in listed], "damage": journal.damage}
        print_json(found)
    elif listed:
        _print(listed, Console(width=None if sys.stdout.isatty() else _UNLIMITED))
    else:
        click.echo("no recordings")


def existing_journal(directory: Path, key_file: Path | None = None) -> Journal:
    """Open a journal that must be there; damage is one line of warning on standard error.

    Raises RecordError where there is none, it is of a newer version, or its key is missing or another one.
    """
    if not directory.exists():
        raise RecordError(f"there is no journal {directory}")
    return opened(Journal(directory, key_file=key_file))


def opened(journal: Journal) -> Journal:
    """The same journal; what is damaged in it is said on standard error."""
    if journal.damage:
        more = f" (and {len(journal.damage) - 1} more)" if len(journal.damage) > 1 else ""
        click.echo(f"ferret: warning: {journal.damage[0]}{more}; whole recordings are kept", err=True)
    return journal


def load_recording(directory: Path, recording_id: str, key_file: Path | None = None) -> Recording:
    """One recording with all its messages, by its ID ("1.999700000000020-volte-1").

    The number in front of the dot may be left out where only one recording has that name. Raises RecordError where
    the journal or the recording is not there or cannot be read.
    """
    with existing_journal(directory, key_file) as journal:
        return journal.read(full_id(journal, recording_id))


def full_id(journal: Journal, recording_id: str) -> str:
    """The ID in the journal that is meant. Raises RecordError that names those there are."""
    known = [entry.id for entry in journal.recordings()]
    if recording_id in known:
        return recording_id
    meant = [name for name in known if name.partition(".")[2] == recording_id]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise RecordError(f"{recording_id} may be any of {', '.join(meant)}")
    raise RecordError(f"no recording {recording_id} in {journal.directory}; there are: {', '.join(known) or 'none'}")


def moment(ns: int) -> str:
    """Nanoseconds since the epoch as UTC, to the second; "unknown" for 0 and for what no calendar has."""
    try:
        return f"{datetime.fromtimestamp(ns // _NS_PER_S, UTC):%Y-%m-%dT%H:%M:%SZ}" if ns else "unknown"
    except (OverflowError, ValueError, OSError):
        return "unknown"


@dataclass(frozen=True, slots=True)
class _Listed:
    entry: JournalEntry
    quality: float | None  # None: its messages cannot be read
    octets: int
    fault: str = ""

    @property
    def holes(self) -> str:
        return "; ".join([self.fault] * bool(self.fault) + [f"{h.what} after {h.after}" for h in self.entry.holes])

    def as_json(self) -> dict[str, object]:
        entry = self.entry
        return {
            "id": entry.id,
            "source": entry.source,
            "subscriber": entry.subscriber,
            "service": entry.service,
            "begin": moment(entry.begin_ns),
            "end": moment(entry.end_ns),
            "messages": entry.messages,
            "context_messages": entry.context,
            "quality": None if self.quality is None else round(self.quality, 4),
            "holes": [{"what": h.what, "after": h.after, "agent": h.agent} for h in entry.holes],
            "octets": self.octets,
            "fault": self.fault,
        }


def _look(journal: Journal, entry: JournalEntry) -> _Listed:
    """Read the recording's messages. One that is damaged is listed as such, and never stops the list."""
    try:
        recording = journal.read(entry.id)
    except RecordError as error:
        return _Listed(entry, None, 0, str(error))
    messages = {message.index: message for message, _ in (*recording.context, *recording.entries)}
    return _Listed(entry, recording.quality, sum(len(message.octets) for message in messages.values()))


def _delete(journal: Journal, names: tuple[str, ...]) -> None:
    for name in [full_id(journal, name) for name in names]:
        journal.forget(name)
        click.echo(printable(f"deleted {name}"))


def _print(listed: list[_Listed], console: Console) -> None:
    wide = console.width >= _WIDE
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("recording", no_wrap=True)
    if wide:
        table.add_column("subscriber")
        table.add_column("service")
    table.add_column("begin", no_wrap=wide)
    for heading in ("messages", "quality", "size"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("holes", overflow="fold")
    for one in listed:
        entry = one.entry
        quality = "damaged" if one.quality is None else f"{one.quality:.0%}"
        whose = (entry.subscriber, entry.service) if wide else ()
        cells = (entry.id, *whose, moment(entry.begin_ns).replace("T", " "), str(entry.messages), quality)
        table.add_row(*(Text(printable(cell)) for cell in (*cells, _size(one.octets), one.holes)))
    console.print(table)


def _size(octets: int) -> str:
    return f"{octets / 1000:.1f} kB" if octets < 1_000_000 else f"{octets / 1_000_000:.1f} MB"
