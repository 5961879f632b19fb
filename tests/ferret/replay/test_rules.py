from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferret.errors import ConfigError
from ferret.protocols.summary import Protocol
from ferret.replay.rules import DifferenceKind, ParameterClass, Risk, load_rules, rules_with
from ferret.replay.rules.glob import PatternIndex, matches, overlap
from ferret.replay.translation import Domain

SIP = Protocol.SIP


def treatment(text: str, path: str, name: str = "INVITE", protocol: Protocol = SIP):  # type: ignore[no-untyped-def]
    return rules_with(text, "mine.toml").for_message(protocol, name).treatment(path)


@pytest.mark.parametrize(
    ("pattern", "path", "covered"),
    [
        ("Via/branch", "Via[0]/branch", True),
        ("Via/*", "Via[12]/rport", True),
        ("Via/*", "Via[0]/a/b", False),
        ("**", "a/b/c", True),
        ("**/Cause", "Cause", True),
        ("**/Cause", "Bearer Context[5]/Cause", True),
        ("**/Cause", "Bearer Context[5]/Cause Value", False),
        ("A/**", "A", True),
        ("A/**", "A/b/c", True),
        ("A/**/c", "A/c", True),
        ("A[1]/b", "A[1]/b", True),
        ("A[1]/b", "A[2]/b", False),
        ("via/BRANCH", "Via[0]/branch", True),
        ("R?ck", "RAck", True),
        ("a.b", "axb", False),
    ],
)
def test_a_pattern_covers_what_it_says(pattern: str, path: str, covered: bool) -> None:
    assert matches(pattern, path) is covered


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ("**", "**/Cause", True),
        ("Bearer Context/**", "**/Cause", True),
        ("Bearer Context/*", "**/Cause", True),
        ("Bearer Context/F-TEID", "**/Cause", False),
        ("Bearer Context[5]/Ca*", "**/Cause", True),
        ("Cau?e", "**/Cause", True),
        ("header/TEID", "**/Cause", False),
        ("*", "Status-Code", True),
        ("Via/*", "Status-Code", False),
    ],
)
def test_it_is_known_whether_two_patterns_can_meet(first: str, second: str, together: bool) -> None:
    assert overlap(first, second) is together
    assert overlap(second, first) is together


@given(
    st.lists(st.sampled_from(["a", "b", "*", "**", "a*", "?"]), min_size=1, max_size=4),
    st.lists(st.sampled_from(["a", "b", "*", "**", "*b", "?"]), min_size=1, max_size=4),
    st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=4),
)
def test_patterns_that_cover_one_path_are_found_to_meet(one: list[str], two: list[str], path: list[str]) -> None:
    first, second, subject = "/".join(one), "/".join(two), "/".join(path)
    if matches(first, subject) and matches(second, subject):
        assert overlap(first, second)


def test_an_unlisted_parameter_has_to_be_equal_with_the_usual_risks() -> None:
    found = load_rules().for_message(SIP, "INVITE").treatment("Nothing-Known[3]/of-this")
    assert found.parameter_class is ParameterClass.POLICY
    assert [found.risks[kind] for kind in DifferenceKind] == [Risk.HIGH, Risk.HIGH, Risk.MEDIUM, Risk.LOW]


def test_built_in_rules_load_for_every_protocol() -> None:
    rules = load_rules()
    assert rules.for_message(SIP, "INVITE").treatment("Via[0]/branch").domain is Domain.BRANCH


def test_an_operators_rule_overrides_field_by_field() -> None:
    text = '[[rule]]\nprotocol = "sip"\nparameter = "From/tag"\nrisk = { value = "low" }\n'
    found = treatment(text, "From/tag")
    assert found.domain is Domain.TAG
    assert found.risks[DifferenceKind.VALUE] is Risk.LOW
    assert found.risks[DifferenceKind.REMOVED] is Risk.HIGH


def test_an_operators_rule_may_ignore_a_parameter_in_messages_of_one_name_only() -> None:
    text = 'protocol = "sip"\n[[rule]]\nmessage = "2?? (INVITE)"\nparameter = "Allow"\nignore = true\n'
    assert treatment(text, "Allow", "200 (INVITE)").ignore
    assert not treatment(text, "Allow", "INVITE").ignore


