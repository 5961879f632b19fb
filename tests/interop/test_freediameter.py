"""freeDiameter as an agent between our PGW, P-CSCF and PCRF, and as a peer without an application of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Final

import pytest

from ferret.records.message import Interface, Role
from ferret.transport.sctp import SctpTransport
from ferret_core.driver.configuration import LabNetwork
from ferret_core.driver.core_set import CoreSet
from ferret_core.driver.device import Cell
from ferret_core.driver.links.diameter_link import DiameterLink
from ferret_core.driver.links.diameter_tls import DiameterTls
from ferret_core.driver.places import CORE_ROLES, Places
from ferret_core.driver.ports import DIAMETER_PORT, S1AP_PORT
from ferret_core.driver.user_agent import RemoteParty
from ferret_core.enb import Enb
from ferret_core.enb.driver import EnbDriver
from tests.interop.peers import freediameter
from tests.interop.peers.freediameter import Neighbour
from tests.interop.peers.impairment import impaired
from tests.interop.peers.ledger import Ledger, Row, row
from tests.interop.peers.process import until
from tests.interop.peers.wire import Wire
from tests.procedures.conftest import BOB, Scene

pytestmark = [pytest.mark.peer("freediameter"), pytest.mark.root, pytest.mark.sctp, pytest.mark.tshark]
CAPTURED: Final = ("127.71.0.0/16", "198.18.68.0/24")
IDENTITY: Final = "agent.ferret.invalid"
AGENT, PCRF, PGW, PCSCF, LONELY_PGW = (f"198.18.68.{last}" for last in (7, 9, 4, 21, 5))
CLIENTS: Final = {Role.PGW: PGW, Role.PCSCF: PCSCF}
NOT_THERE: Final = {"Gx": ("AAR", "STR"), "Rx": ("CCR", "RAR")}
TC: Final = 0.2  # seconds


@pytest.fixture(autouse=True)
def _places() -> Iterator[None]:
    with freediameter.addresses(AGENT, PCRF, PGW, PCSCF, LONELY_PGW):
        yield


def _lab(network: str, diameter: dict[Role, str]) -> LabNetwork:
    return LabNetwork(replace(Places.loopback(network), diameter=diameter), diameter_tc=TC)


def _core(lab: LabNetwork, *roles: Role, sctp: SctpTransport | None = None) -> CoreSet:
    return CoreSet(lab, roles, sctp=sctp, random=lambda role: Random(str(role)))


def _link(core: CoreSet, role: Role, interface: Interface) -> DiameterLink:
    link = core.nfs[role].node.links[interface]
    assert isinstance(link, DiameterLink)
    return link


@asynccontextmanager
async def _scene(core: CoreSet, sctp: SctpTransport) -> AsyncIterator[Scene]:
    lab = core.lab
    mme = lab.places.address(Role.MME)
    enb = Enb(address=lab.places.address(Role.ENB), random=Random(1), mme=mme, plmn=lab.plmn, tac=lab.tac)
    station = EnbDriver(enb, mme=(mme, S1AP_PORT), sctp=sctp)
    remote = RemoteParty(BOB, lab.sip_address(Role.REMOTE), lab.sip_address(Role.ICSCF), Random(2))
    made = Scene(lab, core, station, Cell(station), remote)
    try:
        await station.start()
        await remote.start()
        yield made
    finally:
        for device in made.devices:
            device.stop()
        remote.stop()
        station.stop()


def _rows(theirs: str, *procedures: str) -> list[Row]:
    between = {Role.PGW: (PGW, "Gx"), Role.PCSCF: (PCSCF, "Rx"), Role.PCRF: (PCRF, "Gx, Rx")}
    # To an address of the machine itself the kernel lets the agent speak from that same address.
    return [
        row(
            "freeDiameter",
            freediameter.version(),
            theirs=theirs,
            ours=str(role),
            interface=interface,
            protocol="Diameter",
            procedures=tuple(one for one in procedures if one not in NOT_THERE.get(interface, ())),
            between=(PCRF if role is Role.PCRF else AGENT, address),
        )
        for role, (address, interface) in between.items()
    ]


def test_calls_live_their_whole_lives_with_an_agent_on_gx_and_rx(
    sctp_transport: SctpTransport, ledger: Ledger, wire: Wire, tmp_path: Path
) -> None:
    """It relays CCR, AAR and STR to our PCRF, and RAR back to our PGW by its Destination-Host."""
    towards = _lab("127.71.0.0/24", {**CLIENTS, Role.PCRF: AGENT})
    behind = _lab("127.71.0.0/24", {Role.PGW: PCRF, Role.PCSCF: PCRF, Role.PCRF: PCRF})  # the agent's own is PCRF's
    pcrf = _core(behind, Role.PCRF)
    core = _core(towards, *(role for role in CORE_ROLES if role is not Role.PCRF), sctp=sctp_transport)
    neighbours = [Neighbour(towards.host(role), one) for role, one in {**CLIENTS, Role.PCRF: PCRF}.items()]

    async def scenario() -> None:
        agent = freediameter.freediameter(IDENTITY, AGENT, neighbours, tmp_path / "agent")
        async with asyncio.timeout(40), pcrf, agent:
            await until(lambda: _link(pcrf, Role.PCRF, Interface.GX).is_open_to(Role.PGW))
            async with core, _scene(core, sctp_transport) as scene:
                await scene.whole_life()
                await pcrf.until(lambda: not pcrf.leftovers())

    with ledger.tries(*_rows("relay agent", "CER", "CCR", "RAR", "AAR", "STR", "DPR")):
        asyncio.run(scenario())


def test_messages_that_come_late_out_of_order_and_twice_do_no_harm(
    sctp_transport: SctpTransport, ledger: Ledger, wire: Wire, tmp_path: Path
) -> None:
    """Every second message comes twice, a request then with the T flag; each up to 20 ms late."""
    path_address = "127.71.16.7"
    own = {Role.PGW: "198.18.68.5", Role.PCSCF: "198.18.68.22"}
    towards = _lab("127.71.16.0/24", {Role.PCRF: path_address})
    behind = _lab("127.71.16.0/24", {Role.PGW: PCRF, Role.PCSCF: PCRF, Role.PCRF: PCRF})
    pcrf = _core(behind, Role.PCRF)
    core = _core(towards, *(role for role in CORE_ROLES if role is not Role.PCRF), sctp=sctp_transport)
    neighbours = [Neighbour(towards.host(role), one) for role, one in {**own, Role.PCRF: PCRF}.items()]

    async def scenario() -> int:
        agent = freediameter.freediameter(IDENTITY, AGENT, neighbours, tmp_path / "agent")
        path = impaired((path_address, DIAMETER_PORT), (AGENT, DIAMETER_PORT), seed=1, repeated=0.5, delay=0.02)
        async with asyncio.timeout(40), pcrf, agent, path as carried:
            await until(lambda: _link(pcrf, Role.PCRF, Interface.GX).is_open_to(Role.PGW))
            async with core, _scene(core, sctp_transport) as scene:
                await scene.whole_life()
                await pcrf.until(lambda: not pcrf.leftovers())
            assert carried.counts["repeated"] > 5
            return carried.counts["carried"]

    row = replace(_rows("relay agent, impaired path", "CCR", "RAR", "AAR", "STR", "T flag")[0], ours="PGW, P-CSCF")
    with ledger.tries(replace(row, interface="Gx, Rx", pairs=set())) as (kept,):
        kept.messages = asyncio.run(scenario())  # as the path counts them


def test_all_of_it_over_tls(sctp_transport: SctpTransport, ledger: Ledger, tmp_path: Path) -> None:
    """RFC 6733 clause 13.1: both ends show certificates; freeDiameter wants a peer's common name to be its identity."""
    place = tmp_path / "agent"
    place.mkdir()
    lab = _lab("127.71.12.0/24", {**CLIENTS, Role.PCRF: AGENT})
    served = {Role.PGW: PGW, Role.PCSCF: PCSCF, Role.PCRF: PCRF}
    freediameter.make_certificates(place, {str(role): lab.host(role) for role in served})
    tls = {role: DiameterTls(place / f"{role}.pem", place / f"{role}.key", place / "authority.pem") for role in served}
    towards = replace(lab, diameter_tls=tls)
    behind = _lab("127.71.12.0/24", {Role.PGW: PCRF, Role.PCSCF: PCRF, Role.PCRF: PCRF})
    pcrf = _core(replace(behind, diameter_tls=tls), Role.PCRF)
    core = _core(towards, *(role for role in CORE_ROLES if role is not Role.PCRF), sctp=sctp_transport)
    neighbours = [Neighbour(lab.host(role), one, secure=True) for role, one in served.items()]

    async def scenario() -> int:
        agent = freediameter.freediameter(IDENTITY, AGENT, neighbours, place)
        async with asyncio.timeout(40), pcrf, agent as process:
            await until(lambda: _link(pcrf, Role.PCRF, Interface.GX).is_open_to(Role.PGW))
            async with core, _scene(core, sctp_transport) as scene:
                await scene.whole_life()
                await pcrf.until(lambda: not pcrf.leftovers())
            assert process.said().count("TLS protection negotiated") == 0  # "No TLS protection negotiated with …"
            counts = pcrf.nfs[Role.PCRF].node.counts
            return counts["received"] + counts["sent"]

    row = replace(_rows("relay agent over TLS", "CCR", "RAR", "AAR", "STR")[2], pairs=set())
    with ledger.tries(row) as (kept,):
        kept.messages = asyncio.run(scenario())  # as the PCRF counts them: the capture cannot be read


