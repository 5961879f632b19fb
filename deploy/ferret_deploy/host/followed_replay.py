"""The replay of one call at the edge, beginning while the core still sets the call up.

Whatever has been recorded is replayed; when the call stands, only its last messages are left to do. Nothing of it
reaches the base station or the device before `move`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from ferret.errors import FerretError
from ferret.fallback.messages import NasCounts
from ferret.protocols import sip
from ferret.queue import MessageQueue
from ferret.records.message import Interface, Role, SignallingMessage
from ferret.records.recording import Entry
from ferret.replay.device import device_at
from ferret.replay.plan import Plan, plan
from ferret.replay.runner import Replayer, ReplayTimes
from ferret.replay.translation import Domain
from ferret.replay.translator import StimulusTranslator
from ferret.replay.verdict import RecordingResult
from ferret_deploy.host.edge_ports import EdgePorts
from ferret_deploy.host.network import CoreNetwork
from ferret_deploy.replay_run import enb_addresses, host_map
from ferret_edge.context import EdgeContext, context_for

_ONCE: Final = frozenset({"ue_contexts", "registrations", "dialogs", "paa"})
"""Context that is state, not configuration: what is known better of it later must not be put over what has happened."""
_PAUSE_NS: Final = 20_000_000


class FallbackError(FerretError):
    """A call could not be moved to the edge, or not back; it goes on over the core."""

    exit_status = 1


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What a look at the recording gives."""

    plan: Plan
    context: EdgeContext
    hosts: Mapping[str, str]


