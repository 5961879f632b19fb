"""Users' packets over real sockets: base station, SGW, PGW and the packet network, and the probe that proves it."""

import asyncio
import os
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferret.errors import ConfigError
from ferret.protocols import gtpu
from ferret.protocols.gtpv2.tft import Component, PacketFilter
from ferret.protocols.s1ap import Tunnel as S1Tunnel
from ferret.records.message import Role
from ferret.transport.udp import UdpTransport
from ferret_core.driver.packet_network import SinkNetwork, TunNetwork, UdpNetwork
from ferret_core.driver.user_plane import UserPlane
from ferret_core.enb import Enb, ImportedBearer, ImportedUe
from ferret_core.enb.driver import EnbDriver
from ferret_core.gtp_control import Tunnel
from ferret_core.nf import Input, NetworkFunction, Note, Output
from ferret_core.user_plane import PgwBearer, PgwUserPlane, SgwPath, SgwUserPlane, flow_of
from ferret_edge.probe import Probe, ProbeFailedError, downlink_packet, udp_packet

IMSI = "001010000000001"
DEVICE, REMOTE = "10.45.0.2", "192.0.2.7"
ENB, SGW, PGW = "127.0.9.53", "127.0.9.54", "127.0.9.55"
CALL = PacketFilter(0, 3, 10, (Component(0x30, b"\x11"), Component(0x10, bytes((192, 0, 2, 7)) + b"\xff" * 4)))


class Nf(NetworkFunction):
    """An NF with a user plane and no control plane."""

    def __init__(self, role: Role, plane: object) -> None:
        super().__init__(address="127.0.0.1", random=Random(1))
        self.role = role
        self.user_plane = plane
        self.asked: list[int] = []

    def receive(self, event: Input, now: float) -> Sequence[Output]:
        return ()

    def import_context(self, context: Mapping[str, object], now: float) -> Sequence[Output]:
        return ()

    def leftovers(self) -> Mapping[str, int]:
        return {}

    def downlink_arrived(self, teid: int, now: float) -> Sequence[Output]:
        self.asked.append(teid)
        return (Note("asked", {"teid": teid}),)


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - what is waited for is not an event
            await asyncio.sleep(0.001)


def sgw_plane() -> SgwUserPlane:
    """Uplink 0x21/0x22 to the PGW, downlink 0x31/0x32 to the base station, for bearers 5 and 6."""
    paths = {
        0x21: SgwPath(Tunnel(PGW, 0x41)),
        0x22: SgwPath(Tunnel(PGW, 0x42)),
        0x31: SgwPath(Tunnel(ENB, 0x11)),
        0x32: SgwPath(Tunnel(ENB, 0x12)),
    }
    return SgwUserPlane(SGW, paths)


def pgw_plane() -> PgwUserPlane:
    bearers = {0x41: PgwBearer(Tunnel(SGW, 0x31)), 0x42: PgwBearer(Tunnel(SGW, 0x32), (CALL,))}
    return PgwUserPlane(PGW, {0x41: (DEVICE,), 0x42: (DEVICE,)}, {DEVICE: bearers})


class Path5And6:
    """Everything between a device and the packet network; the base station without an MME."""

    def __init__(self) -> None:
        self.sgw_nf = Nf(Role.SGW, sgw_plane())
        self.notes: list[Output] = []
        self.sgw = UserPlane(self.sgw_nf, SGW, emit=self.notes.extend)
        self.sink = SinkNetwork()
        self.pgw = UserPlane(Nf(Role.PGW, pgw_plane()), PGW, network=self.sink)
        self.enb = Enb(address=ENB, random=Random(1))
        bearers = (
            ImportedBearer(5, S1Tunnel(ENB, 0x11), S1Tunnel(SGW, 0x21), address=DEVICE),
            ImportedBearer(6, S1Tunnel(ENB, 0x12), S1Tunnel(SGW, 0x22), linked_ebi=5),
        )
        self.enb.take_over(ImportedUe(IMSI, 1, 10, None, bearers))
        self.driver = EnbDriver(self.enb, mme=("127.0.9.2", 36412))

    async def __aenter__(self) -> "Path5And6":
        await self.sgw.start()
        await self.pgw.start()
        self.driver._udp = await UdpTransport.bind(ENB, 2152, self.driver._datagram)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.driver.stop()
        await self.sgw.stop()
        await self.pgw.stop()


