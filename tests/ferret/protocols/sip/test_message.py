"""SIP messages as octets: nothing is lost, and an edit touches only what it names."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferret.errors import DecodeError, LocalMisuseError
from ferret.protocols import sip

INVITE = (
    b"INVITE sip:bob@example.com;user=phone SIP/2.0\r\n"
    b"v: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1, SIP/2.0/TCP [2001:db8::1];branch=z9hG4bK2\r\n"
    b'VIA :SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK3;comment="a,b"\r\n'
    b"Max-Forwards: 70\r\n"
    b'f: "Doe, Jane" <sip:jane@example.com>;tag=1\r\n'
    b"To: <sip:bob@example.com>\r\n"
    b"Call-ID: abc@192.0.2.1\r\n"
    b"CSeq: 7\r\n"
    b"  INVITE\r\n"
    b"Subject: folded\r\n\tsubject, with a comma\r\n"
    b'Contact: "A, B" <sip:jane@192.0.2.1>, <sip:x,y@192.0.2.3>\r\n'
    b"l:3\r\n"
    b"\r\n"
    b"abc"
)


def test_a_message_is_encoded_to_the_octets_that_it_was_decoded_from() -> None:
    assert sip.decode(INVITE).encode() == INVITE


def test_the_start_line_and_the_fields_are_read() -> None:
    message = sip.decode(INVITE)
    assert (message.is_request, message.method) == (True, "INVITE")
    assert message.request_uri == "sip:bob@example.com;user=phone"
    assert message.first("Subject") == "folded subject, with a comma"
    assert message.first("CSeq") == "7 INVITE"
    assert message.values("from") == ('"Doe, Jane" <sip:jane@example.com>;tag=1',)
    assert message.body == b"abc"
    assert message.flaws == ()


def test_values_are_split_at_commas_outside_quotes_and_brackets() -> None:
    message = sip.decode(INVITE)
    assert [sip.parse_via(v).branch for v in message.values("Via")] == ["z9hG4bK1", "z9hG4bK2", "z9hG4bK3"]
    assert message.values("m") == ('"A, B" <sip:jane@192.0.2.1>', "<sip:x,y@192.0.2.3>")


def test_a_response_has_status_and_reason_and_the_method_of_its_cseq() -> None:
    message = sip.decode(b"SIP/2.0 183 Session Progress\r\nCSeq: 2 INVITE\r\n\r\n")
    assert (message.is_request, message.status, message.reason) == (False, 183, "Session Progress")
    assert message.method == "INVITE"
    assert message.request_uri == ""


@pytest.mark.parametrize("reason", [b"SIP/2.0 200\r\n", b"SIP/2.0 200 \r\n"])
def test_a_reason_phrase_may_be_empty(reason: bytes) -> None:
    message = sip.decode(reason + b"CSeq: 2 BYE\r\n\r\n")
    assert (message.status, message.reason) == (200, "")


def test_bare_line_feeds_are_kept() -> None:
    octets = INVITE.replace(b"\r\n", b"\n")
    message = sip.decode(octets)
    assert message.encode() == octets
    assert message.with_header("Max-Forwards", "69").encode() == octets.replace(b"rds: 70", b"rds: 69")


def test_an_edit_changes_only_the_line_that_it_names() -> None:
    edited = sip.decode(INVITE).with_header("Max-Forwards", "69")
    assert edited.encode() == INVITE.replace(b"Max-Forwards: 70", b"Max-Forwards: 69")


def test_with_header_leaves_one_line_of_that_name() -> None:
    edited = sip.decode(INVITE).with_header("Via", "SIP/2.0/UDP h;branch=b")
    assert edited.values("Via") == ("SIP/2.0/UDP h;branch=b",)
    assert edited.headers[0].name == "v"


def test_prepend_and_append_put_a_line_at_the_edge_of_its_kind() -> None:
    message = sip.decode(INVITE)
    assert message.prepend("Via", "SIP/2.0/UDP p;branch=z").values("Via")[0] == "SIP/2.0/UDP p;branch=z"
    assert message.append("Via", "SIP/2.0/UDP q;branch=z").values("Via")[-1] == "SIP/2.0/UDP q;branch=z"
    assert message.prepend("Record-Route", "<sip:p;lr>").headers[0].canonical == "Record-Route"
    assert message.append("Path", "<sip:p;lr>").headers[-1].canonical == "Path"


def test_the_first_of_several_values_of_one_line_is_removed_or_replaced_alone() -> None:
    message = sip.decode(INVITE)
    assert len(message.remove_first_value("Via").values("Via")) == 2
    assert message.remove_first_value("Via").remove_first_value("Via").values("Via") == message.values("Via")[2:]
    replaced = message.replace_first_value("Via", "SIP/2.0/UDP n;branch=n")
    assert replaced.values("Via") == ("SIP/2.0/UDP n;branch=n", *message.values("Via")[1:])


def test_removing_a_field_removes_all_its_lines_in_every_form() -> None:
    message = sip.decode(INVITE).remove("Via", "contact")
    assert not message.has("v")
    assert not message.has("m")


def test_a_new_body_sets_length_and_type() -> None:
    message = sip.decode(INVITE).with_body(b"v=0\r\n", "application/sdp")
    assert message.first("Content-Length") == "5"
    assert message.first("Content-Type") == "application/sdp"
    assert sip.decode(message.encode()).body == b"v=0\r\n"


def test_a_line_break_in_a_value_is_refused() -> None:
    with pytest.raises(LocalMisuseError):
        sip.decode(INVITE).append("X", "a\r\nEvil: b")
    with pytest.raises(LocalMisuseError):
        sip.decode(b"SIP/2.0 200 OK\r\n\r\n").with_request_uri("sip:a")
    with pytest.raises(LocalMisuseError):
        sip.decode(INVITE).with_request_uri("sip:a SIP/2.0\r\nEvil: b")


def test_built_messages_are_read_back() -> None:
    request = sip.request("BYE", "sip:a@b", [("Via", "SIP/2.0/UDP h;branch=z9hG4bK"), ("CSeq", "1 BYE")])
    assert sip.decode(request.encode()) == request
    response = sip.response(200, "OK", [("CSeq", "1 BYE")], b"x")
    assert sip.decode(response.encode()) == response


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\r\n\r\n",
        b"\x00\x01\x02\x03",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"hello SIP/2.0\r\n\r\n",
        b"INVITE sip:a SIP/2.0\r\nCSeq: 1 INVITE\r\n",
        b"INVITE sip:a SIP/2.0\rCSeq: 1 INVITE\r\r",
        b"INVITE sip:a SIP/2.0\r\n CSeq: 1 INVITE\r\n\r\n",
        b"INVITE sip:a SIP/2.0\r\nno colon here\r\n\r\n",
        b"SIP/2.0 4294967301 better not break the receiver\r\n\r\n",
        b"INVITE sip:a SIP/2.0\r\n" + b"A: b\r\n" * 2000 + b"\r\n",
        b"INVITE sip:a SIP/2.0\r\n\r\n" + b"x" * (1 << 20),
    ],
)
def test_what_is_no_message_is_refused(octets: bytes) -> None:
    with pytest.raises(DecodeError):
        sip.decode(octets)


@pytest.mark.parametrize("length", [b"-1", b"x", b"", b"99999999999999999999", b"4", "٣".encode()])
def test_a_content_length_that_cannot_be_right_is_kept_and_told(length: bytes) -> None:
    octets = b"BYE sip:a SIP/2.0\r\nContent-Length: " + length + b"\r\n\r\nabc"
    message = sip.decode(octets)
    assert message.encode() == octets
    assert message.body == b"abc"
    assert len(message.flaws) == 1


def test_octets_behind_the_body_are_kept_apart() -> None:
    message = sip.decode(INVITE + b"more")
    assert (message.body, message.trailing) == (b"abc", b"more")
    assert message.encode() == INVITE + b"more"


def test_octets_that_are_not_utf8_survive_reading_and_editing() -> None:
    octets = INVITE.replace(b"jane@", b"\xff\xfe@")
    message = sip.decode(octets)
    assert message.encode() == octets
    assert b"\xff\xfe@" in message.with_header("From", message.first("From")).encode()


@settings(max_examples=150)
@given(st.binary(max_size=300))
def test_random_octets_are_decoded_exactly_or_refused(octets: bytes) -> None:
    sip.peek(octets)
    try:
        message = sip.decode(octets)
    except DecodeError:
        return
    assert message.encode() == octets


@settings(max_examples=150)
@given(st.integers(0, len(INVITE)), st.binary(max_size=6), st.integers(0, 6))
def test_a_damaged_message_is_decoded_exactly_or_refused(at: int, new: bytes, gone: int) -> None:
    octets = INVITE[:at] + new + INVITE[at + gone :]
    sip.peek(octets)
    try:
        message = sip.decode(octets)
    except DecodeError:
        return
    assert message.encode() == octets
    sip.summarise(message)
    paths = [parameter.path for parameter in sip.parameters(message)]
    assert len(paths) == len(set(paths))


NAME = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,12}", fullmatch=True)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029"), max_size=30)


@settings(max_examples=80)
@given(
    st.lists(st.tuples(st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,12}", fullmatch=True), TEXT), max_size=12),
    st.binary(max_size=60),
)
def test_whatever_is_built_is_read_back(fields: list[tuple[str, str]], body: bytes) -> None:
    fields = [(name, value) for name, value in fields if sip.canonical(name) != "Content-Length"]
    message = sip.request("MESSAGE", "sip:a@b", fields, body)
    again = sip.decode(message.encode())
    assert again.encode() == message.encode()
    assert again.body == body
    assert [line.name for line in again.headers[:-1]] == [name for name, _ in fields]
