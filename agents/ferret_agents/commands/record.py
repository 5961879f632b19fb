"""`ferret record FILE --journal DIR`: from a capture into a journal."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from ferret.commands.output import print_json, printable
from ferret.commands.recordings import journal_option, key_option, moment, opened
from ferret.errors import RecordError
from ferret.records.journal import Journal
from ferret.records.recording import Recording
from ferret_agents.commands.overview import damage_lines
from ferret_agents.commands.progress import recording_progress
from ferret_agents.pipeline import RecordedFile, record_file, usable


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@journal_option()
@click.option("--service", metavar="NAME", help="Only recordings of this service, such as volte, sms or attach.")
@key_option()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def record(file: Path, directory: Path, service: str | None, key_file: Path | None, as_json: bool) -> None:
    """Record the capture FILE (pcap or pcapng) into a journal.

    A recording is the ordered signalling of one subscriber's one service, with everything before it that it builds
    upon. The journal is made where there is none. A recording that it already has from the same capture is not
    written again. `ferret recordings` lists what is in a journal.
    """
    with recording_progress(file) as progress:
        recorded = usable(record_file(file, progress=progress))
    chosen = _chosen(recorded, service)
    with opened(Journal(directory, key_file=key_file)) as journal:
        outcomes = keep(journal, chosen, source_of(file))
    damage = damage_lines(recorded)
    if damage:
        more = f" (and {len(damage) - 1} more; see 'ferret inspect')" if len(damage) > 1 else ""
        click.echo(printable(f"ferret: warning: {file}: {damage[0]}{more}"), err=True)
    if as_json:
        found = {"journal": str(directory), "file": str(file), "recordings": [one.as_json() for one in outcomes]}
        print_json(found)
        return
    for one in outcomes:
        click.echo(printable(one.line()))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one recording."""

    id: str  # in the journal
    recording: Recording
    written: bool  # False: it was already there

    def line(self) -> str:
        """For people."""
        recording = self.recording
        state = "written" if self.written else "already there"
        holes = "; ".join(f"{hole.what} after {hole.after}" for hole in recording.holes)
        context = f" and {len(recording.context)} of context" if recording.context else ""
        missing = f", missing: {holes}" if holes else ""
        size = f"{len(recording.entries)} messages{context}"
        return f"{self.id}: {state}, {size}, quality {recording.quality:.0%}{missing}"

    def as_json(self) -> dict[str, object]:
        """For programs."""
        recording = self.recording
        return {
            "id": self.id,
            "written": self.written,
            "subscriber": recording.subscriber,
            "service": recording.service,
            "begin": moment(recording.begin_ns),
            "messages": len(recording.entries),
            "context_messages": len(recording.context),
            "quality": round(recording.quality, 4),
            "holes": [{"what": h.what, "after": h.after, "agent": h.agent} for h in recording.holes],
        }


def source_of(file: Path) -> str:
    """What the journal calls a capture: its name and what is in it, so that it is known again under any name."""
    try:
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise RecordError(f"{file} cannot be read: {error.strerror}") from error
    return f"{file.name} sha256:{digest}"


def keep(journal: Journal, recordings: Sequence[Recording], source: str) -> list[Outcome]:
    """Write those recordings that the journal does not have from this capture yet. Raises RecordError."""
    taken: list[Recording] = []
    names: list[str] = []
    if not {recording.id for recording in recordings} <= _there(journal, source).keys():
        names = journal.append(_missing(journal, recordings, source, taken), source)
    written = {recording.id: name for recording, name in zip(taken, names, strict=True)}
    there = _there(journal, source)
    return [Outcome(there[one.id], one, one.id in written) for one in recordings]


def _missing(
    journal: Journal, recordings: Sequence[Recording], source: str, taken: list[Recording]
) -> Iterator[Recording]:
    """Asks the journal only once it is locked for writing: another process may just have written the same."""
    there = _there(journal, source)
    for recording in recordings:
        if recording.id not in there:
            taken.append(recording)
            yield recording


def _there(journal: Journal, source: str) -> dict[str, str]:
    """The recordings that a journal has of a capture: their names in that capture, and their IDs."""
    digest = source.rpartition(" ")[2]
    return {
        entry.id.partition(".")[2]: entry.id
        for entry in journal.recordings()
        if entry.source.rpartition(" ")[2] == digest
    }


def _chosen(recorded: RecordedFile, service: str | None) -> tuple[Recording, ...]:
    found = recorded.capture.recordings
    chosen = tuple(one for one in found if service is None or one.service == service)
    if chosen:
        return chosen
    if not found:
        raise RecordError(f"{recorded.path}: {len(recorded.capture.messages)} messages, but of no subscriber's service")
    known = ", ".join(dict.fromkeys(one.service for one in found))
    raise RecordError(f"{recorded.path}: no recording of service {service}; there are: {known}")
