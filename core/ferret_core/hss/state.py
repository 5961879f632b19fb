"""What the procedures of an HSS share."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from ferret.protocols.diameter import Avp, Message, ResultCode, answer, avp
from ferret.protocols.diameter.constants import VENDOR_3GPP
from ferret_core.hss.subscription import Register

_NO_STATE_MAINTAINED = 1  # Auth-Session-State (RFC 6733 clause 8.11)


@dataclass(slots=True)
class HssState:
    """Everything that an HSS knows."""

    random: Random
    host: str = "hss.localdomain"
    realm: str = "localdomain"
    scscf: str = ""  # the S-CSCF that Server-Capabilities name; "": the I-CSCF chooses
    charging_function: str = ""  # Primary-Charging-Collection-Function-Name
    register: Register = field(default_factory=Register)
    waiting: set[int] = field(default_factory=set)  # tokens of requests of ours
    tokens: int = 0

    def token(self) -> int:
        """A token for a request."""
        self.tokens += 1
        self.waiting.add(self.tokens)
        return self.tokens


def application(number: int) -> Avp:
    """Vendor-Specific-Application-Id of a 3GPP application."""
    return avp.VENDOR_SPECIFIC_APPLICATION_ID(avp.VENDOR_ID(VENDOR_3GPP), avp.AUTH_APPLICATION_ID(number))


def say(state: HssState, asked: Message, *avps: Avp | None) -> Message:
    """An answer that keeps no session (TS 29.272 clause 7.1.4, TS 29.229 clause 5.3)."""
    return answer(
        asked,
        application(asked.application),
        avp.AUTH_SESSION_STATE(_NO_STATE_MAINTAINED),
        avp.ORIGIN_HOST(state.host),
        avp.ORIGIN_REALM(state.realm),
        *avps,
    )


def accept(state: HssState, asked: Message, *avps: Avp | None) -> Message:
    """Result-Code DIAMETER_SUCCESS."""
    return say(state, asked, avp.RESULT_CODE(ResultCode.SUCCESS), *avps)


def experimental(state: HssState, asked: Message, result: int, *avps: Avp | None) -> Message:
    """An Experimental-Result of 3GPP: a refusal, or one of the successes that Cx has."""
    group = avp.EXPERIMENTAL_RESULT(avp.VENDOR_ID(VENDOR_3GPP), avp.EXPERIMENTAL_RESULT_CODE(result))
    return say(state, asked, group, *avps)
