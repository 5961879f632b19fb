"""A user agent at work: its timers, datagrams and events; and a remote party, on a UDP socket of its own."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from random import Random
from time import monotonic
from typing import Final, TypeVar

from ferret.errors import LocalMisuseError
from ferret.protocols.sip import Timings
from ferret.transport.endpoint import Address
from ferret.transport.udp import UdpTransport
from ferret_core.driver.links.sip_link import address_of
from ferret_core.driver.links.timer import Timer
from ferret_core.ua import Place, UaConfiguration, UaEvent, UserAgent

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

    def call(self, peer: str) -> str:
        """Call a SIP or tel URI; the name of the call."""
        name = self.agent.call(peer, self._clock())
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
        host = f"[{source[0]}]" if ":" in source[0] else source[0]
        self.take(self.agent.receive_datagram(octets, f"{host}:{source[1]}", self._clock()))

    def take(self, events: Iterable[UaEvent]) -> None:
        """Send what the user agent has to send, pass on what it told."""
        for octets, destination in self.agent.datagrams():
            host, port = address_of(destination)
            self._send(octets, (host.strip("[]"), port))
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

    def _wake(self) -> None:
        self.take(self.agent.wake(self._clock()))


class RemoteParty(UserAgentDriver):
    """The party on the internet's side: SIP on a UDP socket, no bearer to reserve, no registration."""

    def __init__(
        self,
        identity: str,
        address: str,
        proxy: str,
        random: Random,
        *,
        media_port: int = 49000,
        ringing_seconds: float | None = None,
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
        )
        super().__init__(UserAgent(own, random), clock=clock)
        self._socket: UdpTransport | None = None

    async def start(self) -> None:
        """Open the socket. Raises TransportError."""
        host, port = address_of(self.agent.configuration.address)
        self._socket = await UdpTransport.bind(host.strip("[]"), port, self.received)

    def stop(self) -> None:
        """Close the socket."""
        super().stop()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, octets: bytes, destination: Address) -> None:
        if self._socket is not None:
            self._socket.send(octets, destination)
