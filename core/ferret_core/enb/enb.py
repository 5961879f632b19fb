"""The S1AP side of an emulated base station (TS 36.413), for one MME.

What counts, in order:

1. Common messages are taken in the states of the S1 interface below; UE-associated ones for a device that is known by
   its eNB UE S1AP ID, else an ERROR INDICATION answers (clause 10.6).
2. An E-RAB MODIFY REQUEST with Transport Information (clause 8.2.2.2) moves the uplink of that E-RAB at once.
3. The S1AP answer goes out before what the device answers: so do real base stations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final, TypedDict

from ferret.errors import DecodeError, LocalMisuseError, PeerViolationError
from ferret.protocols import s1ap
from ferret.protocols.nas import Tai
from ferret.protocols.s1ap import Cause, Ecgi, Erab, IeId, PduKind, ProcedureCode, Tunnel
from ferret.protocols.s1ap.constants import (
    CAUSE_UNKNOWN_ENB_UE_S1AP_ID,
    CAUSE_UNKNOWN_ERAB_ID,
    CAUSE_UNKNOWN_PAIR_UE_S1AP_ID,
    CAUSE_USER_INACTIVITY,
)
from ferret.records.message import Interface, Role
from ferret_core.enb.context import ImportedUe, read_ues
from ferret_core.enb.esm import IPV4_PDN_TYPE
from ferret_core.enb.tunnels import DownlinkPacket, Radio, Reply, Tunnels
from ferret_core.enb.ue import EmmState, NasOutput, Ue
from ferret_core.nf import Input, NetworkFunction, Note, Output, Peer, PeerLost, Received, Send

NAME: Final = "FERRET emulated eNB"
_MULTIPLE_IDS: Final = Cause("radioNetwork", "multiple-E-RAB-ID-instances")
_RADIO_CAPABILITY: Final = bytes.fromhex("00100000")
"""UERadioAccessCapabilityInformation (TS 36.331 clause 10.2.2) of no radio: there is none to describe."""


class _Ids(TypedDict):
    mme_ue_s1ap_id: int
    enb_ue_s1ap_id: int


class S1State(StrEnum):
    """The S1 interface towards the MME."""

    DOWN = "down"
    SETTING_UP = "setting up"
    UP = "up"


@dataclass(slots=True)
class Connection:
    """A device's logical S1 connection (TS 36.413 clause 3.1), and the device."""

    enb_id: int
    ue: Ue
    mme_id: int | None = None  # None until the MME's first message
    connected: bool = True  # False: the device is idle
    shared: bool = False  # with the MME that the device belongs to (see `Enb.share`)


