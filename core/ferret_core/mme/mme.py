"""The Mobility Management Entity (TS 23.401 clause 4.4.2): which procedure takes which message."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeAlias

from ferret.errors import ConfigError, DecodeError, PeerViolationError
from ferret.protocols import diameter, gtpv2, nas, s1ap
from ferret.protocols.diameter import Command
from ferret.records.message import Interface
from ferret_core.mme import (
    attach,
    authentication,
    bearer_procedures,
    dedicated_bearer,
    detach,
    imports,
    nas_transport,
    paging,
    path_switch,
    pdn_connectivity,
    reconfiguration,
    release,
    s1_setup,
    service_request,
    tracking_area,
)
from ferret_core.mme.bearer_procedures import Change
from ferret_core.mme.context import UeContext
from ferret_core.mme.node import MmeNode, Pending
from ferret_core.mme.profile import changed
from ferret_core.mme.states import EcmState, EmmEvent, EmmState
from ferret_core.nf import Failed, Input, Output, Peer, PeerLost, Received

Procedure: TypeAlias = "Callable[[MmeNode, UeContext, nas.Plain], None]"
S1apHandler: TypeAlias = "Callable[[MmeNode, Peer, s1ap.Message], None]"
S11Handler: TypeAlias = "Callable[[MmeNode, UeContext | None, Received, gtpv2.Message], None]"

_S, _E = EmmState, EmmEvent


def _ignored(node: MmeNode, ue: UeContext, plain: nas.Plain) -> None:
    """Nothing follows from it."""


def _esm_status(node: MmeNode, ue: UeContext, plain: nas.Plain) -> None:
    node.note("ue_status", imsi=ue.imsi, message=plain.name)


EMM_TABLE: Final[dict[tuple[EmmState, EmmEvent], Procedure]] = {
    **{(state, _E.ATTACH_REQUEST): attach.begin for state in EmmState},
    **{(state, _E.DETACH_REQUEST): detach.begin for state in EmmState if state is not _S.DETACHING},
    **{(state, _E.STATUS): _esm_status for state in EmmState},
    (_S.IDENTIFYING, _E.IDENTITY_RESPONSE): authentication.identity_response,
    (_S.FETCHING_VECTOR, _E.VECTOR_RECEIVED): authentication.challenge,
    (_S.AUTHENTICATING, _E.AUTHENTICATION_RESPONSE): authentication.authentication_response,
    (_S.AUTHENTICATING, _E.AUTHENTICATION_FAILURE): authentication.authentication_failure,
    (_S.SECURING, _E.SECURITY_MODE_COMPLETE): attach.security_mode_complete,
    (_S.SECURING, _E.SECURITY_MODE_REJECT): authentication.security_mode_reject,
    (_S.LOCATING, _E.LOCATION_UPDATED): attach.location_updated,
    (_S.DEREGISTERED, _E.LOCATION_UPDATED): attach.location_updated,  # the security context was there already
    (_S.REGISTERED, _E.LOCATION_UPDATED): attach.location_updated,
    (_S.ASKING_ESM, _E.ESM_INFORMATION_RESPONSE): attach.create_session,
    (_S.CREATING_SESSION, _E.SESSION_CREATED): attach.accept,
    (_S.ATTACHING, _E.ATTACH_COMPLETE): attach.complete,
    (_S.REGISTERED, _E.SERVICE_REQUEST): service_request.begin,
    (_S.DEREGISTERED, _E.SERVICE_REQUEST): service_request.begin,
    (_S.REGISTERED, _E.EXTENDED_SERVICE_REQUEST): service_request.extended,
    (_S.REGISTERED, _E.TRACKING_AREA_UPDATE_REQUEST): tracking_area.begin,
    (_S.DEREGISTERED, _E.TRACKING_AREA_UPDATE_REQUEST): tracking_area.begin,
    (_S.REGISTERED, _E.TRACKING_AREA_UPDATE_COMPLETE): tracking_area.complete,
    (_S.REGISTERED, _E.PDN_CONNECTIVITY_REQUEST): pdn_connectivity.connectivity_request,
    (_S.REGISTERED, _E.PDN_DISCONNECT_REQUEST): pdn_connectivity.disconnect_request,
    (_S.REGISTERED, _E.ESM_ANSWER): bearer_procedures.ue_answered,
    (_S.DETACHING, _E.ESM_ANSWER): _ignored,
    (_S.DETACHING, _E.DETACH_ACCEPT): detach.detach_accept,
    (_S.DETACHING, _E.DETACH_REQUEST): _ignored,  # sent again
    (_S.DEREGISTERED, _E.DETACH_ACCEPT): _ignored,
}

_M = nas.MessageType
NAS_EVENTS: Final[dict[int, EmmEvent]] = {
    _M.ATTACH_REQUEST: _E.ATTACH_REQUEST,
    _M.ATTACH_COMPLETE: _E.ATTACH_COMPLETE,
    _M.DETACH_REQUEST: _E.DETACH_REQUEST,
    _M.DETACH_ACCEPT: _E.DETACH_ACCEPT,
    _M.TRACKING_AREA_UPDATE_REQUEST: _E.TRACKING_AREA_UPDATE_REQUEST,
    _M.TRACKING_AREA_UPDATE_COMPLETE: _E.TRACKING_AREA_UPDATE_COMPLETE,
    _M.GUTI_REALLOCATION_COMPLETE: _E.TRACKING_AREA_UPDATE_COMPLETE,
    _M.EXTENDED_SERVICE_REQUEST: _E.EXTENDED_SERVICE_REQUEST,
    _M.AUTHENTICATION_RESPONSE: _E.AUTHENTICATION_RESPONSE,
    _M.AUTHENTICATION_FAILURE: _E.AUTHENTICATION_FAILURE,
    _M.IDENTITY_RESPONSE: _E.IDENTITY_RESPONSE,
    _M.SECURITY_MODE_COMPLETE: _E.SECURITY_MODE_COMPLETE,
    _M.SECURITY_MODE_REJECT: _E.SECURITY_MODE_REJECT,
    _M.EMM_STATUS: _E.STATUS,
    _M.ESM_STATUS: _E.STATUS,
    _M.ESM_INFORMATION_RESPONSE: _E.ESM_INFORMATION_RESPONSE,
    _M.PDN_CONNECTIVITY_REQUEST: _E.PDN_CONNECTIVITY_REQUEST,
    _M.PDN_DISCONNECT_REQUEST: _E.PDN_DISCONNECT_REQUEST,
    _M.ACTIVATE_DEFAULT_EPS_BEARER_CONTEXT_ACCEPT: _E.ESM_ANSWER,
    _M.ACTIVATE_DEFAULT_EPS_BEARER_CONTEXT_REJECT: _E.ESM_ANSWER,
    _M.ACTIVATE_DEDICATED_EPS_BEARER_CONTEXT_ACCEPT: _E.ESM_ANSWER,
    _M.ACTIVATE_DEDICATED_EPS_BEARER_CONTEXT_REJECT: _E.ESM_ANSWER,
    _M.MODIFY_EPS_BEARER_CONTEXT_ACCEPT: _E.ESM_ANSWER,
    _M.MODIFY_EPS_BEARER_CONTEXT_REJECT: _E.ESM_ANSWER,
    _M.DEACTIVATE_EPS_BEARER_CONTEXT_ACCEPT: _E.ESM_ANSWER,
}
_NO_MESSAGE: Final = nas.Plain(nas.Discriminator.EMM, 0, (), b"")


class Mme(MmeNode):
    """The MME: S1-MME towards base stations, S6a towards the HSS, S11 towards the SGW.

    `import_context` takes a document with these keys, all optional:

    - any field of `profile.Profile`: the operator's configuration (`profile_from_recording` reads it from what a
      recorded MME sent)
    - `radio_capabilities`: by IMSI, what devices told of their radio (hex) before they attached again;
    - `subscriptions`: by IMSI, {msisdn, imeisv, radio_capability, ambr, apns} as below, for subscribers that no HSS is
      asked about
    - `ue_contexts`: list of UE contexts to take over, each with `imsi` and, as far as known, `msisdn`, `imeisv`, `enb`
      (peer address; absent: the UE is idle), `enb_ue_s1ap_id`, `mme_ue_s1ap_id`, `tai` {plmn, tac}, `ecgi` {plmn,
      cell}, `guti` {plmn, group_id, mme_code, m_tmsi}, `k_asme` (hex; without it NAS goes unprotected and a note says
      so), `ksi`, `nas_counts` {uplink, downlink: the next ones}, `algorithms` {integrity, ciphering}, `k_enb` (hex),
      `ue_network_capability`, `ms_network_capability`, `radio_capability` (hex), `ambr` {uplink, downlink: bit/s},
      `subscription` {ambr, apns: [{apn, pdn_type, qci, priority_level, may_preempt, preemptable, ambr,
      addresses: those the UE always has}]},
      `device_has_bearers` (bool) and `bearers`: list of {`ebi`, `linked_ebi` (a dedicated bearer's default bearer),
      `qci`, `priority_level`, `may_preempt`, `preemptable`, `gbr` {mbr_downlink, mbr_uplink, gbr_downlink, gbr_uplink:
      bit/s}, `apn`, `pdn_type` (1, 2, 3), `paa` (text), `ambr` {uplink, downlink: bit/s}, `pco` (hex), `enb_tunnel`
      {address, teid}}.

    For each default bearer of a context the MME creates a session at the SGW, asking for `paa`. With
    `device_has_bearers` a Create Bearer Request for the PDN connection and QCI of a dedicated bearer in the list only
    moves that bearer: E-RAB Modify instead of E-RAB Setup.
    """

    def receive(self, event: Input, now: float) -> Sequence[Output]:
        """Take one event. Raises PeerViolationError for what no procedure expects, DecodeError for bad content."""
        self.now = now
        self.outputs()
        try:
            self._take(event)
        except (ValueError, OverflowError) as error:
            # well-formed where it came from, but no value of the protocol that it goes on in (an APN of 70 letters)
            raise PeerViolationError(f"content that cannot be passed on: {error}") from error
        return self.outputs()

    def _take(self, event: Input) -> None:
        match event:
            case Received(message=s1ap.Message() as message):
                self._s1ap(event, message)
            case Received(message=gtpv2.Message() as message):
                self._gtpv2(event, message)
            case Received(message=diameter.Message() as message):
                self._diameter(event, message)
            case Failed():
                self._failed(event)
            case PeerLost(interface=Interface.S1_MME):
                release.forget_connections(self, event.peer)
                self.enbs.pop(event.peer, None)
                self.note("enb_lost", enb=event.peer.address, reason=event.reason)
            case PeerLost():
                self.note("peer_lost", peer=str(event.peer.role), reason=event.reason)
                if event.interface is Interface.S11:
                    detach.without_sgw(self, event.peer)
            case _:
                raise PeerViolationError(f"the MME does not speak on {event.interface}")

    # S1-MME

    def _s1ap(self, event: Received, message: s1ap.Message) -> None:
        handler = _S1AP_TABLE.get((message.kind, message.procedure_code))
        if handler is None:
            raise PeerViolationError(f"{message.name} is not expected by an MME")
        handler(self, event.peer, message)

    def nas_received(self, ue: UeContext, octets: bytes) -> None:
        """A NAS-PDU from a UE whose context is known."""
        plain, verified = nas_transport.receive(self, ue, octets)
        if plain is None:
            if nas.decode(octets).header is nas.SecurityHeader.SERVICE_REQUEST:
                ue.request_verified = verified
                self.happened(ue, EmmEvent.SERVICE_REQUEST)
            return
        if plain.type in (_M.ATTACH_REQUEST, _M.TRACKING_AREA_UPDATE_REQUEST):
            ue.request_verified = verified or ue.keyless
        event = NAS_EVENTS.get(plain.type)
        if event is None:
            raise PeerViolationError(f"{plain.name} is not expected by an MME")
        self.happened(ue, event, plain)

    def happened(self, ue: UeContext, event: EmmEvent, plain: nas.Plain | None = None) -> None:
        """Let the procedure run that the table gives for this event in the UE's state."""
        procedure = EMM_TABLE.get((ue.emm, event))
        if procedure is None:
            raise PeerViolationError(f"{event} is not expected from a UE in state {ue.emm}")
        procedure(self, ue, plain or _NO_MESSAGE)

    # S11 and S6a

    def _gtpv2(self, event: Received, message: gtpv2.Message) -> None:
        handler = _S11_TABLE.get(message.type)
        if handler is not None:
            handler(self, self.by_s11_teid.get(message.teid or 0), event, message)
            return
        waiting = self._waiting(event, message.name)
        if waiting is not None:
            waiting.answered(waiting.ue, message)  # type: ignore[arg-type]

    def _diameter(self, event: Received, message: diameter.Message) -> None:
        if not message.is_request:
            waiting = self._waiting(event, f"answer {message.command}")
            if waiting is not None:
                waiting.answered(waiting.ue, message)  # type: ignore[arg-type]
        elif message.command == Command.CANCEL_LOCATION:
            detach.cancel_location(self, event, message)
        else:
            refused = diameter.answer(message, diameter.avp.RESULT_CODE(3001), error=True)
            self.answer(event.interface, event.peer, refused, event.transaction)

    def _waiting(self, event: Received, name: str) -> Pending | None:
        waiting = self.pending.get(event.transaction)
        if waiting is None or waiting.interface is not event.interface:
            self.note("answer_not_awaited", message=name)
            return None
        return self.pending.pop(event.transaction)

    def _failed(self, event: Failed) -> None:
        waiting = self.pending.pop(event.token, None)
        if waiting is not None:
            waiting.unanswered(waiting.ue, event.reason)

    # the rest of a network function

    def import_context(self, context: Mapping[str, object], now: float) -> Sequence[Output]:
        """Take over configuration and UE contexts. Raises ConfigError."""
        self.now = now
        self.outputs()
        values = dict(context)
        ue_contexts = values.pop("ue_contexts", ())
        if not isinstance(ue_contexts, (list, tuple)) or not all(isinstance(one, Mapping) for one in ue_contexts):
            raise ConfigError("ue_contexts is not a list of tables")
        told = values.pop("subscriptions", {})
        self.radio_capabilities |= imports.radio_capabilities(values.pop("radio_capabilities", {}))
        self.profile = changed(self.profile, values)
        self.subscriptions |= imports.subscriptions(told)
        for document in ue_contexts:
            imports.take_over(self, document)
        return self.outputs()

    def reconfigure(self, imsi: str, now: float) -> Sequence[Output]:
        """Move base station and device of a subscriber to this MME's SGW (see `reconfiguration`).

        Notes: `reconfigured` {imsi, ebis, nas_protected}, `reconfiguration_failed` {imsi, reason, ...}.
        """
        self.now = now
        self.outputs()
        reconfiguration.begin(self, imsi)
        return self.outputs()

    def expect_move(self, imsi: str, now: float, *, downlink_count: int = 0) -> Sequence[Output]:
        """Let the PGW's next Update Bearer Requests move base station and device; the notes are `reconfigure`'s."""
        self.now = now
        self.outputs()
        reconfiguration.expect(self, imsi, downlink_count)
        return self.outputs()

    def forget(self, subscriber: str, calls: Collection[str], now: float) -> Sequence[Output]:
        """Implicit detach (TS 23.401 clause 5.3.8.3): sessions are deleted, base station and device hear nothing."""
        self.now = now
        self.outputs()
        detach.implicitly(self, subscriber)
        self.radio_capabilities.pop(subscriber, None)
        return self.outputs()

    def count_from(self, imsi: str, downlink_count: int) -> None:
        """Go on with this NAS COUNT, if it is ahead of ours: another MME has signalled with the device meanwhile."""
        ue = self.by_imsi.get(imsi)
        if ue is not None and ue.security is not None:
            ue.security.downlink_count = max(ue.security.downlink_count, downlink_count)

    def deadline(self) -> float | None:
        """When paging, or a message to a UE, is due again."""
        found = [at for at in (paging.deadline(self), bearer_procedures.deadline(self)) if at is not None]
        return min(found, default=None)

    def wake(self, now: float) -> Sequence[Output]:
        """Page again those UEs whose T3413 has expired; tell those again that have not answered."""
        self.now = now
        self.outputs()
        paging.wake(self)
        bearer_procedures.wake(self)
        return self.outputs()

    def leftovers(self) -> Mapping[str, int]:
        """UE contexts, PDN connections, bearers, and requests without an answer."""
        ues = list(self.contexts())
        return {
            "ue_contexts": len(ues),
            "pdn_connections": sum(len(ue.pdns) for ue in ues),
            "bearers": sum(len(ue.bearers) for ue in ues),
            "pending_requests": len(self.pending),
        }


def _initial_ue_message(node: MmeNode, peer: Peer, message: s1ap.Message) -> None:
    """INITIAL UE MESSAGE: a UE has come; find its context by S-TMSI or identity, or begin a new one."""
    octets = message.nas_pdu
    if octets is None:
        raise DecodeError("Initial UE Message without NAS")
    ue = _known(node, message, nas.decode(octets))
    if ue is None:
        ue = node.new_ue()
    else:
        node.new_connection(ue)
    ue.enb, ue.enb_ue_s1ap_id, ue.ecm = peer, message.enb_ue_s1ap_id, EcmState.CONNECTED
    ue.context_set_up = False
    _locate(ue, message)
    _nas(node, ue, octets)


def _nas(node: MmeNode, ue: UeContext, octets: bytes) -> None:
    if isinstance(node, Mme):
        node.nas_received(ue, octets)


def _known(node: MmeNode, message: s1ap.Message, received: nas.Message) -> UeContext | None:
    s_tmsi: Any = message.ie(s1ap.IeId.S_TMSI)
    if s_tmsi is not None:
        known = node.by_m_tmsi.get(int.from_bytes(s_tmsi["m-TMSI"], "big"))
        if known is not None:
            return known
    plain = received.plain
    field = plain and (plain.get("EPS mobile identity") or plain.get("Old GUTI"))
    if not field:
        return None
    identity = nas.MobileIdentity.decode(field)
    if identity.guti is not None:
        return node.by_m_tmsi.get(identity.guti.m_tmsi)
    return node.by_imsi.get(identity.digits)


def _locate(ue: UeContext, message: s1ap.Message) -> None:
    tai, ecgi = message.ie(s1ap.IeId.TAI), message.ie(s1ap.IeId.EUTRAN_CGI)
    ue.tai = s1ap.tai_of(tai) if tai else ue.tai
    ue.ecgi = s1ap.Ecgi.of(ecgi) if ecgi else ue.ecgi


def _uplink_nas_transport(node: MmeNode, peer: Peer, message: s1ap.Message) -> None:
    """UPLINK NAS TRANSPORT."""
    ue = node.ue_of(message)
    if message.nas_pdu is None:
        raise DecodeError("Uplink NAS Transport without NAS")
    _locate(ue, message)
    _nas(node, ue, message.nas_pdu)


def _nas_non_delivery(node: MmeNode, peer: Peer, message: s1ap.Message) -> None:
    """NAS NON DELIVERY INDICATION: the UE did not get a message."""
    node.note("nas_not_delivered", imsi=node.ue_of(message).imsi)


def _context_set_up(node: MmeNode, peer: Peer, message: s1ap.Message) -> None:
    """INITIAL CONTEXT SETUP RESPONSE: of an attach, which Attach complete ends, or of a service request."""
    ue = node.ue_of(message)
    attach.context_set_up(node, ue, message)
    if ue.emm is EmmState.REGISTERED:
        service_request.established(node, ue)


def _context_not_set_up(node: MmeNode, peer: Peer, message: s1ap.Message) -> None:
    attach.context_not_set_up(node, node.ue_of(message), message)


def _capability(node: MmeNode, peer: Peer, message: s1ap.Message) -> None:
    """UE CAPABILITY INFO INDICATION: kept for the next time."""
    node.ue_of(message).radio_capability = message.ie(s1ap.IeId.UE_RADIO_CAPABILITY) or b""


def _bearers(change: Change) -> S1apHandler:
    def answered(node: MmeNode, peer: Peer, message: s1ap.Message) -> None:
        bearer_procedures.enb_answered(node, node.ue_of(message), change, message)

    return answered


_BEGIN, _DONE, _REFUSED = s1ap.PduKind
_P = s1ap.ProcedureCode
_S1AP_TABLE: Final[dict[tuple[s1ap.PduKind, int], S1apHandler]] = {
    (_BEGIN, _P.S1_SETUP): s1_setup.s1_setup_request,
    (_BEGIN, _P.ENB_CONFIGURATION_UPDATE): s1_setup.enb_configuration_update,
    (_BEGIN, _P.RESET): s1_setup.reset,
    (_BEGIN, _P.ERROR_INDICATION): s1_setup.error_indication,
    (_BEGIN, _P.INITIAL_UE_MESSAGE): _initial_ue_message,
    (_BEGIN, _P.UPLINK_NAS_TRANSPORT): _uplink_nas_transport,
    (_BEGIN, _P.NAS_NON_DELIVERY_INDICATION): _nas_non_delivery,
    (_BEGIN, _P.UE_CAPABILITY_INFO_INDICATION): _capability,
    (_DONE, _P.INITIAL_CONTEXT_SETUP): _context_set_up,
    (_REFUSED, _P.INITIAL_CONTEXT_SETUP): _context_not_set_up,
    (_BEGIN, _P.UE_CONTEXT_RELEASE_REQUEST): release.release_request,
    (_DONE, _P.UE_CONTEXT_RELEASE): release.release_complete,
    (_BEGIN, _P.ERAB_RELEASE_INDICATION): release.bearers_released,
    (_DONE, _P.ERAB_SETUP): _bearers(Change.SETUP),
    (_DONE, _P.ERAB_MODIFY): _bearers(Change.MODIFY),
    (_DONE, _P.ERAB_RELEASE): _bearers(Change.RELEASE),
    (_BEGIN, _P.PATH_SWITCH_REQUEST): path_switch.request,
}
_S11_TABLE: Final[dict[int, S11Handler]] = {
    gtpv2.MessageType.CREATE_BEARER_REQUEST: dedicated_bearer.create,
    gtpv2.MessageType.UPDATE_BEARER_REQUEST: dedicated_bearer.update,
    gtpv2.MessageType.DELETE_BEARER_REQUEST: dedicated_bearer.delete,
    gtpv2.MessageType.DOWNLINK_DATA_NOTIFICATION: paging.downlink_data_notification,
}
