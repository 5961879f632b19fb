"""HOMER and files get what was captured, as an independent decoder reads it; the agent never waits for them."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferret.errors import ConfigError, RecordError
from ferret.protocols.summary import Protocol
from ferret.queue import encode_captured
from ferret.records.message import CapturedMessage, Endpoint
from ferret_agents.capture.reader import read
from ferret_agents.live.background import Background
from ferret_agents.live.hep import HepConfig, HepExporter, encode
from ferret_agents.live.pcapng_files import FilesConfig, Frame, PcapngFiles

CONFIG = HepConfig("127.0.0.1", 9060, key="not a secret")
ENDS = bytes((10, 0, 0, 1, 10, 0, 0, 2))


def shark(path: Path, *fields: str) -> list[list[str]]:
    if not shutil.which("tshark"):
        pytest.skip("SKIPPED LOUDLY: tshark is not installed (apt-get install tshark)")
    arguments = ["tshark", "-n", "-r", str(path), "-T", "fields", *(part for name in fields for part in ("-e", name))]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    return [line.split("\t") for line in done.stdout.splitlines()]


@pytest.fixture(scope="session")
def hep_in_tshark() -> None:
    """Skips where tshark is too old to know HEP: Debian 12's 4.0 is."""
    known = subprocess.run(["tshark", "-G", "protocols"], capture_output=True, text=True, check=False).stdout
    if "\thep\n" not in known:
        pytest.skip("SKIPPED LOUDLY: this tshark knows no HEP")


def chunks(packet: bytes) -> dict[int, bytes]:
    """A HEP3 packet, read as the specification draws it."""
    assert packet[:4] == b"HEP3"
    assert int.from_bytes(packet[4:6], "big") == len(packet)
    found, at = {}, 6
    while at < len(packet):
        vendor, kind, length = struct.unpack_from(">HHH", packet, at)
        assert vendor == 0
        assert kind not in found
        found[kind] = packet[at + 6 : at + length]
        at += length
    assert at == len(packet)
    return found


def test_every_message_of_a_call_can_be_read_as_hep(capture: Callable[[str], Path]) -> None:
    kinds = {Protocol.SIP: 1, Protocol.DIAMETER: 56, Protocol.GTPV2: 100, Protocol.S1AP: 100}
    protocols = {"udp": 17, "tcp": 6, "sctp": 132}
    for message in read(capture("volte-call-full.pcap")).messages:
        found = chunks(encode(replace(message, agent="172.22.0.9"), CONFIG))
        assert found[1] == b"\x02"
        assert found[2][0] == protocols[message.transport]
        assert socket.inet_ntoa(found[3]) == message.source.address
        assert socket.inet_ntoa(found[4]) == message.destination.address
        assert struct.unpack(">HH", found[7] + found[8]) == (message.source.port, message.destination.port)
        seconds, micros = struct.unpack(">II", found[9] + found[10])
        assert seconds * 1_000_000 + micros == message.captured_at_ns // 1000
        assert found[11][0] == kinds[message.protocol]
        assert (found[12], found[14], found[19]) == (b"\0\0\x07\xd1", b"not a secret", b"172.22.0.9")
        if message.protocol is Protocol.DIAMETER:
            session = [v for path, v in json.loads(found[15]).get("avps", {}).items() if path == "Session-Id"]
            assert found.get(17, b"").decode() == "".join(session)
        else:
            assert found[15] == message.octets


def as_capture(path: Path, packets: Sequence[bytes]) -> Path:
    """HEP packets over UDP to port 9060, raw IP, as a pcap file."""
    out = b"\xd4\xc3\xb2\xa1\x02\0\x04\0" + bytes(8) + (262144).to_bytes(4, "little") + (101).to_bytes(4, "little")
    for packet in packets:
        udp = b"\x23\x64\x23\x64" + (8 + len(packet)).to_bytes(2, "big") + b"\0\0" + packet
        ip = (
            b"\x45\0" + (20 + len(udp)).to_bytes(2, "big") + b"\0\1\0\0\x40\x11\0\0" + bytes((10, 0, 0, 1, 10, 0, 0, 2))
        )
        size = (len(ip) + len(udp)).to_bytes(4, "little")
        out += bytes(8) + size + size + ip + udp
    path.write_bytes(out)
    return path