class FollowedReplay:
    """One call's replay. `service`, `subscriber`: of its recording. It has the queue for itself."""

    def __init__(
        self,
        ports: EdgePorts,
        queue: MessageQueue,
        network: CoreNetwork,
        times: ReplayTimes,
        shared: Callable[[str, int], None] = lambda subscriber, mme_ue_s1ap_id: None,
    ) -> None:
        """`shared` is told the subscriber's ID at the edge's MME, just before that signals with the device."""
        self.replayer: Replayer | None = None
        self.subscriber = ""
        self._ports = ports
        self._queue = queue
        self._network = network
        self._times = times
        self._shared = shared
        self._translator: StimulusTranslator | None = None
        self._given: dict[Role, dict[str, Any]] = {}
        self._count = 0

    @property
    def result(self) -> RecordingResult:
        """What came out so far. Raises FallbackError before anything was replayed."""
        if self.replayer is None:
            raise FallbackError("nothing has been replayed")
        return self.replayer.result

    async def follow(
        self, subscriber: str, service: str, entries: Sequence[Entry], capture: Sequence[SignallingMessage]
    ) -> bool:
        """Replay what is new in the recording. False: the replay is abandoned, and its result says why.

        `capture`: all messages that are known, for the operator's habits.
        """
        found = await asyncio.to_thread(self._look, subscriber, service, list(entries), capture)
        if self.replayer is None or self._translator is None:
            self.subscriber = subscriber
            self._translator = StimulusTranslator(found.hosts)
            self.replayer = self._begin(found, self._translator)
            if not await self.replayer.begin():
                return False
        self._translator.translation.seed(found.hosts)
        self.replayer.result.assumed = list(found.context.assumed)
        return await self.replayer.follow(found.plan, self._news(found.context))

    async def finish(self) -> RecordingResult:
        """The recording is over: everything that the edge had to make of it."""
        if self.replayer is not None:
            await self.replayer.finish()
        return self.result

    async def move(self, counts: NasCounts | None) -> None:
        """Move base station and device to the edge, and serve them there. Raises FallbackError.

        `counts`: NAS COUNTs that the device has come to meanwhile; None: those of the recording.
        """
        self._count = 0 if counts is None else counts.downlink
        replayer = self.replayer
        if replayer is None or not await replayer.move():
            result = self.result
            raise FallbackError(f"the device was not moved: {result.not_reconfigured or result.abandoned}")
        await self._ports.serve(replayer.imsi, sorted(self.calls()))

    async def release(self) -> None:
        """Stop, and let the edge forget the subscriber. Raises TimeoutError, where an NF does not answer."""
        if self.replayer is not None:
            self.replayer.stop()
            self._ports.end(self.replayer)
            self._network.unshare(self.subscriber)
            await self._ports.forget(self.replayer.imsi, self.replayer.result.plan)

    def calls(self) -> set[str]:
        """Call-IDs of the dialogs that INVITEs have begun."""
        steps = self.replayer.result.plan.steps if self.replayer is not None else ()
        return {sip.decode(one.message.octets).first("Call-ID") for one in steps if one.message.name == "INVITE"}

    def routes(self) -> tuple[str, ...]:
        """The route set that the device would have, had the edge's CSCFs set the call up (RFC 3261 clause 12.1)."""
        for one in reversed(self.result.messages):
            message = one.step.message
            if message.interface is not Interface.GM or not one.octets or message.to_nf.role is not Role.UE:
                continue
            if message.name == "200 (INVITE)":
                return tuple(reversed(sip.decode(one.octets).values("Record-Route")))
            if message.name == "INVITE":
                return tuple(sip.decode(one.octets).values("Record-Route"))
        return ()

    # The mover of the replayer: the device is here already, and only has to know one more MME.

    async def prepare(self, subscriber: str) -> int:
        """Let the edge's MME signal with the device, under the ID that it has given it; the COUNT to go on with."""
        planned = self.result.plan
        device = device_at((step.message for step in planned.steps), planned.reconfigure_after or 0)
        mme_id = None
        if self._translator is not None:
            mme_id = self._translator.translation.edge(Domain.MME_UE_S1AP_ID, device.mme_ue_s1ap_id or 0)
        if not isinstance(mme_id, int) or device.security is None:
            raise FallbackError("the edge's MME has not taken the device on")
        self._network.share(subscriber, mme_id)
        self._shared(subscriber, mme_id)
        return max(self._count, device.security.downlink_count)

    async def probe(self, subscriber: str) -> Mapping[str, object]:
        """No probe: live packets show the new path."""
        return {}

    # How it begins and goes on.

    def _look(
        self, subscriber: str, service: str, entries: Sequence[Entry], capture: Sequence[SignallingMessage]
    ) -> _Prepared:
        planned = plan(subscriber=subscriber, service=service, messages=entries)
        site = self._ports.site
        enbs = {address: address for address in enb_addresses([planned], site)}
        context = context_for(planned, site, next(iter(enbs), ""), capture)
        return _Prepared(planned, context, host_map(planned, site, enbs))

    def _begin(self, found: _Prepared, translator: StimulusTranslator) -> Replayer:
        self._given = {role: dict(values) for role, values in found.context.by_role.items()}
        nothing_yet = Plan(found.plan.subscriber, found.plan.service, found.plan.members, (), None)
        replayer = Replayer(
            nothing_yet,
            imsi=found.context.imsi,
            ports=self._ports.ports,
            queue=self._queue,
            translator=translator,
            contexts=found.context.by_role,
            mover=self,
            moves=False,
            ids=self._ports.ids,
            noted=self._ports.told,
            excused=found.context.excused,
            times=self._times,
        )
        self._ports.begin(replayer)
        return replayer

    def _news(self, context: EdgeContext) -> dict[Role, dict[str, Any]]:
        """The configuration that is known better than before."""
        news: dict[Role, dict[str, Any]] = {}
        for role, values in context.by_role.items():
            before = self._given.setdefault(role, {})
            changed = {key: value for key, value in values.items() if key not in _ONCE and before.get(key) != value}
            if changed:
                news[role] = changed
                before.update(changed)
        return news


def before_pause(entries: Sequence[Entry], now_ns: int) -> list[Entry]:
    """What was captured before the last pause of the network: all that follows from it has been seen.

    A stimulus must not be replayed before its consequences are known: they show how the operator has configured the
    NFs, as the PCRF's policy. A pause is when every NF waits for somebody far away. `now_ns`: since the epoch.
    """
    times = sorted({one.message.captured.captured_at_ns for one in entries})
    until = -1
    for at, following in pairwise([*times, now_ns]):
        if following - at >= _PAUSE_NS:
            until = at
    return [one for one in entries if one.message.captured.captured_at_ns <= until]
