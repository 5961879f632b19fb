"""`ferret inspect` says what is in a capture, and one clear line where there is nothing to say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ferret.cli import ferret
from ferret.errors import RecordError


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(ferret, ["inspect", *arguments])


def test_the_overview_names_nfs_messages_subscribers_and_recordings(capture: Callable[[str], Path]) -> None:
    result = _run(str(capture("volte-call-full.pcap")))
    assert result.exit_code == 0
    for expected in ("S-CSCF", "172.22.0.20", "Create Session Request", "999700000000020", "volte", "491700000021"):
        assert expected in result.stdout


def test_json_is_one_object_that_counts_everything(capture: Callable[[str], Path]) -> None:
    result = _run(str(capture("volte-call-full.pcap")), "--json")
    found = json.loads(result.stdout)
    assert found["messages"] == sum(n for names in found["by_interface"].values() for n in names.values())
    assert {s["imsi"] for s in found["subscribers"]} == {"999700000000020", "999700000000021"}
    assert {n["role"] for n in found["nodes"]} >= {"MME", "SGW", "PGW", "PCRF", "HSS", "P-CSCF", "S-CSCF", "eNB"}
    assert found["damage"] == []
    assert found["by_interface"]["S11"]["Create Bearer Request"] == 2


def test_a_ladder_can_be_asked_for_by_imsi_number_or_address(capture: Callable[[str], Path]) -> None:
    path = str(capture("volte-call-full.pcap"))
    by_imsi = _run(path, "--ladder", "999700000000020").stdout
    assert by_imsi == _run(path, "--ladder", "491700000020").stdout == _run(path, "--ladder", "10.46.0.2").stdout
    assert "Create Bearer Request" in by_imsi


def test_an_unknown_subscriber_is_named_together_with_those_there_are(capture: Callable[[str], Path]) -> None:
    result = _run(str(capture("open5gs-attach.pcap")), "--ladder", "1234")
    assert isinstance(result.exception, RecordError)
    assert "no subscriber 1234" in str(result.exception)
    assert "999700000000001" in str(result.exception)


def test_the_page_is_written_and_self_contained(capture: Callable[[str], Path], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert _run(str(capture("open5gs-volte.pcap")), "--html", str(page)).exit_code == 0
    text = page.read_text()
    assert text.startswith("<!doctype html>")
    assert "Subscriber 999700000000002" in text
    assert "http" not in text.replace('xmlns="http://www.w3.org/2000/svg"', "")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"GIF89a, not a capture at all", "not a capture"),
        (bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000"), "no GTPv2-C"),
    ],
)
def test_input_that_cannot_be_used_gets_one_line(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "input.pcap"
    path.write_bytes(content)
    result = _run(str(path))
    assert isinstance(result.exception, RecordError)
    assert says in str(result.exception)
    assert "\n" not in str(result.exception)
    assert result.exception.exit_status == 2


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    result = _run(str(tmp_path / "nothing.pcap"))
    assert isinstance(result.exception, RecordError)
    assert "nothing.pcap" in str(result.exception)


def test_a_truncated_last_packet_costs_only_that_packet(capture: Callable[[str], Path], tmp_path: Path) -> None:
    whole = capture("open5gs-attach.pcap")
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(whole.read_bytes()[:-20])
    before, after = (json.loads(_run(str(p), "--json").stdout) for p in (whole, cut))
    assert after["frames"] >= before["frames"] - 1
    assert after["messages"] >= before["messages"] - 1
    assert any("cut" in line or "truncated" in line or "ends" in line for line in after["damage"])
