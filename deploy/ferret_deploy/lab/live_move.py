"""Moving a live device to the edge in mid-call, and back: the same base station and device, not copies of them.

The base station gets an S1 association with the edge's MME beside the core's (S1 Flex, TS 36.410 clause 4.3). The
recording of the call so far is replayed at the edge NFs; then their Update Bearer Requests move the device's E-RABs to
the edge's SGW (E-RAB MODIFY REQUEST with Transport Information, NAS Modify EPS bearer context under the device's own
keys), and the device's packets leave through the edge's PGW. The call's SIP dialog stays with the core's IMS.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from aiohttp import ClientSession, ClientTimeout

from ferret.errors import FerretError
from ferret.records.message import Role, SignallingMessage
from ferret.records.recorder import Capture
from ferret.replay.device import device_at
from ferret.replay.plan import Plan, plan
from ferret.replay.rules import load_rules
from ferret.replay.translation import Domain, Translation
from ferret.replay.verdict import RecordingResult
from ferret.transport.sctp import choose
from ferret_agents.pipeline import private_queue
from ferret_core.driver.core_set import CoreSet
from ferret_core.driver.packet_network import PacketNetwork
from ferret_core.enb.driver import EnbDriver
from ferret_core.mme import Mme
from ferret_core.nf import NetworkFunction
from ferret_core.pgw import Pgw
from ferret_deploy.replay_run import EdgeReplay, ReplayOptions
from ferret_edge.context import EdgeContext
from ferret_edge.edge_set import EdgeSet
from ferret_edge.site import S1AP_PORT, Site

_SKIPPED_COUNTS: Final = 16
"""After a failure nobody knows how many messages of the edge's MME the device took; more than a move has."""


class LiveMoveError(FerretError):
    """The live device could not be moved; its call goes on over the core."""

    exit_status = 1


class _LiveMover:
    """The replayer's mover: the device is here already, and only has to know one more MME."""

    assumed: Sequence[str] = ()

    def __init__(self, plan_: Plan, translation: Translation, context: EdgeContext, *, move: LiveMove) -> None:
        self._plan = plan_
        self._translation = translation
        self._move = move

    async def prepare(self, subscriber: str) -> int:
        """Let the edge's MME signal with the device, under the ID that it has given it; the COUNT to go on with."""
        device = device_at((step.message for step in self._plan.steps), self._plan.reconfigure_after or 0)
        mme_id = self._translation.edge(Domain.MME_UE_S1AP_ID, device.mme_ue_s1ap_id or 0)
        if not isinstance(mme_id, int) or device.security is None:
            raise LiveMoveError("the edge's MME has not taken the device on")
        self._move.core_side.enb.share(subscriber, self._move.edge_side.enb, mme_id)
        return device.security.downlink_count

    async def probe(self, subscriber: str) -> Mapping[str, object]:
        """No probe: live packets show the new path."""
        return {}

    def uplink_nas(self, message: SignallingMessage, nas_pdu: bytes) -> bytes:
        """The recording ends before the move."""
        return nas_pdu


