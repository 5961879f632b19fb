"""An edge NF as a web service: the replay port, its health and its metrics (the rim: aiohttp)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from aiohttp import WSCloseCode, WSMsgType, web

from ferret.errors import FerretError, PeerViolationError
from ferret.replay.port import MAX_FRAME_OCTETS, Ack, Command, Report, decode_frame, encode_frame

OUTBOX_LIMIT = 16384
"""Reports that may wait for a slow replayer; one more ends its connection, since a report must not be lost silently."""


class ReplayService(Protocol):
    """What stands behind a replay port."""

    def execute(self, command: Command, report: Callable[[Report], None]) -> None:
        """Execute a command once; answers and outputs go to `report`, now or later."""

    def health(self) -> dict[str, object]:
        """The NF's state in a few words."""

    def metrics(self) -> str:
        """The NF's counters in Prometheus' text format."""


def replay_application(service: ReplayService) -> web.Application:
    """The HTTP application of one edge NF: `/replay` (WebSocket), `/healthz`, `/metrics`."""

    open_sockets: set[web.WebSocketResponse] = set()

    async def replay(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=MAX_FRAME_OCTETS, compress=False)
        await socket.prepare(request)
        open_sockets.add(socket)
        try:
            await _serve(service, socket)
        finally:
            open_sockets.discard(socket)
        return socket

    async def going_away(_: web.Application) -> None:
        for socket in list(open_sockets):
            await socket.close(code=WSCloseCode.GOING_AWAY, drain=False)

    async def health(_: web.Request) -> web.Response:
        return web.json_response(service.health())

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text=service.metrics(), content_type="text/plain", charset="utf-8")

    application = web.Application()
    application.on_shutdown.append(going_away)
    application.add_routes([web.get("/replay", replay), web.get("/healthz", health), web.get("/metrics", metrics)])
    return application


async def _serve(service: ReplayService, socket: web.WebSocketResponse) -> None:
    """One replayer's connection: commands in, reports out in the order in which they are made."""
    outbox: asyncio.Queue[Report] = asyncio.Queue(OUTBOX_LIMIT)
    writer = asyncio.create_task(_write(outbox, socket))
    try:
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                _take(service, message.data, outbox.put_nowait)
    except asyncio.QueueFull:
        await socket.close(message=b"replayer does not read its reports")
    finally:
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)


def _take(service: ReplayService, text: str, report: Callable[[Report], None]) -> None:
    """Execute one frame. What cannot be read or executed is answered, never fatal."""
    number = 0
    try:
        frame = decode_frame(text)
        if isinstance(frame, Report):
            raise PeerViolationError(f"replay port: {frame.KIND} is not a command")
        number = frame.id
        service.execute(frame, report)
    except FerretError as error:
        report(Ack(number, str(error)))


async def _write(outbox: asyncio.Queue[Report], socket: web.WebSocketResponse) -> None:
    while not socket.closed:
        await socket.send_str(encode_frame(await outbox.get()))
