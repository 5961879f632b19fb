"""`ferret recordings` lists a journal, whatever state it is in, and drops recordings from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ferret.cli import ferret
from ferret.commands.recordings import load_recording, moment
from ferret.errors import RecordError
from ferret.protocols.summary import Kind, Protocol
from ferret.records.holes import Hole
from ferret.records.journal import Journal
from ferret.records.journal_frames import frame
from ferret.records.message import CapturedMessage, Endpoint, Interface, Node, Role, SignallingMessage
from ferret.records.recording import Entry, Recording
from ferret.records.sip_legs import Boundary

BEGIN_NS = 1_700_000_000_000_000_000


def recording(subscriber: str = "001010000000001", *holes: Hole) -> Recording:
    """A small recording: one answered request of 100 octets in all, with a request of context."""
    mme, sgw = Node(Role.MME, "10.0.0.1"), Node(Role.SGW, "10.0.0.2")
    entries = []
    for index, kind in ((1, Kind.REQUEST), (2, Kind.REQUEST), (3, Kind.RESPONSE)):
        ends = (Endpoint("10.0.0.1", 2123), Endpoint("10.0.0.2", 2123))
        captured = CapturedMessage(Protocol.GTPV2, BEGIN_NS + index, *ends, bytes(50))
        message = SignallingMessage(
            index, captured, "Echo", kind, Interface.S11, mme, sgw, answers=2 if kind is Kind.RESPONSE else 0
        )
        entries.append(Entry(message, Boundary.INSIDE))
    return Recording(subscriber, "volte", 1, tuple(entries[1:]), tuple(entries[:1]), holes)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """A journal of two recordings, the second with a hole."""
    with Journal(tmp_path / "journal") as opened:
        opened.append([recording()], "a.pcap")
        opened.append([recording("001010000000002", Hole("the answer to Echo", 2))], "b.pcap")
    return tmp_path / "journal"


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(ferret, ["recordings", *map(str, arguments)])


def test_each_recording_is_one_line_with_everything_about_it(journal: Path) -> None:
    result = _run("--journal", journal)
    assert result.exit_code == 0
    heading, first, second = result.stdout.splitlines()
    assert heading.split() == ["recording", "subscriber", "service", "begin", "messages", "quality", "size", "holes"]
    assert first.split() == [
        *("1.001010000000001-volte-1", "001010000000001", "volte", "2023-11-14", "22:13:20Z", "2", "100%", "0.1", "kB")
    ]
    assert second.startswith("2.001010000000002-volte-1")
    assert second.rstrip().endswith("the answer to Echo after 2")


def test_json_is_one_object(journal: Path) -> None:
    found = json.loads(_run("--journal", journal, "--json").stdout)
    assert found["journal"] == str(journal)
    assert found["damage"] == []
    first, second = found["recordings"]
    assert first == {
        "id": "1.001010000000001-volte-1",
        "source": "a.pcap",
        "subscriber": "001010000000001",
        "service": "volte",
        "begin": "2023-11-14T22:13:20Z",
        "end": "2023-11-14T22:13:20Z",
        "messages": 2,
        "context_messages": 1,
        "quality": 1.0,
        "holes": [],
        "octets": 150,
        "fault": "",
    }
    assert second["holes"] == [{"what": "the answer to Echo", "after": 2, "agent": ""}]


def test_a_recording_is_deleted_by_its_id_or_its_name_alone(journal: Path) -> None:
    result = _run("--journal", journal, "--delete", "001010000000001-volte-1")
    assert result.stdout == "deleted 1.001010000000001-volte-1\n"
    assert _run("--journal", journal, "--delete", "2.001010000000002-volte-1").exit_code == 0
    assert _run("--journal", journal).stdout == "no recordings\n"


def test_none_is_deleted_where_one_of_them_is_unknown(journal: Path) -> None:
    result = _run("--journal", journal, "--delete", "1.001010000000001-volte-1", "--delete", "nobody")
    assert isinstance(result.exception, RecordError)
    assert "no recording nobody" in str(result.exception)
    assert "2.001010000000002-volte-1" in str(result.exception)
    assert len(Journal(journal).recordings()) == 2


def test_a_name_that_two_captures_have_needs_its_number(journal: Path) -> None:
    with Journal(journal) as opened:
        opened.append([recording()])
    with pytest.raises(RecordError, match=r"may be any of 1\.001010000000001-volte-1, 3\.001010000000001-volte-1"):
        load_recording(journal, "001010000000001-volte-1")
    assert load_recording(journal, "3.001010000000001-volte-1") == recording()


def test_a_journal_with_a_broken_tail_is_listed_with_a_warning(journal: Path) -> None:
    with (journal / "000001.journal").open("ab") as file:
        file.write(frame(3, b"{}")[:-1])
    result = _run("--journal", journal)
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 3
    assert result.stderr.count("\n") == 1
    assert "14 octets of an unfinished write" in result.stderr


def test_a_recording_with_a_damaged_message_is_listed_as_such(journal: Path) -> None:
    path = journal / "000001.journal"
    octets = bytearray(path.read_bytes())
    octets[octets.index(b"\xf5FRM\x00", 80) + 100] ^= 1  # in the second frame: the first message
    path.write_bytes(octets)
    result = _run("--journal", journal)
    assert result.exit_code == 0
    _, first, second = result.stdout.splitlines()
    assert "damaged" in first
    assert "is damaged or missing" in first
    assert "67%" in second


def test_a_journal_of_a_newer_version_is_refused(journal: Path) -> None:
    octets = bytearray((journal / "000001.journal").read_bytes())
    octets[8:10] = (2).to_bytes(2, "big")
    (journal / "000001.journal").write_bytes(octets)
    result = _run("--journal", journal)
    assert isinstance(result.exception, RecordError)
    assert "version 2" in str(result.exception)
    assert result.stdout == ""


def test_a_journal_that_is_not_there_is_said_so_and_not_made(tmp_path: Path) -> None:
    result = _run("--journal", tmp_path / "none")
    assert isinstance(result.exception, RecordError)
    assert "there is no journal" in str(result.exception)
    assert not (tmp_path / "none").exists()


def test_times_that_no_calendar_has_are_unknown() -> None:
    assert moment(0) == moment(2**80) == moment(-(2**80)) == "unknown"
    assert moment(BEGIN_NS) == "2023-11-14T22:13:20Z"
