"""The kernel filter lets through all that a message could need: tried by interpreter, kernel and dissector."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferret.errors import ConfigError, DecodeError
from ferret.records.message import CapturedMessage
from ferret_agents.capture import ip, link
from ferret_agents.capture.dissect import Dissector
from ferret_agents.capture.files import Record, open_capture, records
from ferret_agents.capture.ledger import Ledger
from ferret_agents.live.bpf import INTERFACE_INDEX, MAX_INSTRUCTIONS, PACKET_TYPE, Instruction, Op, attach
from ferret_agents.live.expression import compile_expression
from ferret_agents.live.filter import ETHERNET, RAW_IP, Interface, Wanted, build

OURS4, OURS6, THEIRS4, THEIRS6 = "192.0.2.1", "2001:db8::1", "192.0.2.77", "2001:db8::77"
ETH = (Interface("eth0", 2),)
TUN = (Interface("tun0", 3, RAW_IP),)


def _has_libpcap() -> bool:
    try:
        compile_expression("udp", ETHERNET)
    except ConfigError:
        return False
    return True


needs_libpcap = pytest.mark.skipif(not _has_libpcap(), reason="SKIPPED LOUDLY: no libpcap (apt-get install libpcap0.8)")


def run(program: Sequence[Instruction], frame: bytes, packet_type: int = 0, interface: int = 2) -> bool:
    """Whether a program accepts a frame, as the kernel would run it."""
    a = x = 0
    memory = [0] * 16
    at = 0
    known = {PACKET_TYPE: packet_type, INTERFACE_INDEX: interface}
    widths = {Op.LD_WORD_X: 4, Op.LD_HALF_X: 2, Op.LD_BYTE_X: 1}
    for _ in range(len(program)):  # jumps only go forward
        code, true, false, k = program[at]
        at += 1
        if code in widths:
            place = x + k
            if place + widths[Op(code)] > len(frame):
                return False
            a = int.from_bytes(frame[place : place + widths[Op(code)]], "big")
        elif code == Op.LD_WORD:
            a = known[k]
        elif code == Op.LD_MEMORY:
            a = memory[k]
        elif code == Op.LDX_IMMEDIATE:
            x = k
        elif code == Op.STORE:
            memory[k] = a
        elif code == Op.STORE_X:
            memory[k] = x
        elif code == Op.LDX_MEMORY:
            x = memory[k]
        elif code == Op.ADD:
            a = (a + k) & 0xFFFFFFFF
        elif code == Op.ADD_X:
            a = (a + x) & 0xFFFFFFFF
        elif code == Op.AND:
            a &= k
        elif code == Op.SHIFT_LEFT:
            a = (a << k) & 0xFFFFFFFF
        elif code == Op.SHIFT_RIGHT:
            a >>= k
        elif code == Op.X_FROM_A:
            x = a
        elif code == Op.A_FROM_X:
            a = x
        elif code == Op.JUMP:
            at += k
        elif code == Op.RETURN:
            return k > 0
        else:
            holds = {Op.JUMP_EQUAL: a == k, Op.JUMP_GREATER_OR_EQUAL: a >= k, Op.JUMP_ANY_BIT: bool(a & k)}[Op(code)]
            at += true if holds else false
    raise AssertionError("the program does not end")


# Packets, made without the product's help


def udp(source: int, destination: int, payload: bytes) -> tuple[int, bytes]:
    return 17, struct.pack(">HHHH", source, destination, 8 + len(payload), 0) + payload


def tcp(source: int, destination: int, payload: bytes) -> tuple[int, bytes]:
    return 6, struct.pack(">HHIIBBHHH", source, destination, 1000, 0, 0x50, 0x18, 8192, 0, 0) + payload


def sctp(source: int, destination: int, payload: bytes) -> tuple[int, bytes]:
    chunk = struct.pack(">BBHIHHI", 0, 3, 16 + len(payload), 1, 0, 0, 18) + payload
    return 132, struct.pack(">HHII", source, destination, 7, 0) + chunk + bytes(-len(chunk) % 4)


def ipv4(source: str, destination: str, protocol: int, payload: bytes, options: int = 0, place: int = 0) -> bytes:
    header = struct.pack(
        ">BBHHHBBH4s4s", 0x45 + options, 0, 20 + 4 * options + len(payload), 99, place, 64, protocol, 0,
        socket.inet_aton(source), socket.inet_aton(destination),
    )  # fmt: skip
    return header + b"\x01" * (4 * options) + payload


def ipv6(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    ends = (socket.inet_pton(socket.AF_INET6, one) for one in (source, destination))
    return struct.pack(">IHBB16s16s", 6 << 28, len(payload), protocol, 64, *ends) + payload


def ethernet(packet: bytes, tags: Sequence[int] = ()) -> bytes:
    head = b"\x02" * 12 + b"".join(struct.pack(">HH", tag, 100) for tag in tags)
    return head + struct.pack(">H", 0x0800 if packet[0] >> 4 == 4 else 0x86DD) + packet


def fragments4(source: str, destination: str, protocol: int, payload: bytes, size: int) -> list[bytes]:
    pieces = [payload[at : at + size] for at in range(0, len(payload), size)]
    last = len(pieces) - 1
    return [
        ipv4(source, destination, protocol, piece, place=(0 if number == last else 0x2000) | number * size // 8)
        for number, piece in enumerate(pieces)
    ]


def fragments6(source: str, destination: str, protocol: int, payload: bytes, size: int) -> list[bytes]:
    pieces = [payload[at : at + size] for at in range(0, len(payload), size)]
    last = len(pieces) - 1
    return [
        ipv6(
            source,
            destination,
            44,
            struct.pack(">BBHI", protocol, 0, number * size | (number < last), 99) + piece,
        )
        for number, piece in enumerate(pieces)
    ]


def gtpu(inner: bytes, flags: int = 0x30, extension: bool = False) -> bytes:
    option = b"\0\x07\0\x85" + b"\x01\0\0\0" if extension else b"\0\0\0\0" if flags & 7 else b""
    return struct.pack(">BBHI", flags, 255, len(option) + len(inner), 1) + option + inner


def overlay(kind: str, frame: bytes) -> tuple[int, bytes]:
    """A frame as a mirror port or a data centre packs it."""
    if kind == "vxlan":
        return udp(50000, 4789, b"\x08\0\0\0\0\0\x07\0" + frame)
    if kind == "gre":
        return 47, b"\x20\0\x65\x58\0\0\0\x09" + frame
    return 47, b"\x10\0\x88\xbe\0\0\0\x01" + bytes(8) + frame  # ERSPAN II


SIP = b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n"
GTPV2 = bytes.fromhex("400100090000010003000100ff")
S1AP = bytes.fromhex(
    "0011002e000004003b00080099f90700000020003c400b0400766f6c74652d656e62004000070000004099f9070089400140"
)


def messages_of(frames: Iterable[bytes], link_type: int = ETHERNET) -> list[CapturedMessage]:
    dissector = Dissector()
    found: list[CapturedMessage] = []
    for number, frame in enumerate(frames, start=1):
        found += dissector.feed(Record(number, number * 1_000_000, link_type, frame, len(frame)))
    return found + dissector.flush()


def concern(message: CapturedMessage, addresses: Iterable[str], ports: Iterable[int]) -> bool:
    """Whether an agent with such a filter has to see a message."""
    ends = (message.source, message.destination)
    if message.tunnel and not (2152 in ports and any(end.address in addresses for end in message.tunnel)):
        return False
    if not message.tunnel and not any(end.address in addresses for end in ends):
        return False
    return any(end.port in ports for end in ends)


# What the packets that networks really have are made of

ports = st.sampled_from((2123, 3868, 5060, 36412, 2152, 9899, 4500, 53, 40000))
tag_lists = st.lists(st.sampled_from((0x8100, 0x88A8, 0x9100, 0x9200, 0x9300)), max_size=6)


@st.composite
def frame_lists(draw: Any) -> list[bytes]:
    """The frames of one message, or of something else, in any packing."""
    payload = draw(st.sampled_from((SIP, GTPV2, S1AP, b"x" * 50, SIP + bytes(300))))
    protocol, octets = draw(st.sampled_from((udp, tcp, sctp)))(draw(ports), draw(ports), payload)
    for _ in range(draw(st.integers(0, 2))):
        inner = draw(st.sampled_from((ipv4, ipv6)))
        ends = ("10.0.0.1", "10.0.0.2") if inner is ipv4 else ("2001:db8:5::1", "2001:db8:5::2")
        packet = inner(*ends, protocol, octets)
        shape = draw(st.sampled_from(((0x30, False), (0x32, False), (0x34, True), (0x36, True), (0x38, False))))
        protocol, octets = udp(2152, draw(st.sampled_from((2152, 40000))), gtpu(packet, *shape))
    ours, theirs = draw(st.sampled_from(((OURS4, THEIRS4), (OURS6, THEIRS6), (THEIRS4, "192.0.2.78"))))
    source, destination = draw(st.permutations((ours, theirs)))
    six = ":" in ours
    if draw(st.booleans()):
        packets = (fragments6 if six else fragments4)(source, destination, protocol, octets, 48)
        packets = draw(st.permutations(packets))
    elif six:
        for kind in draw(st.lists(st.sampled_from((0, 43, 60, 135)), max_size=2)):
            protocol, octets = kind, struct.pack(">BB6x", protocol, 0) + octets
        packets = [ipv6(source, destination, protocol, octets)]
    else:
        packets = [ipv4(source, destination, protocol, octets, options=draw(st.integers(0, 10)))]
    tags = draw(tag_lists)
    return [ethernet(packet, tags) for packet in packets]


@settings(max_examples=150)
@given(frame_lists(), st.lists(ports, min_size=1, max_size=4, unique=True), st.data())
def test_at_a_mirror_port_no_message_needs_a_frame_that_the_filter_rejects(
    frames: list[bytes], wanted_ports: list[int], data: st.DataObject
) -> None:
    kind = data.draw(st.sampled_from(("vxlan", "gre", "erspan")))
    outer, ends = (
        (ipv6, ("2001:db8:9::1", "2001:db8:9::2")) if data.draw(st.booleans()) else (ipv4, ("9.0.0.1", "9.0.0.2"))
    )
    tags = data.draw(tag_lists)
    frames = [ethernet(outer(*ends, *overlay(kind, frame)), tags) for frame in frames]
    addresses = (OURS4, OURS6)
    program = build(Wanted(addresses, tuple(wanted_ports), mirrored=True), ETH)
    assert [m.octets for m in messages_of(frame for frame in frames if run(program, frame))] == [
        m.octets for m in messages_of(frames)
    ]
    assert kernel(program, frames) == [run(program, frame) for frame in frames]


@settings(max_examples=400)
@given(frame_lists(), st.lists(ports, min_size=1, max_size=4, unique=True))
def test_no_message_needs_a_frame_that_the_filter_rejects(frames: list[bytes], wanted_ports: list[int]) -> None:
    addresses = (OURS4, OURS6)
    program = build(Wanted(addresses, tuple(wanted_ports)), ETH)
    whole = [m.octets for m in messages_of(frames) if concern(m, addresses, wanted_ports)]
    filtered = [
        m.octets
        for m in messages_of(frame for frame in frames if run(program, frame))
        if concern(m, addresses, wanted_ports)
    ]
    assert filtered == whole


@settings(max_examples=200)
@given(frame_lists(), st.lists(ports, max_size=4, unique=True))
def test_the_kernel_runs_the_program_as_the_interpreter_does(frames: list[bytes], wanted_ports: list[int]) -> None:
    program = build(Wanted((OURS4, OURS6), tuple(wanted_ports)), ETH)
    assert kernel(program, frames) == [run(program, frame) for frame in frames]


@settings(max_examples=200)
@given(st.binary(max_size=120))
def test_any_octets_come_to_an_end_in_the_program(octets: bytes) -> None:
    for interfaces in (ETH, TUN):
        program = build(Wanted((OURS4, OURS6), (5060, 2152)), interfaces)
        assert kernel(program, [octets or b"\0"]) == [run(program, octets or b"\0")]


def kernel(program: Sequence[Instruction], frames: Iterable[bytes]) -> list[bool]:
    """What the kernel accepts: a filter may sit on any socket, and sees what is sent to it from its first octet."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    accepted = []
    with closing(near), closing(far):
        attach(far, tuple(program))
        far.setblocking(False)
        for frame in frames:
            near.send(frame)
            try:
                accepted.append(far.recv(65536) == frame)
            except BlockingIOError:
                accepted.append(False)
    return accepted


