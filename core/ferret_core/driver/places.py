"""Where the lab's core is: an address for each NF, base station, party; and the networks that UEs get addresses from.

By default every NF has an address of its own in 127.0.0.0/8, and so have the UEs: real ports can be used by all of them
on one machine without any right but that of binding. In network namespaces the addresses are those of the interfaces.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from ferret.errors import ConfigError
from ferret.records.message import Role

# The last octet of each NF's address in a /24 of its own.
_LAST_OCTETS: Final[Mapping[Role, int]] = {
    Role.HSS: 8,
    Role.MME: 2,
    Role.SGW: 3,
    Role.PGW: 4,
    Role.PCRF: 9,
    Role.ICSCF: 19,
    Role.SCSCF: 20,
    Role.PCSCF: 21,
    Role.ENB: 30,
    Role.REMOTE: 90,
}
_SIP_ROLES: Final = (Role.ICSCF, Role.SCSCF, Role.PCSCF, Role.REMOTE)
CORE_ROLES: Final[tuple[Role, ...]] = (
    Role.HSS,
    Role.PCRF,
    Role.MME,
    Role.SGW,
    Role.PGW,
    Role.ICSCF,
    Role.SCSCF,
    Role.PCSCF,
)
"""The NFs of the core, those first that others connect to."""


@dataclass(frozen=True, slots=True)
class Places:
    """Addresses by role (the first base station's, the remote party's too), and networks of UEs by APN.

    `diameter`: addresses for Diameter of NFs that have others besides, such as a CSCF that speaks SIP over IPv6.
    """

    addresses: Mapping[Role, str]
    pools: Mapping[str, str] = field(default_factory=dict)
    ipv6_pools: Mapping[str, str] = field(default_factory=dict)  # each UE has a /64 of them
    diameter: Mapping[Role, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        given = (*self.addresses.items(), *self.diameter.items())
        faults = [f"address of the {role}: {fault}" for role, one in given if (fault := _fault(one))]
        faults += [
            f"network of {apn}: {fault}"
            for apn, one in (*self.pools.items(), *self.ipv6_pools.items())
            if (fault := _fault(one, network=True))
        ]
        if faults:
            raise ConfigError("; ".join(faults))

    @classmethod
    def loopback(cls, network: str = "127.0.20.0/24") -> Places:
        """Everything on loopback addresses of one /24; the two /24 behind it are the UEs'. Raises ConfigError."""
        made = cls.within(network)
        if not IPv4Network(network).is_loopback:
            raise ConfigError(f"core network {network!r}: a /24 of 127.0.0.0/8 is needed, such as 127.0.20.0/24")
        return made

    @classmethod
    def within(cls, network: str) -> Places:
        """Everything at addresses of one /24; the two /24 behind it are the UEs'. Raises ConfigError."""
        try:
            own = IPv4Network(network)
        except ValueError as error:
            raise ConfigError(f"core network {network!r}: {error}") from error
        if own.prefixlen != 24:
            raise ConfigError(f"core network {network!r}: a /24 is needed, such as 127.0.20.0/24")
        addresses = {role: str(own[octet]) for role, octet in _LAST_OCTETS.items()}
        first, second = (IPv4Network((int(own[0]) + 256 * place, 24)) for place in (1, 2))
        return cls(addresses, {"internet": str(first), "ims": str(second)})

    @classmethod
    def with_ipv6(cls, network: str, prefix: str) -> Places:
        """As `loopback`, but the IMS and the remote party have IPv6 addresses of a /48, and so have UEs on ims.

        The machine must have them (`ip -6 addr add ADDRESS/128 dev lo`). Raises ConfigError.
        """
        base = cls.loopback(network)
        try:
            own = IPv6Network(prefix)
        except ValueError as error:
            raise ConfigError(f"IPv6 network {prefix!r}: {error}") from error
        if own.prefixlen != 48:
            raise ConfigError(f"IPv6 network {prefix!r}: a /48 is needed")
        sip = {role: str(own[_LAST_OCTETS[role]]) for role in _SIP_ROLES}
        ues = IPv6Network((int(own[0]) + (1 << 72), 56))  # 256 of /64 each
        return cls({**base.addresses, **sip}, base.pools, {"ims": str(ues)}, base.addresses)

    def diameter_address(self, role: Role) -> str:
        """The address for Diameter of the NF of this role. Raises ConfigError where it has none."""
        return self.diameter.get(role) or self.address(role)

    def addresses_of(self, role: Role) -> tuple[str, ...]:
        """Every address of the NF of this role."""
        return tuple(dict.fromkeys((self.address(role), self.diameter_address(role))))

    def address(self, role: Role) -> str:
        """The address of the NF of this role. Raises ConfigError where it has none."""
        if role not in self.addresses:
            raise ConfigError(f"no address is given for the {role}")
        return self.addresses[role]


def _fault(text: str, *, network: bool = False) -> str:
    """What is wrong with an address or network; "" where nothing is."""
    try:
        ip_network(text) if network else ip_address(text)
    except ValueError as error:
        return str(error)
    return ""
