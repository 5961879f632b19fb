"""Which host names are which NF: a table given as configuration instead of DNS."""

from __future__ import annotations

from collections.abc import Mapping

from ferret.errors import ConfigError
from ferret.protocols import sip
from ferret.records.message import Role

DEFAULT_PORT = 5060


class Names:
    """Names and addresses of SIP peers, and which of them are this NF itself.

    `names`: host or "host:port" as it stands in a URI -> transport address "host" or "host:port".
    `roles`: transport address -> role.
    """

    def __init__(self, own: str) -> None:
        self.own = with_port(own)
        self._names: dict[str, str] = {}
        self._roles: dict[str, Role] = {}

    def add(self, names: Mapping[str, str], roles: Mapping[str, str]) -> None:
        """More entries. Raises ConfigError for an unknown role."""
        self._names.update({name.lower(): with_port(address) for name, address in names.items()})
        try:
            self._roles.update({with_port(address): Role(role) for address, role in roles.items()})
        except ValueError as error:
            raise ConfigError(f"a peer of an unknown role: {error}") from error

    def resolve(self, host: str, port: int = 0) -> str:
        """The transport address "host:port" of a host; one that is not in the table stands for itself."""
        named = self._names.get(f"{host}:{port}") if port else None
        return named or self._names.get(host) or f"{host}:{port or DEFAULT_PORT}"

    def address_of(self, uri: sip.Uri) -> str:
        """Where a request for a URI goes. `alias=address~port~transport` says it of a UE behind a connection."""
        alias = (uri.param("alias") or "").split("~")
        if len(alias) == 3 and alias[1].isascii() and alias[1].isdigit():
            return f"{alias[0]}:{alias[1]}"
        return self.resolve(uri.host, uri.port)

    def is_own(self, host: str, port: int = 0) -> bool:
        """Whether a host of a URI is this NF."""
        address = self.resolve(host, port)
        if address == self.own:
            return True
        same_host = split_address(address)[0] == split_address(self.own)[0]
        return same_host and address not in self._roles

    def role_of(self, address: str) -> Role | None:
        """The role of the NF at a transport address; None: nobody in the table."""
        full = with_port(address)
        return self._roles.get(full) or self._roles.get(with_port(full.rpartition(":")[0]))


def split_address(address: str) -> tuple[str, int]:
    """Host (IPv6 in brackets) and port of a transport address."""
    host, _, port = with_port(address).rpartition(":")
    return host, int(port)


def with_port(address: str) -> str:
    """A transport address with its port: SIP's own where none is given."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit() and (":" not in host or host.endswith("]")):
        return address.lower()
    host = address if ":" not in address or address.startswith("[") else f"[{address}]"
    return f"{host.lower()}:{DEFAULT_PORT}"
