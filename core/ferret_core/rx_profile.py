"""How an operator's AF furnishes its Rx messages, where the specifications leave a choice or the AF takes one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from ferret.errors import ConfigError, DecodeError
from ferret.protocols.diameter import Application, Avp, Command, Message, avp
from ferret.protocols.diameter.constants import FlowStatus, FlowUsage


class Rtcp(StrEnum):
    """Where an AF puts the filters of RTCP."""

    OWN = "own"  # a sub-component of its own with Flow-Usage RTCP, as TS 29.214 clause 4.4.1 has it
    SAME = "same"  # beside RTP's (Kamailio since 2020)
    NONE = "none"  # nowhere (Kamailio before)


@dataclass(frozen=True, slots=True)
class RxProfile:
    """An AF's own part of Rx messages. None, "" and () leave an AVP out; times are in seconds.

    `ue_first`: filters have source and destination the wrong way round ("permit out … from UE"), as Kamailio's had
    before 2021. `flow_status` is sent whatever the SDP says; None: as the SDP says. `flow_usage`: Flow-Usage is
    written even where it is NO_INFORMATION. `tel_uris`: a tel URI is named as such, not by its digits.
    """

    origin_host: str = "pcscf.localdomain"
    origin_realm: str = "localdomain"
    destination_realm: str = "localdomain"
    destination_host: str = ""
    vendor_specific_application_id: bool = False
    af_application_identifier: str = ""
    af_application_identifier_in_str: bool = False
    authorization_lifetime: int | None = None
    auth_grace_period: int | None = None
    session_timeout: int | None = None
    reservation_priority: int | None = None
    specific_actions: tuple[int, ...] = ()
    subscription_id: bool = True
    tel_uris: bool = False
    af_charging_identifier: bool = False
    rx_request_type: bool = False
    rtcp: str = "own"  # a value of Rtcp
    ue_first: bool = False
    flow_usage: bool = False
    flow_status: int | None = None
    bandwidth: bool = True
    rtcp_bandwidth: bool = True
    codec_data: bool = True
    codec_data_ends_with_nul: bool = False

    def as_context(self) -> Mapping[str, Any]:
        """As `profile_of` reads it; only what differs from the defaults."""
        plain = RxProfile()
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if value != getattr(plain, name)
        }


def profile_of(values: Mapping[str, Any]) -> RxProfile:
    """A profile from context. Raises ConfigError for what is not a part of one."""
    unknown = set(values) - {one.name for one in fields(RxProfile)}
    if unknown:
        raise ConfigError(f"Rx profile: {', '.join(sorted(unknown))} is not known")
    given = dict(values)
    if "specific_actions" in given:
        given["specific_actions"] = tuple(given["specific_actions"])
    if given.get("rtcp", Rtcp.OWN) not in list(Rtcp):
        raise ConfigError(f"Rx profile: rtcp cannot be {given['rtcp']!r}")
    return RxProfile(**given)


NUMBERS = {
    "authorization_lifetime": avp.AUTHORIZATION_LIFETIME,
    "auth_grace_period": avp.AUTH_GRACE_PERIOD,
    "session_timeout": avp.SESSION_TIMEOUT,
    "reservation_priority": avp.RESERVATION_PRIORITY,
}


def profile_from_recording(messages: Sequence[Message]) -> RxProfile:
    """How a recorded AF furnishes its messages, from its AARs and STRs; others are not looked at.

    What an AAR for signalling only (no bandwidth, Flow-Usage AF_SIGNALLING) looks like is not taken for that of media.
    """
    media = [one for one in messages if _is(one, Command.AA) and _has_media(one)]
    ends = [one for one in messages if _is(one, Command.SESSION_TERMINATION)]
    if not media:
        return RxProfile()
    try:
        return _profile(media, ends)
    except DecodeError:
        return RxProfile()


def signalling_profile_from_recording(messages: Sequence[Message]) -> RxProfile | None:
    """How a recorded AF asks for the path of SIP itself at registration; None where it does not."""
    asked = [one for one in messages if _is(one, Command.AA) and _is_signalling(one)]
    try:
        return _profile(asked, ()) if asked else None
    except DecodeError:
        return None


def habits(messages: Sequence[Message]) -> Mapping[str, Any]:
    """The same as context for `profile_of`."""
    return profile_from_recording(messages).as_context()


def _is(message: Message, command: int) -> bool:
    return message.is_request and message.command == command and message.application == Application.RX


def _is_signalling(message: Message) -> bool:
    usages = [
        usage.octets if (usage := one.find(avp.FLOW_USAGE)) is not None else b""
        for component in message.all(avp.MEDIA_COMPONENT_DESCRIPTION)
        for one in component.all(avp.MEDIA_SUB_COMPONENT)
    ]
    return bool(usages) and all(one == FlowUsage.AF_SIGNALLING.to_bytes(4, "big") for one in usages)


def _has_media(message: Message) -> bool:
    components = message.all(avp.MEDIA_COMPONENT_DESCRIPTION)
    described = any(one.find(avp.MAX_REQUESTED_BANDWIDTH_UL) or one.find(avp.CODEC_DATA) for one in components)
    return described and not _is_signalling(message)


def _profile(media: Sequence[Message], ends: Sequence[Message]) -> RxProfile:
    first = media[0]
    components = [one for message in media for one in message.all(avp.MEDIA_COMPONENT_DESCRIPTION)]
    subs = [one for component in components for one in component.all(avp.MEDIA_SUB_COMPONENT)]
    texts = [text for component in components for text in component.values_of(avp.CODEC_DATA)]
    ids = [data for message in media for data in _subscriptions(message)]
    numbers = {name: first.value_of(definition) for name, definition in NUMBERS.items()}
    return RxProfile(
        origin_host=first.value_of(avp.ORIGIN_HOST) or "",
        origin_realm=first.value_of(avp.ORIGIN_REALM) or "",
        destination_realm=first.value_of(avp.DESTINATION_REALM) or "",
        destination_host=first.value_of(avp.DESTINATION_HOST) or "",
        vendor_specific_application_id=first.find(avp.VENDOR_SPECIFIC_APPLICATION_ID) is not None,
        af_application_identifier=first.value_of(avp.AF_APPLICATION_IDENTIFIER) or "",
        af_application_identifier_in_str=any(one.find(avp.AF_APPLICATION_IDENTIFIER) for one in ends),
        authorization_lifetime=numbers["authorization_lifetime"],
        auth_grace_period=numbers["auth_grace_period"],
        session_timeout=numbers["session_timeout"],
        reservation_priority=numbers["reservation_priority"],
        specific_actions=first.values_of(avp.SPECIFIC_ACTION),
        subscription_id=bool(ids),
        tel_uris=any(data.startswith("tel:") for data in ids),
        af_charging_identifier=first.find(avp.AF_CHARGING_IDENTIFIER) is not None,
        rx_request_type=first.find(avp.RX_REQUEST_TYPE) is not None,
        rtcp=str(_rtcp(components)),
        ue_first=_ue_first(media),
        flow_usage=any(one.value_of(avp.FLOW_USAGE) == FlowUsage.NO_INFORMATION for one in subs),
        flow_status=_fixed_status(components),
        bandwidth=any(one.find(avp.MAX_REQUESTED_BANDWIDTH_UL) for one in components),
        rtcp_bandwidth=any(one.find(avp.RS_BANDWIDTH) or one.find(avp.RR_BANDWIDTH) for one in components),
        codec_data=bool(texts),
        codec_data_ends_with_nul=any(text.endswith("\0") for text in texts),
    )


def _subscriptions(message: Message) -> list[str]:
    return [one.value_of(avp.SUBSCRIPTION_ID_DATA) or "" for one in message.all(avp.SUBSCRIPTION_ID)]


def _rtcp(components: Sequence[Avp]) -> Rtcp:
    for component in components:
        subs = component.all(avp.MEDIA_SUB_COMPONENT)
        if any(one.value_of(avp.FLOW_USAGE) == FlowUsage.RTCP for one in subs):
            return Rtcp.OWN
        if any(len(one.all(avp.FLOW_DESCRIPTION)) > 2 for one in subs):
            return Rtcp.SAME
    return Rtcp.NONE


_OUT = re.compile(r"permit out \S+ from (\S+)")


def _ue_first(media: Sequence[Message]) -> bool:
    """Whether downlink filters have the UE as their source."""
    for message in media:
        ue = {*message.values_of(avp.FRAMED_IP_ADDRESS)}
        ue |= {prefix.partition("/")[0] for prefix in message.values_of(avp.FRAMED_IPV6_PREFIX)}
        for component in message.all(avp.MEDIA_COMPONENT_DESCRIPTION):
            for sub in component.all(avp.MEDIA_SUB_COMPONENT):
                for match in filter(None, map(_OUT.match, sub.values_of(avp.FLOW_DESCRIPTION))):
                    return match[1] in ue
    return False


def _fixed_status(components: Sequence[Avp]) -> int | None:
    """ENABLED, if that was said even of a stream that the UE had put on hold in its SDP; None: as the SDP says."""
    for component in components:
        held = any(
            text.startswith("uplink") and re.search(r"^a=(sendonly|recvonly|inactive)\s*$", text, re.MULTILINE)
            for text in component.values_of(avp.CODEC_DATA)
        )
        if held and component.value_of(avp.FLOW_STATUS) == FlowStatus.ENABLED:
            return int(FlowStatus.ENABLED)
    return None
