"""The PCRF (TS 23.203 clause 6.2.1): decides for Gx what Rx asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import TypeAlias, cast

from ferret.errors import ConfigError, DecodeError
from ferret.protocols.diameter import Command, Message, ResultCode, avp
from ferret.protocols.diameter.capabilities import Identity, plain_answer
from ferret.records.message import Interface, Role
from ferret_core.nf import Failed, Input, NetworkFunction, Note, Output, Peer, PeerLost, Received, Send
from ferret_core.pcrf import gx_session, rx_session
from ferret_core.pcrf.policy import Policy
from ferret_core.pcrf.session import GxSession, PcrfState, Waiting

_Procedure: TypeAlias = Callable[[PcrfState, Received, Message], list[Output]]


def _credit_control(state: PcrfState, event: Received, asked: Message) -> list[Output]:
    kind = asked.value_of(avp.CC_REQUEST_TYPE) or 0
    return gx_session.CREDIT_CONTROL.get(kind, gx_session.refuse)(state, event, asked)


_REQUESTS: Mapping[tuple[Interface, int], _Procedure] = {
    (Interface.GX, Command.CREDIT_CONTROL): _credit_control,
    (Interface.RX, Command.AA): rx_session.authorise,
    (Interface.RX, Command.SESSION_TERMINATION): rx_session.terminate,
}
_ANSWERED: Mapping[Interface, Callable[[PcrfState, Waiting, Message], list[Output]]] = {
    Interface.GX: gx_session.reauth_answered,
    Interface.RX: rx_session.notified,
}
_FAILED: Mapping[Interface, Callable[[PcrfState, Waiting, Failed], list[Output]]] = {
    Interface.GX: gx_session.reauth_failed,
    Interface.RX: rx_session.notification_failed,
}


class Pcrf(NetworkFunction):
    """A PCRF for Gx and Rx.

    Keys of `import_context`, all optional:

    - `identity`: {"host", "realm"}: Origin-Host and Origin-Realm.
    - `policy`: a list of entries, see `ferret_core.pcrf.policy`; replaces the policy in force.
    - `wait_for_raa`: whether the AF is answered only after the PCEF has taken the rules. Open5GS does not wait.
    - `gx_sessions`: IP-CAN sessions that were opened where we could not see it, each
      {"session_id", "host", "realm"} (of the PCEF; the Session-Id is the one that the edge's PCEF uses),
      optionally "peer" (its address), "imsi", "msisdn", "apn", "ue_ip" (a list), "ip_can_type", "rat_type".
    """

    role = Role.PCRF

    def __init__(self, *, address: str, random: Random) -> None:
        super().__init__(address=address, random=random)
        self._state = PcrfState(host="pcrf.localdomain", realm="localdomain")

    def receive(self, event: Input, now: float) -> Sequence[Output]:
        """See NetworkFunction."""
        if isinstance(event, Failed):
            waiting = self._state.waiting.pop(event.token, None)
            failed = _FAILED.get(event.interface)
            return [] if waiting is None or failed is None else failed(self._state, waiting, event)
        if isinstance(event, PeerLost):
            return [Note("peer_lost", {"interface": str(event.interface), "reason": event.reason})]
        if not isinstance(event.message, Message):
            return [Note("message_ignored", {"interface": str(event.interface)})]
        return self._received(event, event.message)

    def _received(self, event: Received, message: Message) -> list[Output]:
        try:
            if message.is_request:
                return self._asked(event, message)
            waiting = self._state.waiting.pop(event.transaction, None)
            answered = _ANSWERED.get(event.interface)
            return [] if waiting is None or answered is None else answered(self._state, waiting, message)
        except DecodeError as error:
            note = Note("message_refused", {"interface": str(event.interface), "reason": str(error)})
            return [note, self._refusal(event, message, ResultCode.INVALID_AVP_VALUE)] if message.is_request else [note]

    def _asked(self, event: Received, message: Message) -> list[Output]:
        procedure = _REQUESTS.get((event.interface, message.command))
        if procedure is None:
            return [self._refusal(event, message, ResultCode.COMMAND_UNSUPPORTED)]
        return procedure(self._state, event, message)

    def _refusal(self, event: Received, message: Message, result: int) -> Send:
        identity = Identity(self._state.host, self._state.realm, (), ())
        return Send(event.interface, event.peer, plain_answer(identity, message, result), reply_to=event.transaction)

    def import_context(self, context: Mapping[str, object], now: float) -> Sequence[Output]:
        """See the class. Raises ConfigError."""
        unknown = set(context) - {"identity", "policy", "wait_for_raa", "gx_sessions"}
        if unknown:
            raise ConfigError(f"PCRF: context {', '.join(sorted(unknown))} is not known")
        try:
            self._import(context)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"PCRF: context is incomplete or of the wrong kind: {error!r}") from error
        return []

    def _import(self, context: Mapping[str, object]) -> None:
        state = self._state
        if "identity" in context:
            identity = cast(Mapping[str, str], context["identity"])
            state.host, state.realm = identity["host"], identity["realm"]
        if "policy" in context:
            state.policy = Policy(cast("Sequence[Mapping[str, object]]", context["policy"]))
        if "wait_for_raa" in context:
            state.wait_for_raa = bool(context["wait_for_raa"])
        for one in cast("Sequence[Mapping[str, object]]", context.get("gx_sessions", ())):
            session = _gx_session(one)
            state.gx[session.session_id] = session

    def leftovers(self) -> Mapping[str, int]:
        """Sessions, rules and requests under way."""
        state = self._state
        return {
            "gx_sessions": len(state.gx),
            "rx_sessions": len(state.rx),
            "rules": sum(len(session.rules) for session in state.gx.values()),
            "requests": len(state.waiting),
        }


def _gx_session(given: Mapping[str, object]) -> GxSession:
    peer = Peer(Role.PGW, str(given.get("peer", "")))
    session = GxSession(str(given["session_id"]), peer, str(given["host"]), str(given["realm"]))
    session.imsi, session.apn = str(given.get("imsi", "")), str(given.get("apn", "")).lower()
    session.addresses = tuple(cast("Sequence[str]", given.get("ue_ip", ())))
    ids = [(1, session.imsi), (0, str(given.get("msisdn", "")))]
    session.subscriber_ids = frozenset((kind, value) for kind, value in ids if value)
    for key, definition in (("ip_can_type", avp.IP_CAN_TYPE), ("rat_type", avp.RAT_TYPE)):
        if key in given:
            session.learnt[(definition.code, definition.vendor)] = definition(cast(int, given[key]))
    return session
