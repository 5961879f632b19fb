"""A device of the lab at work: attached through an emulated base station, with a SIP user agent on its ims bearer.

Its datagrams are IP packets in its bearers, dedicated ones where a packet filter of theirs fits (TS 23.401 clause
4.7.2.1); what comes for its SIP port goes to the user agent, what comes for others to `media`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from random import Random
from time import monotonic
from typing import Final

import structlog

from ferret.errors import DecodeError, LocalMisuseError
from ferret.protocols import sip
from ferret.protocols.gtpv2 import Pco, PcoContainer, PcoId, PdnType
from ferret.protocols.gtpv2.tft import PacketFilter, Tft
from ferret.transport.endpoint import Address, text
from ferret_core import router_advertisement
from ferret_core.driver.bearer_streams import BearerStreams
from ferret_core.driver.configuration import LabNetwork, LabSubscriber
from ferret_core.driver.ports import SIP_PORT
from ferret_core.driver.user_agent import UserAgentDriver
from ferret_core.enb.driver import Arrival, EnbDriver
from ferret_core.enb.esm import EpsBearer
from ferret_core.enb.ue import EmmState, Ue
from ferret_core.enb.usim import Usim
from ferret_core.ip import TCP, protocol_of
from ferret_core.ua import MediaSession, NotRegistered, ResourcesWanted, UaConfiguration, UaEvent, UserAgent
from ferret_core.ua.packets import Datagram, PacketMaker, PacketReader
from ferret_core.user_plane import flow_of, matches

log = structlog.get_logger(__name__)
INTERNET: Final = "internet"
IMS: Final = "ims"
_WAITING: Final = 64  # packets of an idle device that wait for service
_RESERVATION: Final = 10.0  # s that a dedicated bearer may take
_WISHES: Final = (PcoId.P_CSCF_IPV4_ADDRESS, PcoId.DNS_SERVER_IPV4_ADDRESS, PcoId.IPV4_LINK_MTU)
_IPV6_WISHES: Final = (PcoId.P_CSCF_IPV6_ADDRESS, PcoId.DNS_SERVER_IPV6_ADDRESS)
_SOLICITATIONS: Final = 3  # RFC 4861 clause 10
_SOLICITATION_INTERVAL: Final = 4.0  # seconds


class Cell:
    """The devices of one base station: gives each of them the packets that arrive for it."""

    def __init__(self, driver: EnbDriver) -> None:
        self.driver = driver
        self._devices: dict[str, Device] = {}
        driver.arrived = self._arrived

    def add(self, device: Device) -> None:
        """A device has come."""
        self._devices[device.ue.imsi] = device

    def _arrived(self, arrival: Arrival) -> None:
        device = self._devices.get(arrival.imsi)
        if device is not None:
            device.arrived(arrival)


class Device:
    """One subscriber's device. `media`, if set, gets datagrams for ports other than SIP's, their EBI and their time."""

    def __init__(
        self,
        cell: Cell,
        lab: LabNetwork,
        subscriber: LabSubscriber,
        random: Random,
        *,
        ringing_seconds: float | None = None,
        expects: Callable[[str, int], None] | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`ringing_seconds`: how long the device lets a call ring, either way; None: as long as the network.

        `expects`, if given, is told address and port of media before they may come (`SocketNetwork.expect`).
        """
        self.subscriber = subscriber
        self.usim = Usim(subscriber.imsi, subscriber.milenage)
        self.ue = Ue(subscriber.imsi, usim=self.usim, plmn=lab.plmn)
        self.cell = cell
        self.media: Callable[[Datagram, int, float], None] | None = None
        self.expects = expects
        self.sip: DeviceAgent | None = None  # once there is an ims PDN connection
        self._lab = lab
        self._random = random
        self._ringing_seconds = ringing_seconds
        self._clock = clock
        self._maker = PacketMaker()
        self._reader = PacketReader()
        self._waiting: deque[bytes] = deque(maxlen=_WAITING)
        self._waking: asyncio.Task[None] | None = None
        cell.add(self)

    # ---- bearers

    def default_bearer(self, apn: str) -> EpsBearer | None:
        """The default bearer of a PDN connection; None without one."""
        bearers = self.ue.esm.bearers.values()
        return next((one for one in bearers if not one.linked_ebi and one.apn.partition(".")[0] == apn), None)

    def dedicated_bearers(self, apn: str = IMS) -> list[EpsBearer]:
        """The dedicated bearers of a PDN connection."""
        default = self.default_bearer(apn)
        return [one for one in self.ue.esm.bearers.values() if default is not None and one.linked_ebi == default.ebi]

    @property
    def address(self) -> str:
        """The device's address on the ims PDN connection, IPv6 where it has one. Raises LocalMisuseError without."""
        default = self.default_bearer(IMS)
        if default is None:
            raise LocalMisuseError("the device has no ims PDN connection")
        return default.ipv6 or default.address

    # ---- procedures

    async def attach(self, *, within: float = 5.0) -> None:
        """Attach with the default bearer of the internet APN. Raises TimeoutError."""
        driver = self.cell.driver
        driver.perform(driver.enb.attach(self.ue, INTERNET, pco=_options(PdnType.IPV4)))
        await driver.until(
            lambda: self.ue.state is EmmState.REGISTERED and self.default_bearer(INTERNET) is not None, within=within
        )

    async def connect_ims(self, *, within: float = 5.0) -> None:
        """Get the ims PDN connection, and a user agent on it. Raises TimeoutError."""
        driver = self.cell.driver
        kind = self._lab.ims_pdn_type
        driver.perform(driver.enb.connect_pdn(self.ue, IMS, pco=_options(kind), pdn_type=kind))
        await driver.until(lambda: self.default_bearer(IMS) is not None, within=within)
        await self._configure_ipv6(IMS)
        own, lab = self.subscriber, self._lab
        configuration = UaConfiguration(
            address=text((self.address, SIP_PORT)),
            proxy=self._pcscf(),
            identity=f"sip:{own.imsi}@{lab.ims_domain}",
            private_identity=f"{own.imsi}@{lab.ims_domain}",
            domain=lab.ims_domain,
            ringing_seconds=self._ringing_seconds,
            watches_registration=True,
            transport=lab.sip_transport,
            stream_above=lab.sip_stream_above,
        )
        self.sip = DeviceAgent(self, UserAgent(configuration, self._random, usim=self.usim), self._clock)

    async def _configure_ipv6(self, apn: str) -> None:
        """Ask for the prefix of a PDN connection with IPv6 (TS 23.401 clause 5.3.1.2.2). Raises TimeoutError."""
        default = self.default_bearer(apn)
        if default is None or not default.identifier:
            return
        driver, ebi = self.cell.driver, default.ebi
        for attempt in range(_SOLICITATIONS):
            await driver.until(lambda: self.has_radio(ebi))
            driver.send_uplink(self.ue, ebi, router_advertisement.solicitation(default.identifier))
            try:
                await driver.until(lambda: bool(self.ue.esm.bearers[ebi].ipv6), within=_SOLICITATION_INTERVAL)
                return
            except TimeoutError:
                if attempt == _SOLICITATIONS - 1:
                    raise

    def _advertised(self, arrival: Arrival) -> None:
        """A Router Advertisement: the interface identifier of NAS and its prefix make the address (RFC 4862)."""
        bearer, prefix = self.ue.esm.bearers.get(arrival.ebi), router_advertisement.advertised_prefix(arrival.packet)
        if prefix and bearer is not None and bearer.identifier:
            address = router_advertisement.address_in(prefix, bearer.identifier)
            self.ue.esm.configure_ipv6(bearer.ebi, address)

    async def go_idle(self, *, within: float = 5.0) -> None:
        """Let the base station release the device for inactivity. Raises TimeoutError."""
        driver = self.cell.driver
        driver.perform(driver.enb.release(self.ue))
        await driver.until(lambda: not any(map(self.has_radio, self.ue.esm.bearers)), within=within)

    async def request_service(self, *, within: float = 5.0) -> None:
        """Become active again, with every bearer. Raises TimeoutError."""
        driver = self.cell.driver
        if not any(map(self.has_radio, self.ue.esm.bearers)):
            driver.perform(driver.enb.request_service(self.ue))
        await driver.until(lambda: all(map(self.has_radio, self.ue.esm.bearers)), within=within)

    async def detach(self, *, within: float = 5.0) -> None:
        """Leave the network. Raises TimeoutError."""
        driver = self.cell.driver
        await self.request_service(within=within)
        driver.perform(driver.enb.detach(self.ue))
        await driver.until(lambda: self.ue.is_gone, within=within)
        self.stop()

    def stop(self) -> None:
        """No timer runs and nothing waits any more."""
        if self._waking is not None:
            self._waking.cancel()
        if self.sip is not None:
            self.sip.stop()
            self.sip = None

    def _pcscf(self) -> str:
        """The P-CSCF that the network named when the PDN connection was made (TS 23.228 annex E.1.1.1).

        Raises LocalMisuseError where it named none.
        """
        default = self.default_bearer(IMS)
        try:
            options = Pco.decode(default.options if default is not None else b"")
        except DecodeError as error:
            raise LocalMisuseError(f"the device knows no P-CSCF: {error}") from error
        wanted, size = (PcoId.P_CSCF_IPV6_ADDRESS, 16) if ":" in self.address else (PcoId.P_CSCF_IPV4_ADDRESS, 4)
        named = [one.content for one in options.containers if one.identifier == wanted and len(one.content) == size]
        if not named:
            raise LocalMisuseError("the network names no P-CSCF")
        return text((str(ip_address(named[0])), SIP_PORT))

    # ---- packets

    def send(self, datagram: Datagram, *, service: int = 0) -> float:
        """Send a datagram on the bearer that is for it; when it left (seconds, monotonic).

        An idle device asks for service first, and what it sends waits until it has it. Raises LocalMisuseError without
        a bearer.
        """
        return self.send_packets(self._maker.packets(datagram, service=service))

    def send_packets(self, packets: Iterable[bytes]) -> float:
        """As `send`, IP packets."""
        at = self._clock()
        for packet in packets:
            ebi = self._bearer_for(packet)
            if self._waiting or not self.has_radio(ebi):
                self._waiting.append(packet)
            else:
                at = self.cell.driver.send_uplink(self.ue, ebi, packet)
        if self._waiting and self._waking is None:
            self._waking = asyncio.ensure_future(self._wake_up())
        return at

    def has_radio(self, ebi: int) -> bool:
        """Whether a bearer has its radio and S1 bearers; none has while the device is idle."""
        try:
            self.cell.driver.enb.uplink(self.ue, ebi, b"")
        except LocalMisuseError:
            return False
        return True

    async def _wake_up(self) -> None:
        """Get service for the packets that wait; without it they are lost."""
        try:
            await self.request_service()
            while self._waiting:
                packet = self._waiting.popleft()
                self.cell.driver.send_uplink(self.ue, self._bearer_for(packet), packet)
        except (TimeoutError, LocalMisuseError) as error:
            log.warning("no_service", imsi=self.ue.imsi, lost=len(self._waiting), reason=str(error))
            self._waiting.clear()
        finally:
            self._waking = None

    def _bearer_for(self, packet: bytes) -> int:
        flow = flow_of(packet)
        default = next(
            (
                one
                for one in self.ue.esm.bearers.values()
                if not one.linked_ebi and flow is not None and flow.source in one.addresses
            ),
            None,
        )
        if default is None or flow is None:
            raise LocalMisuseError("the device has no bearer for this packet")
        best = (256, default.ebi)
        for bearer in self.ue.esm.bearers.values():
            if bearer.linked_ebi == default.ebi:
                for one in filters_of(bearer):
                    if one.precedence < best[0] and matches(one, flow, uplink=True):
                        best = (one.precedence, bearer.ebi)
        return best[1]

    def arrived(self, arrival: Arrival) -> None:
        """A packet has come on a bearer."""
        if protocol_of(arrival.packet) == TCP and self.sip is not None:
            self.sip.received_packet(arrival.packet)
            return
        if protocol_of(arrival.packet) == router_advertisement.ICMPV6:
            self._advertised(arrival)
            return
        datagram = self._reader.receive(arrival.packet, arrival.at)
        if datagram is None:
            return
        if datagram.destination[1] == SIP_PORT and self.sip is not None:
            self.sip.received(datagram.payload, datagram.source)
        elif self.media is not None:
            self.media(datagram, arrival.ebi, arrival.at)

    async def reserved(self, media: MediaSession, *, within: float = _RESERVATION) -> None:
        """Wait for the dedicated bearer of a call's media. Raises TimeoutError."""
        local, remote = (media.local_address, media.local_port), (media.remote_address, media.remote_port)
        (packet,) = PacketMaker().packets(Datagram(local, remote, b""))
        default = self.default_bearer(IMS)

        def is_there() -> bool:
            return default is not None and self._bearer_for(packet) != default.ebi

        await self.cell.driver.until(is_there, within=within)


