"""How a device gets its IPv6 prefix: Router Solicitation and Advertisement (RFC 4861, TS 23.401 clause 5.3.1.2.2).

The network gives a device an interface identifier in NAS, from which it makes its link-local address; with that it asks
the PGW on the default bearer, and the PGW advertises the one /64 that is the device's alone.
"""

from __future__ import annotations

import struct
from ipaddress import IPv6Address, IPv6Network
from typing import Final

from ferret_core.ip import checksum, ip_payload

ICMPV6: Final = 58
_SOLICITATION, _ADVERTISEMENT = 133, 134
_PREFIX_INFORMATION: Final = 3  # RFC 4861 clause 4.6.2
_AUTONOMOUS: Final = 0x40  # flag A; L stays clear: nobody else is on the link (TS 29.061 clause 11.2.1.3.2)
_FOR_EVER: Final = 0xFFFFFFFF
_ROUTER_LIFETIME: Final = 9000  # seconds, the longest (RFC 4861 clause 6.2.1)
_ALL_ROUTERS: Final = "ff02::2"
_ROUTER: Final = "fe80::ffff:ffff:ffff:fffe"  # ours, of the PGW: no UE gets this interface identifier
_HOP_LIMIT: Final = 255  # anything else has been forwarded, and is not believed (RFC 4861 clause 6.1)


def link_local(identifier: bytes) -> str:
    """The link-local address of an interface identifier (8 octets)."""
    return str(IPv6Address(b"\xfe\x80" + bytes(6) + identifier))


def solicitation(identifier: bytes) -> bytes:
    """The IP packet by which a device asks for its prefix."""
    return _packet(link_local(identifier), _ALL_ROUTERS, struct.pack("!BBHI", _SOLICITATION, 0, 0, 0))


def solicited_by(packet: bytes) -> str | None:
    """The link-local address that asks, if the packet is a Router Solicitation; otherwise None."""
    found = _message(packet, _SOLICITATION, 8)
    return found[0] if found is not None and IPv6Address(found[0]).is_link_local else None


def advertisement(prefix: str, to: str) -> bytes:
    """The IP packet by which a PGW tells a device its prefix ("2001:db8::/64")."""
    network = IPv6Network(prefix)
    head = struct.pack("!BBHBBHII", _ADVERTISEMENT, 0, 0, 64, 0, _ROUTER_LIFETIME, 0, 0)
    lifetimes = (_FOR_EVER, _FOR_EVER)
    option = struct.pack("!BBBBIII", _PREFIX_INFORMATION, 4, network.prefixlen, _AUTONOMOUS, *lifetimes, 0)
    return _packet(_ROUTER, to, head + option + network.network_address.packed)


def advertised_prefix(packet: bytes) -> str:
    """The prefix for addresses of one's own in a Router Advertisement; "" where there is none."""
    found = _message(packet, _ADVERTISEMENT, 16)
    if found is None or not IPv6Address(found[0]).is_link_local:
        return ""
    octets, at = found[1], 16
    while at + 2 <= len(octets) and octets[at + 1]:
        option = octets[at : at + 8 * octets[at + 1]]
        if option[0] == _PREFIX_INFORMATION and len(option) == 32 and option[2] == 64 and option[3] & _AUTONOMOUS:
            return f"{IPv6Address(option[16:24] + bytes(8))}/64"
        at += len(option)
    return ""


def address_in(prefix: str, identifier: bytes) -> str:
    """The address of this interface identifier in a /64."""
    return str(IPv6Address(IPv6Network(prefix).network_address.packed[:8] + identifier))


def _packet(source: str, destination: str, message: bytes) -> bytes:
    ends = IPv6Address(source).packed + IPv6Address(destination).packed
    total = checksum(ends + len(message).to_bytes(4, "big") + ICMPV6.to_bytes(4, "big") + message)
    message = message[:2] + total.to_bytes(2, "big") + message[4:]
    return struct.pack("!IHBB", 6 << 28, len(message), ICMPV6, _HOP_LIMIT) + ends + message


def _message(packet: bytes, kind: int, length: int) -> tuple[str, bytes] | None:
    """Source and octets of an ICMPv6 message of this kind that comes from the link itself, undamaged."""
    found = ip_payload(packet)
    if found is None or found.protocol != ICMPV6 or ":" not in found.source or packet[7] != _HOP_LIMIT:
        return None
    octets = found.payload
    ends = IPv6Address(found.source).packed + IPv6Address(found.destination).packed
    total = checksum(ends + len(octets).to_bytes(4, "big") + ICMPV6.to_bytes(4, "big") + octets)
    if len(octets) < length or octets[0] != kind or octets[1] or total:
        return None
    return found.source, octets
