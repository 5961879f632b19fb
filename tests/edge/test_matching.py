"""An edge NF's outputs find the recorded messages that they answer, whichever comes first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ferret.protocols.summary import Parameter, Protocol
from ferret.replay.rules import load_rules
from ferret_edge.matching import HELD_OUTPUTS, Expected, Made, Match, OutputMatcher, shape_of

RULES = load_rules()


def _parameters(apn: str, cseq: int = 1) -> tuple[Parameter, ...]:
    return (Parameter("Access Point Name", apn), Parameter("CSeq/number", cseq))


def _expected(number: int, apn: str = "ims", name: str = "Create Session Request") -> Expected:
    parameters = _parameters(apn)
    return Expected(number, shape_of(Protocol.GTPV2, "S11", name, parameters), parameters)


def _made(number: int, apn: str = "ims", name: str = "Create Session Request") -> Made:
    parameters = _parameters(apn)
    return Made(number, shape_of(Protocol.GTPV2, "S11", name, parameters), "SGW", b"", parameters)


def test_an_output_after_its_expectation_matches_it() -> None:
    matcher = OutputMatcher(RULES)
    assert matcher.expect(_expected(1)) is None
    match = matcher.produced(_made(1))
    assert match is not None
    assert match.expected.id == 1
    assert match.result.differences == ()
    assert matcher.missing() == [] and matcher.unasked() == []


def test_an_output_before_its_expectation_waits_for_it() -> None:
    matcher = OutputMatcher(RULES)
    assert matcher.produced(_made(1)) is None
    assert matcher.expect(_expected(7)) is not None


def test_of_several_candidates_the_least_different_one_is_taken() -> None:
    matcher = OutputMatcher(RULES)
    matcher.expect(_expected(1, "internet"))
    matcher.expect(_expected(2, "ims"))
    match = matcher.produced(_made(1, "ims"))
    assert match is not None and match.expected.id == 2


def test_a_sip_message_matches_only_one_of_its_cseq_number() -> None:
    first, second = _parameters("", 1), _parameters("", 2)
    matcher = OutputMatcher(RULES)
    matcher.expect(Expected(1, shape_of(Protocol.SIP, "Mw", "INVITE", first), first))
    assert matcher.produced(Made(1, shape_of(Protocol.SIP, "Mw", "INVITE", second), "S-CSCF", b"", second)) is None
    assert [m.number for m in matcher.unasked()] == [1]
    assert [e.id for e in matcher.missing()] == [1]


def test_a_new_recording_forgets_what_waited() -> None:
    matcher = OutputMatcher(RULES)
    matcher.expect(_expected(1))
    matcher.produced(_made(1, name="Modify Bearer Request"))
    matcher.begin()
    assert matcher.missing() == [] and matcher.unasked() == []


def test_outputs_that_nobody_asks_for_are_bounded_and_counted() -> None:
    matcher = OutputMatcher(RULES)
    for number in range(HELD_OUTPUTS + 5):
        matcher.produced(_made(number))
    assert len(matcher.unasked()) == HELD_OUTPUTS
    assert matcher.let_go == 5


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(["ims", "internet"])), max_size=12))
def test_every_expectation_and_output_is_matched_once_or_still_waits(events: list[tuple[bool, str]]) -> None:
    matcher = OutputMatcher(RULES)
    matches: list[Match] = []
    for number, (expects, apn) in enumerate(events):
        match = matcher.expect(_expected(number, apn)) if expects else matcher.produced(_made(number, apn))
        if match is not None:
            matches.append(match)
    expected = sum(1 for expects, _ in events if expects)
    assert len(matches) == min(expected, len(events) - expected)
    assert len(matches) + len(matcher.missing()) == expected
    assert len(matches) + len(matcher.unasked()) == len(events) - expected
    assert len({m.expected.id for m in matches}) == len({m.made.number for m in matches}) == len(matches)