class DeviceAgent(UserAgentDriver):
    """The device's user agent: what it sends goes over bearers; its calls wait for their dedicated bearer."""

    def __init__(self, device: Device, agent: UserAgent, clock: Callable[[], float]) -> None:
        super().__init__(agent, clock=clock)
        self._device = device
        self._reserving: set[asyncio.Task[None]] = set()
        self._streams = BearerStreams(
            agent.configuration.host,
            send_packet=self._send_packet,
            took=self.took,
            failed=self.failed,
            lost=self.lost,
            clock=clock,
        )

    def received_packet(self, packet: bytes) -> None:
        """A packet with TCP in it has come for the device."""
        self._streams.receive(packet)

    def take(self, events: Iterable[UaEvent]) -> None:
        """As any; and reserve what a call wants."""
        told = list(events)
        super().take(told)
        for event in told:
            if isinstance(event, ResourcesWanted):
                if self._device.expects is not None:
                    self._device.expects(event.media.local_address, event.media.local_port)
                task = asyncio.ensure_future(self._reserve(event))
                self._reserving.add(task)
                task.add_done_callback(self._reserving.discard)
            elif isinstance(event, NotRegistered):
                self._streams.close()

    def stop(self) -> None:
        """No timer runs and nothing is waited for any more."""
        super().stop()
        self._streams.stop()
        for task in self._reserving:
            task.cancel()

    async def _reserve(self, event: ResourcesWanted) -> None:
        try:
            await self._device.reserved(event.media)
        except TimeoutError:
            log.warning("bearer_not_reserved", call=event.call)
            if event.call in self.agent.calls:
                self.take(self.agent.reject(event.call, self._clock(), 580, "Precondition Failure"))
            return
        if event.call in self.agent.calls:
            self.take(self.agent.resources_ready(event.call, self._clock()))

    def _send(self, octets: bytes, destination: Address) -> None:
        host, _, port = self.agent.configuration.address.rpartition(":")
        try:
            self._device.send(Datagram((host.strip("[]"), int(port)), destination, octets))
        except LocalMisuseError as error:
            log.warning("sip_not_sent", reason=str(error))

    def _send_in_stream(self, message: sip.Message, peer: Address) -> None:
        self._streams.send(message, peer)

    def _send_packet(self, packet: bytes) -> None:
        try:
            self._device.send_packets([packet])
        except LocalMisuseError as error:
            log.warning("sip_not_sent", reason=str(error))


def _options(kind: PdnType) -> bytes:
    """What a device asks for in protocol configuration options (TS 24.008 clause 10.5.6.3)."""
    wishes = (*(_WISHES if kind != PdnType.IPV6 else ()), *(_IPV6_WISHES if kind != PdnType.IPV4 else ()))
    return Pco(tuple(PcoContainer(one, b"") for one in wishes)).encode()


def filters_of(bearer: EpsBearer) -> tuple[PacketFilter, ...]:
    """The packet filters of a dedicated bearer; () where they cannot be read."""
    try:
        return Tft.decode(bearer.tft).packet_filters
    except DecodeError:
        return ()
