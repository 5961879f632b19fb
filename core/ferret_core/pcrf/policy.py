"""Operator policy: what a PCRF authorises beyond what the specifications compute, and how its answers are furnished.

A policy is a list of entries. An entry applies where all of its conditions hold; of several that say something, the
first counts. Without any entry the PCRF does what TS 29.213 clause 6.3 says.

Conditions: `imsi`, `ue_ip`, `apn` (text), `media_type`, `media_component` (numbers of TS 29.214).

What an entry may say:

    authorise        false: the media component gets no rule (its AAR is accepted all the same)
    refuse           true: an AAR with this media component is refused (5063, TS 29.214 clause 4.4.1)
    rule_names       names for the rules of this media component, in the order in which they are first installed
    rule_filters     a filter of each of these rules: a rule that has it takes that name, whatever the order
    qci, precedence  numbers
    arp              {"priority_level": 1, "pre_emption_capability": 1, "pre_emption_vulnerability": 1}
    bandwidth        "sub-component" (as specified) or "flow-description": what the AF's bandwidth is counted for
    guaranteed       whether the rule has guaranteed bit rates; else: if its QCI is a GBR one
    default_rates    {"mbr_ul", "mbr_dl", "gbr_ul", "gbr_dl"} in bit/s, where the AF asks for no bandwidth
    rates            a list of such, one for each time the rule is installed or changed; null: as computed
    flow_status      a Flow-Status that is sent whatever the AF asks for
    uplink           "reversed" (as specified) or "kept": source and destination of uplink filters
    answers          {"CCA-Initial": {"echo": […], "session": […], "fixed": […]}, "AAA": …}: which AVPs of the request
                     are granted as asked, which are repeated from the CCR that opened the IP-CAN session, and which
                     are always the same (AVPs in hexadecimal)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from ferret.errors import ConfigError, DecodeError
from ferret.protocols.diameter import Avp, by_name, decode_avps
from ferret_core.pcrf.authorisation import Counting
from ferret_core.pcrf.rule import Arp, BitRates

CONDITIONS: Final = ("imsi", "ue_ip", "apn", "media_type", "media_component")
_STATEMENTS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "authorise": bool,
    "refuse": bool,
    "rule_names": Sequence,
    "rule_filters": Sequence,
    "qci": int,
    "precedence": int,
    "arp": Mapping,
    "bandwidth": str,
    "guaranteed": bool,
    "default_rates": Mapping,
    "rates": Sequence,
    "flow_status": int,
    "uplink": str,
    "answers": Mapping,
}
DEFAULT_ARP: Final = Arp(priority_level=2, pre_emption_capability=0, pre_emption_vulnerability=1)

Facts = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Furnishing:
    """What an answer carries besides what every answer carries."""

    echo: tuple[str, ...] = ()
    session: tuple[str, ...] = ()
    fixed: tuple[Avp, ...] = ()


DEFAULT_FURNISHING: Final[Mapping[str, Furnishing]] = {
    "CCA-Initial": Furnishing(echo=("QoS-Information", "Default-EPS-Bearer-QoS", "Supported-Features")),
    "CCA-Update": Furnishing(echo=("QoS-Information", "Default-EPS-Bearer-QoS")),
    "AAA": Furnishing(session=("IP-CAN-Type", "RAT-Type")),
}


class Policy:
    """A list of entries, looked up by the facts of a case. Raises ConfigError for an entry that says nonsense."""

    def __init__(self, entries: Sequence[Mapping[str, object]] = ()) -> None:
        self._entries = [_checked(entry) for entry in entries]

    def _find(self, statement: str, facts: Facts) -> object | None:
        for entry in self._entries:
            if statement in entry and all(_holds(entry[c], facts.get(c)) for c in CONDITIONS if c in entry):
                return entry[statement]
        return None

    def authorises(self, facts: Facts) -> bool:
        """Whether a media component gets a rule."""
        return self._find("authorise", facts) is not False

    def refuses(self, facts: Facts) -> bool:
        """Whether an AAR with this media component is refused."""
        return self._find("refuse", facts) is True

    def rule_name(self, facts: Facts, filters: set[str], count: int) -> str:
        """The name that is foreseen for a new rule with these filters, the `count`-th (from 0); "" for none."""
        names = cast(Sequence[str], self._find("rule_names", facts) or ())
        known = cast(Sequence[str], self._find("rule_filters", facts) or ())
        fitting = [name for name, one in zip(names, known, strict=False) if one in filters]
        return fitting[0] if fitting else (names[count] if count < len(names) else "")

    def number(self, statement: str, facts: Facts) -> int | None:
        """`qci`, `precedence`, `flow_status`, or None."""
        return cast("int | None", self._find(statement, facts))

    def arp(self, facts: Facts) -> Arp:
        """The priority of a rule."""
        found = self._find("arp", facts)
        return Arp(**cast("dict[str, int]", found)) if found else DEFAULT_ARP

    def counting(self, facts: Facts) -> Counting:
        """What the AF's bandwidth is counted for."""
        return Counting(cast("str | None", self._find("bandwidth", facts)) or Counting.PER_SUB_COMPONENT)

    def guaranteed(self, facts: Facts) -> bool | None:
        """Whether a rule has guaranteed bit rates; None: as its QCI has it."""
        return cast("bool | None", self._find("guaranteed", facts))

    def reverses_uplink(self, facts: Facts) -> bool:
        """Whether uplink filters are turned round, as the specification asks."""
        return self._find("uplink", facts) != "kept"

    def rates(self, facts: Facts, revision: int) -> BitRates | None:
        """Bit rates that are set for the `revision`-th change of a rule (0: its installation)."""
        listed = cast("Sequence[Mapping[str, int] | None]", self._find("rates", facts) or ())
        return _rates(listed[revision]) if revision < len(listed) else None

    def default_rates(self, facts: Facts) -> BitRates | None:
        """Bit rates for an AF that asks for none."""
        return _rates(cast("Mapping[str, int] | None", self._find("default_rates", facts)))

    def furnishing(self, answer: str, facts: Facts) -> Furnishing:
        """What an answer of this name carries."""
        for entry in self._entries:
            answers = cast("Mapping[str, Mapping[str, Sequence[str]]]", entry.get("answers", {}))
            if answer in answers and all(_holds(entry[c], facts.get(c)) for c in CONDITIONS if c in entry):
                return _furnishing(answers[answer])
        return DEFAULT_FURNISHING.get(answer, Furnishing())


