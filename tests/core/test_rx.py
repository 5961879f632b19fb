from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ferret.errors import ConfigError, DecodeError
from ferret.protocols import diameter, sip
from ferret.protocols.diameter import Application, Avp, Command, Message, avp, request
from ferret.protocols.sip.sdp import Sdp
from ferret.protocols.summary import Protocol
from ferret_agents.capture import reader
from ferret_core import rx

IGNORED = (
    "header/Hop-by-Hop Identifier",
    "header/End-to-End Identifier",
    "Session-Timeout",  # counts down from the last grant
)


def _sdp(address: str, port: int, *lines: str, kind: str = "audio") -> Sdp:
    text = f"v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\nm={kind} {port} RTP/AVP 104\r\n"
    return sip.sdp.decode((text + "".join(f"{line}\r\n" for line in lines)).encode())


UE, REMOTE = (
    _sdp("10.46.0.2", 49120, "b=AS:41", "b=RR:1500"),
    _sdp("10.46.0.3", 51372, "b=AS:49", "b=RR:2000", "b=RS:600"),
)


def _component(
    profile: rx.RxProfile | None = None, mine: Sdp = UE, theirs: Sdp = REMOTE, *, offered: bool = True
) -> Avp:
    offer, answer = (mine, theirs) if offered else (theirs, mine)
    (found,) = rx.media_components(
        offer, answer, ue_address="10.46.0.2", ue_offered=offered, profile=profile or rx.RxProfile()
    )
    return found


def _filters(component: Avp) -> list[tuple[str, ...]]:
    return [one.values_of(avp.FLOW_DESCRIPTION) for one in component.all(avp.MEDIA_SUB_COMPONENT)]


def test_rtp_and_rtcp_have_sub_components_of_their_own_by_default() -> None:
    component = _component()
    assert _filters(component) == [
        (
            "permit out 17 from 10.46.0.3 51372 to 10.46.0.2 49120",
            "permit in 17 from 10.46.0.2 49120 to 10.46.0.3 51372",
        ),
        (
            "permit out 17 from 10.46.0.3 51373 to 10.46.0.2 49121",
            "permit in 17 from 10.46.0.2 49121 to 10.46.0.3 51373",
        ),
    ]
    usages = [one.value_of(avp.FLOW_USAGE) for one in component.all(avp.MEDIA_SUB_COMPONENT)]
    assert usages == [None, 1]


def test_it_does_not_matter_who_offered() -> None:
    assert _filters(_component(offered=True)) == _filters(_component(offered=False))


def test_each_side_sends_no_more_than_the_other_can_take() -> None:
    component = _component()
    assert component.value_of(avp.MAX_REQUESTED_BANDWIDTH_UL) == 49000
    assert component.value_of(avp.MAX_REQUESTED_BANDWIDTH_DL) == 41000
    assert component.value_of(avp.RR_BANDWIDTH) == 2000
    assert component.value_of(avp.RS_BANDWIDTH) == 600


def test_codec_data_says_whose_it_is_and_puts_the_offer_first() -> None:
    offered = _component(offered=True).values_of(avp.CODEC_DATA)
    assert [one.split("\n")[:2] for one in offered] == [["uplink", "offer"], ["downlink", "answer"]]
    asked = _component(offered=False).values_of(avp.CODEC_DATA)
    assert [one.split("\n")[:2] for one in asked] == [["downlink", "offer"], ["uplink", "answer"]]
    assert offered[0].split("\n", 2)[2] == "m=audio 49120 RTP/AVP 104\r\nb=AS:41\r\nb=RR:1500\r\n"


@pytest.mark.parametrize(
    ("direction", "status"), [("sendrecv", 2), ("sendonly", 0), ("recvonly", 1), ("inactive", 3), ("", 2)]
)
def test_flow_status_follows_the_direction_that_the_ue_gives(direction: str, status: int) -> None:
    mine = _sdp("10.46.0.2", 49120, *([f"a={direction}"] if direction else []))
    assert _component(mine=mine).value_of(avp.FLOW_STATUS) == status
    assert _component(rx.RxProfile(flow_status=2), mine=mine).value_of(avp.FLOW_STATUS) == 2


def test_a_refused_stream_is_removed_and_has_no_filters() -> None:
    component = _component(theirs=_sdp("10.46.0.3", 0))
    assert component.value_of(avp.FLOW_STATUS) == 4
    assert _filters(component) == []


def test_an_address_that_no_filter_can_have_is_any_and_the_ues_own_is_known_otherwise() -> None:
    component = _component(mine=_sdp("0.0.0.0", 49120), theirs=_sdp("media.example", 51372))
    assert _filters(component)[0][0] == "permit out 17 from any 51372 to 10.46.0.2 49120"


