"""What the lab's core says on its sockets, as tshark reads it: a whole life of a device, from attach to detach."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ferret.protocols.gtpv2 import PdnType
from ferret_core.driver.places import Places

if TYPE_CHECKING:
    from tests.procedures.conftest import Play, Scene

pytestmark = [pytest.mark.sctp, pytest.mark.tshark, pytest.mark.root]
NETWORK, NOBODY = "127.0.140.0/22", "127.0.140.1"
NETWORKS = f"net {NETWORK} or net fd7f:fe77:e7::/48"
FIELDS = ("_ws.malformed", "_ws.expert.severity", "_ws.expert.message", "frame.protocols", "_ws.col.Info")
ERROR = "8388608"  # PI_ERROR of Wireshark's epan/proto.h


@contextmanager
def captured(file: Path) -> Iterator[None]:
    """Capture what goes over the lab's loopback addresses; every packet is in the file afterwards."""
    if not shutil.which("tcpdump"):
        pytest.skip("NOT tested what is on the wire: tcpdump is missing (Debian package tcpdump)")
    command = ["tcpdump", "-i", "lo", "-U", "--immediate-mode", "-w", str(file), NETWORKS]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as dump:
        try:
            _until_seen(dump, file, b"capture begins")
            yield
            _until_seen(dump, file, b"capture ends")
        finally:
            dump.terminate()


def _until_seen(dump: subprocess.Popen[bytes], file: Path, marker: bytes) -> None:
    """Send a marker until the capture has it: tcpdump says that it listens a little before it does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(200):
            sender.sendto(marker, (NOBODY, 9))
            try:
                dump.wait(0.05)
            except subprocess.TimeoutExpired:
                if file.exists() and marker in file.read_bytes():
                    return
            else:
                pytest.skip("NOT tested what is on the wire: tcpdump may not capture on lo")
    pytest.fail("the capture never had the marker")


def _read(file: Path, home: Path) -> list[dict[str, str]]:
    arguments = [x for field in FIELDS for x in ("-e", field)]
    lines = subprocess.run(
        ["tshark", "-r", str(file), "-d", "udp.port==9899,sctp", "-T", "fields", *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HOME": str(home)},
    ).stdout.splitlines()
    return [dict(zip(FIELDS, line.split("\t"), strict=True)) for line in lines]


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
def test_tshark_finds_nothing_wrong_in_a_whole_life(play: Play, tmp_path: Path, transport: str) -> None:
    _live_under_tshark(play, tmp_path, sip_transport=transport)


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
def test_tshark_finds_nothing_wrong_in_a_whole_life_with_ipv6(
    play: Play, tmp_path: Path, with_ipv6: Places, transport: str
) -> None:
    found = _live_under_tshark(play, tmp_path, places=with_ipv6, ims_pdn_type=PdnType.IPV4V6, sip_transport=transport)
    assert any("icmpv6" in frame["frame.protocols"] and "gtp" in frame["frame.protocols"] for frame in found)


def _live_under_tshark(play: Play, tmp_path: Path, **changes: Any) -> list[dict[str, str]]:
    file = tmp_path / "life.pcap"

    async def act(scene: Scene) -> None:
        await scene.whole_life()

    with captured(file):
        play(act, **changes)
    frames = _read(file, tmp_path)
    assert [frame for frame in frames if frame["_ws.malformed"]] == []
    wrong = [frame for frame in frames if ERROR in frame["_ws.expert.severity"].split(",")]
    assert [(frame["_ws.col.Info"], frame["_ws.expert.message"]) for frame in wrong] == []
    protocols = Counter(one for frame in frames for one in set(frame["frame.protocols"].split(":")))
    assert {"gtpv2", "diameter", "sip", "sdp", "s1ap", "gtp"} <= set(protocols)
    assert protocols["gtpv2"] >= 30
    return frames
