"""Rx as an AF speaks it: media components from an SDP offer and its answer, AAR, STR, and answers to the PCRF.

TS 29.214 clause 4.4 (procedures) and 5.6 (messages); TS 29.213 clause 6.2 (from SDP to service information). How an
operator's AF furnishes its messages, where the specifications leave a choice or the AF takes one, is its `RxProfile`;
`profile_from_recording` reads it out of recorded messages, `habits` the same as context.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from ferret.protocols.diameter import Application, Avp, Command, Message, ResultCode, answer, avp, request
from ferret.protocols.diameter.constants import (
    VENDOR_3GPP,
    FlowStatus,
    FlowUsage,
    MediaType,
    SubscriptionIdType,
    TerminationCause,
)
from ferret.protocols.sip.sdp import Media, Sdp
from ferret_core.rx_profile import (
    NUMBERS,
    Rtcp,
    RxProfile,
    habits,
    profile_from_recording,
    profile_of,
    signalling_profile_from_recording,
)

__all__ = [
    "Rtcp",
    "RxProfile",
    "aar",
    "answer_to",
    "habits",
    "media_components",
    "profile_from_recording",
    "profile_of",
    "signalling_aar",
    "signalling_profile_from_recording",
    "str_",
]

_MEDIA_TYPES = {
    "audio": MediaType.AUDIO,
    "video": MediaType.VIDEO,
    "data": MediaType.DATA,
    "application": MediaType.APPLICATION,
    "control": MediaType.CONTROL,
    "text": MediaType.TEXT,
    "message": MediaType.MESSAGE,
}
_UDP, _TCP = 17, 6
_INITIAL, _UPDATE = 0, 1  # Rx-Request-Type (TS 29.214 clause 5.3.31)


# --- messages


def aar(
    profile: RxProfile,
    *,
    session_id: str,
    ue_address: str,
    offer: Sdp,
    answer: Sdp,
    ue_offered: bool,
    subscription: str = "",
    icid: str = "",
    first: bool = True,
    elapsed: float = 0.0,
) -> Message:
    """AAR for what an offer and its answer have agreed on (TS 29.214 clauses 4.4.1 and 4.4.2).

    `subscription` is the URI of the subscriber, `ue_offered` whether the offer is the UE's own, `elapsed` how many
    seconds of the session's lifetime have gone since the PCRF last granted it.
    """
    components = media_components(offer, answer, ue_address=ue_address, ue_offered=ue_offered, profile=profile)
    return request(
        Command.AA,
        Application.RX,
        *_head(profile, session_id),
        avp.AF_APPLICATION_IDENTIFIER(profile.af_application_identifier) if profile.af_application_identifier else None,
        *_optional(profile, elapsed),
        _subscription_id(profile, subscription),
        *components,
        avp.AF_CHARGING_IDENTIFIER(icid) if profile.af_charging_identifier and icid else None,
        _framed(ue_address),
        *[avp.SPECIFIC_ACTION(one) for one in profile.specific_actions],
        avp.RX_REQUEST_TYPE(_INITIAL if first else _UPDATE) if profile.rx_request_type else None,
    )


def signalling_aar(
    profile: RxProfile,
    *,
    session_id: str,
    ue_address: str,
    af_address: str,
    ports: Sequence[tuple[int, int]],
    subscription: str = "",
) -> Message:
    """AAR for the path of SIP itself, which an AF may ask for at registration (TS 29.214 clause 4.4.5).

    `ports`: of UE and AF, a pair for each connection between them. `profile` is that of such AARs, see
    `signalling_profile_from_recording`; an AF does not furnish them like those for media.
    """
    filters = []
    for mine, theirs in ports:
        here, there = f"{ue_address} {mine}", f"{af_address} {theirs}"
        source, target = (here, there) if profile.ue_first else (there, here)
        filters += [f"permit out ip from {source} to {target}", f"permit in ip from {target} to {source}"]
    sub = avp.MEDIA_SUB_COMPONENT(
        avp.FLOW_NUMBER(1),
        *[avp.FLOW_DESCRIPTION(one) for one in filters],
        avp.FLOW_USAGE(FlowUsage.AF_SIGNALLING),
    )
    end = "\0" if profile.codec_data_ends_with_nul else ""
    empty = [avp.CODEC_DATA(f"{text}\n{end}") for text in ("downlink\noffer", "uplink\nanswer")]
    component = avp.MEDIA_COMPONENT_DESCRIPTION(
        avp.MEDIA_COMPONENT_NUMBER(1),
        sub,
        avp.MEDIA_TYPE(MediaType.CONTROL),
        *(empty if profile.codec_data else []),
        avp.FLOW_STATUS(FlowStatus.ENABLED),
    )
    return request(
        Command.AA,
        Application.RX,
        *_head(profile, session_id),
        avp.AF_APPLICATION_IDENTIFIER(profile.af_application_identifier) if profile.af_application_identifier else None,
        *_optional(profile, 0.0),
        _subscription_id(profile, subscription),
        component,
        _framed(ue_address),
        *[avp.SPECIFIC_ACTION(one) for one in profile.specific_actions],
        avp.RX_REQUEST_TYPE(_INITIAL) if profile.rx_request_type else None,
    )


def str_(profile: RxProfile, *, session_id: str, cause: int = TerminationCause.LOGOUT) -> Message:
    """STR: the AF session is over (TS 29.214 clause 4.4.4)."""
    named = profile.af_application_identifier if profile.af_application_identifier_in_str else ""
    return request(
        Command.SESSION_TERMINATION,
        Application.RX,
        *_head(profile, session_id),
        avp.AF_APPLICATION_IDENTIFIER(named) if named else None,
        avp.TERMINATION_CAUSE(cause),
    )


def answer_to(profile: RxProfile, asked: Message, *, known: bool) -> Message:
    """RAA or ASA; `known`: whether the session is one of ours (TS 29.214 clauses 4.4.5 and 4.4.6)."""
    return answer(
        asked,
        avp.AUTH_APPLICATION_ID(Application.RX) if asked.find(avp.AUTH_APPLICATION_ID) else None,
        avp.ORIGIN_HOST(profile.origin_host),
        avp.ORIGIN_REALM(profile.origin_realm),
        avp.RESULT_CODE(ResultCode.SUCCESS if known else ResultCode.UNKNOWN_SESSION_ID),
    )


def _head(profile: RxProfile, session_id: str) -> list[Avp | None]:
    rx = avp.AUTH_APPLICATION_ID(Application.RX)
    return [
        avp.SESSION_ID(session_id),
        avp.ORIGIN_HOST(profile.origin_host),
        avp.ORIGIN_REALM(profile.origin_realm),
        rx,
        avp.VENDOR_SPECIFIC_APPLICATION_ID(avp.VENDOR_ID(VENDOR_3GPP), rx)
        if profile.vendor_specific_application_id
        else None,
        avp.DESTINATION_REALM(profile.destination_realm),
        avp.DESTINATION_HOST(profile.destination_host) if profile.destination_host else None,
    ]


def _optional(profile: RxProfile, elapsed: float) -> list[Avp]:
    given = {name: value for name in NUMBERS if (value := getattr(profile, name)) is not None}
    if "session_timeout" in given:
        given["session_timeout"] = max(0, math.ceil(given["session_timeout"] - elapsed))
    return [NUMBERS[name](value) for name, value in given.items()]


def _subscription_id(profile: RxProfile, uri: str) -> Avp | None:
    if not profile.subscription_id or not uri:
        return None
    is_tel = uri.startswith("tel:")
    kind = SubscriptionIdType.END_USER_E164 if is_tel else SubscriptionIdType.END_USER_SIP_URI
    data = uri.removeprefix("tel:").lstrip("+") if is_tel and not profile.tel_uris else uri
    return avp.SUBSCRIPTION_ID(avp.SUBSCRIPTION_ID_TYPE(kind), avp.SUBSCRIPTION_ID_DATA(data))


def _framed(address: str) -> Avp:
    if ":" in address:
        return avp.FRAMED_IPV6_PREFIX(f"{address}/128" if "/" not in address else address)
    return avp.FRAMED_IP_ADDRESS(address)


# --- media


@dataclass(frozen=True, slots=True)
class _Stream:
    """One agreed media stream, seen from the UE."""

    number: int
    mine: Media  # the UE's
    theirs: Media
    my_address: str
    their_address: str
    my_direction: str
    is_mine_offer: bool


def media_components(offer: Sdp, answer: Sdp, *, ue_address: str, ue_offered: bool, profile: RxProfile) -> list[Avp]:
    """A Media-Component-Description for each media line that both descriptions have (TS 29.213 clause 6.2).

    Where the UE's description gives no usable address, `ue_address` stands in.
    """
    mine, theirs = (offer, answer) if ue_offered else (answer, offer)
    return [
        _component(
            _Stream(
                index + 1,
                mine.media[index],
                theirs.media[index],
                _address(mine.connection_of(index)) or ue_address,
                _address(theirs.connection_of(index)),
                mine.direction_of(index),
                ue_offered,
            ),
            profile,
        )
        for index in range(min(len(mine.media), len(theirs.media)))
    ]


def _address(text: str) -> str:
    """An address that a filter can have; "" for a name or 0.0.0.0."""
    try:
        address = ip_address(text)
    except ValueError:
        return ""
    return "" if address.is_unspecified else str(address)


def _component(stream: _Stream, profile: RxProfile) -> Avp:
    return avp.MEDIA_COMPONENT_DESCRIPTION(
        avp.MEDIA_COMPONENT_NUMBER(stream.number),
        *_sub_components(stream, profile),
        avp.MEDIA_TYPE(_MEDIA_TYPES.get(stream.mine.type, MediaType.OTHER)),
        *_bandwidth(stream, profile),
        *_codec_data(stream, profile),
        avp.FLOW_STATUS(_flow_status(stream, profile)),
    )


def _is_rtp(media: Media) -> bool:
    return "RTP" in media.proto


def _sub_components(stream: _Stream, profile: RxProfile) -> list[Avp]:
    media = _filters(stream, stream.mine.port, stream.theirs.port, profile)
    usage = avp.FLOW_USAGE(FlowUsage.NO_INFORMATION) if profile.flow_usage else None
    muxed = bool(stream.mine.attributes("rtcp-mux") and stream.theirs.attributes("rtcp-mux"))
    if not _is_rtp(stream.mine) or muxed or profile.rtcp == Rtcp.NONE or not media:
        return [avp.MEDIA_SUB_COMPONENT(avp.FLOW_NUMBER(1), *media, usage)] if media else []
    control = _filters(stream, stream.mine.rtcp_port, stream.theirs.rtcp_port, profile)
    if profile.rtcp == Rtcp.SAME:
        return [avp.MEDIA_SUB_COMPONENT(avp.FLOW_NUMBER(1), *media, *control, usage)]
    return [
        avp.MEDIA_SUB_COMPONENT(avp.FLOW_NUMBER(1), *media, usage),
        avp.MEDIA_SUB_COMPONENT(avp.FLOW_NUMBER(2), *control, avp.FLOW_USAGE(FlowUsage.RTCP)),
    ]


def _filters(stream: _Stream, my_port: int, their_port: int, profile: RxProfile) -> list[Avp]:
    """Downlink and uplink filter; none for a stream that is refused (port 0)."""
    if not my_port or not their_port:
        return []
    protocol = _UDP if "TCP" not in stream.mine.proto else _TCP
    mine = f"{stream.my_address} {my_port}"
    theirs = f"{stream.their_address} {their_port}" if stream.their_address else f"any {their_port}"
    if profile.ue_first:
        mine, theirs = theirs, mine
    return [
        avp.FLOW_DESCRIPTION(f"permit out {protocol} from {theirs} to {mine}"),
        avp.FLOW_DESCRIPTION(f"permit in {protocol} from {mine} to {theirs}"),
    ]


def _bandwidth(stream: _Stream, profile: RxProfile) -> list[Avp]:
    """Table 6.2.2: what each side can receive; of both sides' bandwidth for RTCP, the greater."""
    mine, theirs = stream.mine.bandwidth, stream.theirs.bandwidth
    found: list[Avp] = []
    if profile.bandwidth:
        uplink, downlink = _bits(theirs) or _bits(mine), _bits(mine) or _bits(theirs)
        found += [avp.MAX_REQUESTED_BANDWIDTH_UL(uplink)] if uplink is not None else []
        found += [avp.MAX_REQUESTED_BANDWIDTH_DL(downlink)] if downlink is not None else []
    if profile.rtcp_bandwidth:
        for letter, definition in (("RS", avp.RS_BANDWIDTH), ("RR", avp.RR_BANDWIDTH)):
            given = [side[letter] for side in (mine, theirs) if letter in side]
            found += [definition(max(given))] if given else []
    return found


