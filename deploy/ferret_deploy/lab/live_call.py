"""A live call on the lab: set up by the core, recorded by agents on the wire, moved to the edge in mid-call, and back.

Core, edge, base station and internet are places apart; between the core and the others is the WAN. Device, base station
and remote party are emulations that speak the real protocols; everything that is reported is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Final

from ferret.errors import ConfigError, FerretError
from ferret.queue import MessageQueue
from ferret.records.message import CapturedMessage, Role
from ferret.records.recorder import Capture
from ferret.replay.verdict import RecordingResult, Verdict
from ferret_agents.collector import Collector
from ferret_agents.live.agent import AgentConfig, LiveAgent
from ferret_agents.live.counters import AgentCounters
from ferret_agents.live_recording import record_messages
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
from ferret_core.ua import Ended, Established, MediaSession, NotRegistered, Registered, Ringing
from ferret_core.ua.packets import Datagram
from ferret_deploy.lab.delay_line import Impairment
from ferret_deploy.lab.live_move import LiveMove, edge_beside
from ferret_deploy.lab.places import WAN_INTERFACE, PlaceConfig, Places
from ferret_deploy.lab.sgi import SgiNetwork
from ferret_deploy.lab.voice_driver import DeviceVoice, RemoteVoice
from ferret_deploy.lab.voice_totals import VoiceTotals

PARTY: Final = "sip:bob@remote.example"
_MEDIA_PORT: Final = 49000
_ON_ITS_WAY: Final = 1.0  # s after which no packet of voice comes any more
_CALLS_OF_A_LIFE: Final = 2
"""Then the device attaches anew, and recordings begin with that: looking into a longer one takes longer, and a NAS
COUNT that overflows (TS 24.301 clause 4.4.3.1) between attach and the call that is moved would not be noticed."""
_EDGE_NETWORK: Final = "10.20.0.0/24"
CONFIGS: Final = (
    PlaceConfig("core", ("10.10.0.0/24",), ("10.45.0.0/16",)),
    PlaceConfig("edge", (_EDGE_NETWORK,), ("10.46.0.0/16",)),
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
    """The WAN between the core and what is far from it: base station, edge and internet."""
    return {pair: way for far in ("site", "edge", "internet") for pair in ((far, "core"), ("core", far))}


@dataclass(slots=True)
class LiveCall:
    """One call. Times in seconds."""

    setup: float = 0.0  # from the INVITE until both parties have an established call
    fallback: float | None = None  # from the look into the recording until base station and device had moved
    back: float | None = None  # from the order until they were back
    replayed: RecordingResult | None = None
    failure: str = ""  # why the call was not moved, or did not come back; it went on over the core


@dataclass(slots=True)
class Demonstration:
    """What was measured. Times in seconds."""

    attach: float = 0.0
    registration: float = 0.0
    calls: list[LiveCall] = field(default_factory=list)
    voice: VoiceTotals = field(default_factory=VoiceTotals)
    accounts: tuple[AgentCounters, ...] = ()
    leftovers: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # in the core's NFs, after the detach
    capture: Capture | None = None

    @property
    def failed(self) -> int:
        """Calls that were not moved to the edge and back, or for which the edge made something else."""
        return sum(
            bool(one.failure) or one.replayed is None or one.replayed.verdict is not Verdict.SAME for one in self.calls
        )


async def play(places: Places, *, calls: int, talk: float, seed: int = 0, tell: Callable[[str], None]) -> Demonstration:
    """Calls one after the other, each with voice for `talk` seconds on the core and as long at the edge.

    `tell` gets what happens, in words. Raises TimeoutError where somebody does not answer; TransportError and
    ConfigError where sockets cannot be opened.
    """
    result = Demonstration()
    lab = lab_network(places)
    async with _recorded(places, lab, result) as messages, _played(places, lab, seed) as scene:
        scene.messages = messages
        await _life(scene, result, calls, talk, tell)
        with contextlib.suppress(TimeoutError):  # what is left is told
            await scene.core.until(lambda: not scene.core.leftovers())
        result.leftovers = scene.core.leftovers()
    return result


@dataclass(slots=True)
class _Scene:
    places: Places
    core: CoreSet
    station: EnbDriver
    device: Device
    party: RemoteParty
    seed: int
    messages: Sequence[CapturedMessage] = ()  # what the agents have seen so far
    own: list[tuple[int, int]] = field(default_factory=list)  # ns since the epoch: when the core did what we asked for
    prelude: int = 0  # how many messages there were before any device attached (S1 Setup, Diameter connections)
    begun: int = 0  # and when the device attached last
    downlink: str = "core"  # over what the remote party's packets go

    def begin(self) -> None:
        """The device is about to attach: recordings begin here."""
        self.begun = len(self.messages)
        self.prelude = self.prelude or self.begun

    def recorded(self) -> tuple[CapturedMessage, ...]:
        """What belongs to the device's services since it attached: not what FERRET itself had the core do."""
        seen = (*self.messages[: self.prelude], *self.messages[self.begun :])
        return tuple(one for one in seen if not any(start <= one.captured_at_ns <= end for start, end in self.own))

    def uplink(self) -> str:
        """Over what the device's packets go."""
        ends = self.station.enb.uplink_ends(self.device.ue.imsi).values()
        core = self.core.lab.places.address(Role.SGW)
        return "core" if all(end.address == core for end in ends) else "edge"


