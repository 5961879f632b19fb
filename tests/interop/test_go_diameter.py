"""go-diameter's S6a client at our HSS, and its S6a server behind our MME, with a device that attaches through it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from ferret.protocols.nas import EmmCause, Milenage
from ferret.records.message import Role
from ferret.transport.sctp import SctpTransport
from ferret_core.driver.configuration import LabNetwork
from ferret_core.driver.core_set import CoreSet
from ferret_core.driver.packet_network import SinkNetwork
from ferret_core.driver.places import Places
from ferret_core.driver.ports import DIAMETER_PORT, S1AP_PORT
from ferret_core.enb import Enb
from ferret_core.enb import ue as device
from ferret_core.enb.driver import EnbDriver
from ferret_core.enb.ue import Ue
from ferret_core.enb.usim import Challenge, ChallengeResult, Usim
from tests.interop.peers import golang
from tests.interop.peers.ledger import Ledger, Row, row
from tests.interop.peers.process import running
from tests.interop.peers.wire import Wire

pytestmark = [pytest.mark.peer("go-diameter"), pytest.mark.root, pytest.mark.tshark, pytest.mark.timeout(600)]
CAPTURED = "127.66.0.0/16"
THEIR_CLIENT: Final = "127.0.0.1"  # it binds no address of its own
THEIR_SERVER: Final = "127.66.4.8"

# The vector that their server gives everybody (examples/s6a_server/server.go).
XRES: Final = bytes.fromhex("46f022b92523f538")
K_ASME: Final = bytes.fromhex("bf00f9806833220ea11cfa930340d6f802d53159ebc49d3d09147beb21eccb3a")


def _row(theirs: str, ours: Role, address: str, lab: LabNetwork, *procedures: str) -> Row:
    return row(
        f"go-diameter s6a_{theirs}",
        golang.module_version("github.com/fiorix/go-diameter/v4"),
        theirs="MME" if theirs == "client" else "HSS",
        ours=str(ours),
        interface="S6a",
        protocol="Diameter",
        procedures=procedures,
        between=(address, lab.places.address(ours)),
    )


def test_their_client_gets_vectors_and_subscription_from_our_hss(
    go_programs: Path, ledger: Ledger, wire: Wire, tmp_path: Path
) -> None:
    """It asks for three vectors and offers its applications under a vendor's; watchdogs follow."""
    places = Places.loopback("127.66.0.0/24")
    lab = LabNetwork(replace(places, addresses={**places.addresses, Role.MME: THEIR_CLIENT}))
    core = CoreSet(lab, [Role.HSS], random=lambda role: Random(str(role)))
    hss = lab.places.address(Role.HSS)
    command = [str(go_programs / "s6a_client"), "-addr", f"{hss}:{DIAMETER_PORT}", "-network_type", "tcp"]
    command += ["-diam_host", lab.host(Role.MME), "-diam_realm", lab.realm, "-watchdog", "1", "-sleep", "2"]

    async def scenario() -> str:
        async with asyncio.timeout(20), core, running(command, tmp_path / "client.log") as process:
            assert await process.ended() == 0, process.said()
            assert core.leftovers()["HSS"] == {"attached": 1}
            return process.said()

    with ledger.tries(_row("client", Role.HSS, THEIR_CLIENT, lab, "CER", "AIR", "ULR", "DWR")):
        said = asyncio.run(scenario())
        assert "Unmarshal failed" not in said and "error" not in said.lower()
        assert said.count("E-UTRAN-Vector {") == 3
        assert "APNConfiguration:main.APNConfiguration{ContextIdentifier:0x1" in said
        assert 'ServiceSelection:"internet"' in said


@dataclass(frozen=True)
class _TheirNetwork(LabNetwork):
    """The operator whose HSS is theirs: its identity and realm are those that it is started with."""

    def context_of(self, role: Role) -> Mapping[str, Any]:
        """As the lab's; no Purge-UE-Request, for their server answers none."""
        context = dict(super().context_of(role))
        return {**context, "purge": False} if role is Role.MME else context


class _TheirUsim(Usim):
    """The USIM of whoever their server's vector is for. Nobody knows its key: only what it answers."""

    def __init__(self, imsi: str) -> None:
        super().__init__(imsi, Milenage(bytes(16), bytes(16)))

    def challenge(self, rand: bytes, autn: bytes) -> ChallengeResult:
        return ChallengeResult(Challenge.ACCEPTED, XRES, bytes(16), bytes(16))


@pytest.mark.sctp
@pytest.mark.parametrize("apn", ["oai.ipv4", ""], ids=["names its APN", "names no APN"])
def test_a_device_authenticates_with_a_vector_of_their_server(
    go_programs: Path,
    sctp_transport: SctpTransport,
    ledger: Ledger,
    wire: Wire,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    apn: str,
) -> None:
    """NAS security is on, and the location updated. Then the MME finds no APN that it could connect the device to:
    s6a_server 4.1.0 puts Service-Selection, an AVP of RFC 5778, under 3GPP's vendor identifier.
    """
    lab = _TheirNetwork(Places.loopback("127.66.4.0/24"))
    roles = (Role.PCRF, Role.MME, Role.SGW, Role.PGW)
    core = CoreSet(lab, roles, sctp=sctp_transport, network=SinkNetwork(), random=lambda role: Random(str(role)))
    monkeypatch.setattr(device, "derive_k_asme", lambda *_: K_ASME)
    mme = lab.places.address(Role.MME)
    enb = Enb(address=lab.places.address(Role.ENB), random=Random(1), mme=mme, plmn=lab.plmn, tac=lab.tac)
    station = EnbDriver(enb, mme=(mme, S1AP_PORT), sctp=sctp_transport)
    imsi = lab.subscribers[0].imsi
    ue = Ue(imsi, usim=_TheirUsim(imsi), plmn=lab.plmn)
    command = [str(go_programs / "s6a_server"), "-addr", f"{THEIR_SERVER}:{DIAMETER_PORT}", "-pprof_addr", ""]
    command += ["-diam_host", lab.host(Role.HSS), "-diam_realm", lab.realm]

    async def scenario() -> None:
        async with asyncio.timeout(20), running(command, tmp_path / "server.log") as process:
            await process.until_said("Starting diameter server")
            await process.until(_listens, what="listening")
            async with core:
                core.nfs[Role.SGW].node.tap = lambda event: pytest.fail(f"the SGW was asked: {event}")
                try:
                    await station.start()
                    station.perform(station.enb.attach(ue, apn))
                    await station.until(lambda: ue.is_gone)
                finally:
                    station.stop()
            assert ue.security is not None  # the device took the security mode command: both have K_ASME
            notes = {one.event: one.fields for one in station.notes}
            assert notes["ue_rejected"]["cause"] == EmmCause.ESM_FAILURE
            assert core.leftovers() == {}
            assert "failed" not in process.said().lower()

    with ledger.tries(_row("server", Role.MME, THEIR_SERVER, lab, "CER", "AIR", "ULR")):
        asyncio.run(scenario())


def test_tshark_finds_nothing_wrong_in_what_we_sent(wire: Wire, ledger: Ledger) -> None:
    reading = wire.read()
    ledger.count(reading)
    foreign = (THEIR_CLIENT, THEIR_SERVER)
    ledger.faults += [f"go-diameter: {found}" for one in foreign for found in reading.faults.get(one, [])]
    assert reading.faults_of(foreign) == []


def _listens() -> bool:
    """Whether their server takes connections: it says that it starts a little before."""
    with socket.socket() as probe:
        return probe.connect_ex((THEIR_SERVER, DIAMETER_PORT)) == 0
