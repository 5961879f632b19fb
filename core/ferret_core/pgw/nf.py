"""The PGW with its PCEF: terminates S5/S8 towards the SGW and Gx towards the PCRF (TS 23.401 clause 4.4.3.3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from random import Random
from typing import TypeAlias

from ferret.errors import DecodeError, PeerViolationError
from ferret.protocols import diameter, gtpv2
from ferret.protocols.diameter import Command
from ferret.protocols.gtpv2 import Cause, MessageType
from ferret.protocols.gtpv2.codec import kind_of
from ferret.protocols.summary import Kind
from ferret.records.message import Interface, Role
from ferret_core.gtp_control import RefusedError, TeidPool, reply, request_of, sender_teid, unsupported
from ferret_core.nf import Failed, Input, NetworkFunction, Note, Output, Peer, PeerLost, Received, Send
from ferret_core.pgw import create_session, dedicated_bearer, delete_session, gx, modify_bearer, re_auth
from ferret_core.pgw.addresses import AddressPools
from ferret_core.pgw.configuration import PgwConfiguration, configured
from ferret_core.pgw.context import Answer, Bearer, Session, SessionEvent, Waiting
from ferret_core.user_plane import PgwBearer, PgwUserPlane, ue_key

Handler: TypeAlias = "Callable[[Pgw, Received, float], list[Output]]"

_UNABLE_TO_COMPLY = 5012  # RFC 6733 clause 7.1.5
_COMMAND_UNSUPPORTED = 3001  # RFC 6733 clause 7.1.3


class Pgw(NetworkFunction):
    """The PGW's logic. `user_plane` is what it wants done with packets; `user_plane_address` where they are to come.

    `import_context` takes configuration, by the names of `PgwConfiguration`: `dns`, `pcscf` (lists of addresses),
    `mtu`, `pools` (networks by APN, "*" for any other), `origin_host`, `origin_realm`, `destination_realm`,
    `feature_list`, `online_charging`, `offline_charging`, `dual_address_flag`, `tft_local_address`,
    `round_bit_rates_up`, `bearer_per_rule`, `report_rule_failures`; and `paa`, {IMSI: {APN: address or addresses}},
    what a subscriber is to get. What a call leaves out stays as it was.
    """

    role = Role.PGW

    def __init__(self, *, address: str, random: Random, user_plane_address: str = "") -> None:
        super().__init__(address=address, random=random)
        self.configuration: PgwConfiguration = PgwConfiguration()
        self.user_plane = PgwUserPlane(user_plane_address or address)
        self.teids = TeidPool(random)
        self.addresses = AddressPools()
        self.sessions: dict[int, Session] = {}  # by our S5/S8-C TEID
        self._by_gx: dict[str, Session] = {}
        self._by_imsi: dict[str, list[Session]] = {}
        self._waiting: dict[int, Waiting] = {}
        self._tokens = count(1)
        self._charging_ids = count(1)
        self._gx_high = random.getrandbits(32)  # RFC 6733 clause 8.8: differs after a restart

    def receive(self, event: Input, now: float) -> Sequence[Output]:
        """Take one event; return what follows from it, in order."""
        match event:
            case Received(message=gtpv2.Message() as message):
                if kind_of(message.type) is Kind.RESPONSE:
                    return self._continue(event.transaction, message, now)
                return self._gtp_request(event, message, now)
            case Received(message=diameter.Message() as message):
                if message.is_request:
                    return self._gx_request(event, message, now)
                return self._continue(event.transaction, message, now)
            case Failed():
                return self._continue(event.token, None, now)
            case PeerLost():
                return delete_session.peer_lost(self, event, now)
        return [Note("message_unexpected", {"nf": "PGW", "interface": str(event.interface)})]

    def move(self, imsi: str, now: float) -> Sequence[Output]:
        """Have every bearer of a subscriber updated, so that base station and device move to this PGW's edge."""
        del now
        return [output for one in self.sessions_of(imsi) for output in dedicated_bearer.update_all(self, one)]

    def import_context(self, context: Mapping[str, object], now: float) -> Sequence[Output]:
        """Take over configuration; the class says which. Raises ConfigError that lists every fault."""
        self.configuration = configured(self.configuration, context)
        return ()

    def leftovers(self) -> Mapping[str, int]:
        """State that is held."""
        return {
            "sessions": len(self.sessions),
            "bearers": sum(len(session.bearers) for session in self.sessions.values()),
            "tunnels": len(self.user_plane.uplink),
            "transactions": len(self._waiting),
        }

    # Requests and answers

    def _gtp_request(self, event: Received, message: gtpv2.Message, now: float) -> Sequence[Output]:
        handler = _GTP_REQUESTS.get((event.interface, message.type))
        session = self.sessions.get(message.teid or 0)
        teid = sender_teid(message) if session is None else session.sgw.teid
        if handler is None:
            note = Note("message_not_supported", {"nf": "PGW", "message": message.name})
            answerable = kind_of(message.type) is Kind.REQUEST
            return [note, reply(event, unsupported(message, teid))] if answerable else [note]
        try:
            return handler(self, event, now)
        except RefusedError as refusal:
            refused = refusal
        except PeerViolationError:
            refused = RefusedError(Cause.REQUEST_REJECTED_REASON_NOT_SPECIFIED)
        note = Note("request_refused", {"nf": "PGW", "message": message.name, "cause": refused.cause.name})
        answer = gtpv2.refusal(message, teid, refused.cause, offending=refused.offending, instance=refused.instance)
        return [note, reply(event, answer)]

    def _gx_request(self, event: Received, message: diameter.Message, now: float) -> Sequence[Output]:
        if message.command != Command.RE_AUTH or event.interface is not Interface.GX:
            answer = gx.re_auth_answer(self, message, _COMMAND_UNSUPPORTED)
            return [Note("message_not_supported", {"nf": "PGW", "command": message.command}), reply_gx(event, answer)]
        try:
            return re_auth.requested(self, event, message, now)
        except DecodeError as error:
            answer = gx.re_auth_answer(self, message, _UNABLE_TO_COMPLY)
            return [Note("request_refused", {"nf": "PGW", "reason": str(error)}), reply_gx(event, answer)]

    def _continue(self, token: int, answer: Answer, now: float) -> Sequence[Output]:
        waiting = self._waiting.pop(token, None)
        if waiting is None:
            return [Note("answer_to_nothing", {"nf": "PGW"})]
        return waiting.go_on(self, waiting, answer, now)

    def ask_sgw(self, session: Session, message: gtpv2.Message, waiting: Waiting) -> Send:
        """Send a request on S5/S8 whose answer goes to `waiting`."""
        token = next(self._tokens)
        self._waiting[token] = waiting
        return Send(Interface.S5, Peer(Role.SGW, session.sgw.address), message, token=token)

    def ask_pcrf(self, message: diameter.Message, waiting: Waiting) -> Send:
        """Send a request on Gx whose answer goes to `waiting`."""
        token = next(self._tokens)
        self._waiting[token] = waiting
        return Send(Interface.GX, Peer(Role.PCRF), message, token=token)

    # Sessions

    def session_of(self, event: Received) -> Session:
        """The PDN connection that a message on S5/S8 is for. Raises RefusedError: Context not found."""
        session = self.sessions.get(request_of(event).teid or 0)
        if session is None:
            raise RefusedError(Cause.CONTEXT_NOT_FOUND)
        return session

    def session_of_gx(self, session_id: str) -> Session | None:
        """The PDN connection of a Gx session."""
        return self._by_gx.get(session_id)

    def sessions_of(self, imsi: str) -> tuple[Session, ...]:
        """Every PDN connection of a subscriber."""
        return tuple(self._by_imsi.get(imsi, ()))

    def next_charging_id(self) -> int:
        """A Charging ID, unique in this PGW (TS 32.251 clause 5.1.1)."""
        return next(self._charging_ids)

    def gx_session_id(self, number: int) -> str:
        """A Session-Id (RFC 6733 clause 8.8)."""
        return f"{self.configuration.origin_host};{self._gx_high};{number};app_gx"

    def add_session(self, session: Session) -> None:
        """Keep a new PDN connection."""
        self.sessions[session.teid] = self._by_gx[session.gx_session_id] = session
        self._by_imsi.setdefault(session.imsi, []).append(session)

    def drop_session(self, session: Session, event: SessionEvent) -> None:
        """Forget a PDN connection with its bearers, address and tunnels."""
        session.move(event)
        for bearer in tuple(session.bearers):
            self.drop_bearer(session, bearer)
        self.addresses.release(session.paa)
        self.teids.release(session.teid)
        self.sessions.pop(session.teid, None)
        self._by_gx.pop(session.gx_session_id, None)
        of_ue = self._by_imsi.get(session.imsi, [])
        if session in of_ue:
            of_ue.remove(session)
        if not of_ue:
            self._by_imsi.pop(session.imsi, None)

    def drop_bearer(self, session: Session, bearer: Bearer) -> None:
        """Forget a bearer and its tunnel."""
        if bearer not in session.bearers:
            return
        session.bearers.remove(bearer)
        self.user_plane.uplink.pop(bearer.teid, None)
        for key in _keys(session):
            of_ue = self.user_plane.downlink.get(key, {})
            of_ue.pop(bearer.teid, None)
            if not of_ue:
                self.user_plane.downlink.pop(key, None)
        self.teids.release(bearer.teid)

    def route(self, session: Session, bearer: Bearer) -> None:
        """Have the user plane follow what is known of a bearer."""
        keys = _keys(session)
        self.user_plane.uplink[bearer.teid] = keys
        filters = tuple(bound.packet_filter for bound in bearer.filters)
        if bearer is not session.default_bearer and not filters:
            return
        for key in keys:
            self.user_plane.downlink.setdefault(key, {})[bearer.teid] = PgwBearer(bearer.sgw, filters)


def _keys(session: Session) -> tuple[str, ...]:
    return tuple(ue_key(address) for address in (session.paa.ipv4, session.paa.ipv6) if address)


def reply_gx(event: Received, answer: diameter.Message) -> Send:
    """The answer to a request on Gx, back to where it came from."""
    return Send(event.interface, event.peer, answer, reply_to=event.transaction)


_GTP_REQUESTS: dict[tuple[Interface, int], Handler] = {
    (Interface.S5, MessageType.CREATE_SESSION_REQUEST): create_session.requested,
    (Interface.S5, MessageType.MODIFY_BEARER_REQUEST): modify_bearer.requested,
    (Interface.S5, MessageType.DELETE_SESSION_REQUEST): delete_session.requested,
}