@cache
def _ip_frames(path: Path) -> tuple[tuple[bytes, ...], tuple[CapturedMessage, ...]]:
    """A capture's IP packets on Ethernet, whatever they were captured on, and the messages in them."""
    frames = []
    with open_capture(path) as stream:
        for record in records(stream, Ledger(), str(path)):
            try:
                protocol, start = link.walk_of(record.link_type)(record.octets)
                packet = ip.walk(record.octets, start)
            except DecodeError:
                continue
            if protocol in (link.IPV4, link.IPV6) and not packet.missing:
                frames.append(ethernet(record.octets[start:]))
    return tuple(frames), tuple(messages_of(frames))


def test_an_nf_of_a_real_capture_loses_nothing_to_its_filter(all_captures: list[Path]) -> None:
    looked_at = 0
    for path in all_captures:
        frames, messages = _ip_frames(path)
        ends = [end for m in messages for end in (m.source, m.destination, *m.tunnel)]
        for address in sorted({end.address for end in ends})[:6]:
            used = {m.source.port for m in messages} & {2123, 3868, 5060, 36412, 3871, 4060, 6060}
            wanted = Wanted((address,), (*sorted(used), 2152))
            program = build(wanted, ETH)
            filtered = messages_of(frame for frame in frames if run(program, frame))
            whole = [m for m in messages if concern(m, wanted.addresses, wanted.ports)]
            kept = [m for m in filtered if concern(m, wanted.addresses, wanted.ports)]
            assert [m.octets for m in kept] == [m.octets for m in whole], (path.name, address)
            looked_at += len(whole)
    assert looked_at > 100


