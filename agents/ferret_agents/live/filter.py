"""The kernel filter of an agent: which frames of an interface are worth a look, from addresses and ports.

It must never reject what a message could need, so where a port cannot be seen for certain it lets a packet of the NF's
addresses through: every IP fragment (also the first: without it the others are damage), IPv6 extension headers, ESP,
IP in IP, GRE, VXLAN, GTP-U extension headers, MPLS, PPPoE, more VLAN tags than are walked here. What is let through
too much costs a little time; the dissector finds out what it is.

At a mirror port (`mirrored`) the NF's addresses are inside: GRE, ERSPAN and VXLAN of any addresses are let through, and
fragments that could be of theirs.

A user's own expression (pcap-filter(7)) narrows that further, but only for whole packets whose ports could be seen: it
cannot tear a datagram, a stream or a tunnel apart.

GTP-U is let through where port 2152 is among the ports, and of it only the packets that could be signalling: those
inside with one of the ports, and all of which that cannot be seen. So the user plane stays in the kernel.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from ferret.errors import ConfigError
from ferret_agents.live.bpf import INTERFACE_INDEX, PACKET_TYPE, Assembler, Instruction, Op
from ferret_agents.live.expression import compile_expression

ETHERNET, RAW_IP = 1, 101  # LINKTYPE_ETHERNET, LINKTYPE_RAW
WHOLE_FRAME = 0x40000  # octets; more than any frame has
GTPU_PORT = 2152
DEFAULT_PORTS = (2123, 3868, 5060, 5061, 36412)
"""GTPv2-C, Diameter, SIP, SIP over TLS (to be counted), S1AP. Without the user plane's port."""

_PACKET_OUTGOING = 4
_VLAN_TAGS = (0x8100, 0x88A8, 0x9100, 0x9200, 0x9300)
_WALKED_TAGS = 4
_IPV4, _IPV6 = 0x0800, 0x86DD
_LABELLED = (0x8847, 0x8848, 0x8864)  # MPLS, PPPoE sessions
_WITH_PORTS = (6, 17, 132)  # TCP, UDP, SCTP
_UDP = 17
_GRE = 47
_OPAQUE = (4, 41, _GRE, 50)  # IPv4 and IPv6 in IP, GRE, ESP
_IPV6_EXTENSIONS = (0, 43, 44, 51, 60, 135, 139, 140)  # those that the dissector walks (fragment among them)
_VXLAN = 4789
_UDP_ENCAPSULATIONS = (9899, 4500, _VXLAN)  # SCTP in UDP (RFC 6951), ESP in UDP (RFC 3948)
_TRANSPORT, _HEADER = 0, 1  # words of BPF memory: which transport protocol it is, where the IP header begins


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface that is captured from."""

    name: str
    index: int
    link_type: int = ETHERNET
    is_loopback: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an agent looks at: packets from or to these addresses, from or to these ports."""

    addresses: tuple[str, ...]  # IPv4 and IPv6; none: any
    ports: tuple[int, ...] = DEFAULT_PORTS  # none: any
    mirrored: bool = False  # also what others have packed into GRE, ERSPAN or VXLAN, between whomever
    expression: str = ""  # of the user, pcap-filter(7): of what has one of the ports, only this

    def __post_init__(self) -> None:
        for address in self.addresses:
            try:
                ipaddress.ip_address(address)
            except ValueError:
                raise ConfigError(f"{address!r} is not an IP address") from None
        for port in self.ports:
            if not 0 < port < 65536:
                raise ConfigError(f"a port lies between 1 and 65535, not at {port}")


def build(wanted: Wanted, interfaces: Sequence[Interface]) -> tuple[Instruction, ...]:
    """The program for a socket that is bound to one interface, or, where there are several, to none.

    Raises ConfigError where it becomes longer than the kernel takes, and for a user's expression that says nothing.
    """
    own: tuple[Instruction, ...] = ()
    if wanted.expression:
        link_types = {interface.link_type for interface in interfaces}
        if len(link_types) > 1:
            raise ConfigError("a filter expression needs interfaces of one kind: give each a section of its own")
        own = compile_expression(wanted.expression, link_types.pop())
    return _Builder(wanted, own).build(interfaces)


