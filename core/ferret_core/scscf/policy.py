"""What an S-CSCF does unless an operator does otherwise (TS 24.229 clause 5.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from ferret.errors import ConfigError
from ferret_core.sip_policy import HeaderRule, Policy, RecordRouteForm, Way

_LR = (("lr", None),)

DEFAULT = Policy(
    headers={
        # Clause 5.4.3.3: the contact replaces the identity that was called, which the UE is still told.
        Way.TERMINATING: HeaderRule(set=(("P-Called-Party-ID", "<{request_uri}>"),)),
    },
    record_route={
        Way.ORIGINATING: RecordRouteForm("mo", params=_LR),
        Way.TERMINATING: RecordRouteForm("mt", params=_LR),
        Way.IN_DIALOG_FROM_UE: RecordRouteForm("mo", params=_LR),
        Way.IN_DIALOG_TO_UE: RecordRouteForm("mt", params=_LR),
    },
)


@dataclass(frozen=True, slots=True)
class RegistrarHabits:
    """How an operator's registrar writes what the standards leave open."""

    service_route: str = "<sip:orig@{address};lr>"
    challenge_reason: str = "Unauthorized"
    subscribed_reason: str = "OK"
    refused_reason: str = "Forbidden"
    qop: str = "auth"  # of a challenge; "": left out
    path_in_challenge: bool = False
    path_when_deregistered: bool = True
    associated_when_deregistered: bool = True
    max_expires: int = 600000  # seconds; what a UE asks beyond it is cut to it
    told_percent: int = 100  # of its lifetime that a contact is told, so that it comes back in time
    contact: str = "<sip:{address}>"  # of the S-CSCF in a subscription to the registration state
    notify_offset: int = 1  # CSeq of the first NOTIFY beyond that of its SUBSCRIBE
    notify_deregistration: bool = True
    first_version: int = 0  # of a registration state document (RFC 3680 clause 5.2.1)
    contact_q: bool = False  # a contact's q is written where it has none
    contact_expires: str = ""  # how what a UE asked for is among the unknown parameters of its contact: '"{}"'; "": not


@dataclass(frozen=True, slots=True)
class CxProfile:
    """The S-CSCF's own part of Cx messages. Addresses of Diameter; `server_name` is its SIP URI."""

    origin_host: str = "scscf.localdomain"
    origin_realm: str = "localdomain"
    destination_realm: str = "localdomain"
    destination_host: str = ""
    server_name: str = ""
    scheme: str = "Digest-AKAv1-MD5"  # TS 29.229 clause 6.3.9
    call_id_avp: tuple[int, int] | None = None  # code and vendor of an AVP that carries the Call-ID in SAR


def changed(default: Any, values: Mapping[str, Any]) -> Any:
    """A dataclass of habits changed by part of a profile. Raises ConfigError."""
    known = {one.name for one in fields(default)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(f"an S-CSCF profile has no {', '.join(unknown)}")
    return replace(default, **{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})
