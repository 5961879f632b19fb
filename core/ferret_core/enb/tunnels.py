"""The base station's end of S1-U (TS 29.281): uplink packets into tunnels, downlink packets out of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ferret.errors import DecodeError, LocalMisuseError
from ferret.protocols import gtpu
from ferret.protocols.s1ap import Tunnel

_TEIDS: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class Radio:
    """One E-RAB: what the base station knows between a device's bearer and the S-GW."""

    ue: int  # eNB UE S1AP ID
    ebi: int
    enb: Tunnel  # where downlink packets come to
    sgw: Tunnel  # where uplink packets go
    qci: int


@dataclass(frozen=True, slots=True)
class DownlinkPacket:
    """A packet for a device."""

    ue: int  # eNB UE S1AP ID
    ebi: int
    packet: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """GTP-U octets to send back to where the datagram came from."""

    octets: bytes


class Tunnels:
    """Every E-RAB of a base station. TEIDs are allocated in order, and never 0."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.discarded = 0  # downlink datagrams that were no GTP-U or for no bearer
        self._by_bearer: dict[tuple[int, int], Radio] = {}
        self._by_teid: dict[int, Radio] = {}
        self._next_teid = 1

    def __len__(self) -> int:
        return len(self._by_bearer)

    def allocate(self) -> Tunnel:
        """A new downlink end."""
        while self._next_teid in self._by_teid:
            self._next_teid = (self._next_teid + 1) % _TEIDS or 1
        teid = self._next_teid
        self._next_teid = (teid + 1) % _TEIDS or 1
        return Tunnel(self.address, teid)

    def open(self, radio: Radio) -> None:
        """Add an E-RAB. Raises LocalMisuseError where its downlink TEID is another E-RAB's."""
        key = (radio.ue, radio.ebi)
        holder = self._by_teid.get(radio.enb.teid)
        if holder is not None and (holder.ue, holder.ebi) != key:
            raise LocalMisuseError(f"TEID {radio.enb.teid:#010x} already belongs to another E-RAB")
        self.close(*key)
        self._by_bearer[key] = radio
        self._by_teid[radio.enb.teid] = radio

    def move(self, ue: int, ebi: int, sgw: Tunnel) -> None:
        """Send this E-RAB's uplink packets to another S-GW end from now on (TS 36.413 clause 8.2.2.2)."""
        old = self._by_bearer[ue, ebi]
        self.open(Radio(ue, ebi, old.enb, sgw, old.qci))

    def close(self, ue: int, ebi: int) -> None:
        """Remove an E-RAB, if it is there."""
        radio = self._by_bearer.pop((ue, ebi), None)
        if radio is not None:
            del self._by_teid[radio.enb.teid]

    def free(self, teid: int) -> None:
        """Remove whatever E-RAB has this downlink TEID."""
        radio = self._by_teid.get(teid)
        if radio is not None:
            self.close(radio.ue, radio.ebi)

    def of(self, ue: int) -> list[Radio]:
        """The E-RABs of one device, by EBI."""
        return sorted((one for one in self._by_bearer.values() if one.ue == ue), key=lambda one: one.ebi)

    def get(self, ue: int, ebi: int) -> Radio | None:
        """One E-RAB."""
        return self._by_bearer.get((ue, ebi))

    def uplink(self, ue: int, ebi: int, packet: bytes) -> tuple[bytes, tuple[str, int]]:
        """A device's packet in its tunnel, and where to send it. Raises LocalMisuseError without that E-RAB."""
        radio = self._by_bearer.get((ue, ebi))
        if radio is None:
            raise LocalMisuseError(f"device {ue} has no E-RAB {ebi}")
        return gtpu.wrap(radio.sgw.teid, packet), (radio.sgw.address, gtpu.PORT)

    def downlink(self, octets: bytes) -> DownlinkPacket | Reply | None:
        """What a datagram of the S-GW is: a packet for a device, something to answer, or nothing to act on."""
        opened = gtpu.open_tunnel(octets)
        if opened is None:
            return self._signal(octets)
        teid, packet = opened
        radio = self._by_teid.get(teid)
        if radio is None:
            self.discarded += 1
            return Reply(gtpu.ErrorIndication(teid, self.address).encode())
        return DownlinkPacket(radio.ue, radio.ebi, packet)

    def _signal(self, octets: bytes) -> Reply | None:
        try:
            packet = gtpu.decode(octets)
        except DecodeError:
            self.discarded += 1
            return None
        if packet.type == gtpu.GtpuType.ECHO_REQUEST:
            return Reply(gtpu.echo_response(packet))
        return None
