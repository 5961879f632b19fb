"""docs/rules.md tells the truth: its examples load, what it says is refused is refused, its tables are complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ferret.errors import ConfigError
from ferret.protocols.summary import Protocol
from ferret.replay.rules import DifferenceKind, ParameterClass, Risk, builtin_rules, rules_with
from ferret.replay.rules.loader import _KEYS
from ferret.replay.translation import Domain

PAGE = (Path(__file__).parents[3] / "docs" / "rules.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```toml( refused)?\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
ACCEPTED = [text for refused, text in BLOCKS if not refused]
REFUSED = [text for refused, text in BLOCKS if refused]


def test_the_page_has_examples_of_both_kinds() -> None:
    assert len(ACCEPTED) >= 5
    assert len(REFUSED) == 2


@pytest.mark.parametrize("text", ACCEPTED)
def test_every_example_loads(text: str) -> None:
    assert len(rules_with(text, "mine.toml")) > len(builtin_rules())


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_shown_as_refused_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"mine\.toml: rule 1"):
        rules_with(text, "mine.toml")


def test_the_quoted_refusal_is_what_is_said() -> None:
    with pytest.raises(ConfigError) as refused:
        rules_with(REFUSED[0], "mine.toml")
    quoted = re.search(r"says `([^`]*); …`", PAGE)
    assert quoted is not None
    assert str(refused.value).startswith(quoted.group(1))


def test_the_first_example_does_what_it_says() -> None:
    rules = rules_with(ACCEPTED[0], "mine.toml")
    path = "QoS-Information/APN-Aggregate-Max-Bitrate-UL"
    for name in ("CCA-Initial", "RAR"):
        assert rules.for_message(Protocol.DIAMETER, name).treatment(path).risks[DifferenceKind.VALUE] is Risk.LOW
    assert rules.for_message(Protocol.DIAMETER, "ULA").treatment(path).risks[DifferenceKind.VALUE] is Risk.MEDIUM
    assert rules.for_message(Protocol.SIP, "INVITE").treatment("X-Edge-Site").ignore


def test_the_later_of_two_rules_wins_as_it_says() -> None:
    rules = rules_with(ACCEPTED[1], "mine.toml")
    of_request = rules.for_message(Protocol.GTPV2, "Create Session Request")
    assert of_request.treatment("Bearer Context[5]/Bearer QoS/QCI").risks[DifferenceKind.VALUE] is Risk.MEDIUM
    of_answer = rules.for_message(Protocol.GTPV2, "Create Session Response")
    assert of_answer.treatment("Bearer Context[5]/Bearer QoS/QCI").risks[DifferenceKind.VALUE] is Risk.HIGH


def test_every_key_class_kind_and_domain_has_its_row() -> None:
    for word in (*(_KEYS - {"locked"}), *ParameterClass, *DifferenceKind, *Protocol):
        assert re.search(rf"^\|.*`{word}`", PAGE, re.MULTILINE), word
    for domain in Domain:
        assert f"| `{domain}` |" in PAGE, domain


def test_the_list_of_locked_parameters_is_complete() -> None:
    section = PAGE.partition("## What no rule may do")[2]
    rows = {
        Protocol.GTPV2: "| GTPv2-C |",
        Protocol.DIAMETER: "| Diameter |",
        Protocol.SIP: "| SIP |",
        Protocol.S1AP: "| S1AP, NAS |",
    }
    for protocol, start in rows.items():
        row = next(line for line in section.splitlines() if line.startswith(start))
        locked = {rule.parameter for rule in builtin_rules() if rule.locked and rule.protocol == protocol}
        assert set(re.findall(r"`([^`]*)`", row)) == locked
