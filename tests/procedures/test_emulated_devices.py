"""Emulated devices live through a core of our own NFs, from attach to detach (TS 23.401 clauses 5.3 to 5.10).

Every NF is the real logic; messages pass in their octets, without sockets or clocks.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from random import Random

import pytest

from ferret.protocols import diameter, gtpu, gtpv2, s1ap
from ferret.protocols.nas import Milenage
from ferret.records.message import Interface, Role
from ferret_core.enb import EmmState, Enb, S1State, Ue, Usim
from ferret_core.hss import Hss
from ferret_core.mme import Mme
from ferret_core.nf import NetworkFunction, Note, Output, Peer, Received, Send
from ferret_core.pcrf import Pcrf
from ferret_core.pgw import Pgw
from ferret_core.sgw import Sgw
from ferret_core.user_plane import PgwForwarder, SgwForwarder

IMSI = "001010000000001"
KEY, OPC = "00112233445566778899aabbccddeeff", "ffeeddccbbaa99887766554433221100"
ADDRESSES = {
    Role.ENB: "192.0.2.30",
    Role.MME: "192.0.2.2",
    Role.SGW: "192.0.2.3",
    Role.PGW: "192.0.2.4",
    Role.HSS: "192.0.2.8",
    Role.PCRF: "192.0.2.9",
}
_DECODE = {s1ap.Message: s1ap.decode, gtpv2.Message: gtpv2.decode, diameter.Message: diameter.decode}


def apn(name: str) -> dict[str, object]:
    ambr = {"ul": 50_000_000, "dl": 100_000_000}
    arp = {"priority_level": 8, "pre_emption_capability": 1, "pre_emption_vulnerability": 1}
    return {"apn": name, "pdn_type": 0, "qci": 9, "ambr": ambr, **arp}


class World:
    """A base station, a core, and messages that travel at once and in order."""

    def __init__(self) -> None:
        def made(kind: type[NetworkFunction], role: Role) -> NetworkFunction:
            return kind(address=ADDRESSES[role], random=Random(str(role)))

        self.enb = Enb(address=ADDRESSES[Role.ENB], random=Random(1), mme=ADDRESSES[Role.MME])
        self.mme, self.sgw, self.pgw = made(Mme, Role.MME), made(Sgw, Role.SGW), made(Pgw, Role.PGW)
        self.hss, self.pcrf = made(Hss, Role.HSS), made(Pcrf, Role.PCRF)
        self.nfs = {nf.role: nf for nf in (self.enb, self.mme, self.sgw, self.pgw, self.hss, self.pcrf)}
        self.now = 0.0
        self.notes: list[Note] = []
        self.names: list[str] = []
        self._requests: dict[int, tuple[Role, int]] = {}
        self._configure()

    def _configure(self) -> None:
        gummei = {"plmns": ["00101"], "group_ids": [2], "mme_codes": [1]}
        addresses = {"sgw_address": ADDRESSES[Role.SGW], "pgw_address": ADDRESSES[Role.PGW]}
        tai_list = {"tai_lists": ["0000f1100001"]}
        ciphering = {"ciphering_preference": [2, 0]}
        self.mme.import_context({"served_gummeis": [gummei], **addresses, **tai_list, **ciphering}, 0.0)
        subscriber = {
            "imsi": IMSI,
            "k": KEY,
            "opc": OPC,
            "msisdn": "491700000001",
            "apns": [apn("internet"), apn("ims")],
        }
        self.hss.import_context({"subscribers": [subscriber]}, 0.0)

    def run(self, role: Role, outputs: Iterable[Output]) -> None:
        """Carry messages until there are no more."""
        waiting = deque((role, output) for output in outputs)
        for _ in range(1000):
            if not waiting:
                return
            sender, output = waiting.popleft()
            if isinstance(output, Note):
                self.notes.append(output)
                continue
            receiver, event = self._carried(sender, output)
            waiting += ((receiver, one) for one in self.nfs[receiver].receive(event, self.now))
        raise AssertionError("messages do not come to an end")

    def _carried(self, sender: Role, output: Send) -> tuple[Role, Received]:
        message = _DECODE[type(output.message)](output.message.encode())  # type: ignore[index]
        self.names.append(f"{sender} {getattr(message, 'name', type(message).__name__)}")
        peer = Peer(sender, ADDRESSES[sender])
        if output.reply_to:
            receiver, token = self._requests.pop(output.reply_to)
            return receiver, Received(output.interface, peer, message, token)
        receiver, handle = output.peer.role, 0
        if output.interface is not Interface.S1_MME:
            handle = 1000 + len(self.names)
            self._requests[handle] = (sender, output.token)
        return receiver, Received(output.interface, peer, message, handle)

    def order(self, outputs: Sequence[Output]) -> None:
        """Let the base station send what an order to it made."""
        self.run(Role.ENB, outputs)

    def leftovers(self) -> dict[str, dict[str, int]]:
        """What is held, by NF, without zeros."""
        held = {str(role): {k: v for k, v in nf.leftovers().items() if v} for role, nf in self.nfs.items()}
        return {role: figures for role, figures in held.items() if figures}


@pytest.fixture
def world() -> World:
    made = World()
    made.order(made.enb.set_up())
    assert made.enb.state is S1State.UP
    return made


def attached(world: World) -> Ue:
    ue = Ue(IMSI, usim=Usim(IMSI, Milenage(bytes.fromhex(KEY), bytes.fromhex(OPC))))
    world.order(world.enb.attach(ue, "internet"))
    return ue


def uplink_and_downlink(world: World, ue: Ue, ebi: int) -> None:
    """A packet from the device to the packet network, and one back, through every tunnel."""
    address = ue.esm.bearers[ebi].address
    sgw, pgw = SgwForwarder(world.sgw.user_plane), PgwForwarder(world.pgw.user_plane)  # type: ignore[attr-defined]
    up = ip_packet(address, "198.51.100.1")
    octets, (to, _) = world.enb.uplink(ue, ebi, up)
    assert to == ADDRESSES[Role.SGW]
    ((octets, (to, _)),) = sgw.receive(octets, (ADDRESSES[Role.ENB], gtpu.PORT))
    assert to == ADDRESSES[Role.PGW]
    assert pgw.receive(octets, (ADDRESSES[Role.SGW], gtpu.PORT)) == []
    assert pgw.take_packets() == [up]
    down = ip_packet("198.51.100.1", address)
    ((octets, (to, _)),) = pgw.send(down)
    ((octets, (to, _)),) = sgw.receive(octets, (to, gtpu.PORT))
    assert to == ADDRESSES[Role.ENB]
    assert world.enb.downlink(octets) == (ue, ebi, down)


def ip_packet(source: str, destination: str) -> bytes:
    ends = b"".join(bytes(map(int, one.split("."))) for one in (source, destination))
    return b"\x45\0\0\x1c\0\0\0\0\x40\x11\0\0" + ends + b"\0\x09\0\x09\0\x08\0\0"


def test_a_device_attaches_and_its_packets_pass(world: World) -> None:
    ue = attached(world)
    assert ue.state is EmmState.REGISTERED, world.notes
    assert ue.security is not None
    assert (ue.security.integrity, ue.security.ciphering) == (2, 2)
    assert ue.discarded == 0
    assert ue.guti is not None
    assert [bearer.apn for bearer in ue.esm.bearers.values()] == ["internet"]
    (ebi,) = ue.esm.bearers
    uplink_and_downlink(world, ue, ebi)


def test_a_second_pdn_connection_comes_and_goes(world: World) -> None:
    ue = attached(world)
    world.order(world.enb.connect_pdn(ue, "ims"))
    first, second = sorted(ue.esm.bearers)
    assert ue.esm.bearers[second].apn == "ims"
    assert ue.esm.bearers[first].address != ue.esm.bearers[second].address
    uplink_and_downlink(world, ue, second)
    world.order(world.enb.disconnect_pdn(ue, second))
    assert sorted(ue.esm.bearers) == [first]
    assert len(world.enb.tunnels) == 1
    assert ue.discarded == 0


def test_an_idle_device_comes_back_with_a_service_request(world: World) -> None:
    ue = attached(world)
    (ebi,) = ue.esm.bearers
    world.order(world.enb.release(ue))
    assert world.enb.leftovers() == {"connections": 0, "erabs": 0}
    assert ue.state is EmmState.REGISTERED
    world.order(world.enb.request_service(ue))
    uplink_and_downlink(world, ue, ebi)


def test_an_idle_device_is_paged_for_a_packet(world: World) -> None:
    ue = attached(world)
    (ebi,) = ue.esm.bearers
    world.order(world.enb.release(ue))
    sgw, pgw = SgwForwarder(world.sgw.user_plane), PgwForwarder(world.pgw.user_plane)  # type: ignore[attr-defined]
    ((octets, (to, _)),) = pgw.send(ip_packet("198.51.100.1", ue.esm.bearers[ebi].address))
    assert sgw.receive(octets, (to, gtpu.PORT)) == []
    for teid in sgw.take_arrived():
        world.run(Role.SGW, world.sgw.downlink_arrived(teid, world.now))  # type: ignore[attr-defined]
    ((octets, _),) = sgw.flush()
    received = world.enb.downlink(octets)
    assert isinstance(received, tuple)
    assert received[:2] == (ue, ebi)


@pytest.mark.parametrize("switch_off", [False, True])
def test_after_a_detach_nothing_is_left(world: World, switch_off: bool) -> None:
    before = world.leftovers()
    ue = attached(world)
    world.order(world.enb.connect_pdn(ue, "ims"))
    world.order(world.enb.detach(ue, switch_off=switch_off))
    assert ue.state is EmmState.DEREGISTERED
    assert ue.esm.bearers == {}
    left = world.leftovers()
    for role in (Role.ENB, Role.SGW, Role.PGW, Role.PCRF):
        assert left.get(str(role)) == before.get(str(role)), role


def test_a_device_with_another_key_is_refused(world: World) -> None:
    ue = Ue(IMSI, usim=Usim(IMSI, Milenage(bytes(16), bytes(16))))
    world.order(world.enb.attach(ue, "internet"))
    assert ue.state is not EmmState.REGISTERED
    assert ue.esm.bearers == {}


def test_an_old_sequence_number_is_resynchronised(world: World) -> None:
    usim = Usim(IMSI, Milenage(bytes.fromhex(KEY), bytes.fromhex(OPC)), sqn=1 << 30)
    ue = Ue(IMSI, usim=usim)
    world.order(world.enb.attach(ue, "internet"))
    assert ue.state is EmmState.REGISTERED, world.notes


def test_two_attaches_one_after_the_other(world: World) -> None:
    ue = attached(world)
    world.order(world.enb.detach(ue))
    world.order(world.enb.attach(ue, "internet"))
    assert ue.state is EmmState.REGISTERED, world.notes
    (ebi,) = ue.esm.bearers
    uplink_and_downlink(world, ue, ebi)