def test_an_agent_that_cannot_deliver_refuses_and_nothing_is_left(
    sctp_transport: SctpTransport, ledger: Ledger, wire: Wire, tmp_path: Path
) -> None:
    """freeDiameter alone has nobody who speaks Gx: 3002 or 3007, and the device is told that it gets no session."""
    lab = _lab("127.71.4.0/24", {Role.PGW: LONELY_PGW, Role.PCRF: AGENT})
    core = _core(lab, Role.HSS, Role.MME, Role.SGW, Role.PGW, sctp=sctp_transport)
    neighbours = [Neighbour(lab.host(Role.PGW), LONELY_PGW)]

    async def scenario() -> None:
        agent = freediameter.freediameter(IDENTITY, AGENT, neighbours, tmp_path / "agent")
        async with asyncio.timeout(20), agent, core, _scene(core, sctp_transport) as scene:
            with pytest.raises(TimeoutError):
                await scene.device().attach(within=0.5)
            await scene.station.until(lambda: "ue_rejected" in {one.event for one in scene.station.notes})
            await core.until(lambda: set(core.leftovers()) <= {"HSS"})  # which knows that the device is at this MME

    with ledger.tries(replace(_rows("peer without Gx", "CER", "CCR refused")[0], pairs={(AGENT, LONELY_PGW)})):
        asyncio.run(scenario())