def lab_network(places: Places) -> LabNetwork:
    """The addresses of the core, the base station and the remote party, each in its place."""
    addresses = {role: places["core"].address(host) for role, host in _HOSTS.items()}
    addresses |= {Role.ENB: places["site"].address(30), Role.REMOTE: places["internet"].address(90)}
    return LabNetwork(Addresses(addresses, {"internet": "10.45.1.0/24", "ims": "10.45.2.0/24"}))


@asynccontextmanager
async def _recorded(places: Places, lab: LabNetwork, result: Demonstration) -> AsyncIterator[Sequence[CapturedMessage]]:
    """An agent beside each NF of the core; account and recordings are in `result` when the block is over.

    Yields the messages so far, which grow.
    """
    loop = asyncio.get_running_loop()
    messages: list[CapturedMessage] = []
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
        collector = Collector(queue, messages.append)
        collector.start(loop)
        try:
            yield messages
        finally:
            result.accounts = tuple([await agent.stop() for agent in agents])
            collector.stop()
            result.capture = record_messages(messages)


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
        yield _Scene(places, core, driver, device, party, seed)


async def _life(scene: _Scene, result: Demonstration, calls: int, talk: float, tell: Callable[[str], None]) -> None:
    """Attach, register, call and hang up again, leave; and so on."""
    for first in range(1, calls + 1, _CALLS_OF_A_LIFE):
        scene.begin()
        await _attached(scene, result, range(first, min(first + _CALLS_OF_A_LIFE, calls + 1)), calls, talk, tell)


async def _attached(
    scene: _Scene, result: Demonstration, numbers: range, calls: int, talk: float, tell: Callable[[str], None]
) -> None:
    started = time.monotonic()
    await scene.device.attach()
    result.attach = time.monotonic() - started
    await scene.device.connect_ims()
    agent = scene.device.sip
    if agent is None:
        raise ConfigError("the core told the device of no P-CSCF")
    started = time.monotonic()
    agent.register()
    await agent.wait_for(Registered)
    result.registration = time.monotonic() - started
    tell(f"The device has attached in {_ms(result.attach)} and registered in {_ms(result.registration)}.")
    for number in numbers:
        tell(f"Call {number} of {calls}, to {PARTY}.")
        call = LiveCall()
        result.calls.append(call)
        async with _edge(scene) as move:
            await _call(scene, agent, move, result, call, talk, tell)
    agent.deregister()
    await agent.wait_for(NotRegistered)
    await scene.device.detach()
    tell("The device has left.")


