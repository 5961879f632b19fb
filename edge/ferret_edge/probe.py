"""Proof that the new path works: user packets over every bearer of a device, both ways, unchanged, with times.

Uplink: emulated base station → SGW_e → PGW_e. Downlink: what a packet network would send → PGW_e → SGW_e → device.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import count
from typing import Final

from ferret.errors import FerretError
from ferret.protocols.gtpv2.tft import ComponentType, Direction, PacketFilter
from ferret_core.driver.user_plane import Passage, UserPlane
from ferret_core.enb.driver import Arrival, EnbDriver
from ferret_core.enb.ue import Ue
from ferret_core.user_plane import ue_key

DISCARD_PORT: Final = 9  # RFC 863: nobody answers there
_REMOTE_IPV4: Final = "192.0.2.1"  # RFC 5737: of no real host
_REMOTE_IPV6: Final = "2001:db8::1"  # RFC 3849
_UDP: Final = 17


class ProbeFailedError(FerretError):
    """A probe packet did not arrive, or not as it was sent."""

    exit_status = 1


@dataclass(frozen=True, slots=True)
class BearerFigures:
    """One bearer's one-way times, in seconds since the packet was sent."""

    ebi: int
    to_sgw: float
    to_pgw: float


@dataclass(frozen=True, slots=True)
class DownlinkFigures:
    """One downlink packet: the bearer that it came on, and its one-way time in seconds."""

    ebi: int
    to_device: float


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What was measured, and which bearers could not be probed, with the reason."""

    uplink: tuple[BearerFigures, ...]
    downlink: tuple[DownlinkFigures, ...]
    skipped: Mapping[int, str]

    def as_json(self) -> dict[str, object]:
        """Figures for the verdict, in milliseconds."""
        figures: dict[str, object] = {}
        for one in self.uplink:
            figures[f"bearer {one.ebi} uplink eNB to SGW_e, ms"] = round(1000 * one.to_sgw, 3)
            figures[f"bearer {one.ebi} uplink eNB to PGW_e, ms"] = round(1000 * one.to_pgw, 3)
        for down in self.downlink:
            figures[f"bearer {down.ebi} downlink PGW_e to device, ms"] = round(1000 * down.to_device, 3)
        figures |= {f"bearer {ebi} not probed": reason for ebi, reason in self.skipped.items()}
        return figures


class Probe:
    """Sends probe packets through a base station and the user planes of SGW_e and PGW_e, all in this process."""

    def __init__(self, enb: EnbDriver, sgw: UserPlane, pgw: UserPlane, *, within: float = 1.0) -> None:
        """`within`: seconds that a packet may take."""
        self._enb = enb
        self._sgw = sgw
        self._pgw = pgw
        self._within = within
        self._numbers = count(1)

    async def run(self, ue: Ue) -> ProbeResult:
        """Probe every bearer of a device. Raises ProbeFailedError at the first packet that does not arrive."""
        uplink: list[BearerFigures] = []
        downlink: list[DownlinkFigures] = []
        skipped: dict[int, str] = {}
        addresses: set[str] = set()
        for bearer in sorted(ue.esm.bearers.values(), key=lambda one: one.ebi):
            default = ue.esm.bearers.get(bearer.linked_ebi, bearer)
            if not default.address:
                skipped[bearer.ebi] = "the device's address is not known"
                continue
            addresses.add(default.address)
            uplink.append(await self._uplink(ue, bearer.ebi, default.address))
        for address in sorted(addresses):
            downlink += await self._downlink(ue, address)
        return ProbeResult(tuple(uplink), tuple(downlink), skipped)

    async def _uplink(self, ue: Ue, ebi: int, address: str) -> BearerFigures:
        packet = udp_packet(address, _remote_for(address), DISCARD_PORT, DISCARD_PORT, self._payload(ebi))
        seen = _Seen(packet)
        with_sgw, with_pgw = seen.at("SGW_e"), seen.at("PGW_e")
        self._sgw.passed, self._pgw.passed = with_sgw, with_pgw
        try:
            sent_at = self._enb.send_uplink(ue, ebi, packet)
            await seen.wait({"SGW_e", "PGW_e"}, self._within, f"uplink of bearer {ebi}")
        finally:
            self._sgw.passed = self._pgw.passed = None
        return BearerFigures(ebi, seen.times["SGW_e"] - sent_at, seen.times["PGW_e"] - sent_at)

    async def _downlink(self, ue: Ue, address: str) -> list[DownlinkFigures]:
        bearers = self._pgw.downlink_bearers(ue_key(address))
        return [await self._downlink_one(ue, address, filters) for filters in bearers]

    async def _downlink_one(self, ue: Ue, address: str, filters: tuple[PacketFilter, ...]) -> DownlinkFigures:
        packet = downlink_packet(address, filters, self._payload(0))
        seen = _Seen(packet)
        ebis: list[int] = []

        def arrived(arrival: Arrival) -> None:
            if arrival.imsi == ue.imsi and arrival.packet == packet:
                ebis.append(arrival.ebi)
                seen.at("device")(Passage(arrival.at, arrival.packet))

        self._enb.arrived = arrived
        try:
            sent_at = self._pgw.now()
            if not self._pgw.inject(packet):
                raise ProbeFailedError(f"PGW_e has no bearer for a packet to {address}")
            await seen.wait({"device"}, self._within, f"downlink to {address}")
        finally:
            self._enb.arrived = None
        return DownlinkFigures(ebis[0], seen.times["device"] - sent_at)

    def _payload(self, ebi: int) -> bytes:
        return f"FERRET probe {next(self._numbers)} on bearer {ebi}".encode()


class _Seen:
    """Where one packet has been seen, and when. A packet that was changed on the way is never seen."""

    def __init__(self, packet: bytes) -> None:
        self.times: dict[str, float] = {}
        self._packet = packet
        self._changed = asyncio.Event()

    def at(self, place: str) -> Callable[[Passage], None]:
        def passed(passage: Passage) -> None:
            if passage.packet == self._packet:
                self.times.setdefault(place, passage.at)
                self._changed.set()

        return passed

    async def wait(self, places: set[str], within: float, what: str) -> None:
        try:
            async with asyncio.timeout(within):
                while places - set(self.times):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            missing = ", ".join(sorted(places - set(self.times)))
            raise ProbeFailedError(f"user plane: {what} did not reach {missing} within {within:g} s") from None


def _remote_for(address: str) -> str:
    return _REMOTE_IPV6 if ":" in address else _REMOTE_IPV4


def downlink_packet(address: str, filters: tuple[PacketFilter, ...], payload: bytes) -> bytes:
    """A packet to a device that is bound to the bearer of these filters; none: to the default bearer.

    A filter component that this cannot fulfil is left as it is; the packet then takes the default bearer.
    """
    source, source_port, port, protocol, service = _remote_for(address), DISCARD_PORT, DISCARD_PORT, _UDP, 0
    chosen = next((one for one in filters if one.direction != Direction.UPLINK), None)
    for part in chosen.components if chosen else ():
        match part.type:
            case ComponentType.IPV4_REMOTE_ADDRESS if ":" not in address:
                source = str(ip_address(part.value[:4]))
            case ComponentType.IPV6_REMOTE_ADDRESS | ComponentType.IPV6_REMOTE_ADDRESS_PREFIX if ":" in address:
                source = str(ip_address(part.value[:16]))
            case ComponentType.REMOTE_PORT | ComponentType.REMOTE_PORT_RANGE:
                source_port = int.from_bytes(part.value[:2], "big")
            case ComponentType.LOCAL_PORT | ComponentType.LOCAL_PORT_RANGE:
                port = int.from_bytes(part.value[:2], "big")
            case ComponentType.PROTOCOL:
                protocol = part.value[0]
            case ComponentType.TYPE_OF_SERVICE:
                service = part.value[0]
    return udp_packet(source, address, source_port, port, payload, protocol=protocol, service=service)


def udp_packet(
    source: str,
    destination: str,
    source_port: int,
    destination_port: int,
    payload: bytes,
    *,
    protocol: int = _UDP,
    service: int = 0,
) -> bytes:
    """An IP packet with a UDP header, checksums right (RFC 768, RFC 791, RFC 8200).

    `protocol`: another one than UDP gets the same eight octets, whose first four are its ports where it has any.
    """
    ends = ip_address(source).packed + ip_address(destination).packed
    length = 8 + len(payload)
    udp = source_port.to_bytes(2, "big") + destination_port.to_bytes(2, "big") + length.to_bytes(2, "big")
    pseudo = ends + length.to_bytes(4, "big") + protocol.to_bytes(4, "big")
    checksum = _checksum(pseudo + udp + b"\0\0" + payload) or 0xFFFF
    datagram = udp + checksum.to_bytes(2, "big") + payload
    if ":" in source:
        head = (6 << 28 | service << 20).to_bytes(4, "big") + length.to_bytes(2, "big")
        return head + bytes((protocol, 64)) + ends + datagram
    start = bytes((0x45, service)) + (20 + length).to_bytes(2, "big") + b"\0\0\x40\0" + bytes((64, protocol))
    return start + _checksum(start + b"\0\0" + ends).to_bytes(2, "big") + ends + datagram


def _checksum(octets: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    padded = octets + b"\0" * (len(octets) & 1)
    total = sum(int.from_bytes(padded[at : at + 2], "big") for at in range(0, len(padded), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