def _bits(bandwidth: Mapping[str, int]) -> int | None:
    if "AS" in bandwidth:
        return bandwidth["AS"] * 1000
    return bandwidth.get("TIAS")


def _codec_data(stream: _Stream, profile: RxProfile) -> list[Avp]:
    """Codec-Data (TS 29.214 clause 5.3.7): whose SDP, offer or answer, then its lines. The offer comes first."""
    if not profile.codec_data:
        return []
    sides = [("uplink", stream.mine), ("downlink", stream.theirs)]
    if not stream.is_mine_offer:
        sides.reverse()
    end = "\0" if profile.codec_data_ends_with_nul else ""
    return [
        avp.CODEC_DATA(f"{direction}\n{part}\n{_text(media)}{end}")
        for (direction, media), part in zip(sides, ("offer", "answer"), strict=True)
    ]


def _text(media: Media) -> str:
    return b"".join(line.raw for line in media.lines if line.type != "c").decode("utf-8", "surrogateescape")


_STATUS_BY_DIRECTION = {
    "sendrecv": FlowStatus.ENABLED,
    "sendonly": FlowStatus.ENABLED_UPLINK,
    "recvonly": FlowStatus.ENABLED_DOWNLINK,
    "inactive": FlowStatus.DISABLED,
}


def _flow_status(stream: _Stream, profile: RxProfile) -> int:
    """Table 6.2.2: a refused stream is removed, any other is enabled in the directions that the UE uses."""
    if not stream.mine.port or not stream.theirs.port:
        return FlowStatus.REMOVED
    if profile.flow_status is not None:
        return profile.flow_status
    return _STATUS_BY_DIRECTION.get(stream.my_direction, FlowStatus.ENABLED)