class Enb(NetworkFunction):
    """An emulated base station with its devices. `import_context` takes `{"ues": [...]}` (see `context`)."""

    role = Role.ENB

    def __init__(
        self,
        *,
        address: str,
        random: Random,
        mme: str = "",
        plmn: str = "00101",
        tac: int = 1,
        enb_id: int = 1,
    ) -> None:
        """`address`: of S1-U. `mme`: the MME's address. `enb_id`: 20 bits."""
        super().__init__(address=address, random=random)
        self.state = S1State.DOWN
        self.plmn = plmn
        self.tunnels = Tunnels(address)
        self._mme = Peer(Role.MME, mme)
        self._enb_id = enb_id
        self._tai = Tai(plmn, tac)
        self._ecgi = Ecgi(plmn, enb_id << 8 | 1)
        self._connections: dict[int, Connection] = {}
        self._next_id = 1

    # Orders.

    def set_up(self) -> Sequence[Output]:
        """S1 SETUP REQUEST (clause 8.7.3), with a name that says what this is."""
        if self.state is not S1State.DOWN:
            raise LocalMisuseError(f"S1 is {self.state}")
        self.state = S1State.SETTING_UP
        tas = [(self._tai.tac, [self.plmn])]
        request = s1ap.s1_setup_request(plmn=self.plmn, enb_id=self._enb_id, name=NAME, supported_tas=tas)
        return (self._to_mme(request),)

    def towards(self, mme: str) -> Enb:
        """The same base station's S1 interface to one more MME (S1 Flex, TS 36.410 clause 4.3), same tunnels."""
        other = Enb(
            address=self.address,
            random=self.random,
            mme=mme,
            plmn=self.plmn,
            tac=self._tai.tac,
            enb_id=self._enb_id,
        )
        other.tunnels = self.tunnels
        return other

    def share(self, imsi: str, other: Enb, mme_ue_s1ap_id: int) -> None:
        """Let the MME of `other` (see `towards`) signal with a device of this base station too, under this ID of its.

        The device stays what it is, with its keys, NAS COUNTs and E-RABs; only who may signal with it changes. Raises
        LocalMisuseError where there is no such device.
        """
        connection = self._by_imsi(imsi)
        other._connections[connection.enb_id] = Connection(
            connection.enb_id, connection.ue, mme_ue_s1ap_id, shared=True
        )

    def unshare(self, imsi: str) -> None:
        """This MME signals with the device no longer, if it did; its E-RABs stay."""
        for connection in [one for one in self._connections.values() if one.ue.imsi == imsi]:
            del self._connections[connection.enb_id]

    def uplink_ends(self, imsi: str) -> Mapping[int, Tunnel]:
        """Where the uplink of each of a device's E-RABs goes, by EBI. Raises LocalMisuseError without such a device."""
        return {radio.ebi: radio.sgw for radio in self.tunnels.of(self._by_imsi(imsi).enb_id)}

    def take_over(self, imported: ImportedUe) -> Connection:
        """Add a device that is already attached and connected.

        What is imported is how things are now: a device that was here under the same IMSI or eNB UE S1AP ID, or an
        E-RAB with the same TEID, is a remnant and goes.
        """
        for connection in list(self._connections.values()):
            if connection.ue.imsi == imported.imsi or connection.enb_id == imported.enb_ue_s1ap_id:
                self._disconnect(connection)
                del self._connections[connection.enb_id]
        connection = Connection(imported.enb_ue_s1ap_id, Ue.taken_over(imported), imported.mme_ue_s1ap_id)
        for one in imported.bearers:
            self.tunnels.free(one.enb.teid)
            self.tunnels.open(Radio(connection.enb_id, one.ebi, one.enb, one.sgw, one.qci))
        self._connections[connection.enb_id] = connection
        return connection

    def attach(self, ue: Ue, apn: str = "", *, pco: bytes = b"") -> Sequence[Output]:
        """Let a new device attach. Raises LocalMisuseError without an MME."""
        self._need_mme()
        connection = self._connection_for(ue)
        return (self._initial(connection, ue.attach(apn, pco=pco), "mo-Signalling"),)

    def connect_pdn(self, ue: Ue, apn: str, *, pco: bytes = b"", pdn_type: int = IPV4_PDN_TYPE) -> Sequence[Output]:
        """Let an attached, connected device ask for a PDN connection. `pdn_type`: 1 IPv4, 2 IPv6, 3 both."""
        return self._uplink(self._of(ue), NasOutput((ue.connect_pdn(apn, pco=pco, pdn_type=pdn_type),)))

    def disconnect_pdn(self, ue: Ue, ebi: int) -> Sequence[Output]:
        """Let a device give up a PDN connection."""
        return self._uplink(self._of(ue), NasOutput((ue.disconnect_pdn(ebi),)))

    def detach(self, ue: Ue, *, switch_off: bool = False) -> Sequence[Output]:
        """Let a device detach."""
        return self._uplink(self._of(ue), NasOutput((ue.detach(switch_off=switch_off),)))

    def request_service(self, ue: Ue) -> Sequence[Output]:
        """Let an idle device become active. Raises LocalMisuseError without an MME."""
        self._need_mme()
        connection = self._of(ue)
        if connection.connected:
            raise LocalMisuseError("the device is already connected")
        del self._connections[connection.enb_id]
        renewed = self._connection_for(ue)
        return (self._initial(renewed, ue.request_service(), "mo-Data"),)

    def release(self, ue: Ue, cause: Cause = CAUSE_USER_INACTIVITY) -> Sequence[Output]:
        """UE CONTEXT RELEASE REQUEST (clause 8.3.2)."""
        connection = self._of(ue)
        ids = self._ids(connection)
        return (self._to_mme(s1ap.ue_context_release_request(**ids, cause=cause)),)

    def ue(self, imsi: str) -> Ue:
        """The device of this IMSI. Raises LocalMisuseError without one."""
        return self._by_imsi(imsi).ue

    # User plane.

    def uplink(self, ue: Ue, ebi: int, packet: bytes) -> tuple[bytes, tuple[str, int]]:
        """A device's packet on one of its bearers: the GTP-U octets, and where to send them (UDP)."""
        return self.tunnels.uplink(self._of(ue).enb_id, ebi, packet)

    def downlink(self, octets: bytes) -> tuple[Ue, int, bytes] | Reply | None:
        """A GTP-U datagram: device, EBI and packet; or octets to send back; or nothing to act on."""
        result = self.tunnels.downlink(octets)
        if not isinstance(result, DownlinkPacket):
            return result
        connection = self._connections.get(result.ue)
        return None if connection is None else (connection.ue, result.ebi, result.packet)

    # NetworkFunction.

    def receive(self, event: Input, now: float) -> Sequence[Output]:
        """Take one S1AP message, or the loss of the MME."""
        if isinstance(event, PeerLost):
            return self._mme_lost(event)
        if not isinstance(event, Received) or not isinstance(event.message, s1ap.Message):
            raise LocalMisuseError("a base station receives S1AP only")
        message = event.message
        key = (message.kind, message.procedure_code)
        try:
            common = _COMMON.get((self.state, key))
            if common is not None:
                return common(self, message)
            handler = _OF_UE.get(key)
            if handler is None or self.state is not S1State.UP:
                raise PeerViolationError(f"{message.name} while S1 is {self.state}")
            connection = self._connection_of(message)
            return handler(self, connection, message) if isinstance(connection, Connection) else (connection,)
        except (DecodeError, LookupError, ValueError, TypeError, AttributeError) as error:
            # mandatory contents are missing, or are octets because no table of the specification defines them
            raise PeerViolationError(f"{message.name} cannot be used: {error!r}") from error

    def import_context(self, context: Mapping[str, object], now: float) -> Sequence[Output]:
        """Take over devices that are attached already."""
        return tuple(self._taken_over(imported) for imported in read_ues(context))

    def _taken_over(self, imported: ImportedUe) -> Note:
        self.take_over(imported)
        return Note("ue_taken_over", {"imsi": imported.imsi, "keys_known": imported.security is not None})

    def leftovers(self) -> Mapping[str, int]:
        """Devices with an S1 connection, and E-RABs."""
        connected = sum(one.connected for one in self._connections.values())
        return {"connections": connected, "erabs": len(self.tunnels)}

    # Connections.

    def _need_mme(self) -> None:
        if self.state is not S1State.UP:
            raise LocalMisuseError(f"S1 is {self.state}")

    def _connection_for(self, ue: Ue) -> Connection:
        while self._next_id in self._connections:
            self._next_id += 1
        connection = Connection(self._next_id, ue)
        self._next_id += 1
        self._connections[connection.enb_id] = connection
        return connection

    def _connection_of(self, message: s1ap.Message) -> Connection | Send:
        """The connection that a message is for, or the ERROR INDICATION for one that is not known."""
        enb_id, mme_id = message.enb_ue_s1ap_id, message.mme_ue_s1ap_id
        connection = self._connections.get(-1 if enb_id is None else enb_id)
        if enb_id is None:  # UE CONTEXT RELEASE COMMAND may name the MME's ID alone
            connection = next((one for one in self._connections.values() if one.mme_id == mme_id), None)
        if connection is None:
            cause = CAUSE_UNKNOWN_ENB_UE_S1AP_ID
        elif connection.mme_id is None or connection.mme_id == mme_id:
            connection.mme_id = mme_id
            return connection
        else:
            cause = CAUSE_UNKNOWN_PAIR_UE_S1AP_ID
        return self._to_mme(s1ap.error_indication(mme_ue_s1ap_id=mme_id, enb_ue_s1ap_id=enb_id, cause=cause))

    def _by_imsi(self, imsi: str) -> Connection:
        for connection in self._connections.values():
            if connection.ue.imsi == imsi:
                return connection
        raise LocalMisuseError("no device with that IMSI is here")

    def _of(self, ue: Ue) -> Connection:
        for connection in self._connections.values():
            if connection.ue is ue:
                return connection
        raise LocalMisuseError("that device is not here")

    def _ids(self, connection: Connection) -> _Ids:
        if connection.mme_id is None:
            raise LocalMisuseError("the MME has not yet said its UE S1AP ID")
        return {"mme_ue_s1ap_id": connection.mme_id, "enb_ue_s1ap_id": connection.enb_id}

    # Common procedures.

    def _mme_lost(self, event: PeerLost) -> Sequence[Output]:
        """Without S1 there are no UE-associated connections: the devices are idle (TS 36.413 clauses 8.7.1, 8.7.3).

        What is left of one that was just attaching goes; one that is shared here belongs to another MME, and stays.
        """
        self.state = S1State.DOWN
        idle = 0
        for connection in list(self._connections.values()):
            if connection.shared:
                del self._connections[connection.enb_id]
                continue
            idle += connection.connected
            self._disconnect(connection)
            connection.mme_id = None
            if connection.ue.state is not EmmState.REGISTERED:
                del self._connections[connection.enb_id]
        return (Note("mme_lost", {"mme": event.peer.address, "reason": event.reason, "idle": idle}),)

    def _setup_done(self, message: s1ap.Message) -> Sequence[Output]:
        self.state = S1State.UP
        return (Note("s1_set_up", {"mme": self._mme.address, "mme_name": message.ie(IeId.MME_NAME) or ""}),)

    def _setup_failed(self, message: s1ap.Message) -> Sequence[Output]:
        self.state = S1State.DOWN
        fields = {"cause": message.ie(IeId.CAUSE), "time_to_wait": message.ie(IeId.TIME_TO_WAIT)}
        return (Note("s1_setup_refused", fields),)

    def _error(self, message: s1ap.Message) -> Sequence[Output]:
        return (Note("s1_error_indicated", {"cause": message.ie(IeId.CAUSE)}),)

    def _paged(self, message: s1ap.Message) -> Sequence[Output]:
        kind, identity = message.ie(IeId.UE_PAGING_ID)
        if kind != "s-TMSI":
            return (Note("paging_ignored", {"reason": f"by {kind}"}),)
        m_tmsi = int.from_bytes(identity["m-TMSI"], "big")
        for connection in list(self._connections.values()):
            guti = connection.ue.guti
            if guti is not None and guti.m_tmsi == m_tmsi and not connection.connected:
                return self.request_service(connection.ue)
        return (Note("paging_ignored", {"reason": "no idle device has that S-TMSI"}),)

    def _reset(self, message: s1ap.Message) -> Sequence[Output]:
        kind, content = message.ie(IeId.RESET_TYPE)
        if kind == "s1-Interface":
            for connection in list(self._connections.values()):
                self._disconnect(connection)
            return (self._to_mme(s1ap.reset_acknowledge()),)
        pairs = [(item["value"][1].get("mME-UE-S1AP-ID"), item["value"][1].get("eNB-UE-S1AP-ID")) for item in content]
        for mme_id, enb_id in pairs:
            for connection in list(self._connections.values()):
                if connection.enb_id == enb_id or (enb_id is None and connection.mme_id == mme_id):
                    self._disconnect(connection)
        return (self._to_mme(s1ap.reset_acknowledge(connections=pairs)),)

    def _disconnect(self, connection: Connection) -> None:
        """The device becomes idle: its E-RABs go, its bearers stay."""
        for radio in self.tunnels.of(connection.enb_id):
            self.tunnels.close(radio.ue, radio.ebi)
        connection.connected = False

    # Procedures of one device.

    def _nas(self, connection: Connection, message: s1ap.Message) -> Sequence[Output]:
        return self._deliver(connection, message)

    def _context_setup(self, connection: Connection, message: s1ap.Message) -> Sequence[Output]:
        set_up = [
            self._set_up_erab(connection, Erab.of(item))
            for item in message.items(IeId.ERAB_TO_BE_SETUP_LIST_CTXT_SU_REQ)
        ]
        ids = self._ids(connection)
        outputs: list[Output] = [self._to_mme(s1ap.initial_context_setup_response(**ids, erabs=set_up))]
        if message.ie(IeId.UE_RADIO_CAPABILITY) is None:
            capability = s1ap.ue_capability_info_indication(**ids, ue_radio_capability=_RADIO_CAPABILITY)
            outputs.append(self._to_mme(capability))
        outputs += self._deliver(connection, message)
        connection.ue.keep_bearers({erab.ebi for erab in set_up})
        return outputs

    def _set_up_erab(self, connection: Connection, erab: Erab) -> Erab:
        if erab.tunnel is None:
            raise PeerViolationError(f"E-RAB {erab.ebi} has no tunnel")
        end = self.tunnels.allocate()
        qci = erab.qos.qci if erab.qos else 9
        self.tunnels.open(Radio(connection.enb_id, erab.ebi, end, erab.tunnel, qci))
        return Erab(erab.ebi, tunnel=end)

    def _erab_setup(self, connection: Connection, message: s1ap.Message) -> Sequence[Output]:
        done: list[Erab] = []
        failed: list[Erab] = []
        for item in message.items(IeId.ERAB_TO_BE_SETUP_LIST_BEARER_SU_REQ):
            erab = Erab.of(item)
            if self.tunnels.get(connection.enb_id, erab.ebi) is not None:  # clause 8.2.1.4
                failed.append(Erab(erab.ebi, cause=_MULTIPLE_IDS))
            else:
                done.append(self._set_up_erab(connection, erab))
        response = s1ap.erab_setup_response(**self._ids(connection), erabs=done, failed=failed)
        refused = {erab.ebi for erab in failed}
        return (self._to_mme(response), *self._deliver(connection, message, without=refused))

    def _erab_modify(self, connection: Connection, message: s1ap.Message) -> Sequence[Output]:
        done: list[int] = []
        failed: list[Erab] = []
        notes: list[Output] = []
        for item in message.items(IeId.ERAB_TO_BE_MODIFIED_LIST_BEARER_MOD_REQ):
            erab = Erab.of(item)
            radio = self.tunnels.get(connection.enb_id, erab.ebi)
            if radio is None:
                failed.append(Erab(erab.ebi, cause=CAUSE_UNKNOWN_ERAB_ID))
                continue
            done.append(erab.ebi)
            if erab.transport_information is not None:
                notes.append(self._move(radio, erab.transport_information, connection))
        response = s1ap.erab_modify_response(**self._ids(connection), ebis=done, failed=failed)
        refused = {erab.ebi for erab in failed}
        return (self._to_mme(response), *notes, *self._deliver(connection, message, without=refused))

    def _move(self, radio: Radio, sgw: Tunnel, connection: Connection) -> Note:
        self.tunnels.move(radio.ue, radio.ebi, sgw)
        fields = {
            "imsi": connection.ue.imsi,
            "ebi": radio.ebi,
            "from_address": radio.sgw.address,
            "to_address": sgw.address,
            "to_teid": sgw.teid,
        }
        return Note("erab_uplink_moved", fields)

    def _erab_release(self, connection: Connection, message: s1ap.Message) -> Sequence[Output]:
        done: list[int] = []
        failed: list[Erab] = []
        for item in message.items(IeId.ERAB_TO_BE_RELEASED_LIST):
            ebi = Erab.of(item).ebi
            if self.tunnels.get(connection.enb_id, ebi) is None:
                failed.append(Erab(ebi, cause=CAUSE_UNKNOWN_ERAB_ID))
            else:
                self.tunnels.close(connection.enb_id, ebi)
                done.append(ebi)
        response = s1ap.erab_release_response(**self._ids(connection), ebis=done, failed=failed)
        return (self._to_mme(response), *self._deliver(connection, message))

    def _context_modified(self, connection: Connection, _: s1ap.Message) -> Sequence[Output]:
        return (self._to_mme(s1ap.ue_context_modification_response(**self._ids(connection))),)

    def _context_released(self, connection: Connection, _: s1ap.Message) -> Sequence[Output]:
        self._disconnect(connection)
        complete = s1ap.ue_context_release_complete(**self._ids(connection))
        if connection.ue.is_gone:
            del self._connections[connection.enb_id]
        connection.mme_id = None
        return (self._to_mme(complete),)

    # NAS.

    def _deliver(
        self, connection: Connection, message: s1ap.Message, *, without: set[int] | None = None
    ) -> Sequence[Output]:
        """Hand a message's NAS-PDUs to the device, except those of E-RABs that failed; send up what it answers."""
        outputs: list[Output] = []
        for nas_pdu in _nas_pdus(message, without or set()):
            outputs += self._uplink(connection, connection.ue.receive(nas_pdu))
        return outputs

    def _uplink(self, connection: Connection, output: NasOutput) -> Sequence[Output]:
        sent = [
            self._to_mme(
                s1ap.uplink_nas_transport(**self._ids(connection), nas_pdu=nas_pdu, ecgi=self._ecgi, tai=self._tai)
            )
            for nas_pdu in output.uplink
        ]
        return (*sent, *output.notes)

    def _initial(self, connection: Connection, nas_pdu: bytes, cause: str) -> Send:
        guti = connection.ue.guti
        message = s1ap.initial_ue_message(
            enb_ue_s1ap_id=connection.enb_id,
            nas_pdu=nas_pdu,
            tai=self._tai,
            ecgi=self._ecgi,
            establishment_cause=cause,
            s_tmsi=(guti.mme_code, guti.m_tmsi) if guti else None,
        )
        return self._to_mme(message)

    def _to_mme(self, message: s1ap.Message) -> Send:
        return Send(Interface.S1_MME, self._mme, message)


