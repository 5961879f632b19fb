import json
import time
from collections.abc import Sequence

import pytest

from ferret.protocols.summary import Parameter, Protocol
from ferret.replay.check import CheckResult, Difference, compare, demanded_addresses, inconsistencies
from ferret.replay.rules import DifferenceKind, Risk, Rules, rules_with
from ferret.replay.translation import Domain, Pair, Translation

RULES = rules_with(
    """
protocol = "gtpv2"
[[rule]]
parameter = "T/Teid"
class = "allocated"
domain = "teid"
scope = ["T/Kind|../Kind|Kind", "T/Address|Address"]
[[rule]]
parameter = "T/Address"
class = "allocated"
domain = "address"
[[rule]]
parameter = "Paa"
class = "allocated"
domain = "ue_ip"
[[rule]]
parameter = "Seq"
class = "allocated"
domain = "sequence"
scope = ["=x", "@initiator"]
[[rule]]
parameter = "Opaque"
class = "allocated"
[[rule]]
parameter = "When"
class = "volatile"
[[rule]]
parameter = "Agent"
class = "informational"
[[rule]]
parameter = "Noise"
ignore = true
[[rule]]
parameter = "Key"
secret = true
[[rule]]
parameter = "Hop"
stack = true
[[rule]]
parameter = "Rule"
unordered = true
[[rule]]
parameter = "Rule/Flow"
unordered = true
""",
    "test.toml",
)


def parameters(*values: tuple[str, str | int | None]) -> list[Parameter]:
    return [Parameter(*value) for value in values]


def check(
    recorded: Sequence[Parameter], edge: Sequence[Parameter], rules: Rules = RULES, **more: object
) -> CheckResult:
    return compare(Protocol.GTPV2, "Create Session Request", recorded, edge, rules, **more)  # type: ignore[arg-type]


def only(result: CheckResult) -> Difference:
    (difference,) = result.differences
    return difference


def test_equal_messages_have_no_differences() -> None:
    same = parameters(("A", 1), ("B[0]/C", "x"), ("Flag", None))
    assert check(same, same) == CheckResult()


@pytest.mark.parametrize(
    ("recorded", "edge", "kind", "risk", "shown"),
    [
        ([("A", 1)], [], DifferenceKind.REMOVED, "high", (1, None)),
        ([], [("A", 1)], DifferenceKind.ADDED, "low", (None, 1)),
        ([("A", 1)], [("A", 2)], DifferenceKind.VALUE, "medium", (1, 2)),
        ([("A", 1)], [("A", "1")], DifferenceKind.TYPE, "high", (1, "1")),
        ([("A", None)], [], DifferenceKind.REMOVED, "high", ("present", None)),
        ([("Agent", "a")], [], DifferenceKind.REMOVED, "low", ("a", None)),
        ([("Agent", "a")], [("Agent", "b")], DifferenceKind.VALUE, "low", ("a", "b")),
        ([("When", 1)], [], DifferenceKind.REMOVED, "high", (1, None)),
        ([("Key", "c0ffee")], [("Key", "c0fffe")], DifferenceKind.VALUE, "medium", ("hidden", "hidden")),
        ([("Key", "c0ffee")], [], DifferenceKind.REMOVED, "high", ("hidden", None)),
    ],
)
def test_each_kind_of_difference_has_its_risk(
    recorded: list[tuple[str, str | int | None]],
    edge: list[tuple[str, str | int | None]],
    kind: DifferenceKind,
    risk: str,
    shown: tuple[object, object],
) -> None:
    found = only(check(parameters(*recorded), parameters(*edge)))
    assert (found.kind, found.risk.value, (found.recorded, found.edge)) == (kind, risk, shown)


def test_volatile_parameters_only_have_to_be_there_and_ignored_ones_not_even_that() -> None:
    assert check(parameters(("When", 1), ("Noise", 1)), parameters(("When", "later"))).differences == ()
    assert check([], parameters(("Noise", 1))).differences == ()


