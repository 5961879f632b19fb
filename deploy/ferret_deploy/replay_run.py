"""Replays recordings at an edge in this process: NFs, base stations and replayer put together."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any, TypeVar

from aiohttp import ClientSession, ClientTimeout

from ferret.queue import MessageQueue
from ferret.records.message import Node, Role, SignallingMessage
from ferret.records.recording import Recording
from ferret.replay.client import ReplayPortClient
from ferret.replay.plan import Plan, plan
from ferret.replay.rules import Rules
from ferret.replay.runner import ReplayAbandonedError, Replayer, ReplayTimes
from ferret.replay.translation import Translation
from ferret.replay.translator import StimulusTranslator
from ferret.replay.verdict import RecordingResult, ReplayResult
from ferret.transport.endpoint import text
from ferret.transport.sctp import SctpTransport, choose
from ferret_deploy.base_stations import BaseStations, DeviceMover, PlanMover
from ferret_edge.context import EdgeContext, context_for
from ferret_edge.edge_set import EdgeSet
from ferret_edge.site import SIP_PORT, Site

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """How to replay. `network` "": a /24 of 127.0.0.0/8 that no other process of this machine is likely to use."""

    rules: Rules
    network: str = ""
    ipv6: str = ""  # a /64 in which the edge's CSCFs speak SIP
    running: bool = False  # the edge NFs run already, each in a process of its own, at `network`
    times: ReplayTimes = field(default_factory=ReplayTimes)
    seed: int = 0
    sctp: SctpTransport | None = None
    progress: Callable[[str, int, int], None] = lambda recording, done, total: None


async def replay(
    recordings: Sequence[Recording], capture: Sequence[SignallingMessage], queue: MessageQueue, options: ReplayOptions
) -> ReplayResult:
    """Replay recordings one after the other at the same edge NFs; a subscriber's second one at new ones.

    `capture`: all messages that were recorded with them, for what belongs to no subscriber (S1 Setup).
    """
    started = monotonic()
    plans = [plan(subscriber=r.subscriber, service=r.service, messages=r.everything) for r in recordings]
    done: dict[int, RecordingResult] = {}
    for batch in _batches(plans):
        results = await _replay_at_one_edge([plans[place] for place in batch], capture, queue, options)
        done.update(zip(batch, results, strict=True))
    return ReplayResult([done[place] for place in range(len(plans))], (monotonic() - started) * 1000)


def _batches(plans: Sequence[Plan]) -> list[list[int]]:
    """Places of plans that can share an edge: no subscriber twice, since each replay begins with the attach."""
    batches: list[list[int]] = []
    times: dict[str, int] = {}
    for place, one in enumerate(plans):
        number = times[one.subscriber] = times.get(one.subscriber, -1) + 1
        if number == len(batches):
            batches.append([])
        batches[number].append(place)
    return batches


async def _replay_at_one_edge(
    plans: Sequence[Plan], capture: Sequence[SignallingMessage], queue: MessageQueue, options: ReplayOptions
) -> list[RecordingResult]:
    site = Site.of(options.network or private_network(), options.ipv6)
    members = frozenset(role for one in plans for role in one.members)
    async with AsyncExitStack() as stack:
        sctp = (options.sctp or choose().transport) if Role.MME in members else None
        edge = None
        if not options.running:
            edge = EdgeSet(members, site=site, rules=options.rules, seed=options.seed, sctp=sctp)
            await stack.enter_async_context(edge)
        stations = None
        enbs = enb_addresses(plans, site)
        if sctp is not None and enbs:
            stations = BaseStations(enbs, site, sctp, _heard(plans, capture))
            stack.callback(stations.stop)
            await stations.start()
        session = await stack.enter_async_context(ClientSession(timeout=ClientTimeout(total=None)))
        made = partial(DeviceMover, stations=stations, edge=edge) if stations is not None else None
        running = EdgeReplay(site, enbs, session, queue, options, capture, made)
        return [await running.one(one) for one in plans]


@dataclass(frozen=True, slots=True)
class EdgeReplay:
    """What every recording of one replay shares.

    `enbs`: what stands for each recorded base station's address. `mover`: makes what moves base station and device of a
    plan; None: nothing is moved.
    """

    site: Site
    enbs: Mapping[str, str]
    session: ClientSession
    queue: MessageQueue
    options: ReplayOptions
    capture: Sequence[SignallingMessage]
    mover: Callable[[Plan, Translation, EdgeContext], PlanMover] | None = None

    async def one(self, plan_: Plan) -> RecordingResult:
        """Replay one recording."""
        site = self.site
        translator = StimulusTranslator(host_map(plan_, site, self.enbs))
        context = context_for(plan_, site, self._enb_of(plan_), self.capture)
        mover = None
        if self.mover is not None:
            mover = self.mover(plan_, translator.translation, context)
            translator.uplink_nas = mover.uplink_nas
        clients: dict[Role, ReplayPortClient] = {}
        replayer = Replayer(
            plan_,
            imsi=context.imsi,
            ports=clients,
            queue=self.queue,
            translator=translator,
            contexts=context.by_role,
            mover=mover,
            excused=context.excused,
            times=self.options.times,
            progress=lambda done: self.options.progress(plan_.subscriber, done, len(plan_.steps)),
        )
        try:
            for role in sorted(plan_.members):
                client = ReplayPortClient(site.replay_url(role), replayer.reported, replayer.lost)
                await client.connect(self.session)
                clients[role] = client
            result = await replayer.run()
            if self.options.running:
                with suppress(ReplayAbandonedError):  # an NF that is gone holds nothing
                    await replayer.forget()
        finally:
            await asyncio.gather(*(client.close() for client in clients.values()))
        result.assumed = [*context.assumed, *(mover.assumed if mover is not None else ())]
        return result

    def _enb_of(self, plan_: Plan) -> str:
        """The emulated base station of this plan's device."""
        recorded = (n.address for n in _nodes([plan_]) if n.role is Role.ENB)
        return self.enbs.get(next(recorded, ""), "")