def test_what_cannot_be_looked_into_is_let_through() -> None:
    program = build(Wanted((OURS4, OURS6), (5060, 2152)), ETH)
    inner = ipv4("10.0.0.1", "10.0.0.2", *udp(5060, 5060, SIP))
    for protocol, octets in (
        udp(2152, 2152, gtpu(inner)),
        udp(2152, 2152, gtpu(inner, 0x32)),
        udp(2152, 2152, gtpu(inner, 0x34, extension=True)),
        udp(2152, 2152, gtpu(ipv4("10.0.0.1", "10.0.0.2", 50, bytes(40)))),
        udp(2152, 2152, gtpu(ipv4("10.0.0.1", "10.0.0.2", 17, bytes(40), place=0x2000))),
        udp(2152, 2152, gtpu(ipv6("2001:db8:5::1", "2001:db8:5::2", 44, bytes(40)))),
        udp(2152, 2152, b"not GTP-U at all"),
        udp(9899, 40000, bytes(40)),
        udp(40000, 4500, bytes(40)),
        (50, bytes(40)),
        overlay("vxlan", ethernet(inner)),
        overlay("gre", ethernet(inner)),
        (4, inner),
        (41, ipv6("2001:db8:5::1", "2001:db8:5::2", *udp(5060, 5060, SIP))),
    ):
        assert run(program, ethernet(ipv4(OURS4, THEIRS4, protocol, octets))), (protocol, octets)
        assert run(program, ethernet(ipv6(THEIRS6, OURS6, protocol, octets))), (protocol, octets)
    for ether_type in (0x8847, 0x8848, 0x8864):
        assert run(program, b"\x02" * 12 + ether_type.to_bytes(2, "big") + bytes(60))
    assert run(program, ethernet(inner, [0x8100] * 5))
    assert run(program, b"\x02" * 12 + b"\0\x40\xaa\xaa\x03\0\0\0\x08\0" + inner)


