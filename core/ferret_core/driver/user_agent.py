"""A user agent at work: its timers, datagrams and events; and a remote party, on a UDP socket of its own."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from random import Random
from time import monotonic
from typing import Final, TypeVar

import structlog

from ferret.errors import LocalMisuseError
from ferret.protocols import sip
from ferret.protocols.sip import Timings
from ferret.transport.endpoint import Address, text
from ferret.transport.udp import UdpTransport
from ferret_core.driver.links.sip_link import address_of, is_stream, response_address
from ferret_core.driver.links.sip_streams import SipStreams
from ferret_core.driver.links.timer import Timer
from ferret_core.ua import Place, UaConfiguration, UaEvent, UserAgent

log = structlog.get_logger(__name__)
EventT = TypeVar("EventT")
_KEPT: Final = 1024


class UserAgentDriver:
    """Runs a user agent. `told`, if set, gets each event; the last ones are kept in `events` too.

    Orders are those of `UserAgent`, without the time. What is on the wire is a subclass's.
    """

    def __init__(self, agent: UserAgent, *, clock: Callable[[], float] = monotonic) -> None:
        self.agent = agent
        self.events: deque[UaEvent] = deque(maxlen=_KEPT)
        self.told: Callable[[UaEvent], None] | None = None
        self._clock = clock
        self._timer = Timer(self._wake, clock)
        self._changed = asyncio.Event()

    def register(self) -> None:
        """Register, or refresh the registration."""
        self.take(self.agent.register(self._clock()))

    def deregister(self) -> None:
        """Leave."""
        self.take(self.agent.deregister(self._clock()))

    def call(self, peer: str, *, offers: bool = True) -> str:
        """Call a SIP or tel URI; the name of the call. Without `offers`, the other party offers media."""
        name = self.agent.call(peer, self._clock(), offers=offers)
        self.take(())
        return name

    def answer(self, call: str) -> None:
        """Pick up."""
        self.take(self.agent.answer(call, self._clock()))

    def reject(self, call: str) -> None:
        """Say that we are busy."""
        self.take(self.agent.reject(call, self._clock()))

    def hold(self, call: str) -> None:
        """Put on hold."""
        self.take(self.agent.hold(call, self._clock()))

    def resume(self, call: str, place: Place | None = None) -> None:
        """Go on after a hold; `place`: our media are received there from now on."""
        self.take(self.agent.resume(call, self._clock(), place=place))

    def hang_up(self, call: str) -> None:
        """End a call."""
        self.take(self.agent.hang_up(call, self._clock()))

    def message(self, peer: str, text: str) -> str:
        """Send a short message to a SIP or tel URI; its name."""
        name = self.agent.message(peer, text, self._clock())
        self.take(())
        return name

    async def wait_for(
        self, kind: type[EventT], holds: Callable[[EventT], bool] = lambda event: True, *, within: float = 5.0
    ) -> EventT:
        """The next event of this kind that has not been waited for; events before it are passed over.

        Raises TimeoutError after `within` seconds.
        """
        async with asyncio.timeout(within):
            while True:
                while self.events:
                    event = self.events.popleft()
                    if isinstance(event, kind) and holds(event):
                        return event
                self._changed.clear()
                await self._changed.wait()

    def received(self, octets: bytes, source: Address) -> None:
        """A datagram has come for the user agent."""
        self.take(self.agent.receive_datagram(octets, text(source), self._clock()))

    def took(self, message: sip.Message, peer: Address) -> None:
        """A connection has brought a message."""
        self.take(self.agent.receive_message(message, text(peer), self._clock()))

    def failed(self, messages: list[sip.Message], peer: Address, reason: str) -> None:
        """There is no connection for these."""
        log.warning("sip_stream_failed", peer=peer[0], reason=reason)
        for message in messages:
            self.take(self.agent.not_sent(message, text(peer), self._clock()))

    def lost(self, peer: Address) -> None:
        """A connection has ended."""
        self.take(self.agent.connection_lost(self._clock()))

    def take(self, events: Iterable[UaEvent]) -> None:
        """Send what the user agent has to send, pass on what it told."""
        for message, destination in self.agent.to_send():
            if is_stream(message):
                self._send_in_stream(message, address_of(destination))
            else:
                self._send(message.encode(), address_of(destination))
        self._timer.set(self.agent.deadline())
        for event in events:
            self.events.append(event)
            if self.told is not None:
                self.told(event)
        self._changed.set()

    def stop(self) -> None:
        """No timer runs any more."""
        self._timer.set(None)

    def _send(self, octets: bytes, destination: Address) -> None:
        raise LocalMisuseError("a user agent without a wire")

    def _send_in_stream(self, message: sip.Message, peer: Address) -> None:
        raise LocalMisuseError("a user agent without a wire")

    def _wake(self) -> None:
        self.take(self.agent.wake(self._clock()))


class RemoteParty(UserAgentDriver):
    """The party on the internet's side: SIP on UDP and TCP sockets, no bearer to reserve, no registration."""

    def __init__(
        self,
        identity: str,
        address: str,
        proxy: str,
        random: Random,
        *,
        media_port: int = 49000,
        ringing_seconds: float | None = None,
        transport: str = "UDP",
        stream_above: int = 0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`address`, `proxy`: "host:port"; `proxy` is the IMS's I-CSCF, where calls to subscribers go."""
        own = UaConfiguration(
            address=address,
            proxy=proxy,
            identity=identity,
            media_port=media_port,
            resources_at_once=True,
            ringing_seconds=ringing_seconds,
            access_network="",
            user_agent="FERRET remote party",
            timings=Timings(),
            transport=transport,
            stream_above=stream_above,
        )
        super().__init__(UserAgent(own, random), clock=clock)
        self._socket: UdpTransport | None = None
        self._streams = SipStreams(self.took, self.failed, self.lost)

    async def start(self) -> None:
        """Open the sockets. Raises TransportError."""
        address = address_of(self.agent.configuration.address)
        self._socket = await UdpTransport.bind(*address, self.received)
        try:
            await self._streams.start(*address)
        except BaseException:
            self._socket.close()
            raise

    def stop(self) -> None:
        """Close the sockets."""
        super().stop()
        self._streams.stop()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, octets: bytes, destination: Address) -> None:
        if self._socket is not None:
            self._socket.send(octets, destination)

    def _send_in_stream(self, message: sip.Message, peer: Address) -> None:
        if not message.is_request and not self._streams.has(peer):
            peer = response_address(message, peer)
        self._streams.send(message, peer)
