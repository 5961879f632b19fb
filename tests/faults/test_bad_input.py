"""Bad input gets one clear line and loses nothing else."""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import pytest

from ferret.records.message import Flaw
from ferret_agents.commands.overview import overview
from ferret_agents.pipeline import record_file

Run: TypeAlias = Callable[..., Any]
Spoilt: TypeAlias = Callable[..., tuple[Path, Path]]

STRANGER, MME, SGW, PCRF, PCSCF = "192.0.2.1", "172.22.0.2", "172.22.0.3", "172.22.0.9", "172.22.0.21"
PCAP_HEADER = bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000")
PCAPNG_HEADER = bytes.fromhex("0a0d0d0a1c0000004d3c2b1a01000000ffffffffffffffff1c000000")


@cache
def _overview(path: Path) -> dict[str, Any]:
    return overview(record_file(path))


def _names(found: dict[str, Any]) -> Counter[str]:
    names: Counter[str] = Counter()
    for (_, name), number in _counts(found).items():
        names[name] += number
    return names


def _counts(found: dict[str, Any]) -> Counter[tuple[str, str]]:
    return Counter(
        {(interface, name): n for interface, names in found["by_interface"].items() for name, n in names.items()}
    )


def _inspected(run: Run, path: Path) -> dict[str, Any]:
    ran = run("inspect", path, "--json")
    assert (ran.status, ran.stderr) == (0, "")
    found = json.loads(ran.stdout)
    assert isinstance(found, dict)
    return found


# ---- what cannot be used at all

UNUSABLE = {
    "a text": (b"hello, this is not a capture\n" * 20, "not a capture file"),
    "an ELF file": (b"\x7fELF" + bytes(200), "not a capture file"),
    "an empty file": (b"", "empty"),
    "one octet": (b"\xd4", "not a capture file"),
    "half a pcap header": (PCAP_HEADER[:10], "ends within its pcap header"),
    "half a pcapng header": (PCAPNG_HEADER[:20], "ends within its pcapng section header"),
    "a pcap header alone": (PCAP_HEADER, "no GTPv2-C, Diameter, SIP or S1AP in it (nothing)"),
    "a pcapng header alone": (PCAPNG_HEADER, "no GTPv2-C, Diameter, SIP or S1AP in it (nothing)"),
    "gzip of nothing": (bytes.fromhex("1f8b080000000000000303000000000000000000"), "empty"),
    "broken gzip": (bytes.fromhex("1f8b0800000000000003") + b"\xff" * 40, "cannot be read"),
    "one packet cut off": (PCAP_HEADER + bytes(8) + struct.pack("<II", 60, 60) + bytes(20), "ends within this packet"),
    "a packet of 4 GB": (PCAP_HEADER + bytes(8) + b"\xff" * 8 + bytes(40), "a packet of 4294967295 octets"),
    "an unknown link type": (
        PCAP_HEADER[:20] + struct.pack("<I", 9999) + bytes(8) + struct.pack("<II", 20, 20) + bytes(20),
        "link type 9999",
    ),
    "only ARP": (
        PCAP_HEADER + bytes(8) + struct.pack("<II", 42, 42) + bytes(12) + b"\x08\x06" + bytes(28),
        "no GTPv2-C, Diameter, SIP or S1AP in it (1 arp)",
    ),
}


def _commands(tmp_path: Path) -> Iterator[tuple[str, ...]]:
    yield ("inspect",)
    yield ("inspect", "--json")
    yield ("record", "--journal", str(tmp_path / "journal"))
    yield ("replay",)
    yield ("replay", "--json")


@pytest.mark.parametrize("what", UNUSABLE)
def test_what_is_no_capture_gets_one_line_and_status_2(what: str, run: Run, tmp_path: Path) -> None:
    content, says = UNUSABLE[what]
    path = tmp_path / "input.pcap"
    path.write_bytes(content)
    for command in _commands(tmp_path):
        ran = run(*command, path)
        assert (ran.status, ran.stdout) == (2, "")
        assert ran.stderr.startswith("ferret: ")
        assert says in ran.stderr
        assert ran.stderr.count("\n") == 1
    assert not (tmp_path / "journal").exists()