@pytest.mark.parametrize(
    ("path", "recorded", "edge", "same"),
    [
        ("Paa", "10.45.0.2", "10.45.0.9", True),
        ("Paa", "10.45.0.2", "2001:db8::1", False),
        ("T/Address", "10.45.0.2", "2001:db8::1", True),
        ("T/Address", "10.45.0.2", "sgw.example", False),
        ("Opaque", "0a0b", "ffff", True),
        ("Opaque", "0a0b", "ffffff", False),
        ("Opaque", "x@host", "a-b", True),
        ("Opaque", 7, 8, True),
        ("Opaque", 7, "8", False),
        ("T/Teid", "0x0000000a", "0x0000000b", True),
        ("T/Teid", "0x0000000a", "0x0b", False),
    ],
)
def test_an_allocated_value_keeps_its_type(path: str, recorded: str | int, edge: str | int, same: bool) -> None:
    result = check(parameters((path, recorded)), parameters((path, edge)))
    assert (result.differences == ()) is same
    if not same:
        assert only(result).kind is DifferenceKind.TYPE
        assert only(result).risk is Risk.HIGH


def test_an_allocated_value_tells_the_translation_whose_it_is() -> None:
    result = check(
        parameters(("T/Teid", 10), ("T/Address", "172.22.0.3"), ("T/Kind", 11)),
        parameters(("T/Teid", 99), ("T/Address", "127.0.0.3"), ("T/Kind", 11)),
    )
    assert result.differences == ()
    assert result.pairs[0] == Pair(Domain.TEID, 10, 99, "11/172.22.0.3", "11/127.0.0.3", "T/Teid", "medium")


def test_without_its_owner_an_allocated_value_tells_nothing() -> None:
    assert check(parameters(("T/Teid", 10)), parameters(("T/Teid", 99))).pairs == ()
    assert check(parameters(("Seq", 1)), parameters(("Seq", 2))).pairs == ()


def test_the_caller_names_owners_that_the_message_does_not() -> None:
    result = check(parameters(("Seq", 1)), parameters(("Seq", 2)), scopes={"initiator": ("172.22.0.2", "127.0.0.2")})
    assert result.pairs == (Pair(Domain.SEQUENCE, 1, 2, "x/172.22.0.2", "x/127.0.0.2", "Seq", "medium"),)


def test_nothing_allocated_on_one_side_only_is_a_difference() -> None:
    assert only(check(parameters(("T/Teid", 0)), parameters(("T/Teid", 9)))).kind is DifferenceKind.VALUE
    assert check(parameters(("T/Teid", 0)), parameters(("T/Teid", 0))).differences == ()


def test_a_ue_address_that_was_asked_for_must_be_given() -> None:
    asked = demanded_addresses(parameters(("Paa", "10.45.0.2")), Protocol.GTPV2, "Create Session Request", RULES)
    assert asked == {"10.45.0.2"}
    assert demanded_addresses(parameters(("Paa", "0.0.0.0")), Protocol.GTPV2, "x", RULES) == frozenset()
    recorded, edge = parameters(("Paa", "10.45.0.2")), parameters(("Paa", "10.45.0.9"))
    assert check(recorded, edge).differences == ()
    assert only(check(recorded, edge, demanded=asked)).kind is DifferenceKind.VALUE


def test_contradictions_of_the_translation_become_differences_of_class_allocated() -> None:
    translation = Translation()
    translation.learn([Pair(Domain.TAG, "a", "x")])
    found = inconsistencies(translation.learn([Pair(Domain.TAG, "a", "y", parameter="To/tag", risk="high")]))
    assert [d.as_json() for d in found] == [
        {"parameter": "To/tag", "class": "allocated", "risk": "high", "recorded": "a", "edge": "y"}
    ]


def test_hosts_that_were_seeded_do_not_make_a_difference() -> None:
    translation = Translation({"172.22.0.20": "127.0.0.6"})
    recorded, edge = parameters(("Uri", "sip:a@172.22.0.20")), parameters(("Uri", "sip:a@127.0.0.6"))
    assert check(recorded, edge, translation=translation).differences == ()
    assert only(check(recorded, edge)).kind is DifferenceKind.VALUE


def test_a_list_without_order_is_matched_by_best_fit() -> None:
    recorded = parameters(
        ("Rule[0]/Name", "a"), ("Rule[0]/Qci", 1), ("Rule[1]/Name", "b"), ("Rule[1]/Qci", 2), ("Rule[1]/Arp", 3)
    )
    edge = parameters(
        ("Rule[0]/Name", "b"), ("Rule[0]/Qci", 2), ("Rule[0]/Arp", 4), ("Rule[1]/Name", "a"), ("Rule[1]/Qci", 1)
    )
    found = only(check(recorded, edge))
    assert (found.parameter, found.recorded, found.edge) == ("Rule[1]/Arp", 3, 4)


