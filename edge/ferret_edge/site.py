"""Where the edge is: the address of each of its NFs and of the emulated base stations.

By default every NF has an address of its own in 127.0.0.0/8, so that real ports (2123, 3868, 5060, 36412, 2152) can be
used by all of them on one machine without any right but that of binding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network

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
_FIRST_ENB = 30
_SGI = 60
MAX_ENBS = 20


@dataclass(frozen=True, slots=True)
class Site:
    """The addresses of one edge. `network` is a /24."""

    network: IPv4Network

    @classmethod
    def of(cls, network: str) -> Site:
        """Read "127.0.10.0/24". Raises ConfigError."""
        try:
            parsed = IPv4Network(network)
        except ValueError as error:
            raise ConfigError(f"edge network {network!r}: {error}") from error
        if parsed.prefixlen != 24:
            raise ConfigError(f"edge network {network!r}: a /24 is needed, such as 127.0.10.0/24")
        return cls(parsed)

    def address(self, role: Role) -> str:
        """The address of the edge NF of this role. Raises ConfigError where no edge NF has it."""
        if role not in _PLACES:
            raise ConfigError(f"no edge NF is a {role}")
        return str(self.network[_PLACES[role]])

    def enb(self, place: int) -> str:
        """The address of the emulated base station number `place` (from 0)."""
        return str(self.network[_FIRST_ENB + place % MAX_ENBS])

    @property
    def sgi(self) -> str:
        """The address at which the emulated packet data network takes what leaves the PGW."""
        return str(self.network[_SGI])

    def addresses(self) -> Mapping[str, Role]:
        """Every NF's address and its role."""
        return {self.address(role): role for role in _PLACES}

    def replay_url(self, role: Role) -> str:
        """The replay port of an NF."""
        return f"http://{self.address(role)}:{REPLAY_PORT}/replay"
