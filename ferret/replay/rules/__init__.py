"""The rules of the output check: what may differ between a recorded message and the edge's.

The built-in rules are the TOML files beside this module, one per protocol; an operator's file extends and overrides
them (`ferret.replay.rules.loader` documents the format).
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

from ferret.errors import ConfigError
from ferret.replay.rules.loader import parse_rules
from ferret.replay.rules.model import (
    DifferenceKind,
    MessageRules,
    ParameterClass,
    Risk,
    Rule,
    Rules,
    Treatment,
)

__all__ = [
    "DifferenceKind",
    "MessageRules",
    "ParameterClass",
    "Risk",
    "Rule",
    "Rules",
    "Treatment",
    "builtin_rules",
    "load_rules",
    "parse_rules",
    "rules_with",
]


@cache
def builtin_rules() -> tuple[Rule, ...]:
    """The rules that FERRET ships."""
    folder = files(__package__)
    sources = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".toml")), key=lambda e: e.name)
    return tuple(
        rule for entry in sources for rule in parse_rules(entry.read_text(encoding="utf-8"), entry.name, builtin=True)
    )


@cache
def _builtin() -> Rules:
    return Rules(builtin_rules())


def rules_with(text: str, source: str) -> Rules:
    """The built-in rules extended by the text of an operator's file. Raises ConfigError naming file and rules."""
    builtin = builtin_rules()
    locked = [rule for rule in builtin if rule.locked]
    return Rules([*builtin, *parse_rules(text, source, locked=locked)])


def load_rules(path: Path | None = None) -> Rules:
    """The built-in rules, extended by an operator's file where one is given. Raises ConfigError."""
    if path is None:
        return _builtin()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigError(f"{path}: rules cannot be read: {fault}") from fault
    return rules_with(text, str(path))
