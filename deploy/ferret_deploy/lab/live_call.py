"""A live call on the lab: the core sets it up, agents record it on the wire, and the recording is replayed at the edge.

Core, edge, base station and internet are places apart; between base station, core and internet is the WAN. The device
and the base station are emulations that speak the real protocols. The live call itself stays on the core: what moves to
the edge is the emulated device that the replay puts in its place.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Final

from ferret.errors import ConfigError
from ferret.queue import MessageQueue
from ferret.records.message import Role
from ferret.records.recorder import Capture
from ferret.replay.rules import load_rules
from ferret.replay.verdict import ReplayResult
from ferret_agents.live.agent import AgentConfig, LiveAgent
from ferret_agents.live.counters import AgentCounters
from ferret_agents.live_recording import collect, record_messages
from ferret_agents.pipeline import private_queue
from ferret_core.driver.configuration import LabNetwork
from ferret_core.driver.core_set import CoreSet
from ferret_core.driver.device import Cell, Device
from ferret_core.driver.places import CORE_ROLES
from ferret_core.driver.places import Places as Addresses
from ferret_core.driver.ports import S1AP_PORT
from ferret_core.driver.user_agent import RemoteParty, UserAgentDriver
from ferret_core.enb import Enb
from ferret_core.enb.driver import EnbDriver
from ferret_core.ua import Ended, Established, NotRegistered, Registered, Ringing
from ferret_core.ua.packets import Datagram
from ferret_deploy.lab.delay_line import Impairment
from ferret_deploy.lab.places import WAN_INTERFACE, Place, PlaceConfig, Places
from ferret_deploy.lab.sgi import SgiNetwork
from ferret_deploy.lab.voice_driver import DeviceVoice, RemoteVoice
from ferret_deploy.lab.voice_totals import VoiceTotals
from ferret_deploy.replay_run import ReplayOptions, replay

PARTY: Final = "sip:bob@remote.example"
_MEDIA_PORT: Final = 49000
_ON_ITS_WAY: Final = 1.0  # s after which no packet of voice comes any more
_EDGE_NETWORK: Final = "10.20.0.0/24"
CONFIGS: Final = (
    PlaceConfig("core", ("10.10.0.0/24",), ("10.45.0.0/16",)),
    PlaceConfig("edge", (_EDGE_NETWORK,)),
    PlaceConfig("site", ("10.30.0.0/24",)),
    PlaceConfig("internet", ("198.51.100.0/24",)),
)
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


def wan_links(way: Impairment) -> dict[tuple[str, str], Impairment]:
    """The WAN between the core and what is far from it: base station and internet."""
    return {pair: way for far in ("site", "internet") for pair in ((far, "core"), ("core", far))}


@dataclass(slots=True)
class LiveCall:
    """What was measured. Times in seconds."""

    attach: float = 0.0
    registration: float = 0.0
    setup: float = 0.0  # from the INVITE until both parties have an established call
    voice: VoiceTotals | None = None
    accounts: tuple[AgentCounters, ...] = ()
    leftovers: Mapping[str, Mapping[str, int]] | None = None  # of the call and the device in the core's NFs
    capture: Capture | None = None
    replayed: ReplayResult | None = None


async def play(places: Places, *, talk: float, seed: int = 0, tell: Callable[[str], None]) -> LiveCall:
    """One call of `talk` seconds of voice, recorded by agents. `tell` gets what happens, in words.

    Raises TimeoutError where somebody does not answer; TransportError and ConfigError where sockets cannot be opened.
    """
    result = LiveCall()
    lab = _network(places)
    async with _recorded(places, lab, result), _played(places, lab, seed) as scene:
        await _life(scene, result, talk, tell)
        with contextlib.suppress(TimeoutError):  # what is left is told
            await scene.core.until(lambda: not scene.core.leftovers())
        result.leftovers = scene.core.leftovers()
    return result


async def replay_call(places: Places, call: LiveCall, *, seed: int = 0) -> None:
    """Replay what was recorded of the call at edge NFs in the edge's place; the result goes into `call`."""
    if call.capture is None:
        return
    calls = [one for one in call.capture.recordings if one.service == "volte"]
    with private_queue("replay") as queue:
        options = ReplayOptions(load_rules(None), network=_EDGE_NETWORK, seed=seed)
        call.replayed = await places["edge"].run(replay(calls, call.capture.messages, queue, options))


@dataclass(frozen=True, slots=True)
class _Scene:
    core: CoreSet
    device: Device
    party: RemoteParty
    internet: Place


def _network(places: Places) -> LabNetwork:
    addresses = {role: places["core"].address(host) for role, host in _HOSTS.items()}
    addresses |= {Role.ENB: places["site"].address(30), Role.REMOTE: places["internet"].address(90)}
    return LabNetwork(Addresses(addresses, {"internet": "10.45.1.0/24", "ims": "10.45.2.0/24"}))