def test_the_probe_measures_every_bearer_both_ways() -> None:
    async def scenario() -> None:
        async with Path5And6() as path:
            result = await Probe(path.driver, path.sgw, path.pgw).run(path.enb.ue(IMSI))
        assert [one.ebi for one in result.uplink] == [5, 6]
        assert [one.ebi for one in result.downlink] == [5, 6]
        assert all(0 < one.to_sgw < one.to_pgw < 1 for one in result.uplink)
        assert all(0 < one.to_device < 1 for one in result.downlink)
        assert result.skipped == {}
        assert len(path.sink.packets) == 2
        assert flow_of(path.sink.packets[0]) is not None
        figures = result.as_json()
        assert set(figures) == {
            "bearer 5 uplink eNB to SGW_e, ms",
            "bearer 5 uplink eNB to PGW_e, ms",
            "bearer 6 uplink eNB to SGW_e, ms",
            "bearer 6 uplink eNB to PGW_e, ms",
            "bearer 5 downlink PGW_e to device, ms",
            "bearer 6 downlink PGW_e to device, ms",
        }

    asyncio.run(scenario())


def test_the_probe_says_what_a_packet_did_not_reach() -> None:
    async def scenario() -> None:
        async with Path5And6() as path:
            device, probe = path.enb.ue(IMSI), Probe(path.driver, path.sgw, path.pgw, within=0.05)
            path.sgw_nf.user_plane.paths[0x22].next_hop = None  # type: ignore[attr-defined]
            with pytest.raises(ProbeFailedError, match="uplink of bearer 6 did not reach PGW_e, SGW_e within"):
                await probe.run(device)
            path.enb.tunnels.close(1, 6)
            del device.esm.bearers[6]
            with pytest.raises(ProbeFailedError, match=r"downlink to 10\.45\.0\.2 did not reach device"):
                await probe.run(device)

    asyncio.run(scenario())


def test_a_bearer_without_a_known_address_is_skipped_and_named() -> None:
    async def scenario() -> None:
        async with Path5And6() as path:
            path.enb.take_over(
                ImportedUe("2", 2, 11, None, (ImportedBearer(5, S1Tunnel(ENB, 9), S1Tunnel(SGW, 0x21)),))
            )
            result = await Probe(path.driver, path.sgw, path.pgw).run(path.enb.ue("2"))
        assert result.as_json() == {"bearer 5 not probed": "the device's address is not known"}

    asyncio.run(scenario())


def test_packets_for_an_idle_device_wait_until_it_is_connected() -> None:
    async def scenario() -> None:
        async with Path5And6() as path:
            idle = path.sgw_nf.user_plane.paths[0x31]  # type: ignore[attr-defined]
            idle.next_hop = None
            packet = udp_packet(REMOTE, DEVICE, 1, 2, b"wake up", protocol=6)
            assert path.pgw.inject(packet)
            assert path.pgw.inject(packet)
            await until(lambda: path.sgw.forwarder.buffered == 2)  # type: ignore[union-attr]
            assert set(path.sgw_nf.asked) == {0x31}
            assert path.notes
            idle.next_hop = Tunnel(ENB, 0x11)
            await until(lambda: len(path.driver.arrivals) == 2)
            assert path.driver.arrivals[0].packet == packet

    asyncio.run(scenario())


def test_an_unknown_tunnel_is_reported_to_who_used_it() -> None:
    async def scenario() -> None:
        async with Path5And6() as path:
            got: list[bytes] = []
            stranger = await UdpTransport.bind("127.0.9.56", 2152, lambda octets, _: got.append(octets))
            stranger.send(gtpu.wrap(0x99, b"x"), (SGW, 2152))
            await until(lambda: got)
            assert gtpu.error_indication(gtpu.decode(got[0])) == gtpu.ErrorIndication(0x99, SGW)
            stranger.send(gtpu.ErrorIndication(0x11, "127.0.9.56").encode(), (SGW, 2152))
            stranger.send(gtpu.echo_request(1), (SGW, 2152))
            await until(lambda: len(got) == 2)
            assert path.sgw.counters["received"] == 3
            stranger.close()

    asyncio.run(scenario())


def test_over_udp_packets_go_to_the_next_hop_and_come_back() -> None:
    async def scenario() -> None:
        got: list[tuple[bytes, tuple[str, int]]] = []
        hop = await UdpTransport.bind("127.0.9.57", 0, lambda octets, source: got.append((octets, source)))
        network = UdpNetwork((PGW, 0), hop.address)
        pgw = UserPlane(Nf(Role.PGW, pgw_plane()), PGW, network=network)
        await pgw.start()
        back: list[bytes] = []
        sgw = await UdpTransport.bind(SGW, 2152, lambda octets, _: back.append(octets))
        packet = udp_packet(DEVICE, REMOTE, 5000, 6000, b"up")
        sgw.send(gtpu.wrap(0x41, packet), (PGW, 2152))
        await until(lambda: got)
        assert got == [(packet, network.address)]
        answer = udp_packet(REMOTE, DEVICE, 6000, 5000, b"down")
        stranger = await UdpTransport.bind("127.0.9.58", 0, lambda octets, _: None)
        stranger.send(answer, network.address)
        hop.send(answer, network.address)
        await until(lambda: back)
        assert back == [gtpu.wrap(0x32, answer)]  # the call's filter takes it
        assert (network.sent, pgw.counters["packets_to_network"]) == (1, 1)
        await pgw.stop()
        network.carry(packet)
        assert network.lost == 1
        for transport in (hop, sgw, stranger):
            transport.close()

    asyncio.run(scenario())


