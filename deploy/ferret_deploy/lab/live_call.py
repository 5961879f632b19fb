"""Live calls on the lab: set up by the core, recorded by agents on the wire, moved to the edge in mid-call, and back.

What is told here is measured: from packets, or from what FERRET's controller reports.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Final

from ferret.errors import FerretError, LocalMisuseError
from ferret.fallback.messages import Answer, Answered, CommandFailed, HoldCall, Reconfigure, ReplayRecording, ResumeCall
from ferret.fallback.report import FallbackReport
from ferret.fallback.states import TO_THE_EDGE, State
from ferret.records.message import Role
from ferret.records.recorder import Capture
from ferret.replay.verdict import RecordingResult
from ferret_agents.live.counters import AgentCounters
from ferret_agents.live_recording import record_messages
from ferret_core.driver.user_agent import UserAgentDriver
from ferret_core.ua import Ended, Established, Held, MediaSession, NotRegistered, Resumed, Ringing, UaEvent
from ferret_core.ua.packets import Datagram
from ferret_deploy.lab.live_network import LiveDevice
from ferret_deploy.lab.live_scene import PARTY, Account, Scene, live_scene, switched_on
from ferret_deploy.lab.places import Places
from ferret_deploy.lab.voice_driver import DeviceVoice, RemoteVoice, VoiceEnd
from ferret_deploy.lab.voice_figures import longest_gap
from ferret_deploy.lab.voice_totals import VoiceTotals

_ON_ITS_WAY: Final = 0.2  # s after which no packet of voice comes any more
_CALLS_OF_A_LIFE: Final = 10
"""Then the device attaches anew: a NAS COUNT that overflows (TS 24.301 clause 4.4.3.1) in calls that are not recorded
any more, between the attach and the call that is moved, would not be noticed."""
_PATIENCE: Final = 8.0  # s until a call is at the edge, or back from it


@dataclass(slots=True)
class LiveCall:
    """One call. Times in seconds."""

    setup: float | None = None  # from the INVITE until both parties have an established call
    arrived_at: float = 0.0  # at the edge, monotonic
    report: FallbackReport | None = None  # as it ended
    results: list[RecordingResult] = field(default_factory=list)
    killed: str = ""  # the edge NF that was killed while they talked over the edge
    killed_at: float = 0.0  # monotonic
    saved_at: float = 0.0  # over the core again, monotonic
    over_at_ns: int = 0  # since the epoch
    failure: str = ""  # what went wrong in the lab itself

    @property
    def replayed(self) -> RecordingResult | None:
        """The replay that counts."""
        return self.results[-1] if self.results else None

    def phase(self, *states: State) -> float | None:
        """How long the fallback was in these states; None where it has not been at the edge."""
        if self.report is None or not self.report.reached_edge:
            return None
        return sum(self.report.phases_ms.get(state, 0.0) for state in states) / 1000

    @property
    def reached_edge(self) -> bool:
        """Whether the call ran over the edge."""
        return self.report is not None and self.report.reached_edge

    @property
    def returned(self) -> bool:
        """Whether everything was as before afterwards."""
        return self.report is not None and self.reached_edge and self.report.state.final and not self.report.left_behind

    @property
    def why_failed(self) -> str:
        """Why this call is none that FERRET moved and brought back as it should; "" if it did."""
        if self.failure:
            return self.failure
        if self.report is None:
            return "FERRET has not seen the call"
        if self.killed and self.report.state is not State.ON_CORE:
            return f"the edge {self.killed} died, and it did not go on over the core"
        if not self.reached_edge or (self.report.failed and not self.killed):
            return self.report.reason or "it never ran over the edge"
        return "" if self.returned else f"left behind: {', '.join(self.report.left_behind)}"


@dataclass(slots=True)
class Demonstration:
    """What was measured. Times in seconds."""

    attach: float = 0.0
    registration: float = 0.0
    calls: list[LiveCall] = field(default_factory=list)
    voice: VoiceTotals = field(default_factory=VoiceTotals)
    gaps_at_failure: list[float] = field(default_factory=list)  # without voice, when an edge NF was killed
    accounts: tuple[AgentCounters, ...] = ()
    leftovers: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # in any NF, after the detach
    capture: Capture | None = None  # what the core's agents have seen
    edge: frozenset[str] = frozenset()  # addresses of edge NFs
    edge_capture: Capture | None = None  # what the edge's agent has seen

    @property
    def failed(self) -> int:
        """Calls that were not moved to the edge and back as they should."""
        return sum(bool(one.why_failed) for one in self.calls)


async def play(
    places: Places, *, calls: int, talk: float, kill: Role | None = None, seed: int = 0, tell: Callable[[str], None]
) -> Demonstration:
    """Calls one after the other, each with voice for `talk` seconds on the core and as long at the edge.

    `kill`: the edge NF of this role dies in the last call, while they talk over the edge.

    `tell` gets what happens, in words. Raises TransportError and ConfigError where sockets cannot be opened. A call
    that goes wrong is one that failed; the next one begins with a device that attaches anew.
    """
    result, account = Demonstration(), Account()
    story = _Story(result, talk, tell)
    services = switched_on(after_ms=round(1000 * talk))
    scene = live_scene(places, account, services=services, seed=seed, told=story.reported, happened=story.happened)
    async with scene as running:
        story.scene = running
        await story.play(calls, kill)
        with contextlib.suppress(TimeoutError):  # what is left is told
            await running.core.until(lambda: not running.core.leftovers(), within=2.0)
        at_edge = {f"edge {role}": kinds for role, kinds in running.edge.leftovers().items()}
        result.leftovers = {**running.core.leftovers(), **at_edge}
    result.accounts = account.counters
    result.capture = record_messages(account.core)
    result.edge = frozenset(running.edge.site.addresses())
    result.edge_capture = record_messages(account.edge)
    return result


class _Story:
    """One demonstration as it goes on."""

    def __init__(self, result: Demonstration, talk: float, tell: Callable[[str], None]) -> None:
        self.scene: Scene | None = None
        self._result = result
        self._talk = talk
        self._tell = tell
        self._current: LiveCall | None = None
        self._arrived = asyncio.Event()  # the call is at the edge, or will not be

    async def play(self, calls: int, kill: Role | None) -> None:
        """All of them; the device attaches anew every so many calls, and where something went wrong."""
        live: LiveDevice | None = None
        for number in range(1, calls + 1):
            self._tell(f"Call {number} of {calls}, to {PARTY}.")
            call = self._current = LiveCall()
            self._result.calls.append(call)
            try:
                if live is None:
                    live = await self._attached()
                kills = kill if number == calls else None
                await self._call(live, call, hangs_up="device" if number % 2 else "party", kills=kills)
                if number % _CALLS_OF_A_LIFE == 0 or number == calls:
                    await self._leave(live)
                    live = None
            except (TimeoutError, FerretError) as error:
                call.failure = call.failure or f"{error}" or "somebody did not answer in time"
                self._tell(f"  Failed: {call.failure}.")
                await self._drop(live)
                live = None
        self._tell("The device has left.")

    # What FERRET tells.

    def reported(self, report: FallbackReport, results: list[RecordingResult]) -> None:
        """The call has arrived at the edge, or its fallback is over."""
        call = self._current
        if call is None:
            return
        call.report, call.results = report, list(results)
        if report.state is State.AT_EDGE:
            call.arrived_at = time.monotonic()
            self._tell(
                f"  It runs over the edge, {_ms(call.phase(State.REPLAYING, State.RECONFIGURING))} after the hold."
            )
        elif report.reached_edge:
            self._tell(f"  Everything is back on the core after {report.phases_ms.get(State.RETURNING, 0.0):.0f} ms.")
        else:
            self._tell(f"  It stays on the core: {report.reason}.")
        self._arrived.set()

    def happened(self, command: Answered, answer: Answer | None) -> None:
        """FERRET has something done, or it is done."""
        if isinstance(answer, CommandFailed):
            self._tell(f"    {_COMMANDS.get(type(command), 'A command')} was refused: {answer.reason}.")
        elif answer is not None and type(command) in _DONE:
            self._tell(f"    {_DONE[type(command)]}")

    # The device.

    async def _attached(self) -> LiveDevice:
        started = time.monotonic()
        async with _named("the device could not attach"):
            live = await self._scene().device()
        self._result.attach = live.attached_in
        self._result.registration = live.registered_in
        self._tell(
            f"  The device has attached in {_ms(live.attached_in)} and registered in {_ms(live.registered_in)} "
            f"({_ms(time.monotonic() - started)} with its ims connection)."
        )
        return live

    async def _leave(self, live: LiveDevice) -> None:
        async with _named("the device could not leave"):
            await self._deregistered(live)
            await self._detached(live)

    async def _deregistered(self, live: LiveDevice) -> None:
        live.agent().deregister()
        await live.agent().wait_for(NotRegistered)

    async def _detached(self, live: LiveDevice) -> None:
        """Left, and nothing of it is on its way any more when the next one comes."""
        await live.device.detach()
        core = self._scene().core
        await core.until(lambda: not core.leftovers(), within=2.0)

    async def _drop(self, live: LiveDevice | None) -> None:
        """Whatever state it is in, it leaves, and the party has no call any more."""
        agents: list[UserAgentDriver] = [self._scene().party]
        if live is not None and live.device.sip is not None:
            agents.append(live.device.sip)
        for agent in agents:
            for name in list(agent.agent.calls):
                with contextlib.suppress(LocalMisuseError):
                    agent.hang_up(name)
        with contextlib.suppress(TimeoutError):
            await self._scene().idle()
        if live is not None:
            for leave in (self._deregistered, self._detached):
                with contextlib.suppress(TimeoutError, FerretError):
                    await leave(live)
            live.device.stop()

    # One call.

    async def _call(self, live: LiveDevice, call: LiveCall, *, hangs_up: str, kills: Role | None) -> None:
        """Call, talk while FERRET moves the call, hang up, and wait until everything is back."""
        scene, agent = self._scene(), live.agent()
        self._arrived.clear()
        started = time.monotonic()
        async with _named("the call was not set up"):
            live.call = agent.call(PARTY)
            await scene.party.wait_for(Ringing, lambda event: event.call == live.call)
            scene.party.answer(live.call)
            media = (await agent.wait_for(Established)).media
            call.setup = time.monotonic() - started
            await scene.party.wait_for(Established)
        self._tell(f"  It stands after {_ms(call.setup)}. They talk for {self._talk:g} s over the core.")
        with _voice(scene, live, media) as (voice, remote):
            async with _named("the call did not come to the edge"), asyncio.timeout(self._talk + _PATIENCE):
                await self._arrived.wait()
            self._arrived.clear()
            if call.reached_edge:
                self._tell(f"  They talk for {self._talk:g} s over the edge.")
            await asyncio.sleep(self._talk)
            if kills is not None and call.reached_edge:
                await self._kill(call, kills)
            voice.end.hush()
            remote.end.hush()
            await asyncio.sleep(_ON_ITS_WAY)
        self._count_voice(call, voice, remote)
        async with _named("the call did not end"):
            await self._hang_up(live, hangs_up)
        async with _named("the call did not come back"):
            await scene.idle(within=_PATIENCE)
        call.over_at_ns = time.time_ns()

    def _count_voice(self, call: LiveCall, voice: DeviceVoice, remote: RemoteVoice) -> None:
        fallback = call.phase(*TO_THE_EDGE)
        moves = [] if fallback is None else [(call.arrived_at - fallback, call.arrived_at + _ON_ITS_WAY)]
        without_edge = (call.killed_at, call.saved_at + _ON_ITS_WAY)
        for source, sink in ((voice.end.source, remote.end.sink), (remote.end.source, voice.end.sink)):
            self._result.voice.add(source, sink, moves, excused=[without_edge] if call.killed else [])
            if call.killed:
                self._result.gaps_at_failure.append(longest_gap(sink.heard, within=without_edge))

    async def _kill(self, call: LiveCall, role: Role) -> None:
        """An edge NF dies; they talk on."""
        scene = self._scene()
        call.killed, call.killed_at = str(role), time.monotonic()
        self._tell(f"  The edge's {role} is killed.")
        await scene.edge.nfs[role].stop()
        async with _named("the call did not come back"), asyncio.timeout(_PATIENCE):
            await self._arrived.wait()
        call.saved_at = time.monotonic()
        self._tell(f"  {_ms(call.saved_at - call.killed_at)} later they talk over the core again.")
        await asyncio.sleep(self._talk)
        await scene.edge_restarted()

    async def _hang_up(self, live: LiveDevice, who: str) -> None:
        ends: tuple[UserAgentDriver, ...] = (live.agent(), self._scene().party)
        first, second = ends if who == "device" else ends[::-1]
        first.hang_up(live.call)
        await second.wait_for(Ended)
        await first.wait_for(Ended)
        self._tell(f"  The {who} hangs up.")

    def _scene(self) -> Scene:
        if self.scene is None:
            raise TimeoutError("the network is not there")
        return self.scene


_COMMANDS: Final = {
    HoldCall: "The hold",
    ReplayRecording: "The replay",
    Reconfigure: "The move",
    ResumeCall: "The resume",
}
_DONE: Final = {
    HoldCall: "The call is on hold, through the core's IMS.",
    ReplayRecording: "The recording is replayed at the edge and checked.",
    Reconfigure: "Base station and device have moved to the edge.",
    ResumeCall: "The call is resumed.",
}


@contextlib.asynccontextmanager
async def _named(what: str) -> AsyncIterator[None]:
    """A time-out says what did not happen."""
    try:
        yield
    except TimeoutError:
        raise TimeoutError(what) from None


@contextmanager
def _voice(scene: Scene, live: LiveDevice, media: MediaSession) -> Iterator[tuple[DeviceVoice, RemoteVoice]]:
    """Both parties talk, except while the call is on hold."""
    local = (media.local_address, media.local_port)
    with scene.places["internet"].inside():
        remote = RemoteVoice.open(
            "party", Random(4), media.remote_address, port=media.remote_port, path=lambda: live.downlink
        )
    voice = DeviceVoice(
        "device",
        Random(5),
        local=local,
        remote=remote.local,
        send=live.device.send,
        path=lambda: scene.network.uplink(live.imsi),
    )
    remote.remote = local

    def arrived(datagram: Datagram, ebi: int, at: float) -> None:
        voice.take(datagram, at)

    live.device.media = arrived
    live.agent().told, scene.party.told = _silenced(voice.end), _silenced(remote.end)
    voice.end.talk()
    remote.end.talk()
    try:
        yield voice, remote
    finally:
        live.device.media = None
        scene.party.told = None
        if live.device.sip is not None:
            live.device.sip.told = None
        voice.end.stop()
        remote.stop()


def _silenced(end: VoiceEnd) -> Callable[[UaEvent], None]:
    """On hold nobody talks."""

    def told(event: UaEvent) -> None:
        if isinstance(event, Held):
            end.hush()
        elif isinstance(event, Resumed):
            end.talk()

    return told


def _ms(seconds: float | None) -> str:
    return "–" if seconds is None else f"{1000 * seconds:.0f} ms"