@pytest.mark.parametrize(("path", "says"), [("none.pcap", "no such file"), (".", "is a directory")])
def test_what_cannot_be_opened_gets_one_line_and_status_2(path: str, says: str, run: Run, tmp_path: Path) -> None:
    for command in _commands(tmp_path):
        ran = run(*command, tmp_path / path)
        assert (ran.status, ran.stdout) == (2, "")
        assert says in ran.stderr.lower()
        assert ran.stderr.count("\n") == 1


# ---- octets that are no message, among those that are

GARBAGE = bytes((n * 167 + 13) % 256 for n in range(200))
INSERTED = {
    "garbage on port 2123": ("udp", 2123, GARBAGE, "no GTPv2-C on port 2123"),
    "GTPv2-C with a length beyond its datagram": (
        *("udp", 2123, b"\x48\x20\xff\xff" + GARBAGE),
        "no GTPv2-C on port 2123: type or length cannot be",
    ),
    "GTPv2-C with IEs that are garbage": (
        *("udp", 2123, b"\x48\x20" + struct.pack(">H", 200) + b"\xff" * 200),
        "GTPv2-C that cannot be decoded",
    ),
    "one octet on port 2123": ("udp", 2123, b"\x48", "no GTPv2-C on port 2123"),
    "garbage on port 5060": ("udp", 5060, GARBAGE, "no SIP start line on port 5060"),
    "SIP without CRLF": (
        *("udp", 5060, b"INVITE sip:bob@example.org SIP/2.0 Via: SIP/2.0/UDP 192.0.2.1 Call-ID: 1 CSeq: 1 INVITE"),
        "no SIP start line on port 5060",
    ),
    "SIP without the empty line": (
        *("udp", 5060, b"OPTIONS sip:bob@example.org SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1\r\nCall-ID: 1\r\n"),
        "no empty line ends the SIP header",
    ),
    "garbage on port 3868": ("tcp", 3868, GARBAGE, "undecodable: Diameter version 13"),
    "a Diameter length of 0": ("tcp", 3868, b"\x01\0\0\0\x80\0\x01\x18" + bytes(40), "a Diameter length of 0"),
    "a Diameter length of 16 MB": (
        *("tcp", 3868, b"\x01\xff\xff\xfc\x80\0\x01\x18" + bytes(40)),
        "a Diameter length of 16777212",
    ),
    "garbage on port 36412": ("sctp", 36412, GARBAGE, "undecodable"),
    "an S1AP PDU that does not decode": ("sctp", 36412, b"\x00\x0c\x40\x20" + b"\xff" * 32, "S1AP that cannot be"),
}


@pytest.mark.parametrize("what", INSERTED)
def test_octets_that_are_no_message_are_named_and_cost_nothing_else(
    what: str, run: Run, spoilt: Spoilt, craft: SimpleNamespace
) -> None:
    transport, port, octets, says = INSERTED[what]
    receiver = {2123: SGW, 3868: PCRF, 5060: PCSCF, 36412: MME}[port]
    frame = getattr(craft, transport)(STRANGER, 40000 if transport != "udp" else port, receiver, port, octets)

    def insert(frames: list[Any]) -> list[Any]:
        middle = len(frames) // 2
        at = frames[middle]._replace(octets=frame, wire_length=len(frame))
        return [*frames[:middle], at, *frames[middle:]]

    whole, bad = spoilt("open5gs-volte.pcap", insert)
    before, after = _overview(whole), _inspected(run, bad)
    gained = _counts(after) - _counts(before)
    assert not _counts(before) - _counts(after)
    assert all("cannot be decoded" in name for _, name in gained)
    assert any(says in line for line in after["damage"])
    for same in ("subscribers", "recordings"):
        assert after[same] == before[same]


# ---- a message of the capture itself is damaged