def test_lists_inside_lists_are_matched_too() -> None:
    recorded = parameters(
        ("Rule[0]/Name", "a"),
        ("Rule[0]/Flow[0]", "in"),
        ("Rule[0]/Flow[1]", "out"),
        ("Rule[1]/Name", "b"),
        ("Rule[1]/Flow[0]", "x"),
    )
    edge = parameters(
        ("Rule[0]/Name", "b"),
        ("Rule[0]/Flow[0]", "x"),
        ("Rule[1]/Name", "a"),
        ("Rule[1]/Flow[0]", "out"),
        ("Rule[1]/Flow[1]", "in"),
    )
    assert check(recorded, edge).differences == ()


def test_an_item_that_fits_none_is_removed_or_added() -> None:
    one, two = parameters(("Rule[0]", "a")), parameters(("Rule[0]", "b"), ("Rule[1]", "a"))
    assert (only(check(one, two)).kind, only(check(one, two)).edge) == (DifferenceKind.ADDED, "b")
    assert (only(check(two, one)).kind, only(check(two, one)).recorded) == (DifferenceKind.REMOVED, "b")


def test_a_list_with_order_is_matched_by_position() -> None:
    recorded, edge = parameters(("Via[0]", "a"), ("Via[1]", "b")), parameters(("Via[0]", "b"), ("Via[1]", "a"))
    assert len(check(recorded, edge).differences) == 2


@pytest.mark.parametrize(
    ("recorded", "edge", "different"),
    [
        ("abcd", "abcd", []),
        ("abcd", "xcd", [("a", "x"), ("b", None)]),
        ("abcd", "xbcd", [("a", "x")]),
        ("acd", "xycd", [("a", "x"), (None, "y")]),
        ("ad", "xyzd", [("a", "x"), (None, "y"), (None, "z")]),
        ("ab", "", [("a", None), ("b", None)]),
        ("", "ab", [(None, "a"), (None, "b")]),
    ],
)
def test_a_stack_is_matched_at_the_top_and_from_the_bottom(
    recorded: str, edge: str, different: list[tuple[str | None, str | None]]
) -> None:
    old, new = (parameters(*((f"Hop[{i}]", name) for i, name in enumerate(stack))) for stack in (recorded, edge))
    found = check(old, new).differences
    assert [(d.recorded, d.edge) for d in found] == different
    assert len({d.parameter for d in found}) == len(found)


def test_a_hostile_message_of_endless_lists_is_compared_in_bounded_time() -> None:
    many = [Parameter(f"Rule[{i}]/Flow[{j}]", i * j) for i in range(100) for j in range(20)]
    begun = time.perf_counter()
    check(many, list(reversed(many)))
    assert time.perf_counter() - begun < 5


def test_a_difference_is_written_as_json_with_these_names() -> None:
    found = only(check(parameters(("A", 1)), parameters(("A", 2))))
    assert json.loads(json.dumps(found.as_json())) == {
        "parameter": "A",
        "class": "policy",
        "risk": "medium",
        "recorded": 1,
        "edge": 2,
    }


def test_results_are_weighed_by_risk() -> None:
    high = check(parameters(("A", 1)), [])
    many_low = check([], parameters(*((f"A{i}", 1) for i in range(20))))
    assert high.high_risk == 1
    assert many_low.high_risk == 0
    assert high.weight > many_low.weight > check([], []).weight


def test_a_typical_message_is_compared_in_about_a_hundred_microseconds() -> None:
    recorded = [Parameter(f"Bearer Context[5]/Part {i}/Value", i) for i in range(50)]
    recorded += [Parameter("T/Teid", 10), Parameter("T/Address", "172.22.0.3"), Parameter("T/Kind", 11)]
    recorded += [Parameter(f"Rule[{i}]/Name", f"n{i}") for i in range(3)]
    check(recorded, recorded)
    took = []
    for _ in range(50):
        begun = time.perf_counter()
        check(recorded, recorded)
        took.append(time.perf_counter() - begun)
    assert min(took) < 500e-6  # measured: see docs; a loaded machine gets five times as much
