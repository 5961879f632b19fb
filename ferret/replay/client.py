"""The replayer's end of a replay port (the rim: aiohttp)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import ClientError, ClientSession, ClientWebSocketResponse, WSMsgType

from ferret.errors import ConfigError, PeerViolationError
from ferret.replay.port import MAX_FRAME_OCTETS, Command, Report, decode_frame, encode_frame


class ReplayPortClient:
    """A connection to one edge NF. `reported` is called with every report, `lost` once if the NF goes away."""

    def __init__(self, url: str, reported: Callable[[Report], None], lost: Callable[[str], None]) -> None:
        self.url = url
        self._reported = reported
        self._lost = lost
        self._socket: ClientWebSocketResponse | None = None
        self._reader: asyncio.Task[None] | None = None

    async def connect(self, session: ClientSession) -> None:
        """Open the connection. Raises ConfigError where nothing listens."""
        try:
            self._socket = await session.ws_connect(self.url, max_msg_size=MAX_FRAME_OCTETS, compress=0)
        except (ClientError, OSError, TimeoutError) as error:
            raise ConfigError(f"no edge NF answers at {self.url}: {error}") from error
        self._reader = asyncio.create_task(self._read(self._socket))

    async def send(self, command: Command) -> None:
        """Send one frame. A connection that is gone shows as a missing acknowledgement."""
        if self._socket is not None and not self._socket.closed:
            try:
                await self._socket.send_str(encode_frame(command))
            except (ClientError, ConnectionError):
                self._lost(f"{self.url}: the connection was lost")

    async def close(self) -> None:
        """Close the connection."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        if self._socket is not None:
            await self._socket.close()

    async def _read(self, socket: ClientWebSocketResponse) -> None:
        reason = "the NF closed the connection"
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            try:
                frame = decode_frame(message.data)
            except PeerViolationError as error:
                reason = str(error)
                break
            if isinstance(frame, Report):
                self._reported(frame)
        self._lost(f"{self.url}: {reason}")