def _holds(condition: object, fact: object) -> bool:
    return condition in fact if isinstance(fact, tuple) else condition == fact


def _rates(rates: Mapping[str, int] | None) -> BitRates | None:
    return None if rates is None else BitRates(**rates)


def _furnishing(answer: Mapping[str, Sequence[str]]) -> Furnishing:
    fixed = b"".join(bytes.fromhex(one) for one in answer.get("fixed", ()))
    return Furnishing(tuple(answer.get("echo", ())), tuple(answer.get("session", ())), decode_avps(fixed))


def _checked(entry: Mapping[str, object]) -> Mapping[str, object]:
    for key, value in entry.items():
        if key not in CONDITIONS and key not in _STATEMENTS:
            raise ConfigError(f"PCRF policy: {key!r} is not known")
        if key in _STATEMENTS and not isinstance(value, _STATEMENTS[key]):
            raise ConfigError(f"PCRF policy: {key} cannot be {value!r}")
    try:
        _try_out(Policy.__new__(Policy), entry)
    except (DecodeError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"PCRF policy: {error}") from error
    return entry


def _try_out(policy: Policy, entry: Mapping[str, object]) -> None:
    """Read everything that the entry says once, so that a mistake shows when it is loaded."""
    policy._entries = [entry]
    facts = {condition: entry[condition] for condition in CONDITIONS if condition in entry}
    policy.arp(facts)
    policy.counting(facts)
    policy.default_rates(facts)
    for revision in range(len(cast("Sequence[object]", entry.get("rates", ())))):
        policy.rates(facts, revision)
    for answer in cast("Mapping[str, object]", entry.get("answers", {})):
        furnishing = policy.furnishing(answer, facts)
        for name in (*furnishing.echo, *furnishing.session):
            if by_name(name) is None:
                raise ValueError(f"there is no AVP {name!r}")