def test_muxed_rtcp_needs_no_filter() -> None:
    mine, theirs = _sdp("10.46.0.2", 49120, "a=rtcp-mux"), _sdp("10.46.0.3", 51372, "a=rtcp-mux")
    assert len(_filters(_component(mine=mine, theirs=theirs))) == 1


def test_styles_of_real_afs() -> None:
    same = _component(rx.RxProfile(rtcp="same", flow_usage=True))
    assert [len(one) for one in _filters(same)] == [4]
    none = _component(rx.RxProfile(rtcp="none", ue_first=True))
    assert _filters(none) == [
        (
            "permit out 17 from 10.46.0.2 49120 to 10.46.0.3 51372",
            "permit in 17 from 10.46.0.3 51372 to 10.46.0.2 49120",
        )
    ]


@pytest.mark.parametrize(
    ("kind", "number"), [("audio", 0), ("video", 1), ("text", 5), ("message", 6), ("image", 0xFFFFFFFF)]
)
def test_media_types_are_numbered(kind: str, number: int) -> None:
    described = _sdp("10.46.0.2", 49120, kind=kind)
    assert _component(mine=described, theirs=described).value_of(avp.MEDIA_TYPE) == number


def _aar(profile: rx.RxProfile, **more: object) -> Message:
    arguments = {
        "session_id": "af;1;2",
        "ue_address": "10.46.0.2",
        "offer": UE,
        "answer": REMOTE,
        "ue_offered": True,
        **more,
    }
    return rx.aar(profile, **arguments)  # type: ignore[arg-type]


def test_an_aar_carries_what_its_profile_says() -> None:
    bare = _aar(rx.RxProfile(), subscription="sip:a@ims.example")
    assert [diameter.name_of(one) for one in bare.avps] == [
        "Session-Id",
        "Origin-Host",
        "Origin-Realm",
        "Auth-Application-Id",
        "Destination-Realm",
        "Subscription-Id",
        "Media-Component-Description",
        "Framed-IP-Address",
    ]
    profile = rx.RxProfile(session_timeout=7200, af_charging_identifier=True, rx_request_type=True, tel_uris=False)
    full = _aar(profile, subscription="tel:+4917", icid="icid-1", first=False, elapsed=3.07)
    assert full.value_of(avp.SESSION_TIMEOUT) == 7197
    assert full.value_of(avp.AF_CHARGING_IDENTIFIER) == "icid-1"
    assert full.value_of(avp.RX_REQUEST_TYPE) == 1
    group = full.find(avp.SUBSCRIPTION_ID)
    assert group is not None
    assert (group.value_of(avp.SUBSCRIPTION_ID_TYPE), group.value_of(avp.SUBSCRIPTION_ID_DATA)) == (0, "4917")


def test_a_ue_with_ipv6_is_named_by_prefix() -> None:
    message = _aar(rx.RxProfile(), ue_address="2001:db8::2")
    assert message.value_of(avp.FRAMED_IPV6_PREFIX) == "2001:db8::2/128"
    assert message.find(avp.FRAMED_IP_ADDRESS) is None


def test_requests_of_the_pcrf_are_answered() -> None:
    asked = request(Command.ABORT_SESSION, Application.RX, avp.SESSION_ID("af;1;2"), avp.ABORT_CAUSE(0))
    assert rx.answer_to(rx.RxProfile(), asked, known=True).value_of(avp.RESULT_CODE) == 2001
    assert rx.answer_to(rx.RxProfile(), asked, known=False).value_of(avp.RESULT_CODE) == 5002


def test_a_profile_survives_being_context_and_nonsense_is_refused() -> None:
    profile = rx.RxProfile(origin_host="a", specific_actions=(1, 2), rtcp="same", flow_status=2, auth_grace_period=0)
    assert rx.profile_of(profile.as_context()) == profile
    for wrong in ({"colour": 1}, {"rtcp": "maybe"}):
        with pytest.raises(ConfigError):
            rx.profile_of(wrong)


def test_without_a_recording_the_profile_is_the_plain_one() -> None:
    assert rx.profile_from_recording([]) == rx.RxProfile()
    assert rx.habits([request(Command.AA, Application.RX, Avp(517, 10415, 0xC0, b"x"))]) == {}


def test_the_path_of_sip_itself_is_asked_for_as_control_media() -> None:
    message = rx.signalling_aar(
        rx.RxProfile(codec_data=False),
        session_id="af;1;2",
        ue_address="10.46.0.2",
        af_address="10.0.0.21",
        ports=[(5060, 5060), (5061, 6060)],
        subscription="sip:a@ims.example",
    )
    component = message.find(avp.MEDIA_COMPONENT_DESCRIPTION)
    assert component is not None
    assert component.value_of(avp.MEDIA_TYPE) == 4
    assert _filters(component) == [
        (
            "permit out ip from 10.0.0.21 5060 to 10.46.0.2 5060",
            "permit in ip from 10.46.0.2 5060 to 10.0.0.21 5060",
            "permit out ip from 10.0.0.21 6060 to 10.46.0.2 5061",
            "permit in ip from 10.46.0.2 5061 to 10.0.0.21 6060",
        )
    ]
    profile = rx.signalling_profile_from_recording([message])
    assert profile is not None and not profile.codec_data
    assert rx.profile_from_recording([message]) == rx.RxProfile()
    assert rx.signalling_profile_from_recording([_aar(rx.RxProfile())]) is None


