"""The replay ports of the edge's NFs, held open as long as the host runs (the rim).

One replay at a time is under way; what it asks for is answered to it. What the host itself asks for is answered here,
whatever becomes of replays. What NFs tell besides goes to `noted`, and an NF that goes away to `lost`, until it is
`back`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Final

from aiohttp import ClientSession, ClientTimeout

from ferret.errors import FerretError
from ferret.records.message import Role
from ferret.replay.client import ReplayPortClient
from ferret.replay.plan import Plan
from ferret.replay.port import Ack, Command, Forget, Noted, Report, Serve, Settle, Settled
from ferret.replay.runner import FIRST_COMMAND_ID, Replayer, in_order_of_release
from ferret_edge.site import Site

_TRY_AGAIN: Final = 0.25  # s between attempts to reach an NF that is gone
_LOOK_AGAIN: Final = 0.003  # s
_UNCHANGED: Final = 10  # looks
_PATIENCE: Final = 1.0  # s for an answer


class _Port:
    """One NF's port, whoever answers there just now."""

    def __init__(self) -> None:
        self.client: ReplayPortClient | None = None

    async def send(self, command: Command) -> None:
        """Send one frame; to nobody, where the NF is gone."""
        if self.client is not None:
            await self.client.send(command)


class EdgePorts:
    """Connections to the NFs at `site`."""

    def __init__(
        self,
        site: Site,
        roles: Iterable[Role],
        *,
        noted: Callable[[Noted], None],
        lost: Callable[[Role, str], None],
        back: Callable[[Role], None],
    ) -> None:
        self.site = site
        self.ports = {role: _Port() for role in sorted(roles)}
        self.ids = count(FIRST_COMMAND_ID)
        self.gone: dict[Role, str] = {}
        self.told = noted
        self._lost = lost
        self._back = back
        self._current: Replayer | None = None
        self._answers: dict[int, asyncio.Future[Report]] = {}
        self._going: dict[Role, asyncio.Future[None]] = {}  # done when the NF is gone
        self._session: ClientSession | None = None
        self._reaching: dict[Role, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Connect to every NF. Raises ConfigError where one does not answer."""
        self._session = ClientSession(timeout=ClientTimeout(total=None))
        try:
            for role in self.ports:
                await self._connect(role)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close every connection."""
        tasks, self._reaching = list(self._reaching.values()), {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for port in self.ports.values():
            client, port.client = port.client, None
            if client is not None:
                await client.close()
        if self._session is not None:
            await self._session.close()

    def begin(self, replayer: Replayer) -> None:
        """From now on NFs answer this replayer."""
        self._current = replayer
        for role, reason in self.gone.items():
            replayer.lost(f"edge {role}: {reason}")

    def end(self, replayer: Replayer) -> None:
        """Nothing is answered to this replayer any more."""
        if self._current is replayer:
            self._current = None

    async def serve(self, subscriber: str, calls: Sequence[str]) -> None:
        """His device is at the edge: it, and these calls, are served there. Raises TimeoutError."""
        await self._ask_all(lambda number: Serve(number, subscriber, begins=True, calls=tuple(calls)))

    async def forget(self, subscriber: str, plan: Plan) -> None:
        """Have every NF that is there let go what it holds of a subscriber. Raises TimeoutError."""
        calls = plan.call_ids
        await self._ask_all(lambda number: Serve(number, subscriber, begins=False))
        for role in in_order_of_release(self.ports):
            await self._ask(role, lambda number: Forget(number, subscriber, calls))
        await self._quiet()

    async def _quiet(self) -> None:
        """Wait until nothing is under way between the NFs; for an NF that is gone nobody waits.

        What was once lost between them leaves the sums apart for ever: then it is enough that nothing changes.
        """
        sums, unchanged = (-1, -1), 0
        async with asyncio.timeout(_PATIENCE):
            while not self.gone and unchanged < _UNCHANGED:
                before, sums = sums, await self._sums()
                unchanged = unchanged + 1 if sums == before else 0
                if unchanged and sums[0] == sums[1]:
                    return
                await asyncio.sleep(_LOOK_AGAIN)

    async def _sums(self) -> tuple[int, int]:
        found = [one for one in await self._ask_all(Settle) if isinstance(one, Settled)]
        return sum(one.sent for one in found), sum(one.received for one in found)

    async def _ask_all(self, make: Callable[[int], Command]) -> list[Report | None]:
        return list(await asyncio.gather(*(self._ask(role, make) for role in self.ports)))

    async def _ask(self, role: Role, make: Callable[[int], Command]) -> Report | None:
        """One NF's answer; None where the NF is gone, or goes."""
        if role in self.gone:
            return None
        command = make(next(self.ids))
        answer = self._answers[command.id] = asyncio.get_running_loop().create_future()
        try:
            await self.ports[role].send(command)
            gone = self._going[role]
            async with asyncio.timeout(_PATIENCE):
                await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
            return answer.result() if answer.done() else None
        finally:
            self._answers.pop(command.id, None)

    async def _connect(self, role: Role) -> None:
        if self._session is None:
            return
        client = ReplayPortClient(
            self.site.replay_url(role), self._reported, lambda reason: self._is_gone(role, client, reason)
        )
        await client.connect(self._session)
        self.ports[role].client = client
        self._going[role] = asyncio.get_running_loop().create_future()

    def _reported(self, report: Report) -> None:
        answer = self._answers.get(report.id) if isinstance(report, (Ack, Settled)) else None
        if answer is not None:
            if not answer.done():
                answer.set_result(report)
        elif self._current is not None:
            self._current.reported(report)
        elif isinstance(report, Noted):
            self.told(report)

    def _is_gone(self, role: Role, client: ReplayPortClient, reason: str) -> None:
        if self.ports[role].client is not client:
            return
        self.ports[role].client = None
        self.gone[role] = reason
        self._going.pop(role).set_result(None)
        if self._current is not None:
            self._current.lost(f"edge {role}: {reason}")
        self._lost(role, reason)
        self._reaching[role] = asyncio.create_task(self._reach_again(role))

    async def _reach_again(self, role: Role) -> None:
        while role in self.gone:
            await asyncio.sleep(_TRY_AGAIN)
            with contextlib.suppress(FerretError):
                await self._connect(role)
                del self.gone[role]
                self._back(role)
