"""Which parameters may differ between a recorded message and the edge's, and how bad a difference is.

Rules are read in order: the built-in ones, then the operator's. For each parameter every rule that covers it has its
say, and a later one overrides an earlier one field by field. Locked rules (Cause, Result-Code, status code, ...) speak
last of all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from ferret.protocols.summary import Protocol
from ferret.replay.rules.glob import PatternIndex, compiled, strip_keys
from ferret.replay.translation import Domain

MAX_CACHED_PATHS = 4096  # per message name: keys come from the network and must not fill the memory


class ParameterClass(StrEnum):
    """How a parameter of the edge's message must relate to the recorded one."""

    IDENTITY = "identity"  # says who or what it is about: equal
    POLICY = "policy"  # says what was decided: equal
    ALLOCATED = "allocated"  # present, of the same type, consistent with the translation
    VOLATILE = "volatile"  # present
    INFORMATIONAL = "informational"  # compared, but a difference is never above low


class Risk(StrEnum):
    """How bad a difference is."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    @property
    def rank(self) -> int:
        """0 for low, 2 for high."""
        return _RANKS[self]


_BEHIND_FIRST = re.compile(r"\[0*[1-9]\d*\]")
_RANKS = {Risk.LOW: 0, Risk.MEDIUM: 1, Risk.HIGH: 2}


class DifferenceKind(StrEnum):
    """In what way a parameter differs."""

    REMOVED = "removed"  # recorded, not in the edge's message
    TYPE = "type"  # an address for a number, IPv6 for IPv4, octets of another length
    VALUE = "value"
    ADDED = "added"  # not recorded, in the edge's message


DEFAULT_RISKS: Mapping[DifferenceKind, Risk] = MappingProxyType(
    {
        DifferenceKind.REMOVED: Risk.HIGH,
        DifferenceKind.TYPE: Risk.HIGH,
        DifferenceKind.VALUE: Risk.MEDIUM,
        DifferenceKind.ADDED: Risk.LOW,
    }
)
_ALL_LOW: Mapping[DifferenceKind, Risk] = MappingProxyType(dict.fromkeys(DifferenceKind, Risk.LOW))


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of a rule file. None: this rule leaves that to the others."""

    protocol: str  # a Protocol's value, or "*"
    parameter: str  # pattern on the path
    message: str = "*"  # pattern on the message's name
    parameter_class: ParameterClass | None = None
    domain: Domain | None = None
    scope: tuple[str, ...] | None = None
    risk: Mapping[DifferenceKind, Risk] = field(default_factory=dict)
    ignore: bool | None = None
    unordered: bool | None = None
    stack: bool | None = None
    secret: bool | None = None
    locked: bool = False
    reason: str = ""

    def covers_message(self, protocol: Protocol, name: str) -> bool:
        """Whether the rule speaks of messages of this name."""
        if self.protocol not in ("*", protocol.value):
            return False
        return self.message == "*" or compiled(self.message.replace("*", "**")).fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Treatment:
    """What all rules together say of one parameter of one message."""

    parameter_class: ParameterClass = ParameterClass.POLICY
    risks: Mapping[DifferenceKind, Risk] = field(default_factory=lambda: DEFAULT_RISKS)
    domain: Domain | None = None  # which map an allocated value belongs to; None: presence and type only
    scope: tuple[str, ...] = ()
    ignore: bool = False
    unordered: bool = False
    stack: bool = False
    secret: bool = False


class Rules:
    """All rules in force. Looking a parameter up is one dictionary access once its path has been seen."""

    __slots__ = ("_by_name", "_by_rules", "_rules")

    def __init__(self, rules: Iterable[Rule]) -> None:
        ordered = list(rules)
        self._rules = [rule for rule in ordered if not rule.locked] + [rule for rule in ordered if rule.locked]
        self._by_name: dict[tuple[Protocol, str], MessageRules] = {}
        self._by_rules: dict[tuple[int, ...], MessageRules] = {}  # messages that the same rules cover share them

    def __len__(self) -> int:
        return len(self._rules)

    def for_message(self, protocol: Protocol, name: str) -> MessageRules:
        """What applies to messages of this name."""
        key = (protocol, name)
        found = self._by_name.get(key)
        if found is None:
            if len(self._by_name) >= MAX_CACHED_PATHS:
                self._by_name.clear()
            numbers = tuple(i for i, rule in enumerate(self._rules) if rule.covers_message(protocol, name))
            found = self._by_rules.get(numbers)
            if found is None:
                found = self._by_rules[numbers] = MessageRules(self._rules[i] for i in numbers)
            self._by_name[key] = found
        return found


class MessageRules:
    """The rules for messages of one name."""

    __slots__ = ("_known", "_known_bare", "_lists", "_patterns")

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._patterns: PatternIndex[Rule] = PatternIndex((rule.parameter, rule) for rule in rules)
        self._known: dict[str, Treatment] = {}
        self._known_bare: dict[str, Treatment] = {}  # by path without keys, as long as no rule asks for keys
        self._lists: dict[str, tuple[str, ...]] = {}

    def treatment(self, path: str) -> Treatment:
        """What to do with the parameter at `path`."""
        found = self._known.get(path)
        if found is None:
            if len(self._known) >= MAX_CACHED_PATHS:
                self._known.clear()
                self._known_bare.clear()
            bare = path if self._patterns.needs_keys else strip_keys(path)
            found = self._known_bare.get(bare)
            if found is None:
                found = self._known_bare[bare] = combine(self._patterns.matching(path))
            self._known[path] = found
        return found

    def long_lists(self, path: str) -> tuple[str, ...]:
        """The lists to align that the path runs through behind their first item, each as the path to its bracket."""
        found = self._lists.get(path)
        if found is None:
            if len(self._lists) >= MAX_CACHED_PATHS:
                self._lists.clear()
            prefixes = [path[: match.start()] for match in _BEHIND_FIRST.finditer(path)]
            found = tuple([p for p in prefixes if self.treatment(p).unordered or self.treatment(p).stack])
            self._lists[path] = found
        return found


def combine(rules: Iterable[Rule]) -> Treatment:
    """One treatment of several rules; later ones override earlier ones."""
    parameter_class = ParameterClass.POLICY
    domain: Domain | None = None
    scope: tuple[str, ...] = ()
    flags = {"ignore": False, "unordered": False, "stack": False, "secret": False}
    risks: dict[DifferenceKind, Risk] = dict(DEFAULT_RISKS)
    for rule in rules:
        if rule.parameter_class is not None:
            parameter_class, domain, scope = rule.parameter_class, None, ()
        domain = rule.domain or domain
        scope = scope if rule.scope is None else rule.scope
        risks.update(rule.risk)
        said = {"ignore": rule.ignore, "unordered": rule.unordered, "stack": rule.stack, "secret": rule.secret}
        flags.update({flag: value for flag, value in said.items() if value is not None})
    informational = parameter_class is ParameterClass.INFORMATIONAL
    return Treatment(parameter_class, _ALL_LOW if informational else risks, domain, scope, **flags)
