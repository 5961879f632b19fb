"""A live network with FERRET beside it: core, edge, base station, devices and a remote party, each in its place.

Core, edge, base station and internet are places apart; between the core and the others is the WAN. Agents stand beside
the core's NFs, one more beside the edge's. Devices, base station and remote party are emulations that speak the real
protocols.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Final

from ferret.fallback.controller import Controller
from ferret.fallback.messages import Answer, Answered
from ferret.fallback.report import FallbackReport
from ferret.fallback.services import ServicePolicy, SwitchedServices
from ferret.records.message import CapturedMessage, Role
from ferret.replay.plan import EDGE_ROLES
from ferret.replay.rules import load_rules
from ferret.replay.verdict import RecordingResult
from ferret.transport.sctp import choose
from ferret_agents.collector import Collector
from ferret_agents.live.agent import AgentConfig, LiveAgent
from ferret_agents.live.counters import AgentCounters
from ferret_agents.pipeline import private_queue
from ferret_core.driver.configuration import LabNetwork
from ferret_core.driver.core_set import CoreSet
from ferret_core.driver.device import Cell, Device
from ferret_core.driver.places import CORE_ROLES
from ferret_core.driver.places import Places as Addresses
from ferret_core.driver.ports import S1AP_PORT, SIP_PORT
from ferret_core.driver.user_agent import RemoteParty
from ferret_core.enb import Enb
from ferret_core.enb.driver import EnbDriver
from ferret_core.ua import Registered
from ferret_deploy.host.fallback_host import FallbackHost
from ferret_deploy.lab.delay_line import Impairment
from ferret_deploy.lab.live_network import LiveDevice, LiveNetwork
from ferret_deploy.lab.places import WAN_INTERFACE, PlaceConfig, Places
from ferret_deploy.lab.sgi import SgiNetwork
from ferret_edge.edge_set import EdgeSet
from ferret_edge.site import Site

PARTY: Final = "sip:bob@remote.example"
OTHER_PARTY: Final = "sip:carol@other.example"
_PARTIES: Final = ((PARTY, 90), (OTHER_PARTY, 91))
MEDIA_PORT: Final = 49000
_EDGE_NETWORK: Final = "10.20.0.0/24"
CONFIGS: Final = (
    PlaceConfig("core", ("10.10.0.0/24",), ("10.45.0.0/16",)),
    PlaceConfig("edge", (_EDGE_NETWORK,), ("10.46.0.0/16",)),
    PlaceConfig("site", ("10.30.0.0/24",)),
    PlaceConfig("internet", ("198.51.100.0/24",)),
)
_ESM_TIMER: Final = 0.2
"""s: what core and edge say to a device at the same time may overtake each other, and one is discarded by its COUNT. A
real MME says it again after 8 s (T3495, TS 24.301 table 10.3.1)."""
_HOSTS: Final[Mapping[Role, int]] = {
    Role.MME: 2,
    Role.SGW: 3,
    Role.PGW: 4,
    Role.HSS: 8,
    Role.PCRF: 9,
    Role.ICSCF: 19,
    Role.SCSCF: 20,
    Role.PCSCF: 21,
}
Told = Callable[[FallbackReport, list[RecordingResult]], None]
Happened = Callable[[Answered, Answer | None], None]


def wan_links(way: Impairment) -> dict[tuple[str, str], Impairment]:
    """The WAN between the core and what is far from it: base station, edge and internet."""
    return {pair: way for far in ("site", "edge", "internet") for pair in ((far, "core"), ("core", far))}


def lab_network(places: Places) -> LabNetwork:
    """The addresses of the core, the base station and the remote party, each in its place."""
    addresses = {role: places["core"].address(host) for role, host in _HOSTS.items()}
    addresses |= {Role.ENB: places["site"].address(30), Role.REMOTE: places["internet"].address(90)}
    remotes = {
        identity.partition("@")[2]: f"{places['internet'].address(host)}:{SIP_PORT}" for identity, host in _PARTIES
    }
    pools = {"internet": "10.45.1.0/24", "ims": "10.45.2.0/24"}
    return LabNetwork(Addresses(addresses, pools), remotes=remotes, esm_timer=_ESM_TIMER)


@dataclass(slots=True)
class Account:
    """What agents have seen and lost. `core`, `edge`: their messages; `counters`: once the agents have stopped."""

    core: list[CapturedMessage] = field(default_factory=list)
    edge: list[CapturedMessage] = field(default_factory=list)
    counters: tuple[AgentCounters, ...] = ()


@dataclass(slots=True)
class Scene:
    """Everything at work."""

    places: Places
    core: CoreSet
    edge: EdgeSet
    station: EnbDriver
    cell: Cell
    network: LiveNetwork
    host: FallbackHost
    party: RemoteParty
    other_party: RemoteParty
    seed: int

    async def device(self, place: int = 0) -> LiveDevice:
        """A device that has attached, and registered with the IMS. Raises TimeoutError."""
        lab = self.core.lab
        device = Device(self.cell, lab, lab.subscribers[place], Random(f"{self.seed}/device/{place}"))
        live = self.network.devices[device.ue.imsi] = LiveDevice(device)
        started = time.monotonic()
        await device.attach()
        live.attached_in = time.monotonic() - started
        await device.connect_ims()
        started = time.monotonic()
        live.agent().register()
        await live.agent().wait_for(Registered)
        live.registered_in = time.monotonic() - started
        return live

    async def restarted(self, role: Role) -> None:
        """Start an edge NF again that was stopped: it knows nobody."""
        await self.places["edge"].run(self.edge.restart(role))

    async def edge_restarted(self) -> None:
        """Start the whole edge again, as after the loss of an NF whose neighbours have not been told."""
        await self.places["edge"].run(self.edge.start_anew())
        await self.host.until_edge_is_there()

    async def idle(self, *, within: float = 10.0) -> None:
        """Wait until FERRET has nothing to do with any call. Raises TimeoutError."""
        async with asyncio.timeout(within):
            await self.host.until_idle()


def switched_on(after_ms: int = 0, max_fallback_ms: int = 2000) -> SwitchedServices:
    """VoLTE for everybody."""
    return SwitchedServices({"volte": ServicePolicy(True, after_ms=after_ms, max_fallback_ms=max_fallback_ms)})


@asynccontextmanager
async def live_scene(
    places: Places,
    account: Account,
    *,
    services: SwitchedServices | None = None,
    seed: int = 0,
    told: Told = lambda report, results: None,
    happened: Happened = lambda command, answer: None,
    operator: Callable[[Places], LabNetwork] = lab_network,
    edge_ipv6: str = "",
) -> AsyncIterator[Scene]:
    """The network and FERRET at work. Raises TransportError, ConfigError, TimeoutError where something cannot start.

    `operator`: the core's network; `edge_ipv6`: a /64 in which the edge's CSCFs speak SIP, for devices with IPv6.
    """
    lab = operator(places)
    async with AsyncExitStack() as stack:
        core = CoreSet(lab, network=SgiNetwork(places["core"]), random=lambda role: Random(f"{seed}/{role}"))
        site = Site.of(_EDGE_NETWORK, edge_ipv6)
        edge = EdgeSet(
            EDGE_ROLES,
            site=site,
            rules=load_rules(None),
            seed=seed,
            sctp=choose().transport,
            network=SgiNetwork(places["edge"]),
        )
        mme, station = lab.places.address(Role.MME), lab.places.address(Role.ENB)
        enb = Enb(address=station, random=Random(seed + 1), mme=mme, plmn=lab.plmn, tac=lab.tac)
        core_side = EnbDriver(enb, mme=(mme, S1AP_PORT))
        edge_mme = site.address(Role.MME)
        edge_side = EnbDriver(enb.towards(edge_mme), mme=(edge_mme, S1AP_PORT))
        network = LiveNetwork(places, core, core_side, edge_side, edge_sgw=site.address(Role.SGW))
        replays = stack.enter_context(private_queue("replay"))
        controller = Controller(services or switched_on())
        host = FallbackHost(controller, network, site, replays, told=told, happened=happened)
        await stack.enter_async_context(_agents(places, lab, site, account, host, network))
        for place, one in (("core", core), ("edge", edge)):
            stack.push_async_callback(one.stop)
            await places[place].run(one.start())
        parties = []
        for identity, address in zip((one for one, _ in _PARTIES), lab.remote_domains().values(), strict=True):
            proxy, chance = lab.sip_address(Role.ICSCF), Random(f"{seed}/{identity}")
            party = RemoteParty(identity, address, proxy, chance, media_port=MEDIA_PORT, transport=lab.sip_transport)
            parties.append(party)
            stack.callback(parties[-1].stop)
            await places["internet"].run(parties[-1].start())
        stack.callback(core_side.stop)
        await places["site"].run(core_side.start())
        stack.callback(edge_side.stop)
        await places["site"].run(edge_side.start(user_plane=False))
        stack.push_async_callback(host.stop)
        await places["edge"].run(host.start())
        scene = Scene(places, core, edge, core_side, Cell(core_side), network, host, parties[0], parties[1], seed)
        try:
            yield scene
        finally:
            for live in network.devices.values():
                live.device.stop()


@asynccontextmanager
async def _agents(
    places: Places, lab: LabNetwork, site: Site, account: Account, host: FallbackHost, network: LiveNetwork
) -> AsyncIterator[None]:
    """An agent beside each NF of the core, and one beside those of the edge; what they see goes to the host."""
    loop = asyncio.get_running_loop()
    of_edge = frozenset(site.addresses())

    def taken(captured: CapturedMessage) -> None:
        at_edge = not of_edge.isdisjoint((captured.source.address, captured.destination.address))
        (account.edge if at_edge else account.core).append(captured)
        if not at_edge:
            network.take(captured)
        host.take(captured)

    beside: list[tuple[str, Sequence[str]]] = [("core", lab.places.addresses_of(role)) for role in CORE_ROLES]
    beside.append(("edge", tuple(sorted(of_edge))))
    async with AsyncExitStack() as stack:
        queue = stack.enter_context(private_queue("live"))
        agents = []
        for place, addresses in beside:
            agent = LiveAgent(AgentConfig(("lo", WAN_INTERFACE), tuple(addresses)), queue)
            stack.callback(agent.close)
            with places[place].inside():
                agent.open()
            agent.start(loop)
            agents.append(agent)
        collector = Collector(queue, taken)
        collector.start(loop)
        try:
            yield
        finally:
            account.counters = tuple([await agent.stop() for agent in agents])
            collector.stop()
