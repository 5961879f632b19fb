"""Which interfaces there are, and what their frames begin with."""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Sequence
from typing import Final

from ferret.errors import ConfigError
from ferret_agents.live.filter import ETHERNET, RAW_IP, Interface

_SIOCGIFFLAGS: Final = 0x8913
_SIOCGIFHWADDR: Final = 0x8927
_IFF_UP: Final = 1
_IFREQ = struct.Struct("16sH14s8x")
_ARPHRD_LOOPBACK: Final = 772
_LINK_TYPES = {  # ARPHRD_ values of linux/if_arp.h whose frames a raw packet socket gives as they are
    1: ETHERNET, _ARPHRD_LOOPBACK: ETHERNET, 65534: RAW_IP, 519: RAW_IP, 768: RAW_IP, 769: RAW_IP, 776: RAW_IP,
}  # fmt: skip


def link_type_of(hardware: int) -> int | None:
    """The LINKTYPE_ value of an ARPHRD_ value; None where a raw packet socket cannot be used."""
    return _LINK_TYPES.get(hardware)


def find_interfaces(names: Sequence[str]) -> tuple[Interface, ...]:
    """What the system says of interfaces. Raises ConfigError naming every one that cannot be captured from."""
    found, faults = [], []
    for name in dict.fromkeys(names):
        try:
            found.append(_interface(name))
        except ConfigError as error:
            faults.append(str(error))
    if faults:
        raise ConfigError("; ".join(faults))
    if not found:
        raise ConfigError("no interface to capture from: name at least one, such as eth0 or lo")
    return tuple(found)


def _interface(name: str) -> Interface:
    try:
        index = socket.if_nametoindex(name)
        hardware = _hardware_type(name)
    except OSError:
        there = ", ".join(known for _, known in socket.if_nameindex())
        raise ConfigError(f"there is no interface {name!r} (there are: {there})") from None
    link_type = link_type_of(hardware)
    if link_type is None:
        raise ConfigError(f"interface {name} is of hardware type {hardware}, which cannot be captured from")
    return Interface(name, index, link_type, hardware == _ARPHRD_LOOPBACK)


def is_up(name: str, asking: socket.socket) -> bool:
    """Whether an interface is there and up, in the network namespace of a socket."""
    try:
        return bool(_ask(name, _SIOCGIFFLAGS, asking) & _IFF_UP)
    except (OSError, ValueError):  # ValueError: the socket is closed
        return False


def _hardware_type(name: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        return _ask(name, _SIOCGIFHWADDR, asking)


def _ask(name: str, request: int, asking: socket.socket) -> int:
    """By ioctl (netdevice(7)): /sys shows the interfaces of the namespace that it was mounted in."""
    answer = fcntl.ioctl(asking, request, _IFREQ.pack(name.encode(), 0, b""))
    return int(_IFREQ.unpack(answer)[1])
