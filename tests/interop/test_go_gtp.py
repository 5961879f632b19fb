"""go-gtp's gateway tester: its MME at our SGW, its SGW between our MME and PGW, its PGW behind our SGW."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from ferret.records.message import Role
from ferret.transport.sctp import SctpTransport
from ferret_core.driver.configuration import LabNetwork
from ferret_core.driver.core_set import CoreSet
from ferret_core.driver.device import Cell, Device
from ferret_core.driver.packet_network import SinkNetwork
from ferret_core.driver.places import Places
from ferret_core.driver.ports import S1AP_PORT
from ferret_core.enb import Enb
from ferret_core.enb.driver import EnbDriver
from ferret_core.ua.packets import Datagram
from tests.interop.peers import golang
from tests.interop.peers.ledger import Ledger, Row, row
from tests.interop.peers.process import PeerProcess, running
from tests.interop.peers.wire import Wire

pytestmark = [pytest.mark.peer("go-gtp"), pytest.mark.root, pytest.mark.tshark, pytest.mark.timeout(600)]
CAPTURED = "127.65.0.0/16"
FOREIGN: Final = ("127.65.0.2", "127.65.4.3", "127.65.4.5", "127.65.8.4", "127.65.12.2")
APN: Final = "internet"


def _row(theirs: str, ours: Role, interface: str, lab: LabNetwork, address: str, *procedures: str) -> Row:
    return row(
        "go-gtp gateway tester",
        golang.module_version("github.com/wmnsk/go-gtp"),
        theirs=theirs,
        ours=str(ours),
        interface=interface,
        protocol="GTPv2-C",
        procedures=procedures,
        between=(address, lab.places.address(ours)),
    )


def _core(lab: LabNetwork, *roles: Role, sctp: SctpTransport | None = None) -> CoreSet:
    return CoreSet(lab, roles, sctp=sctp, network=SinkNetwork(), random=lambda role: Random(str(role)))


@asynccontextmanager
async def _device(lab: LabNetwork, sctp: SctpTransport) -> AsyncIterator[Device]:
    """A device at a base station of its own."""
    mme = lab.places.address(Role.MME)
    enb = Enb(address=lab.places.address(Role.ENB), random=Random(1), mme=mme, plmn=lab.plmn, tac=lab.tac)
    station = EnbDriver(enb, mme=(mme, S1AP_PORT), sctp=sctp)
    await station.start()
    device = Device(Cell(station), lab, lab.subscribers[0], Random(2))
    try:
        yield device
    finally:
        device.stop()
        station.stop()


def _subscriber(imsi: str, address: str) -> dict[str, Any]:
    return {
        "imsi": imsi,
        "msisdn": f"49170{imsi[-7:]}",
        "imeisv": "3534900698733190",
        "src_ip": address,
        "i_tei": 0,
        "type": "http_get",
        "euu_if_name": "lo",
        "http_url": "http://192.0.2.1/",
        "reattach_on_reload": True,
    }


def _their_enb(lab: LabNetwork, subscribers: list[dict[str, Any]]) -> Mapping[str, Any]:
    address = lab.places.address(Role.ENB)
    return {
        "mcc": lab.mcc,
        "mnc": lab.mnc,
        "rat_type": 6,
        "tai": 1,
        "eci": 1,
        "local_addresses": {"s1c_ip": address, "s1u_ip": address},
        "mme_addr": f"{lab.places.address(Role.MME)}:36412",
        "use_kernel_gtp": False,
        "subscribers": subscribers,
    }


def test_their_mme_creates_and_modifies_sessions_at_our_sgw(
    go_programs: Path, ledger: Ledger, wire: Wire, tmp_path: Path
) -> None:
    """A second attach of the same subscriber replaces his session (TS 29.274 clause 7.2.1)."""
    lab = LabNetwork(Places.loopback("127.65.0.0/24"))
    mme, sgw, pgw = (lab.places.address(role) for role in (Role.MME, Role.SGW, Role.PGW))
    settings = {
        "mcc": lab.mcc,
        "mnc": lab.mnc,
        "apn": APN,
        "local_addresses": {"s1c_addr": f"{mme}:36412", "s11_ip": mme},
        "sgw_s11_ip": sgw,
        "pgw_s5c_ip": pgw,
    }
    subscribers = [_subscriber("001010000000001", "127.65.1.77"), _subscriber("001010000000002", "127.65.1.78")]
    core = _core(lab, Role.PCRF, Role.SGW, Role.PGW)

    async def scenario() -> None:
        tester = golang.gateway_tester(go_programs, "mme", tmp_path, settings, says="Started serving S11")
        async with asyncio.timeout(20), core, tester as their_mme:
            stations = [_their_enb(lab, [one]) for one in (*subscribers, subscribers[0])]
            for number, station in enumerate(stations, 1):
                place = tmp_path / str(number)
                place.mkdir()
                async with golang.gateway_tester(go_programs, "enb", place, station, says="Established S1-MME"):
                    await _said_so_often(their_mme, "Bearer modified with S-GW", number)
            assert core.leftovers()["SGW"] == {"ue_contexts": 2, "pdn_connections": 2, "bearers": 2, "tunnels": 4}
            assert core.leftovers()["PGW"]["bearers"] == 2
            assert "WARN" not in their_mme.said() and "FATAL" not in their_mme.said()

    with ledger.tries(_row("MME", Role.SGW, "S11", lab, mme, "Create Session", "Modify Bearer", "attach anew")):
        asyncio.run(scenario())


async def _said_so_often(process: PeerProcess, text: str, times: int) -> None:
    await process.until(lambda: process.said().count(text) == times, what=f"heard saying {text!r} {times} times")


def test_a_session_on_their_s11_lives_from_create_to_delete(
    go_programs: Path, ledger: Ledger, wire: Wire, tmp_path: Path
) -> None:
    """The gateway tester's MME never deletes: this one is ours, on go-gtp (tests/interop/data/go/session)."""
    lab = LabNetwork(Places.loopback("127.65.12.0/24"))
    mme, sgw, pgw, enb = (lab.places.address(role) for role in (Role.MME, Role.SGW, Role.PGW, Role.ENB))
    core = _core(lab, Role.PCRF, Role.SGW, Role.PGW)
    command = [str(go_programs / "session"), "-local", mme, "-sgw", sgw, "-pgw", pgw, "-enb", enb, "-apn", APN]

    async def scenario() -> None:
        async with asyncio.timeout(20), core, running(command, tmp_path / "session.log") as process:
            status = await process.ended()
            assert status == 0 and process.said().endswith("done\n"), process.said()
            assert "PAA 127.65.13." in process.said()
            assert core.leftovers() == {}

    procedures = ("Echo", "Create Session", "Modify Bearer", "Release Access Bearers", "Delete Session")
    with ledger.tries(replace(_row("MME", Role.SGW, "S11", lab, mme, *procedures), peer="go-gtp (an MME on it)")):
        asyncio.run(scenario())


