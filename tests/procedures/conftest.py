"""The lab's core on real sockets, a base station, devices and a remote party, for one test."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network
from random import Random
from typing import Any

import pytest

from ferret.errors import ConfigError
from ferret.protocols import diameter, sip
from ferret.queue import PosixQueue
from ferret.records.message import Interface, Role
from ferret.records.recorder import Capture
from ferret.transport.endpoint import Address
from ferret.transport.sctp import SctpTransport, choose
from ferret.transport.udp import UdpTransport
from ferret_agents.live.agent import AgentConfig, LiveAgent
from ferret_agents.live.counters import AgentCounters
from ferret_agents.live_recording import collect, record_messages
from ferret_core.driver.configuration import LabNetwork
from ferret_core.driver.core_set import CoreSet
from ferret_core.driver.device import Cell, Device
from ferret_core.driver.links.diameter_link import DiameterLink
from ferret_core.driver.links.s1ap_link import S1apLink
from ferret_core.driver.links.sip_link import SipLink
from ferret_core.driver.places import CORE_ROLES, Places
from ferret_core.driver.ports import S1AP_PORT
from ferret_core.driver.socket_network import SocketNetwork
from ferret_core.driver.user_agent import RemoteParty, UserAgentDriver
from ferret_core.enb import Enb
from ferret_core.enb.driver import EnbDriver
from ferret_core.enb.enb import S1State
from ferret_core.enb.ue import EmmState
from ferret_core.nf import Received, Send
from ferret_core.ua import Ended, Established, Held, NotRegistered, Registered, Resumed, Ringing
from ferret_edge.site import Site

RETRY = 0.05  # seconds between attempts to set up S1 again
BOB = "sip:bob@remote.example"


@dataclass
class Scene:
    """What a test acts with. `spoken`: the names of the messages that each NF has sent."""

    lab: LabNetwork
    core: CoreSet
    station: EnbDriver
    cell: Cell
    remote: RemoteParty
    spoken: dict[Role, list[str]] = field(default_factory=dict)
    devices: list[Device] = field(default_factory=list)
    media: list[tuple[bytes, Address]] = field(default_factory=list)
    heard: asyncio.Event = field(default_factory=asyncio.Event)  # `media` has something
    media_socket: UdpTransport | None = None

    def voice(self, octets: bytes, source: Address) -> None:
        """A packet has come to the remote party's media port."""
        self.media.append((octets, source))
        self.heard.set()

    def device(self, number: int = 0, **more: Any) -> Device:
        """The device of a subscriber."""
        device = Device(
            self.cell, self.lab, self.lab.subscribers[number], Random(100 + number), expects=self.expects, **more
        )
        self.devices.append(device)
        return device

    async def registered(self, number: int = 0, **more: Any) -> Device:
        """A device that is attached, has its ims PDN connection and is registered."""
        device = self.device(number, **more)
        await device.attach()
        await device.connect_ims()
        agent(device).register()
        await agent(device).wait_for(Registered)
        return device

    async def call(self, caller: UserAgentDriver, called: UserAgentDriver, uri: str) -> str:
        """A call, answered."""
        name = caller.call(uri)
        await called.wait_for(Ringing)
        called.answer(name)
        await caller.wait_for(Established)
        await called.wait_for(Established)
        return name

    async def ringing(self, called: UserAgentDriver) -> Ringing:
        """A party is alerted."""
        return await called.wait_for(Ringing)

    def drop_connections(self, device: Device) -> None:
        """The P-CSCF's TCP connections with a device end, as if their network had lost them."""
        link = self.core.nfs[Role.PCSCF].node.links[Interface.GM]
        assert isinstance(link, SipLink)
        link.drop_connections(device.address)

    async def lose_s1(self) -> None:
        """The S1 association is lost; afterwards it is up again."""
        self.end_s1()
        await self.until_s1()

    def end_s1(self) -> None:
        """The MME ends the S1 association."""
        link = self.core.nfs[Role.MME].node.links[Interface.S1_MME]
        assert isinstance(link, S1apLink)
        link.end(self.lab.places.address(Role.ENB))

    async def until_s1(self) -> None:
        """The base station has noticed, and has set up S1 again."""
        await self.station.until(lambda: self.station.enb.state is not S1State.UP)
        await self.station.until(lambda: self.station.enb.state is S1State.UP)

    def lose_diameter(self, role: Role) -> None:
        """The Diameter connection of a client is lost."""
        link = next(one for one in self.core.nfs[role].node.links.values() if isinstance(one, DiameterLink))
        link.drop()

    def expects(self, address: str, port: int) -> None:
        """A device waits for media."""
        assert isinstance(self.core.network, SocketNetwork)
        self.core.network.expect(address, port)

    def uri(self, number: int = 0) -> str:
        """What a subscriber is called by."""
        return f"sip:{self.lab.subscribers[number].msisdn}@{self.lab.ims_domain}"

    async def ended(self, *agents: UserAgentDriver) -> list[Ended]:
        """The call is over for all of these."""
        return [await one.wait_for(Ended) for one in agents]

    async def without_bearers(self, device: Device) -> None:
        """The device, the base station and the core have no dedicated bearer of it any more."""
        await self.station.until(lambda: not device.dedicated_bearers())
        await self.core.until(lambda: set(self.bearers().values()) == {2 * len(self.attached())})

    def bearers(self) -> dict[Role, int]:
        """How many bearers MME, SGW and PGW have."""
        return {role: self.core.nfs[role].node.nf.leftovers()["bearers"] for role in (Role.MME, Role.SGW, Role.PGW)}

    def attached(self) -> list[Device]:
        """The devices that have bearers."""
        return [one for one in self.devices if one.ue.esm.bearers]

    async def whole_life(self) -> None:
        """Attach to detach, with a call either way; then nothing is left in any NF."""
        device = await self.registered()
        sip = agent(device)
        name = await self.call(sip, self.remote, BOB)
        sip.hold(name)
        await self.remote.wait_for(Held)
        await sip.wait_for(Held)
        sip.resume(name)
        await self.remote.wait_for(Resumed)
        await sip.wait_for(Resumed)
        sip.hang_up(name)
        await self.ended(sip, self.remote)
        await self.without_bearers(device)
        name = await self.call(self.remote, sip, self.uri())
        self.remote.hang_up(name)
        await self.ended(sip, self.remote)
        await self.without_bearers(device)
        sip.deregister()
        await sip.wait_for(NotRegistered)
        await device.detach()
        assert device.ue.state is EmmState.DEREGISTERED
        await self.core.until(lambda: not self.core.leftovers())
        await self.station.until(lambda: not any(self.station.enb.leftovers().values()))
        assert all(nf.node.counts["refused"] == nf.node.counts["unsent"] == 0 for nf in self.core.nfs.values())


