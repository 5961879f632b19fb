"""What counts as accepted, and how figures add up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ferret.protocols import diameter, gtpv2, sip
from ferret.protocols.diameter import Application, Command, avp
from ferret.protocols.gtpv2 import Cause, CauseIe, MessageType
from ferret.records.message import Role
from ferret.replay.foreign.acceptance import Fate, Outcome, TargetFigures, accepts, merged, ratio, result_of
from ferret.replay.foreign.targets import Target

SGW = Target(Role.SGW, "127.0.0.3", 2123)


def gtpv2_answer(cause: int) -> gtpv2.Message:
    return gtpv2.request(MessageType.CREATE_SESSION_RESPONSE, 0, CauseIe(cause))


def diameter_answer(result: int) -> diameter.Message:
    return diameter.Message(Command.AA, Application.RX, 0, avps=(avp.RESULT_CODE(result),))


def sip_answer(status: int) -> sip.Message:
    return sip.response(status, "x", [("CSeq", "1 INVITE")])


def test_the_protocols_own_results_decide() -> None:
    for message, result, yes in (
        (gtpv2_answer(Cause.REQUEST_ACCEPTED), 16, True),
        (gtpv2_answer(Cause.REQUEST_ACCEPTED_PARTIALLY), 17, True),
        (gtpv2_answer(103), 103, False),
        (diameter_answer(2001), 2001, True),
        (diameter_answer(1001), 1001, True),
        (diameter_answer(3002), 3002, False),
        (diameter_answer(5012), 5012, False),
        (sip_answer(183), 183, True),
        (sip_answer(302), 302, True),
        (sip_answer(401), 401, True),
        (sip_answer(407), 407, True),
        (sip_answer(404), 404, False),
        (sip_answer(503), 503, False),
    ):
        assert result_of(message) == result
        assert accepts(message, result) is yes, result


def test_an_answer_without_a_result_accepts_nothing() -> None:
    message = gtpv2.request(MessageType.CREATE_SESSION_RESPONSE, 0)
    assert result_of(message) == 0
    assert not accepts(message, 0)


def test_what_was_never_asked_for_was_not_sent() -> None:
    figures = TargetFigures(
        SGW,
        outcomes={
            0: Outcome("A", Fate.ANSWERED, 16, accepted=True),
            1: Outcome("B", Fate.ANSWERED, 64, reason="refused with 64"),
            2: Outcome("C", Fate.UNANSWERED),
            3: Outcome("D", Fate.UNASKED),
            4: Outcome("E", Fate.UNSENT),
            5: Outcome("F", Fate.TAKEN, accepted=True),
        },
    )
    assert (figures.sent, figures.accepted) == (4, 2)
    found = figures.as_json()
    assert (found["acceptance"], found["unasked"], found["unanswered"]) == (0.5, 1, 1)
    assert [o.acknowledged for o in figures.outcomes.values()] == [True, True, False, False, False, True]


def test_nothing_sent_has_no_ratio() -> None:
    assert ratio(0, 0) is None
    assert TargetFigures(SGW).as_json()["acceptance"] is None


@given(st.lists(st.lists(st.booleans(), max_size=5), max_size=5))
def test_several_replays_add_up(runs: list[list[bool]]) -> None:
    made = [
        TargetFigures(SGW, outcomes={n: Outcome("x", Fate.ANSWERED, accepted=yes) for n, yes in enumerate(run)})
        for run in runs
    ]
    total = merged(made)
    assert sum(t.sent for t in total) == sum(map(len, runs))
    assert sum(t.accepted for t in total) == sum(map(sum, runs))
    assert len(total) == bool(runs)
