"""Whatever an NF is sent, it answers it or passes it over: nothing but a ProtocolError comes out."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from ferret.errors import DecodeError, ProtocolError
from ferret.protocols import diameter, gtpv2
from ferret.protocols.diameter import avp
from ferret.protocols.gtpv2 import Cause, CauseIe, FTeid, InterfaceType, bearer_context


def mutations(octets: bytes, random: Random, count: int) -> list[bytes]:
    made = []
    for _ in range(count):
        copy = bytearray(octets)
        for _ in range(random.choice((1, 1, 2, 5))):
            copy[random.randrange(4, len(copy))] = random.choice((0, 1, 0x7F, 0xFF, random.randrange(256)))
        made.append(bytes(copy))
    return made


def read(module: Any, octets: bytes) -> Any:
    try:
        return module.decode(octets)
    except DecodeError:
        return None


def finish(core: Any) -> None:
    """Nobody answers any more; every PDN connection is given up."""
    core.silent = {"Create Session Request", "Delete Session Request", "Modify Bearer Request"}
    while core.out:
        send = core.out.popleft()
        if send.token:
            nf = core.sgw if send.interface.value == "S11" else core.pgw
            core.deliver(nf, core.failed(send))


@pytest.mark.parametrize("seed", range(4))
def test_mutated_messages_of_mme_and_pcrf_break_nothing(make_core: Any, tools: Any, seed: int) -> None:
    random = Random(seed)
    core = make_core()
    core.attach()
    teid = tools.s11_teid(core)
    tunnel = bearer_context(FTeid(InterfaceType.S1_U_ENB_GTP_U, 9, "192.0.2.30"), ebi=5)
    gtp = [
        tools.create_session(),
        tools.create_session("ims", 6, teid),
        tools.delete_session(teid),
        gtpv2.request(gtpv2.MessageType.MODIFY_BEARER_REQUEST, teid, gtpv2.RatTypeIe(1), tunnel),
    ]
    for message in gtp:
        for octets in mutations(message.encode(), random, 150):
            mutant = read(gtpv2, octets)
            if mutant is not None:
                deliver(core, core.from_mme, mutant)
    install, remove = core.rar(tools.charging_rule()), core.rar(tools.rule_removal())
    for request in (install, remove):
        for octets in mutations(request.encode(), random, 150):
            mutant = read(diameter, octets)
            if mutant is not None and mutant.is_request:
                deliver(core, core.from_pcrf, mutant)
    finish(core)
    assert core.sgw.leftovers()["transactions"] == core.pgw.leftovers()["transactions"] == 0


def deliver(core: Any, give: Any, message: Any, *answers: Any) -> None:
    try:
        give(message, *answers)
    except ProtocolError:
        return


@pytest.mark.parametrize("seed", range(4))
def test_mutated_answers_break_nothing(make_core: Any, tools: Any, seed: int) -> None:
    random = Random(seed)
    for _ in range(40):
        core = make_core()
        core.from_mme(tools.create_session())
        ccr = core.out.popleft()
        answer = diameter.answer(
            ccr.message, avp.RESULT_CODE(2001), avp.ORIGIN_HOST("pcrf.example"), tools.charging_rule()
        )
        mutant = read(diameter, mutations(answer.encode(), random, 1)[0])
        if mutant is not None and not mutant.is_request:
            deliver(core, core.from_pcrf, mutant, ccr)
        for send in list(core.out):
            if tools.name_of(send.message) == "Create Bearer Request" and core.sgw.ues:
                core.out.remove(send)
                ours = send.message.bearer_contexts[0].view(FTeid, 0)
                context = bearer_context(
                    FTeid(InterfaceType.S1_U_ENB_GTP_U, 1, "192.0.2.30"), ours.ie(1), CauseIe(16), ebi=6
                )
                said = gtpv2.answer(send.message, tools.s11_teid(core), CauseIe(Cause.REQUEST_ACCEPTED), context)
                altered = read(gtpv2, mutations(said.encode(), random, 1)[0])
                if altered is not None and altered.type == said.type:
                    deliver(core, core.from_mme, altered, send)
        finish(core)


def test_a_tunnel_without_an_address_is_refused(core: Any, tools: Any) -> None:
    core.from_mme(tools.create_session(sender=FTeid(InterfaceType.S11_MME_GTP_C, 7).ie(0)))
    assert gtpv2.cause_of(core.next("Create Session Response").message) == Cause.MANDATORY_IE_INCORRECT
    assert not any(core.sgw.leftovers().values())


@pytest.mark.parametrize("qci", [256, 4294967295])
def test_a_qci_that_gtp_cannot_say_is_an_error_of_the_pcrf(core: Any, tools: Any, qci: int) -> None:
    core.attach()
    core.from_pcrf(core.rar(tools.charging_rule(qci=qci)))
    assert core.next("RAA").message.value_of(avp.RESULT_CODE) == 5012


def test_an_optional_ie_that_is_malformed_is_passed_over(core: Any, tools: Any) -> None:
    core.from_mme(tools.create_session(msisdn=gtpv2.Ie(gtpv2.IeType.MSISDN, 0, b"\xff\xff\x01")))
    core.pcrf_says()
    assert gtpv2.cause_of(core.next("Create Session Response").message) == Cause.REQUEST_ACCEPTED
