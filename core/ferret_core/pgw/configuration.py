"""What an operator configures of a PGW, and what a replay reserves in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TypeAlias

from ferret.errors import ConfigError

Network: TypeAlias = IPv4Network | IPv6Network

ANY_APN = "*"

CCR_INITIAL = (
    "Subscription-Id",
    "Supported-Features",
    "Network-Request-Support",
    "Framed-IP-Address",
    "Framed-IPv6-Prefix",
    "IP-CAN-Type",
    "RAT-Type",
    "QoS-Information",
    "Default-EPS-Bearer-QoS",
    "3GPP-User-Location-Info",
    "3GPP-MS-TimeZone",
    "3GPP-SGSN-MCC-MNC",
    "AN-GW-Address",
    "Called-Station-Id",
    "Online",
    "Offline",
    "Access-Network-Charging-Address",
    "Access-Network-Charging-Identifier-Gx",
)
CCR_TERMINATION = ("Destination-Host", "Subscription-Id", "Called-Station-Id")
CCR_MORE = ("3GPP-SGSN-Address", "3GPP-GGSN-Address", "3GPP-Selection-Mode", "Bearer-Usage", "User-Equipment-Info")
CCR_NAMES = frozenset((*CCR_INITIAL, *CCR_TERMINATION, *CCR_MORE))
"""The AVPs that a PGW can say of a session in a CCR."""

GX_NUMBERS = frozenset(
    ("Network-Request-Support", "IP-CAN-Type", "Bearer-Usage", "AN-Trusted", "Online", "Offline", "Termination-Cause")
)
"""AVPs of a CCR whose number an operator may fix."""


@dataclass(frozen=True, slots=True)
class PgwConfiguration:
    """A PGW's configuration.

    `pools` gives the networks that UE addresses are drawn from, by APN, "*" for any other; an APN without a pool is
    refused. `reserved` is the address or addresses that a subscriber always gets, by IMSI and APN; they also say of
    which PDN type. `mtu` is not told to the UE when it is 0. `dual_address_flag`: give two addresses only to a UE whose
    MME sets the Dual Address Bearer Flag (TS 23.401 clause 5.3.1.1).

    Where networks differ. Gx: `ccr_initial` and `ccr_termination` name the AVPs of a CCR in order, out of `CCR_NAMES`
    (those before CC-Request-Number always stand first); `gx_numbers` fixes numbers. S5/S8: `kilobit` is how many bit/s
    a unit of GTP's bit rates is (1000; old networks mean 1), `charging_id` whether a Create Session Response tells it,
    `delete_session_pco` whether a Delete Session Response answers the options of the Create Session Request again,
    `create_bearer_instance` is the instance of the PGW's tunnel in a Create Bearer Request (TS 29.274 table 7.2.3-2: 1;
    some say 2), `first_precedence` the first evaluation precedence of a PDN connection's packet filters. The last four
    say how bearers are made: whether packet filters name the UE's own
    address (TS 24.008 clause 10.5.6.12, note on local addresses), whether a fraction of a kbit/s counts up, whether
    each PCC rule has a bearer of its own or shares that of its QCI and ARP (TS 23.203 clause 6.1.1.4), and whether the
    PCRF is told of a rule whose bearer failed (TS 29.212 clause 4.5.12).
    """

    pools: Mapping[str, tuple[Network, ...]] = field(default_factory=lambda: {ANY_APN: (IPv4Network("10.45.0.0/16"),)})
    reserved: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    dns: tuple[str, ...] = ()
    pcscf: tuple[str, ...] = ()
    mtu: int = 0
    origin_host: str = "pgw.localdomain"
    origin_realm: str = "localdomain"
    destination_realm: str = "localdomain"
    feature_list: int = 11  # Rel8, Rel9, Rel10 (TS 29.212 clause 5.4.1)
    online_charging: bool = False
    offline_charging: bool = True
    dual_address_flag: bool = False
    ccr_initial: tuple[str, ...] = CCR_INITIAL
    ccr_termination: tuple[str, ...] = CCR_TERMINATION
    gx_numbers: Mapping[str, int] = field(default_factory=dict)
    kilobit: int = 1000
    charging_id: bool = True
    delete_session_pco: bool = False
    create_bearer_instance: int = 1
    first_precedence: int = 0
    tft_local_address: bool = True
    round_bit_rates_up: bool = False
    bearer_per_rule: bool = True
    report_rule_failures: bool = False


def configured(base: PgwConfiguration, context: Mapping[str, object]) -> PgwConfiguration:
    """`base` with what `context` says. Raises ConfigError that lists every fault."""
    faults: list[str] = []
    changes: dict[str, object] = {}
    for key, value in context.items():
        reader = _READERS.get(key)
        if reader is None:
            faults.append(f"the PGW takes no {key}")
            continue
        try:
            changes |= reader(base, value)
        except (ValueError, TypeError) as error:
            faults.append(f"{key}: {error}")
    if faults:
        raise ConfigError("; ".join(faults))
    return replace(base, **changes)  # type: ignore[arg-type]  # each reader gives its field's own type


Reader: TypeAlias = Callable[[PgwConfiguration, object], Mapping[str, object]]


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TypeError("a table is needed")
    return value


def _addresses(value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise TypeError("a list of addresses is needed")
    return tuple(str(ip_address(str(one))) for one in value)


def _paa(base: PgwConfiguration, value: object) -> Mapping[str, object]:
    reserved = dict(base.reserved)
    for imsi, by_apn in _mapping(value).items():
        for apn, addresses in _mapping(by_apn).items():
            reserved[imsi, apn.lower()] = _addresses([addresses] if isinstance(addresses, str) else addresses)
    return {"reserved": reserved}


def _pools(base: PgwConfiguration, value: object) -> Mapping[str, object]:
    pools: dict[str, tuple[Network, ...]] = {}
    for apn, networks in _mapping(value).items():
        listed = [networks] if isinstance(networks, str) else networks
        if not isinstance(listed, Sequence):
            raise TypeError(f"{apn}: a network or a list of them is needed")
        pools[apn.lower()] = tuple(ip_network(str(network)) for network in listed)
    return {"pools": pools}


def _list(name: str) -> Reader:
    return lambda base, value: {name: _addresses(value)}


def _text(name: str) -> Reader:
    def read(base: PgwConfiguration, value: object) -> Mapping[str, object]:
        if not isinstance(value, str) or not value:
            raise TypeError("text is needed")
        return {name: value}

    return read


def _flag(name: str) -> Reader:
    def read(base: PgwConfiguration, value: object) -> Mapping[str, object]:
        if not isinstance(value, bool):
            raise TypeError("true or false is needed")
        return {name: value}

    return read


def _number(name: str, lowest: int, highest: int) -> Reader:
    def read(base: PgwConfiguration, value: object) -> Mapping[str, object]:
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise ValueError(f"a number from {lowest} to {highest} is needed")
        return {name: value}

    return read


def _names(name: str) -> Reader:
    def read(base: PgwConfiguration, value: object) -> Mapping[str, object]:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise TypeError("a list of AVP names is needed")
        unknown = [str(one) for one in value if one not in CCR_NAMES | GX_NUMBERS]
        if unknown:
            raise ValueError(f"a PGW cannot say {', '.join(unknown)}")
        return {name: tuple(map(str, value))}

    return read


def _gx_numbers(base: PgwConfiguration, value: object) -> Mapping[str, object]:
    numbers: dict[str, int] = {}
    for name, number in _mapping(value).items():
        if name not in GX_NUMBERS:
            raise ValueError(f"{name} is no number of an operator's choice")
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= 0xFFFFFFFF:
            raise ValueError(f"{name}: a number is needed")
        numbers[name] = number
    return {"gx_numbers": numbers}


_READERS: dict[str, Reader] = {
    "paa": _paa,
    "pools": _pools,
    "dns": _list("dns"),
    "pcscf": _list("pcscf"),
    "mtu": _number("mtu", 0, 0xFFFF),
    "feature_list": _number("feature_list", 0, 0xFFFFFFFF),
    "kilobit": _number("kilobit", 1, 1024),
    "create_bearer_instance": _number("create_bearer_instance", 0, 15),
    "first_precedence": _number("first_precedence", 0, 254),
    "ccr_initial": _names("ccr_initial"),
    "ccr_termination": _names("ccr_termination"),
    "gx_numbers": _gx_numbers,
    **{name: _text(name) for name in ("origin_host", "origin_realm", "destination_realm")},
    **{
        name: _flag(name)
        for name in (
            "online_charging",
            "offline_charging",
            "dual_address_flag",
            "charging_id",
            "delete_session_pco",
            "tft_local_address",
            "round_bit_rates_up",
            "bearer_per_rule",
            "report_rule_failures",
        )
    },
}
