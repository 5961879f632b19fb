"""Links, addresses and routes by rtnetlink (RFC 3549, linux/rtnetlink.h): what `ip` does, where `ip` is not installed.

Every function acts in the network namespace of the calling thread, and raises PlaceError where the kernel refuses.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Final

from ferret.errors import FerretError

_NEW_LINK, _NEW_ADDRESS, _NEW_ROUTE = 16, 20, 24
_REQUEST_ACK, _CREATE, _EXCLUSIVE = 0x5, 0x400, 0x200
_ERROR: Final = 2
_UP, _NO_ARP, _MULTICAST = 0x1, 0x80, 0x1000
_NODAD: Final = 0x02
_TABLE_MAIN, _TABLE_LOCAL = 254, 255
_PROTOCOL_STATIC: Final = 4
_SCOPE_UNIVERSE, _SCOPE_LINK, _SCOPE_HOST = 0, 253, 254
_UNICAST, _LOCAL = 1, 2
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINKINFO, _IFLA_AF_SPEC, _IFLA_NET_NS_FD = 1, 3, 4, 18, 26, 28
_INFO_KIND, _INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_INET6_ADDR_GEN_MODE, _ADDR_GEN_MODE_NONE = 8, b"\1"
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF, _RTA_PREFSRC = 1, 4, 7
_SIOCETHTOOL: Final = 0x8946
_ETHTOOL_STXCSUM: Final = 0x17
_IPV6_NONLOCAL_BIND: Final = Path("/proc/sys/net/ipv6/ip_nonlocal_bind")


class PlaceError(FerretError):
    """A namespace, link, address or route could not be had."""


def create_veth(name: str, mac: bytes, *, peer: str, peer_mac: bytes, peer_namespace: int, mtu: int) -> None:
    """Make a pair of Ethernet interfaces: `name` here, `peer` in the namespace of that file descriptor."""
    far = _interface() + _text(_IFLA_IFNAME, peer) + _attribute(_IFLA_ADDRESS, peer_mac)
    far += _number(_IFLA_MTU, mtu) + _number(_IFLA_NET_NS_FD, peer_namespace)
    kind = _text(_INFO_KIND, "veth") + _attribute(_INFO_DATA, _attribute(_VETH_INFO_PEER, far))
    near = _interface() + _text(_IFLA_IFNAME, name) + _attribute(_IFLA_ADDRESS, mac) + _number(_IFLA_MTU, mtu)
    near += _attribute(_IFLA_LINKINFO, kind)
    _request(_NEW_LINK, _CREATE | _EXCLUSIVE, near, f"cannot make interface {name}")


def set_up(name: str) -> None:
    """Switch an interface on."""
    index = socket.if_nametoindex(name)
    _request(_NEW_LINK, 0, _interface(index, flags=_UP, change=_UP), f"cannot switch {name} on")


def set_quiet(name: str) -> None:
    """No address resolution, no multicast, nothing that IPv6 says of itself: one wire, one neighbour."""
    body = _interface(socket.if_nametoindex(name), flags=_NO_ARP, change=_NO_ARP | _MULTICAST)
    if socket.has_ipv6 and Path("/proc/sys/net/ipv6").exists():
        body += _no_autoconfiguration()
    _request(_NEW_LINK, 0, body, f"cannot configure {name}")


def switch_checksums_on(name: str) -> None:
    """Let the kernel compute checksums (and cut segments) itself: no hardware behind this interface will do it."""
    value = ctypes.create_string_buffer(struct.pack("=II", _ETHTOOL_STXCSUM, 0))
    request = struct.pack("16sP16x", name.encode(), ctypes.addressof(value))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            fcntl.ioctl(sock, _SIOCETHTOOL, request)
        except OSError as error:
            raise PlaceError(f"cannot switch checksum offload of {name} off: {error.strerror}") from error


def add_address(name: str, address: str) -> None:
    """Give an interface an address, such as 10.10.0.1/32."""
    interface = ip_interface(address)
    family = socket.AF_INET if interface.version == 4 else socket.AF_INET6
    flags = _NODAD if interface.version == 6 else 0
    index = socket.if_nametoindex(name)
    body = struct.pack("=BBBBi", family, interface.network.prefixlen, flags, _SCOPE_UNIVERSE, index)
    body += _attribute(_IFA_LOCAL, interface.packed) + _attribute(_IFA_ADDRESS, interface.packed)
    _request(_NEW_ADDRESS, _CREATE | _EXCLUSIVE, body, f"cannot add {address} to {name}")


def add_local_prefix(prefix: str) -> None:
    """Make every address of a prefix this host's own, as 127.0.0.0/8 is: any of them can be bound."""
    body = _route(prefix, _TABLE_LOCAL, _SCOPE_HOST, _LOCAL) + _number(_RTA_OIF, socket.if_nametoindex("lo"))
    _request(_NEW_ROUTE, _CREATE | _EXCLUSIVE, body, f"cannot make {prefix} local")


def allow_ipv6_binding() -> None:
    """Let sockets bind IPv6 addresses that are local by prefix, as IPv4 allows anyway."""
    try:
        _IPV6_NONLOCAL_BIND.write_text("1")
    except OSError as error:
        raise PlaceError(f"cannot write {_IPV6_NONLOCAL_BIND}: {error.strerror}") from error


def add_route(prefix: str, interface: str, *, source: str | None = None) -> None:
    """Send what is for a prefix out of an interface; `source` is the address of sockets that are not bound."""
    scope = _SCOPE_UNIVERSE if ":" in prefix else _SCOPE_LINK
    body = _route(prefix, _TABLE_MAIN, scope, _UNICAST) + _number(_RTA_OIF, socket.if_nametoindex(interface))
    if source is not None:
        body += _attribute(_RTA_PREFSRC, ip_interface(source).packed)
    _request(_NEW_ROUTE, _CREATE | _EXCLUSIVE, body, f"cannot route {prefix} to {interface}")


def _request(kind: int, flags: int, body: bytes, what: str) -> None:
    """Send one request and read its acknowledgement."""
    header = struct.pack("=IHHII", 16 + len(body), kind, _REQUEST_ACK | flags, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        try:
            sock.bind((0, 0))
            sock.send(header + body)
            answer = sock.recv(65536)
        except OSError as error:
            raise PlaceError(f"{what}: {error.strerror}") from error
    if len(answer) < 20 or struct.unpack_from("=H", answer, 4)[0] != _ERROR:
        raise PlaceError(f"{what}: the kernel's answer is not understood")
    status = -struct.unpack_from("=i", answer, 16)[0]
    if status:
        raise PlaceError(f"{what}: {os.strerror(status)}")


def _interface(index: int = 0, *, flags: int = 0, change: int = 0) -> bytes:
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, flags, change)


def _route(prefix: str, table: int, scope: int, kind: int) -> bytes:
    network = ip_network(prefix)
    family = socket.AF_INET if network.version == 4 else socket.AF_INET6
    length = network.prefixlen
    head = struct.pack("=BBBBBBBBI", family, length, 0, 0, table, _PROTOCOL_STATIC, scope, kind, 0)
    return head + (_attribute(_RTA_DST, network.network_address.packed) if length else b"")


def _no_autoconfiguration() -> bytes:
    """No IPv6 link-local address, and so no router solicitations."""
    mode = _attribute(_INET6_ADDR_GEN_MODE, _ADDR_GEN_MODE_NONE)
    return _attribute(_IFLA_AF_SPEC, _attribute(socket.AF_INET6, mode))


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("=I", value))