@pytest.mark.tshark
def test_tshark_reads_every_message_of_a_call_as_hep(
    hep_in_tshark: None, tmp_path: Path, capture: Callable[[str], Path]
) -> None:
    messages = [replace(m, agent="172.22.0.9") for m in read(capture("volte-call-full.pcap")).messages]
    path = as_capture(tmp_path / "hep.pcap", [encode(message, CONFIG) for message in messages])
    fields = ("hep.src_ip4", "hep.dst_ip4", "hep.src_port", "hep.dst_port", "hep.protocol_type", "hep.capture_id")
    seen = shark(path, *fields)
    kinds = {Protocol.SIP: "1", Protocol.DIAMETER: "56", Protocol.GTPV2: "100", Protocol.S1AP: "100"}
    wanted = [
        [
            m.source.address,
            m.destination.address,
            str(m.source.port),
            str(m.destination.port),
            kinds[m.protocol],
            "2001",
        ]
        for m in messages
    ]
    assert seen == wanted


@pytest.mark.tshark
def test_tshark_finds_sip_inside_hep(hep_in_tshark: None, tmp_path: Path, sample: SimpleNamespace) -> None:
    ends = (Endpoint("2001:db8::1", 5060), Endpoint("2001:db8::2", 5060))
    message = CapturedMessage(Protocol.SIP, 1_700_000_000_123_456_789, *ends, sample.sip("INVITE", 1, b"v=0\r\n"))
    path = as_capture(tmp_path / "hep.pcap", [encode(message, CONFIG)])
    ((source, seconds, micros, method),) = shark(path, "hep.src_ip6", "hep.timestamp", "hep.timestamp_us", "sip.Method")
    assert (source, method) == ("2001:db8::1", "INVITE")
    assert seconds.startswith("1700000000") or "2023" in seconds
    assert micros.startswith("123456")


def test_diameter_goes_as_json_of_its_avps_with_its_session(capture: Callable[[str], Path]) -> None:
    found = [m for m in read(capture("volte-call-full.pcap")).messages if m.protocol is Protocol.DIAMETER]
    packet = encode(found[-1], CONFIG)
    body = json.loads(packet[packet.index(b'{"command"') :])
    assert body["command"]
    assert body["avps"]
    broken = replace(found[-1], octets=found[-1].octets[:30])
    assert b"undecodable" in encode(broken, CONFIG)


def test_what_is_too_long_for_a_packet_is_refused() -> None:
    message = CapturedMessage(Protocol.S1AP, 1, Endpoint("10.0.0.1", 1), Endpoint("10.0.0.2", 2), bytes(65530))
    with pytest.raises(RecordError, match="too long for a HEP packet"):
        encode(message, CONFIG)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_collector_gets_what_was_captured(transport: str, sample: SimpleNamespace) -> None:
    kind = socket.SOCK_STREAM if transport == "tcp" else socket.SOCK_DGRAM
    message = CapturedMessage(Protocol.SIP, 1, Endpoint("10.0.0.1", 1), Endpoint("10.0.0.2", 2), sample.sip("BYE", 2))
    with socket.socket(socket.AF_INET, kind) as collector:
        collector.bind(("127.0.0.1", 0))
        collector.settimeout(10)
        if transport == "tcp":
            collector.listen()
        config = HepConfig("127.0.0.1", collector.getsockname()[1], transport)
        exporter = HepExporter(config)
        exporter.offer([encode_captured(message)] * 3)
        stream = collector.accept()[0] if transport == "tcp" else collector
        with stream:
            wanted, got = encode(message, config), b""
            while len(got) < 3 * len(wanted):
                got += stream.recv(65536)
        assert got == 3 * wanted
        exporter.close()
        assert (exporter.work.done, exporter.work.failed, exporter.work.dropped) == (3, 0, 0)


def test_a_collector_that_is_down_costs_nothing_but_its_messages(sample: SimpleNamespace) -> None:
    message = CapturedMessage(Protocol.SIP, 1, Endpoint("10.0.0.1", 1), Endpoint("10.0.0.2", 2), sample.sip("BYE", 2))
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        exporter = HepExporter(HepConfig("127.0.0.1", nobody.getsockname()[1], "tcp"))
        exporter.offer([encode_captured(message)] * 20_000)
        exporter.close()
        work = exporter.work
        assert (work.offered, work.done, work.failed + work.dropped, work.waiting) == (20_000, 0, 20_000, 0)


def test_a_collector_without_an_address_is_said() -> None:
    with pytest.raises(ConfigError, match=r"HEP: homer\.invalid"):
        HepExporter(HepConfig("homer.invalid", 9060))


