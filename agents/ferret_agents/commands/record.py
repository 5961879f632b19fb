"""`ferret record --journal DIR`: from a capture, or from live agents, into a journal."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from ferret.commands.output import print_json, printable
from ferret.commands.recordings import journal_option, key_option, moment, opened
from ferret.errors import RecordError
from ferret.logs import configure
from ferret.queue import MessageQueue, open_for_recorder
from ferret.records.journal import Journal
from ferret.records.message import CapturedMessage
from ferret.records.quality import assess
from ferret.records.recorder import Capture
from ferret.records.recording import Recording
from ferret.signals import until_told_to_stop
from ferret_agents.commands.overview import damage_lines
from ferret_agents.commands.progress import collecting_progress, recording_progress
from ferret_agents.live_recording import MOST_MESSAGES, collect, record_messages
from ferret_agents.pipeline import record_file, usable
from ferret_agents.spool import Spool

SPOOL = "incoming.spool"
"""In the journal's directory: what was taken out of the queue and is not in the journal yet."""


@click.command(short_help="Record a capture, or what live agents capture, into a journal.")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option(
    "--queue", "queue_name", metavar="NAME", help="Record live: from this queue, such as /ferret, or redis://HOST."
)
@click.option(
    "--for",
    "seconds",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Record live for so long, and not until Ctrl-C or SIGTERM.",
)
@journal_option()
@click.option("--service", metavar="NAME", help="Only recordings of this service, such as volte, sms or attach.")
@key_option()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def record(
    file: Path | None,
    queue_name: str | None,
    seconds: float | None,
    directory: Path,
    service: str | None,
    key_file: Path | None,
    as_json: bool,
) -> None:
    """Record the capture FILE (pcap or pcapng), or what live agents capture, into a journal.

    A recording is the ordered signalling of one subscriber's one service, with everything before it that it builds
    upon. The journal is made where there is none. A recording that it already has from the same capture is not
    written again. `ferret recordings` lists what is in a journal.

    With --queue it makes the host's queue, and takes what the agents beside the NFs (`ferret agent`) put into it; at
    the end it writes the recordings.
    """
    if (file is None) == (queue_name is None):
        raise click.UsageError("one of FILE and --queue is wanted")
    if seconds is not None and queue_name is None:
        raise click.UsageError("--for goes with --queue")
    with opened(Journal(directory, key_file=key_file)) as journal:  # what is wrong with it is said before the work
        spool = Spool(directory / SPOOL) if queue_name is not None else None
        taken = _from_file(file) if file is not None else _from_queue(str(queue_name), seconds, spool)
        with contextlib.ExitStack() as done:
            if spool is not None:
                done.callback(spool.remove)
            chosen = _chosen(taken, service)  # where there is none, what came is for nobody
            done.pop_all()
            outcomes = keep(journal, chosen, taken.source)
            if spool is not None:
                spool.remove()
    if taken.damage:
        more = f" (and {len(taken.damage) - 1} more{taken.see})" if len(taken.damage) > 1 else ""
        click.echo(printable(f"ferret: warning: {taken.name}: {taken.damage[0]}{more}"), err=True)
    if as_json:
        found = {"journal": str(directory), taken.kind: taken.name, "recordings": [one.as_json() for one in outcomes]}
        print_json(found)
        return
    for one in outcomes:
        click.echo(printable(one.line()))


@dataclass(frozen=True, slots=True)
class _Taken:
    """What there is to write, and where it is from."""

    kind: str  # "file" or "queue"
    name: str
    capture: Capture
    damage: Sequence[str]
    source: str
    see: str = ""  # where the rest of the damage is said


def _from_file(file: Path) -> _Taken:
    with recording_progress(file) as progress:
        recorded = usable(record_file(file, progress=progress))
    damage = damage_lines(recorded)
    return _Taken("file", str(file), recorded.capture, damage, source_of(file), "; see 'ferret inspect'")


def _from_queue(name: str, seconds: float | None, spool: Spool | None) -> _Taken:
    configure()
    with open_for_recorder(name) as queue:
        messages = asyncio.run(_until_told(queue, seconds, spool))
    if not messages:
        raise RecordError(f"{name}: nothing came; is an agent running with --queue {name}?")
    capture = record_messages(messages)
    return _Taken("queue", name, capture, capture.damage, f"{name} live:{time.time_ns()}")


async def _until_told(queue: MessageQueue, seconds: float | None, spool: Spool | None) -> list[CapturedMessage]:
    loop, stopping = asyncio.get_running_loop(), until_told_to_stop()
    if seconds is not None:
        loop.call_later(seconds, stopping.set)
    with collecting_progress(MOST_MESSAGES) as progress:
        return await collect(queue, stopping, spool=spool, progress=progress)


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
            "quality_of": asdict(assess(recording)),
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


def _chosen(taken: _Taken, service: str | None) -> tuple[Recording, ...]:
    found = taken.capture.recordings
    chosen = tuple(one for one in found if service is None or one.service == service)
    if chosen:
        return chosen
    if not found:
        raise RecordError(f"{taken.name}: {len(taken.capture.messages)} messages, but of no subscriber's service")
    known = ", ".join(dict.fromkeys(one.service for one in found))
    raise RecordError(f"{taken.name}: no recording of service {service}; there are: {known}")
