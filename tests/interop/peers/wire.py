"""What went over the loopback interface during a test, as tshark reads it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

ERROR: Final = "8388608"  # PI_ERROR of Wireshark's epan/proto.h
# One field of each protocol that every message of it has exactly once.
_MESSAGES: Final = {
    "GTPv2-C": "gtpv2.message_type",
    "Diameter": "diameter.cmd.code",
    "SIP": "sip.CSeq.seq",
}
_FIELDS: Final = (
    "frame.number",
    "ip.src",
    "ip.dst",
    "_ws.malformed",
    "_ws.expert.severity",
    "_ws.expert.message",
    "_ws.col.Info",
)
# Wireshark judges these against the connection as a whole, and says so of what is no fault of a message's.
_NO_FAULT: Final = ("TCP", "This frame is a (suspected)", "Connection reset", "Destination unreachable")


@dataclass
class Reading:
    """What tshark made of a capture. `messages` by protocol, sender and receiver; `faults` by sender."""

    messages: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    faults: dict[str, list[str]] = field(default_factory=dict)

    def between(self, protocol: str, one: str, other: str) -> int:
        """How many messages two addresses have exchanged."""
        found = {(one, other), (other, one)}
        return sum(self.messages[protocol, source, destination] for source, destination in found)

    def faults_of(self, foreign: Collection[str]) -> list[str]:
        """Faults in what was sent from anywhere but these addresses."""
        return [f"{sender}: {one}" for sender, found in self.faults.items() if sender not in foreign for one in found]


class Wire:
    """A capture that goes on while tests run."""

    def __init__(self, file: Path, network: str, *more: str) -> None:
        self.file = file
        self._markers = 0
        self._nobody = network.partition("/")[0].rpartition(".")[0] + ".251"
        self._dump = subprocess.Popen(
            [
                "tcpdump",
                "-i",
                "lo",
                "-U",
                "-s",
                "0",
                "--immediate-mode",
                "-w",
                str(file),
                f"net {network}" + "".join(f" or net {one}" for one in more),
            ],
            stderr=subprocess.DEVNULL,
        )
        self._until_seen(b"capture begins")

    def read(self) -> Reading:
        """Everything until now; the capture ends with it."""
        if self._dump.poll() is None:
            self._until_seen(b"capture ends")
            self.stop()
        return _read(self.file)

    def count(self, display_filter: str) -> int:
        """How many frames until now a display filter of Wireshark's takes; the capture goes on."""
        self._markers += 1
        self._until_seen(b"counted %d" % self._markers)
        home = {**os.environ, "HOME": str(self.file.parent)}
        command = ["tshark", "-r", str(self.file), "-Y", display_filter, "-T", "fields", "-e", "frame.number"]
        # The capture is still being written: tshark may find its last packet cut short, and says so with status 2.
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=home)
        return len(done.stdout.splitlines())

    def stop(self) -> None:
        """Stop the capture; stopping it again does nothing."""
        if self._dump.poll() is None:
            self._dump.terminate()
            self._dump.wait()

    def _until_seen(self, marker: bytes) -> None:
        """Send a marker until the capture has it: tcpdump says that it listens a little before it does."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(200):
                sender.sendto(marker, (self._nobody, 9))
                try:
                    self._dump.wait(0.05)
                except subprocess.TimeoutExpired:
                    if self.file.exists() and marker in self.file.read_bytes():
                        return
                else:
                    pytest.skip("SKIPPED LOUDLY: what is on the wire is NOT tested: tcpdump may not capture on lo")
        pytest.fail("the capture never had the marker")


@contextmanager
def captured(file: Path, network: str, *more: str) -> Iterator[Wire]:
    """Capture what goes from and to addresses of these networks on the loopback interface."""
    if not shutil.which("tcpdump"):
        pytest.skip("SKIPPED LOUDLY: what is on the wire is NOT tested: tcpdump is missing (Debian package tcpdump)")
    wire = Wire(file, network, *more)
    try:
        yield wire
    finally:
        wire.stop()


def _read(file: Path) -> Reading:
    fields = (*_FIELDS, *_MESSAGES.values())
    # What the kernel quotes of a datagram that came too late for its socket is cut short, and not ours.
    wanted = "(gtpv2 || diameter || sip || s1ap || gtp) && !icmp"
    command = ["tshark", "-r", str(file), "-Y", wanted, "-T", "fields"]
    command += ["-d", "udp.port==9899,sctp", "-o", "tcp.check_checksum:FALSE"]
    for one in fields:
        command += ["-e", one]
    home = {**os.environ, "HOME": str(file.parent)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=home)
    reading = Reading()
    for line in done.stdout.splitlines():
        _take(reading, dict(zip(fields, line.split("\t"), strict=True)))
    return reading


def _take(reading: Reading, frame: Mapping[str, str]) -> None:
    source, destination = (frame[one].split(",")[0] for one in ("ip.src", "ip.dst"))
    for protocol, name in _MESSAGES.items():
        if frame[name]:
            reading.messages[protocol, source, destination] += len(frame[name].split(","))
    wrong = frame["_ws.malformed"] or (
        ERROR in frame["_ws.expert.severity"].split(",") and not frame["_ws.expert.message"].startswith(_NO_FAULT)
    )
    if wrong:
        told = f"frame {frame['frame.number']}, {frame['_ws.col.Info']}: {frame['_ws.expert.message']}"
        reading.faults.setdefault(source, []).append(told)