def _nas_pdus(message: s1ap.Message, without: set[int]) -> list[bytes]:
    """The NAS messages in it, in order, without those of some E-RABs."""
    if not without:
        return list(message.nas_pdus())
    found: list[bytes] = []
    for ie in message.ies:
        for item in ie.value if isinstance(ie.value, list) else ():
            erab = Erab.of(item["value"][1])
            if erab.nas_pdu is not None and erab.ebi not in without:
                found.append(erab.nas_pdu)
    return found


_Key = tuple[PduKind, int]
_REQUEST, _DONE, _FAILED = PduKind
_P = ProcedureCode
_COMMON: Final[dict[tuple[S1State, _Key], Callable[[Enb, s1ap.Message], Sequence[Output]]]] = {
    (S1State.SETTING_UP, (_DONE, _P.S1_SETUP)): Enb._setup_done,
    (S1State.SETTING_UP, (_FAILED, _P.S1_SETUP)): Enb._setup_failed,
    (S1State.SETTING_UP, (_REQUEST, _P.ERROR_INDICATION)): Enb._error,
    (S1State.UP, (_REQUEST, _P.ERROR_INDICATION)): Enb._error,
    (S1State.UP, (_REQUEST, _P.PAGING)): Enb._paged,
    (S1State.UP, (_REQUEST, _P.RESET)): Enb._reset,
}
_OF_UE: Final[dict[_Key, Callable[[Enb, Connection, s1ap.Message], Sequence[Output]]]] = {
    (_REQUEST, _P.DOWNLINK_NAS_TRANSPORT): Enb._nas,
    (_REQUEST, _P.INITIAL_CONTEXT_SETUP): Enb._context_setup,
    (_REQUEST, _P.ERAB_SETUP): Enb._erab_setup,
    (_REQUEST, _P.ERAB_MODIFY): Enb._erab_modify,
    (_REQUEST, _P.ERAB_RELEASE): Enb._erab_release,
    (_REQUEST, _P.UE_CONTEXT_MODIFICATION): Enb._context_modified,
    (_REQUEST, _P.UE_CONTEXT_RELEASE): Enb._context_released,
}
