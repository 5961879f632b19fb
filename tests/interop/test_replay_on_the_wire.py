"""What a replay puts on the wire is read by tshark without complaint, and shows the move of base station and device."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ferret.replay.rules import load_rules
from ferret.replay.verdict import Verdict
from ferret_agents.pipeline import private_queue, record_file
from ferret_deploy.replay_run import ReplayOptions, replay, run

NETWORK = "127.99.7.0/24"
SECONDS = 60.0

pytestmark = [
    pytest.mark.root,
    pytest.mark.tshark,
    pytest.mark.sctp,
    pytest.mark.skipif(shutil.which("tcpdump") is None, reason="tcpdump is not installed (apt-get install tcpdump)"),
]


@contextmanager
def captured(path: Path) -> Iterator[None]:
    """tcpdump on the loopback interface, for the edge's addresses only."""
    command = ["tcpdump", "-i", "lo", "-w", str(path), "-U", "-s", "0", "--immediate-mode", "net", NETWORK]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "listening on" not in process.stderr.readline():
            assert process.poll() is None, "tcpdump ended"
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(SECONDS)


def tshark(path: Path, display_filter: str, *fields: str) -> list[list[str]]:
    command = ["tshark", "-r", str(path), "-Y", display_filter, "-T", "fields"]
    for field in fields or ("frame.number",):
        command += ["-e", field]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS)
    return [line.split("\t") for line in result.stdout.splitlines()]


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("wire") / "replay.pcap"
    file = record_file(Path(__file__).parents[1] / "data" / "volte-call-full.pcap")
    volte = [r for r in file.capture.recordings if r.service == "volte"]
    with captured(path), private_queue("wire") as queue:
        result = run(replay(volte, file.capture.messages, queue, ReplayOptions(load_rules(), network=NETWORK)))
    assert result.verdict is Verdict.SAME
    return path


def test_every_protocol_of_the_edge_is_on_the_wire(wire: Path) -> None:
    for protocol in ("gtpv2", "diameter", "sip", "s1ap", "gtp"):
        assert tshark(wire, protocol), f"no {protocol}"


def test_nothing_is_malformed(wire: Path) -> None:
    found = tshark(wire, "_ws.malformed", "frame.number", "_ws.col.Protocol", "_ws.col.Info")
    assert found == []


def test_there_is_no_expert_error_of_ours(wire: Path) -> None:
    """Severity error of the protocols that we speak; checksums of the loopback interface are the kernel's business."""
    found = tshark(
        wire,
        "_ws.expert.severity == error && (gtpv2 || diameter || sip || s1ap || gtp)",
        "frame.number",
        "_ws.col.Protocol",
        "_ws.expert.message",
    )
    assert found == []


def test_the_base_station_is_told_the_new_s_gw_and_the_device_its_modified_bearers(wire: Path) -> None:
    requests = tshark(
        wire,
        "s1ap.procedureCode == 6 && s1ap.initiatingMessage_element",
        "s1ap.e_RAB_ID",
        "s1ap.id",
        "nas_eps.nas_msg_esm_type",
    )
    assert len(requests) == 4  # one for each PDN connection of each subscriber
    assert sorted(ebis for ebis, _, _ in requests) == ["5", "5", "6,7", "6,7"]
    for ebis, ids, types in requests:
        assert ids.split(",").count("185") == len(ebis.split(","))  # Transport Information
        assert {int(kind, 16) for kind in types.split(",")} == {0xC9}  # Modify EPS bearer context request


def test_update_bearer_requests_bring_the_move_in_place_of_create_bearer_requests(wire: Path) -> None:
    """From PGW_e over SGW_e to MME_e, for every bearer of every PDN connection, and all are accepted."""
    moves = (
        "gtpv2.message_type == 97 && gtpv2.bearer_qos_label_qci == 9"  # the internet connection is updated only then
    )
    hops = {tuple(hop) for hop in tshark(wire, moves, "ip.src", "ip.dst")}
    assert hops == {("127.99.7.4", "127.99.7.3"), ("127.99.7.3", "127.99.7.2")}
    answers = tshark(wire, "gtpv2.message_type == 98", "gtpv2.cause")
    assert answers and all(set(causes.split(",")) == {"16"} for (causes,) in answers)


def test_base_station_and_device_accept(wire: Path) -> None:
    assert len(tshark(wire, "s1ap.procedureCode == 6 && s1ap.successfulOutcome_element")) >= 2
    accepted = tshark(wire, "nas_eps.nas_msg_esm_type == 0xca", "frame.number")
    assert len(accepted) >= 1


def test_user_packets_go_from_the_base_station_through_sgw_and_pgw(wire: Path) -> None:
    paths = {tuple(p) for p in tshark(wire, "gtp.message == 0xff", "ip.src", "ip.dst")}
    outer = {(source.split(",")[0], target.split(",")[0]) for source, target in paths}
    enb, sgw, pgw = "127.99.7.30", "127.99.7.3", "127.99.7.4"
    assert outer == {(enb, sgw), (sgw, pgw), (pgw, sgw), (sgw, enb)}
