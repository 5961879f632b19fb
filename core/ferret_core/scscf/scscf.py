"""The S-CSCF (TS 24.229 clause 5.4): registrar, and stateful proxy for both halves of a call."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from random import Random
from typing import Any

from ferret.protocols import diameter, sip
from ferret.protocols.diameter import Command, avp
from ferret.records.message import Interface, Role
from ferret_core.cscf import Cscf
from ferret_core.nf import Output, Peer, Received, Send
from ferret_core.scscf import cx, in_dialog, originating, reg_event, registrar, terminating
from ferret_core.scscf.policy import DEFAULT, CxProfile, RegistrarHabits, changed
from ferret_core.scscf.reg_event import Subscription
from ferret_core.scscf.registrar import Binding, Subscriber, Waiting
from ferret_core.sip_names import split_address
from ferret_core.sip_policy import Way, filled
from ferret_core.sip_proxy import Branch, Context
from ferret_core.sip_timers import Timers, earliest

FLOW_FAILED = (
    430  # of a P-CSCF whose connection with the UE is gone: for us, never for the caller (RFC 5626 clause 11.5)
)
_NUMBER = re.compile(r"\+?[\d\-.()]{3,24}\Z", re.ASCII)


class Scscf(Cscf):
    """One S-CSCF.

    `import_context` takes

    - "profile": what `profile_from_recording` gives: {"sip": changes of `Policy`, "registrar": changes of
      `RegistrarHabits`, "cx": changes of `CxProfile`};
    - "names": {host or "host:port" in a URI: transport address "host:port"};
    - "peers": {transport address: role};
    - "registrations": [{"impi", "impus", "contact", "path", "expires"}] of users that registered before.
    """

    role = Role.SCSCF
    context_keys = frozenset({"registrations"})
    profile_keys = frozenset({"registrar", "cx"})

    def __init__(self, *, address: str, random: Random) -> None:
        super().__init__(address=address, random=random, policy=DEFAULT)
        self.habits = RegistrarHabits()
        self.cx = CxProfile(server_name=f"sip:{address}")
        self.subscribers: dict[str, Subscriber] = {}  # by private identity
        self._registered: Timers[str] = Timers()  # by private identity: its first contact to run out
        self.challenges: dict[str, cx.Vector] = {}  # by private identity
        self.waiting: dict[int, Waiting] = {}  # by token of the Cx request
        self.subscriptions: dict[tuple[str, str], Subscription] = {}  # by Call-ID and the watcher's tag
        self.token = 0
        self._public: dict[str, str] = {}  # public identity to private identity
        self._session = random.getrandbits(32)
        self._sessions = 0

    def _asked_on_diameter(self, event: Received, request: diameter.Message, now: float) -> list[Output]:
        return self._asked_by_hss(event, request)

    def _answered_on_diameter(
        self, token: int, answer: diameter.Message | None, reason: str, now: float
    ) -> list[Output]:
        return registrar.answer_arrived(self, token, answer, now)

    def _take_profile(self, profile: Mapping[str, Any]) -> None:
        self.habits = changed(self.habits, profile.get("registrar", {}))
        self.cx = changed(self.cx, profile.get("cx", {}))

    def _take_context(self, context: Mapping[str, Any], now: float) -> None:
        for one in context.get("registrations", ()):
            impus = tuple(cx.Identity(str(uri), False) for uri in one["impus"])
            impi = str(one.get("impi") or impus[0].uri)
            subscriber = self.subscribers.get(impi) or Subscriber(impi, impus)
            text = str(one["contact"])
            contact = sip.parse_name_addr(text if "<" in text else f"<{text}>")
            expires = now + float(one.get("expires", self.habits.max_expires))
            path = tuple(str(value) for value in one.get("path", ()))
            key = registrar.contact_key(contact.uri)
            subscriber.bindings[key] = Binding(contact.uri, contact.params, path, expires)
            self.remember(subscriber)

    def leftovers(self) -> Mapping[str, int]:
        """Registered users, subscriptions to them, REGISTERs that wait for the HSS."""
        return {
            "registrations": len(self.subscribers),
            "subscriptions": len(self.subscriptions),
            "waiting": len(self.waiting),
        }

    def wake(self, now: float) -> Sequence[Output]:
        """Timers of calls; registrations that have run out."""
        outputs: list[Output] = []
        for impi in self._registered.due(now):
            subscriber = self.subscribers[impi]
            for key in [key for key, one in subscriber.bindings.items() if one.expires <= now]:
                del subscriber.bindings[key]
            if not subscriber.bindings:
                self.deregistered(subscriber)
                outputs += self._timed_out(subscriber)
            else:
                self.remember(subscriber)
        return [*outputs, *super().wake(now)]

    def _timed_out(self, subscriber: Subscriber) -> list[Output]:
        impu = subscriber.identities[0].uri if subscriber.identities else ""
        assignment = cx.Assignment.TIMEOUT_DEREGISTRATION
        self.token += 1
        message = cx.sar(self.cx, self._cx_session_id(), subscriber.impi, impu, assignment, known=True)
        return [Send(Interface.CX, Peer(Role.HSS), message, token=self.token)]

    def deadline(self) -> float | None:
        """The next timer of a call or a registration."""
        return earliest(super().deadline(), self._registered.deadline())

    # ---- users

    def remember(self, subscriber: Subscriber) -> None:
        """A user is registered."""
        self.subscribers[subscriber.impi] = subscriber
        if subscriber.bindings:
            self._registered.set(subscriber.impi, min(one.expires for one in subscriber.bindings.values()))
        for identity in subscriber.identities:
            self._public[_normal(identity.uri)] = subscriber.impi
            if _number(identity.uri):
                self._public.setdefault(_number(identity.uri), subscriber.impi)

    def forget(self, subscriber: str, calls: Collection[str], now: float) -> Sequence[Output]:
        """The user whose private identity is derived from this IMSI (TS 23.003 clause 13.3) is registered no more."""
        for one in [one for impi, one in self.subscribers.items() if impi.partition("@")[0] == subscriber]:
            reg_event.drop(self, one)
            self.deregistered(one)
        chosen = frozenset(calls)
        for token in [t for t, one in self.waiting.items() if one.context.request.first("Call-ID") in chosen]:
            del self.waiting[token]
        for impi in [impi for impi in self.challenges if impi.partition("@")[0] == subscriber]:
            del self.challenges[impi]
        return super().forget(subscriber, calls, now)

    def deregistered(self, subscriber: Subscriber) -> None:
        """A user is registered no more."""
        self.subscribers.pop(subscriber.impi, None)
        self._registered.cancel(subscriber.impi)
        for public in [public for public, impi in self._public.items() if impi == subscriber.impi]:
            del self._public[public]

    def find(self, uri: str) -> Subscriber | None:
        """The registered user whom a Request-URI means."""
        impi = self._public.get(_normal(uri)) or self._public.get(_number(uri))
        return self.subscribers.get(impi) if impi else None

    def own_uri(self, template: str) -> str:
        """An address of our own, as a profile has its form."""
        return filled(template, {"address": self.address}) or f"<sip:{self.address}>"

    # ---- what the proxy asks

    def _way_of(self, event: Received, request: sip.Message) -> Way:
        from_pcscf = event.peer.role is Role.PCSCF
        if request.method == "REGISTER":
            return Way.REGISTER
        if sip.parse_name_addr(request.first("To")).param("tag") is not None:
            return Way.IN_DIALOG_FROM_UE if from_pcscf else Way.IN_DIALOG_TO_UE
        route = sip.parse_uri(sip.parse_name_addr(request.first("Route")).uri)
        own = self.names.is_own(route.host, route.port) if route.host else False
        marked = own and (route.param("orig") is not None or (route.user and route.user == self._orig_user()))
        return Way.ORIGINATING if marked or from_pcscf else Way.TERMINATING

    def _orig_user(self) -> str:
        return sip.parse_uri(sip.parse_name_addr(self.habits.service_route).uri).user

    def _route(self, context: Context, now: float) -> list[Output]:
        return _ROUTES[context.way](self, context, now)

    def _answered(self, context: Context, branch: Branch, answer: sip.Message, now: float) -> list[Output] | None:
        if answer.status == FLOW_FAILED and context.way is Way.TERMINATING:
            return [self._own_answer(context, 480, "Temporarily Unavailable")]
        return [self._send_upstream(context, answer)]

    def _peer_of(self, address: str, context: Context | None) -> tuple[Interface, Peer]:
        role = self.names.role_of(address)
        if role is None and address == self.names.own:
            role = Role.SCSCF
        if role is None and context is not None:
            role = {Way.TERMINATING: Role.PCSCF, Way.ORIGINATING: Role.ICSCF}.get(context.way)
        return Interface.MW, Peer(role or Role.REMOTE, address)

    def _values(self, context: Context) -> dict[str, str]:
        return {
            "address": self.address,
            "host": split_address(self.address)[0],
            "request_uri": context.request.request_uri,
        }

    # ---- Cx and small things

    def _asked_by_hss(self, event: Received, request: diameter.Message) -> list[Output]:
        """RTR takes a user away, PPR brings a new profile (TS 29.228 clauses 6.1.3 and 6.2.2)."""
        impi = request.value_of(avp.USER_NAME) or ""
        subscriber = self.subscribers.get(impi)
        if subscriber is not None and request.command == Command.REGISTRATION_TERMINATION:
            self.deregistered(subscriber)
        elif subscriber is not None and request.command == Command.PUSH_PROFILE:
            subscriber.identities = cx.identities_of(request) or subscriber.identities
            self.remember(subscriber)
        reply = cx.success(self.cx, request)
        return [Send(event.interface, event.peer, reply, reply_to=event.transaction)]

    def _cx_session_id(self) -> str:
        self._sessions += 1
        return f"{self.cx.origin_host};{self._session};{self._sessions}"


def _normal(uri: str) -> str:
    parts = sip.parse_uri(uri)
    if parts.scheme == "tel":
        return _number(uri) or parts.identity
    return f"{parts.user.partition(';')[0]}@{parts.host}"


def _number(uri: str) -> str:
    """The digits of a tel: URI, or of a SIP URI that is a telephone number; "" for any other."""
    user = sip.parse_uri(uri).user.partition(";")[0]
    return re.sub(r"[-.()+]", "", user) if _NUMBER.match(user) else ""


_ROUTES: dict[Way, Callable[[Scscf, Context, float], list[Output]]] = {
    Way.REGISTER: registrar.route,
    Way.ORIGINATING: originating.route,
    Way.TERMINATING: terminating.route,
    Way.IN_DIALOG_FROM_UE: in_dialog.route,
    Way.IN_DIALOG_TO_UE: in_dialog.route,
}
