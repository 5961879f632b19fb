"""A live agent: everything that one NF sends and receives, from the interface into the host's queue.

    agent = LiveAgent(AgentConfig(("lo",), ("127.0.1.2",)), queue)
    agent.open()                 # needs CAP_NET_RAW; from here on nothing is missed
    agent.start(loop)
    ...
    counters = await agent.stop()

The NF knows nothing of it, and nothing here waits for the queue: what it has no room for waits in bounded memory, and
beyond that is dropped and counted. Messages are numbered as they are found, so that one which is dropped, or which the
kernel dropped before anybody saw it, leaves a hole.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from ferret.errors import RecordError
from ferret.queue import MessageQueue
from ferret.records.message import CapturedMessage
from ferret_agents.capture.dissect import Dissector
from ferret_agents.capture.files import Record
from ferret_agents.live.counters import AgentCounters, Lag
from ferret_agents.live.delivery import Delivery
from ferret_agents.live.filter import DEFAULT_PORTS, Wanted
from ferret_agents.live.interfaces import find_interfaces
from ferret_agents.live.outbox import BufferLimits, Drop
from ferret_agents.live.packets import RECEIVE_BUFFER, PacketSource
from ferret_agents.live.sighting import Encoder, see

_BATCH: Final = 64  # frames read before the event loop gets its turn
_TICK: Final = 0.1  # seconds between two looks at what waits in reassembly and at the kernel's counts
_DAMAGE_LOGGED: Final = 10  # per tick
_KINDS: Final = 200  # of ignored frames that are told apart

_log = structlog.get_logger("ferret.agent")


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """What an agent captures, and as whom."""

    interfaces: tuple[str, ...]
    addresses: tuple[str, ...]  # the NF's; none: everything on the interfaces
    ports: tuple[int, ...] = DEFAULT_PORTS  # none: any
    mirrored: bool = False  # the interfaces are mirror ports: others' packets, also inside VXLAN, GRE and ERSPAN
    name: str = ""  # by default the first address: what the recorder knows the NF by
    buffer: BufferLimits = field(default_factory=BufferLimits)
    receive_buffer: int = RECEIVE_BUFFER  # octets asked of the kernel

    @property
    def agent(self) -> str:
        """The name that its messages bear."""
        if self.name or not self.addresses:
            return self.name or "+".join(self.interfaces)
        return ipaddress.ip_address(self.addresses[0]).compressed


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
        self._clock = clock
        self._wanted = Wanted(config.addresses, config.ports, config.mirrored)
        self._addresses, self._packed = _texts_and_octets(config.addresses)
        self._encoder = Encoder(config.agent)
        self._source: PacketSource | None = None
        self._dissector = Dissector()
        self._quick: Counter[str] = Counter()  # frames that `see` has dealt with, each a message, by protocol
        self.delivery = Delivery(config.agent, queue, limits=config.buffer, passed=self._passed, reopen=reopen)
        self._outbox = self.delivery.outbox
        self._number = 0
        self._foreign = 0
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
            self._source = PacketSource(
                self._wanted,
                find_interfaces(self.config.interfaces),
                receive_buffer=self.config.receive_buffer,
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
        while not source.read(_BATCH, self._take, self._lost):  # noqa: ASYNC110 - others get their turn in between
            await asyncio.sleep(0)
        for message in self._dissector.flush():
            self._offer(message)
        source.finish(self._lost)
        await self.delivery.drain(within)
        self.close()
        counters = self.counters
        _log.info("agent_stopped", **_as_fields(counters))
        return counters

    def close(self) -> None:
        """Let go of everything at once. What waits is dropped and counted. Closing twice does no harm."""
        if self._timer is not None:
            self._timer.cancel()
        self.delivery.close()
        if self._source is not None:
            if self._loop is not None:
                self._loop.remove_reader(self._source.fileno())
                self._loop = None
            self._source.close()

    def refilter(self, addresses: tuple[str, ...], ports: tuple[int, ...]) -> None:
        """Capture something else from now on, without losing a frame in between. Raises ConfigError."""
        wanted = Wanted(addresses, ports, self.config.mirrored)
        if self._source is not None:
            self._source.refilter(wanted)
        self._wanted = wanted
        self._addresses, self._packed = _texts_and_octets(addresses)

    # From the interface

    def _readable(self) -> bool:
        """Read a batch; whether that was all."""
        source = self._source
        if source is None:
            return True
        drained = source.read(_BATCH, self._take, self._lost)
        self.delivery.flush()
        return drained

    def _take(self, record: Record) -> None:
        sighting = see(record)
        if sighting is None:
            for message in self._dissector.feed(record):
                self._offer(message)
            return
        self._quick[sighting.protocol] += 1
        if self._packed and sighting.source not in self._packed and sighting.destination not in self._packed:
            self._foreign += 1
            return
        self._number += 1
        octets = self._encoder.encode(sighting, record.captured_at_ns, self._number)
        self._outbox.offer(octets, record.captured_at_ns)

    def _lost(self, frames: int) -> None:
        """The kernel dropped frames. Each may have been a message: the hole is at least as wide."""
        self._number += frames

    def _offer(self, message: CapturedMessage) -> None:
        if self._addresses and not self._is_ours(message):
            self._foreign += 1
            return
        self._number += 1
        try:
            octets = self._encoder.sign(message, self._number)
        except RecordError:
            self._outbox.refuse(Drop.UNFIT)
            return
        self._outbox.offer(octets, message.captured_at_ns)

    def _is_ours(self, message: CapturedMessage) -> bool:
        """Whether it is from or to the NF, or from within a tunnel of its."""
        ours = self._addresses
        return (
            message.source.address in ours
            or message.destination.address in ours
            or any(end.address in ours for end in message.tunnel)
        )

    def _passed(self, captured_at_ns: int) -> None:
        self.lag.observe(self._clock() - captured_at_ns)

    def _tick(self) -> None:
        if self._loop is None or self._source is None:
            return
        self._timer = self._loop.call_later(_TICK, self._tick)
        now = self._clock()
        if self._readable():
            for message in self._dissector.expire(now):
                self._offer(message)
        self._source.update()
        self._tell_damage()
        self._tell_loss()
        self.delivery.look_for_queue()
        self.delivery.flush()

    def _tell_damage(self) -> None:
        """Log what was wrong, a little of it, and forget it: an agent lives for months."""
        ledger = self._dissector.ledger
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
        source, ledger, outbox = self._source, self._dissector.ledger, self._outbox
        return AgentCounters(
            agent=self.config.agent,
            kernel_frames=source.seen if source else 0,
            kernel_dropped=source.dropped if source else 0,
            frames=source.frames if source else 0,
            used=ledger.used + self._quick.total(),
            damaged=ledger.damaged,
            ignored=dict(ledger.ignored),
            pending=ledger.pending,
            damage=self._damage + len(ledger.damage) + ledger.damage_not_listed,
            messages=outbox.offered,
            by_protocol=dict(self._dissector.messages + self._quick),
            foreign=self._foreign,
            queued=outbox.queued,
            waiting=outbox.waiting,
            waiting_octets=outbox.waiting_octets,
            dropped={str(reason): number for reason, number in outbox.dropped.items()},
            interrupted=source.interrupted if source else 0,
            last_number=self._number,
        )

    @property
    def down(self) -> tuple[str, ...]:
        """The interfaces that nothing can be captured from right now."""
        return self._source.down if self._source is not None else self.config.interfaces


def _texts_and_octets(addresses: Sequence[str]) -> tuple[frozenset[str], frozenset[bytes]]:
    parsed = [ipaddress.ip_address(one) for one in addresses]
    return frozenset(one.compressed for one in parsed), frozenset(one.packed for one in parsed)


def _as_fields(counters: AgentCounters) -> dict[str, object]:
    return {
        "agent": counters.agent,
        "frames": counters.frames,
        "kernel_dropped": counters.kernel_dropped,
        "messages": counters.messages,
        "queued": counters.queued,
        "dropped": dict(counters.dropped),
    }
