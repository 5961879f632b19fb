"""Replays recordings at foreign NFs: lines and stand-ins, a replayer for each recording, and what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from random import Random, SystemRandom
from time import monotonic, time
from typing import Final

from ferret.errors import ProtocolError
from ferret.protocols import s1ap
from ferret.protocols.s1ap import IeId, tai_of
from ferret.protocols.summary import Protocol
from ferret.queue import MessageQueue
from ferret.records.message import Role, SignallingMessage
from ferret.records.recording import Recording
from ferret.replay.foreign.acceptance import TargetFigures, merged, ratio
from ferret.replay.foreign.identifiers import (
    DiameterName,
    diameter_names,
    host_map,
    recorded_names,
    sip_places,
    unnamed,
)
from ferret.replay.foreign.nas import DeviceNas
from ferret.replay.foreign.neighbours import DIAMETER, GTPV2, SIP
from ferret.replay.foreign.plan import foreign_plan
from ferret.replay.foreign.targets import ForeignSetting, Target
from ferret.replay.foreign.translator import ForeignTranslator
from ferret.replay.plan import Part, Plan
from ferret.replay.rules import Rules
from ferret.replay.runner import Port, Replayer, ReplayTimes
from ferret.replay.verdict import RecordingResult, ReplayResult
from ferret.transport.sctp import SctpTransport, choose
from ferret_deploy.foreign.diameter_line import DiameterLine, DiameterServers, DiameterTimes
from ferret_deploy.foreign.gtpv2_line import Gtpv2Line, Gtpv2Sockets
from ferret_deploy.foreign.line import Heard, Line, Remarked
from ferret_deploy.foreign.mixture import MixedSite, Mixture, mixed_site
from ferret_deploy.foreign.port import ForeignPort, Surroundings
from ferret_deploy.foreign.s1ap_line import S1apLine
from ferret_deploy.foreign.sip_line import SipLine, SipSockets
from ferret_deploy.replay_run import host_map as edge_hosts
from ferret_edge.context import EdgeContext, context_for

_SERVERS: Final = frozenset({Role.PCRF, Role.HSS})  # a target may ask them although the recording does not show it
_RESTARTS: Final = 8  # seconds between two values of the stand-ins' restart counter
_DEFAULT_CELL: Final = ("00101", 1)
_TOKENS: Final = 1 << 20  # for each recording's port
EXCUSED: Final = {
    "Security-Server/**": "the stand-in for the UE offers no security agreement (RFC 3329)",
    "Security-Server[**": "the stand-in for the UE offers no security agreement (RFC 3329)",
    "**/sec-agree": "the stand-in for the UE offers no security agreement (RFC 3329)",
}


@dataclass(frozen=True, slots=True)
class ForeignOptions:
    """How to replay at foreign NFs. `t3` in seconds and `n3` attempts: TS 29.274 clause 7.6."""

    rules: Rules
    setting: ForeignSetting
    edge: frozenset[Role] | None = frozenset()  # the other NFs that are edge NFs; None: all that the recording allows
    t3: float = 3.0
    n3: int = 3
    diameter: DiameterTimes = field(default_factory=DiameterTimes)
    patience: float = 2.0  # seconds without news after which a target makes nothing more
    sctp: SctpTransport | None = None
    random: Random = field(default_factory=SystemRandom)
    progress: Callable[[str, int, int], None] = lambda recording, done, total: None


@dataclass(frozen=True, slots=True)
class ForeignResult:
    """What came of it, and how the targets took it."""

    replay: ReplayResult
    targets: Sequence[TargetFigures]

    @property
    def acceptance(self) -> float | None:
        """Messages accepted ÷ messages sent, over all targets."""
        return ratio(sum(t.accepted for t in self.targets), sum(t.sent for t in self.targets))

    def as_json(self) -> dict[str, object]:
        """What `ferret replay --json` prints: the keys of any replay, and `targets`."""
        return {
            **self.replay.as_json(),
            "acceptance": self.acceptance,
            "targets": [figures.as_json() for figures in self.targets],
        }


async def replay_at_foreign(
    recordings: Sequence[Recording], capture: Sequence[SignallingMessage], queue: MessageQueue, options: ForeignOptions
) -> ForeignResult:
    """Replay recordings one after the other at the targets. Raises ConfigError, TransportError, RecordError."""
    started = monotonic()
    plans = [foreign_plan(recording, options.setting, options.edge) for recording in recordings]
    run = ForeignRun(plans, capture, queue, options)
    async with AsyncExitStack() as stack:
        await run.start(stack)
        results = [await run.one(one) for one in plans]
    duration = (monotonic() - started) * 1000
    return ForeignResult(ReplayResult(results, duration), merged(run.figures))


class ForeignRun:
    """The stand-ins and lines that all recordings of one run share. `figures`: of every recording and target."""

    def __init__(
        self, plans: Sequence[Plan], capture: Sequence[SignallingMessage], queue: MessageQueue, options: ForeignOptions
    ) -> None:
        self.figures: list[TargetFigures] = []
        self._queue = queue
        self._options = options
        setting = options.setting
        self._messages = [step.message for one in plans for step in one.steps]
        self._capture = capture or self._messages
        self._restart_counter = int(time() / _RESTARTS) % 256
        self._seen = {node.role for m in self._messages for node in (m.from_nf, m.to_nf)}
        self._names = diameter_names(self._messages, setting)
        self._recorded_names = recorded_names(self._messages)
        self._own = frozenset(role for one in plans for role in one.members) - setting.roles
        self._places = sip_places(self._messages, setting, self._own)
        self._gtpv2 = Gtpv2Sockets(
            t3=options.t3, n3=options.n3, restart_counter=self._restart_counter, random=options.random
        )
        self._diameter = DiameterServers()
        self._sip = SipSockets(self._places)
        self._lines: dict[Role, dict[Protocol, Line]] = {}
        self._early: dict[Role, list[str]] = {}
        self._mixture: Mixture | None = None
        self._served: set[str] = set()  # subscribers that its edge NFs know

    async def start(self, stack: AsyncExitStack) -> None:
        """Open every line. Raises ConfigError, TransportError."""
        stack.callback(self._gtpv2.close)
        stack.callback(self._diameter.close)
        stack.callback(self._sip.close)
        stack.push_async_callback(self._end_mixture)
        for target in self._options.setting.targets:
            lines = self._lines[target.role] = self._lay(target)
            heard = self._early[target.role] = []
            for line in lines.values():
                line.hearing = partial(_remark_early, heard)
                stack.push_async_callback(line.stop)
        for lines in self._lines.values():
            for line in lines.values():
                await line.start()

    async def one(self, plan_: Plan) -> RecordingResult:
        """Replay one recording."""
        own = plan_.members - self._options.setting.roles
        if not own:
            return await self._replay(plan_, None, EdgeContext())
        site = mixed_site(self._options.setting)
        context = context_for(plan_, site, site.enb(0), self._capture)
        mixture = await self._mixture_for(plan_.subscriber, own, site)
        mixture.names_into(context)
        result = await self._replay(plan_, mixture, context)
        result.assumed = context.assumed
        return result

    async def _mixture_for(self, subscriber: str, own: frozenset[Role], site: MixedSite) -> Mixture:
        """Edge NFs that do not know the subscriber; the same as for the last recording if possible.

        A target that connects to them by itself may take half a minute to do so again.
        """
        if self._mixture is not None and (self._mixture.roles != own or subscriber in self._served):
            await self._end_mixture()
        if self._mixture is None:
            options = self._options
            seed = options.random.getrandbits(32)
            wait = options.diameter.wait
            self._mixture = Mixture(own, site, options.rules, self._names, seed=seed, wait=wait)
            await self._mixture.start()
        self._served.add(subscriber)
        return self._mixture

    async def _end_mixture(self) -> None:
        mixture, self._mixture = self._mixture, None
        self._served.clear()
        if mixture is not None:
            await mixture.stop()

    async def _replay(self, plan_: Plan, mixture: Mixture | None, context: EdgeContext) -> RecordingResult:
        options = self._options
        translator = self._translator(plan_)
        patience = min(options.patience, options.t3)  # or requests that are open would be given up meanwhile
        around = Surroundings(plan_, translator, options.rules, self._names, monotonic, patience)
        ports: dict[Role, Port] = {}
        replayer = Replayer(
            plan_,
            imsi=context.imsi,
            ports=ports,
            queue=self._queue,
            translator=translator,
            contexts=context.by_role,
            excused={**EXCUSED, **context.excused},
            times=ReplayTimes(output=options.t3 * options.n3 + options.patience, unchanged=options.t3 * options.n3),
            progress=lambda done: options.progress(plan_.subscriber, done, len(plan_.steps)),
        )
        targets = {
            target.role: ForeignPort(
                target,
                self._lines[target.role],
                around,
                replayer.reported,
                replayer.lost,
                first_token=len(self.figures) * _TOKENS,
            )
            for target in options.setting.targets
        }
        ports.update(targets)
        if mixture is not None:
            ports.update(mixture.ports(targets, replayer.reported))
        result = await replayer.run()
        await asyncio.gather(*(port.leave() for port in targets.values()))
        for role, port in targets.items():
            self._conclude(role, port, result)
        return result

    def _conclude(self, role: Role, port: ForeignPort, result: RecordingResult) -> None:
        """The target's own answers decide what was acknowledged."""
        figures = port.figures
        taking_part = [m for m in result.messages if m.step.part is not Part.SKIPPED]
        for number, outcome in figures.outcomes.items():
            if number < 0:
                continue  # of an edge NF, which is acknowledged by itself
            taking_part[number].acknowledged = outcome.acknowledged
        figures.identity = next((text for line in self._lines[role].values() if (text := line.describe())), "")
        figures.events[:0] = self._early.pop(role, [])
        self.figures.append(figures)

    def _translator(self, plan_: Plan) -> ForeignTranslator:
        messages = [step.message for step in plan_.steps]
        setting = self._options.setting
        own = plan_.members - setting.roles
        hosts = host_map(messages, setting, self._places)
        translator = ForeignTranslator(
            {**hosts, **edge_hosts(plan_, mixed_site(setting), {})} if own else hosts,
            setting,
            self._names,
            own=own,
            beyond=host_map(messages, setting, self._places, beyond=True),
            restart_counter=self._restart_counter,
            random=self._options.random,
        )
        if Role.MME in setting.roles:
            translator.protect_with(DeviceNas(messages))
        for role, lines in self._lines.items():
            line = lines.get(Protocol.DIAMETER)
            for found in line.peers.values() if isinstance(line, DiameterLine) else ():
                translator.met(self._recorded_names.get(role), DiameterName(found.host, found.realm))
        return translator

    # Lines.

    def _lay(self, target: Target) -> dict[Protocol, Line]:
        setting, role = self._options.setting, target.role
        lines: dict[Protocol, Line] = {}
        if role in GTPV2:
            around = frozenset(GTPV2[role]) - setting.roles - self._own
            lines[Protocol.GTPV2] = Gtpv2Line(target, setting.stand_ins, around, self._gtpv2)
        if role in DIAMETER and (stand_ins := self._diameter_neighbours(role)):
            lines[Protocol.DIAMETER] = self._diameter_line(target, stand_ins)
        if role in SIP:
            lines[Protocol.SIP] = SipLine(target, self._sip)
        if role is Role.MME:
            lines[Protocol.S1AP] = self._s1ap_line(target)
        return lines

    def _diameter_neighbours(self, role: Role) -> frozenset[Role]:
        around = frozenset(DIAMETER[role]) - self._options.setting.roles - self._own
        return around & (self._seen | _SERVERS)

    def _diameter_line(self, target: Target, around: frozenset[Role]) -> DiameterLine:
        options = self._options
        speaks = {
            (m.interface, end.role)
            for m in self._messages
            if m.protocol is Protocol.DIAMETER
            for end in (m.from_nf, m.to_nf)
        }
        required = frozenset(r for r in around if (DIAMETER[target.role][r], r) in speaks)
        for role in around:
            self._names.setdefault(role, unnamed(role))
        return DiameterLine(
            target,
            options.setting.stand_ins,
            around if target.role is not Role.PCRF else required,
            self._names,
            self._diameter,
            required=required,
            times=options.diameter,
            random=options.random,
        )

    def _s1ap_line(self, target: Target) -> S1apLine:
        setups: dict[str, bytes] = {}
        for message in self._messages:
            for node in (message.from_nf, message.to_nf):
                if node.role is Role.ENB:
                    setups.setdefault(node.address, b"")
        for message in self._capture:
            if message.name == "S1SetupRequest" and not setups.get(message.from_nf.address, b"-"):
                setups[message.from_nf.address] = message.octets
        address = self._options.setting.stand_ins.address(Role.ENB)
        sctp = self._options.sctp or choose().transport
        return S1apLine(target, address, setups, _cell(self._messages), sctp)


def _remark_early(remarks: list[str], heard: Heard) -> None:
    """Before the first recording only remarks are of interest."""
    if isinstance(heard, Remarked):
        remarks.append(heard.what)


def _cell(messages: Iterable[SignallingMessage]) -> tuple[str, int]:
    """PLMN and TAC of where the device was (TS 36.413 clause 9.1.7.3)."""
    for message in messages:
        if message.protocol is not Protocol.S1AP or message.from_nf.role is not Role.ENB:
            continue
        try:
            found = s1ap.decode(message.octets).ie(IeId.TAI)
            if found is not None:
                return tai_of(found).plmn, tai_of(found).tac
        except (ProtocolError, KeyError):
            continue
    return _DEFAULT_CELL
