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
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from ferret.errors import RecordError
from ferret.queue import MessageQueue, QueueError
from ferret.records.message import CapturedMessage
from ferret_agents.capture.dissect import Dissector
from ferret_agents.capture.files import Record
from ferret_agents.live.counters import AgentCounters, Lag
from ferret_agents.live.filter import DEFAULT_PORTS, Wanted
from ferret_agents.live.interfaces import find_interfaces
from ferret_agents.live.outbox import BufferLimits, Drop, Outbox
from ferret_agents.live.packets import RECEIVE_BUFFER, PacketSource
from ferret_agents.live.sighting import Encoder, see

_BATCH: Final = 64  # frames read before the event loop gets its turn
_TICK: Final = 0.1  # seconds between two looks at what waits in reassembly and at the kernel's counts
_RETRY: Final = 0.001  # seconds, where a queue has room but not enough
_REOPEN: Final = 1.0  # seconds between two looks for the queue
_DAMAGE_LOGGED: Final = 10  # per tick
_KINDS: Final = 200  # of ignored frames that are told apart

_log = structlog.get_logger("ferret.agent")


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """What an agent captures, and as whom."""

    interfaces: tuple[str, ...]
    addresses: tuple[str, ...]  # the NF's; none: everything on the interfaces
    ports: tuple[int, ...] = DEFAULT_PORTS  # none: any
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
        self._reopen = reopen
        self._reopened: MessageQueue | None = None
        self._wanted = Wanted(config.addresses, config.ports)
        self._addresses, self._packed = _texts_and_octets(config.addresses)
        self._encoder = Encoder(config.agent)
        self._source: PacketSource | None = None
        self._dissector = Dissector()
        self._quick: Counter[str] = Counter()  # frames that `see` has dealt with, each a message, by protocol
        self._outbox = Outbox(queue, config.buffer, self._passed)
        self._number = 0
        self._foreign = 0
        self._damage = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._writable = -1  # a descriptor of the queue that is watched for room
        self._looked_for_queue = float("-inf")
        self._no_queue = ""  # why there is none, as last logged
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
        deadline = loop.time() + within
        while self._outbox.waiting and loop.time() < deadline:
            if not self._flush():
                await asyncio.sleep(_RETRY)
        self._outbox.give_up()
        self.close()
        counters = self.counters
        _log.info("agent_stopped", **_as_fields(counters))
        return counters

    def close(self) -> None:
        """Let go of everything at once. What waits is dropped and counted. Closing twice does no harm."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._stop_watching()
        self._outbox.give_up()
        if self._source is not None:
            if self._loop is not None:
                self._loop.remove_reader(self._source.fileno())
                self._loop = None
            self._source.close()
        if self._reopened is not None:
            self._reopened.close()

    def refilter(self, addresses: tuple[str, ...], ports: tuple[int, ...]) -> None:
        """Capture something else from now on, without losing a frame in between. Raises ConfigError."""
        wanted = Wanted(addresses, ports)
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
        if self._reopen is not None and self._outbox.queue is not None and _was_removed(self._outbox.queue):
            self._leave_queue()
        drained = source.read(_BATCH, self._take, self._lost)
        if self._outbox.waiting:
            self._flush()
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
        self._timers["tick"] = self._loop.call_later(_TICK, self._tick)
        now = self._clock()
        if self._readable():
            for message in self._dissector.expire(now):
                self._offer(message)
        self._source.update()
        self._tell_damage()
        self._tell_loss()
        self._look_for_queue(self._loop.time())
        if self._outbox.waiting:
            self._flush()

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

    # To the queue

    def _flush(self) -> int:
        """Put into the queue what waits; if some stays, see to it that somebody comes back."""
        moved = self._outbox.flush()
        if not self._outbox.waiting:
            self._stop_watching()
        elif moved or self._writable < 0:
            self._watch()
        return moved

    def _watch(self) -> None:
        """Be called when the queue has room. A descriptor of our own: others in this process may watch theirs."""
        queue = self._outbox.queue
        if self._writable >= 0 or queue is None or self._loop is None:
            return
        try:
            self._writable = os.dup(queue.fileno())
        except (OSError, QueueError):
            return
        self._loop.add_writer(self._writable, self._has_room)

    def _has_room(self) -> None:
        if self._flush() or not self._outbox.waiting or self._loop is None:
            return
        # There is room, but less than the next message takes, or another agent is just writing.
        self._stop_watching()
        self._timers["retry"] = self._loop.call_later(_RETRY, self._flush)

    def _stop_watching(self) -> None:
        if self._writable < 0:
            return
        if self._loop is not None:
            self._loop.remove_writer(self._writable)
        os.close(self._writable)
        self._writable = -1

    def _look_for_queue(self, now: float) -> None:
        """Open the queue where there is none, or where it was removed and nobody will ever read it."""
        if self._reopen is None or now - self._looked_for_queue < _REOPEN:
            return
        self._looked_for_queue = now
        if self._outbox.queue is not None and not _was_removed(self._outbox.queue):
            return
        self._leave_queue()
        try:
            queue = self._reopen()
        except QueueError as error:
            if self._no_queue != str(error):
                self._no_queue = str(error)
                _log.warning("no_queue", agent=self.config.agent, reason=self._no_queue)
            return
        self._no_queue = ""
        self._reopened = queue
        self._outbox.use(queue)
        _log.info("queue_opened", agent=self.config.agent, waiting=self._outbox.waiting)

    def _leave_queue(self) -> None:
        """The queue was removed: until there is another, everything waits here."""
        self._stop_watching()
        self._outbox.use(None)
        if self._reopened is not None:
            self._reopened.close()
            self._reopened = None

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

    @property
    def has_queue(self) -> bool:
        """Whether there is a queue to put messages into."""
        return self._outbox.queue is not None

    @property
    def queue_depth(self) -> int | None:
        """How many slots of the queue are taken; None where there is no queue."""
        try:
            return self._outbox.queue.depth if self._outbox.queue is not None else None
        except QueueError:
            return None


def _texts_and_octets(addresses: Sequence[str]) -> tuple[frozenset[str], frozenset[bytes]]:
    parsed = [ipaddress.ip_address(one) for one in addresses]
    return frozenset(one.compressed for one in parsed), frozenset(one.packed for one in parsed)


def _was_removed(queue: MessageQueue) -> bool:
    """Whether a queue has no name any more: no recorder will find it again."""
    try:
        return os.fstat(queue.fileno()).st_nlink == 0
    except (OSError, QueueError):
        return True


def _as_fields(counters: AgentCounters) -> dict[str, object]:
    return {
        "agent": counters.agent,
        "frames": counters.frames,
        "kernel_dropped": counters.kernel_dropped,
        "messages": counters.messages,
        "queued": counters.queued,
        "dropped": dict(counters.dropped),
    }
