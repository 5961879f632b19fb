"""Which foreign NFs a recording is replayed at, and where FERRET stands in for the NFs around them.

    --target sgw=127.0.0.3 --target pcrf=10.0.0.9:3873      or      [targets] in a configuration file
    --local 127.0.46.0/24 | 10.0.0.5 | mme=10.0.0.5:2123              [local]
    --identity pgw=smf.epc.mnc001.mcc001.3gppnetwork.org              [identities]

A stand-in has an address of its own unless a single one is given for all of them; its port is the protocol's own unless
one is given.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any, Final

from ferret.errors import ConfigError
from ferret.records.message import Endpoint, Role

DEFAULT_NETWORK: Final = "127.0.46.0/24"
"""Where stand-ins are for targets on loopback addresses: always the same, so that targets can be configured."""

NAMES: Final[Mapping[str, Role]] = {
    "mme": Role.MME,
    "sgw": Role.SGW,
    "sgwc": Role.SGW,
    "pgw": Role.PGW,
    "pgwc": Role.PGW,
    "smf": Role.PGW,  # Open5GS: one process is SMF and PGW-C
    "pcrf": Role.PCRF,
    "pcscf": Role.PCSCF,
    "scscf": Role.SCSCF,
}
"""The NFs that can be targets, by what operators call them."""

STAND_IN_NAMES: Final[Mapping[str, Role]] = {
    **NAMES,
    "enb": Role.ENB,
    "ue": Role.UE,
    "hss": Role.HSS,
    "icscf": Role.ICSCF,
    "remote": Role.REMOTE,
    "af": Role.AF,
}

LAST_OCTETS: Final[Mapping[Role, int]] = {
    Role.MME: 2,
    Role.SGW: 3,
    Role.PGW: 4,
    Role.HSS: 8,
    Role.PCRF: 9,
    Role.ICSCF: 19,
    Role.SCSCF: 20,
    Role.PCSCF: 21,
    Role.AF: 21,  # of an IMS, the P-CSCF is the AF (TS 23.203 clause 6.2.3)
    Role.ENB: 30,
    Role.UE: 40,
    Role.REMOTE: 90,
    Role.UNKNOWN: 91,
}
"""The last octet of each stand-in's address in a network of their own."""

DEFAULT_PORTS: Final[Mapping[Role, int]] = {
    Role.MME: 36412,
    Role.SGW: 2123,
    Role.PGW: 2123,
    Role.PCRF: 3868,
    Role.PCSCF: 5060,
    Role.SCSCF: 5060,
}
"""Where a target listens if nothing else is said: TS 36.412 clause 7, TS 29.274, RFC 6733, RFC 3261."""


@dataclass(frozen=True, slots=True)
class Target:
    """One foreign NF. `port` is that of the protocol in which most of its input comes."""

    role: Role
    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.role} {Endpoint(self.address, self.port)}"


@dataclass(frozen=True, slots=True)
class StandIns:
    """Where FERRET stands in for the NFs around the targets, and what they are called in Diameter."""

    network: str = DEFAULT_NETWORK  # a /24, or one address for all
    places: Mapping[Role, Endpoint] = field(default_factory=dict)  # exceptions; port 0: the protocol's own
    identities: Mapping[Role, str] = field(default_factory=dict)  # Origin-Host; "" or absent: as recorded

    def address(self, role: Role) -> str:
        """The address of the stand-in for this role."""
        given = self._given(role)
        if given is not None:
            return given.address
        network = ip_network(self.network)
        if network.num_addresses == 1:
            return str(network.network_address)
        return str(network[LAST_OCTETS[role]])

    def port(self, role: Role, default: int) -> int:
        """The port of the stand-in for this role where the protocol's own is `default`."""
        given = self._given(role)
        return given.port if given is not None and given.port else default

    def _given(self, role: Role) -> Endpoint | None:
        given = self.places.get(role)
        return self.places.get(Role.PCSCF) if given is None and role is Role.AF else given

    @property
    def alone(self) -> bool:
        """Whether all share one address."""
        return ip_network(self.network).num_addresses == 1