@pytest.mark.sctp
def test_their_sgw_stands_between_our_mme_and_our_pgw(
    go_programs: Path, sctp_transport: SctpTransport, ledger: Ledger, wire: Wire, tmp_path: Path
) -> None:
    """It has an address towards either; user packets pass it too."""
    on_s11 = LabNetwork(Places.loopback("127.65.4.0/24"))
    towards_pgw = "127.65.4.5"
    on_s5 = replace(on_s11, places=replace(on_s11.places, addresses={**on_s11.places.addresses, Role.SGW: towards_pgw}))
    sgw = on_s11.places.address(Role.SGW)
    settings = {
        "local_addresses": {"s11_ip": sgw, "s1u_ip": sgw, "s5c_ip": towards_pgw, "s5u_ip": towards_pgw},
        "use_kernel_gtp": False,
    }
    left, right = _core(on_s11, Role.HSS, Role.MME, sctp=sctp_transport), _core(on_s5, Role.PCRF, Role.PGW)

    async def scenario() -> None:
        tester = golang.gateway_tester(go_programs, "sgw", tmp_path, settings, says="Started serving S5-U")
        async with asyncio.timeout(20), right, tester as their_sgw, left, _device(on_s11, sctp_transport) as device:
            await device.attach()
            await their_sgw.until_said("Started listening on U-Plane")
            bearer = device.default_bearer(APN)
            assert bearer is not None
            device.send(Datagram((bearer.address, 4000), ("192.0.2.1", 4001), b"up"))
            network = right.network
            assert isinstance(network, SinkNetwork)
            await right.until(lambda: right.leftovers()["PGW"]["bearers"] == 1)
            async with asyncio.timeout(5):
                while not network.packets:  # noqa: ASYNC110 - a user packet is no event of an NF
                    await asyncio.sleep(0.01)
            await device.detach()
            await left.until(lambda: not left.leftovers())
            await right.until(lambda: not right.leftovers())

    procedures = ("Create Session", "Modify Bearer", "Delete Session")
    rows = [_row("SGW", Role.MME, "S11", on_s11, sgw, *procedures)]
    rows.append(_row("SGW", Role.PGW, "S5", on_s5, towards_pgw, "Create Session", "Delete Session"))
    with ledger.tries(*rows):
        asyncio.run(scenario())


@pytest.mark.sctp
def test_their_pgw_stands_behind_our_sgw(
    go_programs: Path, sctp_transport: SctpTransport, ledger: Ledger, wire: Wire, tmp_path: Path
) -> None:
    lab = LabNetwork(Places.loopback("127.65.8.0/24"))
    pgw = lab.places.address(Role.PGW)
    settings = {
        "local_addresses": {"s5c_ip": pgw, "s5u_ip": pgw, "sgi_ip": "127.65.8.99"},
        "sgi_if_name": "lo",
        "route_subnet": "192.0.2.0/24",
        "use_kernel_gtp": False,
    }
    core = _core(lab, Role.HSS, Role.MME, Role.SGW, sctp=sctp_transport)

    async def scenario() -> None:
        tester = golang.gateway_tester(go_programs, "pgw", tmp_path, settings, says="Started serving S5-U")
        async with asyncio.timeout(20), tester as their_pgw, core, _device(lab, sctp_transport) as device:
            await device.attach()
            await their_pgw.until_said("Session created with S-GW")
            await device.detach()
            await their_pgw.until_said("Session deleted for Subscriber")
            await core.until(lambda: not core.leftovers())

    with ledger.tries(_row("PGW", Role.SGW, "S5", lab, pgw, "Create Session", "Delete Session")):
        asyncio.run(scenario())


def test_tshark_finds_nothing_wrong_in_what_we_sent(wire: Wire, ledger: Ledger) -> None:
    reading = wire.read()
    ledger.count(reading)
    ledger.faults += [f"go-gtp: {found}" for one in FOREIGN for found in reading.faults.get(one, [])]
    assert reading.faults_of(FOREIGN) == []
