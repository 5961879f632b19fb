"""Puts an emulated base station on real sockets: S1AP over SCTP 36412, GTP-U over UDP 2152.

This is the only module of the core's NFs that touches the world; everything that it decides is decided in `enb`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import structlog

from ferret.errors import DecodeError, LocalMisuseError, ProtocolError
from ferret.protocols import gtpu, s1ap
from ferret.records.message import Interface, Role
from ferret.transport.endpoint import Address, TransportError
from ferret.transport.sctp import PPID_S1AP, SctpAssociation, SctpMessage, SctpOptions, SctpTransport, choose
from ferret.transport.udp import UdpTransport
from ferret_core.driver.links.tasks import Tasks
from ferret_core.enb.enb import Enb, S1State
from ferret_core.enb.tunnels import Reply
from ferret_core.enb.ue import Ue
from ferret_core.nf import Note, Output, Peer, PeerLost, Received, Send

log = structlog.get_logger(__name__)

UE_STREAM: Final = 1  # stream 0 is for common procedures, others for devices' (TS 36.412 clause 7)
RETRY_SECONDS: Final = 5.0
_KEPT: Final = 1024  # downlink packets and notes that are kept for whoever wants to look


class Arrival(NamedTuple):
    """A downlink packet that reached a device."""

    imsi: str
    ebi: int
    packet: bytes
    at: float  # seconds, monotonic


class EnbDriver:
    """An emulated base station at work. `arrived`, if set, gets each downlink packet; the last ones are kept too."""

    def __init__(
        self,
        enb: Enb,
        *,
        mme: Address,
        sctp: SctpTransport | None = None,
        options: SctpOptions | None = None,
        retry: float = RETRY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`mme`: where S1AP is; `sctp`: by default whatever this machine has.

        `retry`: seconds between attempts to set up S1 again once it was lost.
        """
        self.enb = enb
        self.arrived: Callable[[Arrival], None] | None = None
        self.arrivals: deque[Arrival] = deque(maxlen=_KEPT)
        self.notes: deque[Note] = deque(maxlen=_KEPT)
        self._mme = mme
        self._sctp = sctp
        self._options = options or SctpOptions()
        self._clock = clock
        self._association: SctpAssociation | None = None
        self._retry = retry
        self._stopped = False
        self._again: asyncio.Task[None] | None = None
        self._tasks = Tasks()
        self._udp: UdpTransport | None = None
        self._changed = asyncio.Event()

    async def start(self, *, within: float = 5.0, user_plane: bool = True) -> None:
        """Open both sockets and set up S1, within `within` seconds.

        `user_plane`: False for the second MME of a base station whose user plane is open already (`Enb.towards`).
        Raises TransportError, ConfigError where there is no SCTP, and ProtocolError where the MME refuses.
        """
        self._stopped = False
        self._tasks.begin()
        if user_plane:
            self._udp = await UdpTransport.bind(self.enb.address, gtpu.PORT, self._datagram)
        try:
            await self._connect(within)
        except BaseException:
            self.stop()
            raise

    async def _connect(self, within: float) -> None:
        transport = self._sctp or choose().transport
        self._association = await transport.connect(
            self._mme,
            local=(self.enb.address, 0),
            received=self._message,
            lost=self._lost,
            options=self._options,
        )
        self.perform(self.enb.set_up())
        await self._set_up(within)
        if self.enb.state is not S1State.UP:
            raise ProtocolError(f"MME {self._mme[0]} refused S1 SETUP")

    def stop(self) -> None:
        """Close both sockets."""
        self._stopped = True
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._association is not None:
            self._association.close()
            self._association = None
        if self._udp is not None:
            self._udp.close()
            self._udp = None

    def perform(self, outputs: Sequence[Output]) -> None:
        """Send what an order to the base station made: `driver.perform(driver.enb.attach(ue))`."""
        for output in outputs:
            if isinstance(output, Send):
                self._send(output)
            else:
                self.notes.append(output)
                log.info(output.event, enb=self.enb.address, **dict(output.fields))
        self._changed.set()

    def send_uplink(self, ue: Ue, ebi: int, packet: bytes) -> float:
        """Send a device's IP packet into its bearer; returns when (seconds, monotonic)."""
        if self._udp is None:
            raise LocalMisuseError("the base station is not started")
        octets, destination = self.enb.uplink(ue, ebi, packet)
        now = self._clock()
        self._udp.send(octets, destination)
        return now

    async def until(self, holds: Callable[[], bool], *, within: float = 5.0) -> None:
        """Wait until something that the base station's state decides is so. Raises TimeoutError."""
        async with asyncio.timeout(within):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    async def _set_up(self, within: float) -> None:
        try:
            await self.until(lambda: self.enb.state is not S1State.SETTING_UP, within=within)
        except TimeoutError:
            raise TransportError(f"MME {self._mme[0]} did not answer S1 SETUP in {within:g} s") from None

    def _send(self, output: Send) -> None:
        association, message = self._association, output.message
        if association is None or not isinstance(message, s1ap.Message):
            log.warning("s1ap_not_sent", enb=self.enb.address)
            return
        of_device = message.enb_ue_s1ap_id is not None
        stream = min(UE_STREAM, association.streams - 1) if of_device else 0
        if not association.send(message.encode(), stream=stream, ppid=PPID_S1AP):
            log.warning("s1ap_not_sent", enb=self.enb.address, message=message.name)

    def _message(self, message: SctpMessage) -> None:
        try:
            decoded = s1ap.decode(message.octets)
            event = Received(Interface.S1_MME, Peer(Role.MME, self._mme[0]), decoded)
            self.perform(self.enb.receive(event, self._clock()))
        except DecodeError as error:
            log.warning("s1ap_undecodable", enb=self.enb.address, reason=str(error))
        except ProtocolError as error:
            log.warning("s1ap_refused", enb=self.enb.address, reason=str(error))

    def _lost(self, reason: str) -> None:
        self._association = None
        event = PeerLost(Interface.S1_MME, Peer(Role.MME, self._mme[0]), reason)
        self.perform(self.enb.receive(event, self._clock()))
        if not self._stopped and self._again is None:
            self._again = self._tasks.spawn(self._connect_again())

    async def _connect_again(self) -> None:
        """Set up S1 anew, however often that takes (TS 36.413 clause 8.7.3)."""
        while self.enb.state is not S1State.UP:
            await asyncio.sleep(self._retry)
            try:
                await self._connect(self._options.connect_timeout)
            except (TransportError, ProtocolError) as error:
                log.warning("s1_not_set_up", enb=self.enb.address, mme=self._mme[0], reason=str(error))
                self._give_up_association()
        self._again = None

    def _give_up_association(self) -> None:
        if self._association is not None:
            self._association.close()
            self._association = None
        if self.enb.state is not S1State.DOWN:
            event = PeerLost(Interface.S1_MME, Peer(Role.MME, self._mme[0]), "S1 was not set up")
            self.perform(self.enb.receive(event, self._clock()))

    def _datagram(self, octets: bytes, source: Address) -> None:
        now = self._clock()
        result = self.enb.downlink(octets)
        if isinstance(result, Reply):
            if self._udp is not None:
                self._udp.send(result.octets, source)
        elif result is not None:
            ue, ebi, packet = result
            arrival = Arrival(ue.imsi, ebi, packet, now)
            self.arrivals.append(arrival)
            if self.arrived is not None:
                self.arrived(arrival)
            self._changed.set()
