from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest

from ferret.errors import ConfigError
from ferret.protocols.diameter import Application, Avp, Command, Message, answer, avp, request, result_of, summarise
from ferret.protocols.nas.milenage import Milenage
from ferret.records.message import Interface, Role
from ferret_core.hss import Hss
from ferret_core.hss.s6a import tbcd
from ferret_core.hss.subscription import read_subscriber
from ferret_core.hss.vectors import next_vector
from ferret_core.nf import Failed, Output, Peer, PeerLost, Received, Send

K, OPC = "8BAFC7BFAF8FD09487CCCBD7A97C6862", "54BBA954E266D394F5B18B2F01FD9E17"
IMSI = "001010000000001"
IMPU, IMPI = "sip:001010000000001@ims.example", "001010000000001@ims.example"
FUNCTIONS = Milenage(bytes.fromhex(K), bytes.fromhex(OPC))
SUBSCRIBER = {"imsi": IMSI, "k": K, "opc": OPC, "amf": "8000", "msisdn": "4917", "apns": [{"apn": "internet"}]}
PLMN = avp.VISITED_PLMN_ID(bytes.fromhex("00f110"))


@pytest.fixture
def hss() -> Hss:
    made = Hss(address="127.0.0.8", random=Random(1))
    made.import_context({"ims_domain": "ims.example", "subscribers": [SUBSCRIBER]}, 0.0)
    return made


def ask(hss: Hss, command: int, *avps: Avp, host: str = "mme.example") -> Sequence[Output]:
    on_s6a = command in (
        Command.AUTHENTICATION_INFORMATION,
        Command.UPDATE_LOCATION,
        Command.PURGE_UE,
        Command.NOTIFY,
        999,
    )
    application = Application.S6A if on_s6a else Application.CX
    origin = avp.ORIGIN_HOST(host), avp.ORIGIN_REALM("example")
    message = request(command, application, avp.SESSION_ID("s;1"), *origin, *avps)
    interface, peer = (Interface.S6A, Peer(Role.MME, host)) if on_s6a else (Interface.CX, Peer(Role.SCSCF))
    return hss.receive(Received(interface, peer, message, 7), 0.0)


def only(outputs: Sequence[Output]) -> Message:
    (one,) = outputs
    assert isinstance(one, Send) and isinstance(one.message, Message)
    return one.message


def air(*avps: Avp, user: str = IMSI, count: int = 1) -> tuple[Avp, ...]:
    wanted = avp.REQUESTED_EUTRAN_AUTHENTICATION_INFO(avp.NUMBER_OF_REQUESTED_VECTORS(count), *avps)
    return avp.USER_NAME(user), wanted, PLMN


def vectors(message: Message) -> list[Avp]:
    group = message.find(avp.AUTHENTICATION_INFO)
    assert group is not None
    return list(group.all(avp.E_UTRAN_VECTOR))


def sqn_of(rand: bytes | None, autn: bytes | None) -> int:
    assert rand is not None and autn is not None
    sqn = FUNCTIONS.check(rand, autn)
    assert sqn is not None
    return int.from_bytes(sqn, "big")


def test_every_vector_is_fresh_and_counts_the_sqn_up(hss: Hss) -> None:
    first = vectors(only(ask(hss, Command.AUTHENTICATION_INFORMATION, *air())))
    more = vectors(only(ask(hss, Command.AUTHENTICATION_INFORMATION, *air(count=3))))
    numbers = [sqn_of(one.value_of(avp.RAND), one.value_of(avp.AUTN)) for one in (*first, *more)]
    assert numbers == [32, 64, 96, 128]
    assert [one.value_of(avp.ITEM_NUMBER) for one in more] == [1, 2, 3]
    assert len(vectors(only(ask(hss, Command.AUTHENTICATION_INFORMATION, *air(count=99))))) == 5


def _auts(rand: bytes, sqn: int) -> bytes:
    octets = sqn.to_bytes(6, "big")
    hidden = bytes(a ^ b for a, b in zip(octets, FUNCTIONS.f5_star(rand), strict=True))
    return hidden + FUNCTIONS.f1_star(rand, octets, b"\0\0")


def test_a_failed_synchronisation_is_repaired_on_s6a_and_cx(hss: Hss) -> None:
    rand = bytes(range(16))
    info = avp.RE_SYNCHRONIZATION_INFO(rand + _auts(rand, 5000))
    (vector,) = vectors(only(ask(hss, Command.AUTHENTICATION_INFORMATION, *air(info))))
    assert sqn_of(vector.value_of(avp.RAND), vector.value_of(avp.AUTN)) == 5032
    wrong = avp.RE_SYNCHRONIZATION_INFO(rand + bytes(14))
    assert result_of(only(ask(hss, Command.AUTHENTICATION_INFORMATION, *air(wrong)))) == 4181
    item = avp.SIP_AUTH_DATA_ITEM(avp.SIP_AUTHORIZATION(rand + _auts(rand, 9000)))
    challenge = only(ask(hss, Command.MULTIMEDIA_AUTH, avp.PUBLIC_IDENTITY(IMPU), item)).find(avp.SIP_AUTH_DATA_ITEM)
    assert challenge is not None
    octets = challenge.value_of(avp.SIP_AUTHENTICATE) or b""
    assert sqn_of(octets[:16], octets[16:]) == 9032


