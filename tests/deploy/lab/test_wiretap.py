"""A recording of what the places say, as tshark reads it."""

from __future__ import annotations

import io
import socket
import subprocess
from pathlib import Path

import pytest

from ferret.errors import ConfigError
from ferret_deploy.lab.delay_line import Impairment
from ferret_deploy.lab.netlink import PlaceError
from ferret_deploy.lab.pcapng import PcapngWriter
from ferret_deploy.lab.places import PlaceConfig, Places
from ferret_deploy.lab.wiretap import Tapped, WireTap

CONFIGS = (PlaceConfig("core", ("10.10.0.0/24",), ("10.45.0.0/16",)), PlaceConfig("site", ("10.30.0.0/24",)))
LINKS = {("site", "core"): Impairment(0.002)}


def _tshark(path: Path, *fields: str) -> list[list[str]]:
    wanted = [part for field in fields for part in ("-e", field)]
    done = subprocess.run(["tshark", "-r", str(path), "-T", "fields", *wanted], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [line.split("\t") for line in done.stdout.splitlines()]


def _say(places: Places, words: list[tuple[str, str, bytes]]) -> None:
    for place, target, word in words:
        with places[place].inside():
            near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with places["core"].inside():
            far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with near, far:
            far.bind((target, 9999))
            far.settimeout(5)
            near.sendto(word, (target, 9999))
            assert far.recv(100) == word


@pytest.mark.root
@pytest.mark.tshark
def test_every_packet_is_recorded_once_where_it_arrives(tmp_path: Path) -> None:
    path = tmp_path / "lab.pcapng"
    with Places.build(CONFIGS, LINKS) as places:
        tap = WireTap(places, path)
        _say(places, [("site", "10.10.0.3", b"over the WAN"), ("core", "10.10.0.4", b"between NFs")] * 3)
        assert tap.stop() == Tapped(6, 0)
        with pytest.raises(PlaceError):
            tap.stop()
    rows = _tshark(path, "frame.interface_name", "ip.src", "ip.dst", "udp.length", "_ws.malformed")
    assert (
        rows
        == [
            ["core/wan0", "10.30.0.1", "10.10.0.3", "20", ""],
            ["core/lo", "10.10.0.4", "10.10.0.4", "19", ""],
        ]
        * 3
    )


@pytest.mark.root
def test_a_tap_that_nobody_ends_ends_by_itself(tmp_path: Path) -> None:
    with Places.build(CONFIGS, LINKS) as places:
        tap = WireTap(places, tmp_path / "lab.pcapng")
        tap._control.close()
        assert tap._process.wait(10) is not None


def test_there_is_nothing_to_tap_on_loopback(tmp_path: Path) -> None:
    with Places.on_loopback(CONFIGS, LINKS) as places, pytest.raises(ConfigError, match="asked for"):
        WireTap(places, tmp_path / "lab.pcapng")


@pytest.mark.root
def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with Places.build(CONFIGS, LINKS) as places, pytest.raises(ConfigError, match="cannot write"):
        WireTap(places, tmp_path / "nowhere" / "lab.pcapng")


@pytest.mark.tshark
def test_frames_are_written_in_the_order_of_their_times(tmp_path: Path) -> None:
    file = io.BytesIO()
    writer = PcapngWriter(file, ["a", "b"])
    second = 1_000_000_000
    for interface, at in ((0, 5 * second), (1, 5 * second - 1), (0, 6 * second), (1, 6 * second - 200_000_000)):
        writer.put(interface, at, bytes(60))
    writer.finish()
    path = tmp_path / "made.pcapng"
    path.write_bytes(file.getvalue())
    rows = _tshark(path, "frame.interface_name", "frame.time_epoch", "frame.len")
    assert [row[0] for row in rows] == ["b", "a", "b", "a"]
    assert [float(row[1]) for row in rows] == [pytest.approx(one) for one in (5 - 1e-9, 5, 5.8, 6)]
    assert {row[2] for row in rows} == {"60"}
