"""Typed views by sipmessage, and what is left where it refuses."""

from __future__ import annotations

from ferret.protocols import sip

MESSAGE = sip.decode(
    b"INVITE sip:bob@example.com SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1;rport\r\nVia: what is this\r\n"
    b'From: "Jane" <sip:jane@example.com>;tag=1\r\nTo: <tel:+49170>\r\nCSeq: 7 INVITE\r\n'
    b"Contact: <sip:jane@192.0.2.1>;expires=60\r\nContent-Type: application/sdp\r\n\r\n"
)


def test_fields_come_typed() -> None:
    via = sip.views.top_via(MESSAGE)
    sender = sip.views.from_address(MESSAGE)
    cseq = sip.views.cseq(MESSAGE)
    uri = sip.views.request_uri(MESSAGE)
    assert via is not None
    assert (via.host, via.port, via.parameters["branch"]) == ("192.0.2.1", 5060, "z9hG4bK1")
    assert sender is not None
    assert (sender.name, sender.uri.user, sender.parameters["tag"]) == ("Jane", "jane", "1")
    assert cseq is not None
    assert (cseq.sequence, cseq.method) == (7, "INVITE")
    assert uri is not None
    assert uri.host == "example.com"
    contact = sip.views.contacts(MESSAGE)[0]
    assert contact is not None
    assert contact.parameters["expires"] == "60"
    media_type = sip.views.content_type(MESSAGE)
    assert media_type is not None
    assert str(media_type) == "application/sdp"


def test_what_the_library_refuses_is_none_and_still_readable_as_text() -> None:
    assert sip.views.vias(MESSAGE)[1] is None
    assert MESSAGE.values("Via")[1] == "what is this"
    assert sip.parse_uri(sip.parse_name_addr(MESSAGE.first("To")).uri).user == "+49170"
    assert sip.views.top_via(sip.decode(b"SIP/2.0 200 OK\r\n\r\n")) is None