def test_what_is_of_no_concern_stays_in_the_kernel() -> None:
    program = build(Wanted((OURS4,), (5060, 2152)), ETH)
    rtp = udp(40000, 40002, b"\x80\x60" + bytes(30))
    inner = ipv4("10.0.0.1", "10.0.0.2", *rtp)
    for packet in (
        ipv4(OURS4, THEIRS4, *rtp),
        ipv4(OURS4, THEIRS4, *tcp(22, 40000, b"ssh")),
        ipv4(OURS4, THEIRS4, 1, b"ping"),
        ipv4(THEIRS4, "192.0.2.78", *udp(5060, 5060, SIP)),
        ipv6(OURS6, THEIRS6, *udp(5060, 5060, SIP)),
        ipv4(OURS4, THEIRS4, *udp(2152, 2152, gtpu(inner))),
        ipv4(OURS4, THEIRS4, *udp(2152, 2152, b"\x32\x01\0\x04\0\0\0\0\0\0\0\0")),
    ):
        assert not run(program, ethernet(packet)), packet
    assert not run(program, b"\x02" * 12 + b"\x08\x06" + bytes(28))  # ARP


def test_at_a_mirror_port_others_packets_are_left_alone_unless_something_is_packed_in_them() -> None:
    program = build(Wanted((OURS4, OURS6), mirrored=True), ETH)
    for packet in (ipv4(THEIRS4, "192.0.2.78", *udp(5060, 5060, SIP)), ipv6(THEIRS6, "::1", *udp(5060, 5060, SIP))):
        assert not run(program, ethernet(packet))
        assert run(build(Wanted((), mirrored=True), ETH), ethernet(packet))
    assert run(program, ethernet(ipv4(THEIRS4, OURS4, *udp(5060, 5060, SIP), options=3)))
    assert run(program, ethernet(ipv4(THEIRS4, "192.0.2.78", 17, SIP, place=0x2000)))