def test_a_subscriber_who_moves_is_cancelled_at_his_last_mme(hss: Hss) -> None:
    where = avp.USER_NAME(IMSI), PLMN
    first = only(ask(hss, Command.UPDATE_LOCATION, *where, host="mme1.example"))
    assert first.find(avp.SUBSCRIPTION_DATA) is not None
    again = only(ask(hss, Command.UPDATE_LOCATION, *where, avp.ULR_FLAGS(4), host="mme1.example"))
    assert again.find(avp.SUBSCRIPTION_DATA) is None
    cancel, _ = ask(hss, Command.UPDATE_LOCATION, *where, host="mme2.example")
    assert isinstance(cancel, Send) and isinstance(cancel.message, Message)
    assert summarise(cancel.message).name == "CLR"
    assert cancel.peer == Peer(Role.MME, "mme1.example")
    assert cancel.message.value_of(avp.USER_NAME) == IMSI
    assert hss.leftovers() == {"attached": 1, "registered": 0, "requests": 1}
    hss.receive(Received(Interface.S6A, cancel.peer, answer(cancel.message, avp.RESULT_CODE(2001)), cancel.token), 0.0)
    assert hss.leftovers()["requests"] == 0


def test_a_purge_counts_only_from_where_the_subscriber_is(hss: Hss) -> None:
    ask(hss, Command.UPDATE_LOCATION, avp.USER_NAME(IMSI), PLMN)
    elsewhere = only(ask(hss, Command.PURGE_UE, avp.USER_NAME(IMSI), host="other.example"))
    assert elsewhere.value_of(avp.PUA_FLAGS) is None
    assert hss.leftovers()["attached"] == 1
    here = only(ask(hss, Command.PURGE_UE, avp.USER_NAME(IMSI)))
    assert here.value_of(avp.PUA_FLAGS) == 1
    assert hss.leftovers()["attached"] == 0
    assert result_of(only(ask(hss, Command.NOTIFY, avp.USER_NAME(IMSI)))) == 2001


def test_an_imsi_that_nobody_has_is_refused(hss: Hss) -> None:
    nobody = avp.USER_NAME("001019999999999")
    for command in (Command.AUTHENTICATION_INFORMATION, Command.UPDATE_LOCATION, Command.PURGE_UE, Command.NOTIFY):
        message = only(ask(hss, command, nobody, PLMN))
        assert (result_of(message), message.find(avp.RESULT_CODE)) == (5001, None)


def test_what_cannot_be_done_or_read_is_refused(hss: Hss) -> None:
    assert result_of(only(ask(hss, 999))) == 3001
    assert result_of(only(ask(hss, Command.AUTHENTICATION_INFORMATION, avp.USER_NAME(IMSI)))) == 5005
    note, refusal = ask(hss, Command.USER_AUTHORIZATION, avp.PUBLIC_IDENTITY(IMPU), Avp(623, 10415, 0xC0, b"x"))
    assert isinstance(refusal, Send) and isinstance(refusal.message, Message)
    assert result_of(refusal.message) == 5004
    assert not isinstance(note, Send)


def _uar(hss: Hss, *avps: Avp) -> Message:
    return only(ask(hss, Command.USER_AUTHORIZATION, avp.PUBLIC_IDENTITY(IMPU), avp.USER_NAME(IMPI), *avps))


def _sar(hss: Hss, kind: int, *avps: Avp) -> Message:
    name = avp.SERVER_NAME("sip:scscf.example")
    assignment = avp.SERVER_ASSIGNMENT_TYPE(kind)
    return only(ask(hss, Command.SERVER_ASSIGNMENT, avp.PUBLIC_IDENTITY(IMPU), name, assignment, *avps))


def _lir(hss: Hss) -> Message:
    return only(ask(hss, Command.LOCATION_INFO, avp.PUBLIC_IDENTITY("tel:4917")))