@asynccontextmanager
async def _edge(scene: _Scene) -> AsyncIterator[LiveMove]:
    """Fresh edge NFs, with which the base station has an association."""
    edge, packets = scene.places["edge"], SgiNetwork(scene.places["edge"])
    async with AsyncExitStack() as stack:
        beside = edge_beside(scene.core, scene.station, network=_EDGE_NETWORK, packets=packets, seed=scene.seed)
        move = await edge.run(stack.enter_async_context(beside))
        await scene.places["site"].run(move.edge_side.start(user_plane=False))
        yield move


async def _call(
    scene: _Scene,
    agent: UserAgentDriver,
    move: LiveMove,
    result: Demonstration,
    call: LiveCall,
    talk: float,
    tell: Callable[[str], None],
) -> None:
    """Call, talk, have the call moved and brought back, hang up."""
    started = time.monotonic()
    name = agent.call(PARTY)
    await scene.party.wait_for(Ringing)
    scene.party.answer(name)
    media = (await agent.wait_for(Established)).media
    call.setup = time.monotonic() - started
    await scene.party.wait_for(Established)
    tell(f"  It stands after {_ms(call.setup)}. They talk for {talk:g} s over the core.")
    moves: list[tuple[float, float]] = []
    with _voice(scene, media) as (voice, remote):
        await asyncio.sleep(talk)
        await _there_and_back(scene, move, call, moves, media.local_address, talk, tell)
        voice.end.hush()
        remote.end.hush()
        await asyncio.sleep(_ON_ITS_WAY)
    for source, sink in ((voice.end.source, remote.end.sink), (remote.end.source, voice.end.sink)):
        result.voice.add(source, sink, moves)
    agent.hang_up(name)
    await scene.party.wait_for(Ended)
    await agent.wait_for(Ended)
    tell("  They hang up.")


@contextmanager
def _voice(scene: _Scene, media: MediaSession) -> Iterator[tuple[DeviceVoice, RemoteVoice]]:
    """Both parties talk."""
    local = (media.local_address, media.local_port)
    with scene.places["internet"].inside():
        remote = RemoteVoice.open(
            "party", Random(4), media.remote_address, port=media.remote_port, path=lambda: scene.downlink
        )
    send = scene.device.send
    voice = DeviceVoice("device", Random(5), local=local, remote=remote.local, send=send, path=scene.uplink)
    remote.remote = local

    def arrived(datagram: Datagram, ebi: int, at: float) -> None:
        voice.take(datagram, at)

    scene.device.media = arrived
    voice.end.talk()
    remote.end.talk()
    try:
        yield voice, remote
    finally:
        voice.end.stop()
        remote.stop()


async def _there_and_back(
    scene: _Scene,
    move: LiveMove,
    call: LiveCall,
    moves: list[tuple[float, float]],
    address: str,
    talk: float,
    tell: Callable[[str], None],
) -> None:
    """Move the call that goes on to the edge, talk, and move it back. A call that cannot be moved stays on the core."""
    imsi, places = scene.device.ue.imsi, scene.places
    started = time.monotonic()
    try:
        capture = await asyncio.to_thread(record_messages, scene.recorded())
        await places["edge"].run(move.to_edge(capture, imsi))
    except FerretError as error:
        call.failure, began_ns = str(error), time.time_ns()
        await move.restore(imsi)
        tell(f"  Not moved: {error}. The call goes on over the core.")
        await asyncio.sleep(_ON_ITS_WAY)
        scene.own.append((began_ns, time.time_ns()))
        return
    finally:
        call.replayed = move.result
    places.wan.route(f"{address}/32", places["edge"].sgi_port)
    scene.downlink = "edge"
    call.fallback = time.monotonic() - started
    moves.append((started, time.monotonic()))
    tell(f"  Replayed at the edge, and moved there, in {_ms(call.fallback)}. They talk for {talk:g} s over the edge.")
    await asyncio.sleep(talk)
    started, began_ns = time.monotonic(), time.time_ns()
    await move.to_core(imsi)
    places.wan.route(f"{address}/32", None)
    scene.downlink = "core"
    call.back = time.monotonic() - started
    moves.append((started, time.monotonic()))
    tell(f"  Back on the core after {_ms(call.back)}.")
    await asyncio.sleep(_ON_ITS_WAY)
    scene.own.append((began_ns, time.time_ns()))


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"