@dataclass(slots=True)
class LiveMove:
    """The edge beside a live base station. `core_side`, `edge_side`: its S1 interfaces to either MME."""

    core: CoreSet
    core_side: EnbDriver
    edge_side: EnbDriver
    edge: EdgeSet
    site: Site
    session: ClientSession
    seed: int
    result: RecordingResult | None = None

    async def to_edge(self, capture: Capture, imsi: str) -> float:
        """Replay the latest call and move the device; seconds that it took. Raises LiveMoveError."""
        started = time.monotonic()
        calls = [one for one in capture.recordings if (one.subscriber, one.service) == (imsi, "volte")]
        if not calls:
            raise LiveMoveError("the agents have recorded no call")
        call = max(calls, key=lambda one: one.begin_ns)
        planned = plan(subscriber=call.subscriber, service=call.service, messages=call.everything)
        enb = self.core_side.enb.address
        with private_queue("replay") as queue:
            options = ReplayOptions(load_rules(None), seed=self.seed)
            replay = EdgeReplay(self.site, {enb: enb}, self.session, queue, options, capture.messages, self._mover)
            self.result = await replay.one(planned)
        if not self.result.reconfigured:
            raise LiveMoveError(f"the device was not moved: {self.result.not_reconfigured or self.result.abandoned}")
        if not self.is_at(imsi, self.site.address(Role.SGW)):
            raise LiveMoveError("not every bearer leads to the edge")
        return time.monotonic() - started

    async def to_core(self, imsi: str) -> float:
        """Move the device back to the core's SGW, signalled by the core's MME; seconds that it took.

        The core's MME goes on with the NAS COUNT that the edge's has come to. Raises TimeoutError.
        """
        started = time.monotonic()
        await self._back(imsi, _count(self.edge.nfs[Role.MME].node.nf, imsi))
        return time.monotonic() - started

    async def restore(self, imsi: str) -> None:
        """After a move that failed: whatever of it has reached the base station is undone. Raises TimeoutError."""
        if self.is_at(imsi, self.core.lab.places.address(Role.SGW)):
            self.edge_side.enb.unshare(imsi)
        else:
            await self._back(imsi, _count(self.core.nfs[Role.MME].node.nf, imsi) + _SKIPPED_COUNTS)

    async def _back(self, imsi: str, count: int) -> None:
        mme, pgw = self.core.nfs[Role.MME].node, self.core.nfs[Role.PGW].node
        if not (isinstance(mme.nf, Mme) and isinstance(pgw.nf, Pgw)):
            raise LiveMoveError("the device has no MME or no PGW")
        now = time.monotonic()
        mme.emit(mme.nf.expect_move(imsi, now, downlink_count=count))
        pgw.emit(pgw.nf.move(imsi, now))
        await self.core_side.until(lambda: self.is_at(imsi, self.core.lab.places.address(Role.SGW)))
        self.edge_side.enb.unshare(imsi)

    def is_at(self, imsi: str, sgw: str) -> bool:
        """Whether the uplink of every E-RAB goes to this SGW."""
        return {end.address for end in self.core_side.enb.uplink_ends(imsi).values()} == {sgw}

    def _mover(self, plan_: Plan, translation: Translation, context: EdgeContext) -> _LiveMover:
        return _LiveMover(plan_, translation, context, move=self)


def _count(mme: NetworkFunction, imsi: str) -> int:
    """The NAS COUNT of the next message that an MME sends to a device; 0 where it knows none."""
    known = mme.by_imsi.get(imsi) if isinstance(mme, Mme) else None
    return known.security.downlink_count if known is not None and known.security is not None else 0


@asynccontextmanager
async def edge_beside(
    core: CoreSet, station: EnbDriver, *, network: str, packets: PacketNetwork, seed: int = 0
) -> AsyncIterator[LiveMove]:
    """Edge NFs at `network`, and the base station's association with their MME. `packets`: behind their PGW.

    To be entered in the edge's place; `LiveMove.edge_side` is still to be started, in the base station's.
    """
    site = Site.of(network)
    members = frozenset((Role.MME, Role.SGW, Role.PGW, Role.PCRF, Role.PCSCF, Role.SCSCF))
    async with AsyncExitStack() as stack:
        edge = EdgeSet(members, site=site, rules=load_rules(None), seed=seed, sctp=choose().transport, network=packets)
        await stack.enter_async_context(edge)
        session = await stack.enter_async_context(ClientSession(timeout=ClientTimeout(total=None)))
        mme = site.address(Role.MME)
        edge_side = EnbDriver(station.enb.towards(mme), mme=(mme, S1AP_PORT))
        stack.callback(edge_side.stop)
        yield LiveMove(core, station, edge_side, edge, site, session, seed)