def private_network() -> str:
    """A /24 in 127.64.0.0/10 by process number, so that replays beside each other do not meet."""
    number = os.getpid()
    return f"127.{64 + (number >> 8) % 64}.{number % 256}.0/24"


def _heard(plans: Iterable[Plan], capture: Iterable[SignallingMessage]) -> list[bytes]:
    """What base stations sent: their S1 Setup first, then what they sent for the devices."""
    setups = [message.octets for message in capture if message.name == "S1SetupRequest"]
    sent = (s.message for one in plans for s in one.steps if s.message.from_nf.role is Role.ENB)
    return [*setups, *(message.octets for message in sent)]


def enb_addresses(plans: Iterable[Plan], site: Site) -> dict[str, str]:
    """The recorded base stations' addresses, and those of the emulated ones."""
    nodes = _nodes(plans)
    recorded = dict.fromkeys(node.address for node in nodes if node.role is Role.ENB)
    return {address: site.enb(place) for place, address in enumerate(recorded)}


def host_map(one: Plan, site: Site, enbs: Mapping[str, str]) -> dict[str, str]:
    """Every recorded address of a member (with its ports, where several NFs share it), and the edge's instead.

    A P-CSCF has further ports, one for each security association with a UE (TS 33.203 clause 7.1).
    """
    hosts = dict(enbs)
    for step in one.steps:
        message = step.message
        ends = ((message.from_nf, message.captured.source), (message.to_nf, message.captured.destination))
        for node, endpoint in ends:
            if node.role not in one.members:
                continue
            edge = site.sip_address(node.role) if ":" in node.address else site.address(node.role)
            if not node.port:
                hosts[node.address] = edge
                continue
            for port in (node.port, endpoint.port):
                hosts[text((node.address, port))] = text((edge, SIP_PORT))
    return hosts


def _nodes(plans: Iterable[Plan]) -> list[Node]:
    messages = (step.message for one in plans for step in one.steps)
    return list(dict.fromkeys(node for m in messages for node in (m.from_nf, m.to_nf)))


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run on uvloop where it is installed, on asyncio's own loop elsewhere.

    What was loaded and recorded before stays as it is: the garbage collector need not look at it again and again.
    """
    gc.collect()
    gc.freeze()
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