@settings(max_examples=50)
@given(batches=st.lists(st.integers(0, 12), max_size=8), most=st.integers(0, 20), blocked=st.booleans())
def test_background_work_is_done_in_order_or_counted(batches: list[int], most: int, blocked: bool) -> None:
    gate, done = threading.Event(), []

    def work(items: Sequence[int]) -> int:
        gate.wait(10)
        done.extend(items)
        return len(items)

    if not blocked:
        gate.set()
    background: Background[int] = Background("test", work, most=most)
    number = 0
    for size in batches:
        background.offer(list(range(number, number + size)))  # at once, whatever the work does
        number += size
    gate.set()
    background.close()
    assert done == sorted(set(done))
    assert background.offered == number == background.done + background.dropped
    assert background.waiting == 0


@pytest.mark.tshark
def test_files_follow_each_other_and_each_names_the_nfs(tmp_path: Path, capture: Callable[[str], Path]) -> None:
    config = FilesConfig(tmp_path / "pcap", file_octets=4000, files=3, names={"10.0.0.1": "MME", "2001:db8::1": "PGW"})
    files = PcapngFiles(config, "10.0.0.1", "lo")
    ip = b"\x45\0" + (30).to_bytes(2, "big") + b"\0\1\0\0\x40\x11\0\0" + bytes((10, 0, 0, 1, 10, 0, 0, 2))
    frames = [
        Frame(
            1_700_000_000_000_000_000 + n, bytes(12) + b"\x08\0" + ip + bytes((8, 75, 8, 75, 0, 10, 0, 0, 9, n)), 44, 1
        )
        for n in range(200)
    ]
    files.put(frames)
    files.put([Frame(5, ip + bytes(10), 99, 101)])
    files.close()
    there = sorted((tmp_path / "pcap").iterdir())
    assert len(there) == 3
    assert there[0].name == "10.0.0.1-000003.pcapng" or int(there[0].stem[-6:]) > 1
    lines = [line for path in there for line in shark(path, "frame.time_epoch", "frame.len")]
    assert [length for _, length in lines[-3:]] == ["44", "44", "99"]
    assert lines[0][0].startswith("1700000000.0000")
    resolved = subprocess.run(
        ["tshark", "-N", "n", "-r", str(there[-1]), "-T", "fields", "-e", "_ws.col.Source"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "MME" in resolved.stdout
    assert there[0].stat().st_mode & 0o777 == 0o600


def test_a_directory_that_cannot_be_written_to_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="no pcapng files can be written there"):
        PcapngFiles(FilesConfig(tmp_path / "file" / "deeper"), "x", "lo")


def test_sngrep_takes_our_hep_for_the_sip_that_it_was(tmp_path: Path, capture: Callable[[str], Path]) -> None:
    """An independent collector writes what it got to a file of its own."""
    if not shutil.which("sngrep"):
        pytest.skip("SKIPPED LOUDLY: sngrep is not installed (apt-get install sngrep)")
    messages = [
        m for m in read(capture("volte-call-full.pcap")).messages if m.protocol is Protocol.SIP and m.transport == "udp"
    ]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trying:
        trying.bind(("127.0.0.1", 0))
        port = trying.getsockname()[1]
    written = tmp_path / "got.pcap"
    command = ["sngrep", "-N", "-q", "-L", f"udp:127.0.0.1:{port}", "-O", str(written)]
    quiet = subprocess.DEVNULL
    exporter = HepExporter(HepConfig("127.0.0.1", port))
    with subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet) as collector:
        try:
            wait(lambda: f":{port:04X} " in Path("/proc/net/udp").read_text())
            for message in messages:  # it drops what comes faster than it reads
                exporter.offer([encode_captured(message)])
                wait(lambda: exporter.work.waiting == 0)
                wait(lambda: f":{port:04X} 00000000:0000 07 00000000:00000000" in Path("/proc/net/udp").read_text())
            until = time.monotonic() + 3
            while time.monotonic() < until and len(read(written).messages) < len(messages):
                time.sleep(0.05)  # what it has read it may not have written yet
        finally:
            collector.send_signal(signal.SIGINT)
            try:
                collector.wait(3)
            except subprocess.TimeoutExpired:
                collector.kill()
    exporter.close()
    got = read(written).messages
    assert Counter((m.source, m.destination, m.octets) for m in got) == Counter(
        (m.source, m.destination, m.octets) for m in messages
    )


def wait(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)
