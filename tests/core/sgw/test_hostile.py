"""Mutated messages of a PGW and an MME: nothing but a ProtocolError comes out of an SGW."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from ferret.errors import DecodeError, ProtocolError
from ferret.protocols import gtpv2
from ferret.protocols.gtpv2 import BearerQos, CauseIe, Ebi, FTeid, InterfaceType, MessageType, bearer_context


def mutants(message: gtpv2.Message, random: Random, count: int = 60) -> list[gtpv2.Message]:
    made = []
    for _ in range(count):
        octets = bytearray(message.encode())
        for _ in range(random.choice((1, 1, 2, 4))):
            octets[random.randrange(8, len(octets))] = random.choice((0, 1, 0xFF, random.randrange(256)))
        try:
            made.append(gtpv2.decode(bytes(octets)))
        except DecodeError:
            continue
    return made


def give(deliver: Any, message: gtpv2.Message, *answers: Any) -> None:
    try:
        deliver(message, *answers)
    except ProtocolError:
        return


@pytest.mark.parametrize("seed", range(4))
def test_mutated_requests_of_the_pgw_break_nothing(bench: Any, seed: int) -> None:
    random = Random(seed)
    _, s5_teid = bench.attach()
    context = bearer_context(FTeid(InterfaceType.S5_S8_PGW_GTP_U, 1, bench.PGW).ie(1), BearerQos(1, 1), ebi=0)
    requests = [
        gtpv2.request(MessageType.CREATE_BEARER_REQUEST, s5_teid, Ebi(5), context),
        gtpv2.request(MessageType.UPDATE_BEARER_REQUEST, s5_teid, bearer_context(BearerQos(9, 7), ebi=5)),
        gtpv2.request(MessageType.DELETE_BEARER_REQUEST, s5_teid, Ebi(9).ie(1)),
    ]
    for request in requests:
        for mutant in mutants(request, random):
            give(bench.s5, mutant)
            while bench.sent:
                send = bench.sent.pop()
                if send.token:
                    answer = gtpv2.answer(send.message, 1, CauseIe(16), bearer_context(CauseIe(16), ebi=7))
                    for altered in mutants(answer, random, 1):
                        give(bench.s11, altered, send)
    for send in bench.sent:
        bench.silence(send)


@pytest.mark.parametrize("seed", range(4))
def test_mutated_answers_of_the_pgw_break_nothing(bench: Any, seed: int) -> None:
    random = Random(seed)
    for _ in range(40):
        request = gtpv2.request(
            MessageType.CREATE_SESSION_REQUEST,
            0,
            gtpv2.Imsi("001010000000001"),
            FTeid(InterfaceType.S11_MME_GTP_C, 0x100, bench.MME).ie(0),
            FTeid(InterfaceType.S5_S8_PGW_GTP_C, 0, bench.PGW).ie(1),
            gtpv2.Apn("internet"),
            bearer_context(BearerQos(9, 8), ebi=5),
        )
        bench.s11(request)
        send = bench.sent.pop()
        tunnel = FTeid(InterfaceType.S5_S8_PGW_GTP_U, 0x505, bench.PGW).ie(2)
        answer = gtpv2.answer(
            send.message,
            1,
            CauseIe(16),
            FTeid(InterfaceType.S5_S8_PGW_GTP_C, 0x405, bench.PGW).ie(1),
            bearer_context(tunnel, CauseIe(16), ebi=5),
        )
        for mutant in mutants(answer, random, 1):
            give(bench.s5, mutant, send)
        bench.sent.clear()
    assert bench.sgw.leftovers()["ue_contexts"] <= 1
