"""The output check: a recorded message against the one that the edge made in its place.

Each parameter is treated by the class that the rules give it (design of the replay, point 5): identity and policy must
be equal, allocated ones present, of the same type and consistent with the translation, volatile ones present. What an
allocated parameter says about the translation comes back as pairs; `Translation.learn` finds contradictions in them.

Whose an allocated value is, is its rule's `scope`, a list of parts that are joined by "/":

    "=11"                       the text itself
    "@receiver"                 what the caller of `compare` gives under that name, for either side
    "IPv4 Address|IPv6 Address" the value of a parameter beside this one (the first that is there)
    "../Interface Type"         the value of a parameter beside the part that this one is in
    "/Session-Id"               the value of the parameter at that path

A pair whose scope is not known is not given out: a wrong owner would contradict the true one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from ferret.protocols.summary import Parameter, Protocol
from ferret.replay.alignment import aligned
from ferret.replay.rules.model import DifferenceKind, MessageRules, ParameterClass, Risk, Rules, Treatment
from ferret.replay.translation import (
    ADDRESSES,
    NUMERIC,
    Domain,
    Inconsistency,
    Pair,
    Translation,
    canonical,
    says_none,
)

HIDDEN = "hidden"  # shown in place of a secret
PRESENT = "present"  # shown for a part without a value

Scopes: TypeAlias = Mapping[str, tuple[str, str]]  # name -> its recorded and its edge text
_Values: TypeAlias = Mapping[str, str | int | None]

_NO_SCOPES: Scopes = MappingProxyType({})
_HEX = re.compile(r"(?:0x)?(?:[0-9a-fA-F]{2})+")
_WEIGHTS = {Risk.LOW: 1, Risk.MEDIUM: 10, Risk.HIGH: 100}
_EQUAL = (ParameterClass.IDENTITY, ParameterClass.POLICY, ParameterClass.INFORMATIONAL)


class Difference(NamedTuple):
    """One parameter in which the edge's message is not what the rules want."""

    parameter: str  # path in the recorded message, or in the edge's where it was added
    parameter_class: ParameterClass
    risk: Risk
    kind: DifferenceKind
    recorded: str | int | None  # None: not there
    edge: str | int | None

    def as_json(self) -> dict[str, Any]:
        """The form that `ferret replay --json` prints."""
        return {
            "parameter": self.parameter,
            "class": self.parameter_class.value,
            "risk": self.risk.value,
            "recorded": self.recorded,
            "edge": self.edge,
        }


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a comparison found."""

    differences: tuple[Difference, ...] = ()
    pairs: tuple[Pair, ...] = ()

    @property
    def high_risk(self) -> int:
        """How many of the differences are of high risk."""
        return sum(difference.risk is Risk.HIGH for difference in self.differences)

    @property
    def weight(self) -> int:
        """How different the two messages are: for choosing the likeliest of several counterparts."""
        return sum(_WEIGHTS[difference.risk] for difference in self.differences)


@dataclass(slots=True)
class _Comparison:
    """What one call of `compare` works on."""

    recorded: _Values
    edge: _Values
    scopes: Scopes
    translation: Translation | None
    demanded: Collection[str]
    differences: list[Difference] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)


def compare(
    protocol: Protocol,
    name: str,
    recorded: Sequence[Parameter],
    edge: Sequence[Parameter],
    rules: Rules,
    *,
    scopes: Scopes = _NO_SCOPES,
    translation: Translation | None = None,
    demanded: Collection[str] = (),
) -> CheckResult:
    """Compare the parameters of a recorded message of that name with those of the edge's message.

    `scopes` names owners that the message itself does not (the header's receiver, the association). With a
    `translation`, a value in which only hosts differ, as they were seeded, counts as equal. `demanded` are UE addresses
    that the request asked for: they must come out the same (TS 29.274 clause 7.2.1, PAA).
    """
    known = rules.for_message(protocol, name)
    edge = aligned(recorded, edge, known)
    work = _Comparison(dict(recorded), dict(edge), scopes, translation, demanded)
    treatment_of = known.treatment
    for path, value in recorded:
        treatment = treatment_of(path)
        if treatment.ignore:
            continue
        if path in work.edge:
            _compare_values(work, treatment, path, value, work.edge[path])
        else:
            _note(work, treatment, path, DifferenceKind.REMOVED, value, None, there=(True, False))
    if len(work.edge) != len(work.recorded) or work.edge.keys() != work.recorded.keys():
        _note_added(work, known, edge)
    return CheckResult(tuple(work.differences), tuple(work.pairs))


def inconsistencies(found: Iterable[Inconsistency]) -> list[Difference]:
    """What contradicts the translation, as differences of class allocated."""
    return [
        Difference(
            fault.pair.parameter or fault.pair.domain.value,
            ParameterClass.ALLOCATED,
            Risk(fault.pair.risk),
            DifferenceKind.VALUE,
            fault.pair.recorded,
            fault.pair.edge,
        )
        for fault in found
    ]


def demanded_addresses(parameters: Iterable[Parameter], protocol: Protocol, name: str, rules: Rules) -> frozenset[str]:
    """The UE addresses that a request asks for: what `compare` of its answer takes as `demanded`."""
    known = rules.for_message(protocol, name)
    asked = set()
    for path, value in parameters:
        if isinstance(value, str) and known.treatment(path).domain is Domain.UE_IP:
            address = canonical(Domain.UE_IP, value)
            if not says_none(Domain.UE_IP, address):
                asked.add(str(address))
    return frozenset(asked)


def _note_added(work: _Comparison, known: MessageRules, edge: Sequence[Parameter]) -> None:
    for path, value in edge:
        if path not in work.recorded:
            treatment = known.treatment(path)
            if not treatment.ignore:
                _note(work, treatment, path, DifferenceKind.ADDED, None, value, there=(False, True))


def _compare_values(
    work: _Comparison, treatment: Treatment, path: str, recorded: str | int | None, edge: str | int | None
) -> None:
    kind = treatment.parameter_class
    if kind in _EQUAL:
        if recorded != edge and not _same_after_translation(work, recorded, edge):
            _note(work, treatment, path, _kind_of_change(recorded, edge), recorded, edge)
    elif kind is ParameterClass.ALLOCATED:
        _compare_allocated(work, treatment, path, recorded, edge)


def _compare_allocated(
    work: _Comparison, treatment: Treatment, path: str, recorded: str | int | None, edge: str | int | None
) -> None:
    domain = treatment.domain
    if not _same_type(domain, recorded, edge):
        _note(work, treatment, path, DifferenceKind.TYPE, recorded, edge)
        return
    if domain is None or recorded is None or edge is None:
        return
    before, after = canonical(domain, recorded), canonical(domain, edge)
    one_is_none = says_none(domain, before) != says_none(domain, after)
    if one_is_none or (domain is Domain.UE_IP and before != after and before in work.demanded):
        _note(work, treatment, path, DifferenceKind.VALUE, recorded, edge)
        return
    scopes = _scope_of(work, treatment.scope, path)
    if scopes is not None:
        risk = treatment.risks[DifferenceKind.VALUE].value
        work.pairs.append(Pair(domain, recorded, edge, *scopes, path, risk))


def _same_after_translation(work: _Comparison, recorded: str | int | None, edge: str | int | None) -> bool:
    if work.translation is None or not isinstance(recorded, str) or not isinstance(edge, str):
        return False
    return work.translation.text(recorded) == edge


def _kind_of_change(recorded: str | int | None, edge: str | int | None) -> DifferenceKind:
    return DifferenceKind.VALUE if type(recorded) is type(edge) else DifferenceKind.TYPE


def _note(
    work: _Comparison,
    treatment: Treatment,
    path: str,
    kind: DifferenceKind,
    recorded: str | int | None,
    edge: str | int | None,
    there: tuple[bool, bool] = (True, True),
) -> None:
    shown = [
        _shown(value, treatment) if is_there else None for value, is_there in zip((recorded, edge), there, strict=True)
    ]
    work.differences.append(Difference(path, treatment.parameter_class, treatment.risks[kind], kind, *shown))


def _shown(value: str | int | None, treatment: Treatment) -> str | int:
    if treatment.secret:
        return HIDDEN
    return PRESENT if value is None else value


def _same_type(domain: Domain | None, recorded: str | int | None, edge: str | int | None) -> bool:
    if type(recorded) is not type(edge):
        return False
    if recorded == edge or not isinstance(recorded, str) or not isinstance(edge, str):
        return True
    if domain is Domain.ADDRESS:  # an NF may well have an address of the other version
        return _version(recorded) * _version(edge) != 0
    if domain in ADDRESSES:
        return _version(recorded) == _version(edge)
    if domain is None or domain in NUMERIC:
        return _hex_length(recorded) == _hex_length(edge)
    return True


def _version(text: str) -> int:
    try:
        return ip_address(text.strip("[]")).version
    except ValueError:
        return 0


def _hex_length(text: str) -> int:
    return len(text) if _HEX.fullmatch(text) else 0


def _scope_of(work: _Comparison, parts: tuple[str, ...], path: str) -> tuple[str, str] | None:
    """The recorded and the edge scope of the parameter at `path`; None where one of them cannot be known."""
    if not parts:
        return "", ""
    recorded, edge = [], []
    for part in parts:
        if part[0] == "=":
            found: tuple[str, str] | None = (part[1:], part[1:])
        elif part[0] == "@":
            found = work.scopes.get(part[1:])
        else:
            found = _beside(work, part, path)
        if found is None:
            return None
        recorded.append(found[0])
        edge.append(found[1])
    return "/".join(recorded), "/".join(edge)


def _beside(work: _Comparison, part: str, path: str) -> tuple[str, str] | None:
    parent = path.rpartition("/")[0]
    places = [_place_beside(name, parent) for name in part.split("|")]
    found = []
    for values in (work.recorded, work.edge):
        value = next((values[place] for place in places if values.get(place) is not None), None)
        if value is None:
            return None
        found.append(str(value))
    return found[0], found[1]


def _place_beside(name: str, parent: str) -> str:
    if name.startswith("/"):
        return name[1:]
    while name.startswith("../"):
        name = name[3:]
        parent = parent.rpartition("/")[0]
    return f"{parent}/{name}" if parent else name