# --- recorded AFs


def _recorded(path: Path) -> tuple[list[Message], list[Sdp]]:
    """The requests of AFs, and every session description that was seen."""
    requests: dict[bytes, Message] = {}
    descriptions = []
    for one in reader.messages(path):
        try:
            if one.protocol is Protocol.DIAMETER:
                message = diameter.decode(one.octets)
                if message.application == Application.RX and message.is_request:
                    requests.setdefault(one.octets, message)
            elif one.protocol is Protocol.SIP and b"\nm=" in (body := sip.decode(one.octets).body):
                descriptions.append(sip.sdp.decode(body))
        except DecodeError:
            continue
    return list(requests.values()), descriptions


def _described(text: str, descriptions: list[Sdp]) -> Sdp | None:
    """The session description that a Codec-Data was made of."""
    wanted = re.sub(r"\A\w+\n\w+\n|\0\Z", "", text).encode()
    return next((one for one in descriptions if wanted and wanted in one.encode()), None)


def _again(profile: rx.RxProfile, asked: Message, descriptions: list[Sdp]) -> Message | None:
    """The same request made by us from what the AF had: its SDP, the UE's address and the subscriber's name."""
    session_id = asked.value_of(avp.SESSION_ID) or ""
    if asked.command == Command.SESSION_TERMINATION:
        return rx.str_(profile, session_id=session_id)
    components = asked.all(avp.MEDIA_COMPONENT_DESCRIPTION)
    texts = [text for one in components for text in one.values_of(avp.CODEC_DATA)]
    if components and components[0].value_of(avp.MEDIA_TYPE) == 4:
        return _again_signalling(asked)
    if len(texts) < 2:
        return None
    offer, said = _described(texts[0], descriptions), _described(texts[1], descriptions)
    group = asked.find(avp.SUBSCRIPTION_ID)
    if offer is None or said is None:
        return None
    return rx.aar(
        profile,
        session_id=session_id,
        ue_address=asked.value_of(avp.FRAMED_IP_ADDRESS) or "",
        offer=offer,
        answer=said,
        ue_offered=texts[0].startswith("uplink"),
        subscription=(group.value_of(avp.SUBSCRIPTION_ID_DATA) if group else None) or "",
    )


def _again_signalling(asked: Message) -> Message | None:
    profile = rx.signalling_profile_from_recording([asked])
    ue = asked.value_of(avp.FRAMED_IP_ADDRESS) or ""
    component, group = asked.find(avp.MEDIA_COMPONENT_DESCRIPTION), asked.find(avp.SUBSCRIPTION_ID)
    if profile is None or component is None:
        return None
    ports, af = [], ""
    for text in _filters(component)[0][1::2]:
        words = text.split()
        one, other = (words[4], words[5]), (words[7], words[8])
        mine, theirs = (one, other) if one[0] == ue else (other, one)
        ports.append((int(mine[1]), int(theirs[1])))
        af = theirs[0]
    return rx.signalling_aar(
        profile,
        session_id=asked.value_of(avp.SESSION_ID) or "",
        ue_address=ue,
        af_address=af,
        ports=ports,
        subscription=(group.value_of(avp.SUBSCRIPTION_ID_DATA) if group else None) or "",
    )


def _shown(message: Message) -> dict[str, object]:
    return {one.path: one.value for one in diameter.parameters(message) if one.path not in IGNORED}


def _pairs(path: Path) -> Iterator[tuple[Message, Message]]:
    requests, descriptions = _recorded(path)
    profile = rx.profile_of(rx.habits(requests))
    for asked in requests:
        made = _again(profile, asked, descriptions)
        if made is not None:
            yield made, asked


@pytest.mark.parametrize(("name", "count"), [("volte-call-full.pcap", 10), ("volte-multi-6.pcap", 16)])
def test_what_a_recorded_af_asked_comes_out_again(name: str, count: int, own_captures: list[Path]) -> None:
    pairs = list(_pairs(next(one for one in own_captures if one.name == name)))
    assert len(pairs) == count
    for made, asked in pairs:
        assert _shown(made) == _shown(asked)


def test_what_any_recorded_af_asked_comes_out_again(all_captures: list[Path]) -> None:
    for path in all_captures:
        for made, asked in _pairs(path):
            assert _shown(made) == _shown(asked), path.name
