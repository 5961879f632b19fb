"""The overview is to be read by people, and by terminals that do what they are told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ferret.cli import ferret

HOSTILE = "[red]\x1b[2J[/blue]\x07"


def _inspect(*arguments: object) -> str:
    result = CliRunner().invoke(ferret, ["inspect", *map(str, arguments)])
    assert result.exception is None
    return result.stdout


@pytest.fixture
def hostile(scapy: Any, tmp_path: Path) -> Path:
    """A capture of one SIP request whose sender's names are markup, escape sequences and no UTF-8."""
    head = (
        f"INVITE sip:bob@example.org SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n"
        f"From: <sip:{HOSTILE}@example.org>;tag=1\r\nTo: <sip:bob@example.org>\r\nCall-ID: {HOSTILE}\r\n"
        f"P-Asserted-Identity: <sip:{HOSTILE}@example.org>\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
    )
    octets = head.encode().replace(b"bob", b"b\xffb")
    frame = bytes(scapy.IP(src="192.0.2.1", dst="192.0.2.2") / scapy.UDP(sport=5060, dport=5060) / octets)
    path = tmp_path / "[bold]\udcff.pcap"
    header = bytes.fromhex("d4c3b2a1020004000000000000000000ffff000065000000")
    path.write_bytes(header + bytes(8) + len(frame).to_bytes(4, "little") * 2 + frame)
    return path


def test_what_the_network_sent_does_nothing_to_the_terminal(hostile: Path) -> None:
    for options in ((), ("--ladder", "all")):
        shown = _inspect(hostile, *options)
        assert "\x1b" not in shown
        assert "\x07" not in shown
        assert "INVITE" in shown
    assert "[bold]\\udcff.pcap" in _inspect(hostile)


def test_json_and_the_page_can_say_everything(hostile: Path, tmp_path: Path) -> None:
    assert json.loads(_inspect(hostile, "--json"))["messages"] == 1
    _inspect(hostile, "--html", tmp_path / "page.html")
    assert "INVITE" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_tables_that_nobody_looks_at_on_a_terminal_are_not_folded(capture: Callable[[str], Path]) -> None:
    lines = _inspect(capture("volte-call-full.pcap")).splitlines()
    assert any("E-RABSetupRequest (Activate dedicated EPS bearer context request)" in line for line in lines)
    assert any("attach, pdn:internet, pdn:ims, registration, sms, volte, detach" in line for line in lines)


def test_nfs_are_listed_from_the_device_inwards_with_their_interfaces(capture: Callable[[str], Path]) -> None:
    lines = _inspect(capture("volte-call-full.pcap")).splitlines()
    rows = [line.split() for line in lines[lines.index("") + 2 :]]
    roles = [row[0] for row in rows[1 : rows.index([])]]
    assert roles == ["UE", "UE", "eNB", "MME", "SGW", "PGW", "PCRF", "HSS", "P-CSCF", "I-CSCF", "S-CSCF"]
    assert any(row[:1] == ["MME"] and "S1-MME," in row and "S11," in row for row in rows)


def test_the_same_damage_in_many_frames_is_one_line(capture: Callable[[str], Path], tmp_path: Path) -> None:
    octets = capture("open5gs-attach.pcap").read_bytes()
    garbage = bytes(12) + b"\x08\x00" + bytes.fromhex("4500002200000000401100000102030405060708 13c4 13c4 000e0000")
    record = bytes(8) + (48).to_bytes(4, "little") * 2 + garbage + b"\xfehello"
    path = tmp_path / "garbage.pcap"
    path.write_bytes(octets + record * 5)
    shown = _inspect(path)
    assert "  5 frames (124, 125, 126, …): undecodable: no SIP start line on port 5060" in shown
    assert len(json.loads(_inspect(path, "--json"))["damage"]) == 5


def test_damage_to_a_message_is_said_once_and_with_its_frame(capture: Callable[[str], Path], tmp_path: Path) -> None:
    octets = capture("open5gs-attach.pcap").read_bytes()
    at = octets.index(bytes.fromhex("4820"))  # the first Create Session Request
    path = tmp_path / "spoilt.pcap"
    path.write_bytes(octets[: at + 12] + b"\xff" * 20 + octets[at + 32 :])
    (line,) = json.loads(_inspect(path, "--json"))["damage"]
    assert line.startswith("frame ")
    assert "GTPv2-C that cannot be decoded" in line


def test_keys_are_not_on_the_page(capture: Callable[[str], Path], tmp_path: Path) -> None:
    _inspect(capture("open5gs-volte.pcap"), "--html", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for name in ("KASME", "XRES", "SecurityKey"):
        assert f"{name}: hidden\n" in page
        assert page.count(f"{name}: ") == page.count(f"{name}: hidden")
