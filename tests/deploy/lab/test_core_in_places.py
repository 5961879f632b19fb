"""The whole core in a place of its own: signalling and voice of a device cross the WAN, on real sockets."""

from __future__ import annotations

import asyncio
import subprocess
import time
from pathlib import Path
from random import Random

import pytest

from ferret.records.message import Role
from ferret_core.driver.configuration import LabNetwork
from ferret_core.driver.core_set import CoreSet
from ferret_core.driver.device import Cell, Device
from ferret_core.driver.user_agent import RemoteParty, UserAgentDriver
from ferret_core.enb.driver import EnbDriver
from ferret_core.enb.enb import Enb
from ferret_core.ua import Ended, Established, Registered, Ringing
from ferret_core.ua.packets import Datagram, PacketReader
from ferret_deploy.lab.delay_line import Impairment
from ferret_deploy.lab.live_scene import lab_network
from ferret_deploy.lab.places import PlaceConfig, Places
from ferret_deploy.lab.sgi import SgiNetwork
from ferret_deploy.lab.voice_driver import DeviceVoice, RemoteVoice
from ferret_deploy.lab.voice_figures import figures
from ferret_deploy.lab.wiretap import WireTap

pytestmark = [pytest.mark.root, pytest.mark.sctp]

BOB, MEDIA = "sip:bob@remote.example", 49000
WAY = Impairment(delay=0.01)
CONFIGS = (
    PlaceConfig("core", ("10.10.0.0/24",), ("10.45.0.0/16",)),
    PlaceConfig("edge", ("10.20.0.0/24",), ("10.46.0.0/16",)),
    PlaceConfig("site", ("10.30.0.0/24",)),
    PlaceConfig("internet", ("198.51.100.0/24",)),
)
FAR = {pair: WAY for a in ("site", "internet") for pair in ((a, "core"), ("core", a))}


async def _life(places: Places, lab: LabNetwork) -> None:
    """Attach, register, call a party on the internet, talk, hang up."""
    core = CoreSet(lab, network=SgiNetwork(places["core"]))
    mme, station = lab.places.address(Role.MME), lab.places.address(Role.ENB)
    enb = Enb(address=station, random=Random(1), mme=mme, plmn=lab.plmn, tac=lab.tac, enb_id=1)
    driver = EnbDriver(enb, mme=(mme, 36412))
    party = RemoteParty(BOB, lab.sip_address(Role.REMOTE), lab.sip_address(Role.ICSCF), Random(5), media_port=MEDIA)
    await places["core"].run(core.start())
    await places["internet"].run(party.start())
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
        await _call(places, device, device.sip, party)
        device.stop()
    finally:
        party.stop()
        driver.stop()
        await core.stop()


async def _call(places: Places, device: Device, agent: UserAgentDriver, party: RemoteParty) -> None:
    name = agent.call(BOB)
    await party.wait_for(Ringing)
    party.answer(name)
    media = (await agent.wait_for(Established)).media
    await party.wait_for(Established)
    with places["internet"].inside():
        remote = RemoteVoice.open("party", Random(3), media.remote_address, port=media.remote_port)
    local = (media.local_address, media.local_port)
    voice = DeviceVoice("ue", Random(4), local=local, remote=remote.local, send=device.send, path=lambda: "core")
    remote.remote = local
    await _speak(device, voice, remote)
    voice.end.stop()
    agent.hang_up(name)
    await party.wait_for(Ended)
    await agent.wait_for(Ended)
    remote.stop()
    for source, sink in ((voice.end.source, remote.end.sink), (remote.end.source, voice.end.sink)):
        found = figures(source, sink)
        assert found.by_path.keys() == {"core"}
        assert found.by_path["core"].p50 >= 2 * WAY.delay
        assert (found.duplicates, found.reordered) == (0, 0)


async def _speak(device: Device, voice: DeviceVoice, remote: RemoteVoice) -> None:
    """Until both have heard ten packets."""
    dedicated = {one.ebi for one in device.dedicated_bearers()}
    heard = asyncio.Event()

    def arrived(datagram: Datagram, ebi: int, at: float) -> None:
        assert ebi in dedicated
        voice.take(datagram, at, path="core")
        if len(voice.end.sink.heard) >= 10 and len(remote.end.sink.heard) >= 10:
            heard.set()

    device.media = arrived
    voice.end.talk()
    remote.end.talk()
    async with asyncio.timeout(10):
        await heard.wait()


@pytest.mark.tshark
def test_a_call_over_the_wan_is_as_tshark_wants_it(tmp_path: Path) -> None:
    path = tmp_path / "lab.pcapng"
    with Places.build(CONFIGS, FAR) as places:
        tap = WireTap(places, path)
        asyncio.run(_life(places, lab_network(places)))
        tapped = tap.stop()
        told = places.wan.statistics()
    assert tapped.missed == told.unroutable == told.overrun == told.undelivered == 0
    assert tapped.frames > 100
    fields = ("frame.interface_name", "frame.protocols", "_ws.malformed")
    rows = [row.split("\t") for row in _tshark(path, "-T", "fields", *(p for one in fields for p in ("-e", one)))]
    assert len(rows) == tapped.frames
    assert not [row for row in rows if row[2]]
    for wire, protocols in (
        ("core/wan0", "sctp:s1ap:nas-eps"),
        ("core/wan0", "gtp:ip:udp:sip"),
        ("core/wan0", "gtp:ip:udp:rtp"),
        ("core/lo", "tcp:diameter"),
        ("core/lo", "udp:gtp:gtpv2"),
        ("core/sgi0", "ip:udp:rtp"),
        ("internet/wan0", "ip:udp:sip"),
        ("internet/wan0", "ip:udp:rtp"),
        ("site/wan0", "gtp:ip:udp:rtp"),
    ):
        assert any(row[0] == wire and protocols in row[1] for row in rows), (wire, protocols)
    # Voice is bandwidth-efficient (RFC 4867), which tshark has to be told.
    preference = "amr.encoding.version:RFC 3267 BW-efficient"
    assert not _tshark(path, "-o", preference, "-Y", "_ws.expert.severity == error")


def _tshark(path: Path, *arguments: str) -> list[str]:
    done = subprocess.run(["tshark", "-r", str(path), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


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