@pytest.mark.parametrize(
    ("line", "verb"),
    [
        ("ignore = true", "ignore"),
        ('class = "volatile"', "make volatile"),
        ('class = "informational"', "make informational"),
        ('risk = { value = "medium" }', "lower the risk of"),
    ],
)
@pytest.mark.parametrize("parameter", ["Status-Code", "*", "**", "Stat*"])
def test_no_rule_can_weaken_the_result(line: str, verb: str, parameter: str) -> None:
    text = f'[[rule]]\nprotocol = "*"\nparameter = "{parameter}"\n{line}\n'
    with pytest.raises(ConfigError, match=rf"mine\.toml: rule 1 .*{verb}.* Status-Code") as caught:
        rules_with(text, "mine.toml")
    assert "\n" not in str(caught.value)


def test_the_result_may_be_named_in_a_rule_that_keeps_it() -> None:
    text = '[[rule]]\nprotocol = "sip"\nparameter = "Status-Code"\nrisk = { added = "high" }\nreason = "ours"\n'
    assert treatment(text, "Status-Code").risks[DifferenceKind.VALUE] is Risk.HIGH


def test_every_fault_of_a_file_is_reported_in_one_line() -> None:
    text = """
colour = "red"
[[rule]]
protocol = "smtp"
parameter = "a"
[[rule]]
parameter = "b"
clas = "policy"
[[rule]]
protocol = "sip"
parameter = "c"
class = "policy"
domain = "nothing"
risk = { value = "huge", gone = "low" }
ignore = "yes"
scope = "x"
locked = true
[[rule]]
protocol = "sip"
class = "policy"
domain = "tag"
"""
    with pytest.raises(ConfigError) as caught:
        rules_with(text, "mine.toml")
    said = str(caught.value)
    assert "\n" not in said
    for part in (
        "mine.toml: unknown key 'colour'",
        "rule 1 (a): 'protocol' is 'smtp'",
        "rule 2 (b): unknown key 'clas'",
        "rule 2 (b): says no protocol",
        "'domain' is 'nothing'",
        "'risk.value' is 'huge'",
        "'risk' is 'gone'",
        "'ignore' must be true or false",
        "'scope' must be a list",
        "'locked' is for built-in rules",
        "rule 4 (no parameter): says no parameter",
        "'domain' is for class 'allocated'",
    ):
        assert part in said


@pytest.mark.parametrize("text", ["rule = 3", "rule = [1]", "[rule]\na = 1", "= ="])
def test_what_is_no_rule_file_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"mine\.toml: "):
        rules_with(text, "mine.toml")


def test_a_file_that_cannot_be_read_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="rules cannot be read"):
        load_rules(tmp_path / "absent.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="rules cannot be read"):
        load_rules(tmp_path / "binary.toml")


def test_an_operators_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text('[[rule]]\nprotocol = "sip"\nparameter = "Allow"\nignore = true\n')
    assert load_rules(path).for_message(SIP, "INVITE").treatment("Allow").ignore


def test_keys_from_the_network_do_not_fill_the_memory() -> None:
    known = load_rules().for_message(SIP, "INVITE")
    for number in range(10_000):
        known.treatment(f"Via[{number}]/branch")
    assert len(known._known) <= 4096


@given(
    st.lists(st.sampled_from(["a", "A/b", "**/b", "**/a/b", "*", "**", "a/*", "a[1]/b", "?"]), max_size=8),
    st.sampled_from(["a", "b", "a/b", "a[1]/b", "a[2]/b", "b/a/b", "B"]),
)
def test_the_index_of_patterns_finds_what_trying_each_one_finds(patterns: list[str], path: str) -> None:
    index = PatternIndex((pattern, number) for number, pattern in enumerate(patterns))
    assert index.matching(path) == [number for number, pattern in enumerate(patterns) if matches(pattern, path)]


def test_one_table_may_name_several_patterns() -> None:
    text = (
        'protocol = "sip"\n[[rule]]\nmessage = ["INVITE", "UPDATE"]\nparameter = ["Allow", "Supported"]\nignore = true'
    )
    for name in ("INVITE", "UPDATE"):
        assert treatment(text, "Allow", name).ignore
        assert treatment(text, "Supported", name).ignore
    assert not treatment(text, "Allow", "BYE").ignore
    with pytest.raises(ConfigError, match=r"rule 1 \(Status-Code\): it would ignore Status-Code"):
        rules_with('[[rule]]\nprotocol = "sip"\nparameter = ["Allow", "Status-Code"]\nignore = true\n', "mine.toml")
