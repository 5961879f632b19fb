"""The lab's network as FERRET asks things of it: core, base station with its devices, user agents and routers.

That the device's user agent holds and resumes the call when it is told to is the lab's way: a real device has no such
interface, and an application server of the IMS would do it in its place (TS 23.228 clause 5.6.1).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ferret.errors import LocalMisuseError
from ferret.fallback.messages import Call, NasCounts, WayBack
from ferret.protocols.gtpv2 import MessageType
from ferret.protocols.summary import Protocol
from ferret.records.message import CapturedMessage, Role
from ferret_core.driver.core_set import CoreSet
from ferret_core.driver.device import Device
from ferret_core.driver.node import CoreNode
from ferret_core.driver.user_agent import UserAgentDriver
from ferret_core.enb.driver import EnbDriver
from ferret_core.mme import Mme
from ferret_core.nf import Note
from ferret_core.pcscf import Pcscf
from ferret_core.pgw import Pgw
from ferret_core.ua import Held, ModificationRefused, Resumed, UaEvent
from ferret_core.user_plane import ue_key
from ferret_deploy.host.followed_replay import FallbackError
from ferret_deploy.lab.places import Places

_PATIENCE: Final = 0.9  # s for what the network does; the controller tries again after a second
_GTPV2_HEADER: Final = 12
_REQUESTS: Final = (MessageType.UPDATE_BEARER_REQUEST, MessageType.DELETE_BEARER_REQUEST)
_RESPONSES: Final = (MessageType.UPDATE_BEARER_RESPONSE, MessageType.DELETE_BEARER_RESPONSE)
_MOVED: Final = frozenset({"reconfigured", "reconfiguration_failed"})


@dataclass(slots=True)
class LiveDevice:
    """A device of the lab, and where its packets go. `call`: the name that its user agent has for its call."""

    device: Device
    call: str = ""
    core_routes: tuple[str, ...] = ()  # of the call's dialog, as the core's IMS made them
    downlink: str = "core"
    attached_in: float = 0.0  # s
    registered_in: float = 0.0  # s

    @property
    def imsi(self) -> str:
        """Who it is."""
        return self.device.ue.imsi

    def agent(self) -> UserAgentDriver:
        """Its user agent. Raises FallbackError where it has none."""
        if self.device.sip is None:
            raise FallbackError("the device has no user agent")
        return self.device.sip


def _downlink_of(device: Device) -> str:
    """What the WAN leads to a device: its IPv4 address, or the IPv6 prefix that is its alone."""
    key = ue_key(device.address)
    return key if "/" in key else f"{key}/32"


class LiveNetwork:
    """`core_side`, `edge_side`: the base station's S1 interfaces to either MME. `edge`: the SGW's address there."""

    def __init__(
        self, places: Places, core: CoreSet, core_side: EnbDriver, edge_side: EnbDriver, *, edge_sgw: str
    ) -> None:
        self.devices: dict[str, LiveDevice] = {}
        self.core = core
        self._places = places
        self._core_side = core_side
        self._edge_side = edge_side
        self._edge_sgw = edge_sgw
        self._changes = BearerChanges()

    def take(self, captured: CapturedMessage) -> None:
        """What agents have captured shows which bearers are just being changed."""
        self._changes.take(captured)

    # The IMS.

    async def hold(self, call: Call) -> None:
        """re-INVITE by the device's user agent, through the core's CSCFs."""
        live = self._device(call)
        dialog = live.agent().agent.calls[live.call].dialog
        live.core_routes = dialog.routes if dialog is not None else ()
        await self._modified(live, lambda: live.agent().hold(live.call), Held)
        await self._until(lambda: not self._changes.open)

    async def resume(self, call: Call, routes: tuple[str, ...]) -> None:
        """re-INVITE along these routes, or those of the core's IMS."""
        live = self._device(call)
        if live.call not in live.agent().agent.calls:
            return  # the call is over
        if routes or live.core_routes:
            live.agent().agent.reroute(live.call, routes or live.core_routes)
        await self._modified(live, lambda: live.agent().resume(live.call), Resumed)

    async def _modified(self, live: LiveDevice, order: Callable[[], None], done: type[Held] | type[Resumed]) -> None:
        """Have the user agent change the call, and wait for the other party's answer."""
        agent, answered = live.agent(), asyncio.get_running_loop().create_future()
        told = agent.told

        def listen(event: UaEvent) -> None:
            if told is not None:
                told(event)
            mine = (isinstance(event, (Held, Resumed)) and not event.by_peer) or isinstance(event, ModificationRefused)
            if mine and not answered.done():
                answered.set_result(event)

        agent.told = listen
        try:
            order()
            async with asyncio.timeout(_PATIENCE):
                event = await answered
        except LocalMisuseError as error:
            raise FallbackError(f"the device cannot change the call now: {error}") from error
        finally:
            agent.told = told
        if not isinstance(event, done):
            raise FallbackError("the other party refused to change the call")

    async def end_call(self, call: Call, call_ids: Sequence[str]) -> None:
        """The core's P-CSCF ends its Rx session, and with it goes the bearer."""
        node = self._node(Role.PCSCF)
        if isinstance(node.nf, Pcscf):
            for one in call_ids:
                node.emit(node.nf.end_call(one))
        await self.core.until(lambda: not self.dedicated_bearers(call.subscriber), within=_PATIENCE)

    # Base station and device.

    def share(self, subscriber: str, mme_ue_s1ap_id: int) -> None:
        """The base station lets the edge's MME signal with the device."""
        self._core_side.enb.share(subscriber, self._edge_side.enb, mme_ue_s1ap_id)

    def unshare(self, subscriber: str) -> None:
        """And no longer."""
        self._edge_side.enb.unshare(subscriber)

    async def arrive(self, call: Call) -> None:
        """The WAN leads the device's downlink to the edge's PGW."""
        live = self._device(call)
        if not self.is_at(call.subscriber, self._edge_sgw):
            raise FallbackError("not every bearer leads to the edge")
        self._places.wan.route(_downlink_of(live.device), self._places["edge"].sgi_port)
        live.downlink = "edge"

    def counted(self, subscriber: str, counts: NasCounts) -> None:
        """Should the core's MME have to signal with the device meanwhile, the device takes it for genuine."""
        mme = self._node(Role.MME).nf
        if isinstance(mme, Mme):
            mme.count_from(subscriber, counts.downlink)

    async def move_back(self, call: Call, way: WayBack, counts: NasCounts | None) -> None:
        """Downlink first; then the core's MME moves base station and device, or the base station lets the device go."""
        live, imsi = self._device(call), call.subscriber
        self._places.wan.route(_downlink_of(live.device), None)
        live.downlink = "core"
        if counts is not None:
            self.counted(imsi, counts)
        if way is WayBack.MODIFY and not self.is_at(imsi, self._core_sgw):
            await self._move(imsi, 0 if counts is None else counts.downlink)
        elif way is WayBack.RELEASE:
            enb = self._core_side.enb
            self._core_side.perform(enb.release(enb.ue(imsi)))
        self._edge_side.enb.unshare(imsi)

    async def _move(self, imsi: str, downlink_count: int) -> None:
        mme, pgw = self._node(Role.MME), self._node(Role.PGW)
        if not (isinstance(mme.nf, Mme) and isinstance(pgw.nf, Pgw)):
            raise FallbackError("the core has no MME or no PGW")
        told: asyncio.Future[Note] = asyncio.get_running_loop().create_future()

        def noted(note: Note) -> None:
            if note.event in _MOVED and note.fields.get("imsi") == imsi and not told.done():
                told.set_result(note)

        mme.noted = noted
        try:
            now = time.monotonic()
            mme.emit(mme.nf.expect_move(imsi, now, downlink_count=downlink_count))
            pgw.emit(pgw.nf.move(imsi, now))
            async with asyncio.timeout(_PATIENCE):
                await told
        finally:
            mme.noted = None
        if not self.is_at(imsi, self._core_sgw):
            raise FallbackError("not every bearer leads to the core again")

    # Small things.

    def is_at(self, imsi: str, sgw: str) -> bool:
        """Whether the uplink of every E-RAB goes to this SGW."""
        return {end.address for end in self._core_side.enb.uplink_ends(imsi).values()} == {sgw}

    def dedicated_bearers(self, imsi: str) -> list[int]:
        """The EBIs of those that the core's MME knows of."""
        mme = self._node(Role.MME).nf
        ue = mme.by_imsi.get(imsi) if isinstance(mme, Mme) else None
        return [] if ue is None else [ebi for ebi in ue.bearers if ebi not in ue.pdns]

    def uplink(self, imsi: str) -> str:
        """Over what a device's packets go."""
        return "core" if self.is_at(imsi, self._core_sgw) else "edge"

    @property
    def _core_sgw(self) -> str:
        return self.core.lab.places.address(Role.SGW)

    def _node(self, role: Role) -> CoreNode:
        return self.core.nfs[role].node

    def _device(self, call: Call) -> LiveDevice:
        found = self.devices.get(call.subscriber)
        if found is None:
            raise FallbackError(f"the lab has no device of subscriber {call.subscriber}")
        return found

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(_PATIENCE):
            while not holds():
                self._changes.changed.clear()
                await self._changes.changed.wait()


class BearerChanges:
    """Update and Delete Bearer procedures that agents see under way in the core (TS 29.274 clauses 7.2.9, 7.2.15)."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self._since: dict[tuple[str, bytes, int], float] = {}

    @property
    def open(self) -> int:
        """How many wait for their response; what has waited for long will get none."""
        return len(self._lately())

    def _lately(self) -> dict[tuple[str, bytes, int], float]:
        now = time.monotonic()
        return {key: since for key, since in self._since.items() if now - since < _PATIENCE}

    def take(self, captured: CapturedMessage) -> None:
        """Take what an agent has captured. Each agent sees a request before its response."""
        octets = captured.octets
        if captured.protocol is not Protocol.GTPV2 or len(octets) < _GTPV2_HEADER:
            return
        kind, sequence = octets[1], octets[8:11]
        if kind in _REQUESTS:
            self._since = {**self._lately(), (captured.agent, sequence, kind): time.monotonic()}
        elif kind in _RESPONSES:
            self._since.pop((captured.agent, sequence, kind - 1), None)
        self.changed.set()