def test_a_peer_that_leaves_and_comes_back_is_connected_to_again(
    sctp_transport: SctpTransport, ledger: Ledger, wire: Wire, tmp_path: Path
) -> None:
    """freeDiameter leaves with DPR; what comes back has another Origin-State-Id."""
    towards = _lab("127.71.8.0/24", {**CLIENTS, Role.PCRF: AGENT})
    behind = _lab("127.71.8.0/24", {Role.PGW: PCRF, Role.PCSCF: PCRF, Role.PCRF: PCRF})
    pcrf = _core(behind, Role.PCRF)
    core = _core(towards, Role.HSS, Role.MME, Role.SGW, Role.PGW, sctp=sctp_transport)
    neighbours = [Neighbour(towards.host(Role.PGW), PGW), Neighbour(towards.host(Role.PCRF), PCRF)]

    async def scenario() -> None:
        async with asyncio.timeout(40), pcrf, AsyncExitStack() as stack:
            first = freediameter.freediameter(IDENTITY, AGENT, neighbours, tmp_path / "first")
            async with first as agent:
                await until(lambda: _link(pcrf, Role.PCRF, Interface.GX).is_open_to(Role.PGW))
                await stack.enter_async_context(core)
                agent.terminate()
                await agent.ended()
            assert not _link(core, Role.PGW, Interface.GX).is_open_to(Role.PCRF)
            second = freediameter.freediameter(IDENTITY, AGENT, neighbours, tmp_path / "second")
            async with second, _scene(core, sctp_transport) as scene:
                await until(lambda: _link(core, Role.PGW, Interface.GX).is_open_to(Role.PCRF))
                await until(lambda: _link(pcrf, Role.PCRF, Interface.GX).is_open_to(Role.PGW))
                device = scene.device()
                await device.attach()
                await device.detach()
                await core.until(lambda: not core.leftovers())

    with ledger.tries(*_rows("relay agent", "DPR", "reconnection")[:1]):
        asyncio.run(scenario())


def test_tshark_finds_nothing_wrong_in_what_we_sent(wire: Wire, ledger: Ledger) -> None:
    reading = wire.read()
    ledger.count(reading)
    ledger.faults += [f"freeDiameter: {found}" for found in reading.faults.get(AGENT, [])]
    # What the agent sends comes from its own address, and to the PCRF from the PCRF's: the kernel's choice.
    assert reading.faults_of((AGENT,)) == []
