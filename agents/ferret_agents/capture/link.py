"""What a link layer carries: the network protocol of a frame and where it begins.

Link types are those of the tcpdump.org registry (LINKTYPE_). The ones that core networks are captured with are walked
here with a few slices; wireless and other odd ones are left to scapy, off the hot path.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

from ferret.errors import DecodeError

IPV4 = 0x0800
IPV6 = 0x86DD
S1AP = -1  # not an EtherType: the frame is an S1AP PDU without anything below it
EXPORTED = -2  # nor this one: a PDU that Wireshark exported, with tags of its own
USER_LINK_TYPES = range(147, 163)  # LINKTYPE_USER0 to 15; Wireshark's users put S1AP there (DLT 150 and others)

_VLAN_TAGS = frozenset((0x8100, 0x88A8, 0x9100, 0x9200, 0x9300))  # IEEE 802.1Q, 802.1ad, and QinQ before it
_MPLS = frozenset((0x8847, 0x8848))
_PPPOE_SESSION = 0x8864
_PPP_PROTOCOLS = {0x0021: IPV4, 0x0057: IPV6}
_IPV6_FAMILIES = frozenset((10, 23, 24, 28, 30))  # AF_INET6 of Linux, Windows, NetBSD, FreeBSD and Darwin
_MAX_TAGS = 8

_KINDS = {0x0806: "arp", 0x8035: "rarp", 0x88CC: "lldp", 0x8863: "pppoe discovery", 0x88F7: "ptp", 0x9000: "loop"}

Walk = Callable[[bytes], tuple[int, int]]


def kind_of(protocol: int) -> str:
    """The name that frames of a network protocol are counted under when they are ignored."""
    return _KINDS.get(protocol, f"ethertype 0x{protocol:04x}")


def ethernet(octets: bytes) -> tuple[int, int]:
    """Ethernet II, IEEE 802.3 with LLC and SNAP, VLAN tags of any kind, MPLS, PPPoE."""
    return _ether_type(octets, 12)


def _ether_type(octets: bytes, at: int) -> tuple[int, int]:
    """The protocol and start of what follows an EtherType field at `at`. Raises DecodeError where it is cut."""
    for _ in range(_MAX_TAGS):
        if at + 2 > len(octets):
            raise DecodeError("the link layer header is cut", len(octets))
        protocol = (octets[at] << 8) | octets[at + 1]
        at += 2
        if protocol in _VLAN_TAGS:
            at += 2
        elif protocol < 0x0600:
            if octets[at : at + 6] != b"\xaa\xaa\x03\x00\x00\x00":
                return protocol, at
            at += 6
        elif protocol in _MPLS:
            return _mpls(octets, at)
        elif protocol == _PPPOE_SESSION:
            return _ppp(octets, at + 6)
        else:
            return protocol, at
    raise DecodeError("too many VLAN tags", at)


def _mpls(octets: bytes, at: int) -> tuple[int, int]:
    for _ in range(_MAX_TAGS):
        if at + 4 > len(octets):
            raise DecodeError("the MPLS label stack is cut", at)
        bottom = octets[at + 2] & 1
        at += 4
        if bottom:
            return _by_version(octets, at)
    raise DecodeError("too many MPLS labels", at)


def _by_version(octets: bytes, at: int) -> tuple[int, int]:
    if at >= len(octets):
        raise DecodeError("an empty frame", at)
    version = octets[at] >> 4
    if version == 4:
        return IPV4, at
    if version == 6:
        return IPV6, at
    return 0, at


def raw(octets: bytes) -> tuple[int, int]:
    """IPv4 or IPv6 without a link layer."""
    return _by_version(octets, 0)


def cooked(octets: bytes) -> tuple[int, int]:
    """Linux cooked capture v1 (LINKTYPE_LINUX_SLL): 16 octets that end in the EtherType."""
    return _ether_type(octets, 14)


def cooked_v2(octets: bytes) -> tuple[int, int]:
    """Linux cooked capture v2 (LINKTYPE_LINUX_SLL2): 20 octets that begin with the EtherType."""
    if len(octets) < 20:
        raise DecodeError("the cooked header is cut", len(octets))
    protocol = (octets[0] << 8) | octets[1]
    if protocol in _VLAN_TAGS:
        return _ether_type(octets, 22)
    return protocol, 20


def null(octets: bytes) -> tuple[int, int]:
    """BSD loopback: an address family in the byte order of the capturing host, or of the network (LOOP)."""
    if len(octets) < 4:
        raise DecodeError("the loopback header is cut", len(octets))
    family = int.from_bytes(octets[:4], "little")
    if family > 0xFFFF:
        family = int.from_bytes(octets[:4], "big")
    if family == 2:
        return IPV4, 4
    if family in _IPV6_FAMILIES:
        return IPV6, 4
    return 0, 4


def _ppp(octets: bytes, at: int = 0) -> tuple[int, int]:
    if octets[at : at + 2] == b"\xff\x03":
        at += 2
    if at + 2 > len(octets):
        raise DecodeError("the PPP header is cut", at)
    if octets[at] & 1:  # protocol field compression, RFC 1661 section 6.5
        return _PPP_PROTOCOLS.get(octets[at], 0), at + 1
    return _PPP_PROTOCOLS.get((octets[at] << 8) | octets[at + 1], 0), at + 2


def ppp(octets: bytes) -> tuple[int, int]:
    """PPP, with or without HDLC-like framing (RFC 1662)."""
    return _ppp(octets)


def ppp_with_direction(octets: bytes) -> tuple[int, int]:
    """PPP after one octet that tells the direction."""
    return _ppp(octets, 1)


def cisco_hdlc(octets: bytes) -> tuple[int, int]:
    """Cisco HDLC: address, control, EtherType."""
    return _ether_type(octets, 2)


def ipv4_only(octets: bytes) -> tuple[int, int]:
    """LINKTYPE_IPV4."""
    return IPV4, 0


def ipv6_only(octets: bytes) -> tuple[int, int]:
    """LINKTYPE_IPV6."""
    return IPV6, 0


def user(octets: bytes) -> tuple[int, int]:
    """LINKTYPE_USER0 to 15: whatever the user says; here S1AP, or IP where it plainly is that."""
    if octets[:1] in (b"\x45", b"\x60") and len(octets) >= 20:
        return _by_version(octets, 0)
    return S1AP, 0


def exported(octets: bytes) -> tuple[int, int]:
    """LINKTYPE_WIRESHARK_UPPER_PDU."""
    return EXPORTED, 0


_WALKS: dict[int, Walk] = {
    0: null,
    1: ethernet,
    9: ppp,
    12: raw,
    14: raw,
    50: ppp,
    101: raw,
    104: cisco_hdlc,
    108: null,
    113: cooked,
    166: ppp_with_direction,
    204: ppp_with_direction,
    228: ipv4_only,
    229: ipv6_only,
    276: cooked_v2,
    252: exported,
    **dict.fromkeys(USER_LINK_TYPES, user),
}


@functools.cache
def walk_of(link_type: int) -> Walk | None:
    """The function that walks a link layer's header: frame -> (EtherType or `S1AP`, start of what it carries).

    It raises DecodeError for a frame that is too short. None for a link type that nobody here knows, scapy included.
    """
    known = _WALKS.get(link_type)
    if known is not None:
        return known
    layer = _scapy_layer(link_type)
    if layer is None:
        return None
    return functools.partial(_by_scapy, layer)


def _scapy_layer(link_type: int) -> Any:
    """Scapy's class for a link type, None if it has none. Imported late: it takes half a second."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scapy imports ciphers that cryptography deprecates
        from scapy.config import conf
        from scapy.layers import dot11, l2, ppi  # noqa: F401  importing registers them
    return conf.l2types.num2layer.get(link_type)


def _by_scapy(layer: Any, octets: bytes) -> tuple[int, int]:
    """Scapy's reading of a frame, for the sake of where the IP header in it begins."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            part = layer(octets)
            while part and part.name not in ("IP", "IPv6"):
                part = part.payload
            inner = bytes(getattr(part, "original", b"")) if part else b""
    except Exception as error:  # scapy raises anything
        raise DecodeError(f"scapy cannot read the frame: {type(error).__name__}") from error
    start = octets.find(inner) if inner else -1
    if start < 0:
        return 0, 0
    return _by_version(octets, start)
