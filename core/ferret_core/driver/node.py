"""One NF of the core at work: what arrives on its links goes to its logic, what that makes goes out on them."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Final

import structlog

from ferret.errors import ProtocolError
from ferret.records.message import Interface
from ferret_core.driver.links.link import Link
from ferret_core.driver.links.timer import Timer
from ferret_core.nf import Input, NetworkFunction, Note, Output, Received, Send

log = structlog.get_logger(__name__)
_KEPT: Final = 256


class CoreNode:
    """An NF with its links. The last notes are kept; `noted`, if set, gets each, and `tap` each message, either way.

    `changed` is set whenever something has happened to the NF; several nodes may share one.
    """

    def __init__(
        self, nf: NetworkFunction, *, changed: asyncio.Event | None = None, clock: Callable[[], float] = monotonic
    ) -> None:
        self.nf = nf
        self.links: dict[Interface, Link] = {}
        self.notes: deque[Note] = deque(maxlen=_KEPT)
        self.noted: Callable[[Note], None] | None = None
        self.tap: Callable[[Received | Send], None] | None = None
        self.changed = changed or asyncio.Event()
        self.counts: Counter[str] = Counter()  # received, sent, refused, unsent
        self._clock = clock
        self._timer = Timer(self._wake, clock)

    async def start(self) -> None:
        """Open every link. Raises TransportError."""
        for link in dict.fromkeys(self.links.values()):
            await link.start()

    async def stop(self) -> None:
        """Close every link."""
        self._timer.set(None)
        for link in dict.fromkeys(self.links.values()):
            await link.stop()

    def arrived(self, event: Input) -> None:
        """A link brings something. A peer's bad message costs that message, never the NF."""
        self.counts["received"] += 1
        if self.tap is not None and isinstance(event, Received):
            self.tap(event)
        try:
            self.emit(self.nf.receive(event, self._clock()))
        except ProtocolError as error:
            self.counts["refused"] += 1
            log.warning("message_refused", nf=str(self.nf.role), reason=str(error))
            self._happened()

    def emit(self, outputs: Iterable[Output]) -> None:
        """Send and note what the NF has made."""
        for output in outputs:
            if isinstance(output, Note):
                self._note(output)
                continue
            link = self.links.get(output.interface)
            if link is None:
                self.counts["unsent"] += 1
                log.warning("no_link", nf=str(self.nf.role), interface=str(output.interface))
                continue
            self.counts["sent"] += 1
            if self.tap is not None:
                self.tap(output)
            link.send(output)
        self._happened()

    def _note(self, note: Note) -> None:
        log.debug(note.event, nf=str(self.nf.role), about=dict(note.fields))
        self.notes.append(note)
        if self.noted is not None:
            self.noted(note)

    def _happened(self) -> None:
        self._timer.set(self.nf.deadline())
        self.changed.set()

    def _wake(self) -> None:
        self.emit(self.nf.wake(self._clock()))
