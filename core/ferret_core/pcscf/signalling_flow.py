"""An Rx session for a UE's own signalling, from registration to deregistration (TS 29.214 clause 4.4.5a).

Most operators do without; one that does it has its form in "rx_registration" of the profile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from ferret.errors import ConfigError, DecodeError
from ferret.protocols import diameter, sip
from ferret.protocols.diameter import Application, Command, avp
from ferret.protocols.diameter.constants import (
    VENDOR_3GPP,
    FlowStatus,
    FlowUsage,
    MediaType,
    SubscriptionIdType,
)
from ferret_core import rx
from ferret_core.nf import Output
from ferret_core.pcscf.media import Leg, Resume, ask, release
from ferret_core.sip_names import split_address
from ferret_core.sip_policy import filled

if TYPE_CHECKING:
    from ferret_core.pcscf.pcscf import Pcscf

_NUMBERS = {
    "authorization_lifetime": avp.AUTHORIZATION_LIFETIME,
    "auth_grace_period": avp.AUTH_GRACE_PERIOD,
    "session_timeout": avp.SESSION_TIMEOUT,
    "reservation_priority": avp.RESERVATION_PRIORITY,
}


@dataclass(frozen=True, slots=True)
class SignallingForm:
    """How an operator's P-CSCF asks for its signalling. {ue}, {ue_port}, {host} are filled in."""

    component: int = 0  # Media-Component-Number
    flows: tuple[str, ...] = (
        "permit out ip from {host} 5060 to {ue} {ue_port}",
        "permit in ip from {ue} {ue_port} to {host} 5060",
    )
    codec_data: tuple[str, ...] = ()
    flow_status: int | None = FlowStatus.ENABLED
    subscription: bool = True
    specific_actions: tuple[int, ...] = ()
    authorization_lifetime: int | None = None  # seconds
    auth_grace_period: int | None = None  # seconds
    session_timeout: int | None = None  # seconds
    reservation_priority: int | None = None


def form_of(values: Mapping[str, Any] | None) -> SignallingForm | None:
    """A form from a profile. Raises ConfigError."""
    if values is None:
        return None
    unknown = sorted(set(values) - {one.name for one in fields(SignallingForm)})
    if unknown:
        raise ConfigError(f"rx_registration has no {', '.join(unknown)}")
    given: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    return SignallingForm(**given)


def begin(pcscf: Pcscf, ue: str, request: sip.Message, resume: Resume, now: float) -> list[Output]:
    """A UE registers: ask the PCRF first, where the operator does so and has not yet."""
    form, profile = pcscf.rx_registration, pcscf.rx
    if form is None or profile is None or ue in pcscf.signalling:
        return resume(now)
    leg = pcscf.signalling[ue] = Leg("", split_address(ue)[0], True)
    leg.session_id = pcscf._rx_session_id()
    identity = sip.parse_uri(sip.parse_name_addr(request.first("To")).uri).identity
    return [ask(pcscf, leg, _aar(pcscf, profile, form, leg, ue, identity), resume)]


def end(pcscf: Pcscf, ue: str) -> list[Output]:
    """A UE is registered no more."""
    leg = pcscf.signalling.pop(ue, None)
    return [] if leg is None else release(pcscf, leg)


def _aar(
    pcscf: Pcscf, profile: rx.RxProfile, form: SignallingForm, leg: Leg, ue: str, identity: str
) -> diameter.Message:
    host, port = split_address(ue)
    blanks = {"ue": host.strip("[]"), "ue_port": str(port), "host": split_address(pcscf.address)[0].strip("[]")}
    flows = [avp.FLOW_DESCRIPTION(text) for form_of_flow in form.flows if (text := filled(form_of_flow, blanks))]
    component = avp.MEDIA_COMPONENT_DESCRIPTION(
        avp.MEDIA_COMPONENT_NUMBER(form.component),
        avp.MEDIA_SUB_COMPONENT(avp.FLOW_NUMBER(1), *flows, avp.FLOW_USAGE(FlowUsage.AF_SIGNALLING)),
        avp.MEDIA_TYPE(MediaType.CONTROL),
        *[avp.CODEC_DATA(text) for text in form.codec_data],
        avp.FLOW_STATUS(form.flow_status) if form.flow_status is not None else None,
    )
    subscription = avp.SUBSCRIPTION_ID(
        avp.SUBSCRIPTION_ID_TYPE(SubscriptionIdType.END_USER_SIP_URI), avp.SUBSCRIPTION_ID_DATA(identity)
    )
    application = avp.AUTH_APPLICATION_ID(Application.RX)
    vendor = avp.VENDOR_SPECIFIC_APPLICATION_ID(avp.VENDOR_ID(VENDOR_3GPP), application)
    address = leg.ue.strip("[]")
    numbers = [(definition, getattr(form, name)) for name, definition in _NUMBERS.items()]
    return diameter.request(
        Command.AA,
        Application.RX,
        avp.SESSION_ID(leg.session_id),
        avp.ORIGIN_HOST(profile.origin_host),
        avp.ORIGIN_REALM(profile.origin_realm),
        application,
        vendor if profile.vendor_specific_application_id else None,
        avp.DESTINATION_REALM(profile.destination_realm),
        avp.DESTINATION_HOST(profile.destination_host) if profile.destination_host else None,
        subscription if form.subscription else None,
        component,
        *[avp.SPECIFIC_ACTION(one) for one in form.specific_actions],
        avp.FRAMED_IPV6_PREFIX(f"{address}/128") if ":" in address else avp.FRAMED_IP_ADDRESS(address),
        *[definition(value) for definition, value in numbers if value is not None],
    )


def habits(asked: Iterable[diameter.Message]) -> Mapping[str, Any] | None:
    """The form that recorded AARs for signalling have; None where there are none."""
    for message in asked:
        component = message.find(avp.MEDIA_COMPONENT_DESCRIPTION)
        sub = component.find(avp.MEDIA_SUB_COMPONENT) if component is not None else None
        try:
            if component is not None and sub is not None and sub.value_of(avp.FLOW_USAGE) == FlowUsage.AF_SIGNALLING:
                return _form(message, component, sub)
        except DecodeError:
            continue
    return None


def _form(message: diameter.Message, component: diameter.Avp, sub: diameter.Avp) -> Mapping[str, Any]:
    """Raises DecodeError."""
    prefix = message.value_of(avp.FRAMED_IPV6_PREFIX) or ""
    ue = message.value_of(avp.FRAMED_IP_ADDRESS) or str(prefix).partition("/")[0]
    flows = [_template(text, ue) for text in sub.values_of(avp.FLOW_DESCRIPTION)]
    numbers = {name: message.value_of(definition) for name, definition in _NUMBERS.items()}
    return {
        "component": component.value_of(avp.MEDIA_COMPONENT_NUMBER) or 0,
        "flows": flows,
        "codec_data": list(component.values_of(avp.CODEC_DATA)),
        "flow_status": component.value_of(avp.FLOW_STATUS),
        "subscription": message.find(avp.SUBSCRIPTION_ID) is not None,
        "specific_actions": list(message.values_of(avp.SPECIFIC_ACTION)),
        **{name: value for name, value in numbers.items() if value is not None},
    }


def _template(text: str, ue: str) -> str:
    """ "permit out ip from A 5060 to B 5060" with blanks for both ends (RFC 6733 clause 4.3.1)."""
    words = text.replace("{", "").replace("}", "").split()
    for place in (4, 7):
        if len(words) > place:
            words[place] = "{ue}" if words[place] == ue else "{host}"
    return " ".join(words)
