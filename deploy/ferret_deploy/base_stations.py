"""The base stations and devices of a replay: emulated, and moved to the edge over real S1AP, NAS and GTP-U.

One emulated base station stands in for each recorded one. Just before the move it takes the device over as the
recording has it (keys, NAS COUNTs, bearers that lead to the core); afterwards a probe shows where its packets go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from random import Random
from time import monotonic
from typing import Protocol

from ferret.errors import FerretError, ProtocolError
from ferret.protocols import s1ap
from ferret.protocols.nas import NasSecurityContext
from ferret.protocols.s1ap import IeId, tai_of
from ferret.records.message import Role, SignallingMessage
from ferret.replay.device import Device, DeviceBearer, device_at
from ferret.replay.plan import Plan
from ferret.replay.runner import Mover
from ferret.replay.translation import Domain, Translation
from ferret.transport.sctp import SctpTransport
from ferret_core.enb.driver import EnbDriver
from ferret_core.enb.enb import Enb
from ferret_edge.context import EdgeContext
from ferret_edge.edge_set import EdgeSet
from ferret_edge.probe import Probe
from ferret_edge.site import S1AP_PORT, Site

_DEFAULT_PLMN = "00101"
_NOWHERE = "192.0.2.0"  # RFC 5737: of nobody


class MoveError(FerretError):
    """Base station or device could not be moved."""

    exit_status = 1


class PlanMover(Mover, Protocol):
    """Moves base station and device of one plan."""

    @property
    def assumed(self) -> Sequence[str]:
        """What had to be assumed of the device, a line each."""

    def uplink_nas(self, message: SignallingMessage, nas_pdu: bytes) -> bytes:
        """An uplink NAS message of the recording as the device would protect it now (COUNTs went on with the move)."""


class BaseStations:
    """The emulated base stations of one capture.

    `addresses`: of the recorded ones, and the emulated ones'. `heard`: what the recorded ones sent, S1 Setup first.
    """

    def __init__(self, addresses: Mapping[str, str], site: Site, sctp: SctpTransport, heard: Iterable[bytes]) -> None:
        self._mme = (site.address(Role.MME), S1AP_PORT)
        self._sctp = sctp
        self.drivers: dict[str, EnbDriver] = {}
        plmn, tac = _identity(heard)
        for place, (recorded, address) in enumerate(addresses.items()):
            enb = Enb(address=address, random=Random(recorded), mme=self._mme[0], plmn=plmn, tac=tac, enb_id=place + 1)
            self.drivers[recorded] = EnbDriver(enb, mme=self._mme, sctp=sctp)

    async def start(self) -> None:
        """Set up S1 with the edge's MME. Raises TransportError, ProtocolError."""
        for driver in self.drivers.values():
            await driver.start()

    def stop(self) -> None:
        """Close every association."""
        for driver in self.drivers.values():
            driver.stop()


