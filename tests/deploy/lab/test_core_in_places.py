"""The whole core in a place of its own: signalling and voice of a device cross the WAN, on real sockets."""

from __future__ import annotations

import asyncio
import time
from random import Random

import pytest

from ferret.records.message import Role
from ferret_core.driver.configuration import LabNetwork
from ferret_core.driver.core_set import CoreSet
from ferret_core.driver.device import Cell, Device
from ferret_core.driver.places import Places as Addresses
from ferret_core.enb.driver import EnbDriver
from ferret_core.enb.enb import Enb
from ferret_core.ua import Registered
from ferret_core.ua.packets import Datagram, PacketReader
from ferret_deploy.lab.delay_line import Impairment
from ferret_deploy.lab.places import PlaceConfig, Places
from ferret_deploy.lab.sgi import SgiNetwork
from ferret_deploy.lab.voice_driver import DeviceVoice, RemoteVoice
from ferret_deploy.lab.voice_figures import figures

pytestmark = [pytest.mark.root, pytest.mark.sctp]

WAY = Impairment(delay=0.01)
CONFIGS = (
    PlaceConfig("core", ("10.10.0.0/24",), ("10.45.0.0/16",)),
    PlaceConfig("edge", ("10.20.0.0/24",), ("10.46.0.0/16",)),
    PlaceConfig("site", ("10.30.0.0/24",)),
    PlaceConfig("internet", ("198.51.100.0/24",)),
)
FAR = {pair: WAY for a in ("site", "internet") for pair in ((a, "core"), ("core", a))}


def _network(places: Places) -> LabNetwork:
    octets = {
        Role.HSS: 8,
        Role.MME: 2,
        Role.SGW: 3,
        Role.PGW: 4,
        Role.PCRF: 9,
        Role.ICSCF: 19,
        Role.SCSCF: 20,
        Role.PCSCF: 21,
    }
    addresses = {role: places["core"].address(octet) for role, octet in octets.items()}
    addresses |= {Role.ENB: places["site"].address(30), Role.REMOTE: places["internet"].address(90)}
    return LabNetwork(Addresses(addresses, {"internet": "10.45.1.0/24", "ims": "10.45.2.0/24"}))


async def _talk(places: Places, lab: LabNetwork) -> None:
    core = CoreSet(lab, network=SgiNetwork(places["core"]))
    mme, station = lab.places.address(Role.MME), lab.places.address(Role.ENB)
    driver = EnbDriver(
        Enb(address=station, random=Random(1), mme=mme, plmn=lab.plmn, tac=lab.tac, enb_id=1), mme=(mme, 36412)
    )
    await places["core"].run(core.start())
    try:
        await places["site"].run(driver.start())
        device = Device(Cell(driver), lab, lab.subscribers[0], Random(2))
        started = time.monotonic()
        await device.attach()
        assert time.monotonic() - started >= 6 * WAY.delay  # three times there and back at least (TS 23.401 5.3.2.1)
        await device.connect_ims()
        assert device.sip is not None
        device.sip.register()
        await device.sip.wait_for(Registered)
        await _speak(places, device)
        device.stop()
    finally:
        driver.stop()
        await core.stop()


async def _speak(places: Places, device: Device) -> None:
    with places["internet"].inside():
        party = RemoteVoice.open("party", Random(3), places["internet"].address(7))
    voice = DeviceVoice(
        "ue", Random(4), local=(device.address, 49120), remote=party.local, send=device.send, path=lambda: "core"
    )
    heard = asyncio.Event()

    def arrived(datagram: Datagram, _: int, at: float) -> None:
        voice.take(datagram, at, path="core")
        if len(voice.end.sink.heard) >= 10 and len(party.end.sink.heard) >= 10:
            heard.set()

    device.media = arrived
    party.remote = voice.local
    voice.end.talk()
    party.end.talk()
    async with asyncio.timeout(10):
        await heard.wait()
    voice.end.stop()
    party.stop()
    for source, sink in ((voice.end.source, party.end.sink), (party.end.source, voice.end.sink)):
        found = figures(source, sink)
        assert found.delays is not None
        assert found.delays.p50 >= 2 * WAY.delay
        assert (found.duplicates, found.reordered) == (0, 0)


def test_a_device_attaches_registers_and_speaks_over_the_wan() -> None:
    with Places.build(CONFIGS, FAR) as places:
        asyncio.run(_talk(places, _network(places)))
        told = places.wan.statistics()
    assert (told.unroutable, told.overrun, told.undelivered) == (0, 0, 0)


def test_a_subscriber_who_moves_to_the_edge_is_found_there() -> None:
    ue = ("10.45.2.9", 49120)

    async def main(places: Places) -> None:
        networks = {name: SgiNetwork(places[name]) for name in ("core", "edge")}
        with places["internet"].inside():
            party = RemoteVoice.open("party", Random(1), places["internet"].address(7))
        party.remote = ue
        voice = DeviceVoice("ue", Random(2), local=ue, remote=party.local, send=lambda one: None)
        over_edge = asyncio.Event()

        def listen(name: str) -> None:
            reader = PacketReader()

            def received(packet: bytes) -> None:
                now = time.monotonic()
                one = reader.receive(packet, now)
                assert one is not None
                voice.take(one, now, path=name)
                heard = len(voice.end.sink.heard)
                if heard == 5:
                    places.wan.route(f"{ue[0]}/32", places["edge"].sgi_port)
                if heard >= 10 and name == "edge":
                    over_edge.set()

            networks[name].received = received

        for name, network in networks.items():
            await network.start()
            listen(name)
        party.end.talk()
        async with asyncio.timeout(10):
            await over_edge.wait()
        party.stop()
        for network in networks.values():
            network.stop()
        found = figures(party.end.source, voice.end.sink)
        assert [change.path for change in found.changes] == ["edge"]
        assert found.by_path["core"].p50 >= WAY.delay > found.by_path["edge"].p50
        assert not [one for one in found.lost if one.number < voice.end.sink.heard[-1].number]

    with Places.build(CONFIGS, FAR) as places:
        asyncio.run(main(places))
