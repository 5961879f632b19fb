"""Whose live signalling an edge NF serves: subscribers whose device has been moved here, and their calls."""

from __future__ import annotations

from ferret.protocols import s1ap, sip
from ferret_core.mme import Mme
from ferret_core.nf import Message, NetworkFunction


class Served:
    """The subscribers that one NF serves."""

    def __init__(self, nf: NetworkFunction) -> None:
        self._nf = nf
        self._calls: dict[str, frozenset[str]] = {}  # Call-IDs by IMSI

    def change(self, subscriber: str, calls: frozenset[str] | None) -> None:
        """This subscriber is served here, with these calls; None: no longer."""
        if calls is None:
            self._calls.pop(subscriber, None)
        else:
            self._calls[subscriber] = calls

    def concerns(self, message: Message) -> bool:
        """Whether a message belongs to a device or a call that is served. GTPv2-C and Diameter stay between members."""
        if not self._calls:
            return False
        match message:
            case sip.Message():
                call_id = message.first("Call-ID")
                return any(call_id in calls for calls in self._calls.values())
            case s1ap.Message() if isinstance(self._nf, Mme):
                ue = self._nf.by_s1ap_id.get(message.mme_ue_s1ap_id or 0)
                return ue is not None and ue.imsi in self._calls
        return False