def agent(device: Device) -> UserAgentDriver:
    """The user agent of a device that has one."""
    assert device.sip is not None
    return device.sip


@asynccontextmanager
async def scene(sctp: SctpTransport, network: str = "127.0.140.0/24", **changes: Any) -> AsyncIterator[Scene]:
    """Build everything, and take it down. `changes`: of the lab's network."""
    lab = LabNetwork(**{"places": Places.loopback(network), **changes})
    core = CoreSet(lab, sctp=sctp, random=lambda role: Random(str(role)))
    mme = lab.places.address(Role.MME)
    enb = Enb(address=lab.places.address(Role.ENB), random=Random(1), mme=mme, plmn=lab.plmn, tac=lab.tac)
    station = EnbDriver(enb, mme=(mme, S1AP_PORT), sctp=sctp, retry=RETRY)
    remote = RemoteParty(
        BOB,
        lab.sip_address(Role.REMOTE),
        lab.sip_address(Role.ICSCF),
        Random(2),
        transport=lab.sip_transport,
        stream_above=lab.sip_stream_above,
    )
    made = Scene(lab, core, station, Cell(station), remote)
    for role, nf in core.nfs.items():
        nf.node.tap = _tap(made.spoken.setdefault(role, []))
    async with core:
        try:
            await station.start()
            await remote.start()
            made.media_socket = await UdpTransport.bind(lab.places.address(Role.REMOTE), 49000, made.voice)
            yield made
        finally:
            for device in made.devices:
                device.stop()
            remote.stop()
            station.stop()
            if made.media_socket is not None:
                made.media_socket.close()


def _tap(names: list[str]) -> Callable[[Received | Send], None]:
    def tapped(event: Received | Send) -> None:
        if isinstance(event, Send):
            message = event.message
            if isinstance(message, sip.Message):
                names.append(sip.summarise(message).name)
            elif isinstance(message, diameter.Message):
                names.append(diameter.summarise(message).name)
            else:
                names.append(message.name)

    return tapped


