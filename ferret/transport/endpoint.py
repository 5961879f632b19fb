"""What the transports share: addresses, their errors, and the counters of what was carried and what was not."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import TypeAlias

from ferret.errors import ConfigError, FerretError

_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33
_SOCKET_BUFFER = 4 * 1024 * 1024  # octets in each direction

Address: TypeAlias = tuple[str, int]  # host as a literal in compressed form (RFC 5952), port


class TransportError(FerretError):
    """A socket could not be opened, bound or connected. The text names the address."""


@dataclass(slots=True)
class Counters:
    """What one socket carried. Every octet string that it did not carry is in one of the last two figures."""

    sent: int = 0
    received: int = 0
    refused: int = 0  # not accepted from us: a bound was reached, or the connection is gone
    lost: int = 0  # accepted from us, but the system would not take it


def family_of(address: str) -> socket.AddressFamily:
    """AF_INET or AF_INET6. Raises ConfigError where `address` is not a literal."""
    try:
        version = ipaddress.ip_address(address).version
    except ValueError:
        raise ConfigError(f"{address!r} is not an IP address") from None
    return socket.AF_INET if version == 4 else socket.AF_INET6


def plain(name: tuple[str, int] | tuple[str, int, int, int]) -> Address:
    """A socket name without flow label and scope."""
    return name[0], name[1]


def text(address: Address) -> str:
    """An address as people write it."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def widen(sock: socket.socket) -> None:
    """Ask for large buffers: beyond the system's limit where that is permitted, else up to it."""
    for force, ask in ((_SO_RCVBUFFORCE, socket.SO_RCVBUF), (_SO_SNDBUFFORCE, socket.SO_SNDBUF)):
        try:
            sock.setsockopt(socket.SOL_SOCKET, force, _SOCKET_BUFFER)
        except OSError:
            sock.setsockopt(socket.SOL_SOCKET, ask, _SOCKET_BUFFER)


def open_failed(what: str, address: Address, error: OSError) -> TransportError:
    """Says in one line what could not be opened, where, and why."""
    return TransportError(f"{what} {text(address)}: {error.strerror or error}")
