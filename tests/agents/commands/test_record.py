"""`ferret record` puts a capture's recordings into a journal, each once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ferret.cli import ferret
from ferret.commands.recordings import load_recording
from ferret.errors import RecordError
from ferret.queue import PosixQueue, encode_captured
from ferret.records.journal import Journal
from ferret_agents.capture.reader import read
from ferret_agents.commands.record import keep, source_of
from ferret_agents.offline import agents
from ferret_agents.pipeline import record_file
from ferret_agents.roles import find_network


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(ferret, ["record", *map(str, arguments)])


def _ids(journal: Path) -> list[str]:
    return [entry.id for entry in Journal(journal).recordings()]


def test_every_recording_is_written_and_comes_back_as_it_was(capture: Callable[[str], Path], tmp_path: Path) -> None:
    path = capture("volte-call-full.pcap")
    result = _run(path, "--journal", tmp_path)
    assert result.exit_code == 0
    recordings = record_file(path).capture.recordings
    assert len(result.stdout.splitlines()) == len(recordings)
    for recording, line in zip(recordings, result.stdout.splitlines(), strict=True):
        name, _, about = line.partition(": ")
        assert about.startswith(f"written, {len(recording.entries)} messages")
        assert load_recording(tmp_path, name) == load_recording(tmp_path, recording.id) == recording


def test_only_the_service_that_was_asked_for_is_written(capture: Callable[[str], Path], tmp_path: Path) -> None:
    assert _run(capture("volte-call-full.pcap"), "--journal", tmp_path, "--service", "volte").exit_code == 0
    assert {entry.service for entry in Journal(tmp_path).recordings()} == {"volte"}


def test_a_service_that_nobody_used_is_named_with_those_that_were(
    capture: Callable[[str], Path], tmp_path: Path
) -> None:
    result = _run(capture("open5gs-attach.pcap"), "--journal", tmp_path / "journal", "--service", "volte")
    assert isinstance(result.exception, RecordError)
    assert "no recording of service volte; there are: attach, pdn:internet, detach" in str(result.exception)
    assert not (tmp_path / "journal").exists()


def test_what_is_already_there_is_not_written_again(capture: Callable[[str], Path], tmp_path: Path) -> None:
    path = capture("open5gs-attach.pcap")
    assert _run(path, "--journal", tmp_path, "--service", "attach").exit_code == 0
    before = (tmp_path / "000001.journal").read_bytes()
    again = _run(path, "--journal", tmp_path, "--service", "attach")
    assert again.stdout == "1.999700000000001-attach-1: already there, 20 messages, quality 100%\n"
    assert (tmp_path / "000001.journal").read_bytes() == before
    rest = json.loads(_run(path, "--journal", tmp_path, "--json").stdout)
    written = {one["id"]: one["written"] for one in rest["recordings"]}
    assert written == {
        "1.999700000000001-attach-1": False,
        "2.999700000000001-pdn:internet-1": True,
        "2.999700000000001-detach-1": True,
    }
    assert sorted(_ids(tmp_path)) == sorted(written)


def test_the_same_capture_under_another_name_is_known_again(capture: Callable[[str], Path], tmp_path: Path) -> None:
    _run(capture("open5gs-attach.pcap"), "--journal", tmp_path / "journal")
    copy = tmp_path / "copy.pcap"
    shutil.copy(capture("open5gs-attach.pcap"), copy)
    assert "written" not in _run(copy, "--journal", tmp_path / "journal").stdout


def test_another_capture_of_the_same_name_is_kept_beside_it(capture: Callable[[str], Path], tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(capture("open5gs-attach.pcap").read_bytes())
    _run(path, "--journal", tmp_path / "journal", "--service", "attach")
    path.write_bytes(path.read_bytes()[:-1])  # costs the last frame only
    _run(path, "--journal", tmp_path / "journal", "--service", "attach")
    assert _ids(tmp_path / "journal") == ["1.999700000000001-attach-1", "2.999700000000001-attach-1"]


def test_two_that_record_the_same_at_once_write_it_once(capture: Callable[[str], Path], tmp_path: Path) -> None:
    path = capture("open5gs-attach.pcap")
    recordings = record_file(path).capture.recordings
    with Journal(tmp_path) as slow:
        with Journal(tmp_path) as quick:  # after the other has looked what is there
            assert all(one.written for one in keep(quick, recordings, source_of(path)))
        assert not any(one.written for one in keep(slow, recordings, source_of(path)))
    assert len(_ids(tmp_path)) == len(recordings)


def test_a_deleted_recording_can_be_recorded_again(capture: Callable[[str], Path], tmp_path: Path) -> None:
    path = capture("open5gs-attach.pcap")
    _run(path, "--journal", tmp_path, "--service", "attach")
    with Journal(tmp_path) as journal:
        journal.forget("1.999700000000001-attach-1")
    assert ": written" in _run(path, "--journal", tmp_path, "--service", "attach").stdout
    assert _ids(tmp_path) == ["2.999700000000001-attach-1"]


def test_the_key_is_made_where_it_was_asked_for(capture: Callable[[str], Path], tmp_path: Path) -> None:
    journal, key = tmp_path / "journal", tmp_path / "elsewhere"
    assert _run(capture("open5gs-attach.pcap"), "--journal", journal, "--key", key).exit_code == 0
    assert key.exists()
    assert not (journal / "key").exists()
    assert len(Journal(journal, key_file=key).recordings()) == 3


@pytest.mark.mqueue
def test_what_agents_put_into_the_queue_is_recorded_until_it_is_told_to_end(
    capture: Callable[[str], Path], tmp_path: Path
) -> None:
    path, name = capture("volte-call-full.pcap"), f"/ferret-test-{os.getpid()}-{os.urandom(4).hex()}"
    result = read(path)
    command = [sys.executable, "-m", "ferret", "record", "--queue", name, "--journal", str(tmp_path), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        _wait_for(process, "recorder_started")
        with PosixQueue(name) as queue:
            for message in agents(result.messages, find_network(result.messages)):
                queue.put(encode_captured(message), timeout=20)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert json.loads(out)["queue"] == name
    assert all(one["written"] for one in json.loads(out)["recordings"])
    for recording in record_file(path).capture.recordings:
        assert load_recording(tmp_path, recording.id) == recording


@pytest.mark.mqueue
def test_a_queue_into_which_nothing_came_is_said(tmp_path: Path) -> None:
    name = f"/ferret-test-{os.getpid()}-{os.urandom(4).hex()}"
    result = _run("--queue", name, "--for", "0.01", "--journal", tmp_path / "journal")
    assert isinstance(result.exception, RecordError)
    assert "nothing came" in str(result.exception)
    assert not (tmp_path / "journal").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "one of FILE and --queue is wanted"),
        (("x.pcap", "--queue", "/x"), "one of FILE and --queue is wanted"),
        (("x.pcap", "--for", "1"), "--for goes with --queue"),
    ],
)
def test_file_and_queue_exclude_each_other(arguments: tuple[str, ...], says: str, tmp_path: Path) -> None:
    result = _run(*arguments, "--journal", tmp_path)
    assert result.exit_code == 2
    assert says in result.output


def _wait_for(process: subprocess.Popen[str], what: str) -> None:
    assert process.stderr is not None
    said = ""
    while what not in said:
        line = process.stderr.readline()
        assert line, said
        said += line


def test_a_capture_without_any_subscriber_is_refused_and_makes_no_journal(
    diameter_neighbours: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(diameter_neighbours)
    result = _run(path, "--journal", tmp_path / "journal")
    assert isinstance(result.exception, RecordError)
    assert "of no subscriber's service" in str(result.exception)
    assert not (tmp_path / "journal").exists()


@pytest.fixture
def diameter_neighbours(scapy: object, sample: object) -> bytes:
    """A capture of one watchdog request and its answer."""
    layers, samples = scapy, sample
    frames = []
    for request in (True, False):
        ends = {"src": "192.0.2.1", "dst": "192.0.2.2"} if request else {"src": "192.0.2.2", "dst": "192.0.2.1"}
        ports = {"sport": 40000, "dport": 3868} if request else {"sport": 3868, "dport": 40000}
        octets = samples.diameter(280, 0, 1, request)  # type: ignore[attr-defined]
        frames.append(bytes(layers.IP(**ends) / layers.TCP(**ports, flags="PA", seq=1) / octets))  # type: ignore[attr-defined]
    header = bytes.fromhex("d4c3b2a1020004000000000000000000ffff000065000000")
    records = [bytes(8) + len(f).to_bytes(4, "little") * 2 + f for f in frames]
    return header + b"".join(records)
