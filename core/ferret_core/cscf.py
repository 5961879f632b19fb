"""What P-, I- and S-CSCF have in common beside SIP: one Diameter interface, and how they are told who they are."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ferret.errors import ConfigError
from ferret.protocols import diameter, sip
from ferret_core.nf import Failed, Input, Note, Output, PeerLost, Received
from ferret_core.sip_policy import policy_from
from ferret_core.sip_proxy import SipProxy

_KEYS = frozenset({"profile", "names", "peers"})
_PROFILE_KEYS = frozenset({"sip"})


class Cscf(SipProxy):
    """A call session control function. Its own context and profile keys are a subclass's to name and to read."""

    context_keys: ClassVar[frozenset[str]] = frozenset()
    profile_keys: ClassVar[frozenset[str]] = frozenset()

    def receive(self, event: Input, now: float) -> Sequence[Output]:
        """Take a SIP message, an answer or a request on Diameter, or the news that an answer will not come."""
        match event:
            case Received(message=sip.Message() as message):
                return self._receive_sip(event, message, now)
            case Received(message=diameter.Message() as message) if message.is_request:
                return self._asked_on_diameter(event, message, now)
            case Received(message=diameter.Message() as message):
                return self._answered_on_diameter(event.transaction, message, "", now)
            case Failed():
                return self._answered_on_diameter(event.token, None, event.reason, now)
            case PeerLost():
                return [Note("peer_lost", {"interface": str(event.interface), "reason": event.reason})]
        return [Note("message_of_another_interface", {"interface": str(event.interface)})]

    @abstractmethod
    def _asked_on_diameter(self, event: Received, request: diameter.Message, now: float) -> list[Output]:
        """A request of the HSS or PCRF."""

    @abstractmethod
    def _answered_on_diameter(
        self, token: int, answer: diameter.Message | None, reason: str, now: float
    ) -> list[Output]:
        """The answer to a request of ours, by its token; None: there is none, for this reason."""

    def import_context(self, context: Mapping[str, object], now: float) -> Sequence[Output]:
        """Take over configuration and what cannot be redone; see the class. Raises ConfigError."""
        self._known(context, _KEYS | self.context_keys, "knows no context")
        try:
            self._import(dict(context), now)
        except (TypeError, LookupError, AttributeError, ValueError) as error:
            raise ConfigError(f"context for the {self.role} that cannot be read: {error!r}") from error
        return []

    def _import(self, context: dict[str, Any], now: float) -> None:
        self.names.add(context.get("names", {}), context.get("peers", {}))
        profile = context.get("profile", {})
        self._known(profile, _PROFILE_KEYS | self.profile_keys, "has no profile of")
        self.policy = policy_from(profile.get("sip", {}), self.policy)
        self._take_profile(profile)
        self._take_context(context, now)

    def _known(self, given: Mapping[str, object], keys: frozenset[str], says: str) -> None:
        unknown = sorted(set(given) - keys)
        if unknown:
            raise ConfigError(f"the {self.role} {says} {', '.join(unknown)}")

    @abstractmethod
    def _take_profile(self, profile: Mapping[str, Any]) -> None:
        """Read what a subclass's `profile_keys` say."""

    @abstractmethod
    def _take_context(self, context: Mapping[str, Any], now: float) -> None:
        """Read what a subclass's `context_keys` say."""