class DeviceMover:
    """Moves one recording's device: the replayer's `Mover`."""

    def __init__(
        self,
        plan: Plan,
        translation: Translation,
        context: EdgeContext,
        *,
        stations: BaseStations,
        edge: EdgeSet | None,
    ) -> None:
        self._plan = plan
        self._context_of_edge = context
        self._stations = stations
        self._edge = edge
        self._translation = translation
        self._device = Device()
        self._driver: EnbDriver | None = None
        self._recorded_counts: NasSecurityContext | None = None

    @property
    def assumed(self) -> list[str]:
        """What had to be assumed of the device."""
        if self._driver is None or self._device.security is not None:
            return []
        return [f"NAS security context: none ({self._device.why_no_keys}), so NAS goes unprotected"]

    async def prepare(self, subscriber: str) -> int:
        """Let the base station take the device over as the recording has it at this point."""
        until = self._plan.reconfigure_after or 0
        self._device = device = device_at((step.message for step in self._plan.steps), until)
        self._driver = driver = self._stations.drivers.get(device.enb_address)
        if driver is None:
            raise MoveError(f"no emulated base station stands in for {device.enb_address or 'the recorded one'}")
        if device.security is not None:
            self._recorded_counts = copy(device.security)
        driver.perform(driver.enb.import_context({"ues": [self._context(subscriber)]}, monotonic()))
        return 0 if device.security is None else device.security.downlink_count

    async def probe(self, subscriber: str) -> Mapping[str, object]:
        """Send packets over the device's bearers, both ways; returns their one-way times. Raises ProbeFailedError."""
        if self._edge is None:
            return {"not probed": "the edge NFs run in other processes"}
        planes = {role: nf.user_plane for role, nf in self._edge.nfs.items()}
        sgw, pgw = planes.get(Role.SGW), planes.get(Role.PGW)
        if self._driver is None or sgw is None or pgw is None:
            raise MoveError("no edge SGW and PGW whose user plane could be probed")
        result = await Probe(self._driver, sgw, pgw).run(self._driver.enb.ue(subscriber))
        return result.as_json()

    def uplink_nas(self, message: SignallingMessage, nas_pdu: bytes) -> bytes:
        """An uplink NAS message of the recording as the device would protect it now (COUNTs went on with the move)."""
        if self._driver is None or self._recorded_counts is None:
            return nas_pdu
        ue = self._driver.enb.ue(self._context_of_edge.imsi)
        if ue.security is None:
            return nas_pdu
        return self._device.protect_again(nas_pdu, self._recorded_counts, ue.security)

    def _context(self, subscriber: str) -> dict[str, object]:
        device = self._device
        translated = self._translation.edge(Domain.MME_UE_S1AP_ID, device.mme_ue_s1ap_id or 0)
        return {
            "imsi": subscriber,
            "enb_ue_s1ap_id": device.enb_ue_s1ap_id,
            "mme_ue_s1ap_id": translated if isinstance(translated, int) else device.mme_ue_s1ap_id,
            "security": _security(device.security),
            "bearers": [*self._assumed_bearers(), *(b for b in map(self._bearer, device.bearers.values()) if b)],
        }

    def _assumed_bearers(self) -> list[dict[str, object]]:
        """Bearers from before the recording. Where they led in the core nobody knows; the move says where they lead."""
        return [
            {
                "ebi": one["ebi"],
                "address": one.get("paa", ""),
                "apn": one["apn"],
                "qci": one["qci"],
                "enb_address": one["enb_tunnel"]["address"],
                "enb_teid": one["enb_tunnel"]["teid"],
                "sgw_address": _NOWHERE,
                "sgw_teid": 0,
            }
            for one in self._context_of_edge.bearers
            if one["ebi"] not in self._device.bearers
        ]

    def _bearer(self, bearer: DeviceBearer) -> dict[str, object] | None:
        if bearer.enb is None or self._driver is None:
            return None
        return {
            "ebi": bearer.ebi,
            "linked_ebi": bearer.linked_ebi,
            "address": bearer.address,
            "apn": bearer.apn,
            "qci": bearer.qci,
            "enb_address": self._driver.enb.address,
            "enb_teid": bearer.enb.teid,
            "sgw_address": bearer.sgw.address,
            "sgw_teid": bearer.sgw.teid,
        }


def _identity(octets_of_enbs: Iterable[bytes]) -> tuple[str, int]:
    """PLMN and TAC that the recorded base stations serve, from S1 Setup or from where a device was, for the MME."""
    for octets in octets_of_enbs:
        try:
            message = s1ap.decode(octets)
            if (tai := message.ie(IeId.TAI)) is not None:
                return tai_of(tai).plmn, tai_of(tai).tac
            for tac in message.ie(IeId.SUPPORTED_TAS) or ():
                served = tai_of({"pLMNidentity": tac["broadcastPLMNs"][0], "tAC": tac["tAC"]})
                return served.plmn, served.tac
        except (ProtocolError, KeyError, IndexError):
            continue
    return _DEFAULT_PLMN, 1


def _security(security: NasSecurityContext | None) -> dict[str, object] | None:
    if security is None:
        return None
    return {
        "k_asme": security.k_asme.hex(),
        "integrity": security.integrity,
        "ciphering": security.ciphering,
        "ksi": security.ksi,
        "uplink_count": security.uplink_count,
        "downlink_count": security.downlink_count,
    }
