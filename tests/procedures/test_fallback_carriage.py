"""Fallback of live calls whose SIP goes over TCP, and of devices with IPv6: as of any other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import pytest

from ferret.fallback.report import FallbackReport
from ferret.fallback.states import State
from ferret.protocols.gtpv2 import PdnType
from ferret.records.message import Role
from ferret.replay.verdict import RecordingResult
from ferret_core.driver.configuration import LabNetwork
from ferret_core.driver.places import Places as Addresses
from ferret_core.ua import Ended, Established, Held, Resumed, Ringing, UaEvent
from ferret_deploy.lab.delay_line import Impairment
from ferret_deploy.lab.live_scene import CONFIGS, PARTY, Account, lab_network, live_scene, wan_links
from ferret_deploy.lab.netlink import PlaceError
from ferret_deploy.lab.places import PlaceConfig, Places

pytestmark = [pytest.mark.root, pytest.mark.sctp, pytest.mark.mqueue]

WAY: Final = 0.005  # seconds
IPV6: Final = {"core": "2001:db8:10::/64", "edge": "2001:db8:20::/64", "internet": "2001:db8:90::/64"}
IPV6_UES: Final = {"core": "2001:db8:46::/48", "edge": "2001:db8:47::/48"}
HOSTS: Final = {Role.ICSCF: 19, Role.SCSCF: 20, Role.PCSCF: 21}
DUAL_CONFIGS: Final = tuple(
    PlaceConfig(
        one.name,
        (*one.prefixes, *([IPV6[one.name]] if one.name in IPV6 else [])),
        (*one.subscribers, *([IPV6_UES[one.name]] if one.name in IPV6_UES else [])),
    )
    for one in CONFIGS
)


def over_tcp(places: Places) -> LabNetwork:
    return replace(lab_network(places), sip_transport="TCP")


def over_tcp_where_long(places: Places) -> LabNetwork:
    return replace(lab_network(places), sip_stream_above=1300)


def over_ipv6(places: Places) -> LabNetwork:
    """CSCFs, remote parties and devices with IPv6; the rest of the core stays as it is."""
    lab = lab_network(places)
    own = {role: f"2001:db8:10::{number:x}" for role, number in HOSTS.items()} | {Role.REMOTE: "2001:db8:90::90"}
    remotes = {domain: f"[2001:db8:90::{number}]:5060" for number, domain in enumerate(lab.remotes, 1)}
    addresses = Addresses(
        {**lab.places.addresses, **own}, lab.places.pools, {"ims": IPV6_UES["core"]}, lab.places.addresses
    )
    return replace(lab, places=addresses, remotes=remotes, ims_pdn_type=PdnType.IPV6)


def over_ipv6_and_tcp(places: Places) -> LabNetwork:
    return replace(over_ipv6(places), sip_transport="TCP")


@dataclass
class Told:
    """What FERRET and the remote party have told."""

    states: list[State] = field(default_factory=list)
    party: list[UaEvent] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def report(self, report: FallbackReport, results: list[RecordingResult]) -> None:
        self.states.append(report.state)
        self.changed.set()

    async def until(self, state: State) -> None:
        async with asyncio.timeout(8):
            while state not in self.states:
                self.changed.clear()
                await self.changed.wait()


@pytest.mark.parametrize("who", ["device", "party"])
@pytest.mark.parametrize(
    ("operator", "edge_ipv6"),
    [
        (over_tcp, ""),
        (over_tcp_where_long, ""),
        (over_ipv6, IPV6["edge"]),
        (over_ipv6_and_tcp, IPV6["edge"]),
    ],
    ids=["TCP", "TCP where long", "IPv6", "IPv6 and TCP"],
)
def test_a_call_is_moved_to_the_edge_and_ends(
    operator: Callable[[Places], LabNetwork], edge_ipv6: str, who: str
) -> None:
    try:
        built = Places.build(DUAL_CONFIGS, wan_links(Impairment(WAY)))
    except PlaceError as error:
        pytest.skip(f"NOT tested in namespaces: {error}")
    with built as places:
        asyncio.run(asyncio.wait_for(_call(places, who, operator=operator, edge_ipv6=edge_ipv6), 40))


async def _call(places: Places, who: str, **options: Any) -> None:
    told = Told()
    async with live_scene(places, Account(), told=told.report, **options) as scene:
        live = await scene.device()

        def answering(event: UaEvent) -> None:
            told.party.append(event)
            if isinstance(event, Ringing):
                scene.party.answer(event.call)

        scene.party.told = answering
        live.call = live.agent().call(PARTY)
        await live.agent().wait_for(Established)
        await told.until(State.AT_EDGE)
        assert scene.network.uplink(live.imsi) == "edge"
        assert live.downlink == "edge"
        assert [type(one) for one in told.party if isinstance(one, (Held, Resumed))] == [Held, Resumed]
        if who == "device":
            live.agent().hang_up(live.call)
        else:
            scene.party.hang_up(live.call)
        await live.agent().wait_for(Ended)
        await told.until(State.DONE)
        await scene.idle()
        assert scene.edge.leftovers() == {}
        assert live.device.dedicated_bearers() == []