class _Builder:
    """Writes the program from top to bottom. X holds where the header that is looked at begins."""

    def __init__(self, wanted: Wanted, own: Sequence[Instruction] = ()) -> None:
        self._wanted = wanted
        self._own = own
        self._matched = "own" if own else "accept"  # where a packet goes whose ports can be seen, and are right
        parsed = sorted({ipaddress.ip_address(address) for address in wanted.addresses}, key=lambda a: a.packed)
        self._ipv4 = [address.packed for address in parsed if address.version == 4]
        self._ipv6 = [address.packed for address in parsed if address.version == 6]
        self._ports = sorted(set(wanted.ports))
        self._asm = Assembler()

    def build(self, interfaces: Sequence[Interface]) -> tuple[Instruction, ...]:
        self._choose_by_interface(interfaces)
        self._ethernet()
        self._raw()
        self._ipv4_packet()
        self._ipv6_packet()
        self._udp()
        self._tunnel()
        self._look_at_ports()
        if self._own:
            asm = self._asm
            asm.label("own")
            asm.include(self._own, "accept", "reject")
        self._asm.label("accept")
        self._asm.emit(Op.RETURN, WHOLE_FRAME)
        self._asm.label("reject")
        self._asm.emit(Op.RETURN, 0)
        return self._asm.program()

    def _choose_by_interface(self, interfaces: Sequence[Interface]) -> None:
        asm = self._asm
        for interface in interfaces:
            other = asm.fresh("other interface")
            if len(interfaces) > 1:
                asm.emit(Op.LD_WORD, INTERFACE_INDEX)
                asm.jump_unless(Op.JUMP_EQUAL, interface.index, other)
            if interface.is_loopback:  # a loopback interface shows each packet twice: going out and coming in
                asm.emit(Op.LD_WORD, PACKET_TYPE)
                asm.jump_if(Op.JUMP_EQUAL, _PACKET_OUTGOING, "reject")
            asm.jump("ethernet" if interface.link_type == ETHERNET else "raw")
            asm.label(other)
        asm.jump("reject")

    def _move_x(self, octets: int) -> None:
        self._asm.emit(Op.A_FROM_X)
        self._asm.emit(Op.ADD, octets)
        self._asm.emit(Op.X_FROM_A)

    def _ethernet(self) -> None:
        asm = self._asm
        asm.label("ethernet")
        asm.emit(Op.LDX_IMMEDIATE, 12)
        for _ in range(_WALKED_TAGS):
            tagged = asm.fresh("tagged")
            asm.emit(Op.LD_HALF_X, 0)
            for tag in _VLAN_TAGS:
                asm.jump_if(Op.JUMP_EQUAL, tag, tagged)
            asm.jump("ether type")
            asm.label(tagged)
            self._move_x(4)
        asm.jump("accept")
        asm.label("ether type")
        for protocol in _LABELLED:
            asm.jump_if(Op.JUMP_EQUAL, protocol, "accept")
        for protocol, walk in ((_IPV4, "ethernet ipv4"), (_IPV6, "ethernet ipv6")):
            asm.jump_if(Op.JUMP_EQUAL, protocol, walk)
        asm.jump_if(Op.JUMP_GREATER_OR_EQUAL, 0x0600, "reject")
        asm.emit(Op.LD_HALF_X, 2)  # IEEE 802.3: a length, then LLC
        asm.jump_if(Op.JUMP_EQUAL, 0xAAAA, "accept")  # SNAP
        asm.jump("reject")
        for walk in ("ipv4", "ipv6"):
            asm.label(f"ethernet {walk}")
            self._move_x(2)
            asm.jump(walk)

    def _raw(self) -> None:
        asm = self._asm
        asm.label("raw")
        asm.emit(Op.LDX_IMMEDIATE, 0)
        self._by_version("ipv4", "ipv6")

    def _by_version(self, ipv4: str, ipv6: str) -> None:
        asm = self._asm
        asm.emit(Op.LD_BYTE_X, 0)
        asm.emit(Op.SHIFT_RIGHT, 4)
        asm.jump_if(Op.JUMP_EQUAL, 4, ipv4)
        asm.jump_if(Op.JUMP_EQUAL, 6, ipv6)
        asm.jump("reject")

    def _addresses(self, addresses: Sequence[bytes], places: tuple[int, int], ours: str) -> None:
        """Go on at `ours` where the source or the destination is one of the addresses, else reject."""
        asm = self._asm
        if not self._wanted.addresses:
            asm.jump(ours)
            return
        for place in places:
            if addresses and len(addresses[0]) == 4:
                asm.emit(Op.LD_WORD_X, place)
                for address in addresses:
                    asm.jump_if(Op.JUMP_EQUAL, int.from_bytes(address, "big"), ours)
                continue
            for address in addresses:
                different = asm.fresh("another address")
                for number, word in enumerate(struct.unpack(">4I", address)):
                    asm.emit(Op.LD_WORD_X, place + 4 * number)
                    asm.jump_unless(Op.JUMP_EQUAL, word, different)
                asm.jump(ours)
                asm.label(different)
        asm.jump("reject")

    def _ipv4_packet(self) -> None:
        asm = self._asm
        asm.label("ipv4")
        if self._wanted.mirrored:
            self._mirrored_ipv4()
        self._addresses(self._ipv4, (12, 16), "our ipv4")
        asm.label("our ipv4")
        self._behind_ipv4("udp")

    def _mirrored_ipv4(self) -> None:
        asm = self._asm
        asm.emit(Op.LD_BYTE_X, 9)
        asm.jump_if(Op.JUMP_EQUAL, _GRE, "accept")
        asm.jump_unless(Op.JUMP_EQUAL, _UDP, "ipv4 addresses")
        asm.emit(Op.LD_HALF_X, 6)
        asm.jump_if(Op.JUMP_ANY_BIT, 0x3FFF, "accept")
        asm.emit(Op.STORE_X, _HEADER)
        self._skip_ipv4_header()
        asm.emit(Op.LD_HALF_X, 2)
        asm.jump_if(Op.JUMP_EQUAL, _VXLAN, "accept")
        asm.emit(Op.LDX_MEMORY, _HEADER)
        asm.label("ipv4 addresses")

    def _mirrored_ipv6(self) -> None:
        asm = self._asm
        asm.emit(Op.LD_BYTE_X, 6)
        for protocol in (_GRE, *_IPV6_EXTENSIONS):
            asm.jump_if(Op.JUMP_EQUAL, protocol, "accept")
        asm.jump_unless(Op.JUMP_EQUAL, _UDP, "ipv6 addresses")
        asm.emit(Op.LD_HALF_X, 42)
        asm.jump_if(Op.JUMP_EQUAL, _VXLAN, "accept")
        asm.label("ipv6 addresses")

    def _skip_ipv4_header(self) -> None:
        asm = self._asm
        asm.emit(Op.LD_BYTE_X, 0)
        asm.emit(Op.AND, 0x0F)
        asm.emit(Op.SHIFT_LEFT, 2)
        asm.emit(Op.ADD_X)
        asm.emit(Op.X_FROM_A)

    def _behind_ipv4(self, udp: str) -> None:
        """From an IPv4 header to its transport; UDP goes on at `udp`."""
        asm = self._asm
        walk = asm.fresh("ipv4 transport")
        asm.emit(Op.LD_HALF_X, 6)
        asm.jump_if(Op.JUMP_ANY_BIT, 0x3FFF, "accept")  # more fragments, or an offset
        asm.emit(Op.LD_BYTE_X, 9)
        self._by_protocol(_OPAQUE, walk)
        asm.label(walk)
        self._skip_ipv4_header()
        self._to_transport(udp)

    def _ipv6_packet(self) -> None:
        asm = self._asm
        asm.label("ipv6")
        if self._wanted.mirrored:
            self._mirrored_ipv6()
        self._addresses(self._ipv6, (8, 24), "our ipv6")
        asm.label("our ipv6")
        self._behind_ipv6("udp")

    def _behind_ipv6(self, udp: str) -> None:
        asm = self._asm
        walk = asm.fresh("ipv6 transport")
        asm.emit(Op.LD_BYTE_X, 6)
        self._by_protocol((*_OPAQUE, *_IPV6_EXTENSIONS), walk)
        asm.label(walk)
        self._move_x(40)
        self._to_transport(udp)

    def _by_protocol(self, opaque: Sequence[int], walk: str) -> None:
        """A is the protocol: accept what cannot be looked into, walk what has ports, reject the rest."""
        asm = self._asm
        asm.emit(Op.STORE, _TRANSPORT)
        for protocol in _WITH_PORTS:
            asm.jump_if(Op.JUMP_EQUAL, protocol, walk)
        for protocol in opaque:
            asm.jump_if(Op.JUMP_EQUAL, protocol, "accept")
        asm.jump("reject")

    def _to_transport(self, udp: str) -> None:
        asm = self._asm
        asm.emit(Op.LD_MEMORY, _TRANSPORT)
        asm.jump_if(Op.JUMP_EQUAL, _UDP, udp)
        asm.jump("ports")

    def _udp(self) -> None:
        """UDP that is not in a tunnel. X is at its header."""
        asm = self._asm
        asm.label("udp")
        if not self._ports:
            asm.jump(self._matched)
            return
        self._either_port(_UDP_ENCAPSULATIONS, "accept")
        if GTPU_PORT in self._ports:
            self._either_port((GTPU_PORT,), "gtp-u")
        asm.jump("ports")

    def _either_port(self, ports: Sequence[int], label: str) -> None:
        asm = self._asm
        for place in (0, 2):
            asm.emit(Op.LD_HALF_X, place)
            for port in ports:
                asm.jump_if(Op.JUMP_EQUAL, port, label)

    def _tunnel(self) -> None:
        """GTP-U (TS 29.281 clause 5.1): the packet inside."""
        asm = self._asm
        if GTPU_PORT not in self._ports:
            return
        asm.label("gtp-u")
        asm.emit(Op.LD_BYTE_X, 8)
        asm.emit(Op.AND, 0xF8)
        asm.jump_unless(Op.JUMP_EQUAL, 0x30, "accept")  # something else on its port
        asm.emit(Op.LD_BYTE_X, 9)
        asm.jump_unless(Op.JUMP_EQUAL, 255, "reject")  # echo, error indication, end marker: no packet inside
        asm.emit(Op.LD_BYTE_X, 8)
        asm.jump_if(Op.JUMP_ANY_BIT, 0x04, "accept")  # extension headers
        asm.jump_if(Op.JUMP_ANY_BIT, 0x03, "gtp-u long")
        self._move_x(16)
        asm.jump("inside")
        asm.label("gtp-u long")
        self._move_x(20)
        asm.label("inside")
        self._by_version("inner ipv4", "inner ipv6")
        asm.label("inner ipv4")
        self._behind_ipv4("inner udp")
        asm.label("inner ipv6")
        self._behind_ipv6("inner udp")
        asm.label("inner udp")
        self._either_port(_UDP_ENCAPSULATIONS, "accept")
        asm.jump("ports")

    def _look_at_ports(self) -> None:
        asm = self._asm
        asm.label("ports")
        if not self._ports:
            asm.jump(self._matched)
            return
        self._either_port(self._ports, self._matched)
        asm.jump("reject")