def test_a_registration_from_first_to_last(hss: Hss) -> None:
    assert result_of(_uar(hss)) == 2001
    assert result_of(_uar(hss, avp.USER_AUTHORIZATION_TYPE(1))) == 5003
    assert result_of(_lir(hss)) == 5003
    name = avp.SERVER_NAME("sip:scscf.example")
    only(ask(hss, Command.MULTIMEDIA_AUTH, avp.PUBLIC_IDENTITY(IMPU), name))
    assert result_of(_lir(hss)) == 5003
    profile = _sar(hss, 1).value_of(avp.USER_DATA) or ""
    assert "<BarringIndication>1</BarringIndication><Identity>sip:001010000000001@" in profile
    assert _sar(hss, 2, avp.USER_DATA_ALREADY_AVAILABLE(1)).find(avp.USER_DATA) is None
    assert _lir(hss).value_of(avp.SERVER_NAME) == "sip:scscf.example"
    again = _uar(hss)
    assert (result_of(again), again.value_of(avp.SERVER_NAME)) == (2002, "sip:scscf.example")
    assert _sar(hss, 7).find(avp.USER_DATA) is None
    assert _lir(hss).value_of(avp.SERVER_NAME) == "sip:scscf.example"
    _sar(hss, 5)
    assert result_of(_lir(hss)) == 5003
    assert hss.leftovers()["registered"] == 0


def test_identities_that_do_not_belong_together_and_types_that_are_none_are_refused(hss: Hss) -> None:
    stranger = avp.USER_NAME("somebody.else@ims.example")
    assert result_of(only(ask(hss, Command.USER_AUTHORIZATION, avp.PUBLIC_IDENTITY(IMPU), stranger))) == 5002
    assert result_of(only(ask(hss, Command.USER_AUTHORIZATION, avp.PUBLIC_IDENTITY("sip:nobody@x")))) == 5001
    assert result_of(_sar(hss, 99)) == 5007
    basic = avp.SIP_AUTH_DATA_ITEM(avp.SIP_AUTHENTICATION_SCHEME("SIP Digest"))
    assert result_of(only(ask(hss, Command.MULTIMEDIA_AUTH, avp.PUBLIC_IDENTITY(IMPU), basic))) == 5006


def test_the_s_cscf_that_is_configured_is_named_at_a_first_registration(hss: Hss) -> None:
    hss.import_context({"scscf": "sip:scscf.example"}, 0.0)
    capabilities = _uar(hss).find(avp.SERVER_CAPABILITIES)
    assert capabilities is not None and capabilities.value_of(avp.SERVER_NAME) == "sip:scscf.example"


def test_failures_and_lost_peers_are_noted(hss: Hss) -> None:
    assert len(hss.receive(Failed(Interface.S6A, Peer(Role.MME), 1, "late"), 0.0)) == 1
    assert len(hss.receive(PeerLost(Interface.S6A, Peer(Role.MME), "gone"), 0.0)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"k": "00"},
        {"k": "no hex"},
        {"imsi": "abc"},
        {"sqn": 1 << 48},
        {"apns": [{"apn": "x", "colour": 1}]},
        {"ambr": {"up": 1}},
        {"colour": 1},
    ],
)
def test_a_subscriber_who_makes_no_sense_is_refused(hss: Hss, change: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        hss.import_context({"subscribers": [{**SUBSCRIBER, **change}]}, 0.0)


def test_context_that_is_not_known_is_refused(hss: Hss) -> None:
    for context in ({"colour": 1}, {"identity": {"host": "x"}}):
        with pytest.raises(ConfigError):
            hss.import_context(context, 0.0)


@pytest.mark.parametrize("configured", ["8000", "0000", "9123"])
def test_the_separation_bit_tells_vectors_for_eps_from_others(configured: str) -> None:
    own = read_subscriber({**SUBSCRIBER, "amf": configured}, "ims.example")
    of_eps, of_ims = (next_vector(own, Random(1), for_eps=for_eps).autn[6:8] for for_eps in (True, False))
    number = int(configured, 16)
    assert (of_eps, of_ims) == ((number | 0x8000).to_bytes(2, "big"), (number & 0x7FFF).to_bytes(2, "big"))


def test_an_op_does_as_well_as_an_opc(hss: Hss) -> None:
    op = {**SUBSCRIBER, "imsi": "001010000000002", "opc": "", "op": "C9E8A7B6D5C4F3E291A0BFCEDD8C7B6A"}
    hss.import_context({"subscribers": [op]}, 0.0)
    (vector,) = vectors(only(ask(hss, Command.AUTHENTICATION_INFORMATION, *air(user="001010000000002"))))
    assert sqn_of(vector.value_of(avp.RAND), vector.value_of(avp.AUTN)) == 32


def test_digits_are_packed_two_to_an_octet() -> None:
    assert (tbcd("4917"), tbcd("491")) == (bytes.fromhex("9471"), bytes.fromhex("94f1"))


def test_keys_do_not_show_in_the_text_of_a_subscriber(hss: Hss) -> None:
    assert K.lower() not in repr(hss._state.register.all).lower()
    assert OPC.lower() not in repr(hss._state.register.all).lower()
