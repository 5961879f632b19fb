"""Which services an operator has switched on, for whom, and how long a fallback may take.

    [services.volte]
    enabled = true
    subscribers = ["*"]        # IMSIs, or how they begin: "99970*"
    max_fallback_ms = 1000     # from the hold until the call runs over the edge; then it goes back to the core
    max_wait_ms = 5000         # for an edge that is busy with another call
    after_ms = 0               # how long a call has stood before it is moved: short ones are not worth it

    [services.web]
    enabled = false

A service that is not named is off.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ferret.errors import ConfigError
from ferret.records.recording import CALLS

WEB: Final = "web"
KNOWN: Final = (*CALLS, WEB)
_SUBSCRIBERS = re.compile(r"\*|\d{1,14}\*|\d{5,15}")  # IMSI: at most 15 digits (TS 23.003 clause 2.2)
_LIMITS: Final[Mapping[str, tuple[int, int]]] = {
    "max_fallback_ms": (10, 60_000),
    "max_wait_ms": (0, 600_000),
    "after_ms": (0, 3_600_000),
}


@dataclass(frozen=True, slots=True)
class ServicePolicy:
    """What an operator says of one service."""

    enabled: bool = False
    subscribers: tuple[str, ...] = ("*",)
    max_fallback_ms: int = 1000
    max_wait_ms: int = 5000
    after_ms: int = 0

    def covers(self, subscriber: str) -> bool:
        """Whether this subscriber's service may be moved. A subscriber without a known IMSI never is."""
        if not self.enabled or not subscriber.isdigit():
            return False
        return any(
            subscriber.startswith(pattern[:-1]) if pattern.endswith("*") else subscriber == pattern
            for pattern in self.subscribers
        )


@dataclass(frozen=True, slots=True)
class SwitchedServices:
    """The operator's switches."""

    policies: Mapping[str, ServicePolicy] = field(default_factory=dict)

    def policy(self, service: str, subscriber: str) -> ServicePolicy | None:
        """What holds for this subscriber's service; None where it is off."""
        found = self.policies.get(service)
        return found if found is not None and found.covers(subscriber) else None


def parse_services(text: str, source: str) -> SwitchedServices:
    """The `[services]` table of a TOML file; other tables are not looked at. `source` names the file in errors.

    Raises ConfigError with one line that names every fault.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise ConfigError(f"{source}: not a TOML file: {fault}") from fault
    return read_services(document.get("services", {}), source)


def read_services(table: object, source: str) -> SwitchedServices:
    """The same from a table that has been read. Raises ConfigError."""
    if not isinstance(table, Mapping):
        raise ConfigError(f"{source}: services are written as [services.volte] tables")
    policies: dict[str, ServicePolicy] = {}
    faults: list[str] = []
    for name, entry in table.items():
        if name not in KNOWN:
            faults.append(f"services.{name}: not a service, those are {', '.join(KNOWN)}")
        elif not isinstance(entry, Mapping):
            faults.append(f"services.{name}: must be a table")
        else:
            found = list(_faults(name, entry))
            faults += [f"services.{name}{fault}" for fault in found]
            if not found:
                policies[name] = _policy(entry)
    if faults:
        raise ConfigError(f"{source}: " + "; ".join(faults))
    return SwitchedServices(policies)


def _faults(name: str, entry: Mapping[str, Any]) -> Iterable[str]:
    for key, value in entry.items():
        match key:
            case "enabled":
                if not isinstance(value, bool):
                    yield f".{key}: must be true or false"
                elif value and name not in CALLS:
                    yield f".{key}: only calls ({', '.join(CALLS)}) can be moved to the edge"
            case "subscribers":
                yield from _subscriber_faults(value)
            case "max_fallback_ms" | "max_wait_ms" | "after_ms":
                least, most = _LIMITS[key]
                if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
                    yield f".{key}: must be a whole number from {least} to {most} (milliseconds)"
            case _:
                yield f": unknown key {key!r}"


def _subscriber_faults(value: object) -> Iterable[str]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        yield '.subscribers: must be a list of IMSIs, or ["*"]'
        return
    for number, one in enumerate(value, start=1):
        if not isinstance(one, str) or not _SUBSCRIBERS.fullmatch(one):
            yield f'.subscribers: entry {number} is neither an IMSI (digits as text) nor its beginning and "*"'


def _policy(entry: Mapping[str, Any]) -> ServicePolicy:
    values = dict(entry)
    if "subscribers" in values:
        values["subscribers"] = tuple(values["subscribers"])
    return ServicePolicy(**values)