Play = Callable[..., None]  # a coroutine function on a scene; by name, changes of the lab's network


@pytest.fixture(scope="session")
def sctp_transport() -> SctpTransport:
    """Whatever SCTP this machine has; without any the test is skipped, loudly."""
    try:
        return choose().transport
    except ConfigError as error:
        pytest.skip(f"the lab's procedures are NOT tested on sockets: {error}")


@pytest.fixture
def play(sctp_transport: SctpTransport) -> Iterator[Play]:
    """Plays a coroutine function on a scene of its own, within 20 seconds; by name, changes of the lab's network."""

    def run(act: Callable[[Scene], Awaitable[None]], **changes: Any) -> None:
        async def whole() -> None:
            async with asyncio.timeout(20), scene(sctp_transport, **changes) as made:
                await act(made)

        asyncio.run(whole())

    yield run


PREFIX = "fd7f:fe77:e7::/48"  # of the lab where it has IPv6 (RFC 4193)
EDGE_PREFIX = "fd7f:fe77:e7:ed::/64"  # of an edge whose CSCFs have IPv6
UES = 6


@pytest.fixture(scope="session")
def with_ipv6() -> Iterator[Places]:
    """The lab's places with IPv6; the machine has these addresses for as long."""
    places = Places.with_ipv6("127.0.140.0/24", PREFIX)
    pool = IPv6Network(places.ipv6_pools["ims"])
    # The PGW draws /64s from the third on, and gives UEs this interface identifier.
    addresses = [str(IPv6Address(int(pool[0]) + (place << 64) + 1)) for place in range(2, 2 + UES)]
    addresses += [one for one in places.addresses.values() if ":" in one]
    addresses += [Site.of("127.0.10.0/24", EDGE_PREFIX).sip_address(role) for role in (Role.PCSCF, Role.SCSCF)]
    if not shutil.which("ip"):
        pytest.skip("SKIPPED LOUDLY: IPv6 is NOT tested: the command ip is missing (Debian package iproute2)")
    for address in addresses:
        made = _ip("replace", address)
        if made.returncode:
            pytest.skip(f"SKIPPED LOUDLY: IPv6 is NOT tested: {made.stderr.strip()}")
    yield places
    for address in addresses:
        _ip("del", address)


def _ip(verb: str, address: str) -> subprocess.CompletedProcess[str]:
    command = ["ip", "-6", "addr", verb, f"{address}/128", "dev", "lo", *(["nodad"] if verb == "replace" else [])]
    return subprocess.run(command, capture_output=True, text=True)


# Live agents.


class Recorded:
    """What came of a live recording."""

    capture: Capture
    accounts: list[AgentCounters]


@asynccontextmanager
async def recorded_live(scene: Scene) -> AsyncIterator[Recorded]:
    """An agent beside each NF of the core, and a recorder at the end of the queue. Complete after the block."""
    loop, stopping, result = asyncio.get_running_loop(), asyncio.Event(), Recorded()
    with ExitStack() as stack:
        queue = stack.enter_context(PosixQueue.create(f"/ferret-test-{os.getpid()}-{secrets.token_hex(4)}"))
        agents = [
            LiveAgent(AgentConfig(("lo",), scene.lab.places.addresses_of(role)), queue) for role in sorted(CORE_ROLES)
        ]
        for agent in agents:
            stack.callback(agent.close)
            try:
                agent.start(loop)
            except ConfigError as error:
                pytest.skip(f"SKIPPED LOUDLY: live agents are NOT tested: {error}")
        collecting = asyncio.create_task(collect(queue, stopping))
        yield result
        result.accounts = [await agent.stop() for agent in agents]
        stopping.set()
        result.capture = record_messages(await collecting)


RecordLive = Callable[[Scene], AbstractAsyncContextManager[Recorded]]


@pytest.fixture
def record_live() -> RecordLive:
    """Records what the core of a scene says, by an agent beside each of its NFs."""
    return recorded_live


@pytest.fixture
def edge_prefix(with_ipv6: Places) -> str:
    """The /64 of an edge whose CSCFs have IPv6 on this machine."""
    return EDGE_PREFIX
