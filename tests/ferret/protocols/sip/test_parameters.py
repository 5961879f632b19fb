"""The flat fields of a message, and what of it is hidden or ordered."""

from __future__ import annotations

from ferret.protocols import sip
from ferret.protocols.summary import Parameter


def _fields(octets: bytes) -> dict[str, str | int | None]:
    found = sip.parameters(sip.decode(octets))
    assert all(isinstance(parameter, Parameter) for parameter in found)
    assert len({parameter.path for parameter in found}) == len(found)
    return {parameter.path: parameter.value for parameter in found}


REGISTER = (
    b"REGISTER sip:ims.example;x=y SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 172.22.0.21;branch=z9hG4bKa\r\n"
    b"Via: SIP/2.0/UDP 10.46.0.2:5060;received=10.46.0.2;rport=5060;branch=z9hG4bKb\r\n"
    b"From: <sip:a@ims.example>;tag=1\r\nTo: <sip:a@ims.example>\r\nCall-ID: c\r\nCSeq: 2 REGISTER\r\n"
    b'Contact: <sip:a@10.46.0.2:5060;ob>;+g.3gpp.smsip;+sip.instance="<urn:gsma:imei:1>"\r\n'
    b'Authorization: Digest username="a",realm="r",nonce="n",response="0123456789abcdef",ck="00",ik="11"\r\n'
    b"Supported: timer, path\r\nSupported: 100rel\r\n"
    b"Security-Client: ipsec-3gpp;alg=hmac-md5-96;spi-c=1, ipsec-3gpp;alg=hmac-sha-1-96;spi-c=2\r\n"
    b"P-Charging-Vector: icid-value=0123;icid-generated-at=172.22.0.21\r\n"
    b"X-Own: 1, 2\r\nExpires: 3600\r\nContent-Length: 0\r\n\r\n"
)


def test_header_fields_have_structure_and_positions() -> None:
    fields = _fields(REGISTER)
    assert fields["Request-URI"] == "sip:ims.example"
    assert fields["Request-URI/uri-parameter/x"] == "y"
    assert fields["Via[0]/host"] == "172.22.0.21"
    assert fields["Via[1]/port"] == 5060
    assert fields["Via[1]/rport"] == "5060"
    assert fields["From/tag"] == "1"
    assert fields["CSeq/number"] == 2
    assert fields["Contact[0]/uri"] == "sip:a@10.46.0.2:5060"
    assert fields["Contact[0]/uri-parameter/ob"] is None
    assert fields["Contact[0]/+sip.instance"] == "<urn:gsma:imei:1>"
    assert fields["Security-Client[1]/spi-c"] == "2"
    assert fields["P-Charging-Vector/icid-value"] == "0123"
    assert fields["X-Own"] == "1, 2"
    assert fields["Expires"] == 3600


def test_sets_are_sorted() -> None:
    assert _fields(REGISTER)["Supported"] == "100rel, path, timer"


def test_secrets_are_hashed() -> None:
    fields = _fields(REGISTER)
    for name in ("response", "ck", "ik"):
        assert str(fields[f"Authorization[0]/{name}"]).startswith("sha256:")
    assert "0123456789abcdef" not in str(fields)
    assert fields["Authorization[0]/username"] == "a"


def test_a_body_of_sdp_is_taken_apart_and_another_is_shown_or_hashed() -> None:
    body = (
        b"v=0\r\no=- 1 2 IN IP4 h\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 96\r\nb=AS:41\r\n"
        b"a=rtpmap:96 AMR/8000\r\na=fmtp:96 mode-set=7\r\na=curr:qos local none\r\n"
        b"a=des:qos mandatory local sendrecv\r\na=sendonly\r\n"
    )
    head = b"INVITE sip:a SIP/2.0\r\nCSeq: 1 INVITE\r\nContent-Type: "
    fields = _fields(head + b"application/sdp\r\n\r\n" + body)
    assert fields["SDP/o=/session-id"] == "1"
    assert fields["SDP/connection"] == "10.0.0.1"
    assert fields["SDP/media[0]/type"] == "audio"
    assert fields["SDP/media[0]/codecs"] == "0 | AMR/8000 mode-set=7"
    assert fields["SDP/media[0]/bandwidth AS"] == 41
    assert fields["SDP/media[0]/direction"] == "sendonly"
    assert fields["SDP/media[0]/a=curr[qos local]"] == "none"
    assert fields["SDP/media[0]/a=des[qos local]/strength"] == "mandatory"
    assert _fields(head + b"text/plain\r\n\r\nhello")["Body"] == "hello"
    assert str(_fields(head + b"application/vnd.3gpp.sms\r\n\r\n\x00\x01")["Body"]).startswith("sha256:")
    assert str(_fields(head + b"application/sdp\r\n\r\nnonsense\x00")["Body"]).startswith("sha256:")
