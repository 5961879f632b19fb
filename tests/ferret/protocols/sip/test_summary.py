"""What a SIP message is called, and whose it is."""

from __future__ import annotations

import pytest

from ferret.protocols import sip
from ferret.protocols.summary import Identifier, IdKind, Kind

HEAD = (
    b"Via: SIP/2.0/UDP 10.46.0.2:5060;branch=z9hG4bK-1\r\n"
    b"From: <sip:999700000000020@ims.mnc070.mcc999.3gppnetwork.org>;tag=1\r\n"
    b"To: <tel:+49-170-0000021;phone-context=x>\r\n"
    b"Call-ID: c@10.46.0.2\r\n"
)


def _request(method: bytes, more: bytes = b"") -> sip.Message:
    return sip.decode(method + b" sip:x SIP/2.0\r\n" + HEAD + b"CSeq: 3 " + method + b"\r\n" + more + b"\r\n")


def _answer(status: bytes, method: bytes) -> sip.Message:
    return sip.decode(b"SIP/2.0 " + status + b" x\r\n" + HEAD + b"CSeq: 3 " + method + b"\r\n\r\n")


def test_names_kinds_and_acceptance() -> None:
    assert sip.summarise(_request(b"INVITE")).name == "INVITE"
    assert sip.summarise(_request(b"ACK")).kind is Kind.INDICATION
    ringing, ok, busy = (sip.summarise(_answer(s, b"INVITE")) for s in (b"183", b"200", b"486"))
    assert (ringing.name, ringing.kind, ringing.accepted) == ("183 (INVITE)", Kind.RESPONSE, None)
    assert (ok.accepted, busy.accepted) == (True, False)


def test_an_answer_has_the_transaction_of_its_request_and_ack_has_its_own() -> None:
    invite, ack = sip.summarise(_request(b"INVITE")), sip.summarise(_request(b"ACK"))
    assert sip.summarise(_answer(b"200", b"INVITE")).transaction == invite.transaction
    assert ack.transaction != invite.transaction


def test_identifiers_lead_to_the_subscriber() -> None:
    message = _request(
        b"REGISTER",
        b"Contact: <sip:abc@10.46.0.2:5060>\r\n"
        b"P-Charging-Vector: icid-value=0123;icid-generated-at=h\r\n"
        b'Authorization: Digest username="999700000000020@ims.mnc070.mcc999.3gppnetwork.org", realm="x"\r\n',
    )
    found = set(sip.summarise(message).identifiers)
    assert {
        Identifier(IdKind.CALL_ID, "c@10.46.0.2"),
        Identifier(IdKind.ICID, "0123"),
        Identifier(IdKind.IMSI, "999700000000020"),
        Identifier(IdKind.IMPI, "999700000000020@ims.mnc070.mcc999.3gppnetwork.org"),
        Identifier(IdKind.IMPU, "sip:999700000000020@ims.mnc070.mcc999.3gppnetwork.org"),
        Identifier(IdKind.IMPU, "tel:+49-170-0000021"),
        Identifier(IdKind.MSISDN, "491700000021"),
        Identifier(IdKind.UE_IP, "10.46.0.2"),
    } == found


@pytest.mark.parametrize(
    ("user", "host", "imsi"),
    [
        ("999700000000020", "ims.mnc070.mcc999.3gppnetwork.org", True),
        ("310410000000001", "ims.mnc410.mcc310.3gppnetwork.org", True),
        ("491700000000020", "ims.mnc070.mcc999.3gppnetwork.org", False),
        ("999700000000020", "example.com", False),
        ("99970", "ims.mnc070.mcc999.3gppnetwork.org", False),
    ],
)
def test_an_imsi_is_recognised_only_in_its_home_domain(user: str, host: str, imsi: bool) -> None:
    assert (sip.imsi_of(user, host) == user) is imsi


def test_an_nf_s_contact_without_user_is_no_ue_address() -> None:
    found = sip.summarise(_request(b"NOTIFY", b"Contact: <sip:172.22.0.20:5060>\r\n")).identifiers
    assert all(identifier.kind is not IdKind.UE_IP for identifier in found)


def test_state_transitions_grow_with_what_a_message_does() -> None:
    trying, early, ok = (sip.summarise(_answer(s, b"INVITE")).state_transitions for s in (b"100", b"180", b"200"))
    assert trying < early < ok
    assert sip.summarise(_request(b"INVITE")).state_transitions == 2
