"""A path between Diameter nodes that delays, reorders and repeats messages, as freeDiameter's test_netemul does.

Debian builds freeDiameter without that extension. Loss is tested under a clock of the test's own (tests/faults).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random

from ferret.transport import tcp
from ferret.transport.endpoint import Address
from ferret.transport.tcp import TcpConnection, TcpServer

_T_FLAG = 0x10  # potentially re-transmitted (RFC 6733 clause 3)
_REQUEST = 0x80
_BASE = frozenset({257, 280, 282})  # CER, DWR, DPR: between neighbours, left alone


class ImpairedPath:
    """Everything that connects is taken on to `target`; what became of messages is counted."""

    def __init__(self, target: Address, random: Random, *, repeated: float, delay: float) -> None:
        self.counts: Counter[str] = Counter()
        self._target = target
        self._random = random
        self._repeated = repeated  # share of messages that come twice
        self._delay = delay  # seconds at the most
        self._tasks: set[asyncio.Task[None]] = set()
        self._sockets: list[TcpConnection] = []

    def accept(self, near: TcpConnection) -> None:
        """Somebody connects."""
        waiting: list[bytes] = []
        near.received = waiting.append
        task = asyncio.ensure_future(self._connect(near, waiting))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """Nothing is carried any more."""
        for task in self._tasks:
            task.cancel()
        for one in self._sockets:
            one.close()

    async def _connect(self, near: TcpConnection, waiting: list[bytes]) -> None:
        far = await tcp.connect(self._target)
        self._sockets += [near, far]
        one_way, other_way = self._way(far), self._way(near)
        near.received, far.received = one_way, other_way

        def end(reason: str) -> None:
            near.close()
            far.close()

        near.lost = far.lost = end
        for octets in waiting:
            one_way(octets)

    def _way(self, onward: TcpConnection) -> Callable[[bytes], None]:
        buffer = bytearray()

        def received(octets: bytes) -> None:
            buffer.extend(octets)
            while len(buffer) >= 4 and len(buffer) >= (length := int.from_bytes(buffer[1:4], "big")):
                self._carry(bytes(buffer[:length]), onward)
                del buffer[:length]

        return received

    def _carry(self, message: bytes, onward: TcpConnection) -> None:
        if int.from_bytes(message[5:8], "big") in _BASE:
            onward.write(message)
            return
        copies = [message]
        if self._random.random() < self._repeated:
            flags = message[4] | (_T_FLAG if message[4] & _REQUEST else 0)
            copies.append(message[:4] + bytes((flags,)) + message[5:])
            self.counts["repeated"] += 1
        loop = asyncio.get_running_loop()
        for one in copies:
            self.counts["carried"] += 1
            loop.call_later(self._random.uniform(0.0, self._delay), onward.write, one)


@asynccontextmanager
async def impaired(
    address: Address, target: Address, *, seed: int, repeated: float, delay: float
) -> AsyncIterator[ImpairedPath]:
    """A path from `address` to `target`."""
    path = ImpairedPath(target, Random(seed), repeated=repeated, delay=delay)
    server = await TcpServer.listen(*address, path.accept)
    try:
        yield path
    finally:
        server.close()
        path.stop()
