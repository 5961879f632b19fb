"""The HSS (TS 23.002 clause 4.1.1.1): subscribers' keys and subscriptions, for MMEs on S6a and CSCFs on Cx."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, TypeAlias, cast

from ferret.errors import ConfigError, DecodeError
from ferret.protocols.diameter import Command, Message, ResultCode
from ferret.protocols.diameter.capabilities import Identity, plain_answer
from ferret.records.message import Interface, Role
from ferret_core.hss import cx, s6a
from ferret_core.hss.state import HssState
from ferret_core.hss.subscription import ImsState, read_subscriber
from ferret_core.nf import Failed, Input, NetworkFunction, Note, Output, PeerLost, Received, Send

_Procedure: TypeAlias = Callable[[HssState, Received, Message], list[Output]]

_REQUESTS: Mapping[tuple[Interface, int], _Procedure] = {
    (Interface.S6A, Command.AUTHENTICATION_INFORMATION): s6a.authenticate,
    (Interface.S6A, Command.UPDATE_LOCATION): s6a.update_location,
    (Interface.S6A, Command.PURGE_UE): s6a.purge,
    (Interface.S6A, Command.NOTIFY): s6a.notify,
    (Interface.CX, Command.USER_AUTHORIZATION): cx.authorise,
    (Interface.CX, Command.MULTIMEDIA_AUTH): cx.authenticate,
    (Interface.CX, Command.SERVER_ASSIGNMENT): cx.assign,
    (Interface.CX, Command.LOCATION_INFO): cx.locate,
}
_CONTEXT = frozenset(("identity", "subscribers", "ims_domain", "scscf", "charging_function"))
_DEFAULT_IMS_DOMAIN = "ims.mnc001.mcc001.3gppnetwork.org"


class Hss(NetworkFunction):
    """An HSS for S6a and Cx. `random` makes challenges: outside tests it is a cryptographic one (`SystemRandom`).

    Keys of `import_context`, all optional:

    - `identity`: {"host", "realm"}: Origin-Host and Origin-Realm.
    - `ims_domain`: the home domain of IMPI and IMPU that a subscriber is not given himself.
    - `scscf`: the S-CSCF that Server-Capabilities name; `charging_function`: the one that user profiles go with.
    - `subscribers`: a list of {"imsi", "k", "apns"} (K and OPc in hexadecimal; an APN is {"apn", "pdn_type", "qci",
      "priority_level", "pre_emption_capability", "pre_emption_vulnerability", "ambr": {"ul", "dl"}, "address"}), with,
      if wanted, "opc" or "op", "amf", "sqn", "msisdn", "ambr" (bit/s), "impi", "impus", "access_restriction",
      "network_access_mode", "periodic_tau_seconds".
    """

    role = Role.HSS

    def __init__(self, *, address: str, random: Random) -> None:
        super().__init__(address=address, random=random)
        self._state = HssState(random)

    def receive(self, event: Input, now: float) -> Sequence[Output]:
        """See NetworkFunction."""
        if isinstance(event, Failed):
            self._state.waiting.discard(event.token)
            return [Note("request_failed", {"interface": str(event.interface), "reason": event.reason})]
        if isinstance(event, PeerLost):
            return [Note("peer_lost", {"interface": str(event.interface), "reason": event.reason})]
        if not isinstance(event.message, Message):
            return [Note("message_ignored", {"interface": str(event.interface)})]
        if not event.message.is_request:
            self._state.waiting.discard(event.transaction)
            return []
        return self._asked(event, event.message)

    def _asked(self, event: Received, message: Message) -> list[Output]:
        procedure = _REQUESTS.get((event.interface, message.command))
        if procedure is None:
            return [self._refusal(event, message, ResultCode.COMMAND_UNSUPPORTED)]
        try:
            return procedure(self._state, event, message)
        except DecodeError as error:
            note = Note("message_refused", {"interface": str(event.interface), "reason": str(error)})
            return [note, self._refusal(event, message, ResultCode.INVALID_AVP_VALUE)]

    def _refusal(self, event: Received, message: Message, result: int) -> Send:
        identity = Identity(self._state.host, self._state.realm, (), ())
        return Send(event.interface, event.peer, plain_answer(identity, message, result), reply_to=event.transaction)

    def import_context(self, context: Mapping[str, object], now: float) -> Sequence[Output]:
        """See the class. Raises ConfigError."""
        unknown = set(context) - _CONTEXT
        if unknown:
            raise ConfigError(f"HSS: context {', '.join(sorted(unknown))} is not known")
        state = self._state
        if "identity" in context:
            identity = cast(Mapping[str, str], context["identity"])
            if not {"host", "realm"} <= set(identity):
                raise ConfigError("HSS: an identity has host and realm")
            state.host, state.realm = identity["host"], identity["realm"]
        state.scscf = str(context.get("scscf", state.scscf))
        state.charging_function = str(context.get("charging_function", state.charging_function))
        domain = str(context.get("ims_domain", _DEFAULT_IMS_DOMAIN))
        for one in cast("Sequence[Mapping[str, Any]]", context.get("subscribers", ())):
            state.register.add(read_subscriber(one, domain))
        return []

    def leftovers(self) -> Mapping[str, int]:
        """Subscribers that are somewhere, and requests under way."""
        subscribers = self._state.register.all
        return {
            "attached": sum(one.mme is not None and not one.purged for one in subscribers),
            "registered": sum(one.ims_state is not ImsState.NOT_REGISTERED for one in subscribers),
            "requests": len(self._state.waiting),
        }