@dataclass(frozen=True, slots=True)
class ForeignSetting:
    """Everything that is said about foreign NFs."""

    targets: tuple[Target, ...]
    stand_ins: StandIns

    @property
    def roles(self) -> frozenset[Role]:
        """The roles of the targets."""
        return frozenset(target.role for target in self.targets)

    def target(self, role: Role) -> Target:
        """The target of this role. Raises ConfigError where there is none."""
        for one in self.targets:
            if one.role is role:
                return one
        raise ConfigError(f"no target is a {role}")


def read_setting(
    targets: Iterable[str], local: Iterable[str] = (), identities: Iterable[str] = (), text: str = ""
) -> ForeignSetting:
    """From options and a configuration file's text (options win). Raises ConfigError that lists every fault."""
    file = _file(text)
    faults: list[str] = []
    found: dict[Role, Target] = {}
    for one in [*file["targets"], *targets]:
        _collect(faults, found, one, _target)
    places: dict[Role, Endpoint] = {}
    network = ""
    for one in [*file["local"], *local]:
        if "=" in one:
            _collect(faults, places, one, _place)
        else:
            network = _network(one, faults)
    named: dict[Role, str] = {}
    for one in [*file["identities"], *identities]:
        _collect(faults, named, one, _identity)
    if len({(t.address, t.port) for t in found.values()}) < len(found):
        faults.append("two targets have the same address and port")
    if faults:
        raise ConfigError("; ".join(faults))
    return ForeignSetting(tuple(found.values()), StandIns(network or DEFAULT_NETWORK, places, named))


def _collect(faults: list[str], table: dict[Role, Any], text: str, read: Any) -> None:
    try:
        role, value = read(text)
    except ConfigError as error:
        faults.append(str(error))
    else:
        table[role] = value


def _target(text: str) -> tuple[Role, Target]:
    role, value = _pair(text, NAMES, "target")
    endpoint = _endpoint(value, f"target {text!r}")
    return role, Target(role, endpoint.address, endpoint.port or DEFAULT_PORTS[role])


def _place(text: str) -> tuple[Role, Endpoint]:
    role, value = _pair(text, STAND_IN_NAMES, "local")
    return role, _endpoint(value, f"local {text!r}")


def _identity(text: str) -> tuple[Role, str]:
    role, value = _pair(text, STAND_IN_NAMES, "identity")
    if not value or any(letter.isspace() for letter in value):
        raise ConfigError(f"identity {text!r}: a DiameterIdentity is needed, such as smf.example.org")
    return role, value


def _pair(text: str, names: Mapping[str, Role], what: str) -> tuple[Role, str]:
    name, equals, value = text.partition("=")
    role = names.get(name.strip().lower().replace("-", ""))
    if not equals or role is None:
        raise ConfigError(f"{what} {text!r}: NF=… is needed, NF one of {', '.join(names)}")
    return role, value.strip()


def _endpoint(text: str, where: str) -> Endpoint:
    """ "host", "host:port" or "[v6]:port", the host as an address."""
    host, port = text, "0"
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or "0"
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        address = str(ip_address(host))
    except ValueError:
        raise ConfigError(f"{where}: {host!r} is not an IP address") from None
    if not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"{where}: {port!r} is not a port")
    return Endpoint(address, int(port))


def _network(text: str, faults: list[str]) -> str:
    try:
        found = ip_network(text)
    except ValueError as error:
        faults.append(f"local {text!r}: {error}")
        return ""
    if found.num_addresses not in (1, 256):
        faults.append(f"local {text!r}: a /24 or a single address is needed")
        return ""
    return str(found)


_TABLES: Final = ("targets", "local", "identities")


def _file(text: str) -> dict[str, list[str]]:
    """The tables of a configuration file as options would give them. Raises ConfigError."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"configuration: {error}") from error
    faults = [f"configuration: unknown table or key {key!r}" for key in tables if key not in _TABLES]
    made: dict[str, list[str]] = {name: [] for name in _TABLES}
    for name in _TABLES:
        table = tables.get(name, {})
        if not isinstance(table, dict):
            faults.append(f"configuration: [{name}] is not a table")
            continue
        for key, value in table.items():
            if not isinstance(value, str):
                faults.append(f"configuration: {name}.{key} is not text")
            elif name == "local" and key == "network":
                made[name].append(value)
            else:
                made[name].append(f"{key}={value}")
    if faults:
        raise ConfigError("; ".join(faults))
    return made