def test_a_loopback_interface_gives_each_packet_once() -> None:
    loopback = Interface("lo", 1, is_loopback=True)
    frame = ethernet(ipv4(OURS4, THEIRS4, *udp(2123, 2123, GTPV2)))
    program = build(Wanted((OURS4,)), (loopback,))
    assert (run(program, frame, packet_type=0), run(program, frame, packet_type=4)) == (True, False)
    ethernet_only = build(Wanted((OURS4,)), ETH)
    assert run(ethernet_only, frame, packet_type=4)


def test_a_socket_for_several_interfaces_takes_only_theirs() -> None:
    program = build(Wanted((OURS4,)), (*ETH, *TUN, Interface("lo", 1, is_loopback=True)))
    packet = ipv4(OURS4, THEIRS4, *udp(2123, 2123, GTPV2))
    assert run(program, ethernet(packet), interface=2, packet_type=4)
    assert run(program, packet, interface=3, packet_type=4)
    assert run(program, ethernet(packet), interface=1)
    assert not run(program, ethernet(packet), interface=1, packet_type=4)
    assert not run(program, ethernet(packet), interface=9)


def test_without_addresses_or_ports_nothing_is_held_back() -> None:
    packet = ipv4(THEIRS4, "192.0.2.78", *udp(7, 7, b"x"))
    assert run(build(Wanted((), ()), ETH), ethernet(packet))
    assert not run(build(Wanted((), (9,)), ETH), ethernet(packet))
    assert not run(build(Wanted((OURS4,), ()), ETH), ethernet(packet))


def test_what_cannot_be_filtered_by_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match="'mme' is not an IP address"):
        Wanted(("mme",))
    with pytest.raises(ConfigError, match="not at 70000"):
        Wanted((OURS4,), (70000,))
    many = tuple(f"2001:db8::{number:x}" for number in range(200))
    with pytest.raises(ConfigError, match=f"{MAX_INSTRUCTIONS} are the limit"):
        build(Wanted(many), ETH)


def test_hundreds_of_addresses_still_reach_their_place() -> None:
    many = tuple(f"10.1.{number // 250}.{number % 250 + 1}" for number in range(500))
    program = build(Wanted(many, (5060,)), ETH)
    for address in (many[0], many[250], many[-1]):
        frame = ethernet(ipv4(THEIRS4, address, *udp(1, 5060, SIP)))
        assert run(program, frame)
        assert kernel(program, [frame]) == [True]
    assert not run(program, ethernet(ipv4(THEIRS4, "10.9.9.9", *udp(1, 5060, SIP))))


@needs_libpcap
def test_the_user_s_own_expression_narrows_what_has_the_ports(namespaces: None) -> None:
    program = build(Wanted((OURS4,), (2123, 5060), expression="not udp port 5060 and not host 10.1.0.9"), ETH)
    payload = bytes(1400)
    gtpc = ethernet(ipv4(OURS4, THEIRS4, *udp(2123, 2123, payload)))
    sip = ethernet(ipv4(OURS4, THEIRS4, *udp(5060, 5060, payload)))
    other = ethernet(ipv4(OURS4, "10.1.0.9", *udp(2123, 2123, payload)))
    assert kernel(program, [gtpc, sip, other]) == [True, False, False]


@needs_libpcap
def test_an_expression_cannot_tear_a_datagram_or_a_tunnel_apart(namespaces: None) -> None:
    pieces = [ethernet(one) for one in fragments4(OURS4, THEIRS4, *udp(2123, 2123, bytes(3000)), 1400)]
    vxlan = ethernet(
        ipv4(
            OURS4, THEIRS4, *udp(2000, 4789, b"\x08" + bytes(7) + ethernet(ipv4(OURS4, THEIRS4, *udp(2123, 2123, b""))))
        )
    )
    program = build(Wanted((OURS4,), (2123,), expression="udp port 2123 and less 1000"), ETH)
    assert all(kernel(program, [*pieces, vxlan]))


@needs_libpcap
def test_an_expression_that_says_nothing_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match="the filter 'udp prt 5'"):
        build(Wanted((OURS4,), expression="udp prt 5"), ETH)
    with pytest.raises(ConfigError, match="a section of its own"):
        build(Wanted((OURS4,), expression="udp"), (Interface("a", 1), Interface("b", 2, RAW_IP)))
