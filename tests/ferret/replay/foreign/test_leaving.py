"""Sessions that a recording leaves open at a target, and what closes them."""

from __future__ import annotations

from ferret.protocols import diameter, gtpv2
from ferret.protocols.diameter import Application, Command, avp
from ferret.protocols.gtpv2 import Ebi, Indication, IndicationFlag, InterfaceType, MessageType, f_teid
from ferret.protocols.summary import Kind, Protocol
from ferret.records.message import CapturedMessage, Endpoint, Interface, Node, Role, SignallingMessage
from ferret.replay.foreign.leaving import OpenSessions


def recorded(interface: Interface, sender: Role, receiver: Role) -> SignallingMessage:
    captured = CapturedMessage(Protocol.GTPV2, 0, Endpoint("h", 1), Endpoint("i", 1), b"")
    return SignallingMessage(1, captured, "x", Kind.REQUEST, interface, Node(sender, "h"), Node(receiver, "i"))


S11 = recorded(Interface.S11, Role.MME, Role.SGW)
S5 = recorded(Interface.S5, Role.SGW, Role.PGW)
GX = recorded(Interface.GX, Role.PGW, Role.PCRF)
RX = recorded(Interface.RX, Role.AF, Role.PCRF)


def created(ebi: int) -> gtpv2.Message:
    return gtpv2.request(MessageType.CREATE_SESSION_REQUEST, 0, gtpv2.bearer_context(ebi=ebi))


def answered(kind: InterfaceType, teid: int) -> gtpv2.Message:
    mine, other = f_teid(kind, teid, "1.2.3.4"), f_teid(InterfaceType.S1_U_SGW_GTP_U, 1, "1.2.3.4")
    return gtpv2.request(MessageType.CREATE_SESSION_RESPONSE, 0, other.ie(), mine.ie())


def credit(session: str, kind: int, number: int) -> diameter.Message:
    parts = [avp.SESSION_ID(session), avp.ORIGIN_HOST("smf"), avp.ORIGIN_REALM("r"), avp.DESTINATION_REALM("d")]
    parts += [avp.AUTH_APPLICATION_ID(Application.GX), avp.CC_REQUEST_TYPE(kind), avp.CC_REQUEST_NUMBER(number)]
    return diameter.request(Command.CREDIT_CONTROL, Application.GX, *parts)


def test_a_pdn_connection_is_deleted_by_its_default_bearer_and_at_the_target_s_teid() -> None:
    sessions = OpenSessions()
    for ebi, teid in ((5, 0x50), (6, 0x60)):
        sessions.accepted(S11, created(ebi), answered(InterfaceType.S11_SGW_GTP_C, teid))
    delete = gtpv2.request(MessageType.DELETE_SESSION_REQUEST, 0x50, Ebi(5))
    sessions.accepted(S11, delete, gtpv2.answer(delete, 0))
    ((whose, message),) = sessions.closing()
    assert whose is S11
    assert isinstance(message, gtpv2.Message)
    assert (message.name, message.teid, gtpv2.ebi_of(message)) == ("Delete Session Request", 0x60, 6)
    indication = message.view(Indication)
    assert indication is not None and indication.has(IndicationFlag.OI)
    assert sessions.closing() == []


def test_towards_a_pgw_there_is_nobody_further_to_tell() -> None:
    sessions = OpenSessions()
    sessions.accepted(S5, created(5), answered(InterfaceType.S5_S8_PGW_GTP_C, 0x70))
    ((_, message),) = sessions.closing()
    assert isinstance(message, gtpv2.Message)
    assert message.teid == 0x70
    assert message.view(Indication) is None


def test_a_gx_session_ends_with_the_number_after_its_last_one_and_rx_goes_first() -> None:
    sessions = OpenSessions()
    nothing = diameter.Message(Command.CREDIT_CONTROL, Application.GX)
    sessions.accepted(GX, credit("a", 1, 0), nothing)
    sessions.accepted(GX, credit("b", 1, 0), nothing)
    sessions.accepted(GX, credit("a", 2, 4), nothing)
    sessions.accepted(GX, credit("b", 3, 1), nothing)
    asked = diameter.request(Command.AA, Application.RX, avp.SESSION_ID("af"), avp.AUTH_APPLICATION_ID(Application.RX))
    sessions.accepted(RX, asked, nothing)
    closing = [message for _, message in sessions.closing() if isinstance(message, diameter.Message)]
    assert [(m.command, m.value_of(avp.SESSION_ID)) for m in closing] == [
        (Command.SESSION_TERMINATION, "af"),
        (Command.CREDIT_CONTROL, "a"),
    ]
    assert (closing[1].value_of(avp.CC_REQUEST_TYPE), closing[1].value_of(avp.CC_REQUEST_NUMBER)) == (3, 5)
    assert closing[1].value_of(avp.ORIGIN_HOST) == "smf"
