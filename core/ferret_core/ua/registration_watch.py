"""A device's subscription to its own registration state (TS 24.229 clause 5.1.1.3, RFC 3680, RFC 6665).

By it the network tells a device that it has been deregistered.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

from ferret.errors import PeerViolationError
from ferret.protocols import sip
from ferret_core.ua.configuration import UaConfiguration
from ferret_core.ua.dialog import Dialog, tag_of
from ferret_core.ua.registration import contact
from ferret_core.ua.states import WatchEvent, WatchState

MAX_DOCUMENT: Final = 1 << 18  # octets
_CONTACT: Final = re.compile(
    rb"<(?:\w+:)?contact\b([^<>]*)>(?:(?!</?(?:\w+:)?contact\b).)*?<(?:\w+:)?uri>([^<]*)<", re.DOTALL
)
_REGISTRATION: Final = re.compile(rb"<(?:\w+:)?registration\b([^<>]*)>")
_TERMINATED: Final = re.compile(rb"\bstate\s*=\s*[\"']terminated[\"']")
_EARLY: Final = 600.0  # seconds before its end that a long subscription is refreshed


class WatchAgent(Protocol):
    """What a subscription needs of its user agent."""

    configuration: UaConfiguration

    def token(self, bits: int = 64) -> str:
        """Something that nobody guesses, in hexadecimal."""

    def via(self) -> str:
        """A Via with a branch of its own."""

    def send(self, message: sip.Message, destination: str, now: float) -> sip.Message:
        """Send a message; as it is sent."""

    def initial_routes(self) -> tuple[str, ...]:
        """The Route of an initial request."""

    def own_identity(self) -> str:
        """The public identity whose state is watched."""

    def taken_away(self, now: float) -> None:
        """The network has deregistered us."""

    def watch_again_at(self, when: float | None) -> None:
        """When the subscription wants to be refreshed; None: it does not."""


class RegistrationWatch:
    """The subscription of one user agent."""

    def __init__(self, agent: WatchAgent) -> None:
        self.state = WatchState.NONE
        self._agent = agent
        self._request: sip.Message | None = None
        self._dialog: Dialog | None = None

    def happen(self, event: WatchEvent, now: float, message: sip.Message | None = None) -> None:
        """Take an event. Raises PeerViolationError for one that does not fit."""
        entry = _TABLE.get((self.state, event))
        if entry is None:
            raise PeerViolationError(f"{event} while the subscription is {self.state}")
        self.state, handler = entry
        handler(self, message, now)

    def is_mine(self, message: sip.Message) -> bool:
        """Whether an answer or a NOTIFY is of this subscription."""
        request = self._request
        if request is None or request.first("Call-ID") != message.first("Call-ID"):
            return False
        ours = message.first("To" if message.is_request else "From")
        return tag_of(ours) == tag_of(request.first("From"))

    def notified(self, notify: sip.Message, now: float) -> None:
        """A NOTIFY of this subscription (RFC 6665 clause 4.1.3)."""
        state = notify.first("Subscription-State").partition(";")[0].strip().lower()
        gone = deregistered(notify.body, contact(self._agent.configuration))
        self.happen(WatchEvent.ENDED if gone or state == "terminated" else WatchEvent.NOTIFIED, now, notify)
        if gone:
            self._agent.taken_away(now)

    # ---- what the table does

    def _subscribe(self, _: sip.Message | None, now: float) -> None:
        agent, own = self._agent, self._agent.configuration
        identity = agent.own_identity()
        fields = [
            ("Via", agent.via()),
            ("Max-Forwards", "70"),
            *[("Route", value) for value in agent.initial_routes()],
            ("From", f"<{identity}>;tag={agent.token(32)}"),
            ("To", f"<{identity}>"),
            ("Call-ID", f"{agent.token()}@{own.host}"),
            ("CSeq", "1 SUBSCRIBE"),
            *self._fields(),
            ("P-Preferred-Identity", f"<{identity}>"),
        ]
        self._dialog = None
        self._request = agent.send(sip.request("SUBSCRIBE", identity, fields), own.proxy, now)

    def _fields(self) -> list[tuple[str, str]]:
        own = self._agent.configuration
        fields = [("Contact", contact(own)), ("Event", "reg"), ("Accept", "application/reginfo+xml")]
        fields.append(("Expires", str(own.expires)))
        return [*fields, ("P-Access-Network-Info", own.access_network)] if own.access_network else fields

    def _refresh(self, _: sip.Message | None, now: float) -> None:
        if self._dialog is None:
            self._subscribe(None, now)
            return
        self._request = self._dialog.request("SUBSCRIBE", self._agent.via(), self._fields())
        self._request = self._agent.send(self._request, self._dialog.next_hop(), now)

    def _accepted(self, answer: sip.Message | None, now: float) -> None:
        if answer is None or self._request is None:
            return
        if self._dialog is None:
            self._dialog = Dialog.of_answer(self._request, answer)
        text = answer.first("Expires")
        seconds = float(text) if text.isascii() and text.isdigit() and len(text) < 10 else 3761.0
        self._agent.watch_again_at(now + max(seconds - _EARLY, seconds / 2))

    def _over(self, _: sip.Message | None, now: float) -> None:
        self._agent.watch_again_at(None)
        self._dialog = None

    def _nothing(self, _: sip.Message | None, now: float) -> None:
        """Nothing follows from it."""


def deregistered(document: bytes, own_contact: str) -> bool:
    """Whether a registration state document says that our contact is gone (RFC 3680 clause 5.3).

    A document without our contact says so where every registration in it is terminated.
    """
    if len(document) > MAX_DOCUMENT:
        return False
    ours = _place(sip.parse_name_addr(own_contact).uri)
    states = [
        bool(_TERMINATED.search(attributes))
        for attributes, uri in _CONTACT.findall(document)
        if _place(uri.decode("utf-8", "replace").strip()) == ours
    ]
    states = states or [bool(_TERMINATED.search(attributes)) for attributes in _REGISTRATION.findall(document)]
    return bool(states) and all(states)


def _place(uri: str) -> tuple[str, str, int]:
    parts = sip.parse_uri(uri)
    return parts.user, parts.host, parts.port or 5060


_Handler: TypeAlias = Callable[[RegistrationWatch, "sip.Message | None", float], None]
_S, _E = WatchState, WatchEvent
_TABLE: Final[dict[tuple[WatchState, WatchEvent], tuple[WatchState, _Handler]]] = {
    (_S.NONE, _E.REGISTERED): (_S.SUBSCRIBING, RegistrationWatch._subscribe),
    (_S.SUBSCRIBING, _E.REGISTERED): (_S.SUBSCRIBING, RegistrationWatch._nothing),
    (_S.ACTIVE, _E.REGISTERED): (_S.ACTIVE, RegistrationWatch._nothing),
    (_S.SUBSCRIBING, _E.ACCEPTED): (_S.ACTIVE, RegistrationWatch._accepted),
    (_S.ACTIVE, _E.ACCEPTED): (_S.ACTIVE, RegistrationWatch._accepted),
    (_S.NONE, _E.ACCEPTED): (_S.NONE, RegistrationWatch._nothing),
    (_S.SUBSCRIBING, _E.REFUSED): (_S.NONE, RegistrationWatch._over),
    (_S.ACTIVE, _E.REFUSED): (_S.NONE, RegistrationWatch._over),
    (_S.NONE, _E.REFUSED): (_S.NONE, RegistrationWatch._nothing),
    # A NOTIFY may overtake the answer to its SUBSCRIBE (RFC 6665 clause 4.1.2.4).
    **{(state, _E.NOTIFIED): (state, RegistrationWatch._nothing) for state in WatchState},
    **{(state, _E.ENDED): (_S.NONE, RegistrationWatch._over) for state in WatchState},
    **{(state, _E.LEFT): (_S.NONE, RegistrationWatch._over) for state in WatchState},
    (_S.ACTIVE, _E.DUE): (_S.SUBSCRIBING, RegistrationWatch._refresh),
    (_S.NONE, _E.DUE): (_S.NONE, RegistrationWatch._nothing),
    (_S.SUBSCRIBING, _E.DUE): (_S.SUBSCRIBING, RegistrationWatch._nothing),
}
