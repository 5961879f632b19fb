"""The SGW: terminates S11 towards the MME and S5/S8 towards the PGW (TS 23.401 clause 4.4.3.2, TS 29.274)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from random import Random
from typing import TypeAlias

from ferret.errors import ConfigError, PeerViolationError
from ferret.protocols import gtpv2
from ferret.protocols.gtpv2 import Cause, Message, MessageType
from ferret.protocols.gtpv2.codec import kind_of
from ferret.protocols.summary import Kind
from ferret.records.message import Interface, Role
from ferret_core.gtp_control import RefusedError, TeidPool, Tunnel, reply, request_of, sender_teid, unsupported
from ferret_core.nf import Failed, Input, NetworkFunction, Note, Output, Peer, PeerLost, Received, Send
from ferret_core.sgw import (
    create_session,
    dedicated_bearer,
    delete_session,
    downlink_data,
    modify_bearer,
    release_access_bearers,
)
from ferret_core.sgw.context import Bearer, ConnectionEvent, PdnConnection, UeContext, Waiting
from ferret_core.user_plane import SgwPath, SgwUserPlane

Handler: TypeAlias = "Callable[[Sgw, Received, float], list[Output]]"

_CONFIGURATION = ("echo_enb_f_teid", "tell_pgw_f_teid")


class Sgw(NetworkFunction):
    """The SGW's logic. `user_plane` is what it wants done with packets; `user_plane_address` where they are to come.

    `import_context` takes configuration only: `echo_enb_f_teid` (bool, default True) says whether a Modify Bearer
    Response repeats the eNB's F-TEID in the S1-U F-TEID of a bearer, as Open5GS does, or gives the SGW's own
    (TS 29.274 table 7.2.8-2); `tell_pgw_f_teid` (bool, default True) whether a Create Bearer Request tells the MME the
    PGW's end of the tunnel (table 7.2.3-2).
    """

    role = Role.SGW

    def __init__(self, *, address: str, random: Random, user_plane_address: str = "") -> None:
        super().__init__(address=address, random=random)
        self.user_plane = SgwUserPlane(user_plane_address or address)
        self.echo_enb_f_teid = True
        self.tell_pgw_f_teid = True
        self.teids = TeidPool(random)
        self.ues: dict[int, UeContext] = {}  # by our S11 TEID
        self.connections: dict[int, PdnConnection] = {}  # by our S5/S8-C TEID
        self.downlink: dict[int, tuple[PdnConnection, Bearer]] = {}  # by our S5/S8-U TEID
        self._by_imsi: dict[str, UeContext] = {}
        self._waiting: dict[int, Waiting] = {}
        self._tokens = count(1)

    def receive(self, event: Input, now: float) -> Sequence[Output]:
        """Take one event; return what follows from it, in order."""
        match event:
            case Received(message=Message() as message):
                if kind_of(message.type) is Kind.RESPONSE:
                    return self._continue(event.transaction, message, now)
                return self._request(event, message, now)
            case Failed():
                return self._continue(event.token, None, now)
            case PeerLost():
                return delete_session.peer_lost(self, event, now)
        return [Note("message_unexpected", {"nf": "SGW", "interface": str(event.interface)})]

    def import_context(self, context: Mapping[str, object], now: float) -> Sequence[Output]:
        """Take over configuration; the class says which. Raises ConfigError that lists every fault."""
        unknown = sorted(set(context) - set(_CONFIGURATION))
        faults = [f"the SGW takes no {key}" for key in unknown]
        faults += [
            f"{key}: true or false is needed" for key in _CONFIGURATION if not isinstance(context.get(key, True), bool)
        ]
        if faults:
            raise ConfigError("; ".join(faults))
        self.echo_enb_f_teid = bool(context.get("echo_enb_f_teid", self.echo_enb_f_teid))
        self.tell_pgw_f_teid = bool(context.get("tell_pgw_f_teid", self.tell_pgw_f_teid))
        return ()

    def downlink_arrived(self, teid: int, now: float) -> Sequence[Output]:
        """The user plane has a packet for an idle UE under this S5/S8-U TEID (TS 23.401 clause 5.3.4.3)."""
        return downlink_data.arrived(self, teid, now)

    def downlink_for(self, imsi: str, ebi: int, now: float) -> Sequence[Output]:
        """The same, told by subscriber and bearer: for whoever knows of the packet but not of the tunnel (a replay)."""
        ue = self._by_imsi.get(imsi)
        bearer = None if ue is None else ue.bearer(ebi)
        return () if bearer is None else downlink_data.arrived(self, bearer.s5u_teid, now)

    def leftovers(self) -> Mapping[str, int]:
        """State that is held."""
        return {
            "ue_contexts": len(self.ues),
            "pdn_connections": len(self.connections),
            "bearers": sum(len(connection.bearers) for connection in self.connections.values()),
            "tunnels": len(self.user_plane.paths),
            "transactions": len(self._waiting),
        }

    # Requests and answers

    def _request(self, event: Received, message: Message, now: float) -> Sequence[Output]:
        handler = _REQUESTS.get((event.interface, message.type))
        if handler is None:
            return self._unsupported(event, message)
        try:
            return handler(self, event, now)
        except RefusedError as refused:
            return self._refuse(event, message, refused)
        except PeerViolationError:
            return self._refuse(event, message, RefusedError(Cause.REQUEST_REJECTED_REASON_NOT_SPECIFIED))

    def _refuse(self, event: Received, message: Message, refused: RefusedError) -> Sequence[Output]:
        note = Note("request_refused", {"nf": "SGW", "message": message.name, "cause": refused.cause.name})
        if kind_of(message.type) is not Kind.REQUEST:
            return [note]
        teid = self.peer_teid(event.interface, message.teid) or sender_teid(message)
        answer = gtpv2.refusal(message, teid, refused.cause, offending=refused.offending, instance=refused.instance)
        return [note, reply(event, answer)]

    def _unsupported(self, event: Received, message: Message) -> Sequence[Output]:
        """A request that this SGW does not execute is refused, an indication passed over (clause 7.7.4)."""
        note = Note("message_not_supported", {"nf": "SGW", "message": message.name})
        if kind_of(message.type) is not Kind.REQUEST:
            return [note]
        teid = self.peer_teid(event.interface, message.teid)
        return [note, reply(event, unsupported(message, teid))]

    def _continue(self, token: int, message: Message | None, now: float) -> Sequence[Output]:
        waiting = self._waiting.pop(token, None)
        if waiting is None:
            return [Note("answer_to_nothing", {"nf": "SGW"})]
        return waiting.go_on(self, waiting, message, now)

    def ask(self, interface: Interface, peer: Peer, message: Message, waiting: Waiting) -> Send:
        """Send a request whose answer goes to `waiting`."""
        token = next(self._tokens)
        self._waiting[token] = waiting
        return Send(interface, peer, message, token=token)

    def peer_teid(self, interface: Interface, teid: int | None) -> int:
        """The peer's TEID for what is known here under `teid`; 0 where nothing is."""
        if interface is Interface.S11:
            ue = self.ues.get(teid or 0)
            return 0 if ue is None else ue.mme.teid
        connection = self.connections.get(teid or 0)
        return 0 if connection is None else connection.pgw.teid

    # Contexts

    def ue_of(self, event: Received) -> UeContext:
        """The UE that a message on S11 is for. Raises RefusedError: Context not found."""
        ue = self.ues.get(_teid(event))
        if ue is None:
            raise RefusedError(Cause.CONTEXT_NOT_FOUND)
        return ue

    def connection_of(self, event: Received) -> PdnConnection:
        """The PDN connection that a message on S5/S8 is for. Raises RefusedError: Context not found."""
        connection = self.connections.get(_teid(event))
        if connection is None:
            raise RefusedError(Cause.CONTEXT_NOT_FOUND)
        return connection

    def ue_by_imsi(self, imsi: str) -> UeContext | None:
        """The UE with this IMSI."""
        return self._by_imsi.get(imsi)

    def new_ue(self, imsi: str, mme: Tunnel) -> UeContext:
        """A context for a UE that has none."""
        ue = UeContext(imsi, self.teids.take(), mme)
        self.ues[ue.s11_teid] = self._by_imsi[imsi] = ue
        return ue

    def new_connection(self, ue: UeContext, apn: str, ebi: int, pgw: Tunnel) -> PdnConnection:
        """A PDN connection that is being created."""
        connection = PdnConnection(ue, apn, ebi, self.teids.take(), pgw)
        ue.connections[ebi] = self.connections[connection.s5c_teid] = connection
        return connection

    def new_bearer(self, connection: PdnConnection, ebi: int, qos: gtpv2.BearerQos) -> Bearer:
        """A bearer, with tunnels of ours that lead nowhere yet."""
        bearer = Bearer(ebi, qos, self.teids.take(), self.teids.take())
        connection.bearers.append(bearer)
        self.downlink[bearer.s5u_teid] = connection, bearer
        self.route(bearer)
        return bearer

    def route(self, bearer: Bearer) -> None:
        """Have the user plane follow what is known of a bearer's far ends."""
        self.user_plane.paths[bearer.s1u_teid] = SgwPath(bearer.pgw)
        self.user_plane.paths[bearer.s5u_teid] = SgwPath(bearer.enb)

    def drop_bearer(self, connection: PdnConnection, bearer: Bearer) -> None:
        """Forget a bearer and its tunnels."""
        if bearer in connection.bearers:
            connection.bearers.remove(bearer)
            self.downlink.pop(bearer.s5u_teid, None)
            for teid in (bearer.s1u_teid, bearer.s5u_teid):
                self.user_plane.paths.pop(teid, None)
                self.teids.release(teid)

    def drop_connection(self, connection: PdnConnection, event: ConnectionEvent) -> None:
        """Forget a PDN connection and, with its last one, the UE."""
        connection.move(event)
        for bearer in tuple(connection.bearers):
            self.drop_bearer(connection, bearer)
        self.connections.pop(connection.s5c_teid, None)
        self.teids.release(connection.s5c_teid)
        ue = connection.ue
        if ue.connections.get(connection.ebi) is connection:
            del ue.connections[connection.ebi]
        if not ue.connections and self.ues.get(ue.s11_teid) is ue:
            del self.ues[ue.s11_teid], self._by_imsi[ue.imsi]
            self.teids.release(ue.s11_teid)

    # Peers

    def to_mme(self, ue: UeContext) -> Peer:
        """The MME that serves a UE."""
        return Peer(Role.MME, ue.mme.address)

    def to_pgw(self, connection: PdnConnection) -> Peer:
        """The PGW of a PDN connection."""
        return Peer(Role.PGW, connection.pgw.address)


def _teid(event: Received) -> int:
    return request_of(event).teid or 0


_REQUESTS: dict[tuple[Interface, int], Handler] = {
    (Interface.S11, MessageType.CREATE_SESSION_REQUEST): create_session.requested,
    (Interface.S11, MessageType.MODIFY_BEARER_REQUEST): modify_bearer.requested,
    (Interface.S11, MessageType.DELETE_SESSION_REQUEST): delete_session.requested,
    (Interface.S11, MessageType.RELEASE_ACCESS_BEARERS_REQUEST): release_access_bearers.requested,
    (Interface.S11, MessageType.DOWNLINK_DATA_NOTIFICATION_FAILURE_INDICATION): downlink_data.failed,
    (Interface.S5, MessageType.CREATE_BEARER_REQUEST): dedicated_bearer.create_requested,
    (Interface.S5, MessageType.UPDATE_BEARER_REQUEST): dedicated_bearer.update_requested,
    (Interface.S5, MessageType.DELETE_BEARER_REQUEST): dedicated_bearer.delete_requested,
}
