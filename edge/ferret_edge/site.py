"""Where the edge is: the address of each of its NFs and of the emulated base stations.

By default every NF has an address of its own in 127.0.0.0/8, so that real ports (2123, 3868, 5060, 36412, 2152) can be
used by all of them on one machine without any right but that of binding. The CSCFs may speak SIP over IPv6.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

from ferret.errors import ConfigError
from ferret.records.message import Role
from ferret_core.driver.ports import S1AP_PORT, SIP_PORT

__all__ = ["MAX_ENBS", "REPLAY_PORT", "S1AP_PORT", "SIP_PORT", "Site"]

REPLAY_PORT = 7700

# The last octet of each NF's address; base stations follow from FIRST_ENB.
_PLACES: Mapping[Role, int] = {
    Role.MME: 2,
    Role.SGW: 3,
    Role.PGW: 4,
    Role.PCRF: 9,
    Role.SCSCF: 20,
    Role.PCSCF: 21,
}
_SIP_ROLES = (Role.SCSCF, Role.PCSCF)
_FIRST_ENB = 30
_SGI = 60
MAX_ENBS = 20


@dataclass(frozen=True, slots=True)
class Site:
    """The addresses of one edge. `network` is a /24; `ipv6`, if given, a /64 in which the CSCFs speak SIP."""

    network: IPv4Network
    ipv6: IPv6Network | None = field(default=None, kw_only=True)

    @classmethod
    def of(cls, network: str, ipv6: str = "") -> Site:
        """Read "127.0.10.0/24", and perhaps "2001:db8:20::/64". Raises ConfigError."""
        try:
            parsed = IPv4Network(network)
            second = IPv6Network(ipv6) if ipv6 else None
        except ValueError as error:
            raise ConfigError(f"edge network {ipv6 or network!r}: {error}") from error
        if parsed.prefixlen != 24:
            raise ConfigError(f"edge network {network!r}: a /24 is needed, such as 127.0.10.0/24")
        if second is not None and second.prefixlen != 64:
            raise ConfigError(f"edge network {ipv6!r}: a /64 is needed, such as 2001:db8:20::/64")
        return cls(parsed, ipv6=second)

    def address(self, role: Role) -> str:
        """The address of the edge NF of this role. Raises ConfigError where no edge NF has it."""
        if role not in _PLACES:
            raise ConfigError(f"no edge NF is a {role}")
        return str(self.network[_PLACES[role]])

    def sip_address(self, role: Role) -> str:
        """The address at which the edge NF of this role speaks SIP. Raises ConfigError where no edge NF has it."""
        if self.ipv6 is not None and role in _SIP_ROLES:
            return str(self.ipv6[_PLACES[role]])
        return self.address(role)

    def enb(self, place: int) -> str:
        """The address of the emulated base station number `place` (from 0)."""
        return str(self.network[_FIRST_ENB + place % MAX_ENBS])

    @property
    def sgi(self) -> str:
        """The address at which the emulated packet data network takes what leaves the PGW."""
        return str(self.network[_SGI])

    def addresses(self) -> Mapping[str, Role]:
        """Every address of every NF, and its role."""
        return {address: role for role in _PLACES for address in (self.address(role), self.sip_address(role))}

    def replay_url(self, role: Role) -> str:
        """The replay port of an NF."""
        return f"http://{self.address(role)}:{REPLAY_PORT}/replay"
