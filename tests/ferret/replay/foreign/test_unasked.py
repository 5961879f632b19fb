"""What stand-ins say to requests that no recording has."""

from __future__ import annotations

import pytest

from ferret.protocols import diameter, gtpv2, sip
from ferret.protocols.diameter import Application, Command, avp
from ferret.protocols.gtpv2 import Cause, MessageType
from ferret.replay.foreign.identifiers import DiameterName
from ferret.replay.foreign.unasked import diameter_answer, gtpv2_answer, sip_answer

NAME = DiameterName("pcrf.example", "example")


@pytest.mark.parametrize(
    ("asked", "answered", "cause"),
    [
        (MessageType.DOWNLINK_DATA_NOTIFICATION, "Downlink Data Notification Acknowledgement", Cause.REQUEST_ACCEPTED),
        (MessageType.DELETE_SESSION_REQUEST, "Delete Session Response", Cause.REQUEST_ACCEPTED),
        (MessageType.CREATE_SESSION_REQUEST, "Create Session Response", Cause.CONTEXT_NOT_FOUND),
        (MessageType.CREATE_BEARER_REQUEST, "Create Bearer Response", Cause.CONTEXT_NOT_FOUND),
    ],
)
def test_a_bare_yes_where_it_promises_nothing(asked: MessageType, answered: str, cause: Cause) -> None:
    answer = gtpv2_answer(gtpv2.Message(int(asked), 7, 0x1234, ()), 0x99)
    assert (answer.name, answer.teid, answer.sequence, gtpv2.cause_of(answer)) == (answered, 0x99, 0x1234, cause)


def test_a_credit_control_answer_repeats_what_it_must() -> None:
    asked = diameter.request(
        Command.CREDIT_CONTROL,
        Application.GX,
        avp.SESSION_ID("s"),
        avp.AUTH_APPLICATION_ID(Application.GX),
        avp.CC_REQUEST_TYPE(2),
        avp.CC_REQUEST_NUMBER(5),
    )
    answer = diameter_answer(asked, NAME)
    assert not answer.is_request
    assert answer.value_of(avp.RESULT_CODE) == 2001
    assert answer.value_of(avp.SESSION_ID) == "s"
    assert (answer.value_of(avp.CC_REQUEST_TYPE), answer.value_of(avp.CC_REQUEST_NUMBER)) == (2, 5)
    assert answer.value_of(avp.ORIGIN_HOST) == "pcrf.example"


@pytest.mark.parametrize("command", [Command.UPDATE_LOCATION, Command.MULTIMEDIA_AUTH])
def test_data_that_nobody_has_is_not_promised(command: Command) -> None:
    answer = diameter_answer(diameter.request(command, Application.S6A, avp.SESSION_ID("s")), NAME)
    assert answer.value_of(avp.RESULT_CODE) == 5012


def sip_request(method: str, to: str = "<sip:b@x>") -> sip.Message:
    headers = [("Via", "SIP/2.0/UDP h;branch=z9hG4bK1"), ("From", "<sip:a@x>;tag=1"), ("To", to)]
    return sip.request(method, "sip:b@x", [*headers, ("Call-ID", "c"), ("CSeq", f"1 {method}")])


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (sip_request("OPTIONS"), 200),
        (sip_request("NOTIFY"), 200),
        (sip_request("SUBSCRIBE"), 200),
        (sip_request("INVITE"), 480),
        (sip_request("INVITE", "<sip:b@x>;tag=9"), 481),
        (sip_request("REGISTER"), 480),
    ],
)
def test_a_sip_request_gets_a_final_answer(request_: sip.Message, status: int) -> None:
    answer = sip_answer(request_, "ferret")
    assert answer is not None
    assert answer.status == status
    assert answer.first("Via") == request_.first("Via")
    assert "tag=" in answer.first("To")


def test_nothing_answers_an_ack() -> None:
    assert sip_answer(sip_request("ACK"), "ferret") is None
