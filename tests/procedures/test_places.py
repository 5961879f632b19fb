"""The same core in a place of its own: namespaces for core, base station and internet, joined by a WAN with delay."""

from __future__ import annotations

import asyncio
import time
from random import Random
from typing import Final

import pytest

from ferret.protocols.gtpv2 import PdnType
from ferret.records.message import Role
from ferret.transport.sctp import SctpTransport
from ferret.transport.udp import UdpTransport
from ferret_core.driver.configuration import LabNetwork
from ferret_core.driver.core_set import CoreSet
from ferret_core.driver.device import Cell, Device
from ferret_core.driver.places import Places as Addresses
from ferret_core.driver.ports import S1AP_PORT
from ferret_core.driver.user_agent import RemoteParty
from ferret_core.enb import Enb
from ferret_core.enb.driver import EnbDriver
from ferret_core.ua import Ended, EndReason, Established, Registered, Ringing
from ferret_core.ua.packets import Datagram
from ferret_deploy.lab.delay_line import Impairment
from ferret_deploy.lab.netlink import PlaceError
from ferret_deploy.lab.places import PlaceConfig, Places
from ferret_deploy.lab.sgi import SgiNetwork

pytestmark = [pytest.mark.sctp, pytest.mark.root]

DELAY: Final = 0.025  # seconds, one way
POOLS: Final = {"internet": "10.45.0.0/16", "ims": "10.46.0.0/16"}
ADDRESSES: Final = {
    **{role: f"10.10.0.{number}" for number, role in enumerate((Role.MME, Role.SGW, Role.PGW, Role.PCRF), 2)},
    **{role: f"10.10.0.{number}" for number, role in enumerate((Role.HSS, Role.ICSCF, Role.SCSCF, Role.PCSCF), 8)},
    Role.ENB: "10.20.0.30",
    Role.REMOTE: "198.51.100.90",
}
IPV6_POOLS: Final = {"ims": "2001:db8:46::/48"}
IPV6: Final = {
    **{role: f"2001:db8:10::{number}" for number, role in enumerate((Role.ICSCF, Role.SCSCF, Role.PCSCF), 8)},
    Role.REMOTE: "2001:db8:90::90",
}
PLACES: Final = (
    PlaceConfig("core", ("10.10.0.0/24", "2001:db8:10::/64"), (*POOLS.values(), *IPV6_POOLS.values())),
    PlaceConfig("ran", ("10.20.0.0/24",)),
    PlaceConfig("internet", ("198.51.100.0/24", "2001:db8:90::/64")),
)
LABS: Final = {
    "UDP": LabNetwork(Addresses(ADDRESSES, POOLS)),
    "TCP": LabNetwork(Addresses(ADDRESSES, POOLS), sip_transport="TCP"),
    "IPv6": LabNetwork(
        Addresses({**ADDRESSES, **IPV6}, POOLS, IPV6_POOLS, ADDRESSES),
        ims_pdn_type=PdnType.IPV6,
    ),
    "IPv6 and TCP": LabNetwork(
        Addresses({**ADDRESSES, **IPV6}, POOLS, IPV6_POOLS, ADDRESSES),
        ims_pdn_type=PdnType.IPV6,
        sip_transport="TCP",
    ),
}


@pytest.mark.parametrize("kind", LABS)
def test_a_call_over_a_wan_with_delay(sctp_transport: SctpTransport, kind: str) -> None:
    far = Impairment(delay=DELAY)
    pairs = (("ran", "core"), ("core", "ran"), ("core", "internet"), ("internet", "core"))
    try:
        places = Places.build(PLACES, dict.fromkeys(pairs, far))
    except PlaceError as error:
        pytest.skip(f"NOT tested in namespaces: {error}")
    with places:
        asyncio.run(asyncio.wait_for(_call(places, LABS[kind], sctp_transport), 30))


def test_sip_over_tcp_on_a_wan_that_loses_packets(sctp_transport: SctpTransport) -> None:
    """The device's TCP sends again inside its bearer; voice that is lost stays lost, so none is waited for."""
    lossy = Impairment(delay=DELAY / 5, jitter=DELAY / 10, loss=0.05)
    pairs = (("ran", "core"), ("core", "ran"), ("core", "internet"), ("internet", "core"))
    try:
        places = Places.build(PLACES, dict.fromkeys(pairs, lossy), seed=5)
    except PlaceError as error:
        pytest.skip(f"NOT tested in namespaces: {error}")
    with places:
        asyncio.run(asyncio.wait_for(_call(places, LABS["TCP"], sctp_transport, talks=False), 60))


async def _call(places: Places, lab: LabNetwork, sctp: SctpTransport, *, talks: bool = True) -> None:
    far = lab.places.address(Role.REMOTE)
    core = CoreSet(lab, sctp=sctp, network=SgiNetwork(places["core"]), random=lambda role: Random(str(role)))
    enb = Enb(address=ADDRESSES[Role.ENB], random=Random(1), mme=ADDRESSES[Role.MME], plmn=lab.plmn)
    station = EnbDriver(enb, mme=(ADDRESSES[Role.MME], S1AP_PORT), sctp=sctp)
    remote = RemoteParty(
        "sip:bob@remote.example",
        lab.sip_address(Role.REMOTE),
        lab.sip_address(Role.ICSCF),
        Random(2),
        transport=lab.sip_transport,
    )
    await places["core"].run(core.start())
    await places["ran"].run(station.start())
    await places["internet"].run(remote.start())
    heard: asyncio.Future[tuple[bytes, str, float]] = asyncio.get_running_loop().create_future()

    def voice(octets: bytes, source: tuple[str, int]) -> None:
        heard.set_result((octets, source[0], time.monotonic()))

    media = await places["internet"].run(UdpTransport.bind(far, 49000, voice))
    device = Device(Cell(station), lab, lab.subscribers[0], Random(3))
    try:
        await device.attach()
        await device.connect_ims()
        assert device.sip is not None
        device.sip.register()
        await device.sip.wait_for(Registered)
        name = device.sip.call("sip:bob@remote.example")
        await remote.wait_for(Ringing)
        remote.answer(name)
        await device.sip.wait_for(Established)
        if talks:
            sent = device.send(Datagram((device.address, 49000), (far, 49000), b"\x80 voice"))
            octets, source, at = await asyncio.wait_for(heard, 5)
            assert (octets, source) == (b"\x80 voice", device.address)
            assert 2 * DELAY <= at - sent < 2 * DELAY + 0.5  # base station to core, core to internet
        device.sip.hang_up(name)
        assert (await remote.wait_for(Ended)).reason is EndReason.HUNG_UP_BY_PEER
        await station.until(lambda: not device.dedicated_bearers())
        await device.detach()
    finally:
        device.stop()
        media.close()
        remote.stop()
        station.stop()
        await core.stop()
