"""The journal keeps recordings whatever happens."""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ferret.errors import RecordError
from ferret.protocols.summary import Identifier, IdKind, Kind, Protocol
from ferret.records import journal as journal_module
from ferret.records.holes import Hole
from ferret.records.journal import Fsync, Journal
from ferret.records.journal_codec import decode_message, encode_message
from ferret.records.journal_frames import HEADER_SIZE, frame
from ferret.records.message import CapturedMessage, Endpoint, Flaw, Interface, Node, Role, SignallingMessage
from ferret.records.recorder import Capture
from ferret.records.recording import Entry, Recording
from ferret.records.sip_legs import Boundary


def message(index: int, octets: bytes = b"octets") -> SignallingMessage:
    """A small message."""
    captured = CapturedMessage(
        Protocol.GTPV2,
        1_700_000_000_000_000_000 + index,
        Endpoint("10.0.0.1", 2123),
        Endpoint("10.0.0.2", 2123),
        octets,
    )
    mme, sgw = Node(Role.MME, "10.0.0.1"), Node(Role.SGW, "10.0.0.2")
    return SignallingMessage(index, captured, "Echo Request", Kind.REQUEST, Interface.S11, mme, sgw)


def recording(subscriber: str = "001010000000001", first: int = 1, number: int = 1) -> Recording:
    """A small recording of two messages, with one of context."""
    entries = tuple(Entry(message(index), Boundary.INSIDE) for index in (first + 1, first + 2))
    context = (Entry(message(first), Boundary.LEAVES),)
    return Recording(subscriber, "volte", number, entries, context, (Hole("a hole", 1, "10.0.0.1"),))


def segment(directory: Path) -> Path:
    return directory / "000001.journal"


