"""FERRET's edge NFs beside NFs that others wrote, in one replay of a recorded call: each speaks with the other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

import pytest

from ferret.records.message import Role
from ferret.replay.foreign.targets import read_setting
from ferret.replay.rules import load_rules
from ferret.replay.verdict import Verdict
from ferret_agents.pipeline import private_queue, record_file
from ferret_core.driver.configuration import LabNetwork
from ferret_core.driver.places import Places
from ferret_deploy.foreign.diameter_line import DiameterTimes
from ferret_deploy.foreign.run import ForeignOptions, ForeignResult, replay_at_foreign
from tests.interop.peers import golang, kamailio
from tests.interop.peers.ledger import Ledger, row
from tests.interop.peers.process import PeerProcess
from tests.interop.peers.wire import Wire

pytestmark = [pytest.mark.root, pytest.mark.tshark, pytest.mark.mqueue, pytest.mark.timeout(600)]
CAPTURED: Final = "127.69.0.0/16"
DATA: Final = Path(__file__).parents[1] / "data"
SCSCF, SGW_S11, SGW_S5 = "127.69.0.20", "127.69.8.3", "127.69.8.5"
FOREIGN: Final = (SCSCF, SGW_S11, SGW_S5)


def _replayed(
    peer: AbstractAsyncContextManager[PeerProcess],
    capture: str,
    service: str,
    target: str,
    network: str,
    edge: frozenset[Role],
    identities: Sequence[str] = (),
) -> ForeignResult:
    file = record_file(DATA / capture)
    recordings = [one for one in file.capture.recordings if one.service == service][:1]
    setting = read_setting([target], [network], identities)
    times = DiameterTimes(wait=20)
    options = ForeignOptions(load_rules(), setting, edge=edge, t3=1.0, patience=0.5, diameter=times)

    async def scenario() -> ForeignResult:
        async with asyncio.timeout(100), peer:
            with private_queue("edge") as queue:
                return await replay_at_foreign(recordings, file.capture.messages, queue, options)

    return asyncio.run(scenario())


def _accepted(result: ForeignResult) -> tuple[int, int]:
    (target,) = result.targets
    return target.sent, target.accepted


@pytest.mark.peer("kamailio")
def test_our_edge_p_cscf_in_front_of_their_s_cscf(ledger: Ledger, wire: Wire, tmp_path: Path) -> None:
    lab = LabNetwork(Places.loopback("127.69.0.0/24"), mcc="999", mnc="70")
    tried = row(
        "Kamailio",
        kamailio.version(),
        theirs="S-CSCF",
        ours="P-CSCF_e",
        interface="Mw",
        protocol="SIP",
        procedures=("REGISTER", "call", "hold", "resume", "BYE"),
        between=(SCSCF, "127.69.0.21"),
    )
    with ledger.tries(tried):
        result = _replayed(
            kamailio.kamailio(Role.SCSCF, lab, tmp_path),
            "kamailio-ims-call.pcap",
            "volte",
            f"scscf={SCSCF}",
            "127.69.0.0/24",
            frozenset({Role.PCSCF}),
            [f"hss={lab.host(Role.HSS)}"],
        )
        assert _accepted(result) == (13, 13)
        assert result.replay.verdict is Verdict.SAME


@pytest.mark.peer("go-gtp")
def test_our_edge_mme_at_their_sgw(go_programs: Path, ledger: Ledger, wire: Wire, tmp_path: Path) -> None:
    addresses = {"s11_ip": SGW_S11, "s1u_ip": SGW_S11, "s5c_ip": SGW_S5, "s5u_ip": SGW_S5}
    settings = {"local_addresses": addresses, "use_kernel_gtp": False}
    tried = row(
        "go-gtp gateway tester",
        golang.module_version("github.com/wmnsk/go-gtp"),
        theirs="SGW",
        ours="MME_e",
        interface="S11",
        protocol="GTPv2-C",
        procedures=("Create Session", "Modify Bearer", "Delete Session"),
        between=(SGW_S11, "127.69.8.2"),
    )
    with ledger.tries(tried):
        tester = golang.gateway_tester(go_programs, "sgw", tmp_path, settings, says="Started serving S5-U")
        edge = frozenset({Role.MME})
        result = _replayed(tester, "open5gs-attach.pcap", "detach", f"sgw={SGW_S11}", "127.69.8.0/24", edge)

        assert _accepted(result)[0] == _accepted(result)[1] >= 5


def test_tshark_finds_nothing_wrong_in_what_we_sent(wire: Wire, ledger: Ledger) -> None:
    reading = wire.read()
    ledger.count(reading)
    assert reading.faults_of(FOREIGN) == []
