"""Session descriptions: kept line by line, read and edited for offer and answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferret.errors import DecodeError, LocalMisuseError
from ferret.protocols.sip import sdp

OFFER = (
    b"v=0\r\no=- 31799 1 IN IP4 10.46.0.2\r\ns=-\r\nc=IN IP4 10.46.0.2\r\nb=AS:41\r\nt=0 0\r\n"
    b"m=audio 49120 RTP/AVP 104 8\r\nb=AS:40\r\nb=RR:1537\r\nb=RS:512\r\n"
    b"a=rtpmap:104 AMR-WB/16000/1\r\na=fmtp:104 mode-set=0,1,2; max-red=0\r\n"
    b"a=curr:qos local none\r\na=des:qos mandatory local sendrecv\r\na=rtcp:49121\r\na=sendrecv\r\n"
    b"m=video 0 RTP/AVP 31\r\nc=IN IP4 10.46.0.9\r\n"
)


def test_a_description_is_encoded_to_its_octets() -> None:
    assert sdp.decode(OFFER).encode() == OFFER
    for cut in (OFFER[:-2], OFFER.replace(b"\r\n", b"\n"), OFFER + b"\r\n"):
        assert sdp.decode(cut).encode() == cut


def test_the_typed_view_reads_session_and_media() -> None:
    offer = sdp.decode(OFFER)
    audio, video = offer.media
    assert offer.origin == ("-", "31799", "1", "IN", "IP4", "10.46.0.2")
    assert offer.bandwidth == {"AS": 41}
    assert (audio.type, audio.port, audio.proto, audio.formats) == ("audio", 49120, "RTP/AVP", ("104", "8"))
    assert audio.bandwidth == {"AS": 40, "RR": 1537, "RS": 512}
    assert audio.codecs[0] == sdp.Codec("104", "AMR-WB/16000/1", "mode-set=0,1,2; max-red=0")
    assert audio.codecs[1] == sdp.Codec("8", "", "")
    assert audio.preconditions == ("curr:qos local none", "des:qos mandatory local sendrecv")
    assert audio.rtcp_port == 49121
    assert (offer.connection_of(0), offer.connection_of(1)) == ("10.46.0.2", "10.46.0.9")
    assert (offer.direction_of(0), offer.direction_of(1)) == ("sendrecv", "sendrecv")
    assert (video.port, video.rtcp_port) == (0, 0)


def test_another_media_address_changes_every_c_line() -> None:
    moved = sdp.decode(OFFER).with_connection("2001:db8::1")
    assert moved.encode() == OFFER.replace(b"c=IN IP4 10.46.0.2", b"c=IN IP6 2001:db8::1").replace(
        b"c=IN IP4 10.46.0.9", b"c=IN IP6 2001:db8::1"
    )


def test_one_stream_gets_a_c_line_of_its_own() -> None:
    moved = sdp.decode(OFFER).with_connection("192.0.2.9", 0)
    assert moved.connection_of(0) == "192.0.2.9"
    assert moved.connection == "10.46.0.2"


def test_another_port_takes_rtcp_along() -> None:
    moved = sdp.decode(OFFER).with_port(0, 50000)
    assert (moved.media[0].port, moved.media[0].rtcp_port) == (50000, 50001)


def test_hold_is_a_direction_and_a_version() -> None:
    held = sdp.decode(OFFER).with_direction("inactive").with_version_bump()
    assert [media.direction for media in held.media] == ["inactive", "inactive"]
    assert held.origin[2] == "2"
    assert sdp.decode(OFFER).with_direction("inactive", 0).encode() == OFFER.replace(b"=sendrecv", b"=inactive")
    with pytest.raises(LocalMisuseError):
        sdp.decode(OFFER).with_direction("sideways")
    with pytest.raises(LocalMisuseError):
        sdp.decode(b"v=0\r\no=x\r\n").with_version_bump()


@pytest.mark.parametrize("octets", [b"", b"hello\r\n", b"v=0\r\nx\r\n", b"m=audio 1 RTP/AVP 0\r\n", b"v=0\r\n" * 5000])
def test_what_is_no_description_is_refused(octets: bytes) -> None:
    with pytest.raises(DecodeError):
        sdp.decode(octets)


@given(st.lists(st.from_regex(rb"[a-z]=[^\n]{0,12}", fullmatch=True), max_size=20))
def test_any_lines_behind_v_are_kept_and_can_be_read(lines: list[bytes]) -> None:
    octets = b"\r\n".join([b"v=0", *lines])
    description = sdp.decode(octets)
    assert description.encode() == octets
    for index, media in enumerate(description.media):
        media.codecs, media.preconditions, media.rtcp_port, media.bandwidth  # noqa: B018
        description.connection_of(index)
        description.direction_of(index)
