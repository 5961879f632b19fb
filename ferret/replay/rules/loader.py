"""Rule files: TOML text in, rules out, every fault of a file reported together.

A file holds `[[rule]]` tables:

    [[rule]]
    protocol = "diameter"            # gtpv2, diameter, sip, s1ap or "*"; may stand once at the top of the file instead
    message = "CCA*"                 # pattern on the name, or a list of them; "*" if left out
    parameter = "QoS-Information/**" # pattern on the path, or a list of them; see ferret.replay.rules.glob
    class = "volatile"               # identity, policy, allocated, volatile, informational
    domain = "teid"                  # for class "allocated": the translation's map
    scope = ["=11", "IPv4 Address"]  # for class "allocated": to whom the value belongs, see ferret.replay.check
    risk = { value = "high" }        # per kind of difference: removed, type, value, added
    ignore = true                    # say nothing about it
    unordered = true                 # a list whose order means nothing: items are matched by best fit
    stack = true                     # a list that each hop adds to at the top: matched at the top and from the bottom
    secret = true                    # its values are never shown
    reason = "..."

Only the built-in files may say `locked = true`: such a parameter can never be ignored, nor its risk lowered.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeVar

from ferret.errors import ConfigError
from ferret.protocols.summary import Protocol
from ferret.replay.rules.glob import overlap
from ferret.replay.rules.model import DEFAULT_RISKS, DifferenceKind, ParameterClass, Risk, Rule
from ferret.replay.translation import Domain

_KEYS = frozenset(
    "protocol message parameter class domain scope risk ignore unordered stack secret locked reason".split()  # noqa: SIM905
)
_FLAGS = ("ignore", "unordered", "stack", "secret", "locked")
_EQUAL = (ParameterClass.IDENTITY, ParameterClass.POLICY)

_Choice = TypeVar("_Choice", bound=StrEnum)


def parse_rules(text: str, source: str, *, builtin: bool = False, locked: Sequence[Rule] = ()) -> list[Rule]:
    """The rules of one file. `source` names it in errors; `locked` are the built-in rules that it must not weaken.

    Raises ConfigError with one line that names every fault.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise ConfigError(f"{source}: not a TOML file: {fault}") from fault
    faults = [f"unknown key {key!r}" for key in document if key not in ("rule", "protocol")]
    entries = document.get("rule", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ConfigError(f"{source}: rules are written as [[rule]] tables")
    rules = []
    for number, entry in enumerate(entries, start=1):
        for single in _one_by_one(entry):
            reader = _RuleReader(single, document.get("protocol"), builtin=builtin)
            rule = reader.rule()
            label = f"rule {number} ({single.get('parameter', 'no parameter')})"
            found = reader.faults or list(_weakened(rule, locked))
            faults += [f"{label}: {fault}" for fault in found]
            rules.append(rule)
    if faults:
        raise ConfigError(f"{source}: " + "; ".join(faults))
    return rules


def _one_by_one(entry: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """The table once for each combination of its patterns."""
    parameters, messages = (
        value if isinstance(value, list) and value else [value]
        for value in (entry.get("parameter"), entry.get("message"))
    )
    for parameter in parameters:
        for message in messages:
            patterns = {"parameter": parameter, "message": message}
            yield {**entry, **{key: value for key, value in patterns.items() if key in entry}}


class _RuleReader:
    """Reads one table; collects what is wrong with it."""

    def __init__(self, entry: Mapping[str, Any], protocol: Any, *, builtin: bool) -> None:
        self.faults: list[str] = []
        self._entry = {"protocol": protocol, **entry}
        self._builtin = builtin

    def rule(self) -> Rule:
        """The rule; not to be used where `faults` is not empty."""
        entry = self._entry
        self.faults += [f"unknown key {key!r}" for key in entry if key not in _KEYS]
        if not entry.get("parameter"):
            self.faults.append("says no parameter")
        if entry["protocol"] is None:
            self.faults.append("says no protocol")
        flags = {flag: self._flag(flag) for flag in _FLAGS}
        locked = bool(flags.pop("locked"))
        if locked and not self._builtin:
            self.faults.append("'locked' is for built-in rules")
        parameter_class = self._choice("class", entry.get("class"), ParameterClass)
        domain = self._choice("domain", entry.get("domain"), Domain)
        if domain is not None and parameter_class not in (ParameterClass.ALLOCATED, None):
            self.faults.append(f"'domain' is for class 'allocated', not {parameter_class.value!r}")
        if locked:
            flags["ignore"] = False
            parameter_class = parameter_class or ParameterClass.POLICY
        return Rule(
            protocol=self._protocol(),
            parameter=self._text("parameter", ""),
            message=self._text("message", "*"),
            parameter_class=parameter_class,
            domain=domain,
            scope=self._scope(),
            risk={**DEFAULT_RISKS, DifferenceKind.VALUE: Risk.HIGH, **self._risk()} if locked else self._risk(),
            locked=locked,
            reason=self._text("reason", ""),
            **flags,
        )

    def _protocol(self) -> str:
        value = self._entry["protocol"]
        if value in (None, "*"):
            return "*"
        return self._choice("protocol", value, Protocol) or "*"

    def _text(self, key: str, default: str) -> str:
        value = self._entry.get(key, default)
        if isinstance(value, str):
            return value
        self.faults.append(f"{key!r} must be text")
        return default

    def _flag(self, key: str) -> bool | None:
        value = self._entry.get(key)
        if value is None or isinstance(value, bool):
            return value
        self.faults.append(f"{key!r} must be true or false")
        return None

    def _choice(self, key: str, value: Any, choices: type[_Choice]) -> _Choice | None:
        if value is None:
            return None
        for choice in choices:
            if choice.value == value:
                return choice
        allowed = ", ".join(choice.value for choice in choices)
        self.faults.append(f"{key!r} is {value!r}, not one of {allowed}")
        return None

    def _scope(self) -> tuple[str, ...] | None:
        value = self._entry.get("scope")
        if value is None:
            return None
        if isinstance(value, list) and all(isinstance(part, str) and part for part in value):
            return tuple(value)
        self.faults.append("'scope' must be a list of texts")
        return None

    def _risk(self) -> dict[DifferenceKind, Risk]:
        value = self._entry.get("risk", {})
        if not isinstance(value, dict):
            self.faults.append("'risk' must be a table such as { value = \"high\" }")
            return {}
        found = {}
        for key, text in value.items():
            kind = self._choice("risk", key, DifferenceKind)
            risk = self._choice(f"risk.{key}", text, Risk)
            if kind is not None and risk is not None:
                found[kind] = risk
        return found


def _weakened(rule: Rule, locked: Iterable[Rule]) -> Iterable[str]:
    """Says which locked parameters the rule would ignore, lower or exempt from being equal."""
    faults: dict[str, None] = {}
    for lock in locked:
        together = (
            _protocols_meet(rule, lock)
            and overlap(rule.message.replace("*", "**"), lock.message.replace("*", "**"))
            and overlap(rule.parameter, lock.parameter)
        )
        if not together:
            continue
        verb = _weakens(rule, lock)
        if verb:
            faults[f"it would {verb} {lock.parameter.removeprefix('**/')}, which no rule may"] = None
    return faults


def _protocols_meet(first: Rule, second: Rule) -> bool:
    return "*" in (first.protocol, second.protocol) or first.protocol == second.protocol


def _weakens(rule: Rule, lock: Rule) -> str:
    if rule.ignore:
        return "ignore"
    if rule.parameter_class is not None and rule.parameter_class not in _EQUAL:
        return f"make {rule.parameter_class.value}"
    for kind, risk in rule.risk.items():
        if risk.rank < lock.risk[kind].rank:
            return f"lower the risk of ({kind.value})"
    return ""