DAMAGED = {
    "a Diameter length of 0": ("CCA-Initial", lambda o: o[:1] + bytes(3) + o[4:], "a Diameter length of 0"),
    "a Diameter length of 16 MB": ("AAR", lambda o: o[:1] + b"\xff\xff\xfc" + o[4:], "Diameter length of 16777212"),
    "SIP without CRLF": ("INVITE", lambda o: o.replace(b"\r\n", b"  "), "no SIP start line on port 5060"),
    "SIP whose lines end otherwise": ("200 (INVITE)", lambda o: o.replace(b"\r\n", b"\n "), "no empty line ends the"),
    "S1AP that does not decode": (
        *("UplinkNASTransport (Attach complete)", lambda o: o[:4] + bytes(255 - x for x in o[4:])),
        "S1AP that cannot be decoded",
    ),
    "S1AP of zeros": ("InitialUEMessage (Attach request)", lambda o: bytes(len(o)), "S1AP that cannot be decoded"),
    "GTPv2-C whose IEs are garbage": (
        *("Create Bearer Request", lambda o: o[:12] + b"\xff" * (len(o) - 12)),
        "GTPv2-C that cannot be decoded",
    ),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_message_that_is_damaged_is_named_and_no_other_is_lost(what: str, run: Run, spoilt: Spoilt) -> None:
    name, damage, says = DAMAGED[what]
    source = "kamailio-ims-call.pcap" if "SIP" in what else "open5gs-volte.pcap"

    def spoil(frames: list[Any]) -> list[Any]:
        path = Path(__file__).parents[1] / "data" / source
        named = (m for m in record_file(path).capture.messages if m.name == name and not m.retransmissions)
        victim = next(m for m in named if m.octets in frames[m.captured.frame - 1].octets)  # not in fragments
        at = victim.captured.frame - 1
        octets = frames[at].octets.replace(victim.octets, damage(victim.octets))
        return [*frames[:at], frames[at]._replace(octets=octets), *frames[at + 1 :]]

    whole, bad = spoilt(source, spoil)
    before, after = _overview(whole), _inspected(run, bad)
    assert _names(before) - _names(after) == Counter({name: 1})
    assert all("cannot be decoded" in added for added in _names(after) - _names(before))
    assert any(says in line for line in after["damage"])
    assert [s["imsi"] for s in after["subscribers"]] == [s["imsi"] for s in before["subscribers"]]


# ---- captures that were cut

CUT_PACKET = range(1, 60, 7)


@pytest.mark.parametrize("octets", CUT_PACKET)
def test_a_truncated_last_packet_costs_that_packet_alone(
    octets: int, run: Run, capture: Callable[[str], Path], tmp_path: Path
) -> None:
    whole, cut = capture("open5gs-attach.pcap"), tmp_path / "cut.pcap"
    cut.write_bytes(whole.read_bytes()[:-octets])
    before, after = _overview(whole), _inspected(run, cut)
    assert after["frames"] == before["frames"]
    assert sum((_counts(before) - _counts(after)).values()) <= 1
    assert any("the file ends within" in line for line in after["damage"])
    assert run("record", cut, "--journal", tmp_path / "journal").status == 0


@pytest.mark.parametrize("snaplen", [96, 200, 400])
def test_a_cut_snaplen_marks_what_it_cut_and_keeps_the_rest(
    snaplen: int, run: Run, spoilt: Spoilt, craft: SimpleNamespace, tmp_path: Path
) -> None:
    whole, cut = spoilt("open5gs-volte.pcap", lambda frames: [f._replace(octets=f.octets[:snaplen]) for f in frames])
    before, after = record_file(whole).capture.messages, record_file(cut).capture.messages
    kept = Counter(message.octets for message in after if Flaw.CUT not in message.captured.flaws)
    frames = craft.read_pcap(cut.read_bytes())
    fitting = Counter(m.octets for m in before if m.octets in frames[m.captured.frame - 1].octets)
    assert not kept - Counter(message.octets for message in before)
    assert not fitting - kept
    assert kept.total() < len(before)
    assert any("cut" in line for line in _inspected(run, cut)["damage"])
    assert run("record", cut, "--journal", tmp_path / "journal").status == 0


# ---- a recording with a hole

HOLES = {
    # what is taken out of the capture: interface, name, which of them; what the hole is called
    "in a TCP stream": ("Gx", "RAR", 1, "hole before"),
    "in an SCTP association": ("S1-MME", "E-RABSetupResponse", 1, "hole before"),
}


@pytest.mark.parametrize("what", HOLES)
def test_a_hole_is_named_in_the_recordings_that_it_is_in(
    what: str, run: Run, spoilt: Spoilt, capture: Callable[[str], Path], tmp_path: Path
) -> None:
    interface, name, which, says = HOLES[what]
    messages = record_file(capture("open5gs-volte.pcap")).capture.messages
    frame = [m for m in messages if m.name == name and m.interface == interface][which].captured.frame

    _, bad = spoilt("open5gs-volte.pcap", lambda frames: frames[: frame - 1] + frames[frame:])
    found = _inspected(run, bad)
    holed = {r["id"]: [hole["what"] for hole in r["holes"]] for r in found["recordings"] if r["holes"]}
    assert "999700000000002-volte-1" in holed
    assert any(says in hole for hole in holed["999700000000002-volte-1"])
    ran = run("record", bad, "--journal", tmp_path, "--service", "volte")
    assert ran.status == 0
    assert says in ran.stdout
    for replay in ((bad,), ("1.999700000000002-volte-1", "--journal", tmp_path)):
        refused = run("replay", *replay)
        assert (refused.status, refused.stdout) == (2, "")
        assert refused.stderr.count("\n") == 1
        assert "hole" in refused.stderr
        assert says in refused.stderr
    listed = run("recordings", "--journal", tmp_path, "--json")
    assert any(says in hole["what"] for hole in json.loads(listed.stdout)["recordings"][0]["holes"])


# ---- journals


@pytest.fixture
def journal(run: Run, capture: Callable[[str], Path], tmp_path: Path) -> Path:
    """A journal with the recordings of one capture."""
    assert run("record", capture("open5gs-attach.pcap"), "--journal", tmp_path / "journal").status == 0
    return tmp_path / "journal"


def test_a_journal_of_a_newer_version_is_refused_and_left_alone(
    journal: Path, run: Run, capture: Callable[[str], Path]
) -> None:
    segment = journal / "000001.journal"
    octets = bytearray(segment.read_bytes())
    octets[8:10] = b"\x00\x02"
    segment.write_bytes(octets)
    for command in (("record", capture("open5gs-volte.pcap")), ("recordings",)):
        ran = run(*command, "--journal", journal)
        assert (ran.status, ran.stdout) == (2, "")
        assert ran.stderr.count("\n") == 1
        assert "journal format version 2" in ran.stderr
    assert segment.read_bytes() == octets


def test_a_broken_tail_is_said_once_and_costs_only_itself(
    journal: Path, run: Run, capture: Callable[[str], Path]
) -> None:
    segment = journal / "000001.journal"
    before = run("recordings", "--journal", journal).stdout.splitlines()
    segment.write_bytes(segment.read_bytes()[:-40])  # within the last recording
    listed = run("recordings", "--journal", journal)
    assert listed.status == 0
    assert listed.stdout.splitlines() == before[:-1]
    assert listed.stderr.count("\n") == 1
    assert "an unfinished write at the end" in listed.stderr
    again = run("record", capture("open5gs-attach.pcap"), "--journal", journal)
    assert again.status == 0
    assert [": written" in line for line in again.stdout.splitlines()] == [False, False, True]
    healed = run("recordings", "--journal", journal)
    assert (healed.stderr, len(healed.stdout.splitlines())) == ("", len(before))


@pytest.mark.parametrize(
    ("key", "says"), [(None, "cannot be read"), (b"short", "must hold exactly 32"), (bytes(32), "another key")]
)
def test_a_journal_whose_key_is_not_there_or_another_is_refused(
    key: bytes | None, says: str, journal: Path, run: Run, capture: Callable[[str], Path]
) -> None:
    (journal / "key").unlink()
    if key is not None:
        (journal / "key").write_bytes(key)
        (journal / "key").chmod(0o600)
    for command in (("record", capture("open5gs-volte.pcap")), ("recordings",)):
        ran = run(*command, "--journal", journal)
        assert (ran.status, ran.stdout) == (2, "")
        assert ran.stderr.count("\n") == 1
        assert says in ran.stderr


def test_a_directory_with_something_else_in_it_is_no_journal(
    run: Run, capture: Callable[[str], Path], tmp_path: Path
) -> None:
    (tmp_path / "000001.journal").write_bytes(b"GIF89a" + bytes(100))
    ran = run("record", capture("open5gs-attach.pcap"), "--journal", tmp_path)
    assert ran.status == 2
    assert "is not a FERRET journal" in ran.stderr
    assert (tmp_path / "000001.journal").read_bytes() == b"GIF89a" + bytes(100)