def test_a_recording_comes_back_with_all_its_messages(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        (name,) = journal.append([recording()], source="x.pcap")
        assert journal.read(name) == recording()
    with Journal(tmp_path) as journal:
        assert journal.read(name) == recording()
        (entry,) = journal.recordings()
        assert (entry.id, entry.source, entry.messages, entry.context) == (name, "x.pcap", 2, 1)
        assert entry.holes == recording().holes
        assert journal.damage == ()


def test_a_whole_recorded_call_survives_the_journal(recorded: Callable[[str], Capture], tmp_path: Path) -> None:
    capture = recorded("volte-call-full.pcap")
    with Journal(tmp_path, fsync=Fsync.APPEND) as journal:
        names = journal.append(capture.recordings, source="volte-call-full.pcap")
    with Journal(tmp_path) as journal:
        assert [journal.read(name) for name in names] == list(capture.recordings)


text = st.text(max_size=12)
nodes = st.builds(Node, st.sampled_from(list(Role)), text, st.integers(0, 65535))
messages = st.builds(
    SignallingMessage,
    index=st.integers(1, 2**31),
    captured=st.builds(
        CapturedMessage,
        protocol=st.sampled_from(list(Protocol)),
        captured_at_ns=st.integers(0, 2**62),
        source=st.builds(Endpoint, text, st.integers(0, 65535)),
        destination=st.builds(Endpoint, text, st.integers(0, 65535)),
        octets=st.binary(max_size=60),
        flaws=st.sampled_from([(), (Flaw.CUT,), (Flaw.CUT, Flaw.UNDECODABLE)]),
    ),
    name=st.text(max_size=10) | st.just("OPTIONS \udcff"),
    kind=st.sampled_from(list(Kind)),
    interface=st.sampled_from(list(Interface)),
    from_nf=nodes,
    to_nf=nodes,
    transaction=text,
    identifiers=st.lists(st.builds(Identifier, st.sampled_from(list(IdKind)), text), max_size=3).map(tuple),
    accepted=st.sampled_from([None, True, False]),
    state_transitions=st.integers(0, 9),
    answers=st.integers(0, 9),
    agents=st.lists(text, max_size=2).map(tuple),
    retransmissions=st.integers(0, 5),
    subscribers=st.lists(text, max_size=2).map(tuple),
    services=st.lists(text, max_size=2).map(tuple),
)


@settings(max_examples=100)
@given(messages)
def test_every_message_is_kept_without_loss(one: SignallingMessage) -> None:
    assert decode_message(encode_message(one)) == one


@settings(max_examples=100)
@given(st.binary(max_size=80))
def test_damaged_messages_are_record_errors(octets: bytes) -> None:
    with pytest.raises(RecordError):
        decode_message(octets)


def test_messages_and_with_them_all_keys_are_encrypted_at_rest(tmp_path: Path) -> None:
    secret = b"KASME-OF-A-LIVING-SUBSCRIBER"
    one = replace(recording(), entries=(Entry(message(2, secret), Boundary.INSIDE),))
    with Journal(tmp_path) as journal:
        (name,) = journal.append([one])
        assert journal.read(name) == one
    assert secret not in segment(tmp_path).read_bytes()
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_the_key_may_lie_elsewhere(tmp_path: Path) -> None:
    key = tmp_path / "elsewhere"
    with Journal(tmp_path / "journal", key_file=key) as journal:
        journal.append([recording()])
    assert not (tmp_path / "journal" / "key").exists()
    assert len(Journal(tmp_path / "journal", key_file=key).recordings()) == 1
    with pytest.raises(RecordError, match="cannot be read"):
        Journal(tmp_path / "journal")


def test_a_wrong_an_open_and_a_damaged_key_are_refused(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.append([recording()])
    key = tmp_path / "key"
    key.chmod(0o644)
    with pytest.raises(RecordError, match="chmod 600"):
        Journal(tmp_path)
    key.chmod(0o600)
    key.write_bytes(os.urandom(32))
    with pytest.raises(RecordError, match="another key"):
        Journal(tmp_path)
    key.write_bytes(b"short")
    with pytest.raises(RecordError, match="32 octets"):
        Journal(tmp_path)


def test_a_forgotten_recording_is_gone_and_the_others_stay(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        first, second = journal.append([recording(), recording("001010000000002", 4)])
        journal.forget(first)
        with pytest.raises(RecordError):
            journal.read(first)
        with pytest.raises(RecordError):
            journal.forget(first)
    assert [entry.id for entry in Journal(tmp_path).recordings()] == [second]


def test_two_captures_keep_their_messages_apart(tmp_path: Path) -> None:
    other = replace(recording(), entries=(Entry(message(2, b"other"), Boundary.INSIDE),))
    with Journal(tmp_path) as journal:
        (first,) = journal.append([recording()])
    with Journal(tmp_path) as journal:
        (second,) = journal.append([other])
        assert (journal.read(first), journal.read(second)) == (recording(), other)


def test_cut_at_every_octet_of_its_tail_a_journal_keeps_what_was_whole(tmp_path: Path) -> None:
    source = tmp_path / "source"
    with Journal(source, fsync=Fsync.NEVER) as journal:
        (first,) = journal.append([recording()])
        kept = segment(source).stat().st_size
        journal.append([recording("001010000000002", 4)])
    octets, key = segment(source).read_bytes(), (source / "key").read_bytes()
    for end in range(kept, len(octets)):
        directory = tmp_path / f"cut-{end}"
        directory.mkdir()
        (directory / "key").write_bytes(key)
        (directory / "key").chmod(0o600)
        segment(directory).write_bytes(octets[:end])
        with Journal(directory, fsync=Fsync.NEVER) as journal:
            assert [entry.id for entry in journal.recordings()] == [first]
            (new,) = journal.append([recording("001010000000003", 7)])
        with Journal(directory) as journal:
            assert journal.damage == ()
            assert journal.read(first) == recording()
            assert journal.read(new) == recording("001010000000003", 7)


@pytest.mark.parametrize("end", range(HEADER_SIZE))
def test_cut_within_its_header_a_journal_is_empty_and_can_be_written(tmp_path: Path, end: int) -> None:
    with Journal(tmp_path, fsync=Fsync.NEVER) as journal:
        journal.append([recording()])
    os.truncate(segment(tmp_path), end)
    with Journal(tmp_path, fsync=Fsync.NEVER) as journal:
        assert journal.recordings() == []
        assert "unfinished header" in journal.damage[0]
        (name,) = journal.append([recording()])
    assert Journal(tmp_path).read(name) == recording()


def test_a_broken_tail_is_reported_and_left_alone_by_readers(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.append([recording()])
    with segment(tmp_path).open("ab") as file:
        file.write(frame(3, b"{}")[:-1])
    size = segment(tmp_path).stat().st_size
    journal = Journal(tmp_path)
    assert "14 octets of an unfinished write" in journal.damage[0]
    assert (len(journal.recordings()), segment(tmp_path).stat().st_size) == (1, size)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_flipped_octet_costs_at_most_the_recordings_that_it_belongs_to(tmp_path: Path, data: st.DataObject) -> None:
    directory = tmp_path / os.urandom(4).hex()
    with Journal(directory, fsync=Fsync.NEVER) as journal:
        names = [journal.append([recording("001010000000001", 1 + 3 * n)])[0] for n in range(3)]
    octets = bytearray(segment(directory).read_bytes())
    position = data.draw(st.integers(HEADER_SIZE, len(octets) - 1))
    octets[position] ^= 1 << data.draw(st.integers(0, 7))
    segment(directory).write_bytes(octets)
    journal = Journal(directory)
    assert journal.damage
    whole = 0
    for place, name in enumerate(names):
        try:
            assert journal.read(name) == recording("001010000000001", 1 + 3 * place)
            whole += 1
        except RecordError:
            continue
    assert whole >= 2


def test_a_newer_version_is_refused_by_its_number(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.append([recording()])
    octets = bytearray(segment(tmp_path).read_bytes())
    octets[8:10] = (2).to_bytes(2, "big")
    segment(tmp_path).write_bytes(octets)
    with pytest.raises(RecordError, match="version 2"):
        Journal(tmp_path)


def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RecordError, match="directory"):
        Journal(tmp_path / "file")
    (tmp_path / "000001.journal").write_bytes(b"GIF89a, not a journal at all, not at all")
    with pytest.raises(RecordError, match="not a FERRET journal"):
        Journal(tmp_path)


def test_a_journal_that_does_not_exist_is_empty_and_reading_makes_nothing(tmp_path: Path) -> None:
    assert Journal(tmp_path / "none").recordings() == []
    assert not (tmp_path / "none").exists()
    with pytest.raises(RecordError, match="no recording"):
        Journal(tmp_path / "none").read("1.x")


def test_one_process_writes_at_a_time(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal, Journal(tmp_path) as other:
        journal.append([recording()])
        with pytest.raises(RecordError, match="another process"):
            other.append([recording()])
        journal.close()
        other.append([recording()])
    assert len(Journal(tmp_path).recordings()) == 2


def test_a_long_journal_goes_on_in_the_next_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "SEGMENT_SIZE", 2000)
    with Journal(tmp_path, fsync=Fsync.NEVER) as journal:
        names = journal.append([recording(first=1 + 3 * n, number=n) for n in range(9)])
    assert len(list(tmp_path.glob("*.journal"))) > 2
    with Journal(tmp_path) as journal:
        assert [journal.read(name).number for name in names] == list(range(9))


def test_a_full_disk_is_one_clear_error_and_costs_nothing_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal(tmp_path) as journal:
        journal.append([recording()])

        class Full:
            def write(self, octets: bytes) -> int:
                raise OSError(28, "No space left on device")

        monkeypatch.setattr(journal, "_current", Full)
        with pytest.raises(RecordError, match="No space left"):
            journal.append([recording(first=4)])
        monkeypatch.undo()
        journal.append([recording(first=7)])
    assert len(Journal(tmp_path).recordings()) == 2


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_journal import recording
from ferret.records.journal import Journal
with Journal(Path(sys.argv[1])) as journal:
    number = 0
    while True:
        number += 1
        print(journal.append([recording(number=number)])[0], flush=True)
"""


@pytest.mark.parametrize("seed", range(4))
def test_a_writer_killed_at_any_moment_loses_nothing_that_it_reported(tmp_path: Path, seed: int) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        reported = [writer.stdout.readline().strip() for _ in range(random.Random(seed).randrange(1, 40))]
        writer.send_signal(signal.SIGKILL)
        reported += [line.strip() for line in writer.stdout if line.endswith("\n")]
    with Journal(tmp_path) as journal:
        (new,) = journal.append([recording(number=99)])
        names = [entry.id for entry in journal.recordings()]
        assert set(reported) <= set(names)
        assert all(journal.read(name).entries == recording().entries for name in names)
        assert names[-1] == new
    assert Journal(tmp_path).damage == ()