@asynccontextmanager
async def _recorded(places: Places, lab: LabNetwork, result: LiveCall) -> AsyncIterator[None]:
    """An agent beside each NF of the core; account and recordings are in `result` when the block is over."""
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    async with AsyncExitStack() as stack:
        queue: MessageQueue = stack.enter_context(private_queue("live"))
        agents = []
        for role in CORE_ROLES:
            agent = LiveAgent(AgentConfig(("lo", WAN_INTERFACE), (lab.places.address(role),)), queue)
            stack.callback(agent.close)
            with places["core"].inside():
                agent.open()
            agent.start(loop)
            agents.append(agent)
        collecting = asyncio.create_task(collect(queue, stopping))
        try:
            yield
        finally:
            result.accounts = tuple([await agent.stop() for agent in agents])
            stopping.set()
            result.capture = record_messages(await collecting)


@asynccontextmanager
async def _played(places: Places, lab: LabNetwork, seed: int) -> AsyncIterator[_Scene]:
    """The core at work, with a base station, a device and a remote party."""
    core = CoreSet(lab, network=SgiNetwork(places["core"]), random=lambda role: Random(f"{seed}/{role}"))
    mme, station = lab.places.address(Role.MME), lab.places.address(Role.ENB)
    enb = Enb(address=station, random=Random(seed + 1), mme=mme, plmn=lab.plmn, tac=lab.tac)
    driver = EnbDriver(enb, mme=(mme, S1AP_PORT))
    address, proxy = lab.sip_address(Role.REMOTE), lab.sip_address(Role.ICSCF)
    party = RemoteParty(PARTY, address, proxy, Random(seed + 2), media_port=_MEDIA_PORT)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(core.stop)
        await places["core"].run(core.start())
        stack.callback(party.stop)
        await places["internet"].run(party.start())
        stack.callback(driver.stop)
        await places["site"].run(driver.start())
        device = Device(Cell(driver), lab, lab.subscribers[0], Random(seed + 3))
        stack.callback(device.stop)
        yield _Scene(core, device, party, places["internet"])


async def _life(scene: _Scene, result: LiveCall, talk: float, tell: Callable[[str], None]) -> None:
    """Attach, register, call, talk, hang up, leave."""
    started = time.monotonic()
    await scene.device.attach()
    result.attach = time.monotonic() - started
    tell(f"The device has attached in {1000 * result.attach:.0f} ms.")
    await scene.device.connect_ims()
    agent, party = scene.device.sip, scene.party
    if agent is None:
        raise ConfigError("the core told the device of no P-CSCF")
    started = time.monotonic()
    agent.register()
    await agent.wait_for(Registered)
    result.registration = time.monotonic() - started
    tell(f"It has registered in {1000 * result.registration:.0f} ms, and calls {PARTY}.")
    await _call(scene, agent, party, result, talk, tell)
    agent.deregister()
    await agent.wait_for(NotRegistered)
    await scene.device.detach()
    tell("They hang up, and the device leaves.")


async def _call(
    scene: _Scene,
    agent: UserAgentDriver,
    party: RemoteParty,
    result: LiveCall,
    talk: float,
    tell: Callable[[str], None],
) -> None:
    started = time.monotonic()
    name = agent.call(PARTY)
    await party.wait_for(Ringing)
    party.answer(name)
    media = (await agent.wait_for(Established)).media
    result.setup = time.monotonic() - started
    await party.wait_for(Established)
    tell(f"The call stands after {1000 * result.setup:.0f} ms. They talk for {talk:g} s.")
    with scene.internet.inside():
        remote = RemoteVoice.open("party", Random(4), media.remote_address, port=media.remote_port)
    local = (media.local_address, media.local_port)
    voice = DeviceVoice("device", Random(5), local=local, remote=remote.local, send=scene.device.send, path=_core)
    remote.remote = local
    await _talk(scene.device, voice, remote, talk)
    result.voice = VoiceTotals()
    for source, sink in ((voice.end.source, remote.end.sink), (remote.end.source, voice.end.sink)):
        result.voice.add(source, sink)
    agent.hang_up(name)
    await party.wait_for(Ended)
    await agent.wait_for(Ended)


async def _talk(device: Device, voice: DeviceVoice, remote: RemoteVoice, seconds: float) -> None:
    """Both speak for so long, and hear what is still on its way."""

    def arrived(datagram: Datagram, ebi: int, at: float) -> None:
        voice.take(datagram, at, path="core")

    device.media = arrived
    voice.end.talk()
    remote.end.talk()
    await asyncio.sleep(seconds)
    voice.end.hush()
    remote.end.hush()
    await asyncio.sleep(_ON_ITS_WAY)
    voice.end.stop()
    remote.stop()


def _core() -> str:
    return "core"