@pytest.mark.root
def test_through_a_tun_device_packets_reach_the_machines_own_stack() -> None:
    if os.geteuid() or not Path("/dev/net/tun").exists():
        pytest.skip("the TUN device is NOT tested: needs root and /dev/net/tun")

    async def scenario() -> None:
        network = TunNetwork("ferrettest0")
        pgw = UserPlane(Nf(Role.PGW, pgw_plane()), PGW, network=network)
        try:
            await pgw.start()
        except Exception as error:
            pytest.skip(f"the TUN device is NOT tested: {error}")
        try:
            await bring_up("ferrettest0")
            sgw = await UdpTransport.bind(SGW, 2152, lambda octets, _: None)
            sgw.send(gtpu.wrap(0x41, udp_packet(DEVICE, REMOTE, 1, 2, b"up")), (PGW, 2152))
            await until(lambda: network.sent)
            counter = Path("/sys/class/net/ferrettest0/statistics/rx_packets")
            await until(lambda: int(counter.read_text()) >= 1)
            sgw.close()
        finally:
            await pgw.stop()

    asyncio.run(scenario())


async def bring_up(name: str) -> None:
    process = await asyncio.create_subprocess_exec("ip", "link", "set", name, "up")
    assert await process.wait() == 0


def test_an_nf_without_user_plane_is_refused_and_a_bad_device_name_too() -> None:
    with pytest.raises(ConfigError, match="PCRF has no user plane"):
        UserPlane(Nf(Role.PCRF, None), "127.0.9.59")
    with pytest.raises(ConfigError, match="1 to 15 octets"):
        TunNetwork("a-name-that-is-too-long")
    with pytest.raises(ConfigError, match="has no packet network"):
        UserPlane(Nf(Role.SGW, sgw_plane()), SGW).inject(b"")


@pytest.mark.parametrize(("source", "destination"), [("10.0.0.1", "10.0.0.2"), ("2001:db8::1", "2001:db8::2")])
def test_a_udp_packet_reads_as_it_was_made(source: str, destination: str) -> None:
    flow = flow_of(udp_packet(source, destination, 7, 8, b"odd", service=0xB8))
    assert flow == (source, destination, 17, 7, 8, 0xB8)


def sum_of(octets: bytes) -> int:
    padded = octets + b"\0" * (len(octets) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@given(st.binary(max_size=60), st.integers(0, 65535), st.integers(0, 65535))
def test_checksums_are_right(payload: bytes, source_port: int, destination_port: int) -> None:
    packet = udp_packet("10.0.0.1", "192.0.2.9", source_port, destination_port, payload)
    assert sum_of(packet[:20]) == 0xFFFF
    pseudo = packet[12:20] + struct.pack("!HH", 17, len(packet) - 20)
    assert sum_of(pseudo + packet[20:]) == 0xFFFF


def test_a_downlink_packet_fits_the_filter_of_its_bearer() -> None:
    parts = (
        Component(0x10, bytes((198, 51, 100, 9)) + b"\xff" * 4),
        Component(0x30, b"\x06"),
        Component(0x41, struct.pack("!HH", 4000, 4010)),
        Component(0x50, struct.pack("!H", 5060)),
        Component(0x70, b"\xb8\xff"),
    )
    only_uplink, both = PacketFilter(0, 2, 1, ()), PacketFilter(1, 3, 2, parts)
    flow = flow_of(downlink_packet(DEVICE, (only_uplink, both), b"x"))
    assert flow == ("198.51.100.9", DEVICE, 6, 5060, 4000, 0xB8)
    flow = flow_of(downlink_packet(DEVICE, (), b"x"))
    assert flow == ("192.0.2.1", DEVICE, 17, 9, 9, 0)


def test_a_downlink_packet_is_of_one_family_whatever_the_filters_are_of() -> None:
    ipv6 = PacketFilter(0, 3, 1, (Component(0x21, bytes(15) + b"\x09" + bytes((128,))),))
    flow = flow_of(downlink_packet(DEVICE, (ipv6,), b"x"))
    assert flow == ("192.0.2.1", DEVICE, 17, 9, 9, 0)
    flow = flow_of(downlink_packet("2001:db8::5", (ipv6,), b"x"))
    assert flow == ("::9", "2001:db8::5", 17, 9, 9, 0)
