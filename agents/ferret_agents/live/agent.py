"""A live agent: everything that one NF sends and receives, from the interface into the host's queue.

    agent = LiveAgent(AgentConfig(("lo",), ("127.0.1.2",)), queue)
    agent.open()                 # needs CAP_NET_RAW; from here on nothing is missed
    agent.start(loop)
    ...
    counters = await agent.stop()

The NF knows nothing of it, and nothing here waits for the queue: what it has no room for waits in bounded memory, and
then on disk, and beyond that is dropped and counted.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

import structlog

from ferret.queue import MessageQueue
from ferret_agents.live.counters import AgentCounters, Lag
from ferret_agents.live.delivery import Delivery
from ferret_agents.live.filter import DEFAULT_PORTS, Wanted
from ferret_agents.live.hep import HepConfig, HepExporter
from ferret_agents.live.intake import Intake
from ferret_agents.live.interfaces import find_interfaces
from ferret_agents.live.netns import inside
from ferret_agents.live.outbox import BufferLimits, Drop
from ferret_agents.live.packets import RECEIVE_BUFFER, PacketSource, SocketSource, Take
from ferret_agents.live.pcapng_files import FilesConfig, Frame, PcapngFiles
from ferret_agents.live.ring import PERIOD_MS, RingSource
from ferret_agents.live.spill import Spill

_BATCH: Final = 256  # frames read before the event loop gets its turn
_TICK: Final = 0.1  # seconds between two looks at what waits in reassembly and at the kernel's counts
_DAMAGE_LOGGED: Final = 10  # per tick
_KINDS: Final = 200  # of ignored frames that are told apart
_HANDED_OVER: Final = 2.0  # seconds in which the kernel hands its last block over

_log = structlog.get_logger("ferret.agent")


class Capture(StrEnum):
    """How frames come from the kernel."""

    IMMEDIATE = "immediate"  # each at once, for a system call each
    BUFFERED = "buffered"  # in blocks, up to `period_ms` late, for next to nothing


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """What an agent captures, and as whom."""

    interfaces: tuple[str, ...]
    addresses: tuple[str, ...]  # the NF's; none: everything on the interfaces
    ports: tuple[int, ...] = DEFAULT_PORTS  # none: any
    mirrored: bool = False  # the interfaces are mirror ports: others' packets, also inside VXLAN, GRE and ERSPAN
    name: str = ""  # by default the first address: what the recorder knows the NF by
    buffer: BufferLimits = field(default_factory=BufferLimits)
    receive_buffer: int = RECEIVE_BUFFER  # octets asked of the kernel; of the ring, when buffered
    capture: Capture = Capture.IMMEDIATE
    period_ms: int = PERIOD_MS  # buffered: how late a frame may be
    netns: str = ""  # network namespace to open the socket in: a path, such as /proc/PID/ns/net, or a name of ip netns
    filter: str = ""  # the user's own, in pcap-filter(7)'s language, beside addresses and ports
    fanout: int | None = None  # sockets of this number share the frames
    process: int = 0  # which of those that share, from 0: told apart by the epoch
    spill_directory: Path | None = None  # where messages wait when memory is used up
    spill_octets: int = 256 << 20
    files: FilesConfig | None = None  # also write frames to pcapng files
    hep: HepConfig | None = None  # also send messages to HOMER

    @property
    def agent(self) -> str:
        """The name that its messages bear."""
        if self.name or not self.addresses:
            return self.name or "+".join(self.interfaces)
        return ipaddress.ip_address(self.addresses[0]).compressed

    @property
    def wanted(self) -> Wanted:
        """What the kernel filters by. Raises ConfigError for addresses or ports that are none."""
        return Wanted(self.addresses, self.ports, self.mirrored, self.filter)


class LiveAgent:
    """Captures for one NF. Not for use by several threads."""

    def __init__(
        self,
        config: AgentConfig,
        queue: MessageQueue | None,
        *,
        reopen: Callable[[], MessageQueue] | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Raises ConfigError for addresses or ports that are none.

        `clock`: nanoseconds since the epoch, the clock that the kernel stamps frames with. `reopen` opens the queue
        where there is none yet, or anew where it was removed; what it opens is closed at the end, `queue` is not.
        """
        self.config = config
        self.lag = Lag()
        self.epoch = (clock() & ~0xFF) | (config.process & 0xFF)
        self._clock = clock
        self._wanted = config.wanted
        self._source: PacketSource | None = None
        self.intake = Intake(config.agent, config.addresses, epoch=self.epoch)
        spill = Spill(config.spill_directory, config.spill_octets) if config.spill_directory is not None else None
        self.delivery = Delivery(
            config.agent, queue, limits=config.buffer, passed=self._passed, reopen=reopen, spill=spill
        )
        self._outbox = self.delivery.outbox
        self._files = PcapngFiles(config.files, config.agent, "+".join(config.interfaces)) if config.files else None
        self._hep = HepExporter(config.hep) if config.hep else None
        self._frames: list[Frame] = []  # to be written
        self._take: Take = self._take_and_keep if self._files is not None else self.intake.take
        self._unfit = 0  # as last counted
        self._damage = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._told_loss: dict[str, int] = {}  # as last logged

    # Life

    def open(self) -> None:
        """Open the socket; frames from now on are kept for `start`. Raises ConfigError.

        It belongs to the network namespace that the thread is in now, wherever the agent runs later.
        """
        if self._source is None:
            inside(self.config.netns, self._open_here)

    def _open_here(self) -> None:
        config, interfaces = self.config, find_interfaces(self.config.interfaces)
        if config.capture is Capture.BUFFERED:
            self._source = RingSource(
                self._wanted,
                interfaces,
                ring=config.receive_buffer,
                period_ms=config.period_ms,
                fanout=config.fanout,
            )
            return
        self._source = SocketSource(
            self._wanted,
            interfaces,
            receive_buffer=config.receive_buffer,
            fanout=config.fanout,
            clock=self._clock,
        )

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Capture, in this event loop. Opens the socket if nobody has. Raises ConfigError."""
        self.open()
        self._loop = loop
        if self._source is not None:
            loop.add_reader(self._source.fileno(), self._readable)
        self.delivery.start(loop)
        self._tick()
        _log.info(
            "agent_started",
            agent=self.config.agent,
            interfaces=self.config.interfaces,
            addresses=self.config.addresses,
            ports=self.config.ports,
        )

    async def stop(self, within: float = 5.0) -> AgentCounters:
        """Take no more frames, put everything seen into the queue, waiting up to `within` seconds for room, and close.

        What the queue has not taken by then is dropped and counted. Returns the final account.
        """
        source, loop = self._source, self._loop
        if source is None or loop is None:
            self.close()
            return self.counters
        source.shut()
        loop.remove_reader(source.fileno())
        await self._read_to_the_end(source)
        self.intake.flush()
        source.finish(self.intake.lost)
        self._hand_on()
        await self.delivery.drain(within)
        self.close()
        counters = self.counters
        _log.info("agent_stopped", **_as_fields(counters))
        return counters

    async def _read_to_the_end(self, source: PacketSource) -> None:
        """What the kernel has captured, also what it has not handed over yet."""
        deadline = time.monotonic() + _HANDED_OVER
        while True:
            drained = source.read(_BATCH, self._take, self.intake.lost)
            self._hand_on()
            if drained:
                source.update()
                if not source.unread or time.monotonic() > deadline:
                    return
            await asyncio.sleep(0.001 if drained else 0)

    def close(self) -> None:
        """Let go of everything at once. What waits is dropped and counted. Closing twice does no harm."""
        if self._timer is not None:
            self._timer.cancel()
        self.delivery.close()
        for export in (self._files, self._hep):
            if export is not None:
                export.close()
        if self._source is not None:
            if self._loop is not None:
                self._loop.remove_reader(self._source.fileno())
                self._loop = None
            self._source.close()

    def refilter(self, addresses: tuple[str, ...], ports: tuple[int, ...], expression: str | None = None) -> None:
        """Capture something else from now on, without losing a frame in between. Raises ConfigError.

        `expression`: the user's own filter; None: as before.
        """
        own = self._wanted.expression if expression is None else expression
        wanted = Wanted(addresses, ports, self.config.mirrored, own)
        if self._source is not None:
            self._source.refilter(wanted)
        self._wanted = wanted
        self.intake.use(addresses)

    # From the interface

    def _readable(self) -> bool:
        """Read a batch; whether that was all."""
        source = self._source
        if source is None:
            return True
        drained = source.read(_BATCH, self._take, self.intake.lost)
        self._hand_on()
        return drained

    def _take_and_keep(self, at_ns: int, frame: bytes, wire_length: int, link_type: int) -> None:
        self._frames.append(Frame(at_ns, frame, wire_length, link_type))
        self.intake.take(at_ns, frame, wire_length, link_type)

    def _hand_on(self) -> None:
        """Give what was found to the queue, and to whoever else wants it."""
        if self._files is not None and self._frames:
            self._files.put(self._frames)
            self._frames = []
        intake = self.intake
        if intake.unfit > self._unfit:
            self._outbox.refuse(Drop.UNFIT, intake.unfit - self._unfit)
            self._unfit = intake.unfit
        messages, times = intake.take_batch()
        if messages:
            self.delivery.offer(messages, times)
            if self._hep is not None:
                self._hep.offer(messages)
        self.delivery.flush()

    def _passed(self, times: Sequence[int]) -> None:
        self.lag.observe_all(times, self._clock())

    def _tick(self) -> None:
        if self._loop is None or self._source is None:
            return
        self._timer = self._loop.call_later(_TICK, self._tick)
        now = self._clock()
        if self._readable():
            self.intake.expire(now)
            self._hand_on()
        self._source.update()
        self._tell_damage()
        self._tell_loss()
        self.delivery.look_for_queue()
        self.delivery.flush()

    def _tell_damage(self) -> None:
        """Log what was wrong, a little of it, and forget it: an agent lives for months."""
        ledger = self.intake.dissector.ledger
        fresh = len(ledger.damage) + ledger.damage_not_listed
        if fresh:
            for damage in ledger.damage[:_DAMAGE_LOGGED]:
                _log.info("damage", agent=self.config.agent, what=damage.what)
            self._damage += fresh
            ledger.damage.clear()
            ledger.damage_not_listed = 0
        if len(ledger.ignored) > _KINDS:
            rare = sorted(ledger.ignored, key=lambda kind: ledger.ignored[kind])[: _KINDS // 2]
            ledger.ignored["other"] += sum(ledger.ignored.pop(kind) for kind in rare if kind != "other")

    def _tell_loss(self) -> None:
        """Log what was lost since the last time, in one line."""
        lost = {str(reason): number for reason, number in self._outbox.dropped.items()}
        if self._source is not None and self._source.dropped:
            lost["kernel"] = self._source.dropped
        if lost != self._told_loss:
            fresh = {reason: number - self._told_loss.get(reason, 0) for reason, number in lost.items()}
            _log.warning("messages_lost", agent=self.config.agent, lost=fresh, waiting=self._outbox.waiting)
            self._told_loss = lost

    # The account

    @property
    def counters(self) -> AgentCounters:
        """The account at this moment; after `stop` the final one."""
        if self._source is not None:
            self._source.update()
        source, intake, outbox = self._source, self.intake, self._outbox
        ledger = intake.dissector.ledger
        return AgentCounters(
            agent=self.config.agent,
            kernel_frames=source.seen if source else 0,
            kernel_dropped=source.dropped if source else 0,
            frames=source.frames if source else 0,
            used=ledger.used,
            damaged=ledger.damaged,
            ignored=dict(ledger.ignored),
            pending=ledger.pending,
            damage=self._damage + len(ledger.damage) + ledger.damage_not_listed,
            messages=outbox.offered,
            by_protocol=intake.messages_by_protocol(),
            foreign=intake.foreign,
            queued=outbox.queued,
            waiting=outbox.waiting,
            waiting_octets=outbox.waiting_octets,
            on_disk=outbox.on_disk,
            spilled=outbox.spilled,
            reassembly_octets=intake.dissector.waiting_octets,
            dropped={str(reason): number for reason, number in outbox.dropped.items()},
            interrupted=source.interrupted if source else 0,
            last_number=intake.number,
            epoch=self.epoch,
            exported=self._exported(),
            by_type=intake.messages_by_type(),
            unreadable=intake.unreadable,
        )

    def _exported(self) -> dict[str, dict[str, int]]:
        exports = [export.work for export in (self._files, self._hep) if export is not None]
        return {
            work.name: {"done": work.done, "failed": work.failed, "dropped": work.dropped, "waiting": work.waiting}
            for work in exports
        }

    @property
    def down(self) -> tuple[str, ...]:
        """The interfaces that nothing can be captured from right now."""
        return self._source.down if self._source is not None else self.config.interfaces


def _as_fields(counters: AgentCounters) -> dict[str, object]:
    return {
        "agent": counters.agent,
        "frames": counters.frames,
        "kernel_dropped": counters.kernel_dropped,
        "messages": counters.messages,
        "queued": counters.queued,
        "dropped": dict(counters.dropped),
    }
