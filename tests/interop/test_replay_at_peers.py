"""Recordings replayed at NFs that others wrote: go-gtp's SGW and PGW, Kamailio as P-CSCF and S-CSCF.

FERRET stands in for everybody around them (`ferret replay --target`): the target's own answer is the acknowledgement,
and what it makes is compared with the recording.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

import pytest

from ferret.records.message import Role
from ferret.records.recording import Recording
from ferret.replay.foreign.acceptance import Fate
from ferret.replay.foreign.targets import read_setting
from ferret.replay.rules import load_rules
from ferret.replay.verdict import Verdict
from ferret_agents.pipeline import RecordedFile, private_queue, record_file
from ferret_core.driver.configuration import LabNetwork
from ferret_core.driver.places import Places
from ferret_deploy.foreign.diameter_line import DiameterTimes
from ferret_deploy.foreign.run import ForeignOptions, ForeignResult, replay_at_foreign
from tests.interop.peers import freediameter, golang, kamailio
from tests.interop.peers.ledger import Ledger, Row, row
from tests.interop.peers.process import PeerProcess
from tests.interop.peers.wire import Wire

pytestmark = [pytest.mark.root, pytest.mark.tshark, pytest.mark.mqueue, pytest.mark.timeout(600)]
CAPTURED = "127.68.0.0/16"
DATA: Final = Path(__file__).parents[1] / "data"
SGW_S11, SGW_S5, PGW = "127.68.4.3", "127.68.4.5", "127.68.8.4"
PCSCF, SCSCF = "127.68.12.21", "127.68.16.20"
AGENT, STAND_INS = "198.18.77.1", "198.18.77.2"  # RFC 2544: of no network; freeDiameter shuns loopback addresses
FOREIGN: Final = (SGW_S11, SGW_S5, PGW, PCSCF, SCSCF)


def recordings_of(name: str, service: str) -> tuple[RecordedFile, list[Recording]]:
    """A capture, and its recordings of a service."""
    file = record_file(DATA / name)
    return file, [r for r in file.capture.recordings if r.service == service]


def replayed_beside(
    peer: AbstractAsyncContextManager[PeerProcess],
    file: RecordedFile,
    recordings: Sequence[Recording],
    target: str,
    local: str,
    *identities: str,
    wait: float = 20,
    times: int = 1,
) -> ForeignResult:
    """Replay at a target that runs meanwhile, so many times; the last result."""
    setting = read_setting([target], [local], identities)
    options = ForeignOptions(load_rules(), setting, t3=1.0, patience=0.5, diameter=DiameterTimes(wait=wait))

    async def once() -> ForeignResult:
        with private_queue("test") as queue:
            return await replay_at_foreign(recordings, file.capture.messages, queue, options)

    async def scenario() -> ForeignResult:
        async with asyncio.timeout(100), peer:
            results = [await once() for _ in range(times)]
        return results[-1]

    return asyncio.run(scenario())


def figures(result: ForeignResult) -> tuple[int, int, list[str]]:
    """What the target was sent, what it accepted, and which messages it never asked for."""
    (target,) = result.targets
    unasked = [outcome.name for outcome in target.outcomes.values() if outcome.fate is Fate.UNASKED]
    return target.sent, target.accepted, unasked


def _go_row(theirs: str, ours: Role, interface: str, between: tuple[str, str], *procedures: str) -> Row:
    return row(
        "go-gtp gateway tester",
        golang.module_version("github.com/wmnsk/go-gtp"),
        theirs=theirs,
        ours=f"{ours}, replayed",
        interface=interface,
        protocol="GTPv2-C",
        procedures=procedures,
        between=between,
    )


def _kamailio_rows(theirs: Role, address: str, ours: dict[Role, str], network: str) -> list[Row]:
    octets = {Role.UE: 40, Role.ICSCF: 19, Role.SCSCF: 20, Role.PCSCF: 21, Role.HSS: 8, Role.PCRF: 9}
    prefix = network.rpartition(".")[0]
    procedures = ("REGISTER", "SUBSCRIBE", "call", "hold", "resume", "BYE")
    return [
        row(
            "Kamailio",
            kamailio.version(),
            theirs=str(theirs),
            ours=f"{role}, replayed",
            interface=interface,
            protocol="Diameter" if interface in ("Cx", "Rx") else "SIP",
            procedures={"Cx": ("MAR", "SAR"), "Rx": ("AAR", "STR")}.get(interface, procedures),
            between=(address, f"{prefix}.{octets[role]}"),
        )
        for role, interface in ours.items()
    ]


@pytest.mark.peer("go-gtp")
def test_a_recorded_attach_and_detach_at_their_sgw(
    go_programs: Path, ledger: Ledger, wire: Wire, tmp_path: Path
) -> None:
    """It has an address towards either side: what the PGW asks goes to the one that it gave in its F-TEID."""
    file, recordings = recordings_of("open5gs-attach.pcap", "detach")
    addresses = {"s11_ip": SGW_S11, "s1u_ip": SGW_S11, "s5c_ip": SGW_S5, "s5u_ip": SGW_S5}
    settings = {"local_addresses": addresses, "use_kernel_gtp": False}
    rows = [
        _go_row("SGW", Role.MME, "S11", (SGW_S11, "127.68.4.2"), "Create Session", "Modify Bearer", "Delete Session"),
        _go_row("SGW", Role.PGW, "S5", (SGW_S5, "127.68.4.4"), "Create Session", "Delete Session"),
    ]
    with ledger.tries(*rows):
        tester = golang.gateway_tester(go_programs, "sgw", tmp_path, settings, says="Started serving S5-U")
        result = replayed_beside(tester, file, recordings, f"sgw={SGW_S11}", "127.68.4.0/24")
        assert figures(result) == (5, 5, [])
        assert result.replay.recordings[0].compared == 5
        assert result.replay.verdict is Verdict.DIFFERENT  # it leaves out elements that the recorded SGW passed on


@pytest.mark.peer("go-gtp")
def test_a_recorded_attach_and_detach_at_their_pgw_which_has_no_gx(
    go_programs: Path, ledger: Ledger, wire: Wire, tmp_path: Path
) -> None:
    file, recordings = recordings_of("open5gs-attach.pcap", "detach")
    settings = {
        "local_addresses": {"s5c_ip": PGW, "s5u_ip": PGW, "sgi_ip": "127.68.8.99"},
        "sgi_if_name": "lo",
        "route_subnet": "192.0.2.0/24",
        "use_kernel_gtp": False,
    }
    with ledger.tries(_go_row("PGW", Role.SGW, "S5", (PGW, "127.68.9.3"), "Create Session", "Delete Session")):
        tester = golang.gateway_tester(go_programs, "pgw", tmp_path, settings, says="Started serving S5-U")
        result = replayed_beside(tester, file, recordings, f"smf={PGW}", "127.68.9.0/24", wait=0.5)
        assert figures(result) == (2, 2, ["CCA-Initial", "CCA-Termination"])
        assert result.targets[0].events[0].startswith("no Diameter connection between PGW")


@pytest.mark.peer("kamailio")
@pytest.mark.parametrize("party", ["caller", "callee"])
def test_a_recorded_call_at_their_p_cscf(party: str, ledger: Ledger, wire: Wire, tmp_path: Path) -> None:
    """Its ims_qos asks the PCRF, of which the recording knows nothing: the stand-in says yes."""
    file, recordings = recordings_of("kamailio-ims-call.pcap", "volte")
    lab = LabNetwork(Places.loopback("127.68.12.0/24"), mcc="999", mnc="70")
    assert lab.places.address(Role.PCSCF) == PCSCF
    around = {Role.UE: "Gm", Role.ICSCF: "Mw", Role.SCSCF: "Mw", Role.PCRF: "Rx"}
    with ledger.tries(*_kamailio_rows(Role.PCSCF, PCSCF, around, "127.68.12.0")):
        result = replayed_beside(
            kamailio.kamailio(Role.PCSCF, lab, tmp_path),
            file,
            [recordings[party == "callee"]],
            f"pcscf={PCSCF}",
            "127.68.12.0/24",
            f"pcrf={lab.host(Role.PCRF)}",
            times=2 if party == "caller" else 1,
        )
        assert figures(result) == (26, 26, [])
        assert result.replay.recordings[0].unacknowledged == 0
        assert {line.split()[0] for line in result.targets[0].stood_in} == {"AAR", "STR", "NOTIFY"}


@pytest.mark.peer("kamailio")
def test_a_recorded_call_at_their_s_cscf(ledger: Ledger, wire: Wire, tmp_path: Path) -> None:
    """It challenges with the recorded vector, which our HSS gives it, and so takes the recorded response.

    A second replay finds what the first one has left: a registration, and a Diameter connection that is gone.
    """
    file, recordings = recordings_of("kamailio-ims-call.pcap", "volte")
    lab = LabNetwork(Places.loopback("127.68.16.0/24"), mcc="999", mnc="70")
    assert lab.places.address(Role.SCSCF) == SCSCF
    around = {Role.PCSCF: "Mw", Role.ICSCF: "Mw", Role.HSS: "Cx"}
    with ledger.tries(*_kamailio_rows(Role.SCSCF, SCSCF, around, "127.68.16.0")):
        result = replayed_beside(
            kamailio.kamailio(Role.SCSCF, lab, tmp_path),
            file,
            recordings[:1],
            f"scscf={SCSCF}",
            "127.68.16.0/24",
            f"hss={lab.host(Role.HSS)}",
            times=2,
        )
        assert figures(result) == (25, 25, [])
        assert result.replay.verdict is Verdict.SAME
        assert result.replay.recordings[0].compared == 25


@pytest.mark.peer("freediameter")
def test_freediameter_takes_the_stand_ins_for_its_peers(ledger: Ledger, wire: Wire, tmp_path: Path) -> None:
    """Two of them at one address, told apart by their identities. It is no PCRF: nothing of Gx or Rx is accepted."""
    file, recordings = recordings_of("open5gs-volte.pcap", "volte")
    known = [freediameter.Neighbour(host, STAND_INS) for host in ("smf.localdomain", "pcscf.localdomain")]
    with freediameter.addresses(AGENT, STAND_INS):
        result = replayed_beside(
            freediameter.freediameter("pcrf.localdomain", AGENT, known, tmp_path / "agent"),
            file,
            recordings,
            f"pcrf={AGENT}",
            STAND_INS,
            "pgw=smf.localdomain",
            "pcscf=pcscf.localdomain",
        )
    (target,) = result.targets
    assert target.identity == "pcrf.localdomain"
    assert (target.sent, target.accepted) == (6, 0)
    assert {o.result for o in target.outcomes.values() if o.fate is Fate.ANSWERED} == {3002}
    assert target.events == []


def test_tshark_finds_nothing_wrong_in_what_we_sent(wire: Wire, ledger: Ledger) -> None:
    reading = wire.read()
    ledger.count(reading)
    ledger.faults += [f"replay target: {found}" for one in FOREIGN for found in reading.faults.get(one, [])]
    assert reading.faults_of(FOREIGN) == []
